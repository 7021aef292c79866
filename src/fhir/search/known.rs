//! A search decided by what is known of a resource beforehand, without reading it.
//!
//! Nothing is guessed: a clause on anything else, or one that what is known cannot answer exactly as the resource would,
//! leaves the answer open.

use super::clause::{Clause, Test, Wanted};
use super::date::Interval;
use super::query::Query;
use super::token::System;
use super::{reference, token};

/// What is known of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Known<'k> {
    /// The reference of its `subject` or `patient`; empty where it is not known.
    pub person: &'k str,
    /// Codings (system and code) of its `code` and of its `category`.
    pub code: &'k [(&'k str, &'k str)],
    pub category: &'k [(&'k str, &'k str)],
    /// What its `effective[x]` covers, of an Observation.
    pub effective_ms: Option<Interval>,
    pub updated_ms: i64,
}

impl Query {
    /// Whether a resource of the query's type matches, as far as what is known of it says.
    pub fn settled(&self, known: &Known<'_>) -> Option<bool> {
        if !self.links.is_empty() {
            return Some(false);
        }
        let mut all = Some(true);
        for clause in &self.clauses {
            match clause.settled(known, self.base.as_deref()) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all = None,
            }
        }
        all
    }
}

impl Clause {
    fn settled(&self, known: &Known<'_>, base: Option<&str>) -> Option<bool> {
        let (any, wanted) = match &self.test {
            Test::Any(wanted) => (true, wanted),
            Test::NoneOf(wanted) => (false, wanted),
            Test::Missing(_) => return None,
        };
        let parameter = &self.parameter;
        let is = |names: &[&str]| parameter.single.as_deref().is_some_and(|single| names.contains(&single));
        let each: &dyn Fn(&Wanted) -> Option<bool> = match parameter.code.as_str() {
            "_lastUpdated" if any => &|wanted| match wanted {
                Wanted::Date(date) => Some(date.matches((known.updated_ms, known.updated_ms.saturating_add(1)))),
                _ => None,
            },
            "patient" | "subject" if is(&["patient", "subject"]) && !known.person.is_empty() => {
                &|wanted| match wanted {
                    Wanted::Reference(wanted) => wanted.names(known.person, base),
                    _ => None,
                }
            }
            "code" if is(&["code"]) => &|wanted| settled_by(wanted, known.code),
            "category" if parameter.path.plain().is_some_and(|path| path.ends_with(".category")) => {
                &|wanted| settled_by(wanted, known.category)
            }
            "date" if is(&["effective"]) => &|wanted| match (wanted, known.effective_ms) {
                (Wanted::Date(date), Some(interval)) => Some(date.matches(interval)),
                _ => None,
            },
            _ => return None,
        };
        let mut found = Some(false);
        for wanted in wanted {
            match each(wanted) {
                Some(true) => return Some(any),
                Some(false) => {}
                None => found = None,
            }
        }
        found.map(|_| !any)
    }
}

/// What of a coding is empty may have been absent or not.
fn settled_by(wanted: &Wanted, codings: &[(&str, &str)]) -> Option<bool> {
    let whole = || codings.iter().filter(|(system, code)| !system.is_empty() && !code.is_empty());
    let Wanted::Token(wanted) = wanted else { return None };
    Some(match wanted {
        token::Wanted::Code { system: System::Any, code: Some(code), .. } => {
            codings.iter().any(|(_, known)| known == code)
        }
        token::Wanted::Code { system: System::Is(system), code: Some(code), .. } => {
            whole().any(|known| known == &(system.as_str(), code.as_str()))
        }
        token::Wanted::Set(set) => whole().any(|(system, code)| {
            set.groups.iter().any(|group| group.system == **system && group.codes.contains(code))
        }),
        token::Wanted::Related { system, codes } => {
            whole().any(|(known, code)| known == system && codes.contains(*code))
        }
        _ => return None,
    })
}

impl reference::Wanted {
    /// Whether it is met by a reference of that text; what is asked of an identifier a text does not say.
    fn names(&self, text: &str, base: Option<&str>) -> Option<bool> {
        if let reference::Wanted::Identifier(_) = self { None } else { Some(self.is_met_by(text, base)) }
    }
}
