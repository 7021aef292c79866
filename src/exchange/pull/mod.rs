//! What clients ask of us: find, ask the person's consent for each hit, record the reading, and only then answer.
//!
//! A search can only get smaller: hits that the consent withholds are left out before paging and counting, so that
//! what is withheld and what is absent look the same. The audit event is on disk before the first byte leaves.

mod audit;
mod definitions;
mod history;
mod include;
mod latest;
mod links;
mod matching;
pub(super) mod page;
mod read;
pub(super) mod search;
mod sieve;
mod sorted;
mod statistics;

pub use history::{Asked as AskedOfHistory, Version, Versions, Whose};
pub use search::Found;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::OnceLock;

use super::consents::{self, Glimpsed, Page, Subject};
use super::facts::Facts;
use super::gist::Gist;
use super::kinds::{self, Guard, KindRule};
use super::said;
use super::{Caller, Gateway, Refusal};
use crate::fhir::search::{Known, Query};
use crate::fhir::tree::{Document, Element, json};
use crate::policy::access::{Grant, Interaction};
use crate::policy::consent::{self, Action, Actor, Basis, Denial, Precedents};
use crate::store::{self, PatientKey, Stored};

/// What the caller may see of a stored resource.
pub(super) enum Sight {
    Visible(Visible),
    /// The person's consents don't let it be seen; the person hears of it.
    Withheld(Withheld),
    /// Nobody's business: out of scope, or not readable.
    Hidden,
}

/// A stored resource, read where somebody asks what it says.
pub(super) struct Content {
    pub stored: Stored,
    document: OnceLock<Option<Document>>,
}

/// A resource that the caller may see.
pub(super) struct Visible {
    pub content: Content,
    pub basis: Option<Basis>,
}

/// A resource that the caller may not see.
pub(super) struct Withheld {
    content: Content,
    pub patient: (String, PatientKey),
    pub denial: Denial,
}

impl Content {
    fn of(stored: Stored) -> Self {
        Content { stored, document: OnceLock::new() }
    }

    pub fn root(&self) -> Option<Element<'_>> {
        self.document().map(Element::root)
    }

    /// Nothing where it cannot be read.
    pub fn document(&self) -> Option<&Document> {
        self.read(|payload| json::parse(payload).ok())
    }

    /// The same, in the memory of an earlier one.
    fn root_in(&self, memory: &mut json::Memory) -> Option<Element<'_>> {
        self.read(|payload| json::parse_in(std::mem::take(memory), payload).ok()).map(Element::root)
    }

    fn read(&self, parse: impl FnOnce(&[u8]) -> Option<Document>) -> Option<&Document> {
        let read = || {
            let document = parse(&self.stored.payload);
            if document.is_none() {
                tracing::error!(kind = &*self.stored.kind, "a stored resource cannot be read");
            }
            document
        };
        self.document.get_or_init(read).as_ref()
    }

    /// What was stored, without what was read of it.
    fn leave(self, memory: &mut json::Memory) -> Stored {
        if let Some(document) = self.document.into_inner().flatten() {
            *memory = document.into();
        }
        self.stored
    }

    fn gist(&self) -> Option<Gist<'_>> {
        self.stored.gist.as_deref().and_then(Gist::read)
    }

    /// Whether it is what a query asks for.
    fn matches(&self, query: &Query, memory: &mut json::Memory) -> bool {
        let settled = self.gist().filter(|_| *query.kind == *self.stored.kind).and_then(|gist| {
            let (person, (code, category)) = (gist.person(), gist.codes()?);
            let (effective_ms, updated_ms) = (gist.found_ms, self.stored.updated_ms);
            query.settled(&Known { person: &person, code: &code, category: &category, effective_ms, updated_ms })
        });
        settled.unwrap_or_else(|| self.root_in(memory).is_some_and(|root| query.matches(root, self.stored.updated_ms)))
    }
}

