//! What an export is asked for: the parameters of Bulk Data Access 2.0 (<https://hl7.org/fhir/uv/bulkdata/STU2/>), read
//! and held against what the gateway holds.
//!
//! A parameter that cannot be honoured refuses the request, or is passed over with a word in the export's error file where
//! the client asks for lenient handling and what it gets is no more than what it asked for. Who may see what is not known here.

use serde::{Deserialize, Serialize};

use crate::exchange::is_id;
use crate::exchange::kinds::{self, KINDS, KindRule, Subject};
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::search::{Query, Summary, Total};
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

/// Whose data is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level<'a> {
    /// Everything.
    System,
    /// What belongs to persons.
    Patients,
    /// What belongs to the members of a group.
    Group(&'a str),
}

/// A parameter as it was sent.
pub type Pair = (String, String);

/// What is asked for, understood.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Types that are asked for by name.
    pub kinds: Option<Vec<String>>,
    /// Later than this; milliseconds.
    pub since_ms: Option<i64>,
    /// Earlier than this.
    pub until_ms: Option<i64>,
    /// By type, the parameters of a search; one that fits is enough.
    pub filters: Vec<(String, Vec<Pair>)>,
    /// Types, empty for every type, and names of their elements.
    pub elements: Vec<Pair>,
    /// Ids of the only persons.
    pub persons: Option<Vec<String>>,
    /// Whether persons are to be told by pseudonyms.
    pub deidentified: bool,
}

/// What is written of an export in every spelling that clients use.
const FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// The name under which persons are told by pseudonyms.
pub const DEIDENTIFIED: &str = "_deidentified";

/// Whether an export may have resources of a type: audit events are searched by themselves.
pub fn is_exported(rule: &KindRule) -> bool {
    rule.name != "AuditEvent"
}

struct Reader<'r> {
    asked: Asked,
    level: Level<'r>,
    registry: &'r Registry,
    lenient: bool,
    issues: Vec<Issue>,
}

impl Asked {
    /// Reads parameters; the issues are errors, or warnings of what is passed over.
    pub fn read(
        pairs: &[Pair],
        (level, posted): (Level<'_>, bool),
        registry: &Registry,
        lenient: bool,
    ) -> (Asked, Vec<Issue>) {
        let mut reader = Reader { asked: Asked::default(), level, registry, lenient, issues: Vec::new() };
        for (name, value) in pairs {
            reader.parameter(name, value, posted);
        }
        reader.filters_fit();
        reader.hides();
        (reader.asked, reader.issues)
    }

    /// Names of a type's elements that are asked for; none where all are.
    pub fn elements_of(&self, kind: &str) -> Vec<String> {
        let own = self.elements.iter().filter(|(of, _)| of.is_empty() || of == kind);
        own.map(|(_, name)| name.clone()).collect()
    }

    /// The searches that a type's resources are to meet, one of them at least; none where any resource will do.
    pub fn queries(&self, kind: &str, registry: &Registry, base: &str) -> Vec<Query> {
        let own = self.filters.iter().filter(|(of, _)| of == kind);
        own.map(|(_, pairs)| {
            let (mut query, _) = Query::parse(kind, pairs, registry, false);
            query.base = Some(base.to_owned());
            query
        })
        .collect()
    }
}

impl Reader<'_> {
    fn parameter(&mut self, name: &str, value: &str, posted: bool) {
        match name {
            "_outputFormat" => {
                if !FORMATS.contains(&value.replace(' ', "+").as_str()) {
                    self.wrong("_outputFormat", "An export is application/fhir+ndjson.");
                }
            }
            "_since" => self.asked.since_ms = self.moment("_since", value),
            "_until" => self.asked.until_ms = self.moment("_until", value),
            "_type" => value.split(',').for_each(|kind| self.kind(kind.trim())),
            "_typeFilter" => filters(value).into_iter().for_each(|(kind, query)| self.filter(kind, query)),
            "_elements" => value.split(',').for_each(|name| self.element(name.trim())),
            "patient" if !posted => self.wrong("patient", "The parameter patient is sent by POST, in Parameters."),
            "patient" if self.level == Level::System => {
                self.wrong("patient", "The parameter patient belongs to exports of persons or of a group.");
            }
            "patient" => {
                let id = value.strip_prefix("Patient/").unwrap_or(value);
                if is_id(id) {
                    self.asked.persons.get_or_insert_default().push(id.to_owned());
                } else {
                    self.wrong("patient", "The parameter patient is a reference Patient/id.");
                }
            }
            DEIDENTIFIED => match value {
                "true" => self.asked.deidentified = true,
                "false" => self.asked.deidentified = false,
                _ => self.wrong(DEIDENTIFIED, "The parameter _deidentified is true or false."),
            },
            "_format" | "_pretty" => {}
            "includeAssociatedData" => self.unknown("includeAssociatedData", "What is associated is asked for by _type."),
            _ => self.unknown("", "The parameters are _outputFormat, _since, _until, _type, _typeFilter, _elements, patient and _deidentified."),
        }
    }

