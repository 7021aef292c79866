//! What a pack names that nobody knows: codes that their system has not, systems that are almost another, conditions that
//! never hold, countries that are none, and questions that no server of R4 is asked so.
//!
//! A destination may have systems and search parameters of its own, so that only what is close to something known is a
//! slip, and what it has beyond the standard can be said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value as Json;

use crate::fhir::definitions::{Kind as Defined, Registry, SearchKind};
use crate::fhir::terminology::{self, Membership};
use crate::fhir::tree::{Document, Kind, NodeId, json as tree};
use crate::fhir::validate::measures::{self, SNOMED};
use crate::national::Mistake;
use crate::national::compile::{
    CODE_COLUMNS, CODES, ERROR_COLUMNS, ERRORS, Main, WORD_COLUMNS, WORDS, measure_of, setting_of,
};
use crate::national::file::Ask;
use crate::national::slot::{Slot, Told};
use crate::national::table::rows;

/// Systems of which the standard speaks and that it does not define.
const ELSEWHERE: [&str; 16] = [
    "http://loinc.org",
    "http://snomed.info/sct",
    "http://unitsofmeasure.org",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://ncimeta.nci.nih.gov",
    "http://www.ama-assn.org/go/cpt",
    "http://hl7.org/fhir/sid/ndc",
    "http://hl7.org/fhir/sid/icd-10",
    "http://www.whocc.no/atc",
    "http://dicom.nema.org/resources/ontology/DCM",
    "http://www.radlex.org",
    "urn:iso:std:iso:3166",
    "urn:iso:std:iso:11073:10101",
    "urn:ietf:bcp:13",
    "urn:ietf:bcp:47",
    "urn:ietf:rfc:3986",
];

/// Parameters of every search that no definition lists (R4 §3.1.1).
const OF_EVERY_SEARCH: [&str; 13] = [
    "_sort",
    "_count",
    "_include",
    "_revinclude",
    "_summary",
    "_total",
    "_elements",
    "_contained",
    "_containedType",
    "_format",
    "_pretty",
    "_list",
    "_filter",
];

/// Types of FHIRPath itself.
const OF_FHIRPATH: [&str; 8] = ["Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity"];

/// Given out to nobody by ISO 3166-1, and yet a country to the institutions of the European Union; and the one for examples.
const COUNTRIES_OF_USE: [&str; 3] = ["EU", "XK", "XX"];

/// Everything that the files name and that nobody knows.
pub(super) fn unknown(main: &Main, files: &BTreeMap<String, String>) -> Vec<Mistake> {
    let mut found = Vec::new();
    let known = Known::new(main);
    country(main, &mut found);
    known.tables(files, &mut found);
    known.categories(&mut found);
    known.templates(files, &mut found);
    known.condition_of_request(&mut found);
    if known.is_r4 {
        known.lookups(&mut found);
    }
    found
}

/// A user-assigned code is well formed and means nobody.
fn country(main: &Main, found: &mut Vec<Mistake>) {
    let country = main.file.country.as_str();
    let is_listed = terminology::defines(None, "urn:iso:std:iso:3166", country) == Membership::In;
    if terminology::is_country(country) && !is_listed && !COUNTRIES_OF_USE.contains(&country) {
        main.wrong("country", format!("country: ISO 3166-1 gives {country} to no country"), found);
    }
}

struct Known<'m> {
    main: &'m Main,
    registry: std::sync::Arc<Registry>,
    systems: BTreeSet<String>,
    /// Whether the pack is of the release whose definitions are here.
    is_r4: bool,
}

impl<'m> Known<'m> {
    fn new(main: &'m Main) -> Self {
        let registry = Registry::core();
        let defined = registry.all(Defined::CodeSystem).map(|id| registry.head(id).url.to_string());
        let systems = defined.chain(measures::systems().chain(ELSEWHERE).map(str::to_owned)).collect();
        let is_r4 = main.file.fhir == "4.0.1";
        Known { main, registry, systems, is_r4 }
    }

