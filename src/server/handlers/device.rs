//! `POST /devices/{format}`: records of phones and wearables, each answered in one word with its reasons.
//!
//! Whoever speaks FHIR gets the batch-response that the records became; whoever asks for `application/json` gets
//! receipts: the sender's own id, the word, the places in its own text.

use std::collections::VecDeque;

use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{Request, bundle, create};
use crate::devices::lines::{self, Line, Lines};
use crate::devices::{self, Format, Sender, Zone};
use crate::exchange::push::{self, Addressed, Answered, Entry, Idempotency, Outcome, Repeats};
use crate::exchange::receipts::{self, Word};
use crate::exchange::{Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::server::limits::{Inflow, Limits};
use crate::server::negotiate;
use crate::server::reply::{Body, Reply};

pub(super) async fn device(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let format = &format(request, request.matched.format)?;
    let patient = patient(request)?;
    let idempotency = create::idempotency(request)?.map(|given| for_person(given, patient));
    if negotiate::of_body(request.headers)? != negotiate::Format::Json {
        return Err(Refusal::one(Id::MediaTypeUnsupported, "", "Records of devices are read as JSON."));
    }
    if request.body.is_empty() {
        return Err(Refusal::one(Id::BodyMissing, "", "The request has no body."));
    }
    let document = match devices::read(request.body.as_ref()) {
        Ok(document) => document,
        Err(issue) => return Err(request.gateway.refused(&caller, issue.into()).await),
    };
    let addressed = Addressed { patient, zone: zone(request)? };
    let answers = request.gateway.push_device(&caller, format, &document, addressed, idempotency).await?;
    if negotiate::wants_receipts(request.headers) {
        let mut summary = Summary::new(request.gateway, format, answers.len());
        summary.add(&answers);
        return Ok(summary.reply());
    }
    let linked = |answered: Answered| {
        let link = answered.id.map(|id| link(&request.gateway.base, format, patient, &id));
        (Entry::Pushed(answered.outcome), link)
    };
    Ok(bundle::response(request, "batch-response", answers.into_iter().map(linked)).await)
}

/// The format of that name.
pub(super) fn format(request: &Request<'_>, name: &str) -> Result<Format, Refusal> {
    let formats = &request.gateway.formats;
    formats.format(name).ok_or_else(|| {
        let text = format!("There is no device format of that name; there are {}.", formats.names());
        Refusal::one(Id::RouteUnknown, "", text)
    })
}

/// The person that the address names.
pub(super) fn patient<'r>(request: &'r Request<'_>) -> Result<&'r str, Refusal> {
    let mut patients = request.query.iter().filter(|(name, _)| name == "patient").map(|(_, value)| value.as_str());
    let patient = patients.next().unwrap_or_default();
    if patients.next().is_some() {
        return Err(Refusal::one(Id::PatientMissing, "", "The address names the person more than once."));
    }
    Ok(patient)
}

/// Name of the time zone where the person was, for senders whose times are local.
pub(super) fn zone_name<'r>(request: &'r Request<'_>) -> Result<Option<&'r str>, Refusal> {
    zone(request)?;
    Ok(request.query.iter().find(|(name, _)| name == "zone").map(|(_, name)| name.as_str()))
}

/// `POST /devices/{format}/$explain`: what would become of the records, step by step. Nothing is kept.
pub(super) async fn explain(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let format = format(request, request.matched.format)?;
    let named = request.query.iter().find(|(name, _)| name == "patient").map_or("me", |(_, value)| value.as_str());
    let subject = format!("Patient/{}", named.strip_prefix("Patient/").unwrap_or(named));
    let sender = Sender { subject: &subject, zone: zone(request)? };
    let document = devices::read(request.body.as_ref())?;
    let rules = request.gateway.rules(caller.principal, [], &[]).await?;
    let most = request.gateway.config.bundle_entries;
    let explained = push::explain::explain(&format, &document, &sender, rules.of(None, &[]), most)?;
    Ok(Reply::json(200, &push::explain::as_json(&format, &explained, request.reader())))
}

/// Where the person was, for senders whose times are local.
fn zone(request: &Request<'_>) -> Result<Option<Zone>, Refusal> {
    let Some((_, name)) = request.query.iter().find(|(name, _)| name == "zone") else { return Ok(None) };
    let unknown = |_| Refusal::one(Id::DeviceRecord, "", "zone is the name of a time zone in the IANA database.");
    Zone::get(name).map(Some).map_err(unknown)
}

/// The same body for another person is another request.
fn for_person(given: Idempotency, patient: &str) -> Idempotency {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&given.hash);
    hasher.update(patient.as_bytes());
    Idempotency { hash: *hasher.finalize().as_bytes(), ..given }
}

/// Where it is told again what became of a record.
fn link(base: &str, format: &Format, patient: &str, id: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("format", format.name())
        .append_pair("patient", patient.strip_prefix("Patient/").unwrap_or(patient))
        .append_pair("id", id)
        .finish();
    format!("{}/receipts?{query}", base.trim_end_matches("/fhir"))
}

