//! `Patient/[id]/$export-data`: everything that is held of a person, for the person herself (GDPR Art. 15 and 20).
//!
//! What consents permit apps to see is no limit here, nor is a restriction: it is her own. All versions of all resources, the
//! consents among them, how they came to be, every record of the audit about her, what senders were told of her records, and
//! their records as they came, as far as they are still kept.
//! It is made page by page, so that it may be as large as it is. It goes on record before its first byte leaves.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::standing::Person;
use crate::exchange::kinds::KINDS;
use crate::exchange::push::raw::as_it_came;
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, receipts};
use crate::fhir::outcome::{Id, Issue, Reader, operation_outcome};
use crate::fhir::tree::time;
use crate::policy::access::Interaction;
use crate::store::{self, AuditPlan, Key, Order, OrderBy, Plan, RawHead, ReceiptPlace, Stored};

/// Rows that are in memory at once.
const PAGE: usize = 200;

/// How it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One resource a line.
    Lines,
    /// A Bundle of type collection, in JSON.
    Bundle,
}

/// An export under way.
pub struct Export {
    gateway: Arc<Gateway>,
    person: Person,
    form: Form,
    stages: VecDeque<Stage>,
    /// Whether something was written already.
    begun: bool,
}

/// What comes next, and from where.
enum Stage {
    Resources {
        kind: &'static str,
        after: Option<Key>,
        as_of_seq: u64,
    },
    Audit {
        after: Option<u64>,
        last: u64,
    },
    Receipts {
        after: ReceiptPlace,
    },
    /// By which names destinations know her.
    Links,
    /// What was sent, as it came.
    Inputs {
        after: u64,
        until_ms: i64,
    },
}

impl Gateway {
    /// Begins an export; whoever asked reads it piece by piece.
    pub async fn export(self: &Arc<Self>, caller: &Caller<'_>, person: &str, form: Form) -> Result<Export, Refusal> {
        let person = self.herself(caller, person, Interaction::Read).await?;
        let author = Author::of(self, caller).with_query(&format!("Patient/{}/$export-data", person.id), &[]);
        let record = author.record(Act::Operation, Some(&person.named()), &[], None, &[]);
        self.store.record_audit(vec![record]).await?;
        // What arrives from here on belongs to the next one, so that this one ends.
        let any = Plan { limit: 1, spares_damaged: true, ..Plan::of("Patient") };
        let as_of_seq = self.store.search(any).await?.high_seq;
        let latest = AuditPlan { patient: Some(person.key), limit: 1, descending: true, ..AuditPlan::default() };
        let last = self.store.audit(latest).await?.first().map_or(0, |(seq, _)| *seq);
        let mut kinds: Vec<&'static str> = KINDS.iter().map(|rule| rule.name).collect();
        kinds.retain(|kind| *kind != "AuditEvent");
        kinds.sort_by_key(|kind| (*kind != "Patient", *kind != "Consent"));
        let mut stages: VecDeque<Stage> =
            kinds.into_iter().map(|kind| Stage::Resources { kind, after: None, as_of_seq }).collect();
        stages.push_back(Stage::Audit { after: None, last });
        stages.push_back(Stage::Receipts { after: ReceiptPlace::default() });
        stages.push_back(Stage::Links);
        stages.push_back(Stage::Inputs { after: 0, until_ms: self.now_ms() });
        Ok(Export { gateway: self.clone(), person, form, stages, begun: false })
    }
}

/// Resources as they are written, with their addresses, and where to go on.
type Step = (Vec<(Option<String>, Vec<u8>)>, Option<Stage>);

