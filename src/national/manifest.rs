//! What a pack consists of, as one text: its name and the hash of each of its files. Whoever signs a pack signs that text, and
//! whoever holds the folder against it learns which file is another. Keys and signatures are not known here.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Mistake, Pack};

/// What the text begins with, so that nothing else that is signed can be taken for it.
const HEAD: &str = "mhealth-gateway country pack";

/// A pack's files at the moment of signing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Id and version.
    pub pack: String,
    /// Hashes by name.
    files: BTreeMap<String, String>,
}

/// The same for the same files, whatever folder they lie in.
pub(super) fn digest(files: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, text) in files {
        hasher.update(name.as_bytes()).update(b"\n").update(blake3::hash(text.as_bytes()).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

impl Manifest {
    pub fn of(pack: &Pack, files: &BTreeMap<String, String>) -> Manifest {
        let hash = |text: &String| blake3::hash(text.as_bytes()).to_hex().to_string();
        Manifest { pack: pack.name(), files: files.iter().map(|(name, text)| (name.clone(), hash(text))).collect() }
    }

    /// The text that is signed. Names of files have no line ends: a folder that has such a name is no pack.
    pub fn text(&self) -> String {
        let mut out = format!("{HEAD}\n{}\n", self.pack);
        for (name, hash) in &self.files {
            let _ = writeln!(out, "{hash} {name}");
        }
        out
    }

    /// Reads such a text.
    pub fn read(text: &str) -> Option<Manifest> {
        let mut lines = text.lines();
        let (head, pack) = (lines.next()?, lines.next()?);
        let files = lines.map(|line| line.split_once(' ').map(|(hash, name)| (name.to_owned(), hash.to_owned())));
        (head == HEAD).then_some(Manifest { pack: pack.to_owned(), files: files.collect::<Option<_>>()? })
    }

    /// Every file that is not as it was signed.
    pub fn differences(&self, files: &BTreeMap<String, String>) -> Vec<Mistake> {
        let told = |name: &String, text: &str| Mistake::of(name, text);
        let mut found: Vec<Mistake> = files
            .keys()
            .filter(|name| !self.files.contains_key(*name))
            .map(|name| told(name, "it was not signed"))
            .collect();
        for (name, hash) in &self.files {
            match files.get(name) {
                None => found.push(told(name, "it was signed and is missing")),
                Some(text) if blake3::hash(text.as_bytes()).to_hex().as_str() != hash => {
                    found.push(told(name, "it differs from what was signed"));
                }
                Some(_) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_changed_is_named() {
        let files = super::super::draft::draft(&super::super::draft::Answers::default()).unwrap();
        let pack = Pack::compile(&files).unwrap();
        let manifest = Manifest::read(&Manifest::of(&pack, &files).text()).unwrap();
        assert_eq!(manifest.pack, "new-pack@0.1.0");
        assert!(manifest.differences(&files).is_empty());
        let mut other = files.clone();
        other.remove("errors.csv");
        other.insert("more.json".to_owned(), "{}".to_owned());
        other.get_mut("codes.csv").unwrap().push('\n');
        let said: Vec<String> = manifest.differences(&other).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "more.json: it was not signed",
                "codes.csv: it differs from what was signed",
                "errors.csv: it was signed and is missing"
            ]
        );
        assert_ne!(Pack::compile(&other).map(|pack| pack.digest).ok(), Some(pack.digest));
        assert_eq!(Manifest::read("something else\n"), None);
    }
}
