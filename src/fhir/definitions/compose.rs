//! Expansion: ValueSet.compose and the code systems it names become codes by system (R4 §4.9.8).
//!
//! Whole systems, enumerated concepts and filters are expanded where the code system's concepts are here; anything else
//! leaves the system open rather than guess. A value set that has only an expansion is taken as it is.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use regex::Regex;

use super::code_system::{CodeSystem, Content};
use super::names::NameSet;
use super::value_set::{Codes, Group, Open, ValueSet};
use crate::fhir::tree::Element;

/// One filter of a compose.
#[derive(Clone, Debug)]
pub struct Filter {
    pub property: Box<str>,
    pub op: Box<str>,
    pub value: Box<str>,
    /// The value as a regular expression, compiled when first asked for.
    pattern: OnceLock<Option<Regex>>,
}

impl Filter {
    pub fn new(property: &str, op: &str, value: &str) -> Filter {
        Filter { property: property.into(), op: op.into(), value: value.into(), pattern: OnceLock::new() }
    }

    /// Whether the whole of a text matches the value as a regular expression; `None` where it is none.
    pub fn matches(&self, text: &str) -> Option<bool> {
        let pattern = self.pattern.get_or_init(|| Regex::new(&format!("^(?:{})$", self.value)).ok());
        pattern.as_ref().map(|pattern| pattern.is_match(text))
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        (&self.property, &self.op, &self.value) == (&other.property, &other.op, &other.value)
    }
}

/// Where an expansion finds what it refers to.
pub(super) trait Library {
    fn code_system(&mut self, canonical: &str) -> Option<Arc<CodeSystem>>;
    fn value_set(&mut self, canonical: &str) -> Option<Arc<ValueSet>>;
}

/// Expands a ValueSet resource.
pub(super) fn expand(root: Element<'_>, library: &mut dyn Library) -> ValueSet {
    let text = |name| root.text_of(name).unwrap_or_default().to_owned();
    let mut set = ValueSet { url: text("url"), version: text("version"), ..ValueSet::default() };
    let Some(compose) = root.get("compose") else {
        match root.get("expansion") {
            Some(expansion) => listed(expansion, &mut set),
            None => set.leave_open(Open::anything()),
        }
        return set;
    };
    let active_only = compose.text_of("inactive") == Some("false");
    for include in compose.all("include") {
        let part = part(include, active_only, library);
        set.groups.extend(part.groups);
        for open in part.open {
            set.leave_open(open);
        }
    }
    for exclude in compose.all("exclude") {
        subtract(&mut set, &part(exclude, false, library));
    }
    set
}

/// The codes of an expansion, abstract ones left out.
fn listed(expansion: Element<'_>, set: &mut ValueSet) {
    let mut next: Vec<Element<'_>> = expansion.all("contains").collect();
    while let Some(contains) = next.pop() {
        next.extend(contains.all("contains"));
        let (Some(system), Some(code)) = (contains.text_of("system"), contains.text_of("code")) else { continue };
        if contains.text_of("abstract") == Some("true") {
            continue;
        }
        let known = set.groups.iter().position(|group| group.system == system);
        let at = known.unwrap_or(set.groups.len());
        if known.is_none() {
            let codes = Codes::Listed { codes: NameSet::default(), case_sensitive: true };
            set.groups.push(Group { system: system.to_owned(), codes, names: Vec::new() });
        }
        if let Codes::Listed { codes, .. } = &mut set.groups[at].codes {
            codes.insert(code.into());
        }
        set.groups[at].names.extend(names(contains, code));
    }
    // A page of an expansion is not the whole of it.
    let total = expansion.text_of("total").and_then(|total| total.parse::<usize>().ok());
    if total.is_some_and(|total| total > set.codes().count()) {
        set.leave_open(Open::anything());
    }
}

/// The names that a value set gives to a code.
fn names<'d>(element: Element<'d>, code: &'d str) -> impl Iterator<Item = (Box<str>, Box<str>)> + 'd {
    let designations = element.all("designation").filter_map(|each| each.text_of("value"));
    element.text_of("display").into_iter().chain(designations).map(move |name| (code.into(), name.into()))
}

/// What one include or exclude says: its system's codes that are in all of its value sets.
fn part(include: Element<'_>, active_only: bool, library: &mut dyn Library) -> ValueSet {
    let mut part = include.text_of("system").map(|system| system_part(system, include, active_only, library));
    for imported in include.all("valueSet").filter_map(|each| each.text()) {
        let unknown = || Arc::new(ValueSet { open: vec![Open::anything()], ..ValueSet::default() });
        let imported = library.value_set(imported).unwrap_or_else(unknown);
        part = Some(match part {
            None => ValueSet::clone(&imported),
            Some(own) => intersection(&own, &imported),
        });
    }
    part.unwrap_or_default()
}

