//! Value sets and code systems of the registry, read and expanded when first asked for.
//!
//! A value set's own references are looked for where it stands: in its package first, then in those that this one
//! declares, then anywhere.

use std::sync::Arc;

use super::code_system::CodeSystem;
use super::compose::{self, Library};
use super::package::Kind;
use super::registry::{DefinitionId, Registry};
use super::value_set::ValueSet;
use crate::fhir::tree::Element;

/// Value sets that import each other deeper than this are left open.
const MAX_IMPORTS: usize = 16;

/// Where the systems of HL7 Terminology have their urls.
const HL7_TERMINOLOGY: &str = "http://terminology.hl7.org/";

impl Registry {
    /// A value set, expanded as far as its definitions allow.
    pub fn value_set(&self, canonical: &str) -> Option<&Arc<ValueSet>> {
        if let Some((url, id)) = canonical.split_once('#').filter(|(url, _)| !url.is_empty()) {
            return self.contained(url, id);
        }
        let id = self.find(Kind::ValueSet, canonical)?;
        let mut expansion = Expansion { registry: self, under_way: Vec::new(), circular: false };
        expansion.expand(id);
        self.ready(id).value_set.get()?.as_ref()
    }

    /// A value set that a structure contains.
    fn contained(&self, structure: &str, id: &str) -> Option<&Arc<ValueSet>> {
        let structure = self.find(Kind::StructureDefinition, structure)?;
        let read = || {
            let Some(document) = self.document(structure) else { return Vec::new() };
            let contained = Element::root(&document).all("contained");
            let sets = contained.filter(|each| each.resource_type() == Some("ValueSet"));
            sets.filter_map(|each| Some((each.text_of("id")?.into(), Arc::new(self.expand(each))))).collect()
        };
        let sets = self.ready(structure).contained.get_or_init(read);
        sets.iter().find(|(own, _)| **own == *id).map(|(_, set)| set)
    }

    /// Expands a ValueSet that is no definition of its own, such as a contained one.
    pub fn expand(&self, value_set: Element<'_>) -> ValueSet {
        compose::expand(value_set, &mut Expansion { registry: self, under_way: Vec::new(), circular: false })
    }

    /// A code system by `url` or `url|version`.
    pub fn code_system(&self, canonical: &str) -> Option<&Arc<CodeSystem>> {
        self.code_system_at(self.find(Kind::CodeSystem, canonical)?)
    }

    /// A code system, with what its supplements add.
    pub fn code_system_at(&self, id: DefinitionId) -> Option<&Arc<CodeSystem>> {
        let read = || {
            let document = self.document(id)?;
            let mut system = CodeSystem::read(Element::root(&document))?;
            // HL7 Terminology has gone on since it was part of the core package.
            system.is_dated = self.is_core(id) && system.url.starts_with(HL7_TERMINOLOGY);
            for supplement in self.supplements(&self.head(id).url) {
                if let Some(document) = self.document(*supplement) {
                    system.supplement(Element::root(&document));
                }
            }
            Some(Arc::new(system))
        };
        self.ready(id).code_system.get_or_init(read).as_ref()
    }

    /// Whether a canonical is that of a value set.
    pub fn is_value_set(&self, canonical: &str) -> bool {
        self.find(Kind::ValueSet, canonical).is_some()
    }
}

/// One expansion with the value sets that it is in the middle of.
struct Expansion<'r> {
    registry: &'r Registry,
    under_way: Vec<DefinitionId>,
    circular: bool,
}

impl Expansion<'_> {
    fn expand(&mut self, id: DefinitionId) -> Option<Arc<ValueSet>> {
        let ready = &self.registry.ready(id).value_set;
        if let Some(set) = ready.get() {
            return set.clone();
        }
        if self.under_way.len() >= MAX_IMPORTS || self.under_way.contains(&id) {
            self.circular = true;
            return None;
        }
        let document = self.registry.document(id);
        self.under_way.push(id);
        let set = document.map(|document| Arc::new(compose::expand(Element::root(&document), self)));
        self.under_way.pop();
        // What a circle left open is so only on this way round it.
        if self.circular && !self.under_way.is_empty() {
            return set;
        }
        // Not under the lock, which would wait for itself in a circle: two threads may expand the same set, and either
        // result will do.
        ready.get_or_init(|| set).clone()
    }

    fn find(&self, kind: Kind, canonical: &str) -> Option<DefinitionId> {
        match self.under_way.last() {
            Some(from) => self.registry.find_from(*from, kind, canonical),
            None => self.registry.find(kind, canonical),
        }
    }
}

impl Library for Expansion<'_> {
    fn code_system(&mut self, canonical: &str) -> Option<Arc<CodeSystem>> {
        let id = self.find(Kind::CodeSystem, canonical)?;
        self.registry.code_system_at(id).cloned()
    }

    fn value_set(&mut self, canonical: &str) -> Option<Arc<ValueSet>> {
        let id = self.find(Kind::ValueSet, canonical)?;
        self.expand(id)
    }
}
