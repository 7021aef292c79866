//! From the files of a pack to a [`Pack`], or to everything that is wrong with them: file, line, and what is expected.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rust_decimal::Decimal;

use super::Mistake;
use super::answer::{Answers, Check, IDS, Line, Meaning, Who};
use super::file::{Category, Corrections, File};
use super::lookup;
use super::manifest;
use super::pack::{
    Codes, Conversion, Form, Narrative, Need, Number, Pack, Request, Row, Setting, System, Time, Unit, Version, Word,
    Words, address,
};
use super::slot;
use super::table::rows;
use super::template::{self, Node, Only};
use crate::fhir::fhirpath;
use crate::fhir::terminology::{self, ucum};
use crate::fhir::tree::write::string;
use crate::fhir::validate::measures::{self, Measure};

/// Names of the files that every pack has.
const MAIN: &str = "pack.toml";
const MEASURES: &str = "measures.csv";
const CODES: &str = "codes.csv";
const WORDS: &str = "words.csv";
const ERRORS: &str = "errors.csv";

/// The template that becomes the body of a request.
const WHOLE: &str = "request";

impl Pack {
    /// Compiles the files of a pack, by name, or says everything that is wrong with them.
    pub fn compile(files: &BTreeMap<String, String>) -> Result<Pack, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let pack = compile(files, &mut mistakes);
        match pack {
            Some(pack) if mistakes.is_empty() => Ok(pack),
            _ => Err(mistakes),
        }
    }
}

fn compile(files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Option<Pack> {
    for name in [MAIN, MEASURES, CODES, &format!("{WHOLE}.json")] {
        if !files.contains_key(name) {
            mistakes.push(Mistake::of(name, "the file is missing"));
        }
    }
    for name in files.keys() {
        let table = [MAIN, MEASURES, CODES, WORDS, ERRORS].contains(&name.as_str());
        if !table && name.strip_suffix(".json").is_none() {
            mistakes.push(Mistake::of(
                name,
                "no pack has such a file; expected are pack.toml, tables and templates (.json)",
            ));
        }
    }
    let text = files.get(MAIN)?;
    let mut file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() as u64 + 1);
            mistakes.push(Mistake::at(MAIN, line, error.message().to_owned()));
            return None;
        }
    };
    let version = checked(&file, text, mistakes);
    let settings: Vec<String> = file.settings.keys().cloned().collect();
    let words = words(&file, files, &settings, mistakes);
    let named: Vec<String> = words.iter().map(|words| words.name.clone()).collect();
    let (parts, whole) = parts(files, &settings, &named, mistakes);
    let lookup = file.lookup.take().map(|said| {
        lookup::compile(said, (&settings, &named), |stands, wrong| {
            mistakes.push(lookup::mistake(MAIN, text, stands, wrong));
        })
    });
    let names_there = files.iter().any(|(name, text)| name.strip_suffix(".json").is_some() && text.contains("{there}"));
    if names_there != (file.request.corrections == Corrections::Update) {
        mistakes
            .push(Mistake::of(MAIN, "request.corrections is update where a template names {there}, and only there"));
    }
    let rows = lines(&file, files, &settings, &named, mistakes);
    let systems: Vec<System> =
        file.person.identifiers.iter().filter_map(|system| known_by(system, text, &settings, mistakes)).collect();
    let device_system = file.device.system.as_deref().and_then(|system| known_by(system, text, &settings, mistakes));
    Some(Pack {
        by_measure: by_measure(&rows),
        answers: answers(files, mistakes),
        id: file.id,
        version: version?,
        digest: manifest::digest(files),
        title: file.title,
        country: file.country,
        country_name: file.country_name,
        direction: file.direction,
        status: file.status,
        fhir: file.fhir,
        source: file.source,
        request: Request {
            method: file.request.method,
            path: file.request.path,
            most: file.request.most,
            corrections: file.request.corrections,
            removal: file.request.removal,
            repeatable: file.request.repeatable,
            answer: file.request.answer,
            format: file.request.format,
        },
        lookup,
        settings: file
            .settings
            .into_iter()
            .map(|(name, one)| Setting {
                name,
                what: one.what,
                default: one.default,
                one_of: one.one_of,
                optional: one.optional,
            })
            .collect(),
        rounding: file.numbers.rounding,
        narrative: file.narrative.map(|one| Narrative {
            language: one.language,
            code: one.code,
            time: one.time,
            value: one.value,
        }),
        known_by: systems,
        app_otherwise: file.device.app_otherwise,
        device_system,
        words,
        parts,
        whole: whole?,
        rows,
    })
}

