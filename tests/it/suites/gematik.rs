//! Documents of a national reference validator, labelled valid and invalid, against its packages.
//!
//! Which packages a profile is checked with follows from that validator's own configuration: for each version of a
//! profile a list of them, and of these the one whose period holds the day that the document was made on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::fhirpath::{Context, Node, ShapesOnly, Value as FhirPath, compile};
use mhealth_gateway::fhir::outcome::{Id, Issue};
use mhealth_gateway::fhir::tree::{Document, Element};
use mhealth_gateway::fhir::validate::{Options, Validator};
use serde_json::Value;

use super::{Memo, at_least, core, files, issues, keep, known, line, only, package, read, share, spread, suite};

/// Packages that are checked with together, and the days for which they count.
#[derive(Default, Debug)]
struct Set {
    packages: Vec<String>,
    from: String,
    till: String,
}

/// One version of a profile that the configuration knows.
#[derive(Default, Debug)]
struct Supported {
    sets: Vec<String>,
    made_on: String,
}

#[derive(Default, Debug)]
struct Configuration {
    sets: HashMap<String, Set>,
    profiles: HashMap<String, Supported>,
    /// Code systems and value sets that the reference validator leaves alone.
    ignored: BTreeSet<String>,
    units_warn: bool,
}

impl Configuration {
    /// Reads the few shapes of YAML that the configuration is written in: keys by depth and lists of texts.
    fn read(text: &str) -> Configuration {
        let mut configuration = Configuration::default();
        let mut keys: Vec<(usize, String)> = Vec::new();
        for line in text.lines() {
            let content = line.split(" #").next().unwrap_or_default();
            let trimmed = content.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let depth = content.len() - content.trim_start().len();
            keys.retain(|(at, _)| *at < depth);
            let path: Vec<&str> = keys.iter().map(|(_, key)| key.as_str()).collect();
            let plain = |text: &str| text.trim().trim_matches('"').to_owned();
            if let Some(item) = trimmed.strip_prefix("- ") {
                match path.as_slice() {
                    ["dependencyLists", name, "packages"] => {
                        configuration.sets.entry((*name).to_owned()).or_default().packages.push(plain(item));
                    }
                    ["supportedProfiles", url, "profileVersions", version, "dependencyLists"] => {
                        let profile = configuration.profiles.entry(format!("{url}|{version}")).or_default();
                        profile.sets.push(plain(item));
                    }
                    ["ignoredCodeSystems" | "ignoredValueSets"] => {
                        configuration.ignored.insert(plain(item));
                    }
                    _ => {}
                }
                continue;
            }
            let (key, value) = match trimmed.strip_prefix('"').and_then(|rest| rest.split_once("\":")) {
                Some((key, value)) => (key, value),
                None => trimmed.split_once(':').unwrap(),
            };
            match (path.as_slice(), key) {
                ([], "ucumValidationSeverityLevel") => configuration.units_warn = plain(value) == "WARNING",
                (["dependencyLists", name], "validFrom" | "validTill") => {
                    let set = configuration.sets.entry((*name).to_owned()).or_default();
                    *(if key == "validFrom" { &mut set.from } else { &mut set.till }) = plain(value);
                }
                (["supportedProfiles", url, "profileVersions", version], "creationDateLocator") => {
                    let profile = configuration.profiles.entry(format!("{url}|{version}")).or_default();
                    profile.made_on = plain(value);
                }
                _ => {}
            }
            keys.push((depth, plain(key)));
        }
        configuration
    }
}

struct Case {
    path: String,
    module: String,
    is_valid: bool,
    profile: String,
}

#[test]
fn agrees_with_the_national_validator() {
    let folder = suite("gematik-refv");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let text = |case: &Value, name: &str| case[name].as_str().unwrap_or_default().to_owned();
    let only = only();
    let cases: Vec<Case> = cases
        .iter()
        .map(|case| Case {
            path: text(case, "file"),
            module: text(case, "module"),
            is_valid: text(case, "label") == "valid",
            profile: text(case, "profile"),
        })
        .filter(|case| only.as_ref().is_none_or(|only| case.path.contains(only)))
        .collect();
    let shelf = Shelf::default();
    let found = spread(&cases, |case| shelf.run(case));
    let (mut failed, mut full) = (BTreeSet::new(), String::new());
    let mut counts: BTreeMap<(bool, bool), usize> = BTreeMap::new();
    for (case, (notes, issues)) in cases.iter().zip(&found) {
        let accepted = !issues.iter().any(Issue::is_error);
        *counts.entry((case.is_valid, accepted)).or_default() += 1;
        if accepted != case.is_valid {
            failed.insert(case.path.clone());
        }
        if accepted != case.is_valid || only.is_some() {
            writeln!(full, "{} {}\n{notes}", case.path, case.profile).unwrap();
            for issue in issues {
                writeln!(full, "  {}", line(issue)).unwrap();
            }
        }
    }
    if only.is_some() {
        println!("{full}");
        return;
    }
    let count = |valid, accepted| counts.get(&(valid, accepted)).copied().unwrap_or(0);
    println!(
        "gematik-refv: accepted of the valid {}, caught of the invalid {}",
        share(count(true, true), count(true, true) + count(true, false)),
        share(count(false, false), count(false, true) + count(false, false)),
    );
    keep("gematik-refv.txt", &full);
    assert_eq!(count(true, false), 0, "no valid document is rejected");
    at_least("caught of the invalid", 97.0, count(false, false), count(false, true) + count(false, false));
    known("gematik-refv.txt", &failed);
}