    /// What is wrong with a code of a system, if anything is certainly.
    fn code(&self, system: &str, code: &str) -> Option<String> {
        let system = system.split('|').next().unwrap_or(system);
        if system.is_empty() || code.is_empty() {
            return None;
        }
        if let Some(doubt) = self.system(system) {
            return Some(doubt);
        }
        if terminology::has_check_digit(system, code) == Some(false) {
            return Some(format!("code: {code} is none of {system}: its form or its check digit is wrong"));
        }
        let defined = self.registry.code_system(system).filter(|_| self.is_r4);
        let is_out = terminology::defines(defined.map(AsRef::as_ref), system, code) == Membership::Out;
        // A copy may be older than the code, so that only what is close to one of its codes is a slip.
        let close = defined.filter(|known| known.is_dated).map(|known| {
            let is_close = |known: &str| letters(known) != letters(code) && distance(code, known, 2).is_some();
            known.concepts.iter().any(|concept| concept.code.len() > 4 && is_close(&concept.code))
        });
        (is_out && close != Some(false)).then(|| format!("code: {system} has no {code}"))
    }

    /// What is wrong with a system, if anything is certainly.
    fn system(&self, system: &str) -> Option<String> {
        if let Some(oid) = system.strip_prefix("urn:oid:") {
            return (!is_oid(oid)).then(|| format!("system: {system} is no OID"));
        }
        if self.systems.contains(system) {
            return None;
        }
        let meant = self.systems.iter().find(|known| is_almost(system, known))?;
        Some(format!("system: nobody knows {system}; {meant} is close to it"))
    }

    fn tables(&self, files: &BTreeMap<String, String>, found: &mut Vec<Mistake>) {
        for row in rows(CODES, files, CODE_COLUMNS, &mut Vec::new()).rows {
            let wrong =
                [self.code(row.get(3), row.get(4)), self.condition(row.get(2)).map(|why| format!("when: {why}"))];
            found.extend(wrong.into_iter().flatten().map(|text| Mistake::at(CODES, row.line, text)));
        }
        for row in rows(WORDS, files, WORD_COLUMNS, &mut Vec::new()).rows {
            let by = self.main.file.words.get(row.get(0)).map(|by| format!("{by}={}", row.get(1)));
            let never = by.and_then(|by| self.condition(&by)).map(|why| format!("from: {why}"));
            let wrong = [self.code(row.get(2), row.get(3)), never];
            found.extend(wrong.into_iter().flatten().map(|text| Mistake::at(WORDS, row.line, text)));
        }
        let issues = self.codes_of("http://hl7.org/fhir/issue-type");
        for row in rows(ERRORS, files, ERROR_COLUMNS, &mut Vec::new()).rows {
            let types = self.types(row.get(7)).filter(|_| self.is_r4).map(|why| format!("check: {why}"));
            let code = row.get(1);
            let is_known = code.is_empty() || issues.iter().any(|known| known.eq_ignore_ascii_case(code));
            let code = (!is_known).then(|| format!("code: FHIR has no issue {code}, so that no answer says it"));
            found.extend([types, code].into_iter().flatten().map(|text| Mistake::at(ERRORS, row.line, text)));
        }
    }

    fn categories(&self, found: &mut Vec<Mistake>) {
        for (name, category) in &self.main.file.categories {
            for (at, coding) in category.coding.iter().enumerate() {
                if let Some(why) = self.code(&coding.system, &coding.code) {
                    let key = format!("categories.{name}.coding.{at}");
                    self.main.wrong(&key, format!("categories.{name}: {why}"), found);
                }
            }
        }
        let person = self.main.file.person.identifiers.iter().enumerate();
        let person = person.map(|(at, system)| (format!("person.identifiers.{at}"), system));
        let device = self.main.file.device.system.iter().map(|system| ("device.system".to_owned(), system));
        let settings = self.main.file.settings.iter();
        let default =
            settings.filter_map(|(name, one)| Some((format!("settings.{name}.default"), one.default.as_ref()?)));
        for (key, system) in person.chain(device).chain(default).filter(|(_, system)| setting_of(system).is_none()) {
            if let Some(why) = self.system(system) {
                self.main.wrong(&key, format!("{key}: {why}"), found);
            }
        }
    }

    fn templates(&self, files: &BTreeMap<String, String>, found: &mut Vec<Mistake>) {
        for (file, text) in files.iter().filter(|(name, _)| name.strip_suffix(".json").is_some()) {
            if let Ok(document) = tree::parse(text.as_str()) {
                self.object(file, &document, document.root(), found);
            }
        }
    }

