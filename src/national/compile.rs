//! From the files of a pack to a [`Pack`], or to everything that is wrong with them: file, line, and what is expected.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rust_decimal::Decimal;

use super::Mistake;
use super::address::{self, Way};
use super::answer::{self, Answers, Check, IDS, Meaning, Who};
use super::file::{Category, Corrections, File, REQUIRED};
use super::lookup;
use super::lost::Asked;
use super::manifest;
use super::pack::{
    Codes, Conversion, Form, Line, Narrative, Need, Number, Pack, Request, Row, Setting, System, Time, Unit, Version,
    Word, Words, address,
};
use super::quantity;
use super::slot::{NOT_THERE, Names, Slot, no_setting, no_words};
use super::table::rows;
use super::template::{self, Node, Only};
use super::written::{self, Places};
use crate::fhir::fhirpath;
use crate::fhir::terminology::{self, ucum};
use crate::fhir::tree::time;
use crate::fhir::tree::write::string;
use crate::fhir::validate::measures::{self, Measure};

/// Names of the files that every pack has.
pub(super) const MAIN: &str = "pack.toml";
pub(super) const MEASURES: &str = "measures.csv";
pub(super) const CODES: &str = "codes.csv";
pub(super) const WORDS: &str = "words.csv";
pub(super) const ERRORS: &str = "errors.csv";

/// What the columns of the tables are called.
pub(super) const MEASURE_COLUMNS: [&str; 14] = [
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
    "[parts]",
    "[plus]",
];
pub(super) const CODE_COLUMNS: [&str; 6] = ["measure", "at", "when", "system", "code", "display"];
pub(super) const ERROR_COLUMNS: [&str; 9] =
    ["status", "code", "text", "id", "again", "who", "rule", "check", "[severity]"];
pub(super) const WORD_COLUMNS: [&str; 5] = ["table", "from", "system", "code", "display"];

/// The template that becomes the body of a request.
const WHOLE: &str = "request";

impl Pack {
    /// Compiles the files of a pack, by name, or says everything that is wrong with them.
    pub fn compile(files: &BTreeMap<String, String>) -> Result<Pack, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        Pack::of(files, &mut mistakes).ok_or_else(|| gathered(mistakes))
    }

    /// The same, with each mistake where it stands put to the rest.
    pub(super) fn of(files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Option<Pack> {
        compile(files, mistakes).filter(|_| mistakes.is_empty())
    }
}

/// In the order of the files, the same of several lines said once.
pub(super) fn gathered(mistakes: Vec<Mistake>) -> Vec<Mistake> {
    const MOST: usize = 8;
    type Places = BTreeSet<(String, Option<u64>)>;
    let mut places: BTreeMap<(String, String), Places> = BTreeMap::new();
    for Mistake { file, line, text } in mistakes {
        let within = if text.starts_with(NOT_THERE) { String::new() } else { file.clone() };
        places.entry((within, text)).or_default().insert((file, line));
    }
    let mut all = Vec::with_capacity(places.len());
    for ((within, mut text), places) in places {
        let mut places = places.into_iter();
        let Some((file, line)) = places.next() else { continue };
        let place = |(file, line): (String, Option<u64>)| {
            let line = line.map(|line| line.to_string()).unwrap_or_default();
            if within.is_empty() { format!("{file}:{line}") } else { line }
        };
        let mut others = places.map(place);
        let named: Vec<String> = others.by_ref().take(MOST).collect();
        if !named.is_empty() {
            let more = others.count();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let word = if within.is_empty() { "at" } else { "in line" };
            text.push_str(&format!(" (also {word} {}{more})", named.join(", ")));
        }
        all.push(Mistake { file, line, text });
    }
    all.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    all
}

/// `pack.toml`, as far as it can be read.
pub(super) struct Main {
    pub file: File,
    pub places: Places,
    /// Whether it could be read at all; if not, nothing that it might say is missing.
    pub is_there: bool,
    /// What they are called, those that cannot be read among them.
    pub settings: Vec<String>,
    pub words: Vec<String>,
}

