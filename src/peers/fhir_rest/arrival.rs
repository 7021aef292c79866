//! The answer of a destination with a country pack, measurement by measurement. Pure.
//!
//! A Bundle answers for each entry of the request, in its order (FHIR R4 §3.1.0.11.3); some put what was created first, so
//! that the types of what was created count for more than places. What a refusal means is said by the pack's own table. Of
//! the destination's words nothing is kept but the names that it gave.

use jiff::Timestamp;
use serde_json::Value;

use super::classify::{acknowledgement, codes, json, refusal, retry, retry_after, status_of};
use super::send::Answer;
use crate::fhir::outcome::Id;
use crate::national::{self, Pack};
use crate::peers::{Arrival, Delivered, Shaped, Verdict};

/// Longest name that is kept.
const NAME_BYTES: usize = 200;

/// What a document is known by.
const DOCUMENT: &str = "DocumentReference";

/// What measurements are.
const OBSERVATION: &str = "Observation";

/// What came of a request that a pack made.
pub(super) fn shaped(answer: &Answer, request: &Shaped, now: Timestamp) -> Delivered {
    let pack = &*request.pack;
    let body = json(&answer.body);
    if !(200..300).contains(&answer.status) {
        let (verdict, divisible) = meant(pack, answer.status, &body, retry_after(answer, now));
        let was_there = verdict == Verdict::Acknowledged;
        let each = if was_there {
            vec![Arrival { existed: true, ..Arrival::of(verdict.clone()) }; request.count]
        } else {
            Vec::new()
        };
        return Delivered { verdict, each, divisible };
    }
    match pack.request.answer {
        national::Answer::Resource => resource(answer, &body, request),
        national::Answer::Entries => entries(answer.status, &body, request),
        national::Answer::Whole => whole(answer.status, &body, request),
    }
}

/// The entries are one document: all of it arrived, or nothing did.
fn whole(status: u16, body: &Value, request: &Shaped) -> Delivered {
    let answered = body["entry"].as_array().map_or(&[][..], Vec::as_slice);
    if body["resourceType"] != "Bundle" || answered.len() != request.entries.len() {
        return Delivered::whole(retry(None, format!("HTTP {status} without an answer for the document")));
    }
    let arrivals: Vec<Arrival> = answered.iter().map(|entry| arrival(&request.pack, entry)).collect();
    let Some(worst) = arrivals.iter().max_by_key(|one| weight(&one.verdict)) else {
        return Delivered::whole(retry(None, format!("HTTP {status} without an answer for the document")));
    };
    let verdict = worst.verdict.clone();
    let names = arrivals.iter().flat_map(|one| &one.names);
    let names: Vec<String> = names.filter(|name| name.split('/').next() == Some(DOCUMENT)).cloned().collect();
    let existed = arrivals.iter().any(|one| one.existed);
    let each = vec![Arrival { verdict: verdict.clone(), names, existed }; request.count];
    Delivered { verdict, each, divisible: true }
}

/// What a question was answered.
pub(super) fn found(answer: Answer, pack: &Pack, now: Timestamp) -> Result<Vec<u8>, Verdict> {
    match answer.status {
        // What is not there is an answer, where FHIR says so.
        200 => Ok(answer.body),
        404 if json(&answer.body)["resourceType"] == "OperationOutcome" => Ok(answer.body),
        status @ 201..300 => Err(retry(None, format!("HTTP {status} without what was asked for"))),
        status => Err(meant(pack, status, &json(&answer.body), retry_after(&answer, now)).0),
    }
}

/// The answer is what was created, or says where it stands.
fn resource(answer: &Answer, body: &Value, request: &Shaped) -> Delivered {
    let verdict = acknowledgement(&answer.body, answer.status);
    if verdict != Verdict::Acknowledged || request.count != 1 {
        return Delivered::whole(verdict);
    }
    let name = answer.location.as_deref().and_then(name_of).or_else(|| own_name(body));
    let arrival =
        Arrival { verdict: verdict.clone(), names: name.into_iter().collect(), existed: answer.status == 200 };
    Delivered { verdict, each: vec![arrival], divisible: false }
}

