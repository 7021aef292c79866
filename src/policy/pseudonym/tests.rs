//! Nothing of identity in what leaves, wherever it stood; and what may be told is told.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fhir::tree::json::parse;
use crate::fhir::validate::{Options, Validator};

const MARKER: &str = "Zerlina";

static REGISTRY: LazyLock<std::sync::Arc<Registry>> = LazyLock::new(Registry::core);

fn told(sent: &Value) -> Option<Value> {
    let document = parse(sent.to_string()).unwrap();
    let observation = |id: &str| format!("p{}", id.len());
    let names = Names { own: "own-there", patient: "person-there", observation: &observation, days: 0 };
    let text = super::observation(Element::root(&document), &names, &REGISTRY)?;
    Some(serde_json::from_str(&text).unwrap())
}

fn quantity(value: u32, unit: &str) -> Value {
    json!({"value": value, "unit": format!("{MARKER} {unit}"), "system": "http://unitsofmeasure.org", "code": unit})
}

fn concept(system: &str, code: &str) -> Value {
    json!({
        "id": MARKER,
        "coding": [{"system": system, "code": code, "display": MARKER, "version": MARKER}, {"system": "urn:own", "code": MARKER}],
        "text": MARKER,
    })
}

/// Everything that R4 lets an Observation hold, with the marker wherever it does not matter.
fn full() -> Value {
    let hl7 = |name: &str| format!("http://terminology.hl7.org/CodeSystem/{name}");
    json!({
        "resourceType": "Observation",
        "id": MARKER,
        "meta": {
            "versionId": "3", "lastUpdated": "2026-01-01T00:00:00Z", "source": MARKER, "profile": [MARKER],
            "security": [{"system": hl7("v3-Confidentiality"), "code": "R", "display": MARKER}],
            "tag": [{"system": "urn:x", "code": MARKER}],
            "extension": [{"url": MARKER, "valueString": MARKER}],
        },
        "language": MARKER,
        "text": {"status": "generated", "div": format!("<div>{MARKER}</div>")},
        "contained": [{"resourceType": "Patient", "id": "p", "name": [{"text": MARKER}]}],
        "extension": [
            {"url": MARKER, "valueString": MARKER},
            {"url": format!("{STRUCTURES}mh-recording-method"), "valueCode": MARKER},
            {"url": format!("{STRUCTURES}mh-statistic"), "valueCode": "average", "id": MARKER},
            {"url": format!("{STRUCTURES}mh-completeness"), "valueQuantity": quantity(90, "%")},
            {"url": format!("{STRUCTURES}mh-app"), "valueReference": {"display": MARKER}},
        ],
        "identifier": [{"system": MARKER, "value": MARKER}],
        "basedOn": [{"reference": MARKER}],
        "partOf": [{"reference": MARKER}],
        "status": "final",
        "_status": {"extension": [{"url": MARKER, "valueString": MARKER}]},
        "category": [concept(&hl7("observation-category"), "vital-signs"), {"text": MARKER}],
        "code": concept(measures::LOINC, "85354-9"),
        "subject": {
            "reference": format!("Patient/{MARKER}"), "display": MARKER, "type": MARKER,
            "identifier": {"value": MARKER},
        },
        "encounter": {"reference": MARKER, "display": MARKER},
        "effectiveDateTime": "2026-01-15T08:30:00.5+01:00",
        "_effectiveDateTime": {"id": MARKER},
        "issued": "2026-01-15T08:30:00.123Z",
        "performer": [{"reference": format!("Patient/{MARKER}"), "display": MARKER}],
        "interpretation": [concept(&hl7("v3-ObservationInterpretation"), "H")],
        "note": [{"text": MARKER, "authorString": MARKER}],
        "bodySite": concept("http://snomed.info/sct", "40983000"),
        "method": concept("http://snomed.info/sct", "364075005"),
        "specimen": {"display": MARKER},
        "device": {"reference": "Device/1", "display": MARKER, "identifier": {"value": MARKER}},
        "referenceRange": [
            {"low": quantity(90, "mm[Hg]"), "high": quantity(120, "mm[Hg]")},
            {"low": quantity(90, "mm[Hg]"), "text": MARKER},
            {"high": quantity(90, "mm[Hg]"), "appliesTo": [concept("http://snomed.info/sct", "40443002")]},
        ],
        "hasMember": [{"reference": format!("Observation/{MARKER}"), "display": MARKER}, {"reference": MARKER}],
        "derivedFrom": [{"reference": format!("Observation/{MARKER}/_history/2")}, {"reference": "Media/1"}],
        "component": [
            {"id": MARKER, "code": concept(measures::LOINC, "8480-6"), "valueQuantity": quantity(120, "mm[Hg]")},
            {"code": concept(measures::LOINC, "8462-4"), "valueString": MARKER},
            {"code": concept(measures::LOINC, "45392-8"), "valueString": MARKER},
            {"code": {"text": MARKER}, "valueQuantity": quantity(80, "mm[Hg]")},
        ],
    })
}

