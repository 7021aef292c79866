//! Proofs that stand alone (C2SP tlog-proof): with the log's key, a file is all that is needed to believe a record.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tree::{Hash, commitment, leaf, verify_inclusion};
use super::{Checkpoint, Doubt, SALT_BYTES, Verifier};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// What the entry of the log is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extra {
    pub salt: [u8; SALT_BYTES],
    /// As it was committed to.
    pub record: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    pub extra: Extra,
    pub index: u64,
    pub path: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// A record that is proved to be in a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    pub index: u64,
    pub record: Vec<u8>,
    pub checkpoint: Checkpoint,
}

impl std::fmt::Display for Proof {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let extra = STANDARD.encode([&self.extra.salt[..], &self.extra.record].concat());
        writeln!(formatter, "{FIRST_LINE}\nextra {extra}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(formatter, "{}", STANDARD.encode(hash))?;
        }
        write!(formatter, "\n{}", self.checkpoint)
    }
}

impl Proof {
    pub fn parse(text: &str) -> Result<Proof, Doubt> {
        let read = || {
            let (head, checkpoint) = text.split_once("\n\n")?;
            let mut lines = head.split('\n');
            if lines.next()? != FIRST_LINE {
                return None;
            }
            let extra = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
            let (salt, record) = extra.split_at_checked(SALT_BYTES)?;
            let index = lines.next()?.strip_prefix("index ")?;
            let number: u64 = index.parse().ok().filter(|number: &u64| number.to_string() == index)?;
            let path = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok()).collect::<Option<Vec<Hash>>>()?;
            let extra = Extra { salt: salt.try_into().ok()?, record: record.to_owned() };
            Some(Proof { extra, index: number, path, checkpoint: checkpoint.to_owned() })
        };
        read().ok_or(Doubt::Form("A proof (c2sp.org/tlog-proof@v1) of this gateway, with its record as extra data,"))
    }

    /// Whether the log that has this key holds the record.
    pub fn verify(self, key: &Verifier) -> Result<Shown, Doubt> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let Extra { salt, record } = self.extra;
        let entry = leaf(&commitment(&salt, &record));
        if verify_inclusion(self.index, checkpoint.size, &entry, &self.path, &checkpoint.root) {
            Ok(Shown { index: self.index, record, checkpoint })
        } else {
            Err(Doubt::NotIncluded)
        }
    }
}
