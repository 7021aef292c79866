//! One change of a good resource, one issue at one place; and the suites of others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::*;
use crate::fhir::outcome::{CATALOGUE, Id, has_errors};
use crate::fhir::tree::json;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(own_registry()));

/// The core definitions with a profile that uses what the core profiles do not: order, closed slices,
/// patterns, existence, ranges, lengths.
fn own_registry() -> Arc<Registry> {
    let documents = OWN.lines().map(|line| json::parse(line).unwrap()).collect();
    Registry::with(documents).unwrap()
}

const OWN: &str = include_str!("goldens/own-definitions.ndjson");

const HEARTRATE: &str = r#"{"resourceType":"Observation","status":"final",
  "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],
  "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
  "subject":{"reference":"Patient/1"},
  "effectiveDateTime":"2026-03-01T08:00:00+01:00",
  "valueQuantity":{"value":72.50,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}"#;

const BP: &str = r#"{"resourceType":"Observation","status":"final",
  "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],
  "code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},
  "subject":{"reference":"Patient/1"},
  "effectiveDateTime":"2026-03-01T08:00:00+01:00",
  "component":[
    {"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},
     "valueQuantity":{"value":120,"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}},
    {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},
     "valueQuantity":{"value":80,"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}]}"#;

const CODED: &str = r#"{"resourceType":"Patient","maritalStatus":{"coding":[
  {"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus","code":"M","display":"married"}]}}"#;

const MARITAL: &str = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus";

const PATIENT: &str = r#"{"resourceType":"Patient","gender":"female","birthDate":"1980-02-29"}"#;

fn issues(text: &str) -> Vec<Issue> {
    let document = json::parse(text).unwrap_or_else(|issue| panic!("{}: {text}", issue.text));
    VALIDATOR.check(Element::root(&document), &Options::default()).issues
}

fn shown(issues: &[Issue]) -> Vec<String> {
    issues.iter().map(|issue| format!("{} {} {}", issue.id, issue.expression, issue.text)).collect()
}

/// `text` with one piece replaced must raise that issue at that place.
fn check(text: &str, from: &str, to: &str, id: Id, expression: &str) {
    assert!(text.contains(from), "{from} is not in the template");
    let found = issues(&text.replacen(from, to, 1));
    assert!(
        found.iter().any(|issue| issue.id == id && issue.expression == expression),
        "{from} -> {to}: {id} at {expression} is not among {:#?}",
        shown(&found)
    );
}

#[test]
fn valid_resources_raise_nothing() {
    for text in [HEARTRATE, BP, PATIENT] {
        assert_eq!(shown(&issues(text)), Vec::<String>::new());
    }
}

/// One case for each issue; the next test holds the list complete.
const CASES: &[(&str, &str, &str, Id, &str)] = &[
    (PATIENT, "\"resourceType\":\"Patient\",", "", Id::ResourceTypeMissing, ""),
    (PATIENT, "Patient", "Pacient", Id::ResourceTypeUnknown, "Pacient"),
    (PATIENT, "gender", "sex", Id::ElementUnknown, "Patient.sex"),
    (PATIENT, "\"1980-02-29\"", "[\"1980-02-29\"]", Id::ElementShape, "Patient.birthDate"),
    (PATIENT, "\"1980-02-29\"", "19800229", Id::ElementShape, "Patient.birthDate"),
    (PATIENT, "\"gender\"", "\"_id\":{\"id\":\"x\"},\"gender\"", Id::ElementShape, "Patient._id"),
    (PATIENT, "\"gender\"", "\"name\":[\"x\"],\"gender\"", Id::ElementShape, "Patient.name[0]"),
    (PATIENT, "\"gender\"", "\"_name\":[{\"id\":\"x\"}],\"gender\"", Id::ElementShape, "Patient._name"),
    (PATIENT, "\"gender\"", "\"name\":[],\"gender\"", Id::ElementEmpty, "Patient.name"),
    (PATIENT, "\"gender\"", "\"name\":[{}],\"gender\"", Id::ElementEmpty, "Patient.name[0]"),
    (PATIENT, "\"female\"", "null", Id::ElementEmpty, "Patient.gender"),
    (PATIENT, "\"female\"", "\"\"", Id::ElementEmpty, "Patient.gender"),
    (PATIENT, "\"gender\"", "\"name\":[{\"given\":[null]}],\"gender\"", Id::ElementEmpty, "Patient.name[0].given[0]"),
    (
        PATIENT,
        "\"gender\"",
        "\"name\":[{\"given\":[\"a\"],\"_given\":[{\"id\":\"x\"},null]}],\"gender\"",
        Id::ElementEmpty,
        "Patient.name[0].given",
    ),
    (HEARTRATE, "\"subject\":{", "\"subject\":{\"_id\":{\"id\":\"x\"},", Id::ElementShape, "Observation.subject._id"),
    (PATIENT, "\"gender\"", "\"name\":[{\"text\":\" \"}],\"gender\"", Id::TextBlank, "Patient.name[0].text"),
    (HEARTRATE, "\"code\":{\"coding\"", "\"bodySite\":{\"coding\"", Id::CardinalityMin, "Observation.code"),
    (HEARTRATE, "\"subject\":{\"reference\":\"Patient/1\"},", "", Id::CardinalityMin, "Observation.subject"),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"note\":[{\"text\":\"a\"},{\"text\":\"b\"}],\"status\"",
        Id::CardinalityMax,
        "Observation.note",
    ),
    (
        HEARTRATE,
        "\"valueQuantity\"",
        "\"valueString\":\"x\",\"valueQuantity\"",
        Id::ChoiceRepeated,
        "Observation.valueQuantity",
    ),
    (
        HEARTRATE,
        "\"valueQuantity\"",
        "\"valueAddress\":{\"city\":\"x\"},\"x\"",
        Id::TypeMismatch,
        "Observation.valueAddress",
    ),
    (
        HEARTRATE,
        "\"valueQuantity\":{",
        "\"valueString\":\"72\",\"method\":{\"text\":\"x\"},\"x\":{",
        Id::TypeMismatch,
        "Observation.value.ofType(string)",
    ),
    (PATIENT, "\"gender\":\"female\"", "\"_gender\":{\"id\":\"g\"}", Id::BindingRequired, "Patient.gender"),
    (PATIENT, "female", "woman", Id::CodeMeaningless, "Patient.gender"),
    (CODED, "\"M\"", "\"Q\"", Id::CodeUnlisted, "Patient.maritalStatus.coding[0].code"),
    (
        CODED,
        "\"M\",\"display\":\"married\"",
        "\"M\",\"display\":\"wed\"",
        Id::DisplayWrong,
        "Patient.maritalStatus.coding[0].display",
    ),
    (
        CODED,
        MARITAL,
        "http://hl7.org/fhir/administrative-gender",
        Id::CodeUnknown,
        "Patient.maritalStatus.coding[0].code",
    ),
    (
        PATIENT,
        "\"gender\"",
        "\"identifier\":[{\"system\":\"urn:ietf:rfc:3986\",\"value\":\"1.2\"}],\"gender\"",
        Id::IdentifierValue,
        "Patient.identifier[0].value",
    ),
    (
        PATIENT,
        "\"gender\"",
        "\"meta\":{\"security\":[{\"system\":\"urn:iso:s\",\"code\":\"a\"},{\"system\":\"urn:iso:s\",\"code\":\"a\"}]},\"gender\"",
        Id::LabelRepeated,
        "Patient.meta.security[1]",
    ),
    (CODED, MARITAL, "http://hl7.org/fhir/nothing", Id::SystemUnknown, "Patient.maritalStatus.coding[0].system"),
    (CODED, MARITAL, "http://a.b/c", Id::CodeSystemUnknown, "Patient.maritalStatus.coding[0].system"),
    (CODED, MARITAL, "v3-MaritalStatus", Id::SystemRelative, "Patient.maritalStatus.coding[0].system"),
    (
        CODED,
        MARITAL,
        "http://hl7.org/fhir/ValueSet/marital-status",
        Id::SystemIsValueSet,
        "Patient.maritalStatus.coding[0].system",
    ),
    (
        CODED,
        "\"system\":\"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus\",",
        "",
        Id::CodingSystemMissing,
        "Patient.maritalStatus.coding[0]",
    ),
    (
        CODED,
        MARITAL,
        "http://hl7.org/fhir/CodeSystem/example-supplement",
        Id::SystemIsSupplement,
        "Patient.maritalStatus.coding[0].system",
    ),
    (
        CODED,
        "CodeSystem/v3-MaritalStatus\",\"code\":\"M\"",
        "CodeSystem/v3-Confidentiality\",\"code\":\"B\"",
        Id::CodeInactive,
        "Patient.maritalStatus.coding[0]",
    ),
    (PATIENT, "1980-02-29", "1981-02-29", Id::PrimitiveFormat, "Patient.birthDate"),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"note\":[{\"text\":\"longer than ten\"}],\"status\"",
        Id::MaxLength,
        "Observation.note[0].text",
    ),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"issued\":\"1999-01-01T00:00:00Z\",\"status\"",
        Id::ValueRange,
        "Observation.issued",
    ),
    (HEARTRATE, "\"code\":\"/min\"", "\"code\":\"/h\"", Id::MeasureUnit, "Observation.value.ofType(Quantity)"),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"language\":\"en\",\"status\"",
        Id::FixedValue,
        "Observation.language",
    ),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"method\":{\"text\":\"x\"},\"status\"",
        Id::PatternValue,
        "Observation.method",
    ),
    (CLAIMED, "vital-signs\"}", "laboratory\"}", Id::SliceMin, "Observation.category"),
    (BP, "8462-4", "8480-6", Id::SliceMin, "Observation.component"),
    (BP, "8462-4", "8480-6", Id::SliceMax, "Observation.component"),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"identifier\":[{\"system\":\"urn:c\",\"value\":\"1\"}],\"status\"",
        Id::SliceUnmatched,
        "Observation.identifier[0]",
    ),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"identifier\":[{\"system\":\"urn:b\"},{\"system\":\"urn:a\",\"value\":\"1\"}],\"status\"",
        Id::SliceOrder,
        "Observation.identifier[1]",
    ),
    (HEARTRATE, "final", "finished", Id::BindingRequired, "Observation.status"),
    (
        HEARTRATE,
        "\"status\"",
        "\"interpretation\":[{\"coding\":[{\"system\":\"urn:x\",\"code\":\"y\"}]}],\"status\"",
        Id::BindingExtensible,
        "Observation.interpretation[0]",
    ),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"bodySite\":{\"coding\":[{\"system\":\"http://snomed.info/sct\",\"code\":\"1\"}]},\"status\"",
        Id::BindingUnknown,
        "Observation.bodySite",
    ),
    (HEARTRATE, "\"code\":\"/min\"", "\"code\":\"bpm\"", Id::UnitUnknown, "Observation.value.ofType(Quantity).code"),
    (HEARTRATE, "\"status\"", "\"dataAbsentReason\":{\"text\":\"x\"},\"status\"", Id::Invariant, "Observation"),
    (VALUE_SET, "Upper", "lower", Id::InvariantWarning, "ValueSet"),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"status\"",
        Id::InvariantUndecided,
        "Observation.code",
    ),
    (
        PATIENT,
        "\"gender\"",
        "\"text\":{\"status\":\"generated\",\"div\":\"<div xmlns='http://www.w3.org/1999/xhtml'><script>x</script></div>\"},\"gender\"",
        Id::NarrativeInvalid,
        "Patient.text.div",
    ),
    (HEARTRATE, "Patient/1", "patient 1", Id::ReferenceSuspicious, "Observation.subject"),
    (HEARTRATE, "Patient/1", "Organization/1", Id::ReferenceTarget, "Observation.subject"),
    (HEARTRATE, "Patient/1", "#p", Id::ContainedUnresolved, "Observation.subject"),
    (
        BUNDLE,
        "urn:uuid:6b0f0c2e-0000-4000-8000-000000000001\"}",
        "urn:uuid:6b0f0c2e-0000-4000-8000-000000000009\"}",
        Id::ReferenceElsewhere,
        "Bundle.entry[1].resource.subject",
    ),
    (
        TRANSACTION,
        "urn:uuid:6b0f0c2e-0000-4000-8000-000000000001\"}",
        "urn:uuid:6b0f0c2e-0000-4000-8000-000000000002\"}",
        Id::ReferenceUnresolved,
        "Bundle.entry[0].resource.subject",
    ),
    (BUNDLE, SECOND, "http://a.b/Patient/7", Id::FullUrlMismatch, "Bundle.entry[1]"),
    (BUNDLE, SECOND, "http://a.b/Observation/7", Id::FullUrlId, "Bundle.entry[1]"),
    (BUNDLE, SECOND, "Observation/b", Id::FullUrlForm, "Bundle.entry[1]"),
    (
        BUNDLE,
        "\"fullUrl\":\"urn:uuid:6b0f0c2e-0000-4000-8000-000000000002\",",
        "",
        Id::FullUrlMissing,
        "Bundle.entry[1]",
    ),
    (
        BUNDLE,
        "\"entry\"",
        "\"link\":[{\"relation\":\"self\",\"url\":\"a\"},{\"relation\":\"self\",\"url\":\"b\"}],\"entry\"",
        Id::BundleRule,
        "Bundle.link[1]",
    ),
    (DOCUMENT, "\"Patient/p\"", "\"Patient/q\"", Id::BundleReference, "Bundle.entry[0].resource.subject"),
    (DOCUMENT, "\"Patient/p\"", "\"Patient/q\"", Id::EntryUnreachable, "Bundle.entry[1]"),
    (
        MESSAGE,
        "\"urn:uuid:6b0f0c2e-0000-4000-8000-000000000002\"}]",
        "\"urn:uuid:6b0f0c2e-0000-4000-8000-000000000003\"}]",
        Id::EntryUnneeded,
        "Bundle.entry[1]",
    ),
    (SEARCH_SET, "\"id\":\"p\",", "", Id::SearchResult, "Bundle.entry[0].resource"),
    (SEARCH_SET, "Patient?", "Observation?", Id::SearchResult, "Bundle.entry[0].resource"),
    (SEARCH_SET, "\"match\"", "\"outcome\"", Id::SearchResult, "Bundle.entry[0].resource"),
    (
        HEARTRATE,
        "\"status\"",
        "\"extension\":[{\"url\":\"http://a.b/c\",\"valueCode\":\"x\"}],\"status\"",
        Id::ExtensionUnknown,
        "Observation.extension[0]",
    ),
    (
        HEARTRATE,
        "\"status\"",
        "\"modifierExtension\":[{\"url\":\"http://a.b/c\",\"valueCode\":\"x\"}],\"status\"",
        Id::ModifierExtensionUnknown,
        "Observation.modifierExtension[0]",
    ),
    (
        PATIENT,
        "\"gender\"",
        "\"implicitRules\":\"http://a.b/c\",\"gender\"",
        Id::ImplicitRulesUnknown,
        "Patient.implicitRules",
    ),
    (
        PATIENT,
        "\"gender\"",
        "\"meta\":{\"profile\":[\"http://a.b/c\"]},\"gender\"",
        Id::ProfileUnknown,
        "Patient.meta.profile[0]",
    ),
    (HEARTRATE, "\"code\":\"/min\"", "\"code\":\"/h\"", Id::MeasureUnit, "Observation.value.ofType(Quantity)"),
    (HEARTRATE, "72.50", "7250", Id::MeasureImplausible, "Observation.value.ofType(Quantity)"),
    (HEARTRATE, "72.50", "225", Id::MeasureUnusual, "Observation.value.ofType(Quantity)"),
    (BP, "120", "20000", Id::MeasureImplausible, "Observation.component[0].value.ofType(Quantity)"),
];

