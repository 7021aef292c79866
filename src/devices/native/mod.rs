//! Observations that devices' own gateways write, completed: HL7's personal health devices (PHD), Germany's HDDT, HL7's
//! patient-generated data (PGHD).
//!
//! They are FHIR already and lose nothing here. What is missing is added: the LOINC code beside one of ISO/IEEE 11073, the
//! category, the person, where it came from and, where it fits, the guide's profile. What their Bundle says of devices and
//! clocks goes along inside of each, so that each stands alone. Which measure a code stands for is known by `kind`, what a
//! comparison of clocks says by `clock`. Times stay as they are: PHD has whoever reads the device correct them (2.0.0,
//! "the PHG will correct the PHD reported times"), and the comparison is there for audits; correcting once more would be wrong.

mod claim;
mod clock;
mod kind;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::observation;
use super::{Record, Sender};
use crate::fhir::ours::{BASE, STRUCTURES};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Kind, NodeId, write};
use crate::fhir::validate::measures::Measure;

/// The name in `POST /devices/{format}`.
pub const NAME: &str = "phd";

/// System of the identifiers that are made.
pub(super) static IDENTIFIER: LazyLock<String> = LazyLock::new(|| format!("{BASE}/sid/{NAME}"));

pub(super) const OBSERVATION: &str = "Observation";
const CATEGORIES: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// What was sent, with what its parts call each other.
struct Sent {
    /// Each resource, with its pointer and where it stands.
    resources: Vec<(String, NodeId, Value)>,
    /// By full URL, and by type and id.
    named: BTreeMap<String, usize>,
}

/// Completes what was sent, in its order. The error says why none of it can be read.
pub(super) fn convert(document: &Document, sender: &Sender<'_>, most: usize) -> Result<Vec<Record>, Issue> {
    let sent = Sent::read(document, most)?;
    let records: Vec<Record> = sent
        .resources
        .iter()
        .filter(|(_, _, resource)| !is_context(resource))
        .map(|(pointer, node, resource)| {
            let mut record = sent.record(pointer, resource, sender);
            for issue in &mut record.issues {
                issue.position = document.position(*node);
            }
            record
        })
        .collect();
    if records.is_empty() {
        let text = "There are no Observations here: one, a list of them, or a Bundle is expected.";
        return Err(Issue::new(Id::DeviceRecord, "", text));
    }
    Ok(records)
}

/// What is no record but says something of those that are.
fn is_context(resource: &Value) -> bool {
    matches!(kind_of(resource), "Patient" | "Device" | "DeviceMetric")
}

fn kind_of(resource: &Value) -> &str {
    resource["resourceType"].as_str().unwrap_or_default()
}

impl Sent {
    fn read(document: &Document, most: usize) -> Result<Sent, Issue> {
        let root = document.root();
        let text_of = |node, name| document.member(node, name).map(|value| document.value(value).to_owned());
        let mut nodes: Vec<(String, NodeId, Option<String>)> = Vec::new();
        if document.kind(root) == Kind::Array {
            nodes.extend(document.children(root).enumerate().map(|(at, node)| (format!("/{at}"), node, None)));
        } else if text_of(root, "resourceType").as_deref() == Some("Bundle") {
            let entries = document.member(root, "entry").into_iter().flat_map(|entries| document.children(entries));
            nodes.extend(entries.enumerate().map(|(at, entry)| match document.member(entry, "resource") {
                Some(resource) => (format!("/entry/{at}/resource"), resource, text_of(entry, "fullUrl")),
                // It is answered like the others, by what it lacks.
                None => (format!("/entry/{at}"), entry, None),
            }));
        } else {
            nodes.push((String::new(), root, None));
        }
        if nodes.len() > most {
            return Err(super::too_many(most));
        }
        let mut sent = Sent { resources: Vec::with_capacity(nodes.len()), named: BTreeMap::new() };
        for (pointer, node, url) in nodes {
            // The tree has read it as JSON, so this only changes its form.
            let resource: Value = serde_json::from_str(&write::compact(document, node)).unwrap_or_default();
            let at = sent.resources.len();
            if let Some(id) = resource["id"].as_str() {
                sent.named.entry(format!("{}/{id}", kind_of(&resource))).or_insert(at);
            }
            if let Some(url) = url {
                sent.named.insert(url, at);
            }
            sent.resources.push((pointer, node, resource));
        }
        Ok(sent)
    }

    /// What a reference leads to in what was sent.
    fn target(&self, reference: &str) -> Option<(usize, &Value)> {
        let at = self.named.get(reference).or_else(|| {
            // An address ends with type and id.
            let end = reference.rmatch_indices('/').nth(1).map(|(at, _)| &reference[at + 1..])?;
            self.named.get(end)
        })?;
        Some((*at, &self.resources[*at].2))
    }

