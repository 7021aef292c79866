//! `GET /persons/[id]/access-log`: who did what with a person's data, when, why and by what right, for the person herself.
//!
//! The audit says it already, as AuditEvents for machines; here each is one line that a person can be shown (GDPR Art. 15(1),
//! EHDS Art. 9): names for ids, categories of measurements for references. What was withheld from the client that reads it is
//! left out, as everywhere.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::standing::Person;
use crate::exchange::facts::Facts;
use crate::exchange::holdings::versioned;
use crate::exchange::pull::page;
use crate::exchange::trail::{Act, Author};
use crate::exchange::{CATEGORY_SYSTEM, Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json as reader};
use crate::policy::access::Interaction;
use crate::policy::audit;
use crate::store::{AuditPlan, Stored};

/// What its paging links are for.
const PURPOSE: &str = "access-log";

/// Resources that one page looks at, to say what categories they are of.
const LOOKED_AT: usize = 2000;

/// Where a page begins, and how long it may be.
#[derive(Serialize, Deserialize)]
struct Place {
    person: String,
    before: Option<u64>,
    count: usize,
}

impl Gateway {
    /// A page of it, newest first.
    pub async fn access_log(
        &self,
        caller: &Caller<'_>,
        person: &str,
        pairs: &[(String, String)],
    ) -> Result<Value, Refusal> {
        let person = self.person_of_client(caller, person, ("AuditEvent", Interaction::Search)).await?;
        let place = self.place(caller, &person, pairs)?;
        let plan = AuditPlan {
            patient: Some(person.key),
            client: None,
            reader: Some(caller.principal.client.to_string()),
            after_seq: place.before,
            limit: place.count,
            descending: true,
        };
        let rows = self.store.audit(plan).await?;
        let full = rows.len() == place.count;
        let (mut lines, mut looked_at, mut last) = (Vec::with_capacity(rows.len()), 0, None);
        let (mut cut, mut damaged) = (false, 0);
        for (seq, payload) in rows {
            let Ok(event) = serde_json::from_slice::<Value>(&payload) else {
                (last, damaged) = (Some(seq), damaged + 1);
                continue;
            };
            let told = Told::of(&event);
            if looked_at > 0 && looked_at + told.resources.len() > LOOKED_AT {
                cut = true;
                break;
            }
            looked_at += told.resources.len();
            last = Some(seq);
            lines.push(self.line(&event, &told, &person, &caller.principal.client).await?);
        }
        let record = Author::of(self, caller).with_query(&format!("persons/{}/access-log", person.id), pairs).record(
            Act::Query,
            Some(&person.named()),
            &[],
            None,
            &[],
        );
        self.store.record_audit(vec![record]).await?;
        let mut value = json!({"person": format!("{}/Patient/{}", self.base, person.id), "entries": lines});
        if damaged > 0 {
            value["damaged"] = damaged.into();
            value["issues"] = json!([Id::AnswerIncomplete.code()]);
        }
        if full || cut {
            let place = Place { person: person.id.clone(), before: last, count: place.count };
            let token = page::sign(&place, PURPOSE, &self.page_secret, &caller.principal.client);
            let root = self.base.trim_end_matches("/fhir");
            value["next"] = format!("{root}/persons/{}/access-log?_page={token}", person.id).into();
        }
        Ok(value)
    }

    fn place(&self, caller: &Caller<'_>, person: &Person, pairs: &[(String, String)]) -> Result<Place, Refusal> {
        let mut place = Place { person: person.id.clone(), before: None, count: self.config.page_entries };
        for (name, value) in pairs {
            match name.as_str() {
                "_count" => {
                    let count = value.parse().ok().filter(|count| *count > 0);
                    let bad = || Refusal::one(Id::SearchValue, "_count", "_count is a number from 1.");
                    place.count = count.ok_or_else(bad)?;
                }
                "_page" => {
                    let unknown = || Refusal::one(Id::PageUnknown, "", "The paging link is not one of this client's.");
                    place = page::verify(value, PURPOSE, &self.page_secret, &caller.principal.client)
                        .filter(|place: &Place| place.person == person.id)
                        .ok_or_else(unknown)?;
                }
                "_format" => {}
                _ => return Err(Refusal::one(Id::SearchParameterUnknown, "", "The parameters are _count and _page.")),
            }
        }
        place.count = place.count.min(self.config.page_entries_max);
        Ok(place)
    }