/// Extensions and references: where they stand and lead to.
const PLACES: &[(&str, &str, &str, Id, &str)] = &[
    (DOCUMENT, "\"Patient/p\"", "\"Patient\"", Id::ReferenceFormat, "Bundle.entry[0].resource.subject"),
    (LINKED, "\"birthDate\":\"1980-02-29\"", "\"gender\":\"female\"", Id::ReferenceProfile, "Observation.subject"),
    (LINKED, "#p\"}", "Patient/p\"}", Id::ReferencePlace, "Observation.subject"),
    (LINKED, "long enough", "no", Id::MinLength, "Observation.note[0].text"),
    (
        LINKED,
        "\"note\"",
        "\"_issued\":{\"extension\":[{\"url\":\"http://a.b/c\",\"valueCode\":\"x\"}]},\"note\"",
        Id::ValueMissing,
        "Observation.issued",
    ),
    (LINKED, "\"subject\":{", "\"subject\":{\"type\":\"Device\",", Id::ReferenceTarget, "Observation.subject"),
    (PLACED, "\"urn:test:placed\"", "\"urn:test:placed|1\"", Id::ExtensionUrl, "Patient.name[0].extension[0]"),
    (PLACED, "\"urn:test:placed\"", "\"\"", Id::ExtensionUrl, "Patient.name[0].extension[0]"),
    (PLACED, "\"urn:test:placed\"", "\"placed\"", Id::ExtensionUrl, "Patient.name[0].extension[0]"),
    (PLACED, "\"part\"", "\"parts\"", Id::ExtensionUrl, "Patient.name[0].extension[0].extension[0]"),
    (PLACED, "\"name\"", "\"address\"", Id::ExtensionContext, "Patient.address[0]"),
    (PLACED, "\"family\"", "\"text\"", Id::ExtensionContext, "Patient.name[0]"),
    (PLACED, "\"name\"", "\"contact\"", Id::ExtensionContext, "Patient.contact[0]"),
    (
        PLACED,
        "\"extension\":[{\"url\":\"urn:test:placed\",",
        "\"extension\":[{\"url\":\"urn:test:turning\",",
        Id::ExtensionModifier,
        "Patient.name[0].extension[0]",
    ),
];

