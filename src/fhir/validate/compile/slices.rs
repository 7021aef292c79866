//! Discriminators become tests: what an element must show to belong to a slice (R4 §5.1.0.9).
//!
//! A discriminator names a path; the slice's own definition says at that path what is fixed, patterned,
//! bound, typed or required. Where it says nothing the slice cannot be told apart by it, and the profile is
//! at fault, not the sender: the slice then takes no element.

use super::Compiler;
use super::derived::Branch;
use crate::fhir::definitions::{Discriminator, DiscriminatorKind, Slicing, Strength};
use crate::fhir::validate::profile::{Step, Test, TestKind};

/// Profiles that a path leads through; definitions could send each other round.
const MAX_PROFILES_ON_PATH: usize = 3;

impl Compiler<'_> {
    pub(super) fn tests(&self, branches: &[Branch<'_>], slice: usize, definition: &Slicing) -> Vec<Test> {
        let mut tests: Vec<Test> = Vec::with_capacity(definition.discriminators.len());
        for discriminator in &definition.discriminators {
            tests.extend(self.test(branches, slice, discriminator));
        }
        tests
    }

    fn test(&self, branches: &[Branch<'_>], slice: usize, discriminator: &Discriminator) -> Option<Test> {
        let steps = steps(&discriminator.path);
        let check = match discriminator.kind {
            DiscriminatorKind::Type => {
                let found = branches[descend(branches, slice, &steps)?].element;
                if steps.last() == Some(&Step::Resolve) {
                    let targets = found.types.iter().flat_map(|each| &each.targets);
                    let names: Vec<Box<str>> =
                        targets.filter_map(|target| self.registry.type_of(target)).map(Box::from).collect();
                    // A slice that holds no references is told apart by something else.
                    TestKind::Types(Some(names).filter(|names| !names.is_empty())?)
                } else {
                    TestKind::Types(found.types.iter().map(|each| each.code.as_str().into()).collect())
                }
            }
            DiscriminatorKind::Profile => {
                let found = branches[descend(branches, slice, &steps)?].element;
                let by_reference = steps.last() == Some(&Step::Resolve);
                let listed =
                    found.types.iter().flat_map(|each| if by_reference { &each.targets } else { &each.profiles });
                TestKind::Profile(listed.map(|canonical| canonical.as_str().into()).collect())
            }
            DiscriminatorKind::Exists => {
                let found = branches[descend(branches, slice, &steps)?].element;
                TestKind::Exists(found.max != Some(0))
            }
            DiscriminatorKind::Value | DiscriminatorKind::Pattern => return self.value_test(branches, slice, steps, 0),
        };
        Some(Test { path: steps, check })
    }

    fn value_test(&self, branches: &[Branch<'_>], slice: usize, mut steps: Vec<Step>, depth: usize) -> Option<Test> {
        let whole = steps.clone();
        // What may not be there tells a slice apart by its absence, whatever else the base says about it.
        let at_end = descend(branches, slice, &whole).map(|end| branches[end].element);
        if !whole.is_empty() && at_end.is_some_and(|element| element.max == Some(0)) {
            return Some(Test { path: whole, check: TestKind::Exists(false) });
        }
        if steps.as_slice() == [Step::Child("url".into())] {
            let profile = branches[slice].element.types.iter().flat_map(|each| &each.profiles).next();
            if let Some(url) = profile {
                let url = url.split('|').next().unwrap_or(url);
                return Some(Test { path: steps, check: TestKind::Url(url.into()) });
            }
        }
        // A pattern above the path discriminates too: the longest stretch of the path that says something counts.
        loop {
            if let Some(check) = self.said(branches, slice, &steps) {
                return Some(Test { path: steps, check });
            }
            if steps.pop().is_none() {
                break;
            }
        }
        // What another profile says of its element tells the slice apart as well.
        let elsewhere = branches[slice].element.types.iter().flat_map(|each| &each.profiles);
        for (canonical, part) in elsewhere.filter_map(|canonical| canonical.split_once('#')) {
            let Some(structure) = self.registry.structure(canonical) else { continue };
            let others = self.branches(&structure);
            // One step and no further, or definitions could send each other round.
            let says_itself = |branch: &&Branch<'_>| {
                branch.element.id == part
                    && !branch.element.types.iter().any(|each| each.profiles.iter().any(|p| p.contains('#')))
            };
            let at = others.iter().position(|branch| says_itself(&branch));
            if let Some(test) = at.and_then(|at| self.value_test(&others, at, whole.clone(), depth)) {
                return Some(test);
            }
        }
        if let Some(test) = self.said_by_profile(branches, slice, &whole, depth) {
            return Some(test);
        }
        // Without a value, that there is any tells the slice apart.
        let must_exist = !whole.is_empty() && at_end.is_some_and(|element| element.min > 0);
        must_exist.then_some(Test { path: whole, check: TestKind::Exists(true) })
    }

    /// What the one profile of an element on the path, or of what it refers to, says at the rest of the path.
    fn said_by_profile(&self, branches: &[Branch<'_>], slice: usize, path: &[Step], depth: usize) -> Option<Test> {
        if depth >= MAX_PROFILES_ON_PATH {
            return None;
        }
        (0..path.len()).find_map(|at| {
            let (before, rest) = path.split_at(at);
            let element = branches[descend(branches, slice, before)?].element;
            let refers = before.last() == Some(&Step::Resolve);
            let mut listed = element.types.iter().flat_map(|each| if refers { &each.targets } else { &each.profiles });
            let canonical = listed.next().filter(|canonical| !canonical.contains('#'))?;
            if listed.next().is_some() {
                return None;
            }
            let structure = self.registry.structure(canonical)?;
            let others = self.branches(&structure);
            let Test { path, check } = self.value_test(&others, 0, rest.to_vec(), depth + 1)?;
            // That something must be there is said of every element of the profile.
            (!matches!(check, TestKind::Exists(true))).then(|| Test { path: [before, &path].concat(), check })
        })
    }

    fn said(&self, branches: &[Branch<'_>], slice: usize, steps: &[Step]) -> Option<TestKind> {
        let element = branches[descend(branches, slice, steps)?].element;
        if let Some(fixed) = &element.fixed {
            return Some(TestKind::Fixed(fixed.clone()));
        }
        if let Some(pattern) = &element.pattern {
            return Some(TestKind::Pattern(pattern.clone()));
        }
        let binding = element.binding.as_ref().filter(|binding| binding.strength == Strength::Required)?;
        Some(TestKind::Member(self.registry.value_set(&binding.value_set)?.clone()))
    }
}

/// The definition at the end of a path, going through slices where the element itself says nothing.
fn descend(branches: &[Branch<'_>], at: usize, steps: &[Step]) -> Option<usize> {
    let Some((step, rest)) = steps.split_first() else {
        // A slice without own words may say them through its required slices: BP's `coding` is such a one.
        return Some(at);
    };
    let matches = |candidate: &usize| match step {
        Step::Child(name) => {
            let own = branches[*candidate].element.name();
            own == &**name || own.strip_suffix("[x]") == Some(name)
        }
        Step::Extension(url) => {
            let element = branches[*candidate].element;
            element.name() == "extension" && element.types.iter().any(|each| each.profiles.iter().any(|p| **p == **url))
        }
        Step::OfType(_) | Step::Resolve => false,
    };
    if matches!(step, Step::OfType(_) | Step::Resolve) {
        return descend(branches, at, rest);
    }
    let children = branches[at].children.iter().copied();
    let through_slices = branches[at].slices.iter().flat_map(|slice| branches[*slice].children.iter().copied());
    let slices_of_children =
        branches[at].children.iter().flat_map(|child| branches[*child].slices.iter().copied()).collect::<Vec<_>>();
    let mut candidates: Vec<usize> = children.chain(through_slices).filter(|each| matches(each)).collect();
    candidates.extend(slices_of_children.into_iter().filter(|each| matches(each)));
    let says = |end: &usize| {
        let element = branches[*end].element;
        element.fixed.is_some() || element.pattern.is_some()
    };
    let ends: Vec<usize> = candidates.iter().filter_map(|each| descend(branches, *each, rest)).collect();
    ends.iter().find(|end| says(end)).or_else(|| ends.first()).copied()
}

/// `$this`, `code.coding.code`, `extension('url').value`, `item.resolve()`, `value.ofType(Quantity)`.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        let end = match rest.find(['.', '(']) {
            Some(at) if rest[at..].starts_with('(') => rest.find(')').map_or(rest.len(), |close| close + 1),
            Some(at) => at,
            None => rest.len(),
        };
        let (step, after) = rest.split_at(end);
        rest = after.strip_prefix('.').unwrap_or(after);
        let argument = || step.split_once('(').map_or("", |(_, inner)| inner.trim_end_matches(')').trim_matches('\''));
        match step {
            "$this" => {}
            "resolve()" => steps.push(Step::Resolve),
            _ if step.starts_with("extension(") => steps.push(Step::Extension(argument().into())),
            _ if step.starts_with("ofType(") => steps.push(Step::OfType(argument().into())),
            name => steps.push(Step::Child(name.into())),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::outcome::Id;
    use crate::fhir::tree::{Element, json};
    use crate::fhir::validate::{Options, Validator};

    #[test]
    fn the_profile_of_a_slice_tells_it_apart() {
        let official = r#"{"resourceType":"StructureDefinition","url":"urn:iso:official","type":"Identifier",
            "kind":"complex-type","derivation":"constraint",
            "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Identifier","snapshot":{"element":[
            {"path":"Identifier"},
            {"path":"Identifier.use","min":0,"max":"1","type":[{"code":"code"}],"patternCode":"official"},
            {"path":"Identifier.value","min":1,"max":"1","type":[{"code":"string"}]}]}}"#;
        let patient = r#"{"resourceType":"StructureDefinition","url":"urn:iso:p","type":"Patient","kind":"resource",
            "derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient",
            "snapshot":{"element":[{"id":"Patient","path":"Patient"},
            {"id":"Patient.identifier","path":"Patient.identifier","min":0,"max":"*","type":[{"code":"Identifier"}],
                "slicing":{"discriminator":[{"type":"value","path":"use"}],"rules":"open"}},
            {"id":"Patient.identifier:o","path":"Patient.identifier","sliceName":"o","min":0,"max":"1",
                "type":[{"code":"Identifier","profile":["urn:iso:official"]}]}]}}"#;
        let documents = [official, patient].map(|text| json::parse(text).unwrap());
        let validator = Validator::new(Registry::with(documents.into()).unwrap());
        for (identifiers, expected) in [
            (r#"{"use":"official","value":"1"},{"use":"usual","system":"urn:iso:s"}"#, None),
            (r#"{"use":"official","system":"urn:iso:s"}"#, Some(Id::CardinalityMin)),
            (r#"{"use":"official","value":"1"},{"use":"official","value":"2"}"#, Some(Id::SliceMax)),
        ] {
            let text = format!(r#"{{"resourceType":"Patient","identifier":[{identifiers}]}}"#);
            let document = json::parse(text).unwrap();
            let options = Options { profiles: &["urn:iso:p"], ..Options::default() };
            let issues = validator.check(Element::root(&document), &options).issues;
            let found: Vec<Id> = issues.iter().filter(|issue| issue.is_error()).map(|issue| issue.id).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{identifiers}");
        }
    }

    #[test]
    fn paths_become_steps() {
        for (path, expected) in [
            ("$this", ""),
            ("code.coding.code", "code.coding.code"),
            ("extension('http://a.b/c').value", "extension('http://a.b/c').value"),
            ("$this.resolve()", "resolve()"),
            ("value.ofType(Quantity).code", "value.ofType(Quantity).code"),
        ] {
            let shown: Vec<String> = steps(path).iter().map(ToString::to_string).collect();
            assert_eq!(shown.join("."), expected, "{path}");
        }
    }
}
