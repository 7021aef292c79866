//! The site as it is served: every file made when it is first asked for, and kept compressed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::changes::Changes;
use super::site::Site;
use super::{Edition, File, Shelf};
use crate::fhir::ours;
use crate::fhir::validate::Validator;

/// The site of a version.
pub struct Published {
    site: Site,
    /// What was asked for so far. No more than the site has, since nothing else is kept.
    made: Mutex<HashMap<String, Arc<Packed>>>,
}

/// One file.
pub struct Packed {
    pub media_type: &'static str,
    /// With its quotes, as HTTP writes it.
    pub etag: String,
    compressed: Vec<u8>,
}

impl Published {
    pub(super) fn new(edition: Arc<Edition>) -> Published {
        Published { site: Site::new(edition), made: Mutex::default() }
    }

    /// A file by its name. The validator writes XML; `changes` are those of this version and of the ones before.
    pub(super) fn file(
        &self,
        name: &str,
        validator: &Validator,
        changes: impl FnOnce() -> Vec<Changes>,
    ) -> Option<Arc<Packed>> {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made().get(name).cloned();
        known.or_else(|| {
            let packed = Arc::new(Packed::new(&self.site.file(name, validator, changes)?));
            made().insert(name.to_owned(), Arc::clone(&packed));
            Some(packed)
        })
    }

    /// The page that says what a word means.
    pub fn explained(&self, word: &str) -> String {
        self.site.explained(word, true)
    }

    pub(super) fn edition(&self) -> &Arc<Edition> {
        &self.site.edition
    }
}

/// Hands out every file of every version: the newest at the top, each earlier one in a folder of its own.
pub fn all<E>(shelf: &Shelf, mut take: impl FnMut(File) -> Result<(), E>) -> Result<(), E> {
    let validator = Validator::new(super::registry());
    for version in shelf.versions() {
        let Some(published) = shelf.published(version) else { continue };
        let site = &published.site;
        for name in site.names() {
            let Some(file) = site.file(&name, &validator, || shelf.changes(version)) else { continue };
            let folder = if version == ours::VERSION { String::new() } else { format!("{version}/") };
            take(File { path: format!("{folder}{name}"), ..file })?;
        }
    }
    Ok(())
}

impl Packed {
    fn new(file: &File) -> Packed {
        let ending = file.path.rsplit('.').next().unwrap_or_default();
        let media_type = match ending {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "json" => "application/fhir+json; charset=utf-8",
            "xml" => "application/fhir+xml; charset=utf-8",
            "tgz" => "application/gzip",
            _ => "application/octet-stream",
        };
        let etag = format!("\"{}\"", &blake3::hash(&file.content).to_hex()[..16]);
        Packed { media_type, etag, compressed: gzip(&file.content) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // What was compressed here decompresses, and memory takes it.
        let _ = GzDecoder::new(self.compressed.as_slice()).read_to_end(&mut bytes);
        bytes
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // Memory takes everything.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anybody may ask for pages, over any line: none is heavy, and every one can be made.
    #[test]
    fn pages_are_light() {
        let shelf = Shelf::new(Vec::new());
        let published = shelf.published(ours::VERSION).unwrap();
        let validator = Validator::new(super::super::registry());
        let edition = published.edition();
        let examples: Vec<String> =
            edition.examples().map(|each| super::super::content::address(each).replacen('/', "-", 1)).collect();
        let is_page = |name: &String| {
            name.strip_suffix(".html").is_some_and(|stem| !examples.iter().any(|example| example == stem))
        };
        for name in published.site.names().iter().filter(|name| is_page(name)) {
            let packed = published.file(name, &validator, || shelf.changes(ours::VERSION)).unwrap();
            let (whole, sent) = (packed.bytes().len(), packed.compressed.len());
            assert!(whole < 300_000 && sent < 40_000, "{name}: {whole} bytes, {sent} compressed");
        }
        let kept = published.made.lock().unwrap().len();
        assert!(published.file("no-such-page.html", &validator, Vec::new).is_none());
        assert_eq!(published.made.lock().unwrap().len(), kept, "what is not there is not kept");
    }
}
