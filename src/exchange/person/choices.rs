//! Who may have what: the person's consents as switches, a party and a category of measures each.
//!
//! What a switch shows is what the engine decides, by all consents of the person. What it writes is one Consent of the page's
//! own: a rule that denies wins over every other consent, and a rule that permits is added only where none permits yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::{Person, Visitor};
use crate::exchange::consents::{self, Subject};
use crate::exchange::facts::Facts;
use crate::exchange::links::Connection;
use crate::exchange::push::{Kept, When, identified};
use crate::exchange::{Gateway, Refusal};
use crate::fhir::ours::CATEGORY_SYSTEM;
use crate::fhir::tree::time::instant;
use crate::fhir::tree::{Document, Element, json as tree};
use crate::fhir::validate::measures;
use crate::fhir::validate::measures::category::{self, Category};
use crate::policy::access::client::Client;
use crate::policy::consent::{self, Action, Actor, Compiled, Manner, Status};
use crate::store::Stored;

/// By which the page knows its own Consent again.
const PAGE_SYSTEM: &str = "https://mhealth-gateway.org/fhir/sid/person-page";
/// By which it knows the Consent that it rejected in the person's name, when she withdrew everything.
const REFUSAL_SYSTEM: &str = "https://mhealth-gateway.org/fhir/sid/person-page-refusal";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ACTIONS: &str = "http://terminology.hl7.org/CodeSystem/consentaction";

/// What somebody does with the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartyKind {
    /// A client that sends and reads.
    App,
    /// A system that the gateway delivers to.
    Destination,
    /// Named by a consent, and not known here.
    Other,
    /// Named by no consent, and permitted by what holds where nothing was said.
    Entitled,
}

/// Somebody who may have data or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Party {
    pub kind: PartyKind,
    pub name: String,
    /// The reference by which consents name it.
    pub actor: String,
    purpose: String,
    /// What is special about it, where the gateway delivers to it.
    pub receives: Option<Receives>,
}

/// How somebody receives what the gateway delivers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receives {
    /// Whether it knows the person by a name of its own alone.
    pub pseudonym: bool,
    /// How it is told what it may hold no longer, if it is.
    pub told: Option<Manner>,
    /// When it was last told so.
    pub told_last: Option<String>,
    /// How the person stands with it, where it wants her to sign in there.
    pub connection: Option<Connection>,
}

/// Whether a party may have a category now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    On,
    Off,
    /// Some of it: a part of what it does, or of what the category holds.
    Part,
}

/// A switch.
#[derive(Clone, Debug)]
pub struct Choice {
    pub category: &'static Category,
    pub state: State,
    /// Categories that it makes no sense without.
    pub needs: Vec<String>,
}

/// The switches of a party.
#[derive(Clone, Debug)]
pub struct Choices {
    pub party: Party,
    pub choices: Vec<Choice>,
}

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    AsWished,
    /// Another consent refuses it, which this page does not change.
    RefusedElsewhere,
}

/// An Observation of each measure, by category: what a decision is tried on.
static EXAMPLES: LazyLock<BTreeMap<&'static str, Vec<Document>>> = LazyLock::new(|| {
    let mut examples: BTreeMap<&'static str, Vec<Document>> = BTreeMap::new();
    for measure in measures::all() {
        let Some(code) = measure.codes.first() else { continue };
        let example = json!({
            "resourceType": "Observation", "code": {"coding": [{"system": code.system, "code": code.code}]},
        });
        if let Ok(document) = tree::parse(example.to_string()) {
            examples.entry(measure.category).or_default().push(document);
        }
    }
    examples
});

type Consents = [Arc<Compiled>];

impl Gateway {
    /// Whether the person wants nothing done with what is hers, whatever the switches say.
    pub async fn is_restricted(&self, person: &Person) -> Result<bool, Refusal> {
        Ok(self.consents_now(person.key).await?.restricted)
    }

    /// Every switch of a person: of the apps, the destinations, and whoever else a consent names.
    pub async fn choices(&self, person: &Person) -> Result<Vec<Choices>, Refusal> {
        let page = self.consents_now(person.key).await?;
        let (_, stored) = self.store.consents(person.key).await?;
        let parties = self.parties(person, &stored).await?;
        let choices = parties.into_iter().map(|party| {
            let states = category::all().iter().map(|category| {
                let state = self.state(person, &page.consents, &party, &category.code);
                Choice { category, state, needs: self.coupled.needs(&category.code).to_vec() }
            });
            Choices { choices: states.collect(), party }
        });
        Ok(choices.collect())
    }

