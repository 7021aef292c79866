//! `publish`: writes the guide's files.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::guide;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Directory to write to.
    #[arg(long, default_value = "docs/guide")]
    out: PathBuf,
    /// File to write the guide to as a FHIR package (.tgz), for SUSHI and validators.
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&options.out)?;
    let files = guide::files(None);
    for file in &files {
        let path = options.out.join(&file.path);
        std::fs::write(&path, &file.content).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &options.package {
        std::fs::write(path, guide::archive()?).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{} file(s) in {}", files.len(), options.out.display());
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
            let committed = std::fs::read_to_string(directory.join(&file.path)).unwrap_or_default();
            assert!(committed == file.content, "{} is out of date: run `cargo run -- publish`", file.path);
        }
    }
}
