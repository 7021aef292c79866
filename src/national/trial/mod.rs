//! A pack tried: the guide's own measurements told by it, a destination's examples told again, and the destination's
//! assertions and the pack's own checks held against what comes out.
//!
//! What is compared is the meaning: other ids, orders and spellings are no difference. Files and terminals are not known
//! here.

mod assertion;
mod check;
mod compare;
mod gap;
mod known;
mod line;
mod measurement;
mod stu3;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

pub use assertion::{Assertion, Outcome, hold, holds_of_all, of_list, of_script};
pub(super) use check::each;
pub use check::{Found, check};
pub use compare::{differences, other_words, read_back, uncompared, within};
pub use gap::{Gap, State, gaps, page};
pub use measurement::{Stage, is_vital_sign, made, measurement};

use super::pack::{Form, Pack};
use crate::fhir::definitions::Registry;
use crate::fhir::fhirpath::{Collection, Value, from_base64};
use crate::fhir::tree::{Element, json as tree};
use crate::fhir::validate::Validator;

/// What a pack makes of a destination's material.
#[derive(Debug)]
pub struct Trial {
    pub examples: Vec<Example>,
    pub assertions: Vec<Assertion>,
    /// Measures of which the pack's own requests do not pass what its table of errors says that is checked.
    pub unchecked: Vec<Unchecked>,
}

/// One Observation of the destination's.
#[derive(Debug)]
pub struct Example {
    pub file: String,
    /// Which of the file's it is, from 0.
    pub index: usize,
    /// Empty, where what the pack tells means the same.
    pub differs: Vec<String>,
    /// What means the same in other words: texts and displays, which people read.
    pub words: Vec<String>,
    /// Elements that the example has and the pack tells nothing of.
    pub uncompared: Vec<String>,
    /// Whether the pack has a place for it.
    pub placed: bool,
}

/// A request of the pack's own that its destination would refuse.
#[derive(Debug)]
pub struct Unchecked {
    pub measure: String,
    /// The line of `errors.csv` that says so.
    pub line: u64,
    pub text: String,
}

impl Trial {
    /// Whether nothing was found that a destination would mind.
    pub fn passes(&self) -> bool {
        let asserted = |one: &Assertion| !matches!(one.outcome, Outcome::Fails | Outcome::Unreadable);
        self.examples.iter().all(|one| one.differs.is_empty())
            && self.assertions.iter().all(asserted)
            && self.unchecked.is_empty()
    }

    /// The same for a program.
    pub fn json(&self) -> Json {
        let examples = self
            .examples
            .iter()
            .map(|one| json!({"file": one.file, "index": one.index, "placed": one.placed, "differs": one.differs, "words": one.words, "uncompared": one.uncompared}));
        let assertions = self
            .assertions
            .iter()
            .map(|one| json!({"expression": one.expression, "outcome": format!("{:?}", one.outcome).to_lowercase()}));
        let unchecked =
            self.unchecked.iter().map(|one| json!({"measure": one.measure, "line": one.line, "text": one.text}));
        json!({
            "passes": self.passes(),
            "examples": examples.collect::<Vec<_>>(),
            "assertions": assertions.collect::<Vec<_>>(),
            "checks": unchecked.collect::<Vec<_>>(),
        })
    }
}

/// Tries a pack with a destination's resources, by the names of their files, and with assertions. The error is what is
/// wrong with the settings.
pub fn run(
    pack: &Pack,
    said: &BTreeMap<String, String>,
    material: &[(String, Json)],
    assertions: &BTreeSet<String>,
) -> Result<Trial, Vec<String>> {
    let stage = Stage::of(pack, said)?;
    let mut examples = Vec::new();
    let mut asserted = assertions.clone();
    for (file, resource) in material {
        asserted.extend(of_script(resource));
        for (index, example) in within(resource, "Observation").into_iter().enumerate() {
            examples.push(told_again(pack, &stage, file, index, example));
        }
    }
    let requests: Vec<(String, Json)> = requests(pack, &stage).collect();
    let bodies: Vec<Json> = requests.iter().map(|(_, request)| request.clone()).collect();
    let root = bodies.first().and_then(|request| request["resourceType"].as_str()).unwrap_or_default();
    // What is about another resource than the request is about answers.
    let about = |expression: &String| {
        let first: String = expression.chars().take_while(char::is_ascii_alphanumeric).collect();
        first == root || !first.starts_with(|letter: char| letter.is_ascii_uppercase())
    };
    asserted.retain(about);
    Ok(Trial { examples, assertions: hold(&asserted, &bodies), unchecked: unchecked(pack, &requests) })
}

/// Documents that lie in base64 within a request.
pub fn documents(request: &Json) -> Vec<Json> {
    let decoded = within(request, "Binary").into_iter().filter_map(|binary| from_base64(binary["data"].as_str()?));
    decoded.filter_map(|bytes| serde_json::from_slice(&bytes).ok()).collect()
}

fn told_again(pack: &Pack, stage: &Stage<'_>, file: &str, index: usize, example: &Json) -> Example {
    let told = |placed, differs| Example {
        file: file.to_owned(),
        index,
        differs,
        words: Vec::new(),
        uncompared: Vec::new(),
        placed,
    };
    let Some(sent) = read_back(pack, example) else {
        return told(false, vec!["it has no place in the pack".to_owned()]);
    };
    let request = match stage.told(&[sent]) {
        Ok(request) => request,
        Err(why) => return told(true, vec![why.text]),
    };
    let documents = documents(&request);
    let emitted: Vec<&Json> =
        [&request].into_iter().chain(&documents).flat_map(|one| within(one, "Observation")).collect();
    let differs = emitted.first().map(|one| differences(one, example)).unwrap_or_default();
    let words = emitted.first().map(|one| other_words(one, example)).unwrap_or_default();
    let words = words.into_iter().map(str::to_owned).collect();
    let uncompared = emitted.first().map(|one| uncompared(one, example)).unwrap_or_default();
    Example { words, uncompared, ..told(true, differs) }
}

/// What the pack makes of one measurement of each measure that it takes.
pub fn requests<'p>(pack: &'p Pack, stage: &'p Stage<'p>) -> impl Iterator<Item = (String, Json)> + 'p {
    let taken = pack.rows().iter().filter(|row| row.form != Form::Part && !row.is_refused());
    taken.filter_map(|row| Some((row.measure.clone(), stage.told(&[measurement(pack, row, None)?]).ok()?)))
}

/// The pack's own requests against what its table of errors says that the destination checks.
pub fn unchecked(pack: &Pack, requests: &[(String, Json)]) -> Vec<Unchecked> {
    let validator = Validator::new(Registry::core());
    let mut found = Vec::new();
    for (measure, request) in requests {
        let Ok(document) = tree::parse(request.to_string()) else { continue };
        for check in pack.answers.checks() {
            let holds = validator.evaluate(Element::root(&document), &check.holds, None, |found| {
                found.is_ok_and(|found| matches!(found, Collection::One(Value::Boolean(true))))
            });
            if !holds {
                let text = format!("the destination would answer {} {}", check.status, check.text);
                found.push(Unchecked { measure: measure.clone(), line: check.line, text: text.trim_end().to_owned() });
            }
        }
    }
    found
}