/// What is known of a person while a request is answered.
#[derive(Default)]
struct Person {
    page: Page,
    precedents: Precedents,
}

/// What one request has found out of the persons whom it asks for, and what it would otherwise make anew for each
/// resource. It belongs to one caller.
#[derive(Default)]
pub(super) struct ConsentsSeen {
    /// Asked of the store after the request came in, once a person.
    persons: HashMap<PatientKey, Person>,
    /// The person of the last resource: her id, and the references that she answers to.
    person: (String, [String; 2]),
    /// How the gist of the last resource names her.
    whose: Vec<u8>,
    actor: Option<Actor>,
    memory: json::Memory,
}

impl ConsentsSeen {
    fn actor(&mut self, caller: &Caller<'_>) -> &Actor {
        self.actor.get_or_insert_with(|| consents::actor(caller))
    }

    fn forget(&mut self, patient: PatientKey) {
        self.persons.remove(&patient);
    }
}

impl Gateway {
    /// Why the caller may see nothing of a person, whatever it is; nothing where it may see something.
    pub(super) async fn withheld_from(
        &self,
        caller: &Caller<'_>,
        (id, patient): (&str, PatientKey),
        seen: &mut ConsentsSeen,
    ) -> Result<Option<Denial>, store::Error> {
        self.look_up(patient, seen).await?;
        seen.actor(caller);
        let (Some(person), Some(actor)) = (seen.persons.get(&patient), &seen.actor) else { return Ok(None) };
        Ok(self.nothing_of(caller, (id, &person.page), actor))
    }

    fn nothing_of(&self, caller: &Caller<'_>, (id, page): (&str, &Page), actor: &Actor) -> Option<Denial> {
        if page.restricted {
            return Some(Denial::restricted());
        }
        let now_ms = self.now_ms();
        let request =
            consent::Request { action: Action::Access, actor, purpose: caller.purpose, policies: &[], now_ms };
        let patients = consents::names(&self.base, id);
        consents::nothing_at_all(&page.consents, &self.implied, &request, &patients)
    }

    /// Takes a person's consents as they were last seen, if something of her may be seen by them: the epoch that the store
    /// is then to confirm.
    pub(super) fn presume(
        &self,
        caller: &Caller<'_>,
        (id, patient): (&str, PatientKey),
        seen: &mut ConsentsSeen,
    ) -> Option<u64> {
        if seen.persons.contains_key(&patient) {
            // The store has said so already.
            return None;
        }
        let page = self.consents_kept(patient)?;
        if self.nothing_of(caller, (id, &page), seen.actor(caller)).is_some() {
            return None;
        }
        let epoch = page.epoch;
        seen.persons.insert(patient, Person { page, ..Person::default() });
        Some(epoch)
    }

    /// A stored resource, if the caller may read it as it stands.
    pub(super) async fn seen(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        stored: Stored,
    ) -> Result<Option<Stored>, Refusal> {
        let mut pages = ConsentsSeen::default();
        let sight = self.visible(caller, rule, Interaction::Read, stored, self.now_ms(), &mut pages).await?;
        Ok(match sight {
            Sight::Visible(visible) => Some(visible.content.stored),
            Sight::Withheld(_) | Sight::Hidden => None,
        })
    }

    /// Sees to it that a person's consents are known.
    async fn look_up(&self, patient: PatientKey, seen: &mut ConsentsSeen) -> Result<(), store::Error> {
        if let Entry::Vacant(place) = seen.persons.entry(patient) {
            place.insert(Person { page: self.consents_now(patient).await?, ..Person::default() });
        }
        Ok(())
    }

    /// Whether the caller may see a stored resource.
    pub(super) async fn visible(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        interaction: Interaction,
        stored: Stored,
        now_ms: i64,
        seen: &mut ConsentsSeen,
    ) -> Result<Sight, store::Error> {
        if let (Some(patient), false) = (stored.patient, is_own(caller, rule, &stored)) {
            self.look_up(patient, seen).await?;
        }
        Ok(self.weighed(caller, rule, interaction, stored, now_ms, seen))
    }

