//! Examples that somebody published as right: the official ones of R4, and those of national device guides.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::tree::Element;
use mhealth_gateway::fhir::validate::{Options, Validator};

use super::{
    beside, core, errors, files, issues, keep, known, line, only, package, packages, read, share, spread, suite,
};

#[test]
fn official_examples_are_valid() {
    rejects_none("r4-examples", &files(&suite("r4-examples/json")), &core());
}

/// Checks files that should all be valid.
fn rejects_none(name: &str, paths: &[PathBuf], validator: &Validator) {
    let only = only();
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let chosen: Vec<&PathBuf> =
        paths.iter().filter(|path| only.as_ref().is_none_or(|only| named(path).contains(only))).collect();
    let found = spread(&chosen, |path| issues(validator, &fs::read(path).unwrap(), &Options::default()));
    let (mut failed, mut full) = (BTreeSet::new(), String::new());
    for (path, found) in chosen.iter().zip(&found) {
        if errors(found) > 0 {
            failed.insert(named(path));
        }
        if errors(found) > 0 || only.is_some() {
            writeln!(full, "{}", named(path)).unwrap();
            for issue in found {
                writeln!(full, "  {}", line(issue)).unwrap();
            }
        }
    }
    if only.is_some() {
        println!("{full}");
        return;
    }
    println!("{name}: accepted {}", share(chosen.len() - failed.len(), chosen.len()));
    keep(&format!("{name}.txt"), &full);
    known(&format!("{name}.txt"), &failed);
}

/// A guide: where its definitions and its examples lie, and the packages that it stands on.
struct Guide {
    name: &'static str,
    folders: Vec<PathBuf>,
    packages: &'static [&'static str],
}

const DEFINITIONS: [&str; 4] = ["StructureDefinition", "ValueSet", "CodeSystem", "SearchParameter"];

#[test]
fn examples_of_device_guides_are_valid() {
    let mhealth = |path: &str| suite("mhealth").join(path);
    let national = |path: &str| beside("MHEALTH_NATIONAL", "national").join(path);
    let guides = [
        Guide { name: "de-hddt", folders: vec![mhealth("gematik-hddt/compiled")], packages: &[] },
        Guide {
            name: "uv-phd",
            folders: vec![mhealth("hl7-phd-ig/compiled"), mhealth("hl7-phd-ig/input/examples")],
            packages: &[],
        },
        Guide {
            name: "no-vkp",
            folders: vec![
                mhealth("no-vkp-observation/compiled"),
                national("no-pmd/conformance"),
                national("no-pmd/no-basis"),
            ],
            packages: &[],
        },
        Guide {
            name: "fi-base",
            folders: vec![mhealth("fi-base-profiles/compiled"), mhealth("fi-base-profiles/input/examples")],
            packages: &["hl7.fhir.uv.extensions.r4-5.2.0.tgz"],
        },
    ];
    for guide in guides {
        let listed: Vec<PathBuf> = guide.folders.iter().flat_map(|folder| files(folder)).collect();
        let is_resource = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json" || ending == "xml");
        let mut documents = Vec::new();
        let mut examples = Vec::new();
        for path in listed.into_iter().filter(is_resource) {
            let Ok(document) = read(&fs::read(&path).unwrap()) else {
                examples.push(path);
                continue;
            };
            let kind = Element::root(&document).resource_type().unwrap_or_default();
            if DEFINITIONS.contains(&kind) { documents.push(document) } else { examples.push(path) }
        }
        let mut loaded: Vec<_> = guide.packages.iter().map(|name| package(&packages().join(name))).collect();
        loaded.push(Arc::new(Package::loose(guide.name, &documents).unwrap()));
        let validator = Validator::new(Registry::with_packages(loaded));
        rejects_none(guide.name, &examples, &validator);
    }
}
