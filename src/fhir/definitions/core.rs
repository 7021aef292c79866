//! The definitions of FHIR R4 (4.0.1) that are compiled into the binary.
//!
//! Deflate and not a denser code: a pure Rust reader of it starts in milliseconds, and the text is small.

use std::io::{Read, Write};

static COMPRESSED: &[u8] = include_bytes!("../../../profiles/r4-core.bin");

/// The lines of the embedded package.
pub fn lines() -> String {
    let mut text = String::with_capacity(8 << 20);
    flate2::read::DeflateDecoder::new(COMPRESSED)
        .read_to_string(&mut text)
        .expect("profiles/r4-core.bin was written by the definitions command, whose test reads it back");
    text
}

/// The form in which lines are embedded.
pub fn compress(lines: &str) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let written = encoder.write_all(lines.as_bytes()).and_then(|()| encoder.finish());
    written.expect("a Vec takes whatever is written to it")
}
