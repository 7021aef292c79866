//! What a word means in the guide: a code, an issue, a profile, a category or a platform, with rule, source, fix, and the
//! countries that take it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::acceptance::{self, Acceptance};
use super::{Edition, issues};
use crate::fhir::outcome::CATALOGUE;
use crate::fhir::validate::measures::answers::Answer;
use crate::fhir::validate::measures::{self, Measure};

/// Something that goes by the word.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    pub title: String,
    /// Labels and what stands beside them; canonicals whole.
    pub facts: Vec<(&'static str, String)>,
    pub tables: Vec<Table>,
}

#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Table {
    pub title: &'static str,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Subject {
    fn new(title: impl Into<String>) -> Subject {
        Subject { title: title.into(), facts: Vec::new(), tables: Vec::new() }
    }

    fn fact(mut self, label: &'static str, text: impl Into<String>) -> Subject {
        let text = text.into();
        if !text.is_empty() {
            self.facts.push((label, text));
        }
        self
    }

    /// One line each.
    fn facts(self, label: &'static str, texts: impl Iterator<Item = String>) -> Subject {
        texts.fold(self, |subject, text| subject.fact(label, text))
    }

    fn table(mut self, title: &'static str, head: &[&'static str], rows: Vec<Vec<String>>) -> Subject {
        if !rows.is_empty() {
            self.tables.push(Table { title, head: head.to_vec(), rows });
        }
        self
    }
}

/// Everything that goes by the word, the nearest first; nothing for an empty one. A code may be written with its system,
/// `http://loinc.org|8867-4`; a profile by its canonical, id or title.
pub fn explain(edition: &Edition, word: &str) -> Vec<Subject> {
    let word = word.trim();
    if word.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Subject> = CATALOGUE
        .iter()
        .filter(|entry| entry.code == word)
        .map(|entry| {
            Subject::new(format!("Issue {}", entry.code))
                .fact("Severity", entry.severity.code())
                .fact("Issue type", entry.kind)
                .fact("Cause", issues::cause(entry.id))
                .fact("Fix", entry.remedy)
                .fact("Page", format!("{}/issues#{}", crate::fhir::outcome::GUIDE, entry.code))
        })
        .collect();
    found.extend(measures::all().iter().filter(|measure| names(measure, word)).map(|each| measure(each, edition)));
    found.extend(acceptance::platforms().iter().filter(|each| is_platform(each, word)).map(platform));
    found.extend(category(word));
    found.extend(is_version(edition, word).then(|| version(edition)));
    found.extend(edition.resources.iter().filter(|each| is_called(each, word)).map(|each| resource(each, edition)));
    found
}

/// Words that are explained and are written much like this one, the nearest first; for whoever finds nothing.
pub fn near(edition: &Edition, word: &str) -> Vec<String> {
    let word = word.trim().to_lowercase();
    let issues = CATALOGUE.iter().map(|entry| entry.code);
    let measures = measures::all().iter().flat_map(|measure| {
        let codes = measure.codes.iter().map(|code| code.code);
        codes.chain([measure.key.as_str(), measure.category])
    });
    let platforms = acceptance::platforms().iter().flat_map(|each| [each.id, each.country_name, each.name]);
    let resources = edition.resources.iter().filter(|each| !edition.is_example(each));
    let resources = resources.flat_map(|each| ["id", "title"].into_iter().filter_map(|name| each[name].as_str()));
    let all: BTreeSet<&str> = issues.chain(measures).chain(platforms).chain(resources).collect();
    let mut found: Vec<(usize, &str)> =
        all.into_iter().filter_map(|known| Some((distance(&word, &known.to_lowercase())?, known))).collect();
    found.sort_unstable();
    found.into_iter().take(MOST_NEAR).map(|(_, known)| known.to_owned()).collect()
}

/// As many words as people read when they have made a slip.
const MOST_NEAR: usize = 5;

/// Nobody looks for longer ones, and the distance of two words costs the product of their lengths.
const LONGEST_WORD: usize = 64;

/// How far a word is from a known one, if it is near: some letters differ, or it is a part of it.
fn distance(word: &str, known: &str) -> Option<usize> {
    let (one, other): (Vec<char>, Vec<char>) = (word.chars().collect(), known.chars().collect());
    if one.len() < 3 || one.len() > LONGEST_WORD || other.len() > LONGEST_WORD {
        return None;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (index, known) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != known);
            diagonal = row[index + 1];
            row[index + 1] = changed.min(row[index] + 1).min(diagonal + 1);
        }
    }
    let edits = row[other.len()];
    // A part comes after every slip.
    let as_part = || (one.len() >= 4 && known.contains(word)).then_some(LONGEST_WORD + edits);
    (edits <= one.len().div_ceil(4)).then_some(edits).or_else(as_part)
}

fn names(measure: &Measure, word: &str) -> bool {
    let (system, code) = word.rsplit_once('|').map_or((None, word), |(system, code)| (Some(system), code));
    let is_code =
        measure.codes.iter().any(|each| each.code == code && system.is_none_or(|system| each.system == system));
    measure.key == word || is_code
}

