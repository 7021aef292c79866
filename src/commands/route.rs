//! `route explain`: where a resource would go by the routing table, in what shape, and why not; `route dry-run`: what a changed
//! table would change; and `route packs`.
//!
//! For whoever writes a table or a pack, or wonders why something was not delivered. Nothing is sent anywhere.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::json;

use super::pack::{said, setting};
use super::{Source, assemble, runtime};
use crate::config::Config;
use crate::exchange::facts::Facts;
use crate::exchange::origin::residence;
use crate::exchange::recipients::Known;
use crate::exchange::rehearse::{Difference, Rehearsal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element, json as tree};
use crate::national::{Address, Measured, Message, NotDeliverable, Pack, Settings};
use crate::policy::access::client::Client;
use crate::policy::routing::Origin;
use crate::store::Store;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Say where a resource would go, in what shape, and which condition keeps it from going elsewhere.
    Explain(Explain),
    /// Decide what is stored by a changed configuration: what would go where that does not now, and what would not any more.
    DryRun(DryRun),
    /// List the packs, or print what one of them says.
    Packs(Packs),
}

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    source: Source,
    /// A pack alone, without a configuration: an id, or an id and a version such as fr-ens@3.
    #[arg(long, value_name = "PACK")]
    pack: Option<String>,
    /// Id of the client that sent it, for conditions on the app.
    #[arg(long, value_name = "ID", default_value = "")]
    client: String,
    /// Observations as they are stored, in JSON; one file each.
    #[arg(long, value_name = "FILE", required = true)]
    resource: Vec<PathBuf>,
    /// The Patient.
    #[arg(long, value_name = "FILE")]
    person: Option<PathBuf>,
    /// The Device that measured.
    #[arg(long, value_name = "FILE")]
    device: Option<PathBuf>,
    /// The Device of the app.
    #[arg(long, value_name = "FILE")]
    app: Option<PathBuf>,
    /// What the pack asks of the operator.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    setting: Vec<(String, String)>,
    /// A folder of a pack of one's own.
    #[arg(long, value_name = "FOLDER")]
    folder: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DryRun {
    /// The configuration that holds now is the one of `--config`.
    #[command(flatten)]
    source: Source,
    /// The changed configuration.
    #[arg(long, value_name = "FILE")]
    new: PathBuf,
    /// How many resources are named of what differs.
    #[arg(long, value_name = "N", default_value_t = 5)]
    examples: usize,
    /// How it is said.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Form {
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Packs {
    /// The pack to be printed; all are listed without one.
    #[arg(value_name = "PACK")]
    pack: Option<String>,
    /// A folder of a pack of one's own.
    #[arg(long, value_name = "FOLDER")]
    folder: Vec<PathBuf>,
}

pub(super) fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Explain(options) if options.pack.is_some() => by_pack(options),
        Action::Explain(options) => by_table(options),
        Action::DryRun(options) => dry_run(options),
        Action::Packs(options) => packs(options),
    }
}

fn packs(options: &Packs) -> anyhow::Result<ExitCode> {
    let shelf = assemble::packs_of(&options.folder)?;
    match &options.pack {
        None => {
            for pack in shelf.all() {
                println!("{:<24} {} ({})", pack.name(), pack.title, pack.country_name);
            }
        }
        Some(name) => print!("{}", shelf.find(name).with_context(|| format!("there is no pack {name}"))?),
    }
    Ok(ExitCode::SUCCESS)
}

/// What is told beside a resource.
struct Beside {
    person: Option<Document>,
    device: Option<Document>,
    app: Option<Document>,
}

impl Beside {
    fn of(options: &Explain) -> anyhow::Result<Beside> {
        let [person, device, app] =
            [&options.person, &options.device, &options.app].map(|path| path.as_ref().map(read).transpose());
        Ok(Beside { person: person?, device: device?, app: app? })
    }

    /// Why nothing is told, and what may be missing on the command line alone.
    fn refused(&self, told: &NotDeliverable) -> String {
        let mut out = format!("not deliverable: {} ({})", told.text, told.id.code());
        let files = [(&self.person, "--person"), (&self.device, "--device"), (&self.app, "--app")];
        let absent: Vec<&str> = files.iter().filter(|(file, _)| file.is_none()).map(|(_, option)| *option).collect();
        if told.id == Id::DestinationNeeds && !absent.is_empty() {
            let _ = write!(out, "\n  Nothing was given as {}.", absent.join(", "));
        }
        out
    }