#[test]
fn what_is_safe_is_told_and_nothing_else() {
    let codes = |system: &str, code: &str| json!({"coding": [{"system": system, "code": code}]});
    let hl7 = |name: &str, code: &str| codes(&format!("http://terminology.hl7.org/CodeSystem/{name}"), code);
    let quantity = |value: u32, unit: &str| json!({"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit});
    let security = |label: &Value| label["coding"][0].clone();
    let expected = json!({
        "resourceType": "Observation",
        "id": "own-there",
        "meta": {
            "versionId": "3",
            "security": [
                security(&hl7("v3-Confidentiality", "R")), security(&hl7("v3-ObservationValue", "PSEUDED")),
            ],
        },
        "extension": [
            {"url": format!("{STRUCTURES}mh-statistic"), "valueCode": "average"},
            {"url": format!("{STRUCTURES}mh-completeness"), "valueQuantity": quantity(90, "%")},
        ],
        "status": "final",
        "category": [hl7("observation-category", "vital-signs")],
        "code": codes(measures::LOINC, "85354-9"),
        "subject": {"reference": "Patient/person-there"},
        "effectiveDateTime": "2026-01-15T08:30:00.5+01:00",
        "interpretation": [hl7("v3-ObservationInterpretation", "H")],
        "bodySite": codes("http://snomed.info/sct", "40983000"),
        "method": codes("http://snomed.info/sct", "364075005"),
        "hasMember": [{"reference": "Observation/p7"}],
        "derivedFrom": [{"reference": "Observation/p7"}],
        "component": [
            {"code": codes(measures::LOINC, "8480-6"), "valueQuantity": quantity(120, "mm[Hg]")},
            {"code": codes(measures::LOINC, "8462-4"), "dataAbsentReason": hl7("data-absent-reason", "masked")},
        ],
    });
    let mut found = told(&full()).unwrap();
    // The panel has no unit of its own, so a range of it says nothing of its parts: any unit will do.
    let ranges = found.as_object_mut().unwrap().remove("referenceRange").unwrap();
    assert_eq!(ranges, json!([{"low": quantity(90, "mm[Hg]"), "high": quantity(120, "mm[Hg]")}]));
    assert_eq!(found, expected);
}

/// One heart rate with these members in place of its own.
fn pulse(members: &Value) -> Value {
    let mut sent = json!({
        "resourceType": "Observation", "meta": {"versionId": "1"}, "status": "final",
        "category": [concept("http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs")],
        "code": {"coding": [{"system": measures::LOINC, "code": "8867-4"}]}, "subject": {"reference": "Patient/1"},
        "effectiveDateTime": "2026-01-15", "valueQuantity": quantity(70, "/min"),
    });
    for (name, value) in members.as_object().unwrap() {
        sent[name] = value.clone();
    }
    sent.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    sent
}

#[test]
fn what_would_say_something_else_is_kept_back() {
    let modifier = json!([{"url": "urn:x", "valueBoolean": true}]);
    for (what, members) in [
        ("another type", json!({"resourceType": "QuestionnaireResponse"})),
        ("a modifier", json!({"modifierExtension": modifier})),
        ("a modifier inside", json!({"referenceRange": [{"modifierExtension": modifier}]})),
        ("other rules", json!({"implicitRules": "urn:x"})),
        ("about something else", json!({"focus": [{"display": "x"}]})),
        ("a timing", json!({"effectiveDateTime": null, "effectiveTiming": {"event": ["2026-01-15"]}})),
        ("no status that is one", json!({"status": MARKER})),
        ("an own label", json!({"meta": {"security": [{"system": "urn:x", "code": "x"}]}})),
        ("a measure that nobody knows", json!({"code": {"coding": [{"system": measures::LOINC, "code": "21112-8"}]}})),
        ("a text", json!({"code": {"text": "heart rate"}})),
    ] {
        assert_eq!(told(&pulse(&members)), None, "{what}");
    }
    assert!(told(&pulse(&json!({}))).is_some());
}

#[test]
fn values_are_told_or_masked() {
    let ucum = |value: Value, code: &str, extra: &Value| {
        let mut quantity = json!({"value": value, "system": "http://unitsofmeasure.org", "code": code});
        quantity.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"valueQuantity": quantity})
    };
    let value = |key: &str, value: Value| json!({"valueQuantity": null, key: value});
    for (members, unit, kept) in [
        (ucum(json!(70), "/min", &json!({})), Some("/min"), true),
        (ucum(json!(70), "1/min", &json!({})), Some("1/min"), true),
        (ucum(json!(70), &format!("{{{MARKER}}}/min"), &json!({})), Some("/min"), true),
        (ucum(json!(70), "/min", &json!({"comparator": ">"})), Some("/min"), true),
        (ucum(json!(70), "/min", &json!({"comparator": MARKER})), None, false),
        (ucum(json!(MARKER), "/min", &json!({})), None, false),
        (ucum(json!(70), "kg", &json!({})), None, false),
        (json!({"valueQuantity": {"value": 70, "unit": "bpm"}}), None, false),
        (value("valueInteger", json!(70)), None, true),
        (value("valueBoolean", json!(true)), None, true),
        (value("valueTime", json!("08:30:00")), None, true),
        (value("valueTime", json!(MARKER)), None, false),
        (value("valueDateTime", json!("2026-01")), None, true),
        (value("valuePeriod", json!({"start": "2026-01-15", "_end": {"id": MARKER}})), None, true),
        (value("valueString", json!(MARKER)), None, false),
        (value("valueCodeableConcept", json!({"text": MARKER})), None, false),
        (value("valueCodeableConcept", concept(measures::LOINC, "LA137-2")), None, true),
        (value("valueRange", json!({"low": quantity(1, "/min")})), None, true),
        (value("valueRange", json!({"low": {"value": 1}})), None, false),
        (value("valueRatio", json!({"numerator": quantity(1, "mg"), "denominator": quantity(1, "d")})), None, true),
        (value("valueRatio", json!({"numerator": quantity(1, "mg")})), None, false),
        (
            value("valueRatio", json!({"numerator": quantity(1, "{Zerlina}"), "denominator": quantity(1, "d")})),
            None,
            false,
        ),
        (
            value(
                "valueSampledData",
                json!({"origin": quantity(0, "/min"), "period": 1000, "dimensions": 1, "data": "70 E -1.5 U"}),
            ),
            None,
            true,
        ),
        (
            value(
                "valueSampledData",
                json!({"origin": quantity(0, "/min"), "period": 1000, "dimensions": 1, "data": "70 Zerlina"}),
            ),
            None,
            false,
        ),
    ] {
        let found = told(&pulse(&members)).unwrap();
        let reason = found["dataAbsentReason"]["coding"][0]["code"].as_str();
        let has = found.as_object().unwrap().keys().any(|name| name.starts_with("value"));
        assert_eq!((has, reason), (kept, (!kept).then_some("masked")), "{members}: {found}");
        if let Some(unit) = unit {
            assert_eq!(
                (&found["valueQuantity"]["code"], &found["valueQuantity"]["unit"]),
                (&json!(unit), &json!(unit))
            );
        }
        assert!(!found.to_string().contains(MARKER), "{found}");
    }
}

