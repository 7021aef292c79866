//! The registry: every definition of the loaded packages by canonical and version, read when first asked for.
//!
//! Immutable once built, so a reader needs no lock. Packages stand side by side, also several versions of one:
//! a canonical without a version means the latest that is loaded. What a definition itself refers to is looked
//! for in its own package first, then in the packages that this one declares, then anywhere; where that differs
//! from the latest, the reference is pinned to its version when the definition is read, so that nobody further
//! up needs to know where a canonical came from.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::canonical::{self, Fit};
use super::code_system::CodeSystem;
use super::core;
use super::names::{NameMap, NameSet};
use super::package::{self, Defect, Head, Kind, Package};
use super::search_parameter::SearchParameter;
use super::snapshot;
use super::structure::{ElementDefinition, Structure, StructureKind};
use super::value_set::ValueSet;
use crate::fhir::tree::{Document, Element};

/// The namespace of the standard's own structures.
const CORE_PREFIX: &str = "http://hl7.org/fhir/StructureDefinition/";

/// The packages of THO: what they define stands over what core defines.
const TERMINOLOGY: &str = "hl7.terminology";

/// Definitions by canonical.
pub struct Registry {
    packages: Vec<Loaded>,
    /// Of each kind, in the order of [`Kind::ALL`], where the definitions of a url stand, the best one first.
    index: [NameMap<Arc<str>, Places>; Kind::ALL.len()],
    /// Types by their bare name.
    types: NameMap<Box<str>, DefinitionId>,
    /// Code systems that add to the one of that url.
    supplements: NameMap<Box<str>, Vec<DefinitionId>>,
    /// The package that counts before all others where no version is asked for.
    preferred: Option<u32>,
    /// Whether some canonical has several definitions, so that references may need a version.
    ambiguous: bool,
    /// Search parameters by resource type, inherited ones included, sorted by code.
    search: OnceLock<HashMap<String, Vec<SearchParameter>>>,
    /// Sorted.
    resource_types: Vec<String>,
    is_resource: NameSet<Box<str>>,
}

/// Where a definition stands: handle of a definition that is known to be there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DefinitionId {
    package: u32,
    at: u32,
}

/// A package and what has been made of its definitions here.
struct Loaded {
    package: Arc<Package>,
    /// The packages in which its references are looked for, itself first.
    scope: Vec<u32>,
    ready: Vec<Ready>,
}

#[derive(Default)]
pub(super) struct Ready {
    structure: OnceLock<Option<Arc<Structure>>>,
    pub value_set: OnceLock<Option<Arc<ValueSet>>>,
    pub code_system: OnceLock<Option<Arc<CodeSystem>>>,
    /// Value sets that the definition contains, by their id.
    pub contained: OnceLock<Vec<(Box<str>, Arc<ValueSet>)>>,
}

struct Places {
    best: DefinitionId,
    others: Vec<DefinitionId>,
}

impl Places {
    fn iter(&self) -> impl Iterator<Item = DefinitionId> {
        std::iter::once(self.best).chain(self.others.iter().copied())
    }
}

impl Registry {
    /// The definitions of FHIR R4.
    pub fn core() -> Arc<Registry> {
        static CORE: OnceLock<Arc<Registry>> = OnceLock::new();
        Arc::clone(CORE.get_or_init(|| Registry::with_packages(Vec::new())))
    }

    /// The core definitions with loose StructureDefinitions, ValueSets, CodeSystems, SearchParameters and
    /// Questionnaires on top.
    pub fn with(resources: Vec<Document>) -> Result<Arc<Registry>, Defect> {
        let package = Package::loose("loose", &resources)?;
        drop(resources);
        let registry = Registry::with_packages(vec![Arc::new(package)]);
        let defect = registry.defects().next();
        defect.map_or(Ok(registry), Err)
    }