const PLACES_OF_ELEMENTS: &[(&str, &str, &str, Id, &str)] = &[
    (
        PATIENT,
        "\"gender\"",
        "\"photo\":[{\"contentType\":\"image/png\",\"data\":\"TWFu\",\"size\":4}],\"gender\"",
        Id::AttachmentSize,
        "Patient.photo[0]",
    ),
    (
        HEARTRATE,
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:overlap\"]},\"identifier\":[{\"system\":\"urn:a\"}],\"status\"",
        Id::SliceAmbiguous,
        "Observation.identifier[0]",
    ),
    (
        PATIENT,
        "\"gender\"",
        "\"name\":[{\"id\":\"a\",\"text\":\"x\"},{\"id\":\"a\",\"text\":\"y\"}],\"gender\"",
        Id::ElementIdRepeated,
        "Patient.name[1]",
    ),
];

const LINKED: &str = r##"{"resourceType":"Observation","meta":{"profile":["urn:test:linked"]},
  "contained":[{"resourceType":"Patient","id":"p","birthDate":"1980-02-29"}],
  "status":"final","code":{"text":"x"},"subject":{"reference":"#p"},"note":[{"text":"long enough"}]}"##;

const PLACED: &str = r#"{"resourceType":"Patient","name":[{"family":"x",
  "extension":[{"url":"urn:test:placed","extension":[{"url":"part","valueCode":"x"}]}]}]}"#;

