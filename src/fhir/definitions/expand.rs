//! Expansion: ValueSet.compose and the code systems it names become codes by system (R4 §4.9.8).
//!
//! Whole systems, enumerated concepts, `is-a`, `descendent-of`, `is-not-a` and property filters are expanded
//! where the code system's concepts are given; anything else leaves the system open rather than guess.

use std::collections::{HashMap, HashSet};

use super::value_set::ValueSet;
use crate::fhir::tree::{Document, Element};

/// ValueSet and CodeSystem resources by url, from which value sets are expanded.
#[derive(Default)]
pub struct Sources<'d> {
    value_sets: HashMap<&'d str, Element<'d>>,
    code_systems: HashMap<&'d str, CodeSystem<'d>>,
}

/// A concept with the codes above it.
struct Concept<'d> {
    code: &'d str,
    parents: Vec<&'d str>,
    element: Element<'d>,
}

struct CodeSystem<'d> {
    complete: bool,
    concepts: Vec<Concept<'d>>,
}

/// Value sets that import each other deeper than this are left open.
const MAX_IMPORTS: usize = 8;

impl<'d> Sources<'d> {
    pub fn new(documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let mut sources = Sources::default();
        for document in documents {
            let root = Element::root(document);
            let Some(url) = root.text_of("url") else { continue };
            match root.resource_type() {
                Some("ValueSet") => {
                    sources.value_sets.insert(url, root);
                }
                Some("CodeSystem") => {
                    sources.code_systems.insert(url, CodeSystem::read(root));
                }
                _ => {}
            }
        }
        sources
    }

    pub fn expand(&self, canonical: &str, known: &dyn Fn(&str) -> Option<ValueSet>) -> Option<ValueSet> {
        self.expand_at(canonical, known, 0)
    }

    fn expand_at(&self, canonical: &str, known: &dyn Fn(&str) -> Option<ValueSet>, depth: usize) -> Option<ValueSet> {
        let url = canonical.split('|').next().unwrap_or(canonical);
        let Some(root) = self.value_sets.get(url) else { return known(url) };
        let mut set = ValueSet {
            url: url.to_owned(),
            version: root.text_of("version").unwrap_or_default().to_owned(),
            ..ValueSet::default()
        };
        let Some(compose) = root.get("compose") else {
            set.leave_open("*");
            return Some(set);
        };
        for include in compose.all("include") {
            merge(&mut set, self.part(include, known, depth));
        }
        for exclude in compose.all("exclude") {
            let part = self.part(exclude, known, depth);
            for group in part.groups {
                set.group_mut(&group.system).codes.retain(|code| !group.codes.contains(code));
            }
            // What is excluded by a rule that cannot be enumerated makes the rest uncertain.
            part.open.iter().for_each(|system| set.leave_open(system));
        }
        set.groups.retain(|group| !group.codes.is_empty());
        Some(set)
    }

    fn part(&self, include: Element<'d>, known: &dyn Fn(&str) -> Option<ValueSet>, depth: usize) -> ValueSet {
        let mut part = include.text_of("system").map(|system| self.system_part(system, include));
        for imported in include.all("valueSet").filter_map(|each| each.text()) {
            let imported = (depth < MAX_IMPORTS).then(|| self.expand_at(imported, known, depth + 1)).flatten();
            let imported = imported.unwrap_or_else(|| ValueSet { open: vec!["*".to_owned()], ..ValueSet::default() });
            part = Some(match part {
                None => imported,
                Some(own) => intersection(own, &imported),
            });
        }
        part.unwrap_or_default()
    }

    fn system_part(&self, system: &str, include: Element<'d>) -> ValueSet {
        let mut part = ValueSet::default();
        let listed: Vec<&str> = include.all("concept").filter_map(|concept| concept.text_of("code")).collect();
        if !listed.is_empty() {
            part.group_mut(system).codes = listed.into_iter().map(Box::from).collect();
            return part;
        }
        let Some(code_system) = self.code_systems.get(system).filter(|each| each.complete) else {
            part.leave_open(system);
            return part;
        };
        let mut codes: HashSet<&str> = code_system.concepts.iter().map(|concept| concept.code).collect();
        for filter in include.all("filter") {
            let Some(kept) = code_system.filtered(filter) else {
                part.leave_open(system);
                return part;
            };
            codes.retain(|code| kept.contains(code));
        }
        part.group_mut(system).codes = codes.into_iter().map(Box::from).collect();
        part
    }
}

impl<'d> CodeSystem<'d> {
    fn read(root: Element<'d>) -> Self {
        let mut concepts = Vec::new();
        for concept in root.all("concept") {
            collect(concept, None, &mut concepts);
        }
        CodeSystem { complete: root.text_of("content") == Some("complete") && !concepts.is_empty(), concepts }
    }

    fn filtered(&self, filter: Element<'d>) -> Option<HashSet<&'d str>> {
        let (property, value) = (filter.text_of("property")?, filter.text_of("value")?);
        let all = || self.concepts.iter().map(|concept| concept.code);
        Some(match (property, filter.text_of("op")?) {
            ("concept" | "code", "is-a") => self.descendants(value, true),
            ("concept" | "code", "descendent-of") => self.descendants(value, false),
            ("concept" | "code", "is-not-a") => {
                let below = self.descendants(value, true);
                all().filter(|code| !below.contains(code)).collect()
            }
            (property, "=") => self
                .concepts
                .iter()
                .filter(|concept| {
                    concept.element.all("property").any(|each| {
                        each.text_of("code") == Some(property)
                            && ["valueCode", "valueString", "valueBoolean", "valueInteger"]
                                .iter()
                                .any(|name| each.text_of(name) == Some(value))
                    })
                })
                .map(|concept| concept.code)
                .collect(),
            _ => return None,
        })
    }

    fn descendants(&self, ancestor: &'d str, itself: bool) -> HashSet<&'d str> {
        let mut found = HashSet::from([ancestor]);
        loop {
            let before = found.len();
            for concept in &self.concepts {
                if concept.parents.iter().any(|parent| found.contains(parent)) {
                    found.insert(concept.code);
                }
            }
            if found.len() == before {
                break;
            }
        }
        if !itself {
            found.remove(ancestor);
        }
        found
    }
}

fn collect<'d>(element: Element<'d>, parent: Option<&'d str>, concepts: &mut Vec<Concept<'d>>) {
    let Some(code) = element.text_of("code") else { return };
    let stated = element
        .all("property")
        .filter(|each| matches!(each.text_of("code"), Some("subsumedBy" | "parent")))
        .filter_map(|each| each.text_of("valueCode"));
    concepts.push(Concept { code, parents: parent.into_iter().chain(stated).collect(), element });
    for child in element.all("concept") {
        collect(child, Some(code), concepts);
    }
}

fn merge(set: &mut ValueSet, part: ValueSet) {
    for group in part.groups {
        set.group_mut(&group.system).codes.extend(group.codes);
    }
    part.open.iter().for_each(|system| set.leave_open(system));
}

fn intersection(mut own: ValueSet, other: &ValueSet) -> ValueSet {
    let any = other.open.iter().any(|system| system == "*");
    for group in &mut own.groups {
        if any || other.open.contains(&group.system) {
            continue;
        }
        let system = group.system.clone();
        group.codes.retain(|code| other.contains(&system, code));
    }
    own
}
