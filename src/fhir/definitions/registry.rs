//! The registry: every definition by its canonical, read when first asked for.
//!
//! Immutable once built, so a reader needs no lock. Canonicals are looked up without their version: one
//! version of each definition is loaded, and a claim on another version meets the one that is here.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, OnceLock};

use super::code_system::CodeSystem;
use super::core;
use super::search_parameter::SearchParameter;
use super::structure::{Structure, StructureKind};
use super::terms::Terms;
use super::value_set::ValueSet;
use crate::fhir::tree::{Document, Element, NodeId, json};

/// The namespace of the standard's own structures.
const CORE_PREFIX: &str = "http://hl7.org/fhir/StructureDefinition/";

/// Definitions by canonical.
pub struct Registry {
    lines: String,
    structures: HashMap<String, StructureEntry>,
    terms: Terms<Source>,
    /// Search parameters by resource type, inherited ones included, sorted by code.
    search: OnceLock<HashMap<String, Vec<SearchParameter>>>,
    parameters: Vec<Source>,
    resource_types: BTreeSet<String>,
}

/// Where a definition is read from.
#[derive(Clone)]
enum Source {
    Line(Range<usize>),
    Own(Arc<Document>),
}

struct StructureEntry {
    type_name: String,
    kind: StructureKind,
    is_profile: bool,
    base: String,
    source: Source,
    read: OnceLock<Option<Arc<Structure>>>,
}

/// An own definition that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defect {
    pub url: String,
    pub what: &'static str,
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "definition {}: {}", self.url, self.what)
    }
}

impl std::error::Error for Defect {}

