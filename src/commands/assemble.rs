//! From a configuration to a gateway: the one place where the parts are put together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::packages::{self, Loaded};
use super::publisher;
use super::{EX_USAGE, Source, environment};
use crate::config::{self, Config};
use crate::devices::series::Kept;
use crate::devices::{Formats, Pack};
use crate::exchange::deliver::Destination;
use crate::exchange::recipients::{Identity, Recipient, Recipients};
use crate::exchange::shape::{Live, Shape};
use crate::exchange::subscribe::Subscriptions;
use crate::exchange::{Clock, Entropy, Gateway};
use crate::fhir::definitions::Registry;
use crate::guide::{self, Shelf};
use crate::national::{self, Mistake, Settings};
use crate::peers::fhir_rest::{FhirRest, Linker};
use crate::peers::rest_hook::RestHook;
use crate::peers::terminology::Terminology;
use crate::policy::consent::Manner;
use crate::policy::delivery::Circuit;
use crate::policy::routing::Table;
use crate::store::{self, Store};
use crate::tlog::Verifier;

/// The machine's clock.
pub fn clock() -> Clock {
    Arc::new(|| jiff::Timestamp::now().as_millisecond())
}

/// The machine's entropy. Without it no id or token could be trusted, so its loss ends the process.
pub fn entropy() -> Entropy {
    Arc::new(|buffer: &mut [u8]| getrandom::fill(buffer).expect("the operating system provides entropy"))
}

/// Reads the configuration; mistakes are printed, all of them, and become the exit code.
pub(super) fn configured(source: &Source) -> Result<Config, ExitCode> {
    let (config, mistakes) = drafted(source)?;
    if mistakes.is_empty() {
        return Ok(config);
    }
    print(&mistakes);
    Err(ExitCode::from(EX_USAGE))
}

/// What can be read of the configuration, and every mistake; the error is for a file that is not there.
pub(super) fn drafted(source: &Source) -> Result<(Config, Vec<String>), ExitCode> {
    let file = match &source.config {
        Some(path) => match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) => {
                eprintln!("{}: cannot be read: {error}", path.display());
                return Err(ExitCode::from(EX_USAGE));
            }
        },
        None => None,
    };
    Ok(Config::draft(file.as_deref(), &environment()))
}

pub(super) fn print(mistakes: &[String]) {
    eprintln!("The configuration has {} mistake(s):", mistakes.len());
    for mistake in mistakes {
        eprintln!("  {mistake}");
    }
}

/// Opens the store and builds the gateway on it.
pub(super) fn gateway(config: &Config, clock: Clock) -> anyhow::Result<Arc<Gateway>> {
    let gateway = built(config, open(config)?, clock)?;
    // The profiles that every message of a wearable meets are compiled before the first one.
    gateway.validator.warm(&["Patient", "Consent", "Device", "List", "Observation", "QuestionnaireResponse"]);
    Ok(Arc::new(gateway))
}

fn open(config: &Config) -> anyhow::Result<Store> {
    Store::open(&place(config)?).with_context(|| format!("opening the store {}", whereabouts(config)))
}

/// Where the store is. What is wrong with the file of the password shows here.
pub(super) fn place(config: &Config) -> anyhow::Result<store::Place> {
    let mut place = store::Place::new(&config.data, config.key_file.as_deref());
    if let Some(url) = &config.store.url {
        let password = config.store.password_file.as_ref().map(|path| {
            let text = fs::read_to_string(path).with_context(|| format!("store.password_file: {}", path.display()))?;
            Ok::<_, anyhow::Error>(text.trim_end_matches(['\r', '\n']).to_owned())
        });
        let (url, ca) = (url.clone(), config.store.ca.clone());
        place.server = Some(store::Server { url, password: password.transpose()?, ca });
    }
    Ok(place)
}

/// Where the store is, for people. An address may hold a password.
pub(super) fn whereabouts(config: &Config) -> String {
    match config.store.url {
        Some(_) => "at store.url".to_owned(),
        None => format!("in {}", config.data.display()),
    }
}

/// The same for a command beside a process that serves, on a store that must exist.
pub(super) fn beside(config: &Config) -> anyhow::Result<Gateway> {
    built(config, existing_store(config)?, clock())
}

