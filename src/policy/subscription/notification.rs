//! What is told, as the notification Bundle and the status of Subscriptions R5 Backport (1.1.0) have it for R4.
//!
//! Resources go in as the bytes that are stored. Nothing is decided here: an event without a focus is one of which no
//! more may be said than that it took place.

use serde_json::{Value, json};

use super::{Content, Status};
use crate::fhir::tree::{time, write};

const PROFILES: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";

/// Why it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occasion {
    Handshake,
    Heartbeat,
    Events,
    /// `$status` was asked for.
    StatusQuery,
    /// `$events` was asked for.
    EventsQuery,
}

impl Occasion {
    fn code(self) -> &'static str {
        match self {
            Occasion::Handshake => "handshake",
            Occasion::Heartbeat => "heartbeat",
            Occasion::Events => "event-notification",
            Occasion::StatusQuery => "query-status",
            Occasion::EventsQuery => "query-event",
        }
    }
}

/// A subscription, as far as notifications speak of it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Address of the FHIR service, without a slash at the end.
    pub base: &'a str,
    pub id: &'a str,
    pub topic: &'a str,
    pub status: Status,
    /// Events since it began.
    pub events: u64,
    /// Why it is in error.
    pub error: Option<&'a str>,
    pub content: Content,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub number: u64,
    pub at_ms: i64,
    pub focus: Option<Focus<'a>>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub struct Focus<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    pub version: u32,
    pub deleted: bool,
    /// The resource as it is stored.
    pub payload: &'a [u8],
}

impl Focus<'_> {
    /// The request that would have had this outcome, and its status; of what is told by its id alone, the one by which it
    /// is read.
    fn request(&self, content: Content) -> (&'static str, String, &'static str) {
        let address = format!("{}/{}", self.kind, self.id);
        match (self.deleted, self.version) {
            (true, _) => ("DELETE", address, "204"),
            _ if content != Content::FullResource => ("GET", address, "200"),
            (false, 1) => ("POST", self.kind.to_owned(), "201"),
            (false, _) => ("PUT", address, "200"),
        }
    }
}

/// The status as a resource (`backport-subscription-status-r4`).
pub fn status(about: &About<'_>, occasion: Occasion, events: &[Event<'_>], id: &str) -> Value {
    let About { base, status, .. } = *about;
    let mut parameters = vec![
        json!({"name": "subscription", "valueReference": {"reference": format!("{base}/Subscription/{}", about.id)}}),
    ];
    if about.content != Content::Empty {
        parameters.push(json!({"name": "topic", "valueCanonical": about.topic}));
    }
    parameters.extend([
        json!({"name": "status", "valueCode": status.code()}),
        json!({"name": "type", "valueCode": occasion.code()}),
        json!({"name": "events-since-subscription-start", "valueString": about.events.to_string()}),
    ]);
    for event in events {
        let mut part = vec![
            json!({"name": "event-number", "valueString": event.number.to_string()}),
            json!({"name": "timestamp", "valueInstant": time::instant(event.at_ms)}),
        ];
        if let Some(focus) = event.focus.filter(|_| about.content != Content::Empty) {
            let reference = format!("{base}/{}/{}", focus.kind, focus.id);
            part.push(json!({"name": "focus", "valueReference": {"reference": reference}}));
        }
        parameters.push(json!({"name": "notification-event", "part": part}));
    }
    if let Some(error) = about.error.filter(|_| status == Status::Error) {
        parameters.push(json!({"name": "error", "valueCodeableConcept": {"text": error}}));
    }
    json!({
        "resourceType": "Parameters",
        "id": id,
        "meta": {"profile": [format!("{PROFILES}backport-subscription-status-r4")]},
        "parameter": parameters,
    })
}

/// The notification (`backport-subscription-notification-r4`), written around the stored bytes. `id` is a UUID of the
/// status, which each notification has for itself.
pub fn bundle(about: &About<'_>, occasion: Occasion, events: &[Event<'_>], id: &str, now_ms: i64) -> String {
    let base = about.base;
    let size: usize = events.iter().filter_map(|event| event.focus).map(|focus| focus.payload.len() + 256).sum();
    let mut out = String::with_capacity(1024 + 256 * events.len() + size);
    let head = format!(
        "{{\"resourceType\":\"Bundle\",\"meta\":{{\"profile\":[\"{PROFILES}backport-subscription-notification-r4\"]}},\
         \"type\":\"history\",\"timestamp\":\"{}\",\"entry\":[{{\"fullUrl\":\"urn:uuid:{id}\",\"resource\":",
        time::instant(now_ms)
    );
    out.push_str(&head);
    out.push_str(&status(about, occasion, events, id).to_string());
    end(("GET", format!("{base}/Subscription/{}/$status", about.id), "200"), &mut out);
    if about.content != Content::Empty {
        for focus in latest(events) {
            out.push_str(",{\"fullUrl\":");
            write::string(&format!("{base}/{}/{}", focus.kind, focus.id), &mut out);
            if about.content == Content::FullResource && !focus.deleted {
                out.push_str(",\"resource\":");
                out.push_str(std::str::from_utf8(focus.payload).unwrap_or("{}"));
            }
            end(focus.request(about.content), &mut out);
        }
    }
    out.push_str("]}");
    out
}