    /// Codings and conditions of a template and of what it holds.
    fn object(&self, file: &str, document: &Document, node: NodeId, found: &mut Vec<Mistake>) {
        let member = |name: &str| document.children(node).find(|member| document.key(*member) == name);
        if document.kind(node) == Kind::Object {
            let literal = |name: &str| member(name).filter(|one| !document.value(*one).contains('{'));
            let mut wrong = |at: NodeId, why: String| {
                found.push(Mistake::at(file, u64::from(document.position(at).line), why));
            };
            if let Some(system) = literal("system") {
                let code = literal("code").map(|code| (code, document.value(code)));
                let code = code.filter(|(code, _)| document.kind(*code) == Kind::String);
                let system_text = document.value(system);
                let (at, why) = match code {
                    Some((at, code)) => (at, self.code(system_text, code)),
                    None => (system, self.system(system_text)),
                };
                if let Some(why) = why {
                    wrong(at, why);
                }
            }
            self.asked(document, (member("method"), member("url"), member("ifNoneExist")), &mut wrong);
            self.said(document, &member, &mut wrong);
            for name in ["$if", "$unless"] {
                let Some(at) = member(name) else { continue };
                if let Some(why) = self.condition(document.value(at)) {
                    wrong(at, format!("{name}: {why}"));
                }
            }
        }
        if matches!(document.kind(node), Kind::Object | Kind::Array) {
            document.children(node).for_each(|child| self.object(file, document, child, found));
        }
    }

    /// What an entry asks of the destination: of which type, and on what condition.
    fn asked(
        &self,
        document: &Document,
        (method, url, condition): (Option<NodeId>, Option<NodeId>, Option<NodeId>),
        wrong: &mut impl FnMut(NodeId, String),
    ) {
        let (Some(_), Some(url)) = (method, url) else { return };
        let kind = document.value(url).split(['/', '?']).next().unwrap_or_default();
        let is_type = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
        if is_type && self.is_r4 && !self.registry.is_resource(kind) {
            wrong(url, format!("url: FHIR R4 has no {kind}"));
        }
        if let Some(at) = condition {
            for why in self.search(kind, document.value(at)) {
                wrong(at, format!("ifNoneExist: {why}"));
            }
        }
    }

    /// What is wrong with a condition on which something is created.
    fn search(&self, kind: &str, condition: &str) -> Vec<String> {
        let mut found = Vec::new();
        if condition.starts_with('?') {
            found.push("a condition is a search without a question mark".to_owned());
        }
        for slot in ["{request.uuid}", "{request.oid}"].into_iter().filter(|slot| condition.contains(slot)) {
            found.push(format!(
                "{slot} is another wherever other measurements come with it, so that all would be there twice"
            ));
        }
        let names = condition.trim_start_matches('?').split('&').map(|one| one.split('=').next().unwrap_or_default());
        let is_known = self.is_r4 && self.registry.is_resource(kind);
        for name in names.filter(|name| is_known && !name.contains('{')) {
            let why = self.parameter(kind, name);
            found.extend(why.map(|why| why.split(';').next().unwrap_or_default().to_owned()));
        }
        found
    }

    fn condition_of_request(&self, found: &mut Vec<Mistake>) {
        let request = &self.main.file.request;
        let Some(condition) = &request.condition else { return };
        let kind = request.path.split('/').next().unwrap_or_default();
        for why in self.search(kind, condition).into_iter().filter(|_| !condition.starts_with('?')) {
            self.main.wrong("request.condition", format!("request.condition: {why}"), found);
        }
    }