    fn record(&self, pointer: &str, resource: &Value, sender: &Sender<'_>) -> Record {
        let mut record = Record::at(pointer);
        record.source_id = source_id(resource).map(str::to_owned);
        let Some(sent) = resource.as_object().filter(|_| kind_of(resource) == OBSERVATION) else {
            let text = "An Observation is expected here.";
            record.issues.push(Issue::new(Id::DeviceRecord, "", text));
            return record;
        };
        if clock::is_comparison(resource) {
            let text = "A comparison of clocks is no measurement of a person; it is kept inside of those that name it.";
            record.issues.push(Issue::new(Id::DeviceTypeLeftOut, "", text));
            return record;
        }
        let mut observation = sent.clone();
        self.gather(&mut observation, sender);
        record.issues.extend(clock::note(&mut observation));
        let measure = kind::complete(&mut observation);
        record.measure = measure.map(|measure| measure.key.as_str());
        record.origin = origin(&observation);
        name(&mut observation);
        set_subject(&mut observation, sender);
        if let Some(measure) = measure {
            categorise(&mut observation, observation::category(measure));
        }
        let claimed = measure.and_then(|measure| claim::profile(measure, &observation));
        mark(&mut observation, claimed);
        record.observation = Some(Value::Object(observation).to_string());
        record
    }

    /// Takes along what the Observation refers to: devices and the comparison of clocks are put inside, the person is whom
    /// the request names, and another Observation is named by its identifier.
    fn gather(&self, observation: &mut Map<String, Value>, sender: &Sender<'_>) {
        let mut names: BTreeMap<usize, String> = BTreeMap::new();
        let mut waiting: Vec<usize> = Vec::new();
        let own: BTreeSet<String> = observation
            .get("contained")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|inside| Some(inside["id"].as_str()?.to_owned()))
            .collect();
        let mut rewrite = |value: &mut Value, waiting: &mut Vec<usize>| {
            each_reference(value, &mut |reference| {
                let Some((at, target)) = reference["reference"].as_str().and_then(|sent| self.target(sent)) else {
                    return;
                };
                match kind_of(target) {
                    "Patient" => reference["reference"] = json!(sender.subject),
                    OBSERVATION if !clock::is_comparison(target) => *reference = by_identifier(target, reference),
                    _ => {
                        let name = names.entry(at).or_insert_with(|| {
                            waiting.push(at);
                            inside_name(target, at, &own)
                        });
                        reference["reference"] = json!(format!("#{name}"));
                    }
                }
            });
        };
        let mut whole = Value::Object(std::mem::take(observation));
        rewrite(&mut whole, &mut waiting);
        let mut inside = Vec::new();
        while let Some(at) = waiting.pop() {
            let mut resource = self.resources[at].2.clone();
            rewrite(&mut resource, &mut waiting);
            inside.push((at, resource));
        }
        for (at, mut resource) in inside {
            if let (Some(name), Some(members)) = (names.get(&at), resource.as_object_mut()) {
                members.insert("id".to_owned(), json!(name));
                // What a server owns does not stand in a contained resource (R4 dom-4), nor its words (dom-1 of earlier versions).
                members.remove("text");
                if let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) {
                    meta.retain(|name, _| !matches!(name.as_str(), "versionId" | "lastUpdated" | "security"));
                    if meta.is_empty() {
                        members.remove("meta");
                    }
                }
                list(&mut whole, "contained").push(resource);
            }
        }
        if let Value::Object(members) = whole {
            *observation = members;
        }
    }
}

/// What a resource is called where it is contained: its own id, unless another has it.
fn inside_name(target: &Value, at: usize, own: &BTreeSet<String>) -> String {
    match target["id"].as_str() {
        Some(id) if !own.contains(id) => id.to_owned(),
        _ => format!("{}-{at}", kind_of(target).to_ascii_lowercase()),
    }
}

fn by_identifier(target: &Value, reference: &Value) -> Value {
    let mut logical = json!({"type": OBSERVATION});
    match target["identifier"].get(0) {
        Some(identifier) => logical["identifier"] = identifier.clone(),
        None if target["id"].is_string() => {
            logical["identifier"] = json!({"system": *IDENTIFIER, "value": target["id"]});
        }
        None => return reference.clone(),
    }
    logical
}

/// Every Reference below a value.
fn each_reference(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    if value.get("reference").is_some_and(Value::is_string) {
        change(value);
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_reference(item, change)),
        Value::Object(members) => members
            .iter_mut()
            .filter(|(name, _)| *name != "contained")
            .for_each(|(_, member)| each_reference(member, change)),
        _ => {}
    }
}