fn entries(status: u16, body: &Value, request: &Shaped) -> Delivered {
    let answered = body["entry"].as_array().map_or(&[][..], Vec::as_slice);
    if body["resourceType"] != "Bundle" || answered.is_empty() {
        return Delivered::whole(retry(None, format!("HTTP {status} without an answer for the entries")));
    }
    let arrivals: Vec<Arrival> = answered.iter().map(|entry| arrival(&request.pack, entry)).collect();
    let Some(of) = measurements(&arrivals, &request.entries) else {
        // Whose answers these are is not known. A refusal among them may be anybody's, and without one nobody's arrival is
        // told of.
        let strange = retry(None, format!("HTTP {status} with answers for other entries than were sent"));
        let worst = arrivals.into_iter().map(|one| one.verdict).max_by_key(weight);
        return Delivered::whole(worst.filter(|verdict| *verdict != Verdict::Acknowledged).unwrap_or(strange));
    };
    let mut each: Vec<Option<Arrival>> = vec![None; request.count];
    for (arrival, of) in arrivals.into_iter().zip(of) {
        let Some(slot) = of.and_then(|of| each.get_mut(of)) else { continue };
        match slot {
            None => *slot = Some(arrival),
            Some(first) => first.join(arrival),
        }
    }
    let silent = || Arrival::of(retry(None, format!("HTTP {status} without an answer for the measurement")));
    let each: Vec<Arrival> = each.into_iter().map(|one| one.unwrap_or_else(silent)).collect();
    let best = each.iter().map(|one| &one.verdict).min_by_key(|verdict| weight(verdict));
    Delivered { verdict: best.cloned().unwrap_or(Verdict::Acknowledged), each, divisible: true }
}

impl Arrival {
    /// The same with another part of what the measurement became.
    fn join(&mut self, other: Arrival) {
        if weight(&other.verdict) > weight(&self.verdict) {
            self.verdict = other.verdict;
        }
        self.names.extend(other.names);
        self.existed |= other.existed;
    }
}

/// How far a verdict is from an acknowledgement. What may be taken later outweighs what is refused for good: it is tried
/// again, and then it is known.
fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Acknowledged => 0,
        Verdict::Rejected { .. } => 1,
        Verdict::Retry { .. } | Verdict::Unreached { .. } | Verdict::Waits { .. } => 2,
    }
}

/// What one entry says.
fn arrival(pack: &Pack, entry: &Value) -> Arrival {
    let response = &entry["response"];
    let status = status_of(entry);
    if !(200..300).contains(&status) {
        let verdict = meant(pack, status, &response["outcome"], None).0;
        return Arrival { existed: verdict == Verdict::Acknowledged, ..Arrival::of(verdict) };
    }
    let name = response["location"].as_str().and_then(name_of).or_else(|| own_name(&entry["resource"]));
    Arrival { verdict: Verdict::Acknowledged, names: name.into_iter().collect(), existed: status == 200 }
}

/// Which measurement each answer is for; nothing where it cannot be known.
fn measurements(arrivals: &[Arrival], asked: &[Option<usize>]) -> Option<Vec<Option<usize>>> {
    let is_measurement = |one: &Arrival| one.names.first().map(|name| name.split('/').next() == Some(OBSERVATION));
    let in_order = arrivals.len() == asked.len()
        && arrivals.iter().zip(asked).all(|(one, asked)| is_measurement(one).is_none_or(|is| is == asked.is_some()));
    if in_order {
        return Some(asked.to_vec());
    }
    let answered = arrivals.iter().filter(|one| is_measurement(one) == Some(true)).count();
    let mut wanted = asked.iter().flatten();
    (answered == wanted.clone().count()).then(|| {
        arrivals
            .iter()
            .map(|one| if is_measurement(one) == Some(true) { wanted.next().copied() } else { None })
            .collect()
    })
}

