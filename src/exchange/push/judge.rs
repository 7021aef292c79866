//! What the store must be asked before a resource may be kept: consent, ownership, the version that stands.

use std::collections::HashMap;
use std::sync::Arc;

use super::overlap;
use super::prepare::{self, Prepared};
use super::{Condition, Intent, Unless, When};
use crate::devices::sources;
use crate::exchange::consents::{self, Page, Subject};
use crate::exchange::facts::Facts;
use crate::exchange::gist;
use crate::exchange::kinds::{self, Guard};
use crate::exchange::said;
use crate::exchange::{Caller, Gateway, Refusal, is_random_uuid};
use crate::fhir::outcome::{Id, Issue, Position, has_errors};
use crate::fhir::tree::{Document, Element, hash, json, time, write};
use crate::fhir::validate::Validated;
use crate::policy::access::Interaction;
use crate::policy::access::scope::Grant;
use crate::policy::consent::{self, Action, Basis, Compiled, Denial, Outlook, Permitted};
use crate::store::{self, Expect, PatientKey, Plan, Precondition, Stored, TokenKey, Write};

/// A resource that may be kept as things stand, or that stands already.
pub(super) enum Judged {
    Write {
        write: Box<Write>,
        basis: Option<Basis>,
        /// What is doubtful about it beyond what validation says.
        warnings: Vec<Issue>,
    },
    /// An update that changes nothing.
    Same(Box<Stored>),
}

/// What one attempt to commit knows of the persons concerned.
pub(super) struct Knowledge {
    pages: HashMap<PatientKey, Page>,
    /// Patients that this very transaction registers, and when each was born.
    registers: Vec<(PatientKey, Option<String>)>,
    /// Consents that this very transaction records: they hold if it does, and stand in the place of older versions.
    records: Vec<(PatientKey, Arc<Compiled>)>,
}

impl Knowledge {
    pub fn new(registers: Vec<(PatientKey, Option<String>)>) -> Self {
        Knowledge { pages: HashMap::new(), registers, records: Vec::new() }
    }

    /// Takes note of a consent that is to be written together with what follows.
    pub fn record(&mut self, write: &Write) -> Result<(), Refusal> {
        if let (true, Some(patient)) = (write.consent, write.patient) {
            let document = json::parse(write.payload.as_slice())?;
            let compiled = Arc::new(consent::compile(Element::root(&document), write.version).0);
            self.records.push((patient, compiled));
        }
        Ok(())
    }

    /// Looks into the store itself; whether that says something else than was known.
    async fn refresh(&mut self, gateway: &Gateway, patient: PatientKey) -> Result<bool, Refusal> {
        let page = gateway.consents_now(patient).await?;
        let epoch = page.epoch;
        let known = self.pages.insert(patient, page);
        Ok(known.is_none_or(|known| known.epoch != epoch))
    }

    /// What applies to a patient once the transaction is done.
    async fn consents(&mut self, gateway: &Gateway, patient: PatientKey) -> Result<Vec<Arc<Compiled>>, Refusal> {
        let page = self.page(gateway, patient).await?;
        let new = self.records.iter().filter(|(whose, _)| *whose == patient).map(|(_, consent)| consent);
        let replaced = |id: &str| new.clone().any(|consent| consent.id() == id);
        let kept = page.consents.iter().filter(|consent| !replaced(consent.id()));
        Ok(kept.chain(new.clone()).cloned().collect())
    }

    /// What applies to a patient once these writes are done.
    pub async fn consents_after(
        &mut self,
        gateway: &Gateway,
        patient: PatientKey,
        writes: &[Write],
    ) -> Result<Vec<Arc<Compiled>>, Refusal> {
        let mut new: Vec<Arc<Compiled>> = Vec::new();
        for write in writes.iter().filter(|write| write.consent && write.patient == Some(patient)) {
            let document = json::parse(write.payload.as_slice())?;
            new.push(Arc::new(consent::compile(Element::root(&document), write.version).0));
        }
        let page = self.page(gateway, patient).await?;
        let kept = page.consents.iter().filter(|kept| !new.iter().any(|consent| consent.id() == kept.id()));
        Ok(kept.cloned().chain(new.iter().cloned()).collect())
    }

