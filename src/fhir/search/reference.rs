//! Reference parameters (R4 §3.1.1.4.12).
//!
//! `Type/id` and `id` ask for a reference on this server, a URL for exactly that URL. A URL under the server's
//! own base is the same as what follows the base, on both sides. Versions matter only where they are asked for.

use super::token;
use crate::fhir::tree::Element;

/// A reference as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Here, of the type if one was given.
    Local { kind: Option<String>, id: String },
    /// Anything else: a URL, a URN, a version of a resource.
    Exact(String),
    /// `:identifier`.
    Identifier(token::Wanted),
}

impl Wanted {
    /// `kind` is the type that the modifier or the parameter implies.
    pub(super) fn parse(text: &str, kind: Option<&str>, is_resource: impl Fn(&str) -> bool) -> Option<Wanted> {
        if text.contains(':') {
            return Some(Wanted::Exact(text.to_owned()));
        }
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [id] if is_id(id) => Some(Wanted::Local { kind: kind.map(str::to_owned), id: (*id).to_owned() }),
            [named, id] if is_resource(named) && is_id(id) && kind.is_none_or(|kind| kind == *named) => {
                Some(Wanted::Local { kind: Some((*named).to_owned()), id: (*id).to_owned() })
            }
            [named, id, "_history", version] if is_resource(named) && is_id(id) && is_id(version) => {
                Some(Wanted::Exact(text.to_owned()))
            }
            _ => None,
        }
    }

    pub fn matches(&self, element: Element<'_>, base: Option<&str>) -> bool {
        if let Wanted::Identifier(wanted) = self {
            return element.get("identifier").is_some_and(|identifier| wanted.matches(identifier));
        }
        written(element).is_some_and(|text| self.is_met_by(text, base))
    }

    /// Whether a reference of that text is what is asked for.
    pub(super) fn is_met_by(&self, text: &str, base: Option<&str>) -> bool {
        let text = relative(text, base);
        match self.local(base) {
            Some((kind, id)) => {
                local(text).is_some_and(|(named, named_id)| id == named_id && kind.is_none_or(|kind| kind == named))
            }
            None => match self {
                Wanted::Exact(wanted) => {
                    let wanted = relative(wanted, base);
                    // A canonical without a version stands for each of its versions.
                    text == wanted || text.split_once('|').is_some_and(|(url, _)| url == wanted)
                }
                _ => false,
            },
        }
    }

    /// Type and id of a reference to this server.
    pub fn local<'w>(&'w self, base: Option<&str>) -> Option<(Option<&'w str>, &'w str)> {
        match self {
            Wanted::Local { kind, id } => Some((kind.as_deref(), id)),
            Wanted::Exact(text) => {
                let (kind, id) = local(relative(text, base)).filter(|_| !text.contains("/_history/"))?;
                Some((Some(kind), id))
            }
            Wanted::Identifier(_) => None,
        }
    }
}

/// Type and id of what a reference points to on this server.
pub(super) fn pointed<'e>(element: Element<'e>, base: Option<&str>) -> Option<(&'e str, &'e str)> {
    local(relative(written(element)?, base))
}

/// Type of the resource that a reference says it points to.
pub(super) fn target_type(element: Element<'_>) -> Option<&str> {
    let named = written(element).and_then(|text| {
        let text = text.split_once("/_history/").map_or(text, |(head, _)| head);
        let mut segments = text.rsplit('/');
        let (id, kind) = (segments.next()?, segments.next()?);
        (is_id(id) && is_type_name(kind)).then_some(kind)
    });
    named.or_else(|| element.get("type").and_then(|kind| kind.string()))
}

/// The reference of a Reference, or a canonical or uri itself.
fn written(element: Element<'_>) -> Option<&str> {
    element.string().or_else(|| element.get("reference").and_then(|reference| reference.string()))
}

fn relative<'t>(text: &'t str, base: Option<&str>) -> &'t str {
    let stripped = base.and_then(|base| text.strip_prefix(base.trim_end_matches('/'))?.strip_prefix('/'));
    stripped.unwrap_or(text)
}

/// Type and id of a relative reference, whichever version it names.
fn local(text: &str) -> Option<(&str, &str)> {
    let text = text.split_once("/_history/").map_or(text, |(head, _)| head);
    text.split_once('/').filter(|(kind, id)| is_type_name(kind) && is_id(id))
}

fn is_type_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.chars().all(|each| each.is_ascii_alphabetic())
}

/// R4 §2.24.0.1 `id`.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}