/// `Type/id`, wherever it stands and whichever version of it is named.
fn name_of(location: &str) -> Option<String> {
    let current = location.split_once("/_history/").map_or(location, |(current, _)| current);
    let mut segments = current.trim_end_matches('/').rsplit('/');
    let (id, kind) = (segments.next()?, segments.next()?);
    let named = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()) && current.len() <= 8 * NAME_BYTES;
    let known = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    (named && known && kind.len() + id.len() < NAME_BYTES).then(|| format!("{kind}/{id}"))
}

fn own_name(resource: &Value) -> Option<String> {
    let (kind, id) = (resource["resourceType"].as_str()?, resource["id"].as_str()?);
    name_of(&format!("{kind}/{id}"))
}

/// What a pack's own table says of an answer, else what its status says, and whether it is about what was sent. The
/// destination's words stay out of it.
fn meant(pack: &Pack, status: u16, outcome: &Value, after_ms: Option<i64>) -> (Verdict, bool) {
    let issues = outcome["issue"].as_array().map_or(&[][..], Vec::as_slice);
    let issues: Vec<national::Said<'_>> = issues.iter().map(said).collect();
    let Some(meaning) = pack.answers.meaning(status, &issues) else {
        let about_content = matches!(status, 400 | 409 | 412 | 413 | 422);
        return (refusal(status, &codes(outcome), after_ms), about_content);
    };
    if meaning.there {
        return (Verdict::Acknowledged, false);
    }
    let rule = if meaning.rule.is_empty() { String::new() } else { format!(": {}", meaning.rule) };
    let reason = format!("{} (HTTP {status}, for the {} to mend){rule}", meaning.id.code(), meaning.who.name());
    let verdict = if meaning.again { retry(after_ms, reason) } else { Verdict::Rejected { reason } };
    (verdict, meaning.id == Id::DestinationContent)
}