    /// Literals that every release has the same codes for, and references to types that there are.
    fn said(
        &self,
        document: &Document,
        member: &impl Fn(&str) -> Option<NodeId>,
        wrong: &mut impl FnMut(NodeId, String),
    ) {
        const CODED: [(&str, &str, &str); 3] = [
            ("Observation", "status", "http://hl7.org/fhir/observation-status"),
            ("Bundle", "type", "http://hl7.org/fhir/bundle-type"),
            ("Patient", "gender", "http://hl7.org/fhir/administrative-gender"),
        ];
        let literal = |at: NodeId| Some(document.value(at)).filter(|text| !text.contains('{') && !text.is_empty());
        let kind = member("resourceType").map(|kind| document.value(kind)).unwrap_or_default();
        // Of R4 the whole request is held against its definitions.
        for (_, name, system) in CODED.into_iter().filter(|(known, ..)| *known == kind && !self.is_r4) {
            let Some((at, said)) = member(name).and_then(|at| Some((at, literal(at)?))) else { continue };
            let known = self.codes_of(system);
            if !known.is_empty() && !known.contains(&said) {
                wrong(at, format!("{name}: {kind} has no {name} {said}; it is {}", known.join(", ")));
            }
        }
        let Some(at) = member("reference").filter(|at| document.kind(*at) == Kind::String) else { return };
        if let Some((kind, _)) = document.value(at).split_once('/')
            && self.is_r4
            && !kind.is_empty()
            && kind.bytes().all(|byte| byte.is_ascii_alphabetic())
            && !self.registry.is_resource(kind)
        {
            wrong(at, format!("reference: FHIR R4 has no {kind}"));
        }
    }

    /// Why a condition such as `meal=fasting` never holds, if that is certain.
    fn condition(&self, text: &str) -> Option<String> {
        let (name, word) = text.split_once('=')?;
        let slot = self.main.names().slot(name)?;
        if is_no_text(slot) {
            return Some(format!("{name} is no text that could be compared"));
        }
        let words: Vec<&str> = match slot {
            Slot::Measure if measure_of(word).is_none() => return Some(format!("the guide has no measure {word}")),
            Slot::Position if terminology::has_check_digit(SNOMED, word) == Some(false) => {
                return Some(format!("{name} is a code of SNOMED CT, and {word} is none"));
            }
            Slot::Meal => GUIDES.meal.iter().map(String::as_str).collect(),
            Slot::Recording => GUIDES.recording.iter().map(String::as_str).collect(),
            Slot::Statistic => GUIDES.statistic.iter().map(String::as_str).collect(),
            Slot::Status => self.codes_of("http://hl7.org/fhir/observation-status"),
            Slot::PersonGender => self.codes_of("http://hl7.org/fhir/administrative-gender"),
            Slot::Setting(at) => {
                let setting = self.main.file.settings.get(self.main.settings.get(usize::from(at))?)?;
                setting.one_of.iter().map(String::as_str).collect()
            }
            _ => return None,
        };
        let never = !words.is_empty() && !words.contains(&word);
        never.then(|| format!("{name} is never {word}; it is {}", words.join(", ")))
    }

    fn codes_of(&self, system: &str) -> Vec<&str> {
        let known = self.registry.code_system(system);
        known.map(|known| known.concepts.iter().map(|concept| &*concept.code).collect()).unwrap_or_default()
    }

    fn lookups(&self, found: &mut Vec<Mistake>) {
        let asks = self.main.file.lookup.iter().flat_map(|lookup| lookup.ask.iter().enumerate());
        for (at, ask) in asks {
            let mut wrong = |key: &str, why: String| {
                let key = format!("lookup.ask.{at}.{key}");
                self.main.wrong(&key, format!("{key}: {why}"), found);
            };
            for (name, text) in &ask.gives {
                if let Some(why) = self.types(text) {
                    wrong(&format!("gives.{name}"), why);
                }
            }
            let holds = ask.holds.as_deref().and_then(|text| self.types(text));
            if let Some(why) = holds {
                wrong("holds", why);
            }
            self.question(ask, wrong);
        }
    }

    /// What is asked: of which type, and by which of its search parameters.
    fn question(&self, ask: &Ask, mut wrong: impl FnMut(&str, String)) {
        let mut path = ask.path.split('/');
        let kind = path.next().unwrap_or_default();
        let below = path.next().unwrap_or_default();
        if kind.is_empty() || kind.starts_with('$') || !ask.path.is_ascii() {
            return;
        }
        if !self.registry.is_resource(kind) {
            return wrong("path", format!("FHIR R4 has no {kind}"));
        }
        // Operations have parameters of their own, and what is read by its id has none.
        if !below.is_empty() && below != "_search" {
            return;
        }
        for name in ask.query.keys().filter(|name| !ask.own.contains(name)) {
            if let Some(why) = self.parameter(kind, name) {
                wrong(&format!("query.{name}"), why);
            }
        }
        for (at, _) in ask.own.iter().enumerate().filter(|(_, name)| !ask.query.contains_key(*name)) {
            wrong(&format!("own.{at}"), "it is not asked by".to_owned());
        }
    }

