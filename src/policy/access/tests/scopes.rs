//! Scopes in both spellings, and what they allow.

use proptest::prelude::*;

use super::super::scope::{Grant, Interaction, Scopes};
use super::*;

const ALL: [Interaction; 5] =
    [Interaction::Create, Interaction::Read, Interaction::Update, Interaction::Delete, Interaction::Search];

fn letters(scopes: &Scopes, kind: &str) -> String {
    ALL.into_iter().filter(|each| scopes.permits(kind, *each) != Grant::None).map(Interaction::letter).collect()
}

#[test]
fn interactions_follow_both_spellings() {
    for (text, kind, expected) in [
        ("system/Observation.cruds", "Observation", "cruds"),
        ("system/*.rs", "Patient", "rs"),
        ("system/Patient.read", "Patient", "rs"),
        ("system/Patient.write", "Patient", "cud"),
        ("system/*.*", "Consent", "cruds"),
        ("system/Patient.search", "Patient", "s"),
        ("system/Patient.create", "Patient", "c"),
        ("system/Patient.r system/Patient.c", "Patient", "cr"),
        ("system/Patient.r", "Observation", ""),
        ("user/Patient.cruds patient/*.rs openid launch/patient", "Patient", ""),
        ("", "Patient", ""),
    ] {
        let scopes = Scopes::parse(text).unwrap();
        assert_eq!(letters(&scopes, kind), expected, "{text}");
        assert_eq!(Scopes::parse(&scopes.to_string()), Ok(scopes), "{text}");
    }
}

#[test]
fn one_bad_scope_refuses_all() {
    for bad in [
        "system/Patient.rr",
        "system/Patient.sr",
        "system/Patient.",
        "system/Patient",
        "system/.rs",
        "system/Foo.rs",
        "system/patient.rs",
        "System/Patient.rs",
        "system.Patient.rs",
        "system$Patient.rs",
        "system%2fPatient.rs",
        "system/Patient.rs?",
        "system/Patient.rs?code",
        "system/Patient.rs?code=",
        "system/Patient.rs?code=|",
        "system/Patient.rs?name=x",
        "system/Patient.rs?code:in=x",
        "system/Patient.rs?code=a&",
        "system/Patient.rs?code=a=b",
        "system/Patient.rs?code=a|b|c",
        "system/Patient.rs?code=a,",
        "system/Patient.rs?code=a?b",
        "launch/",
        "admin",
        "practitioner/Patient.rs",
        "system/Patient.read-only",
        "system/all.read",
        "system/Patient.all",
        "system/Patient.rs\tsystem/Patient.c",
        "system/Patient.rs\"",
        "system//Patient.rs",
        "system/Pati\u{435}nt.rs",
    ] {
        assert!(Scopes::parse(&format!("system/Observation.rs {bad}")).is_err(), "{bad}");
    }
    assert_eq!(Scopes::parse("system/Patient.rs x").unwrap_err().place, 2);
    assert!(Scopes::parse(&"system/Patient.rs ".repeat(65)).is_err());
}

#[test]
fn restrictions_are_enforced() {
    const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
    const LOINC: &str = "http://loinc.org";
    let text = format!(
        "system/Observation.rs?category={CATEGORY}|vital-signs&code={LOINC}|8867-4,{LOINC}|8480-6 system/Observation.s?code=x"
    );
    let scopes = Scopes::parse(&text).unwrap();
    let Grant::Where(criteria) = scopes.permits("Observation", Interaction::Search) else { panic!("restricted") };
    assert_eq!(criteria.len(), 2);
    assert_eq!(format!("system/Observation.rs?{}", criteria[0]), text.split(' ').next().unwrap());
    let read = scopes.permits("Observation", Interaction::Read);
    for (categories, codes, expected) in [
        (vec![(CATEGORY, "vital-signs")], vec![(LOINC, "8867-4")], true),
        (vec![("x", "y"), (CATEGORY, "vital-signs")], vec![(LOINC, "8480-6")], true),
        (vec![(CATEGORY, "vital-signs")], vec![("urn:oid:2.16.840.1.113883.6.1", "8867-4")], true),
        (vec![(CATEGORY, "vital-signs")], vec![(LOINC, "1-1")], false),
        (vec![("other", "vital-signs")], vec![(LOINC, "8867-4")], false),
        (vec![], vec![(LOINC, "8867-4")], false),
        (vec![], vec![], false),
    ] {
        assert_eq!(read.allows(&categories, &codes), expected, "{categories:?} {codes:?}");
    }
    let unrestricted = Scopes::parse(&format!("{text} system/*.r")).unwrap();
    assert_eq!(unrestricted.permits("Observation", Interaction::Read), Grant::All);
}

