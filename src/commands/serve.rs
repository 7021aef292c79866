//! `serve`: the gateway until SIGTERM or SIGINT, then an orderly end.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Source, assemble, check, reload, runtime};
use crate::config::Config;
use crate::exchange::push::close;
use crate::exchange::{Clock, Gateway, bulk, deliver, rights, strangers, subscribe, uploads};
use crate::policy::routing::{Rule, Table};
use crate::server::{figures, listen, tls};

pub(super) fn run(source: &Source) -> anyhow::Result<ExitCode> {
    let config = match check::checked(source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    for doubt in check::doubts(&config) {
        tracing::warn!("{doubt}");
    }
    runtime()?.block_on(async {
        // Listened to from the beginning, so that a signal during start-up ends in good order, too.
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let running = Running::start(&config).await?;
        eprintln!("serving {} (store in {})", config.base_url, config.data.display());
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("draining, at most {} s", config.drain.as_secs());
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// What was ever sent to a destination. A rule that this program cannot read any more says nothing.
async fn ever_sent(gateway: &Gateway, rule: &Rule) -> anyhow::Result<Table> {
    let noted = gateway.store.remember_route(&rule.name, &serde_json::to_string(rule)?).await?;
    let rules = noted.iter().filter_map(|noted| serde_json::from_str(noted).ok()).collect();
    Table::compile(rules).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))
}

/// The listener cuts requests at the drain's end by itself; whoever is not through a moment later is cut, too.
const GRACE: Duration = Duration::from_millis(500);

/// A gateway that listens and delivers.
pub struct Running {
    pub gateway: Arc<Gateway>,
    /// Where the figures are, if anybody may see them.
    pub metrics: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    drain: Duration,
}

impl Running {
    /// Listens where the configuration says.
    pub async fn start(config: &Config) -> anyhow::Result<Running> {
        let listener =
            TcpListener::bind(config.listen).await.with_context(|| format!("listening on {}", config.listen))?;
        Running::start_on(listener, config).await
    }

    /// Listens on a socket that is bound already.
    pub async fn start_on(listener: TcpListener, config: &Config) -> anyhow::Result<Running> {
        Running::start_by(listener, config, assemble::clock()).await
    }

    /// The same by a clock of somebody's own. Whoever is called is spoken to by the machine's.
    pub async fn start_by(listener: TcpListener, config: &Config, clock: Clock) -> anyhow::Result<Running> {
        let gateway = assemble::gateway(config, clock)?;
        let own = match &config.tls {
            Some(tls) => tls.clone(),
            None => tls::self_signed(&config.data)?,
        };
        let server = tls::server_config(&own)?;
        let (mut destinations, routing) = assemble::destinations(config)?;
        for (destination, configured) in destinations.iter_mut().zip(&config.destinations) {
            gateway.store.ensure_destination(&destination.name).await?;
            destination.ever = ever_sent(&gateway, &configured.rule).await?;
        }
        // What is foreseen and what is sent is told by the same version.
        for (destination, recipient) in destinations.iter_mut().zip(&gateway.recipients.all) {
            destination.shape.clone_from(&recipient.shape);
        }
        let metrics = match config.metrics {
            Some(address) => {
                let listening = || format!("listening on {address} for metrics");
                Some(TcpListener::bind(address).await.with_context(listening)?)
            }
            None => None,
        };
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for destination in destinations {
            tasks.spawn(deliver::run(gateway.clone(), destination, routing.clone(), stopped.clone()));
        }
        gateway.store.ensure_destination(subscribe::FOLLOWER).await?;
        tasks.spawn(subscribe::follow(gateway.clone(), stopped.clone()));
        tasks.spawn(subscribe::tell(gateway.clone(), stopped.clone()));
        if !config.packs.folders.is_empty() {
            tasks.spawn(reload::run(config.clone(), gateway.clone(), stopped.clone()));
        }
        tasks.spawn(uploads::run(gateway.clone(), stopped.clone()));
        tasks.spawn(bulk::run(gateway.clone(), stopped.clone()));
        tasks.spawn(close::run(gateway.clone(), stopped.clone()));
        tasks.spawn(strangers::watch(gateway.clone(), stopped.clone()));
        tasks.spawn(rights::upkeep::run(gateway.clone(), stopped.clone()));
        let shutdown = || {
            let mut asked = stopped.clone();
            async move {
                // The sender lives as long as the gateway; its loss means the same.
                let _ = asked.wait_for(|stop| *stop).await;
            }
        };
        let at = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        if let Some(metrics) = metrics {
            tasks.spawn(figures::run(metrics, gateway.clone(), shutdown()));
        }
        tasks.spawn(listen::run(listener, server, gateway.clone(), config.limits.clone(), config.drain, shutdown()));
        Ok(Running { gateway, metrics: at, stop, tasks, drain: config.drain })
    }

    /// Takes nothing new, finishes what is under way, closes the store. A delivery that takes longer than the drain is
    /// cut: it is not settled, so the next start sends it again.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain + GRACE, finished).await.is_err() {
            tracing::warn!("a delivery was still under way at the deadline");
            self.tasks.shutdown().await;
        }
        if let Some(gateway) = Arc::into_inner(self.gateway) {
            gateway.tell_of_last_strangers().await;
            gateway.store.close().await;
        }
    }
}
