//! A FHIR R4 Consent into rules.
//!
//! The base decision comes from the root's `type` or from `policyRule`. R4 forbids the former in prose (Consent,
//! comment on provision.type) and everybody writes it, so both are read and must agree. `OPTIN` says that only
//! what is permitted is shared: such a base refuses without vetoing what another consent permits. `OPTOUT` alone
//! is not a base: v3-ActCode defines it as a dissent, R4's prose as sharing unless refused, and a refusal must
//! never be read as a permission. What the compiler doesn't understand for certain makes the Consent
//! indeterminate; it exists all the same, and denies.

use std::fmt;
use std::sync::Arc;

use super::action::Actions;
use super::actor::Actors;
use super::broad;
use super::coding;
use super::content::{Classes, Codes, Data};
use super::labels::Labels;
use super::lint::{Lint, UNKNOWN_MODIFIER};
use super::matching::{Effect, Match};
use super::period::{Span, Window};
use super::purpose::{Asked, Purposes};
use super::reference::Reference;
use super::request::Request;
use super::rule::{Conditions, Rule};
use super::scope::Scope;
use crate::fhir::outcome::Issue;
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

/// `Consent.status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Draft,
    Proposed,
    Active,
    Rejected,
    Inactive,
    EnteredInError,
    /// Absent or none of R4's codes.
    Unknown,
}

const STATUSES: [(&str, Status); 6] = [
    ("draft", Status::Draft),
    ("proposed", Status::Proposed),
    ("active", Status::Active),
    ("rejected", Status::Rejected),
    ("inactive", Status::Inactive),
    ("entered-in-error", Status::EnteredInError),
];

impl Status {
    pub fn code(self) -> &'static str {
        STATUSES.iter().find(|(_, status)| *status == self).map_or("unknown", |(code, _)| code)
    }
}

/// A compiled Consent: immutable, shared behind an `Arc`.
#[derive(Clone)]
pub struct Compiled {
    id: Box<str>,
    version: u32,
    status: Status,
    scope: Scope,
    patient: Option<Reference>,
    in_force: Span,
    /// When it was given, at the earliest.
    given_ms: Option<i64>,
    /// From when on it may permit.
    verified_ms: i64,
    pub(super) body: Body,
    /// Sorted instants at which a decision of this Consent can change.
    bounds: Vec<i64>,
}

/// What the Consent decides by.
#[derive(Clone)]
pub(super) enum Body {
    Rules(Box<Rule>),
    /// Paths of what made it so.
    Indeterminate {
        first: Arc<str>,
        others: Vec<Arc<str>>,
    },
}

impl Compiled {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn status(&self) -> Status {
        self.status
    }

    /// The reference to the person, unless it names nobody comparable.
    pub fn patient(&self) -> Option<&str> {
        self.patient.as_ref().map(Reference::text)
    }

    pub fn is_indeterminate(&self) -> bool {
        matches!(self.body, Body::Indeterminate { .. })
    }

    /// First millisecond in force and first one behind it; `i64::MIN` and `i64::MAX` for open ends.
    pub fn in_force_ms(&self) -> (i64, i64) {
        (self.in_force.from, self.in_force.until)
    }

    /// The same under a name, where it has none of its own.
    #[must_use]
    pub fn named(self, id: &str) -> Compiled {
        if self.id.is_empty() { Compiled { id: id.into(), ..self } } else { self }
    }

    /// The same, but that it permits nothing.
    #[must_use]
    pub fn refusing(&self) -> Compiled {
        Compiled { verified_ms: i64::MAX, ..self.clone() }
    }

    /// Whether it is about what is asked for.
    pub(super) fn is_about(&self, request: &Request<'_>) -> bool {
        match &self.body {
            // Of another scope it is about what it refuses.
            Body::Rules(root) if !self.scope.permits() => root.refuses_for(Asked::new(request.purpose)),
            _ => self.scope.includes(request),
        }
    }

