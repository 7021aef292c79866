//! `pack key`, `pack sign` and `pack verify`: whoever publishes packs vouches for them.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::FOUND;
use crate::commands::assemble;
use crate::commands::publisher::{self, SIGNATURE};
use crate::server::tls::write_private;
use crate::tlog::Signer;

#[derive(Debug, clap::Args)]
pub struct Key {
    /// Name of the publisher, such as health.example; without spaces.
    #[arg(value_name = "NAME")]
    name: String,
    /// File of the private key, for its owner alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Sign {
    /// Folder of the pack.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// File of the private key, as `pack key` writes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Folder of the pack.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Public key of a publisher who is trusted, or a file of it.
    #[arg(long, value_name = "KEY|FILE", required = true)]
    publisher: Vec<String>,
}

pub(super) fn key(options: &Key) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!options.out.exists(), "{} exists; a key is not replaced", options.out.display());
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the operating system provides no entropy: {error}"))?;
    let text = Signer::written(&options.name, &seed)?;
    write_private(&options.out, format!("{text}\n").as_bytes())
        .with_context(|| format!("writing {}", options.out.display()))?;
    println!("{}", Signer::parse(&text)?.verifier());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn sign(options: &Sign) -> anyhow::Result<ExitCode> {
    let folder = assemble::folder(&options.folder).with_context(|| format!("reading {}", options.folder.display()))?;
    let signer = publisher::signer(&options.key)?;
    let note = match publisher::sign(&folder, &signer) {
        Ok(note) => note,
        Err(mistakes) => bail!("only what is a pack is signed:\n{}", mistakes.join("\n")),
    };
    let path = options.folder.join(SIGNATURE);
    fs::write(&path, note).with_context(|| format!("writing {}", path.display()))?;
    println!("{} is signed by {}", options.folder.display(), signer.verifier().name());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(options: &Verify) -> anyhow::Result<ExitCode> {
    let folder = assemble::folder(&options.folder).with_context(|| format!("reading {}", options.folder.display()))?;
    let publishers =
        options.publisher.iter().map(|given| publisher::verifier(given)).collect::<anyhow::Result<Vec<_>>>()?;
    let doubts = publisher::doubts(&folder, &publishers);
    for doubt in &doubts {
        println!("{}/{doubt}", options.folder.display());
    }
    if doubts.is_empty() {
        println!("{} is what was signed", options.folder.display());
    }
    Ok(if doubts.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}
