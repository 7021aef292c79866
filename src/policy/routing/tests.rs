//! Which destinations a resource has.

use super::*;

const LOINC: &str = "http://loinc.org";

fn table(json: &str) -> Result<Table, Vec<String>> {
    Table::compile(serde_json::from_str(json).unwrap())
}

fn rules() -> Table {
    table(
        r#"[
            {"name": "ehr", "kinds": ["Observation", "Patient"], "apps": ["acme", "zeta"]},
            {"name": "diabetes", "kinds": ["Observation"], "codes": ["http://loinc.org|2339-0", "15074-8"]},
            {"name": "vitals", "kinds": ["Observation"], "categories": ["vital-signs"], "codes": ["http://loinc.org|"]},
            {"name": "archive", "kinds": ["*"], "apps": ["acme"]},
            {"name": "diabetes", "kinds": ["Device"]},
            {"name": "never", "kinds": []},
            {"name": "never", "kinds": ["*"], "codes": []}
        ]"#,
    )
    .unwrap()
}

#[test]
fn rules_decide_and_silence_sends_nothing() {
    let table = rules();
    let codes: &[_] = &[(LOINC, "2339-0")];
    let vital: &[_] = &[("x", "vital-signs")];
    for (kind, codes, categories, owner, expected) in [
        ("Observation", codes, vital, "acme", &["ehr", "diabetes", "vitals", "archive"][..]),
        ("Observation", codes, &[], "beta", &["diabetes"]),
        ("Observation", &[("other", "15074-8")], vital, "beta", &["diabetes"]),
        ("Observation", &[("other", "2339-0")], &[], "beta", &[]),
        ("Observation", &[], &[], "zeta", &["ehr"]),
        ("Device", &[], &[], "beta", &["diabetes"]),
        ("Consent", &[], &[], "acme", &["archive"]),
        ("Consent", &[], &[], "beta", &[]),
    ] {
        let facts = Facts { kind, codes, categories, owner, ..Facts::default() };
        assert_eq!(table.decide(&facts), expected, "{facts:?}");
        assert!(Table::default().decide(&facts).is_empty());
    }
    assert_eq!(table.destinations(), ["ehr", "diabetes", "vitals", "archive", "never"]);
}

#[test]
fn table_prints_itself() {
    assert_eq!(
        rules().to_string(),
        "ehr <- Observation or Patient with app acme or zeta\n\
         diabetes <- Observation with code http://loinc.org|2339-0 or 15074-8\n\
         vitals <- Observation with code http://loinc.org| with category vital-signs\n\
         archive <- * with app acme\n\
         diabetes <- Device\n\
         never <- (nothing)\n\
         never <- * with code (nothing)\n"
    );
}

#[test]
fn every_mistake_is_reported() {
    let mistakes = table(
        r#"[{"name": "", "kinds": ["Foo"]}, {"name": "a", "kinds": ["*"], "codes": ["a|b|c"]}, {"name": "b c", "kinds": []}]"#,
    );
    assert_eq!(mistakes.err().unwrap().len(), 4);
    assert!(serde_json::from_str::<Rule>(r#"{"name": "a", "kinds": [], "url": "x"}"#).is_err());
}

#[test]
fn rules_ask_of_whom_from_whom_on_what_grounds_and_of_when() {
    let table = table(
        r#"[
            {"name": "nordic", "kinds": ["Observation"], "residence": ["FI", "SE"]},
            {"name": "bavaria", "kinds": ["Observation"], "residence": ["DE-BY"], "certified": ["diga"]},
            {"name": "trial", "kinds": ["Observation"], "tenants": ["clinic"], "consent": "given"},
            {"name": "archive", "kinds": ["*"], "consent": "implied"},
            {"name": "year", "kinds": ["Observation"], "from": "2026-01-01", "until": "2027-01-01"}
        ]"#,
    )
    .unwrap();
    assert!(table.asks_person() && table.asks_app() && table.asks_consent());
    let origin = |residence: &[&str], tenant: Option<&str>, certified: &[&str]| Origin {
        residence: residence.iter().map(|one| (*one).to_owned()).collect(),
        tenant: tenant.map(str::to_owned),
        certified: certified.iter().map(|one| (*one).to_owned()).collect(),
    };
    let may = 1_777_852_800_000;
    let facts = Facts { kind: "Observation", ..Facts::default() };
    for (origin, grounds, date_ms, expected) in [
        (Some(origin(&["FI"], None, &[])), Some(Grounds::Given), None, &["nordic"][..]),
        (Some(origin(&["DE", "DE-BY"], None, &["diga"])), Some(Grounds::Implied), None, &["bavaria", "archive"]),
        (Some(origin(&["DE", "DE-BY"], Some("clinic"), &[])), Some(Grounds::Given), None, &["trial"]),
        (Some(origin(&[], None, &[])), Some(Grounds::Given), Some((may, may + 1)), &["year"]),
        (Some(origin(&[], None, &[])), Some(Grounds::Given), Some((0, 1)), &[]),
        // What is not known yet is left open, but for the time, which the resource says itself.
        (None, None, None, &["nordic", "bavaria", "trial", "archive"]),
    ] {
        let facts = Facts { origin: origin.as_ref(), grounds, date_ms, ..facts };
        assert_eq!(table.decide(&facts), expected, "{facts:?}");
    }
    let nobody = Origin::default();
    let told = table.explain(&Facts { kind: "Device", origin: Some(&nobody), grounds: Some(Grounds::Given), ..facts });
    let unmet: Vec<Vec<&str>> =
        told.iter().map(|one| one.unmet.iter().map(|condition| condition.name()).collect()).collect();
    assert_eq!(
        unmet,
        [
            &["kind", "residence"][..],
            &["kind", "certification", "residence"],
            &["kind", "tenant"],
            &["consent"],
            &["kind", "time"],
        ]
    );
    assert_eq!(
        table.to_string().lines().skip(2).collect::<Vec<_>>(),
        [
            "trial <- Observation with tenant clinic with consent given",
            "archive <- * with consent implied",
            "year <- Observation from 2026-01-01 until 2027-01-01",
        ]
    );
}

#[test]
fn places_and_days_are_checked() {
    for (rule, wrong) in [
        (r#"{"name": "a", "kinds": [], "residence": ["Finland"]}"#, true),
        (r#"{"name": "a", "kinds": [], "residence": ["fi"]}"#, true),
        (r#"{"name": "a", "kinds": [], "residence": ["FI", "DE-BY"]}"#, false),
        (r#"{"name": "a", "kinds": [], "from": "yesterday"}"#, true),
        (r#"{"name": "a", "kinds": [], "until": "2026-05-04T07:00:00Z"}"#, false),
    ] {
        assert_eq!(table(&format!("[{rule}]")).is_err(), wrong, "{rule}");
    }
    // A rule of an earlier version is read as it was, and one without the new conditions is written as it was.
    let rule: Rule =
        serde_json::from_str(r#"{"name":"a","kinds":["*"],"codes":null,"categories":null,"apps":null}"#).unwrap();
    assert_eq!(
        serde_json::to_string(&rule).unwrap(),
        r#"{"name":"a","kinds":["*"],"codes":null,"categories":null,"apps":null}"#
    );
}