    /// Every epoch that a decision rested on.
    pub fn preconditions(&self) -> impl Iterator<Item = Precondition> + '_ {
        self.epochs().map(|(patient, epoch)| Precondition::ConsentEpoch { patient, epoch })
    }

    pub fn epochs(&self) -> impl Iterator<Item = (PatientKey, u64)> + '_ {
        self.pages.iter().map(|(patient, page)| (*patient, page.epoch))
    }

    pub fn patients(&self) -> impl Iterator<Item = PatientKey> + '_ {
        self.pages.keys().copied()
    }

    async fn page(&mut self, gateway: &Gateway, patient: PatientKey) -> Result<Page, Refusal> {
        if let Some(page) = self.pages.get(&patient) {
            return Ok(page.clone());
        }
        let page = gateway.consents_recent(patient).await?;
        self.pages.insert(patient, page.clone());
        Ok(page)
    }
}

/// Decides one resource.
pub(super) async fn judge(
    gateway: &Gateway,
    caller: &Caller<'_>,
    prepared: &Prepared,
    knowledge: &mut Knowledge,
    now_ms: i64,
) -> Result<Judged, Refusal> {
    if prepared.rule.subject == kinds::Subject::Itself
        && let Some((_, patient)) = &prepared.patient
        && knowledge.page(gateway, *patient).await?.erased
    {
        let text = "The person was erased; nothing is taken in under this identity any more.";
        return Err(Refusal::one(Id::PersonErased, prepared.location.as_str(), text));
    }
    let (basis, warnings) = match prepared.rule.guard {
        Guard::Consent => {
            let permitted = consented(gateway, caller, prepared, knowledge, now_ms).await?;
            (Some(permitted.basis().clone()), Vec::new())
        }
        Guard::Owner => (None, owned(gateway, caller, prepared, knowledge, now_ms).await?),
    };
    let mut standing_id = None;
    let (expect, version) = match &prepared.intent {
        Intent::Create { condition } => {
            if let Some(condition) = condition
                && let Some(stored) = named(gateway, caller, prepared, condition).await?
            {
                // What the client may not see it does not find; what it sends then is the same, or collides with it.
                let collides = stored.id == prepared.id && stored.content != prepared.content;
                match seen(gateway, caller, prepared, stored).await? {
                    Some(stored) => return Ok(Judged::Same(Box::new(stored))),
                    None if collides => return Err(conflict(prepared).into()),
                    None => {}
                }
            }
            (Expect::Absent, 1)
        }
        Intent::Correct(corrected) => (Expect::Version(corrected.version), corrected.version + 1),
        Intent::Update { id, when } => match standing(gateway, caller, prepared, id, *when).await? {
            Standing::Nothing => (Expect::Absent, 1),
            Standing::Same(stored) => return Ok(Judged::Same(stored)),
            Standing::Other(stored) => {
                changeable(gateway, prepared, knowledge).await?;
                let version = stored.version;
                standing_id = Some((stored.id, stored.name));
                (Expect::Version(version), version + 1)
            }
        },
    };
    let mut write = rendered(caller, prepared, expect, version, now_ms);
    if let Some((id, name)) = standing_id {
        // It keeps the identity that it was created under, whether a client or we chose its id.
        (write.id, write.name) = (id, name);
    }
    Ok(Judged::Write { write: Box::new(write), basis, warnings })
}

/// What those hear who may not know more.
const NONE_ON_FILE: &str = "No consent on file lets this client send this for that person.";

async fn consented<'p>(
    gateway: &Gateway,
    caller: &Caller<'_>,
    prepared: &'p Prepared,
    knowledge: &mut Knowledge,
    now_ms: i64,
) -> Result<Permitted<&'p Validated>, Refusal> {
    let Some(person) = &prepared.patient else {
        return Err(Refusal::one(Id::ConsentMissing, prepared.location.as_str(), "Whose data it is is not known."));
    };
    let element = prepared.validated.element();
    let facts = Facts::of(Arc::from(prepared.rule.name), element);
    let reference = format!("{}/{}", prepared.rule.name, prepared.logical);
    let about = About { person, facts: &facts, reference: &reference, location: &prepared.location };
    let permitted = may_collect(gateway, caller, &about, &prepared.validated, knowledge, now_ms).await;
    permitted.map_err(|mut refusal| {
        refusal.issues.iter_mut().for_each(|issue| issue.position = element.position());
        refusal
    })
}

