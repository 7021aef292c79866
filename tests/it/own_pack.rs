//! The walk-through for whoever writes a pack, run as it stands: its files are written, its commands run, and what it says
//! that they say is among what they say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fixture::PROGRAM;

/// One step of the page.
#[derive(Debug)]
enum Step {
    File(String, String),
    Run(String),
    Said(String),
}

/// The blocks of a page, in order. A block behind a line that is a name in back quotes is that file.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut block, mut language, mut name) = (None::<String>, String::new(), None::<String>);
    for line in page.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(word)) => (block, language) = (Some(String::new()), word.to_owned()),
            (Some(text), Some(_)) => {
                let text = std::mem::take(text);
                block = None;
                steps.extend(match (name.take(), language.as_str()) {
                    (Some(name), _) => Some(Step::File(name, text)),
                    (None, "sh") => Some(Step::Run(text)),
                    (None, "text") => Some(Step::Said(text)),
                    _ => None,
                });
            }
            (Some(text), None) => *text += &format!("{line}\n"),
            (None, None) => {
                let named = line.strip_prefix('`').and_then(|line| line.strip_suffix("`:"));
                name = named.map(str::to_owned).or(if line.is_empty() { name } else { None });
            }
        }
    }
    steps
}

fn run(folder: &Path, line: &str) -> Output {
    let words = line.split_whitespace().skip_while(|word| *word != "mhealth-gateway").skip(1);
    Command::new(PROGRAM).args(words).current_dir(folder).output().unwrap()
}

/// What a command says that ends with a certain code.
fn said(folder: &Path, line: &str, code: i32) -> String {
    let output = run(folder, line);
    assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn the_walk_through_does_what_it_says() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/own-pack.md");
    let folder = tempfile::tempdir().unwrap();
    let mut last = None;
    for step in steps(&std::fs::read_to_string(page).unwrap()) {
        match step {
            Step::File(name, text) => {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Step::Run(lines) => {
                for line in lines.lines() {
                    let output = run(folder.path(), line);
                    assert!(output.status.success(), "{line}: {output:?}");
                    last = Some(String::from_utf8(output.stdout).unwrap());
                }
            }
            Step::Said(expected) => {
                let said = last.as_deref().expect("something ran before");
                expected.lines().for_each(|line| assert!(said.contains(line), "{line} is not said: {said}"));
            }
        }
    }
    let files: Vec<_> = ["GAPS.md", "tests/measurements.json", "pack.toml"].into_iter().collect();
    for file in files {
        assert!(folder.path().join("xx-account").join(file).exists(), "{file}");
    }
}

#[test]
fn a_pack_of_nothing_but_a_name_takes_what_the_guide_has() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("answers.toml"), "id = \"xx-all\"\n").unwrap();
    for line in [
        "mhealth-gateway pack new xx-all --answers answers.toml",
        "mhealth-gateway pack check xx-all",
        "mhealth-gateway pack test xx-all",
        "mhealth-gateway validate xx-all/tests/measurements.json",
    ] {
        let output = run(folder.path(), line);
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

#[test]
fn mistakes_and_differences_have_exit_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("answers.toml"), "id = \"xx-own\"\n[measures.body-weight]\n").unwrap();
    let made = run(folder.path(), "mhealth-gateway pack new xx-own --answers answers.toml");
    assert!(made.status.success(), "{made:?}");
    let again = run(folder.path(), "mhealth-gateway pack new xx-own --answers answers.toml");
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    let measures = std::fs::read_to_string(at("xx-own/measures.csv")).unwrap();
    std::fs::write(at("xx-own/measures.csv"), measures.replace(",kg,", ",stone,")).unwrap();
    let checked = run(folder.path(), "mhealth-gateway pack check xx-own --format json");
    let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert_eq!(
        (told["mistakes"][0]["file"].as_str(), told["mistakes"][0]["line"].as_u64()),
        (Some("measures.csv"), Some(2))
    );
    std::fs::write(at("xx-own/measures.csv"), measures).unwrap();
    std::fs::write(at("assertions.txt"), "Bundle.type = 'batch'\n").unwrap();
    let tried = run(folder.path(), "mhealth-gateway pack test xx-own --assertions assertions.txt --format json");
    let told: serde_json::Value = serde_json::from_slice(&tried.stdout).unwrap();
    assert_eq!((tried.status.code(), told["passes"].as_bool()), (Some(1), Some(false)), "{told}");
    assert_eq!(told["assertions"][0]["outcome"], "fails");
    // What says nothing is no proof: nothing to compare with, and what cannot be read.
    std::fs::create_dir(at("none")).unwrap();
    for (text, expected) in [(None, "no Observation and no TestScript"), (Some("<a"), "a.xml is no FHIR")] {
        if let Some(text) = text {
            std::fs::write(at("none/a.xml"), text).unwrap();
        }
        let tried = run(folder.path(), "mhealth-gateway pack test xx-own --examples none");
        let told = String::from_utf8(tried.stderr).unwrap();
        assert_eq!((tried.status.code(), told.contains(expected)), (Some(2), true), "{told}");
    }
}