    /// The same, when the consents are known.
    fn weighed(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        interaction: Interaction,
        stored: Stored,
        now_ms: i64,
        seen: &mut ConsentsSeen,
    ) -> Sight {
        let content = Content::of(stored);
        let scopes = caller.principal.scopes.permits(rule.name, interaction);
        if !allows(&scopes, &content, &mut seen.memory) {
            return Sight::Hidden;
        }
        if is_own(caller, rule, &content.stored) {
            return Sight::Visible(Visible { content, basis: None });
        }
        seen.actor(caller);
        let ConsentsSeen { persons, person, whose, actor: Some(actor), memory } = seen else { return Sight::Hidden };
        let known = content.stored.patient.and_then(|patient| Some((patient, persons.get_mut(&patient)?)));
        let Some((patient, Person { page, precedents })) = known else { return Sight::Hidden };
        if !is_known(rule, &content, whose) {
            let Some(id) = named(rule, &content, memory) else { return Sight::Hidden };
            if person.0 != id {
                *person = (id.to_string(), consents::names(&self.base, &id));
            }
        }
        let (id, patients) = &*person;
        let withheld = |content, denial| Sight::Withheld(Withheld { content, patient: (id.clone(), patient), denial });
        if page.restricted {
            return withheld(content, Denial::restricted());
        }
        let request =
            consent::Request { action: Action::Access, actor, purpose: caller.purpose, policies: &[], now_ms };
        let by_gist = content.gist().and_then(|gist| {
            let id = || content.stored.logical_id();
            let glimpsed = Glimpsed { kind: &content.stored.kind, gist: &gist, patients, id: &id };
            consents::permit_by_gist(page, precedents, &self.implied, &request, &glimpsed, ()).ok()
        });
        let decision = if let Some(decision) = by_gist {
            decision
        } else {
            let Some(root) = content.root_in(memory) else { return Sight::Hidden };
            let facts = Facts::of(content.stored.kind.clone(), root);
            let reference = [rule.name, "/", &content.stored.logical_id()].concat();
            let subject = Subject { patients, reference: &reference, facts: &facts };
            consents::permit(&page.consents, &self.implied, &request, &subject, ())
        };
        match decision {
            Ok(permitted) => Sight::Visible(Visible { basis: Some(permitted.basis().clone()), content }),
            Err(denial) => withheld(content, denial),
        }
    }
}

/// Whether scopes reach it, which may be narrowed to categories or codes.
fn allows(scopes: &Grant, content: &Content, memory: &mut json::Memory) -> bool {
    match scopes {
        Grant::None => false,
        Grant::All => true,
        Grant::Where(_) => {
            let kind = content.stored.kind.clone();
            let facts = match content.gist().and_then(|gist| gist.said_alike()) {
                Some(said) => Some(Facts::from(kind, said)),
                None => content.root_in(memory).map(|root| Facts::of(kind, root)),
            };
            facts.is_some_and(|facts| scopes.allows(facts.categories(), facts.codes()))
        }
    }
}

/// Whether its gist names the person that the last one named.
fn is_known(rule: &KindRule, content: &Content, whose: &mut Vec<u8>) -> bool {
    let gist = content.gist().filter(|_| rule.subject != kinds::Subject::Itself);
    let same = gist.is_some_and(|gist| gist.whose() == whose.as_slice());
    if !same {
        whose.clear();
        whose.extend_from_slice(gist.map_or(&[], |gist| gist.whose()));
    }
    same
}

/// Id of the patient that it is of; nothing where it cannot be read.
fn named<'c>(rule: &KindRule, content: &'c Content, memory: &mut json::Memory) -> Option<Cow<'c, str>> {
    if rule.subject == kinds::Subject::Itself {
        return Some(content.stored.logical_id().into());
    }
    if let Some(gist) = content.gist() {
        return Some(said::patient(&gist.person()).to_owned().into());
    }
    content.root_in(memory).map(|root| said::patient_named(root).into())
}

