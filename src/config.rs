//! The configuration: each folder's own `Config`, put together from one TOML file and `MHEALTH_*` variables.
//!
//! Everything is read before anything is reported, so that an operator mends a file once and not line by line: a key
//! that cannot be read is left out, and what could be read is judged all the same. Unknown keys are refused, since a misspelt limit is a limit that does not hold. The input is a text and a map,
//! so that nothing here touches the process. A variable names a key by its path: `MHEALTH_LISTEN`,
//! `MHEALTH_LIMITS__BODY_BYTES`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::de::DeTable;
use toml::{Table, Value};

use crate::devices::series::Kept;
use crate::exchange;
use crate::exchange::recipients::Identity;
use crate::exchange::subscribe;
use crate::fhir::validate::measures::category;
use crate::peers::{fhir_rest, terminology};
use crate::policy::consent::{self, Coupled, Implied, Manner, Proxies};
use crate::policy::delivery::{self, Pace, Schedule};
use crate::policy::routing::{Grounds, Rule, Table as Routing};
use crate::server::limits::Limits;
use crate::server::tls::Tls;
use crate::tlog::Verifier;

/// Everything that `serve` is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Directory of the embedded store, the keys and the self-signed certificate.
    pub data: PathBuf,
    /// File of the key that persons' keys are wrapped by; without one `gateway.key` in `data`, made at the first start.
    pub key_file: Option<PathBuf>,
    /// The database server that several gateways may share; without one the database lies in `data`.
    pub store: Store,
    /// How clients reach the FHIR service, without a slash at the end.
    pub base_url: String,
    /// How long requests under way may take to finish at the end.
    pub drain: Duration,
    /// The certificate; without one a self-signed one is made, for loopback only.
    pub tls: Option<Tls>,
    pub limits: Limits,
    pub exchange: exchange::Config,
    pub validation: Validation,
    pub guide: Guide,
    pub devices: Devices,
    /// What holds where a person has said nothing.
    pub implied: Implied,
    /// How long what is held is held.
    pub retention: exchange::Retention,
    /// Who may give a consent.
    pub proxies: Proxies,
    /// Switches that need one another.
    pub coupled: Coupled,
    /// Who is asked about codes that the definitions leave open.
    pub terminology: Option<terminology::Config>,
    pub packs: Packs,
    /// What clients may be told of what happens.
    pub subscriptions: subscribe::Config,
    /// Address at which operators' programs read figures, if they may.
    pub metrics: Option<SocketAddr>,
    pub destinations: Vec<Destination>,
}

/// Who may watch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    listen: SocketAddr,
}

/// Which country packs there are besides those of the program.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Packs {
    /// Folders of packs of the operator's own, or in place of one with the same id and version.
    pub folders: Vec<PathBuf>,
    /// Public keys of those who publish packs. Where there are any, only what one of them has signed is taken.
    pub publishers: Vec<String>,
    /// How often the folders are looked at for new versions; 0 is never, but for SIGHUP.
    pub watch_seconds: u64,
}

impl Default for Packs {
    fn default() -> Self {
        Packs { folders: Vec::new(), publishers: Vec::new(), watch_seconds: 2 }
    }
}

/// The PostgreSQL server that keeps the data in the place of the embedded database.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `postgres://USER@HOST/DATABASE`; several hosts are tried in turn, and the one that takes data is used.
    pub url: Option<String>,
    /// File of the user's password.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities by which the server's certificate is known; needed where it is on another machine.
    pub ca: Option<PathBuf>,
}

/// The address may hold a password, so it is not printed.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("url", &self.url.is_some()).field("ca", &self.ca).finish_non_exhaustive()
    }
}

/// What resources are held against besides the definitions of R4.
#[derive(Deserialize, Clone, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// FHIR packages: `NAME#VERSION` in the cache, .tgz files, or folders of unpacked packages.
    pub packages: Vec<String>,
    /// Folder of unpacked packages; without one `.fhir/packages` in the home directory.
    pub package_cache: Option<PathBuf>,
}

/// Which versions of the guide are enforced and published.
#[derive(Deserialize, Clone, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Guide {
    /// Folder of packages (.tgz) of earlier versions, besides those that the program has itself.
    pub editions: Option<PathBuf>,
}

/// By what records of devices are read besides the mappings of the program.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Device content template of the IoMT connector, for `POST /devices/iomt`; together with `iomt_fhir_mapping`.
    pub iomt_device_content: Option<PathBuf>,
    /// FHIR mapping template of the IoMT connector.
    pub iomt_fhir_mapping: Option<PathBuf>,
    /// Files of mappings of the operator's own, besides those of the program or in place of one with the same id.
    pub mappings: Vec<PathBuf>,
    /// Measures, or categories, whose readings are kept as stretches of samples: name = `PT1H` or `P1D`.
    pub stretches: BTreeMap<String, String>,
    /// Minutes after its span, and after its last reading, until a stretch is final.
    pub stretch_grace_minutes: u32,
}

impl Default for Devices {
    fn default() -> Self {
        Devices {
            iomt_device_content: None,
            iomt_fhir_mapping: None,
            mappings: Vec::new(),
            stretches: BTreeMap::new(),
            stretch_grace_minutes: 60,
        }
    }
}