fn built(config: &Config, store: Store, clock: Clock) -> anyhow::Result<Gateway> {
    let joined = |mistakes: Vec<String>| anyhow::anyhow!(mistakes.join("; "));
    let (registry, _) = registry(config).map_err(joined)?;
    let shelf = shelf(config).map_err(joined)?;
    let mut gateway =
        Gateway::new(config.exchange.clone(), store, registry, config.base_url.clone(), clock, entropy())?;
    gateway.shelf = Arc::new(shelf);
    gateway.formats = formats(config).map_err(joined)?;
    gateway.kept = Kept::compile(&config.devices.stretches).map_err(joined)?;
    gateway.grace_ms = i64::from(config.devices.stretch_grace_minutes) * 60_000;
    gateway.terminology = terminology(config)?;
    gateway.implied = config.implied.clone();
    gateway.retention = config.retention.clone();
    gateway.proxies = config.proxies;
    gateway.coupled = config.coupled.clone();
    let hook = RestHook::open(&config.subscriptions.endpoints).context("opening subscriptions.endpoints")?;
    gateway.subscriptions = Subscriptions::new(config.subscriptions.clone(), hook);
    gateway.recipients = recipients(config).map_err(joined)?;
    Ok(gateway)
}

/// What records of devices are read by. The error is everything that is wrong with the mappings and the templates of the
/// configuration.
pub(super) fn formats(config: &Config) -> Result<Formats, Vec<String>> {
    let mut formats = Formats::default();
    let read = |path: &Path| {
        let unreadable = |error| vec![format!("devices: {}: cannot be read: {error}", path.display())];
        fs::read_to_string(path).map_err(unreadable)
    };
    let mut mistakes = Vec::new();
    let mut own: Vec<Arc<Pack>> = Vec::new();
    for path in &config.devices.mappings {
        let of_file = |mistake: &String| format!("devices: {}: {mistake}", path.display());
        match read(path).map(|text| formats.add(&text)) {
            Err(unreadable) => mistakes.extend(unreadable),
            Ok(Err(wrong)) => mistakes.extend(wrong.iter().map(of_file)),
            Ok(Ok(pack)) if own.iter().any(|known| known.id == pack.id) => {
                mistakes.push(of_file(&format!("another file has a mapping {}", pack.id)));
            }
            Ok(Ok(pack)) => own.push(pack),
        }
    }
    if let (Some(content), Some(mapping)) = (&config.devices.iomt_device_content, &config.devices.iomt_fhir_mapping) {
        match (read(content), read(mapping)) {
            (Ok(content), Ok(mapping)) => {
                let wrong = formats.add_templates(&content, &mapping).err().unwrap_or_default();
                mistakes.extend(wrong.iter().map(|mistake| format!("devices: {mistake}")));
            }
            (content, mapping) => mistakes.extend([content, mapping].into_iter().filter_map(Result::err).flatten()),
        }
    }
    if mistakes.is_empty() { Ok(formats) } else { Err(mistakes) }
}

/// The country packs of the program, and those of some folders.
pub(super) fn packs_of(folders: &[PathBuf]) -> anyhow::Result<national::Shelf> {
    let mut shelf = national::Shelf::default();
    for folder in folders {
        let files = files(folder).with_context(|| format!("reading {}", folder.display()))?;
        if let Err(mistakes) = shelf.add(&files) {
            let lines: Vec<String> = mistakes.iter().map(|mistake| format!("{}/{mistake}", folder.display())).collect();
            anyhow::bail!("{}", lines.join("\n"));
        }
    }
    Ok(shelf)
}

/// The country packs: those of the program and those of the folders that the configuration names, as far as they are
/// sound, with everything that is wrong with the others.
fn packs(config: &Config) -> (national::Shelf, Vec<String>) {
    let mut shelf = national::Shelf::default();
    let mut mistakes = Vec::new();
    let mut known = BTreeSet::new();
    let publishers: Vec<Verifier> =
        config.packs.publishers.iter().filter_map(|key| Verifier::parse(key).ok()).collect();
    for path in &pack_folders(config) {
        let of_folder = |mistake: String| format!("packs: {}: {mistake}", path.display());
        match folder(path) {
            Err(error) => mistakes.push(of_folder(format!("cannot be read: {error}"))),
            Ok(folder) => {
                let doubts = publisher::doubts(&folder, &publishers);
                if doubts.is_empty() {
                    match shelf.add(&folder.files) {
                        Ok(pack) if !known.insert(pack.name().clone()) => {
                            mistakes.push(of_folder(format!("another folder is {}", pack.name())));
                        }
                        Ok(_) => {}
                        Err(wrong) => mistakes.extend(wrong.iter().map(|mistake| of_folder(mistake.to_string()))),
                    }
                }
                mistakes.extend(doubts.into_iter().map(of_folder));
            }
        }
    }
    (shelf, mistakes)
}

