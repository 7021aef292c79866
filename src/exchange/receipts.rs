//! What the senders of records are told of each: at once in one word with its reasons, and later by their own ids.
//!
//! What was kept is found by its identity, which follows from the client, the person, the format and the sender's id; what was
//! refused or doubtful was filed when it was judged. A client asks for its own alone, and everything that is looked up is
//! looked up under its name, so that what is absent and what is another's are the same. What consent would not let be
//! sent again is not told of either.

use serde_json::{Value, json};

use super::consents::{self, Subject};
use super::facts::Facts;
use super::pull::page;
use super::push;
use super::refusal::Refusal;
use super::said;
use super::trail::{Act, Author};
use super::{Caller, Gateway};
use crate::devices::Format;
use crate::fhir::outcome::{CATALOGUE, Id, Issue};
use crate::fhir::tree::{Element, json as reader, time};
use crate::policy::access::Interaction;
use crate::policy::consent::{self, Action};
use crate::store::{self, Filed, PatientKey, Plan, ReceiptPlan, Stored, Tally};

const KIND: &str = "Observation";

/// Receipts that one page lists.
const PAGE: usize = 200;

/// Persons among whom a record is looked for where nobody says whose it is.
const PERSONS: usize = 50;

/// Days that a scorecard covers where nobody says how many, and at most.
const SCORED_DAYS: (i64, i64) = (30, 400);

/// What became of a record, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Accepted,
    /// Kept, with warnings.
    Flagged,
    /// Kept before: nothing was written.
    Duplicate,
    Refused,
}

impl Word {
    pub const ALL: [Word; 4] = [Word::Accepted, Word::Flagged, Word::Duplicate, Word::Refused];

    pub fn code(self) -> &'static str {
        match self {
            Word::Accepted => "accepted",
            Word::Flagged => "flagged",
            Word::Duplicate => "duplicate",
            Word::Refused => "refused",
        }
    }
}

/// Where in what was sent an issue lies, as a JSON pointer (RFC 6901); none where its place is one of the Observation.
pub fn pointer(issue: &Issue) -> Option<String> {
    let expression = issue.expression.as_str();
    if expression.starts_with(KIND) {
        return None;
    }
    let mut pointer = String::with_capacity(expression.len() + 1);
    for part in expression.split(['.', '[']).filter(|part| !part.is_empty()) {
        pointer.push('/');
        pointer.push_str(&part.trim_end_matches(']').replace('~', "~0").replace('/', "~1"));
    }
    Some(pointer)
}

/// An issue as a vendor's developer reads it: the rule, where, what is wrong, what helps, where more is said.
pub fn plain(issue: &Issue, pages: &str) -> Value {
    let mut value = json!({"rule": issue.id.code(), "severity": issue.severity.code()});
    match pointer(issue) {
        Some(pointer) => value["pointer"] = pointer.into(),
        None => value["element"] = issue.expression.as_str().into(),
    }
    if issue.position.line > 0 {
        value["line"] = issue.position.line.into();
        value["column"] = issue.position.column.into();
    }
    value["text"] = issue.text.as_str().into();
    value["fix"] = issue.id.entry().remedy.into();
    value["guide"] = format!("{pages}/issues#{}", issue.id.code()).into();
    value
}

/// Where a record stood in what was sent.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub line: Option<u64>,
    pub pointer: &'a str,
}

/// What is filed of a record: no name, no value, only rules and places.
pub(super) fn filed(
    format: &str,
    request: &str,
    place: Place<'_>,
    resource: Option<&str>,
    issues: &[&Issue],
) -> Vec<u8> {
    let issues: Vec<Value> = issues
        .iter()
        .map(|issue| json!([issue.id.code(), issue.expression, issue.text, issue.position.line, issue.position.column]))
        .collect();
    let mut value = json!({"format": format, "request": request, "pointer": place.pointer, "issues": issues});
    if let Some(line) = place.line {
        value["line"] = line.into();
    }
    if let Some(resource) = resource {
        value["resource"] = resource.into();
    }
    value.to_string().into_bytes()
}

