//! What is asked of a destination before a measurement can be told there: where the request of a care plan stands that it
//! answers, or by which address the destination knows the person.
//!
//! An inquiry asks one question after the other, each with what was found so far, and no question that the measurement
//! answers itself. Who asks, what an answer costs and how long it is kept is not known here.

use std::fmt;

use super::message::{Item, Message};
use super::pack::Pack;
use super::render::Scope;
use super::slot::{Names, Slot};
use super::template::Node;
use super::{NotDeliverable, file};
use crate::fhir::fhirpath::{Collection, Expression, Value};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element};
use crate::fhir::validate::Validator;

/// Longest text that is taken out of an answer.
const TEXT_BYTES: usize = 1024;

/// What a pack asks, in this order.
#[derive(Debug)]
pub struct Lookup {
    /// How long an answer holds, and how long that there was nothing.
    pub keep_ms: i64,
    pub keep_none_ms: i64,
    pub(super) none: String,
    pub(super) asks: Vec<Ask>,
}

#[derive(Debug)]
pub(super) struct Ask {
    pub path: String,
    pub query: Vec<(String, Node)>,
    pub gives: Vec<(Slot, Expression)>,
    pub holds: Option<Expression>,
}

/// A question: below the destination's address for lookups.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    pub path: String,
    pub query: Vec<(String, String)>,
}

/// What was found for one of the things that a measurement becomes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Context {
    found: Vec<(Slot, String)>,
    /// Nobody has asked, so that what the measurement says itself counts before it.
    stands_in: bool,
}

/// What an answer gave; the error is why that is nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given(Result<Context, String>);

impl Context {
    /// Of what was found and of what the measurement says itself, what counts.
    pub(super) fn or<'m>(&'m self, own: Option<&'m str>, slot: Slot) -> Option<&'m str> {
        if self.stands_in { own.or_else(|| self.get(slot)) } else { self.get(slot).or(own) }
    }

    fn get(&self, slot: Slot) -> Option<&str> {
        self.found.iter().find(|(known, _)| *known == slot).map(|(_, text)| text.as_str())
    }
}

impl Default for Given {
    fn default() -> Self {
        Given(Ok(Context::default()))
    }
}

impl Given {
    pub fn is_nothing(&self) -> bool {
        self.0.is_err()
    }
}

impl Lookup {
    fn slots(&self) -> impl Iterator<Item = Slot> {
        self.asks.iter().flat_map(|ask| ask.gives.iter().map(|(slot, _)| *slot))
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ask in &self.asks {
            let names: Vec<&str> = ask.query.iter().map(|(name, _)| name.as_str()).collect();
            let gives: Vec<&str> = ask.gives.iter().map(|(slot, _)| slot.context_name()).collect();
            write!(formatter, "asks {} by {}", ask.path, names.join(", "))?;
            if !gives.is_empty() {
                write!(formatter, " for {}", gives.join(", "))?;
            }
            writeln!(formatter)?;
        }
        writeln!(formatter, "keeps that for {} s", self.keep_ms / 1000)
    }
}

/// What a destination is asked about one of the things that a measurement becomes.
pub struct Inquiry<'m> {
    pack: &'m Pack,
    message: &'m Message<'m>,
    item: Item<'m>,
    step: usize,
    found: Context,
}

impl Pack {
    /// What is to be asked of a measurement; nothing where the pack asks nothing or has no place for it.
    pub fn inquiries<'m>(&'m self, message: &'m Message<'m>, at: usize) -> Vec<Inquiry<'m>> {
        let Some(measured) = message.measured.get(at).filter(|_| self.lookup.is_some()) else { return Vec::new() };
        let mut items = Vec::new();
        self.items(*measured, at, &mut items);
        let inquiry = |item| Inquiry { pack: self, message, item, step: 0, found: Context::default() };
        items.into_iter().map(inquiry).collect()
    }

    /// What stands for an answer until somebody asks.
    pub fn unasked(&self) -> Vec<Context> {
        let stands = |slot: Slot| {
            let text = match slot {
                Slot::Episode => "EpisodeOfCare/looked-up",
                Slot::Plan => "ServiceRequest/looked-up",
                Slot::PersonThere => "Patient/looked-up",
                _ => "looked-up",
            };
            (slot, text.to_owned())
        };
        let context = |lookup: &Lookup| Context { found: lookup.slots().map(stands).collect(), stands_in: true };
        self.lookup.iter().map(context).collect()
    }
}

