//! One edition of the guide: its resources as they were authored, the examples among them, and what each example must
//! come to.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::Value;

use super::snapshot;
use crate::fhir::definitions::Registry;
use crate::fhir::definitions::package::{Unreadable, each_file};
use crate::fhir::ours::ISSUE_SYSTEM;

/// The compiled guide with its examples, as it is published.
static PUBLISHED: &[u8] = include_bytes!("../../profiles/guide.tgz");

/// An edition, read from its package.
pub struct Edition {
    /// Definitions first, then examples, each by type and id. Structures without their snapshots, which are most of an
    /// edition and asked for one at a time.
    pub(super) resources: Vec<Value>,
    /// Of structures, by `Type/id`: the elements that the compiled guide has for its snapshot, deflated.
    words: HashMap<String, Vec<u8>>,
    /// What the snapshots are made with.
    registry: Arc<Registry>,
    /// For each example, by `Type/id`, the issue that it must raise; none where it is right.
    outcomes: HashMap<String, Option<String>>,
    /// Names and descriptions that the guide has for its parts, by `Type/id`.
    names: HashMap<String, (String, String)>,
    /// Where the ImplementationGuide stands among the resources.
    guide: usize,
}

/// What each example comes to.
const EXPECTED: &str = "examples/expected.csv";

/// `Type/id`.
pub(super) fn address(resource: &Value) -> String {
    let text = |name: &str| resource[name].as_str().unwrap_or_default();
    format!("{}/{}", text("resourceType"), text("id"))
}

impl Edition {
    /// The edition that this program enforces.
    pub fn current() -> Arc<Edition> {
        static CURRENT: LazyLock<Arc<Edition>> = LazyLock::new(|| {
            let read = Edition::read(PUBLISHED, super::registry());
            Arc::new(read.expect("profiles/guide.tgz was written by profiles/build, and a test reads it"))
        });
        Arc::clone(&CURRENT)
    }

    /// Reads what `profiles/build` packs: definitions in `package`, examples below `examples`, and what each of these
    /// comes to in `examples/expected.csv`; or the package as it is published, without the wrong examples.
    pub fn read(package: &[u8], registry: Arc<Registry>) -> Result<Edition, Unreadable> {
        let (mut definitions, mut examples) = (Vec::new(), Vec::new());
        let mut expected = String::new();
        let mut words = HashMap::new();
        each_file(package, |path, bytes| {
            if path == EXPECTED {
                expected = String::from_utf8_lossy(&bytes).into_owned();
                return Ok(());
            }
            let Ok(mut resource) = serde_json::from_slice::<Value>(&bytes) else { return Ok(()) };
            // The catalogue of issues is the program's own.
            if resource["url"] == ISSUE_SYSTEM {
                return Ok(());
            }
            if let Some(snapshot) = resource.as_object_mut().and_then(|members| members.remove("snapshot")) {
                words.insert(address(&resource), deflated(&snapshot["element"]));
            }
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
        definitions.push(super::issues::code_system());
        let guide = definitions.iter().position(|each| each["resourceType"] == "ImplementationGuide");
        let guide = guide.ok_or(Unreadable::Manifest)?;
        let outcomes = examples.iter().map(|each| (address(each), raised(&expected, each))).collect();
        let names = named(&definitions[guide]);
        definitions.append(&mut examples);
        Ok(Edition { resources: definitions, words, registry, outcomes, names, guide })
    }

    /// A resource as it is published: a structure with its snapshot.
    pub(super) fn full(&self, resource: &Value) -> Value {
        let mut full = resource.clone();
        if let Some(words) = self.words.get(&address(resource)) {
            let elements = snapshot::elements(resource, &inflated(words), &self.registry);
            if !elements.is_empty() {
                full["snapshot"] = serde_json::json!({"element": elements});
            }
        }
        full
    }

    /// The version of the guide.
    pub fn version(&self) -> &str {
        self.guide()["version"].as_str().unwrap_or_default()
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

    /// The issue that an example must raise; none where it is right or no example.
    pub(super) fn refused_with(&self, resource: &Value) -> Option<&str> {
        self.outcomes.get(&address(resource))?.as_deref()
    }

    /// What the guide calls a resource; an example without a name goes by the words of its id.
    pub(super) fn title_of(&self, resource: &Value) -> String {
        let own = ["title", "name"].iter().find_map(|name| resource[*name].as_str());
        let listed = self.names.get(&address(resource)).map(|(name, _)| name.as_str());
        let id = resource["id"].as_str().unwrap_or_default();
        if !self.is_example(resource) {
            return own.or(listed).unwrap_or(id).to_owned();
        }
        listed.map_or_else(|| sentence(id), str::to_owned)
    }

    pub(super) fn description_of<'v>(&'v self, resource: &'v Value) -> &'v str {
        let listed = || self.names.get(&address(resource)).map(|(_, description)| description.as_str());
        resource["description"].as_str().or_else(listed).unwrap_or_default()
    }
}

/// JSON, made small.
fn deflated(value: &Value) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Memory takes everything.
    let _ = serde_json::to_writer(&mut encoder, value);
    encoder.finish().unwrap_or_default()
}

fn inflated(bytes: &[u8]) -> Value {
    serde_json::from_reader(DeflateDecoder::new(bytes)).unwrap_or_default()
}

/// The words of an id, as a sentence begins.
fn sentence(id: &str) -> String {
    let words = id.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The issue that an example must raise, as the table of examples says: `kind,id,profile,issue`.
fn raised(expected: &str, example: &Value) -> Option<String> {
    let id = example["id"].as_str()?;
    let line = expected.lines().find(|line| line.split(',').nth(1) == Some(id))?;
    line.rsplit(',').next().filter(|issue| !issue.is_empty()).map(str::to_owned)
}

fn named(guide: &Value) -> HashMap<String, (String, String)> {
    let listed = guide["definition"]["resource"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |each: &Value| {
        Some((each["reference"]["reference"].as_str()?.to_owned(), (text(&each["name"]), text(&each["description"]))))
    };
    listed.filter_map(entry).collect()
}