/// What a decision to collect is about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub person: &'a (String, PatientKey),
    pub facts: &'a Facts<'a>,
    /// `Type/id`
    pub reference: &'a str,
    /// Place in the message.
    pub location: &'a str,
}

/// Whether the person lets the client collect it.
pub(super) async fn may_collect<T: Copy>(
    gateway: &Gateway,
    caller: &Caller<'_>,
    about: &About<'_>,
    value: T,
    knowledge: &mut Knowledge,
    now_ms: i64,
) -> Result<Permitted<T>, Refusal> {
    let (id, patient) = about.person;
    if knowledge.page(gateway, *patient).await?.erased {
        return Err(Refusal::one(Id::ConsentMissing, about.location, NONE_ON_FILE));
    }
    let patients = consents::names(&gateway.base, id);
    let subject = Subject { patients: &patients, reference: about.reference, facts: about.facts };
    let actor = consents::actor(caller);
    let decide = |consents: &[Arc<Compiled>]| {
        let request =
            consent::Request { action: Action::Collect, actor: &actor, purpose: caller.purpose, policies: &[], now_ms };
        consents::permit(consents, &gateway.implied, &request, &subject, value)
    };
    let mut decision = decide(&knowledge.consents(gateway, *patient).await?);
    // A permission is checked again where it is written; a refusal on a page that has gone stale would be final.
    if decision.is_err() && knowledge.refresh(gateway, *patient).await? {
        decision = decide(&knowledge.consents(gateway, *patient).await?);
    }
    match decision {
        Ok(permitted) => Ok(permitted),
        Err(denial) => {
            // Whoever did not register the person learns neither whether the person exists nor what was consented.
            let registered = gateway.store.heading("Patient", id).await?;
            let own = registered.is_some_and(|stored| stored.owner == caller.principal.client);
            let issue = if own {
                consents::denied(&denial, about.location)
            } else {
                Issue::new(Id::ConsentMissing, about.location, NONE_ON_FILE)
            };
            // The person may know which consent it was, also where the client may not.
            Err(Refusal { basis: denial.basis, ..issue.into() })
        }
    }
}

/// Whether the person, in so many words, lets the client collect whatever it sends: what could not be mapped has no category that could be
/// asked for.
pub(super) async fn may_collect_anything(
    gateway: &Gateway,
    caller: &Caller<'_>,
    (id, patient): &(String, PatientKey),
    knowledge: &mut Knowledge,
    now_ms: i64,
) -> Result<bool, Refusal> {
    let consents = knowledge.consents(gateway, *patient).await?;
    let actor = consents::actor(caller);
    let request =
        consent::Request { action: Action::Collect, actor: &actor, purpose: caller.purpose, policies: &[], now_ms };
    let relative = format!("Patient/{id}");
    let absolute = format!("{}/{relative}", gateway.base);
    let given = consents.iter().all(|consent| consents::is_given(consent, now_ms));
    Ok(given && consent::outlook(&consents, &request, &[&relative, &absolute], false).0 == Outlook::Permit)
}

