//! Groups that somebody leaves because she was erased: the gateway takes her out of them by a version of its own, and forgets
//! the versions in which she stood.
//!
//! A group is its client's and lists whom the client says; nothing of the client's own words is changed but that list. Of
//! the person the keyed hash alone is known by then. A group that is damaged can be neither read nor written, and is counted.

use serde_json::{Map, Value};

use super::{Refusal, judge};
use crate::exchange::Gateway;
use crate::exchange::trail::{Act, Author};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json};
use crate::store::{Accepted, Finished, PatientKey, Plan, Stored, Token, Unit, Write, WriteOutcome};

/// Groups that are looked at in one go.
const PIECE: usize = 100;

/// How often it is tried to be faster than whoever else changes a group.
const ATTEMPTS: usize = 8;

impl Gateway {
    /// Takes an erased person out of every group. May be repeated. How many groups are damaged, so that she may still stand in them.
    pub(in crate::exchange) async fn leave_groups(&self, person: PatientKey) -> Result<usize, Refusal> {
        let whole = Plan { limit: PIECE, scan_budget: usize::MAX, ..Plan::of("Group") };
        let mut plan = Plan { deleted: true, spares_damaged: true, ..whole };
        let mut damaged = 0;
        loop {
            let page = self.store.search(plan.clone()).await?;
            damaged += page.damaged.len();
            for seq in page.damaged {
                if let Some(group) = self.store.current_heading(seq).await?
                    && self.was_in(&group, person).await?
                {
                    self.store.forget_earlier(seq).await?;
                }
            }
            for group in page.rows {
                self.leave_group(group, person).await?;
            }
            match page.next {
                Some(key) => plan.after = Some(key),
                None => return Ok(damaged),
            }
        }
    }

    async fn leave_group(&self, mut group: Stored, person: PatientKey) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS {
            let Some(left) = self.without(&group, person) else {
                if self.was_in(&group, person).await? {
                    self.store.forget_earlier(group.seq).await?;
                }
                return Ok(());
            };
            let write = left_by(&group, left, self.now_ms())?;
            let author = Author::itself(self);
            let reference = format!("{}/{}/_history/{}", group.kind, group.logical_id(), write.version);
            let finish = move |outcomes: &[WriteOutcome]| {
                let is_done = outcomes.contains(&WriteOutcome::Updated);
                let record = || author.record(Act::Update, None, std::slice::from_ref(&reference), None, &[]);
                Finished { audit: is_done.then(record).into_iter().collect(), ..Finished::default() }
            };
            let unit = Unit {
                client: group.owner.clone(),
                idempotency: None,
                preconditions: Vec::new(),
                progress: None,
                rereading: None,
                rehearsal: false,
                now_ms: write.updated_ms,
                writes: vec![write],
                atomic: false,
                finish: Box::new(finish),
            };
            let accepted = self.store.accept(unit).await?;
            if matches!(&accepted, Accepted::Done { outcomes } if outcomes.contains(&WriteOutcome::Updated)) {
                return Ok(self.store.forget_earlier(group.seq).await?);
            }
            // Somebody was faster.
            let Some(current) = self.store.current(group.seq).await? else { return Ok(()) };
            group = current;
        }
        let refusal = Refusal::one(Id::Overloaded, "", "A group changes too often to be written now.");
        Err(Refusal { retry_after_seconds: Some(1), ..refusal })
    }

    /// Whether a person stood, or may have stood, in a group before it became what it is.
    async fn was_in(&self, group: &Stored, person: PatientKey) -> Result<bool, Refusal> {
        let earlier = (1..group.version).map(|version| (group.kind.to_string(), group.logical_id(), version));
        let earlier = self.store.versions(earlier.collect()).await?;
        // She may have stood in what cannot be read any more.
        Ok(!earlier.damaged.is_empty() || earlier.rows.iter().any(|version| self.without(version, person).is_some()))
    }

    /// What a group says without a person; none where she is not in it.
    fn without(&self, group: &Stored, person: PatientKey) -> Option<Map<String, Value>> {
        let mut whole: Map<String, Value> = serde_json::from_slice(&group.payload).ok()?;
        let members = whole.get_mut("member")?.as_array_mut()?;
        let before = members.len();
        members.retain(|member| {
            let reference = member["entity"]["reference"].as_str().unwrap_or_default();
            let reference = reference.split_once("/_history/").map_or(reference, |(current, _)| current);
            self.local_reference(reference, "Patient").is_none_or(|id| self.patient_key(id) != person)
        });
        let is_less = members.len() < before;
        if members.is_empty() {
            // FHIR knows no empty arrays.
            whole.remove("member");
        }
        is_less.then_some(whole)
    }
}

fn left_by(group: &Stored, left: Map<String, Value>, now_ms: i64) -> Result<Write, Refusal> {
    let document = json::parse(Value::Object(left).to_string())?;
    let identifiers = Element::root(&document).all("identifier").filter_map(|identifier| {
        let system = identifier.text_of("system").unwrap_or_default().to_owned();
        Some(Token { param: "identifier", system, value: identifier.text_of("value")?.to_owned() })
    });
    Ok(Write {
        tokens: identifiers.collect(),
        deliver: false,
        delete: group.deleted,
        ..judge::next_version(group, &document, None, now_ms)
    })
}