/// Every folder of a pack: those that are named, and those within a named one that is none itself.
pub(super) fn pack_folders(config: &Config) -> Vec<PathBuf> {
    let is_pack = |path: &PathBuf| path.join("pack.toml").exists();
    let within = |folder: &PathBuf| -> Vec<PathBuf> {
        let listing = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> = if is_pack(folder) { Vec::new() } else { listing.filter(is_pack).collect() };
        found.sort();
        if found.is_empty() { vec![folder.clone()] } else { found }
    };
    config.packs.folders.iter().flat_map(within).collect()
}

/// A folder of a pack.
pub(super) struct Folder {
    /// Its files, by name.
    pub files: BTreeMap<String, String>,
    /// What a publisher says of them.
    pub signature: Option<String>,
    /// Those that are no text. As far as they can be read they are among the files, so that what else is wrong shows.
    pub unread: Vec<Mistake>,
}

/// The files of a pack's folder, by name.
pub(super) fn files(path: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let folder = folder(path)?;
    match folder.unread.first() {
        Some(mistake) => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, mistake.to_string())),
        None => Ok(folder.files),
    }
}

/// A folder of a pack. What begins with a dot is an editor's, and folders within are the author's own.
pub(super) fn folder(path: &Path) -> std::io::Result<Folder> {
    let (mut files, mut unread) = (BTreeMap::new(), Vec::new());
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = !name.starts_with('.') && name.strip_suffix(".md").is_none() && !entry.path().is_dir();
        if is_ours {
            let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{name}: {error}"));
            let bytes = fs::read(entry.path()).map_err(named)?;
            if let Err(error) = std::str::from_utf8(&bytes) {
                let line = Some(bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count() as u64);
                let text = "the text is not UTF-8".to_owned();
                unread.push(Mistake { file: name.clone(), line, text });
            }
            files.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    let signature = files.remove(publisher::SIGNATURE);
    Ok(Folder { files, signature, unread })
}

/// The shape of each destination, in their order.
pub(super) fn shapes(config: &Config) -> Result<Vec<Option<Shape>>, Vec<String>> {
    let (shelf, mut mistakes) = packs(config);
    let is_whole = mistakes.is_empty();
    let shapes = config.destinations.iter().map(|configured| {
        let name = configured.pack.as_deref()?;
        let of_destination = |mistake: String| format!("destination {}: {mistake}", configured.rule.name);
        let Some(pack) = shelf.find(name) else {
            // It may be one of those that were told of.
            if !is_whole {
                return None;
            }
            let known: Vec<String> = shelf.all().iter().map(|pack| pack.name()).collect();
            mistakes.push(of_destination(format!("pack: there are {}", known.join(", "))));
            return None;
        };
        let shape = match Settings::of(pack, &configured.settings) {
            Ok(settings) => Shape { pack: pack.clone(), settings },
            Err(wrong) => {
                mistakes.extend(wrong.into_iter().map(of_destination));
                return None;
            }
        };
        for (key, manner) in [("on_withdrawal", configured.on_withdrawal), ("on_erasure", configured.on_erasure)] {
            if manner.is_some() && manner != shape.removal() {
                let offered = shape.removal().map_or("nothing", Manner::name);
                mistakes.push(of_destination(format!("{key}: {} has {offered} for that", pack.name())));
            }
        }
        Some(shape)
    });
    let shapes = shapes.collect();
    if mistakes.is_empty() { Ok(shapes) } else { Err(mistakes) }
}

/// Opens the terminology server, so that a wrong key or certificate shows at start.
pub(super) fn terminology(config: &Config) -> anyhow::Result<Option<Terminology>> {
    let open = |configured| Terminology::open(configured, Arc::new(jiff::Timestamp::now));
    config.terminology.as_ref().map(open).transpose().context("opening the terminology server")
}

/// The definitions that resources are held against, and what is missing of the packages that the configuration names.
/// The error is every package that cannot be had.
pub(super) fn registry(config: &Config) -> Result<(Arc<Registry>, Vec<String>), Vec<String>> {
    if config.validation.packages.is_empty() {
        return Ok((guide::registry(), Vec::new()));
    }
    let Loaded { packages, warnings } = added(config)?;
    Ok((Registry::with_packages([guide::packages(), packages].concat()), warnings))
}

/// The packages that the configuration names.
fn added(config: &Config) -> Result<Loaded, Vec<String>> {
    let cache = packages::Place::at(config.validation.package_cache.clone()).cache();
    let mistaken = |mistake: String| format!("validation.packages: {mistake}");
    let loaded = cache.load(&config.validation.packages);
    loaded.map_err(|mistakes| mistakes.into_iter().map(mistaken).collect::<Vec<_>>())
}

/// The versions of the guide: those of the program and those in the folder that the configuration names. The error is
/// every file that is none.
pub(super) fn shelf(config: &Config) -> Result<Shelf, Vec<String>> {
    let added = if config.validation.packages.is_empty() { Vec::new() } else { added(config)?.packages };
    let mut shelf = Shelf::new(added);
    let Some(folder) = &config.guide.editions else { return Ok(shelf) };
    let unreadable = |path: &Path, error: std::io::Error| {
        vec![format!("guide.editions: {} cannot be read: {error}", path.display())]
    };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(|error| unreadable(folder, error))?.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "tgz"));
    paths.sort();
    let mut mistakes = Vec::new();
    for path in paths {
        match fs::read(&path) {
            Err(error) => mistakes.extend(unreadable(&path, error)),
            Ok(archive) => mistakes
                .extend(shelf.add(archive).err().map(|error| format!("guide.editions: {}: {error}", path.display()))),
        }
    }
    if mistakes.is_empty() { Ok(shelf) } else { Err(mistakes) }
}

