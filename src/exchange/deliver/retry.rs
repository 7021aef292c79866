//! What failed before: the oldest of each patient, again, until it arrives, is withheld, or is given up.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::recall::is_review;
use super::{RESTRICTED, RESTRICTED_MS, Worker};
use crate::fhir::outcome::Id;
use crate::policy::delivery;
use crate::store::{self, AuditRecord, Retry, Settlement, SettlementOutcome, Task};

impl Worker {
    /// Tries what is due; answers how many rows were settled.
    pub(super) async fn retries(self: &Arc<Self>, now_ms: i64, width: usize) -> Result<usize, store::Error> {
        let due = self.gateway.store.retries_due(&self.name, now_ms, width).await?;
        let mut attempts = JoinSet::new();
        for retry in due {
            let worker = self.clone();
            attempts.spawn(async move { worker.again(retry).await });
        }
        let mut settled = Vec::new();
        let mut audit = Vec::new();
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(attempt) => {
                    let (settlement, records) = attempt?;
                    settled.push(settlement);
                    audit.extend(records);
                }
                Err(error) => tracing::error!(destination = &*self.name, %error, "a delivery task ended early"),
            }
        }
        let count = settled.len();
        if count > 0 {
            self.gateway.store.settle(&self.name, settled, audit).await?;
        }
        Ok(count)
    }

    async fn again(&self, retry: Retry) -> Result<(Settlement, Vec<AuditRecord>), store::Error> {
        let settled = |outcome| Settlement { id: retry.id, outcome };
        if is_review(&retry.stored) {
            return self.review(&retry).await;
        }
        let judged = self.judge(vec![retry.stored.clone()]).await?;
        if !judged.restricted.is_empty() {
            // It was told when it was kept back first, and no attempt was made that would count.
            let first = if retry.reason == RESTRICTED { Vec::new() } else { judged.audit };
            let not_before_ms = self.gateway.now_ms() + RESTRICTED_MS;
            let again =
                SettlementOutcome::Again { not_before_ms, attempts: retry.attempts, reason: RESTRICTED.to_owned() };
            return Ok((settled(again), first));
        }
        let mut audit = judged.audit;
        if judged.permitted.is_empty() {
            return Ok((settled(SettlementOutcome::Done), audit));
        }
        let attempts = retry.attempts + 1;
        let foretold = self.disclosed(&judged.permitted, &[Id::EntryFailed]);
        self.gateway.store.foretell(&self.name, Task::Retry(retry.id), foretold).await?;
        let verdict = self.send(&judged.permitted).await?;
        let has_left = verdict.has_left();
        let now_ms = self.gateway.now_ms();
        let outcome = match delivery::settle(verdict, &self.schedule, attempts, now_ms, self.random()) {
            delivery::Settlement::Done => SettlementOutcome::Done,
            delivery::Settlement::Again { at_ms, reason } => {
                SettlementOutcome::Again { not_before_ms: at_ms, attempts, reason }
            }
            delivery::Settlement::Dead { reason } => {
                self.given_up(&reason);
                SettlementOutcome::Dead { reason }
            }
        };
        // Whether it arrived is unknown each time that nobody has acknowledged it.
        if has_left {
            let arrived = matches!(outcome, SettlementOutcome::Done);
            audit.extend(self.disclosed(&judged.permitted, if arrived { &[] } else { &[Id::EntryFailed] }));
        }
        Ok((settled(outcome), audit))
    }
}