/// One national platform, registry or other receiver.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The reference by which Consents name it.
    pub actor: String,
    /// v3-ActReason code under which data is disclosed to it.
    pub purpose: String,
    /// Whether it is sent readings that do not count beside those of a source that the person prefers.
    pub secondary: bool,
    /// Whether it learns whose data it gets.
    pub identity: Identity,
    /// How it is told what the person no longer lets it have, if it is.
    pub on_withdrawal: Option<Manner>,
    /// The same of what was of persons who are forgotten.
    pub on_erasure: Option<Manner>,
    /// The country pack by which measurements are told there: `fr-ens`, `fr-ens@3` or `fr-ens@3.1.0`.
    pub pack: Option<String>,
    /// What the pack asks of the operator.
    pub settings: BTreeMap<String, String>,
    /// Whether its requests say which attempt they belong to.
    pub trace: bool,
    /// What is sent there; its name is the destination's.
    pub rule: Rule,
    /// What is sent before the rest of what waits.
    pub first: Vec<Rule>,
    pub fhir: fhir_rest::Config,
    pub retry: Schedule,
    pub circuit: delivery::Limits,
    pub pace: Pace,
    /// Most requests under way at once.
    pub concurrent: usize,
    /// Most that may wait for it; as much as there is room for, where nothing is said.
    pub most_waiting: Option<u64>,
}

/// The top level, key by key.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Top {
    listen: Option<SocketAddr>,
    data: Option<PathBuf>,
    key_file: Option<PathBuf>,
    base_url: Option<String>,
    drain_seconds: Option<u64>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
struct Target {
    name: Option<String>,
    actor: Option<String>,
    purpose: Option<String>,
    secondary: Option<bool>,
    identity: Option<Identity>,
    on_withdrawal: Option<Telling>,
    on_erasure: Option<Telling>,
    kinds: Option<Vec<String>>,
    codes: Option<Vec<String>>,
    categories: Option<Vec<String>>,
    apps: Option<Vec<String>>,
    tenants: Option<Vec<String>>,
    certified: Option<Vec<String>>,
    residence: Option<Vec<String>>,
    consent: Option<Grounds>,
    from: Option<String>,
    until: Option<String>,
    pack: Option<String>,
    settings: BTreeMap<String, String>,
    trace: Option<bool>,
}

/// What is sent before the rest.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
struct First {
    kinds: Option<Vec<String>>,
    codes: Option<Vec<String>>,
    categories: Option<Vec<String>>,
    apps: Option<Vec<String>>,
}

/// The rules of a destination that say what is sent first.
fn first(place: &str, name: &str, value: Option<Value>, mistakes: &mut Vec<String>) -> Vec<Rule> {
    let list = match value {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            mistakes.push(format!("{place}: a list of sections ([[destination.first]]) is expected"));
            return Vec::new();
        }
    };
    let mut rules = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let place = format!("{place}[{index}]");
        let First { kinds, codes, categories, apps } = section(&place, Some(value), mistakes);
        let kinds = kinds.unwrap_or_else(|| vec!["Observation".to_owned()]);
        let rule = Rule { name: name.to_owned(), kinds, codes, categories, apps, ..Rule::default() };
        match Routing::compile(vec![rule.clone()]) {
            Ok(_) => rules.push(rule),
            Err(wrong) => {
                let place = |wrong: String| format!("{place}.{}", wrong.replacen("rule 1: ", "", 1));
                mistakes.extend(wrong.into_iter().map(place));
            }
        }
    }
    rules
}

/// Whether a destination is told what it may hold no longer, and how.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Telling {
    Nothing,
    EnteredInError,
    Delete,
}

