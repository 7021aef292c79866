//! Validation: a resource against its type, its profiles and what its codes promise (FHIR R4 §5, §10.1).
//!
//! Definitions are compiled once into plans (`compile`), and a check is one walk over the tree (`walk`) plus
//! one sparse pass a profile (`apply`); each kind of rule is one file of `rules`. A check never waits: what
//! it cannot decide becomes an open question in the [`Report`]. Passing gives a [`Validated`], which is the
//! only way on. What becomes of invalid data, and who sent it, is not known here.

mod apply;
mod compile;
mod conclude;
mod crew;
mod evaluate;
mod host;
mod likeness;
pub mod measures;
pub mod profile;
pub mod rules;
mod run;
mod scope;
mod settle;
mod stack;
mod text;
mod trail;
mod walk;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use compile::Compiler;
pub use conclude::{Answers, Checked, Reaction, Unanswered, nobody};
use profile::Profile;
use run::Run;
pub use scope::Entries;
pub use text::Format;

use super::definitions::names::NameMap;
use super::definitions::{DefinitionId, Kind, Registry, Strength};
use super::outcome::{Issue, Position};
use super::tree::{Document, Element, NodeId};

/// Checks resources against compiled definitions. Shared by every thread; compiles a profile when it is first met.
pub struct Validator {
    pub registry: Arc<Registry>,
    /// Plans of the complex data types.
    types: Vec<Profile>,
    type_index: NameMap<String, usize>,
    element: usize,
    resources: NameMap<String, OnceLock<Option<Profile>>>,
    profiles: RwLock<NameMap<DefinitionId, Arc<Profile>>>,
    /// Plans of single elements of profiles, by the ids of these elements.
    parts: RwLock<HashMap<(DefinitionId, String), Arc<Profile>>>,
    forms: rules::questionnaire::Forms,
    /// Canonicals of the profiles that the guides among the definitions want of every resource of a type.
    global: NameMap<String, Vec<String>>,
    likenesses: likeness::Likenesses,
}

/// What a check is told besides the resource.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Canonicals to check against besides the base type and `meta.profile`.
    pub profiles: &'a [&'a str],
    /// What expressions begin with, e.g. `Bundle.entry[2].resource`; empty for the resource's type.
    pub location: &'a str,
    /// The Bundle around the resource, in which references are resolved.
    pub bundle: Option<&'a Arc<Entries<'a>>>,
    /// An extension whose definition is not known is refused, as the reference validator does; otherwise it warns.
    pub known_extensions: bool,
    /// What the urls of extensions begin with that need no definition all the same.
    pub extension_domains: &'a [&'a str],
    /// A display that is none of the concept's names warns and is no error.
    pub lenient_displays: bool,
    /// What time it is, in milliseconds since 1970: measurements do not lie in the future. Absent, nothing does.
    pub now_ms: Option<i64>,
    /// Somebody will be asked whether code systems that are not loaded have the codes that are said to be of them.
    pub asks_systems: bool,
    pub references: References,
    /// A reference that has none of FHIR's forms is refused, where the reference validator warns: whoever hands it on
    /// must be able to follow it.
    pub formed_references: bool,
    /// Contained resources are left alone.
    pub skip_contained: bool,
    /// Whether text that looks like HTML is refused, where it would otherwise be accepted with advice or silently.
    pub forbids_markup: bool,
    /// Where the target of a reference must be is not checked.
    pub loose_aggregation: bool,
    /// How many threads share the entries of a long Bundle; the caller's alone below two. What is found is the same.
    pub threads: usize,
    /// What was learnt of earlier resources is not used, and nothing is learnt. What is found is the same.
    pub anew: bool,
}

/// What is asked of a reference besides its form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum References {
    /// What it leads to is of a type and profile that the element allows, if it is in the message.
    #[default]
    Fitting,
    /// What a relative one leads to must be among the resources of the message, if that is made to hold several.
    Present,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    pub issues: Vec<Issue>,
    /// Codes that nobody could decide here.
    pub open: Vec<CodeQuestion>,
}

/// A code of which only a terminology server can tell whether it is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeQuestion {
    pub about: Subject,
    pub system: Option<String>,
    pub code: String,
    pub expression: String,
    pub position: Position,
    pub strength: Strength,
}

/// What a code is asked of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// Whether its own system has it.
    CodeSystem,
    /// Whether the value set of that canonical has it.
    ValueSet(String),
}

/// Proof that a resource passed. Made by [`Checked::conclude`] and nowhere else; never serialised.
#[derive(Clone, Debug)]
pub struct Validated {
    document: Arc<Document>,
    node: NodeId,
    kind: String,
    warnings: Vec<Issue>,
}