fn is_platform(platform: &acceptance::Platform, word: &str) -> bool {
    let same = |name: &str| name.eq_ignore_ascii_case(word);
    same(platform.id) || same(platform.country) || same(platform.country_name) || same(platform.name)
}

/// `0.2.0`, or `v0.2.0` as releases are called.
fn is_version(edition: &Edition, word: &str) -> bool {
    word.strip_prefix('v').unwrap_or(word) == edition.version()
}

fn version(edition: &Edition) -> Subject {
    let guide = edition.guide();
    let text = |name: &str| guide[name].as_str().unwrap_or_default();
    Subject::new(format!("Version {} of the guide", edition.version()))
        .fact("Canonical", text("url"))
        .fact("Package", format!("{}#{}", text("packageId"), edition.version()))
        .fact("Date", text("date"))
        .fact("Status", text("status"))
        .fact(
            "Rule",
            "A client that is registered for this version, and a resource whose claim names it, are held to it.",
        )
}

fn is_called(resource: &Value, word: &str) -> bool {
    let bare = word.split('|').next().unwrap_or(word);
    ["url", "id", "name", "title"]
        .iter()
        .any(|name| resource[*name].as_str().is_some_and(|text| text.eq_ignore_ascii_case(bare)))
}

fn measure(measure: &Measure, edition: &Edition) -> Subject {
    let codes =
        measure.codes.iter().map(|each| vec![each.system.to_owned(), each.code.to_owned(), each.verified.to_owned()]);
    let units = measure.units.iter().map(|unit| {
        let range = |(low, high): (_, _)| format!("{low} to {high}");
        vec![unit.code.to_owned(), range(unit.hard), range(unit.soft)]
    });
    let platforms = acceptance::platforms().iter().map(|each| {
        let taken: Vec<&Acceptance> =
            acceptance::all().iter().filter(|line| line.platform == each.id && line.measure == measure.key).collect();
        let said = |text: fn(&Acceptance) -> &str| {
            taken.iter().map(|line| text(line)).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
        };
        let answer = match taken.first() {
            None => "no place for it".to_owned(),
            Some(line) if line.is_refused() => "refused".to_owned(),
            Some(line) => line.as_part().unwrap_or_else(|| "yes".to_owned()),
        };
        vec![
            each.country_name.to_owned(),
            each.name.to_owned(),
            answer,
            said(|line| line.code),
            said(|line| line.unit),
            said(|line| line.note),
        ]
    });
    let (rule, fix) = rule(measure);
    let answers = measure.answer.listed().into_iter().flat_map(|answers| &answers.list);
    let answers = answers.map(|one| vec![one.system.clone(), one.code.to_owned(), one.text.to_owned()]);
    Subject::new(format!("Measure {}", measure.key))
        .fact("Category", measure.category)
        .facts("Profile", measure.profiles.iter().map(|name| edition.profile_url(name)))
        .fact("Rule", rule)
        .fact("Parts", parts(measure))
        .fact("Source", super::measures::sources(measure.source))
        .fact("Fix", fix)
        .table("Codes", &["System", "Code", "Verified by"], codes.collect())
        .table("Units and ranges", &["Unit (UCUM)", "Possible", "Usual"], units.collect())
        .table("Answers", &["System", "Code", "Meaning"], answers.collect())
        .table("Who takes it", &["Country", "Platform", "Taken", "Code", "Unit", "Note"], platforms.collect())
}

/// What a value is held to, and where to read on about what breaks it.
fn rule(measure: &Measure) -> (String, &'static str) {
    const ANY: &str =
        "which codes is not prescribed, so that none is refused as a wrong answer. There is no unit and no range.";
    let (rule, fix) = match &measure.answer {
        Answer::Amount => (
            "The unit is one of those below, and the value lies in its range; outside the usual range it is taken with a warning.",
            "See measure-unit, measure-implausible and measure-unusual.",
        ),
        Answer::Parts => (
            "It has no value of its own. Its components, or the measurements that it names as members, are measures \
             themselves, each held to its own units and ranges, and those that belong together to each other.",
            "See what is said of each part, and measure-relation.",
        ),
        Answer::Date => {
            ("It is answered with a date (valueDateTime). There is no unit, no range and no list of answers.", "")
        }
        Answer::Code => return (format!("It is answered with a code (valueCodeableConcept); {ANY}"), ""),
        Answer::Component(of) => {
            let text = format!("It is told in a component of {of}, with a code (valueCodeableConcept); {ANY}");
            return (text, "");
        }
        Answer::CodeOrBoolean => {
            let types = "a code, or with true or false (valueCodeableConcept or valueBoolean)";
            return (format!("It is answered with {types}; {ANY}"), "");
        }
        Answer::OneOf(answers) if answers.required => (
            "It is answered with one of the answers below (valueCodeableConcept), whichever profile is claimed; anything else is \
             refused.",
            "See measure-answer.",
        ),
        Answer::OneOf(_) => (
            "It is answered with one of the answers below (valueCodeableConcept) where one fits, whichever profile is claimed; \
             anything else is taken with a warning.",
            "See measure-answer-other.",
        ),
    };
    (rule.to_owned(), fix)
}