/// What of `pack.toml` has rules of its own.
fn checked(file: &File, source: &str, mistakes: &mut Vec<Mistake>) -> Option<Version> {
    // What is said begins with the key that is meant.
    let mut wrong = |text: &str| {
        let key = text.split(' ').next().unwrap_or_default();
        mistakes.push(Mistake { file: MAIN.to_owned(), line: line_of(source, key), text: text.to_owned() });
    };
    let is_id = |id: &str| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !is_id(&file.id) {
        wrong("id consists of a-z, 0-9 and -");
    }
    let version = Version::parse(&file.version);
    if version.is_none() {
        wrong("version is three numbers, such as 1.0.0");
    }
    if !["3.0.2", "4.0.1", "5.0.0"].contains(&file.fhir.as_str()) {
        wrong("fhir is 3.0.2, 4.0.1 or 5.0.0");
    }
    if !["POST", "PUT"].contains(&file.request.method.as_str()) {
        wrong("request.method is POST or PUT");
    }
    let country = &file.country;
    if country != "EU" && !terminology::is_country(country) {
        wrong("country is of two letters as ISO 3166-1 has it, such as DE, or EU");
    }
    if !["push", "pull", "push and pull", "none yet"].contains(&file.direction.as_str()) {
        wrong("direction is push, pull, push and pull, or none yet");
    }
    for (key, text) in [("title", &file.title), ("country_name", &file.country_name), ("source", &file.source)] {
        if text.trim().is_empty() {
            wrong(&format!("{key} is empty"));
        }
    }
    for (name, category) in &file.categories {
        for coding in category.coding.iter().filter(|coding| !is_uri(&coding.system) || coding.code.is_empty()) {
            let what = if coding.code.is_empty() { "a code" } else { "a system that is a URI" };
            wrong(&format!("categories.{name} has a coding without {what}"));
        }
    }
    let systems = file.person.identifiers.iter().map(|system| ("person.identifiers", system));
    for (key, system) in systems.chain(file.device.system.iter().map(|system| ("device.system", system))) {
        if !system.starts_with("{setting.") && !is_uri(system) {
            wrong(&format!("{key} is a URI or {{setting.NAME}}"));
        }
    }
    if !lookup::is_below(&file.request.path) {
        wrong("request.path is relative to the address of the destination, without a question mark");
    }
    if file.request.most == 0 {
        wrong("request.most is at least 1");
    }
    for (name, setting) in &file.settings {
        if !is_id(name) {
            wrong(&format!("settings.{name} has a name that is not of a-z, 0-9 and -"));
        }
        if let Some(default) = &setting.default
            && !setting.one_of.is_empty()
            && !setting.one_of.contains(default)
        {
            wrong(&format!("settings.{name}.default is one of those that it may be"));
        }
    }
    version
}

/// Whether something names a code system or a profile: a scheme, and no space.
fn is_uri(text: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    text.split_once(':').is_some_and(|(first, rest)| scheme(first) && !rest.is_empty())
        && !text.contains(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>' | '"'))
}

/// The line of a key such as `request.path`, or of its section where the key stands elsewhere.
fn line_of(source: &str, key: &str) -> Option<u64> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let (mut within, mut found) = ("", None);
    for (line, text) in (1..).zip(source.lines()) {
        let text = text.trim();
        if let Some(head) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            within = head;
            if head == key {
                return Some(line);
            }
            found = found.or_else(|| (head == section).then_some(line));
        }
        let is_it = text.split_once('=').is_some_and(|(known, _)| known.trim() == name);
        if within == section && is_it {
            return Some(line);
        }
    }
    found
}

fn known_by(system: &str, source: &str, settings: &[String], mistakes: &mut Vec<Mistake>) -> Option<System> {
    let Some(name) = system.strip_prefix("{setting.").and_then(|rest| rest.strip_suffix('}')) else {
        return Some(System::Fixed(system.to_owned()));
    };
    let found = settings.iter().position(|known| known == name).map(System::Setting);
    if found.is_none() {
        let line = source.lines().position(|line| line.contains(system)).map(|at| at as u64 + 1);
        let text = format!("person.identifiers, device.system: no setting is called {name}");
        mistakes.push(Mistake { file: MAIN.to_owned(), line, text });
    }
    found
}

