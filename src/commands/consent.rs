//! `consent explain`: what consents would decide, of what, by which rule, now or at another time. `consent verify`: whether
//! a receipt for one is genuine.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::validate::short;
use crate::exchange::attest;
use crate::exchange::simulate::{self, Simulation};
use crate::fhir::definitions::Registry;
use crate::fhir::tree::{Document, Element, json};
use crate::guide;
use crate::policy::consent::{Implicit, Implied};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Options {
    /// Say what consents would permit, and by which rule.
    Explain(Explain),
    /// Say whether a receipt is genuine, without asking the gateway.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The receipt; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    receipt: PathBuf,
    /// The gateway's published keys (`/.well-known/consent-receipt-keys`).
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The Consent that it should be of, byte for byte as the gateway answered it.
    #[arg(long, value_name = "FILE")]
    consent: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// A Consent, or a Bundle of them, in JSON.
    #[arg(long, value_name = "FILE")]
    consent: Vec<PathBuf>,
    /// Who asks, what for: JSON with patient, actors, purpose, action; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    request: PathBuf,
    /// A resource, or a Bundle of them, that is asked for; without one it is said whether the answer depends on it.
    #[arg(long, value_name = "FILE")]
    resource: Vec<PathBuf>,
    /// When it is asked, as a FHIR dateTime; now if absent.
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// What holds where the person has said nothing: a policy of IHE PCF, by address or name.
    #[arg(long, value_name = "POLICY")]
    implicit: Option<String>,
    /// How it is said.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// The command could not do what was asked.
const COULD_NOT_RUN: u8 = 2;

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let outcome = match options {
        Options::Explain(options) => explained(options),
        Options::Verify(options) => verified(options),
    };
    match outcome {
        Ok(text) => {
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("mhealth-gateway: {error:#}");
            Ok(ExitCode::from(COULD_NOT_RUN))
        }
    }
}

/// What a genuine receipt says.
fn verified(options: &Verify) -> anyhow::Result<String> {
    let keys: Value = serde_json::from_str(&read(&options.keys)?).context("the keys are a JWK Set in JSON")?;
    let consent = options.consent.as_ref().map(|path| read(path)).transpose()?;
    let claims = attest::verified(&read(&options.receipt)?, &keys, consent.as_deref().map(str::as_bytes))
        .map_err(anyhow::Error::msg)?;
    Ok(format!("{claims:#}\n"))
}

fn explained(options: &Explain) -> anyhow::Result<String> {
    let consents = documents(&options.consent)?;
    let resources = documents(&options.resource)?;
    let text = read(&options.request)?;
    let asked =
        simulate::asked(&text).map_err(|issue| anyhow::anyhow!("{}: {}", options.request.display(), short(&issue)))?;
    let now_ms = match &options.now {
        None => jiff::Timestamp::now().as_millisecond(),
        Some(text) => simulate::moment_ms(text).context("--now is a FHIR dateTime, such as 2026-05-04T08:00:00Z")?,
    };
    let implied = match &options.implicit {
        None => Implied::default(),
        Some(name) => Implied::everywhere(Implicit::named(name).with_context(|| {
            let known: Vec<&str> = Implicit::names().collect();
            format!("--implicit is one of {}", known.join(", "))
        })?),
    };
    let resources = roots(&resources);
    let mut given = Vec::new();
    for (root, path) in roots(&consents).into_iter().zip(&options.consent) {
        let some = match root.resource_type() {
            Some("Bundle") => root.all("entry").filter_map(|entry| entry.get("resource")).collect(),
            _ => vec![root],
        };
        // Passed over, it would look like a person who has said nothing.
        let all = !some.is_empty() && some.iter().all(|one| one.resource_type() == Some("Consent"));
        anyhow::ensure!(all, "{}: expected a Consent, or a Bundle of Consents", path.display());
        given.extend(some);
    }
    let consents = given;
    // What is safe to tell is known by definitions, which take a moment to open.
    let registry = asked.identity.is_some().then(|| Registry::with_packages(guide::packages()));
    let simulation = Simulation {
        consents: &consents,
        stored: &[],
        resources: &resources,
        asked: &asked,
        now_ms,
        implied: &implied,
        base: "",
        recipients: None,
        restricted: false,
        registry: registry.as_ref().map(AsRef::as_ref),
    };
    match simulate::simulate(&simulation) {
        Ok(answer) if options.format == Form::Json => Ok(format!("{answer:#}\n")),
        Ok(answer) => Ok(told(&answer)),
        Err(issue) => bail!("{}", short(&issue)),
    }
}

fn roots(documents: &[Document]) -> Vec<Element<'_>> {
    documents.iter().map(Element::root).collect()
}

fn documents(files: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let one = |path: &PathBuf| {
        json::parse(read(path)?).map_err(|issue| anyhow::anyhow!("{}: {}", path.display(), short(&issue)))
    };
    files.iter().map(one).collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The answer for people: the decision, why, and each resource in a line.
fn told(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let why = |value: &Value| {
        let mut why = text(&value["reason"]);
        if let Some(consent) = value["basis"]["consent"].as_str() {
            let _ = write!(why, ", {consent} version {}", value["basis"]["version"]);
        }
        if let Some(policy) = value["basis"]["policy"].as_str() {
            let _ = write!(why, ", {policy}");
        }
        if let Some(path) = value["path"].as_str() {
            let _ = write!(why, ", {path}");
        }
        why
    };
    let mut out = format!("{} at {}: {}\n", text(&answer["decision"]), text(&answer["now"]), why(answer));
    for rule in answer["residual"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "  {} where {} ({} version {}, {})",
            text(&rule["type"]),
            text(&rule["conditions"]),
            text(&rule["consent"]),
            rule["version"],
            text(&rule["path"])
        );
    }
    for resource in answer["resources"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  {} {}: {}", text(&resource["decision"]), text(&resource["resource"]), why(resource));
        if resource["decision"] != "permit" {
            silent(resource, "    ", &mut out);
        }
    }
    if answer["decision"] != "permit" {
        silent(answer, "  ", &mut out);
    }
    for issue in answer["lint"]["issue"].as_array().into_iter().flatten() {
        let (place, id) = (text(&issue["expression"][0]), text(&issue["details"]["coding"][0]["code"]));
        let how = if issue["severity"] == "error" { "a gateway would refuse to take it in" } else { "note" };
        let _ = writeln!(out, "  {how}: {place}: {} [{id}]", text(&issue["details"]["text"]));
    }
    out
}

/// Consents that said nothing, and what they were missing.
fn silent(told: &Value, indent: &str, out: &mut String) {
    let said = told["consents"].as_array().into_iter().flatten();
    for said in said.filter(|said| said["says"] == "nothing") {
        let unmet: Vec<&str> = said["unmet"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let consent = said["consent"].as_str().unwrap_or("-");
        let _ = writeln!(out, "{indent}{consent} version {} says nothing: {}", said["version"], unmet.join(", "));
    }
}