/// The store of a gateway that has served or was given clients. Whoever only looks makes none: a slip in the directory
/// would show as an empty store.
pub(super) fn existing_store(config: &Config) -> anyhow::Result<Store> {
    let (place, whereabouts) = (place(config)?, whereabouts(config));
    let opening = || format!("opening the store {whereabouts}");
    let exists = Store::exists(&place).with_context(opening)?;
    anyhow::ensure!(exists, "there is no store {whereabouts}; `serve` and `client add` make one");
    Store::open_shared(&place).with_context(opening)
}

/// Who receives what is taken in.
fn recipients(config: &Config) -> Result<Recipients, Vec<String>> {
    let linkers = config.destinations.iter().map(linker).collect::<Result<Vec<_>, _>>()?;
    let all =
        config.destinations.iter().zip(shapes(config)?).zip(linkers).map(|((configured, shape), linker)| Recipient {
            shape: shape.map(|shape| Arc::new(Live::new(shape))),
            linker,
            name: Arc::from(configured.rule.name.as_str()),
            actor: configured.actor.clone(),
            purpose: configured.purpose.clone(),
            pseudonym: configured.identity == Identity::Pseudonym,
            on_withdrawal: configured.on_withdrawal,
            on_erasure: configured.on_erasure,
        });
    Ok(Recipients { all: all.collect(), routing: Arc::new(routing(config)?) })
}

/// Where persons let a destination take what is theirs, if it wants it so.
fn linker(configured: &config::Destination) -> Result<Option<Arc<Linker>>, Vec<String>> {
    let opened = Linker::open(&configured.fhir, Arc::new(jiff::Timestamp::now));
    let mistake = |error| vec![format!("destination {}: {error}", configured.rule.name)];
    Ok(opened.map_err(mistake)?.map(Arc::new))
}

pub(super) fn routing(config: &Config) -> Result<Table, Vec<String>> {
    Table::compile(config.destinations.iter().map(|destination| destination.rule.clone()).collect())
}

/// Opens every destination, so that a wrong key or certificate shows at start.
pub(super) fn destinations(config: &Config) -> anyhow::Result<(Vec<Destination>, Arc<Table>)> {
    let opened = config.destinations.iter().map(destination).collect::<anyhow::Result<Vec<_>>>()?;
    let table = routing(config).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
    Ok((opened, Arc::new(table)))
}

pub(super) fn destination(configured: &config::Destination) -> anyhow::Result<Destination> {
    let name = &configured.rule.name;
    let platform = FhirRest::open(name, &configured.fhir, Arc::new(jiff::Timestamp::now))
        .with_context(|| format!("opening destination {name}"))?;
    Ok(Destination {
        name: Arc::from(name.as_str()),
        actor: configured.actor.clone(),
        purpose: configured.purpose.clone(),
        address: configured.fhir.url.clone(),
        secondary: configured.secondary,
        identity: configured.identity,
        on_withdrawal: configured.on_withdrawal,
        on_erasure: configured.on_erasure,
        shape: None,
        platform: Arc::new(platform),
        trace: configured.trace,
        schedule: configured.retry,
        circuit: Circuit::new(configured.circuit),
        pace: configured.pace.clone(),
        concurrent: configured.concurrent,
        most_waiting: configured.most_waiting,
        ever: Table::default(),
        first: Table::compile(configured.first.clone()).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?,
    })
}
