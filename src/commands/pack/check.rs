//! `pack check`: everything that is wrong with a pack, with file and line, and what of its own requests is no FHIR.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::{FOUND, Form, compiled, told};
use crate::national::Mistake;
use crate::national::trial;

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
    let found = trial::check(&pack, &super::files(folder)?);
    let wrong = &found.content;
    match options.format {
        Form::Text => {
            print!("{}", told(folder, &found.mistakes));
            for (measure, text) in wrong {
                println!("{measure}: {text}");
            }
            if found.is_nothing() {
                println!("{} is a pack: {} measures.", pack.name(), pack.rows().len());
            }
        }
        Form::Json => {
            let content: Vec<Json> =
                wrong.iter().map(|(measure, text)| json!({"measure": measure, "text": text})).collect();
            println!("{:#}", json!({"pack": pack.name(), "mistakes": listed(&found.mistakes), "content": content}));
        }
    }
    Ok(if found.is_nothing() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

fn listed(mistakes: &[Mistake]) -> Vec<Json> {
    mistakes.iter().map(|one| json!({"file": one.file, "line": one.line, "text": one.text})).collect()
}