#[derive(Default)]
struct Shelf {
    configurations: OnceLock<HashMap<String, Configuration>>,
    validators: Memo<Vec<String>, Arc<Validator>>,
}

impl Shelf {
    fn run(&self, case: &Case) -> (String, Vec<Issue>) {
        let folder = suite("gematik-refv");
        let mut notes = String::new();
        let bytes = fs::read(folder.join(&case.path)).unwrap();
        let Ok(document) = read(&bytes) else { return (notes, issues(&core(), &bytes, &Options::default())) };
        let root = Element::root(&document);
        let configuration = &self.configurations()[&case.module];
        // The reference validator goes by what the document claims.
        let claimed = root.get("meta").and_then(|meta| meta.text_of("profile")).unwrap_or(&case.profile);
        let Some((sets, day)) = configuration.profiles.get(claimed).map(|supported| {
            let day = made_on(&supported.made_on, root);
            let fits = |set: &&Set| {
                day.as_ref().is_none_or(|day| {
                    (set.from.is_empty() || *day >= set.from) && (set.till.is_empty() || *day <= set.till)
                })
            };
            let sets = supported.sets.iter().filter_map(|name| configuration.sets.get(name));
            (sets.filter(fits).collect::<Vec<_>>(), day)
        }) else {
            let text = "The reference validator supports no such profile.";
            return (notes, vec![Issue::new(Id::TypeMismatch, "", text)]);
        };
        let Some(set) = sets.last() else {
            writeln!(notes, "  made on {day:?}").unwrap();
            return (notes, vec![Issue::new(Id::TypeMismatch, "", "No version of the profile counts on that day.")]);
        };
        let packages: Vec<String> = set.packages.iter().map(|name| format!("{}/{name}", case.module)).collect();
        let missing: Vec<&String> = packages.iter().filter(|name| !archive(name).is_file()).collect();
        writeln!(notes, "  made on {day:?}, missing {missing:?}").unwrap();
        let validator = self.validator(&packages);
        // Where a package is not at hand, its extensions cannot be known.
        let options = Options { known_extensions: missing.is_empty(), ..Options::default() };
        let mut found = issues(&validator, &bytes, &options);
        // The configuration takes units that are none of UCUM's with a warning.
        found.retain(|issue| issue.id != Id::UnitUnknown || !configuration.units_warn);
        found.retain(|issue| !configuration.ignored.iter().any(|ignored| issue.text.contains(ignored.as_str())));
        (notes, found)
    }

    fn configurations(&self) -> &HashMap<String, Configuration> {
        self.configurations.get_or_init(|| {
            let read = |module: &str| {
                let path = format!("config/{module}/src/main/resources/{module}/config.yaml");
                Configuration::read(&fs::read_to_string(suite("gematik-refv").join(path)).unwrap())
            };
            ["eau", "erp"].into_iter().map(|module| (module.to_owned(), read(module))).collect()
        })
    }

    fn validator(&self, packages: &[String]) -> Arc<Validator> {
        let slot = Arc::clone(self.validators.lock().unwrap().entry(packages.to_vec()).or_default());
        let make = || {
            let (mut loaded, mut patched) = (Vec::new(), Vec::new());
            for name in packages {
                let path = archive(name);
                if path.is_file() {
                    loaded.push(package(&path));
                }
                patched.extend(patches(name));
            }
            let usable = patched.iter().filter(|document| Package::loose("one", [*document]).is_ok());
            loaded.push(Arc::new(Package::loose("patches", usable).unwrap()));
            Arc::new(Validator::new(Registry::with_packages(loaded)))
        };
        Arc::clone(slot.get_or_init(make))
    }
}

/// The day of a document, by the expression that the configuration has for its profile.
fn made_on(expression: &str, root: Element<'_>) -> Option<String> {
    let compiled = compile(expression).ok()?;
    let focus = Node::resource(root);
    let context = Context::new(&ShapesOnly, focus);
    let found = compiled.evaluate(&context, focus).ok()?;
    match found.as_slice().first()? {
        FhirPath::Node(node) => node.element.text()?.get(..10).map(str::to_owned),
        _ => None,
    }
}

/// Where a package of the suite lies, by `module/file`.
fn archive(name: &str) -> PathBuf {
    let (module, file) = name.split_once('/').unwrap();
    suite("gematik-refv").join(format!("packages/{module}/src/main/resources/{module}/package/{file}"))
}

/// Definitions that the reference validator puts in the place of those of a package.
fn patches(name: &str) -> Vec<Document> {
    let (module, file) = name.split_once('/').unwrap();
    let stem = file.trim_end_matches(".tgz");
    let folder =
        suite("gematik-refv").join(format!("config/{module}/src/main/resources/{module}/src-package/patches/{stem}"));
    if !folder.is_dir() {
        return Vec::new();
    }
    files(&folder).iter().filter_map(|path| read(&fs::read(path).unwrap()).ok()).collect()
}