    fn wrong(&mut self, place: &str, text: &str) {
        self.issues.push(Issue::new(Id::OperationParameter, place, text));
    }

    /// What may be passed over, since the client gets what it asked for all the same.
    fn unknown(&mut self, place: &str, text: &str) {
        let id = if self.lenient { Id::SearchParameterIgnored } else { Id::OperationParameter };
        let ending = if self.lenient { " A parameter was ignored." } else { "" };
        self.issues.push(Issue::new(id, place, format!("{text}{ending}")));
    }

    fn moment(&mut self, name: &'static str, value: &str) -> Option<i64> {
        // A '+' in a query means a space once decoded.
        let moment = Moment::parse(value).or_else(|| Moment::parse(&value.replacen(' ', "+", 1)));
        if moment.is_none() {
            self.wrong(name, &format!("The parameter {name} is an instant."));
        }
        moment.map(|moment| moment.interval_assuming_utc_ms().0)
    }

    fn kind(&mut self, name: &str) {
        let known = kinds::kind(name).filter(|rule| is_exported(rule));
        let kinds = self.asked.kinds.get_or_insert_default();
        match known {
            Some(rule) if self.level == Level::System || rule.subject != Subject::Nobody => {
                if !kinds.iter().any(|kind| kind == rule.name) {
                    kinds.push(rule.name.to_owned());
                }
            }
            Some(_) => {
                self.unknown("_type", "Resources of this type are no person's; they are exported at system level.");
            }
            None => self.unknown("_type", &format!("The types that are exported are {}.", exported())),
        }
    }

    fn filter(&mut self, kind: &str, query: &str) {
        let Some(rule) = kinds::kind(kind).filter(|rule| is_exported(rule)) else {
            // Passed over, the filter would hold back nothing of what is there.
            return self.unknown("_typeFilter", &format!("The types that are exported are {}.", exported()));
        };
        let pairs: Vec<Pair> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (read, issues) = Query::parse(rule.name, &pairs, self.registry, false);
        if has_errors(&issues) {
            let issues = issues.into_iter().map(|issue| Issue { expression: "_typeFilter".to_owned(), ..issue });
            return self.issues.extend(issues);
        }
        let presents = !read.sort.is_empty()
            || read.count.is_some()
            || !read.includes.is_empty()
            || read.summary != Summary::No
            || read.total != Total::None
            || !read.elements.is_empty();
        if presents {
            return self.wrong("_typeFilter", "A filter says which resources are meant, and not how they are shown.");
        }
        if !read.links.is_empty() {
            return self.wrong("_typeFilter", "A filter is met by a resource alone, without chains and _has.");
        }
        self.asked.filters.push((rule.name.to_owned(), pairs));
    }

    /// A filter says something of a type that is asked for.
    fn filters_fit(&mut self) {
        let Some(kinds) = &self.asked.kinds else { return };
        if self.asked.filters.iter().any(|(kind, _)| !kinds.contains(kind)) {
            self.wrong("_typeFilter", "A filter is for a type that _type names.");
        }
    }

    /// Who may say which persons or which times are meant learns of whoever is told by a pseudonym.
    fn hides(&mut self) {
        let asked = &self.asked;
        let narrows = asked.since_ms.is_some()
            || asked.until_ms.is_some()
            || asked.persons.is_some()
            || !asked.filters.is_empty()
            || !asked.elements.is_empty()
            || matches!(self.level, Level::Group(_));
        if asked.deidentified && narrows {
            self.wrong(
                DEIDENTIFIED,
                "A de-identified export is of everybody and of all times, narrowed by _type alone.",
            );
        }
    }

    fn element(&mut self, text: &str) {
        let (kind, name) = text.split_once('.').unwrap_or(("", text));
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_name(name) || !(kind.is_empty() || is_name(kind)) {
            return self
                .wrong("_elements", "An element is named as element or Type.element, at the root of a resource.");
        }
        self.asked.elements.push((kind.to_owned(), name.to_owned()));
    }
}

fn exported() -> String {
    let names: Vec<&str> = KINDS.iter().filter(|rule| is_exported(rule)).map(|rule| rule.name).collect();
    names.join(", ")
}

/// Filters that commas divide. A comma within a search's values is followed by no name of a type and question mark.
fn filters(text: &str) -> Vec<(&str, &str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut begin = 0;
    let ends = text.match_indices(',').map(|(at, _)| at).filter(|at| begins_filter(&text[at + 1..]));
    for end in ends.chain([text.len()]) {
        let one = text[begin..end].trim();
        found.push(one.split_once('?').unwrap_or((one, "")));
        begin = end + 1;
    }
    found
}