/// Records one a line, kept piece by piece while they arrive. Whatever breaks the request off later, what was kept before
/// stays kept, and the same lines sent again are duplicates.
pub(super) async fn stream(request: &Request<'_>, body: Incoming, limits: &Limits) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let format = &format(request, request.matched.format)?;
    let patient = patient(request)?;
    let addressed = Addressed { patient, zone: zone(request)? };
    let key = create::idempotency(request)?.map(|given| for_person(given, patient));
    let mut inflow = Inflow::new(request.headers, body, limits)?;
    let (mut read, mut waiting) = (Lines::new(lines::LONGEST), VecDeque::new());
    let mut summary = Summary::new(request.gateway, format, limits.bundle_entries);
    loop {
        let piece = inflow.next().await?;
        let ended = piece.is_none();
        match piece {
            Some(piece) => read.push(&piece, &mut waiting),
            None => std::mem::replace(&mut read, Lines::new(0)).finish(&mut waiting),
        }
        while let Some(next) = lines::cut(&mut waiting, ended) {
            request.gateway.stands(caller.principal).await?;
            let idempotency = key.as_ref().map(|key| of_piece(key, &next));
            let repeats = Repeats { idempotency, progress: None };
            let answers = request.gateway.push_lines(&caller, format, &next, addressed.clone(), repeats).await?;
            summary.add(&answers);
        }
        if ended {
            break;
        }
    }
    if summary.records == 0 {
        let refusal = Refusal::one(Id::BodyMissing, "", "The request has no records, which come one a line.");
        return Err(request.gateway.refused(&caller, refusal).await);
    }
    Ok(summary.reply())
}

/// Pieces are cut the same way whenever the same lines come, so each has a key of its own.
fn of_piece(given: &Idempotency, lines: &[Line]) -> Idempotency {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&given.hash);
    for line in lines {
        hasher.update(&line.number.to_le_bytes());
        hasher.update(line.text.as_deref().unwrap_or_default());
    }
    let first = lines.first().map_or(0, |line| line.number);
    let name = blake3::hash(format!("{first}\n{}", given.key).as_bytes());
    Idempotency { key: format!("line {first} {}", name.to_hex()), hash: *hasher.finalize().as_bytes() }
}

/// What is answered of a stream: every receipt of a short one, and of a long one those that matter.
struct Summary<'b> {
    gateway: &'b Gateway,
    format: &'b str,
    most: usize,
    records: usize,
    counts: [usize; Word::ALL.len()],
    listed: Vec<Value>,
    left_out: usize,
}

impl<'b> Summary<'b> {
    fn new(gateway: &'b Gateway, format: &'b Format, most: usize) -> Self {
        Summary {
            gateway,
            format: format.name(),
            most,
            records: 0,
            counts: Default::default(),
            listed: Vec::new(),
            left_out: 0,
        }
    }

    fn add(&mut self, answers: &[Answered]) {
        for answered in answers {
            self.records += 1;
            self.counts[answered.word() as usize] += 1;
            let matters = matches!(answered.word(), Word::Refused | Word::Flagged);
            if self.listed.len() < self.most || (matters && self.listed.len() < 2 * self.most) {
                self.listed.push(receipt(self.gateway, answered));
            } else {
                self.left_out += 1;
            }
        }
    }

    fn reply(self) -> Reply {
        let mut counts = json!({});
        for word in Word::ALL {
            counts[word.code()] = self.counts[word as usize].into();
        }
        let mut value = json!({"format": self.format, "counts": counts, "receipts": self.listed});
        if self.left_out > 0 {
            value["left_out"] = self.left_out.into();
            value["more"] = format!("{}/receipts", self.gateway.base.trim_end_matches("/fhir")).into();
        }
        Reply::new(200, Body::Json(value.to_string().into_bytes()))
    }
}

fn receipt(gateway: &Gateway, answered: &Answered) -> Value {
    let base = &gateway.base;
    let mut value = json!({});
    if let Some(id) = &answered.id {
        value["id"] = id.as_str().into();
    }
    value["outcome"] = answered.word().code().into();
    if let Some(line) = answered.line {
        value["line"] = line.into();
    }
    value["pointer"] = answered.pointer.as_str().into();
    let issues = match &answered.outcome {
        Outcome::Kept(kept) => {
            value["resource"] = format!("{base}/{}/{}", kept.kind, kept.id).into();
            value["version"] = kept.version.into();
            &kept.warnings
        }
        Outcome::Refused(refusal) => {
            value["status"] = refusal.status().into();
            &refusal.issues
        }
    };
    if !issues.is_empty() {
        value["issues"] = issues.iter().map(|issue| receipts::plain(issue, &gateway.pages)).collect();
    }
    value
}