/// The list of that name, made where it is missing.
fn list<'v>(of: &'v mut Value, name: &str) -> &'v mut Vec<Value> {
    if !of[name].is_array() {
        of[name] = Value::Array(Vec::new());
    }
    match &mut of[name] {
        Value::Array(items) => items,
        _ => unreachable!("it has just been made a list"),
    }
}

fn member_list<'v>(of: &'v mut Map<String, Value>, name: &str) -> &'v mut Vec<Value> {
    let member = of.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
    if !member.is_array() {
        *member = Value::Array(Vec::new());
    }
    match member {
        Value::Array(items) => items,
        _ => unreachable!("it has just been made a list"),
    }
}

fn source_id(resource: &Value) -> Option<&str> {
    resource["identifier"][0]["value"].as_str().or_else(|| resource["id"].as_str())
}

/// The same record again is the same record: by its identifier, else by what the sender's server calls it, else by all that
/// it says.
fn name(observation: &mut Map<String, Value>) {
    let id = observation.remove("id");
    if observation.get("identifier").is_some_and(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
        return;
    }
    let value = match id {
        Some(Value::String(id)) => id,
        _ => blake3::hash(Value::Object(observation.clone()).to_string().as_bytes()).to_hex().to_string(),
    };
    observation.insert("identifier".to_owned(), json!([{"system": *IDENTIFIER, "value": value}]));
}

fn set_subject(observation: &mut Map<String, Value>, sender: &Sender<'_>) {
    let sent = observation.insert("subject".to_owned(), json!({"reference": sender.subject}));
    // Who the person calls themselves beside the measurement is the same person.
    let sent = sent.and_then(|subject| Some(subject["reference"].as_str()?.to_owned()));
    if let (Some(sent), Some(performers)) = (sent, observation.get_mut("performer")) {
        each_reference(performers, &mut |reference| {
            if reference["reference"].as_str() == Some(sent.as_str()) {
                reference["reference"] = json!(sender.subject);
            }
        });
    }
}

/// The tag of origin, how it was recorded, and the profile that it fits.
fn mark(observation: &mut Map<String, Value>, profile: Option<&str>) {
    let mut meta = observation.remove("meta").unwrap_or_else(|| json!({}));
    if let Some(members) = meta.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "versionId" | "lastUpdated"));
    }
    let tag = observation::origin();
    let tags = list(&mut meta, "tag");
    if !tags.iter().any(|known| known["system"] == tag["system"] && known["code"] == tag["code"]) {
        tags.push(tag);
    }
    if let Some(profile) = profile {
        let url = json!(format!("{STRUCTURES}mh-{profile}"));
        let claims = list(&mut meta, "profile");
        if !claims.contains(&url) {
            claims.push(url);
        }
    }
    observation.insert("meta".to_owned(), meta);
    let measured = observation.contains_key("device");
    let url = json!(format!("{STRUCTURES}mh-recording-method"));
    let extensions = member_list(observation, "extension");
    if !extensions.iter().any(|known| known["url"] == url) {
        let code = if measured { "automatic" } else { "unknown" };
        extensions.push(json!({"url": url, "valueCode": code}));
    }
}

/// Adds the category, unless the Observation has one of the same system: its own profile may allow no other.
fn categorise(observation: &mut Map<String, Value>, category: &str) {
    if !has_category(observation, |_| true) {
        member_list(observation, "category").push(json!({"coding": [{"system": CATEGORIES, "code": category}]}));
    }
}

/// Whether a category of R4's own system is there that is as asked for.
fn has_category(observation: &Map<String, Value>, is: impl Fn(&str) -> bool) -> bool {
    let concepts = observation.get("category").and_then(Value::as_array).into_iter().flatten();
    let codings = concepts.flat_map(|concept| concept["coding"].as_array().into_iter().flatten());
    codings.filter(|coding| coding["system"] == CATEGORIES).any(|coding| coding["code"].as_str().is_some_and(&is))
}

/// The device in words, for whoever counts and compares sources.
fn origin(observation: &Map<String, Value>) -> Option<String> {
    let device = observation.get("device")?;
    if let Some(display) = device["display"].as_str() {
        return Some(display.to_owned());
    }
    let name = device["reference"].as_str()?.strip_prefix('#')?;
    let inside = observation.get("contained")?.as_array()?.iter().find(|resource| resource["id"] == name)?;
    let words = [&inside["manufacturer"], &inside["modelNumber"], &inside["deviceName"][0]["name"]];
    let words: Vec<&str> = words.into_iter().filter_map(Value::as_str).take(2).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The measure that the code and the unit of an Observation or a component stand for.
pub(super) fn measure(element: &Map<String, Value>) -> Option<&'static Measure> {
    kind::of(element)
}
