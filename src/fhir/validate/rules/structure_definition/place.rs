//! Where a path of a definition leads: through the base, into data types, along shared content, to variants of choices.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fhir::definitions::{ElementDefinition, Registry, Structure};
use crate::fhir::tree::Element;

/// A path goes through so many types at most.
const MAX_DEPTH: usize = 16;

/// Looks up paths in a base and in what a differential says of types on the way.
pub struct Places<'r, 'd> {
    registry: &'r Registry,
    base: Arc<Structure>,
    by_path: HashMap<String, usize>,
    /// Types that the differential states, by path.
    stated: HashMap<&'d str, Vec<&'d str>>,
}

/// An element of a structure.
pub struct Place {
    structure: Arc<Structure>,
    at: usize,
}

impl Place {
    pub fn element(&self) -> &ElementDefinition {
        &self.structure.elements[self.at]
    }
}

impl<'r, 'd> Places<'r, 'd> {
    pub fn new(registry: &'r Registry, base: &Arc<Structure>) -> Self {
        let mut by_path = HashMap::with_capacity(base.elements.len());
        for (at, element) in base.elements.iter().enumerate() {
            by_path.entry(element.path.clone()).or_insert(at);
        }
        Places { registry, base: Arc::clone(base), by_path, stated: HashMap::new() }
    }

    /// Takes note of the types that an element of the differential states.
    pub fn state(&mut self, path: &'d str, element: Element<'d>) {
        let types: Vec<&str> = element.all("type").filter_map(|each| each.text_of("code")).collect();
        if !types.is_empty() {
            self.stated.entry(path).or_default().extend(types);
        }
    }

    pub fn find(&self, path: &str) -> Option<Place> {
        if let Some(at) = self.by_path.get(path) {
            return Some(Place { structure: Arc::clone(&self.base), at: *at });
        }
        // What the differential says of the types further up counts first.
        for (end, _) in path.rmatch_indices('.') {
            let (front, rest) = path.split_at(end);
            for name in self.stated.get(front).into_iter().flatten() {
                if let Some(found) = self.inside(name, rest, 0) {
                    return Some(found);
                }
            }
        }
        self.search(&self.base, path, 0)
    }

    /// A path below a type; `rest` begins with a dot.
    fn inside(&self, type_name: &str, rest: &str, depth: usize) -> Option<Place> {
        let structure = self.registry.structure(type_name)?;
        let path = format!("{}{rest}", structure.elements.first()?.path);
        self.search(&structure, &path, depth + 1)
    }

    fn search(&self, structure: &Arc<Structure>, path: &str, depth: usize) -> Option<Place> {
        if depth > MAX_DEPTH {
            return None;
        }
        let place = |at| Place { structure: Arc::clone(structure), at };
        if let Some(at) = structure.elements.iter().position(|element| element.path == path) {
            return Some(place(at));
        }
        // The longest front that is an element; what follows lies in its type.
        for (end, _) in path.rmatch_indices('.') {
            let (front, rest) = path.split_at(end);
            let Some(at) = position(structure, front) else { continue };
            let element = &structure.elements[at];
            if let Some(shared) = &element.content_reference {
                let shared = structure.elements.iter().find(|each| each.id == *shared)?;
                return self.search(structure, &format!("{}{rest}", shared.path), depth + 1);
            }
            let variant = variant(element, front);
            let found = element
                .types
                .iter()
                .filter(|each| variant.is_none_or(|name| each.code == name))
                .find_map(|each| self.inside(&each.code, rest, depth));
            if found.is_some() {
                return found;
            }
        }
        position(structure, path).map(place)
    }
}

/// The element of a path, also where the path names the variant of a choice.
fn position(structure: &Structure, path: &str) -> Option<usize> {
    let exact = structure.elements.iter().position(|element| element.path == path);
    exact.or_else(|| structure.elements.iter().position(|element| variant(element, path).is_some()))
}

/// The type that a path like `Observation.valueQuantity` names of a choice.
fn variant<'e>(element: &'e ElementDefinition, path: &str) -> Option<&'e str> {
    let suffix = path.strip_prefix(element.path.strip_suffix("[x]")?)?;
    let is_named = |code: &str| {
        let mut letters = code.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        suffix.chars().next() == first && suffix.get(1..) == Some(letters.as_str())
    };
    element.types.iter().map(|each| each.code.as_str()).find(|code| is_named(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_through_types() {
        let registry = Registry::core();
        let find = |path: &str| {
            let base = registry.structure(path.split('.').next().unwrap_or(path)).unwrap();
            Places::new(&registry, &base).find(path).map(|place| place.element().path.clone())
        };
        for (path, expected) in [
            ("Observation", Some("Observation")),
            ("Observation.code.coding.system", Some("Coding.system")),
            ("Observation.value[x]", Some("Observation.value[x]")),
            ("Observation.valueQuantity", Some("Observation.value[x]")),
            ("Observation.valueQuantity.value", Some("Quantity.value")),
            ("Observation.value[x].coding", Some("CodeableConcept.coding")),
            ("Observation.component.referenceRange.low.unit", Some("Quantity.unit")),
            ("Observation.valueBla", None),
            ("Observation.valueAddress", None),
            ("Observation.code.value", None),
            ("Patient.contact.contact", None),
            ("Questionnaire.item.item.item.linkId", Some("Questionnaire.item.linkId")),
            ("Extension.extension.extension.valueString", Some("Extension.value[x]")),
        ] {
            assert_eq!(find(path).as_deref(), expected, "{path}");
        }
    }
}