/// A client writes what concerns the patients that it registered. A consent is looked through before it counts; what
/// is merely doubtful about it comes back.
async fn owned(
    gateway: &Gateway,
    caller: &Caller<'_>,
    prepared: &Prepared,
    knowledge: &mut Knowledge,
    now_ms: i64,
) -> Result<Vec<Issue>, Refusal> {
    let mut born = None;
    if prepared.rule.subject != kinds::Subject::Itself
        && let Some((id, patient)) = &prepared.patient
    {
        if let Some((_, date)) = knowledge.registers.iter().find(|(registered, _)| registered == patient) {
            born.clone_from(date);
        } else {
            let registered = gateway.store.heading("Patient", id).await?;
            let own = registered.filter(|stored| !stored.deleted && stored.owner == caller.principal.client);
            let Some(own) = own else {
                let text = "The reference names no Patient that this client registered.";
                let place = match prepared.rule.subject {
                    kinds::Subject::Required(path) | kinds::Subject::Optional(path) => {
                        format!("{}.{path}.reference", prepared.location)
                    }
                    kinds::Subject::Itself | kinds::Subject::Nobody => prepared.location.clone(),
                };
                return Err(Refusal::one(Id::PatientUnknown, place, text));
            };
            if prepared.rule.name == "Consent" && prepared.validated.element().text_of("status") == Some("active") {
                // Who may give it follows from when she was born.
                if own.is_unread() {
                    return Err(store::Error::Damaged.into());
                }
                born = born_of(Element::root(&json::parse(own.payload)?));
            }
        }
    }
    if prepared.rule.name == "List" {
        let placed = |mut issue: Issue| {
            issue.expression = issue.expression.replacen("List", &prepared.location, 1);
            issue
        };
        let compiled = sources::compile(prepared.validated.element());
        return compiled
            .map(|_| Vec::new())
            .map_err(|issues| issues.into_iter().map(placed).collect::<Vec<_>>().into());
    }
    if prepared.rule.name != "Consent" {
        return Ok(Vec::new());
    }
    let mut issues = linted(prepared, now_ms)?;
    // A withdrawal is anybody's to give.
    if prepared.validated.element().text_of("status") == Some("active") {
        issues.extend(gateway.proxies.issues(prepared.validated.element(), born.as_deref()));
    }
    for issue in &mut issues {
        issue.expression = issue.expression.replacen("Consent", &prepared.location, 1);
    }
    if has_errors(&issues) { Err(issues.into()) } else { Ok(issues) }
}

/// When a person was born, as the Patient says.
pub(super) fn born_of(patient: Element<'_>) -> Option<String> {
    patient.text_of("birthDate").map(str::to_owned)
}

/// A conditional create finds what the condition names, whatever its content (FHIR R4 §3.1.0.8.2). Of the rare types
/// every identifier is indexed; an Observation is known by the one that it was created under.
async fn named(
    gateway: &Gateway,
    caller: &Caller<'_>,
    prepared: &Prepared,
    condition: &Condition,
) -> Result<Option<Stored>, Refusal> {
    let mut found = match gateway.store.read_derived(prepared.rule.name, prepared.id).await? {
        Some(stored) => vec![stored],
        None => Vec::new(),
    };
    if prepared.rule.name != "Observation" {
        let token = TokenKey {
            param: "identifier".to_owned(),
            system: Some(condition.system.clone()),
            value: condition.value.clone(),
        };
        let owner = Some(caller.principal.client.clone());
        let plan = Plan { token: Some(token), owner, limit: 2, ..Plan::of(prepared.rule.name) };
        found = gateway.store.search(plan).await?.rows;
    }
    if found.len() > 1 {
        let text = "The condition names more than one resource.";
        return Err(Refusal::one(Id::MultipleMatches, prepared.location.as_str(), text));
    }
    let Some(stored) = found.pop().filter(|stored| !stored.deleted) else { return Ok(None) };
    let same_patient = prepared.rule.subject == kinds::Subject::Itself
        || stored.patient == prepared.patient.as_ref().map(|(_, key)| *key);
    if same_patient { Ok(Some(stored)) } else { Err(conflict(prepared).into()) }
}

/// What a condition names, as far as the client may see it. What it registered itself no consent withholds from it.
async fn seen(
    gateway: &Gateway,
    caller: &Caller<'_>,
    prepared: &Prepared,
    stored: Stored,
) -> Result<Option<Stored>, Refusal> {
    match prepared.rule.guard {
        Guard::Owner => Ok(Some(stored)),
        Guard::Consent => gateway.seen(caller, prepared.rule, stored).await,
    }
}

