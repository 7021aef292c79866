//! The site as it is served: every file, made once and kept compressed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::LazyLock;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::site::Site;
use super::{Edition, File, package};
use crate::fhir::validate::Validator;

/// All files of the site by their names, and what makes further pages.
pub struct Published {
    files: HashMap<String, Packed>,
    site: Site<'static>,
}

/// One of them.
pub struct Packed {
    pub media_type: &'static str,
    /// With its quotes, as HTTP writes it.
    pub etag: String,
    compressed: Vec<u8>,
}

impl Published {
    /// The edition that this program enforces.
    pub fn get() -> &'static Published {
        static PUBLISHED: LazyLock<Published> = LazyLock::new(|| Published {
            files: all(Edition::current()).into_iter().map(|file| (file.path.clone(), Packed::new(&file))).collect(),
            site: Site::new(Edition::current()),
        });
        &PUBLISHED
    }

    pub fn file(&self, name: &str) -> Option<&Packed> {
        self.files.get(name)
    }

    /// The page that says what a word means.
    pub fn explained(&self, word: &str) -> String {
        self.site.explained(word, true)
    }
}

/// Every file of an edition: pages, resources and the package.
pub fn all(edition: &Edition) -> Vec<File> {
    let validator = Validator::new(super::registry());
    let mut files = Site::new(edition).files(&validator);
    files.push(File { path: "package.tgz".to_owned(), content: package::archive(edition) });
    files
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
