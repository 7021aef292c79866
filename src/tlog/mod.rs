//! A transparency log: nobody, and not its keeper either, can change or drop what was recorded without it being seen.
//!
//! Each record is committed to with a salt of its own, and the commitments are the entries of a Merkle tree (RFC 6962
//! §2.1) whose head is signed. The formats are those of C2SP, which independent tools read: `tlog-tiles`,
//! `tlog-checkpoint`, `signed-note` with Ed25519, `tlog-proof`. An entry tells nothing of its record; where the record and
//! its salt are erased, the tree and every other proof stay as they were. Nothing is stored or fetched here, and what the records
//! are is not known: whoever keeps the hashes is asked for them.

mod checkpoint;
mod note;
mod proof;
mod tile;
mod tree;

#[cfg(test)]
mod tests;

pub use checkpoint::Checkpoint;
pub use note::{Signer, Verifier, signers};
pub use proof::{Extra, Proof, Shown};
pub use tile::{Address, Content, Edge, Subtree, TILE_WIDTH, levels, subtree};
pub use tree::{
    EMPTY, Hash, commitment, consistency, inclusion, leaf, root, sha256, verify_consistency, verify_inclusion,
};

/// Bytes of a salt: as many as a hash has, so that nobody can try all.
pub const SALT_BYTES: usize = 32;

/// Why something that claims to be of a log is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// It does not have the form that C2SP describes.
    Form(&'static str),
    /// No signature is of the key that was named.
    Unsigned,
    /// A signature claims to be of that key and is not.
    Forged,
    /// It is of another log.
    Origin,
    /// The hashes do not lead from the record to the signed root.
    NotIncluded,
    /// The later tree does not begin with the earlier one.
    NotConsistent,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Doubt::Form(expected) => return write!(formatter, "{expected} is expected"),
            Doubt::Unsigned => "no signature is of the key that was given",
            Doubt::Forged => "the signature does not belong to this text",
            Doubt::Origin => "the checkpoint is of another log than the key",
            Doubt::NotIncluded => "the proof does not lead from the record to the signed root",
            Doubt::NotConsistent => {
                "the later tree does not continue the earlier one: something was changed or removed"
            }
        })
    }
}

impl std::error::Error for Doubt {}
