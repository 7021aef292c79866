//! Compact JSON written front to back. An audit event is written for every request, and a tree of values built
//! only to be printed would cost several times the printing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::fhir::tree::write;

/// JSON text in the making; a comma goes before each member or item that is not the first of its parent.
pub(super) struct Text {
    out: String,
}

impl Text {
    pub fn new() -> Self {
        Text { out: String::with_capacity(2048) }
    }

    /// Literal JSON, or the part of it that never changes.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        let begins = matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[' | b':'));
        if !begins && !matches!(json.as_bytes().first(), Some(b'}' | b']')) {
            self.out.push(',');
        }
        self.out.push_str(json);
        self
    }

    /// A value, escaped.
    pub fn value(&mut self, text: &str) -> &mut Self {
        write::string(text, &mut self.out);
        self
    }

    /// A member with a string value; `name` is a literal of ours.
    pub fn member(&mut self, name: &str, text: &str) -> &mut Self {
        self.raw("\"");
        self.out.push_str(name);
        self.out.push_str("\":");
        self.value(text)
    }

    pub fn base64_member(&mut self, name: &str, text: &str) -> &mut Self {
        self.member(name, &STANDARD.encode(text))
    }

    pub fn coding(&mut self, system: &str, code: &str) -> &mut Self {
        self.raw("{").member("system", system).member("code", code).raw("}")
    }

    pub fn finish(self) -> String {
        self.out
    }
}
