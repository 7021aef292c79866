//! The parts of a push alone, and the two limits: no gateway is faster than reading the JSON and syncing the bytes.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mhealth_gateway::exchange::CATEGORY_SYSTEM;
use mhealth_gateway::fhir::definitions::Registry;
use mhealth_gateway::fhir::outcome::has_errors;
use mhealth_gateway::fhir::tree::{Element, hash, json, write};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::policy::consent::{self, Action, Actor, Decision, Facts, Request};

use crate::clock::micros;
use crate::load::{bundle, observation};
use crate::stage::{ACTOR, consent};
use crate::{BUNDLE, Row};

pub struct Limits {
    /// The first two are the parse of a single and of a Bundle.
    pub parts: Vec<Part>,
    /// As for singles, as for Bundles.
    pub appends: [Append; 2],
}

/// CPU time of one thread for one observation.
pub struct Part {
    pub name: &'static str,
    pub micros: f64,
}

/// Writing groups to a file, each synced.
pub struct Append {
    pub name: &'static str,
    pub bytes: f64,
    pub syncs_per_second: f64,
    pub observations_per_second: f64,
}

pub fn measure(directory: &Path, single: &Row, bundled: &Row) -> anyhow::Result<Limits> {
    Ok(Limits {
        parts: parts()?,
        appends: [append(directory, "as for single pushes", single)?, append(directory, "as for Bundles", bundled)?],
    })
}

fn parts() -> anyhow::Result<Vec<Part>> {
    let person = "0123456789abcdefghijklmnopqrstuvwxyz";
    let single = observation(person, "parts", 1);
    let many = bundle(person, "parts", 0, BUNDLE);
    let document = json::parse(single.as_bytes()).map_err(|issue| anyhow::anyhow!(issue.text))?;
    let element = Element::root(&document);
    let validator = Validator::new(Registry::core());
    let found = validator.check(element, &Options::default()).issues;
    anyhow::ensure!(!has_errors(&found), "the bench's observation is not valid");
    let mut parts = Vec::new();
    let mut part = |name, micros| parts.push(Part { name, micros });
    part("parse (single)", micros(|| drop(black_box(json::parse(single.as_bytes()))))?);
    part("parse (Bundle)", micros(|| drop(black_box(json::parse(many.as_bytes()))))? / BUNDLE as f64);
    part("validate heart rate", micros(|| drop(black_box(validator.check(element, &Options::default()))))?);
    part("hash of the content", micros(|| _ = black_box(hash::content(&document, document.root())))?);
    part("write the stored JSON", {
        let owned = write::Owned { id: "id", version: 1, last_updated: "2026-01-01T00:00:00.000Z", tags: None };
        micros(|| drop(black_box(write::resource(&document, document.root(), &owned, None))))?
    });
    part("decide consent", decide(person)?);
    Ok(parts)
}

fn decide(person: &str) -> anyhow::Result<f64> {
    let document = json::parse(consent(person, false).to_string()).map_err(|issue| anyhow::anyhow!(issue.text))?;
    let consents = [Arc::new(consent::compile(Element::root(&document), 1).0)];
    let actor = Actor::reference(ACTOR);
    let request =
        Request { action: Action::Collect, actor: &actor, purpose: "TREAT", policies: &[], now_ms: 1_767_225_600_000 };
    let patient = format!("Patient/{person}");
    let facts = Facts {
        patients: &[patient.as_str()],
        kind: "Observation",
        reference: "Observation/1",
        codings: &[("http://loinc.org", "8867-4"), (CATEGORY_SYSTEM, "heart-rate")],
        labels: &[],
        date_ms: Some((1_735_689_600_000, 1_735_689_601_000)),
        authors: &[],
        links: &[patient.as_str()],
    };
    anyhow::ensure!(matches!(consent::decide(&consents, &request, &facts), Decision::Permit(_)), "not permitted");
    micros(|| drop(black_box(consent::decide(&consents, &request, &facts))))
}

fn append(directory: &Path, name: &'static str, row: &Row) -> anyhow::Result<Append> {
    let seconds = super::seconds(3);
    let group = vec![b'x'; row.bytes_per_group() as usize];
    let path = directory.join("append");
    let mut file = File::create(&path)?;
    let began = Instant::now();
    let mut syncs = 0_u32;
    while began.elapsed() < Duration::from_secs(seconds) {
        file.write_all(&group)?;
        file.sync_data()?;
        syncs += 1;
    }
    let syncs_per_second = f64::from(syncs) / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(Append {
        name,
        bytes: group.len() as f64,
        syncs_per_second,
        observations_per_second: syncs_per_second * row.per_group(),
    })
}
