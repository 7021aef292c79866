//! What can be said of a resource without the store: its type, its form, whose it is, and who it would be.

use std::sync::Arc;

use super::gather::Apart;
use super::{Condition, Corrected, Intent, When};
use crate::exchange::consents;
use crate::exchange::facts::Facts;
use crate::exchange::kinds::{self, KindRule, Subject};
use crate::exchange::said;
use crate::exchange::terms::Told;
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Element, NodeId, hash, time};
use crate::fhir::validate::{Checked, Options, Validated, Validator};
use crate::policy::access::Interaction;
use crate::store::{Dated, PatientKey, ResId, Span, Token};

/// A resource that passed validation, with everything that deciding and storing it will need.
pub(super) struct Prepared {
    pub validated: Validated,
    pub rule: &'static KindRule,
    pub intent: Intent,
    /// Place in the message, for issues: `Observation` or `Bundle.entry[3].resource`.
    pub location: String,
    /// Id of its patient, and the partition that follows from it.
    pub patient: Option<(String, PatientKey)>,
    pub id: ResId,
    /// Logical id of the resource: the client's own or `id` printed.
    pub logical: String,
    /// Whether the client chose the logical id.
    pub named: bool,
    pub content: [u8; 16],
    /// What it says, where the same said of another source is the same reading.
    pub reading: Option<[u8; 16]>,
    /// The time that it takes up, where that is compared with other sources'.
    pub span: Option<Span>,
    /// Taken apart, where it may be part of a stretch of samples.
    pub apart: Option<Box<Apart>>,
    /// Place in the date index.
    pub date: Option<Dated>,
    /// End of what was measured.
    pub ended_ms: Option<i64>,
    pub codes: Vec<(String, String)>,
    pub tokens: Vec<Token>,
    /// Where the entry's reference texts point after ids were given, for Bundles.
    pub rewrites: Arc<Vec<(String, String)>>,
}

/// A resource that was checked; what is left open in it may still be answered.
pub(super) struct Examined {
    pub checked: Checked,
    pub rule: &'static KindRule,
    pub intent: Intent,
    pub location: String,
}

/// One resource as the whole body of a request.
pub(super) fn one(
    gateway: &Gateway,
    validator: &Validator,
    caller: &Caller<'_>,
    kind: &str,
    document: &Arc<Document>,
    intent: Intent,
) -> Result<Examined, Refusal> {
    let element = Element::root(document);
    right_type(element, kind)?;
    let rule = writable(kind)?;
    permitted_by_scope(caller, rule, &intent, kind)?;
    if let Intent::Update { id, when } = &intent {
        right_id(element, id, *when, kind)?;
    }
    let options = rules(gateway, kind);
    let checked = validator.examine(document.clone(), document.root(), &options);
    Ok(Examined { checked, rule, intent, location: kind.to_owned() })
}

/// What the gateway asks of whatever is pushed to it.
pub(super) fn rules<'a>(gateway: &Gateway, location: &'a str) -> Options<'a> {
    let (asks_systems, now_ms) = (gateway.asks_terminology(), Some(gateway.now_ms()));
    Options { location, formed_references: true, asks_systems, now_ms, ..Options::default() }
}

/// From a checked resource to a prepared one, with what was said of its open questions.
pub(super) fn conclude(
    gateway: &Gateway,
    caller: &Caller<'_>,
    examined: Examined,
    told: &Told,
    rewrites: Arc<Vec<(String, String)>>,
) -> Result<Prepared, Refusal> {
    let Examined { checked, rule, intent, location } = examined;
    let validated = checked.conclude(&|question| told.of(question), gateway.unanswered())?;
    finish(gateway, caller, validated, rule, intent, location, rewrites)
}

/// What `$validate` asks of a resource beside its own rules.
#[derive(Clone, Copy, Default)]
pub struct Trial<'a> {
    pub profiles: &'a [&'a str],
    /// Whether resources of that type are taken in at all.
    pub writes: bool,
    /// The id that it must have.
    pub id: Option<&'a str>,
}

