//! `health`: whether the gateway that runs on this configuration is ready. For container health checks, because a
//! small image has no HTTP client of its own.
//!
//! It asks the way a client would, by the public name and over TLS, but on this machine: the name is not looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client, Url};

use super::{Source, assemble, runtime};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// Another gateway's health address, e.g. https://gateway.example/health/ready.
    #[arg(long)]
    url: Option<Url>,
    /// Certificate (PEM) to trust besides the system's and the gateway's own.
    #[arg(long)]
    cacert: Option<PathBuf>,
    /// Longest time to wait for the answer.
    #[arg(long, default_value_t = 4)]
    timeout_seconds: u64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let (http, url) = prepared(options, &config)?;
    let (status, text) = runtime()?.block_on(async {
        let response = http.get(url.clone()).send().await.with_context(|| format!("asking {url}"))?;
        anyhow::Ok((response.status(), response.text().await?))
    })?;
    println!("{text}");
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn prepared(options: &Options, config: &Config) -> anyhow::Result<(Client, Url)> {
    let own =
        config.tls.as_ref().map_or_else(|| config.data.join("tls-certificate.pem"), |tls| tls.certificate.clone());
    let mut trusted = Vec::new();
    // Its own certificate may be out of reach when another gateway is asked.
    let files = options.cacert.iter().chain((options.url.is_none() && own.exists()).then_some(&own));
    for file in files {
        let pem = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        trusted.extend(Certificate::from_pem_bundle(&pem).with_context(|| format!("reading {}", file.display()))?);
    }
    let mut builder = Client::builder()
        .timeout(Duration::from_secs(options.timeout_seconds))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_merge(trusted);
    let url = if let Some(url) = &options.url {
        url.clone()
    } else {
        let mut url = Url::parse(&config.base_url)?;
        url.set_path("/health/ready");
        let here = reachable(config.listen);
        if let Some(name) = url.domain() {
            builder = builder.resolve(name, here);
        }
        // The public address may have a port that a proxy or a container maps to ours.
        url.set_port(Some(here.port())).ok().context("the base address takes no port")?;
        url
    };
    Ok((builder.build()?, url))
}

/// Where a socket that listens on this address is reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