    /// Turns a switch.
    pub async fn choose(
        &self,
        person: &Person,
        visitor: Visitor<'_>,
        actor: &str,
        category: &str,
        on: bool,
    ) -> Result<Made, Refusal> {
        let (_, stored) = self.store.consents(person.key).await?;
        let parties = self.parties(person, &stored).await?;
        let party = parties.into_iter().find(|party| party.actor == actor).ok_or_else(Refusal::not_found)?;
        if !EXAMPLES.contains_key(category) {
            return Err(Refusal::not_found());
        }
        let own = stored.iter().find(|stored| is_own(stored, person, PAGE_SYSTEM));
        let others: Vec<&Stored> = stored.iter().filter(|stored| !is_own(stored, person, PAGE_SYSTEM)).collect();
        let mut rules = own.map(Rules::read).unwrap_or_default();
        let wished = if on { State::On } else { State::Off };
        let state = |rules: &Rules, category| self.state(person, &with(&others, rules, self, person), &party, category);
        let mut made = Made::AsWished;
        // What makes no sense without another goes with it.
        for category in self.coupled.switched(category, on) {
            rules.forget(actor, category);
            if state(&rules, category) != wished {
                rules.set(&party, category, on);
            }
            if state(&rules, category) != wished {
                made = Made::RefusedElsewhere;
            }
        }
        self.write(person, visitor, own, rules.consent(self, person, PAGE_SYSTEM, Status::Active)).await?;
        Ok(made)
    }

    /// Withdraws every consent that is not withdrawn yet; how many there were. A refusal is left standing, so that nothing
    /// is implied by the silence that follows. It comes first: at no moment may more be permitted than before.
    pub async fn withdraw_all(&self, person: &Person, visitor: Visitor<'_>) -> Result<usize, Refusal> {
        let (_, stored) = self.store.consents(person.key).await?;
        let caller = person.caller(visitor);
        let refusal = stored.iter().find(|stored| is_own(stored, person, REFUSAL_SYSTEM));
        if !refusal.is_some_and(|stored| consents::compiled(stored).status() == Status::Rejected) {
            let rejected = Rules::default().consent(self, person, REFUSAL_SYSTEM, Status::Rejected);
            self.write(person, visitor, refusal, rejected).await?;
        }
        let mut count = 0;
        for consent in stored.iter().filter(|consent| consent.owner == person.principal.client) {
            let kept: Kept = self.revoke(&caller, &consent.logical_id()).await?;
            count += usize::from(kept.fresh);
        }
        Ok(count)
    }

    fn state(&self, person: &Person, consents: &Consents, party: &Party, category: &str) -> State {
        let actor = Actor::reference(&party.actor);
        let actions: &[Action] = match party.kind {
            PartyKind::App => &[Action::Collect, Action::Access],
            PartyKind::Destination => &[Action::Disclose],
            PartyKind::Other => &[Action::Collect, Action::Access, Action::Disclose],
            PartyKind::Entitled => &[Action::Access],
        };
        let examples = EXAMPLES.get(category).map(Vec::as_slice).unwrap_or_default();
        let mut permitted = Vec::new();
        let patients = consents::names(&self.base, &person.patient);
        for example in examples {
            let facts = Facts::of(Arc::from("Observation"), Element::root(example));
            let reference = "Observation/example";
            let subject = Subject { patients: &patients, reference, facts: &facts };
            for action in actions {
                let request = consent::Request {
                    action: *action,
                    actor: &actor,
                    purpose: &party.purpose,
                    policies: &[],
                    now_ms: self.now_ms(),
                };
                permitted.push(consents::permit(consents, &self.implied, &request, &subject, ()).is_ok());
            }
        }
        match (permitted.contains(&true), permitted.contains(&false)) {
            (true, false) => State::On,
            (true, true) => State::Part,
            _ => State::Off,
        }
    }

