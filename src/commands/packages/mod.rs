//! `packages`: the packages of definitions on this machine, in the cache folder that FHIR tools share.

mod cache;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

pub use cache::{Cache, Loaded};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    action: Action,
}

/// Where packages are kept.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Place {
    /// Folder of unpacked packages; without one `.fhir/packages` in the home directory.
    #[arg(long = "package-cache", env = "MHEALTH_PACKAGE_CACHE", value_name = "DIR", global = true)]
    folder: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put a package into the cache, from a .tgz file or an unpacked folder.
    Add {
        /// The .tgz file, or the folder that holds `package/package.json`.
        source: PathBuf,
    },
    /// List the packages in the cache.
    List,
    /// Remove a package from the cache.
    Remove {
        /// NAME#VERSION
        package: String,
    },
}

impl Place {
    /// The cache in that place; a folder that is not there yet is an empty one.
    pub fn cache(&self) -> Cache {
        let home = || std::env::home_dir().unwrap_or_default().join(".fhir").join("packages");
        Cache::new(self.folder.clone().unwrap_or_else(home))
    }

    pub fn at(folder: Option<PathBuf>) -> Place {
        Place { folder }
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let cache = options.place.cache();
    match &options.action {
        Action::Add { source } => {
            let added = cache.add(source).with_context(|| format!("adding {}", source.display()))?;
            println!("{added}");
        }
        Action::List => {
            for (name, version) in cache.list() {
                println!("{name}#{version}");
            }
        }
        Action::Remove { package } => cache.remove(package)?,
    }
    Ok(ExitCode::SUCCESS)
}
