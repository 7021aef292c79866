//! Slicing: which slice each repetition belongs to, and whether the slices are as the profile wants them.
//!
//! An element belongs to the first slice all of whose tests it passes (R4 §5.1.0.9).

use smallvec::SmallVec;

use super::super::profile::{Node, Profile, Slices, Step, Test, TestKind, UNBOUNDED};
use super::super::run::Run;
use super::super::scope::{Found, FoundList, each_named};
use super::literal;
use crate::fhir::definitions::SlicingRules;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, membership};
use crate::fhir::tree::Element;

/// Sorts the repetitions of an element into slices and applies each slice's rules.
pub fn check<'d>(
    run: &mut Run<'_, 'd>,
    profile: &Profile,
    node: &Node,
    slicing: &Slices,
    found: &[Found<'d>],
    parent: Element<'d>,
) {
    let mut counts: SmallVec<[u32; 8]> = SmallVec::from_elem(0, slicing.slices.len());
    let mut last = 0;
    let mut unmatched_before = false;
    let mut is_undecided = false;
    for each in found {
        let belongs = |slice: &super::super::profile::Slice| {
            !slice.tests.is_empty() && slice.tests.iter().all(|test| passes(run, test, each))
        };
        let mut matching = slicing.slices.iter().enumerate().filter(|(_, slice)| belongs(slice)).map(|(at, _)| at);
        let first = matching.next();
        let is_ambiguous = matching.next().is_some();
        let Some(at) = first else {
            unmatched_before = true;
            let leads_away =
                slicing.slices.iter().flat_map(|slice| &slice.tests).any(|test| leads_away(run, test, each));
            is_undecided |= leads_away;
            let decided = !leads_away && slicing.slices.iter().all(|slice| !slice.tests.is_empty());
            if slicing.rules == SlicingRules::Closed && decided {
                run.enter(each);
                run.issue(Id::SliceUnmatched, each.element, format!("It is none of {}.", names(slicing)));
                run.leave();
            }
            continue;
        };
        counts[at] += 1;
        run.enter(each);
        if (slicing.ordered && at < last) || (slicing.rules == SlicingRules::OpenAtEnd && unmatched_before) {
            let text = format!("The slices must come in the order {}.", names(slicing));
            run.issue(Id::SliceOrder, each.element, text);
        }
        last = at;
        if is_ambiguous {
            run.issue(Id::SliceAmbiguous, each.element, format!("It is more than one of {}.", names(slicing)));
        } else {
            run.apply_node(profile, slicing.slices[at].node, each.element, each.type_name);
        }
        run.leave();
    }
    for (slice, count) in slicing.slices.iter().zip(counts) {
        let rules = &profile.nodes[slice.node];
        if slice.tests.is_empty() {
            if rules.min > 0 {
                let text =
                    format!("Nothing tells which {} belong to slice '{}'; it was not checked.", node.path, slice.name);
                run.missing(Id::InvariantUndecided, parent, &node.name, text);
            }
            continue;
        }
        if count < rules.min && !is_undecided {
            let text =
                format!("{} needs at least {} of slice '{}'{}.", node.path, rules.min, slice.name, hint(&slice.tests));
            run.missing(Id::SliceMin, parent, &node.name, text);
        }
        if rules.max != UNBOUNDED && count > rules.max {
            let text = format!("{} allows at most {} of slice '{}'.", node.path, rules.max, slice.name);
            run.missing(Id::SliceMax, parent, &node.name, text);
        }
    }
}

fn names(slicing: &Slices) -> String {
    slicing.slices.iter().map(|slice| &*slice.name).collect::<Vec<_>>().join(", ")
}

/// What makes an element a member of the slice, for whoever has to add one.
fn hint(tests: &[Test]) -> String {
    let tests: Vec<String> = tests.iter().map(ToString::to_string).collect();
    if tests.is_empty() { String::new() } else { format!(" ({})", tests.join(", ")) }
}

fn passes<'d>(run: &Run<'_, 'd>, test: &Test, found: &Found<'d>) -> bool {
    let mut ends = FoundList::new();
    select(run, *found, &test.path, &mut ends);
    match &test.check {
        TestKind::Exists(wanted) => ends.is_empty() != *wanted,
        TestKind::Fixed(fixed) => ends.iter().any(|end| literal::is_fixed(fixed, end.element)),
        TestKind::Pattern(pattern) => ends.iter().any(|end| literal::has_pattern(pattern, end.element)),
        TestKind::Url(url) => {
            ends.iter().any(|end| end.element.string().is_some_and(|text| text.split('|').next() == Some(url)))
        }
        TestKind::Member(set) => ends.iter().any(|end| is_member(set, end.element)),
        TestKind::Types(types) => ends.iter().any(|end| {
            let registry = &run.validator.registry;
            types.iter().any(|name| registry.subtype_of(end.actual_type(), name))
        }),
        // Whatever is there satisfies a slice that names no profile.
        TestKind::Profile(profiles) if profiles.is_empty() => true,
        TestKind::Profile(profiles) => {
            ends.iter().any(|end| profiles.iter().any(|canonical| run.conforms(end.element, canonical) == Some(true)))
        }
    }
}

/// Whether a test asks about a resource that is not in the message.
fn leads_away<'d>(run: &Run<'_, 'd>, test: &Test, found: &Found<'d>) -> bool {
    let Some(at) = test.path.iter().position(|step| *step == Step::Resolve) else { return false };
    let mut ends = FoundList::new();
    select(run, *found, &test.path[..at], &mut ends);
    ends.iter().any(|end| {
        let reference = end.element.string().or_else(|| end.element.text_of("reference"));
        reference.is_some_and(|text| run.resolve(end.element, text).is_none())
    })
}

fn is_member(set: &crate::fhir::definitions::ValueSet, element: Element<'_>) -> bool {
    let coded = |coding: Element<'_>| {
        let code = coding.text_of("code");
        code.is_some_and(|code| {
            membership(set, Some(coding.text_of("system").unwrap_or_default()), code) == Membership::In
        })
    };
    match element.string() {
        Some(code) => membership(set, None, code) == Membership::In,
        None => coded(element) || element.all("coding").any(coded),
    }
}

/// The elements at the end of a discriminator's path.
fn select<'d>(run: &Run<'_, 'd>, from: Found<'d>, path: &[Step], ends: &mut FoundList<'d>) {
    let Some((step, rest)) = path.split_first() else {
        ends.push(from);
        return;
    };
    match step {
        Step::Child(name) => {
            each_named(from.element, name, None, &mut |found| select(run, found, rest, ends));
        }
        Step::Extension(url) => {
            each_named(from.element, "extension", Some(false), &mut |found| {
                if found.element.text_of("url") == Some(url) {
                    select(run, found, rest, ends);
                }
            });
        }
        Step::OfType(name) => {
            if from.actual_type() == &**name {
                select(run, from, rest, ends);
            }
        }
        Step::Resolve => {
            let reference = from.element.string().or_else(|| from.element.text_of("reference"));
            if let Some(element) = reference.and_then(|text| run.resolve(from.element, text)) {
                select(run, Found { element, ..from }, rest, ends);
            }
        }
    }
}