impl Main {
    pub fn read(files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Main {
        let read = files.get(MAIN).map(|text| written::read::<File>(MAIN, text, REQUIRED, mistakes));
        let (file, places) = read.unwrap_or_default();
        let is_there = file.is_some();
        let file = file.unwrap_or_default();
        let (settings, words) = (places.names("settings"), places.names("words"));
        Main { file, places, is_there, settings, words }
    }

    pub fn names(&self) -> Names<'_> {
        let whole = self.is_there && !self.places.is_lost("settings") && !self.places.is_lost("words");
        Names { settings: &self.settings, words: &self.words, whole }
    }

    /// What is wrong with a key; nothing follows from one that was told of already.
    pub fn wrong(&self, key: &str, text: String, mistakes: &mut Vec<Mistake>) {
        if !self.places.is_lost(key) {
            mistakes.push(Mistake::at(MAIN, self.places.line(key), text));
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
    let main = Main::read(files, mistakes);
    let version = if main.is_there { checked(&main, mistakes) } else { None };
    let words = words(&main, files, mistakes);
    let (parts, whole) = parts(files, main.names(), mistakes);
    if main.is_there {
        named_there(&main, files, mistakes);
        systems(&main, mistakes);
    }
    let way = if main.is_there { address::compile(&main, files, mistakes) } else { Way::default() };
    let rows = lines(&main, files, mistakes);
    let answers = answers(files, mistakes);
    let whole_names = main.names().whole;
    let Main { mut file, places, settings, words: named, .. } = main;
    let lookup = file.lookup.take().map(|said| {
        let names = Names { settings: &settings, words: &named, whole: whole_names };
        lookup::compile(said, names, |key, text| {
            if !places.is_lost(key) {
                mistakes.push(Mistake::at(MAIN, places.line(key), format!("{key}: {text}")));
            }
        })
    });
    let identifiers = file.person.identifiers.iter();
    let systems: Vec<System> = identifiers.filter_map(|system| known_by(system, &settings)).collect();
    let zone = file.time.zone.as_deref().and_then(|zone| known_by(zone, &settings));
    let device_system = file.device.system.as_deref().and_then(|system| known_by(system, &settings));
    Some(Pack {
        by_measure: by_measure(&rows),
        answers,
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
            way,
            most: file.request.most,
            parts: file.request.parts,
            corrections: file.request.corrections,
            removal: file.request.removal,
            repeatable: file.request.repeatable,
            answer: file.request.answer,
            format: file.request.format,
            trace: file.request.trace,
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
        zone,
        words,
        asked: whole.map(|whole| Asked::of(&parts[whole], &parts)).unwrap_or_default(),
        parts,
        whole: whole?,
        rows,
    })
}

/// Corrections go to what has a name there, and nothing else does.
fn named_there(main: &Main, files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) {
    let is_named = |(name, text): (&String, &String)| name.strip_suffix(".json").is_some() && text.contains("{there}");
    if files.iter().any(is_named) != (main.file.request.corrections == Corrections::Update) {
        let text = "request.corrections is update where a template names {there}, and only there".to_owned();
        main.wrong("request.corrections", text, mistakes);
    }
}

/// What of `pack.toml` has rules of its own.
fn checked(main: &Main, mistakes: &mut Vec<Mistake>) -> Option<Version> {
    let file = &main.file;
    // What is said begins with the key that is meant.
    let mut wrong = |text: &str| {
        let key = text.split(' ').next().unwrap_or_default();
        main.wrong(key, text.to_owned(), mistakes);
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

/// Systems are written out, or are a setting of the operator's.
fn systems(main: &Main, mistakes: &mut Vec<Mistake>) {
    let listed = main.file.person.identifiers.iter().enumerate();
    let listed = listed.map(|(at, system)| (format!("person.identifiers.{at}"), system));
    for (key, system) in listed.chain(main.file.device.system.iter().map(|system| ("device.system".to_owned(), system)))
    {
        match setting_of(system) {
            Some(name) if !main.settings.iter().any(|known| known == name) => {
                main.wrong(&key, no_setting(name), mistakes);
            }
            None if !is_uri(system) => main.wrong(&key, format!("{key} is a URI or {{setting.NAME}}"), mistakes),
            _ => {}
        }
    }
    match main.file.time.zone.as_deref().map(|zone| (zone, setting_of(zone))) {
        Some((_, Some(name))) if !main.settings.iter().any(|known| known == name) => {
            main.wrong("time.zone", no_setting(name), mistakes);
        }
        Some((zone, None)) if !time::is_zone(zone) => {
            main.wrong("time.zone", "time.zone is a name such as Europe/Oslo, or {setting.NAME}".to_owned(), mistakes);
        }
        _ => {}
    }
}

/// Whether something names a code system or a profile: a scheme, and no space.
pub(super) fn is_uri(text: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    text.split_once(':').is_some_and(|(first, rest)| scheme(first) && !rest.is_empty())
        && !text.contains(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>' | '"'))
}

/// The setting that a system is, where it is one.
pub(super) fn setting_of(system: &str) -> Option<&str> {
    system.strip_prefix("{setting.").and_then(|rest| rest.strip_suffix('}'))
}

fn known_by(system: &str, settings: &[String]) -> Option<System> {
    let Some(name) = setting_of(system) else { return Some(System::Fixed(system.to_owned())) };
    settings.iter().position(|known| known == name).map(System::Setting)
}

fn words(main: &Main, files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Vec<Words> {
    let mut all = Vec::new();
    let names = Names { words: &[], ..main.names() };
    for (name, by) in &main.file.words {
        if let Some(why) = names.unknown(by) {
            main.wrong(&format!("words.{name}"), format!("words.{name}: {why}"), mistakes);
        }
        // A table that is named so is there for its lines and for templates, whatever chooses among them.
        let by = names.slot(by).unwrap_or(Slot::Measure);
        all.push(Words { name: name.clone(), by, lines: Vec::new() });
    }
    for row in rows(WORDS, files, WORD_COLUMNS, mistakes).rows {
        let [from, system, code, display] = [1, 2, 3, 4].map(|at| row.get(at).to_owned());
        if !system.is_empty() && !is_uri(&system) {
            mistakes.push(Mistake::at(WORDS, row.line, "system: expected is a URI, or nothing".to_owned()));
        }
        let Some(words) = all.iter_mut().find(|words| words.name == row.get(0)) else {
            if names.whole && !main.words.iter().any(|known| known == row.get(0)) {
                mistakes.push(Mistake::at(WORDS, row.line, no_words(row.get(0))));
            }
            continue;
        };
        if words.lines.iter().any(|line| line.from == from) {
            mistakes.push(Mistake::at(WORDS, row.line, "from: it stands twice".to_owned()));
        }
        words.lines.push(Word { from, system, code, display });
    }
    all
}

/// The templates, and which of them is the request.
fn parts(files: &BTreeMap<String, String>, own: Names<'_>, mistakes: &mut Vec<Mistake>) -> (Vec<Node>, Option<usize>) {
    let templates: Vec<(&String, String)> =
        files.keys().filter_map(|file| Some((file, file.strip_suffix(".json")?.to_owned()))).collect();
    let names: Vec<String> = templates.iter().map(|(_, name)| name.clone()).collect();
    let mut compiler = template::Compiler { names: own, parts: &names, mistakes };
    let parts: Vec<Node> = templates.iter().map(|(file, _)| compiler.template(file, &files[*file])).collect();
    for (at, (file, _)) in templates.iter().enumerate() {
        if includes(&parts[at], at, &parts, parts.len()) {
            mistakes.push(Mistake::at(
                file,
                leads(&files[*file], at, &names, &parts),
                "the template includes itself".to_owned(),
            ));
            return (parts, None);
        }
    }
    (parts, names.iter().position(|name| name == WHOLE))
}

/// The line of a template by which it leads to itself.
fn leads(text: &str, wanted: usize, names: &[String], parts: &[Node]) -> u64 {
    let back = |name: &str| {
        let at = names.iter().position(|known| known == name);
        at.is_some_and(|at| at == wanted || includes(&parts[at], wanted, parts, parts.len()))
    };
    let of_line = |line: &str| {
        line.split('"').any(|part| part.strip_prefix('@').is_some_and(|name| back(name.trim_start_matches('@'))))
    };
    text.lines().position(of_line).map_or(1, |at| at as u64 + 1)
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
fn lines(main: &Main, files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> Vec<Row> {
    let table = rows(MEASURES, files, MEASURE_COLUMNS, mistakes);
    let mut said = Said { is_there: table.is_there, ..Said::default() };
    said.measures.extend(table.broken);
    let mut all: Vec<(u64, Row)> = Vec::new();
    for line in table.rows {
        let is_first = said.measures.insert(line.get(0).to_owned());
        let fields = std::array::from_fn(|at| line.get(at));
        let mut wrong = Vec::new();
        if measure_of(fields[0]).is_none() {
            wrong.push("measure: expected is a key of the guide's table of measures".to_owned());
        } else if !is_first {
            wrong.push("measure: it stands twice".to_owned());
        }
        said.slips += wrong.len();
        let row = Fields { main }.row(fields, &mut wrong);
        if wrong.is_empty() {
            all.push((line.line, row));
        }
        mistakes.extend(wrong.into_iter().map(|text| Mistake::at(MEASURES, line.line, text)));
    }
    let coded = codes(files, &mut all, &said, main.names(), mistakes);
    let lacks = |row: &Row| {
        let taken = row.form != Form::Refused;
        taken && row.codes.is_empty() && row.inside.is_empty() || row.form == Form::Inside && row.inside.is_empty()
    };
    let without = all.iter().filter(|(_, row)| lacks(row) && !coded.measures.contains(&row.measure));
    let without: Vec<u64> = without.map(|(line, _)| *line).collect();
    if coded.is_there && without.len() > coded.slips {
        let text = "measure: codes.csv has no code of it";
        mistakes.extend(without.into_iter().map(|line| Mistake::at(MEASURES, line, text.to_owned())));
    }
    let homeless: Vec<(u64, &str)> = all
        .iter()
        .flat_map(|(line, row)| row.named_parts().into_iter().map(|part| (*line, part)))
        .filter(|(_, part)| !said.measures.contains(*part))
        .collect();
    let distinct: BTreeSet<&str> = homeless.iter().map(|(_, part)| *part).collect();
    if distinct.len() > said.slips {
        mistakes.extend(
            homeless
                .into_iter()
                .map(|(line, part)| Mistake::at(MEASURES, line, format!("parts: no line says how {part} is told"))),
        );
    }
    all.into_iter().map(|(_, row)| row).collect()
}

/// Which measures a table has a line of, so that the other table knows what it lacks.
#[derive(Default)]
struct Said {
    is_there: bool,
    /// Those of lines that have a mistake among them.
    measures: BTreeSet<String>,
    /// How many lines are of another measure than was meant: for each, one is missing that is not told of again.
    slips: usize,
}

pub(super) fn measure_of(key: &str) -> Option<&'static Measure> {
    measures::all().iter().find(|known| known.key == key)
}

struct Fields<'f> {
    main: &'f Main,
}

impl Fields<'_> {
    /// A line of `measures.csv`, with what is wrong put to the rest.
    fn row(&self, fields: [&str; 14], wrong: &mut Vec<String>) -> Row {
        let [measure, form, profile, category, unit, unit_text, unit_system, number, rest @ ..] = fields;
        let [times, time, needs, note, parts, plus] = rest;
        let form = Form::named(form).unwrap_or_else(|| {
            wrong.push(
                "form: expected is quantity, components, split, members, inside, series, coded, part or refused"
                    .to_owned(),
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
        let stated = stated(times, plus, wrong);
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
        let known = measure_of(measure);
        // What is not counted is said by a code.
        let is_counted = match form {
            Form::Quantity | Form::Inside | Form::Series => true,
            Form::Part => known.is_none_or(|measure| !measure.units.is_empty()),
            _ => false,
        };
        if unit.is_empty() && is_counted {
            wrong.push("unit: expected is the text that the destination wants in code".to_owned());
        }
        if !is_counted && stated.is_some() {
            wrong.push(format!("times: what is told as {} has no number that it could be of", form.name()));
        }
        // Nothing is known of a factor that cannot be read.
        let is_readable = stated.is_some() || times.is_empty() && plus.is_empty();
        let unit =
            (!unit.is_empty() && is_readable).then(|| compiled_unit(known, [unit, unit_text, unit_system], stated));
        let unit = unit.and_then(|unit| unit.map_err(|text| wrong.push(text)).ok());
        for (column, text) in [("profile", profile), ("unit_system", unit_system)] {
            if !text.is_empty() && !is_uri(text) {
                wrong.push(format!("{column}: expected is a URI, or nothing"));
            }
        }
        let mut needs = self.needs(needs, wrong);
        if form == Form::Members {
            needs.push(Need::Slot(Slot::HasMember));
        }
        let row = Row {
            measure: measure.to_owned(),
            known,
            form,
            profile: profile.to_owned(),
            categories: self.categories(category, wrong),
            unit,
            number,
            time,
            needs,
            parts: parts.split_whitespace().map(str::to_owned).collect(),
            codes: Vec::new(),
            inside: Vec::new(),
            system: String::new(),
            code: String::new(),
            note: note.to_owned(),
        };
        parts_fit(&row, wrong);
        row
    }

    fn categories(&self, names: &str, wrong: &mut Vec<String>) -> String {
        let mut out = String::new();
        for name in names.split_whitespace() {
            let Some(category) = self.main.file.categories.get(name) else {
                let key = format!("categories.{name}");
                if self.main.is_there && !self.main.places.is_lost(&key) {
                    wrong.push(format!("category: [{key}] is missing in pack.toml"));
                }
                continue;
            };
            out.push(if out.is_empty() { '[' } else { ',' });
            concept_of(category, &mut out);
        }
        if !out.is_empty() {
            out.push(']');
        }
        out
    }

    fn needs(&self, needs: &str, wrong: &mut Vec<String>) -> Vec<Need> {
        let names = self.main.names();
        let mut need = |name: &str| {
            if measure_of(name).is_some() {
                return Some(Need::Component(name.to_owned()));
            }
            wrong.extend(names.unknown(name).map(|why| match why.strip_prefix(NOT_THERE) {
                Some(_) => why,
                None => format!("needs: {name} is neither a measure nor a slot"),
            }));
            names.slot(name).map(Need::Slot)
        };
        needs.split_whitespace().filter_map(&mut need).collect()
    }
}

/// What a line says of its parts, as far as it is alone to say it.
fn parts_fit(row: &Row, wrong: &mut Vec<String>) {
    if row.parts.is_empty() {
        return;
    }
    if matches!(row.form, Form::Split | Form::Members | Form::Series | Form::Part | Form::Refused) {
        wrong.push(format!("parts: what is told as {} has no components", row.form.name()));
    }
    for (at, part) in row.parts.iter().enumerate() {
        if measure_of(part).is_none() {
            wrong.push(format!("parts: {part} is no measure of the guide's"));
        } else if *part == row.measure || row.parts[..at].contains(part) {
            wrong.push(format!("parts: {part} stands twice"));
        }
    }
    let lacking = row.needs.iter().filter_map(|need| match need {
        Need::Component(needed) if !row.parts.contains(needed) => Some(needed),
        _ => None,
    });
    wrong.extend(lacking.map(|needed| format!("needs: {needed} is not among the parts")));
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

/// What a line states of its numbers, if anything.
fn stated(times: &str, plus: &str, wrong: &mut Vec<String>) -> Option<Line> {
    if times.is_empty() && plus.is_empty() {
        return None;
    }
    let factor = if times.is_empty() { Some(Decimal::ONE) } else { times.parse::<Decimal>().ok() };
    let factor = factor.filter(|factor| *factor > Decimal::ZERO);
    if factor.is_none() {
        wrong.push("times: expected is a number greater than 0".to_owned());
    }
    let more = if plus.is_empty() { Some(Decimal::ZERO) } else { plus.parse::<Decimal>().ok() };
    if more.is_none() {
        wrong.push("plus: expected is a number".to_owned());
    }
    let (times, plus) = factor.zip(more)?;
    let line = Line { times: times.normalize(), plus: plus.normalize(), exact: false };
    Some(Line { exact: line.times == Decimal::ONE && line.plus.is_zero(), ..line })
}

fn compiled_unit(
    measure: Option<&'static Measure>,
    [code, text, system]: [&str; 3],
    stated: Option<Line>,
) -> Result<Unit, String> {
    let system = if system.is_empty() { ucum::SYSTEM } else { system };
    let text = if text.is_empty() { code } else { text };
    if system == ucum::SYSTEM && !ucum::valid(code) {
        return Err("unit: expected is UCUM; another system of units is named in unit_system".to_owned());
    }
    let from = measure.map(|measure| conversions(measure, code, system == ucum::SYSTEM, stated)).transpose()?;
    let mut tail = String::from(",\"unit\":");
    string(text, &mut tail);
    tail.push_str(",\"system\":");
    string(system, &mut tail);
    tail.push_str(",\"code\":");
    string(code, &mut tail);
    tail.push('}');
    let (system, code, text) = (system.to_owned(), code.to_owned(), text.to_owned());
    Ok(Unit { system, code, text, tail, from: from.unwrap_or_default() })
}

/// How each of the units in which a measure comes becomes the destination's; those that do not are left out.
fn conversions(
    measure: &'static Measure,
    code: &str,
    is_ucum: bool,
    stated: Option<Line>,
) -> Result<Vec<(String, Conversion)>, String> {
    let own = || measure.units.iter().map(|unit| unit.code);
    let between = |from: &str, to: &str| Line::between(from, to).filter(|_| quantity::leads(measure, from, to));
    let by_itself = own().find_map(|unit| Some((unit, between(unit, code).filter(|_| is_ucum)?)));
    if let (Some((unit, known)), Some(line)) = (by_itself, stated)
        && (known.times, known.plus) != (line.times, line.plus)
    {
        return Err(format!("times: UCUM says how {unit} becomes {code}, so that nothing is stated of it"));
    }
    let mut found = Vec::new();
    for unit in own() {
        let line = match stated {
            Some(line) => own().find_map(|base| between(unit, base)?.then(line)),
            None if is_ucum => between(unit, code),
            // Of what is no UCUM nothing is known, so that it is the measure's usual unit by another name.
            None => own().next().and_then(|first| between(unit, first)),
        };
        let is_same = line.is_some_and(|line| line.times == Decimal::ONE && line.plus.is_zero());
        let conversion = line.map(|line| if is_same { Conversion::Same } else { Conversion::Line(line) });
        found.extend(conversion.map(|conversion| (unit.to_owned(), conversion)));
    }
    if found.is_empty() && !measure.units.is_empty() {
        let expected = "unit: expected is one that the measure's units can be converted into, or a factor in times";
        let units = own().collect::<Vec<_>>().join(" or ");
        let is_number = own().any(|unit| is_ucum && ucum::comparable(unit, code));
        let why = if is_number {
            format!("; {units} and {code} are numbers to UCUM, which does not know of what")
        } else {
            String::new()
        };
        return Err(format!("{expected}{why}"));
    }
    Ok(found)
}

/// The row, whether it is a component's, the condition, and the codings.
type Concept = (usize, bool, String, Vec<[String; 3]>);

fn codes(
    files: &BTreeMap<String, String>,
    all: &mut [(u64, Row)],
    said: &Said,
    names: Names<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Said {
    // Codings of one concept stand in several lines: where, when, and what there is of it so far.
    let mut concepts: Vec<Concept> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut absent: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let table = rows(CODES, files, CODE_COLUMNS, mistakes);
    let mut coded = Said { is_there: table.is_there, measures: table.broken.into_iter().collect(), slips: 0 };
    for row in table.rows {
        let before = mistakes.len();
        let mut wrong = |text: &str| mistakes.push(Mistake::at(CODES, row.line, text.to_owned()));
        let [measure, at, when, system, code] = [0, 1, 2, 3, 4].map(|at| row.get(at).to_owned());
        if !["", "component"].contains(&at.as_str()) {
            wrong("at: expected is component, or nothing");
        }
        if system.is_empty() || code.is_empty() {
            wrong("system, code: both are expected");
        } else if !is_uri(&system) {
            wrong("system: expected is a URI, such as http://loinc.org or urn:oid:1.2.3");
        }
        if code.contains("  ") {
            wrong("code: it has spaces that no code has");
        }
        if is_no_condition(&when, names) {
            wrong("when: expected is a slot and a word, such as meal=fasting");
        }
        if !seen.insert([&measure, &at, &when, &system, &code].map(String::clone)) {
            wrong("code: it stands twice");
        }
        if said.measures.contains(&measure) {
            // Whatever is wrong with its line was told there.
        } else if measure_of(&measure).is_none() {
            wrong("measure: expected is a key of the guide's table of measures");
            coded.slips += 1;
        } else if said.is_there {
            absent.entry(measure.clone()).or_default().push(row.line);
        }
        if mistakes.len() > before {
            coded.measures.insert(measure);
            continue;
        }
        let Some(place) = all.iter().position(|(_, known)| known.measure == measure) else { continue };
        let inside = at == "component";
        let coding = [system, code, row.get(5).to_owned()];
        match concepts.iter_mut().find(|known| known.0 == place && known.1 == inside && known.2 == when) {
            Some(known) => known.3.push(coding),
            None => concepts.push((place, inside, when, vec![coding])),
        }
    }
    if absent.len() > said.slips {
        let text = "measure: measures.csv has no line of it";
        mistakes.extend(absent.into_values().flatten().map(|line| Mistake::at(CODES, line, text.to_owned())));
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
            when: only(&when, names),
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
    coded
}

/// The condition of a line.
fn only(text: &str, names: Names<'_>) -> Option<Only> {
    let (name, is) = text.split_once('=')?;
    Some(Only { slot: names.slot(name)?, is: Some(is.to_owned()), not: false })
}

fn is_no_condition(text: &str, names: Names<'_>) -> bool {
    !text.is_empty() && text.split_once('=').is_none_or(|(name, _)| names.unknown(name).is_some())
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
    let mut all: Vec<(u64, answer::Line)> = Vec::new();
    let mut any = None;
    for row in rows(ERRORS, files, ERROR_COLUMNS, mistakes).rows {
        let mut wrong = |text: &str| mistakes.push(Mistake::at(ERRORS, row.line, text.to_owned()));
        let status = row.get(0);
        if let Some(line) = any {
            wrong(&format!("status: it is never reached, since line {line} means every answer"));
        }
        any = any.or((status.is_empty() && row.get(1).is_empty() && row.get(2).is_empty()).then_some(row.line));
        if !status.is_empty() && !status.parse::<u16>().is_ok_and(|status| (400..600).contains(&status)) {
            wrong("status: expected is a number from 400 to 599, or nothing");
        }
        let id = IDS.into_iter().find(|id| id.code() == row.get(3));
        if id.is_none() {
            let names: Vec<&str> = IDS.iter().map(|id| id.code()).collect();
            wrong(&format!("id: expected is {}", names.join(" or ")));
        }
        let who = Who::named(row.get(5));
        if who.is_none() {
            wrong("who: expected is operator, app, person or destination");
        }
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
                Some(Check { holds, line: row.line, status, code, text })
            }
        };
        if !["", "any"].contains(&row.get(8)) {
            wrong("severity: expected is any where warnings count as errors do, or nothing");
        }
        let (Some(id), Some(who)) = (id, who) else { continue };
        let line = answer::Line {
            any_severity: row.get(8) == "any",
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
        };
        // A line of something that the destination checks is there for that.
        let before = all.iter().find(|(_, earlier)| line.check.is_none() && line.is_behind(earlier));
        if let (Some((before, _)), true) = (before, any.is_none_or(|any| any == row.line)) {
            let text = format!("status: it is never reached, since line {before} means what it does");
            mistakes.push(Mistake::at(ERRORS, row.line, text));
        }
        all.push((row.line, line));
    }
    Answers { lines: all.into_iter().map(|(_, line)| line).collect() }
}
