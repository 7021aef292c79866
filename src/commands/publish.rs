//! `publish`: writes the guide: its site, or the pages that this repository holds of it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::guide::{self, Edition, File, Shelf};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Directory to write the site to: pages, resources and the FHIR package.
    directory: Option<PathBuf>,
    /// Directory to write issues and measures to as Markdown.
    #[arg(long, default_value = "docs/guide", conflicts_with_all = ["directory", "package"])]
    out: PathBuf,
    /// File to write the guide to as a FHIR package (.tgz), for SUSHI and validators.
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(path) = &options.package {
        std::fs::write(path, guide::archive(&Edition::current()))
            .with_context(|| format!("writing {}", path.display()))?;
        println!("the package in {}", path.display());
    }
    let mut count = 0;
    let directory = options.directory.as_ref().unwrap_or(&options.out);
    let mut write = |file: File| {
        let path = directory.join(&file.path);
        let folder = path.parent().unwrap_or(directory);
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        count += 1;
        std::fs::write(&path, &file.content).with_context(|| format!("writing {}", path.display()))
    };
    match options.directory {
        Some(_) => guide::all(&Shelf::new(Vec::new()), write)?,
        None if options.package.is_some() => return Ok(ExitCode::SUCCESS),
        None => guide::files(None).into_iter().try_for_each(&mut write)?,
    }
    println!("{count} file(s) in {}", directory.display());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use crate::guide;

    /// The committed guide is the enforced one.
    #[test]
    fn the_committed_guide_is_up_to_date() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide");
        for file in guide::files(None) {
            let committed = std::fs::read(directory.join(&file.path)).unwrap_or_default();
            assert!(committed == file.content, "{} is out of date: run `cargo run -- publish`", file.path);
        }
    }
}
