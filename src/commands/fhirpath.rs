//! `fhirpath`: what an expression selects from a resource, or what it was taken to mean.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value as Json, json};

use super::validate::Known;
use crate::fhir::fhirpath::{self, Syntax, Value};
use crate::fhir::tree::{Element, write};
use crate::fhir::validate::Format;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The expression, e.g. "Patient.name.given.first()".
    expression: String,
    /// A FHIR resource in JSON or XML; `-` is standard input.
    #[arg(required_unless_present = "ast")]
    file: Option<PathBuf>,
    /// Print what the expression was taken to mean, fully bracketed, and evaluate nothing.
    #[arg(long)]
    ast: bool,
    #[command(flatten)]
    known: Known,
}

/// The expression could not be evaluated.
const COULD_NOT_RUN: u8 = 2;

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match evaluated(options) {
        Ok(text) => {
            println!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("mhealth-gateway: {error:#}");
            Ok(ExitCode::from(COULD_NOT_RUN))
        }
    }
}

fn evaluated(options: &Options) -> anyhow::Result<String> {
    let expression = fhirpath::compile(&options.expression)
        .map_err(|syntax| anyhow::anyhow!(shown(&options.expression, &syntax)))?;
    let Some(file) = options.file.as_ref().filter(|_| !options.ast) else { return Ok(expression.to_string()) };
    let bytes = read(file).with_context(|| format!("reading {}", file.display()))?;
    let validator = options.known.validator()?;
    let reading = validator.read(&bytes, Format::of(&bytes));
    let Some(document) = reading.document else {
        let issue = reading.issues.last().map(super::validate::short).unwrap_or_default();
        bail!("{}: {issue}", file.display());
    };
    let now = jiff::Timestamp::now();
    validator.evaluate(Element::root(&document), &expression, Some(now), |result| {
        let items: Vec<String> = result?.iter().map(|value| item(value).to_string()).collect();
        Ok(if items.is_empty() { "[]".to_owned() } else { format!("[\n  {}\n]", items.join(",\n  ")) })
    })
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The expression with a mark where it cannot be read.
fn shown(expression: &str, syntax: &Syntax) -> String {
    let mut at = syntax.offset.min(expression.len());
    while !expression.is_char_boundary(at) {
        at -= 1;
    }
    let start = expression[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = expression[start..].lines().next().unwrap_or_default();
    let number = expression[..at].matches('\n').count() + 1;
    let before = expression[start..at].chars().count();
    let what = &syntax.what;
    format!("{what}, at {number}:{}\n  |\n  | {line}\n  | {}^", before + 1, " ".repeat(before))
}

/// One result: its type and its value.
fn item(value: &Value<'_>) -> Json {
    match value {
        Value::Node(node) => {
            let element = node.element;
            let text = element.value_node().map(|at| write::compact(element.document(), at));
            let mut out = json!({
                "type": node.fhir_type(),
                "value": text.and_then(|text| serde_json::from_str::<Json>(&text).ok()),
            });
            // The id and extensions of a primitive.
            if let Some(shadow) = element.shadow_node() {
                let text = write::compact(element.document(), shadow);
                out["_value"] = serde_json::from_str(&text).unwrap_or_default();
            }
            out
        }
        Value::Type { namespace, name } => json!({"type": "System.ClassInfo", "value": format!("{namespace}.{name}")}),
        other => {
            let value = match other {
                Value::Boolean(value) => json!(value),
                Value::Integer(value) => json!(value),
                Value::Decimal(value) => serde_json::from_str(&value.to_string()).unwrap_or_default(),
                Value::Text(text) => json!(text),
                Value::Temporal(temporal) => json!(temporal.to_string()),
                Value::Quantity(quantity) => json!(quantity.to_string()),
                Value::Node(_) | Value::Type { .. } => Json::Null,
            };
            json!({"type": other.system_type().map(|name| format!("System.{name}")), "value": value})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_place() {
        let syntax = fhirpath::compile("name.where(\n  use = 'official' and )").unwrap_err();
        let text = shown("name.where(\n  use = 'official' and )", &syntax);
        assert!(text.contains(", at 2:24\n") && text.ends_with("\n  |                        ^"), "{text}");
    }
}
