//! What a destination may hold no longer: it is told so, in the person's order, until it says that it was told.
//!
//! A consent that changes goes into the feed; met there, it becomes a row of the person's lane, behind what waits and before
//! what comes later. At its turn the consents are asked again for everything that the destination holds, and what they
//! refuse now is taken back. So what was permitted again in between stays, and what a later version put there goes with it.
//! Of a person who was erased names alone are left (`Remnant`); nothing else of hers is sent any more, so that these need
//! no order.

use std::collections::BTreeMap;

use super::{LEASE_MS, Worker};
use crate::exchange::consents::Page;
use crate::exchange::holdings::{Holding, Holdings};
use crate::exchange::pairwise::Pairwise;
use crate::exchange::recipients::{Asking, decided, nothing_at_all};
use crate::exchange::trail::{Act, Author};
use crate::fhir::outcome::Id;
use crate::peers::{Manner, Recall, Taken};
use crate::policy::consent::{Basis, Denial};
use crate::policy::delivery;
use crate::store::{self, AuditRecord, KnownAs, PatientKey, Retry, Settlement, SettlementOutcome, Stored};

/// Resources that are told between two looks at the clock, and of which one record tells.
const AT_ONCE: usize = 64;

/// Versions that are read from the store together.
const READ_AT_ONCE: usize = 500;

/// Persons whose consents change by time alone that are looked at in one round.
const TURNS: usize = 64;

/// Why something cannot be taken back: its answer was lost, or there was none that named it.
const UNNAMED: &str = "the name that the destination gave it is not known; it is to be told by hand";

/// Whether a row of a lane is no delivery: consents are never delivered, so that one there stands for what it changed.
pub(super) fn is_review(stored: &Stored) -> bool {
    &*stored.kind == "Consent"
}

/// What a destination holds against the person's will.
struct Forbidden {
    /// Type and id here.
    name: (String, String),
    /// The same with the version.
    reference: String,
    /// One for each name that it has there; none where these are not known.
    recalls: Vec<Recall>,
    basis: Option<Basis>,
}

/// What was told of some resources: which, by what consent.
#[derive(Default)]
struct Told(Vec<(Option<Basis>, Vec<String>)>);

impl Told {
    fn add(&mut self, basis: Option<Basis>, reference: String) {
        match self.0.iter_mut().find(|(known, _)| *known == basis) {
            Some((_, references)) => references.push(reference),
            None => self.0.push((basis, vec![reference])),
        }
    }

    fn records(self, author: &Author, patient: &(String, PatientKey), issues: &[Id]) -> Vec<AuditRecord> {
        let record = |(basis, references): (Option<Basis>, Vec<String>)| {
            author.record(Act::Recall, Some(patient), &references, basis.as_ref(), issues)
        };
        self.0.into_iter().map(record).collect()
    }
}

impl Worker {
    /// Puts into the feed whose consents have come to an end by themselves.
    pub(super) async fn turns(&self, now_ms: i64) -> Result<(), store::Error> {
        if self.on_withdrawal.is_none() {
            return Ok(());
        }
        for patient in self.gateway.store.turns_due(now_ms, TURNS).await? {
            self.gateway.store.take_turn(patient, now_ms).await?;
        }
        Ok(())
    }

