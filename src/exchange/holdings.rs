//! What destinations hold of a person, as far as the audit tells: what was disclosed to each and not taken back since.
//!
//! That something was delivered costs no row, so that the records of it are all there is. They reach back as far as the
//! audit is kept.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Gateway;
use super::pairwise::Pairwise;
use super::recipients::Recipient;
use super::trail::Act;
use crate::fhir::outcome::Id;
use crate::policy::audit;
use crate::store::{self, AuditPlan, PatientKey, Remnant};

/// Records of the audit that are looked at together.
const PAGE: usize = 200;

/// Pages of the latest records that are looked through for something that is only shown.
const LATEST: usize = 10;

/// Whether a destination has what it was sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Certainty {
    /// It said that it would not take it.
    Refused,
    /// Nobody has said.
    Open,
    /// It said that it has it.
    Sure,
}

/// A version that a destination was sent last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Holding {
    pub version: u32,
    /// Whether it has that version, or an earlier one.
    pub certainty: Certainty,
    /// Whether it was sent under a name of the destination's own.
    pub pseudonym: bool,
}

/// What a destination holds, by type and id here.
pub(super) type Holdings = BTreeMap<(String, String), Holding>;

/// What a record says that a destination was sent, or has to hold no longer.
pub(super) struct Sent<'e> {
    pub destination: &'e str,
    pub act: Act,
    /// Whether it came about for sure.
    pub done: bool,
    event: &'e Value,
}

impl<'e> Sent<'e> {
    /// None of a record of something else.
    pub fn of(event: &'e Value) -> Option<Sent<'e>> {
        let act = match event["subtype"][0]["code"].as_str()? {
            "disclose" => Act::Disclose,
            "destroy" => Act::Recall,
            _ => return None,
        };
        let destination = event["agent"][0]["who"]["identifier"]["value"].as_str()?;
        Some(Sent { destination, act, done: event["outcome"] == "0", event })
    }

    fn certainty(&self) -> Certainty {
        let issues = self.event["outcomeDesc"].as_str().unwrap_or_default();
        match () {
            () if self.done => Certainty::Sure,
            () if issues.split(' ').any(|issue| issue == Id::DestinationContent.code()) => Certainty::Refused,
            () => Certainty::Open,
        }
    }

    /// Type, id and what is held of each resource.
    fn resources(&self) -> impl Iterator<Item = ((String, String), Holding)> {
        let entities = self.event["entity"].as_array().into_iter().flatten();
        entities.filter(|entity| entity["role"]["code"] == "4").filter_map(|entity| {
            let (kind, id, version) = versioned(entity["what"]["reference"].as_str()?)?;
            let pseudonym = entity["securityLabel"][0]["code"] == audit::PSEUDONYM.1;
            Some(((kind, id), Holding { version, certainty: self.certainty(), pseudonym }))
        })
    }
}

impl Gateway {
    /// What a destination holds of a person.
    pub(super) async fn held_by(&self, destination: &str, patient: PatientKey) -> Result<Holdings, store::Error> {
        let mut held = Holdings::new();
        let mut after = None;
        loop {
            let plan = AuditPlan {
                patient: Some(patient),
                client: Some(destination.to_owned()),
                after_seq: after,
                limit: PAGE,
                ..AuditPlan::default()
            };
            let rows = self.store.audit(plan).await?;
            for (_, payload) in &rows {
                let event: Value = serde_json::from_slice(payload).unwrap_or_default();
                let Some(sent) = Sent::of(&event) else { continue };
                match sent.act {
                    Act::Recall if sent.done => {
                        for (name, _) in sent.resources() {
                            held.remove(&name);
                        }
                    }
                    Act::Recall => {}
                    _ => {
                        for (name, mut holding) in sent.resources() {
                            let before = held.get(&name).map(|before| before.certainty);
                            holding.certainty = holding.certainty.max(before.unwrap_or(holding.certainty));
                            held.insert(name, holding);
                        }
                    }
                }
            }
            match rows.last() {
                Some((seq, _)) if rows.len() == PAGE => after = Some(*seq),
                _ => return Ok(held),
            }
        }
    }