#[test]
fn what_a_publisher_signed_is_told_from_what_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let said = |line: &str, code: i32| said(folder.path(), line, code);
    std::fs::write(at("answers.toml"), "id = \"xx-own\"\n[measures.body-weight]\ncategories = [\"vital-signs\"]\n")
        .unwrap();
    said("mhealth-gateway pack new xx-own --answers answers.toml", 0);
    let key = said("mhealth-gateway pack key health.example --out publisher.key", 0);
    let other = said("mhealth-gateway pack key other.example --out other.key", 0);
    assert!(said("mhealth-gateway pack key other.example --out other.key", 2).contains("a key is not replaced"));
    let config = |publisher: &str| {
        let text = format!("[packs]\nfolders = [\"xx-own\"]\npublishers = [\"{}\"]\n", publisher.trim());
        std::fs::write(at("config.toml"), text).unwrap();
    };
    config(&key);
    assert!(said("mhealth-gateway check --config config.toml", 64).contains("xx-own: pack.sig: missing"));
    assert!(!said("mhealth-gateway pack check xx-own", 0).contains("pack.sig"));
    said("mhealth-gateway pack sign xx-own --key publisher.key", 0);
    let named = key.split('+').take(2).collect::<Vec<_>>().join("+");
    let told = said("mhealth-gateway pack check xx-own", 0);
    assert!(told.contains(&format!("pack.sig is of these files by {named};")), "{told}");
    said(&format!("mhealth-gateway pack verify xx-own --publisher {key}"), 0);
    said("mhealth-gateway check --config config.toml", 0);
    let twice = "[packs]\nfolders = [\"xx-own\", \"xx-two\"]\n";
    std::fs::write(at("twice.toml"), twice).unwrap();
    std::fs::create_dir(at("xx-two")).unwrap();
    for entry in std::fs::read_dir(at("xx-own")).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), at("xx-two").join(entry.file_name())).unwrap();
    }
    let told = said("mhealth-gateway check --config twice.toml", 64);
    assert!(told.contains("xx-two: another folder is xx-own@"), "{told}");
    let told = said(&format!("mhealth-gateway pack verify xx-own --publisher {other}"), 1);
    assert!(told.contains("no publisher"), "{told}");
    config(&other);
    assert!(
        said("mhealth-gateway check --config config.toml", 64).contains("no publisher of packs.publishers signed it")
    );
    config(&key);
    for file in ["pack.toml", "measures.csv", "codes.csv", "errors.csv", "request.json", "observation.json"] {
        let before = std::fs::read_to_string(at("xx-own").join(file)).unwrap();
        std::fs::write(at("xx-own").join(file), format!("{before}\n")).unwrap();
        let expected = format!("xx-own/{file}: it differs from what was signed");
        assert!(said(&format!("mhealth-gateway pack verify xx-own --publisher {key}"), 1).contains(&expected));
        let told = said("mhealth-gateway pack check xx-own", 1);
        assert!(told.contains(&expected) && told.contains(&format!("of other files by {named};")), "{told}");
        let told = said("mhealth-gateway check --config config.toml", 64);
        assert!(told.contains(&format!("xx-own: {file}: it differs")), "{told}");
        std::fs::write(at("xx-own").join(file), before).unwrap();
    }
    let note = std::fs::read_to_string(at("xx-own/pack.sig")).unwrap();
    std::fs::write(at("xx-own/pack.sig"), note.replacen("xx-own@", "xx-one@", 1)).unwrap();
    assert!(said("mhealth-gateway check --config config.toml", 64).contains("changed after it was signed"));
    assert!(said("mhealth-gateway pack check xx-own", 1).contains("pack.sig: it was made of xx-one@"));
    std::fs::write(at("xx-own/pack.sig"), "signed\n").unwrap();
    let told: serde_json::Value =
        serde_json::from_str(&said("mhealth-gateway pack check xx-own --format json", 1)).unwrap();
    assert_eq!(told["signature"], serde_json::json!({"keys": [], "fits": false}));
    assert_eq!(told["mistakes"][0]["file"], "pack.sig");
}

