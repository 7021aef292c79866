//! One form, many responses; and questionnaires that contradict themselves or what they are derived from.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::super::super::{Options, Validator};
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json};

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";

fn form() -> Value {
    let limit = |name: &str, key: &str, value: Value| json!({"url": format!("{CORE}{name}"), key: value});
    let when = |question: &str, operator: &str, key: &str, value: Value| json!({"question": question, "operator": operator, key: value});
    json!({"resourceType": "Questionnaire", "url": "urn:test:form", "version": "2", "status": "active",
    "effectivePeriod": {"start": "2026-01-01", "end": "2026-06-30"},
    "contained": [{"resourceType": "ValueSet", "id": "few", "status": "active",
        "compose": {"include": [{"system": "urn:c", "concept": [{"code": "a"}, {"code": "b"}]}]}}],
    "item": [
        {"linkId": "sleeps", "type": "boolean", "text": "Asleep?", "required": true},
        {"linkId": "why", "type": "string", "enableWhen": [when("sleeps", "=", "answerBoolean", json!(false))],
            "required": true, "maxLength": 5,
            "extension": [limit("minLength", "valueInteger", json!(2)), limit("regex", "valueString", json!("[a-z\n]+"))]},
        {"linkId": "nights", "type": "group", "repeats": true, "item": [
            {"linkId": "hours", "type": "integer",
                "extension": [limit("minValue", "valueInteger", json!(0)), limit("maxValue", "valueInteger", json!(24))]},
            {"linkId": "short", "type": "boolean", "required": true, "enableBehavior": "all",
                "enableWhen": [when("hours", "exists", "answerBoolean", json!(true)), when("hours", "<", "answerInteger", json!(5))]}
        ]},
        {"linkId": "aids", "type": "choice", "repeats": true, "answerOption": [
            {"valueCoding": {"system": "urn:a", "code": "tea", "display": "Tea"}},
            {"valueString": "milk"},
            {"valueCoding": {"system": "urn:a", "code": "none"},
                "extension": [limit("questionnaire-optionExclusive", "valueBoolean", json!(true))]}]},
        {"linkId": "open", "type": "open-choice", "answerOption": [
            {"valueCoding": {"system": "urn:a", "code": "tea", "display": "Tea"}}]},
        {"linkId": "listed", "type": "choice", "answerValueSet": "#few"},
        {"linkId": "kinds", "type": "choice", "answerValueSet": "http://hl7.org/fhir/ValueSet/item-type"},
        {"linkId": "lost", "type": "choice", "answerValueSet": "urn:nowhere"},
        {"linkId": "weight", "type": "quantity", "extension": [
            limit("maxDecimalPlaces", "valueInteger", json!(1)),
            limit("questionnaire-unitOption", "valueCoding", json!({"system": "http://unitsofmeasure.org", "code": "kg"})),
            limit("questionnaire-unitOption", "valueCoding", json!({"system": "http://unitsofmeasure.org", "code": "g"})),
            json!({"url": "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-maxQuantity",
                "valueQuantity": {"value": 300, "system": "http://unitsofmeasure.org", "code": "kg"}})]},
        {"linkId": "photo", "type": "attachment", "extension": [
            limit("mimeType", "valueCode", json!("image/")), limit("maxSize", "valueDecimal", json!(3))]},
        {"linkId": "doctor", "type": "reference",
            "extension": [limit("questionnaire-referenceResource", "valueCode", json!("Practitioner"))]},
        {"linkId": "any", "type": "reference"},
        {"linkId": "day", "type": "date", "extension": [limit("maxValue", "valueDate", json!("2026-05"))]},
        {"linkId": "hour", "type": "time", "extension": [limit("minValue", "valueTime", json!("08:00:00"))]},
        {"linkId": "note", "type": "display", "text": "Thanks"},
        {"linkId": "thrice", "type": "string", "repeats": true, "extension": [
            limit("questionnaire-maxOccurs", "valueInteger", json!(3)), limit("questionnaire-minOccurs", "valueInteger", json!(2))]},
        {"linkId": "parent", "type": "boolean", "item": [{"linkId": "child", "type": "decimal", "required": true}]}
    ]})
}

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let documents = [form()].iter().map(|each| json::parse(each.to_string()).unwrap()).collect();
    Validator::new(Registry::with(documents).unwrap())
});

