//! The countries' own material: what our packs make of a measurement against what each country says and shows.
//!
//! An example of a country is read back into a measurement of the guide's, told again by the pack, and compared point by
//! point: profile, codes, category, value and literal unit, time, and how the person is named. Assertions that a country
//! publishes as FHIRPath are run over what the pack emits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::tree::json as tree;
use mhealth_gateway::fhir::tree::write::compact;
use mhealth_gateway::fhir::validate::{Format, Options, Validator};
use mhealth_gateway::national::draft;
use mhealth_gateway::national::trial::{self, Example, Outcome, Stage, measurement};
use mhealth_gateway::national::{Form, Pack, Shelf};
use serde_json::Value as Json;

use super::{at_least, beside, errors, files, issues, keep, known, line, package, packages};

fn national(folder: &str) -> PathBuf {
    let folder = beside("MHEALTH_SUITES", "suites").with_file_name("national").join(folder);
    assert!(folder.exists(), "{} is missing; it lies beside MHEALTH_SUITES", folder.display());
    folder
}

fn pack(name: &str) -> std::sync::Arc<Pack> {
    Shelf::default().find(name).unwrap_or_else(|| panic!("there is no pack {name}")).clone()
}

/// A person whom every destination knows.
fn stage(pack: &Pack) -> Stage<'_> {
    Stage::of(pack, &BTreeMap::new()).unwrap()
}

/// The research's tables of what each destination calls a measure, and in what unit.
#[test]
fn packs_say_what_the_table_of_targets_says() {
    let text = std::fs::read_to_string(national("target-codes.csv")).unwrap();
    let (mut failed, mut all) = (BTreeSet::new(), 0);
    for row in text.lines().skip(1) {
        let fields = fields(row);
        let (target, key) = (&fields[0], fields[1].replace('_', "-"));
        all += 1;
        let mut wrong = |what: &str| {
            failed.insert(format!("{target} {key}: {what}"));
        };
        let Some(pack) = Shelf::default().find(target).cloned() else {
            wrong("has no pack");
            continue;
        };
        let Some(row) = pack.row(&key) else {
            wrong("has no line");
            continue;
        };
        if row.is_refused() != (fields[5] == "REFUSED") {
            // A sensor's single readings are refused where only a mean is taken.
            wrong("is refused");
            continue;
        }
        if !fields[6].is_empty() && row.profile != fields[6].split(" (").next().unwrap() {
            wrong("has another profile");
        }
        if row.is_refused() {
            continue;
        }
        let Some(sent) = measurement(&pack, row, None) else {
            wrong("cannot be measured");
            continue;
        };
        let told = match stage(&pack).told(&[sent]) {
            Ok(told) => told,
            Err(why) => {
                wrong(&why.text);
                continue;
            }
        };
        let codes: Vec<&str> = fields[3].split(" + ").collect();
        let unit = fields[4].rsplit('|').next().unwrap();
        let found = told.to_string();
        for code in codes.iter().filter(|code| !code.is_empty() && row.form != Form::Split) {
            if !found.contains(&format!("\"code\":\"{code}\"")) {
                wrong(&format!("lacks the code {code}"));
            }
        }
        if !unit.is_empty() && !found.contains(&format!("\"code\":\"{unit}\"")) {
            wrong(&format!("is not in {unit}"));
        }
        if fields[5] == "integer" && !row.is_integer() {
            wrong("is no integer");
        }
    }
    assert!(all > 60, "{all}");
    known("national-targets.txt", &failed);
}

