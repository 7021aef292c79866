//! Answers written down as the files of a pack.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::{Answers, Extra, Line, Naming, Shape};
use crate::fhir::validate::measures::{self, Measure};

const CATEGORIES: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// Measures that stand within a panel where nobody says otherwise.
const PANELS: &[(&str, &[&str])] = &[("blood-pressure", &["systolic-bp", "diastolic-bp"])];

/// Whether a measure is told by its parts.
pub(super) fn is_panel(key: &str) -> bool {
    PANELS.iter().any(|(panel, _)| *panel == key)
}

/// Every file, of answers that say everything.
pub(super) fn written(answers: &Answers) -> BTreeMap<String, String> {
    let mut measures =
        if answers.measures.is_empty() { Answers::as_the_guide_has_it() } else { answers.measures.clone() };
    complete(&mut measures);
    let categories = Categories::of(&measures);
    let shape = answers.request.unwrap_or(Shape::Transaction);
    let extras = answers.elements.clone().unwrap_or_default();
    let mut files = BTreeMap::from([
        ("pack.toml".to_owned(), main(answers, shape, &extras, &categories)),
        ("measures.csv".to_owned(), lines(&measures, &categories)),
        ("codes.csv".to_owned(), codes(&measures)),
        ("errors.csv".to_owned(), errors(shape, &extras)),
        ("request.json".to_owned(), pretty(&request(shape, answers, &extras))),
    ]);
    if shape != Shape::Single {
        files.insert("observation.json".to_owned(), pretty(&observation(answers, &extras)));
    }
    files
}

/// A panel brings its parts, and what is not said of a line follows from the measure.
fn complete(measures: &mut BTreeMap<String, Line>) {
    for (panel, parts) in PANELS {
        if !measures.contains_key(*panel) {
            continue;
        }
        for part in *parts {
            measures.entry((*part).to_owned()).or_default();
        }
    }
    let panels: Vec<String> = measures.keys().cloned().collect();
    for (key, line) in measures.iter_mut() {
        let Some(measure) = measure(key) else {
            // That there is no such measure is told; nothing else follows.
            line.form.get_or_insert_with(|| "coded".to_owned());
            continue;
        };
        if line.codes.is_empty() {
            let own = measure.codes.first().into_iter();
            line.codes = own
                .map(|code| super::Code {
                    system: code.system.to_owned(),
                    code: code.code.to_owned(),
                    display: String::new(),
                })
                .collect();
        }
        let part =
            PANELS.iter().any(|(panel, parts)| parts.contains(&key.as_str()) && panels.iter().any(|one| one == panel));
        let form = if is_panel(key) || measure.units.is_empty() && !line.parts.is_empty() {
            "components"
        } else if part {
            "part"
        } else if measure.units.is_empty() {
            "coded"
        } else {
            "quantity"
        };
        line.form.get_or_insert_with(|| form.to_owned());
        if line.unit.is_none()
            && !matches!(line.form.as_deref(), Some("components" | "coded" | "refused" | "split" | "members"))
        {
            line.unit = measure.units.first().map(|unit| unit.code.to_owned());
        }
    }
}

fn measure(key: &str) -> Option<&'static Measure> {
    measures::all().iter().find(|measure| measure.key == key)
}

/// The keys of measures in whose answers a category stands, by the name that the pack gives it.
pub(super) fn categorised(measures: &BTreeMap<String, Line>, name: &str) -> Vec<String> {
    let categories = Categories::of(measures);
    let has = |line: &Line| line.categories.iter().any(|written| categories.name(written) == name);
    let having = measures.iter().filter(|(_, line)| has(line));
    having.map(|(measure, _)| format!("measures.{measure}.categories")).collect()
}

/// Categories by the names that the pack gives them.
struct Categories(Vec<(String, String, String)>);

impl Categories {
    fn of(measures: &BTreeMap<String, Line>) -> Categories {
        let mut all: Vec<(String, String, String)> = Vec::new();
        for written in measures.values().flat_map(|line| &line.categories) {
            let (system, code) = written.rsplit_once('|').unwrap_or((CATEGORIES, written));
            if all.iter().any(|(_, known, other)| known == system && other == code) {
                continue;
            }
            let plain: String = code
                .chars()
                .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
                .collect();
            let taken =
                all.iter().filter(|(name, ..)| *name == plain || name.starts_with(&format!("{plain}-"))).count();
            let name = if taken == 0 { plain } else { format!("{plain}-{}", taken + 1) };
            all.push((name, system.to_owned(), code.to_owned()));
        }
        Categories(all)
    }