impl Telling {
    fn manner(self) -> Option<Manner> {
        match self {
            Telling::Nothing => None,
            Telling::EnteredInError => Some(Manner::EnteredInError),
            Telling::Delete => Some(Manner::Delete),
        }
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
struct Retry {
    base_ms: i64,
    cap_ms: i64,
    max_attempts: u32,
}

impl Default for Retry {
    /// A minute, then doubling to an hour: sixty attempts last about two days.
    fn default() -> Self {
        Retry { base_ms: 1_000, cap_ms: 3_600_000, max_attempts: 60 }
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
struct Breaker {
    failures: u32,
    base_ms: i64,
    cap_ms: i64,
    probe_ms: i64,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { failures: 5, base_ms: 1_000, cap_ms: 60_000, probe_ms: 120_000 }
    }
}

/// How fast a destination wants to be sent to, and how much may wait for it.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
struct Rate {
    requests_per_minute: Option<u32>,
    concurrent: usize,
    most_waiting: Option<u64>,
}

impl Default for Rate {
    fn default() -> Self {
        Rate { requests_per_minute: None, concurrent: 8, most_waiting: None }
    }
}

/// A window of maintenance as it is written.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
struct Maintenance {
    days: Vec<String>,
    from: String,
    until: String,
    zone: String,
}

impl Default for Maintenance {
    fn default() -> Self {
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(str::to_owned).to_vec();
        Maintenance { days, from: String::new(), until: String::new(), zone: "UTC".to_owned() }
    }
}

/// The windows of a destination.
fn windows(place: &str, value: Option<Value>, mistakes: &mut Vec<String>) -> Vec<delivery::Window> {
    let list = match value {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            mistakes.push(format!("{place}: written as [[destination.maintenance]], once for each"));
            return Vec::new();
        }
    };
    let mut windows = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let place = format!("{place}[{index}]");
        let written: Maintenance = section(&place, Some(value), mistakes);
        match delivery::Window::of(&written.days, &written.from, &written.until, &written.zone) {
            Ok(window) => windows.push(window),
            Err(wrong) => mistakes.push(format!("{place}.{wrong}")),
        }
    }
    windows
}

/// Variables with our prefix that are no keys of the configuration.
const NOT_KEYS: &[&str] = &[
    "MHEALTH_CONFIG",
    "MHEALTH_LOG",
    "MHEALTH_SUITES",
    "MHEALTH_PACKAGES",
    "MHEALTH_PACKAGE_CACHE",
    "MHEALTH_BLESS",
    "MHEALTH_SHOTS",
];

const PREFIX: &str = "MHEALTH_";

impl Config {
    /// Reads file and variables; the error is every mistake, one sentence each.
    pub fn read(file: Option<&str>, environment: &BTreeMap<String, String>) -> Result<Config, Vec<String>> {
        let (config, mistakes) = Config::draft(file, environment);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// What can be read of file and variables, for whoever still looks at the files that it names, and every mistake.
    pub fn draft(file: Option<&str>, environment: &BTreeMap<String, String>) -> (Config, Vec<String>) {
        let mut mistakes = Vec::new();
        let file = file.unwrap_or_default();
        let mut table = file.parse::<Table>().unwrap_or_else(|_| {
            mistakes.extend(not_toml(file));
            Table::new()
        });
        overlay(&mut table, environment, &mut mistakes);
        let config = compose(table, &mut mistakes);
        (config, mistakes)
    }
}

/// Every line that keeps a file from being TOML.
fn not_toml(text: &str) -> Vec<String> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let line = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let at = |error: &toml::de::Error| (line(error.span().map_or(0, |span| span.start)), error.message().to_owned());
    let mut told: Vec<(usize, String)> = errors.iter().map(at).collect();
    // Where a line is broken, what is said of its rest follows from that.
    told.sort_by_key(|(line, _)| *line);
    told.dedup_by_key(|(line, _)| *line);
    told.into_iter().map(|(line, text)| format!("the file is not TOML: line {line}: {text}")).collect()
}

fn overlay(table: &mut Table, environment: &BTreeMap<String, String>, mistakes: &mut Vec<String>) {
    for (name, text) in
        environment.iter().filter(|(name, _)| name.starts_with(PREFIX) && !NOT_KEYS.contains(&name.as_str()))
    {
        let lower = name[PREFIX.len()..].to_ascii_lowercase();
        let mut path: Vec<&str> = lower.split("__").collect();
        let Some(key) = path.pop() else { continue };
        // What reads as a TOML value is one; anything else is text.
        let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut parsed| parsed.remove("v"));
        let value = value.unwrap_or_else(|| Value::String(text.clone()));
        match inside(table, &path) {
            Some(section) => drop(section.insert(key.to_owned(), value)),
            None => mistakes.push(format!("{name}: {} is not a section", path.join("."))),
        }
    }
}

/// The section at a path, made where it is missing.
fn inside<'t>(table: &'t mut Table, path: &[&str]) -> Option<&'t mut Table> {
    let Some((first, rest)) = path.split_first() else { return Some(table) };
    match table.entry(*first).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => inside(inner, rest),
        _ => None,
    }
}

