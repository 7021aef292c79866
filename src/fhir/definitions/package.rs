//! FHIR packages: the .tgz of npm layout in which definitions are published.

use std::io::Read;

use crate::fhir::tree::{Document, json};

/// No definition of a published package comes near this size; the rest of a hostile archive is not read.
const MAX_FILE: u64 = 64 << 20;

/// The resources of a package, in the order of their file names. Files that are no JSON resource are left out.
pub fn resources(archive: impl Read) -> std::io::Result<Vec<Document>> {
    let mut files = Vec::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let Some(name) = path.strip_prefix("package/").map(str::to_owned) else { continue };
        let is_json = name.rsplit('.').next().is_some_and(|suffix| suffix == "json");
        if is_json && !name.contains('/') && name != "package.json" {
            let mut bytes = Vec::new();
            entry.take(MAX_FILE).read_to_end(&mut bytes)?;
            files.push((name, bytes));
        }
    }
    files.sort();
    Ok(files.into_iter().filter_map(|(_, bytes)| json::parse(bytes).ok()).collect())
}
