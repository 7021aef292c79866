//! Which resources a query string finds, value by value as R4 §3.1.1.4 says.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Document, Element, json};

fn pairs(query: &str) -> Vec<(String, String)> {
    let split = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| split(pair).unwrap_or_default()).collect()
}

fn parse(kind: &str, query: &str, lenient: bool) -> (Query, Vec<Issue>) {
    let (mut query, issues) = Query::parse(kind, &pairs(query), &Registry::core(), lenient);
    query.base = Some("https://here.example/fhir".to_owned());
    (query, issues)
}

fn millis(text: &str) -> i64 {
    Moment::parse(text).unwrap().interval_ms().0
}

const UPDATED: &str = "2026-03-10T12:00:00Z";

/// Whether the resource matches, checking on the way that what matches also meets the hints.
fn check(kind: &str, query: &str, document: &Document) -> bool {
    let (parsed, issues) = parse(kind, query, false);
    assert!(issues.is_empty(), "{kind}?{query}: {issues:?}");
    let resource = Element::root(document);
    let matches = parsed.matches(resource, millis(UPDATED));
    if matches {
        assert_hints(&parsed.hints(), resource, query);
    }
    matches
}

fn assert_hints(hints: &Hints, resource: Element<'_>, query: &str) {
    let meets = |(low, high): (i64, i64), (start, end): (i64, i64)| start < high && end > low;
    if let Some(ids) = &hints.ids {
        assert!(ids.iter().any(|id| resource.text_of("id") == Some(id)), "{query}");
    }
    if let Some(patients) = &hints.patients {
        let subject = resource.get("subject").or_else(|| resource.get("patient")).unwrap();
        let text = subject.text_of("reference").unwrap();
        assert!(patients.iter().any(|id| text.contains(&format!("Patient/{id}"))), "{query}");
    }
    if let Some(codes) = &hints.codes {
        let code = resource.get("code").unwrap();
        let has = |coding: Element<'_>| {
            codes.iter().any(|(system, code)| {
                coding.text_of("code") == Some(code)
                    && system.as_deref().is_none_or(|system| coding.text_of("system") == Some(system))
            })
        };
        assert!(code.all("coding").any(has), "{query}");
    }
    if let Some(date) = hints.date_ms {
        let effective = resource.children().find(|(name, _)| name.starts_with("effective")).unwrap().1;
        assert!(meets(date, date::interval(effective).unwrap()), "{query}");
    }
    if let Some(updated) = hints.updated_ms {
        assert!(meets(updated, (millis(UPDATED), millis(UPDATED) + 1)), "{query}");
    }
    if let Some((system, value)) = &hints.identifier {
        let has = |identifier: Element<'_>| {
            identifier.text_of("value") == Some(value)
                && system.as_deref().is_none_or(|system| identifier.text_of("system") == Some(system))
        };
        assert!(resource.all("identifier").any(has), "{query}");
    }
}