fn words(
    file: &File,
    files: &BTreeMap<String, String>,
    settings: &[String],
    mistakes: &mut Vec<Mistake>,
) -> Vec<Words> {
    let mut all = Vec::new();
    for (name, by) in &file.words {
        if let Some(by) = slot::named(by, settings, &[]) {
            all.push(Words { name: name.clone(), by, lines: Vec::new() });
        } else {
            let line = files.get(MAIN).and_then(|source| line_of(source, &format!("words.{name}")));
            let text = format!("words.{name}: no slot is called {by}");
            mistakes.push(Mistake { file: MAIN.to_owned(), line, text });
        }
    }
    let Some(text) = files.get(WORDS) else { return all };
    for row in rows(WORDS, text, ["table", "from", "system", "code", "display"], mistakes) {
        let Some(words) = all.iter_mut().find(|words| words.name == row.get(0)) else {
            mistakes.push(Mistake::at(WORDS, row.line, "table: expected is one of [words] in pack.toml".to_owned()));
            continue;
        };
        let [from, system, code, display] = [1, 2, 3, 4].map(|at| row.get(at).to_owned());
        if !system.is_empty() && !is_uri(&system) {
            mistakes.push(Mistake::at(WORDS, row.line, "system: expected is a URI, or nothing".to_owned()));
        }
        if words.lines.iter().any(|line| line.from == from) {
            mistakes.push(Mistake::at(WORDS, row.line, "from: it stands twice".to_owned()));
        }
        words.lines.push(Word { from, system, code, display });
    }
    all
}

/// The templates, and which of them is the request.
fn parts(
    files: &BTreeMap<String, String>,
    settings: &[String],
    words: &[String],
    mistakes: &mut Vec<Mistake>,
) -> (Vec<Node>, Option<usize>) {
    let templates: Vec<(&String, String)> =
        files.keys().filter_map(|file| Some((file, file.strip_suffix(".json")?.to_owned()))).collect();
    let names: Vec<String> = templates.iter().map(|(_, name)| name.clone()).collect();
    let mut compiler = template::Compiler { settings, words, parts: &names, mistakes };
    let parts: Vec<Node> = templates.iter().map(|(file, _)| compiler.template(file, &files[*file])).collect();
    for (at, (file, _)) in templates.iter().enumerate() {
        if includes(&parts[at], at, &parts, parts.len()) {
            mistakes.push(Mistake::of(file, "the template includes itself"));
            return (parts, None);
        }
    }
    (parts, names.iter().position(|name| name == WHOLE))
}

/// Whether a template leads to a certain one in so many steps.
fn includes(node: &Node, wanted: usize, parts: &[Node], steps: usize) -> bool {
    match node {
        Node::Part(at) | Node::Encoded(at) => {
            *at == wanted || steps > 0 && includes(&parts[*at], wanted, parts, steps - 1)
        }
        Node::Array(items) => items.iter().any(|item| includes(item, wanted, parts, steps)),
        Node::Object(object) => object.members.iter().any(|member| includes(&member.node, wanted, parts, steps)),
        Node::Raw(_) | Node::Slot(_) | Node::Text(_) => false,
    }
}

/// What `measures.csv` and `codes.csv` say.
fn lines(
    file: &File,
    files: &BTreeMap<String, String>,
    settings: &[String],
    words: &[String],
    mistakes: &mut Vec<Mistake>,
) -> Vec<Row> {
    let mut all: Vec<(u64, Row)> = Vec::new();
    if let Some(text) = files.get(MEASURES) {
        let columns = [
            "measure",
            "form",
            "profile",
            "category",
            "unit",
            "unit_text",
            "unit_system",
            "number",
            "times",
            "time",
            "needs",
            "note",
        ];
        for line in rows(MEASURES, text, columns, mistakes) {
            let known = all.iter().any(|(_, row)| row.measure == line.get(0));
            let field = Fields { file, settings, words, line: line.line };
            match field.row([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|at| line.get(at))) {
                Ok(_) if known => {
                    mistakes.push(Mistake::at(MEASURES, line.line, "measure: it stands twice".to_owned()));
                }
                Ok(row) => all.push((line.line, row)),
                Err(wrong) => mistakes.extend(wrong.into_iter().map(|text| Mistake::at(MEASURES, line.line, text))),
            }
        }
    }
    if let Some(text) = files.get(CODES) {
        codes(text, &mut all, settings, words, mistakes);
    }
    for (line, row) in &all {
        let taken = row.form != Form::Refused;
        if taken && row.codes.is_empty() && row.inside.is_empty() || row.form == Form::Inside && row.inside.is_empty() {
            mistakes.push(Mistake::at(MEASURES, *line, "measure: codes.csv has no code of it".to_owned()));
        }
    }
    all.into_iter().map(|(_, row)| row).collect()
}