impl Inquiry<'_> {
    /// What is to be asked next; nothing where all is known. The error is that it cannot be asked.
    pub fn question(&self) -> Result<Option<Question>, NotDeliverable> {
        let Some(lookup) = &self.pack.lookup else { return Ok(None) };
        let items = [Item { context: Some(&self.found), ..self.item }];
        let scope = Scope::of(self.pack, self.message, &items);
        if self.step == 0 && lookup.slots().all(|slot| scope.own_context(slot).is_some()) {
            return Ok(None);
        }
        let Some(ask) = lookup.asks.get(self.step) else { return Ok(None) };
        let mut query = Vec::with_capacity(ask.query.len());
        for (name, node) in &ask.query {
            let mut out = String::new();
            scope.render(node, &mut out).map_err(|gap| self.pack.not_told(gap))?;
            query.push((name.clone(), serde_json::from_str(&out).unwrap_or_default()));
        }
        Ok(Some(Question { path: ask.path.clone(), query }))
    }

    /// What an answer to the question gives.
    pub fn read(&self, validator: &Validator, answer: &Document) -> Given {
        let Some((lookup, ask)) =
            self.pack.lookup.as_ref().and_then(|lookup| Some((lookup, lookup.asks.get(self.step)?)))
        else {
            return Given::default();
        };
        let root = Element::root(answer);
        let nothing = || Given(Err(lookup.none.clone()));
        let holds = |expression: &Expression| {
            validator.evaluate(root, expression, None, |found| {
                found.is_ok_and(|found| matches!(found, Collection::One(Value::Boolean(true))))
            })
        };
        if !ask.holds.as_ref().is_none_or(holds) {
            return nothing();
        }
        let mut given = Context::default();
        for (slot, expression) in &ask.gives {
            let mut texts = validator
                .evaluate(root, expression, None, |found| found.map(|found| texts(&found)).unwrap_or_default());
            texts.dedup();
            match (texts.len(), texts.pop()) {
                (1, Some(text)) if (1..=TEXT_BYTES).contains(&text.len()) => given.found.push((*slot, text)),
                (0 | 1, _) => return nothing(),
                _ => return Given(Err("more than one fits, and which is meant is not known".to_owned())),
            }
        }
        Given(Ok(given))
    }

    /// Goes on with what an answer gave. The error is that the measurement cannot be told.
    pub fn take(&mut self, given: &Given) -> Result<(), NotDeliverable> {
        let told = |why: &str| {
            let text = format!("{}: {why}.", self.pack.title);
            NotDeliverable { id: Id::DestinationContext, text }
        };
        let context = given.0.as_ref().map_err(|why| told(why))?;
        let items = [self.item];
        let scope = Scope::of(self.pack, self.message, &items);
        // What the sender said of it is not replaced by something else.
        let other =
            |(slot, text): &&(Slot, String)| scope.own_context(*slot).is_some_and(|own| name_of(own) != name_of(text));
        if context.found.iter().any(|one| other(&one)) {
            return Err(told("the measurement names another request than the one that was found"));
        }
        self.found.found.extend(context.found.iter().cloned());
        self.step += 1;
        Ok(())
    }

    pub fn found(self) -> Context {
        self.found
    }
}

/// Type and id of what a reference names, wherever it stands.
fn name_of(reference: &str) -> &str {
    let from = reference.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &reference[from..]
}

fn texts(found: &Collection<'_>) -> Vec<String> {
    let text = |value: &Value<'_>| match value {
        Value::Node(node) => node.element.text().map(str::to_owned),
        Value::Text(text) => Some(text.to_string()),
        _ => None,
    };
    match found {
        Collection::Empty => Vec::new(),
        Collection::One(value) => text(value).into_iter().collect(),
        Collection::Many(values) => values.iter().filter_map(text).collect(),
    }
}

