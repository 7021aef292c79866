//! What goes on by itself: erasures that an earlier process did not finish, what is written of erased persons by acts that
//! were under way, the end of what is kept for a time, and gists of what an earlier version of this program stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::exchange::{Gateway, Refusal, gist};
use crate::store::Stored;

/// How often it is looked after.
const LOOK: Duration = Duration::from_hours(1);

/// Acts that were under way when a person was erased have come to their end by then, and clients have learnt of it.
const AFTERMATH_MS: i64 = 30 * 86_400_000;

/// Looks after it until told to stop.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(refusal) = gateway.finish_erasures().await {
            let issue = refusal.ids().first().map(|id| id.code());
            tracing::warn!(issue, "erasures could not be finished; it is tried again");
        }
        let retained = gateway.retain(gateway.now_ms(), || !*stop.borrow()).await;
        if let Err(refusal) = retained {
            let issue = refusal.ids().first().map(|id| id.code());
            tracing::warn!(issue, "what is old could not be taken away; it is tried again");
        }
        if let Err(refusal) = gateway.make_gists(|| !*stop.borrow()).await {
            let issue = refusal.ids().first().map(|id| id.code());
            tracing::warn!(issue, "what is stored could not be prepared for searches; it is tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Resources whose gists are made in one step.
const STEP: usize = 500;

impl Gateway {
    /// Makes the gists of resources that were stored without, as long as it may go on.
    pub async fn make_gists(&self, go_on: impl Fn() -> bool) -> Result<(), Refusal> {
        let mut after = 0;
        while go_on() {
            let (found, last) = self.store.without_gist(after, STEP).await?;
            let Some(last) = last else { return Ok(()) };
            let made = |stored: &Stored| {
                let gist = gist::of(&stored.kind, &stored.payload).unwrap_or_default();
                (stored.seq, stored.version, gist)
            };
            self.store.add_gists(found.iter().map(made).collect()).await?;
            after = last;
        }
        Ok(())
    }

    async fn finish_erasures(&self) -> Result<(), Refusal> {
        for erasure in self.store.erasures_since(self.now_ms() - AFTERMATH_MS).await? {
            self.go_on_erasing(erasure).await?;
        }
        Ok(())
    }
}