/// What an issue says.
fn said(issue: &Value) -> national::Said<'_> {
    let texts = [&issue["diagnostics"], &issue["details"]["text"]];
    national::Said {
        code: issue["code"].as_str().unwrap_or_default(),
        texts: texts.into_iter().filter_map(Value::as_str).collect(),
        // Without a severity it is why something was refused.
        is_error: !matches!(issue["severity"].as_str(), Some("warning" | "information" | "success")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::national::{Address, Shelf};

    fn request(pack: &str, count: usize, entries: &[Option<usize>]) -> Shaped {
        let shelf = Shelf::default();
        let pack = shelf.find(pack).expect("it is part of the program").clone();
        let address = Address { method: "POST".to_owned(), path: Vec::new(), condition: None };
        Shaped { pack, address, body: Vec::new(), key: String::new(), count, entries: entries.to_vec(), person: None }
    }

    fn answered(request: &Shaped, status: u16, location: Option<&str>, body: &Value) -> Delivered {
        let location = location.map(str::to_owned);
        let answer = Answer { status, nonce: None, retry_after: None, location, body: body.to_string().into_bytes() };
        shaped(&answer, request, "2026-11-21T12:00:00Z".parse().expect("a timestamp"))
    }

    fn outcome(text: &str) -> Value {
        json!({"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": text}]})
    }

    fn bundle(entries: &[(&str, Option<&str>)]) -> Value {
        let entry = entries.iter().map(|(status, location)| {
            let mut response = json!({"status": status, "outcome": outcome("Jane")});
            if let Some(location) = location {
                response["location"] = json!(location);
            }
            json!({"response": response})
        });
        json!({"resourceType": "Bundle", "type": "batch-response", "entry": entry.collect::<Vec<_>>()})
    }

    fn shown(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Acknowledged => "acknowledged".to_owned(),
            Verdict::Retry { reason, .. } | Verdict::Unreached { reason } | Verdict::Waits { reason } => {
                format!("retry: {reason}")
            }
            Verdict::Rejected { reason } => format!("rejected: {reason}"),
        }
    }

    #[test]
    fn a_pack_knows_what_answers_mean() {
        let one = request("fr-ens", 1, &[Some(0)]);
        let consent = "rejected: destination-consent (HTTP 403, for the person to mend): \
                       the person has consented to writing there";
        let content = "rejected: destination-content (HTTP 422, for the operator to mend)";
        for (status, body, expected, divisible) in [
            (200, bundle(&[("201 Created", None)]), "acknowledged", true),
            (200, bundle(&[("422", None)]), content, true),
            (200, bundle(&[("503 later", None)]), "retry: HTTP 503: invalid", true),
            (200, json!({}), "retry: HTTP 200 without an answer for the entries", true),
            (403, outcome("Consent not given, access refused."), consent, false),
            (403, outcome("Jane Doe"), "retry: HTTP 403: invalid", false),
            (422, outcome("Jane Doe"), content, true),
            (500, Value::Null, "retry: HTTP 500", false),
        ] {
            let delivered = answered(&one, status, None, &body);
            assert_eq!(
                (shown(&delivered.verdict).as_str(), delivered.divisible),
                (expected, divisible),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn each_measurement_has_its_own_outcome_and_names() {
        // Two measurements, the second of which becomes two; and something beside them.
        let asked = request("fi-kanta", 2, &[None, Some(0), Some(1), Some(1)]);
        let (device, first) =
            (("200 OK", Some("Device/d")), ("201", Some("https://x.example/fhir/Observation/a/_history/1")));
        let (second, third) = (("200 OK", Some("Observation/b")), ("201", Some("Observation/c")));
        let names = |delivered: &Delivered| -> Vec<Vec<String>> {
            delivered.each.iter().map(|one| one.names.clone()).collect()
        };
        let told = vec![vec!["Observation/a".to_owned()], vec!["Observation/b".to_owned(), "Observation/c".to_owned()]];
        for order in
            [vec![device, first, second, third], vec![first, second, third, device], vec![first, second, third]]
        {
            let delivered = answered(&asked, 200, None, &bundle(&order));
            assert_eq!(names(&delivered), told, "{order:?}");
            assert_eq!([delivered.each[0].existed, delivered.each[1].existed], [false, true]);
        }
        let delivered = answered(&asked, 200, None, &bundle(&[device, first, second, ("422 no", None)]));
        assert_eq!(delivered.verdict, Verdict::Acknowledged, "the destination is alive and took something");
        assert_eq!(delivered.each[0].verdict, Verdict::Acknowledged);
        assert!(shown(&delivered.each[1].verdict).starts_with("rejected: destination-content"));
        // Whose answers these are cannot be known.
        let more = [first, first, first, second, ("422 no", None)];
        let delivered = answered(&asked, 200, None, &bundle(&more));
        assert!(delivered.each.is_empty() && shown(&delivered.verdict).starts_with("rejected"));
        let delivered = answered(&asked, 200, None, &bundle(&[first]));
        assert!(shown(&delivered.verdict).starts_with("retry: HTTP 200 with answers for other entries"));
    }

    #[test]
    fn one_resource_says_where_it_stands() {
        let asked = request("de-hddt", 1, &[]);
        let body = json!({"resourceType": "Observation", "id": "o"});
        for (location, body, expected) in [
            (Some("https://x.example/Observation/l/_history/2"), &body, vec!["Observation/l"]),
            (None, &body, vec!["Observation/o"]),
            (Some("nowhere"), &json!({"resourceType": "Observation"}), vec![]),
        ] {
            assert_eq!(answered(&asked, 201, location, body).each[0].names, expected, "{location:?}");
        }
        assert!(answered(&asked, 201, None, &json!(5)).each.is_empty());
    }

    #[test]
    fn names_are_a_type_and_an_id() {
        for (location, expected) in [
            ("Observation/1", Some("Observation/1")),
            ("/fhir/Observation/1/", Some("Observation/1")),
            ("Observation/urn:oid:1.2|x", Some("Observation/urn:oid:1.2|x")),
            ("https://a.example/fhir/Observation/1/_history/7", Some("Observation/1")),
            ("Observation/", None),
            ("1", None),
            ("Obs3/1", None),
            ("Observation/Jane Doe", None),
        ] {
            assert_eq!(name_of(location).as_deref(), expected, "{location}");
        }
        assert_eq!(name_of(&format!("Observation/{}", "x".repeat(NAME_BYTES))), None);
    }
}
