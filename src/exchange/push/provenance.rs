//! How records became Observations, as one Provenance a request: which app sent them, by which version of which mapping
//! they were made, how they were recorded.
//!
//! It is written in the transaction of what it tells of and tells of what came to be in it alone, so that sending again
//! doubles nothing. It belongs to the person and is as private as what it tells of, whose categories it bears as tags. It
//! is the gateway's own: no client writes it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::devices::Format;
use crate::exchange::facts::{CATEGORY_SYSTEM, Facts};
use crate::exchange::gist;
use crate::exchange::trail::Author;
use crate::exchange::{Caller, Gateway};
use crate::fhir::ours::{BASE, STRUCTURES};
use crate::fhir::tree::{Element, hash, json as reader, time};
use crate::store::{Dated, Expect, PatientKey, ResId, Write, WriteOutcome};

const KIND: &str = "Provenance";
const RECORDING: &str = "mh-recording-method";
const OPERATION: &str = "http://terminology.hl7.org/CodeSystem/v3-DataOperation";
const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";

/// What a Provenance says of one Observation.
pub(super) struct Made {
    recording: Option<String>,
    categories: Vec<String>,
}

impl Made {
    pub fn of(kind: &str, element: Element<'_>) -> Made {
        let recording = element
            .all("extension")
            .find(|extension| extension.text_of("url").and_then(|url| url.strip_prefix(STRUCTURES)) == Some(RECORDING));
        let facts = Facts::of(Arc::from(kind), element);
        let categories = facts.categories().iter().filter(|(system, _)| *system == CATEGORY_SYSTEM);
        Made {
            recording: recording.and_then(|extension| extension.text_of("valueCode")).map(str::to_owned),
            categories: categories.map(|(_, code)| (*code).to_owned()).collect(),
        }
    }
}

/// What is the same of all records of a request.
pub(super) struct Origin {
    id: ResId,
    /// Of what tells of corrections.
    revision: ResId,
    client: Arc<str>,
    actor: Arc<str>,
    subject: String,
    patient: PatientKey,
    /// Canonical and version of the mapping.
    mapping: String,
}

/// How a mapping is named outside, with its version.
pub fn mapping(format: &Format) -> String {
    format!("{BASE}/mapping/{}|{}", format.name(), format.version())
}

impl Origin {
    pub fn of(gateway: &Gateway, caller: &Caller<'_>, format: &Format, subject: &str) -> Origin {
        let patient = gateway.patient_key(subject.trim_start_matches("Patient/"));
        let day = time::day_number(gateway.now_ms());
        Origin {
            id: gateway.random_id(Some(patient), day),
            revision: gateway.random_id(Some(patient), day),
            client: caller.principal.client.clone(),
            actor: caller.principal.actor.clone(),
            subject: subject.to_owned(),
            patient,
            mapping: mapping(format),
        }
    }

    /// The Provenance of these, which came to be, as it is stored.
    pub fn write(&self, made: &[(&str, &Made)], now_ms: i64) -> Write {
        let versions: Vec<(&str, u32, &Made)> = made.iter().map(|(resource, made)| (*resource, 1, *made)).collect();
        self.stored(self.id, &self.resource(self.id, &versions, now_ms), now_ms)
    }

    /// The same of these, which were changed to the versions named.
    pub fn revise(&self, made: &[(&str, u32, &Made)], now_ms: i64) -> Write {
        let mut resource = self.resource(self.revision, made, now_ms);
        Self::say_what_was(&mut resource, made, "UPDATE");
        self.stored(self.revision, &resource, now_ms)
    }

    /// The same of what was changed or deleted by hand: no mapping made it, so that it follows FHIR's own definition alone.
    fn rectify(&self, made: &[(&str, u32, &Made)], deleted: bool, now_ms: i64) -> Write {
        let mut resource = self.resource(self.revision, made, now_ms);
        Self::say_what_was(&mut resource, made, if deleted { "DELETE" } else { "UPDATE" });
        if let Some(members) = resource.as_object_mut() {
            members.remove("extension");
        }
        if let Some(meta) = resource["meta"].as_object_mut() {
            meta.remove("profile");
        }
        resource["agent"][0]["type"]["coding"][0]["code"] = "enterer".into();
        self.stored(self.revision, &resource, now_ms)
    }

    fn say_what_was(resource: &mut Value, made: &[(&str, u32, &Made)], operation: &str) {
        resource["activity"] = json!({"coding": [{"system": OPERATION, "code": operation}]});
        let before = |(resource, version, _): &(&str, u32, &Made)| {
            let what = format!("{resource}/_history/{}", version.saturating_sub(1));
            json!({"role": "revision", "what": {"reference": what}})
        };
        resource["entity"] = once(made).map(before).collect();
    }