impl Export {
    /// The next piece; nothing when all is said.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        let mut piece = Vec::new();
        while let Some(stage) = self.stages.pop_front() {
            let (resources, rest) = match stage {
                Stage::Resources { kind, after, as_of_seq } => self.resources(kind, after, as_of_seq).await?,
                Stage::Audit { after, last } => self.audit(after, last).await?,
                Stage::Receipts { after } => self.receipts(after).await?,
                Stage::Links => self.links().await?,
                Stage::Inputs { after, until_ms } => self.input(after, until_ms).await?,
            };
            if let Some(rest) = rest {
                self.stages.push_front(rest);
            }
            for (address, resource) in resources {
                self.write(address.as_deref(), &resource, &mut piece);
            }
            if self.stages.is_empty() {
                self.close(&mut piece);
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    async fn resources(&self, kind: &'static str, after: Option<Key>, as_of_seq: u64) -> Result<Step, Refusal> {
        let plan = Plan {
            patients: Some(vec![self.person.key]),
            order: Order { by: OrderBy::Date, descending: false },
            after,
            as_of_seq: Some(as_of_seq),
            limit: PAGE,
            // A page of one person's resources in the order of their dates looks at no others.
            scan_budget: usize::MAX,
            // It is hers still.
            deleted: true,
            spares_damaged: true,
            ..Plan::of(kind)
        };
        let page = self.gateway.store.search(plan).await?;
        let mut resources = Vec::with_capacity(page.rows.len());
        let mut damaged = page.damaged.len();
        for stored in page.rows {
            let id = stored.logical_id();
            let earlier = (1..stored.version).map(|version| (kind.to_owned(), id.clone(), version)).collect();
            let address = format!("{}/{kind}/{id}", self.gateway.base);
            let written = |stored: Stored| (Some(address.clone()), stored.payload);
            let earlier = self.gateway.store.versions(earlier).await?;
            damaged += earlier.damaged.len();
            resources.extend(earlier.rows.into_iter().map(written));
            resources.push(written(stored));
        }
        let (one, many) =
            (format!("version of a resource of type {kind}"), format!("versions of resources of type {kind}"));
        resources.extend(self.lost(&one, &many, damaged));
        Ok((resources, page.next.map(|key| Stage::Resources { kind, after: Some(key), as_of_seq })))
    }

    /// What stands for as many of something as are damaged, where any are.
    fn lost(&self, one: &str, many: &str, damaged: usize) -> Option<(Option<String>, Vec<u8>)> {
        let text = match damaged {
            0 => return None,
            1 => format!("One {one} is damaged and cannot be read."),
            _ => format!("{damaged} {many} are damaged and cannot be read."),
        };
        let lost = Issue::new(Id::ResourceDamaged, "", text);
        let reader = Reader { pages: &self.gateway.pages, is_xml: false };
        Some((None, operation_outcome(&[lost], reader).to_string().into_bytes()))
    }

    async fn audit(&self, after: Option<u64>, last: u64) -> Result<Step, Refusal> {
        // She reads what was withheld from others, and from her client, too.
        let plan = AuditPlan { patient: Some(self.person.key), after_seq: after, limit: PAGE, ..AuditPlan::default() };
        let rows = self.gateway.store.audit(plan).await?;
        let seen = rows.last().map(|(seq, _)| *seq).filter(|seq| *seq < last);
        let address = |payload: &[u8]| {
            let event: Value = serde_json::from_slice(payload).ok()?;
            Some(format!("{}/AuditEvent/{}", self.gateway.base, event["id"].as_str()?))
        };
        let rows = rows.into_iter().filter(|(seq, _)| *seq <= last);
        let mut damaged = 0;
        let mut resources: Vec<(Option<String>, Vec<u8>)> = Vec::new();
        for (_, payload) in rows {
            match address(&payload) {
                Some(address) => resources.push((Some(address), payload)),
                None => damaged += 1,
            }
        }
        resources.extend(self.lost("record of the audit", "records of the audit", damaged));
        Ok((resources, seen.map(|seq| Stage::Audit { after: Some(seq), last })))
    }

    async fn receipts(&self, after: ReceiptPlace) -> Result<Step, Refusal> {
        let rows = self.gateway.store.receipts_about(self.person.key, after, PAGE).await?;
        let rest =
            rows.last().filter(|_| rows.len() == PAGE).map(|(place, _)| Stage::Receipts { after: place.clone() });
        let resources = rows.iter().map(|((client, _), filed)| {
            let told = receipts::told(&self.gateway.base, &self.gateway.pages, filed);
            (None, receipt(client, &told).to_string().into_bytes())
        });
        Ok((resources.collect(), rest))
    }

    async fn links(&self) -> Result<Step, Refusal> {
        let (links, damaged) = self.gateway.links_of(self.person.key).await?;
        let links = links.iter().map(|told| (None, link(told).to_string().into_bytes()));
        Ok((links.chain(self.lost("link to a destination", "links to destinations", damaged)).collect(), None))
    }

    /// One at a time, since each may be as large as a request.
    async fn input(&self, after: u64, until_ms: i64) -> Result<Step, Refusal> {
        let heads = self.gateway.store.raw_heads_of(self.person.key, after, 1).await?;
        let Some(head) = heads.into_iter().next().filter(|head| head.at_ms <= until_ms) else {
            return Ok((Vec::new(), None));
        };
        let rest = Some(Stage::Inputs { after: head.number, until_ms });
        let opened = match self.gateway.store.raw(head.number).await {
            Err(store::Error::Damaged) => {
                let lost = self.lost("request with records of devices", "requests with records of devices", 1);
                return Ok((lost.into_iter().collect(), rest));
            }
            opened => opened?,
        };
        let came = opened.and_then(|raw| as_it_came(&raw.body));
        let resource = came.map(|(body, lines)| (None, input(&head, &body, &lines).to_string().into_bytes()));
        Ok((resource.into_iter().collect(), rest))
    }

    fn write(&mut self, address: Option<&str>, resource: &[u8], out: &mut Vec<u8>) {
        if self.form == Form::Lines {
            out.extend_from_slice(resource);
            out.push(b'\n');
            return;
        }
        self.open(out);
        if let Some(address) = address {
            out.extend_from_slice(b"{\"fullUrl\":");
            out.extend_from_slice(Value::from(address).to_string().as_bytes());
            out.extend_from_slice(b",\"resource\":");
        } else {
            out.extend_from_slice(b"{\"resource\":");
        }
        out.extend_from_slice(resource);
        out.push(b'}');
    }

    /// What stands before an entry of a Bundle.
    fn open(&mut self, out: &mut Vec<u8>) {
        if self.begun {
            out.push(b',');
            return;
        }
        self.begun = true;
        let made = time::instant(self.gateway.now_ms());
        let head =
            format!("{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"timestamp\":\"{made}\",\"entry\":[");
        out.extend_from_slice(head.as_bytes());
    }

    fn close(&self, out: &mut Vec<u8>) {
        // There is always the person herself, so that something was written.
        if self.form == Form::Bundle && self.begun {
            out.extend_from_slice(b"]}");
        }
    }
}

/// Records as a device sent them, as a resource: when, by whom and in which format.
fn input(head: &RawHead, body: &[u8], lines: &[u64]) -> Value {
    let mut parts = vec![
        json!({"name": "client", "valueString": &*head.client}),
        json!({"name": "received", "valueInstant": time::instant(head.at_ms)}),
        json!({"name": "format", "valueString": head.format}),
        json!({"name": "mapping", "valueString": head.version}),
    ];
    parts.extend(lines.iter().map(|line| json!({"name": "line", "valueString": line.to_string()})));
    parts.push(json!({"name": "content", "valueBase64Binary": STANDARD.encode(body)}));
    json!({"resourceType": "Parameters", "parameter": [{"name": "input", "part": parts}]})
}

/// A link to a destination, as a resource.
fn link(told: &Value) -> Value {
    let texts = ["destination", "since", "scope"].map(|name| json!({"name": name, "valueString": told[name]}));
    let mut parts = texts.to_vec();
    parts.push(json!({"name": "over", "valueBoolean": told["over"]}));
    if told["identifier"].is_object() {
        parts.push(json!({"name": "identifier", "valueIdentifier": told["identifier"]}));
    }
    json!({"resourceType": "Parameters", "parameter": [{"name": "link", "part": parts}]})
}

/// What a sender was told of a record, as a resource: no FHIR type is meant for it.
fn receipt(client: &str, told: &Value) -> Value {
    let mut parts = vec![json!({"name": "client", "valueString": client})];
    for name in ["received", "outcome", "format", "request", "pointer", "resource"] {
        if let Some(text) = told[name].as_str().filter(|text| !text.is_empty()) {
            parts.push(json!({"name": name, "valueString": text}));
        }
    }
    for issue in told["issues"].as_array().into_iter().flatten() {
        let texts = ["rule", "severity", "text"].iter().filter_map(|name| {
            let text = issue[*name].as_str()?;
            Some(json!({"name": name, "valueString": text}))
        });
        parts.push(json!({"name": "issue", "part": texts.collect::<Vec<_>>()}));
    }
    json!({"resourceType": "Parameters", "parameter": [{"name": "receipt", "part": parts}]})
}
