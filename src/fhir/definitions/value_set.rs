//! A value set, expanded as far as its definitions allow.
//!
//! What can be enumerated stands as codes by system, or as a whole code system; a part that cannot (SNOMED CT filters,
//! ISO lists, a value set that is not loaded) leaves its system open. Whether a code is a member is answered one floor
//! up, in `terminology`.

use std::sync::Arc;

use super::code_system::CodeSystem;
use super::code_system::folded;
use super::compose::Filter;
use super::names::NameSet;

/// The codes of one system that belong to the set.
#[derive(Clone, Debug)]
pub struct Group {
    pub system: String,
    pub codes: Codes,
    /// Names that the set gives to some of its codes, besides those of the code system: code and name.
    pub names: Vec<(Box<str>, Box<str>)>,
}

#[derive(Clone, Debug)]
pub enum Codes {
    /// All that the code system has.
    All(Arc<CodeSystem>),
    /// These; in lower case where case counts for nothing.
    Listed { codes: NameSet<Box<str>>, case_sensitive: bool },
}

/// Codes that belong to the set and are not enumerated here.
#[derive(Clone, PartialEq, Debug)]
pub struct Open {
    /// Their system; `None` is any.
    pub system: Option<String>,
    /// Whether the system belongs to the set as a whole, less what its filters drop.
    pub whole: bool,
    pub filters: Vec<Filter>,
}

/// An expanded value set.
#[derive(Clone, Debug, Default)]
pub struct ValueSet {
    pub url: String,
    pub version: String,
    pub groups: Vec<Group>,
    pub open: Vec<Open>,
}

/// One canonical has one meaning in a registry.
impl PartialEq for ValueSet {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.version) == (&other.url, &other.version)
    }
}

impl Codes {
    pub fn contains(&self, code: &str) -> bool {
        match self {
            Codes::All(system) => system.contains(code),
            Codes::Listed { codes, case_sensitive: true } => codes.contains(code),
            Codes::Listed { codes, case_sensitive: false } => {
                codes.contains(code) || folded(code, |code| codes.contains(code))
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Codes::All(system) => system.concepts.len(),
            Codes::Listed { codes, .. } => codes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The codes, in no order.
    pub fn each(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Codes::All(system) => Box::new(system.concepts.iter().map(|concept| &*concept.code)),
            Codes::Listed { codes, .. } => Box::new(codes.iter().map(AsRef::as_ref)),
        }
    }

    /// Keeps the codes that satisfy a test.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        match self {
            Codes::Listed { codes, .. } => codes.retain(|code| keep(code)),
            Codes::All(system) => {
                if system.concepts.iter().all(|concept| keep(&concept.code)) {
                    return;
                }
                let kept = system.concepts.iter().map(|concept| &*concept.code).filter(|code| keep(code));
                *self = Codes::listed(kept, system.case_sensitive);
            }
        }
    }

    pub(super) fn listed<'c>(codes: impl Iterator<Item = &'c str>, case_sensitive: bool) -> Codes {
        let codes = codes.map(|code| if case_sensitive { code.into() } else { code.to_lowercase().into() });
        Codes::Listed { codes: codes.collect(), case_sensitive }
    }
}

impl Open {
    /// A system that belongs to the set as a whole.
    pub fn whole(system: &str) -> Open {
        Open { system: Some(system.to_owned()), whole: true, filters: Vec::new() }
    }

    /// A system of which nobody here can say which codes belong to the set.
    pub fn partly(system: &str) -> Open {
        Open { whole: false, ..Open::whole(system) }
    }

    /// A set that is not known here.
    pub fn anything() -> Open {
        Open { system: None, whole: false, filters: Vec::new() }
    }

    pub fn covers(&self, system: &str) -> bool {
        self.system.as_deref().is_none_or(|own| own == system)
    }
}

impl ValueSet {
    pub fn contains(&self, system: &str, code: &str) -> bool {
        self.groups.iter().any(|group| group.system == system && group.codes.contains(code))
    }

    /// The codes that are enumerated, with their systems, in no order.
    pub fn codes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.groups.iter().flat_map(|group| group.codes.each().map(|code| (group.system.as_str(), code)))
    }

    /// The names that the set itself gives to a code.
    pub fn names<'s>(&'s self, system: &'s str, code: &'s str) -> impl Iterator<Item = &'s str> {
        let groups = self.groups.iter().filter(move |group| group.system == system);
        groups.flat_map(move |group| {
            group.names.iter().filter(move |(named, _)| **named == *code).map(|(_, name)| &**name)
        })
    }

    pub(super) fn add(&mut self, system: &str, codes: Codes) {
        if !codes.is_empty() {
            self.groups.push(Group { system: system.to_owned(), codes, names: Vec::new() });
        }
    }

    pub(super) fn leave_open(&mut self, open: Open) {
        if !self.open.contains(&open) {
            self.open.push(open);
        }
    }
}