    /// Why nothing of a type is found by a parameter, which may have a modifier or go on along a reference.
    fn parameter(&self, kind: &str, name: &str) -> Option<String> {
        let (own, chained) = name.split_once('.').map_or((name, None), |(own, rest)| (own, Some(rest)));
        let (own, modifier) = own.split_once(':').map_or((own, None), |(own, modifier)| (own, Some(modifier)));
        if OF_EVERY_SEARCH.contains(&own) || own == "_has" {
            return None;
        }
        let Some(known) = self.registry.search_parameters(kind).iter().find(|known| known.code == own) else {
            let own = format!("{kind} of FHIR R4 is not searched by {own}");
            return Some(format!("{own}; what the destination has beyond that is named in own"));
        };
        let is_type = |modifier: &str| known.kind == SearchKind::Reference && self.registry.is_resource(modifier);
        if let Some(modifier) =
            modifier.filter(|modifier| !modifiers(known.kind).contains(modifier) && !is_type(modifier))
        {
            return Some(format!("{own} has no modifier {modifier}"));
        }
        let rest = chained?;
        let targets: Vec<&str> = match modifier {
            Some(modifier) => vec![modifier],
            None => known.targets.iter().map(String::as_str).collect(),
        };
        let reasons: Vec<String> = targets.iter().map_while(|target| self.parameter(target, rest)).collect();
        // One of the types that it may lead to is enough.
        (known.kind != SearchKind::Reference || reasons.len() == targets.len())
            .then(|| reasons.into_iter().next().unwrap_or_else(|| format!("{own} leads to no other resource")))
    }

    /// The first type that an expression names and R4 has not.
    fn types(&self, expression: &str) -> Option<String> {
        // What stands in quotes is a text and names nothing.
        let expression: String = expression.split('\'').step_by(2).collect();
        let expression = expression.as_str();
        let named = ["ofType(", " is ", " as ", "is(", "as("].into_iter().flat_map(|before| {
            expression.match_indices(before).map(move |(at, _)| expression[at + before.len()..].trim_start())
        });
        let name = |rest: &str| {
            let rest = rest.strip_prefix("FHIR.").or_else(|| rest.strip_prefix("System.")).unwrap_or(rest).to_owned();
            rest.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
        };
        let unknown = named.map(name).find(|name| {
            let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic());
            is_name
                && !self.registry.is_type(name)
                && !self.registry.is_resource(name)
                && !OF_FHIRPATH.contains(&name.as_str())
        });
        unknown.map(|name| format!("FHIR R4 has no {name}"))
    }
}

/// What a search of a kind may be told beside the name (R4 §3.1.1.4.4).
fn modifiers(kind: SearchKind) -> &'static [&'static str] {
    match kind {
        SearchKind::String => &["missing", "exact", "contains"],
        SearchKind::Token => &["missing", "text", "not", "above", "below", "in", "not-in", "of-type"],
        SearchKind::Reference => &["missing", "identifier", "above", "below"],
        SearchKind::Uri => &["missing", "above", "below"],
        _ => &["missing"],
    }
}

/// What is written as something else than a text, so that no word is equal to it.
fn is_no_text(slot: Slot) -> bool {
    matches!(
        slot,
        Slot::Uuid
            | Slot::VersionUuid
            | Slot::VersionOid
            | Slot::DocumentUuid
            | Slot::Categories
            | Slot::Code
            | Slot::Value
            | Slot::Effective
            | Slot::Absent
            | Slot::Notes
            | Slot::Narrative
            | Slot::Copy(_)
            | Slot::DerivedFrom
            | Slot::PersonUuid
            | Slot::PersonGivens
            | Slot::PersonIdentifier
            | Slot::RequestUuid
            | Slot::RequestOid
            | Slot::Word(_, Told::Coding)
    )
}

