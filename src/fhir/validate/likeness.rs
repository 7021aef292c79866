//! Resources that are like earlier ones: an app's next message differs from its last one in a few texts.
//!
//! Of a resource in which nothing was found, a copy is checked once more, and it is noted which rules looked at which of
//! its texts. What a check does follows from how the resource is built and from the texts that it looks at. So a resource
//! that is built the same and says the same wherever something else than a rule of [`Rule`] looked needs only these rules
//! again; where they find something, everything is checked, so that what is told is the same in the same order. A
//! likeness keeps codes and addresses, and of the person nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::compile::invariants::Invariant;
use super::profile::TypeRule;
use super::rules::{coding, invariant, primitive::Primitive, reference};
use super::run::Run;
use super::{Options, References};
use crate::fhir::definitions::names::NameHasher;
use crate::fhir::tree::sample::{Sample, at_first_sight};
use crate::fhir::tree::{Element, Kind, NodeId};

/// A look is learnt when it was seen that often, and after each attempt when it was seen so many times as often again.
const FIRST: u32 = 3;
const PATIENCE: u32 = 4;
const LONGEST: u32 = 1 << 16;

/// Looks that are kept, in shelves that are emptied one by one when they are full.
const SHELVES: usize = 16;
const SHELF: usize = 256;

/// Names of texts that may be kept besides codes and addresses, because they are those of concepts and not of persons.
const OF_CONCEPTS: [&str; 4] = ["resourceType", "display", "unit", "version"];

/// A rule whose outcome depends on nothing but the element and what it holds, or refers to.
#[derive(Debug)]
pub enum Rule {
    /// The form of a value.
    Primitive {
        primitive: Primitive,
        rule: TypeRule,
    },
    Invariant {
        among: Arc<[Invariant]>,
        at: usize,
        type_name: Box<str>,
    },
    Reference,
    Target(TypeRule),
    Identifier,
    /// What measures ask, of the resource as a whole. It is asked anew each time.
    Measures,
}

/// What is noted while a copy is checked.
#[derive(Default)]
pub struct Trace {
    /// What something else than a rule of those looked at.
    fixed: Vec<NodeId>,
    repeated: Vec<(Rule, Place, Vec<NodeId>, bool)>,
    is_hopeless: bool,
}

/// An element of the copy.
type Place = (Option<NodeId>, Option<NodeId>);

/// What is kept of a resource in which nothing was found.
#[derive(Debug)]
struct Likeness {
    terms: Terms,
    sample: Sample,
    rules: Rules,
}

/// Rules, and the elements that they are about.
type Rules = Vec<(Rule, Place)>;

/// What a check was told besides the resource, as far as its outcome depends on it.
#[derive(PartialEq, Debug)]
struct Terms {
    profiles: Vec<String>,
    extension_domains: Vec<String>,
    references: References,
    flags: [bool; 6],
}

/// A look, and what was learnt of it.
struct Look {
    likeness: Option<Arc<Likeness>>,
    /// How often it was seen since, and nothing that was learnt did.
    misses: AtomicU32,
    wait: u32,
}

/// What is kept of the resources that a validator has seen.
pub struct Likenesses {
    secret: u64,
    shelves: [RwLock<HashMap<u64, Look>>; SHELVES],
}

impl Default for Likenesses {
    fn default() -> Self {
        Likenesses { secret: RandomState::new().hash_one(SHELVES), shelves: Default::default() }
    }
}

impl Likenesses {
    pub fn learnt(&self) -> usize {
        let of = |shelf: &RwLock<HashMap<u64, Look>>| {
            let shelf = shelf.read().unwrap_or_else(PoisonError::into_inner);
            shelf.values().filter(|look| look.likeness.is_some()).count()
        };
        self.shelves.iter().map(of).sum()
    }

    fn find(&self, look: u64) -> Option<Arc<Likeness>> {
        self.shelf(look).read().unwrap_or_else(PoisonError::into_inner).get(&look)?.likeness.clone()
    }

    /// Notes that nothing served; whether it is time to learn.
    fn miss(&self, look: u64) -> bool {
        {
            let shelf = self.shelf(look).read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = shelf.get(&look) {
                return known.misses.fetch_add(1, Ordering::Relaxed) + 1 == known.wait;
            }
        }
        self.put(look, Look { likeness: None, misses: AtomicU32::new(1), wait: FIRST });
        false
    }