    /// The core definitions with packages on top. Where two define the same canonical in the same version,
    /// the later one counts. A core package among them is passed over: the embedded one serves.
    pub fn with_packages(packages: Vec<Arc<Package>>) -> Arc<Registry> {
        Registry::preferring(packages, |_| false)
    }

    /// The same, where one of the packages counts before all others.
    pub fn preferring(packages: Vec<Arc<Package>>, preferred: impl Fn(&Package) -> bool) -> Arc<Registry> {
        let own = packages.into_iter().filter(|package| package.name != core::NAME);
        let packages: Vec<Arc<Package>> = std::iter::once(core::package()).chain(own).collect();
        let mut registry = Registry {
            index: std::array::from_fn(|_| NameMap::default()),
            types: NameMap::default(),
            supplements: NameMap::default(),
            preferred: packages.iter().position(|package| preferred(package)).map(|at| at as u32),
            ambiguous: false,
            search: OnceLock::new(),
            resource_types: Vec::new(),
            is_resource: NameSet::default(),
            packages: Vec::with_capacity(packages.len()),
        };
        for (package, scope) in packages.iter().zip(scopes(&packages)) {
            let ready = package.heads().iter().map(|_| Ready::default()).collect();
            registry.packages.push(Loaded { package: Arc::clone(package), scope, ready });
        }
        for (number, package) in packages.iter().enumerate() {
            for (at, head) in package.heads().iter().enumerate() {
                registry.insert(DefinitionId { package: number as u32, at: at as u32 }, head);
            }
        }
        registry.resource_types = registry.is_resource.iter().map(ToString::to_string).collect();
        registry.resource_types.sort_unstable();
        Arc::new(registry)
    }

    fn insert(&mut self, id: DefinitionId, head: &Head) {
        if head.kind == Kind::StructureDefinition {
            match head.structure {
                None => return,
                Some(StructureKind::Resource) if !head.is_profile && id.package == 0 => {
                    self.is_resource.insert(head.type_name.clone());
                }
                Some(_) => {}
            }
            // A type has one definition that counts: the standard's own, or else the first.
            if !head.is_profile {
                self.types.entry(head.type_name.clone()).or_insert(id);
            }
        }
        if head.kind == Kind::CodeSystem && !head.base.is_empty() {
            let (url, _) = canonical::split(&head.base);
            self.supplements.entry(url.into()).or_default().push(id);
        }
        let of_kind = &mut self.index[head.kind as usize];
        let Some(mut places) = of_kind.remove(&head.url) else {
            of_kind.insert(Arc::clone(&head.url), Places { best: id, others: Vec::new() });
            return;
        };
        self.ambiguous = true;
        let mut all: Vec<DefinitionId> = places.iter().chain([id]).collect();
        all.sort_by(|one, other| self.preference(*other, *one));
        places.best = all.remove(0);
        places.others = all;
        self.index[head.kind as usize].insert(Arc::clone(&head.url), places);
    }

    /// Which of two definitions of a canonical counts where no version is asked for.
    fn preference(&self, one: DefinitionId, other: DefinitionId) -> Ordering {
        let rank = |id: DefinitionId| {
            let package = &self.packages[id.package as usize].package;
            let terminology = matches!(self.head(id).kind, Kind::CodeSystem | Kind::ValueSet);
            match terminology {
                true if package.name.starts_with(TERMINOLOGY) => 2,
                true if id.package == 0 => 1,
                _ => 0,
            }
        };
        let is_preferred = |id: DefinitionId| Some(id.package) == self.preferred;
        // A code system that is only named elsewhere is no better for being named later.
        let content = self.head(one).content.cmp(&self.head(other).content);
        is_preferred(one)
            .cmp(&is_preferred(other))
            .then(content)
            .then_with(|| rank(one).cmp(&rank(other)))
            .then_with(|| canonical::order(&self.head(one).version, &self.head(other).version))
            .then_with(|| one.cmp(&other))
    }

