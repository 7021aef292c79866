//! Snapshots made from differentials, held against those that packages publish.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::package::{self, Package};
use super::super::structure;
use super::super::{DefinitionId, Kind, Literal, Registry, Strength, Structure, canonical};
use super::*;
use crate::fhir::tree::{NodeId, write};

#[expect(clippy::disallowed_methods, reason = "where the packages lie is the test machine's matter")]
fn folder() -> PathBuf {
    let folder = std::env::var("MHEALTH_PACKAGES")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/packages"), PathBuf::from);
    assert!(folder.is_dir(), "{} is missing; set MHEALTH_PACKAGES", folder.display());
    folder
}

#[expect(clippy::disallowed_methods, reason = "which one is looked at is chosen by hand")]
fn only() -> Option<String> {
    std::env::var("MHEALTH_SUITE_ONLY").ok()
}

fn value(literal: Option<&Literal>) -> String {
    literal.map(|each| format!("{} {}", each.type_name, write::compact(&each.document, each.node))).unwrap_or_default()
}

/// Which version is meant depends on what else is loaded.
fn unversioned(canonicals: &[String]) -> Vec<&str> {
    canonicals.iter().map(|each| canonical::split(each).0).collect()
}

/// Of which type the id of a resource (R4 §2.26.4) and the text of a primitive is was published both ways.
fn code<'e>(path: &str, code: &'e str) -> &'e str {
    let either = match path.split_once('.') {
        Some((_, "id")) => code == "id",
        Some((owner, "value")) => structure::is_primitive(owner),
        _ => false,
    };
    if either { "string" } else { code }
}

/// What is compared of an element, aspect by aspect.
fn aspects(element: &ElementDefinition, registry: &Registry) -> Vec<(&'static str, String)> {
    let types: Vec<String> = element
        .types
        .iter()
        .map(|each| {
            let code = code(&element.path, &each.code);
            format!("{code} {:?} {:?}", unversioned(&each.profiles), unversioned(&each.targets))
        })
        .collect();
    // What its type or the type's profile says of every such element says nothing here.
    let profiles = element.types.iter().flat_map(|each| each.profiles.iter().chain(std::iter::once(&each.code)));
    let inherited: BTreeSet<String> = profiles
        .filter_map(|canonical| registry.structure(canonical))
        .flat_map(|structure| structure.elements.first().map(|root| root.constraints.clone()).unwrap_or_default())
        .map(|constraint| constraint.key)
        .collect();
    let keys: BTreeSet<&str> = element.constraints.iter().map(|each| each.key.as_str()).collect();
    let keys: Vec<&str> =
        keys.into_iter().filter(|key| !matches!(*key, "ele-1" | "ext-1") && !inherited.contains(*key)).collect();
    let binding = element.binding.as_ref().filter(|binding| binding.strength != Strength::Example);
    // Extensions are told apart by their url whether or not that is said.
    let slicing = element
        .slicing
        .as_ref()
        .filter(|slicing| !(element.name().ends_with("xtension") && **slicing == implied(element)));
    vec![
        ("min", element.min.to_string()),
        ("max", format!("{:?}", element.max)),
        ("types", types.join(", ")),
        ("fixed", value(element.fixed.as_ref())),
        ("pattern", value(element.pattern.as_ref())),
        (
            "binding",
            binding
                .map(|binding| format!("{:?} {}", binding.strength, canonical::split(&binding.value_set).0))
                .unwrap_or_default(),
        ),
        ("constraints", keys.join(" ")),
        ("slicing", slicing.map(|slicing| format!("{slicing:?}")).unwrap_or_default()),
        ("reference", element.content_reference.clone().unwrap_or_default()),
        ("modifier", element.is_modifier.to_string()),
        ("support", element.must_support.to_string()),
        ("repeats", (element.base_repeats && element.path.contains('.')).to_string()),
    ]
}