#[test]
fn what_is_no_text_and_what_answers_say_is_told_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let said = |line: &str, code: i32| said(folder.path(), line, code);
    let answers = "id = \"xx-own\"\ncountry = \"ZZ\"\n[measures.body-weight]\nunit = \"stone\"\n";
    std::fs::write(at("answers.toml"), answers).unwrap();
    let told = said("mhealth-gateway pack new xx-own --answers answers.toml", 2);
    for expected in ["answers.toml:2: country: ISO 3166-1", "answers.toml:4: unit: expected is UCUM"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    std::fs::write(at("answers.toml"), "id = \"xx-own\"\n[measures.body-weight]\n").unwrap();
    said("mhealth-gateway pack new xx-own --answers answers.toml", 0);
    let mut codes = std::fs::read(at("xx-own/codes.csv")).unwrap();
    codes.extend(b"body-weight,,,http://loinc.org,3141-9,K\xf6rper\n");
    std::fs::write(at("xx-own/codes.csv"), codes).unwrap();
    assert!(said("mhealth-gateway pack check xx-own", 1).contains("xx-own/codes.csv:3: the text is not UTF-8"));
    said("mhealth-gateway pack key health.example --out publisher.key", 0);
    assert!(said("mhealth-gateway pack sign xx-own --key publisher.key", 2).contains("codes.csv:3: the text is not"));
    std::fs::write(at("config.toml"), "[packs]\nfolders = [\"xx-own\"]\n").unwrap();
    assert!(said("mhealth-gateway check --config config.toml", 64).contains("xx-own: codes.csv:3: the text is not"));
}