#[test]
fn only_known_extensions_where_that_is_asked_for() {
    let text =
        PATIENT.replace("\"gender\"", "\"extension\":[{\"url\":\"http://a.b/c\",\"valueCode\":\"x\"}],\"gender\"");
    let document = json::parse(text).unwrap();
    let found = |options: &Options<'_>| VALIDATOR.check(Element::root(&document), options).issues;
    let known = Options { known_extensions: true, ..Options::default() };
    assert_eq!(found(&known)[0].id, Id::ExtensionNotAllowed);
    let bundle = BUNDLE.replacen("\"entry\"", "\"meta\":{\"profile\":[\"urn:test:gone\"]},\"entry\"", 1);
    let bundle = json::parse(bundle).unwrap();
    let issues =
        VALIDATOR.check(Element::root(&bundle), &Options { known_extensions: true, ..Options::default() }).issues;
    assert!(issues.iter().any(|issue| issue.id == Id::ProfileMissing), "{:#?}", shown(&issues));
    let free = Options { extension_domains: &["http://a.b/"], ..known };
    assert_eq!(found(&free)[0].id, Id::ExtensionUnknown);
}

/// A claim is checked whatever the category says.
const CLAIMED: &str = r#"{"resourceType":"Observation","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/heartrate"]},
  "status":"final",
  "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],
  "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
  "subject":{"reference":"Patient/1"},"effectiveDateTime":"2026-03-01",
  "valueQuantity":{"value":72,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}"#;

