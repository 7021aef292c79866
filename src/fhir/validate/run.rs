//! One check under way: where it stands, what it has found, and what references resolve to.
//!
//! The rules speak to this and to nothing above it. Issues are bounded, since the sender of a thousand
//! mistakes needs no list of them, and a hostile one must not make us write it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use smallvec::SmallVec;

use super::likeness::Trace;
use super::scope::{Entries, Found, Scope};
use super::settle::Settled;
use super::stack::Stack;
use super::trail::Trail;
use super::{CodeQuestion, Options, Report, Validator};
use crate::fhir::outcome::{Id, Issue, Severity, has_errors};
use crate::fhir::tree::{Document, Element, NodeId};

/// More errors than this are not listed, nor more warnings. They are counted apart, so that no flood of warnings
/// hides an error.
const MAX_ISSUES: usize = 100;

/// Resources inside resources, and profiles that ask for profiles, deeper than this are refused.
pub const MAX_NESTED: usize = 16;

/// One check under way.
pub struct Run<'v, 'd> {
    pub validator: &'v Validator,
    pub options: Options<'d>,
    pub trail: Trail<'d>,
    pub scope: Scope<'d>,
    pub report: Report,
    bundles: Vec<Arc<Entries<'d>>>,
    contained: Vec<Arc<HashMap<&'d str, Element<'d>>>>,
    /// Counts of the children of the objects on the way down, one stack for all.
    pub counts: SmallVec<[u32; 128]>,
    pub nested: usize,
    /// The elements on the way down from the resource, with their types; the last is the one under the walk.
    pub holders: Stack<Holder<'v, 'd>, 16>,
    /// Resources that are being held against profiles further up, which a circle of references comes back to.
    assumed: Vec<Question>,
    answers: OnceLock<Arc<Answers>>,
    /// Ids of elements, with the resource that they stand in.
    pub ids: Option<HashSet<(NodeId, &'d str)>>,
    /// What the base type found missing or too many, which each profile on top asks for again.
    pub missing: Vec<Missing<'d>>,
    /// Whether an expression asked for a resource that is not in the message.
    pub unresolved: AtomicBool,
    /// What has been handed in already and counts against what may be listed; `None` where the run is no part.
    pub(super) handed_in: Option<Listed>,
    /// What profiles settle, while they are asked for that.
    pub(super) settled: Option<Box<Settled>>,
    /// What looks at which texts, while a likeness is made.
    pub(super) trace: Option<Box<Trace>>,
    /// Whether something looked beyond the resource, while a likeness is made.
    pub(super) elsewhere: Option<Arc<AtomicBool>>,
}

/// What is known of profiles, by everybody who works at one check.
#[derive(Default)]
struct Answers {
    known: Mutex<HashMap<Question, bool>>,
    /// An answer rests on an assumption, so that it may depend on what was asked first.
    lean: AtomicBool,
}

/// How much is listed.
#[derive(Clone, Copy, Default)]
pub(super) struct Listed {
    errors: usize,
    others: usize,
    open: usize,
}

/// A count that the type of a resource forbids.
pub struct Missing<'d> {
    pub id: Id,
    pub resource: NodeId,
    pub parent: Element<'d>,
    pub expression: String,
    pub path: String,
}

/// A resource against a profile, both by identity.
type Question = (usize, NodeId, usize);

/// An element on the way down.
#[derive(Clone, Copy)]
pub struct Holder<'v, 'd> {
    pub type_name: &'v str,
    /// Where its definition stands in that of its resource, if it is a part of it.
    pub path: &'v str,
    pub element: Element<'d>,
}

impl<'v, 'd> Run<'v, 'd> {
    pub fn new(validator: &'v Validator, root: Element<'d>, options: &Options<'d>) -> Self {
        let bundles: Vec<Arc<Entries<'d>>> = options.bundle.into_iter().cloned().collect();
        let bundle = bundles.len().checked_sub(1);
        let scope = Scope { resource: root, container: root, contained: None, bundle, depth: 0, holder: 0 };
        let location =
            if options.location.is_empty() { root.resource_type().unwrap_or_default() } else { options.location };
        let mut run = Run {
            validator,
            options: *options,
            trail: Trail::new(location),
            scope,
            report: Report::default(),
            bundles,
            contained: Vec::new(),
            counts: SmallVec::new(),
            nested: 0,
            holders: Stack::new(),
            assumed: Vec::new(),
            answers: OnceLock::new(),
            ids: None,
            missing: Vec::new(),
            unresolved: AtomicBool::new(false),
            handed_in: None,
            settled: None,
            trace: None,
            elsewhere: None,
        };
        run.enclose(root);
        run
    }

