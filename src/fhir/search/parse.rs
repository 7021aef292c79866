//! From the pairs of a query string to a [`Query`].
//!
//! Every pair is either understood, or reported: as an error, or as a warning where handling is lenient and
//! leaving the pair out is what that asks. A modifier or value that cannot be evaluated is always an error,
//! since dropping it would answer another question (R4 §3.1.1.4.4). Issues name the parameter, never its value.

use super::clause::{Clause, Refusal};
use super::escape;
use super::parameter;
use super::query::{Query, Sort, SortBy, Summary, Total};
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::{Id, Issue};

/// Parameters that belong to the server.
const SERVER: [&str; 3] = ["_format", "_pretty", "_page"];

/// Most pairs that are read.
const MAX_PAIRS: usize = 200;

impl Query {
    /// Reads pairs that are already percent-decoded.
    pub fn parse(kind: &str, pairs: &[(String, String)], registry: &Registry, lenient: bool) -> (Query, Vec<Issue>) {
        let query = Query { kind: kind.to_owned(), ..Query::default() };
        let mut parser = Parser { registry, lenient, query, issues: Vec::new() };
        if pairs.len() > MAX_PAIRS {
            let text = format!("A search takes at most {MAX_PAIRS} parameters.");
            parser.issues.push(Issue::new(Id::SearchTooCostly, "", text));
        }
        for (name, value) in pairs.iter().take(MAX_PAIRS) {
            if SERVER.contains(&name.as_str()) {
                continue;
            }
            match parser.pair(name, value) {
                Ok(()) => parser.query.understood.push((name.clone(), value.clone())),
                Err(Refusal { id: Id::SearchParameterUnknown, expected }) => parser.unknown(name, expected),
                Err(Refusal { id, expected }) => {
                    parser.issues.push(Issue::new(id, "", format!("Parameter {}: {expected}.", shown(name))));
                }
            }
        }
        (parser.query, parser.issues)
    }
}

struct Parser<'r> {
    registry: &'r Registry,
    lenient: bool,
    query: Query,
    issues: Vec<Issue>,
}

const UNKNOWN: Refusal =
    Refusal { id: Id::SearchParameterUnknown, expected: "there is no such parameter for this resource type" };

fn value(expected: &'static str) -> Refusal {
    Refusal { id: Id::SearchValue, expected }
}

impl Parser<'_> {
    fn pair(&mut self, name: &str, text: &str) -> Result<(), Refusal> {
        match name {
            "_count" => self.query.count = Some(text.parse().map_err(|_| value("a whole number, zero or more"))?),
            "_sort" => self.sort(text)?,
            "_summary" => {
                self.query.summary = match text {
                    "false" => Summary::No,
                    "true" => Summary::True,
                    "count" => Summary::Count,
                    "text" => Summary::Text,
                    "data" => Summary::Data,
                    _ => return Err(value("true, false, count, text or data")),
                }
            }
            "_total" => {
                self.query.total = match text {
                    "none" => Total::None,
                    "estimate" => Total::Estimate,
                    "accurate" => Total::Accurate,
                    _ => return Err(value("none, estimate or accurate")),
                }
            }
            // Some clients send this in place of `_total`.
            "_totalMethod" => match text {
                "count" => self.query.total = Total::Accurate,
                _ => return Err(value("count")),
            },
            "_elements" => {
                let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
                if !names.iter().all(|name| is_element_name(name)) {
                    return Err(value("names of elements, separated by commas"));
                }
                self.query.elements = names;
            }
            _ => self.clause(name, text)?,
        }
        Ok(())
    }

    fn clause(&mut self, name: &str, text: &str) -> Result<(), Refusal> {
        let (code, modifier) = match name.split_once(':') {
            Some((code, modifier)) => (code, Some(modifier)),
            None => (name, None),
        };
        if code.contains('.') || modifier.is_some_and(|modifier| modifier.contains(['.', ':'])) {
            let expected = "chained searches are not supported";
            return Err(Refusal { id: Id::SearchParameterUnknown, expected });
        }
        if matches!(code, "_include" | "_revinclude" | "_has") {
            let expected = "it is not supported";
            return Err(Refusal { id: Id::SearchParameterUnknown, expected });
        }
        let parameter = parameter::find(&self.query.kind, code, self.registry).ok_or(UNKNOWN)?;
        if text.is_empty() {
            return Err(value("a value is needed"));
        }
        self.query.clauses.push(Clause::parse(parameter, modifier, text, self.registry)?);
        Ok(())
    }

    fn sort(&mut self, text: &str) -> Result<(), Refusal> {
        let mut sort = Vec::new();
        for part in escape::split(text, ',') {
            let (name, descending) = part.strip_prefix('-').map_or((part, false), |name| (name, true));
            let by = match name {
                "_lastUpdated" => SortBy::LastUpdated,
                "_id" => SortBy::Id,
                "date" if parameter::find(&self.query.kind, "date", self.registry).is_some() => SortBy::Date,
                _ if self.lenient => {
                    return Err(Refusal { id: Id::SearchParameterUnknown, expected: "this order is not supported" });
                }
                _ => return Err(value("date where the type has it, _lastUpdated or _id, with - for descending")),
            };
            sort.push(Sort { by, descending });
        }
        self.query.sort = sort;
        Ok(())
    }

    fn unknown(&mut self, name: &str, expected: &str) {
        let id = if self.lenient { Id::SearchParameterIgnored } else { Id::SearchParameterUnknown };
        let ending = if self.lenient { "; it was ignored" } else { "" };
        self.issues.push(Issue::new(id, "", format!("Parameter {}: {expected}{ending}.", shown(name))));
        self.query.unknown.push(name.to_owned());
    }
}

/// A parameter's name as an issue may repeat it: only if it looks like one, and without what follows the colon.
fn shown(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let looks_like_one = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if begins && name.len() <= 64 && name.bytes().all(looks_like_one) { name } else { "(unreadable)" }
}

fn is_element_name(name: &str) -> bool {
    name.len() <= 128
        && name.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