impl Validator {
    pub fn new(registry: Arc<Registry>) -> Self {
        let structures: Vec<_> = registry
            .data_types()
            .into_iter()
            .filter_map(|name| registry.structure(name))
            .filter(|structure| rules::primitive::Primitive::named(&structure.type_name).is_none())
            .collect();
        let type_index: NameMap<String, usize> =
            structures.iter().enumerate().map(|(at, each)| (each.type_name.clone(), at)).collect();
        let compiler = Compiler { registry: &registry, type_index: &type_index };
        let types = structures.iter().map(|structure| compiler.full(structure)).collect();
        let resources = registry.resource_types().map(|name| (name.to_owned(), OnceLock::new())).collect();
        let element = type_index.get("Element").copied().expect("the core definitions define Element");
        let global = global_profiles(&registry);
        Validator {
            registry,
            types,
            type_index,
            element,
            resources,
            profiles: RwLock::default(),
            parts: RwLock::default(),
            global,
            forms: rules::questionnaire::Forms::default(),
            likenesses: likeness::Likenesses::default(),
        }
    }

    /// Compiles profiles and their types ahead of the first message.
    pub fn warm(&self, profiles: &[&str]) {
        for canonical in profiles {
            if let Some(profile) = self.profile(canonical) {
                self.resource_plan(&profile.type_name);
            } else {
                self.resource_plan(canonical);
            }
        }
    }

    /// How many kinds of resources are known so well that only what is a resource's own is looked at.
    pub fn learnt(&self) -> usize {
        self.likenesses.learnt()
    }

    /// Checks a resource, contained ones and those of a Bundle's entries included.
    pub fn check<'a>(&self, root: Element<'a>, options: &Options<'a>) -> Report {
        let mut run = Run::new(self, root, options);
        run.resource(root, options.profiles);
        run.report
    }

    /// Checks a resource; what is left open can be answered before the proof is given.
    pub fn examine(&self, document: Arc<Document>, node: NodeId, options: &Options<'_>) -> Checked {
        let (report, kind) = {
            let element = Element::at(&document, node);
            (self.check(element, options), element.resource_type().unwrap_or_default().to_owned())
        };
        Checked { document, node, kind, report }
    }

    /// Checks a resource and gives the proof, or everything that was found; nobody is asked what is left open.
    pub fn validate(
        &self,
        document: Arc<Document>,
        node: NodeId,
        options: &Options<'_>,
    ) -> Result<Validated, Vec<Issue>> {
        self.examine(document, node, options).conclude(&nobody, Unanswered::default())
    }

    fn compiler(&self) -> Compiler<'_> {
        Compiler { registry: &self.registry, type_index: &self.type_index }
    }

    /// The full plan of a resource type.
    fn resource_plan(&self, kind: &str) -> Option<&Profile> {
        let compile = || self.registry.structure(kind).map(|structure| self.compiler().full(&structure));
        self.resources.get(kind)?.get_or_init(compile).as_ref()
    }

    /// The full plan of a type: data type or resource.
    fn plan(&self, name: &str) -> Option<&Profile> {
        match self.type_index.get(name) {
            Some(at) => Some(&self.types[*at]),
            None => self.resource_plan(name),
        }
    }

    /// The plan of the elements that only carry an id and extensions: the shadows of primitives.
    fn element_plan(&self) -> &Profile {
        &self.types[self.element]
    }

    /// The sparse plan of a profile; `None` where it is not loaded.
    pub fn profile(&self, canonical: &str) -> Option<Arc<Profile>> {
        if let Some((canonical, part)) = canonical.split_once('#') {
            return self.part(canonical, part);
        }
        // Kept by what the registry has and not by the claim, so that made-up versions do not fill the memory.
        let id = self.registry.structure_id(canonical).filter(|id| self.registry.head(*id).is_profile)?;
        if let Some(profile) = self.profiles.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Some(Arc::clone(profile));
        }
        let structure = self.registry.structure_at(id)?;
        let profile = Arc::new(self.compiler().sparse(&structure));
        let mut profiles = self.profiles.write().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(profiles.entry(id).or_insert(profile)))
    }
}

impl Validator {
    /// The plan of one element of a profile.
    fn part(&self, canonical: &str, part: &str) -> Option<Arc<Profile>> {
        let id = self.registry.structure_id(canonical)?;
        let key = (id, part.to_owned());
        if let Some(profile) = self.parts.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(Arc::clone(profile));
        }
        let structure = self.registry.structure_at(id)?;
        let profile = Arc::new(self.compiler().part(&structure, part)?);
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(parts.entry(key).or_insert(profile)))
    }
}

fn global_profiles(registry: &Registry) -> NameMap<String, Vec<String>> {
    let mut global: NameMap<String, Vec<String>> = NameMap::default();
    for guide in registry.all(Kind::ImplementationGuide).filter_map(|id| registry.document(id)) {
        for each in Element::root(&guide).all("global") {
            if let (Some(kind), Some(profile)) = (each.text_of("type"), each.text_of("profile")) {
                global.entry(kind.to_owned()).or_default().push(profile.to_owned());
            }
        }
    }
    global
}

impl Validated {
    pub fn document(&self) -> &Arc<Document> {
        &self.document
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    pub fn element(&self) -> Element<'_> {
        Element::at(&self.document, self.node)
    }

    /// The resourceType.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub fn warnings(&self) -> &[Issue] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests;