fn begins_filter(text: &str) -> bool {
    text.trim_start().split_once('?').is_some_and(|(kind, _)| {
        kind.starts_with(|first: char| first.is_ascii_uppercase())
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Pairs of Parameters; nothing where it is another resource.
pub fn posted(parameters: Element<'_>) -> Option<Vec<Pair>> {
    (parameters.resource_type() == Some("Parameters")).then_some(())?;
    let pair = |parameter: Element<'_>| {
        let name = parameter.text_of("name").unwrap_or_default().to_owned();
        let reference = parameter.get("valueReference").and_then(|value| value.text_of("reference"));
        let mut values = parameter.children().filter(|(name, _)| name.starts_with("value"));
        let text = match reference {
            Some(reference) => Some(reference.to_owned()),
            None => values.find_map(|(_, value)| match value.boolean() {
                Some(said) => Some(said.to_string()),
                None => value.text().map(str::to_owned),
            }),
        };
        (name, text.unwrap_or_default())
    };
    Some(parameters.all("parameter").map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, level: Level<'_>, posted: bool, lenient: bool) -> (Asked, Vec<Id>) {
        let pairs: Vec<Pair> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (asked, issues) = Asked::read(&pairs, (level, posted), &Registry::core(), lenient);
        (asked, issues.into_iter().map(|issue| issue.id).collect())
    }

    #[test]
    fn what_can_be_honoured_is_understood() {
        for format in ["application/fhir%2Bndjson", "application/fhir+ndjson", "application/ndjson", "ndjson"] {
            assert_eq!(read(&format!("_outputFormat={format}"), Level::System, false, false).1, []);
        }
        let (asked, issues) = read(
            "_since=2026-01-01T00:00:00%2B01:00&_type=Observation,Patient&_type=Patient&_elements=id,Patient.gender",
            Level::Patients,
            false,
            false,
        );
        assert_eq!(issues, []);
        assert_eq!(asked.since_ms, Some(1_767_222_000_000));
        assert_eq!(asked.kinds, Some(vec!["Observation".to_owned(), "Patient".to_owned()]));
        assert_eq!(asked.elements_of("Patient"), ["id", "gender"]);
        assert_eq!(asked.elements_of("Observation"), ["id"]);
        let (asked, _) = read("patient=Patient/a&patient=b", Level::Group("g"), true, false);
        assert_eq!(asked.persons, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert!(read("_deidentified=true&_type=Observation", Level::System, false, false).0.deidentified);
    }

    #[test]
    fn filters_are_searches_and_any_of_them_will_do() {
        let sent = "_typeFilter=Observation%3Fcode%3D8867-4%2C8310-5%26date%3Dgt2026,Patient%3Factive%3Dtrue\
                    &_typeFilter=Observation%3Fstatus%3Dfinal";
        let (asked, issues) = read(sent, Level::System, false, false);
        assert_eq!(issues, []);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            asked.filters,
            [
                ("Observation".to_owned(), vec![pair("code", "8867-4,8310-5"), pair("date", "gt2026")]),
                ("Patient".to_owned(), vec![pair("active", "true")]),
                ("Observation".to_owned(), vec![pair("status", "final")]),
            ]
        );
        assert_eq!(asked.queries("Observation", &Registry::core(), "").len(), 2);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_or_passed_over() {
        use Id::{OperationParameter as Refused, SearchParameterIgnored as Ignored};
        for (query, level, posted, strict, lenient) in [
            ("_outputFormat=csv", Level::System, false, Refused, Refused),
            ("_since=yesterday", Level::System, false, Refused, Refused),
            ("_type=Medication", Level::System, false, Refused, Ignored),
            ("_type=AuditEvent", Level::System, false, Refused, Ignored),
            ("_type=Group", Level::Patients, false, Refused, Ignored),
            ("includeAssociatedData=LatestProvenanceResources", Level::System, false, Refused, Ignored),
            ("organizeOutputBy=Patient", Level::System, false, Refused, Ignored),
            ("_elements=Patient.name.given", Level::System, false, Refused, Refused),
            ("patient=Patient/a", Level::Patients, false, Refused, Refused),
            ("patient=Patient/a", Level::System, true, Refused, Refused),
            ("patient=a/b", Level::Patients, true, Refused, Refused),
            ("_typeFilter=Observation?_sort=date", Level::System, false, Refused, Refused),
            ("_typeFilter=Observation?patient.family=a", Level::System, false, Refused, Refused),
            ("_typeFilter=Medication?code=1", Level::System, false, Refused, Ignored),
            ("_type=Patient&_typeFilter=Observation?code=1", Level::System, false, Refused, Refused),
            ("_deidentified=yes", Level::System, false, Refused, Refused),
            ("_deidentified=true", Level::Group("g"), false, Refused, Refused),
            ("_deidentified=true&_since=2026-01-01", Level::System, false, Refused, Refused),
            ("_deidentified=true&_until=2026-01-01", Level::System, false, Refused, Refused),
            ("_deidentified=true&_elements=code", Level::System, false, Refused, Refused),
            ("_deidentified=true&patient=Patient/a", Level::Patients, true, Refused, Refused),
            ("_deidentified=true&_typeFilter=Observation?status=final", Level::System, false, Refused, Refused),
        ] {
            assert_eq!(read(query, level, posted, false).1, [strict], "{query}");
            assert_eq!(read(query, level, posted, true).1, [lenient], "{query}");
        }
        let unknown = read("_typeFilter=Observation?favourite=1", Level::System, false, true).1;
        assert_eq!(unknown, [Id::SearchParameterUnknown], "a filter that is not understood would widen the answer");
    }
}
