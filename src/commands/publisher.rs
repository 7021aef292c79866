//! Who vouches for a pack: a signature over its manifest (a signed note by Ed25519) that lies in the folder beside its
//! files, and whether the folder is what was signed.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::assemble::Folder;
use crate::national::{Manifest, Pack};
use crate::tlog::{Doubt, Signer, Verifier};

/// The file of the signature. It is no file of the pack.
pub(super) const SIGNATURE: &str = "pack.sig";

/// The signature of a folder that is a pack.
pub(super) fn sign(folder: &Folder, signer: &Signer) -> Result<String, Vec<String>> {
    let pack = Pack::compile(&folder.files)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<String>>())?;
    Ok(signer.sign(&Manifest::of(&pack, &folder.files).text()))
}

/// Everything that speaks against a folder. Where publishers are named, one of them must have signed it; where none is, what
/// has a signature must still be what was signed.
pub(super) fn doubts(folder: &Folder, publishers: &[Verifier]) -> Vec<String> {
    let Some(note) = &folder.signature else {
        let missing = || format!("{SIGNATURE}: missing; only what a publisher of packs.publishers has signed is taken");
        return if publishers.is_empty() { Vec::new() } else { vec![missing()] };
    };
    let opened: Vec<Result<&str, Doubt>> = publishers.iter().map(|publisher| publisher.open(note)).collect();
    let text = match opened.iter().find_map(|opened| opened.as_ref().ok()) {
        Some(text) => text,
        None if opened.iter().any(|opened| matches!(opened, Err(Doubt::Forged))) => {
            return vec![format!("{SIGNATURE}: it was changed after it was signed")];
        }
        None if !publishers.is_empty() => {
            return vec![format!("{SIGNATURE}: no publisher of packs.publishers signed it")];
        }
        None => note.rfind("\n\n").map_or("", |at| &note[..=at]),
    };
    match Manifest::read(text) {
        None => vec![format!("{SIGNATURE}: expected is what `pack sign` writes")],
        Some(manifest) => manifest.differences(&folder.files).iter().map(ToString::to_string).collect(),
    }
}

/// A publisher's key, as it is or in a file.
pub(super) fn verifier(given: &str) -> anyhow::Result<Verifier> {
    if let Ok(key) = Verifier::parse(given) {
        return Ok(key);
    }
    let text = fs::read_to_string(given).with_context(|| format!("{given} is neither a key nor a file of one"))?;
    Verifier::parse(&text).with_context(|| format!("reading {given}"))
}

/// A publisher's private key.
pub(super) fn signer(path: &Path) -> anyhow::Result<Signer> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Signer::parse(&text).with_context(|| format!("reading {}", path.display()))
}
