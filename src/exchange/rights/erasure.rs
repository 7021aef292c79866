//! `Patient/[id]/$erase`: a person is forgotten (GDPR Art. 17).
//!
//! The first transaction writes a tombstone, from which on nobody finds anything of her and nothing of her is taken in or
//! sent; what follows takes it away, in steps that the next process goes on with should this one end. What the law wants
//! kept (Art. 17(3)) stays without content: that there were acts, whose and when. Whom her data was passed on to is said in
//! the receipt, for whoever has to tell them (Art. 19). Asked again, the same receipt is given.

use std::collections::BTreeSet;

use serde_json::{Value, json};

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

impl Gateway {
    /// Erases the person, and answers with the receipt.
    pub async fn erase(&self, caller: &Caller<'_>, person: &str) -> Result<Value, Refusal> {
        let key = self.patient_key(person);
        let mut erasure = self.store.erasure(key).await?.filter(|erasure| erasure.owner == caller.principal.client);
        if erasure.is_none() {
            let person = self.herself(caller, person, Interaction::Delete).await?;
            let begun = self.entombed(caller, person.key).await?;
            self.consents_stale(key);
            erasure = Some(begun);
        }
        let Some(erasure) = erasure else { return Err(Refusal::one(Id::Internal, "", "The erasure has no outcome.")) };
        let at_ms = erasure.at_ms;
        let mut receipt = self.go_on_erasing(erasure).await?;
        // Her id is nowhere kept, so that it is put in, and signed, for whoever names it.
        let signed = self.receipt("erasure", person, at_ms, &receipt)?;
        receipt["person"] = format!("Patient/{person}").into();
        receipt["signed"] = signed.into();
        Ok(receipt)
    }

    /// Writes the tombstone.
    async fn entombed(&self, caller: &Caller<'_>, patient: PatientKey) -> Result<Erasure, Refusal> {
        let recipients = self.received_by(patient).await?;
        for name in &recipients {
            tracing::warn!(destination = name, "a person was erased whose data was sent there; it is to be told");
        }
        let resources: serde_json::Map<String, Value> =
            self.store.census(patient).await?.into_iter().map(|(kind, count)| (kind, count.into())).collect();
        let author = Author::of(self, caller).with_query("Patient/$erase", &[]);
        // The record names nobody: it is the one that stays as it is.
        let mut record = author.record(Act::Operation, None, &[], None, &[]);
        record.patient = Some(patient);
        let kept: Vec<Value> = KEPT.iter().map(|(what, why)| json!({"what": what, "why": why})).collect();
        let told = |name: &String| json!({"destination": name, "told": false, "by": "the operator"});
        let receipt = json!({
            "asked": time::instant(author.at_ms()),
            "article": "GDPR Art. 17",
            "erased": {
                "resources": resources,
                "besides": [
                    "earlier versions", "index", "deliveries that waited", "dead letters", "receipts of senders",
                    "uploads", "raw inputs", "answers kept for repeated requests", "the person's key",
                ],
            },
            "kept": kept,
            "recipients": recipients.iter().map(told).collect::<Vec<_>>(),
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

    /// Destinations that something of the person was sent to.
    async fn received_by(&self, patient: PatientKey) -> Result<BTreeSet<String>, Refusal> {
        let (mut names, mut after) = (BTreeSet::new(), None);
        loop {
            let plan = AuditPlan { patient: Some(patient), after_seq: after, limit: PAGE, ..AuditPlan::default() };
            let rows = self.store.audit(plan).await?;
            for (_, payload) in &rows {
                let event: Value = serde_json::from_slice(payload).unwrap_or_default();
                if event["subtype"][0]["code"] == "disclose"
                    && let Some(name) = event["agent"][0]["who"]["identifier"]["value"].as_str()
                {
                    names.insert(name.to_owned());
                }
            }
            match rows.last() {
                Some((seq, _)) if rows.len() == PAGE => after = Some(*seq),
                _ => return Ok(names),
            }
        }
    }

    /// Takes away what is left, if anything is; the receipt.
    pub(super) async fn go_on_erasing(&self, erasure: Erasure) -> Result<Value, Refusal> {
        let mut receipt: Value = serde_json::from_slice(&erasure.receipt).unwrap_or_default();
        let patient = erasure.patient;
        if erasure.finished {
            // What was written of her since, by acts that were under way or by whoever named her again.
            self.redact(patient).await?;
            return Ok(receipt);
        }
        while self.store.erase_step(patient).await? {}
        let mut from = Some(0);
        while let Some(position) = from {
            from = self.store.erase_feed(patient, position).await?;
        }
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
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = *last;
            let redacted = rows.iter().map(|(seq, payload)| (*seq, audit::redacted(payload))).collect();
            self.store.redact_audit(redacted).await?;
        }
    }
}
