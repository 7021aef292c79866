//! The templates and their expressions, by example.

use serde_json::{Value, json};

use super::jmespath::Node;
use super::jsonpath::Path;
use super::*;
use crate::fhir::tree::json as tree;

fn content(kind: &str, template: &Value) -> String {
    json!({"templateType": "CollectionContent", "template": [{"templateType": kind, "template": template}]}).to_string()
}

fn mapping(templates: &[Value]) -> String {
    let each: Vec<Value> =
        templates.iter().map(|template| json!({"templateType": "CodeValueFhir", "template": template})).collect();
    json!({"templateType": "CollectionFhir", "template": each}).to_string()
}

fn heart(unit: &str) -> Value {
    json!({
        "typeName": "heartrate", "periodInterval": 60, "codes": [{"code": "8867-4", "system": "http://loinc.org"}],
        "value": {"defaultPeriod": 5000, "unit": unit, "valueName": "hr", "valueType": "SampledData"}
    })
}

fn plain() -> Value {
    json!({
        "typeName": "HeartRate", "typeMatchExpression": "$..[?(@heartRate)]", "deviceIdExpression": "$.deviceId",
        "timestampExpression": "$.endDate", "patientIdExpression": "$.patient",
        "values": [{"required": "true", "valueExpression": "$.heartRate", "valueName": "hr"}]
    })
}

fn convert(templates: &Templates, sent: &Value) -> Result<Vec<Record>, Issue> {
    let sender = Sender { subject: "Patient/p", zone: None };
    templates.convert(&tree::parse_list(sent.to_string()).unwrap(), &sender, 100)
}

fn reading(rate: &Value) -> Value {
    json!({"heartRate": rate, "endDate": "2019-02-01T22:46:01.8750000Z", "deviceId": "device123"})
}

#[test]
fn paths_are_those_of_both_dialects() {
    let message = json!({
        "Body": {"a": [{"n": 1, "u": "in"}, {"n": 2, "u": "m"}, {"n": 2.50, "u": "m"}], "b": {"n": 7}, "odd name": true}
    });
    for (path, expected) in [
        ("$.Body.a[0].n", json!([1])),
        ("Body.b.n", json!([7])),
        ("$..n", json!([1, 2, 2.50, 7])),
        ("$.Body.a[-1].n", json!([2.50])),
        ("$.Body.a[1:].u", json!(["m", "m"])),
        ("$.Body.a[::-1].n", json!([2.50, 2, 1])),
        ("$.Body.a[*].n", json!([1, 2, 2.50])),
        ("$.Body['odd name']", json!([true])),
        ("$..[?(@u == 'in')].n", json!([1])),
        ("$..[?(@.u == 'm' && @.n > 2)].n", json!([2.50])),
        ("$.Body.a[?@.n == 2.5 || @.n == 1].n", json!([1, 2.50])),
        ("$.Body.a[?!(@.u == 'm')].n", json!([1])),
        ("$..[?(@Body.b)].Body.b.n", json!([7])),
        ("$..[?(@nothing)]", json!([])),
    ] {
        let scope = Scope { root: &message, matched: None };
        let path = Path::compile(path).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(json!(path.select(scope)), expected, "{path:?}");
    }
    for (path, expected) in [
        ("$..[?(@a", "at character 9"),
        ("$.a[", "at character 5"),
        ("$.a[?(@b =~ /x/)]", "regular expressions"),
        ("$.a]", "should end"),
        ("$.", "a name is missing"),
    ] {
        let why = Path::compile(path).unwrap_err();
        assert!(why.contains(expected), "{path}: {why}");
    }
}

