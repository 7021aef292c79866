//! What stands anywhere in an element, found in one walk over its nodes that looks at no text it need not.
//!
//! Every resource that is judged is asked this, so it goes by tags and not by the view of [`Element`]. What the names mean
//! is not known here.

use super::document::{Document, Kind, NodeId};
use super::element::Element;
use super::tag::Tag;

const REFERENCE: &str = "reference";

impl<'d> Element<'d> {
    /// Adds the text of each reference in it to a list, but for those inside of what stands beside primitives; answers
    /// whether some member, there as well, may bear one of some names: it misses none.
    pub fn survey(&self, names: &[Tag], references: &mut Vec<&'d str>) -> bool {
        let mut survey = Survey { document: self.document(), names, references, may_bear: false };
        if let Some(value) = self.value_node() {
            survey.inside(value, Place::Plain);
        }
        if let Some(shadow) = self.shadow_node() {
            survey.inside(shadow, Place::Shadow);
        }
        survey.may_bear
    }
}

/// What a node is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    /// The list of a member that is called as references are.
    References,
    /// What stands beside a primitive.
    Shadow,
}

struct Survey<'s, 'd> {
    document: &'d Document,
    names: &'s [Tag],
    references: &'s mut Vec<&'d str>,
    may_bear: bool,
}

impl Survey<'_, '_> {
    /// The reader bounds how deep this goes.
    fn inside(&mut self, holder: NodeId, place: Place) {
        let document = self.document;
        let in_list = document.kind(holder) == Kind::Array;
        for child in document.children(holder) {
            let tag = document.tag(child);
            self.may_bear |= !in_list && self.names.contains(&tag);
            let inner = match place {
                Place::Shadow => Place::Shadow,
                _ if in_list => place,
                _ if tag.is_shadow() => Place::Shadow,
                _ if document.has_key(child, const { Tag::of(REFERENCE) }, REFERENCE) => Place::References,
                _ => Place::Plain,
            };
            match document.kind(child) {
                Kind::Object if inner == Place::References => self.inside(child, Place::Plain),
                Kind::Object | Kind::Array => self.inside(child, inner),
                Kind::String if inner == Place::References => self.references.push(document.value(child)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::parse;
    use super::*;

    fn surveyed(text: &str) -> (Vec<String>, bool) {
        let document = parse(text).unwrap();
        let mut references = Vec::new();
        let may = Element::root(&document).survey(&[Tag::of("extension"), Tag::of("method")], &mut references);
        (references.into_iter().map(str::to_owned).collect(), may)
    }

    #[test]
    fn finds_references_and_names_at_any_depth() {
        for (text, references, may) in [
            (r#"{"subject":{"reference":"Patient/1"},"status":"final"}"#, &["Patient/1"][..], false),
            (r#"{"a":[{"reference":"A/1"},{"b":{"reference":"B/1"}}],"method":{}}"#, &["A/1", "B/1"], true),
            (r#"{"c":[{"d":[{"method":{}}]}]}"#, &[], true),
            (r#"{"reference":["A/1","A/2"],"other":"A/3"}"#, &["A/1", "A/2"], false),
            (r#"{"reference":{"reference":"A/1","display":"x"}}"#, &["A/1"], false),
            // Beside a primitive stands what is said of it, not of the resource.
            (r#"{"_status":{"extension":[{"valueReference":{"reference":"A/1"}}]}}"#, &[], true),
            (r#"{"references":"A/1","methods":"x"}"#, &[], false),
        ] {
            assert_eq!(surveyed(text), (references.iter().map(ToString::to_string).collect(), may), "{text}");
        }
    }
}