#[test]
fn settings_that_no_pack_asks_for_are_refused_with_those_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let observation = serde_json::json!({
        "resourceType": "Observation", "id": "o", "status": "final", "effectiveDateTime": "2026-05-04",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "valueQuantity": {"value": 71, "system": "http://unitsofmeasure.org", "code": "kg"},
    });
    std::fs::write(folder.path().join("o.json"), observation.to_string()).unwrap();
    let config = "[[destination]]\nname = \"a\"\nactor = \"Organization/a\"\npack = \"fi-kanta\"\n\
                  [destination.settings]\npersons = \"1.2.3\"\n[destination.fhir]\nurl = \"https://a.example/fhir\"\n";
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    std::fs::write(folder.path().join("good.toml"), config.replace("1.2.3", "urn:oid:1.2.3")).unwrap();
    for (line, expected) in [
        (
            "--pack no-pmd --setting colour=red --setting organization=1",
            "--setting colour=…: no-pmd@0.5.2 has no such setting; it has bundle, municipality, organization",
        ),
        ("--pack no-pmd --setting bundle=document --setting organization=1", "--setting bundle=…: batch or collection"),
        ("--pack no-pmd --setting organization=", "--setting organization=…: it is empty; number of the organisation"),
        ("--pack no-pmd --setting organization", "NAME=VALUE is expected"),
        ("--pack fi-kanta --setting persons=1.2.3", "--setting persons=…: a URI such as urn:oid:1.2.3"),
        ("--pack fi-kanta --setting persons=urn:a --setting persons=urn:b", "settings.persons: it is said twice"),
        ("--config good.toml --setting persons=urn:a", "--setting persons goes with --pack"),
        ("--config good.toml --folder .", "--folder . goes with --pack"),
        ("--config config.toml", "destination a: settings.persons: a URI such as"),
    ] {
        let output = run(folder.path(), &format!("mhealth-gateway route explain --resource o.json {line}"));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(expected), "{line}: {told}");
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/examples/valid/blood-pressure-pulse.json");
    let person = r#"{"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:a", "value": "1"}]}"#;
    std::fs::write(folder.path().join("p.json"), person).unwrap();
    for (pack, code, expected) in [
        ("de-hddt", 1, "(destination-needs)\n  Nothing was given as --person, --device, --app.\n"),
        ("eu-r4 --setting persons=urn:a --person p.json", 0, "without pulse-pressure, for which there is no place\n"),
    ] {
        let output = run(folder.path(), &format!("mhealth-gateway route explain --pack {pack} --resource {example}"));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(code) && told.contains(expected), "{pack}: {told}");
    }
    let output = run(folder.path(), "mhealth-gateway route dry-run --config good.toml --new config.toml");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("destination a: settings.persons: a URI"), "{told}");
}

#[test]
fn a_configuration_is_told_of_all_its_mistakes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("broken")).unwrap();
    std::fs::write(at("broken/pack.toml"), "id = 1\n").unwrap();
    let config = "limts = 1
        [packs]
        folders = [\"broken\"]
        [devices]
        mappings = [\"none.toml\"]
        iomt_device_content = \"content.json\"
        iomt_fhir_mapping = \"mapping.json\"
        [[destination]]
        name = \"a\"
        actor = \"Organization/a\"
        pack = \"fi-kanta\"
        [destination.settings]
        person = \"x\"
        [destination.fhir]
        url = \"https://a.example/fhir\"
        ca = \"ca.pem\"
        [[destination]]
        name = \"b\"
        actor = \"nobody\"
        pack = \"no-pmd\"
        [destination.fhir]
        url = \"https://b.example/fhir\"
        ca = \"cb.pem\"
        [[destination]]
        name = \"c\"
        actor = \"Organization/c\"
        pack = \"no-pmd\"
        [destination.fhir]
        url = \"ftp://c.example\"
        ";
    std::fs::write(at("config.toml"), config).unwrap();
    let output = run(folder.path(), "mhealth-gateway check --config config.toml");
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = [
        "limts: unknown field",
        "packs: broken: pack.toml:1: invalid type",
        "packs: broken: measures.csv: the file is missing",
        "devices: none.toml: cannot be read",
        "devices: content.json: cannot be read",
        "devices: mapping.json: cannot be read",
        "destination a: settings.person: fi-kanta@1.0.0 has no such setting; it has persons",
        "destination a: settings.persons: missing",
        "destination a: fhir.ca: ca.pem cannot be read",
        "destination[1].actor: a reference",
        "destination b: settings.organization: missing",
        "destination b: fhir.ca: cb.pem cannot be read",
        "destination[2].fhir.url:",
        "destination c: settings.organization: missing",
    ];
    for expected in expected {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!told.contains("opening destination"), "{told}");
    std::fs::write(at("config.toml"), "listen = \n[limits\nbody_bytes = 1\n").unwrap();
    let output = run(folder.path(), "mhealth-gateway check --config config.toml");
    let told = String::from_utf8(output.stderr).unwrap();
    for line in ["line 1:", "line 2:"] {
        assert!(told.contains(&format!("the file is not TOML: {line}")), "{line} {told}");
    }
}