fn compose(mut table: Table, mistakes: &mut Vec<String>) -> Config {
    let has_tls = table.contains_key("tls");
    let tls = table.remove("tls").and_then(|value| {
        let example = [("certificate", "certificate.pem"), ("key", "key.pem")];
        Strict::<Tls>::read("tls", value, &example, mistakes)?.whole()
    });
    let store: Store = section("store", table.remove("store"), mistakes);
    if store.url.is_none() && (store.password_file.is_some() || store.ca.is_some()) {
        mistakes.push("store.url: missing; it says where the server is".to_owned());
    }
    let limits: Limits = section("limits", table.remove("limits"), mistakes);
    let exchange: exchange::Config = section("exchange", table.remove("exchange"), mistakes);
    let validation: Validation = section("validation", table.remove("validation"), mistakes);
    let guide: Guide = section("guide", table.remove("guide"), mistakes);
    let devices: Devices = section("devices", table.remove("devices"), mistakes);
    if devices.iomt_device_content.is_some() != devices.iomt_fhir_mapping.is_some() {
        mistakes.push("devices: iomt_device_content and iomt_fhir_mapping stand together".to_owned());
    }
    if let Err(wrong) = Kept::compile(&devices.stretches) {
        mistakes.extend(wrong.into_iter().map(|wrong| format!("devices.stretches.{wrong}")));
    }
    let unsaid: consent::Config = section("consent", table.remove("consent"), mistakes);
    let coupled = Coupled::compile(&unsaid.needs, |code| category::category(code).is_some()).unwrap_or_else(|wrong| {
        mistakes.extend(wrong.into_iter().map(|wrong| format!("consent.{wrong}")));
        Coupled::default()
    });
    let implied = Implied::compile(&unsaid).unwrap_or_else(|wrong| {
        mistakes.extend(wrong.into_iter().map(|mistake| format!("consent.{mistake}")));
        Implied::default()
    });
    let retention: exchange::Retention = section("retention", table.remove("retention"), mistakes);
    mistakes.extend(retention.mistakes());
    let packs: Packs = section("packs", table.remove("packs"), mistakes);
    if packs.publishers.iter().any(|key| Verifier::parse(key).is_err()) {
        mistakes.push("packs.publishers: keys NAME+ID+KEY, as `pack key` prints them".to_owned());
    }
    let terminology = table.remove("terminology").and_then(|value| called("terminology", value, mistakes));
    let subscriptions: subscribe::Config = section("subscriptions", table.remove("subscriptions"), mistakes);
    mistakes.extend(subscriptions.mistakes(retention.feed_days));
    let metrics = table.remove("metrics").and_then(|value| {
        let stand_in = [("listen", "127.0.0.1:9464")];
        let read = Strict::<Metrics>::read("metrics", value, &stand_in, mistakes)?;
        read.whole.then_some(read.value.listen)
    });
    let mut destinations = Vec::new();
    let mut rules = Vec::new();
    match table.remove("destination") {
        None => {}
        Some(Value::Array(list)) => {
            for (index, value) in list.into_iter().enumerate() {
                let (rule, whole) = destination(index, value, mistakes);
                rules.push(rule);
                destinations.extend(whole);
            }
        }
        Some(_) => mistakes.push("destination: written as [[destination]], once for each".to_owned()),
    }
    let before = mistakes.len();
    let top: Top = section("", Some(Value::Table(table)), mistakes);
    for mistake in mistakes[before..].iter_mut().filter(|mistake| mistake.contains("unknown field")) {
        mistake.push_str(
            "; or a section: [tls], [store], [limits], [exchange], [validation], [guide], [devices], [consent], [retention], [packs], [terminology], [subscriptions], [metrics], [[destination]]",
        );
    }
    let listen = top.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8443)));
    if !listen.ip().is_loopback() && !has_tls {
        mistakes.push(format!("listen: {listen} is beyond loopback, so a certificate of its own is needed in [tls]"));
    }
    let clash = |metrics: SocketAddr| {
        let everywhere = metrics.ip().is_unspecified() || listen.ip().is_unspecified();
        metrics.port() != 0 && metrics.port() == listen.port() && (everywhere || metrics.ip() == listen.ip())
    };
    if metrics.is_some_and(clash) {
        mistakes.push(format!("metrics.listen: {listen} is where clients come; figures have an address of their own"));
    }
    let host = if listen.ip().is_loopback() { "localhost".to_owned() } else { listen.ip().to_string() };
    let base_url = top.base_url.unwrap_or_else(|| format!("https://{host}:{}/fhir", listen.port()));
    if !base_url.starts_with("https://") || !base_url.ends_with("/fhir") || url::Url::parse(&base_url).is_err() {
        mistakes.push("base_url: an https address that ends in /fhir".to_owned());
    }
    for (key, value) in [
        ("limits.body_bytes", limits.body_bytes),
        ("limits.body_seconds", limits.body_seconds as usize),
        ("limits.head_seconds", limits.head_seconds as usize),
        ("limits.inflate_ratio", limits.inflate_ratio),
        ("limits.concurrent_requests", limits.concurrent_requests),
        ("limits.connections", limits.connections),
        ("limits.bundle_entries", limits.bundle_entries),
        ("limits.stream_bytes", limits.stream_bytes as usize),
        ("limits.device_requests", limits.device_requests),
        ("exchange.page_entries", exchange.page_entries),
        ("exchange.page_entries_max", exchange.page_entries_max),
        ("exchange.search_budget", exchange.search_budget),
        ("exchange.receipt_days", exchange.receipt_days as usize),
        ("exchange.upload_bytes", exchange.upload_bytes as usize),
        ("exchange.upload_files", exchange.upload_files as usize),
        ("exchange.upload_hours", exchange.upload_hours as usize),
        ("exchange.export_hours", exchange.export_hours as usize),
        ("exchange.export_jobs", exchange.export_jobs as usize),
        ("exchange.deidentified_least", exchange.deidentified_least as usize),
        ("exchange.export_file_lines", exchange.export_file_lines as usize),
    ] {
        if value == 0 {
            mistakes.push(format!("{key}: must be greater than 0"));
        }
    }
    if exchange.page_entries > exchange.page_entries_max {
        mistakes.push("exchange.page_entries: must not be greater than exchange.page_entries_max".to_owned());
    }
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.name.is_empty()) {
        if rules[..index].iter().any(|earlier| earlier.name == rule.name) {
            mistakes.push(format!("destination[{index}].name: another destination has that name"));
        }
    }
    // One key for both: the limits say how large a Bundle may be.
    let exchange = exchange::Config { bundle_entries: limits.bundle_entries, ..exchange };
    Config {
        listen,
        data: top.data.unwrap_or_else(|| PathBuf::from("data")),
        key_file: top.key_file,
        store,
        base_url,
        drain: Duration::from_secs(top.drain_seconds.unwrap_or(20)),
        tls,
        limits,
        exchange,
        validation,
        guide,
        devices,
        implied,
        retention,
        proxies: unsaid.given,
        coupled,
        terminology,
        packs,
        subscriptions,
        metrics,
        destinations,
    }
}