/// `$validate` and the reading half of a push share this.
pub(super) async fn check(
    gateway: &Gateway,
    validator: &Validator,
    kind: &str,
    document: &Document,
    node: NodeId,
    trial: &Trial<'_>,
) -> Vec<Issue> {
    let root = Element::at(document, node);
    if let Err(refusal) = right_type(root, kind) {
        return refusal.issues;
    }
    let options = Options { profiles: trial.profiles, ..rules(gateway, kind) };
    let report = validator.check(root, &options);
    let told = gateway.told(&report.open).await;
    let mut issues = report.conclude(&|question| told.of(question), gateway.unanswered());
    if trial.writes {
        issues.extend(writable(kind).err().into_iter().flat_map(|refusal| refusal.issues));
    }
    if let Some(id) = trial.id {
        issues.extend(same_id(root, id, kind).err().into_iter().flat_map(|refusal| refusal.issues));
    }
    if kind == "Consent" {
        issues.extend(consents::linted(root, 1, gateway.now_ms()));
    }
    issues
}

pub(super) fn right_type(element: Element<'_>, kind: &str) -> Result<(), Refusal> {
    match element.resource_type() {
        None => Err(Issue::new(Id::ResourceTypeMissing, "", "The object does not say its resourceType.")
            .at(element.position())
            .into()),
        Some(sent) if sent == kind => Ok(()),
        Some(_) => {
            Err(Issue::new(Id::TypeNotInUrl, "resourceType", format!("The URL asks for a resource of type {kind}."))
                .at(element.position())
                .into())
        }
    }
}

pub(super) fn writable(kind: &str) -> Result<&'static KindRule, Refusal> {
    kinds::kind(kind)
        .filter(|rule| rule.writable)
        .ok_or_else(|| Refusal::one(Id::InteractionUnsupported, "", "Resources of this type are not taken in here."))
}

pub(super) fn permitted_by_scope(
    caller: &Caller<'_>,
    rule: &KindRule,
    intent: &Intent,
    location: &str,
) -> Result<(), Refusal> {
    let interactions = interactions(intent);
    if interactions.iter().any(|interaction| caller.principal.permits(rule.name, *interaction).is_ok()) {
        return Ok(());
    }
    caller.principal.permits(rule.name, interactions[0]).map(|_| ()).map_err(|denied| {
        let mut issue = denied.issue();
        location.clone_into(&mut issue.expression);
        issue.into()
    })
}

/// Any of which lets the caller do it.
pub(super) fn interactions(intent: &Intent) -> &'static [Interaction] {
    match intent {
        // A correction is the same push read again.
        Intent::Create { .. } | Intent::Correct(_) => &[Interaction::Create],
        Intent::Update { when: When { withdraws: true, .. }, .. } => &[Interaction::Update, Interaction::Create],
        Intent::Update { when: When { deletes: true, .. }, .. } => &[Interaction::Delete],
        Intent::Update { .. } => &[Interaction::Update],
    }
}

/// What a search named may leave its id to us.
pub(super) fn right_id(element: Element<'_>, id: &str, when: When, location: &str) -> Result<(), Refusal> {
    if when.found && element.get("id").is_none() { Ok(()) } else { same_id(element, id, location) }
}

fn same_id(element: Element<'_>, id: &str, location: &str) -> Result<(), Refusal> {
    if !is_id(id) {
        return Err(Refusal::one(Id::IdInvalid, format!("{location}.id"), "The id in the URL is no FHIR id."));
    }
    let text = match element.text_of("id") {
        Some(own) if own == id => return Ok(()),
        Some(_) => "The resource's id is not the one in the URL.",
        None => "The resource has no id; it must be the one in the URL.",
    };
    Err(Issue::new(Id::IdMismatch, format!("{location}.id"), text).at(element.position()).into())
}