const VALUE_SET: &str = r#"{"resourceType":"ValueSet","status":"draft","name":"Upper"}"#;

const SECOND: &str = "urn:uuid:6b0f0c2e-0000-4000-8000-000000000002";

const TRANSACTION: &str = r#"{"resourceType":"Bundle","type":"transaction","entry":[
  {"fullUrl":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000001","resource":{"resourceType":"Observation","status":"final","code":{"text":"x"},
   "subject":{"reference":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000001"}},"request":{"method":"POST","url":"Observation"}}]}"#;

const DOCUMENT: &str = r#"{"resourceType":"Bundle","type":"document","timestamp":"2026-03-01T08:00:00Z",
  "identifier":{"system":"http://a.b/c","value":"1"},"entry":[
  {"fullUrl":"http://a.b/Composition/c","resource":{"resourceType":"Composition","id":"c","status":"final",
   "type":{"text":"x"},"subject":{"reference":"Patient/p"},"date":"2026-03-01","title":"x",
   "author":[{"display":"x"}]}},
  {"fullUrl":"http://a.b/Patient/p","resource":{"resourceType":"Patient","id":"p","gender":"female"}}]}"#;

const MESSAGE: &str = r#"{"resourceType":"Bundle","type":"message","entry":[
  {"fullUrl":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000001","resource":{"resourceType":"MessageHeader","eventUri":"http://a.b/c",
   "source":{"endpoint":"http://a.b"},"focus":[{"reference":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000002"}]}},
  {"fullUrl":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000002","resource":{"resourceType":"Patient","gender":"female"}}]}"#;

const SEARCH_SET: &str = r#"{"resourceType":"Bundle","type":"searchset",
  "link":[{"relation":"self","url":"http://a.b/Patient?name=x"}],"entry":[
  {"fullUrl":"http://a.b/Patient/p","resource":{"resourceType":"Patient","id":"p","gender":"female"},
   "search":{"mode":"match"}}]}"#;

const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[
  {"fullUrl":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000001","resource":{"resourceType":"Patient","id":"a","gender":"female"}},
  {"fullUrl":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000002","resource":{"resourceType":"Observation","id":"b","status":"final",
   "code":{"text":"x"},"subject":{"reference":"urn:uuid:6b0f0c2e-0000-4000-8000-000000000001"}}}]}"#;

#[test]
fn each_rule_says_what_and_where() {
    for (text, from, to, id, expression) in CASES.iter().chain(PLACES).chain(PLACES_OF_ELEMENTS) {
        check(text, from, to, *id, expression);
    }
    for good in [LINKED, PLACED, BUNDLE, DOCUMENT, MESSAGE, SEARCH_SET] {
        assert_eq!(shown(&issues(good)), Vec::<String>::new());
    }
}

#[test]
fn every_issue_of_this_floor_is_triggered() {
    let first = CATALOGUE.iter().position(|entry| entry.id == Id::ResourceTypeMissing).unwrap();
    let last = CATALOGUE.iter().position(|entry| entry.id == Id::MeasureUnusual).unwrap();
    // These depend on what the caller asks for, and are tried beside their rule.
    let aside = [Id::BindingUndecided, Id::DisplayUnusual, Id::ExtensionNotAllowed, Id::ProfileMissing];
    let triggered: BTreeSet<Id> =
        CASES.iter().chain(PLACES).chain(PLACES_OF_ELEMENTS).map(|case| case.3).chain(aside).collect();
    let missing: Vec<Id> =
        CATALOGUE[first..=last].iter().map(|entry| entry.id).filter(|id| !triggered.contains(id)).collect();
    assert_eq!(missing, Vec::<Id>::new(), "each issue needs a case");
}

/// A unit that is wrong is one mistake, whichever parts of it profiles fix.
#[test]
fn a_wrong_unit_is_told_once() {
    let claimed = HEARTRATE.replacen(
        "\"status\"",
        "\"meta\":{\"profile\":[\"http://hl7.org/fhir/StructureDefinition/heartrate\"]},\"status\"",
        1,
    );
    for text in [HEARTRATE, &claimed] {
        let wrong = text.replacen("\"code\":\"/min\"", "\"code\":\"/h\"", 1);
        let found: Vec<Id> = issues(&wrong).iter().filter(|issue| issue.is_error()).map(|issue| issue.id).collect();
        assert_eq!(found, [Id::MeasureUnit], "{wrong}");
    }
}

/// Defects that peers were measured with; the reference validator finds all of them.
#[test]
fn the_twelve_seeded_defects_are_found() {
    let defects = [
        ("\"code\":{\"coding\"", "\"bodySite\":{\"coding\""),
        ("final", "finished"),
        ("\"code\":\"/min\"", "\"code\":\"bpm\""),
        ("2026-03-01T08:00:00+01:00", "2026-02-30"),
        ("2026-03-01T08:00:00+01:00", "01/03/2026"),
        ("\"status\"", "\"statuss\":\"final\",\"status\""),
        ("72.50", "\"72.50\""),
        ("\"category\"", "\"note\""),
        ("valueQuantity", "extension\":[{\"url\":\"http://a.b/c\",\"valueCode\":\"x\"}],\"x"),
        ("8867-4", "8480-6"),
        ("\"valueQuantity\"", "\"valueString\":\"72\",\"valueQuantity\""),
        ("\"status\"", "\"note\":[],\"status\""),
    ];
    let profile = ["http://hl7.org/fhir/StructureDefinition/heartrate"];
    for (from, to) in defects {
        let document = json::parse(HEARTRATE.replacen(from, to, 1)).unwrap();
        let options = Options { profiles: &profile, ..Options::default() };
        let report = VALIDATOR.check(Element::root(&document), &options);
        assert!(has_errors(&report.issues), "{from} -> {to}");
    }
}

/// What validators in this language were seen to miss.
#[test]
fn a_wrong_blood_pressure_is_refused() {
    let diastolic = &BP[BP.find(",\n    {").unwrap()..BP.rfind(']').unwrap()];
    let mutants = [
        BP.replace(diastolic, ""),
        BP.replace(diastolic, &format!("{diastolic}{diastolic}")),
        BP.replacen("mm[Hg]", "kPa", 1),
        BP.replacen("\"code\":\"mm[Hg]\"", "\"code\":\"mmHg\"", 1),
        BP.replacen(",\"code\":\"mm[Hg]\"", "", 1),
        BP.replacen("\"value\":120,", "", 1),
        BP.replace("8462-4", "8478-0"),
        BP.replace("\"component\"", "\"valueQuantity\":{\"value\":1},\"component\""),
        BP.replace("Patient/1", "Device/1"),
        BP.replace("2026-03-01T08:00:00+01:00", "2026-03"),
        BP.replace("http://loinc.org\",\"code\":\"8480-6", "http://snomed.info/sct\",\"code\":\"8480-6"),
        BP.replace("120", "\"120\""),
    ];
    for mutant in mutants {
        assert_ne!(mutant, BP);
        assert!(has_errors(&issues(&mutant)), "{mutant}");
    }
}

#[test]
fn a_series_of_heart_rates_is_no_single_vital_sign() {
    let series = HEARTRATE.replace(
        &HEARTRATE[HEARTRATE.find("\"valueQuantity\"").unwrap()..],
        r#""valueSampledData":{"origin":{"value":0,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"},"period":1000,"dimensions":1,"data":"72 73 74"}}"#,
    );
    assert_eq!(shown(&issues(&series)), Vec::<String>::new());
    check(
        &series,
        "\"code\":\"/min\"",
        "\"code\":\"s\"",
        Id::MeasureUnit,
        "Observation.value.ofType(SampledData).origin",
    );
}

#[test]
fn no_issue_repeats_what_was_sent() {
    let secret = "zq7sentinel";
    for (from, to) in
        [("final", secret), ("8867-4", secret), ("/min\"}", "zq7sentinel\"}"), ("Patient/1", "zq7 sentinel")]
    {
        for issue in issues(&HEARTRATE.replace(from, to)) {
            assert!(!issue.text.contains("zq7"), "{}: {}", issue.id, issue.text);
        }
    }
}

#[test]
fn proof_is_given_for_what_passes() {
    let document = Arc::new(json::parse(HEARTRATE).unwrap());
    let validated = VALIDATOR.validate(Arc::clone(&document), NodeId::ROOT, &Options::default()).unwrap();
    assert_eq!(validated.kind(), "Observation");
    let broken = Arc::new(json::parse(HEARTRATE.replace("final", "x")).unwrap());
    assert!(VALIDATOR.validate(broken, NodeId::ROOT, &Options::default()).is_err());
}

#[test]
fn open_codes_are_asked_for() {
    let text = HEARTRATE.replacen(
        "\"status\"",
        "\"meta\":{\"profile\":[\"urn:test:narrow\"]},\"bodySite\":{\"coding\":[{\"system\":\"http://snomed.info/sct\",\"code\":\"1\"}]},\"status\"",
        1,
    );
    let document = json::parse(text).unwrap();
    let report = VALIDATOR.check(Element::root(&document), &Options::default());
    let about_sets: Vec<&Subject> =
        report.open.iter().map(|each| &each.about).filter(|about| **about != Subject::CodeSystem).collect();
    assert_eq!(about_sets, [&Subject::ValueSet("http://hl7.org/fhir/ValueSet/body-site".to_owned())]);
}

#[test]
fn no_flood_of_warnings_hides_an_error() {
    let note = r#"{"url":"http://a.b/c","valueCode":"x"}"#;
    let flood = vec![note; 500].join(",");
    let text = HEARTRATE.replacen("\"status\":\"final\"", &format!("\"extension\":[{flood}],\"status\":\"x\""), 1);
    let found = issues(&text);
    assert!(has_errors(&found));
    assert!(found.len() <= 200, "{}", found.len());
}

#[test]
fn nesting_ends() {
    let mut text = PATIENT.to_owned();
    for _ in 0..20 {
        text = format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{text}}}]}}"#);
    }
    assert!(issues(&text).iter().any(|issue| issue.id == Id::JsonTooDeep));
}