    pub fn enter(&mut self, found: &Found<'d>) {
        self.trail.push(found.key, found.name, found.index);
    }

    pub fn leave(&mut self) {
        self.trail.pop();
    }

    pub fn issue(&mut self, id: Id, element: Element<'d>, text: String) {
        if self.has_room(id) {
            self.add(Issue::new(id, self.trail.expression(), text).at(element.position()));
        }
    }

    /// An issue whose place is known already.
    pub fn found(&mut self, id: Id, element: Element<'d>, expression: String, text: String) {
        if self.has_room(id) {
            self.add(Issue::new(id, expression, text).at(element.position()));
        }
    }

    /// An issue about the element around this one.
    pub fn issue_above(&mut self, id: Id, element: Element<'d>, text: String) {
        if self.has_room(id) {
            let expression = self.trail.expression_above();
            self.add(Issue::new(id, expression, text).at(element.position()));
        }
    }

    /// An issue about a child that is absent or too many: it has the parent's position and its own path.
    pub fn missing(&mut self, id: Id, parent: Element<'d>, name: &str, text: String) {
        if self.has_room(id) {
            self.add(Issue::new(id, self.trail.expression_of(name), text).at(parent.position()));
        }
    }

    fn has_room(&self, id: Id) -> bool {
        let is_error = id.entry().severity <= Severity::Error;
        let before = self.handed_in.map_or(0, |listed| if is_error { listed.errors } else { listed.others });
        before + self.report.issues.iter().filter(|issue| issue.is_error() == is_error).count() < MAX_ISSUES
    }

    /// Two profiles may say the same of an element; once is enough.
    fn add(&mut self, issue: Issue) {
        if !self.report.issues.contains(&issue) {
            self.report.issues.push(issue);
        }
    }

    /// A question is made only where there is room for it: to tell its place is to read the text up to it.
    pub fn ask(&mut self, question: impl FnOnce(&Self) -> CodeQuestion) {
        let before = self.handed_in.map_or(0, |listed| listed.open);
        if before + self.report.open.len() < MAX_ISSUES {
            let question = question(self);
            if !self.report.open.contains(&question) {
                self.report.open.push(question);
            }
        }
    }

    /// Makes a Bundle the one that references are resolved in.
    pub fn enter_bundle(&mut self, bundle: Element<'d>) {
        self.bundles.push(Arc::new(Entries::new(bundle)));
        self.scope.bundle = Some(self.bundles.len() - 1);
    }

    /// Makes Parameters the ones that references are resolved in.
    pub fn enter_parameters(&mut self, parameters: Element<'d>) {
        self.bundles.push(Arc::new(Entries::of_parameters(parameters)));
        self.scope.bundle = Some(self.bundles.len() - 1);
    }

    /// Makes a resource the one that contained ones are looked up in.
    pub fn enclose(&mut self, container: Element<'d>) {
        self.scope.container = container;
        self.scope.contained = container.get("contained").is_some().then(|| {
            let contained = container.all("contained");
            let by_id = contained.filter_map(|each| Some((each.text_of("id")?, each))).collect();
            self.contained.push(Arc::new(by_id));
            self.contained.len() - 1
        });
    }

    /// Makes a resource inside the one under the check the one that expressions are about.
    pub fn step_into(&mut self, resource: Element<'d>) {
        let is_contained = self.scope.contained.is_some_and(|at| {
            let id = resource.text_of("id").unwrap_or_default();
            self.contained[at].get(id).is_some_and(|found| found.node() == resource.node())
        });
        self.scope.resource = resource;
        if !is_contained {
            self.enclose(resource);
        }
    }