/// The same of a record that became several Observations: how many of each word.
pub(super) fn filed_whole(
    format: &str,
    request: &str,
    place: Place<'_>,
    words: [u64; 4],
    issues: &[&Issue],
) -> Vec<u8> {
    let filed = filed(format, request, place, None, issues);
    let mut value: Value = serde_json::from_slice(&filed).unwrap_or_default();
    let counts = Word::ALL.iter().map(|word| (word.code().to_owned(), words[*word as usize].into()));
    value["counts"] = Value::Object(counts.collect());
    value.to_string().into_bytes()
}

/// The reverse, as it is told.
pub(super) fn told(base: &str, pages: &str, row: &Filed) -> Value {
    let body: Value = serde_json::from_slice(&row.body).unwrap_or_default();
    let issues: Vec<Value> =
        body["issues"].as_array().into_iter().flatten().filter_map(|filed| restored(filed, pages)).collect();
    let mut value = json!({"outcome": row.outcome, "received": time::instant(row.at_ms)});
    for name in ["format", "request", "pointer"] {
        value[name] = body[name].clone();
    }
    if body["line"].is_u64() {
        value["line"] = body["line"].clone();
    }
    if body["counts"].is_object() {
        value["counts"] = body["counts"].clone();
    }
    if let Some(resource) = body["resource"].as_str() {
        value["resource"] = format!("{base}/{resource}").into();
    }
    if !issues.is_empty() {
        value["issues"] = issues.into();
    }
    value
}

fn restored(filed: &Value, pages: &str) -> Option<Value> {
    let entry = CATALOGUE.iter().find(|entry| Some(entry.code) == filed[0].as_str())?;
    let mut issue = Issue::new(entry.id, filed[1].as_str()?, filed[2].as_str()?);
    issue.position.line = filed[3].as_u64()? as u32;
    issue.position.column = filed[4].as_u64()? as u32;
    Some(plain(&issue, pages))
}

/// What its paging links are for.
const PURPOSE: &str = "receipts";

/// What is asked of the list.
#[derive(Clone, Default, Debug)]
pub struct Listed {
    pub since_ms: Option<i64>,
    pub outcome: Option<String>,
    /// Token of the page.
    pub after: Option<String>,
}

