//! `Patient/[id]/$restrict` and `$unrestrict`: what is a person's is stored, and nothing else is done with it (GDPR Art. 18).
//!
//! It stands above all consents. What comes in is still kept, as the article wants; nothing measured is shown to anybody and
//! nothing is delivered until the person lifts it, and then what waited goes out, if the consents of that day let it. What
//! the person herself demands (the access log, the export, the erasure) is hers all the same, and so is what her client
//! needs to be of use to her: her registration, consents and devices.

use serde_json::{Value, json};

use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::tree::time;
use crate::policy::access::Interaction;

impl Gateway {
    /// Begins or ends it. To ask for what stands already changes nothing.
    pub async fn restrict(&self, caller: &Caller<'_>, person: &str, on: bool) -> Result<Value, Refusal> {
        let person = self.herself(caller, person, Interaction::Update).await?;
        let name = if on { "$restrict" } else { "$unrestrict" };
        let author = Author::of(self, caller).with_query(&format!("Patient/{}/{name}", person.id), &[]);
        let record = author.record(Act::Operation, Some(&person.named()), &[], None, &[]);
        let stands_since_ms = self.store.restrict(person.key, on, self.now_ms(), record).await?;
        let said = json!({"restricted": stands_since_ms.is_some(), "since": stands_since_ms.map(time::instant)});
        let signed = self.receipt("restriction", &person.id, self.now_ms(), &said)?;
        let mut parameters = vec![json!({"name": "restricted", "valueBoolean": stands_since_ms.is_some()})];
        if let Some(since_ms) = stands_since_ms {
            parameters.push(json!({"name": "since", "valueInstant": time::instant(since_ms)}));
        }
        parameters.push(json!({"name": "receipt", "valueString": signed}));
        Ok(json!({"resourceType": "Parameters", "parameter": parameters}))
    }
}
