//! `check`: what `serve` would say of its configuration, without starting anything.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use super::{EX_USAGE, Source, assemble};
use crate::config::Config;
use crate::policy::access::client::Client;
use crate::server::tls;
use crate::store::{OpenError, Store};

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(source: &Source) -> anyhow::Result<ExitCode> {
    let config = match checked(source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    for doubt in doubts(&config) {
        eprintln!("warning: {doubt}");
    }
    println!(
        "The configuration is good: {} on {}, {} destination(s).",
        config.base_url,
        config.listen,
        config.destinations.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Reads the configuration and looks at what it names; mistakes of both are printed together and become the exit code.
pub(super) fn checked(source: &Source) -> Result<Config, ExitCode> {
    let (config, mut mistakes) = assemble::drafted(source)?;
    mistakes.extend(mistaken(&config));
    if mistakes.is_empty() {
        return Ok(config);
    }
    assemble::print(&mistakes);
    Err(ExitCode::from(EX_USAGE))
}

/// What is wrong with the files and the directory that the configuration names.
fn mistaken(config: &Config) -> Vec<String> {
    let mut mistakes: Vec<String> = Vec::new();
    match assemble::place(config).map(|place| Store::usable(&place)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let key = match error {
                OpenError::Key { .. } => "key_file",
                OpenError::Directory { .. } | OpenError::Locked { .. } => "data",
                _ if config.store.url.is_some() => "store",
                _ => "data",
            };
            mistakes.push(format!("{key}: {:#}", anyhow::Error::from(error)));
        }
        Err(error) => mistakes.push(format!("{error:#}")),
    }
    if let Some(own) = &config.tls {
        let before = mistakes.len();
        unreadable("tls.certificate", &own.certificate, &mut mistakes);
        unreadable("tls.key", &own.key, &mut mistakes);
        if mistakes.len() == before
            && let Err(error) = tls::server_config(own)
        {
            mistakes.push(format!("tls: {:#}", anyhow::Error::from(error)));
        }
    }
    for destination in &config.destinations {
        let before = mistakes.len();
        let place = |key: &str| format!("destination {}: fhir.{key}", destination.rule.name);
        if let Some(authorities) = &destination.fhir.ca {
            unreadable(&place("ca"), authorities, &mut mistakes);
        }
        for (key, file) in destination.fhir.auth.files() {
            unreadable(&place(&format!("auth.{key}")), file, &mut mistakes);
        }
        if mistakes.len() == before
            && let Err(error) = assemble::destination(destination)
        {
            mistakes.push(format!("{error:#}"));
        }
    }
    mistakes.extend(assemble::terminology(config).err().map(|error| format!("terminology: {error:#}")));
    mistakes.extend(assemble::registry(config).err().unwrap_or_default());
    mistakes.extend(assemble::formats(config).err().unwrap_or_default());
    mistakes.extend(assemble::shapes(config).err().unwrap_or_default());
    // What is wrong with the packages was just said.
    let of_editions = |mistake: &String| mistake.starts_with("guide.editions");
    mistakes.extend(assemble::shelf(config).err().into_iter().flatten().filter(of_editions));
    mistakes
}

fn unreadable(key: &str, path: &Path, mistakes: &mut Vec<String>) {
    if let Err(error) = File::open(path) {
        mistakes.push(format!("{key}: {} cannot be read: {error}", path.display()));
    }
}

/// What keeps nobody from serving and is yet most likely a slip: clients come and go while the gateway serves.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let mut doubts = unknown_clients(config);
    doubts.extend(unknown_versions(config));
    doubts.extend(assemble::registry(config).map(|(_, missing)| missing).unwrap_or_default());
    let beyond = config.metrics.filter(|address| !address.ip().is_loopback());
    doubts.extend(beyond.map(|address| {
        format!("metrics.listen: whoever reaches {address} sees the figures, without TLS or token; keep it inside")
    }));
    doubts
}

/// Clients that are registered for a version of the guide that is not here: they are refused.
fn unknown_versions(config: &Config) -> Vec<String> {
    let Ok(shelf) = assemble::shelf(config) else { return Vec::new() };
    // That the clients cannot be read is said elsewhere.
    let registered = registered(config).unwrap_or_default();
    let clients = registered.iter().filter_map(|(_, body)| Client::parse(body).ok());
    let gone = clients.filter_map(|client| {
        let version = client.guide.filter(|version| !shelf.has(version))?;
        Some(format!(
            "client {} is refused: it is registered for version {version} of the guide, which is not here",
            client.id
        ))
    });
    gone.collect()
}

fn unknown_clients(config: &Config) -> Vec<String> {
    let apps: Vec<(&str, &str)> = config
        .destinations
        .iter()
        .flat_map(|destination| {
            let apps = destination.rule.apps.iter().flatten();
            apps.map(|app| (destination.rule.name.as_str(), app.as_str()))
        })
        .collect();
    match registered(config) {
        _ if apps.is_empty() => Vec::new(),
        Ok(registered) if registered.is_empty() && !has_store(config) => Vec::new(),
        Ok(registered) => apps
            .into_iter()
            .filter(|(_, app)| !registered.iter().any(|(known, _)| known == app))
            .map(|(destination, app)| format!("destination {destination}: apps: no client is registered as {app}"))
            .collect(),
        Err(error) => vec![format!("the registered clients cannot be read: {error:#}")],
    }
}

/// Whether a gateway has been there.
fn has_store(config: &Config) -> bool {
    assemble::place(config).is_ok_and(|place| Store::exists(&place).unwrap_or(false))
}

/// Ids and registrations of the clients; none where there is no store yet.
fn registered(config: &Config) -> anyhow::Result<Vec<(String, String)>> {
    if !has_store(config) {
        return Ok(Vec::new());
    }
    Ok(Store::registered(&assemble::place(config)?)?)
}