    /// Whether it has a say about that person at some time.
    pub(super) fn concerns(&self, request: &Request<'_>, patients: &[&str]) -> Match {
        let has_say = matches!(self.status, Status::Active | Status::Unknown) && self.is_about(request);
        Match::of(has_say).and(|| self.is_of(patients))
    }

    /// Whether it is of that person, by all the references that she answers to.
    pub(super) fn is_of(&self, patients: &[&str]) -> Match {
        match &self.patient {
            Some(patient) if !patients.is_empty() => Match::any(patients.iter().map(|given| patient.matches(given))),
            _ => Match::Unknown,
        }
    }

    pub(super) fn is_in_force(&self, now_ms: i64) -> bool {
        self.in_force.contains(now_ms)
    }

    /// Paths of the permits that are over by then, so that they permit nothing any more; the root's alone if all of it is.
    pub fn over(&self, now_ms: i64) -> Vec<&str> {
        let Body::Rules(root) = &self.body else { return Vec::new() };
        if self.in_force.until <= now_ms {
            return vec![&root.path];
        }
        let permits = root.all().into_iter().filter(|rule| rule.effect == Effect::Permit);
        permits.filter(|rule| rule.when.is_over(now_ms)).map(|rule| &*rule.path).collect()
    }

    /// Whether it may decide otherwise of resources that say the same, and differ in date, id and references alone.
    pub fn is_about_one(&self) -> bool {
        matches!(&self.body, Body::Rules(root) if root.all().iter().any(|rule| rule.when.is_about_one()))
    }

    /// When the person gave it, at the earliest (`dateTime`).
    pub fn given_ms(&self) -> Option<i64> {
        self.given_ms
    }

    /// Whether its scope lets it permit anything.
    pub(super) fn is_permissive(&self) -> bool {
        self.scope.permits()
    }

    /// Whether it may permit anything by now, or only refuse.
    pub(super) fn may_permit(&self, now_ms: i64) -> bool {
        self.is_permissive() && self.is_verified(now_ms)
    }

    pub(super) fn is_verified(&self, now_ms: i64) -> bool {
        self.verified_ms <= now_ms
    }

    /// The first instant after `now` at which its decision can change.
    pub fn next_bound(&self, now_ms: i64) -> Option<i64> {
        self.bounds.get(self.bounds.partition_point(|bound| *bound <= now_ms)).copied()
    }
}

impl fmt::Display for Compiled {
    /// The rule tree, for goldens and operators; the person is left out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "Consent {} version {}, {}{}",
            self.id,
            self.version,
            self.status.code(),
            self.scope.text()
        )?;
        writeln!(formatter, "in force: {}", self.in_force)?;
        if self.verified_ms == i64::MAX {
            writeln!(formatter, "permits nothing: it was not verified with the person")?;
        }
        match &self.body {
            Body::Rules(root) => root.print(formatter, 0),
            Body::Indeterminate { first, others } => {
                writeln!(formatter, "deny, because it cannot be evaluated:\n  {first}")?;
                others.iter().try_for_each(|path| writeln!(formatter, "  {path}"))
            }
        }
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Compiled({} version {})", self.id, self.version)
    }
}

#[rustfmt::skip]
const CONSENT: [&str; 21] = [
    "resourceType", "id", "meta", "language", "text", "contained", "extension", "identifier", "status", "scope",
    "category", "patient", "dateTime", "performer", "organization", "sourceAttachment", "sourceReference", "policy",
    "policyRule", "verification", "provision",
];
#[rustfmt::skip]
const PROVISION: [&str; 13] = [
    "id", "extension", "type", "period", "actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod",
    "data", "provision",
];
const ACTOR: [&str; 4] = ["id", "extension", "role", "reference"];
const DATA: [&str; 4] = ["id", "extension", "meaning", "reference"];