/// Issues of the forms as `id path`, in the order found.
fn found(validator: &Validator, resource: &Value) -> Vec<String> {
    let document = json::parse(resource.to_string()).unwrap();
    let report = validator.check(Element::root(&document), &Options::default());
    let of_forms = |id: Id| id.code().starts_with("form-") || id == Id::BindingUnknown;
    let issues = report.issues.into_iter().filter(|issue| of_forms(issue.id));
    issues.map(|issue| format!("{} {}", issue.id, issue.expression)).collect()
}

/// A response with these items beside a good answer to the required question.
fn response(status: &str, items: Value) -> Value {
    let Value::Array(mut all) = items else { panic!("items are an array") };
    if !all.iter().any(|item| item["linkId"] == "sleeps") {
        all.insert(0, json!({"linkId": "sleeps", "answer": [{"valueBoolean": true}]}));
    }
    json!({"resourceType": "QuestionnaireResponse", "questionnaire": "urn:test:form", "status": status, "item": all})
}

fn check(items: Value, expected: &[&str]) {
    let resource = response("completed", items);
    let expected: Vec<String> = expected.iter().map(|each| each.replacen(' ', " QuestionnaireResponse", 1)).collect();
    assert_eq!(found(&VALIDATOR, &resource), expected, "{resource:#}");
}

fn answered(link: &str, answers: &Value) -> Value {
    json!([{"linkId": link, "answer": answers}])
}

#[test]
fn a_good_response_raises_nothing() {
    check(
        json!([
            {"linkId": "sleeps", "text": "Asleep?", "answer": [{"valueBoolean": false}]},
            {"linkId": "why", "answer": [{"valueString": "noise"}]},
            {"linkId": "nights", "item": [{"linkId": "hours", "answer": [{"valueInteger": 8}]}, {"linkId": "short"}]},
            {"linkId": "nights", "item": [
                {"linkId": "hours", "answer": [{"valueInteger": 4}]}, {"linkId": "short", "answer": [{"valueBoolean": true}]}]},
            {"linkId": "aids", "answer": [{"valueCoding": {"system": "urn:a", "code": "tea"}}, {"valueString": "milk"}]},
            {"linkId": "open", "answer": [{"valueString": "a song"}]},
            {"linkId": "listed", "answer": [{"valueCoding": {"system": "urn:c", "code": "b"}}]},
            {"linkId": "weight", "answer": [{"valueQuantity": {"value": 80000.5, "system": "http://unitsofmeasure.org", "code": "g"}}]},
            {"linkId": "photo", "answer": [{"valueAttachment": {"contentType": "image/png", "data": "YWJj"}}]},
            {"linkId": "doctor", "answer": [{"valueReference": {"reference": "Practitioner/1"}}]},
            {"linkId": "day", "answer": [{"valueDate": "2026-05-31"}]},
            {"linkId": "hour", "answer": [{"valueTime": "08:00:00"}]},
            {"linkId": "note"},
            {"linkId": "thrice", "answer": [{"valueString": "a"}, {"valueString": "b"}, {"valueString": "c"}]},
            {"linkId": "parent", "answer": [{"valueBoolean": true, "item": [{"linkId": "child", "answer": [{"valueDecimal": 1}]}]}]}
        ]),
        &[],
    );
}

