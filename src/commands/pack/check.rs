//! `pack check`: everything that is wrong with a pack and with the requests that it makes, with file and line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value as Json, json};

use super::{FOUND, Form, told};
use crate::commands::assemble::{self, Folder};
use crate::commands::publisher::{self, SIGNATURE};
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
    let Folder { files, signature, unread } =
        assemble::folder(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut found = trial::check(&files);
    let name = found.pack.as_ref().map(Pack::name);
    let claim = publisher::claim(&Folder { files, signature, unread: Vec::new() }, name.as_deref());
    let fits = claim.as_ref().map(|claim| claim.mistakes.is_empty());
    let keys = claim.as_ref().map(|claim| claim.keys.clone()).unwrap_or_default();
    found.mistakes.extend(unread.into_iter().chain(claim.into_iter().flat_map(|claim| claim.mistakes)));
    match options.format {
        Form::Text => {
            print!("{}", told(folder, found.told()));
            if let Some(pack) = found.pack.as_ref().filter(|_| found.is_nothing()) {
                println!("{} is a pack: {} measures.", pack.name(), pack.rows().len());
            }
            if let Some(fits) = fits.filter(|_| !keys.is_empty()) {
                println!("{}", signed(&keys, fits));
            }
        }
        Form::Json => {
            let (mistakes, content) = (listed(&found.mistakes), listed(&found.content));
            let signature = fits.map(|fits| json!({"keys": keys, "fits": fits}));
            let all = json!({"pack": name, "mistakes": mistakes, "content": content, "signature": signature});
            println!("{all:#}");
        }
    }
    Ok(if found.is_nothing() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// What the signature says; that the key made it is not looked at here.
fn signed(keys: &[String], fits: bool) -> String {
    let keys = keys.join(", ");
    if fits {
        format!("{SIGNATURE} is of these files by {keys}; `pack verify` says whether that key made it.")
    } else {
        format!("{SIGNATURE} is of other files by {keys}; `pack sign` signs them as they are.")
    }
}

fn listed(mistakes: &[Mistake]) -> Vec<Json> {
    mistakes.iter().map(|one| json!({"file": one.file, "line": one.line, "text": one.text})).collect()
}
