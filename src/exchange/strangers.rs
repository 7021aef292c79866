//! Refusals of those who did not prove who they are: told in the audit within a bound, so that nobody can fill the disk.
//!
//! What the bound leaves out is counted, and the count is told later. A stranger's answer does not depend on whether it
//! could be told.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;

use super::Gateway;
use super::trail::Author;
use crate::fhir::outcome::Id;
use crate::policy::audit::{Merged, Told};
use crate::store::AuditRecord;

/// How often is looked whether a count may be told.
const LOOK: Duration = Duration::from_mins(1);

impl Gateway {
    /// Tells of a stranger's refusal, or counts it.
    pub async fn refused_stranger(&self, request_id: &str, issues: &[Id]) {
        let now_ms = self.now_ms();
        let told = self.strangers.lock().unwrap_or_else(PoisonError::into_inner).refuse(now_ms);
        let Told::Alone { before } = told else { return };
        let author = Author::stranger(self, request_id);
        let mut records: Vec<AuditRecord> = before.map(|merged| author.merged(merged)).into_iter().collect();
        records.push(author.refusal(issues));
        let itself = Merged { count: 1 + before.map_or(0, |merged| merged.count), since_ms: now_ms };
        let since_ms = before.map_or(now_ms, |merged| merged.since_ms);
        self.tell(records, Merged { since_ms, ..itself }).await;
    }

    /// Tells how many strangers were refused without being told of, if that may be told by now.
    async fn tell_of_strangers(&self) {
        let due = self.strangers.lock().unwrap_or_else(PoisonError::into_inner).due(self.now_ms());
        if let Some(merged) = due {
            self.tell(vec![Author::stranger(self, "").merged(merged)], merged).await;
        }
    }

    /// The same at the end, whether it may be told or not.
    pub async fn tell_of_last_strangers(&self) {
        let rest = self.strangers.lock().unwrap_or_else(PoisonError::into_inner).rest();
        if let Some(merged) = rest {
            self.tell(vec![Author::stranger(self, "").merged(merged)], merged).await;
        }
    }

    async fn tell(&self, records: Vec<AuditRecord>, told: Merged) {
        if let Err(error) = self.store.record_audit(records).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "refusals of strangers could not be told");
            self.strangers.lock().unwrap_or_else(PoisonError::into_inner).put_back(told);
        }
    }
}

/// Tells of strangers after a flood has ended, until told to stop.
pub async fn watch(gateway: std::sync::Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => gateway.tell_of_strangers().await,
            _ = stop.changed() => {}
        }
    }
}