    /// One event as a person reads it.
    async fn line(&self, event: &Value, told: &Told<'_>, person: &Person, own: &str) -> Result<Value, Refusal> {
        let party = &event["agent"][0];
        let id = party["who"]["identifier"]["value"].as_str();
        let act = act(event);
        let mut who = json!({"id": id, "reference": party["who"]["reference"]});
        // What a client fetches for itself is an operation of its own.
        // A destination is where it is reached, a client where it came from; some are both, by one name.
        let withheld = act == "refuse" && party["network"]["type"] == "5";
        let to_destination =
            act == "look-up" || withheld || matches!(act, "disclose" | "recall") && told.operation().is_none();
        who["kind"] = if to_destination { "destination" } else { "client" }.into();
        if let Some(id) = id.filter(|_| !to_destination)
            && let Some(client) = self.client(id).await?
        {
            who["name"] = client.name.clone().into();
        }
        let versions = told.resources.iter().filter_map(|reference| versioned(reference)).collect();
        // Of what is damaged nobody can say any more to which categories it belongs.
        let found = self.store.versions(versions).await?.rows;
        let id_of_event = event["id"].as_str().unwrap_or_default();
        let proof = format!("{}/AuditEvent/{id_of_event}/$proof?patient={}", self.base, person.id);
        let operation = told.operation().filter(|_| act != "look-up");
        let mut line = json!({
            "when": event["recorded"],
            "act": act,
            "operation": operation,
            "done": event["outcome"] == "0",
            "who": who,
            "from": party["network"]["address"],
            "purpose": event["purposeOfEvent"][0]["coding"][0]["code"],
            "basis": basis(event, told, id == Some(own)),
            "categories": categories(&found),
            "resources": told.resources,
            "request": told.request,
            "record": format!("AuditEvent/{id_of_event}"),
            "proof": proof,
        });
        if told.pseudonym {
            line["pseudonym"] = true.into();
        }
        if let Some(issues) = event["outcomeDesc"].as_str() {
            line["issues"] = issues.split(' ').collect();
        }
        if let Some(line) = line.as_object_mut() {
            line.retain(|_, member| !member.is_null());
        }
        Ok(line)
    }
}

/// What an event says in its entities.
struct Told<'e> {
    /// What was touched, with versions where it has any.
    resources: Vec<&'e str>,
    consent: Option<&'e str>,
    request: Option<&'e str>,
    /// What was searched for or done, in base64.
    query: Option<&'e str>,
    /// Whether it was told of somebody whose name the receiver does not know.
    pseudonym: bool,
}

impl Told<'_> {
    fn of(event: &Value) -> Told<'_> {
        let mut told = Told { resources: Vec::new(), consent: None, request: None, query: None, pseudonym: false };
        for entity in event["entity"].as_array().into_iter().flatten() {
            let reference = entity["what"]["reference"].as_str();
            told.pseudonym |= entity["securityLabel"][0]["code"] == audit::PSEUDONYM.1;
            match (reference, entity["role"]["code"].as_str(), entity["type"]["code"].as_str()) {
                (_, Some("1"), _) => {}
                (Some(reference), None, Some("Consent")) => told.consent = Some(reference),
                (Some(reference), ..) => told.resources.push(reference),
                (None, _, Some("XrequestId")) => told.request = entity["what"]["identifier"]["value"].as_str(),
                (None, ..) => told.query = entity["query"].as_str().or(told.query),
            }
        }
        told
    }

    /// The name of an operation, if it was one.
    fn operation(&self) -> Option<String> {
        let query = STANDARD.decode(self.query?).ok().and_then(|query| String::from_utf8(query).ok())?;
        let (path, _) = query.split_once('?').unwrap_or((&query, ""));
        path.rsplit('/').next().filter(|last| last.starts_with('$')).map(str::to_owned)
    }
}

/// What was done, in one word.
fn act(event: &Value) -> &str {
    match event["subtype"][0]["code"].as_str() {
        // A destination was asked about her.
        Some("disclose") if event["subtype"][1]["code"] == "search" => "look-up",
        // A destination was told to hold it no longer.
        Some("destroy") => "recall",
        // She opened her page; of other logins no event is about a person.
        Some("110122") => "login",
        Some(code) => code,
        None => "refuse",
    }
}

/// By what right: a consent, a policy of the deployment, or that it is the client which the person uses.
fn basis(event: &Value, told: &Told<'_>, own: bool) -> Value {
    if let Some(consent) = told.consent {
        return json!({"kind": "consent", "reference": consent});
    }
    match event["agent"][0]["policy"][0].as_str() {
        Some(policy) => json!({"kind": "policy", "url": policy}),
        None if own => json!({"kind": "own-client"}),
        None => Value::Null,
    }
}

/// Categories of measurements, as far as what was touched is still here.
fn categories(found: &[Stored]) -> BTreeSet<String> {
    let mut categories = BTreeSet::new();
    for stored in found {
        let Ok(document) = reader::parse(stored.payload.as_slice()) else { continue };
        let facts = Facts::of(stored.kind.clone(), Element::root(&document));
        let own = facts.categories().iter().filter(|(system, _)| *system == CATEGORY_SYSTEM);
        categories.extend(own.map(|(_, code)| (*code).to_owned()));
    }
    categories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_in_few_words() {
        for (event, expected) in [
            (json!({"subtype": [{"code": "search"}]}), "search"),
            (json!({"subtype": [{"code": "disclose"}]}), "disclose"),
            (json!({"subtype": [{"code": "disclose"}, {"code": "search"}]}), "look-up"),
            (json!({"subtype": [{"code": "destroy"}]}), "recall"),
            (json!({"type": {"code": "110114"}, "subtype": [{"code": "110122"}]}), "login"),
            (json!({"type": {"code": "110113"}}), "refuse"),
        ] {
            assert_eq!(act(&event), expected);
        }
    }
}
