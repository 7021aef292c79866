//! The file as bytes, whatever it is wrapped in: plain, gzip, or the archive that a phone makes of an export.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use zip::ZipArchive;

/// Name of the export inside of the archive; its folder is called otherwise in other languages.
const EXPORT: &str = "/export.xml";

/// How much of the file was read, while somebody else holds its reader.
#[derive(Clone, Default)]
pub(super) struct Consumed(Rc<Cell<u64>>);

impl Consumed {
    pub fn bytes(&self) -> u64 {
        self.0.get()
    }
}

struct Counted<R> {
    inner: R,
    consumed: Consumed,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.consumed.0.set(self.consumed.0.get() + read as u64);
        Ok(read)
    }
}

impl<R: io::Seek> io::Seek for Counted<R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Opens a file and hands its content on.
pub(super) fn read<T>(
    path: &Path,
    consumed: &Consumed,
    work: impl FnOnce(&mut dyn Read) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let is_standard = path.as_os_str() == "-";
    let raw: Box<dyn Read> = if is_standard {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("{}", path.display()))?)
    };
    let mut file = BufReader::with_capacity(1 << 16, Counted { inner: raw, consumed: consumed.clone() });
    let start = io::BufRead::fill_buf(&mut file).with_context(|| format!("{}", path.display()))?;
    match start {
        [0x1f, 0x8b, ..] => work(&mut MultiGzDecoder::new(file)),
        [b'P', b'K', 3 | 5, ..] if is_standard => bail!("an archive is read from a file and not from standard input"),
        [b'P', b'K', 3 | 5, ..] => {
            consumed.0.set(0);
            archive(path, consumed, work)
        }
        _ => work(&mut file),
    }
}

fn archive<T>(
    path: &Path,
    consumed: &Consumed,
    work: impl FnOnce(&mut dyn Read) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let file = File::open(path).with_context(|| format!("{}", path.display()))?;
    let file = BufReader::with_capacity(1 << 16, Counted { inner: file, consumed: consumed.clone() });
    let mut archive = ZipArchive::new(file).with_context(|| format!("{} is no archive", path.display()))?;
    // The folder has the files of other apps beside it; where the phone names the export otherwise, it is the longest.
    let named =
        archive.file_names().position(|name| name.is_ok_and(|name| name.ends_with(EXPORT) || name == EXPORT[1..]));
    let place = match named {
        Some(place) => Some(place),
        None => longest(&mut archive)?,
    };
    let Some(place) = place else { bail!("{} has no export.xml in it", path.display()) };
    let mut entry = archive.by_index(place)?;
    work(&mut entry)
}

/// The longest of the XML files; the documents of clinics, which are CDA, are not it.
fn longest<R: Read + io::Seek>(archive: &mut ZipArchive<R>) -> anyhow::Result<Option<usize>> {
    let mut longest: Option<(u64, usize)> = None;
    for place in 0..archive.len() {
        let entry = archive.by_index_raw(place)?;
        let name = entry.name()?;
        let is_xml = Path::new(name.as_ref()).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("xml"));
        if is_xml && !name.ends_with("_cda.xml") && longest.is_none_or(|(size, _)| size < entry.size()) {
            longest = Some((entry.size(), place));
        }
    }
    Ok(longest.map(|(_, place)| place))
}