    fn learn(&self, look: u64, likeness: Option<Likeness>) {
        let (before, wait) = {
            let shelf = self.shelf(look).read().unwrap_or_else(PoisonError::into_inner);
            shelf.get(&look).map_or((None, FIRST), |known| (known.likeness.clone(), known.wait))
        };
        let wait = wait.saturating_mul(PATIENCE).min(LONGEST);
        self.put(look, Look { likeness: likeness.map(Arc::new).or(before), misses: AtomicU32::new(0), wait });
    }

    fn put(&self, at: u64, look: Look) {
        let mut shelf = self.shelf(at).write().unwrap_or_else(PoisonError::into_inner);
        if shelf.len() >= SHELF && !shelf.contains_key(&at) {
            shelf.clear();
        }
        shelf.insert(at, look);
    }

    fn shelf(&self, look: u64) -> &RwLock<HashMap<u64, Look>> {
        &self.shelves[look as usize % SHELVES]
    }
}

impl Terms {
    fn of(options: &Options<'_>, profiles: &[&str]) -> Terms {
        Terms {
            profiles: profiles.iter().map(|&each| each.to_owned()).collect(),
            extension_domains: options.extension_domains.iter().map(|&each| each.to_owned()).collect(),
            references: options.references,
            flags: flags(options),
        }
    }

    fn are(&self, options: &Options<'_>, profiles: &[&str]) -> bool {
        self.flags == flags(options)
            && self.references == options.references
            && self.profiles == profiles
            && self.extension_domains == options.extension_domains
    }
}

fn flags(options: &Options<'_>) -> [bool; 6] {
    // Time, place, threads and the Bundle around it are looked at by the rules that are repeated, or by none.
    [
        options.known_extensions,
        options.lenient_displays,
        options.asks_systems,
        options.formed_references,
        options.forbids_markup,
        options.loose_aggregation,
    ]
}

/// Types of which others are made, or which others are: each of their parts is looked at for itself, or they are few.
fn is_alike_often(kind: &str) -> bool {
    !matches!(
        kind,
        "Bundle"
            | "Parameters"
            | "CapabilityStatement"
            | "CodeSystem"
            | "ConceptMap"
            | "Questionnaire"
            | "QuestionnaireResponse"
            | "SearchParameter"
            | "StructureDefinition"
            | "ValueSet"
    )
}

impl<'v, 'd> Run<'v, 'd> {
    /// The look of a resource that may be like others.
    pub(super) fn look(&self, resource: Element<'d>) -> Option<u64> {
        let document = resource.document();
        let is_apart =
            !self.options.anew && !self.options.skip_contained && self.scope.container.node() == resource.node();
        if !is_apart || document.is_watched() || self.scope.contained.is_some() || resource.shadow_node().is_some() {
            return None;
        }
        resource.resource_type().filter(|kind| is_alike_often(kind))?;
        let mut sight = NameHasher::default();
        sight.write_u64(self.validator.likenesses.secret);
        at_first_sight(document, resource.node(), &mut sight)?;
        Some(sight.finish())
    }

    /// Whether the resource is like one in which nothing was found, and the rules that look at what is its own find
    /// nothing either.
    pub(super) fn is_familiar(&mut self, resource: Element<'d>, profiles: &[&str], look: u64) -> bool {
        let validator = self.validator;
        let Some(likeness) = validator.likenesses.find(look) else { return false };
        if !likeness.terms.are(&self.options, profiles)
            || !likeness.sample.is_like(resource.document(), resource.node())
        {
            return false;
        }
        // What they find is not told here, and there must be room for it.
        let (report, handed_in) = (std::mem::take(&mut self.report), self.handed_in.take());
        let from = |node: NodeId| resource.node().plus(node);
        let finds_nothing = likeness.rules.iter().all(|(rule, (value, shadow))| {
            rule.run(self, Element::of(resource.document(), value.map(from), shadow.map(from)));
            self.report.issues.is_empty() && self.report.open.is_empty()
        });
        (self.report, self.handed_in) = (report, handed_in);
        finds_nothing
    }

    /// Notes that nothing that was learnt did for a resource, in which nothing was found, and learns of it if it is time.
    pub(super) fn learn(&self, resource: Element<'d>, profiles: &[&str], look: u64) {
        let likenesses = &self.validator.likenesses;
        if likenesses.miss(look) {
            likenesses.learn(look, self.likeness(resource, profiles));
        }
    }