    /// The requests that a pack makes, or why it makes none.
    fn told(
        &self,
        pack: &Pack,
        settings: &Settings,
        observations: &[&Document],
    ) -> anyhow::Result<Result<String, String>> {
        let contexts = pack.unasked();
        let measured: Vec<Measured<'_>> = observations
            .iter()
            .map(|one| Measured {
                observation: Element::root(one),
                device: self.device.as_ref().map(Element::root),
                app: self.app.as_ref().map(Element::root),
                contexts: &contexts,
            })
            .collect();
        let mut out = String::new();
        for one in &measured {
            for left_out in pack.left_out(one.observation) {
                let _ = writeln!(out, "without {left_out}, for which there is no place");
            }
        }
        for some in chunks(pack, &measured) {
            let person = self.person.as_ref().map(Element::root);
            let message = Message { measured: some, person, settings, key: &[0; 32] };
            match pack.request(&message, &[]) {
                Ok(told) => {
                    let body: serde_json::Value = serde_json::from_str(&told.body).context("the request is no JSON")?;
                    let Address { method, path, condition } = &told.address;
                    let _ = writeln!(out, "{method} [address]/{}", path.join("/"));
                    if let Some(condition) = condition {
                        let _ = writeln!(out, "If-None-Exist: {condition}");
                    }
                    let _ = writeln!(out, "{body:#}");
                }
                Err(told) => return Ok(Err(self.refused(&told))),
            }
        }
        Ok(Ok(out))
    }
}

fn by_pack(options: &Explain) -> anyhow::Result<ExitCode> {
    let shelf = assemble::packs_of(&options.folder)?;
    let name = options.pack.as_deref().unwrap_or_default();
    let pack = shelf.find(name).with_context(|| format!("there is no pack {name}"))?;
    let settings =
        Settings::of(pack, &said(&options.setting)?).map_err(|mistakes| anyhow::anyhow!(on_command_line(&mistakes)))?;
    let observations = options.resource.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let told = Beside::of(options)?.told(pack, &settings, &observations.iter().collect::<Vec<_>>())?;
    let code = if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match told {
        Ok(requests) => print!("{requests}"),
        Err(why) => println!("{why}"),
    }
    Ok(code)
}