#[test]
fn items_stand_where_the_form_has_them() {
    check(json!([{"linkId": "other"}]), &["form-item-unknown "]);
    check(json!([{"linkId": "hour"}, {"linkId": "day"}]), &["form-item-place "]);
    check(
        json!([{"linkId": "hours", "answer": [{"valueInteger": 30}]}]),
        &["form-item-place ", "form-answer-limit .item[1].answer[0].value.ofType(integer)"],
    );
    check(json!([{"linkId": "day"}, {"linkId": "day"}]), &["form-item-repeated "]);
    check(json!([{"linkId": "day", "text": "Other words"}]), &["form-item-text .item[1]"]);
    check(json!([{"linkId": "note", "answer": [{"valueString": "x"}]}]), &["form-answer-unexpected .item[1]"]);
    check(json!([{"linkId": "nights", "answer": [{"valueString": "x"}]}]), &["form-answer-unexpected .item[1]"]);
    check(json!([{"linkId": "parent", "item": [{"linkId": "child"}]}]), &["form-item-place .item[1]"]);
    check(json!([{"linkId": "note", "item": [{"linkId": "child"}]}]), &["form-item-place .item[1]"]);
}

#[test]
fn conditions_enable_items() {
    check(json!([{"linkId": "why", "answer": [{"valueString": "noise"}]}]), &["form-item-disabled .item[1]"]);
    check(json!([{"linkId": "why"}]), &[]);
    check(answered("sleeps", &json!([{"valueBoolean": false}])), &["form-answer-missing "]);
    // Each night has its own condition.
    let night =
        |hours: i64| json!({"linkId": "nights", "item": [{"linkId": "hours", "answer": [{"valueInteger": hours}]}]});
    check(json!([night(9), night(4)]), &["form-answer-missing .item[2]"]);
}

#[test]
fn missing_answers_stop_what_is_completed() {
    let missing =
        |status| json!({"resourceType": "QuestionnaireResponse", "questionnaire": "urn:test:form|2", "status": status});
    for (status, expected) in [
        ("completed", "form-answer-missing"),
        ("amended", "form-answer-missing"),
        ("in-progress", "form-answer-outstanding"),
        ("stopped", "form-answer-outstanding"),
    ] {
        let expected = vec![format!("{expected} QuestionnaireResponse")];
        assert_eq!(found(&VALIDATOR, &missing(status)), expected, "{status}");
    }
    check(answered("parent", &json!([{"valueBoolean": true}])), &["form-answer-missing .item[1].answer[0]"]);
    check(answered("thrice", &json!([{"valueString": "a"}])), &["form-answer-missing .item[1]"]);
    check(
        answered(
            "thrice",
            &json!([{"valueString": "a"}, {"valueString": "b"}, {"valueString": "c"}, {"valueString": "d"}]),
        ),
        &["form-item-repeated .item[1]"],
    );
}