/// What the profile of something that has parts has them of.
fn parts(whole: &Measure) -> String {
    if whole.answer != Answer::Parts {
        return String::new();
    }
    let is_of_profile = |one: &&Measure| one.profiles.iter().any(|profile| whole.profiles.contains(profile));
    let parts = measures::all().iter().filter(|one| one.answer != Answer::Parts).filter(is_of_profile);
    parts.map(|one| one.key.as_str()).collect::<Vec<_>>().join(", ")
}

fn platform(platform: &acceptance::Platform) -> Subject {
    let rows = acceptance::all().iter().filter(|line| line.platform == platform.id).map(|line| {
        let form = line.as_part().unwrap_or_else(|| line.form.to_owned());
        [line.measure, line.system, line.code, line.unit, &form, line.note].map(str::to_owned).to_vec()
    });
    Subject::new(format!("Platform {}", platform.name))
        .fact("Id", platform.id)
        .fact("Country", platform.country_name)
        .fact("Direction", platform.direction)
        .fact("FHIR", platform.fhir)
        .fact("Status", platform.status)
        .fact("Source", platform.source)
        .table("What it takes", &["Measure", "System", "Code", "Unit", "Form", "Note"], rows.collect())
}

fn category(word: &str) -> Option<Subject> {
    let rows: Vec<Vec<String>> = measures::all()
        .iter()
        .filter(|each| each.category == word)
        .map(|each| vec![each.key.clone(), each.codes.first().map(|code| code.code.to_owned()).unwrap_or_default()])
        .collect();
    let subject = Subject::new(format!("Category {word}"))
        .fact("Rule", "Consents, scopes and the audit speak of this category; a switch for it covers these measures.");
    (!rows.is_empty()).then(|| subject.table("Measures", &["Measure", "Code"], rows))
}

fn resource(resource: &Value, edition: &Edition) -> Subject {
    let text = |name: &str| resource[name].as_str().unwrap_or_default();
    let kind = text("resourceType");
    let refusal = edition.refused_with(resource).map(|issue| format!("This example is refused with {issue}."));
    let subject = Subject::new(format!("{kind} {}", edition.title_of(resource)))
        .fact("Canonical", text("url"))
        .fact("Based on", text("baseDefinition"))
        .fact("Rule", edition.description_of(resource))
        .fact("Outcome", refusal.unwrap_or_default());
    if kind != "StructureDefinition" {
        return subject;
    }
    let elements = resource["differential"]["element"].as_array().into_iter().flatten();
    let rows = elements.map(|element| {
        let text = |name: &str| element[name].as_str().unwrap_or_default().to_owned();
        vec![text("id"), text("short")]
    });
    subject.table("What it adds", &["Element", "Rule"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_spoken_of_where_there_are_some() {
        let edition = Edition::current();
        for one in measures::all() {
            let subject = measure(one, &edition);
            let fact =
                |label: &str| subject.facts.iter().find(|(known, _)| *known == label).map(|(_, text)| text.as_str());
            let rule = fact("Rule").unwrap();
            assert_eq!(fact("Parts").is_some(), one.answer == Answer::Parts, "{}", one.key);
            assert_eq!(rule.starts_with("The unit is"), !one.units.is_empty(), "{}: {rule}", one.key);
            assert_eq!(
                fact("Fix").is_some_and(|fix| fix.contains("measure-unit")),
                !one.units.is_empty(),
                "{}",
                one.key
            );
            for table in ["Units and ranges", "Answers"] {
                let is_there = subject.tables.iter().any(|known| known.title == table);
                let is_wanted = if table == "Answers" { one.answer.listed().is_some() } else { !one.units.is_empty() };
                assert_eq!(is_there, is_wanted, "{}: {table}", one.key);
            }
        }
    }

    #[test]
    fn a_slip_finds_what_was_meant() {
        let edition = Edition::current();
        for (word, meant) in [
            ("heart-rat", "heart-rate"),
            ("Hart-Rate", "heart-rate"),
            ("8867-5", "8867-4"),
            ("cardinalty-min", "cardinality-min"),
            ("mh-bloodpressure", "mh-blood-pressure"),
            ("Frnace", "France"),
            ("glucos", "glucose"),
        ] {
            let near = near(&edition, word);
            assert!(near.iter().any(|each| each == meant), "{word}: {near:?}");
            assert!(near.len() <= MOST_NEAR);
        }
        for word in ["", "x", "completely other words that nobody wrote down", &"a".repeat(100_000)] {
            assert_eq!(near(&edition, word), Vec::<String>::new(), "{}", word.len());
        }
    }
}
