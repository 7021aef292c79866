//! Country packs while the gateway serves: what changes in their folders, or on SIGHUP, takes the place of what was there, if
//! it is sound; what is not is told and changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::assemble;
use crate::config::Config;
use crate::exchange::Gateway;

/// Files with what tells that they were written.
type Seen = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// How long nobody asks where the folders are not to be looked at.
const NEVER: Duration = Duration::from_hours(24);

/// Looks at the folders until told to stop.
pub(super) async fn run(config: Config, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "packs are not loaded anew on SIGHUP");
            return;
        }
    };
    let pause = match config.packs.watch_seconds {
        0 => NEVER,
        seconds => Duration::from_secs(seconds),
    };
    let (mut loaded, mut before) = (seen(&config), None);
    while !*stop.borrow() {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = sleep_until(Instant::now() + pause) => false,
            _ = stop.changed() => continue,
        };
        let now = seen(&config);
        // Whoever is still writing is not disturbed: what is loaded stood still from one look to the next.
        let settled = before.as_ref() == Some(&now);
        if asked || (settled && now != loaded) {
            load(&config, &gateway);
            loaded.clone_from(&now);
        }
        before = Some(now);
    }
}

fn seen(config: &Config) -> Seen {
    let mut seen = Seen::new();
    for folder in assemble::pack_folders(config) {
        let Ok(listing) = std::fs::read_dir(folder) else { continue };
        seen.extend(listing.flatten().filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((entry.path(), about.len(), about.modified().ok()))
        }));
    }
    seen.sort();
    seen
}

fn load(config: &Config, gateway: &Gateway) {
    let shapes = match assemble::shapes(config) {
        Ok(shapes) => shapes,
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!("the packs stay as they were: {mistake}");
            }
            return;
        }
    };
    for (recipient, shape) in gateway.recipients.all.iter().zip(shapes) {
        let (Some(live), Some(shape)) = (&recipient.shape, shape) else { continue };
        if live.now().pack.digest != shape.pack.digest {
            let (destination, pack) = (&*recipient.name, shape.pack.name());
            tracing::info!(destination, pack, "told by a new version from now on");
            live.replace(shape);
        }
    }
}