    /// The app that opened the page, the destinations, and whoever else is named.
    async fn parties(&self, person: &Person, stored: &[Stored]) -> Result<Vec<Party>, Refusal> {
        let of_client = |client: &Client| Party {
            kind: PartyKind::App,
            name: client.name.clone(),
            actor: client.actor.clone(),
            purpose: client.purposes.first().cloned().unwrap_or_default(),
            receives: None,
        };
        let mut parties = vec![of_client(&person.client)];
        for recipient in &self.recipients.all {
            let receives = Receives {
                pseudonym: recipient.pseudonym,
                told: recipient.on_withdrawal,
                told_last: self.told_last(&recipient.name, person.key).await?,
                connection: self.connection(&recipient.name, person.key).await?,
            };
            parties.push(Party {
                kind: PartyKind::Destination,
                name: recipient.name.to_string(),
                actor: recipient.actor.clone(),
                purpose: recipient.purpose.clone(),
                receives: Some(receives),
            });
        }
        let mut named = BTreeSet::new();
        for consent in stored {
            let Ok(document) = tree::parse(consent.payload.as_slice()) else { continue };
            if let Some(provision) = Element::root(&document).get("provision") {
                actors(provision, &mut named);
            }
        }
        named.retain(|actor| parties.iter().all(|party| party.actor != *actor) && *actor != *person.principal.actor);
        let clients = self.store.clients().await?;
        let clients: Vec<Client> = clients.iter().filter_map(|(_, body)| Client::parse(body).ok()).collect();
        for actor in named {
            let other = || Party {
                kind: PartyKind::Other,
                name: actor.clone(),
                actor: actor.clone(),
                purpose: "TREAT".to_owned(),
                receives: None,
            };
            parties.push(clients.iter().find(|client| client.actor == actor).map_or_else(other, of_client));
        }
        self.add_entitled(&mut parties, &clients);
        Ok(parties)
    }

    /// Adds whom nobody has named, and a policy permits as long as nothing is said.
    fn add_entitled(&self, parties: &mut Vec<Party>, clients: &[Client]) {
        let everybody = clients.iter().filter(|client| !client.suspended).map(|client| client.actor.as_str());
        for actor in self.implied.with_roles().chain(everybody) {
            let Some(purpose) = self.implied.entitled(actor) else { continue };
            if parties.iter().any(|party| party.actor == actor) {
                continue;
            }
            let name = clients.iter().find(|client| client.actor == actor).map_or(actor, |client| &client.name);
            parties.push(Party {
                kind: PartyKind::Entitled,
                name: name.to_owned(),
                actor: actor.to_owned(),
                purpose: purpose.to_owned(),
                receives: None,
            });
        }
    }

    /// Writes a Consent of the page's.
    async fn write(
        &self,
        person: &Person,
        visitor: Visitor<'_>,
        own: Option<&Stored>,
        mut consent: Value,
    ) -> Result<(), Refusal> {
        let caller = person.caller(visitor);
        let Some(own) = own else {
            let document = tree::parse(consent.to_string())?;
            return self.create(&caller, "Consent", document, None, None).await.map(drop);
        };
        let id = own.logical_id();
        consent["id"] = id.clone().into();
        let when = When { version: Some(own.version), ..When::default() };
        self.update(&caller, "Consent", &id, tree::parse(consent.to_string())?, when).await.map(drop)
    }
}

/// Whether it is one of the page's own; of what is damaged the id tells by which identifier it was created.
fn is_own(stored: &Stored, person: &Person, system: &str) -> bool {
    if stored.is_unread() {
        let client = &person.principal.client;
        return stored.id.tail() == identified(client, "Consent", Some(person.key), 0, system, &person.patient).tail();
    }
    tree::parse(stored.payload.as_slice()).is_ok_and(|document| {
        let mut identifiers = Element::root(&document).all("identifier");
        identifiers.any(|identifier| identifier.text_of("system") == Some(system))
    })
}

/// The others' consents, and the page's as it would be with those rules.
fn with(others: &[&Stored], rules: &Rules, gateway: &Gateway, person: &Person) -> Vec<Arc<Compiled>> {
    let mut compiled: Vec<Arc<Compiled>> = others.iter().map(|stored| Arc::new(consents::compiled(stored))).collect();
    if let Ok(document) = tree::parse(rules.consent(gateway, person, PAGE_SYSTEM, Status::Active).to_string()) {
        compiled.push(Arc::new(consent::compile(Element::root(&document), 1).0));
    }
    compiled
}