struct Fields<'f> {
    file: &'f File,
    settings: &'f [String],
    words: &'f [String],
    line: u64,
}

impl Fields<'_> {
    fn row(&self, fields: [&str; 12]) -> Result<Row, Vec<String>> {
        let [measure, form, profile, category, unit, unit_text, unit_system, number, times, time, needs, note] = fields;
        let mut wrong = Vec::new();
        let known = measures::all().iter().find(|known| known.key == measure);
        if known.is_none() {
            wrong.push("measure: expected is a key of the guide's table of measures".to_owned());
        }
        let form = Form::named(form).unwrap_or_else(|| {
            wrong.push(
                "form: expected is quantity, components, split, inside, series, coded, part or refused".to_owned(),
            );
            Form::Refused
        });
        let number = match number {
            "" => Number::AsSent,
            "integer" => Number::Fraction(0),
            digits => digits.parse().ok().filter(|digits| *digits <= 9).map_or_else(
                || {
                    wrong.push("number: expected is integer, or how many digits stand behind the point".to_owned());
                    Number::AsSent
                },
                Number::Fraction,
            ),
        };
        let times = (!times.is_empty()).then(|| times.parse::<Decimal>().ok().filter(|factor| *factor > Decimal::ZERO));
        if times == Some(None) {
            wrong.push("times: expected is a number greater than 0".to_owned());
        }
        let times = times.flatten();
        let time = match time {
            "" => Time::AsSent,
            "date" => Time::Date,
            "start" => Time::Start,
            "from" => Time::From,
            _ => {
                wrong.push("time: expected is date, start or from, or nothing".to_owned());
                Time::AsSent
            }
        };
        let unit = (!unit.is_empty()).then(|| compiled_unit(known, [unit, unit_text, unit_system], times.is_some()));
        let unit = unit.and_then(|unit| unit.map_err(|text| wrong.push(text)).ok());
        if unit.is_none()
            && matches!(form, Form::Quantity | Form::Inside | Form::Series | Form::Part)
            && wrong.is_empty()
        {
            wrong.push("unit: expected is the text that the destination wants in code".to_owned());
        }
        for (column, text) in [("profile", profile), ("unit_system", unit_system)] {
            if !text.is_empty() && !is_uri(text) {
                wrong.push(format!("{column}: expected is a URI, or nothing"));
            }
        }
        let categories = self.categories(category).map_err(|text| wrong.push(text)).unwrap_or_default();
        let needs = self.needs(needs).map_err(|text| wrong.push(text)).unwrap_or_default();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Row {
            measure: measure.to_owned(),
            form,
            profile: profile.to_owned(),
            categories,
            unit,
            number,
            times,
            time,
            needs,
            codes: Vec::new(),
            inside: Vec::new(),
            system: String::new(),
            code: String::new(),
            note: note.to_owned(),
        })
    }

    fn categories(&self, names: &str) -> Result<String, String> {
        let mut out = String::new();
        for name in names.split_whitespace() {
            let category = self.file.categories.get(name);
            let category = category.ok_or_else(|| format!("category: [categories.{name}] is missing in pack.toml"))?;
            out.push(if out.is_empty() { '[' } else { ',' });
            concept_of(category, &mut out);
        }
        if !out.is_empty() {
            out.push(']');
        }
        Ok(out)
    }

    fn needs(&self, needs: &str) -> Result<Vec<Need>, String> {
        let need = |name: &str| {
            if measures::all().iter().any(|measure| measure.key == name) {
                return Ok(Need::Component(name.to_owned()));
            }
            let slot = slot::named(name, self.settings, self.words).map(Need::Slot);
            slot.ok_or_else(|| format!("needs: {name} is neither a measure nor a slot (line {})", self.line))
        };
        needs.split_whitespace().map(need).collect()
    }
}

fn concept_of(category: &Category, out: &mut String) {
    out.push_str("{\"coding\":[");
    for (index, one) in category.coding.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        coding(&one.system, &one.code, one.display.as_deref().unwrap_or_default(), out);
    }
    out.push(']');
    if let Some(text) = &category.text {
        out.push_str(",\"text\":");
        string(text, out);
    }
    out.push('}');
}

/// A code system, and the version of it that is meant, if one is.
fn versioned(system: &str) -> (&str, Option<&str>) {
    system.split_once('|').map_or((system, None), |(system, version)| (system, Some(version)))
}

