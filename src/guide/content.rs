//! One edition of the guide: its resources as they were authored, the examples among them, and what each example must
//! come to.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use serde_json::Value;

use super::snapshot;
use crate::fhir::definitions::Registry;
use crate::fhir::definitions::package::{Unreadable, each_file};

/// The compiled guide with its examples, as it is published.
static PUBLISHED: &[u8] = include_bytes!("../../profiles/guide.tgz");

/// An edition, read from its package.
#[derive(Debug)]
pub struct Edition {
    /// Definitions first, then examples, each by type and id.
    pub(super) resources: Vec<Value>,
    /// For each example, by `Type/id`, the issues that it must raise; none where it is right.
    outcomes: HashMap<String, BTreeSet<String>>,
    /// Names and descriptions that the guide has for its parts, by `Type/id`.
    names: HashMap<String, (String, String)>,
    /// Where the ImplementationGuide stands among the resources.
    guide: usize,
}

/// `Type/id`.
fn address(resource: &Value) -> String {
    let text = |name: &str| resource[name].as_str().unwrap_or_default();
    format!("{}/{}", text("resourceType"), text("id"))
}

impl Edition {
    /// The edition that this program enforces.
    pub fn current() -> &'static Edition {
        static CURRENT: LazyLock<Edition> = LazyLock::new(|| {
            let read = Edition::read(PUBLISHED, &super::registry());
            read.expect("profiles/guide.tgz was written by profiles/build, and a test reads it")
        });
        &CURRENT
    }

    /// Reads a package: definitions in `package`, right examples in `package/example`, wrong ones in
    /// `package/example/refused`, each with the issues that it raises in a tag of its `meta`.
    pub fn read(package: &[u8], registry: &Registry) -> Result<Edition, Unreadable> {
        let (mut definitions, mut examples) = (Vec::new(), Vec::new());
        each_file(package, |path, bytes| {
            let Ok(resource) = serde_json::from_slice::<Value>(&bytes) else { return Ok(()) };
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if resource["resourceType"].is_string() {
                match folder {
                    "package" => definitions.push(resource),
                    _ => examples.push(resource),
                }
            }
            Ok(())
        })?;
        definitions.sort_by_key(address);
        examples.sort_by_key(address);
        snapshot::complete(&mut definitions, registry);
        definitions.push(super::issues::code_system());
        let guide = definitions.iter().position(|each| each["resourceType"] == "ImplementationGuide");
        let guide = guide.ok_or(Unreadable::Manifest)?;
        let outcomes = examples.iter().map(|each| (address(each), raised(each))).collect();
        let names = named(&definitions[guide]);
        definitions.append(&mut examples);
        Ok(Edition { resources: definitions, outcomes, names, guide })
    }

    /// The ImplementationGuide resource.
    pub(super) fn guide(&self) -> &Value {
        &self.resources[self.guide]
    }

    /// What the canonicals of the guide begin with.
    pub(super) fn canonical(&self) -> &str {
        let url = self.guide()["url"].as_str().unwrap_or_default();
        url.split_once("/ImplementationGuide/").map_or(url, |(base, _)| base)
    }

    /// The canonical of one of the guide's profiles, by what tells it from the others.
    pub(super) fn profile_url(&self, name: &str) -> String {
        format!("{}/StructureDefinition/mh-{name}", self.canonical())
    }

    pub(super) fn examples(&self) -> impl Iterator<Item = &Value> {
        self.resources.iter().filter(|each| self.is_example(each))
    }

    pub(super) fn is_example(&self, resource: &Value) -> bool {
        self.outcomes.contains_key(&address(resource))
    }

    /// The issues that an example must raise; none where it is right or no example.
    pub(super) fn refused_with(&self, resource: &Value) -> Vec<&str> {
        self.outcomes.get(&address(resource)).into_iter().flatten().map(String::as_str).collect()
    }

    /// What the guide calls a resource.
    pub(super) fn title_of<'v>(&'v self, resource: &'v Value) -> &'v str {
        let own = ["title", "name"].iter().find_map(|name| resource[*name].as_str());
        let listed = self.names.get(&address(resource)).map(|(name, _)| name.as_str());
        if self.is_example(resource) { listed.or(own) } else { own.or(listed) }
            .or_else(|| resource["id"].as_str())
            .unwrap_or_default()
    }

    pub(super) fn description_of<'v>(&'v self, resource: &'v Value) -> &'v str {
        let listed = || self.names.get(&address(resource)).map(|(_, description)| description.as_str());
        resource["description"].as_str().or_else(listed).unwrap_or_default()
    }
}

/// The issues that an example names in the tags of its `meta`.
fn raised(example: &Value) -> BTreeSet<String> {
    let tags = example["meta"]["tag"].as_array().map(Vec::as_slice).unwrap_or_default();
    let issues = tags.iter().filter(|tag| tag["system"] == crate::fhir::outcome::ISSUE_SYSTEM);
    issues.filter_map(|tag| tag["code"].as_str()).map(str::to_owned).collect()
}

fn named(guide: &Value) -> HashMap<String, (String, String)> {
    let listed = guide["definition"]["resource"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |each: &Value| {
        Some((each["reference"]["reference"].as_str()?.to_owned(), (text(&each["name"]), text(&each["description"]))))
    };
    listed.filter_map(entry).collect()
}