#[test]
fn answers_keep_to_what_the_form_asks() {
    let one = |link: &str, key: &str, value: Value, id: &str, place: &str| {
        let expected = format!("{id} .item[1].answer[0]{place}");
        let items = if link == "why" {
            json!([{"linkId": "sleeps", "answer": [{"valueBoolean": false}]}, {"linkId": link, "answer": [{key: value}]}])
        } else {
            answered(link, &json!([{key: value}]))
        };
        check(items, &[&expected]);
    };
    let (limit, option, type_, advice) =
        ("form-answer-limit", "form-answer-option", "form-answer-type", "form-answer-advice");
    one("day", "valueString", json!("x"), type_, ".value.ofType(string)");
    one("day", "valueDate", json!("2026-06"), limit, ".value.ofType(date)");
    one("hour", "valueTime", json!("07:59:59"), limit, ".value.ofType(time)");
    one("why", "valueString", json!("a"), limit, ".value.ofType(string)");
    one("why", "valueString", json!("abcdef"), limit, ".value.ofType(string)");
    one("why", "valueString", json!("ABC"), limit, ".value.ofType(string)");
    one("why", "valueString", json!("a\nb"), advice, ".value.ofType(string)");
    one("aids", "valueString", json!("wine"), option, "");
    one("aids", "valueCoding", json!({"system": "urn:b", "code": "tea"}), option, "");
    one("open", "valueString", json!("tea"), advice, "");
    one("open", "valueCoding", json!({"system": "urn:a", "code": "x"}), option, "");
    one("listed", "valueCoding", json!({"system": "urn:c", "code": "c"}), option, "");
    one(
        "kinds",
        "valueCoding",
        json!({"system": "http://hl7.org/fhir/item-type", "code": "string", "display": "Text"}),
        option,
        "",
    );
    one("lost", "valueCoding", json!({"system": "urn:c", "code": "c"}), "binding-unknown", "");
    one("photo", "valueAttachment", json!({"contentType": "text/plain"}), limit, "");
    one("photo", "valueAttachment", json!({"contentType": "image/png", "data": "YWJjZA=="}), limit, "");
    one("doctor", "valueReference", json!({"reference": "Patient/1"}), limit, ".value.ofType(Reference)");
    let quantity =
        |value: f64, code: &str| json!({"value": value, "system": "http://unitsofmeasure.org", "code": code});
    one("weight", "valueQuantity", quantity(1.25, "kg"), limit, ".value.ofType(Quantity)");
    one("weight", "valueQuantity", quantity(301.0, "kg"), limit, ".value.ofType(Quantity)");
    one("weight", "valueQuantity", quantity(300_001.0, "g"), limit, ".value.ofType(Quantity)");
    one("weight", "valueQuantity", quantity(1.0, "mg"), limit, ".value.ofType(Quantity)");
    check(
        answered("aids", &json!([{"valueCoding": {"system": "urn:a", "code": "none"}}, {"valueString": "milk"}])),
        &["form-answer-limit .item[1].answer[0]"],
    );
}

#[test]
fn a_form_is_found_or_asked_for() {
    let named = |canonical: &str| json!({"resourceType": "QuestionnaireResponse", "questionnaire": canonical, "status": "completed"});
    for canonical in ["urn:other", "urn:test:form|3", "#absent"] {
        assert_eq!(found(&VALIDATOR, &named(canonical)), ["form-unknown QuestionnaireResponse"], "{canonical}");
    }
    let mut own = named("#own");
    own["authored"] = json!("2026-07-01");
    let mut contained = form();
    contained["id"] = json!("own");
    contained.as_object_mut().unwrap().remove("contained");
    own["contained"] = json!([contained]);
    assert_eq!(
        found(&VALIDATOR, &own),
        ["form-period QuestionnaireResponse.authored", "form-answer-missing QuestionnaireResponse"]
    );
}

#[test]
fn a_form_without_types_cannot_be_answered() {
    let response = json!({"resourceType": "QuestionnaireResponse", "questionnaire": "#q", "status": "completed",
        "contained": [{"resourceType": "Questionnaire", "id": "q", "status": "active", "item": [{"linkId": "a"}]}],
        "item": [{"linkId": "a"}]});
    assert_eq!(found(&VALIDATOR, &response), ["form-item-type QuestionnaireResponse.item[0]"]);
}

#[test]
fn questionnaires_agree_with_themselves() {
    let asked = |question: &str| json!([{"question": question, "operator": "exists", "answerBoolean": true}]);
    for (question, expected) in [
        ("a", None),
        ("b", Some("form-condition Questionnaire.item[1]")),
        ("c", Some("form-condition Questionnaire.item[1]")),
        ("d", Some("form-condition-order Questionnaire.item[1]")),
        ("e", Some("form-condition Questionnaire.item[1]")),
    ] {
        let form = json!({"resourceType": "Questionnaire", "status": "active", "item": [
            {"linkId": "a", "type": "boolean"},
            {"linkId": "b", "type": "group", "enableWhen": asked(question), "item": [{"linkId": "c", "type": "boolean"}]},
            {"linkId": "d", "type": "boolean"}]});
        assert_eq!(found(&VALIDATOR, &form), expected.into_iter().collect::<Vec<_>>(), "{question}");
    }
}