/// Compiles what `pack.toml` says of lookups. What is wrong is told with the key that it is about.
pub(super) fn compile(said: file::Lookup, names: Names<'_>, mut wrong: impl FnMut(&str, &str)) -> Lookup {
    if said.ask.is_empty() {
        wrong("lookup.ask", "at least one question is expected");
    }
    for (key, seconds) in [("keep_seconds", said.keep_seconds), ("keep_none_seconds", said.keep_none_seconds)] {
        if seconds > 86_400 {
            wrong(&format!("lookup.{key}"), "it is at most 86400, which is a day");
        }
    }
    let mut known: Vec<Slot> = Vec::new();
    let asks = said.ask.into_iter().enumerate().map(|(index, ask)| {
        let key = format!("lookup.ask.{index}");
        let ask = compiled(ask, names, &known, |below, text| wrong(&format!("{key}.{below}"), text));
        known.extend(ask.gives.iter().map(|(slot, _)| *slot));
        ask
    });
    let asks = asks.collect();
    let ms = |seconds: u32| i64::from(seconds) * 1000;
    Lookup { keep_ms: ms(said.keep_seconds), keep_none_ms: ms(said.keep_none_seconds), none: said.none, asks }
}

/// One question, asked with what the ones before gave.
fn compiled(ask: file::Ask, names: Names<'_>, known: &[Slot], mut wrong: impl FnMut(&str, &str)) -> Ask {
    if !is_below(&ask.path) {
        wrong("path", "it is relative to the address for lookups, without a question mark");
    }
    let unknown = |slot: &Slot| {
        let slot = if *slot == Slot::EpisodeId { Slot::Episode } else { *slot };
        slot.is_context() && !known.contains(&slot)
    };
    let mut query = Vec::new();
    for (name, texts) in &ask.query {
        for (below, text) in texts.each(name) {
            let mut mistakes = Vec::new();
            let node = super::template::filled(text, names, &mut mistakes);
            if node.slots().iter().any(unknown) {
                mistakes.push("it is asked for what only a later answer gives".to_owned());
            }
            for mistake in &mistakes {
                wrong(&format!("query.{below}"), mistake);
            }
            query.push((name.clone(), node));
        }
    }
    let mut path = |key: &str, text: &str| {
        let compiled = crate::fhir::fhirpath::compile(text).ok();
        if compiled.is_none() {
            wrong(key, "expected is FHIRPath on the answer");
        }
        compiled
    };
    let holds = ask.holds.as_deref().and_then(|text| path("holds", text));
    let gives: Vec<(&String, Option<Expression>)> =
        ask.gives.iter().map(|(name, text)| (name, path(&format!("gives.{name}"), text))).collect();
    let slot = |(name, expression): (&String, Option<Expression>)| {
        let slot = super::slot::looked_up(name);
        if slot.is_none() {
            wrong(&format!("gives.{name}"), &format!("nothing is called context.{name}"));
        }
        Some((slot?, expression?))
    };
    let gives = gives.into_iter().filter_map(slot).collect();
    Ask { path: ask.path, query, gives, holds }
}