const ACT_CODES: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// Compiles a Consent. The issues are the lint on write: errors say what makes it indeterminate or a rule idle,
/// warnings which elements cannot be evaluated.
pub fn compile(consent: Element<'_>, version: u32) -> (Compiled, Vec<Issue>) {
    let mut lint = Lint::default();
    lint.members(consent, "Consent", &CONSENT);
    for name in ["policy", "verification"] {
        for modifier in consent.all(name).filter_map(|element| element.get("modifierExtension")) {
            lint.invalid(modifier, &format!("Consent.{name}"), UNKNOWN_MODIFIER);
        }
    }
    let status = read_status(consent, &mut lint);
    let scope = Scope::read(consent, single(consent, "scope", "Consent", &mut lint), &mut lint);
    let patient = single(consent, "patient", "Consent", &mut lint).and_then(Reference::read);
    if patient.is_none() {
        lint.invalid(consent, "Consent.patient", "The person is not named by a reference that can be compared.");
    }
    let given_ms = consent.get("dateTime").and_then(read_ms);
    let verified_ms = read_verified(consent, &mut lint);
    let provision = single(consent, "provision", "Consent", &mut lint);
    let in_force = read_in_force(provision, &mut lint);
    let root = read_root(consent, provision, &mut lint);

    let harmless = !scope.permits() || !matches!(status, Status::Active | Status::Unknown);
    let (issues, invalid) = lint.finish(harmless);
    let mut bounds: Vec<i64> = in_force.bounds().collect();
    bounds.extend(Some(verified_ms).filter(|verified_ms| (i64::MIN + 1..i64::MAX).contains(verified_ms)));
    let body = match root {
        Some(mut root) if invalid.is_empty() => {
            scope.confine(&mut root);
            root.bounds(&mut bounds);
            Body::Rules(Box::new(root))
        }
        _ => {
            let mut paths = invalid.into_iter();
            Body::Indeterminate { first: paths.next().unwrap_or("Consent".into()), others: paths.collect() }
        }
    };
    bounds.sort_unstable();
    bounds.dedup();
    let id = consent.get("id").and_then(|id| id.string()).unwrap_or_default().into();
    (Compiled { id, version, status, scope, patient, in_force, given_ms, verified_ms, body, bounds }, issues)
}

/// The element of a name that may stand once.
fn single<'d>(holder: Element<'d>, name: &str, path: &str, lint: &mut Lint) -> Option<Element<'d>> {
    let mut all = holder.all(name);
    let first = all.next();
    if let Some(second) = all.next() {
        lint.invalid(second, &format!("{path}.{name}"), "The element may stand only once.");
    }
    first
}

/// From when on it may permit: one that says of itself that nobody verified it with the person only refuses. A verification
/// that is later for sure settles a doubt, from when it has happened for sure.
fn read_verified(consent: Element<'_>, lint: &mut Lint) -> i64 {
    let verified = |verification: &Element<'_>| verification.get("verified").and_then(|verified| verified.boolean());
    let date = |verification: &Element<'_>| {
        let date = verification.get("verificationDate").and_then(|date| date.string());
        date.and_then(Moment::parse).map(|moment| moment.interval_ms())
    };
    let mut from_ms = i64::MIN;
    for doubt in consent.all("verification").filter(|verification| verified(verification) == Some(false)) {
        let settled = date(&doubt).and_then(|(_, over_ms)| {
            let later = consent
                .all("verification")
                .filter(|later| verified(later) == Some(true))
                .filter_map(|later| date(&later));
            // The day itself is enough, as its hour is hardly ever written.
            later.filter(|(begins_ms, _)| *begins_ms >= over_ms).map(|(begins_ms, _)| begins_ms).min()
        });
        let Some(settled_ms) = settled else {
            lint.unclear(doubt, "Consent.verification", "What was not verified with the person permits nothing.");
            return i64::MAX;
        };
        from_ms = from_ms.max(settled_ms);
    }
    from_ms
}

fn read_ms(element: Element<'_>) -> Option<i64> {
    element.string().and_then(Moment::parse).map(|moment| moment.interval_ms().0)
}

fn read_status(consent: Element<'_>, lint: &mut Lint) -> Status {
    let code = single(consent, "status", "Consent", lint).and_then(|status| status.string());
    let status = STATUSES.iter().find(|(known, _)| code == Some(known)).map(|(_, status)| *status);
    status.unwrap_or_else(|| {
        lint.invalid(
            consent,
            "Consent.status",
            "A status of R4 is expected (draft, proposed, active, rejected, inactive or entered-in-error).",
        );
        Status::Unknown
    })
}

