//! `validate`: the rules of the gateway, offline, for one file or many.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::fhir::definitions::Registry;
use crate::fhir::outcome::{Issue, has_errors, operation_outcome};
use crate::fhir::validate::{Options as Check, Validator};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// JSON or XML files, one resource each.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Canonical of a profile to check against besides meta.profile.
    #[arg(long)]
    profile: Vec<String>,
    /// Print OperationOutcomes.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let validator = Validator::new(Registry::core());
    let profiles: Vec<&str> = options.profile.iter().map(String::as_str).collect();
    let mut good = true;
    for path in &options.files {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let issues = check(&validator, &bytes, &profiles);
        good &= !has_errors(&issues);
        if options.json {
            println!("{}", operation_outcome(&issues));
        } else if issues.is_empty() {
            println!("{}: good", path.display());
        } else {
            for issue in &issues {
                println!("{}:{}", path.display(), line(issue));
            }
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(validator: &Validator, bytes: &[u8], profiles: &[&str]) -> Vec<Issue> {
    validator.check_text(bytes, &Check { profiles, ..Check::default() }).issues
}

/// `line:column: severity id at expression: text`, as compilers print it.
pub(super) fn line(issue: &Issue) -> String {
    format!(
        "{}:{}: {} [{}] {}{}{}",
        issue.position.line,
        issue.position.column,
        issue.severity.code(),
        issue.id,
        issue.expression,
        if issue.expression.is_empty() { "" } else { ": " },
        issue.text
    )
}
