//! What a destination publishes, read for a pack: its CapabilityStatement, its profiles of Observation, and its examples.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{Answers, Code, Extra, Line, Naming, Shape};
use crate::fhir::terminology::ucum;
use crate::fhir::validate::measures::{self, Measure};
use crate::national::trial::within;

/// Whether a resource says anything of how measurements are to be told.
pub fn is_about_packs(resource: &Json) -> bool {
    matches!(
        resource["resourceType"].as_str(),
        Some("Observation" | "Bundle" | "StructureDefinition" | "CapabilityStatement" | "Parameters")
    )
}

/// Everything that the destination's own resources say.
pub fn found(material: &[Json]) -> Answers {
    let mut answers = Answers::default();
    for resource in material {
        match resource["resourceType"].as_str() {
            Some("CapabilityStatement") => capability(resource, &mut answers),
            Some("StructureDefinition") => profile(resource, &mut answers),
            _ => {}
        }
    }
    let requests: Vec<&Json> =
        material.iter().flat_map(|one| within(one, "Bundle")).filter(|one| is_request(one)).collect();
    if let Some(shape) = requests.iter().find_map(|one| shape(one)) {
        let most = requests.iter().map(|one| one["entry"].as_array().map_or(0, Vec::len)).max();
        (answers.request, answers.most) = (answers.request.or(Some(shape)), answers.most.or(most));
    }
    let examples: Vec<&Json> = material.iter().flat_map(|one| within(one, "Observation")).collect();
    let mut told = BTreeMap::new();
    for one in &examples {
        example(one, &mut told);
    }
    for (key, line) in told {
        let known = answers.measures.entry(key).or_default();
        *known = joined(std::mem::take(known), line);
    }
    names(&examples, &mut answers);
    answers
}