    /// When a destination was last told that it may hold something of the person no longer, as far as its latest records
    /// tell.
    pub(super) async fn told_last(
        &self,
        destination: &str,
        patient: PatientKey,
    ) -> Result<Option<String>, store::Error> {
        let mut before = None;
        for _ in 0..LATEST {
            let plan = AuditPlan {
                patient: Some(patient),
                client: Some(destination.to_owned()),
                after_seq: before,
                limit: PAGE,
                descending: true,
                ..AuditPlan::default()
            };
            let rows = self.store.audit(plan).await?;
            for (_, payload) in &rows {
                let event: Value = serde_json::from_slice(payload).unwrap_or_default();
                if Sent::of(&event).is_some_and(|sent| sent.act == Act::Recall && sent.done) {
                    return Ok(event["recorded"].as_str().map(str::to_owned));
                }
            }
            match rows.last() {
                Some((seq, _)) if rows.len() == PAGE => before = Some(*seq),
                _ => break,
            }
        }
        Ok(None)
    }

    /// The names by which destinations that are told of erasures hold what a record says that they were sent. To make them
    /// takes nothing that is shredded with the person's key.
    pub(super) fn remnants(&self, patient: PatientKey, event: &Value) -> Vec<Remnant> {
        let Some(sent) = Sent::of(event).filter(|sent| sent.act == Act::Disclose) else { return Vec::new() };
        // Whoever gives names of its own is told by these, and they are kept apart.
        let told = |recipient: &&Recipient| {
            *recipient.name == *sent.destination && recipient.on_erasure.is_some() && recipient.shape.is_none()
        };
        let Some(recipient) = self.recipients.all.iter().find(told) else { return Vec::new() };
        let pairwise = Pairwise::of(&self.pseudonym_secret, &recipient.name);
        let remnant = |((kind, id), holding): ((String, String), Holding)| Remnant {
            destination: recipient.name.clone(),
            patient,
            name: pairwise.known_as(&kind, id, holding.pseudonym),
            kind,
        };
        sent.resources().map(remnant).collect()
    }
}

/// `Type/id/_history/version` in its parts.
pub(super) fn versioned(reference: &str) -> Option<(String, String, u32)> {
    let mut parts = reference.split('/');
    let (kind, id) = (parts.next()?, parts.next()?);
    let version = parts.nth(1)?.parse().ok()?;
    Some((kind.to_owned(), id.to_owned(), version))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_has_three_parts() {
        let parts = |kind: &str, id: &str, version| Some((kind.to_owned(), id.to_owned(), version));
        for (reference, expected) in [
            ("Observation/1/_history/2", parts("Observation", "1", 2)),
            ("Observation/1", None),
            ("Observation/1/_history/x", None),
            ("", None),
        ] {
            assert_eq!(versioned(reference), expected, "{reference}");
        }
    }

    #[test]
    fn a_record_tells_what_was_sent_and_what_taken_back() {
        let entity = |reference: &str, role: &str| json!({"what": {"reference": reference}, "role": {"code": role}});
        let event = |code: &str| {
            json!({
                "subtype": [{"code": code}], "outcome": "4",
                "agent": [{"who": {"identifier": {"value": "north"}}}],
                "entity": [entity("Observation/1/_history/2", "4"), entity("Patient/p", "1")],
            })
        };
        let (open, refused) = ("entry-failed", "destination-content");
        for (code, issue, act, certainty) in [
            ("disclose", open, Some(Act::Disclose), Certainty::Open),
            ("disclose", refused, Some(Act::Disclose), Certainty::Refused),
            ("destroy", open, Some(Act::Recall), Certainty::Open),
            ("read", open, None, Certainty::Open),
        ] {
            let mut event = event(code);
            event["outcomeDesc"] = json!(issue);
            let sent = Sent::of(&event);
            assert_eq!(sent.as_ref().map(|sent| sent.act), act);
            let Some(sent) = sent else { continue };
            assert_eq!((sent.destination, sent.done), ("north", false));
            let resources: Vec<_> = sent.resources().collect();
            let holding = Holding { version: 2, certainty, pseudonym: false };
            assert_eq!(resources, [(("Observation".to_owned(), "1".to_owned()), holding)]);
        }
    }
}
