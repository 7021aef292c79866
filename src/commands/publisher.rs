//! Who vouches for a pack: a signature over its manifest (a signed note by Ed25519) that lies in the folder beside its
//! files, and whether the folder is what was signed.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::assemble::Folder;
use crate::national::{Manifest, Mistake, Pack};
use crate::tlog::{self, Doubt, Signer, Verifier};

/// The file of the signature. It is no file of the pack.
pub(super) const SIGNATURE: &str = "pack.sig";
const NO_SIGNATURE: &str = "expected is what `pack sign` writes";

/// The signature of a folder that is a pack.
pub(super) fn sign(folder: &Folder, signer: &Signer) -> Result<String, Vec<String>> {
    if !folder.unread.is_empty() {
        return Err(folder.unread.iter().map(ToString::to_string).collect());
    }
    let pack = Pack::compile(&folder.files)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<String>>())?;
    Ok(signer.sign(&Manifest::of(&pack, &folder.files).text()))
}

/// Everything that speaks against a folder. Where publishers are named, one of them must have signed it; where none is, what
/// has a signature must still be what was signed.
pub(super) fn doubts(folder: &Folder, publishers: &[Verifier]) -> Vec<String> {
    if !folder.unread.is_empty() {
        return folder.unread.iter().map(ToString::to_string).collect();
    }
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
        None => unproved(note),
    };
    match Manifest::read(text) {
        None => vec![format!("{SIGNATURE}: {NO_SIGNATURE}")],
        Some(manifest) => manifest.differences(&folder.files).iter().map(ToString::to_string).collect(),
    }
}

/// The text of a note, whoever wrote it.
fn unproved(note: &str) -> &str {
    note.rfind("\n\n").map_or("", |at| &note[..=at])
}

/// What a folder's signature says by itself, without the keys of those whom it names.
pub(super) struct Claim {
    /// Name and id of each key.
    pub keys: Vec<String>,
    /// What is not as it says.
    pub mistakes: Vec<Mistake>,
}

/// The claim of a folder that has a signature. Whether it is true is for whoever has the key to say.
pub(super) fn claim(folder: &Folder, pack: Option<&str>) -> Option<Claim> {
    let note = folder.signature.as_ref()?;
    let keys = tlog::signers(note);
    let wrong = |text: &str| Mistake { file: SIGNATURE.to_owned(), line: None, text: text.to_owned() };
    let mistakes = match Manifest::read(unproved(note)).filter(|_| !keys.is_empty()) {
        None => vec![wrong(NO_SIGNATURE)],
        Some(manifest) => {
            let another = pack.is_some_and(|name| name != manifest.pack);
            let another = another.then(|| wrong(&format!("it was made of {}", manifest.pack)));
            manifest.differences(&folder.files).into_iter().chain(another).collect()
        }
    };
    Some(Claim { keys, mistakes })
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
