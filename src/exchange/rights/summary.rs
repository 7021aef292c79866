//! `Patient/[id]/$summary`: an International Patient Summary (HL7 IPS 2.0.0), as far as this gateway can write one.
//!
//! It holds what people measure, and neither problems nor allergies nor medications: the sections that a summary must have
//! say so. Of each vital sign the latest reading stands in it that the asker may see; each is asked of consent as in a
//! search. It claims to be no more than what it was made of.

use serde_json::{Value, json};

use crate::exchange::kinds;
use crate::exchange::pull::search::{Gathered, Walk, Wish};
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::Id;
use crate::fhir::search::Query;
use crate::fhir::tree::time;
use crate::policy::access::Interaction;
use crate::store::Stored;

const PROFILES: &str = "http://hl7.org/fhir/uv/ips/StructureDefinition/";

/// LOINC codes of the vital signs of FHIR R4 (vital signs profile), and of the panels that group them.
const VITAL_SIGNS: [&str; 13] = [
    "85353-1", "9279-1", "8867-4", "2708-6", "59408-5", "8310-5", "8302-2", "9843-4", "29463-7", "39156-5", "85354-9",
    "8480-6", "8462-4",
];

/// Sections that a summary must have, of which nothing is held here: LOINC code, its name, and what is missing.
const REQUIRED: [(&str, &str, &str); 3] = [
    ("11450-4", "Problem list - Reported", "Problems"),
    ("48765-2", "Allergies and adverse reactions Document", "Allergies and intolerances"),
    ("10160-0", "History of Medication use Narrative", "Medications"),
];

impl Gateway {
    /// The document; absent, to whoever may not see the person.
    pub async fn summary(
        &self,
        caller: &Caller<'_>,
        person: &str,
        pairs: &[(String, String)],
    ) -> Result<Value, Refusal> {
        if let Err(denied) = caller.principal.permits("Patient", Interaction::Read) {
            return Err(self.refused(caller, denied.issue().into()).await);
        }
        let offered = |value: &str| value.is_empty() || value == format!("{PROFILES}Bundle-uv-ips");
        for (name, value) in pairs {
            if name != "_format" && !(name == "profile" && offered(value)) {
                let text = "The parameter is profile, of the International Patient Summary.";
                return Err(Refusal::one(Id::OperationParameter, "", text));
            }
        }
        let mut gathered = Gathered::default();
        if is_id(person) {
            self.latest(caller, "Patient", person, None, &mut gathered).await?;
            for code in VITAL_SIGNS.iter().filter(|_| gathered.matched > 0).collect::<Vec<_>>() {
                self.latest(caller, "Observation", person, Some(code), &mut gathered).await?;
            }
        }
        self.record_query(caller, &format!("Patient/{person}/$summary"), pairs, &gathered).await?;
        let mut held = gathered.hits.into_iter().map(|(stored, _)| stored);
        let Some(patient) = held.next() else { return Err(Refusal::not_found().recorded()) };
        let mut readings: Vec<Stored> = held.collect();
        readings.sort_by_key(|stored| stored.seq);
        readings.dedup_by_key(|stored| stored.seq);
        Ok(self.document(&patient, &readings))
    }

    /// The latest of a kind, and of a code where one is named.
    async fn latest(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        person: &str,
        code: Option<&str>,
        gathered: &mut Gathered,
    ) -> Result<(), Refusal> {
        let Some(rule) = kinds::kind(kind) else { return Ok(()) };
        let pairs: Vec<_> = code
            .into_iter()
            .map(|code| ("code".to_owned(), format!("http://loinc.org|{code}")))
            .chain(code.map(|_| ("category".to_owned(), "vital-signs".to_owned())))
            .collect();
        let (mut query, _) = Query::parse(rule.name, &pairs, &self.registry, false);
        query.base = Some(self.base.clone());
        let mut walk = Walk::of_person(self, rule, &query, person, None, None);
        walk.plan.order.descending = true;
        let wish = Wish { limit: gathered.hits.len() + 1, whole: false };
        self.gather_hits(caller, &query, &mut walk, wish, gathered).await.map(drop)
    }