/// From a valid resource to a prepared one.
fn finish(
    gateway: &Gateway,
    caller: &Caller<'_>,
    validated: Validated,
    rule: &'static KindRule,
    intent: Intent,
    location: String,
    rewrites: Arc<Vec<(String, String)>>,
) -> Result<Prepared, Refusal> {
    let element = validated.element();
    let facts = Facts::of(Arc::from(rule.name), element);
    granular(caller, rule, &intent, &facts, &location)?;
    let date_ms = facts.date_ms.map(|(start, _)| start);
    let ended_ms = facts.date_ms.map(|(_, end)| end);
    let codes = said::coded(element);
    let identifiers: Vec<(String, String)> = element
        .all("identifier")
        .filter_map(|identifier| {
            Some((identifier.text_of("system").unwrap_or_default().to_owned(), identifier.text_of("value")?.to_owned()))
        })
        .collect();
    let patient = patient_of(gateway, element, rule, &location, &rewrites)?;
    if let Some(reference) = conditional(element) {
        let text = "A reference that is a search is not resolved here: name the resource that is meant.";
        return Err(Issue::new(Id::ReferenceUnresolved, location, text).at(reference.position()).into());
    }
    if let Some((id, _)) = &patient {
        one_person(gateway, element, id, &location, &rewrites)?;
    }
    let key = patient.as_ref().map(|(_, key)| *key);
    let (id, logical, named) = identity(gateway, caller, rule, &intent, key, date_ms, &identifiers);
    let date = said::dated(element);
    // A Patient's own partition follows from the id that others will name it by.
    let patient =
        if rule.subject == Subject::Itself { Some((logical.clone(), gateway.patient_key(&logical))) } else { patient };
    let content = match &intent {
        Intent::Correct(corrected) => corrected.content,
        _ => hash::content(validated.document(), validated.node()),
    };
    // Observations are found by patient, code and date; the rare types by identifier, too.
    let tokens = if rule.name == "Observation" {
        Vec::new()
    } else {
        identifiers.into_iter().map(|(system, value)| Token { param: "identifier", system, value }).collect()
    };
    Ok(Prepared {
        validated,
        rule,
        intent,
        location,
        patient,
        id,
        logical,
        named,
        content,
        reading: None,
        span: None,
        apart: None,
        date,
        ended_ms,
        codes,
        tokens,
        rewrites,
    })
}

/// Scopes may be narrowed to categories or codes (SMART App Launch 2.2 §3.0.2.3).
fn granular(
    caller: &Caller<'_>,
    rule: &KindRule,
    intent: &Intent,
    facts: &Facts<'_>,
    location: &str,
) -> Result<(), Refusal> {
    let scopes = &caller.principal.scopes;
    let allows =
        |interaction: &Interaction| scopes.permits(rule.name, *interaction).allows(facts.categories(), facts.codes());
    if interactions(intent).iter().any(allows) {
        return Ok(());
    }
    Err(Refusal::one(
        Id::ScopeInsufficient,
        location,
        "The access token covers other categories or codes of this type only.",
    ))
}

fn patient_of(
    gateway: &Gateway,
    element: Element<'_>,
    rule: &KindRule,
    location: &str,
    rewrites: &[(String, String)],
) -> Result<Option<(String, PatientKey)>, Refusal> {
    let (path, required) = match rule.subject {
        Subject::Itself | Subject::Nobody => return Ok(None),
        Subject::Required(path) => (path, true),
        Subject::Optional(path) => (path, false),
    };
    let Some(reference) = element.get(path) else {
        if required {
            return Err(Refusal::one(
                Id::CardinalityMin,
                format!("{location}.{path}"),
                format!("{path} is missing: the gateway must know whose data it is."),
            ));
        }
        return Ok(None);
    };
    let sent = reference.text_of("reference").unwrap_or_default();
    let target = rewrites.iter().find(|(from, _)| from == sent).map_or(sent, |(_, to)| to.as_str());
    if let Some(id) = gateway.local_reference(target, "Patient") {
        Ok(Some((id.to_owned(), gateway.patient_key(id))))
    } else {
        let text = "The reference does not name a Patient of this gateway as Patient/id.";
        Err(Issue::new(Id::PatientUnknown, format!("{location}.{path}.reference"), text)
            .at(reference.position())
            .into())
    }
}

/// Where a resource may say that it is about somebody besides its subject, and where a resource inside it may say whose
/// it is (R4 Observation.focus: "the subject of the observation is not the person observed").
const ABOUT: &[&str] = &["focus"];
const ABOUT_INSIDE: &[&str] = &["subject", "patient", "focus"];

