//! What operators watch: the figures as they are when somebody asks.

use std::time::Duration;

use super::Gateway;
use crate::store::Health;
use crate::telemetry::counted::Waiting;

/// How long it may take to find out how much waits. What is not found out stays as it was.
const PATIENCE: Duration = Duration::from_secs(3);

/// All states of a store.
const STATES: [&str; 6] = ["ok", "full", "failed", "stalled", "unreachable", "moved"];

impl Gateway {
    /// All figures as OpenMetrics text.
    pub async fn figures(&self) -> String {
        self.counted.store_is(state(self.store.health()), &STATES);
        self.counted.waits_unknown();
        let waiting = async {
            for recipient in &self.recipients.all {
                self.counted.knows(&recipient.name);
                match self.store.backlog(&recipient.name).await {
                    Ok(store) => {
                        let waiting = Waiting { behind: store.behind, retries: store.retries, dead: store.dead };
                        self.counted.waits(&recipient.name, waiting);
                    }
                    Err(error) => {
                        tracing::debug!(destination = &*recipient.name, %error, "what waits cannot be found out");
                    }
                }
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            tracing::warn!("it takes too long to find out how much waits for destinations");
        }
        self.counted.text()
    }
}

fn state(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Full => "full",
        Health::Poisoned => "failed",
        Health::Stalled => "stalled",
        Health::Unreachable => "unreachable",
        Health::Moved => "moved",
    }
}
