//! Heads of the tree (C2SP tlog-checkpoint): origin, size, root.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tree::Hash;
use super::{Doubt, Verifier};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Lines of extensions are passed over.
    pub fn parse(text: &str) -> Result<Checkpoint, Doubt> {
        let read = || {
            let mut lines = text.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            let number: u64 = size.parse().ok().filter(|number: &u64| number.to_string() == size)?;
            let root: Hash = STANDARD.decode(root).ok()?.try_into().ok()?;
            let checkpoint = Checkpoint { origin: origin.to_owned(), size: number, root };
            (!origin.is_empty() && text.ends_with('\n')).then_some(checkpoint)
        };
        read().ok_or(Doubt::Form("A checkpoint: origin, size and root hash, each on a line of its own,"))
    }

    /// The checkpoint of a note that the log's key has signed.
    pub fn open(note: &str, key: &Verifier) -> Result<Checkpoint, Doubt> {
        let checkpoint = Checkpoint::parse(key.open(note)?)?;
        if checkpoint.origin == key.name() { Ok(checkpoint) } else { Err(Doubt::Origin) }
    }
}