fn system_part(system: &str, include: Element<'_>, active_only: bool, library: &mut dyn Library) -> ValueSet {
    let mut part = ValueSet::default();
    let canonical = match include.text_of("version") {
        Some(version) => format!("{system}|{version}"),
        None => system.to_owned(),
    };
    // A version that is not here says less about a code than the one that is: its codes are asked of no other.
    let known = library.code_system(&canonical);
    let case_sensitive = known.as_ref().is_none_or(|known| known.case_sensitive);
    let mut concepts = include.all("concept").filter_map(|concept| concept.text_of("code")).peekable();
    if concepts.peek().is_some() {
        part.add(system, Codes::listed(concepts, case_sensitive));
        if let Some(group) = part.groups.last_mut() {
            for concept in include.all("concept") {
                group.names.extend(names(concept, concept.text_of("code").unwrap_or_default()));
            }
        }
        return part;
    }
    let filters: Vec<Filter> = include
        .all("filter")
        .map(|filter| {
            let text = |name| filter.text_of(name).unwrap_or_default();
            Filter::new(text("property"), text("op"), text("value"))
        })
        .collect();
    let here = known.filter(|known| !known.concepts.is_empty());
    let Some(here) =
        here.filter(|known| matches!(known.content, Content::Complete | Content::Fragment | Content::Example))
    else {
        part.leave_open(Open { filters, ..Open::whole(system) });
        return part;
    };
    let complete = here.content == Content::Complete;
    let mut kept: Option<HashSet<u32>> = None;
    for filter in &filters {
        // What a fragment lacks may be what the filter is about.
        let Some(passed) = here.filtered(filter) else {
            part.leave_open(Open::partly(system));
            return part;
        };
        kept = Some(match kept {
            None => passed,
            Some(before) => before.intersection(&passed).copied().collect(),
        });
    }
    let mut codes = match kept {
        None => Codes::All(Arc::clone(&here)),
        Some(kept) => Codes::listed(kept.iter().map(|at| &*here.concepts[*at as usize].code), case_sensitive),
    };
    if active_only {
        codes.retain(|code| here.concept(code).is_none_or(|concept| !concept.is_inactive()));
    }
    part.add(system, codes);
    if !complete {
        part.leave_open(Open { filters, ..Open::partly(system) });
    }
    part
}

fn intersection(own: &ValueSet, other: &ValueSet) -> ValueSet {
    let mut both = ValueSet::default();
    for (one, two) in [(own, other), (other, own)] {
        for group in &one.groups {
            let mut codes = group.codes.clone();
            let open = two.open.iter().filter(|open| open.covers(&group.system));
            let (mut whole, mut perhaps) = (false, false);
            for open in open {
                whole |= open.whole && open.filters.is_empty();
                perhaps = true;
            }
            if !whole {
                codes.retain(|code| two.contains(&group.system, code));
                if perhaps {
                    both.leave_open(Open::partly(&group.system));
                }
            }
            // What both enumerate is found from either side.
            if !both
                .groups
                .iter()
                .any(|seen| seen.system == group.system && codes.each().all(|code| seen.codes.contains(code)))
            {
                both.add(&group.system, codes);
            }
        }
    }
    for one in &own.open {
        for two in &other.open {
            let system = match (&one.system, &two.system) {
                (Some(one), Some(two)) if one != two => continue,
                (one, two) => one.clone().or_else(|| two.clone()),
            };
            let filters = one.filters.iter().chain(&two.filters).cloned().collect();
            both.leave_open(Open { system, whole: one.whole && two.whole, filters });
        }
    }
    both
}

fn subtract(set: &mut ValueSet, part: &ValueSet) {
    for group in &mut set.groups {
        if part.open.iter().any(|open| open.covers(&group.system) && open.whole && open.filters.is_empty()) {
            group.codes = Codes::Listed { codes: NameSet::default(), case_sensitive: true };
        }
        let excluded: Vec<&Group> = part.groups.iter().filter(|each| each.system == group.system).collect();
        if !excluded.is_empty() {
            group.codes.retain(|code| !excluded.iter().any(|each| each.codes.contains(code)));
        }
    }
    set.groups.retain(|group| !group.codes.is_empty());
    let gone = |open: &Open| {
        part.open
            .iter()
            .any(|each| each.whole && each.filters.is_empty() && each.system.is_some() && each.system == open.system)
    };
    set.open.retain(|open| !gone(open));
    for open in &mut set.open {
        // What is left of a system is no whole any more, as far as can be told here.
        let touched = part.groups.iter().any(|group| open.covers(&group.system))
            || part.open.iter().any(|each| each.system == open.system);
        if touched {
            open.whole = false;
        }
    }
    let doubtful: Vec<Open> = part
        .open
        .iter()
        .filter(|open| !(open.whole && open.filters.is_empty()))
        .filter(|open| set.groups.iter().any(|group| open.covers(&group.system)))
        .map(|open| Open { whole: false, ..open.clone() })
        .collect();
    for open in doubtful {
        set.leave_open(open);
    }
}
