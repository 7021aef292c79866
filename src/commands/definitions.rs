//! `definitions`: condenses a FHIR package into the text that is compiled into the binary.
//!
//! Run when a new core package is adopted or the guide was compiled anew; the same package always gives the same bytes.

use std::path::Path;

use anyhow::Context;

use crate::fhir::definitions::{Scope, compress, condense, package};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The package, a .tgz.
    pub package: std::path::PathBuf,
    /// File to write.
    pub out: std::path::PathBuf,
    /// Keep forms, maps and measures as well.
    #[arg(long)]
    pub everything: bool,
}

/// Reads a package (.tgz) and writes its condensed definitions.
pub(super) fn run(Options { package, out, everything }: &Options) -> anyhow::Result<()> {
    let bytes = compile(package, if *everything { Scope::Everything } else { Scope::Rules })?;
    std::fs::write(out, &bytes).with_context(|| format!("cannot write {}", out.display()))
}

/// The bytes that [`run`] writes.
fn compile(package: &Path, scope: Scope) -> anyhow::Result<Vec<u8>> {
    let file = std::fs::File::open(package).with_context(|| format!("cannot open {}", package.display()))?;
    let documents = package::resources(file).with_context(|| format!("cannot read {}", package.display()))?;
    Ok(compress(&condense(&documents, scope)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "where the packages lie is the test machine's matter")]
    fn the_embedded_definitions_can_be_made_again() {
        let folder = std::env::var("MHEALTH_PACKAGES")
            .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/packages"), PathBuf::from);
        let package = folder.join("hl7.fhir.r4.core-4.0.1.tgz");
        assert!(package.exists(), "{} is missing; set MHEALTH_PACKAGES", package.display());
        check(&package, "profiles/r4-core.bin", Scope::Rules);
    }

    #[test]
    fn the_embedded_guide_can_be_made_again() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        check(&root.join("profiles/guide.tgz"), "profiles/guide.bin", Scope::Everything);
    }

    #[expect(clippy::disallowed_methods, reason = "whoever runs the test says whether to make them anew")]
    fn check(package: &Path, name: &str, scope: Scope) {
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var("MHEALTH_BLESS").is_ok() {
            std::fs::write(&out, compile(package, scope).unwrap()).unwrap();
        }
        assert!(compile(package, scope).unwrap() == std::fs::read(&out).unwrap(), "{name} is out of date");
    }
}