/// What each destination demands, as FHIRPath on every request that its pack makes; or why there is no pack that pushes.
const DEMANDS: &[(&str, Result<&[&str], &str>)] = &[
    (
        "fi-kanta",
        Ok(&[
            "Bundle.type = 'batch'",
            "Bundle.entry.request.all(method = 'POST' and ifNoneExist.startsWith('identifier=urn:uuid:'))",
            "Bundle.entry.resource.all(meta.profile.all(startsWith('http://phr.kanta.fi/')) and meta.profile.exists())",
            "Bundle.entry.resource.all(language.exists() and text.`div`.exists() and issued.exists())",
            "Bundle.entry.resource.all(identifier.value.startsWith('urn:uuid:'))",
            "Bundle.entry.resource.all(performer.reference = subject.reference)",
            "Bundle.entry.resource.all(subject.identifier.empty())",
        ]),
    ),
    (
        "de-hddt",
        Ok(&[
            "Observation.meta.profile.count() = 1",
            "Observation.subject.identifier.empty() and Observation.performer.empty()",
            "Observation.subject.reference.all(startsWith('Patient/'))",
            "Observation.device.exists() or Observation.meta.profile.startsWith('http://hl7.org/fhir/uv/cgm/')",
            "Observation.effective.exists()",
        ]),
    ),
    (
        "de-mio-diga",
        Ok(&[
            "Bundle.type = 'document' and Bundle.identifier.value.startsWith('urn:uuid:')",
            "Bundle.entry.first().resource is Composition",
            "Bundle.entry.all(fullUrl.startsWith('urn:uuid:'))",
            "Bundle.entry.resource.ofType(Observation).all(code.coding.where(system = 'http://loinc.org' and version.exists()).exists())",
            "Bundle.entry.resource.ofType(Observation).all(code.coding.where(system = 'http://snomed.info/sct' and version.exists()).count() = 1)",
            "Bundle.entry.resource.ofType(Composition).section.section.entry.reference = Bundle.entry.where(resource is Observation).fullUrl",
        ]),
    ),
    (
        "fr-ens",
        Ok(&[
            "Bundle.type = 'transaction'",
            "Bundle.entry.resource.ofType(Observation).count() = 1",
            "Bundle.entry.resource.ofType(Device).count() = 1",
            "Bundle.entry.where(resource is Device).request.ifNoneExist.startsWith('identifier=urn:oid:')",
            "Bundle.entry.where(resource is Observation).request.ifNoneExist.empty()",
            "Bundle.entry.resource.all(meta.profile.exists())",
            "Bundle.entry.resource.ofType(Observation).all(value.exists() or component.value.exists())",
            "Bundle.entry.resource.ofType(Observation).all(subject.identifier.system.exists() and device.exists())",
            "Bundle.entry.resource.ofType(Observation).where(meta.profile.endsWith('Glucose')).all(extension.exists())",
            "Bundle.entry.resource.ofType(Observation).code.coding.where(code = '39156-5').empty()",
        ]),
    ),
    (
        "dk-fut",
        Ok(&[
            "Parameters.parameter.name = 'measurement'",
            "Parameters.parameter.resource.type = 'transaction'",
            "Parameters.parameter.resource.entry.resource.all(basedOn.count() = 1 and performer.count() = 1)",
            "Parameters.parameter.resource.entry.resource.all(effective.exists() and subject.exists())",
            "Parameters.parameter.resource.entry.resource.all(extension.where(url.endsWith('workflow-episodeOfCare')).count() = 1)",
            "Parameters.parameter.resource.entry.resource.all(extension.where(url.endsWith('ehealth-resolved-timing')).count() = 1)",
            "Parameters.parameter.resource.entry.resource.all(value is Quantity or value is CodeableConcept)",
            "Parameters.parameter.resource.entry.resource.value.ofType(Quantity).all(unit.exists() and system.exists() and code.exists())",
        ]),
    ),
    ("dk-core", Err("profiles to build on, and no system")),
    (
        "nl-medmij",
        Ok(&[
            "Bundle.type = 'batch'",
            "Bundle.entry.resource.all(meta.profile.exists() and id.empty())",
            "Bundle.entry.all(fullUrl.startsWith('urn:uuid:'))",
            "Bundle.descendants().where($this is Coding).all(system.exists() and code.exists())",
            "Bundle.descendants().where($this is Reference).all(display.exists())",
            "Bundle.descendants().where($this is Identifier).all((system.exists() or type.exists()) and (value.exists() or value.extension.exists()))",
            "Bundle.descendants().where(system = 'http://fhir.nl/fhir/NamingSystem/bsn').all(value.hasValue().not())",
        ]),
    ),
    (
        "no-pmd",
        Ok(&[
            "Bundle.type = 'batch' or Bundle.type = 'collection'",
            "Bundle.identifier.system = 'https://www.nhn.no/komlink/bundle-identifier'",
            "Bundle.entry.all(fullUrl.exists() and resource is Observation)",
            "Bundle.entry.resource.subject.identifier.system.all(startsWith('urn:oid:2.16.578.1.12.4.1.4.'))",
        ]),
    ),
    (
        "be-monitoring",
        Ok(&["Bundle.entry.resource.all(code.coding.exists() and subject.exists() and effective.exists())"]),
    ),
    (
        "ch-epr",
        Ok(&[
            "Bundle.type = 'transaction'",
            "Bundle.entry.count() = 3 and Bundle.entry.request.all(method = 'POST')",
            "Bundle.entry.resource.ofType(DocumentReference).masterIdentifier.value.startsWith('urn:oid:2.25.')",
            "Bundle.entry.resource.ofType(List).identifier.value.startsWith('urn:oid:2.25.')",
            "Bundle.entry.resource.ofType(Binary).data.exists()",
        ]),
    ),
    (
        "lt-vitalsigns",
        Ok(&[
            "Bundle.entry.resource.all(code.coding.where(system = 'http://loinc.org').count() = 1)",
            "Bundle.entry.resource.all(code.coding.where(system = 'http://snomed.info/sct').count() <= 1)",
        ]),
    ),
    ("uk-nhs", Err("there is no such system")),
    (
        "ee-healthsense",
        Ok(&[
            "Bundle.entry.resource.all(performer.exists() and category.exists())",
            "Bundle.entry.resource.all(code.coding.where(system = 'http://loinc.org').exists())",
            "Bundle.entry.resource.all(code.coding.where(system = 'http://snomed.info/sct').exists())",
        ]),
    ),
    ("eu-health-data-api", Err("it is pulled: the gateway's own face")),
];