#[test]
fn expressions_of_jmespath_mean_what_its_specification_says() {
    let message = json!({
        "Body": {"h": "78", "t": 1_625_677_200, "ms": 1_626_799_080_500_i64, "list": [{"k": "b", "v": 2}, {"k": "a", "v": 1}],
            "nested": [[1, 2], [3]], "zero": 0, "empty": ""}
    });
    for (expression, expected) in [
        ("Body.h", json!("78")),
        ("multiply(to_number(Body.h), `0.0254`)", json!(1.9812)),
        ("Body.list[*].v", json!([2, 1])),
        ("Body.list[?v > `1`].k", json!(["b"])),
        ("Body.list[?k == 'a'] | [0].v", json!(1)),
        ("Body.list[0].v", json!(2)),
        ("Body.list[-1].k", json!("a")),
        ("Body.nested[]", json!([1, 2, 3])),
        ("Body.nested[*][0]", json!([1, 3])),
        ("Body.list[1:].v", json!([1])),
        ("sort_by(Body.list, &k)[*].v", json!([1, 2])),
        ("max_by(Body.list, &v).k", json!("b")),
        ("map(&v, Body.list)", json!([2, 1])),
        ("Body.{high: h, low: zero}", json!({"high": "78", "low": 0})),
        ("Body.[h, zero]", json!(["78", 0])),
        ("Body.empty || Body.h", json!("78")),
        ("Body.zero && Body.h", json!("78")),
        ("!Body.empty", json!(true)),
        ("to_array(@)[?Body.h].Body.h", json!(["78"])),
        ("fromUnixTimestamp(Body.t)", json!("2021-07-07T17:00:00Z")),
        ("fromUnixTimestampMs(Body.ms)", json!("2021-07-20T16:38:00.5Z")),
        ("insertString(Body.h, '!', length(Body.h))", json!("78!")),
        ("add(`0.1`, `0.2`)", json!(0.3)),
        ("subtract(`40`, `50`)", json!(-10)),
        ("divide(`40`, `50`)", json!(0.8)),
        ("pow(`10`, `10`)", json!(10_000_000_000_i64)),
        ("join('-', [Body.h, 'x'])", json!("78-x")),
        ("contains(Body.h, '7') && starts_with(Body.h, '7')", json!(true)),
        ("not_null(Body.nothing, Body.h)", json!("78")),
        ("sum(Body.nested[])", json!(6)),
        ("\"Body\".\"h\"", json!("78")),
        ("Body.nothing.more", json!(null)),
        ("*.h", json!(["78"])),
        ("type(Body.zero)", json!("number")),
        ("keys(Body.list[0])", json!(["k", "v"])),
        ("matchedToken", json!(null)),
    ] {
        let node = Node::compile(expression).unwrap_or_else(|why| panic!("{expression}: {why}"));
        let scope = Scope { root: &message, matched: None };
        assert_eq!(*node.value(scope).unwrap(), expected, "{expression}");
    }
    let scope = Scope { root: &message, matched: None };
    for expression in ["divide(`1`, `0`)", "pow(`10`, `99`)", "abs('x')", "insertString('a', 'b', `5`)"] {
        assert!(Node::compile(expression).unwrap().value(scope).is_err(), "{expression}");
    }
    for expression in ["Body.", "unknown(@)", "add(`1`)", "Body.list[?v", "`", "a b", "[", "foo[0:1:0]"] {
        assert!(Node::compile(expression).is_err(), "{expression}");
    }
}