/// What is told is R4 all the same.
#[test]
fn what_is_told_is_valid() {
    let validator = Validator::new(REGISTRY.clone());
    let masked = pulse(&json!({"valueQuantity": null, "valueString": MARKER}));
    for sent in [full(), pulse(&json!({})), masked] {
        let text = told(&sent).unwrap().to_string();
        let document = parse(text.clone()).unwrap();
        let report = validator.check(Element::root(&document), &Options::default());
        let errors: Vec<_> = report.issues.iter().filter(|issue| issue.is_error()).collect();
        assert!(errors.is_empty(), "{text}\n{errors:?}");
    }
}

/// Every place in a JSON value, as a pointer.
fn places(of: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match of {
        Value::Object(members) => members.iter().for_each(|(name, one)| places(one, &format!("{at}/{name}"), into)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, one)| places(one, &format!("{at}/{index}"), into));
        }
        _ => {}
    }
}

/// Whatever is replaced by the marker, and wherever it is added, it does not leave.
#[test]
fn no_place_lets_it_through() {
    let mut all = Vec::new();
    places(&full(), "", &mut all);
    let mut still_told = 0;
    for place in &all {
        let mut replaced = full();
        let one = replaced.pointer_mut(place).unwrap();
        match one {
            Value::Object(members) => {
                for name in [MARKER, "_status", "valueString", "display", "text", "id", "reference", "value", "_code"] {
                    members.insert(name.to_owned(), json!(MARKER));
                }
                members.insert("extension".to_owned(), json!([{"url": "urn:x", "valueString": MARKER}]));
            }
            other => *other = json!(MARKER),
        }
        if let Some(found) = told(&replaced) {
            still_told += 1;
            assert!(!found.to_string().contains(MARKER), "{place}: {found}");
        }
    }
    assert!(still_told > all.len() / 2, "{still_told} of {}", all.len());
}