    pub fn head(&self, id: DefinitionId) -> &Head {
        &self.packages[id.package as usize].package.heads()[id.at as usize]
    }

    /// The definition of that kind that a canonical means.
    pub fn find(&self, kind: Kind, canonical: &str) -> Option<DefinitionId> {
        // Mostly it is the url and nothing else.
        if let Some(places) = self.index[kind as usize].get(canonical) {
            return Some(places.best);
        }
        let (url, version) = canonical::split(canonical);
        let places = self.index[kind as usize].get(url)?;
        match version {
            None => Some(places.best),
            Some(version) => self.best_fit(places.iter(), version),
        }
    }

    /// The definition that a canonical means where it stands in another definition.
    pub fn find_from(&self, from: DefinitionId, kind: Kind, canonical: &str) -> Option<DefinitionId> {
        let (url, version) = canonical::split(canonical);
        let places = self.index[kind as usize].get(url)?;
        if places.others.is_empty() {
            return self.find(kind, canonical);
        }
        let near = self.packages[from.package as usize].scope.iter().find_map(|package| {
            let mut inside = places.iter().filter(|place| place.package == *package);
            match version {
                None => inside.next(),
                Some(version) => self.best_fit(inside, version),
            }
        });
        near.or_else(|| self.find(kind, canonical))
    }

    fn best_fit(&self, places: impl Iterator<Item = DefinitionId>, version: &str) -> Option<DefinitionId> {
        let mut best: Option<(Fit, DefinitionId)> = None;
        for place in places {
            let fit = canonical::fit(version, &self.head(place).version);
            if fit != Fit::No && best.is_none_or(|(known, _)| fit > known) {
                best = Some((fit, place));
            }
        }
        best.map(|(_, place)| place)
    }