/// Whether it is the caller's by its having registered it, so that no consent is asked.
fn is_own(caller: &Caller<'_>, rule: &KindRule, stored: &Stored) -> bool {
    rule.guard == Guard::Owner && stored.owner == caller.principal.client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::gist;
    use crate::fhir::definitions::Registry;
    use crate::store::ResId;

    fn content(text: &str, updated_ms: i64) -> Content {
        Content::of(Stored {
            kind: "Observation".into(),
            id: ResId([0; 16]),
            name: None,
            seq: 1,
            version: 1,
            updated_ms,
            deleted: false,
            patient: None,
            owner: "app".into(),
            date: None,
            content: [0; 16],
            payload: text.as_bytes().to_vec(),
            gist: gist::of("Observation", text.as_bytes()),
        })
    }

    /// A query on nothing but what a gist tells is decided by it; any is decided as by the resource.
    #[test]
    fn what_a_gist_settles_is_what_the_resource_says() {
        const BASE: &str = "https://gateway.example/fhir";
        let code = r#""code":{"coding":[{"system":"http://loinc.org","code":"8867-4"},{"code":"x"}]}"#;
        let category = r#""category":[{"coding":[{"system":"urn:c","code":"vital-signs"}]}]"#;
        let texts = [
            format!(r#"{{"resourceType":"Observation",{code},{category},"subject":{{"reference":"Patient/1"}},"effectiveDateTime":"2026-01-02"}}"#),
            format!(r#"{{"resourceType":"Observation",{code},"subject":{{"reference":"{BASE}/Patient/1"}},"effectivePeriod":{{"start":"2026-01-02"}}}}"#),
            format!(r#"{{"resourceType":"Observation",{category},"subject":{{"reference":"Patient/2"}},"effectiveInstant":"2026-01-03T00:00:00Z"}}"#),
            r#"{"resourceType":"Observation","subject":{"identifier":{"value":"1"}},"effectiveTiming":{"event":["2026-01-02","2026-01-04"]}}"#.to_owned(),
        ];
        let settled = [
            "patient=1",
            "subject=Patient/1",
            "patient=1&code=8867-4",
            "patient=1&code=http://loinc.org|8867-4&date=ge2026-01-02",
            "patient=1&date=lt2026-01-03&_lastUpdated=ge2026",
            "patient=1&category=vital-signs",
            "patient=1&code:not=29463-7",
            "patient=1,2&category=urn:c|vital-signs,urn:c|activity&date=2026-01-02",
            "_lastUpdated=lt2020",
        ];
        let open = [
            "status=final",
            "patient=1&value-quantity=gt3",
            "patient.birthdate=2000",
            "code:text=heart",
            "code=|x",
            "date:missing=true",
        ];
        let registry = Registry::core();
        let mut by_gist = 0;
        for asked in settled.iter().chain(&open) {
            let pairs: Vec<(String, String)> = url::form_urlencoded::parse(asked.as_bytes()).into_owned().collect();
            let (mut query, _) = Query::parse("Observation", &pairs, &registry, false);
            query.base = Some(BASE.to_owned());
            for (place, text) in texts.iter().enumerate() {
                let (mut memory, updated_ms) = (json::Memory::default(), 1_780_000_000_000);
                let (told, read) = (content(text, updated_ms), content(text, updated_ms));
                let expected = query.matches(read.root().unwrap(), updated_ms);
                assert_eq!(told.matches(&query, &mut memory), expected, "{asked} {text}");
                let unread = told.document.get().is_none();
                by_gist += usize::from(unread);
                let whole = place < 3 && settled.contains(asked);
                assert!(unread || !whole, "{asked} {text}");
            }
        }
        assert!(by_gist >= settled.len() * 3);
    }
}
