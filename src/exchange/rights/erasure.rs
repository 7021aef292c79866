//! `Patient/[id]/$erase`: a person is forgotten (GDPR Art. 17).
//!
//! The first transaction writes a tombstone, from which on nobody finds anything of her and nothing of her is taken in or
//! sent; what follows takes it away, in steps that the next process goes on with should this one end. What the law wants
//! kept (Art. 17(3)) stays without content: that there were acts, whose and when. Whom her data was passed on to is said in
//! the receipt (Art. 19): destinations that can be told are told by the names under which they hold it, which are noted in the
//! transaction that takes the record of the disclosure away. Asked again, the same receipt is given, with who was told since.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::blanked;
use crate::exchange::holdings::Sent;
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::time;
use crate::policy::access::Interaction;
use crate::policy::audit;
use crate::store::{AuditPlan, Erasure, PatientKey};

/// Records of the audit that are looked at together.
const PAGE: usize = 200;

/// What stays, and why.
const KEPT: [(&str, &str); 4] = [
    (
        "records of the audit, without what they were about",
        "who acted when has to be accounted for (GDPR Art. 5(2), 17(3)(b) and (e))",
    ),
    ("entries of the transparency log", "they are salted hashes whose salts are gone, and hold up what others prove"),
    ("a keyed hash of the person's id", "so that nothing of the person is taken in again by accident"),
    ("counts of a client's records by day", "they tell of no person"),
];

/// What stays besides where destinations are told.
const UNTIL_TOLD: (&str, &str) = (
    "names of what destinations hold, until these were told",
    "without them it could not be taken back there (GDPR Art. 17(2), 19)",
);

/// What stays besides where groups are damaged, and how many are.
const IN_DAMAGED_GROUPS: (&str, &str) = (
    "her place in groups that are damaged, if she has one there",
    "what is damaged can be neither read nor changed; the operator finds it by `doctor`",
);

fn kept((what, why): (&str, &str)) -> Value {
    json!({"what": what, "why": why})
}

impl Gateway {
    /// Erases the person, and answers with the receipt.
    pub async fn erase(&self, caller: &Caller<'_>, person: &str) -> Result<Value, Refusal> {
        let key = self.patient_key(person);
        let mut erasure = self.store.erasure(key).await?.filter(|erasure| erasure.owner == caller.principal.client);
        if erasure.is_none() {
            let person = self.herself(caller, person, Interaction::Delete).await?;
            let given = self.given_by(person.key).await?;
            let begun = self.entombed(caller, person.key).await?;
            self.consents_stale(key);
            self.lookups.forget(key);
            for (linker, tokens) in given {
                self.give_back(&linker, &tokens).await;
            }
            erasure = Some(begun);
        }
        let Some(erasure) = erasure else { return Err(Refusal::one(Id::Internal, "", "The erasure has no outcome.")) };
        let at_ms = erasure.at_ms;
        self.forget_who_named(person).await?;
        let mut receipt = self.go_on_erasing(erasure).await?;
        self.tell_who_was_told(key, &mut receipt).await?;
        // Her id is nowhere kept, so that it is put in, and signed, for whoever names it.
        let signed = self.receipt("erasure", person, at_ms, &receipt)?;
        receipt["person"] = format!("Patient/{person}").into();
        receipt["signed"] = signed.into();
        Ok(receipt)
    }

    /// Takes away what clients keep here that names her by her id: subscriptions and exports that ask about her. There is
    /// nothing left that they could be told. Later her id is not known any more.
    async fn forget_who_named(&self, person: &str) -> Result<(), Refusal> {
        for subscription in self.store.subscriptions().await? {
            if String::from_utf8_lossy(&subscription.body).contains(person) {
                let author = Author::itself(self);
                let record =
                    author.record(Act::Delete, None, &[format!("Subscription/{}", subscription.id)], None, &[]);
                self.store.remove_subscription(&subscription.client, &subscription.id, record).await?;
            }
        }
        self.store.forget_subscriptions_naming(person).await?;
        Ok(self.store.remove_exports_naming(person).await?)
    }

