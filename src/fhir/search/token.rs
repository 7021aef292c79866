//! Token parameters (R4 §3.1.1.4.10): codes, identifiers, contact points, booleans, plain strings.
//!
//! What an element is follows from its shape: `coding` makes it a CodeableConcept, `code` a Coding, `value` an
//! Identifier or ContactPoint; a primitive is a code whose system its binding implies. Comparison is exact and
//! case-sensitive, since only a code system could say otherwise. `:below` and `:above` go by the hierarchy of a system that
//! is known here as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::escape;
use super::string;
use crate::fhir::definitions::{CodeSystem, Content, ValueSet};
use crate::fhir::terminology::subsumes;
use crate::fhir::tree::Element;

/// A token as it is asked for.
#[derive(Clone, PartialEq, Debug)]
pub enum Wanted {
    Code {
        system: System,
        /// `None`: any code of the system.
        code: Option<String>,
        /// Whether the system is the one that a primitive code has by its binding.
        implied: bool,
    },
    /// `:text`.
    Text(string::Wanted),
    /// `:in`.
    Set(Arc<ValueSet>),
    /// `:below` and `:above`: the codes of a system that stand so to the one asked for.
    Related { system: String, codes: Arc<BTreeSet<String>> },
    /// `:of-type`.
    OfType { system: String, code: String, value: String },
}

impl Eq for Wanted {}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum System {
    Any,
    /// `|code`: the element has none.
    Absent,
    Is(String),
}

/// Systems of the two booleans (R4 §3.1.1.4.10).
const SPECIAL_VALUES: [&str; 2] =
    ["http://hl7.org/fhir/special-values", "http://terminology.hl7.org/CodeSystem/special-values"];

impl Wanted {
    /// The code, in any system or none.
    pub(super) fn is(code: String) -> Wanted {
        Wanted::Code { system: System::Any, code: Some(code), implied: true }
    }

    /// `code`, `system|code`, `|code`, `system|`.
    pub(super) fn parse(text: &str, implies: impl Fn(&str, &str) -> bool) -> Option<Wanted> {
        let parts: Vec<String> = escape::split(text, '|').into_iter().map(escape::unescape).collect();
        let (system, code) = match parts.as_slice() {
            [code] => (System::Any, code),
            [system, code] if system.is_empty() => (System::Absent, code),
            [system, code] => (System::Is(system.clone()), code),
            _ => return None,
        };
        if code.is_empty() && !matches!(system, System::Is(_)) {
            return None;
        }
        let implied = match &system {
            System::Is(system) => implies(system, code),
            _ => true,
        };
        Some(Wanted::Code { system, code: Some(code.clone()).filter(|code| !code.is_empty()), implied })
    }

    /// `system|code` with what is below or above it, where the whole system is known.
    pub(super) fn related<'r>(
        text: &str,
        below: bool,
        find: impl Fn(&str) -> Option<&'r Arc<CodeSystem>>,
    ) -> Option<Wanted> {
        let Wanted::Code { system: System::Is(url), code: Some(code), .. } = Wanted::parse(text, |_, _| false)? else {
            return None;
        };
        let system = find(&url).filter(|system| system.content == Content::Complete)?;
        let stands_so = |other: &str| {
            let (general, specific) = if below { (code.as_str(), other) } else { (other, code.as_str()) };
            subsumes(system, general, specific) == Some(true)
        };
        let codes = system.concepts.iter().map(|concept| &*concept.code).filter(|other| stands_so(other));
        let codes = codes.map(str::to_owned).chain([code.clone()]).collect();
        Some(Wanted::Related { system: url, codes: Arc::new(codes) })
    }

    /// `system|code|value`.
    pub(super) fn of_type(text: &str) -> Option<Wanted> {
        let parts: Vec<String> = escape::split(text, '|').into_iter().map(escape::unescape).collect();
        match <[String; 3]>::try_from(parts) {
            Ok([system, code, value]) if !code.is_empty() && !value.is_empty() => {
                Some(Wanted::OfType { system, code, value })
            }
            _ => None,
        }
    }

    /// Whether a condition's result is what is asked for.
    pub(super) fn is_boolean(&self, value: bool) -> bool {
        matches!(self, Wanted::Code { system, code, .. } if is_boolean(value, system, code.as_deref()))
    }

    pub fn matches(&self, element: Element<'_>) -> bool {
        match self {
            Wanted::Code { system, code, implied } => {
                if let Some(value) = element.boolean() {
                    return is_boolean(value, system, code.as_deref());
                }
                tokens(element).any(|token| token.is(system, code.as_deref(), *implied))
            }
            Wanted::Set(set) => tokens(element).any(|token| token.is_in(set)),
            Wanted::Related { system, codes } => tokens(element).any(|token| {
                (token.bare || token.system == Some(system)) && token.code.is_some_and(|code| codes.contains(code))
            }),
            Wanted::OfType { system, code, value } => {
                let wanted = System::Is(system.clone());
                let typed = |kind: Element<'_>| tokens(kind).any(|token| token.is(&wanted, Some(code), false));
                element.text_of("value") == Some(value) && element.get("type").is_some_and(typed)
            }
            Wanted::Text(wanted) => {
                let said = |holder: Option<Element<'_>>, name| {
                    holder.and_then(|holder| holder.text_of(name)).is_some_and(|text| wanted.meets(text))
                };
                said(Some(element), "text")
                    || said(Some(element), "display")
                    || said(element.get("type"), "text")
                    || element.all("coding").any(|coding| said(Some(coding), "display"))
            }
        }
    }
}

fn is_boolean(value: bool, system: &System, code: Option<&str>) -> bool {
    let system_fits = match system {
        System::Is(system) => SPECIAL_VALUES.contains(&system.as_str()),
        System::Any | System::Absent => true,
    };
    system_fits && code.is_none_or(|code| code == if value { "true" } else { "false" })
}

/// What an element is sorted by: its text where it has one, else its first code.
pub(super) fn first(element: Element<'_>) -> Option<String> {
    let said = element.text_of("text").or_else(|| element.all("coding").find_map(|coding| coding.text_of("display")));
    let code = || tokens(element).find_map(|token| token.code);
    said.map(string::folded).or_else(|| code().map(str::to_owned))
}

/// One code of an element.
struct Token<'d> {
    system: Option<&'d str>,
    code: Option<&'d str>,
    /// A primitive: it never says its system.
    bare: bool,
}

impl Token<'_> {
    fn is(&self, system: &System, code: Option<&str>, implied: bool) -> bool {
        let system_fits = match system {
            System::Any => true,
            System::Absent => self.system.is_none(),
            System::Is(_) if self.bare => implied,
            System::Is(system) => self.system == Some(system),
        };
        system_fits && code.is_none_or(|code| self.code == Some(code))
    }

    fn is_in(&self, set: &ValueSet) -> bool {
        let Some(code) = self.code else { return false };
        let fits = |system: &str| self.bare || self.system == Some(system);
        set.groups.iter().any(|group| fits(&group.system) && group.codes.contains(code))
    }
}

/// The codes of an element, by its shape.
fn tokens<'d>(element: Element<'d>) -> impl Iterator<Item = Token<'d>> {
    let coding = |element: Element<'d>| {
        let code = element.text_of("code").or_else(|| element.text_of("value"));
        Token { system: element.text_of("system"), code, bare: false }
    };
    let bare = element.text().map(|code| Token { system: None, code: Some(code), bare: true });
    let is_single = element.is_object() && (element.get("code").is_some() || element.get("value").is_some());
    let single = is_single.then(|| coding(element));
    bare.into_iter().chain(single).chain(element.all("coding").map(coding))
}
