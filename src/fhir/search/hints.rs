//! What must be true of everything that a query matches, in the terms that a store indexes.
//!
//! Hints are necessary conditions, never sufficient ones: a store that narrows by them loses nothing, and the
//! match decides. A clause that implies nothing simple gives no hint, nor does one on an element that a store
//! keeps one value of while the resource may repeat it.

use super::clause::{Clause, Test, Wanted};
use super::date::{self, Interval};
use super::query::Query;
use super::{reference, token};
use crate::fhir::definitions::Codes;

/// Every `Some` holds for everything that matches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hints {
    /// The resource's id is one of these.
    pub ids: Option<Vec<String>>,
    /// Its `subject` or `patient` is one of these Patients.
    pub patients: Option<Vec<String>>,
    /// Its `code` has one of these (system, code); without a system, in any or none.
    pub codes: Option<Vec<(Option<String>, String)>>,
    /// The interval that its `date` covers meets this half-open one. A Period or a Timing may begin long before,
    /// so an index that keeps only beginnings must look at these apart.
    pub date_ms: Option<Interval>,
    /// It was last updated in this half-open interval.
    pub updated_ms: Option<Interval>,
    /// It has this identifier; without a system, in any or none.
    pub identifier: Option<(Option<String>, String)>,
}

impl Hints {
    pub(super) fn of(query: &Query) -> Hints {
        let mut hints = Hints::default();
        for clause in &query.clauses {
            let Test::Any(wanted) = &clause.test else { continue };
            match clause.parameter.code.as_str() {
                "_id" => narrow(&mut hints.ids, ids(wanted)),
                "_lastUpdated" => hints.updated_ms = meets(hints.updated_ms, dates(wanted)),
                "patient" | "subject" if is_single(clause, &["patient", "subject"]) => {
                    narrow(&mut hints.patients, patients(wanted, query.base.as_deref()));
                }
                // A concept may have one coding for each of two clauses, so only one of them narrows.
                "code" if hints.codes.is_none() && is_single(clause, &["code"]) => hints.codes = codes(wanted),
                // Two clauses may be met by two repetitions; only of a single element they bound the same value.
                "date" if hints.date_ms.is_none() || clause.parameter.single.is_some() => {
                    hints.date_ms = meets(hints.date_ms, dates(wanted));
                }
                "identifier" if hints.identifier.is_none() && is_direct(clause, "identifier") => {
                    hints.identifier = identifier(wanted);
                }
                _ => {}
            }
        }
        hints
    }
}

fn is_single(clause: &Clause, names: &[&str]) -> bool {
    clause.parameter.single.as_deref().is_some_and(|single| names.contains(&single))
}

fn is_direct(clause: &Clause, name: &str) -> bool {
    let path = clause.parameter.path.plain();
    path.and_then(|path| path.split_once('.')).is_some_and(|(_, rest)| rest == name)
}

/// Keeps what both lists have.
fn narrow(known: &mut Option<Vec<String>>, given: Option<Vec<String>>) {
    if let Some(given) = given {
        *known = Some(match known.take() {
            Some(known) => known.into_iter().filter(|each| given.contains(each)).collect(),
            None => given,
        });
    }
}

/// An interval that is met by whatever one interval meets both.
fn meets(known: Option<Interval>, given: Option<Interval>) -> Option<Interval> {
    let (Some(known), Some(given)) = (known, given) else { return known.or(given) };
    let (low, high) = (known.0.max(given.0), known.1.min(given.1));
    // What meets both of two intervals apart covers the gap between them, and so the end of the earlier one.
    Some(if low < high { (low, high) } else { (high.saturating_sub(1), high) })
}

fn ids(wanted: &[Wanted]) -> Option<Vec<String>> {
    let each = |wanted: &Wanted| match wanted {
        Wanted::Token(token::Wanted::Code { code: Some(code), .. }) => Some(code.clone()),
        _ => None,
    };
    wanted.iter().map(each).collect()
}

fn dates(wanted: &[Wanted]) -> Option<Interval> {
    let each = |wanted: &Wanted| match wanted {
        Wanted::Date(wanted) => wanted.met(),
        _ => date::ALWAYS,
    };
    wanted.iter().map(each).reduce(date::hull).filter(|interval| *interval != date::ALWAYS)
}

fn patients(wanted: &[Wanted], base: Option<&str>) -> Option<Vec<String>> {
    let each = |wanted: &Wanted| match wanted {
        Wanted::Reference(reference) => patient(reference, base),
        _ => None,
    };
    wanted.iter().map(each).collect()
}

fn patient(wanted: &reference::Wanted, base: Option<&str>) -> Option<String> {
    wanted.local(base).filter(|(kind, _)| *kind == Some("Patient")).map(|(_, id)| id.to_owned())
}

/// Value sets of more codes than this narrow nothing: looking each up would cost more than it saves.
const MOST_CODES: usize = 200;

fn codes(wanted: &[Wanted]) -> Option<Vec<(Option<String>, String)>> {
    let mut codes = Vec::new();
    for wanted in wanted {
        match wanted {
            Wanted::Token(token::Wanted::Code { system: token::System::Any, code: Some(code), .. }) => {
                codes.push((None, code.clone()));
            }
            Wanted::Token(token::Wanted::Code { system: token::System::Is(system), code: Some(code), .. }) => {
                codes.push((Some(system.clone()), code.clone()));
            }
            Wanted::Token(token::Wanted::Set(set)) => {
                if set.groups.iter().any(|group| matches!(group.codes, Codes::Listed { case_sensitive: false, .. })) {
                    return None;
                }
                let each = set.groups.iter().flat_map(|group| group.codes.each().map(move |code| (group, code)));
                let each = each.map(|(group, code)| (Some(group.system.clone()), code.to_owned()));
                codes.extend(each.take(MOST_CODES + 1));
            }
            Wanted::Token(token::Wanted::Related { system, codes: related }) => {
                codes.extend(related.iter().take(MOST_CODES + 1).map(|code| (Some(system.clone()), code.clone())));
            }
            _ => return None,
        }
        if codes.len() > MOST_CODES {
            return None;
        }
    }
    Some(codes)
}

fn identifier(wanted: &[Wanted]) -> Option<(Option<String>, String)> {
    match wanted {
        [Wanted::Token(token::Wanted::Code { system, code: Some(code), .. })] => match system {
            token::System::Is(system) => Some((Some(system.clone()), code.clone())),
            token::System::Any | token::System::Absent => Some((None, code.clone())),
        },
        _ => None,
    }
}