/// Each entry of the table of demands has its line here, and each line holds of everything that the pack sends.
#[test]
fn packs_do_what_the_table_of_demands_asks_for() {
    let demands: Json = serde_json::from_slice(&std::fs::read(national("demands.json")).unwrap()).unwrap();
    let targets: BTreeSet<&str> = demands.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(targets, DEMANDS.iter().map(|(target, _)| *target).collect());
    let mut failed = BTreeSet::new();
    for (target, asked) in DEMANDS {
        let Ok(expressions) = asked else {
            assert!(Shelf::default().find(target).is_none(), "{target} has a pack");
            continue;
        };
        let (pack, demand) = (pack(target), &demands[*target]);
        let release = demand["fhirVersion"].as_str().unwrap();
        // Norway's server is of R5 and takes Observations of R4; STU3 was corrected after the table was made.
        let same = release.split('.').next() == pack.fhir.split('.').next() || release.contains("R4-compatible");
        assert!(same, "{target}: {release}");
        if let Some(most) = demand["limits"]["observationsPerBundle"].as_u64() {
            assert_eq!(pack.request.most as u64, most, "{target}");
        }
        let stage = stage(&pack);
        let sent: Vec<Json> = trial::requests(&pack, &stage).map(|(_, request)| request).collect();
        let taken = pack.rows().iter().filter(|row| row.form != Form::Part && !row.is_refused()).count();
        assert_eq!(sent.len(), taken, "{target}: a measure that is taken cannot be told");
        for expression in *expressions {
            if !trial::holds_of_all(expression, &sent) {
                failed.insert(format!("{target}: {expression}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The fields of a line of CSV.
fn fields(row: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for letter in row.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

const EXAMPLES: &[(&str, &str)] = &[
    ("fi-kanta", "fi-kanta/examples"),
    ("fr-ens", "fr-ens"),
    ("no-pmd", "no-pmd/examples"),
    ("de-hddt", "de-hddt/examples"),
    ("nl-medmij", "nl-medmij"),
];

/// The resources of a folder, by the names of their files.
fn material(folder: &Path) -> Vec<(String, Json)> {
    let validator = Validator::new(Registry::core());
    let paths = files(folder);
    let read = paths.iter().filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let bytes = std::fs::read(path).unwrap();
        let json = match path.extension()?.to_str()? {
            "json" => serde_json::from_slice(&bytes).ok()?,
            "xml" => {
                let document = validator.read(&bytes, Format::Xml).document?;
                serde_json::from_str(&compact(&document, document.root())).ok()?
            }
            _ => return None,
        };
        Some((name, json))
    });
    read.collect()
}

#[test]
fn what_packs_emit_means_what_the_countries_examples_say() {
    let (mut failed, mut further, mut right, mut placed, mut table) =
        (BTreeSet::new(), BTreeSet::new(), 0, 0, String::new());
    for (name, folder) in EXAMPLES {
        let tried = trial::run(&pack(name), &BTreeMap::new(), &material(&national(folder)), &BTreeSet::new()).unwrap();
        assert!(tried.unchecked.is_empty(), "{name}: {:?}", tried.unchecked);
        for Example { file, index, differs, placed: has_place, .. } in tried.examples {
            placed += usize::from(has_place);
            // Countries also show what else a sender may say: codings beside the one that means the measure.
            let (beside, meaning): (Vec<String>, Vec<String>) =
                differs.into_iter().partition(|what| what.contains(" without "));
            if !beside.is_empty() {
                further.insert(format!("{name} {file}: {}", beside.join(", ")));
            }
            if meaning.is_empty() {
                right += 1;
            } else {
                let what = meaning.join(", ");
                table.push_str(&format!("{name} {file} {index}: {what}\n"));
                failed.insert(format!("{name} {file}: {what}"));
            }
        }
    }
    keep("national-examples.txt", &table);
    known("national-examples.txt", &failed);
    known("national-codings.txt", &further);
    at_least("examples told again", 95.0, right, placed);
}

/// Every assertion on requests that Nictiz publishes, with the measurements that it is about.
#[test]
fn what_is_sent_to_medmij_passes_its_own_assertions() {
    let pack = pack("nl-medmij");
    let expressions: BTreeSet<String> = files(&national("nl-medmij"))
        .iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "Sending-PHR"))
        .filter(|path| path.extension().is_some_and(|ending| ending == "xml"))
        .flat_map(|path| asserted(&std::fs::read_to_string(path).unwrap()))
        .filter(|expression| expression.starts_with("Bundle."))
        .collect();
    assert!(expressions.len() > 15, "{}", expressions.len());
    let stage = stage(&pack);
    let sent: Vec<Json> = trial::requests(&pack, &stage).map(|(_, request)| request).collect();
    assert!(sent.len() > 9, "{}", sent.len());
    let asserted = trial::hold(&expressions, &sent);
    assert!(asserted.iter().filter(|one| one.outcome == Outcome::Holds).count() > 11, "{asserted:?}");
    let failed = asserted.iter().filter_map(|one| match one.outcome {
        Outcome::Holds | Outcome::Certain => None,
        Outcome::Fails => Some(one.expression.clone()),
        Outcome::Unreadable => Some(format!("no FHIRPath: {}", one.expression)),
    });
    known("national-medmij.txt", &failed.collect());
}

/// The expressions of a TestScript.
fn asserted(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in script.split("<expression value=\"").skip(1) {
        let Some((expression, _)) = part.split_once("\"/>") else { continue };
        let plain = expression.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        found.push(plain);
    }
    found
}

/// Profiles that a country publishes, over what its pack emits.
#[test]
fn what_packs_emit_is_valid_by_the_countries_profiles() {
    let mut failed = BTreeSet::new();
    for (name, folders) in [
        ("no-pmd", &["no-pmd/conformance", "no-pmd/no-basis"][..]),
        ("de-hddt", &["de-hddt/conformance"]),
        ("dk-fut", &["dk-fut/conformance"]),
        ("eu-r4", &[]),
    ] {
        let pack = pack(name);
        let definitions: Vec<PathBuf> = folders.iter().flat_map(|folder| files(&national(folder))).collect();
        let validator = Validator::new(loose(&definitions));
        for row in pack.rows().iter().filter(|row| row.form != Form::Part && !row.is_refused()) {
            let Some(sent) = measurement(&pack, row, None) else { continue };
            let Ok(told) = stage(&pack).told(&[sent]) else {
                failed.insert(format!("{name} {}: not told", row.measure));
                continue;
            };
            for one in trial::within(&told, "Observation") {
                let found = issues(&validator, one.to_string().as_bytes(), &Options::default());
                if errors(&found) > 0 {
                    let first = found.iter().find(|issue| issue.is_error()).map(line).unwrap_or_default();
                    failed.insert(format!("{name} {}: {first}", row.measure));
                }
            }
        }
    }
    known("national-profiles.txt", &failed);
}

/// What Switzerland is told, by the profiles of IHE that its own are of, and the document within by the standard.
#[test]
fn what_switzerland_is_told_is_valid_by_the_profiles_of_mhd() {
    let pack = pack("ch-epr");
    let mhd = package(&packages().join("ihe.iti.mhd-4.2.0.tgz"));
    let validator = Validator::new(Registry::with_packages(vec![mhd]));
    let mut failed = BTreeSet::new();
    for (measure, request) in trial::requests(&pack, &stage(&pack)) {
        let mut told: Vec<Json> =
            request["entry"].as_array().unwrap().iter().map(|one| one["resource"].clone()).collect();
        told.extend(trial::documents(&request));
        assert_eq!(told.len(), 4, "{measure}: a document, what it is in, and what is said of both");
        for one in &told {
            let found = issues(&validator, one.to_string().as_bytes(), &Options::default());
            failed.extend(
                found.iter().filter(|issue| issue.is_error()).map(|issue| format!("{measure}: {}", line(issue))),
            );
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The document for Germany, by the standard, and written as XML and read back.
#[test]
fn what_germany_is_told_is_valid_and_the_same_in_xml() {
    let pack = pack("de-mio-diga");
    let validator = Validator::new(Registry::core());
    for (measure, request) in trial::requests(&pack, &stage(&pack)) {
        let found = issues(&validator, request.to_string().as_bytes(), &Options::default());
        let errors: Vec<String> = found.iter().filter(|issue| issue.is_error()).map(line).collect();
        assert!(errors.is_empty(), "{measure}: {errors:#?}");
        let xml = validator.to_xml(&tree::parse(request.to_string()).unwrap()).unwrap();
        let back = validator.read(&xml, Format::Xml).document.expect("what was written can be read");
        let back: Json = serde_json::from_str(&compact(&back, back.root())).unwrap();
        assert_eq!(back, request, "{measure}");
    }
}

/// Whatever a country publishes: what is drafted of it is a pack that `pack check` finds nothing wrong with.
#[test]
fn what_is_drafted_of_any_countrys_material_is_a_pack_without_a_mistake() {
    let folders = std::fs::read_dir(national("")).unwrap().map(|entry| entry.unwrap().path());
    let mut drafted = 0;
    for folder in folders.filter(|path| path.is_dir()) {
        let resources: Vec<Json> = material(&folder).into_iter().map(|(_, resource)| resource).collect();
        if !resources.iter().any(draft::is_about_packs) {
            continue;
        }
        let answers = draft::found(&resources).or(draft::Answers::usual());
        let files = draft::draft(&answers).unwrap_or_else(|mistakes| panic!("{}: {mistakes:#?}", folder.display()));
        let found = trial::check(&files);
        assert!(found.mistakes.is_empty(), "{}: {:#?}", folder.display(), found.mistakes);
        // One of its examples has energy under the code of carbohydrates.
        let left_out = draft::unmet(&resources).iter().any(|text| text.contains("788472008"));
        assert_eq!(left_out, folder.ends_with("fi-kanta"), "{}", folder.display());
        drafted += 1;
    }
    assert!(drafted > 4, "{drafted}");
}

/// The packs of the program are what `pack check` asks for.
#[test]
fn the_programs_own_packs_have_no_mistake() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/packs");
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let files: BTreeMap<String, String> = entries
            .map(|path| {
                (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
            })
            .collect();
        let found = trial::check(&files);
        assert!(found.pack.is_some() && found.is_nothing(), "{}: {found:#?}", folder.display());
    }
}

/// The definitions of some files, beside the standard's.
fn loose(paths: &[PathBuf]) -> std::sync::Arc<Registry> {
    let is_json = |path: &&PathBuf| Path::new(path).extension().is_some_and(|ending| ending == "json");
    let read = paths.iter().filter(is_json).filter_map(|path| tree::parse(std::fs::read(path).unwrap()).ok());
    let package = Package::loose("national", &read.collect::<Vec<_>>()).unwrap_or_else(|defect| panic!("{defect:?}"));
    Registry::with_packages(vec![std::sync::Arc::new(package)])
}
