//! `definitions`: condenses a FHIR package into the text that is compiled into the binary.
//!
//! Run when a new core package is adopted; the same package always gives the same bytes.

use std::path::Path;

use anyhow::Context;

use crate::fhir::definitions::{compress, condense, package};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The package, a .tgz.
    pub package: std::path::PathBuf,
    /// File to write.
    pub out: std::path::PathBuf,
}

/// Reads a package (.tgz) and writes its condensed definitions.
pub fn run(package: &Path, out: &Path) -> anyhow::Result<()> {
    let bytes = compile(package)?;
    std::fs::write(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(())
}

/// The bytes that [`run`] writes.
pub fn compile(package: &Path) -> anyhow::Result<Vec<u8>> {
    let file = std::fs::File::open(package).with_context(|| format!("cannot open {}", package.display()))?;
    let documents = package::resources(file).with_context(|| format!("cannot read {}", package.display()))?;
    Ok(compress(&condense(&documents)))
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
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/r4-core.bin");
        if std::env::var("MHEALTH_BLESS").is_ok() {
            run(&package, &out).unwrap();
        }
        assert!(compile(&package).unwrap() == std::fs::read(&out).unwrap(), "profiles/r4-core.bin is out of date");
    }
}
