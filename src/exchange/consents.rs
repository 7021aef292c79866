//! The consents of a person, compiled and kept at hand.
//!
//! The book is only a shortcut. Every write names, as a precondition of its transaction, the consent epoch that it
//! was decided under, and a refusal looks the epoch up before it is given, so a page of the book that has gone stale
//! costs a second look and never a wrong answer; deliveries and reads look the epoch up in the store itself, unless the store
//! knows that nobody has said anything since.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::facts::{CATEGORY_SYSTEM, Facts};
use super::gist::Gist;
use super::{Caller, Gateway};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Element, json};
use crate::fhir::validate::measures::category::category;
use crate::policy::consent::{
    self, Actor, Compiled, Decision, Denial, Implied, Outlook, Permitted, Precedents, Reason, Status,
};
use crate::store::{self, PatientKey, Said, Stored};

/// What applies to one person, as of an epoch.
#[derive(Clone, Default)]
pub struct Page {
    pub epoch: u64,
    /// Whether the person wants what is hers kept and nothing else.
    pub restricted: bool,
    /// Whether she was erased, so that nothing is permitted whatever holds where nothing was said.
    pub erased: bool,
    /// Whether of two resources that say the same one may be permitted and the other not.
    pub about_one: bool,
    pub consents: Arc<[Arc<Compiled>]>,
    /// How much any person had said when it was looked up, where that is known: as long as it is no more, nothing has changed.
    pub(super) so_far: Option<u64>,
}

/// Compiled consents by person. Bounded: a full book is started anew.
#[derive(Default)]
pub struct Book {
    pages: Mutex<HashMap<PatientKey, Page>>,
}

/// Persons whose consents are kept compiled.
const PAGES: usize = 100_000;

impl Gateway {
    /// The consents of a person as last seen; good enough to decide a write that names its epoch.
    pub(super) async fn consents_recent(&self, patient: PatientKey) -> Result<Page, store::Error> {
        match self.consents_kept(patient) {
            Some(page) => Ok(page),
            None => self.consents_now(patient).await,
        }
    }

    /// The consents of a person as last seen, if they were.
    pub(super) fn consents_kept(&self, patient: PatientKey) -> Option<Page> {
        self.book.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&patient).cloned()
    }

    /// The consents of a person as they are in the store now.
    pub(super) async fn consents_now(&self, patient: PatientKey) -> Result<Page, store::Error> {
        // Asked first: what is said meanwhile makes the page one that is looked up again.
        let so_far = self.store.said_so_far();
        let kept = self.consents_kept(patient);
        if let Some(page) = kept.as_ref().filter(|page| page.so_far.is_some() && page.so_far == so_far) {
            return Ok(page.clone());
        }
        let said = self.store.said(patient, kept.as_ref().map(|page| page.epoch)).await?;
        let Said { epoch, consents, restricted_ms, erased, whole } = match (said, kept) {
            (Some(said), _) => said,
            (None, Some(kept)) => return Ok(self.kept_still(patient, kept, so_far)),
            // Kept back is only what was known.
            (None, None) => return Err(store::Error::Closed),
        };
        let lost = (!whole).then(|| {
            tracing::error!("store: what a person has said is not what was written down; nothing of hers is permitted");
            unreadable("", 0)
        });
        let consents: Arc<[Arc<Compiled>]> = consents.iter().map(compiled).chain(lost).map(Arc::new).collect();
        let about_one = consents.iter().any(|consent| consent.is_about_one());
        let page = Page { epoch, restricted: restricted_ms.is_some(), erased, about_one, consents, so_far };
        let mut pages = self.book.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= PAGES {
            pages.clear();
        }
        // A slower reader must not put an older page over a newer one.
        if pages.get(&patient).is_none_or(|kept| kept.epoch < epoch) {
            pages.insert(patient, page.clone());
        }
        Ok(page)
    }

    /// Notes of a page that it was right at that moment.
    fn kept_still(&self, patient: PatientKey, page: Page, so_far: Option<u64>) -> Page {
        let mut pages = self.book.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = pages.get_mut(&patient).filter(|kept| kept.epoch == page.epoch) {
            kept.so_far = kept.so_far.max(so_far);
        }
        page
    }

    /// Forgets a page that the store called stale.
    pub(super) fn consents_stale(&self, patient: PatientKey) {
        self.book.pages.lock().unwrap_or_else(PoisonError::into_inner).remove(&patient);
    }
}

