//! `pack check`: everything that is wrong with a pack, with file and line, and what of its own requests is no FHIR.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::{FOUND, Form, compiled, told};
use crate::fhir::definitions::Registry;
use crate::fhir::tree::{Element, json as tree};
use crate::fhir::validate::{Options as Rules, Validator};
use crate::national::trial::{self, Stage, within};
use crate::national::{Mistake, Pack};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Folder of the pack.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// How it is said.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let folder = &options.folder;
    let pack = match compiled(folder)? {
        Ok(pack) => pack,
        Err(mistakes) => {
            match options.format {
                Form::Text => print!("{}", told(folder, &mistakes)),
                Form::Json => println!("{:#}", json!({"mistakes": listed(&mistakes), "content": []})),
            }
            return Ok(ExitCode::from(FOUND));
        }
    };
    let wrong = content(&pack);
    match options.format {
        Form::Text => {
            for (measure, text) in &wrong {
                println!("{measure}: {text}");
            }
            if wrong.is_empty() {
                println!("{} is a pack: {} measures.", pack.name(), pack.rows().len());
            }
        }
        Form::Json => {
            let content: Vec<Json> =
                wrong.iter().map(|(measure, text)| json!({"measure": measure, "text": text})).collect();
            println!("{:#}", json!({"pack": pack.name(), "mistakes": [], "content": content}));
        }
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

fn listed(mistakes: &[Mistake]) -> Vec<Json> {
    mistakes.iter().map(|one| json!({"file": one.file, "line": one.line, "text": one.text})).collect()
}

/// What the standard says of the Observations that the pack makes, and what the destination would refuse of its requests.
fn content(pack: &Pack) -> Vec<(String, String)> {
    let Ok(stage) = Stage::of(pack, &BTreeMap::new()) else { return Vec::new() };
    let mut found = Vec::new();
    let requests: Vec<(String, Json)> = trial::requests(pack, &stage).collect();
    // Only R4 is known here; what other releases say of their own is for their own validators.
    if pack.fhir == "4.0.1" {
        let validator = Validator::new(Registry::core());
        for (measure, request) in &requests {
            for observation in within(request, "Observation") {
                found.extend(invalid(&validator, observation).map(|text| (measure.clone(), text)));
            }
        }
    }
    found.extend(trial::unchecked(pack, &requests).into_iter().map(|one| (one.measure, one.text)));
    found
}

/// The first thing that the standard minds. Profiles of the destination's are not known, so that a claim is no mistake.
fn invalid(validator: &Validator, observation: &Json) -> Option<String> {
    let mut plain = observation.clone();
    plain.as_object_mut()?.remove("meta");
    let document = tree::parse(plain.to_string()).ok()?;
    let report = validator.check(Element::root(&document), &Rules::default());
    let first = report.issues.iter().find(|issue| issue.is_error())?;
    Some(format!("{}: {}", first.expression, first.text))
}