    /// Looks at what the destination holds of a person whose consents have changed, and takes back what it may not hold.
    pub(super) async fn review(&self, retry: &Retry) -> Result<(Settlement, Vec<AuditRecord>), store::Error> {
        let settled = |outcome| Settlement { id: retry.id, outcome };
        let (Some(patient), Some(manner)) = (retry.stored.patient, self.on_withdrawal) else {
            return Ok((settled(SettlementOutcome::Done), Vec::new()));
        };
        let page = self.gateway.consents_now(patient).await?;
        if page.erased {
            return Ok((settled(SettlementOutcome::Done), Vec::new()));
        }
        let named = (Author::patient_of(&retry.stored), patient);
        let forbidden = self.forbidden(&named, &page).await?;
        let deadline_ms = self.gateway.now_ms() + LEASE_MS / 2;
        let mut untold = None;
        let mut failed = Told::default();
        for some in forbidden.chunks(AT_ONCE) {
            let mut told = Told::default();
            let mut names = Vec::new();
            let mut trouble = None;
            for one in some {
                let verdict = self.take_all_back(&one.recalls, manner, patient).await?;
                let attempts = retry.attempts + 1;
                match delivery::settle(verdict, &self.schedule, attempts, self.gateway.now_ms(), self.random()) {
                    delivery::Settlement::Done => {
                        told.add(one.basis.clone(), one.reference.clone());
                        names.push(one.name.clone());
                    }
                    delivery::Settlement::Again { at_ms, reason } => {
                        trouble = Some(SettlementOutcome::Again { not_before_ms: at_ms, attempts, reason });
                        break;
                    }
                    delivery::Settlement::Dead { reason } => {
                        failed.add(one.basis.clone(), one.reference.clone());
                        untold.get_or_insert(reason);
                    }
                }
            }
            // What was told is on record at once, so that it is not told again.
            let records = told.records(&self.author(String::new()), &named, &[]);
            if !records.is_empty() {
                self.gateway.store.taken_back(&self.name, patient, names, records).await?;
            }
            let now_ms = self.gateway.now_ms();
            let outcome = trouble.or_else(|| {
                let (attempts, reason) = (retry.attempts, "it is still being told".to_owned());
                let late = now_ms > deadline_ms || self.is_stopping();
                late.then_some(SettlementOutcome::Again { not_before_ms: now_ms, attempts, reason })
            });
            if let Some(outcome) = outcome {
                return Ok((settled(outcome), Vec::new()));
            }
        }
        let next_ms = page.consents.iter().filter_map(|consent| consent.next_bound(self.gateway.now_ms())).min();
        self.gateway.store.set_turn(patient, next_ms).await?;
        Ok(match untold {
            None => (settled(SettlementOutcome::Done), Vec::new()),
            Some(reason) => {
                self.given_up(&reason);
                let records = failed.records(&self.author(String::new()), &named, &[Id::RecipientUntold]);
                (settled(SettlementOutcome::Dead { reason }), records)
            }
        })
    }

    /// What the destination holds of the person and consents refuse it now.
    async fn forbidden(&self, patient: &(String, PatientKey), page: &Page) -> Result<Vec<Forbidden>, store::Error> {
        let held = self.gateway.held_by(&self.name, patient.1).await?;
        let known = match self.shape() {
            Some(_) => Some(self.gateway.store.known_as(&self.name, patient.1).await?),
            None => None,
        };
        let known = known.as_ref();
        let asking = Asking { actor: &self.actor, purpose: &self.purpose };
        let mut forbidden = Vec::new();
        let all: Vec<((String, String), Holding)> = held.into_iter().collect();
        for some in all.chunks(READ_AT_ONCE) {
            let versions = some.iter().map(|((kind, id), holding)| (kind.clone(), id.clone(), holding.version));
            let mut gone: Holdings = some.iter().cloned().collect();
            for stored in self.gateway.store.versions(versions.collect()).await?.rows {
                let name = (stored.kind.to_string(), stored.logical_id());
                let Some(holding) = gone.remove(&name) else { continue };
                if let Some(Err(denial)) = decided(&self.gateway, &page.consents, asking, stored) {
                    forbidden.push(self.refused(name, &holding, denial, known));
                }
            }
            // What is kept here no longer, or is damaged, cannot be asked about; it may be held as long as anything may.
            if !gone.is_empty()
                && let Some(denial) = nothing_at_all(&self.gateway, &page.consents, asking, &patient.0)
            {
                let of_gone =
                    |(name, holding): ((String, String), Holding)| self.refused(name, &holding, denial.clone(), known);
                forbidden.extend(gone.into_iter().map(of_gone));
            }
        }
        Ok(forbidden)
    }