    fn name(&self, written: &str) -> &str {
        let (system, code) = written.rsplit_once('|').unwrap_or((CATEGORIES, written));
        self.0.iter().find(|(_, known, other)| known == system && other == code).map_or("", |(name, ..)| name)
    }
}

/// The search for what is there by its name.
const SAME: &str = "identifier=urn:ietf:rfc:3986|urn:uuid:{uuid}";

fn main(answers: &Answers, shape: Shape, extras: &[Extra], categories: &Categories) -> String {
    let text = |text: &Option<String>| toml::Value::from(text.clone().unwrap_or_default()).to_string();
    let mut out = String::new();
    for (key, value) in [
        ("id", &answers.id),
        ("version", &answers.version),
        ("title", &answers.title),
        ("country", &answers.country),
        ("country_name", &answers.country_name),
        ("direction", &Some("push".to_owned())),
        ("status", &Some("draft".to_owned())),
        ("fhir", &answers.fhir),
        ("source", &answers.source),
    ] {
        let _ = writeln!(out, "{key} = {}", text(value));
    }
    let most = if shape == Shape::Single { 1 } else { answers.most.unwrap_or(1) };
    let answer = if shape == Shape::Single { "resource" } else { "entries" };
    let path = answers.path.clone().filter(|path| !path.is_empty());
    // A resource by itself is created at its type's address.
    let path = path.or_else(|| (shape == Shape::Single).then(|| "Observation".to_owned()));
    let _ = write!(out, "\n[request]\nmethod = \"POST\"\n");
    if path.is_some() {
        let _ = writeln!(out, "path = {}", text(&path));
    }
    let _ = write!(out, "most = {most}\ncorrections = \"never\"\nanswer = \"{answer}\"\n");
    // What is known by an identifier is created once; of anything else nobody knows.
    let is_operation = path.as_ref().is_some_and(|path| path.contains('$'));
    match (shape, extras.contains(&Extra::Identifier)) {
        (Shape::Single, true) if !is_operation => {
            let _ = writeln!(out, "condition = \"{SAME}\"");
        }
        (Shape::Collection, _) | (_, true) => {}
        _ => out.push_str("repeatable = false\n"),
    }
    match &answers.person_system {
        Some(_) => {
            let _ = write!(out, "\n[person]\nidentifiers = [{}]\n", text(&answers.person_system));
        }
        None => out.push_str(
            "\n[person]\nidentifiers = [\"{setting.persons}\"]\n\n[settings.persons]\nwhat = \"system of the identifiers by which the destination knows persons\"\n",
        ),
    }
    if extras.contains(&Extra::Device) {
        out.push_str("\n[device]\napp_otherwise = true\n");
    }
    if extras.contains(&Extra::Narrative) {
        out.push_str("\n[narrative]\nlanguage = \"en\"\ncode = \"Code\"\ntime = \"Time\"\nvalue = \"Result\"\n");
    }
    for (name, system, code) in &categories.0 {
        let (system, code) = (toml::Value::from(system.as_str()), toml::Value::from(code.as_str()));
        let _ = write!(out, "\n[categories.{name}]\ncoding = [{{ system = {system}, code = {code} }}]\n");
    }
    out
}

fn lines(measures: &BTreeMap<String, Line>, categories: &Categories) -> String {
    let mut out =
        "measure,form,profile,category,unit,unit_text,unit_system,number,times,time,needs,note,parts,plus\n".to_owned();
    for (key, line) in measures {
        let names: Vec<&str> = line.categories.iter().map(|one| categories.name(one)).collect();
        let parts = PANELS.iter().find(|(panel, _)| panel == key).map_or(String::new(), |(_, parts)| parts.join(" "));
        let needs = if line.form.as_deref() == Some("components") { parts } else { String::new() };
        let has_parts = matches!(line.form.as_deref(), Some("components" | "quantity" | "inside" | "coded"));
        let mut told: Vec<&str> = line.parts.iter().filter(|_| has_parts).map(String::as_str).collect();
        if !told.is_empty() {
            let missing: Vec<&str> = needs.split_whitespace().filter(|need| !told.contains(need)).collect();
            told.extend(missing);
        }
        let fields = [
            key,
            line.form.as_deref().unwrap_or_default(),
            &line.profile,
            &names.join(" "),
            line.unit.as_deref().unwrap_or_default(),
            &line.unit_text,
            "",
            &line.number,
            &line.times,
            &line.time,
            &needs,
            &line.note,
            &told.join(" "),
            &line.plus,
        ];
        row(&fields, &mut out);
    }
    out
}

