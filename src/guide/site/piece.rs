//! What a cell, a fact or a detail shows: a text, perhaps a link, a code or a tag.

use serde::Serialize;

#[derive(Serialize, Clone, Debug, Default)]
pub(super) struct Piece {
    label: String,
    text: String,
    href: Option<String>,
    code: bool,
    tag: Option<&'static str>,
}

impl Piece {
    pub(super) fn text(text: impl Into<String>) -> Piece {
        Piece { text: text.into(), ..Piece::default() }
    }

    pub(super) fn code(text: impl Into<String>) -> Piece {
        Piece { code: true, ..Piece::text(text) }
    }

    pub(super) fn link(text: &str, href: Option<String>) -> Piece {
        Piece { href, ..Piece::text(text) }
    }

    pub(super) fn tag(text: &str, tag: &'static str) -> Piece {
        Piece { tag: Some(tag), ..Piece::text(text) }
    }

    pub(super) fn labelled(self, label: &str) -> Piece {
        Piece { label: label.to_owned(), ..self }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// A table under a heading.
#[derive(Serialize, Clone, Debug)]
pub(super) struct Table {
    id: String,
    title: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<Piece>>,
}

impl Table {
    pub(super) fn new(title: &str, head: &[&'static str], rows: Vec<Vec<Piece>>) -> Option<Table> {
        let id = title.to_lowercase().replace(' ', "-");
        (!rows.is_empty()).then(|| Table { id, title: title.to_owned(), head: head.to_vec(), rows })
    }
}