/// Runs a table of queries over one resource.
fn table(kind: &str, resource: &str, rows: &[(&str, bool)]) {
    let document = json::parse(resource).unwrap();
    let mut wrong = String::new();
    for (query, expected) in rows {
        if check(kind, query, &document) != *expected {
            writeln!(wrong, "{kind}?{query} should be {expected}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const WEIGHT: &str = r#"{"resourceType":"Observation","id":"w1","status":"final",
 "meta":{"profile":["http://hl7.org/fhir/StructureDefinition/bodyweight"],"source":"urn:app:1",
  "tag":[{"system":"urn:t","code":"demo"}],"security":[{"system":"urn:s","code":"R"}]},
 "identifier":[{"system":"urn:scale","value":"a,b|1"},{"value":"plain"}],
 "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],
 "code":{"coding":[{"system":"http://loinc.org","code":"29463-7","display":"Body weight"},{"code":"local"}],"text":"Weight"},
 "subject":{"reference":"Patient/p1"},
 "performer":[{"reference":"https://elsewhere.example/fhir/Practitioner/d1"},{"reference":"https://here.example/fhir/Patient/p1"}],
 "device":{"identifier":{"system":"urn:dev","value":"77"}},
 "effectiveDateTime":"2026-03-09T23:30:00-02:00",
 "valueQuantity":{"value":72.5,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}"#;

#[test]
fn tokens() {
    table(
        "Observation",
        WEIGHT,
        &[
            ("", true),
            ("_id=w1", true),
            ("_id=w2,w1", true),
            ("_id=w2", false),
            ("code=29463-7", true),
            ("code=http://loinc.org|29463-7", true),
            ("code=http://loinc.org|", true),
            ("code=http://snomed.info/sct|", false),
            ("code=http://snomed.info/sct|29463-7", false),
            ("code=|29463-7", false),
            ("code=|local", true),
            ("code=LOCAL", false),
            ("code=8867-4,http://loinc.org|29463-7", true),
            ("code=29463-7&code=local", true),
            ("code=29463-7&code=8867-4", false),
            ("code:not=8867-4", true),
            ("code:not=8867-4,local", false),
            ("code:text=weig", true),
            ("code:text=body w", true),
            ("code:text=eight", false),
            ("status:below=http://hl7.org/fhir/observation-status|final", true),
            ("status:above=http://hl7.org/fhir/observation-status|corrected", false),
            ("code:missing=false", true),
            ("code:missing=true", false),
            ("method:missing=true", true),
            ("method:not=x", true),
            ("status=final", true),
            ("status=http://hl7.org/fhir/observation-status|final", true),
            ("status=http://hl7.org/fhir/observation-status|", true),
            ("status=urn:other|final", false),
            ("status=preliminary,final", true),
            ("status:in=http://hl7.org/fhir/ValueSet/observation-status", true),
            ("status:not-in=http://hl7.org/fhir/ValueSet/observation-status", false),
            (r"identifier=urn:scale|a\,b\|1", true),
            (r"identifier=a\,b\|1", true),
            ("identifier=|plain", true),
            (r"identifier=|a\,b\|1", false),
            ("identifier=urn:other|plain", false),
            ("category=vital-signs", true),
            ("_tag=urn:t|demo", true),
            ("_security=R", true),
            ("_security=N", false),
            ("_profile=http://hl7.org/fhir/StructureDefinition/bodyweight", true),
            ("_profile=http://hl7.org/fhir/StructureDefinition/body", false),
            ("_profile:below=http://hl7.org/fhir/StructureDefinition", true),
            ("_profile:below=http://hl7.org/fhir/StructureDef", false),
            ("_profile:above=http://hl7.org/fhir/StructureDefinition/bodyweight/x", true),
            ("_source=urn:app:1", true),
            ("_source:missing=true", false),
        ],
    );
}

#[test]
fn codes_above_and_below() {
    // R4 puts `corrected` below `amended`.
    table(
        "Observation",
        &WEIGHT.replacen("final", "corrected", 1),
        &[
            ("status:below=http://hl7.org/fhir/observation-status|amended", true),
            ("status:below=http://hl7.org/fhir/observation-status|corrected", true),
            ("status:below=http://hl7.org/fhir/observation-status|final", false),
            ("status:above=http://hl7.org/fhir/observation-status|corrected", true),
            ("status:above=http://hl7.org/fhir/observation-status|amended", false),
        ],
    );
}

#[test]
fn references() {
    table(
        "Observation",
        WEIGHT,
        &[
            ("patient=p1", true),
            ("patient=Patient/p1", true),
            ("patient=https://here.example/fhir/Patient/p1", true),
            ("patient=https://elsewhere.example/fhir/Patient/p1", false),
            ("patient=p2", false),
            ("patient=p2,p1", true),
            ("subject=p1", true),
            ("subject=Patient/p1", true),
            ("subject=Group/p1", false),
            ("subject:Patient=p1", true),
            ("subject:Group=p1", false),
            ("subject=Patient/p1/_history/2", false),
            ("patient=p1&subject=Patient/p1", true),
            ("performer=d1", false),
            ("performer=https://elsewhere.example/fhir/Practitioner/d1", true),
            ("performer=Patient/p1", true),
            ("performer=https://here.example/fhir/Patient/p1", true),
            ("device:identifier=urn:dev|77", true),
            ("device:identifier=77", true),
            ("device:identifier=78", false),
            ("device:missing=false", true),
            ("encounter:missing=true", true),
        ],
    );
    let group = r#"{"resourceType":"Observation","subject":{"reference":"Group/p1"}}"#;
    table("Observation", group, &[("patient=p1", false), ("subject=p1", true), ("subject=Group/p1", true)]);
    let versioned = r#"{"resourceType":"Observation","subject":{"reference":"Patient/p1/_history/2"}}"#;
    table(
        "Observation",
        versioned,
        &[("patient=p1", true), ("subject=Patient/p1/_history/2", true), ("subject=Patient/p1/_history/3", false)],
    );
}

#[test]
fn dates_and_time_zones() {
    table(
        "Observation",
        WEIGHT,
        &[
            ("date=2026-03-10", true),
            ("date=2026-03-09", false),
            ("date=2026-03", true),
            ("date=eq2026", true),
            ("date=ne2026-03-10", false),
            ("date=ge2026-03-10", true),
            ("date=gt2026-03-10", false),
            ("date=gt2026-03-09", true),
            ("date=lt2026-03-10", false),
            ("date=le2026-03-10", true),
            ("date=sa2026-03-09", true),
            ("date=eb2026-03-11", true),
            ("date=eb2026-03-10", false),
            ("date=ap2026-03-11", true),
            ("date=ap2026-04", true),
            ("date=ap2026-05", false),
            ("date=2026-03-10T01:30:00Z", true),
            ("date=2026-03-10T02:30:00+01:00", true),
            ("date=2026-03-10T02:30:00 01:00", true),
            ("date=2026-03-10T01:30", true),
            ("date=2026-03-10T01:30:00.000Z", false),
            ("date=ge2026-03-01&date=lt2026-04-01", true),
            ("date=ge2026-03-11&date=lt2026-04-01", false),
            ("date=2025,2026", true),
            ("date:missing=true", false),
            ("_lastUpdated=2026-03-10", true),
            ("_lastUpdated=gt2026-03-10T12:00:00Z", false),
            ("_lastUpdated=ge2026-03-10T12:00:00Z", true),
            ("_lastUpdated=lt2026-03-10T12:00:00.001Z", true),
            ("_lastUpdated:missing=false", true),
        ],
    );
    let period = r#"{"resourceType":"Observation","effectivePeriod":{"start":"2026-01-05","end":"2026-02-05"}}"#;
    table(
        "Observation",
        period,
        &[
            ("date=2026", true),
            ("date=2026-01", false),
            ("date=ne2026-01", true),
            ("date=ge2026-02", true),
            ("date=ge2026-02&date=le2026-01-10", true),
            ("date=gt2026-02-05", false),
            ("date=sa2026-01", false),
            ("date=sa2026-01-04", true),
            ("date=eb2026-02-06", true),
        ],
    );
    let open = r#"{"resourceType":"Observation","effectivePeriod":{"start":"2026-01-05"}}"#;
    table("Observation", open, &[("date=gt2099", true), ("date=2026", false), ("date=lt2026", false)]);
    let timing = r#"{"resourceType":"Observation","effectiveTiming":{"event":["2026-01-05","2026-03-05"]}}"#;
    table("Observation", timing, &[("date=ge2026-03&date=le2026-01", true), ("date=2026-01", false)]);
    let local = r#"{"resourceType":"Patient","birthDate":"1970-01-01"}"#;
    table("Patient", local, &[("birthdate=1970-01-01", true), ("birthdate=lt1970-01-01", false)]);
}

#[test]
fn quantities_and_numbers() {
    table(
        "Observation",
        WEIGHT,
        &[
            ("value-quantity=72.5", true),
            ("value-quantity=73", true),
            ("value-quantity=72", false),
            ("value-quantity=72.50", true),
            ("value-quantity=72.500", true),
            ("value-quantity=72.4", false),
            ("value-quantity=7e1", true),
            ("value-quantity=7.25e1", true),
            ("value-quantity=7.24e1", false),
            ("value-quantity=72.5|http://unitsofmeasure.org|kg", true),
            ("value-quantity=72500|http://unitsofmeasure.org|g", true),
            ("value-quantity=gt72499|http://unitsofmeasure.org|g", true),
            ("value-quantity=gt72500|http://unitsofmeasure.org|g", false),
            ("value-quantity=72.5|http://unitsofmeasure.org|cm", false),
            ("value-quantity=ne72.5|http://unitsofmeasure.org|cm", false),
            ("value-quantity=72.5||kg", true),
            ("value-quantity=72.5||lb", false),
            ("value-quantity=72.5|http://unitsofmeasure.org|", true),
            ("value-quantity=gt72.5", false),
            ("value-quantity=ge72.5", true),
            ("value-quantity=gt72", true),
            ("value-quantity=lt72.6", true),
            ("value-quantity=le72.5", true),
            ("value-quantity=ne72.5", false),
            ("value-quantity=sa72", true),
            ("value-quantity=eb73", true),
            ("value-quantity=ap70", true),
            ("value-quantity=ap100", false),
            ("value-quantity=1,72.5", true),
            ("value-quantity:missing=true", false),
            ("value-concept:missing=true", true),
            ("combo-value-quantity=gt70", true),
        ],
    );
    let below = r#"{"resourceType":"Observation","valueQuantity":{"value":5,"comparator":"<"}}"#;
    table(
        "Observation",
        below,
        &[
            ("value-quantity=lt1", true),
            ("value-quantity=gt5", false),
            ("value-quantity=5", false),
            ("value-quantity=eb6", true),
        ],
    );
    let risk = r#"{"resourceType":"RiskAssessment","prediction":[{"probabilityDecimal":0.25}]}"#;
    table(
        "RiskAssessment",
        risk,
        &[("probability=0.25", true), ("probability=gt0.2", true), ("probability=0.2", false)],
    );
}

const PRESSURE: &str = r#"{"resourceType":"Observation","id":"b1",
 "code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},
 "component":[
  {"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"system":"http://unitsofmeasure.org","code":"mm[Hg]"}},
  {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":80,"system":"http://unitsofmeasure.org","code":"mm[Hg]"}}]}"#;

#[test]
fn composites() {
    table(
        "Observation",
        PRESSURE,
        &[
            ("component-code-value-quantity=http://loinc.org|8480-6$gt110", true),
            ("component-code-value-quantity=8480-6$lt110", false),
            ("component-code-value-quantity=8462-4$lt110|http://unitsofmeasure.org|mm[Hg]", true),
            ("component-code-value-quantity=8480-6$lt110,8462-4$80", true),
            ("code-value-quantity=8480-6$gt110", false),
            ("combo-code-value-quantity=8480-6$gt110", true),
            ("combo-code=8480-6", true),
            ("combo-code=85354-9", true),
            ("component-code=8480-6", true),
            ("component-value-quantity=80", true),
            ("code=8480-6", false),
        ],
    );
    table(
        "Observation",
        WEIGHT,
        &[
            ("code-value-quantity=29463-7$72.5", true),
            ("combo-code-value-quantity=http://loinc.org|29463-7$ge72.5|http://unitsofmeasure.org|kg", true),
            ("code-value-quantity=29463-7$10", false),
        ],
    );
    let text = r#"{"resourceType":"Observation","code":{"coding":[{"code":"a"}]},"valueString":"Yes, always"}"#;
    table("Observation", text, &[(r"code-value-string=a$yes\, al", true), ("code-value-string=b$yes", false)]);
}

const PERSON: &str = r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"female","birthDate":"1980-05",
 "name":[{"family":"Müller-Østby","given":["Ana María","Eva"]},{"text":"Frau Doktor"}],
 "identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}],"text":"Record"},"system":"urn:h","value":"1"}],
 "telecom":[{"system":"phone","value":"555"},{"system":"email","value":"a@b.example"}],
 "address":[{"line":["Main Street 1"],"city":"Łódź","postalCode":"90-001"}],
 "deceasedDateTime":"2020-01-01","generalPractitioner":[{"reference":"Organization/o1"}]}"#;

#[test]
fn strings_and_people() {
    table(
        "Patient",
        PERSON,
        &[
            ("family=muller", true),
            ("family=MÜLLER", true),
            ("family=ostby", false),
            ("family:contains=ostby", true),
            ("family:exact=Müller-Østby", true),
            ("family:exact=müller-østby", false),
            ("given=ana  maria", true),
            ("given=eva,otto", true),
            ("given=eva&given=ana", true),
            ("given=eva&given=otto", false),
            ("name=frau", true),
            ("name=eva", true),
            ("address=lodz", true),
            ("address-city=Lodz", true),
            ("address-postalcode=90", true),
            ("gender=female", true),
            ("gender=http://hl7.org/fhir/administrative-gender|female", true),
            ("gender:not=male", true),
            ("active=true", true),
            ("active=false", false),
            ("deceased=true", true),
            ("deceased=false", false),
            ("death-date=2020", true),
            ("email=a@b.example", true),
            ("phone=a@b.example", false),
            ("telecom=phone|555", true),
            ("birthdate=1980", true),
            ("birthdate=1980-05-01", false),
            ("identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|1", true),
            ("identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|2", false),
            ("identifier:text=rec", true),
            ("general-practitioner=Organization/o1", true),
            ("general-practitioner:Practitioner=o1", false),
            ("language:missing=true", true),
        ],
    );
    let document = json::parse(PERSON).unwrap();
    let (query, _) = parse("Observation", "", false);
    assert!(!query.matches(Element::root(&document), 0), "another type never matches");
}

#[test]
fn issues_strict_and_lenient() {
    use Id::{SearchModifier, SearchParameterIgnored, SearchParameterUnknown, SearchTooCostly, SearchValue};
    for (query, strict, lenient) in [
        ("foo=1", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("subject.name=x", None, None),
        ("subject:Patient.name:exact=x", None, None),
        ("device.patient.general-practitioner.name=x", None, None),
        ("subject.colour=x", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("subject:Bundle.type=x", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("code.name=x", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("subject:Patient.birthdate=soon", Some(SearchValue), Some(SearchValue)),
        ("subject:Patient.link:Patient.link:Patient.link:Patient.name=x", Some(SearchTooCostly), Some(SearchTooCostly)),
        ("_has:Observation:has-member:code=x", None, None),
        ("_has:Observation:derived-from:_has:Provenance:target:agent=x", None, None),
        ("_has:Observation:colour:code=x", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_has:Observation:code:code=x", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_has:Observation:has-member=x", Some(SearchValue), Some(SearchValue)),
        ("_has:Observation:has-member:code:exact=x", Some(SearchModifier), Some(SearchModifier)),
        ("_include=Observation:subject", None, None),
        ("_include=Observation:subject:Patient&_include=*&_include:iterate=Device:patient", None, None),
        ("_revinclude=Provenance:target&_revinclude:iterate=Observation:*", None, None),
        ("_include=Observation:colour", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_include=Observation:code", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_include=Nothing:subject", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_include=Observation", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_revinclude=*", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_text=x", Some(SearchParameterUnknown), Some(SearchParameterIgnored)),
        ("_sort=code,-value-quantity,subject,status", None, None),
        ("_sort=colour", Some(SearchValue), Some(SearchParameterIgnored)),
        ("_sort=code-value-quantity", Some(SearchValue), Some(SearchParameterIgnored)),
        ("date=yesterday", Some(SearchValue), Some(SearchValue)),
        ("code=", Some(SearchValue), Some(SearchValue)),
        ("code=a|b|c", Some(SearchValue), Some(SearchValue)),
        ("patient=Group/x", Some(SearchValue), Some(SearchValue)),
        ("subject=No Such", Some(SearchValue), Some(SearchValue)),
        ("value-quantity=heavy", Some(SearchValue), Some(SearchValue)),
        ("component-code-value-quantity=a", Some(SearchValue), Some(SearchValue)),
        ("code:missing=perhaps", Some(SearchValue), Some(SearchValue)),
        ("_count=-1", Some(SearchValue), Some(SearchValue)),
        ("_summary=all", Some(SearchValue), Some(SearchValue)),
        ("code:exact=x", Some(SearchModifier), Some(SearchModifier)),
        ("code:in=urn:no-such-set", Some(SearchModifier), Some(SearchModifier)),
        ("code:below=x", Some(SearchModifier), Some(SearchModifier)),
        ("code:above=urn:no-such-system|x", Some(SearchModifier), Some(SearchModifier)),
        ("date:exact=2026", Some(SearchModifier), Some(SearchModifier)),
        ("subject:Bundle=x", Some(SearchModifier), Some(SearchModifier)),
        ("_format=json&_pretty=true&_page=xyz", None, None),
        ("_count=0&_sort=-date,_id&_summary=count&_total=accurate&_elements=code,value", None, None),
    ] {
        for (lenient, expected) in [(false, strict), (true, lenient)] {
            let ids: Vec<Id> = parse("Observation", query, lenient).1.iter().map(|issue| issue.id).collect();
            assert_eq!(ids, expected.into_iter().collect::<Vec<_>>(), "{query}, lenient: {lenient}");
        }
    }
    let many = format!("code={}", vec!["a"; 1001].join(","));
    assert_eq!(parse("Observation", &many, false).1[0].id, SearchTooCostly);
    assert_eq!(parse("Observation", &"code=a&".repeat(201), false).1[0].id, SearchTooCostly);
}

/// Searches that R4 §3.1.1 shows, less those that it shows as out of the ordinary (`_filter`, `_text`, `_content`, `_list`,
/// named queries), are understood as they stand.
#[test]
fn the_examples_of_the_specification_are_understood() {
    let mut wrong = String::new();
    for (kind, query) in [
        ("Patient", "_id=23"),
        ("Observation", "_lastUpdated=gt2010-10-01"),
        ("Condition", "_tag=http://acme.org/codes|needs-review"),
        ("DiagnosticReport", "_profile=http://hl7.org/fhir/StructureDefinition/lipid"),
        ("DiagnosticReport", "_profile=Profile/lipid"),
        ("Patient", "gender:missing=true"),
        ("RiskAssessment", "probability=gt0.8"),
        ("RiskAssessment", "probability=100"),
        ("RiskAssessment", "probability=1e2"),
        ("RiskAssessment", "probability=lt100"),
        ("RiskAssessment", "probability=ne100"),
        ("Observation", "date=ge2010-01-01&date=le2011-12-31"),
        ("Observation", "date=2013-01-14T10:00"),
        ("Condition", "onset-date=2009-05-23"),
        ("Patient", "given=eve"),
        ("Patient", "given:contains=eve"),
        ("Patient", "given:exact=Eve"),
        ("ValueSet", "url=http://acme.org/fhir/ValueSet/123"),
        ("ValueSet", "url:below=http://acme.org/fhir/"),
        ("ValueSet", "url:above=http://acme.org/fhir/ValueSet/123/_history/5"),
        ("ValueSet", "url=urn:oid:1.2.3.4.5"),
        ("Patient", "identifier=http://acme.org/patient|2345"),
        ("Patient", "gender=male"),
        ("Patient", "gender:not=male"),
        ("Composition", "section=48765-2"),
        ("Composition", "section:not=48765-2"),
        ("Patient", "active=true"),
        ("Condition", "code=http://acme.org/conditions/codes|ha125"),
        ("Condition", "code=ha125"),
        ("Condition", "code:text=headache"),
        ("Patient", "identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|446053"),
        ("Observation", "value-quantity=5.4|http://unitsofmeasure.org|mg"),
        ("Observation", "value-quantity=5.40e-3|http://unitsofmeasure.org|g"),
        ("Observation", "value-quantity=5.4||mg"),
        ("Observation", "value-quantity=5.4"),
        ("Observation", "value-quantity=le5.4|http://unitsofmeasure.org|mg"),
        ("Observation", "value-quantity=ap5.4|http://unitsofmeasure.org|mg"),
        ("Observation", "subject=Patient/23"),
        ("Observation", "subject=23"),
        ("Observation", "subject:Patient=23"),
        ("Observation", "subject=http://acme.org/fhir/Patient/23"),
        ("Observation", "subject:identifier=http://acme.org/fhir/identifier/mrn|123456"),
        ("DiagnosticReport", "subject:Patient.name=peter"),
        ("DiagnosticReport", "subject.name=peter"),
        ("Patient", "general-practitioner.name=Joe&general-practitioner.identifier=x"),
        ("Patient", "general-practitioner:Practitioner.name=Joe&general-practitioner:Practitioner.address-state=MN"),
        ("Patient", "_has:Observation:patient:code=1234-5"),
        ("Patient", "_has:Observation:patient:_has:AuditEvent:entity:agent=MyUserId"),
        ("Observation", "patient._has:Group:member:_id=102"),
        ("Observation", "code-value-quantity=http://loinc.org|2823-3$gt5.4|http://unitsofmeasure.org|mmol/L"),
        (
            "DiagnosticReport",
            "result.code-value-quantity=http://loinc.org|2823-3$gt5.4|http://unitsofmeasure.org|mmol/L",
        ),
        ("Observation", "component-code-value-quantity=http://loinc.org|8480-6$lt60"),
        ("MedicationRequest", "_include=MedicationRequest:patient"),
        ("MedicationRequest", "_revinclude=Provenance:target"),
        ("MedicationRequest", "_include=MedicationRequest:medication&_revinclude=Provenance:target"),
        (
            "MedicationRequest",
            "_include:iterate=MedicationRequest:requester&_include:iterate=PractitionerRole:practitioner",
        ),
        ("Observation", "_include=Observation:subject:Patient"),
        ("Observation", "_sort=status,-date,category"),
        ("Patient", "_elements=identifier,active,link&_count=20"),
        ("Patient", "_summary=count&_total=accurate"),
    ] {
        let (_, issues) = parse(kind, query, false);
        if !issues.is_empty() {
            let texts: Vec<&str> = issues.iter().map(|issue| issue.text.as_str()).collect();
            writeln!(wrong, "{kind}?{query}: {texts:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn issues_never_repeat_values() {
    for query in ["date=Kari Nordmann", "Kari Nordmann=1", "code:Kari=1", "patient=Kari Nordmann"] {
        let (_, issues) = parse("Observation", query, false);
        assert!(!issues.is_empty() && issues.iter().all(|issue| !issue.text.contains("Nordmann")), "{issues:?}");
    }
}

#[test]
fn results_and_echo() {
    let (query, issues) =
        parse("Observation", "_sort=-date,_lastUpdated&foo=1&code=x&_count=5&_totalMethod=count", true);
    assert_eq!(issues.len(), 1);
    let rules: Vec<(String, bool)> =
        query.sort.iter().map(|rule| (rule.by.code().to_owned(), rule.descending)).collect();
    assert_eq!(rules, [("date".to_owned(), true), ("_lastUpdated".to_owned(), false)]);
    assert_eq!(parse("Observation", "_sort=-date", false).0.sort[0].by, SortBy::Date, "the index has it");
    assert_eq!((query.count, query.total, query.summary), (Some(5), Total::Accurate, Summary::No));
    assert_eq!(query.unknown, ["foo"]);
    let echoed: Vec<String> = query.echo().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(echoed, ["_sort=-date,_lastUpdated", "code=x", "_count=5", "_totalMethod=count"]);
}

#[test]
fn hints_say_what_is_necessary() {
    let hints = |query| parse("Observation", query, false).0.hints();
    let day = |text| millis(&format!("{text}T00:00:00Z"));
    let list = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    assert_eq!(hints("status=final&code:not=x&code=|x&value-quantity=5&date:missing=true"), Hints::default());
    assert_eq!(hints("_id=a,b&_id=b,c").ids, list(&["b"]));
    assert_eq!(hints("patient=a,Patient/b").patients, list(&["a", "b"]));
    assert_eq!(hints("subject=https://here.example/fhir/Patient/b").patients, list(&["b"]));
    assert_eq!(hints("subject=a").patients, None, "an id alone may be that of a device");
    assert_eq!(hints("patient=https://elsewhere.example/Patient/b").patients, None);
    assert_eq!(hints("code=urn:a|x,y").codes, Some(vec![(Some("urn:a".into()), "x".into()), (None, "y".into())]));
    assert_eq!(hints("code=x,|y").codes, None);
    assert_eq!(hints("date=ge2026-01-01&date=lt2026-02-01").date_ms, Some((day("2026-01-01"), day("2026-02-01"))));
    assert_eq!(hints("date=2026-01-01,2026-03-01").date_ms, Some((day("2026-01-01"), day("2026-03-02"))));
    assert_eq!(hints("date=ne2026-01-01").date_ms, None);
    assert_eq!(hints("_lastUpdated=gt2026-01-01").updated_ms, Some((day("2026-01-02"), i64::MAX)));
    assert_eq!(hints("identifier=urn:a|1").identifier, Some((Some("urn:a".into()), "1".into())));
    assert_eq!(hints("identifier=1").identifier, Some((None, "1".into())));
    assert_eq!(hints("identifier=1,2").identifier, None);
    let appointment = parse("Appointment", "patient=a", false).0.hints();
    assert_eq!(appointment.patients, None, "an appointment may have several patients");
}

#[test]
fn offers_what_it_evaluates() {
    let registry = Registry::core();
    let codes = |kind: &'static str| -> Vec<String> {
        parameters(kind, &registry).map(|parameter| parameter.code.clone()).collect()
    };
    let observation = codes("Observation");
    for code in
        ["_id", "_lastUpdated", "code", "date", "patient", "subject", "value-quantity", "combo-code-value-concept"]
    {
        assert!(observation.iter().any(|each| each == code), "{code} in {observation:?}");
    }
    for code in ["_text", "_content", "_filter", "_query"] {
        assert!(!observation.iter().any(|each| each == code), "{code} in {observation:?}");
    }
    assert!(!codes("Patient").iter().any(|code| code == "phonetic"));
    assert!(observation.windows(2).all(|pair| pair[0] < pair[1]), "each code once, sorted: {observation:?}");
}

#[test]
fn every_expression_of_r4_compiles() {
    let registry = Registry::core();
    let mut left_out = std::collections::BTreeSet::new();
    for kind in registry.resource_types() {
        let offered: Vec<&str> = parameters(kind, &registry).map(|parameter| parameter.code.as_str()).collect();
        for parameter in registry.search_parameters(kind) {
            use crate::fhir::definitions::SearchKind::{Composite, Special};
            let evaluable = !matches!(parameter.kind, Composite | Special) && !parameter.expression.is_empty();
            if evaluable && !offered.contains(&parameter.code.as_str()) {
                left_out.insert(format!("{kind}.{}", parameter.code));
            }
        }
    }
    // What needs a phonetic algorithm, and one whose expression calls a function that FHIRPath does not have.
    let known = [
        "InsurancePlan.phonetic",
        "Organization.phonetic",
        "Patient.phonetic",
        "Person.phonetic",
        "Practitioner.phonetic",
        "RelatedPerson.phonetic",
    ];
    assert_eq!(left_out.iter().map(String::as_str).collect::<Vec<_>>(), known);
}

fn name() -> impl Strategy<Value = String> {
    let known = "(_id|code|date|patient|subject|identifier|_lastUpdated|value-quantity|status|combo-code-value-quantity|_sort|_count)";
    let modifier = "(|:missing|:not|:text|:Patient|:in|:of-type|:identifier|:[a-z.]{0,4})";
    prop_oneof![known, "[a-z_:.]{0,12}"]
        .prop_flat_map(move |name| modifier.prop_map(move |tail| format!("{name}{tail}")))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "(|eq|ne|gt|lt|ge|le|sa|eb|ap)[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z)?)?)?",
        "(|eq|ne|gt|lt|ge|le|sa|eb|ap)-?[0-9]{1,30}(\\.[0-9]{1,30})?(e-?[0-9]{1,3})?(\\|[a-z:/]{0,9}\\|[a-z\\[\\]]{0,4})?",
        "(29463-7|local|http://loinc.org\\|29463-7|p1|Patient/p1|w1|a,b|true|false|kg|final|[a-z|,$\\\\]{0,6})",
        "\\PC{0,16}",
    ]
}

proptest! {
    #[test]
    fn never_panics_and_hints_hold(
        asked in proptest::collection::vec((name(), value()), 0..4),
        lenient in any::<bool>(),
    ) {
        let (mut query, issues) = Query::parse("Observation", &asked, &Registry::core(), lenient);
        query.base = Some("https://here.example/fhir".to_owned());
        let hints = query.hints();
        for text in [WEIGHT, PRESSURE] {
            let document = json::parse(text).unwrap();
            let matches = query.matches(Element::root(&document), millis(UPDATED));
            if matches {
                assert_hints(&hints, Element::root(&document), &format!("{asked:?}"));
            }
        }
        let reported = issues.iter().filter(|issue| issue.id != Id::SearchTooCostly).count();
        let skipped = asked.iter().filter(|(name, _)| ["_format", "_pretty", "_page"].contains(&name.as_str())).count();
        prop_assert_eq!(query.echo().len() + reported + skipped, asked.len());
    }

    #[test]
    fn dates_that_match_meet_the_interval(
        prefix in "(|eq|ne|gt|lt|ge|le|sa|eb|ap)",
        asked in "20[0-4][0-9](-0[1-9])?",
        start in 946_684_800_000_i64..2_500_000_000_000,
        length in 1_i64..200_000_000_000,
    ) {
        let wanted = date::Wanted::parse(&format!("{prefix}{asked}")).unwrap();
        if wanted.matches((start, start + length)) {
            let (low, high) = wanted.met();
            prop_assert!(start < high && start + length > low);
        }
    }
}