fn text(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn capability(statement: &Json, answers: &mut Answers) {
    answers.title = answers.title.take().or_else(|| text(&statement["title"])).or_else(|| text(&statement["name"]));
    answers.source = answers.source.take().or_else(|| text(&statement["url"]));
    answers.fhir = answers.fhir.take().or_else(|| release(&statement["fhirVersion"]));
    let rest = statement["rest"].as_array().into_iter().flatten();
    let whole: Vec<&str> = rest
        .clone()
        .flat_map(|one| one["interaction"].as_array().into_iter().flatten())
        .filter_map(|one| one["code"].as_str())
        .collect();
    let creates = rest.flat_map(|one| one["resource"].as_array().into_iter().flatten()).any(|one| {
        let codes = one["interaction"].as_array().into_iter().flatten();
        one["type"] == "Observation" && codes.into_iter().any(|one| one["code"] == "create")
    });
    let shape = match () {
        () if whole.contains(&"transaction") => Some(Shape::Transaction),
        () if whole.contains(&"batch") => Some(Shape::Batch),
        () if creates => Some(Shape::Single),
        () => None,
    };
    answers.request = answers.request.or(shape);
}

/// The release of FHIR that a pack may name.
fn release(version: &Json) -> Option<String> {
    let known = [("3.", "3.0.2"), ("4.0", "4.0.1"), ("5.", "5.0.0")];
    let version = version.as_str()?;
    known.iter().find(|(begin, _)| version.starts_with(begin)).map(|(_, release)| (*release).to_owned())
}

/// What a profile of Observation fixes.
fn profile(definition: &Json, answers: &mut Answers) {
    if definition["type"] != "Observation" || definition["abstract"] == true {
        return;
    }
    answers.fhir = answers.fhir.take().or_else(|| release(&definition["fhirVersion"]));
    let elements = ["snapshot", "differential"].iter().find_map(|view| definition[*view]["element"].as_array());
    let elements = elements.map(Vec::as_slice).unwrap_or_default();
    let (codes, unit) = (fixed_codings(elements, "Observation.code"), fixed_unit(elements));
    let Some(measure) = meant(&codes, unit.as_deref()) else { return };
    let categories: Vec<String> = fixed_codings(elements, "Observation.category")
        .iter()
        .map(|one| format!("{}|{}", one.system, one.code))
        .collect();
    let line =
        Line { profile: text(&definition["url"]).unwrap_or_default(), codes, unit, categories, ..Line::default() };
    let known = answers.measures.entry(measure.key.clone()).or_default();
    *known = joined(std::mem::take(known), line);
    let demanded = EXTRAS.iter().filter(|(path, _)| {
        let full = format!("Observation.{path}");
        elements.iter().any(|element| element["path"] == *full && element["min"].as_u64().is_some_and(|min| min > 0))
    });
    let demanded: Vec<Extra> = demanded.map(|(_, extra)| *extra).collect();
    add(&mut answers.elements, demanded);
}

const EXTRAS: [(&str, Extra); 5] = [
    ("identifier", Extra::Identifier),
    ("issued", Extra::Issued),
    ("performer", Extra::Performer),
    ("device", Extra::Device),
    ("text", Extra::Narrative),
];

fn add(known: &mut Option<Vec<Extra>>, more: Vec<Extra>) {
    if more.is_empty() {
        return;
    }
    let mut all: BTreeSet<Extra> = known.take().unwrap_or_default().into_iter().collect();
    all.extend(more);
    *known = Some(all.into_iter().collect());
}

/// Codings that a profile fixes below a path: as a pattern of the concept, of a coding, or by system and code alone.
fn fixed_codings(elements: &[Json], path: &str) -> Vec<Code> {
    let coding = |one: &Json| {
        Some(Code {
            system: text(&one["system"])?,
            code: text(&one["code"])?,
            display: text(&one["display"]).unwrap_or_default(),
        })
    };
    let mut found: Vec<Code> = Vec::new();
    let (codings, systems, codes) =
        (format!("{path}.coding"), format!("{path}.coding.system"), format!("{path}.coding.code"));
    for element in elements {
        let at = element["path"].as_str().unwrap_or_default();
        if at == path {
            let concepts = [&element["patternCodeableConcept"], &element["fixedCodeableConcept"]];
            found.extend(
                concepts.iter().flat_map(|one| one["coding"].as_array().into_iter().flatten()).filter_map(coding),
            );
        } else if at == codings {
            found.extend([&element["patternCoding"], &element["fixedCoding"]].into_iter().filter_map(coding));
        } else if at == codes {
            // System and code stand in elements of their own, those of one slice together.
            let slice = element["id"].as_str().and_then(|id| id.strip_suffix(".code")).unwrap_or_default();
            let system = elements.iter().find(|other| {
                other["path"] == *systems
                    && other["id"].as_str().and_then(|id| id.strip_suffix(".system")) == Some(slice)
            });
            let fixed = |element: &Json, names: [&str; 2]| names.iter().find_map(|name| text(&element[*name]));
            let code = fixed(element, ["fixedCode", "patternCode"]);
            let system = system.and_then(|element| fixed(element, ["fixedUri", "patternUri"]));
            if let (Some(system), Some(code)) = (system, code) {
                found.push(Code { system, code, display: String::new() });
            }
        }
    }
    found.dedup();
    found
}

fn fixed_unit(elements: &[Json]) -> Option<String> {
    let is_value = |path: &str, rest: &str| {
        path.strip_prefix("Observation.value")
            .and_then(|path| path.strip_suffix(rest))
            .is_some_and(|middle| matches!(middle, "[x]" | "Quantity"))
    };
    elements.iter().find_map(|element| {
        let path = element["path"].as_str().unwrap_or_default();
        if is_value(path, ".code") {
            return text(&element["fixedCode"]).or_else(|| text(&element["patternCode"]));
        }
        is_value(path, "").then(|| text(&element["patternQuantity"]["code"])).flatten()
    })
}

/// The measure that codes mean: where several share them, the one whose unit it is, and of those the plainest.
pub(super) fn meant(codes: &[Code], unit: Option<&str>) -> Option<&'static Measure> {
    let joined =
        codes.iter().filter_map(|one| measures::measure(&one.system, &one.code)).min_by_key(|one| one.key.len())?;
    let fits = |measure: &&'static Measure| {
        unit.is_none_or(|unit| measure.units.iter().any(|one| one.code == unit || ucum::comparable(one.code, unit)))
    };
    let own = |key: &str| measures::all().iter().find(|measure| measure.key == key);
    let mut all: Vec<&'static Measure> = joined.key.split(" or ").filter_map(own).collect();
    all.sort_by_key(|measure| (!fits(measure), measure.key.len()));
    all.first().copied()
}

/// What an example shows of its measure.
/// The measure whose code it is, where that does not come in such a unit. A count by another name has no unit that could be
/// compared.
pub(super) fn of_another(system: &str, code: &str, unit: Option<&str>) -> Option<&'static Measure> {
    let unit = unit.filter(|unit| ucum::valid(unit))?;
    let coded = measures::measure(system, code).filter(|coded| !coded.units.is_empty())?;
    let mut fitting = coded.units.iter().map(|own| own.code).chain(["1", "/s"]);
    (!fitting.any(|own| ucum::comparable(own, unit))).then_some(coded)
}

