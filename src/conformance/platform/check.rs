//! What the platform demands of a resource. Written against the FHIR specification and the agreement with the
//! gateway, deliberately without our validator.

use serde_json::Value;

const STATUSES: [&str; 8] =
    ["registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"];

/// A resource that may be recorded.
#[derive(Debug)]
pub(super) struct Checked {
    pub kind: String,
    pub id: String,
    pub version: u32,
    pub resource: Value,
}

/// Checks one resource sent to `{kind}/{id}`. The error lists everything that is wrong.
pub(super) fn resource(
    kind: &str,
    id: &str,
    resource: Value,
    refuse_codes: &[String],
) -> Result<Checked, Vec<&'static str>> {
    let mut wrong = Vec::new();
    let mut demand = |holds: bool, otherwise: &'static str| {
        if !holds {
            wrong.push(otherwise);
        }
    };
    demand(resource["resourceType"] == kind, "resourceType differs from the address");
    demand(resource["id"] == id && is_id(id), "id differs from the address or is none");
    let version = resource["meta"]["versionId"].as_str().and_then(|text| text.parse::<u32>().ok());
    demand(version.is_some(), "meta.versionId is missing or no number");
    if kind == "Observation" {
        observation(&resource, &mut demand);
        demand(!all_codes(&resource).any(|code| refuse_codes.iter().any(|refused| refused == code)), WITHHELD);
    }
    match version {
        Some(version) if wrong.is_empty() => {
            Ok(Checked { kind: kind.to_owned(), id: id.to_owned(), version, resource })
        }
        _ => Err(wrong),
    }
}

/// Whether it says nothing but that it was an error: what the gateway may still say where it may not say anything.
pub(super) fn is_emptied(kind: &str, id: &str, resource: &Value) -> bool {
    let allowed = ["resourceType", "id", "status", "code", "dataAbsentReason"];
    let masked = |name: &str| resource[name].is_null() || resource[name]["coding"][0]["code"] == "masked";
    resource["resourceType"] == kind
        && resource["id"] == id
        && resource["status"] == "entered-in-error"
        && masked("code")
        && masked("dataAbsentReason")
        && resource.as_object().is_some_and(|members| members.keys().all(|name| allowed.contains(&name.as_str())))
}

pub(super) const WITHHELD: &str = "a code arrived that was never promised to us";

fn observation(observation: &Value, demand: &mut impl FnMut(bool, &'static str)) {
    let status = observation["status"].as_str().unwrap_or_default();
    demand(STATUSES.contains(&status), "status is missing or unknown");
    let coded = |coding: &Value| is_text(&coding["system"]) && is_text(&coding["code"]);
    demand(items(&observation["code"]["coding"]).any(coded), "code has no coding with system and code");
    demand(is_patient(&observation["subject"]["reference"]), "subject is no reference to a Patient");
    let instant = &observation["effectiveDateTime"];
    let timed = is_zoned(instant)
        || is_text(&observation["effectivePeriod"]["start"])
        || is_zoned(&observation["effectiveInstant"]);
    demand(timed, "effective[x] is missing or has no zone");
    let mut holders = std::iter::once(observation).chain(items(&observation["component"]));
    let has_value = holders.any(|holder| {
        let has = |(key, value): (&String, &Value)| {
            (key.starts_with("value") || key == "dataAbsentReason") && !value.is_null()
        };
        holder.as_object().is_some_and(|members| members.iter().any(has))
    });
    demand(has_value, "there is neither a value nor a component nor a reason for its absence");
    for holder in std::iter::once(observation).chain(items(&observation["component"])) {
        let quantity = &holder["valueQuantity"];
        if !quantity.is_null() {
            demand(quantity["value"].is_number(), "a quantity has no number");
            let ucum = quantity["system"] == "http://unitsofmeasure.org" && is_text(&quantity["code"]);
            demand(ucum, "a quantity has no UCUM unit");
        }
    }
}

pub(super) fn all_codes(observation: &Value) -> impl Iterator<Item = &str> {
    std::iter::once(observation)
        .chain(items(&observation["component"]))
        .flat_map(|holder| items(&holder["code"]["coding"]))
        .filter_map(|coding| coding["code"].as_str())
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_id(text: &str) -> bool {
    matches!(text.len(), 1..=64) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn is_patient(reference: &Value) -> bool {
    reference.as_str().and_then(|text| text.strip_prefix("Patient/")).is_some_and(is_id)
}

/// A time with seconds must say its offset; a bare date needs none.
fn is_zoned(time: &Value) -> bool {
    time.as_str().is_some_and(|text| match text.split_once('T') {
        None => matches!(text.len(), 4 | 7 | 10),
        Some((_, clock)) => clock.ends_with('Z') || clock.contains('+') || clock.contains('-'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Value), expected: Option<&str>) {
        let mut sent = crate::conformance::platform::tests::observation("o-1", 1);
        change(&mut sent);
        let wrong = resource("Observation", "o-1", sent, &["82810-3".to_owned()]).err();
        assert_eq!(wrong, expected.map(|text| vec![text]).as_deref().map(<[_]>::to_vec), "{expected:?}");
    }

    #[test]
    fn finds_what_is_wrong() {
        check(|_| {}, None);
        check(|sent| sent["resourceType"] = "Patient".into(), Some("resourceType differs from the address"));
        check(|sent| sent["id"] = "other".into(), Some("id differs from the address or is none"));
        check(|sent| sent["meta"] = Value::Null, Some("meta.versionId is missing or no number"));
        check(|sent| sent["status"] = "done".into(), Some("status is missing or unknown"));
        check(|sent| sent["subject"]["reference"] = "Jane".into(), Some("subject is no reference to a Patient"));
        check(
            |sent| sent["effectiveDateTime"] = "2026-11-21T12:00:00".into(),
            Some("effective[x] is missing or has no zone"),
        );
        check(|sent| sent["valueQuantity"]["system"] = "urn:x".into(), Some("a quantity has no UCUM unit"));
        check(|sent| sent["code"]["coding"][0]["code"] = "82810-3".into(), Some(WITHHELD));
        check(
            |sent| drop(sent.as_object_mut().and_then(|members| members.remove("valueQuantity"))),
            Some("there is neither a value nor a component nor a reason for its absence"),
        );
    }
}