/// Names of R4's elements, and values that some of them may have.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => Just(json!(MARKER)),
        1 => Just(json!(format!("{MARKER} 8867-4"))),
        1 => Just(json!(format!("2026-01-15T{MARKER}"))),
        1 => Just(json!("8867-4")),
        1 => Just(json!(measures::LOINC)),
        1 => Just(json!("http://unitsofmeasure.org")),
        1 => Just(json!("/min")),
        1 => Just(json!(70)),
        1 => Just(json!(true)),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let name = prop::sample::select(vec![
            "coding",
            "system",
            "code",
            "display",
            "text",
            "value",
            "unit",
            "comparator",
            "extension",
            "url",
            "valueCode",
            "valueString",
            "valueQuantity",
            "valueCodeableConcept",
            "valueSampledData",
            "data",
            "origin",
            "period",
            "dimensions",
            "low",
            "high",
            "type",
            "reference",
            "identifier",
            "start",
            "end",
            "_value",
            "_code",
            "id",
            "versionId",
            "security",
            "tag",
            "numerator",
            "denominator",
            "valueRange",
            "valuePeriod",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((name, inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_element_lets_anything_through(
        name in prop::sample::select(vec![
            "meta", "category", "code", "effectiveDateTime", "effectivePeriod", "bodySite", "method", "component",
            "interpretation", "referenceRange", "hasMember", "derivedFrom", "extension", "identifier", "note", "device",
            "valueQuantity", "valueString", "valueSampledData", "valueRange", "valueRatio", "valueTime", "valueInteger",
            "dataAbsentReason", "performer", "subject", "status", "issued", "contained", "text", "_status", "_valueQuantity",
        ]),
        value in anything(),
    ) {
        if let Some(found) = told(&pulse(&json!({name: value}))) {
            prop_assert!(!found.to_string().contains(MARKER), "{found}");
        }
    }
}