    fn document(&self, patient: &Stored, readings: &[Stored]) -> Value {
        let now = time::instant(self.now_ms());
        let [document, composition, author] = [(); 3].map(|()| self.random_uuid());
        let address = |stored: &Stored| format!("{}/{}/{}", self.base, stored.kind, stored.logical_id());
        let mut sections: Vec<Value> = REQUIRED.iter().map(|(code, name, title)| missing(code, name, title)).collect();
        if !readings.is_empty() {
            let entries: Vec<Value> = readings.iter().map(|stored| json!({"reference": address(stored)})).collect();
            let text = format!("The latest readings of {} vital signs are in the entries.", readings.len());
            let mut section = section("8716-3", "Vital signs", "Vital signs", &text);
            section["entry"] = entries.into();
            sections.push(section);
        }
        let read = |stored: &Stored| serde_json::from_slice::<Value>(&stored.payload).unwrap_or_default();
        let mut entries = vec![
            json!({"fullUrl": format!("urn:uuid:{composition}"), "resource": {
                "resourceType": "Composition",
                "id": composition,
                "meta": {"profile": [format!("{PROFILES}Composition-uv-ips")]},
                "text": narrative("International Patient Summary of what is held by an mHealth gateway."),
                "status": "final",
                "type": {"coding": [{"system": "http://loinc.org", "code": "60591-5", "display": "Patient summary Document"}]},
                "subject": {"reference": address(patient)},
                "date": now,
                "author": [{"reference": format!("urn:uuid:{author}")}],
                "title": "International Patient Summary",
                "section": sections,
            }}),
            json!({"fullUrl": address(patient), "resource": identified(read(patient))}),
            json!({"fullUrl": format!("urn:uuid:{author}"), "resource": {
                "resourceType": "Device",
                "id": author,
                "text": narrative("The gateway that put the summary together."),
                "deviceName": [{"name": env!("CARGO_PKG_NAME"), "type": "model-name"}],
                "url": self.base,
            }}),
        ];
        entries.extend(readings.iter().map(|stored| json!({"fullUrl": address(stored), "resource": read(stored)})));
        json!({
            "resourceType": "Bundle",
            "meta": {"profile": [format!("{PROFILES}Bundle-uv-ips")]},
            "identifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{document}")},
            "type": "document",
            "timestamp": now,
            "entry": entries,
        })
    }

    /// A random UUID (RFC 9562, version 4).
    fn random_uuid(&self) -> String {
        let mut bytes = [0; 16];
        (self.entropy)(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

/// A summary says who it is of and when she was born; what was never told is said to be unknown.
fn identified(mut patient: Value) -> Value {
    let unknown = json!({"extension": [{
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"
    }]});
    let is_name = |name: &Value| ["text", "family", "given"].iter().any(|part| !name[*part].is_null());
    if !patient["name"].as_array().is_some_and(|names| names.iter().any(is_name)) {
        patient["name"] = json!([{"_text": unknown}]);
    }
    if patient["birthDate"].is_null() && patient["_birthDate"].is_null() {
        patient["_birthDate"] = unknown;
    }
    patient
}

fn missing(code: &str, name: &str, title: &str) -> Value {
    let mut section = section(code, name, title, "Nothing of this kind is held by this gateway.");
    section["emptyReason"] = json!({"coding": [{
        "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason", "code": "unavailable",
        "display": "Unavailable",
    }]});
    section
}

fn section(code: &str, name: &str, title: &str, text: &str) -> Value {
    json!({
        "title": title,
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}]},
        "text": narrative(text),
    })
}

/// Text of ours, which has nothing to escape.
fn narrative(text: &str) -> Value {
    json!({"status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{text}</p></div>")})
}