    /// Writes the tombstone.
    async fn entombed(&self, caller: &Caller<'_>, patient: PatientKey) -> Result<Erasure, Refusal> {
        let resources: serde_json::Map<String, Value> =
            self.store.census(patient).await?.into_iter().map(|(kind, count)| (kind, count.into())).collect();
        let author = Author::of(self, caller).with_query("Patient/$erase", &[blanked::promise()]);
        // The record names nobody: it is the one that stays as it is.
        let mut record = author.record(Act::Operation, None, &[], None, &[]);
        record.patient = Some(patient);
        let receipt = json!({
            "asked": time::instant(author.at_ms()),
            "article": "GDPR Art. 17",
            "erased": {
                "resources": resources,
                "besides": [
                    "earlier versions", "index", "deliveries that waited", "dead letters", "receipts of senders",
                    "uploads", "raw inputs", "answers kept for repeated requests", "membership in groups",
                    "subscriptions and exports that named her", "links to destinations",
                    "the person's key",
                ],
            },
            "kept": KEPT.map(kept),
            // Who was told is known for sure when nothing can be sent any more.
            "recipients": [],
            "record": format!("AuditEvent/{}", record.id),
        });
        let erasure = Erasure {
            patient,
            owner: caller.principal.client.clone(),
            at_ms: author.at_ms(),
            record: record.id,
            receipt: receipt.to_string().into_bytes(),
            finished: false,
        };
        if self.store.begin_erasure(erasure.clone(), record).await? {
            return Ok(erasure);
        }
        // Somebody was faster.
        let standing = self.store.erasure(patient).await?;
        standing.ok_or_else(|| Refusal::one(Id::Internal, "", "The erasure has no outcome."))
    }

    /// Puts into the receipt whoever was sent something, what was on its way when the tombstone was written included. It is kept
    /// before the records that say so lose their content.
    async fn name_recipients(&self, patient: PatientKey, receipt: &mut Value) -> Result<(), Refusal> {
        let (mut new, damaged) = self.received_by(patient).await?;
        if damaged > 0 {
            receipt["unread"] = damaged.into();
        }
        for named in receipt["recipients"].as_array().into_iter().flatten() {
            new.remove(named["destination"].as_str().unwrap_or_default());
        }
        if new.is_empty() {
            return Ok(());
        }
        for name in &new {
            let recipient = self.to_be_told(name, patient).await?;
            let until_told = kept(UNTIL_TOLD);
            if let Some(all) = receipt["kept"].as_array_mut()
                && recipient["by"] == "the gateway"
                && !all.contains(&until_told)
            {
                all.push(until_told);
            }
            if let Some(all) = receipt["recipients"].as_array_mut() {
                all.push(recipient);
            }
        }
        Ok(self.store.amend_erasure(patient, receipt.to_string().into_bytes()).await?)
    }

    /// How a destination hears of an erasure.
    async fn to_be_told(&self, name: &str, patient: PatientKey) -> Result<Value, Refusal> {
        let recipient = self.recipients.all.iter().find(|recipient| *recipient.name == *name);
        let Some((recipient, manner)) = recipient.and_then(|one| Some((one, one.on_erasure?))) else {
            tracing::warn!(destination = name, "a person was erased whose data was sent there; it is to be told");
            return Ok(json!({"destination": name, "told": false, "by": "the operator"}));
        };
        let mut told = json!({"destination": name, "told": false, "by": "the gateway", "how": manner.name()});
        if recipient.shape.is_some() {
            let known = self.store.known_as(name, patient).await?;
            let held = self.held_by(name, patient).await?;
            let unnamed = held.keys().filter(|name| !known.contains_key(*name)).count();
            if unnamed > 0 {
                tracing::warn!(destination = name, unnamed, "what it calls some of what it holds is not known");
                told["byHand"] = unnamed.into();
            }
        }
        Ok(told)
    }

    /// Destinations that give names of their own and are told of erasures by them.
    fn told_by_their_names(&self) -> Vec<Arc<str>> {
        let told = self.recipients.all.iter().filter(|one| one.shape.is_some() && one.on_erasure.is_some());
        told.map(|one| one.name.clone()).collect()
    }

    /// Puts into a receipt who has been told since it was written.
    async fn tell_who_was_told(&self, patient: PatientKey, receipt: &mut Value) -> Result<(), Refusal> {
        let remaining = self.store.remnants_of(patient).await?;
        for recipient in receipt["recipients"].as_array_mut().into_iter().flatten() {
            let name = recipient["destination"].as_str().unwrap_or_default().to_owned();
            if recipient["by"] != "the gateway" {
                continue;
            }
            match remaining.iter().find(|remaining| *remaining.destination == *name) {
                Some(remaining) if remaining.given_up > 0 => {
                    recipient["by"] = "the operator".into();
                    recipient["refused"] = remaining.given_up.into();
                }
                Some(_) => {}
                None => {
                    // What it holds under names that are not known, somebody has to tell it.
                    recipient["told"] = recipient["byHand"].is_null().into();
                    recipient["on"] = self.told_last(&name, patient).await?.into();
                }
            }
        }
        Ok(())
    }