/// What is sent to a destination, and the destination itself as far as it can be read.
fn destination(index: usize, value: Value, mistakes: &mut Vec<String>) -> (Rule, Option<Destination>) {
    let place = format!("destination[{index}]");
    let Value::Table(mut table) = value else {
        mistakes.push(format!("{place}: a section is expected"));
        return (Rule::default(), None);
    };
    let retry: Retry = section(&format!("{place}.retry"), table.remove("retry"), mistakes);
    let breaker: Breaker = section(&format!("{place}.circuit"), table.remove("circuit"), mistakes);
    let rate: Rate = section(&format!("{place}.rate"), table.remove("rate"), mistakes);
    let windows = windows(&format!("{place}.maintenance"), table.remove("maintenance"), mistakes);
    let fhir = if let Some(value) = table.remove("fhir") {
        called(&format!("{place}.fhir"), value, mistakes)
    } else {
        mistakes.push(format!("{place}.fhir: missing; it says where and how to deliver"));
        None
    };
    for (key, positive) in [
        ("retry.base_ms", retry.base_ms > 0),
        ("retry.cap_ms", retry.cap_ms >= retry.base_ms),
        ("retry.max_attempts", retry.max_attempts > 0),
        ("circuit.failures", breaker.failures > 0),
        ("circuit.base_ms", breaker.base_ms > 0),
        ("circuit.cap_ms", breaker.cap_ms >= breaker.base_ms),
        ("circuit.probe_ms", breaker.probe_ms > 0),
        ("rate.requests_per_minute", rate.requests_per_minute != Some(0)),
        ("rate.concurrent", rate.concurrent > 0),
        ("rate.most_waiting", rate.most_waiting != Some(0)),
    ] {
        if !positive {
            mistakes.push(format!("{place}.{key}: must be greater than 0, and a cap not below its base"));
        }
    }
    let before_others = table.remove("first");
    let given: Vec<String> = table.keys().cloned().collect();
    let target: Target = section(&place, Some(Value::Table(table)), mistakes);
    let mut required = |key: &str, value: Option<String>| {
        // One that is there and cannot be read was reported already.
        if value.as_deref().is_none_or(str::is_empty) && (value.is_some() || !given.iter().any(|known| known == key)) {
            mistakes.push(format!("{place}.{key}: missing"));
        }
        value.unwrap_or_default()
    };
    let name = required("name", target.name);
    let actor = required("actor", target.actor);
    if !actor.is_empty() && !is_reference(&actor) {
        mistakes.push(format!("{place}.actor: a reference such as Organization/platform"));
    }
    let purpose = target.purpose.unwrap_or_else(|| "TREAT".to_owned());
    if !consent::is_purpose(&purpose) {
        mistakes.push(format!("{place}.purpose: a purpose of use of v3-ActReason such as TREAT or PUBHLTH"));
    }
    let rule = Rule {
        name,
        kinds: target.kinds.unwrap_or_else(|| vec!["Observation".to_owned()]),
        codes: target.codes,
        categories: target.categories,
        apps: target.apps,
        tenants: target.tenants,
        certified: target.certified,
        residence: target.residence,
        consent: target.consent,
        from: target.from,
        until: target.until,
    };
    let identity = target.identity.unwrap_or_default();
    if identity == Identity::Pseudonym && rule.kinds.iter().any(|kind| kind != "Observation") {
        mistakes.push(format!("{place}.kinds: Observation alone can be sent under identity = \"pseudonym\""));
    }
    if target.pack.is_some() {
        if rule.kinds.iter().any(|kind| kind != "Observation") {
            mistakes.push(format!("{place}.kinds: Observation alone can be told by a pack"));
        }
        if identity == Identity::Pseudonym {
            mistakes.push(format!("{place}.identity: how persons are told there is said by the pack"));
        }
    } else if !target.settings.is_empty() {
        mistakes.push(format!("{place}.settings: they are a pack's"));
    }
    if fhir.as_ref().is_some_and(|fhir: &fhir_rest::Config| matches!(fhir.auth, fhir_rest::Auth::Citizen(_)))
        && target.on_erasure.and_then(Telling::manner).is_some()
    {
        mistakes.push(format!("{place}.on_erasure: whoever is forgotten lets nobody in there any more"));
    }
    if fhir.as_ref().is_some_and(|fhir: &fhir_rest::Config| matches!(fhir.auth, fhir_rest::Auth::Iua(_)))
        && target.pack.is_none()
    {
        mistakes.push(format!("{place}.pack: tokens for persons need one, which says by what name they are known"));
    }
    // An empty name was reported as missing.
    let name = if rule.name.is_empty() { "-" } else { &rule.name };
    let first = first(&format!("{place}.first"), name, before_others, mistakes);
    let named = Rule { name: name.to_owned(), ..rule.clone() };
    if let Err(wrong) = Routing::compile(vec![named]) {
        mistakes.extend(wrong.into_iter().map(|wrong| format!("{place}.{}", wrong.replacen("rule 1: ", "", 1))));
    }
    // Where something of it is wrong, what else it names is looked at all the same.
    let example = &[("url", fhir_rest::Config::EXAMPLE)];
    let stand_in = || Strict::read("", Value::Table(Table::new()), example, &mut Vec::new()).map(|read| read.value);
    let fhir = fhir.or_else(stand_in);
    let destination = fhir.filter(|_| !rule.name.is_empty()).map(|fhir| Destination {
        actor,
        purpose,
        secondary: target.secondary.unwrap_or(false),
        identity,
        on_withdrawal: target.on_withdrawal.and_then(Telling::manner),
        on_erasure: target.on_erasure.and_then(Telling::manner),
        pack: target.pack,
        settings: target.settings,
        trace: target.trace.unwrap_or(false),
        rule: rule.clone(),
        first,
        fhir,
        retry: Schedule { base_ms: retry.base_ms, cap_ms: retry.cap_ms, max_attempts: retry.max_attempts },
        circuit: delivery::Limits {
            failures: breaker.failures,
            base_ms: breaker.base_ms,
            cap_ms: breaker.cap_ms,
            probe_ms: breaker.probe_ms,
        },
        pace: Pace::new(rate.requests_per_minute, windows),
        concurrent: rate.concurrent,
        most_waiting: rate.most_waiting,
    });
    (rule, destination)
}