impl Gateway {
    /// The name under which a client's record is filed.
    pub(super) fn record_key(&self, format: &str, id: &str) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.receipt_secret);
        hasher.update(format.as_bytes());
        hasher.update(&[0]);
        hasher.update(id.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        key
    }

    /// `GET /receipts?id=…`: everything that this client was told of one of its records, of one person or of all whose
    /// records it sends.
    pub async fn receipts_of(
        &self,
        caller: &Caller<'_>,
        formats: &[Format],
        id: &str,
        patient: Option<&str>,
    ) -> Result<Value, Refusal> {
        may_ask(caller)?;
        let mut receipts: Vec<(i64, Value)> = Vec::new();
        let one = patient.map(|patient| self.patient_key(patient.strip_prefix("Patient/").unwrap_or(patient)));
        let (persons, damaged) = match one {
            Some(person) => (vec![person], false),
            None => self.persons_of(caller).await?,
        };
        let mut names = Vec::with_capacity(formats.len() * persons.len());
        for format in formats {
            for person in &persons {
                let client = &caller.principal.client;
                names.push((format, push::identified(client, KIND, Some(*person), 0, format.identifier(), id)));
            }
        }
        for (format, id) in names {
            let found = match self.store.read_derived(KIND, id).await? {
                Some(stored) => Some((stored.updated_ms, stored)),
                // It may have gone into a stretch of samples.
                None => self.store.gathered(id).await?.map(|(stored, at_ms)| (at_ms, stored)),
            };
            if let Some((received_ms, stored)) =
                found.filter(|(_, stored)| !stored.deleted && stored.owner == caller.principal.client)
                && let Some(patient) = self.still_collects(caller, &stored).await?
            {
                let resource = format!("{KIND}/{}", stored.logical_id());
                let references = [format!("{resource}/_history/{}", stored.version)];
                let record = Author::of(self, caller).record(Act::Read, Some(&patient), &references, None, &[]);
                self.store.record_audit(vec![record]).await?;
                let value = json!({
                    "outcome": Word::Accepted.code(),
                    "received": time::instant(received_ms),
                    "format": format.name(),
                    "resource": format!("{}/{resource}", self.base),
                });
                receipts.push((received_ms, value));
            }
        }
        let keys = formats.iter().map(|format| self.record_key(format.name(), id)).collect();
        let plan = ReceiptPlan {
            client: caller.principal.client.clone(),
            records: Some(keys),
            patient: one,
            since_ms: None,
            outcome: None,
            after: 0,
            limit: PAGE,
        };
        let filed = self.store.receipts(plan).await?;
        receipts.extend(filed.iter().map(|row| (row.at_ms, told(&self.base, &self.pages, row))));
        if receipts.is_empty() && damaged {
            // It may be of one of whom nothing can be read any more.
            return Err(store::Error::Damaged.into());
        }
        if receipts.is_empty() {
            return Err(Refusal::one(Id::NotFound, "", "There is no receipt for that record of this client."));
        }
        // A flagged record has both: its resource and what was said of it, which says more.
        let flagged: Vec<Value> = receipts
            .iter()
            .filter(|(_, one)| one["issues"].is_array())
            .map(|(_, one)| one["resource"].clone())
            .collect();
        receipts.retain(|(_, one)| {
            one["issues"].is_array() || one["resource"].is_null() || !flagged.contains(&one["resource"])
        });
        receipts.sort_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
        let receipts: Vec<Value> = receipts.into_iter().map(|(_, receipt)| receipt).collect();
        Ok(json!({"receipts": receipts}))
    }

    /// The persons that a client registered, where they are few enough to look through, and whether some of them are damaged.
    async fn persons_of(&self, caller: &Caller<'_>) -> Result<(Vec<PatientKey>, bool), Refusal> {
        let owner = Some(caller.principal.client.clone());
        let plan = Plan { owner, limit: PERSONS + 1, spares_damaged: true, ..Plan::of("Patient") };
        let found = self.store.search(plan).await?;
        if found.rows.len() > PERSONS || found.exhausted_budget {
            let text = format!(
                "A client that registered more than {PERSONS} persons names with patient=id whose record it is."
            );
            return Err(Refusal::one(Id::PatientMissing, "", text));
        }
        let keys = found.rows.iter().map(|stored| self.patient_key(&stored.logical_id())).collect();
        Ok((keys, !found.damaged.is_empty()))
    }

    /// `GET /receipts?since=…&outcome=…`: what was refused or doubtful, oldest first, with the token of the next page.
    pub async fn receipts_since(
        &self,
        caller: &Caller<'_>,
        listed: &Listed,
    ) -> Result<(Value, Option<String>), Refusal> {
        may_ask(caller)?;
        let client = &caller.principal.client;
        let unknown = || Refusal::one(Id::SearchValue, "after", "Parameter after: what the link to the next page has.");
        let after = match &listed.after {
            Some(token) => page::verify(token, PURPOSE, &self.page_secret, client).ok_or_else(unknown)?,
            None => 0,
        };
        let plan = ReceiptPlan {
            client: caller.principal.client.clone(),
            records: None,
            patient: None,
            since_ms: listed.since_ms,
            outcome: listed.outcome.clone(),
            after,
            limit: PAGE + 1,
        };
        let mut rows = self.store.receipts(plan).await?;
        let next = (rows.len() > PAGE).then(|| page::sign(&rows[PAGE - 1].number, PURPOSE, &self.page_secret, client));
        rows.truncate(PAGE);
        let receipts: Vec<Value> = rows.iter().map(|row| told(&self.base, &self.pages, row)).collect();
        Ok((json!({"receipts": receipts}), next))
    }

    /// Whose data it is, if this client could send it now as it did then.
    async fn still_collects(
        &self,
        caller: &Caller<'_>,
        stored: &Stored,
    ) -> Result<Option<(String, PatientKey)>, Refusal> {
        let Some(key) = stored.patient else { return Ok(None) };
        let Ok(document) = reader::parse(stored.payload.as_slice()) else { return Ok(None) };
        let facts = Facts::of(stored.kind.clone(), Element::root(&document));
        let granted = caller.principal.scopes.permits(KIND, Interaction::Create);
        if !granted.allows(facts.categories(), facts.codes()) {
            return Ok(None);
        }
        let patient = said::patient_named(Element::root(&document)).to_owned();
        let page = self.consents_now(key).await?;
        let reference = format!("{KIND}/{}", stored.logical_id());
        let patients = consents::names(&self.base, &patient);
        let subject = Subject { patients: &patients, reference: &reference, facts: &facts };
        let (actor, now_ms) = (consents::actor(caller), self.now_ms());
        let request =
            consent::Request { action: Action::Collect, actor: &actor, purpose: caller.purpose, policies: &[], now_ms };
        let decided = consents::permit(&page.consents, &self.implied, &request, &subject, ()).is_ok();
        Ok(decided.then_some((patient, key)))
    }

    /// `GET /receipts/scorecard`: how good a client's records were, counted by day.
    pub async fn scorecard(&self, caller: &Caller<'_>, days: Option<i64>) -> Result<Value, Refusal> {
        may_ask(caller)?;
        let today = self.now_ms().div_euclid(DAY_MS);
        let days = days.unwrap_or(SCORED_DAYS.0).clamp(1, SCORED_DAYS.1);
        let tallies = self.store.tallies(&caller.principal.client, today + 1 - days, today + 1).await?;
        Ok(scorecard(&tallies))
    }
}