    fn stored(&self, id: ResId, resource: &Value, now_ms: i64) -> Write {
        let payload = resource.to_string().into_bytes();
        // It is our own text; should it not be readable, its content is the same as no other.
        let content = match reader::parse(payload.as_slice()) {
            Ok(document) => hash::content(&document, Element::root(&document).node()),
            Err(_) => id.0,
        };
        let gist::Beside { gist, labels, person } = gist::beside(KIND, &payload);
        Write {
            kind: Arc::from(KIND),
            id,
            name: None,
            patient: Some(self.patient),
            owner: self.client.clone(),
            expect: Expect::Absent,
            content,
            reading: None,
            says_the_same: false,
            growth: None,
            span: None,
            codes: Vec::new(),
            tokens: Vec::new(),
            date: Some(Dated::At(now_ms)),
            updated_ms: now_ms,
            version: 1,
            gist: gist.unwrap_or_default(),
            person,
            labels,
            payload,
            delete: false,
            deliver: false,
            consent: false,
        }
    }

    fn resource(&self, id: ResId, made: &[(&str, u32, &Made)], now_ms: i64) -> Value {
        let recorded = time::instant(now_ms);
        let mut recordings: Vec<Option<&str>> = made.iter().map(|(.., made)| made.recording.as_deref()).collect();
        recordings.dedup();
        // Where they do not agree, each says it itself.
        let recording = match recordings.as_slice() {
            [Some(recording)] => recording,
            _ => "unknown",
        };
        let mut categories: Vec<&str> =
            made.iter().flat_map(|(.., made)| made.categories.iter().map(String::as_str)).collect();
        categories.sort_unstable();
        categories.dedup();
        // What tells of something that nobody has a category for must not pass as something else.
        if made.iter().any(|(.., made)| made.categories.is_empty()) {
            categories.clear();
        }
        let mut meta = json!({
            "versionId": "1",
            "lastUpdated": recorded,
            "profile": [format!("{STRUCTURES}mh-provenance")],
        });
        if !categories.is_empty() {
            let tag = |code: &&str| json!({"system": CATEGORY_SYSTEM, "code": code});
            meta["tag"] = categories.iter().map(tag).collect();
        }
        let targets: Vec<Value> = once(made)
            .map(|(resource, version, _)| json!({"reference": format!("{resource}/_history/{version}")}))
            .collect();
        json!({
            "resourceType": KIND,
            "id": id.to_string(),
            "meta": meta,
            "extension": [
                {"url": format!("{STRUCTURES}{RECORDING}"), "valueCode": recording},
                {"url": format!("{STRUCTURES}mh-mapping-version"), "valueCanonical": self.mapping},
            ],
            "target": targets,
            "recorded": recorded,
            "agent": [{
                "type": {"coding": [{"system": PARTICIPANT, "code": "assembler"}]},
                "who": {"reference": &*self.actor},
                "onBehalfOf": {"reference": self.subject},
            }],
        })
    }
}

/// A measurement that its owner changed by itself, as its write.
pub(super) struct Rectified {
    pub patient: (String, PatientKey),
    /// Its place among the writes.
    pub index: usize,
    pub resource: String,
    pub version: u32,
    pub deleted: bool,
    pub made: Made,
}

/// One Provenance a person of what was changed, and one of what was deleted.
pub(super) fn rectifications(author: &Author, rectified: &[Rectified], outcomes: &[WriteOutcome]) -> Vec<Write> {
    let mut persons: BTreeMap<(PatientKey, bool), Vec<&Rectified>> = BTreeMap::new();
    for one in rectified.iter().filter(|one| outcomes.get(one.index) == Some(&WriteOutcome::Updated)) {
        persons.entry((one.patient.1, one.deleted)).or_default().push(one);
    }
    let told = |((key, deleted), changed): ((PatientKey, bool), Vec<&Rectified>)| {
        let first = changed.first()?;
        let day = time::day_number(author.at_ms());
        // A version comes to be once, and so does what tells of it.
        let parts: [&[u8]; 3] = [b"rectified", first.resource.as_bytes(), &first.version.to_be_bytes()];
        let id = ResId::derived(Some(key), day, &parts);
        let origin = Origin {
            id,
            revision: id,
            client: author.client().clone(),
            actor: author.actor().clone(),
            subject: format!("Patient/{}", first.patient.0),
            patient: key,
            mapping: String::new(),
        };
        let made: Vec<(&str, u32, &Made)> =
            changed.iter().map(|one| (one.resource.as_str(), one.version, &one.made)).collect();
        Some(origin.rectify(&made, deleted, author.at_ms()))
    };
    persons.into_iter().filter_map(told).collect()
}

/// Each resource once: many records may be one stretch of samples.
fn once<'m>(made: &'m [(&'m str, u32, &'m Made)]) -> impl Iterator<Item = &'m (&'m str, u32, &'m Made)> {
    let mut seen = HashSet::new();
    made.iter().filter(move |(resource, ..)| seen.insert(*resource))
}