/// What is said of a system that we call, destination or terminology server.
trait Called: DeserializeOwned {
    /// A good address, which stands in for one that is missing.
    const EXAMPLE: &str;
    fn mistakes(&self) -> Vec<String>;
    fn prove_with(&mut self, auth: fhir_rest::Auth);
}

impl Called for fhir_rest::Config {
    const EXAMPLE: &str = "https://platform.example/fhir";

    fn mistakes(&self) -> Vec<String> {
        self.mistakes()
    }

    fn prove_with(&mut self, auth: fhir_rest::Auth) {
        self.auth = auth;
    }
}

impl Called for terminology::Config {
    const EXAMPLE: &str = "https://tx.example/fhir";

    fn mistakes(&self) -> Vec<String> {
        self.mistakes()
    }

    fn prove_with(&mut self, auth: fhir_rest::Auth) {
        self.auth = auth;
    }
}

/// Where a system is and how we sign in there.
fn called<C: Called>(place: &str, value: Value, mistakes: &mut Vec<String>) -> Option<C> {
    let Value::Table(mut table) = value else {
        mistakes.push(format!("{place}: a section is expected"));
        return None;
    };
    let proof = table.remove("auth").map(|value| auth(&join(place, "auth"), value, mistakes));
    let mut read = Strict::<C>::read(place, Value::Table(table), &[("url", C::EXAMPLE)], mistakes)?;
    let mut whole = read.whole;
    if let Some(proof) = proof {
        let proof = proof?;
        whole &= proof.whole;
        read.stand_ins.extend(proof.stand_ins.iter().map(|key| format!("auth.{key}")));
        read.value.prove_with(proof.value);
    }
    let of_stand_in = |mistake: &String| read.stand_ins.iter().any(|key| mistake.starts_with(&format!("{key}:")));
    let wrong: Vec<String> = read.value.mistakes().into_iter().filter(|mistake| !of_stand_in(mistake)).collect();
    whole &= wrong.is_empty();
    mistakes.extend(wrong.into_iter().map(|mistake| join(place, &mistake)));
    whole.then_some(read.value)
}

/// How we prove who we are. Which keys are needed follows from the kind.
fn auth(place: &str, value: Value, mistakes: &mut Vec<String>) -> Option<Strict<fhir_rest::Auth>> {
    let kind = value.as_table().and_then(|table| table.get("kind")).and_then(Value::as_str);
    let example: &[(&'static str, &'static str)] = match kind {
        Some("none") => &[("kind", "none")],
        Some("backend-services") => &[
            ("kind", "backend-services"),
            ("token_url", "https://platform.example/token"),
            ("client_id", "gateway"),
            ("private_key_pem", "key.pem"),
            ("scope", "system/Observation.cu"),
        ],
        Some("citizen") => &[
            ("kind", "citizen"),
            ("authorize_url", "https://platform.example/authorize"),
            ("token_url", "https://platform.example/token"),
            ("client_id", "gateway"),
            ("scope", "patient/Observation.cu"),
        ],
        Some("iua") => &[
            ("kind", "iua"),
            ("token_url", "https://platform.example/token"),
            ("client_id", "gateway"),
            ("secret_file", "secret.txt"),
            ("scope", "user/*.*"),
            ("principal", "Responsible Professional"),
            ("principal_id", "2000000000000"),
        ],
        Some("client-certificate") => {
            &[("kind", "client-certificate"), ("cert", "certificate.pem"), ("key", "key.pem")]
        }
        _ => {
            mistakes.push(format!("{place}.kind: none, backend-services, client-certificate, iua or citizen"));
            return None;
        }
    };
    Strict::read(place, value, example, mistakes)
}

/// `Type/id`, as a Consent names an actor.
fn is_reference(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, id)| {
        kind.starts_with(|first: char| first.is_ascii_uppercase())
            && kind.bytes().all(|byte| byte.is_ascii_alphabetic())
            && exchange::is_id(id)
    })
}