#[test]
fn within_never_widens() {
    let registered = "system/Observation.crus system/Patient.rs system/Condition.rs?category=a|b,a|c";
    for (asked, expected) in [
        ("system/Observation.rs system/Patient.r", true),
        ("system/Observation.read", true),
        ("system/Observation.rs?code=x", true),
        ("system/Condition.rs?category=a|b", true),
        ("system/Condition.rs?category=a|c&code=x", true),
        ("", true),
        ("system/Observation.d", false),
        ("system/Observation.write", false),
        ("system/*.r", false),
        ("system/Condition.rs", false),
        ("system/Condition.rs?category=a|d", false),
        ("system/Condition.rs?category=b", false),
        ("system/Condition.rs?category=a|", false),
        ("system/Condition.rs?code=b", false),
        ("user/Observation.rs", false),
        ("system/Patient.r openid", false),
        ("patient/Patient.r", false),
    ] {
        let found = Scopes::parse(asked).unwrap().within(&Scopes::parse(registered).unwrap());
        assert_eq!(found, expected, "{asked}");
    }
    assert!(Scopes::parse("system/Patient.r").unwrap().within(&Scopes::parse("system/*.*").unwrap()));
    assert!(!Scopes::parse("system/Patient.r").unwrap().within(&Scopes::parse("user/*.*").unwrap()));
}

/// Vectors of another implementation. Where the standard leaves the choice, ours is stricter or plainer, and the
/// counts below say how often: separators other than `/`, the word `all`, restrictions that are not enforced.
#[test]
fn foreign_suite_agrees_but_for_known_choices() {
    let root = std::env::var_os("MHEALTH_SUITES").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"),
        std::path::PathBuf::from,
    );
    let path = root.join("consent/smart-scopes/ms-scope-vectors.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("suite {} is missing ({error}); set MHEALTH_SUITES", path.display()));
    let suite: Value = serde_json::from_str(&text).unwrap();
    let (mut agreed, mut stricter) = (0, Vec::new());
    for vector in suite["accept"].as_array().unwrap() {
        let written = vector["scope"].as_str().unwrap();
        let choice = written.split(' ').any(|scope| {
            let path = scope.split('?').next().unwrap();
            path.contains(['%', '$'])
                || path.contains("all")
                || path.matches('.').count() > 1
                || scope.contains("%2f")
                || ["name", "gender", "status", "active", "identifier", "birthdate"]
                    .iter()
                    .any(|name| scope.contains(&format!("{name}=")))
        });
        // Every context means the same letters, and system/ is the one that is granted here.
        let Ok(scopes) = Scopes::parse(
            &written.replace("patient/", "system/").replace("user/", "system/").replace("launch/system/", "launch/"),
        ) else {
            assert!(choice, "{written} is refused");
            stricter.push(written);
            continue;
        };
        assert!(!choice, "{written} is accepted");
        for restriction in vector["restrictions"].as_array().unwrap() {
            let kind = restriction["resource"].as_str().unwrap();
            let allowed = letters(&scopes, if kind == "*" { "Basic" } else { kind });
            let actions: Vec<&str> =
                restriction["actions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let expected: String = [("c", "Create"), ("r", "Read"), ("u", "Update"), ("d", "Delete"), ("s", "Search")]
                .into_iter()
                .filter(|(_, name)| {
                    actions.iter().any(|action| action == name || (*name == "Read" && *action == "ReadById"))
                })
                .map(|(letter, _)| letter)
                .collect();
            assert_eq!(allowed, expected, "{written}");
        }
        agreed += 1;
    }
    assert_eq!((agreed, stricter.len()), (19, 32), "{stricter:#?}");
    let everything = Scopes::parse("system/*.cruds").unwrap();
    let (mut refused, mut mixed_spellings) = (0, 0);
    for (group, list) in suite["reject"].as_object().unwrap() {
        for written in list.as_array().unwrap().iter().filter_map(Value::as_str) {
            match Scopes::parse(written) {
                Err(_) => refused += 1,
                Ok(scopes) if group == "MixedSmartScopeContexts" => {
                    assert!(!scopes.within(&everything), "{written}");
                    refused += 1;
                }
                // Mixing v1 and v2 spellings is that server's rule, not SMART's.
                Ok(_) if group == "MixedSmartScopeVersions" => mixed_spellings += 1,
                Ok(_) => panic!("{group}: {written} is accepted"),
            }
        }
    }
    assert_eq!((refused, mixed_spellings), (56, 10));
}

proptest! {
    #[test]
    fn any_text_parses_or_not_without_panic_and_round_trips(text in "[ -~]{0,60}") {
        if let Ok(scopes) = Scopes::parse(&text) {
            prop_assert_eq!(Scopes::parse(&scopes.to_string()), Ok(scopes));
        }
    }

    #[test]
    fn what_is_within_permits_no_more(
        asked in "system/(Patient|Observation|\\*)\\.(c?r?u?d?s|cr?)(\\?code=[ab](,[ab])?)?",
        held in "system/(Patient|Observation|\\*)\\.(c?r?u?d?s|cr?)(\\?code=[ab](,[ab])?)?( system/Patient\\.r)?",
    ) {
        let (asked, held) = (Scopes::parse(&asked).unwrap(), Scopes::parse(&held).unwrap());
        if asked.within(&held) {
            for kind in ["Patient", "Observation", "Device"] {
                for interaction in ALL {
                    for code in ["a", "b", "c"] {
                        let codes = [("s", code)];
                        let narrow = asked.permits(kind, interaction).allows(&[], &codes);
                        prop_assert!(!narrow || held.permits(kind, interaction).allows(&[], &codes));
                    }
                }
            }
        }
    }
}
