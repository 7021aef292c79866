//! `explain`: what a code, an issue, a profile or a platform means in the guide.

use std::process::ExitCode;

use crate::guide::{self, Edition, Shelf, Subject};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A code (8867-4, or http://loinc.org|8867-4), issue id, profile, category, platform, country or version of the guide.
    word: String,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The guide does not know the word.
const UNKNOWN: u8 = 1;

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let found = explained(&options.word);
    match options.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&found)?),
        Format::Text if found.is_empty() => {
            eprintln!(
                "mhealth-gateway: nothing in the guide goes by that name; codes, issue ids, profiles, platforms and versions do"
            );
            let near = guide::near(&Edition::current(), &options.word);
            if !near.is_empty() {
                eprintln!("Did you mean {}?", near.join(", "));
            }
        }
        Format::Text => print!("{}", found.iter().map(text).collect::<Vec<_>>().join("\n")),
    }
    Ok(if found.is_empty() { ExitCode::from(UNKNOWN) } else { ExitCode::SUCCESS })
}

/// In the newest edition, or in the one that the word names.
fn explained(word: &str) -> Vec<Subject> {
    let named = word.strip_prefix('v').unwrap_or(word);
    let found = guide::explain(&Edition::current(), word);
    let is_version = found.is_empty() && named.starts_with(|first: char| first.is_ascii_digit());
    let earlier = is_version.then(|| Shelf::new(Vec::new()).edition(named)).flatten();
    earlier.map_or(found, |edition| guide::explain(&edition, named))
}

fn text(subject: &Subject) -> String {
    let mut out = format!("{}\n", subject.title);
    let facts: Vec<Vec<&str>> = subject.facts.iter().map(|(label, text)| vec![*label, text.as_str()]).collect();
    out.push_str(&aligned(&facts));
    for table in &subject.tables {
        out.push_str(&format!("\n  {}\n", table.title));
        let rows = table.rows.iter().map(|row| row.iter().map(String::as_str).collect());
        let rows: Vec<Vec<&str>> = std::iter::once(table.head.clone()).chain(rows).collect();
        out.push_str(&aligned(&rows));
    }
    out
}

/// Columns under each other; the last one as long as it is.
fn aligned(rows: &[Vec<&str>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        out.push_str(&format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().replace('\n', " "));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::ours;

    fn said(word: &str) -> String {
        explained(word).iter().map(text).collect()
    }

    #[test]
    fn what_people_ask_for_is_explained() {
        let cases: [(&str, &[&str]); 13] = [
            ("8867-4", &["Measure heart-rate", "/min", "Denmark", "NPU21692"]),
            ("http://loinc.org|39156-5", &["Measure bmi", "France", "refused", "Germany", "no place for it"]),
            ("pulse-pressure", &["within blood-pressure", "87179004"]),
            ("NO", &["news2-pulse", "within news2"]),
            ("blood-pressure", &["no value of its own", "diastolic-bp, mean-bp, pulse-pressure, systolic-bp"]),
            ("sleep-stage", &["Answers", "248218005", "Awake"]),
            ("measure-unit", &["Issue measure-unit", "Cause", "Fix", "Severity"]),
            ("mh-heart-rate", &["StructureDefinition", "Based on"]),
            ("FR", &["Platform Mon espace santé", "1/(24.h)"]),
            ("france", &["Platform Mon espace santé"]),
            (ours::VERSION, &["Version ", "Package"]),
            ("0.1.0", &["Version 0.1.0 of the guide", "#0.1.0"]),
            ("sleep", &["Category sleep", "sleep-duration"]),
        ];
        for (word, parts) in cases {
            let said = said(word);
            for part in parts {
                assert!(said.contains(part), "{word}: {part} is missing in\n{said}");
            }
        }
        assert!(said("no such word").is_empty() && said("").is_empty());
    }
}