/// The resources of the entries. A Bundle tells of each resource and version once.
fn latest<'e>(events: &'e [Event<'e>]) -> impl Iterator<Item = Focus<'e>> {
    let mut seen = std::collections::HashSet::new();
    events
        .iter()
        .filter_map(|event| event.focus)
        .filter(move |focus| seen.insert((focus.kind, focus.id, focus.version)))
}

/// What every entry ends with.
fn end((method, url, status): (&str, String, &str), out: &mut String) {
    out.push_str(&format!(",\"request\":{{\"method\":\"{method}\",\"url\":"));
    write::string(&url, out);
    out.push_str(&format!("}},\"response\":{{\"status\":\"{status}\"}}}}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1b0c1e-58f5-4d0c-9d0e-0c7c1b3a9a11";

    fn about(content: Content) -> About<'static> {
        About {
            base: "https://g.example/fhir",
            id: "s",
            topic: "https://g.example/SubscriptionTopic/t",
            status: Status::Active,
            events: 8,
            error: None,
            content,
        }
    }

    fn focus(version: u32, deleted: bool) -> Focus<'static> {
        Focus {
            kind: "Observation",
            id: "o",
            version,
            deleted,
            payload: b"{\"resourceType\":\"Observation\",\"id\":\"o\"}",
        }
    }

    fn told(content: Content) -> Value {
        let events = [
            Event { number: 6, at_ms: 0, focus: Some(focus(1, false)) },
            Event { number: 7, at_ms: 0, focus: None },
            Event { number: 8, at_ms: 0, focus: Some(focus(2, true)) },
        ];
        serde_json::from_str(&bundle(&about(content), Occasion::Events, &events, ID, 0)).unwrap()
    }

    fn numbers(bundle: &Value) -> Vec<(String, bool)> {
        let parameters = bundle["entry"][0]["resource"]["parameter"].as_array().unwrap();
        let events = parameters.iter().filter(|parameter| parameter["name"] == "notification-event");
        let part = |event: &Value, name: &str| {
            event["part"].as_array().unwrap().iter().find(|part| part["name"] == name).cloned()
        };
        events
            .map(|event| {
                let number = part(event, "event-number").unwrap()["valueString"].as_str().unwrap().to_owned();
                (number, part(event, "focus").is_some())
            })
            .collect()
    }

    #[test]
    fn nothing_is_said_of_a_resource_that_was_not_asked_for() {
        let empty = told(Content::Empty);
        assert_eq!(empty["entry"].as_array().unwrap().len(), 1);
        assert!(!empty.to_string().contains("Observation") && !empty.to_string().contains("SubscriptionTopic"));
        assert_eq!(numbers(&empty), [("6", false), ("7", false), ("8", false)].map(|(n, f)| (n.to_owned(), f)));

        let ids = told(Content::IdOnly);
        assert_eq!(numbers(&ids), [("6", true), ("7", false), ("8", true)].map(|(n, f)| (n.to_owned(), f)));
        assert!(ids["entry"].as_array().unwrap()[1..].iter().all(|entry| entry.get("resource").is_none()));
        assert_eq!(ids["entry"][1]["fullUrl"], "https://g.example/fhir/Observation/o");

        let full = told(Content::FullResource);
        assert_eq!(full["entry"][1]["resource"]["id"], "o");
        assert_eq!(full["entry"][1]["request"], json!({"method": "POST", "url": "Observation"}));
        assert_eq!(full["entry"][2]["request"], json!({"method": "DELETE", "url": "Observation/o"}));
        assert!(full["entry"][2].get("resource").is_none());
    }

    #[test]
    fn the_status_comes_first_and_says_why() {
        let mut about = about(Content::IdOnly);
        about.error = Some("no connection");
        let told = bundle(&about, Occasion::Heartbeat, &[], ID, 0);
        let told: Value = serde_json::from_str(&told).unwrap();
        let first = &told["entry"][0];
        assert_eq!(first["fullUrl"], format!("urn:uuid:{ID}"));
        assert_eq!(first["request"]["url"], "https://g.example/fhir/Subscription/s/$status");
        let value = |status: &Value, name: &str| {
            status["parameter"].as_array().unwrap().iter().find(|each| each["name"] == name).cloned()
        };
        assert_eq!(value(&first["resource"], "type").unwrap()["valueCode"], "heartbeat");
        assert_eq!(value(&first["resource"], "error"), None, "it is not in error");
        about.status = Status::Error;
        let said = status(&about, Occasion::StatusQuery, &[], ID);
        assert_eq!(value(&said, "error").unwrap()["valueCodeableConcept"]["text"], "no connection");
        assert_eq!(value(&said, "type").unwrap()["valueCode"], "query-status");
    }
}