    pub fn contained(&self, id: &str) -> Option<Element<'d>> {
        self.contained[self.scope.contained?].get(id).copied()
    }

    /// The entries of the Bundle around the resource.
    pub fn entries(&self) -> Option<&Arc<Entries<'d>>> {
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.store(true, Ordering::Relaxed);
        }
        Some(&self.bundles[self.scope.bundle?])
    }

    /// The resource that a reference points to, if it is in the message. `from` is where the reference stands.
    pub fn resolve(&self, from: Element<'d>, reference: &str) -> Option<Element<'d>> {
        match reference.strip_prefix('#') {
            Some("") => Some(self.scope.container),
            Some(id) => self.contained(id),
            None => self.entries()?.get(from, reference),
        }
    }

    /// Whether a resource satisfies a profile and its type; `None` where the profile is not known.
    pub fn conforms_fully(&self, element: Element<'d>, canonical: &str) -> Option<bool> {
        let conforms = self.conforms(element, canonical)?;
        let plan = self.validator.resource_plan(element.resource_type()?);
        let (Some(plan), true) = (plan, conforms && self.nested < MAX_NESTED) else { return Some(conforms) };
        let mut run = self.branch();
        run.step_into(element);
        run.holders.push(Holder { type_name: &plan.type_name, path: "", element });
        run.object(element, plan, 0);
        Some(!has_errors(&run.report.issues))
    }

    /// A check beside this one, whose issues are its own.
    fn branch(&self) -> Run<'v, 'd> {
        Run {
            validator: self.validator,
            // What is beside another check does not call for further threads.
            options: Options { threads: 1, ..self.options },
            trail: Trail::new(""),
            scope: Scope { depth: 0, holder: 0, ..self.scope },
            report: Report::default(),
            bundles: self.bundles.clone(),
            contained: self.contained.clone(),
            counts: SmallVec::new(),
            nested: self.nested + 1,
            holders: Stack::new(),
            assumed: self.assumed.clone(),
            answers: OnceLock::from(Arc::clone(self.answers.get_or_init(Arc::default))),
            ids: None,
            missing: Vec::new(),
            unresolved: AtomicBool::new(false),
            handed_in: None,
            settled: None,
            // Whatever this one is asked, it is asked by the check beside it.
            trace: None,
            elsewhere: self.elsewhere.clone(),
        }
    }

    /// A check that stands where this one stands, whose issues are its own.
    pub(super) fn beside(&self) -> Run<'v, 'd> {
        Run { trail: self.trail.clone(), scope: self.scope, holders: self.holders.clone(), ..self.branch() }
    }

    /// A part of this check, which another thread does: it stands where this one stands.
    pub fn part(&self) -> Run<'v, 'd> {
        Run { nested: self.nested, handed_in: Some(Listed::default()), ..self.beside() }
    }

    /// What a part has found since it was asked the last time.
    pub fn handed_in(&mut self) -> Option<Report> {
        let report = std::mem::take(&mut self.report);
        if report.issues.is_empty() && report.open.is_empty() {
            return None;
        }
        let errors = report.issues.iter().filter(|issue| issue.is_error()).count();
        let listed = self.handed_in.get_or_insert_default();
        listed.errors += errors;
        listed.others += report.issues.len() - errors;
        listed.open += report.open.len();
        Some(report)
    }

    /// Whether what a part found may have come out otherwise, had another part been done first.
    pub fn depends_on_others(&mut self) -> bool {
        // Ids are told apart within a resource; those of the entries' own resources are done with.
        let ids = self.ids.take();
        let shares_ids = ids.iter().flatten().any(|(resource, _)| *resource == self.scope.resource.node());
        shares_ids || self.answers.get().is_some_and(|answers| answers.lean.load(Ordering::Relaxed))
    }

    /// Takes over what a part has found.
    pub fn take_over(&mut self, part: Report) {
        for issue in part.issues {
            if self.has_room(issue.id) {
                self.add(issue);
            }
        }
        for question in part.open {
            self.ask(|_| question);
        }
    }

    /// Forgets what was answered on the way.
    pub fn forget_answers(&mut self) {
        self.answers = OnceLock::new();
    }

    /// Whether an element satisfies a profile; `None` where the profile is not known.
    pub fn conforms(&self, element: Element<'d>, canonical: &str) -> Option<bool> {
        if self.nested >= MAX_NESTED {
            return None;
        }
        let Some(profile) = self.validator.profile(canonical) else {
            let name = self.validator.registry.type_of(canonical)?;
            return Some(self.validator.registry.subtype_of(element.resource_type()?, name));
        };
        let address = |document: &Document| std::ptr::from_ref(document) as usize;
        let question = (address(element.document()), element.node(), Arc::as_ptr(&profile) as usize);
        let answers = self.answers.get_or_init(Arc::default);
        if self.assumed.contains(&question) {
            answers.lean.store(true, Ordering::Relaxed);
            return Some(true);
        }
        let answers = || answers.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Who makes a likeness has to see what is looked at.
        let known = answers().get(&question).copied().filter(|_| !element.document().is_watched());
        if known.is_some() {
            return known;
        }
        let mut run = self.branch();
        run.assumed.push(question);
        if element.resource_type().is_some() && element.node() != self.scope.resource.node() {
            run.step_into(element);
        }
        run.apply(&profile, element);
        let answer = !has_errors(&run.report.issues);
        answers().insert(question, answer);
        Some(answer)
    }
}
