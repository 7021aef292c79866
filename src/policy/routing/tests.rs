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
        let facts = Facts { kind, codes, categories, owner };
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