/// While a person restricts what is done with her data, what is stored of it stays as it is.
async fn changeable(gateway: &Gateway, prepared: &Prepared, knowledge: &mut Knowledge) -> Result<(), Refusal> {
    let (Guard::Consent, Some((_, patient))) = (prepared.rule.guard, &prepared.patient) else { return Ok(()) };
    let mut restricted = knowledge.page(gateway, *patient).await?.restricted;
    // It may have been lifted since.
    if restricted && knowledge.refresh(gateway, *patient).await? {
        restricted = knowledge.page(gateway, *patient).await?.restricted;
    }
    if restricted { Err(consents::denied(&Denial::restricted(), &prepared.location).into()) } else { Ok(()) }
}

/// What is wrong with a consent as it will be stored: in a transaction it may name its person by an id that the
/// person is only now given.
fn linted(prepared: &Prepared, now_ms: i64) -> Result<Vec<Issue>, Refusal> {
    if prepared.rewrites.is_empty() {
        return Ok(consents::linted(prepared.validated.element(), 1, now_ms));
    }
    let document = json::parse(payload(prepared, 1, 0, false))?;
    let mut issues = consents::linted(Element::root(&document), 1, now_ms);
    for issue in &mut issues {
        // Places in what we wrote ourselves would mislead.
        issue.position = Position::default();
    }
    Ok(issues)
}

enum Standing {
    Nothing,
    Same(Box<Stored>),
    Other(Box<Stored>),
}

async fn standing(
    gateway: &Gateway,
    caller: &Caller<'_>,
    prepared: &Prepared,
    id: &str,
    when: When,
) -> Result<Standing, Refusal> {
    let conflict = |text: &str| Refusal::one(Id::VersionConflict, prepared.location.as_str(), text);
    let cannot = |text: &str| Refusal::one(Id::IdRefused, format!("{}.id", prepared.location), text);
    // What is free and what is another client's look the same, or ids could be tried.
    let not_ones_own = || cannot(not_ones_own(id));
    let client = &*caller.principal.client;
    let Some(stored) = gateway.store.heading(prepared.rule.name, id).await? else {
        if when.deletes {
            return Err(Refusal::not_found());
        }
        if !gateway.config.chosen_ids.allow(client, id) {
            return Err(not_ones_own());
        }
        return match when.version {
            None => Ok(Standing::Nothing),
            Some(_) => Err(conflict("There is no version that If-Match could match.")),
        };
    };
    if stored.owner != caller.principal.client {
        return Err(not_ones_own());
    }
    if stored.patient != prepared.patient.as_ref().map(|(_, key)| *key) {
        return Err(cannot("The id belongs to a resource of another person."));
    }
    let allows = |interaction: &Interaction| {
        let grant = caller.principal.scopes.permits(prepared.rule.name, *interaction);
        grant == Grant::All || within(&grant, prepared.rule.name, &stored)
    };
    if !prepare::interactions(&prepared.intent).iter().any(allows) {
        // Of what is damaged nobody can say any more whether it is within.
        if stored.is_unread() {
            return Err(store::Error::Damaged.into());
        }
        let text = "The access token covers other categories or codes of this type only.";
        return Err(Refusal::one(Id::ScopeInsufficient, prepared.location.as_str(), text));
    }
    if when.version.is_some_and(|version| version != stored.version) {
        return Err(conflict("The resource has another version than If-Match names."));
    }
    if when.unless.is_some_and(|unless| unless == Unless::Anything || unless == Unless::Version(stored.version)) {
        return Err(conflict("There is what If-None-Match says that there must not be."));
    }
    let says_it_already =
        if when.deletes { stored.deleted } else { stored.content == prepared.content && !stored.deleted };
    // What is damaged is mended by saying it again.
    if says_it_already && !stored.is_unread() {
        return Ok(Standing::Same(Box::new(stored)));
    }
    Ok(Standing::Other(Box::new(stored)))
}

/// What is said of an id that another client could give as well, by how it is written alone.
fn not_ones_own(id: &str) -> &'static str {
    if id.contains(|letter: char| letter.is_ascii_uppercase()) && is_random_uuid(&id.to_ascii_lowercase()) {
        "A UUID is written in lower case: ids are compared letter by letter."
    } else {
        "New resources have ids that no other client could give: a random UUID, or the client's own id, a dot and a name \
         without dots."
    }
}