#[test]
fn an_entry_is_checked_where_it_stands() {
    let document = json::parse(BUNDLE.replace("\"female\"", "\"x\"")).unwrap();
    let bundle = Element::root(&document);
    let patient = bundle.get("entry").unwrap().get("resource").unwrap();
    let around = Arc::new(Entries::new(bundle));
    let options = Options { location: "Bundle.entry[0].resource", bundle: Some(&around), ..Options::default() };
    let report = VALIDATOR.check(patient, &options);
    assert_eq!(report.issues[0].expression, "Bundle.entry[0].resource.gender");
}

#[expect(clippy::disallowed_methods, reason = "what the test machine is asked to do is its own matter")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fhir/validate").join(path)
}

/// Compares with a committed text, or writes it when MHEALTH_BLESS is set.
fn golden(path: &str, text: &str) {
    let path = source(path);
    if setting("MHEALTH_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs; look and set MHEALTH_BLESS=1 to take it\n{text}", path.display());
}

#[test]
fn compiled_profiles_print_as_they_did() {
    for name in ["heartrate", "bp"] {
        let profile = VALIDATOR.profile(&format!("http://hl7.org/fhir/StructureDefinition/{name}")).unwrap();
        golden(&format!("goldens/{name}.txt"), &profile.to_string());
    }
    golden("goldens/narrow.txt", &VALIDATOR.profile("urn:test:narrow").unwrap().to_string());
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "\\{(\"(id|code|status|valueQuantity|component|category|extension|_status|contained|meta)\":(\\[\\]|\\{\\}|null|1|\"x\"|\\[\\{\"code\":1\\}\\]),){0,5}\"resourceType\":\"(Observation|Bundle|Patient)\"\\}") {
        if let Ok(document) = json::parse(text) {
            VALIDATOR.check(Element::root(&document), &Options::default());
        }
    }
}