fn codes(measures: &BTreeMap<String, Line>) -> String {
    let mut out = "measure,at,when,system,code,display\n".to_owned();
    for (key, line) in measures {
        for code in &line.codes {
            row(&[key, "", "", &code.system, &code.code, &code.display], &mut out);
        }
    }
    out
}

fn errors(shape: Shape, extras: &[Extra]) -> String {
    let of_all = |what: &str| match shape {
        Shape::Single => what.to_owned(),
        _ => format!("entry.resource.ofType(Observation).all({what})"),
    };
    let mut what = "code.exists() and subject.exists() and effective.exists()".to_owned();
    for (extra, path) in [
        (Extra::Identifier, "identifier"),
        (Extra::Issued, "issued"),
        (Extra::Performer, "performer"),
        (Extra::Device, "device"),
        (Extra::Narrative, "text"),
    ] {
        if extras.contains(&extra) {
            let _ = write!(what, " and {path}.exists()");
        }
    }
    let mut out = "status,code,text,id,again,who,rule,check\n".to_owned();
    row(
        &["422", "", "", "destination-content", "no", "operator", "what the profiles ask for is there", &of_all(&what)],
        &mut out,
    );
    row(&["401", "", "", "destination-access", "yes", "operator", "the token is valid", ""], &mut out);
    row(&["429", "", "", "destination-trouble", "yes", "destination", "", ""], &mut out);
    out
}

/// A line of CSV.
fn row(fields: &[&str], out: &mut String) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            let _ = write!(out, "\"{}\"", field.replace('"', "\"\""));
        } else {
            out.push_str(field);
        }
    }
    out.push('\n');
}

fn request(shape: Shape, answers: &Answers, extras: &[Extra]) -> Json {
    let kind = match shape {
        Shape::Single => return observation(answers, extras),
        Shape::Transaction => "transaction",
        Shape::Batch => "batch",
        Shape::Collection => "collection",
    };
    let mut entry = json!({"$each": "measurement", "fullUrl": "urn:uuid:{uuid}", "resource": "@observation"});
    if shape != Shape::Collection {
        entry["request"] = json!({"method": "POST", "url": "Observation"});
        if extras.contains(&Extra::Identifier) {
            entry["request"]["ifNoneExist"] = SAME.into();
        }
    }
    json!({"resourceType": "Bundle", "type": kind, "entry": [entry]})
}

fn observation(answers: &Answers, extras: &[Extra]) -> Json {
    let person = match answers.person {
        Some(Naming::Identifier) => json!({"identifier": "{person.identifier}"}),
        _ => json!({"reference": "Patient/{person.value}"}),
    };
    let mut out = Map::new();
    let mut put = |name: &str, value: Json| drop(out.insert(name.to_owned(), value));
    put("resourceType", "Observation".into());
    put("meta?", json!({"profile": ["{profile}"]}));
    if extras.contains(&Extra::Narrative) {
        put("language", "{language}".into());
        put("text", json!({"status": "generated", "div": "{narrative}"}));
    }
    if extras.contains(&Extra::Identifier) {
        put("identifier", json!([{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:{uuid}"}]));
    }
    put("status", "{status}".into());
    put("category?", "{categories}".into());
    put("code", "{code}".into());
    put("subject", person.clone());
    put("effective[x]", "{effective}".into());
    if extras.contains(&Extra::Issued) {
        put("issued", "{issued}".into());
    }
    if extras.contains(&Extra::Performer) {
        put("performer", json!([person]));
    }
    put("value[x]?", "{value}".into());
    put("dataAbsentReason?", "{absent}".into());
    put("note?", json!([{"text": "{note}"}]));
    if extras.contains(&Extra::Device) {
        let named = json!({"identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:{device.uuid}"}, "display": "{device.manufacturer}"});
        put("device", named);
    }
    put("component?", json!([{"$each": "component", "code": "{code}", "value[x]": "{value}"}]));
    Json::Object(out)
}

fn pretty(value: &Json) -> String {
    let mut out = serde_json::to_string_pretty(value).unwrap_or_default();
    out.push('\n');
    out
}