/// Whether it is a path below an address, and no address of its own.
pub(super) fn is_below(path: &str) -> bool {
    !path.starts_with('/') && !path.contains([' ', '?', '#', ':', '\\']) && !path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json as tree;
    use crate::national::{Measured, Settings, Shelf};

    const EPISODE: &str = "http://hl7.org/fhir/StructureDefinition/workflow-episodeOfCare";

    fn request(id: &str) -> Json {
        json!({
            "fullUrl": format!("https://plan.example/fhir/ServiceRequest/{id}"),
            "resource": {
                "resourceType": "ServiceRequest", "id": id, "meta": {"versionId": "42"}, "status": "active",
                "extension": [{"url": EPISODE, "valueReference": {"reference": "https://plan.example/fhir/EpisodeOfCare/9"}}],
            },
        })
    }

    fn bundle(entry: &[Json]) -> Json {
        json!({"resourceType": "Bundle", "type": "searchset", "entry": entry})
    }

    /// What is asked of a weight in Denmark, and what comes of these answers.
    fn asked(said: &Json, answers: &[Json]) -> (Vec<Question>, Result<Context, String>) {
        let pack = Shelf::default().find("dk-fut").unwrap().clone();
        let settings = Settings::of(&pack, &BTreeMap::from([("persons".to_owned(), "urn:p".to_owned())])).unwrap();
        let mut sent = json!({
            "resourceType": "Observation", "id": "o", "status": "final", "effectiveDateTime": "2026-05-04",
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "valueQuantity": {"value": 71, "system": "http://unitsofmeasure.org", "code": "kg"},
        });
        sent.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        let person = json!({"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:p", "value": "https://p.example/Patient/7"}]});
        let [sent, person] = [sent, person].map(|one| tree::parse(one.to_string()).unwrap());
        let measured = [Measured { observation: Element::root(&sent), device: None, app: None, contexts: &[] }];
        let message =
            Message { measured: &measured, person: Some(Element::root(&person)), settings: &settings, key: &[0; 32] };
        let validator = Validator::new(Registry::core());
        let mut inquiry = pack.inquiries(&message, 0).pop().unwrap();
        let mut questions = Vec::new();
        let mut answers = answers.iter();
        while let Some(question) = inquiry.question().unwrap() {
            questions.push(question);
            let answer = tree::parse(answers.next().unwrap().to_string()).unwrap();
            let given = inquiry.read(&validator, &answer);
            if let Err(told) = inquiry.take(&given) {
                return (questions, Err(told.text));
            }
        }
        (questions, Ok(inquiry.found()))
    }

    #[test]
    fn a_care_plan_is_looked_up_with_as_few_questions_as_it_takes() {
        let active = bundle(&[json!({"resource": {"resourceType": "EpisodeOfCare", "id": "9", "status": "active"}})]);
        let (questions, found) = asked(&json!({}), &[bundle(&[request("1")]), active.clone()]);
        let found = found.unwrap();
        assert_eq!(found.get(Slot::Plan), Some("https://plan.example/fhir/ServiceRequest/1"));
        assert_eq!(found.get(Slot::PlanVersion), Some("42"));
        assert_eq!(found.get(Slot::Episode), Some("https://plan.example/fhir/EpisodeOfCare/9"));
        let said = |at: usize, name: &str| {
            let query: &Vec<(String, String)> = &questions[at].query;
            query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(said(0, "patient"), Some("https://p.example/Patient/7"));
        assert_eq!(said(0, "code"), Some("urn:oid:1.2.208.176.2.1|NPU03804"));
        assert_eq!((questions[1].path.as_str(), said(1, "_id")), ("EpisodeOfCare", Some("9")));
        let own = json!({
            "basedOn": [{"reference": "https://plan.example/fhir/ServiceRequest/1/_history/42"}],
            "extension": [{"url": EPISODE, "valueReference": {"reference": "https://plan.example/fhir/EpisodeOfCare/9"}}],
        });
        assert_eq!(asked(&own, &[]), (Vec::new(), Ok(Context::default())), "what is said is not asked");
        let other = json!({"basedOn": [{"reference": "ServiceRequest/2"}]});
        let none = "no active care plan asks for the measurement";
        for (said, answers, asked_for, why) in [
            (json!({}), vec![bundle(&[])], 1, none),
            (json!({}), vec![json!({"resourceType": "OperationOutcome"})], 1, none),
            (json!({}), vec![bundle(&[request("1")]), bundle(&[])], 2, none),
            (json!({}), vec![bundle(&[request("1"), request("2")])], 1, "more than one fits"),
            (other, vec![bundle(&[request("1")]), active], 1, "names another request"),
        ] {
            let (questions, found) = asked(&said, &answers);
            let found = found.unwrap_err();
            assert!(questions.len() == asked_for && found.contains(why), "{found}");
        }
    }
}
