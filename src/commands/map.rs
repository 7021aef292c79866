//! `map`: what a mapping makes of a sender's records, or whether it is one.
//!
//! For whoever writes a mapping, or wonders why a record was refused. Nothing is sent anywhere.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::validate::short;
use crate::devices::{self, Format, Formats, Sender, Zone};
use crate::exchange::push::explain::{self, Explained, Fate};
use crate::fhir::outcome::Reader;
use crate::fhir::validate::Validator;
use crate::guide;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Records as the sender writes them, in JSON; `-` is standard input. Without them the mapping is checked and shown.
    #[arg(value_name = "FILE|-")]
    records: Option<PathBuf>,
    /// The format of the records: the id of a mapping.
    #[arg(long, value_name = "FORMAT", required_unless_present = "mapping")]
    from: Option<String>,
    /// A mapping to use besides those of the program, or in place of one with the same id.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Say of each record which rule took it and what each expression found.
    #[arg(long)]
    explain: bool,
    /// How it is said.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Id of the Patient that the Observations are of.
    #[arg(long, value_name = "ID", default_value = "me")]
    patient: String,
    /// IANA name of the zone in which local times without an offset were.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// The command could not do what was asked.
const COULD_NOT_RUN: u8 = 2;

/// Records that are explained at once.
const MOST: usize = 100_000;

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match mapped(options) {
        Ok((text, code)) => {
            print!("{text}");
            Ok(code)
        }
        Err(error) => {
            eprintln!("mhealth-gateway: {error:#}");
            Ok(ExitCode::from(COULD_NOT_RUN))
        }
    }
}