#[test]
fn measures_of_the_guide_go_out_in_its_form() {
    let templates = Templates::compile(&content("JsonPathContent", &plain()), &mapping(&[heart("count/min")])).unwrap();
    let sent = json!({"Body": [reading(&json!("78")), reading(&json!("fast"))], "Properties": {}});
    let records = convert(&templates, &sent).unwrap();
    let found: Value = serde_json::from_str(records[0].observation.as_ref().unwrap()).unwrap();
    assert_eq!(records[0].pointer, "/Body/0");
    assert_eq!(records[0].measure, Some("heart-rate"));
    assert!(found["meta"]["profile"][0].as_str().unwrap().ends_with("/mh-heart-rate"));
    assert_eq!(
        found["valueQuantity"],
        json!({"value": 78, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"})
    );
    assert_eq!(found["effectiveDateTime"], "2019-02-01T22:46:01.8750000Z");
    assert_eq!(found["device"]["display"], "device123");
    assert_eq!(records[1].issues[0].id, Id::DeviceRecord);
    // The same message again is the same record.
    assert_eq!(convert(&templates, &sent).unwrap()[0].source_id, records[0].source_id);
}

#[test]
fn an_inch_is_exact_and_what_was_sent_is_kept() {
    let height = |unit: &str| {
        let of = json!({
            "typeName": "height", "codes": [{"code": "8302-2", "system": "http://loinc.org"}],
            "value": {"unit": unit, "valueName": "h", "valueType": "Quantity"}
        });
        let template = json!({
            "typeName": "height", "defaultExpressionLanguage": "JmesPath", "typeMatchExpression": "to_array(Body)[?h]",
            "deviceIdExpression": "matchedToken.d", "timestampExpression": "Body[0].at",
            "values": [{"valueExpression": "matchedToken.h", "valueName": "h", "required": true}]
        });
        Templates::compile(&content("CalculatedContent", &template), &mapping(&[of])).unwrap()
    };
    let sent = json!({"Body": [{"h": "1.9304", "d": "x", "at": "2026-01-01T10:00:00+01:00"}]});
    let records = convert(&height("m"), &sent).unwrap();
    let found: Value = serde_json::from_str(records[0].observation.as_ref().unwrap()).unwrap();
    assert_eq!(found["valueQuantity"]["value"].to_string(), "193.04");
    let original = found["extension"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["url"].as_str().unwrap().ends_with("mh-original-value"));
    assert_eq!(original.unwrap()["valueQuantity"]["value"].to_string(), "1.9304");
    // A unit that the measure cannot have refuses the value, as does one that is not said.
    for unit in ["mmHg", "", "furlongs per fortnight"] {
        assert_eq!(convert(&height(unit), &sent).unwrap()[0].issues[0].id, Id::MeasureUnit, "{unit}");
    }
}

/// The connector's own samples call the diastolic pressure by the code of the heart rate.
#[test]
fn a_component_by_the_wrong_code_is_refused() {
    let pressure = |diastolic: &str| {
        let part = |code: &str, name: &str| {
            let value = json!({"unit": "mmHg", "valueName": name, "valueType": "SampledData"});
            json!({"codes": [{"code": code, "system": "http://loinc.org"}], "value": value})
        };
        let of = json!({
            "typeName": "bp", "codes": [{"code": "85354-9", "system": "http://loinc.org"}],
            "components": [part(diastolic, "low"), part("8480-6", "high")]
        });
        let template = json!({
            "typeName": "bp", "typeMatchExpression": "$..[?(@Body.high && @Body.low)]",
            "values": [
                {"valueExpression": "$.Body.high", "valueName": "high", "required": "true"},
                {"valueExpression": "$.Body.low", "valueName": "low", "required": "true"}
            ]
        });
        Templates::compile(&content("IotJsonPathContent", &template), &mapping(&[of])).unwrap()
    };
    let sent = json!({
        "Body": {"high": "111", "low": "75"}, "Properties": {},
        "SystemProperties": {"iothub-connection-device-id": "ev-1", "iothub-enqueuedtime": "2019-02-01T22:46:01.875Z"}
    });
    let right = convert(&pressure("8462-4"), &sent).unwrap();
    let found: Value = serde_json::from_str(right[0].observation.as_ref().unwrap()).unwrap();
    assert!(found["meta"]["profile"][0].as_str().unwrap().ends_with("/mh-blood-pressure"));
    assert_eq!(found["component"][0]["valueQuantity"]["code"], "mm[Hg]");
    let wrong = convert(&pressure("8867-4"), &sent).unwrap();
    assert_eq!(wrong[0].issues[0].id, Id::MeasureUnit);
    assert!(wrong[0].issues[0].text.contains("heart-rate"), "{}", wrong[0].issues[0].text);
}

#[test]
fn what_is_no_measure_goes_out_as_the_template_has_it() {
    let event = json!({
        "typeName": "HeartRate", "periodInterval": 0, "codes": [{"code": "deviceEvent", "system": "https://example.org/v1"}],
        "category": [{"text": "Device", "codes": [{"code": "activity", "system": "http://terminology.hl7.org/CodeSystem/observation-category"}]}],
        "value": {"text": "Alarm!", "codes": [{"code": "alarm", "system": "https://example.org/v1"}], "valueName": "hr", "valueType": "codeableConcept"},
        "components": [{"codes": [{"code": "why", "system": "https://example.org/v1"}], "value": {"valueName": "hr", "valueType": "String"}}]
    });
    let templates = Templates::compile(&content("JsonPathContent", &plain()), &mapping(&[event])).unwrap();
    let records = convert(&templates, &reading(&json!(true))).unwrap();
    let found: Value = serde_json::from_str(records[0].observation.as_ref().unwrap()).unwrap();
    assert_eq!(found["valueCodeableConcept"]["coding"][0]["code"], "alarm");
    assert_eq!(found["component"][0]["valueString"], "true");
    assert_eq!(found["category"][0]["coding"][0]["code"], "activity");
    assert!(found["meta"].get("profile").is_none());
}

#[test]
fn messages_that_cannot_be_read_say_why() {
    let templates = Templates::compile(&content("JsonPathContent", &plain()), &mapping(&[heart("bpm")])).unwrap();
    let mut local = reading(&json!(70));
    local["endDate"] = json!("2019-02-01T22:46:01");
    let mut nameless = reading(&json!(70));
    nameless.as_object_mut().unwrap().remove("deviceId");
    let records = convert(&templates, &json!([local, nameless, {"steps": 1}])).unwrap();
    let ids: Vec<Id> = records.iter().map(|record| record.issues[0].id).collect();
    assert_eq!(ids, [Id::MeasureNoOffset, Id::DeviceRecord, Id::DeviceSchemaUnknown]);
    // What is sent at once is of one person.
    let of = |patient: &str| {
        let mut sent = reading(&json!(70));
        sent["patient"] = json!(patient);
        sent
    };
    assert!(convert(&templates, &json!([of("a"), of("a")])).is_ok());
    assert_eq!(convert(&templates, &json!([of("a"), of("b")])).unwrap_err().id, Id::DeviceRecord);
}

#[test]
fn templates_that_are_none_say_why() {
    let good = content("JsonPathContent", &plain());
    for (content, mapping, expected) in [
        ("{", mapping(&[heart("bpm")]), "device content: not JSON at line 1 column 1"),
        (r#"{"templateType": "CollectionContent", "template": {}}"#, mapping(&[heart("bpm")]), "template is a list"),
        (
            &content("Unknown", &plain()),
            mapping(&[heart("bpm")]),
            "template[0].templateType is none of JsonPathContent",
        ),
        (&good, r#"{"templateType": "CollectionFhir", "template": []}"#.to_owned(), "FHIR mapping: template is empty"),
        (&good, mapping(&[heart("bpm"), heart("bpm")]), "typeName is that of another template"),
        (
            &good,
            mapping(&[json!({"typeName": "x", "value": {"valueName": "hr", "valueType": "Range"}})]),
            "valueType is",
        ),
        (&good, mapping(&[json!({"value": {}})]), "template[0].template.typeName is missing"),
    ] {
        let mistakes = Templates::compile(content, &mapping).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{expected}: {mistakes:?}");
    }
    let mut template = plain();
    template["values"][0]["valueName"] = json!("pulse");
    template["typeMatchExpression"] = json!("$..[?(");
    let mistakes =
        Templates::compile(&self::content("JsonPathContent", &template), &mapping(&[heart("bpm")])).unwrap_err();
    assert!(mistakes[0].contains("template[0].template.typeMatchExpression: at character"), "{mistakes:?}");
    template["typeMatchExpression"] = json!("$");
    let mistakes =
        Templates::compile(&self::content("JsonPathContent", &template), &mapping(&[heart("bpm")])).unwrap_err();
    assert_eq!(mistakes, ["FHIR mapping heartrate: the device content extracts no value hr"]);
}
