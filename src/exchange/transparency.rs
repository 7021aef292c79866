//! The transparency log towards the world: its signed head, its tiles, and the proof that a record of the audit is in it.
//!
//! Heads, tiles and entries tell nothing of anybody, so anybody may have them, above all witnesses. A head is signed when
//! it is asked for, and only if it continues the one before.

use super::trail::{Act, Author};
use super::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json, time};
use crate::policy::access::Interaction;
use crate::store::{FiledRecord, Head, Logged, PatientKey, ResId};
use crate::tlog::{Address, Checkpoint, Content, Extra, Proof, TILE_WIDTH, Verifier};

/// A younger head is shown again, however often it is asked for.
const HEAD_MS: i64 = 1000;

impl Gateway {
    /// What heads of the log are verified by.
    pub fn log_key(&self) -> &Verifier {
        self.log_signer.verifier()
    }

    /// The signed head.
    pub async fn log_checkpoint(&self) -> Result<String, Refusal> {
        self.log_head(|head, now_ms| now_ms.abs_diff(head.at_ms) < HEAD_MS as u64).await.map(|head| head.note)
    }

    /// What lies at the address of a tile; nothing where the log has not as many entries.
    pub async fn log_tile(&self, address: Address) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(from) = address.index.checked_mul(TILE_WIDTH) else { return Ok(None) };
        Ok(match address.content {
            Content::Hashes(level) => {
                self.store.log_hashes(level, from, address.width).await?.map(|hashes| hashes.concat())
            }
            Content::Entries => {
                let entries = self.store.log_entries(from, address.width).await?;
                entries.map(|entries| entries.iter().flat_map(|entry| [&[0, 32], &entry[..]].concat()).collect())
            }
        })
    }

    /// The numbers of entries whose records are filed under something else than they say, so that who looks for them by it,
    /// as a person does in her access log, does not find them.
    pub async fn misfiled(&self) -> Result<Vec<u64>, Refusal> {
        let (mut misfiled, mut after) = (Vec::new(), 0);
        loop {
            let records = self.store.filed(after).await?;
            let Some(last) = records.last() else { return Ok(misfiled) };
            after = last.seq;
            let wrong = records.iter().filter(|record| !self.is_filed_right(record));
            misfiled.extend(wrong.map(|record| record.entry));
        }
    }

    fn is_filed_right(&self, record: &FiledRecord) -> bool {
        let Ok(document) = json::parse(record.payload.as_slice()) else { return false };
        let event = Element::root(&document);
        let persons: Vec<PatientKey> = event
            .all("entity")
            .filter_map(|entity| entity.get("what")?.text_of("reference")?.strip_prefix("Patient/").map(str::to_owned))
            .filter(|id| is_id(id))
            .map(|id| self.patient_key(&id))
            .collect();
        let party = event.all("agent").find_map(|agent| agent.get("who")?.get("identifier")?.text_of("value"));
        // An event about nobody may name a person whom somebody asked for; one about a person names that one.
        record.patient.is_none_or(|patient| persons.contains(&patient))
            && (record.patient.is_some() || persons.is_empty())
            && event.text_of("recorded") == Some(time::instant(record.at_ms).as_str())
            && event.text_of("id") == Some(record.id.to_string().as_str())
            && party.unwrap_or_default() == record.client
            && record.withheld.0 == record.withheld.1
    }

    /// The proof that a record about a person is in the log, for who may search the person's audit.
    pub async fn audit_proof(&self, caller: &Caller<'_>, id: &str, patient: &str) -> Result<String, Refusal> {
        if let Err(denied) = caller.principal.permits("AuditEvent", Interaction::Search) {
            return Err(self.refused(caller, denied.issue().into()).await);
        }
        let patient = self.local_reference(patient, "Patient").unwrap_or(patient);
        if !is_id(patient) {
            return Err(Refusal::one(Id::SearchValue, "", "The address names the person as patient=id."));
        }
        let key = self.patient_key(patient);
        let author = Author::of(self, caller);
        let logged = match ResId::parse(id) {
            Some(id) if self.is_used_by(caller, patient).await? => {
                self.store.logged(key, id, &caller.principal.client).await?
            }
            _ => None,
        };
        let Some(logged) = logged else {
            self.store.record_audit(vec![author.refusal(&[Id::NotFound])]).await?;
            return Err(Refusal::not_found().recorded());
        };
        let proof = self.proof_of(logged).await?;
        let references = [format!("AuditEvent/{id}")];
        let record = author.record(Act::Read, Some(&(patient.to_owned(), key)), &references, None, &[]);
        self.store.record_audit(vec![record]).await?;
        Ok(proof)
    }

    /// What proves that a record is in the log.
    pub(super) async fn proof_of(&self, logged: Logged) -> Result<String, Refusal> {
        let head = self.log_head(|head, _| head.size > logged.index).await?;
        let path = self.store.log_inclusion(logged.index, head.size).await?;
        let extra = Extra { salt: logged.salt, record: logged.payload };
        Ok(Proof { extra, index: logged.index, path, checkpoint: head.note }.to_string())
    }

    /// The last head if that will do, else one of the log as it stands.
    async fn log_head(&self, will_do: impl Fn(&Head, i64) -> bool) -> Result<Head, Refusal> {
        let now_ms = self.now_ms();
        let last = self.store.log_head().await?;
        let size = self.store.log_size().await?;
        if let Some(last) = last {
            self.continues(&last, size).await?;
            if last.size == size || will_do(&last, now_ms) {
                return Ok(last);
            }
        }
        let root = self.store.log_root(size).await?;
        let head = Checkpoint { origin: self.log_key().name().to_owned(), size, root };
        let head = Head { size, at_ms: now_ms, note: self.log_signer.sign(&head.text()) };
        self.store.keep_log_head(head.clone()).await?;
        Ok(head)
    }

    /// Fails where the log does not begin with what was signed: a copy of an earlier day was put back, or somebody wrote in
    /// the file. What is signed in spite of it would prove that it happened, so nothing is.
    async fn continues(&self, last: &Head, size: u64) -> Result<(), Refusal> {
        let signed = Checkpoint::parse(&last.note).ok();
        let stands = match &signed {
            Some(signed) if signed.size <= size => self.store.log_root(signed.size).await? == signed.root,
            _ => false,
        };
        if stands {
            return Ok(());
        }
        tracing::error!(signed = last.size, size, "the audit log does not continue what was signed");
        Err(Refusal::one(Id::StorageFailed, "", "The audit log does not continue what was signed."))
    }
}