/// Whether what stands lies within a restricted grant: changing it into something inside would be a way around.
fn within(grant: &Grant, kind: &str, stored: &Stored) -> bool {
    let Ok(document) = json::parse(stored.payload.as_slice()) else { return false };
    let facts = Facts::of(Arc::from(kind), Element::root(&document));
    grant.allows(facts.categories(), facts.codes())
}

fn rendered(caller: &Caller<'_>, prepared: &Prepared, expect: Expect, version: u32, now_ms: i64) -> Write {
    let is_consent = prepared.rule.name == "Consent";
    // Destinations that are told of withdrawals meet a consent in the feed, where it stands in the person's order, and so
    // do subscribers.
    let goes_out = prepared.rule.deliverable || is_consent;
    let payload = payload(prepared, version, now_ms, false);
    let gist::Beside { gist, labels, person } = gist::beside(prepared.rule.name, &payload);
    Write {
        kind: Arc::from(prepared.rule.name),
        id: prepared.id,
        name: prepared.named.then(|| prepared.logical.clone()),
        patient: prepared.patient.as_ref().map(|(_, key)| *key),
        owner: caller.principal.client.clone(),
        expect,
        content: prepared.content,
        reading: prepared.reading,
        says_the_same: false,
        growth: None,
        span: prepared.span.clone(),
        codes: prepared.codes.clone(),
        tokens: prepared.tokens.clone(),
        date: prepared.date,
        updated_ms: now_ms,
        version,
        gist: gist.unwrap_or_default(),
        person,
        labels,
        payload,
        delete: prepared.intent.deletes(),
        deliver: goes_out && prepared.patient.is_some(),
        consent: is_consent,
    }
}

/// The next version of what stands, which the gateway itself makes.
pub(super) fn next_version(
    stored: &Stored,
    document: &Document,
    tags: Option<write::Tags<'static>>,
    now_ms: i64,
) -> Write {
    let element = Element::root(document);
    let (logical, version) = (stored.logical_id(), stored.version.saturating_add(1));
    let last_updated = time::instant(now_ms);
    let owned = write::Owned { id: &logical, version, last_updated: &last_updated, tags };
    let payload = write::resource(document, document.root(), &owned, None).into_bytes();
    let gist::Beside { gist, labels, person } = gist::beside(&stored.kind, &payload);
    Write {
        kind: stored.kind.clone(),
        id: stored.id,
        name: stored.name.clone(),
        patient: stored.patient,
        owner: stored.owner.clone(),
        expect: Expect::Version(stored.version),
        content: hash::content(document, document.root()),
        reading: None,
        says_the_same: false,
        growth: None,
        span: None,
        codes: said::coded(element),
        tokens: Vec::new(),
        date: said::dated(element),
        updated_ms: now_ms,
        version,
        gist: gist.unwrap_or_default(),
        person,
        labels,
        payload,
        delete: false,
        deliver: true,
        consent: false,
    }
}

/// The resource as it is stored and answered; of a reading, with what it is beside others.
pub(super) fn payload(prepared: &Prepared, version: u32, updated_ms: i64, secondary: bool) -> Vec<u8> {
    let rewrites = &prepared.rewrites;
    let rewrite = |reference: &str| rewrites.iter().find(|(from, _)| from == reference).map(|(_, to)| to.clone());
    let rewrite: Option<write::Rewrite<'_>> = if rewrites.is_empty() { None } else { Some(&rewrite) };
    let last_updated = time::instant(updated_ms);
    let tags = prepared.span.as_ref().map(|_| overlap::tags(secondary));
    let owned = write::Owned { id: &prepared.logical, version, last_updated: &last_updated, tags };
    write::resource(prepared.validated.document(), prepared.node(), &owned, rewrite).into_bytes()
}

/// The issue for a resource whose identity stands for other content.
pub(super) fn conflict(prepared: &Prepared) -> Issue {
    let text = "The identifier stands for a resource with other content.";
    Issue::new(Id::DuplicateIdentifier, format!("{}.identifier", prepared.location), text)
        .at(prepared.validated.element().position())
}