/// One person's consent says nothing of another's data, so all of a resource must be about one person. What does not
/// say what it refers to may be a person.
fn one_person(
    gateway: &Gateway,
    element: Element<'_>,
    patient: &str,
    location: &str,
    rewrites: &[(String, String)],
) -> Result<(), Refusal> {
    let is_other = |reference: Element<'_>| {
        let Some(sent) = reference.text_of("reference") else {
            return reference.text_of("type").is_none_or(|kind| kind.ends_with("Patient"));
        };
        if let Some(inside) = sent.strip_prefix('#') {
            let target = element.all("contained").find(|contained| contained.text_of("id") == Some(inside));
            return target.is_none_or(|contained| contained.resource_type() == Some("Patient"));
        }
        let target = rewrites.iter().find(|(from, _)| from == sent).map_or(sent, |(_, to)| to.as_str());
        if gateway.local_reference(target, "Patient") == Some(patient) {
            return false;
        }
        let unversioned = target.split_once("/_history/").map_or(target, |(before, _)| before);
        let kind = unversioned.rsplit('/').nth(1).unwrap_or_default();
        kind == "Patient" || !kind.starts_with(|first: char| first.is_ascii_uppercase())
    };
    let own = ABOUT.iter().flat_map(|name| element.all(name).map(move |reference| (*name, reference)));
    let inside = element.all("contained").flat_map(|contained| {
        ABOUT_INSIDE.iter().flat_map(move |name| contained.all(name).map(move |reference| ("contained", reference)))
    });
    let mut hidden = Vec::new();
    in_extensions(element, false, &mut hidden);
    // An extension may refer to what is no person without saying what it is; a person is told by the address.
    let hidden = hidden.into_iter().filter(|reference| {
        let sent = reference.text_of("reference").unwrap_or_default();
        let target = rewrites.iter().find(|(from, _)| from == sent).map_or(sent, |(_, to)| to.as_str());
        target.split('/').any(|part| part == "Patient")
    });
    for (name, reference) in own.chain(inside).chain(hidden.map(|reference| ("extension", reference))) {
        if reference.is_object() && is_other(reference) {
            let text = "The data is not, or not for certain, about the subject alone.";
            let issue = Issue::new(Id::PatientOther, format!("{location}.{name}"), text);
            return Err(issue.at(reference.position()).into());
        }
    }
    Ok(())
}

/// A reference that names what it means by a search (R4 §3.1.0.11.1). Nothing is looked for in its stead, and kept as it is
/// it would lead nowhere.
fn conditional(element: Element<'_>) -> Option<Element<'_>> {
    element.children().find_map(|(name, child)| match child.string() {
        Some(text) if name == "reference" => {
            let (kind, _) = text.split_once('?')?;
            (!kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic())).then_some(child)
        }
        _ if child.is_object() => conditional(child),
        _ => None,
    })
}

/// References in extensions, anywhere in a resource.
fn in_extensions<'d>(element: Element<'d>, within: bool, into: &mut Vec<Element<'d>>) {
    for (name, child) in element.children() {
        if within && name == "valueReference" {
            into.push(child);
        }
        in_extensions(child, within || name == "extension" || name == "modifierExtension", into);
    }
}

/// The identity of a resource follows from what the client calls it, so that the same push is the same resource
/// however often and however concurrently it arrives; without any name it is random.
fn identity(
    gateway: &Gateway,
    caller: &Caller<'_>,
    rule: &KindRule,
    intent: &Intent,
    patient: Option<PatientKey>,
    date_ms: Option<i64>,
    identifiers: &[(String, String)],
) -> (ResId, String, bool) {
    let day = time::day_number(date_ms.unwrap_or_else(|| gateway.now_ms()));
    let derived =
        |system: &str, value: &str| identified(&caller.principal.client, rule.name, patient, day, system, value);
    let id = match intent {
        Intent::Update { id, .. } => {
            let named = ResId::derived(None, 0, &[b"name", rule.name.as_bytes(), id.as_bytes()]);
            return (named, id.clone(), true);
        }
        Intent::Correct(Corrected { id, name, .. }) => {
            return (*id, name.clone().unwrap_or_else(|| id.to_string()), name.is_some());
        }
        Intent::Create { condition: Some(Condition { system, value }) } => derived(system, value),
        Intent::Create { condition: None } => match identifiers.first() {
            Some((system, value)) => derived(system, value),
            None => gateway.random_id(patient, day),
        },
    };
    (id, id.to_string(), false)
}

/// What a client's identifier stands for: one thing of one person. A sender's ids need not differ from person to person:
/// each device counts its own records from one, and where a record has no id, one is made of its moment.
pub(in crate::exchange) fn identified(
    client: &str,
    kind: &str,
    patient: Option<PatientKey>,
    day: u16,
    system: &str,
    value: &str,
) -> ResId {
    let person = patient.as_ref().map_or(&[][..], |key| &key.0);
    let parts = [b"identifier", client.as_bytes(), kind.as_bytes(), person, system.as_bytes(), value.as_bytes()];
    ResId::derived(patient, day, &parts)
}

impl Prepared {
    pub fn node(&self) -> NodeId {
        self.validated.node()
    }
}
