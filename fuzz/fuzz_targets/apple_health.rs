//! Any bytes as an export of Apple Health, in pieces: no panic, every record told is JSON, and the pieces do not matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mhealth_gateway::devices::apple_health::{Read, Reader};
use mhealth_gateway::fhir::outcome::Id;
use mhealth_gateway::fhir::tree::json;

fn told(bytes: &[u8], size: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut reader = Reader::new();
    let mut tell = |read: Read<'_>| {
        if let Read::Record { text, .. } = read {
            // Attributes may be called as lists are, or stand for what JSON may nest too deep to be read.
            let known = json::parse(text).err().map(|issue| issue.id);
            assert!(matches!(known, None | Some(Id::JsonDuplicateKey | Id::JsonTooWide)), "{text}");
        }
        found.push(format!("{read:?}"));
    };
    for piece in bytes.chunks(size) {
        reader.push(piece, &mut tell);
    }
    reader.end(&mut tell);
    found
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, rest)) = bytes.split_first() else { return };
    let text = [b"<HealthData>", rest].concat();
    assert_eq!(told(&text, text.len()), told(&text, usize::from(*size) + 1));
});