    fn likeness(&self, resource: Element<'d>, profiles: &[&str]) -> Option<Likeness> {
        let sample = Sample::of(resource.document(), resource.node())?;
        let trace = {
            let root = Element::root(sample.document());
            let options = Options { bundle: None, location: "", threads: 0, ..self.options };
            let mut run = Run::traced(self.validator, root, &options);
            run.resource(root, profiles);
            if !run.report.issues.is_empty() || !run.report.open.is_empty() {
                return None;
            }
            run.between_rules(root);
            *run.trace.take()?
        };
        let (fixed, rules) = trace.conclude(&sample)?;
        Some(Likeness { terms: Terms::of(&self.options, profiles), sample: sample.fix(&fixed), rules })
    }

    /// Runs a rule that can be repeated on a resource that is like this one.
    pub fn rule<T>(
        &mut self,
        element: Element<'d>,
        rule: impl FnOnce() -> Rule,
        check: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if self.trace.is_none() {
            return check(self);
        }
        self.between_rules(element);
        let outcome = check(self);
        let looked_elsewhere = self.looks_elsewhere();
        if let Some(trace) = &mut self.trace {
            let place = (element.value_node(), element.shadow_node());
            trace.repeated.push((rule(), place, element.document().take_reads(), looked_elsewhere));
        }
        outcome
    }

    /// What was looked at since the last rule was looked at by something that is not repeated.
    fn between_rules(&mut self, element: Element<'d>) {
        let looked_elsewhere = self.looks_elsewhere();
        if let Some(trace) = &mut self.trace {
            trace.fixed.extend(element.document().take_reads());
            trace.is_hopeless |= looked_elsewhere;
        }
    }

    fn looks_elsewhere(&self) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.swap(false, Ordering::Relaxed))
    }

    fn traced(validator: &'v super::Validator, root: Element<'d>, options: &Options<'d>) -> Self {
        let mut run = Run::new(validator, root, options);
        run.trace = Some(Box::default());
        run.elsewhere = Some(Arc::new(AtomicBool::new(false)));
        run
    }
}

impl Rule {
    fn run<'d>(&self, run: &mut Run<'_, 'd>, element: Element<'d>) {
        match self {
            Rule::Primitive { primitive, rule } => {
                run.value(element, *primitive, rule);
            }
            Rule::Invariant { among, at, type_name } => invariant::one(run, &among[*at], element, type_name),
            Rule::Reference => reference::check(run, element),
            Rule::Target(rule) => reference::target(run, element, rule),
            Rule::Identifier => coding::check_identifier(run, element),
            Rule::Measures => {}
        }
    }

    /// Whether the texts that it looks at are codes and addresses, and nobody's own.
    fn is_of_codes(&self) -> bool {
        matches!(self, Rule::Primitive { primitive: Primitive::Code | Primitive::Uri | Primitive::Oid, .. })
    }
}

impl Trace {
    /// The texts that must be the same, and the rules that look at others. `None` where a text would have to be kept that
    /// may be somebody's own.
    fn conclude(self, sample: &Sample) -> Option<(Vec<NodeId>, Rules)> {
        let document = sample.document();
        let mut is_fixed = vec![false; document.len()];
        for node in &self.fixed {
            is_fixed[node.index()] = true;
        }
        let mut is_code = vec![false; document.len()];
        for (rule, _, read, _) in &self.repeated {
            for node in read.iter().filter(|_| rule.is_of_codes()) {
                is_code[node.index()] = true;
            }
        }
        let may_be_kept = |node: &NodeId| {
            let has_text = matches!(document.kind(*node), Kind::String | Kind::Number);
            !has_text || is_code[node.index()] || OF_CONCEPTS.contains(&document.key(*node))
        };
        if self.is_hopeless || !self.fixed.iter().all(may_be_kept) {
            return None;
        }
        let depends = |read: &[NodeId], elsewhere: bool| elsewhere || read.iter().any(|node| !is_fixed[node.index()]);
        let rules = self
            .repeated
            .into_iter()
            .filter(|(rule, _, read, elsewhere)| !matches!(rule, Rule::Measures) && depends(read, *elsewhere));
        Some((self.fixed, rules.map(|(rule, place, ..)| (rule, place)).collect()))
    }
}
