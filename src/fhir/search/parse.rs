//! From the pairs of a query string to a [`Query`].
//!
//! Every pair is either understood, or reported: as an error, or as a warning where handling is lenient and
//! leaving the pair out is what that asks. A modifier or value that cannot be evaluated is always an error,
//! since dropping it would answer another question (R4 §3.1.1.4.4). Issues name the parameter, never its value.

use std::sync::Arc;

use super::clause::{Clause, Refusal};
use super::escape;
use super::include::Include;
use super::link::{self, Link};
use super::parameter::{self, Parameter};
use super::query::{Query, Summary, Total};
use super::sort::{Sort, SortBy};
use crate::fhir::definitions::{Registry, SearchKind};
use crate::fhir::outcome::{Id, Issue};

/// Parameters that belong to the server.
const SERVER: [&str; 3] = ["_format", "_pretty", "_page"];

/// Most pairs that are read.
const MAX_PAIRS: usize = 200;

impl Query {
    /// Reads pairs that are already percent-decoded.
    pub fn parse(kind: &str, pairs: &[(String, String)], registry: &Registry, lenient: bool) -> (Query, Vec<Issue>) {
        let query = Query { kind: kind.to_owned(), ..Query::default() };
        let mut parser = Parser { registry, lenient, query, issues: Vec::new(), depth: 0 };
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
    /// Links between the resource and what the parser is about.
    depth: usize,
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
            "_include" | "_include:iterate" | "_include:recurse" => self.include(name, text, false)?,
            "_revinclude" | "_revinclude:iterate" | "_revinclude:recurse" => self.include(name, text, true)?,
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
        if let Some(rest) = name.strip_prefix("_has:") {
            return self.reverse_chain(rest, text);
        }
        if let Some((reference, rest)) = name.split_once('.') {
            return self.chain(reference, rest, text);
        }
        let (code, modifier) = match name.split_once(':') {
            Some((code, modifier)) => (code, Some(modifier)),
            None => (name, None),
        };
        let parameter = parameter::find(&self.query.kind, code, self.registry).ok_or(UNKNOWN)?;
        if text.is_empty() {
            return Err(value("a value is needed"));
        }
        self.query.clauses.push(Clause::parse(parameter, modifier, text, self.registry)?);
        Ok(())
    }

    /// `reference[:Type].name=value`: of several types that it may point to, those that have the parameter.
    fn chain(&mut self, reference: &str, rest: &str, text: &str) -> Result<(), Refusal> {
        let (code, only) = match reference.split_once(':') {
            Some((code, kind)) => (code, Some(kind)),
            None => (reference, None),
        };
        let parameter = self.reference(&self.query.kind, code)?;
        // `patient` is a reference to a Patient, whatever its expression may point to.
        let only = only.or((code == "patient").then_some("Patient"));
        let kinds = parameter.targets.iter().filter(|kind| only.is_none_or(|only| only == *kind));
        let mut queries = Vec::new();
        let mut refusal = UNKNOWN;
        for kind in kinds {
            match self.inner(kind, rest, text) {
                Ok(query) => queries.push(query),
                Err(refused) if refused.id == Id::SearchParameterUnknown => {}
                Err(refused) => refusal = refused,
            }
        }
        if queries.is_empty() {
            return Err(refusal);
        }
        self.query.links.push(Link::To { parameter, queries });
        Ok(())
    }

    /// `_has:Type:reference:name=value`.
    fn reverse_chain(&mut self, rest: &str, text: &str) -> Result<(), Refusal> {
        let mut parts = rest.splitn(3, ':');
        let (Some(kind), Some(code), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(value("`_has` is _has:Type:reference:parameter"));
        };
        let parameter = self.reference(kind, code)?;
        let query = Box::new(self.inner(kind, name, text)?);
        let id = parameter::find(&self.query.kind, "_id", self.registry).ok_or(UNKNOWN)?;
        self.query.links.push(Link::From { parameter, query, id });
        Ok(())
    }

    fn reference(&self, kind: &str, code: &str) -> Result<Arc<Parameter>, Refusal> {
        let found = parameter::find(kind, code, self.registry);
        found.filter(|parameter| parameter.kind == SearchKind::Reference).ok_or(UNKNOWN)
    }

    /// What another resource has to meet.
    fn inner(&self, kind: &str, name: &str, text: &str) -> Result<Query, Refusal> {
        if self.depth == link::DEPTH {
            return Err(Refusal { id: Id::SearchTooCostly, expected: "at most 3 links stand in a row" });
        }
        let query = Query { kind: kind.to_owned(), ..Query::default() };
        let mut inner =
            Parser { registry: self.registry, lenient: false, query, issues: Vec::new(), depth: self.depth + 1 };
        inner.clause(name, text)?;
        Ok(inner.query)
    }

    fn include(&mut self, name: &str, text: &str, reverse: bool) -> Result<(), Refusal> {
        let expected = "it is Type:parameter or Type:parameter:Target, where the parameter is a reference of the type";
        let iterate = name.contains(':');
        let include = Include::parse(&self.query.kind, reverse, iterate, text, self.registry)
            .ok_or(Refusal { id: Id::SearchParameterUnknown, expected })?;
        self.query.includes.push(include);
        Ok(())
    }

    fn sort(&mut self, text: &str) -> Result<(), Refusal> {
        let mut sort = Vec::new();
        for part in escape::split(text, ',') {
            let (name, descending) = part.strip_prefix('-').map_or((part, false), |name| (name, true));
            let by = match name {
                "_lastUpdated" => SortBy::LastUpdated,
                "_id" => SortBy::Id,
                _ => self.sort_by(name)?,
            };
            sort.push(Sort { by, descending });
        }
        // Alone it is the order of the index; among others each resource tells it.
        if let [only] = sort.as_mut_slice()
            && matches!(&only.by, SortBy::Parameter(parameter) if parameter.code == "date")
        {
            only.by = SortBy::Date;
        }
        self.query.sort = sort;
        Ok(())
    }

    fn sort_by(&self, name: &str) -> Result<SortBy, Refusal> {
        let parameter = parameter::find(&self.query.kind, name, self.registry);
        match parameter.filter(|parameter| parameter.kind != SearchKind::Composite) {
            Some(parameter) => Ok(SortBy::Parameter(parameter)),
            None if self.lenient => {
                Err(Refusal { id: Id::SearchParameterUnknown, expected: "this order is not supported" })
            }
            None => Err(value("parameters of the type that are no composites, with - for descending")),
        }
    }

    fn unknown(&mut self, name: &str, expected: &str) {
        let id = if self.lenient { Id::SearchParameterIgnored } else { Id::SearchParameterUnknown };
        let ending = if self.lenient { "; it was ignored" } else { "" };
        self.issues.push(Issue::new(id, "", format!("Parameter {}: {expected}{ending}.", shown(name))));
        self.query.unknown.push(name.to_owned());
    }
}

/// A parameter's name as an issue may repeat it: only if it looks like one, and without what follows the colon.
pub fn shown(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let looks_like_one = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if begins && name.len() <= 64 && name.bytes().all(looks_like_one) { name } else { "(unreadable)" }
}

fn is_element_name(name: &str) -> bool {
    name.len() <= 128
        && name.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
