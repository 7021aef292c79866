//! What failed before: the oldest of each patient, again, until it arrives, is withheld, or is given up.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Worker;
use crate::fhir::outcome::Id;
use crate::policy::delivery;
use crate::store::{self, AuditRecord, Retry, Settlement, SettlementOutcome};

impl Worker {
    /// Tries what is due; answers how many rows were settled.
    pub(super) async fn retries(self: &Arc<Self>, due: Vec<Retry>) -> Result<usize, store::Error> {
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
        let judged = self.judge(vec![retry.stored.clone()]).await?;
        let mut audit = judged.audit;
        if judged.permitted.is_empty() {
            return Ok((settled(SettlementOutcome::Done), audit));
        }
        let attempts = retry.attempts + 1;
        let verdict = self.send(&judged.permitted).await;
        let now_ms = self.gateway.now_ms();
        let outcome = match delivery::settle(verdict, &self.schedule, attempts, now_ms, self.random()) {
            delivery::Settlement::Done => {
                audit.extend(self.disclosed(&judged.permitted, &[]));
                SettlementOutcome::Done
            }
            delivery::Settlement::Again { at_ms, reason } => {
                SettlementOutcome::Again { not_before_ms: at_ms, attempts, reason }
            }
            delivery::Settlement::Dead { reason } => {
                audit.extend(self.disclosed(&judged.permitted, &[Id::EntryFailed]));
                SettlementOutcome::Dead { reason }
            }
        };
        Ok((settled(outcome), audit))
    }
}