    /// Destinations that something of the person was sent to, and how many records are damaged that may tell of others.
    async fn received_by(&self, patient: PatientKey) -> Result<(BTreeSet<String>, usize), Refusal> {
        let (mut names, mut damaged, mut after) = (BTreeSet::new(), 0, None);
        loop {
            let plan = AuditPlan { patient: Some(patient), after_seq: after, limit: PAGE, ..AuditPlan::default() };
            let rows = self.store.audit(plan).await?;
            for (_, payload) in &rows {
                let Ok(event) = serde_json::from_slice::<Value>(payload) else {
                    damaged += 1;
                    continue;
                };
                names.extend(
                    Sent::of(&event).filter(|sent| sent.act == Act::Disclose).map(|sent| sent.destination.to_owned()),
                );
            }
            match rows.last() {
                Some((seq, _)) if rows.len() == PAGE => after = Some(*seq),
                _ => return Ok((names, damaged)),
            }
        }
    }

    /// Takes away what is left, if anything is; the receipt.
    pub(super) async fn go_on_erasing(&self, erasure: Erasure) -> Result<Value, Refusal> {
        let mut receipt: Value = serde_json::from_slice(&erasure.receipt).unwrap_or_default();
        let patient = erasure.patient;
        if erasure.finished {
            if let Some(told) = groups_left(&receipt) {
                // They may have been mended since.
                let damaged = self.leave_groups(patient).await?;
                if told != damaged {
                    tell_of_groups(&mut receipt, damaged);
                    self.store.finish_erasure(patient, receipt.to_string().into_bytes()).await?;
                }
            }
            // What was written of her since, by acts that were under way or by whoever named her again.
            self.redact(patient).await?;
            return Ok(receipt);
        }
        self.name_recipients(patient, &mut receipt).await?;
        while self.store.forget_names(patient, self.told_by_their_names()).await? {}
        while self.store.erase_step(patient).await? {}
        let mut from = Some(0);
        while let Some(position) = from {
            from = self.store.erase_feed(patient, position).await?;
        }
        tell_of_groups(&mut receipt, self.leave_groups(patient).await?);
        self.redact(patient).await?;
        self.consents_stale(patient);
        receipt["finished"] = time::instant(self.now_ms()).into();
        if let Some(logged) = self.store.logged(patient, erasure.record, "").await? {
            receipt["proof"] = self.proof_of(logged).await?.into();
        }
        self.store.finish_erasure(patient, receipt.to_string().into_bytes()).await?;
        Ok(receipt)
    }

    /// Takes the content out of what the audit has about an erased person.
    pub(super) async fn redact(&self, patient: PatientKey) -> Result<(), Refusal> {
        let mut after = 0;
        loop {
            let rows = self.store.audit_unredacted(patient, after, PAGE).await?;
            let Some((last, ..)) = rows.last() else { return Ok(()) };
            after = *last;
            let redacted: Vec<(u64, Vec<u8>)> =
                rows.iter().map(|(seq, _, payload)| (*seq, audit::redacted(payload))).collect();
            let events = rows.iter().map(|(.., payload)| serde_json::from_slice::<Value>(payload).unwrap_or_default());
            let held = events.flat_map(|event| self.remnants(patient, &event)).collect();
            let entries =
                rows.iter().zip(&redacted).filter_map(|((_, entry, _), (_, left))| Some((entry.as_ref()?, left)));
            let said = blanked::named(entries.map(|(entry, left)| (*entry, left.as_slice())));
            let record = Author::itself(self).with_query(blanked::OPERATION, &said);
            let record = record.record(Act::Operation, None, &[], None, &[]);
            self.store.redact_audit(redacted, held, Some(record)).await?;
        }
    }
}

/// In how many damaged groups she may still stand, by the receipt; none where she can stand in none.
fn groups_left(receipt: &Value) -> Option<usize> {
    let mut kept = receipt["kept"].as_array()?.iter();
    let left = kept.find(|kept| kept["what"] == IN_DAMAGED_GROUPS.0)?;
    left["count"].as_u64().and_then(|count| usize::try_from(count).ok())
}

fn tell_of_groups(receipt: &mut Value, damaged: usize) {
    let Some(all) = receipt["kept"].as_array_mut() else { return };
    all.retain(|kept| kept["what"] != IN_DAMAGED_GROUPS.0);
    if damaged > 0 {
        let mut left = kept(IN_DAMAGED_GROUPS);
        left["count"] = damaged.into();
        all.push(left);
    }
}
