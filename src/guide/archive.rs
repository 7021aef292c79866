//! The guide as a FHIR package (npm form): what validators, compilers and other guides load.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{Edition, pretty};

/// The package. The same edition always gives the same bytes.
pub(super) fn package(edition: &Edition) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut index = Vec::new();
    let mut files = vec![("package/package.json".to_owned(), pretty(&manifest(edition)))];
    for resource in edition.resources.iter().filter(|each| edition.refused_with(each).is_none()) {
        let text = |name: &str| resource[name].as_str().unwrap_or_default();
        let name = format!("{}-{}.json", text("resourceType"), text("id"));
        let folder = if edition.is_example(resource) { "package/example" } else { "package" };
        if folder == "package" {
            index.push(entry(&name, resource));
        }
        files.push((format!("{folder}/{name}"), pretty(resource)));
    }
    files.push(("package/.index.json".to_owned(), pretty(&json!({"index-version": 2, "files": index}))));
    for (path, content) in &files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Memory takes everything, and no path is longer than a header's.
        let _ = archive.append_data(&mut header, path, content.as_bytes());
    }
    gzip(&archive.into_inner().unwrap_or_default(), Compression::best())
}

/// Compressed, without a time or a name.
pub(super) fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    // Memory takes everything.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn manifest(edition: &Edition) -> Value {
    let guide = edition.guide();
    json!({
        "name": guide["packageId"],
        "version": guide["version"],
        "type": "IG",
        "title": guide["title"],
        "description": guide["description"],
        "author": guide["publisher"],
        "license": guide["license"],
        "canonical": edition.canonical(),
        "fhirVersions": ["4.0.1"],
        "dependencies": {"hl7.fhir.r4.core": "4.0.1"},
    })
}

/// What the index of a package says of a file.
fn entry(name: &str, resource: &Value) -> Value {
    let mut out = json!({"filename": name});
    for member in ["resourceType", "id", "url", "version", "kind", "type", "supplements", "content"] {
        if let Some(value) = resource.get(member).filter(|value| value.is_string()) {
            out[member] = value.clone();
        }
    }
    out
}