/// A stored consent, compiled. It was read and checked when it was accepted; should it no longer be readable, it
/// counts as one that cannot be evaluated, which denies.
pub(super) fn compiled(stored: &Stored) -> Compiled {
    match json::parse(stored.payload.as_slice()) {
        Ok(document) => consent::compile(Element::root(&document), stored.version).0,
        Err(_) => unreadable(&stored.logical_id(), stored.version),
    }
}

/// What stands where something that the person said cannot be read, by its id where that is known, so that what is said anew
/// stands in its place.
fn unreadable(id: &str, version: u32) -> Compiled {
    let text =
        format!(r#"{{"resourceType":"Consent","id":"{id}","status":"active","implicitRules":"urn:unreadable"}}"#);
    let document = json::parse(text).expect("the stand-in is well-formed");
    consent::compile(Element::root(&document), version).0
}

/// What is wrong with a consent, or doubtful, as far as the gateway can tell whoever writes it.
pub(super) fn linted(consent: Element<'_>, version: u32, now_ms: i64) -> Vec<Issue> {
    let (compiled, mut issues) = consent::compile(consent, version);
    if compiled.given_ms().is_some_and(|given_ms| given_ms > now_ms + CLOCK_TOLERANCE_MS)
        && let Some(date) = consent.get("dateTime")
    {
        let text = "The consent was not given yet; it permits nothing before that.";
        issues.push(Issue::new(Id::ConsentElement, "Consent.dateTime", text).at(date.position()));
    }
    issues.extend(beside_rules(consent, &compiled, now_ms));
    issues
}

/// The same of what no rule of it is compiled from, whenever it was given.
pub(super) fn beside_rules(consent: Element<'_>, compiled: &Compiled, now_ms: i64) -> Vec<Issue> {
    let mut issues = Vec::new();
    if compiled.status() == Status::Active {
        let text = "The period is over already, so that nothing is permitted by it.";
        let over = compiled
            .over(now_ms)
            .into_iter()
            .map(|path| Issue::new(Id::ConsentElement, format!("{path}.period"), text));
        issues.extend(over.map(|issue| issue.at(consent.position())));
    }
    if let Some(provision) = consent.get("provision") {
        unknown_categories(provision, "Consent.provision", &mut issues);
    }
    issues
}

/// Categories of measures are the gateway's own, so that one that it does not know can only be a slip.
fn unknown_categories(provision: Element<'_>, path: &str, issues: &mut Vec<Issue>) {
    let known = |code: &str| category(code).is_some();
    for (index, concept) in provision.all("code").enumerate() {
        for coding in concept.all("coding").filter(|coding| coding.text_of("system") == Some(CATEGORY_SYSTEM)) {
            if !coding.text_of("code").is_some_and(known) {
                let text = "There is no such category of measures, so that no data is meant by it.";
                let place = format!("{path}.code[{index}]");
                issues.push(Issue::new(Id::ConsentElement, place, text).at(coding.position()));
            }
        }
    }
    for (index, nested) in provision.all("provision").enumerate() {
        unknown_categories(nested, &format!("{path}.provision[{index}]"), issues);
    }
}

/// The clock of whoever writes a consent may run ahead by this much.
const CLOCK_TOLERANCE_MS: i64 = 10 * 60_000;

/// What a decision is about.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// Every reference that the patient answers to.
    pub patients: &'a [String; 2],
    /// `Type/id` of the resource.
    pub reference: &'a str,
    pub facts: &'a Facts<'a>,
}

/// Every reference that a patient answers to, for a Consent may name its patient by URL.
pub(super) fn names(base: &str, patient: &str) -> [String; 2] {
    let relative = ["Patient/", patient].concat();
    let absolute = [base, "/", &relative].concat();
    [relative, absolute]
}

/// Decides everything that a resource claims to be; the first denial wins, and only a permit of each gives the value
/// back. What is still to be given permits nothing yet, whatever it refuses already.
pub(super) fn permit<T>(
    consents: &[Arc<Compiled>],
    implied: &Implied,
    request: &consent::Request<'_>,
    subject: &Subject<'_>,
    value: T,
) -> Result<Permitted<T>, Denial> {
    let now_ms = request.now_ms;
    // Who does research by the broad consent asks under its policies.
    let request = &consent::Request { policies: implied.package(request), ..*request };
    permit_by(consents, &permitting(consents, now_ms), implied, request, subject, value)
}

/// What is known of a resource that is judged by its gist.
pub(super) struct Glimpsed<'a> {
    pub kind: &'a Arc<str>,
    pub gist: &'a Gist<'a>,
    /// Every reference that the patient answers to.
    pub patients: &'a [String; 2],
    /// Its logical id, asked for where somebody wants to know.
    pub id: &'a dyn Fn() -> String,
}

