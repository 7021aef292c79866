//! The validator for the packages and loose definitions that the command line names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::commands::packages::Place;
use crate::fhir::definitions::{Package, Registry};
use crate::fhir::tree::{Document, Element, json, write};
use crate::fhir::validate::{Format, Validator};
use crate::guide;

/// Which definitions hold besides the standard's.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Known {
    /// A package of definitions: a .tgz file, an unpacked folder, or NAME#VERSION in the package cache.
    #[arg(long, value_name = "FILE|NAME#VERSION")]
    package: Vec<String>,
    /// A loose definition (StructureDefinition, ValueSet, CodeSystem ...), or a folder of them.
    #[arg(long, value_name = "FILE|DIR")]
    resource: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
}

impl Known {
    pub fn validator(&self) -> anyhow::Result<Validator> {
        let loaded = self.place.cache().load(&self.package);
        let loaded = loaded.map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        let mut packages = loaded.packages;
        let mut definitions = Vec::new();
        // The standard's own shapes are enough to read a definition.
        let reader = (!self.resource.is_empty()).then(|| Validator::new(Registry::core()));
        for (path, reader) in self.resource.iter().zip(reader.iter().cycle()) {
            gather(reader, path, &mut definitions).with_context(|| format!("reading {}", path.display()))?;
        }
        if !definitions.is_empty() {
            packages.push(Arc::new(Package::loose("resources", &definitions)?));
        }
        let registry = if packages.is_empty() {
            guide::registry()
        } else {
            Registry::with_packages([guide::packages(), packages].concat())
        };
        for defect in registry.defects() {
            eprintln!("warning: {defect}");
        }
        Ok(Validator::new(registry))
    }
}

/// The definitions of a file, or of a folder and those below it. A Bundle stands for what is in it.
fn gather(reader: &Validator, path: &Path, out: &mut Vec<Document>) -> anyhow::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            let is_resource = entry.extension().is_some_and(|ending| ending == "json" || ending == "xml");
            if entry.is_dir() || is_resource {
                gather(reader, &entry, out)?;
            }
        }
        return Ok(());
    }
    let bytes = std::fs::read(path)?;
    let reading = reader.read(&bytes, Format::of(&bytes));
    let Some(document) = reading.document.filter(|_| reading.issues.is_empty()) else {
        let issue = reading.issues.into_iter().next().map(|issue| super::text::short(&issue));
        bail!("{}: {}", path.display(), issue.unwrap_or_default());
    };
    let root = Element::root(&document);
    if root.resource_type() == Some("Bundle") {
        for entry in root.all("entry").filter_map(|entry| entry.get("resource")) {
            out.extend(json::parse(write::compact(&document, entry.node())));
        }
    } else {
        out.push(document);
    }
    Ok(())
}