fn example(observation: &Json, told: &mut BTreeMap<String, Line>) {
    let quantity = &observation["valueQuantity"];
    let (codes, unit) = (codings(&observation["code"]), text(&quantity["code"]));
    let Some(measure) = meant(&codes, unit.as_deref()) else { return };
    // An example may contradict itself; a pack may not.
    let codes = codes.into_iter().filter(|one| of_another(&one.system, &one.code, unit.as_deref()).is_none()).collect();
    let categories = observation["category"].as_array().into_iter().flatten().flat_map(codings);
    let profile = observation["meta"]["profile"].as_array().and_then(|list| text(list.first()?));
    let form = if observation["valueSampledData"].is_object() { Some("series".to_owned()) } else { None };
    // The day alone is asked for where a moment would be known.
    let is_day = observation["effectiveDateTime"].as_str().is_some_and(|time| time.len() == 10);
    let unit_known = unit.as_deref().is_some_and(ucum::valid);
    let is_own = |unit: &str| measure.units.iter().all(|one| one.code == unit || ucum::comparable(one.code, unit));
    let is_count = |unit: &str| ["1", "/s"].iter().any(|bare| ucum::comparable(unit, bare));
    let is_counted = measure.units.iter().all(|one| is_count(one.code) || one.code.contains('{'));
    let counts = is_counted && unit.as_deref().is_some_and(|unit| is_count(unit) && !is_own(unit));
    let line = Line {
        form,
        profile: profile.unwrap_or_default(),
        categories: categories.map(|one| format!("{}|{}", one.system, one.code)).collect(),
        codes,
        // A count by another name of its unit is the number itself.
        times: if counts { "1".to_owned() } else { String::new() },
        unit: unit.filter(|_| unit_known),
        unit_text: text(&quantity["unit"]).unwrap_or_default(),
        time: if is_day { "date".to_owned() } else { String::new() },
        ..Line::default()
    };
    let known = told.entry(measure.key.clone()).or_insert_with(|| line.clone());
    // What stood within others before is told by itself as well.
    if known.form.as_deref() == Some("part") {
        *known = line.clone();
    }
    // Only what all examples show is a rule.
    if known.time != line.time {
        known.time.clear();
    }
    for component in observation["component"].as_array().into_iter().flatten() {
        let part = part(component, told).filter(|part| *part != measure.key);
        let parts = told.get_mut(&measure.key).map(|line| &mut line.parts);
        if let (Some(part), Some(parts)) = (part, parts)
            && !parts.iter().any(|known| known == part)
        {
            parts.push(part.to_owned());
        }
    }
}

/// The measure of a component, with a line of its own.
fn part(component: &Json, told: &mut BTreeMap<String, Line>) -> Option<&'static str> {
    let quantity = &component["valueQuantity"];
    let (codes, unit) = (codings(&component["code"]), text(&quantity["code"]));
    let measure = meant(&codes, unit.as_deref())?;
    let unit = unit.filter(|unit| ucum::valid(unit));
    let line = Line {
        form: Some("part".to_owned()),
        codes,
        unit,
        unit_text: text(&quantity["unit"]).unwrap_or_default(),
        ..Line::default()
    };
    told.entry(measure.key.clone()).or_insert(line);
    Some(&measure.key)
}

fn codings(concept: &Json) -> Vec<Code> {
    let list = concept["coding"].as_array().into_iter().flatten();
    let coding = |one: &Json| {
        Some(Code {
            system: text(&one["system"])?,
            code: text(&one["code"])?,
            display: text(&one["display"]).unwrap_or_default(),
        })
    };
    list.filter_map(coding).collect()
}

/// What a profile fixes, completed by what examples show.
fn joined(known: Line, other: Line) -> Line {
    let or = |one: String, other: String| if one.is_empty() { other } else { one };
    let mut codes = known.codes;
    for code in other.codes {
        if !codes.iter().any(|one| (&one.system, &one.code) == (&code.system, &code.code)) {
            codes.push(code);
        }
    }
    Line {
        form: known.form.or(other.form),
        profile: or(known.profile, other.profile),
        categories: if known.categories.is_empty() { other.categories } else { known.categories },
        codes,
        unit: known.unit.or(other.unit),
        unit_text: or(known.unit_text, other.unit_text),
        number: or(known.number, other.number),
        times: or(known.times, other.times),
        plus: or(known.plus, other.plus),
        time: or(known.time, other.time),
        parts: if known.parts.is_empty() { other.parts } else { known.parts },
        note: or(known.note, other.note),
    }
}

fn is_request(bundle: &Json) -> bool {
    shape(bundle).is_some() && !within(bundle, "Observation").is_empty()
}

fn shape(bundle: &Json) -> Option<Shape> {
    match bundle["type"].as_str()? {
        "transaction" => Some(Shape::Transaction),
        "batch" => Some(Shape::Batch),
        "collection" => Some(Shape::Collection),
        _ => None,
    }
}

/// How persons are named, and what every example carries.
fn names(examples: &[&Json], answers: &mut Answers) {
    if examples.is_empty() {
        return;
    }
    let by_identifier = |one: &&&Json| one["subject"]["identifier"]["system"].is_string();
    let systems: BTreeSet<String> =
        examples.iter().filter_map(|one| text(&one["subject"]["identifier"]["system"])).collect();
    let most = examples.iter().filter(by_identifier).count() * 2 > examples.len();
    answers.person = answers.person.or(Some(if most { Naming::Identifier } else { Naming::Reference }));
    // Several systems are a question that only the operator can answer.
    if most && systems.len() == 1 {
        answers.person_system = answers.person_system.take().or_else(|| systems.into_iter().next());
    }
    let carried = EXTRAS.iter().filter(|(path, _)| examples.iter().all(|one| !one[*path].is_null()));
    let carried: Vec<Extra> = carried.map(|(_, extra)| *extra).collect();
    add(&mut answers.elements, carried);
    answers.elements.get_or_insert_with(Vec::new);
}