pub const DAY_MS: i64 = 86_400_000;

fn may_ask(caller: &Caller<'_>) -> Result<(), Refusal> {
    caller.principal.permits(KIND, Interaction::Create).map(drop).map_err(|denied| denied.issue().into())
}

/// What a rule says of a record's quality.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quality {
    Missing,
    Implausible,
    Unit,
    Time,
    Consent,
    Other,
}

impl Quality {
    pub fn code(self) -> &'static str {
        match self {
            Quality::Missing => "missing",
            Quality::Implausible => "implausible",
            Quality::Unit => "unit",
            Quality::Time => "time",
            Quality::Consent => "consent",
            Quality::Other => "other",
        }
    }

    pub fn of(id: Id) -> Quality {
        match id {
            Id::CardinalityMin | Id::SliceMin | Id::ValueMissing | Id::DeviceRecord | Id::CodingSystemMissing => {
                Quality::Missing
            }
            Id::MeasureImplausible | Id::MeasureUnusual | Id::MeasureRelation | Id::ValueRange => Quality::Implausible,
            Id::MeasureUnit | Id::UnitUnknown => Quality::Unit,
            Id::MeasureNoOffset | Id::MeasureFuture | Id::MeasureTooOld | Id::MeasureClockUnset => Quality::Time,
            Id::ConsentMissing | Id::ConsentDenied | Id::ConsentUnclear | Id::ScopeInsufficient => Quality::Consent,
            _ => Quality::Other,
        }
    }
}

/// Topics that are counted besides the words: a rule, and how late a record came.
pub(super) const RULE: &str = "rule:";
pub(super) const DELAY: &str = "delay:";

/// How long after its measurement a record came.
pub(super) fn delay(measured_ms: i64, now_ms: i64) -> &'static str {
    match now_ms.saturating_sub(measured_ms) {
        ..=3_600_000 => "hour",
        3_600_001..=86_400_000 => "day",
        86_400_001..=604_800_000 => "week",
        _ => "later",
    }
}