fn mapped(options: &Options) -> anyhow::Result<(String, ExitCode)> {
    let mut formats = Formats::default();
    let mut own = None;
    if let Some(path) = &options.mapping {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        match formats.add(&text) {
            Ok(pack) => own = Some(pack),
            Err(mistakes) => {
                let lines: String = mistakes.iter().map(|mistake| format!("{}: {mistake}\n", path.display())).collect();
                return Ok((lines, ExitCode::FAILURE));
            }
        }
    }
    let format = match &options.from {
        None => Format::Mapping(own.context("name the format with --from")?),
        Some(name) => {
            formats.format(name).with_context(|| format!("there is no format {name}; known are {}", formats.names()))?
        }
    };
    let Some(records) = &options.records else { return Ok((shown(&format, options.format), ExitCode::SUCCESS)) };
    let zone = options.zone.as_deref().map(Zone::get).transpose().context("--zone")?;
    let subject = format!("Patient/{}", options.patient);
    let sender = Sender { subject: &subject, zone };
    let document = match devices::read(read(records)?) {
        Ok(document) => document,
        Err(issue) => bail!("{}: {}", records.display(), short(&issue)),
    };
    let validator = Validator::new(guide::registry());
    let explained = match explain::explain(&format, &document, &sender, &validator, MOST) {
        Ok(explained) => explained,
        Err(issue) => bail!("{}: {}", records.display(), short(&issue)),
    };
    let refused =
        explained.iter().flat_map(|one| &one.records).any(|(_, issues)| Explained::fate(issues) == Fate::Refused);
    let text = match options.format {
        Form::Json => format!("{:#}\n", explain::as_json(&format, &explained, Reader::default())),
        Form::Text => told(&format, &explained, options.explain),
    };
    Ok((text, if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// What a format is about.
fn shown(format: &Format, form: Form) -> String {
    let kinds: Vec<(&str, Vec<&str>)> = match format {
        Format::Mapping(pack) => pack.kinds().collect(),
        // What is FHIR already says itself what it is.
        Format::Native | Format::Templates(_) => Vec::new(),
    };
    if form == Form::Json {
        let kinds: serde_json::Map<String, serde_json::Value> =
            kinds.into_iter().map(|(kind, measures)| (kind.to_owned(), measures.into())).collect();
        let value = serde_json::json!({"format": format.name(), "mapping": format.canonical(), "source": format.source(), "kinds": kinds});
        return format!("{value:#}\n");
    }
    let mut kinds = kinds;
    kinds.sort_unstable();
    let width = kinds.iter().map(|(kind, _)| kind.len()).max().unwrap_or_default();
    let canonical = format.canonical().map(|canonical| format!(" ({canonical})")).unwrap_or_default();
    let mut text = format!("{}{canonical}\n{}\n\n", title(format), format.source());
    for (kind, measures) in kinds {
        let _ = writeln!(text, "{kind:width$}  {}", measures.join(", "));
    }
    text
}

fn title(format: &Format) -> String {
    match format {
        Format::Mapping(pack) => format!("{} {}", pack.title, pack.version),
        Format::Native | Format::Templates(_) => format!("{} {}", format.name(), format.version()),
    }
}

fn told(format: &Format, explained: &[Explained], with_steps: bool) -> String {
    let mut text = format!("{}\n", title(format));
    for one in explained {
        let pointer = one.records.first().map_or("", |(record, _)| record.pointer.as_str());
        let _ = writeln!(text, "\n{}", if pointer.is_empty() { "/" } else { pointer });
        if with_steps {
            let width = one.steps.iter().map(|step| step.what.len()).max().unwrap_or_default();
            for step in &one.steps {
                let _ = writeln!(text, "  {:width$}  {}  ->  {}", step.what, step.by, step.result);
            }
        }
        for (record, issues) in &one.records {
            let what = record.measure.unwrap_or("-");
            let id = record.source_id.as_deref().unwrap_or("without an id");
            let _ = writeln!(text, "  {} {what} ({id})", Explained::fate(issues).word());
            for issue in issues {
                let _ = writeln!(text, "    {}", short(issue));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(from: Option<&str>, records: Option<PathBuf>) -> Options {
        Options {
            records,
            from: from.map(str::to_owned),
            mapping: None,
            explain: true,
            format: Form::Text,
            patient: "me".to_owned(),
            zone: None,
        }
    }

    #[test]
    fn records_are_explained_step_by_step() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.json");
        let steps = r#"{"recordType": "Steps", "count": 812, "startTime": "2026-01-15T07:00:00Z", "endTime":
            "2026-01-15T07:15:00Z", "startZoneOffset": {"totalSeconds": 3600}, "endZoneOffset": {"totalSeconds": 3600},
            "metadata": {"id": "s-1", "recordingMethod": 2}}"#;
        let route = r#"{"recordType": "SexualActivity", "time": "2026-01-15T07:00:00Z", "metadata": {"id": "s-2"}}"#;
        std::fs::write(&file, format!("[{steps}, {route}]")).unwrap();
        let (text, code) = mapped(&options(Some("health-connect"), Some(file))).unwrap();
        assert_eq!(code, ExitCode::FAILURE);
        for expected in [
            "\n/0\n",
            "kind         recordType  ->  Steps",
            "value        count  ->  812 {steps}",
            "2026-01-15T08:15:00+01:00",
            "accepted steps-interval (s-1)",
            "\n/1\n",
            "refused - (without an id)",
            "[device-type-left-out]",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }

    #[test]
    fn what_is_fhir_already_is_explained_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.json");
        let reading = r#"{"resourceType": "Observation", "id": "x", "status": "final", "code": {"coding": [
            {"system": "urn:iso:std:iso:11073:10101", "code": "149530"}]}, "effectiveDateTime": "2026-01-15T08:00:00Z",
            "valueQuantity": {"value": 62, "unit": "bpm", "system": "http://unitsofmeasure.org", "code": "/min"}}"#;
        std::fs::write(&file, reading).unwrap();
        let (text, _) = mapped(&options(Some("phd"), Some(file))).unwrap();
        assert!(text.starts_with("phd ") && !text.contains("refused"), "{text}");
        let (text, code) = mapped(&options(Some("phd"), None)).unwrap();
        assert!(code == ExitCode::SUCCESS && text.contains("HL7 PHD"), "{text}");
    }

    #[test]
    fn a_mapping_is_shown_or_its_mistakes_are() {
        let (text, code) = mapped(&options(Some("health-connect"), None)).unwrap();
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.contains("Weight") && text.contains("body-weight"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.json");
        std::fs::write(
            &file,
            r#"{"id": "mine", "version": "1", "title": "t", "source": "s", "identifier": "i", "inputs": []}"#,
        )
        .unwrap();
        let own = Options { mapping: Some(file), ..options(None, None) };
        let (text, code) = mapped(&own).unwrap();
        assert_eq!(code, ExitCode::FAILURE);
        assert!(text.contains("version is three numbers") && text.contains("inputs is empty"), "{text}");
        let error = mapped(&options(Some("smoke-signals"), None)).unwrap_err().to_string();
        assert!(error.contains("known are") && error.contains("healthkit"), "{error}");
    }
}