/// What is wrong with settings, as they are given here.
fn on_command_line(mistakes: &[String]) -> String {
    let line = |mistake: &String| match mistake.strip_prefix("settings.").and_then(|rest| rest.split_once(": ")) {
        Some((name, why)) => format!("--setting {name}=…: {why}"),
        None => mistake.clone(),
    };
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Each resource by each rule of the configuration.
fn by_table(options: &Explain) -> anyhow::Result<ExitCode> {
    let of_pack = options.setting.iter().map(|(name, _)| format!("--setting {name}"));
    if let Some(option) =
        of_pack.chain(options.folder.iter().map(|folder| format!("--folder {}", folder.display()))).next()
    {
        bail!("{option} goes with --pack; a configuration says it in [destination.settings] or [packs]");
    }
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let joined = |mistakes: Vec<String>| anyhow::anyhow!(mistakes.join("\n"));
    let (table, shapes) = (assemble::routing(&config).map_err(joined)?, assemble::shapes(&config).map_err(joined)?);
    let beside = Beside::of(options)?;
    let origin = origin(options, &config, beside.person.as_ref())?;
    let mut goes = false;
    for path in &options.resource {
        let document = read(path)?;
        let root = Element::root(&document);
        let kind = root.resource_type().unwrap_or_default();
        let facts = Facts::of(Arc::from(kind), root);
        let known = Known { origin: Some(&origin), grounds: None };
        let asked = known.asked(&facts, &options.client);
        println!("{}", path.display());
        for account in table.explain(&asked) {
            let unmet: Vec<&str> = account.unmet.iter().map(|condition| condition.name()).collect();
            if !unmet.is_empty() {
                println!("  {} (rule {}): no: {}", account.destination, account.rule + 1, unmet.join(", "));
                continue;
            }
            goes = true;
            let configured = config.destinations.iter().position(|one| one.rule.name == account.destination);
            match configured.and_then(|at| shapes[at].as_ref()) {
                None => println!(
                    "  {} (rule {}): as it is, if the consent permits it",
                    account.destination,
                    account.rule + 1
                ),
                Some(shape) => {
                    let (name, number) = (account.destination, account.rule + 1);
                    println!("  {name} (rule {number}): by {}, if the consent permits it", shape.pack.name());
                    match beside.told(&shape.pack, &shape.settings, &[&document])? {
                        Ok(requests) => print!("{requests}"),
                        Err(why) => println!("  {why}"),
                    }
                }
            }
        }
    }
    Ok(if goes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Of whom by the file, from whom by the registration.
fn origin(options: &Explain, config: &Config, person: Option<&Document>) -> anyhow::Result<Origin> {
    let residence = person.map(|person| residence(Element::root(person))).unwrap_or_default();
    let mut origin = Origin { residence, ..Origin::default() };
    if !options.client.is_empty() {
        let registered = Store::registered(&assemble::place(config)?).context("reading the clients")?;
        let client = registered.iter().find(|(id, _)| *id == options.client);
        let (_, body) = client.with_context(|| format!("there is no client {}", options.client))?;
        let client = Client::parse(body).map_err(|mistakes| anyhow::anyhow!(mistakes.join("\n")))?;
        (origin.tenant, origin.certified) = (client.tenant, client.certified);
    }
    Ok(origin)
}

fn dry_run(options: &DryRun) -> anyhow::Result<ExitCode> {
    let changed = Source { config: Some(options.new.clone()) };
    let (config, new) = match (assemble::configured(&options.source), assemble::configured(&changed)) {
        (Ok(config), Ok(new)) => (config, new),
        (Err(code), _) | (_, Err(code)) => return Ok(code),
    };
    let joined = |mistakes: Vec<String>| anyhow::anyhow!(mistakes.join("\n"));
    let (now, then) = (assemble::routing(&config).map_err(joined)?, assemble::routing(&new).map_err(joined)?);
    // What its packs ask for is part of a configuration, too.
    let wrong = [&config, &new].map(|config| assemble::shapes(config).err().unwrap_or_default());
    if wrong.iter().any(|wrong| !wrong.is_empty()) {
        bail!("{}", wrong.concat().join("\n"));
    }
    let gateway = assemble::beside(&config)?;
    let rehearsal = runtime()?.block_on(async {
        let rehearsal = gateway.rehearse(&now, &then, options.examples).await?;
        gateway.store.close().await;
        anyhow::Ok(rehearsal)
    })?;
    match options.format {
        Form::Text => print!("{}", text(&rehearsal)),
        Form::Json => println!("{:#}", as_json(&rehearsal)),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(rehearsal: &Rehearsal) -> String {
    let mut out = format!("{} resources looked at; what the consents say was not asked\n", rehearsal.looked_at);
    for (name, one) in &rehearsal.destinations {
        let _ =
            writeln!(out, "{name}: {} now, {} then; {} more, {} no more", one.now, one.then, one.added, one.removed);
        for (sign, list) in ["+", "-"].iter().zip(&one.examples) {
            for reference in list {
                let _ = writeln!(out, "  {sign} {reference}");
            }
        }
    }
    out
}

fn as_json(rehearsal: &Rehearsal) -> serde_json::Value {
    let one = |(name, one): (&String, &Difference)| {
        let [added, removed] = &one.examples;
        let told = json!({
            "now": one.now, "then": one.then, "added": one.added, "removed": one.removed,
            "examples": {"added": added, "removed": removed},
        });
        (name.clone(), told)
    };
    let destinations: serde_json::Map<String, serde_json::Value> = rehearsal.destinations.iter().map(one).collect();
    json!({"lookedAt": rehearsal.looked_at, "destinations": destinations})
}

fn read(path: &PathBuf) -> anyhow::Result<Document> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    tree::parse(bytes).map_err(|issue| anyhow::anyhow!("{}: {}", path.display(), issue.text))
}

/// As many at once as one request carries, of what they become there.
fn chunks<'s, 'm>(pack: &Pack, measured: &'s [Measured<'m>]) -> Vec<&'s [Measured<'m>]> {
    let mut found = Vec::new();
    let (mut begin, mut carried) = (0, 0);
    for (at, one) in measured.iter().enumerate() {
        let count = pack.becomes(one.observation);
        if at > begin && carried + count > pack.request.most {
            found.push(&measured[begin..at]);
            (begin, carried) = (at, 0);
        }
        carried += count;
    }
    found.extend(Some(&measured[begin..]).filter(|rest| !rest.is_empty()));
    found
}