/// What the guide's extensions may say.
struct Guides {
    meal: Vec<String>,
    recording: Vec<String>,
    statistic: Vec<String>,
}

static GUIDES: LazyLock<Guides> = LazyLock::new(|| {
    let listed = |text: &str, path: &str| {
        let definition: Json = serde_json::from_str(text).unwrap_or_default();
        let concepts = definition.pointer(path).and_then(Json::as_array).cloned().unwrap_or_default();
        concepts.iter().filter_map(|concept| concept["code"].as_str().map(str::to_owned)).collect()
    };
    Guides {
        meal: listed(include_str!("../../../profiles/compiled/CodeSystem-meal-time.json"), "/concept"),
        recording: listed(include_str!("../../../profiles/compiled/CodeSystem-recording-method.json"), "/concept"),
        statistic: listed(
            include_str!("../../../profiles/compiled/ValueSet-statistic.json"),
            "/compose/include/0/concept",
        ),
    }
});

/// Arcs without zeros before them, the first of which is 0, 1 or 2.
fn is_oid(text: &str) -> bool {
    let is_arc = |arc: &str| {
        !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
    };
    text.split('.').all(is_arc)
        && text.split('.').count() > 1
        && text.starts_with(['0', '1', '2'])
        && text[1..].starts_with('.')
}

/// Whether one address is most likely another with a slip: of its scheme, its ending, its letters' case, or of two letters.
/// Numbers tell families of systems apart and are no slip.
fn is_almost(one: &str, known: &str) -> bool {
    let bare = |text: &str| {
        let text = text.to_ascii_lowercase();
        let text = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
        text.trim_start_matches("www.").trim_end_matches('/').to_owned()
    };
    let (one, known) = (bare(one), bare(known));
    if one == known {
        return true;
    }
    let domain = |text: &str| {
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        host.rsplit_once('.').map(|(name, _)| format!("{name}/{path}"))
    };
    let long = known.len() >= 9 && letters(&one) != letters(&known);
    long && (domain(&one).is_some_and(|name| Some(name) == domain(&known)) || distance(&one, &known, 2).is_some())
}

fn letters(text: &str) -> String {
    text.replace(|letter: char| letter.is_ascii_digit(), "")
}

/// By how many letters two texts differ, up to a most; two that change places count once.
fn distance(one: &str, other: &str, most: usize) -> Option<usize> {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut row = vec![at + 1];
        for (place, against) in other.iter().enumerate() {
            let replaced = last[place] + usize::from(letter != against);
            let mut best = replaced.min(last[place + 1] + 1).min(row[place] + 1);
            if at > 0 && place > 0 && *letter == other[place - 1] && one[at - 1] == *against {
                best = best.min(before[place - 1] + 1);
            }
            row.push(best);
        }
        if row.iter().min().is_some_and(|least| *least > most) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|found| *found <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_addresses_are_told_from_other_addresses() {
        for (one, known, expected) in [
            ("http://loinc.com", "http://loinc.org", true),
            ("https://loinc.org", "http://loinc.org", true),
            ("http://loinc.org/", "http://loinc.org", true),
            ("http://lionc.org", "http://loinc.org", true),
            ("http://LOINC.org", "http://loinc.org", true),
            ("http://snomed.info/stc", "http://snomed.info/sct", true),
            ("urn:ietf:rfc:3968", "urn:ietf:rfc:3986", false),
            ("http://terminology.hl7.org/CodeSystem/v2-0204", "http://terminology.hl7.org/CodeSystem/v2-0203", false),
            ("http://codes.example", "http://loinc.org", false),
        ] {
            assert_eq!(is_almost(one, known), expected, "{one} {known}");
        }
        for (oid, expected) in
            [("1.2.208", true), ("2.999", true), ("3.1", false), ("1.02", false), ("1.2.l", false), ("1", false)]
        {
            assert_eq!(is_oid(oid), expected, "{oid}");
        }
    }

    #[test]
    fn the_guides_words_are_read() {
        for (words, one) in
            [(&GUIDES.meal, "fasting"), (&GUIDES.recording, "automatic"), (&GUIDES.statistic, "average")]
        {
            assert!(words.iter().any(|word| word == one), "{one}: {words:?}");
        }
    }
}
