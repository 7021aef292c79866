//! What may be said to a receiver of something that it may hold no longer: the other side of [`Permitted`](super::Permitted).
//!
//! A [`Recall`] is made of a refusal, of a deletion, or of a person's erasure, and of nothing else. It is a name that the receiver knows
//! already, and has no room for anything that the resource says, so that whoever sends it discloses nothing and needs no
//! consent. By what address and in which words it is told is not known here.

use super::decide::Denial;

/// How a receiver is told that it may hold something no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// What it holds becomes an entry that was an error, and says nothing more.
    EnteredInError,
    /// It is deleted.
    Delete,
}

impl Manner {
    pub fn name(self) -> &'static str {
        match self {
            Manner::EnteredInError => "entered-in-error",
            Manner::Delete => "delete",
        }
    }
}

/// The name of something that its receiver may hold no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recall {
    kind: String,
    name: String,
}

impl Recall {
    /// What the person does not let the receiver have. Of a refusal alone is it known that it may be taken back.
    pub fn of_denied(_: &Denial, kind: &str, name: &str) -> Recall {
        Recall { kind: kind.to_owned(), name: name.to_owned() }
    }

    /// What is no more, by whoever could say so.
    pub fn of_deleted(kind: &str, name: &str) -> Recall {
        Recall { kind: kind.to_owned(), name: name.to_owned() }
    }

    /// What was of a person who is forgotten.
    pub fn of_erased(kind: &str, name: &str) -> Recall {
        Recall { kind: kind.to_owned(), name: name.to_owned() }
    }

    /// The resource type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The id by which the receiver knows it.
    pub fn name(&self) -> &str {
        &self.name
    }
}