/// Counts alone, over all days and day by day.
pub fn scorecard(tallies: &[Tally]) -> Value {
    let mut days: Vec<(i64, Vec<&Tally>)> = Vec::new();
    for tally in tallies {
        match days.last_mut().filter(|(day, _)| *day == tally.day) {
            Some((_, of_day)) => of_day.push(tally),
            None => days.push((tally.day, vec![tally])),
        }
    }
    let all: Vec<&Tally> = tallies.iter().collect();
    let mut card = scored(&all);
    card["days"] = days
        .iter()
        .map(|(day, of_day)| {
            let mut scored = scored(of_day);
            scored["day"] = time::instant(day * DAY_MS)[..10].into();
            scored
        })
        .collect();
    card
}

fn scored(tallies: &[&Tally]) -> Value {
    let sum =
        |topic: &str| -> u64 { tallies.iter().filter(|tally| tally.topic == topic).map(|tally| tally.count).sum() };
    let mut outcomes = json!({});
    for word in Word::ALL {
        outcomes[word.code()] = sum(word.code()).into();
    }
    let mut delays = json!({});
    for delay in ["hour", "day", "week", "later"] {
        delays[delay] = sum(&format!("{DELAY}{delay}")).into();
    }
    let (mut quality, mut rules) = (json!({}), json!({}));
    for code in ["missing", "implausible", "unit", "time", "consent", "other"] {
        quality[code] = 0.into();
    }
    for tally in tallies {
        let Some(code) = tally.topic.strip_prefix(RULE) else { continue };
        let Some(entry) = CATALOGUE.iter().find(|entry| entry.code == code) else { continue };
        for (counted, name) in [(&mut quality, Quality::of(entry.id).code()), (&mut rules, code)] {
            counted[name] = (counted[name].as_u64().unwrap_or(0) + tally.count).into();
        }
    }
    let formats: std::collections::BTreeSet<&str> = tallies.iter().map(|tally| &*tally.format).collect();
    json!({"formats": formats, "records": outcomes, "quality": quality, "late": delays, "rules": rules})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_record_become_json_pointers() {
        for (expression, expected) in [
            ("", Some("")),
            ("data_points[2].body.heart_rate.unit", Some("/data_points/2/body/heart_rate/unit")),
            ("[3].a/b", Some("/3/a~1b")),
            ("Observation.value.ofType(Quantity)", None),
        ] {
            assert_eq!(pointer(&Issue::new(Id::DeviceRecord, expression, "x")).as_deref(), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_filed_is_told_again() {
        let issue = Issue::new(Id::MeasureUnit, "records[1].body.x", "Another unit is expected.");
        let body = filed("f", "r-1", Place { line: Some(7), pointer: "/records/1" }, None, &[&issue]);
        let row = Filed { number: 1, at_ms: 0, outcome: "refused".to_owned(), body };
        let value = told("https://h/fhir", "https://h/guide", &row);
        assert_eq!(value["issues"][0], plain(&issue, "https://h/guide"));
        assert_eq!(value["line"], 7);
        assert_eq!((value["pointer"].as_str(), value["request"].as_str()), (Some("/records/1"), Some("r-1")));
    }

    #[test]
    fn a_scorecard_adds_up() {
        let tally = |day, topic: &str, count| Tally { day, format: "f".into(), topic: topic.to_owned(), count };
        let card = scorecard(&[
            tally(1, "accepted", 2),
            tally(1, "rule:measure-unit", 1),
            tally(1, "refused", 1),
            tally(2, "rule:unit-unknown", 2),
            tally(2, "delay:week", 4),
        ]);
        assert_eq!(card["quality"]["unit"], 3);
        assert_eq!(card["records"]["accepted"], 2);
        assert_eq!(card["late"]["week"], 4);
        assert_eq!(
            (card["days"][0]["day"].as_str(), card["days"][1]["quality"]["unit"].as_u64()),
            (Some("1970-01-02"), Some(2))
        );
    }

    #[test]
    fn lateness_has_four_steps() {
        for (late_ms, expected) in [(-5, "hour"), (DAY_MS, "day"), (2 * DAY_MS, "week"), (8 * DAY_MS, "later")] {
            assert_eq!(delay(0, late_ms), expected);
        }
    }
}