fn read_in_force(provision: Option<Element<'_>>, lint: &mut Lint) -> Span {
    let Some(period) = provision.and_then(|provision| provision.get("period")) else { return Span::ALWAYS };
    Window::read(period).span().unwrap_or_else(|| {
        lint.invalid(period, "Consent.provision.period", "When the Consent is in force cannot be read.");
        Span::ALWAYS
    })
}

/// What `policyRule` says about the base.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    OptIn,
    OptOut,
    Silent,
}

fn read_policy(consent: Element<'_>, lint: &mut Lint) -> Policy {
    let Some(rule) = single(consent, "policyRule", "Consent", lint) else { return Policy::Silent };
    let mut policy = Policy::Silent;
    let of_act =
        |coding: &Element<'_>| coding.text_of("system").is_some_and(|system| coding::named(system) == ACT_CODES);
    for coding in rule.all("coding").filter(of_act) {
        let next = match coding.text_of("code") {
            Some("OPTIN" | "OPTINR") => Policy::OptIn,
            Some("OPTOUT" | "OPTOUTE") => Policy::OptOut,
            // A refrain policy (NOCOLLECT, NODSCLCD, ORCON) is a refusal of a kind, whatever the provisions say.
            Some(code) if code.starts_with("NO") || code == "ORCON" => {
                let text = "What this policy forbids is not understood; state it by provisions that deny.";
                lint.invalid(coding, "Consent.policyRule", text);
                continue;
            }
            _ => continue,
        };
        if policy != Policy::Silent && policy != next {
            lint.invalid(coding, "Consent.policyRule", "The policy rule says both opt-in and opt-out.");
        }
        policy = next;
    }
    policy
}

/// The root rule, or nothing where there is no base to decide by.
fn read_root(consent: Element<'_>, provision: Option<Element<'_>>, lint: &mut Lint) -> Option<Rule> {
    const PATH: &str = "Consent.provision";
    let policy = read_policy(consent, lint);
    let stated = provision.and_then(|provision| provision.get("type")).is_some();
    let typed = if stated { provision.and_then(|provision| read_type(provision, PATH, lint)) } else { None };
    let effect = match (policy, typed) {
        (Policy::OptIn, Some(Effect::Permit)) | (Policy::OptOut, Some(Effect::Deny)) => {
            lint.invalid(consent, "Consent.policyRule", "The policy rule and the type of the root provision disagree.");
            return None;
        }
        (_, Some(effect)) => effect,
        (_, None) if stated => return None,
        (Policy::OptIn, None) => Effect::Deny,
        (Policy::OptOut, None) => {
            lint.invalid(
                consent,
                "Consent.policyRule",
                "OPTOUT may mean a refusal or sharing unless refused; state the type of the root provision.",
            );
            return None;
        }
        (Policy::Silent, None) => {
            lint.invalid(
                consent,
                PATH,
                "There is no base decision: state OPTIN as policyRule or the type of the root provision.",
            );
            return None;
        }
    };
    let Some(provision) = provision else {
        let when = Conditions::default();
        return Some(Rule { effect, is_default: true, when, nested: Vec::new(), path: PATH.into() });
    };
    let mut root = read_rule(provision, effect, &Conditions::default(), PATH, lint);
    // An explicit deny with nothing permitted below is a refusal; with permissions below it is what remains.
    let leaves_room = !stated || root.nested.iter().any(permits);
    root.is_default = policy == Policy::OptIn && root.when.is_general() && leaves_room;
    if root.all().into_iter().any(|rule| rule.effect == Effect::Permit && rule.when.names(broad::reaches_back)) {
        reach_back(&mut root);
    }
    report_idle(provision, &root, lint);
    Some(root)
}

/// Lets every permission to collect begin with the first data.
fn reach_back(rule: &mut Rule) {
    rule.when.reaches_back = rule.effect == Effect::Permit && rule.when.names(broad::collects);
    rule.nested.iter_mut().for_each(reach_back);
}

