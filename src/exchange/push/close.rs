//! Stretches of samples for which nothing more is expected become final, by the gateway's own doing.
//!
//! What is due stands in the store, so that a restart forgets none; each is closed in the person's turn and in one
//! transaction, and is delivered as every version is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::gather::without_role;
use super::{Refusal, overlap};
use crate::devices::series::{Status, again};
use crate::devices::sources;
use crate::exchange::Gateway;
use crate::exchange::trail::{Act, Author};
use crate::fhir::tree::{Element, hash, json};
use crate::store::{self, Finished, Stored, Unit, Write, WriteOutcome};

/// Stretches that are looked at in one go.
const PIECE: usize = 100;

/// Longest wait, since other stretches may be due by then, and how long until what failed is tried again.
const LOOK: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_secs(1);

impl Gateway {
    /// Closes what is due; how many stretches that were.
    async fn close_stretches(&self) -> Result<usize, Refusal> {
        let ripe = self.store.ripe(self.now_ms(), PIECE).await?;
        for seq in &ripe {
            let stored = match self.store.current(*seq).await {
                // What cannot be read is closed by nobody.
                Err(store::Error::Damaged) => {
                    self.store.forget_stretch(*seq).await?;
                    continue;
                }
                stored => stored?,
            };
            let Some(stored) = stored else { continue };
            let _turn = match stored.patient {
                Some(patient) => Some(self.turns.of(patient).await),
                None => None,
            };
            // It may have grown while it was waited for.
            if !self.store.ripe(self.now_ms(), PIECE).await?.contains(seq) {
                continue;
            }
            if let Some(stored) = self.store.current(*seq).await? {
                self.close_stretch(&stored).await?;
            }
        }
        Ok(ripe.len())
    }

    async fn close_stretch(&self, stored: &Stored) -> Result<(), Refusal> {
        let now_ms = self.now_ms();
        // What is no stretch any more stays as it is, and is not looked at again.
        let Some(write) = closed(stored, now_ms) else {
            return Ok(self.store.forget_stretch(stored.seq).await?);
        };
        let author = Author::itself(self);
        let patient = stored.patient.map(|key| (Author::patient_of(stored), key));
        let references = [format!("{}/{}/_history/{}", stored.kind, stored.logical_id(), write.version)];
        let finish = move |outcomes: &[WriteOutcome]| {
            let mut finished = Finished::default();
            if outcomes.contains(&WriteOutcome::Updated) {
                finished.audit.push(author.record(Act::Update, patient.as_ref(), &references, None, &[]));
            }
            finished
        };
        self.store
            .accept(Unit {
                client: stored.owner.clone(),
                idempotency: None,
                preconditions: Vec::new(),
                progress: None,
                rereading: None,
                rehearsal: false,
                writes: vec![write],
                atomic: false,
                now_ms,
                finish: Box::new(finish),
            })
            .await?;
        Ok(())
    }
}

fn closed(stored: &Stored, now_ms: i64) -> Option<Write> {
    let sent = json::parse(stored.payload.as_slice()).ok()?;
    let root = Element::root(&sent);
    (root.text_of("status") == Some(Status::Preliminary.code()) && !stored.deleted).then_some(())?;
    let secondary = sources::is_secondary(root);
    let stretch = again(&without_role(&sent)?, Status::Final).ok()?;
    let document = json::parse(stretch.text).ok()?;
    let write = overlap::later(stored, &document, secondary, now_ms);
    let content = hash::content(&document, document.root());
    Some(Write { content, says_the_same: false, ..write })
}

/// Closes stretches as they are due, until told to stop.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let wait = match gateway.close_stretches().await {
            Ok(0) => match gateway.store.next_ripe().await {
                Ok(Some(at_ms)) => {
                    Duration::from_millis(at_ms.saturating_sub(gateway.now_ms()).max(1).unsigned_abs()).min(LOOK)
                }
                Ok(None) => LOOK,
                Err(_) => AGAIN,
            },
            Ok(_) => Duration::ZERO,
            // What failed was logged where the store refused.
            Err(_) => AGAIN,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = gateway.grown.notified() => {}
            _ = stop.changed() => {}
        }
    }
}