    /// Every definition of a kind.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = DefinitionId> {
        self.packages.iter().enumerate().flat_map(move |(package, loaded)| {
            let heads = loaded.package.heads().iter().enumerate().filter(move |(_, head)| head.kind == kind);
            heads.map(move |(at, _)| DefinitionId { package: package as u32, at: at as u32 })
        })
    }

    /// Code systems that add designations or properties to the one of that url.
    pub fn supplements(&self, url: &str) -> &[DefinitionId] {
        self.supplements.get(url).map(Vec::as_slice).unwrap_or_default()
    }

    /// The text of a definition, read anew.
    pub fn document(&self, id: DefinitionId) -> Option<Document> {
        self.packages.get(id.package as usize)?.package.document(id.at as usize)
    }

    /// The resource that a canonical names, whatever its kind, read anew.
    pub fn resource(&self, canonical: &str) -> Option<Arc<Document>> {
        let canonical = canonical.split('#').next().unwrap_or(canonical);
        let id = Kind::ALL.into_iter().find_map(|kind| self.find(kind, canonical))?;
        self.document(id).map(Arc::new)
    }

    /// Handle of a structure by url, `url|version` or bare type name.
    pub fn structure_id(&self, canonical: &str) -> Option<DefinitionId> {
        match self.types.get(canonical) {
            // A logical model is named by its url, of which there may be several versions.
            Some(id) if !canonical.contains(':') => Some(*id),
            _ => self.find(Kind::StructureDefinition, canonical),
        }
    }

    /// A structure by url, `url|version` or bare type name.
    pub fn structure(&self, canonical: &str) -> Option<Arc<Structure>> {
        self.structure_at(self.structure_id(canonical)?)
    }

    /// A structure, with its references pinned to the versions that it means.
    pub fn structure_at(&self, id: DefinitionId) -> Option<Arc<Structure>> {
        let loaded = self.packages.get(id.package as usize)?;
        let ready = &loaded.ready.get(id.at as usize)?.structure;
        if let Some(known) = ready.get() {
            return known.clone();
        }
        let made = self.made(id, &mut Vec::new()).ok();
        ready.get_or_init(|| made).clone()
    }

    /// Makes a structure ready: with a snapshot, and with its references pinned. `under_way` are those for whose
    /// snapshots it is needed.
    fn made(&self, id: DefinitionId, under_way: &mut Vec<DefinitionId>) -> Result<Arc<Structure>, &'static str> {
        let loaded = &self.packages[id.package as usize];
        if let Some(Some(known)) = loaded.ready[id.at as usize].structure.get() {
            return Ok(Arc::clone(known));
        }
        let published = loaded.package.structure(id.at as usize).ok_or("its text cannot be read")?;
        let complete = !published.elements.is_empty();
        let is_local = |element: &ElementDefinition| {
            element.binding.as_ref().is_some_and(|binding| binding.value_set.starts_with('#'))
        };
        if complete && !self.ambiguous && !published.elements.iter().any(is_local) {
            return Ok(Arc::clone(published));
        }
        let mut structure = Structure::clone(published);
        if !complete {
            if under_way.contains(&id) {
                return Err("its snapshot depends on itself");
            }
            under_way.push(id);
            let snapshot = self.snapshot(id, &structure, under_way);
            under_way.pop();
            structure.elements = snapshot?;
        }
        // What is contained in the definition is named by it.
        let url = structure.url.clone();
        structure.each_reference(|kind, reference| {
            if reference.starts_with('#') {
                reference.insert_str(0, &url);
            } else if self.ambiguous {
                self.pin(id, kind, reference);
            }
        });
        Ok(Arc::new(structure))
    }

    fn snapshot(
        &self,
        id: DefinitionId,
        structure: &Structure,
        under_way: &mut Vec<DefinitionId>,
    ) -> Result<Vec<ElementDefinition>, &'static str> {
        let document = self.document(id).ok_or("its text cannot be read")?;
        let mut lookup = |canonical: &str| {
            let found = match self.types.get(canonical) {
                Some(id) if !canonical.contains(':') => *id,
                _ => self.find_from(id, Kind::StructureDefinition, canonical)?,
            };
            self.made(found, under_way).ok()
        };
        let base = match lookup(&structure.base) {
            Some(base) => base,
            // What is no type of R4 may say of itself that it begins from nothing.
            None if !structure.is_profile => Arc::new(snapshot::nothing(structure)),
            None => return Err("its base is not loaded"),
        };
        snapshot::generate(structure, &document, &base, &mut lookup)
    }

    /// Gives a reference the version that it means from where it stands, if that is not what it means anywhere.
    fn pin(&self, from: DefinitionId, kind: Kind, reference: &mut String) {
        let Some(meant) = self.find_from(from, kind, reference) else { return };
        if self.find(kind, reference) != Some(meant) {
            let head = self.head(meant);
            if !head.version.is_empty() {
                *reference = format!("{}|{}", head.url, head.version);
            }
        }
    }

    /// The head of a structure, by url, `url|version` or bare type name.
    fn structure_head(&self, canonical: &str) -> Option<&Head> {
        self.structure_id(canonical).map(|id| self.head(id))
    }

    pub fn is_resource(&self, name: &str) -> bool {
        self.is_resource.contains(name)
    }

    /// Whether a name is that of a type: primitive, complex or resource.
    pub fn is_type(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// Whether a type is another one or specialises it.
    pub fn subtype_of(&self, name: &str, ancestor: &str) -> bool {
        let mut current = name;
        for _ in 0..MAX_ANCESTORS {
            if current == ancestor {
                return true;
            }
            match self.types.get(current).map(|id| self.head(*id)) {
                Some(head) if !head.base.is_empty() => {
                    let (base, _) = canonical::split(&head.base);
                    current = base.strip_prefix(CORE_PREFIX).unwrap_or(base);
                }
                _ => return false,
            }
        }
        false
    }

    /// Whether a canonical names a profile or extension definition (as opposed to a type).
    pub fn is_profile(&self, canonical: &str) -> bool {
        self.structure_head(canonical).is_some_and(|head| head.is_profile)
    }

    /// The type that a canonical defines or constrains.
    pub fn type_of(&self, canonical: &str) -> Option<&str> {
        self.structure_head(canonical).map(|head| &*head.type_name)
    }

    /// Names of the resource types, abstract ones included, sorted.
    pub fn resource_types(&self) -> impl Iterator<Item = &str> {
        self.resource_types.iter().map(String::as_str)
    }

    /// Names of the standard's data types: primitive and complex, sorted.
    pub fn data_types(&self) -> Vec<&str> {
        let of_core = self.packages[0].package.heads().iter();
        let mut names: Vec<&str> = of_core
            .filter(|head| {
                !head.is_profile && matches!(head.structure, Some(StructureKind::Primitive | StructureKind::Complex))
            })
            .map(|head| &*head.type_name)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a definition is one of the standard's own.
    pub fn is_core(&self, id: DefinitionId) -> bool {
        id.package == 0
    }

    /// What has been made of a definition.
    pub(super) fn ready(&self, id: DefinitionId) -> &Ready {
        &self.packages[id.package as usize].ready[id.at as usize]
    }

    /// The search parameters of a resource type, those of Resource and DomainResource among them.
    pub fn search_parameters(&self, resource: &str) -> &[SearchParameter] {
        let search = self.search.get_or_init(|| self.read_search_parameters());
        search.get(resource).map(Vec::as_slice).unwrap_or_default()
    }

    fn read_search_parameters(&self) -> HashMap<String, Vec<SearchParameter>> {
        let found = self.index[Kind::SearchParameter as usize].values();
        let mut found: Vec<DefinitionId> = found.map(|places| places.best).collect();
        // In the order in which they stand, since those that stand together are read together.
        found.sort_unstable();
        let documents = found.into_iter().filter_map(|id| self.document(id));
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

    /// The definitions of which no snapshot can be made.
    pub fn defects(&self) -> impl Iterator<Item = Defect> {
        let own = self.all(Kind::StructureDefinition).filter(|id| !self.head(*id).has_snapshot);
        own.filter_map(|id| {
            let what = self.made(id, &mut Vec::new()).err()?;
            Some(Defect { url: self.head(id).url.to_string(), what })
        })
    }
}

/// No type has more ancestors.
const MAX_ANCESTORS: usize = 16;

/// For each package, the packages in which its references are looked for: itself, then what it declares, and
/// so on below; a dependency that is not loaded leaves its place to whatever else is.
fn scopes(packages: &[Arc<Package>]) -> Vec<Vec<u32>> {
    let declared = |package: &Package| -> Vec<usize> {
        let each = |(name, version): &(String, String)| {
            let candidates = packages.iter().enumerate().filter(|(_, candidate)| candidate.name == *name);
            let fitting = candidates
                .map(|(number, candidate)| (package::serves(version, &candidate.version), number))
                .filter(|(fit, _)| *fit != Fit::No);
            fitting.max_by(|one, other| {
                let version = |number: usize| &packages[number].version;
                one.0.cmp(&other.0).then_with(|| canonical::order(version(one.1), version(other.1)))
            })
        };
        package.dependencies.iter().filter_map(each).map(|(_, number)| number).collect()
    };
    let direct: Vec<Vec<usize>> = packages.iter().map(|package| declared(package)).collect();
    (0..packages.len())
        .map(|start| {
            let (mut scope, mut waiting) = (Vec::new(), vec![start]);
            while let Some(number) = waiting.pop() {
                if !scope.contains(&(number as u32)) {
                    scope.push(number as u32);
                    waiting.extend(direct[number].iter().rev());
                }
            }
            scope
        })
        .collect()
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> =
            self.packages.iter().map(|each| format!("{}#{}", each.package.name, each.package.version)).collect();
        write!(formatter, "Registry({})", names.join(", "))
    }
}