/// A Coding, as JSON.
pub(super) fn coding(system: &str, code: &str, display: &str, out: &mut String) {
    let (system, version) = versioned(system);
    out.push_str("{\"system\":");
    string(system, out);
    if let Some(version) = version {
        out.push_str(",\"version\":");
        string(version, out);
    }
    out.push_str(",\"code\":");
    string(code, out);
    if !display.is_empty() {
        out.push_str(",\"display\":");
        string(display, out);
    }
    out.push('}');
}

fn compiled_unit(measure: Option<&Measure>, [code, text, system]: [&str; 3], has_factor: bool) -> Result<Unit, String> {
    let system = if system.is_empty() { ucum::SYSTEM } else { system };
    let text = if text.is_empty() { code } else { text };
    let is_ucum = system == ucum::SYSTEM;
    if is_ucum && !ucum::valid(code) {
        return Err("unit: expected is UCUM; another system of units is named in unit_system".to_owned());
    }
    let mut from = Vec::new();
    for unit in measure.map(|measure| measure.units.as_slice()).unwrap_or_default() {
        // Of what is no UCUM nothing is known, so it is the measure's usual unit by another name, or has a factor.
        if !is_ucum {
            from.push((unit.code.to_owned(), Conversion::Same));
            break;
        }
        let one = ucum::convert(Decimal::ONE, unit.code, code);
        let zero = ucum::convert(Decimal::ZERO, unit.code, code);
        let Some(factor) = one.map(|one| one.normalize()).filter(|_| zero == Some(Decimal::ZERO)) else { continue };
        if factor == Decimal::ONE {
            from.push((unit.code.to_owned(), Conversion::Same));
        } else if factor.scale() <= 12 {
            from.push((unit.code.to_owned(), Conversion::Factor(factor)));
        }
    }
    let is_known = |unit: &measures::Unit| ucum::comparable(unit.code, code);
    if is_ucum
        && !has_factor
        && measure.is_some_and(|measure| !measure.units.is_empty() && !measure.units.iter().any(is_known))
    {
        return Err(
            "unit: expected is one that the measure's units can be converted into, or a factor in times".to_owned()
        );
    }
    let mut tail = String::from(",\"unit\":");
    string(text, &mut tail);
    tail.push_str(",\"system\":");
    string(system, &mut tail);
    tail.push_str(",\"code\":");
    string(code, &mut tail);
    tail.push('}');
    Ok(Unit { system: system.to_owned(), code: code.to_owned(), text: text.to_owned(), tail, from })
}

/// The row, whether it is a component's, the condition, and the codings.
type Concept = (usize, bool, String, Vec<[String; 3]>);

fn codes(text: &str, all: &mut [(u64, Row)], settings: &[String], words: &[String], mistakes: &mut Vec<Mistake>) {
    // Codings of one concept stand in several lines: where, when, and what there is of it so far.
    let mut concepts: Vec<Concept> = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows(CODES, text, ["measure", "at", "when", "system", "code", "display"], mistakes) {
        let mut wrong = |text: &str| mistakes.push(Mistake::at(CODES, row.line, text.to_owned()));
        let Some(at) = all.iter().position(|(_, known)| known.measure == row.get(0)) else {
            wrong("measure: measures.csv has no line of it");
            continue;
        };
        let inside = match row.get(1) {
            "" => false,
            "component" => true,
            _ => {
                wrong("at: expected is component, or nothing");
                continue;
            }
        };
        if row.get(3).is_empty() || row.get(4).is_empty() {
            wrong("system, code: both are expected");
            continue;
        }
        if !is_uri(row.get(3)) {
            wrong("system: expected is a URI, such as http://loinc.org or urn:oid:1.2.3");
        }
        if row.get(4).trim() != row.get(4) || row.get(4).contains("  ") {
            wrong("code: it has spaces that no code has");
        }
        let line = (at, row.get(1).to_owned(), row.get(2).to_owned(), row.get(3).to_owned(), row.get(4).to_owned());
        if !seen.insert(line) {
            wrong("code: it stands twice");
        }
        let coding = [3, 4, 5].map(|at| row.get(at).to_owned());
        let when = row.get(2).to_owned();
        match concepts.iter_mut().find(|known| known.0 == at && known.1 == inside && known.2 == when) {
            Some(known) => known.3.push(coding),
            None => concepts.push((at, inside, when, vec![coding])),
        }
        if only(row.get(2), settings, words).is_err() {
            wrong("when: expected is a slot and a word, such as meal=fasting");
        }
    }
    for (at, inside, when, codings) in concepts {
        let mut concept = String::from("{\"coding\":[");
        for (index, [system, code, display]) in codings.iter().enumerate() {
            if index > 0 {
                concept.push(',');
            }
            coding(system, code, display, &mut concept);
        }
        concept.push_str("]}");
        let row = &mut all[at].1;
        // What always holds stands for the measure, where destinations are compared.
        if row.system.is_empty() || when.is_empty() && !inside {
            [row.system, row.code] = [versioned(&codings[0][0]).0.to_owned(), codings[0][1].clone()];
        }
        let display = if codings[0][2].is_empty() { &codings[0][1] } else { &codings[0][2] };
        let codes = Codes {
            when: only(&when, settings, words).unwrap_or_default(),
            concept,
            display: display.clone(),
            codings: codings.into_iter().map(|[system, code, _]| (versioned(&system).0.to_owned(), code)).collect(),
        };
        if inside { row.inside.push(codes) } else { row.codes.push(codes) }
    }
    for (_, row) in all {
        // What holds under a condition counts before what always holds.
        row.codes.sort_by_key(|codes| codes.when.is_none());
        row.inside.sort_by_key(|codes| codes.when.is_none());
    }
}