/// A section whose keys all have defaults: each key is read by itself, so that every bad one is reported.
fn section<T: DeserializeOwned + Default>(place: &str, value: Option<Value>, mistakes: &mut Vec<String>) -> T {
    let table = match value {
        None => return T::default(),
        Some(Value::Table(table)) => table,
        Some(_) => {
            mistakes.push(format!("{place}: a section is expected"));
            return T::default();
        }
    };
    let mut good = Table::new();
    for (key, value) in table {
        let alone = Table::from_iter([(key.clone(), value.clone())]);
        match T::deserialize(Value::Table(alone)) {
            Ok(_) => drop(good.insert(key, value)),
            Err(error) => mistakes.push(mistake(&join(place, &key), &error)),
        }
    }
    T::deserialize(Value::Table(good)).unwrap_or_default()
}

/// A section with required keys, as far as it can be read.
struct Strict<T> {
    /// With an example's values in the place of those that are missing or cannot be read.
    value: T,
    stand_ins: Vec<String>,
    whole: bool,
}

impl<T: DeserializeOwned> Strict<T> {
    /// Reads each key beside good ones alone, so that every bad one is reported. The example has exactly the keys that
    /// are required.
    fn read(
        place: &str,
        value: Value,
        example: &[(&'static str, &'static str)],
        mistakes: &mut Vec<String>,
    ) -> Option<Self> {
        let Value::Table(given) = value else {
            mistakes.push(format!("{place}: a section is expected"));
            return None;
        };
        let before = mistakes.len();
        let example: Table = example.iter().map(|(key, text)| ((*key).to_owned(), Value::from(*text))).collect();
        let mut good = example.clone();
        let mut stand_ins: Vec<String> = example.keys().filter(|key| !given.contains_key(*key)).cloned().collect();
        mistakes.extend(stand_ins.iter().map(|key| format!("{}: missing", join(place, key))));
        for (key, value) in given {
            let mut beside = example.clone();
            beside.insert(key.clone(), value.clone());
            match T::deserialize(Value::Table(beside)) {
                Ok(_) => drop(good.insert(key, value)),
                Err(error) => {
                    mistakes.push(mistake(&join(place, &key), &error));
                    stand_ins.push(key);
                }
            }
        }
        let value = T::deserialize(Value::Table(good)).ok()?;
        Some(Strict { value, stand_ins, whole: mistakes.len() == before })
    }

