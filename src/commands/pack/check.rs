//! `pack check`: everything that is wrong with a pack and with the requests that it makes, with file and line.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::{FOUND, Form, told};
use crate::national::{Mistake, Pack, trial};

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
    let found = trial::check(&super::files(folder)?);
    match (options.format, &found.pack) {
        (Form::Text, Some(pack)) if found.is_nothing() => {
            println!("{} is a pack: {} measures.", pack.name(), pack.rows().len());
        }
        (Form::Text, _) => print!("{}", told(folder, found.told())),
        (Form::Json, pack) => {
            let name = pack.as_ref().map(Pack::name);
            let (mistakes, content) = (listed(&found.mistakes), listed(&found.content));
            println!("{:#}", json!({"pack": name, "mistakes": mistakes, "content": content}));
        }
    }
    Ok(if found.is_nothing() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

fn listed(mistakes: &[Mistake]) -> Vec<Json> {
    mistakes.iter().map(|one| json!({"file": one.file, "line": one.line, "text": one.text})).collect()
}
