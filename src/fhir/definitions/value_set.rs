//! A value set, expanded as far as its definitions allow.
//!
//! What can be enumerated stands as codes by system; a part that cannot (SNOMED CT filters, ISO lists, a
//! value set that is not in the package) leaves its system open. Whether a code is a member is answered one
//! floor up, in `terminology`.

use std::collections::HashSet;

use crate::fhir::tree::Element;

/// The codes of one system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    pub system: String,
    pub codes: HashSet<Box<str>>,
}

/// An expanded value set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueSet {
    pub url: String,
    pub version: String,
    pub groups: Vec<Group>,
    /// Systems of which some codes belong to the set that are not enumerated here; `*` is any system.
    pub open: Vec<String>,
}

impl ValueSet {
    pub fn group_mut(&mut self, system: &str) -> &mut Group {
        let known = self.groups.iter().position(|group| group.system == system);
        let at = known.unwrap_or(self.groups.len());
        if known.is_none() {
            self.groups.push(Group { system: system.to_owned(), codes: HashSet::new() });
        }
        &mut self.groups[at]
    }

    pub fn leave_open(&mut self, system: &str) {
        if !self.open.iter().any(|each| each == system) {
            self.open.push(system.to_owned());
        }
    }

    pub fn contains(&self, system: &str, code: &str) -> bool {
        self.groups.iter().any(|group| group.system == system && group.codes.contains(code))
    }

    /// The line form that the embedded definitions use; deterministic.
    pub fn to_json(&self) -> serde_json::Value {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by(|one, other| one.system.cmp(&other.system));
        let groups: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let mut codes: Vec<&str> = group.codes.iter().map(AsRef::as_ref).collect();
                codes.sort_unstable();
                serde_json::json!({"system": group.system, "code": codes})
            })
            .collect();
        let mut open = self.open.clone();
        open.sort_unstable();
        serde_json::json!({"url": self.url, "version": self.version, "group": groups, "open": open})
    }

    pub fn from_line(root: Element<'_>) -> ValueSet {
        let text = |name| root.text_of(name).unwrap_or_default().to_owned();
        let groups = root.all("group").map(|group| Group {
            system: group.text_of("system").unwrap_or_default().to_owned(),
            codes: group.all("code").filter_map(|code| code.text()).map(Box::from).collect(),
        });
        ValueSet {
            url: text("url"),
            version: text("version"),
            groups: groups.collect(),
            open: root.all("open").filter_map(|each| each.text()).map(str::to_owned).collect(),
        }
    }
}