    fn whole(self) -> Option<T> {
        self.whole.then_some(self.value)
    }
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

fn mistake(place: &str, error: &toml::de::Error) -> String {
    format!("{place}: {}", error.message().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::read(Some(file), &environment)
    }

    #[test]
    fn whoever_misspells_a_section_is_told_of_sections() {
        let mistakes = read("[limit]\nbody_bytes = 1\n", &[]).unwrap_err();
        assert!(mistakes[0].starts_with("limit: unknown field") && mistakes[0].contains("[limits]"), "{mistakes:?}");
    }

    #[test]
    fn whoever_wants_figures_says_where() {
        let listening = |file: &str| read(file, &[]).map(|config| config.metrics);
        assert_eq!(listening("[metrics]\nlisten = '[::1]:9464'"), Ok("[::1]:9464".parse().ok()));
        assert_eq!(listening("[metrics]\n"), Err(vec!["metrics.listen: missing".to_owned()]));
        assert_eq!(listening(""), Ok(None));
    }

    #[test]
    fn nothing_is_needed() {
        let config = read("", &[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8443");
        assert_eq!(config.base_url, "https://localhost:8443/fhir");
        assert!(config.destinations.is_empty());
    }

    #[test]
    fn variables_win_over_the_file() {
        let config = read(
            "listen = \"127.0.0.1:1\"\n[limits]\nbody_bytes = 1",
            &[("MHEALTH_LISTEN", "127.0.0.1:2"), ("MHEALTH_LIMITS__BODY_BYTES", "7"), ("MHEALTH_LOG", "debug")],
        )
        .unwrap();
        assert_eq!((config.listen.port(), config.limits.body_bytes), (2, 7));
    }

    #[test]
    fn every_mistake_is_reported() {
        let file = r#"
            listen = "0.0.0.0:443"
            lisen = 1
            drain_seconds = "soon"
            [limits]
            body_bytes = 0
            bodybytes = 5
            [[destination]]
            kinds = ["Observation"]
            [destination.fhir]
            url = "http://platform.example/fhir"
        "#;
        let mistakes =
            read(file, &[("MHEALTH_EXCHANGE__NOPE", "1"), ("MHEALTH_EXCHANGE__BUNDLE_ENTRIES", "1")]).unwrap_err();
        for expected in [
            "listen: 0.0.0.0:443 is beyond loopback",
            "lisen:",
            "drain_seconds:",
            "limits.body_bytes:",
            "limits.bodybytes:",
            "destination[0].name: missing",
            "destination[0].actor: missing",
            "destination[0].fhir.url:",
            "exchange.nope:",
            "exchange.bundle_entries:",
        ] {
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(expected)),
                "{expected} is not among {mistakes:#?}"
            );
        }
    }

    #[test]
    fn every_mistake_of_an_endpoint_is_reported() {
        let endpoint = "timeout_ms = \"long\"\nbatsh = true";
        let file = format!("[[destination]]\nname = \"a\"\nactor = \"Organization/a\"\n[destination.fhir]\n{endpoint}");
        let mistakes = read(&file, &[]).unwrap_err();
        for expected in ["url: missing", "timeout_ms:", "batsh:"] {
            let expected = format!("destination[0].fhir.{expected}");
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(&expected)), "{expected}: {mistakes:#?}");
        }
    }

    #[test]
    fn every_mistake_of_a_section_is_reported() {
        let destination = |rest: &str| format!("[[destination]]\nname = \"a\"\nactor = \"Organization/a\"\n{rest}");
        let table: &[(&str, String, &[&str])] = &[
            (
                "certificate",
                "[tls]\ncertificat = \"c\"\nkey = 5".into(),
                &["tls.certificate: missing", "tls.certificat:", "tls.key:"],
            ),
            ("no section", "tls = 5".into(), &["tls: a section"]),
            (
                "what is sent",
                destination("purpose = \"FOO\"\nkinds = [\"Observatio\"]\ncodes = [\"|\"]"),
                &[
                    "destination[0].purpose:",
                    "destination[0].kinds:",
                    "destination[0].codes, categories:",
                    "destination[0].fhir: missing",
                ],
            ),
            (
                "what no pseudonym can stand for",
                destination("identity = \"pseudonym\"\nkinds = [\"Observation\", \"Device\"]"),
                &["destination[0].kinds: Observation alone", "destination[0].fhir: missing"],
            ),
            (
                "an unknown way to tell",
                destination("on_withdrawal = \"forget\""),
                &["destination[0].on_withdrawal", "destination[0].fhir: missing"],
            ),
            (
                "an unknown identity",
                destination("identity = \"hidden\""),
                &["destination[0].identity", "destination[0].fhir: missing"],
            ),
            (
                "a name of the wrong type",
                "[[destination]]\nname = 5\nactor = \"x\"".into(),
                &[
                    "destination[0].name: invalid type",
                    "destination[0].actor: a reference",
                    "destination[0].fhir: missing",
                ],
            ),
            (
                "backend services",
                destination(
                    "[destination.fhir]\nurl = \"http://a.example/fhir\"\ntimeout_ms = 0\n[destination.fhir.auth]\n\
                     kind = \"backend-services\"\ntoken_url = \"http://a.example/token\"\nkid = \"\"\nscop = \"x\"\n\
                     client_id = 5",
                ),
                &[
                    "destination[0].fhir.url:",
                    "destination[0].fhir.timeout_ms:",
                    "destination[0].fhir.auth.token_url:",
                    "destination[0].fhir.auth.kid: must not be empty",
                    "destination[0].fhir.auth.private_key_pem: missing",
                    "destination[0].fhir.auth.scope: missing",
                    "destination[0].fhir.auth.scop:",
                    "destination[0].fhir.auth.client_id:",
                ],
            ),
            (
                "certificate of ours",
                destination("[destination.fhir]\n[destination.fhir.auth]\nkind = \"client-certificate\"\ncert = 1"),
                &[
                    "destination[0].fhir.url: missing",
                    "destination[0].fhir.auth.cert:",
                    "destination[0].fhir.auth.key: missing",
                ],
            ),
            (
                "kind",
                destination("[destination.fhir]\nbatch = 1\n[destination.fhir.auth]\nkind = \"basic\""),
                &["destination[0].fhir.url: missing", "destination[0].fhir.batch:", "destination[0].fhir.auth.kind:"],
            ),
        ];
        for (name, file, expected) in table {
            let mistakes = read(file, &[]).unwrap_err();
            assert_eq!(mistakes.len(), expected.len(), "{name}: {mistakes:#?}");
            for expected in *expected {
                let told = mistakes.iter().any(|mistake| mistake.starts_with(expected));
                assert!(told, "{name}: {expected} is not among {mistakes:#?}");
            }
        }
    }

    #[test]
    fn a_draft_keeps_what_is_sound() {
        let file = "drain_seconds = \"soon\"\ndata = \"elsewhere\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"";
        let (config, mistakes) = Config::draft(Some(file), &BTreeMap::new());
        assert_eq!((mistakes.len(), config.data.as_path()), (1, std::path::Path::new("elsewhere")));
        assert!(config.tls.is_some());
    }

    #[test]
    fn every_mistake_of_the_terminology_server_is_reported() {
        let file = "[terminology]\ndeadline_ms = 0\ncach = 1\n[exchange]\nunanswered_required = \"ask\"";
        let mistakes = read(file, &[]).unwrap_err();
        for expected in
            ["terminology.url: missing", "terminology.deadline_ms:", "terminology.cach", "exchange.unanswered"]
        {
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(expected)), "{expected}: {mistakes:#?}");
        }
        let config = read("[terminology]\nurl = \"https://tx.example/r4\"", &[]).unwrap();
        assert_eq!(config.terminology.map(|server| server.deadline_ms), Some(2_000));
    }

    #[test]
    fn destinations_are_told_apart_and_named_as_consents_name_them() {
        let one = |name: &str, actor: &str| {
            format!(
                "[[destination]]\nname = {name:?}\nactor = {actor:?}\n[destination.fhir]\nurl = \"https://a.example/fhir\"\n"
            )
        };
        assert!(read(&(one("a", "Organization/a") + &one("b", "Organization/a")), &[]).is_ok());
        let mistakes = read(&(one("a", "Organization/a") + &one("a", "Organization a")), &[]).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.starts_with("destination[1].name: another")), "{mistakes:?}");
        assert!(mistakes.iter().any(|mistake| mistake.starts_with("destination[1].actor:")), "{mistakes:?}");
    }
}