fn differences(expected: &[ElementDefinition], made: &[ElementDefinition], registry: &Registry) -> Vec<String> {
    let by_id = |elements: &[ElementDefinition]| -> BTreeMap<String, Vec<(&'static str, String)>> {
        elements.iter().map(|element| (element.id.clone(), aspects(element, registry))).collect()
    };
    let (theirs, ours) = (by_id(expected), by_id(made));
    let mut found = Vec::new();
    for (id, aspects) in &theirs {
        match ours.get(id) {
            None => found.push(format!("{id} is missing")),
            Some(own) => {
                let pairs = aspects.iter().zip(own).filter(|(one, other)| one != other);
                found.extend(pairs.map(|((name, theirs), (_, ours))| format!("{id} {name}: {theirs} | {ours}")));
            }
        }
    }
    found.extend(ours.keys().filter(|id| !theirs.contains_key(*id)).map(|id| format!("{id} is too much")));
    if found.is_empty() {
        let order = expected.iter().zip(made).find(|(one, other)| one.id != other.id);
        found.extend(order.map(|(one, _)| format!("{} is out of order", one.id)));
    }
    found
}

/// Packages whose value sets alone matter to others.
const WITHOUT_STRUCTURES: [&str; 2] = ["hl7.terminology", "hl7.fhir.r4.expansions"];

#[test]
fn snapshots_are_what_packages_publish() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        file.extension().is_some_and(|ending| ending == "tgz")
            && !WITHOUT_STRUCTURES.iter().any(|each| name.starts_with(each))
    });
    files.sort();
    let read = |file: &PathBuf| Arc::new(Package::read(&std::fs::read(file).unwrap()).unwrap());
    let packages: Vec<Arc<Package>> = files.iter().map(read).collect();
    let registry = Registry::with_packages(packages.clone());
    let (mut equal, mut total, mut failures) = (0, 0, BTreeSet::new());
    for (file, package) in files.iter().zip(&packages) {
        let documents = package::resources(std::fs::File::open(file).unwrap()).unwrap();
        let (mut own_equal, mut own_total) = (0, 0);
        for document in &documents {
            let root = Element::root(document);
            let is_structure = root.resource_type() == Some("StructureDefinition");
            if !is_structure || root.get("snapshot").is_none() || differential(root).next().is_none() {
                continue;
            }
            let Some(expected) = Structure::read(document, NodeId::ROOT).filter(|each| !each.base.is_empty()) else {
                continue;
            };
            let name = format!("{}#{} {}", package.name, package.version, expected.url);
            if only().is_some_and(|only| !name.contains(&only)) {
                continue;
            }
            own_total += 1;
            let from = registry.find(Kind::StructureDefinition, &format!("{}|{}", expected.url, expected.version));
            let Some(from) = from else { continue };
            // Older tools left it to the reader to add up what slices need.
            let mut counted = Node::tree(&expected.elements).unwrap();
            counted.count();
            let (path, mut elements) = (counted.element.path.clone(), Vec::new());
            counted.flatten(&path, &path, &mut elements);
            let found = match made(&registry, from, &expected, document) {
                Ok(made) => differences(&elements, &made, &registry),
                Err(why) => vec![why.to_owned()],
            };
            if found.is_empty() {
                own_equal += 1;
            } else {
                if only().is_some() {
                    println!("{name}\n  {}", found.join("\n  "));
                } else {
                    println!("{name}: {} differences, {}", found.len(), found[0]);
                }
                failures.insert(name);
            }
        }
        println!("{}#{}: {own_equal} of {own_total}", package.name, package.version);
        (equal, total) = (equal + own_equal, total + own_total);
    }
    println!("snapshots: {equal} of {total}");
    if only().is_none() {
        let known: BTreeSet<String> = include_str!("known-failures.txt").lines().map(str::to_owned).collect();
        assert_eq!(failures, known, "left: what differs; right: the list, which may only shrink");
    }
}

fn made(
    registry: &Registry,
    from: DefinitionId,
    expected: &Structure,
    document: &Document,
) -> Result<Vec<ElementDefinition>, &'static str> {
    let mut lookup = |canonical: &str| {
        if registry.is_type(canonical) {
            return registry.structure(canonical);
        }
        registry.structure_at(registry.find_from(from, Kind::StructureDefinition, canonical)?)
    };
    let bare = Structure { elements: Vec::new(), ..expected.clone() };
    let base = match lookup(&expected.base) {
        Some(base) => base,
        None if !expected.is_profile => Arc::new(nothing(&bare)),
        None => return Err("its base is not loaded"),
    };
    generate(&bare, document, &base, &mut lookup)
}