/// Every actor that a rule names.
fn actors(provision: Element<'_>, named: &mut BTreeSet<String>) {
    let references = provision.all("actor").filter_map(|actor| actor.get("reference"));
    named.extend(references.filter_map(|reference| reference.text_of("reference")).map(str::to_owned));
    for nested in provision.all("provision") {
        actors(nested, named);
    }
}

/// What the page's own Consent says: categories by actor, permitted and denied.
#[derive(Default)]
struct Rules {
    permits: BTreeMap<String, Rule>,
    denies: BTreeMap<String, Rule>,
}

#[derive(Default)]
struct Rule {
    purpose: Option<String>,
    categories: BTreeSet<String>,
}

impl Rules {
    fn read(stored: &Stored) -> Self {
        let mut rules = Rules::default();
        let Ok(document) = tree::parse(stored.payload.as_slice()) else { return rules };
        let root = Element::root(&document);
        // What was withdrawn says nothing more.
        if root.text_of("status") != Some("active") {
            return rules;
        }
        for provision in root.get("provision").into_iter().flat_map(|provision| provision.all("provision")) {
            let mut named = BTreeSet::new();
            actors(provision, &mut named);
            let list = if provision.text_of("type") == Some("deny") { &mut rules.denies } else { &mut rules.permits };
            for actor in named {
                let rule = list.entry(actor).or_default();
                rule.purpose = provision.get("purpose").and_then(|purpose| purpose.text_of("code")).map(str::to_owned);
                let codings = provision.all("code").filter_map(|concept| concept.get("coding"));
                rule.categories.extend(codings.filter_map(|coding| coding.text_of("code")).map(str::to_owned));
            }
        }
        rules
    }

    fn forget(&mut self, actor: &str, category: &str) {
        for list in [&mut self.permits, &mut self.denies] {
            if let Some(rule) = list.get_mut(actor) {
                rule.categories.remove(category);
            }
            list.retain(|_, rule| !rule.categories.is_empty());
        }
    }

    fn set(&mut self, party: &Party, category: &str, permit: bool) {
        let list = if permit { &mut self.permits } else { &mut self.denies };
        let rule = list.entry(party.actor.clone()).or_default();
        // What is refused is refused for every purpose.
        rule.purpose = permit.then(|| party.purpose.clone());
        rule.categories.insert(category.to_owned());
    }

    fn consent(&self, gateway: &Gateway, person: &Person, system: &str, status: Status) -> Value {
        let permits = self.permits.iter().map(|(actor, rule)| rule.provision("permit", actor));
        let denies = self.denies.iter().map(|(actor, rule)| rule.provision("deny", actor));
        let provisions: Vec<Value> = permits.chain(denies).collect();
        let mut consent = json!({
            "resourceType": "Consent",
            "identifier": [{"system": system, "value": person.patient}],
            "status": status.code(),
            "scope": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"
            }]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": format!("Patient/{}", person.patient)},
            "dateTime": instant(gateway.now_ms()),
            "performer": [{"reference": format!("Patient/{}", person.patient)}],
            "policyRule": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"
            }]},
        });
        // A root that says it denies, and permits nothing below, would refuse everything; OPTIN alone only leaves open.
        if !provisions.is_empty() {
            consent["provision"] = json!({"provision": provisions});
        }
        consent
    }
}

impl Rule {
    fn provision(&self, kind: &str, actor: &str) -> Value {
        let concept = |system: &str, code: &str| json!({"coding": [{"system": system, "code": code}]});
        let codes: Vec<Value> = self.categories.iter().map(|category| concept(CATEGORY_SYSTEM, category)).collect();
        let mut provision = json!({
            "type": kind,
            "actor": [{"role": concept(PARTICIPATION, "IRCP"), "reference": {"reference": actor}}],
            "action": [concept(ACTIONS, "collect"), concept(ACTIONS, "access"), concept(ACTIONS, "disclose")],
            "code": codes,
        });
        if let Some(purpose) = &self.purpose {
            provision["purpose"] =
                json!([{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": purpose}]);
        }
        provision
    }
}
