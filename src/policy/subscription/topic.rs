//! What can be subscribed to, as data. R4 has no resource for a topic, so each is published as a Basic with the elements
//! of R5 in extensions (Subscriptions R5 Backport 1.1.0, "Subscription Topics in R4").

use serde_json::{Value, json};

use crate::fhir::ours::{BASE, VERSION};

/// One topic: resources of a type are created, changed or deleted.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// End of its canonical, and its id as a resource.
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    /// Type of what it is about.
    pub kind: &'static str,
    /// Search parameters by which it can be narrowed.
    pub filters: &'static [(&'static str, &'static str)],
}

const PATIENT: (&str, &str) = ("patient", "The person.");
const SUBJECT: (&str, &str) = ("subject", "The person.");

/// All of them.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: "observation-changed",
        title: "Measurements",
        description: "A measurement is new, is corrected or is deleted.",
        kind: "Observation",
        filters: &[
            PATIENT,
            SUBJECT,
            ("code", "What was measured."),
            ("category", "Kind of measurement, by any category that the Observation names."),
            ("status", "Status of the Observation."),
        ],
    },
    Topic {
        name: "questionnaire-response-changed",
        title: "Answers to questionnaires",
        description: "Answers to a questionnaire are new, are corrected or are deleted.",
        kind: "QuestionnaireResponse",
        filters: &[
            PATIENT,
            SUBJECT,
            ("questionnaire", "The questionnaire that was answered."),
            ("status", "Status of the QuestionnaireResponse."),
        ],
    },
    Topic {
        name: "consent-changed",
        title: "Consents",
        description: "A consent is given, is changed or is withdrawn.",
        kind: "Consent",
        filters: &[PATIENT, ("category", "Kind of consent."), ("status", "Status of the Consent.")],
    },
    Topic {
        name: "device-changed",
        title: "Devices",
        description: "A device is registered, is changed or is removed.",
        kind: "Device",
        filters: &[PATIENT, ("type", "Kind of device.")],
    },
];

/// The topic of a canonical, which may name the version that there is.
pub fn topic(canonical: &str) -> Option<&'static Topic> {
    let (url, version) = canonical.split_once('|').map_or((canonical, None), |(url, version)| (url, Some(version)));
    let name = url.strip_prefix(BASE)?.strip_prefix("/SubscriptionTopic/")?;
    TOPICS.iter().find(|topic| topic.name == name).filter(|_| version.is_none_or(|version| version == VERSION))
}

impl Topic {
    pub fn canonical(&self) -> String {
        format!("{BASE}/SubscriptionTopic/{}", self.name)
    }

    /// The topic as R4 can say it.
    pub fn basic(&self) -> Value {
        let kind = format!("http://hl7.org/fhir/StructureDefinition/{}", self.kind);
        let mut trigger = vec![
            json!({"url": "description", "valueMarkdown": self.description}),
            json!({"url": "resource", "valueUri": kind}),
        ];
        let interactions = ["create", "update", "delete"];
        trigger.extend(interactions.map(|code| json!({"url": "supportedInteraction", "valueCode": code})));
        let mut extensions = vec![
            json!({"url": element("url"), "valueUri": self.canonical()}),
            json!({"url": element("version"), "valueString": VERSION}),
            json!({"url": element("title"), "valueString": self.title}),
            json!({"url": element("description"), "valueMarkdown": self.description}),
            json!({"url": element("resourceTrigger"), "extension": trigger}),
        ];
        extensions.extend(self.filters.iter().map(|(parameter, description)| {
            json!({"url": element("canFilterBy"), "extension": [
                {"url": "description", "valueMarkdown": description},
                {"url": "resource", "valueUri": self.kind},
                {"url": "filterParameter", "valueString": parameter},
            ]})
        }));
        extensions.push(json!({"url": element("notificationShape"), "extension": [
            {"url": "resource", "valueUri": self.kind}
        ]}));
        json!({
            "resourceType": "Basic",
            "id": self.name,
            "extension": extensions,
            "modifierExtension": [{"url": element("status"), "valueCode": "active"}],
            "code": {"coding": [{"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}]},
        })
    }
}

/// The extension that stands for an element of R5.
fn element(name: &str) -> String {
    format!("http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_known_by_its_canonical() {
        for known in TOPICS {
            let canonical = known.canonical();
            assert_eq!(topic(&canonical).map(|topic| topic.name), Some(known.name));
            assert!(topic(&format!("{canonical}|{VERSION}")).is_some());
            assert!(topic(&format!("{canonical}|99.0.0")).is_none());
            assert_eq!(known.basic()["id"], known.name);
        }
        for other in ["", "Observation?code=1", "http://example.org/SubscriptionTopic/observation-changed", BASE] {
            assert!(topic(other).is_none(), "{other}");
        }
    }
}