impl Registry {
    /// The definitions of FHIR R4, indexed once.
    pub fn core() -> Arc<Registry> {
        static CORE: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(Registry::index(core::lines())));
        Arc::clone(&CORE)
    }

    /// The core definitions with own StructureDefinitions (with snapshots), ValueSets, CodeSystems and
    /// SearchParameters on top.
    pub fn with(resources: Vec<Document>) -> Result<Arc<Registry>, Defect> {
        let mut registry = Registry::index(core::lines());
        let resources: Vec<Arc<Document>> = resources.into_iter().map(Arc::new).collect();
        for document in &resources {
            registry.add(document)?;
        }
        Ok(Arc::new(registry))
    }

    fn index(lines: String) -> Registry {
        let mut registry = Registry {
            lines: String::new(),
            structures: HashMap::with_capacity(800),
            terms: Terms::default(),
            search: OnceLock::new(),
            parameters: Vec::with_capacity(1500),
            resource_types: BTreeSet::new(),
        };
        let mut start = 0;
        for line in lines.split_terminator('\n') {
            let end = start + line.len();
            let (tag, rest) = line.split_once('\t').unwrap_or_default();
            let heads = match tag {
                "S" => 6,
                "V" | "C" => 3,
                _ => 2,
            };
            let mut fields = rest.splitn(heads, '\t');
            let mut next = || fields.next().unwrap_or_default();
            let url = next();
            match tag {
                "S" => {
                    let (type_name, kind, derivation, base, json) = (next(), next(), next(), next(), next());
                    let Some(kind) = StructureKind::parse(kind) else { continue };
                    let source = Source::Line(end - json.len()..end);
                    registry.insert(url, type_name, kind, derivation == "constraint", base, source);
                }
                "V" => {
                    let version = next();
                    registry.terms.add_value_set(url, version, Source::Line(end - next().len()..end));
                }
                "C" => {
                    let version = next();
                    registry.terms.add_code_system(url, version, Source::Line(end - next().len()..end));
                }
                _ => registry.parameters.push(Source::Line(end - next().len()..end)),
            }
            start = end + 1;
        }
        registry.lines = lines;
        registry
    }

    fn insert(
        &mut self,
        url: &str,
        type_name: &str,
        kind: StructureKind,
        is_profile: bool,
        base: &str,
        source: Source,
    ) {
        if kind == StructureKind::Resource && !is_profile {
            self.resource_types.insert(type_name.to_owned());
        }
        let (type_name, base) = (type_name.to_owned(), base.to_owned());
        let entry = StructureEntry { type_name, kind, is_profile, base, source, read: OnceLock::new() };
        self.structures.insert(url.to_owned(), entry);
    }

    fn add(&mut self, document: &Arc<Document>) -> Result<(), Defect> {
        let root = Element::root(document);
        let url = root.text_of("url").unwrap_or_default();
        let defect = |what| Defect { url: url.to_owned(), what };
        match root.resource_type() {
            Some("StructureDefinition") => {
                let structure = Structure::read(document, NodeId::ROOT)
                    .ok_or_else(|| defect("a StructureDefinition needs url, type, kind and a snapshot"))?;
                let source = Source::Own(Arc::clone(document));
                let Structure { url, type_name, kind, is_profile, base, .. } = &structure;
                self.insert(url, type_name, *kind, *is_profile, base, source);
            }
            Some("ValueSet" | "CodeSystem") if url.is_empty() => return Err(defect("a definition needs a url")),
            Some("ValueSet") => {
                let version = root.text_of("version").unwrap_or_default();
                self.terms.add_value_set(url, version, Source::Own(Arc::clone(document)));
            }
            Some("CodeSystem") => {
                let version = root.text_of("version").unwrap_or_default();
                self.terms.add_code_system(url, version, Source::Own(Arc::clone(document)));
            }
            Some("SearchParameter") => self.parameters.push(Source::Own(Arc::clone(document))),
            _ => {}
        }
        Ok(())
    }

    fn document(&self, source: &Source) -> Option<Arc<Document>> {
        match source {
            Source::Line(range) => json::parse(&self.lines[range.clone()]).ok().map(Arc::new),
            Source::Own(document) => Some(Arc::clone(document)),
        }
    }

    fn entry(&self, canonical: &str) -> Option<&StructureEntry> {
        let url = canonical.split('|').next().unwrap_or(canonical);
        match self.structures.get(url) {
            Some(entry) => Some(entry),
            None if url.contains(':') => None,
            None => self.structures.get(&format!("{CORE_PREFIX}{url}")),
        }
    }

    /// A structure by url, `url|version` or bare type name.
    pub fn structure(&self, canonical: &str) -> Option<Arc<Structure>> {
        let entry = self.entry(canonical)?;
        let read = || Structure::read(&self.document(&entry.source)?, NodeId::ROOT).map(Arc::new);
        entry.read.get_or_init(read).clone()
    }

    pub fn is_resource(&self, name: &str) -> bool {
        self.resource_types.contains(name)
    }

    /// Whether a name is that of a type: primitive, complex or resource.
    pub fn is_type(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| !entry.is_profile && entry.type_name == name)
    }

    /// Whether a type is another one or specialises it.
    pub fn subtype_of(&self, name: &str, ancestor: &str) -> bool {
        let mut current = name;
        loop {
            if current == ancestor {
                return true;
            }
            match self.entry(current) {
                Some(entry) if !entry.is_profile && !entry.base.is_empty() => {
                    current = entry.base.strip_prefix(CORE_PREFIX).unwrap_or(&entry.base);
                }
                _ => return false,
            }
        }
    }

    /// Whether a canonical names a profile or extension definition (as opposed to a type).
    pub fn is_profile(&self, canonical: &str) -> bool {
        self.entry(canonical).is_some_and(|entry| entry.is_profile)
    }

    /// The type that a canonical defines or constrains.
    pub fn type_of(&self, canonical: &str) -> Option<&str> {
        self.entry(canonical).map(|entry| entry.type_name.as_str())
    }

    /// Names of the resource types, abstract ones included, sorted.
    pub fn resource_types(&self) -> impl Iterator<Item = &str> {
        self.resource_types.iter().map(String::as_str)
    }

    /// Names of the data types: primitive and complex, sorted.
    pub fn data_types(&self) -> Vec<&str> {
        let entries = self.structures.values();
        let mut names: Vec<&str> = entries
            .filter(|entry| !entry.is_profile && entry.kind != StructureKind::Resource)
            .map(|entry| entry.type_name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    /// A value set by `url` or `url|version`, expanded when first asked for.
    pub fn value_set(&self, canonical: &str) -> Option<Arc<ValueSet>> {
        self.terms.value_set(canonical, &|source| self.document(source))
    }

    /// A code system by `url` or `url|version`.
    pub fn code_system(&self, canonical: &str) -> Option<Arc<CodeSystem>> {
        self.terms.code_system(canonical, &|source| self.document(source))
    }

    /// Urls of the value sets, in no order.
    pub fn value_set_urls(&self) -> impl Iterator<Item = &str> {
        self.terms.value_set_urls()
    }

    /// Whether a canonical is that of a value set.
    pub fn is_value_set(&self, canonical: &str) -> bool {
        self.terms.has_value_set(canonical)
    }

    /// The search parameters of a resource type, those of Resource and DomainResource among them.
    pub fn search_parameters(&self, resource: &str) -> &[SearchParameter] {
        let search = self.search.get_or_init(|| self.read_search_parameters());
        search.get(resource).map(Vec::as_slice).unwrap_or_default()
    }

    fn read_search_parameters(&self) -> HashMap<String, Vec<SearchParameter>> {
        let documents = self.parameters.iter().filter_map(|source| self.document(source));
        let parameters: Vec<SearchParameter> =
            documents.filter_map(|document| SearchParameter::read(Element::root(&document))).collect();
        let mut search = HashMap::new();
        for name in &self.resource_types {
            let applies = |parameter: &&SearchParameter| {
                parameter.base.iter().any(|base| self.subtype_of(name, base))
                    && !parameter.url.contains("/SearchParameter/example")
            };
            let mut listed: Vec<SearchParameter> = parameters.iter().filter(applies).cloned().collect();
            listed.sort_by(|one, other| (&one.code, &one.url).cmp(&(&other.code, &other.url)));
            search.insert(name.clone(), listed);
        }
        search
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Registry({} structures, {} value sets)",
            self.structures.len(),
            self.terms.value_set_urls().count()
        )
    }
}