fn permits(rule: &Rule) -> bool {
    rule.effect == Effect::Permit || rule.nested.iter().any(permits)
}

fn read_type(provision: Element<'_>, path: &str, lint: &mut Lint) -> Option<Effect> {
    let kind = single(provision, "type", path, lint);
    match kind.and_then(|kind| kind.string()) {
        Some("permit") => Some(Effect::Permit),
        Some("deny") => Some(Effect::Deny),
        _ => {
            lint.invalid(provision, path, "The type of the provision must be permit or deny.");
            None
        }
    }
}

fn read_rule(provision: Element<'_>, effect: Effect, parent: &Conditions, path: &str, lint: &mut Lint) -> Rule {
    lint.members(provision, path, &PROVISION);
    let when = parent.overlaid_by(read_conditions(provision, effect, path, lint));
    let mut nested = Vec::new();
    for (index, element) in provision.all("provision").enumerate() {
        let path = format!("{path}.provision[{index}]");
        // Without its type the rule cannot be read, but what else is wrong with it is worth saying.
        let effect = read_type(element, &path, lint).unwrap_or(Effect::Deny);
        nested.push(read_rule(element, effect, &when, &path, lint));
    }
    Rule { effect, is_default: false, when, nested, path: path.into() }
}

/// A deny that its parent already covers, with no permit beside or below it to except from: its author meant
/// something else.
fn report_idle(provision: Element<'_>, rule: &Rule, lint: &mut Lint) {
    let excepts_nothing = rule.effect == Effect::Deny && !rule.is_default && !rule.nested.iter().any(permits);
    for (element, nested) in provision.all("provision").zip(&rule.nested) {
        if excepts_nothing && nested.when.only_narrow(&rule.when) {
            lint.idle(
                element,
                &nested.path,
                "A deny inside a deny that covers it changes nothing; the type of one is wrong.",
            );
        }
        report_idle(element, nested, lint);
    }
}

fn read_conditions(provision: Element<'_>, effect: Effect, path: &str, lint: &mut Lint) -> Conditions {
    for (name, known) in [("actor", ACTOR), ("data", DATA)] {
        for (index, element) in provision.all(name).enumerate() {
            lint.members(element, &format!("{path}.{name}[{index}]"), &known);
        }
    }
    Conditions {
        period: read_window(provision, "period", path, lint),
        action: read_list(provision, "action", path, lint, Actions::add),
        class: read_list(provision, "class", path, lint, Classes::add),
        purpose: read_list(provision, "purpose", path, lint, Purposes::add),
        data_period: read_window(provision, "dataPeriod", path, lint),
        labels: read_list(provision, "securityLabel", path, lint, |labels: &mut Labels, label| {
            labels.add(effect, label)
        }),
        code: read_list(provision, "code", path, lint, Codes::add),
        actor: read_list(provision, "actor", path, lint, Actors::add),
        data: read_list(provision, "data", path, lint, Data::add),
        reaches_back: false,
    }
}

const UNCLEAR: &str =
    "The element cannot be evaluated completely: a permit does not apply where it matters, a deny does.";

fn read_window(provision: Element<'_>, name: &str, path: &str, lint: &mut Lint) -> Option<Window> {
    let period = single(provision, name, path, lint)?;
    let window = Window::read(period);
    if window == Window::Unclear {
        lint.unclear(period, &format!("{path}.{name}"), UNCLEAR);
    }
    Some(window)
}

/// The alternatives of one element; `add` says whether it could read one completely.
fn read_list<T: Default>(
    provision: Element<'_>,
    name: &str,
    path: &str,
    lint: &mut Lint,
    add: impl Fn(&mut T, Element<'_>) -> bool,
) -> Option<T> {
    let mut list = None;
    for (index, element) in provision.all(name).enumerate() {
        if !add(list.get_or_insert_with(T::default), element) {
            lint.unclear(element, &format!("{path}.{name}[{index}]"), UNCLEAR);
        }
    }
    list
}