#[test]
fn derived_questionnaires_narrow() {
    let derived = |code: &str, item: Value| {
        json!({"resourceType": "Questionnaire", "status": "active", "derivedFrom": ["urn:test:form"],
            "_derivedFrom": [{"extension": [{"url": format!("{CORE}questionnaire-derivationType"),
                "valueCoding": {"system": "http://hl7.org/fhir/questionnaire-derivationType", "code": code}}]}],
            "item": [item]})
    };
    let own = json!({"linkId": "own", "type": "string"});
    for (code, item, expected) in [
        ("extends", own.clone(), None),
        ("inspiredBy", own.clone(), None),
        ("compliesWith", own, Some("")),
        ("extends", json!({"linkId": "sleeps", "type": "string"}), Some(".type")),
        ("extends", json!({"linkId": "sleeps", "type": "boolean", "required": false}), Some(".required")),
        ("extends", json!({"linkId": "sleeps", "type": "boolean", "repeats": true}), Some(".repeats")),
        ("extends", json!({"linkId": "why", "type": "string", "maxLength": 6}), Some(".maxLength")),
        ("extends", json!({"linkId": "open", "type": "open-choice"}), Some("")),
        (
            "extends",
            json!({"linkId": "open", "type": "open-choice", "answerOption": [{"valueString": "x"}]}),
            Some(".answerOption[0]"),
        ),
    ] {
        let form = derived(code, item);
        let expected: Vec<String> =
            expected.iter().map(|place| format!("form-derivation Questionnaire.item[0]{place}")).collect();
        assert_eq!(found(&VALIDATOR, &form), expected, "{form:#}");
    }
    let lost = json!({"resourceType": "Questionnaire", "status": "active", "derivedFrom": ["urn:gone"]});
    assert_eq!(found(&VALIDATOR, &lost), ["form-derivation-unknown Questionnaire.derivedFrom[0]"]);
}

#[test]
fn expressions_enable_items() {
    let url = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-enableWhenExpression";
    for (expression, is_enabled) in
        [("%resource.status = 'amended'", false), ("item.exists()", true), ("%patient.exists()", true), ("((", true)]
    {
        let response = json!({"resourceType": "QuestionnaireResponse", "questionnaire": "#q", "status": "completed",
            "contained": [{"resourceType": "Questionnaire", "id": "q", "status": "active", "item": [
                {"linkId": "a", "type": "boolean", "extension": [
                    {"url": url, "valueExpression": {"language": "text/fhirpath", "expression": expression}}]}]}],
            "item": [{"linkId": "a", "answer": [{"valueBoolean": true}]}]});
        let expected = if is_enabled { vec![] } else { vec!["form-item-disabled QuestionnaireResponse.item[0]"] };
        assert_eq!(found(&VALIDATOR, &response), expected, "{expression}");
    }
}

#[test]
fn thousands_of_items_are_checked() {
    let items: Vec<Value> = (0..3000)
        .map(|at| {
            json!({"linkId": format!("i{at}"), "type": "boolean",
            "enableWhen": [{"question": "i0", "operator": "=", "answerBoolean": true}]})
        })
        .collect();
    let mut form = json!({"resourceType": "Questionnaire", "url": "urn:test:long", "status": "active", "item": items});
    form["item"][0].as_object_mut().unwrap().remove("enableWhen");
    let answers: Vec<Value> =
        (0..3000).map(|at| json!({"linkId": format!("i{at}"), "answer": [{"valueBoolean": true}]})).collect();
    let response = json!({"resourceType": "QuestionnaireResponse", "questionnaire": "urn:test:long", "status": "completed", "item": answers});
    let document = json::parse(form.to_string()).unwrap();
    let validator = Validator::new(Registry::with(vec![document]).unwrap());
    assert_eq!(found(&validator, &response), Vec::<String>::new());
}