/// The condition of a line; the error where it is none.
fn only(text: &str, settings: &[String], words: &[String]) -> Result<Option<Only>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, is) = text.split_once('=').ok_or(())?;
    let slot = slot::named(name, settings, words).ok_or(())?;
    Ok(Some(Only { slot, is: Some(is.to_owned()), not: false }))
}

/// Which rows a measure may mean. A code that several measures share means any of theirs.
fn by_measure(rows: &[Row]) -> HashMap<usize, Vec<usize>> {
    let mut found: HashMap<usize, Vec<usize>> = HashMap::new();
    let codes = measures::all().iter().flat_map(|measure| &measure.codes);
    for measure in codes.filter_map(|code| measures::measure(code.system, code.code)) {
        let own: Vec<usize> =
            measure.key.split(" or ").filter_map(|key| rows.iter().position(|row| row.measure == key)).collect();
        if !own.is_empty() {
            found.insert(address(measure), own);
        }
    }
    found
}

fn answers(files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Answers {
    let Some(text) = files.get(ERRORS) else { return Answers::default() };
    let mut lines = Vec::new();
    let mut any = None;
    for row in rows(ERRORS, text, ["status", "code", "text", "id", "again", "who", "rule", "check"], mistakes) {
        let mut wrong = |text: &str| mistakes.push(Mistake::at(ERRORS, row.line, text.to_owned()));
        let status = row.get(0);
        if let Some(line) = any {
            wrong(&format!("status: it is never reached, since line {line} means every answer"));
        }
        any = any.or((status.is_empty() && row.get(1).is_empty() && row.get(2).is_empty()).then_some(row.line));
        if !status.is_empty() && !status.parse::<u16>().is_ok_and(|status| (400..600).contains(&status)) {
            wrong("status: expected is a number from 400 to 599, or nothing");
        }
        let Some(id) = IDS.into_iter().find(|id| id.code() == row.get(3)) else {
            let names: Vec<&str> = IDS.iter().map(|id| id.code()).collect();
            wrong(&format!("id: expected is {}", names.join(" or ")));
            continue;
        };
        let Some(who) = Who::named(row.get(5)) else {
            wrong("who: expected is operator, app, person or destination");
            continue;
        };
        if !["yes", "no", "there"].contains(&row.get(4)) {
            wrong("again: expected is yes or no, or there where the same has arrived before");
        }
        let check = match fhirpath::compile(row.get(7)) {
            _ if row.get(7).is_empty() => None,
            Err(_) => {
                wrong("check: expected is FHIRPath on the request, or nothing");
                None
            }
            Ok(holds) => {
                let (status, code, text) =
                    (status.parse().unwrap_or(422), row.get(1).to_owned(), row.get(2).replace('*', ""));
                Some(Check { holds, status, code, text })
            }
        };
        lines.push(Line {
            check,
            status: status.parse().ok(),
            code: Some(row.get(1).to_owned()).filter(|code| !code.is_empty()),
            text: row.get(2).split('*').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            meaning: Meaning {
                id,
                again: row.get(4) == "yes",
                there: row.get(4) == "there",
                who,
                rule: row.get(6).to_owned(),
            },
        });
    }
    Answers { lines }
}
