//! `route explain`: where a measurement would go by a country pack, in what shape, and why not; and `route packs`.
//!
//! For whoever writes a pack, or wonders why something was not delivered. Nothing is sent anywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::assemble;
use crate::fhir::tree::{Document, Element, json};
use crate::national::{Measured, Message, Settings, Shelf};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Print the request that a pack makes of measurements, or why it makes none.
    Explain(Explain),
    /// List the packs, or print what one of them says.
    Packs(Packs),
}

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The pack: an id, or an id and a version such as fr-ens@3.
    #[arg(long, value_name = "PACK")]
    pack: String,
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
        Action::Explain(options) => explain(options),
        Action::Packs(options) => packs(options),
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn shelf(folders: &[PathBuf]) -> anyhow::Result<Shelf> {
    let mut shelf = Shelf::default();
    for folder in folders {
        let files = assemble::files(folder).with_context(|| format!("reading {}", folder.display()))?;
        if let Err(mistakes) = shelf.add(&files) {
            let lines: Vec<String> = mistakes.iter().map(|mistake| format!("{}/{mistake}", folder.display())).collect();
            bail!("{}", lines.join("\n"));
        }
    }
    Ok(shelf)
}

fn packs(options: &Packs) -> anyhow::Result<ExitCode> {
    let shelf = shelf(&options.folder)?;
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

fn explain(options: &Explain) -> anyhow::Result<ExitCode> {
    let shelf = shelf(&options.folder)?;
    let pack = shelf.find(&options.pack).with_context(|| format!("there is no pack {}", options.pack))?;
    let said: BTreeMap<String, String> = options.setting.iter().cloned().collect();
    let settings = Settings::of(pack, &said).map_err(|mistakes| anyhow::anyhow!(mistakes.join("\n")))?;
    let observations = options.resource.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let [person, device, app] =
        [&options.person, &options.device, &options.app].map(|path| path.as_ref().map(read).transpose());
    let (person, device, app) = (person?, device?, app?);
    let measured: Vec<Measured<'_>> = observations
        .iter()
        .map(|one| Measured {
            observation: Element::root(one),
            device: device.as_ref().map(Element::root),
            app: app.as_ref().map(Element::root),
        })
        .collect();
    let mut code = ExitCode::SUCCESS;
    for some in measured.chunks(pack.request.most) {
        let person = person.as_ref().map(Element::root);
        let message = Message { measured: some, person, settings: &settings, key: &[0; 32] };
        match pack.body(&message) {
            Ok(body) => {
                let body: serde_json::Value = serde_json::from_str(&body).context("the request is no JSON")?;
                println!("{} [address]/{}\n{body:#}", pack.request.method, pack.request.path);
            }
            Err(told) => {
                println!("not deliverable: {} ({})", told.text, told.id.code());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn read(path: &PathBuf) -> anyhow::Result<Document> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    json::parse(bytes).map_err(|issue| anyhow::anyhow!("{}: {}", path.display(), issue.text))
}
