//! What is to be checked, one resource at a time: files, folders, standard input, and files of a resource a line.
//!
//! A file of lines is known by its ending, or by a first line that is a whole object with another one after it; it is
//! never held as a whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::fhir::tree::json;

/// One resource as text.
pub(super) struct Input {
    /// The file as it was named; `-` for standard input.
    pub name: String,
    /// Its line, in a file of lines.
    pub line: Option<u32>,
    pub text: io::Result<Vec<u8>>,
    /// Bytes that were read for it.
    pub size: u64,
}

/// The resources of the arguments, in order; a folder's by name.
pub(super) struct Inputs {
    waiting: VecDeque<PathBuf>,
    lines: Option<Lines>,
}

struct Lines {
    name: String,
    reader: Box<dyn BufRead>,
    line: u32,
    /// Lines that were read to find out what the file is.
    first: Option<Vec<u8>>,
}

impl Inputs {
    pub fn new(arguments: &[PathBuf]) -> Inputs {
        Inputs { waiting: arguments.iter().cloned().collect(), lines: None }
    }

    fn open(&mut self, path: &Path) -> io::Result<Option<Input>> {
        if path.is_dir() {
            for found in listed(path)?.into_iter().rev() {
                self.waiting.push_front(found);
            }
            return Ok(None);
        }
        let name = path.display().to_string();
        let is_standard = name == "-";
        let reader: Box<dyn Read> = if is_standard { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
        let mut reader: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1 << 16, reader));
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let mut first = Vec::new();
        if matches!(ending.as_str(), "ndjson" | "jsonl") {
            self.lines = Some(Lines { name, reader, line: 0, first: None });
            return Ok(None);
        }
        reader.read_until(b'\n', &mut first)?;
        let goes_on = reader.fill_buf()?.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        if goes_on && first.trim_ascii().starts_with(b"{") && json::parse(first.as_slice()).is_ok() {
            self.lines = Some(Lines { name, reader, line: 0, first: Some(first) });
            return Ok(None);
        }
        reader.read_to_end(&mut first)?;
        Ok(Some(Input { name, line: None, size: first.len() as u64, text: Ok(first) }))
    }
}

impl Iterator for Inputs {
    type Item = Input;

    fn next(&mut self) -> Option<Input> {
        loop {
            if let Some(lines) = &mut self.lines {
                if let Some(input) = lines.next() {
                    return Some(input);
                }
                self.lines = None;
            }
            let path = self.waiting.pop_front()?;
            match self.open(&path) {
                Ok(Some(input)) => return Some(input),
                Ok(None) => {}
                Err(error) => {
                    return Some(Input { name: path.display().to_string(), line: None, text: Err(error), size: 0 });
                }
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Input;

    fn next(&mut self) -> Option<Input> {
        loop {
            let mut text = Vec::new();
            let read = match self.first.take() {
                Some(first) => {
                    text = first;
                    Ok(text.len())
                }
                None => self.reader.read_until(b'\n', &mut text),
            };
            self.line += 1;
            let (name, line) = (self.name.clone(), Some(self.line));
            match read {
                Ok(0) => return None,
                Ok(_) if text.iter().all(u8::is_ascii_whitespace) => {}
                Ok(size) => return Some(Input { name, line, text: Ok(text), size: size as u64 }),
                Err(error) => {
                    // A reader that failed once would fail again.
                    self.reader = Box::new(io::empty());
                    return Some(Input { name, line, text: Err(error), size: 0 });
                }
            }
        }
    }
}

/// The resources in a folder and below it, by name. Links to folders are not followed, so that no circle is walked.
fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let is_resource = matches!(ending.as_str(), "json" | "xml" | "ndjson" | "jsonl") && !path.is_dir();
        if kind.is_dir() || is_resource {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_resources_in_files_of_all_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        write("a.json", "{\n}\n");
        write("b/lines.ndjson", "{\"a\":1}\n\n{\"a\":\n");
        write("b/notes.txt", "no resource");
        write("c.json", "{\"a\":1}\n{\"a\":2}\n");
        write("d.json", "{\"a\":1}\n");
        write("e.xml", "<a/>");
        let listed: Vec<(String, Option<u32>, usize)> =
            Inputs::new(&[folder.path().to_owned(), "/nowhere/at/all".into()])
                .map(|input| {
                    let name = Path::new(&input.name).file_name().unwrap().to_str().unwrap().to_owned();
                    (name, input.line, input.text.map_or(0, |text| text.len()))
                })
                .collect();
        let expected = [
            ("a.json", None, 4),
            ("lines.ndjson", Some(1), 8),
            ("lines.ndjson", Some(3), 6),
            ("c.json", Some(1), 8),
            ("c.json", Some(2), 8),
            ("d.json", None, 8),
            ("e.xml", None, 4),
            ("all", None, 0),
        ];
        assert_eq!(listed, expected.map(|(name, line, size)| (name.to_owned(), line, size)));
    }
}