/// Decides by a gist as by what it is the gist of; gives the value back where the gist cannot be read. What is like something
/// that was decided before is decided as that was.
pub(super) fn permit_by_gist<T>(
    page: &Page,
    precedents: &mut Precedents,
    implied: &Implied,
    request: &consent::Request<'_>,
    glimpsed: &Glimpsed<'_>,
    value: T,
) -> Result<Result<Permitted<T>, Denial>, T> {
    let Glimpsed { kind, gist, patients, id } = *glimpsed;
    if page.about_one {
        let Some(references) = gist.references() else { return Err(value) };
        let Some(said) = gist.said(&references) else { return Err(value) };
        let (facts, reference) = (Facts::from(kind.clone(), said), [kind, "/", &id()].concat());
        let subject = Subject { patients, reference: &reference, facts: &facts };
        return Ok(permit(&page.consents, implied, request, &subject, value));
    }
    precedents.refresh(&page.consents, request.now_ms);
    let alike = [kind.as_bytes(), &[0], gist.class].concat();
    let value = match precedents.follow(&alike, value) {
        Ok(decided) => return Ok(decided),
        Err(value) => value,
    };
    let Some(said) = gist.said_alike() else { return Err(value) };
    let facts = Facts::from(kind.clone(), said);
    let subject = Subject { patients, reference: "", facts: &facts };
    let decided = permit(&page.consents, implied, request, &subject, value);
    precedents.note(&alike, &decided);
    Ok(decided)
}

/// The consents that may permit something: those that are given. What was withdrawn or rejected is, whenever it was to be
/// given.
pub(super) fn permitting(consents: &[Arc<Compiled>], now_ms: i64) -> Cow<'_, [Arc<Compiled>]> {
    let counts = |consent: &Compiled| is_given(consent, now_ms) || consent.is_withdrawn();
    if consents.iter().all(|consent| counts(consent)) {
        Cow::Borrowed(consents)
    } else {
        consents.iter().filter(|consent| counts(consent)).cloned().collect()
    }
}

/// Decides by two lists: what may refuse, and of these what may permit.
pub(super) fn permit_by<T>(
    refusing: &[Arc<Compiled>],
    permitting: &[Arc<Compiled>],
    implied: &Implied,
    request: &consent::Request<'_>,
    subject: &Subject<'_>,
    value: T,
) -> Result<Permitted<T>, Denial> {
    let patients = subject.patients.each_ref().map(String::as_str);
    // All that it says at once can only refuse: what a sender adds must not widen a permission.
    let whole = subject.facts.whole(&patients, subject.reference);
    if let Decision::Deny(denial) = consent::decide(refusing, request, &whole)
        && matches!(denial.reason, Reason::Denied | Reason::Indeterminate)
    {
        return Err(denial);
    }
    let claims = subject.facts.claims(&patients, subject.reference);
    consent::permit(permitting, implied, request, &whole, claims, value)
}

/// The refusal, where nothing of a person is permitted, whatever it is.
pub(super) fn nothing_at_all(
    consents: &[Arc<Compiled>],
    implied: &Implied,
    request: &consent::Request<'_>,
    patients: &[String; 2],
) -> Option<Denial> {
    let request = &consent::Request { policies: implied.package(request), ..*request };
    let patients = patients.each_ref().map(String::as_str);
    let unsaid = |said| implied.permits(said, consents, request, &patients, None).is_some();
    let Decision::Deny(denial) = consent::decide(consents, request, &consent::Facts::unknown(&patients)) else {
        return None;
    };
    let refused = match denial.reason {
        Reason::NoConsent => !unsaid(Reason::NoConsent),
        _ => consent::outlook(consents, request, &patients, unsaid(Reason::NotCovered)).0 == Outlook::Deny,
    };
    refused.then_some(denial)
}

/// Whether the person has given it by then.
pub(super) fn is_given(consent: &Compiled, now_ms: i64) -> bool {
    consent.given_ms().is_none_or(|given_ms| given_ms <= now_ms + CLOCK_TOLERANCE_MS)
}

/// The actor that a caller is to consents.
pub(super) fn actor(caller: &Caller<'_>) -> Actor {
    Actor::reference(&caller.principal.actor)
}

/// The issue of a denial at a place in the message.
pub(super) fn denied(denial: &Denial, expression: &str) -> Issue {
    let mut issue = denial.issue();
    expression.clone_into(&mut issue.expression);
    issue
}
