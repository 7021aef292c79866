//! Definitions become plans: each type's own plan in full, each profile's as the difference from its type.
//!
//! Compiling resolves every name once (types, value sets, discriminators, expressions), so that the walk
//! looks nothing up.

pub mod base;
pub mod derived;
pub mod invariants;
pub mod slices;

use super::profile::{Bound, Node, UNBOUNDED};
use super::rules::narrative::Control;
use crate::fhir::definitions::names::NameMap;
use crate::fhir::definitions::{AdditionalBinding, ElementDefinition, Registry, Strength};

const MEDIA_TYPES_RFC: &str = "http://www.rfc-editor.org/bcp/bcp13.txt";
const MEDIA_TYPES: &str = "http://hl7.org/fhir/ValueSet/mimetypes";

const VITAL_SIGNS_UNITS: &str = "http://hl7.org/fhir/ValueSet/ucum-vitals-common";

/// What compiling needs to know: the definitions, and where the plans of data types will stand.
pub struct Compiler<'r> {
    pub registry: &'r Registry,
    pub type_index: &'r NameMap<String, usize>,
}

impl Compiler<'_> {
    /// The rules of an element that concern its own value, types and invariants left out.
    fn value_rules(&self, element: &ElementDefinition) -> Node {
        let name = element.name();
        Node {
            name: name.strip_suffix("[x]").unwrap_or(name).into(),
            path: element.path.as_str().into(),
            choice: name.ends_with("[x]"),
            repeats: element.base_repeats,
            min: element.min,
            max: element.max.unwrap_or(UNBOUNDED),
            fixed: element.fixed.clone(),
            pattern: element.pattern.clone(),
            min_value: element.min_value.clone(),
            max_value: element.max_value.clone(),
            max_length: element.max_length,
            min_length: element.min_length,
            must_have_value: element.must_have_value,
            value_alternatives: element.value_alternatives.iter().map(|each| each.as_str().into()).collect(),
            narrative: Control::new(&element.narrative_languages, element.narrative_sources),
            binding: self.binding(element),
            ..Node::default()
        }
    }

    fn binding(&self, element: &ElementDefinition) -> Option<Bound> {
        let binding = element.binding.as_ref()?;
        // R4's vital signs bind the values of components to units whatever their type is; R5 mended it, and the HL7
        // validator reads R4 so as well.
        let is_vital_component = element.path == "Observation.component.value[x]"
            && binding.value_set.split('|').next() == Some(VITAL_SIGNS_UNITS);
        let strength = if is_vital_component { Strength::Extensible } else { binding.strength };
        let most = binding.max.as_deref().filter(|_| strength < Strength::Required);
        let further: Vec<Bound> = binding.additional.iter().filter_map(|each| self.further(each)).collect();
        if strength < Strength::Extensible && most.is_none() && further.is_empty() {
            return None;
        }
        let most = most.map(|canonical| Box::new(self.bound(Strength::Required, canonical)));
        Some(Bound { most, further, ..self.bound(strength, &binding.value_set) })
    }

    /// An additional binding that holds whatever the context is; what it asks of some repetition only is left alone.
    fn further(&self, binding: &AdditionalBinding) -> Option<Bound> {
        let strength = match binding.purpose.as_str() {
            "required" | "maximum" => Strength::Required,
            "extensible" => Strength::Extensible,
            _ => return None,
        };
        (!binding.conditional && !binding.any).then(|| self.bound(strength, &binding.value_set))
    }

    fn bound(&self, strength: Strength, canonical: &str) -> Bound {
        // R4 names the RFC itself where it means the media types.
        let meant = if canonical == MEDIA_TYPES_RFC { MEDIA_TYPES } else { canonical };
        let set = self.registry.value_set(meant).cloned();
        Bound { strength, canonical: canonical.into(), set, most: None, further: Vec::new() }
    }

    /// The canonicals of targets where one of them is a profile; a type is looked for by its name.
    fn target_profiles(&self, canonicals: &[String]) -> Vec<Box<str>> {
        if canonicals.iter().any(|each| self.registry.is_profile(each)) {
            return canonicals.iter().map(|each| each.as_str().into()).collect();
        }
        Vec::new()
    }

    /// Names of the resource types that the target profiles constrain; none where any resource will do.
    fn targets(&self, canonicals: &[String]) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = Vec::with_capacity(canonicals.len());
        for canonical in canonicals {
            match self.registry.type_of(canonical) {
                None | Some("Resource") => return Vec::new(),
                // Two profiles of a type are one type.
                Some(name) if names.iter().any(|each| **each == *name) => {}
                Some(name) => names.push(name.into()),
            }
        }
        names
    }
}