    fn refused(
        &self,
        name: (String, String),
        holding: &Holding,
        denial: Denial,
        known: Option<&BTreeMap<(String, String), KnownAs>>,
    ) -> Forbidden {
        let (kind, id) = &name;
        let reference = format!("{kind}/{id}/_history/{}", holding.version);
        let recalls = if let Some(known) = known {
            let names = known.get(&name).map(|known| known.names.as_slice()).unwrap_or_default();
            let named = names.iter().filter_map(|name| name.split_once('/'));
            named.map(|(kind, id)| Recall::of_denied(&denial, kind, id)).collect()
        } else {
            let pairwise = Pairwise::of(&self.gateway.pseudonym_secret, &self.name);
            vec![Recall::of_denied(&denial, kind, &pairwise.known_as(kind, id.clone(), holding.pseudonym))]
        };
        Forbidden { reference, recalls, basis: denial.basis, name }
    }

    /// Takes back all that something became there.
    pub(super) async fn take_all_back(
        &self,
        recalls: &[Recall],
        manner: Manner,
        patient: PatientKey,
    ) -> Result<delivery::Verdict, store::Error> {
        if recalls.is_empty() {
            return Ok(delivery::Verdict::Rejected { reason: UNNAMED.to_owned() });
        }
        for recall in recalls {
            let verdict = self.take_back(recall.clone(), manner, Some(patient)).await?;
            if verdict != delivery::Verdict::Acknowledged {
                return Ok(verdict);
            }
        }
        Ok(delivery::Verdict::Acknowledged)
    }

    async fn take_back(
        &self,
        recall: Recall,
        manner: Manner,
        patient: Option<PatientKey>,
    ) -> Result<delivery::Verdict, store::Error> {
        let access = match self.allowed(patient).await? {
            Ok(access) => access,
            Err(verdict) => return Ok(verdict),
        };
        let request_id = format!("{:016x}", self.random());
        let trace = self.trace(&request_id);
        let taken = Taken { recall, manner, request_id, access, trace };
        self.turn().await;
        let verdict = self.platform.recall(&taken).await;
        self.heard(&verdict);
        self.gateway.link_used(&self.name, patient, taken.access.as_ref()).await?;
        Ok(verdict)
    }

    /// Tells what of erased persons is still to be told; answers how much of it was settled.
    pub(super) async fn forgotten(&self, now_ms: i64, probing: bool) -> Result<usize, store::Error> {
        let Some(manner) = self.on_erasure else { return Ok(0) };
        let most = if probing { 1 } else { AT_ONCE };
        let due = self.gateway.store.remnants_due(&self.name, now_ms, most).await?;
        let (mut settled, mut told, mut untold) = (Vec::new(), Vec::new(), Vec::new());
        for store::Untold { id, attempts, remnant } in due {
            let verdict = self.take_back(Recall::of_erased(&remnant.kind, &remnant.name), manner, None).await?;
            let attempts = attempts + 1;
            let trouble = !verdict.is_alive();
            let outcome =
                match delivery::settle(verdict, &self.schedule, attempts, self.gateway.now_ms(), self.random()) {
                    delivery::Settlement::Done => {
                        told.push(remnant.patient);
                        SettlementOutcome::Done
                    }
                    delivery::Settlement::Again { at_ms, reason } => {
                        SettlementOutcome::Again { not_before_ms: at_ms, attempts, reason }
                    }
                    delivery::Settlement::Dead { reason } => {
                        untold.push(remnant.patient);
                        self.given_up(&reason);
                        SettlementOutcome::Dead { reason }
                    }
                };
            settled.push(Settlement { id, outcome });
            if trouble {
                break;
            }
        }
        let count = settled.len();
        if count > 0 {
            let mut records = self.of_nobody(told, &[]);
            records.extend(self.of_nobody(untold, &[Id::RecipientUntold]));
            self.gateway.store.settle_remnants(&self.name, settled, records).await?;
        }
        Ok(count)
    }

    /// A record for each person, which names nobody: that and when she was told of is all that is left to tell.
    fn of_nobody(&self, mut patients: Vec<PatientKey>, issues: &[Id]) -> Vec<AuditRecord> {
        patients.sort_unstable();
        patients.dedup();
        let author = self.author(String::new());
        let record =
            |patient| AuditRecord { patient: Some(patient), ..author.record(Act::Recall, None, &[], None, issues) };
        patients.into_iter().map(record).collect()
    }
}
