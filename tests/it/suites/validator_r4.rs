//! The R4 cases of FHIR/fhir-test-cases with the outcomes that the HL7 Java validator recorded, our authority.
//!
//! A case is one check on its own and another against each profile that it names. Verdict: both say valid, or both
//! say invalid. Errors that only a terminology server could tell are left out of what is expected (tiers B and C).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::tree::{Document, Element};
use mhealth_gateway::fhir::validate::{Options, References, Validator};
use serde_json::Value;

use super::{Memo, at_least, errors, issues, keep, known, line, only, package, packages, read, share, spread, suite};

/// One check: a case in one of its modes.
struct Check {
    id: String,
    case: Arc<Value>,
    mode: String,
}

/// What one check gave, beside what was expected.
struct Outcome {
    is_strict: bool,
    /// Where our errors lie.
    places: Vec<String>,
    /// The record of another check of the same file has what this one lacks.
    is_contradicted: bool,
    is_special: bool,
    tier: char,
    expected: usize,
    found: usize,
    /// Expected errors that stand at the same place with us.
    placed: usize,
    /// Errors that Firely's SDK found, where that was recorded.
    firely: Option<usize>,
    shown: String,
}

impl Outcome {
    fn is_right(&self) -> bool {
        (self.expected == 0) == (self.found == 0)
    }
}

#[test]
fn agrees_with_the_java_validator() {
    let checks = checks();
    let only = only();
    let chosen: Vec<&Check> =
        checks.iter().filter(|check| only.as_ref().is_none_or(|only| check.id.contains(only))).collect();
    let shelf = Shelf::default();
    let mut outcomes = spread(&chosen, |check| shelf.run(check));
    contradict(&chosen, &mut outcomes);
    if only.is_some() {
        for outcome in &outcomes {
            println!("{}", outcome.shown);
        }
        return;
    }
    let table = table(&outcomes);
    println!("{table}");
    let full: String = outcomes.iter().map(|outcome| format!("{}\n", outcome.shown)).collect();
    keep("validator-r4.txt", &format!("{table}\n{full}"));
    let failing = |wrong: &dyn Fn(&Outcome) -> bool| -> BTreeSet<String> {
        chosen.iter().zip(&outcomes).filter(|(_, outcome)| wrong(outcome)).map(|(check, _)| check.id.clone()).collect()
    };
    bars(&outcomes);
    known("validator-r4-verdict.txt", &failing(&|outcome| !outcome.is_right()));
    known("validator-r4-count.txt", &failing(&|outcome| outcome.is_right() && outcome.expected != outcome.found));
}

/// What is the least that must agree, whatever the lists of known failures hold.
fn bars(outcomes: &[Outcome]) {
    let rated: Vec<&Outcome> = outcomes.iter().filter(|each| !each.is_special && each.tier != 'C').collect();
    let strict: Vec<&Outcome> = outcomes.iter().filter(|each| !each.is_special && each.is_strict).collect();
    let count =
        |group: &[&Outcome], wanted: &dyn Fn(&Outcome) -> bool| group.iter().filter(|each| wanted(each)).count();
    at_least("strict, verdict", 97.0, count(&strict, &Outcome::is_right), strict.len());
    at_least("tiers A and B, verdict", 92.0, count(&rated, &Outcome::is_right), rated.len());
    at_least("tiers A and B, same count", 80.0, count(&rated, &|each| each.expected == each.found), rated.len());
    let rejected = count(&strict, &|each| each.expected == 0 && each.found > 0 && !each.is_contradicted);
    assert_eq!(rejected, 0, "strict checks that are clean there and rejected here");
}

/// A file that lacks an element by its base type lacks it whatever the settings are: where one record says so and
/// another one, of the same file, does not, the one that does not is at fault.
fn contradict(checks: &[&Check], outcomes: &mut [Outcome]) {
    let mut said: HashMap<&str, Vec<&str>> = HashMap::new();
    for check in checks.iter().filter(|check| check.mode == "base") {
        let issues = check.case["expect"]["base"]["java"]["issues"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts = issues.iter().filter(|issue| issue["sev"] == "error").filter_map(|issue| issue["text"].as_str());
        said.entry(check.case["file"].as_str().unwrap()).or_default().extend(texts);
    }
    for (check, outcome) in checks.iter().zip(outcomes) {
        let texts = said.get(check.case["file"].as_str().unwrap()).map(Vec::as_slice).unwrap_or_default();
        let is_said = |place: &String| texts.iter().any(|text| text.starts_with(&format!("{place}: minimum required")));
        outcome.is_contradicted = outcome.expected == 0 && outcome.found > 0 && outcome.places.iter().all(is_said);
    }
}

fn checks() -> Vec<Check> {
    let text = fs::read_to_string(suite("validator-r4").join("index.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut checks = Vec::new();
    for case in cases {
        let case = Arc::new(case);
        for mode in case["expect"].as_object().unwrap().keys() {
            let id = format!("{}/{mode}", case["id"].as_str().unwrap());
            checks.push(Check { id, case: Arc::clone(&case), mode: mode.clone() });
        }
    }
    checks
}

fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from("validator-r4, agreement with the HL7 Java validator\n");
    let core = |outcome: &&Outcome| !outcome.is_special;
    let groups: [(&str, Vec<&Outcome>); 6] = [
        ("strict", outcomes.iter().filter(core).filter(|each| each.is_strict).collect()),
        ("tier A", outcomes.iter().filter(core).filter(|each| each.tier == 'A').collect()),
        ("tier B", outcomes.iter().filter(core).filter(|each| each.tier == 'B').collect()),
        ("tiers A+B", outcomes.iter().filter(core).filter(|each| each.tier != 'C').collect()),
        ("tier C", outcomes.iter().filter(core).filter(|each| each.tier == 'C').collect()),
        ("special", outcomes.iter().filter(|each| each.is_special).collect()),
    ];
    for (name, group) in &groups {
        let count = |wanted: &dyn Fn(&Outcome) -> bool| group.iter().filter(|each| wanted(each)).count();
        let rejected = count(&|each| each.expected == 0 && each.found > 0);
        let contradicted = count(&|each| each.is_contradicted);
        let clean = count(&|each| each.expected == 0);
        let (placed, expected) = group.iter().fold((0, 0), |sum, each| (sum.0 + each.placed, sum.1 + each.expected));
        writeln!(
            table,
            "  {name:<10} verdict {:<18} same count {:<18} clean rejected {rejected}/{clean}{}  same place {}",
            share(count(&Outcome::is_right), group.len()),
            share(count(&|each| each.expected == each.found), group.len()),
            if contradicted > 0 { format!(", {contradicted} against another record") } else { String::new() },
            share(placed, expected),
        )
        .unwrap();
        let rated: Vec<(&&Outcome, usize)> = group.iter().filter_map(|each| Some((each, each.firely?))).collect();
        let agrees = |each: &Outcome, firely: usize| (each.expected == 0) == (firely == 0);
        writeln!(
            table,
            "  {:<10} on the checks that Firely's SDK ran: Firely {}, ours {}",
            "",
            share(rated.iter().filter(|(each, firely)| agrees(each, *firely)).count(), rated.len()),
            share(rated.iter().filter(|(each, _)| each.is_right()).count(), rated.len()),
        )
        .unwrap();
    }
    table
}

/// Validators that several checks share.
#[derive(Default)]
struct Shelf {
    validators: Memo<Vec<PathBuf>, (Arc<Validator>, String)>,
}

/// What the Java validator loads besides the core for whatever it validates.
const ALWAYS: [&str; 2] = ["hl7.terminology.r4#7.0.1", "hl7.fhir.uv.extensions.r4#5.3.0-ballot-tc1"];

impl Shelf {
    fn run(&self, check: &Check) -> Outcome {
        let case = &*check.case;
        let folder = suite("validator-r4").join("cases");
        let bytes = fs::read(folder.join(case["file"].as_str().unwrap())).unwrap();
        let mut notes = String::new();
        let (mut sources, mut archives) = (Vec::new(), ALWAYS.map(str::to_owned).to_vec());
        for name in ["supporting", "profiles", "supporting5"] {
            sources.extend(strings(&case[name]));
        }
        archives.extend(strings(&case["packages"]));
        let mut profiles = Vec::new();
        if check.mode == "profile" {
            let profile = &case["profile"];
            sources.extend(strings(&profile["supporting"]));
            archives.extend(strings(&profile["packages"]));
            let source = profile["source"].as_str().unwrap();
            if source.contains("://") {
                profiles.push(source.to_owned());
            } else {
                sources.push(source.to_owned());
                match fs::read(folder.join(source)).map_err(|error| error.to_string()).and_then(|bytes| read(&bytes)) {
                    Ok(document) => {
                        profiles.push(Element::root(&document).text_of("url").unwrap_or_default().to_owned());
                    }
                    Err(error) => writeln!(notes, "  ! {source}: {error}").unwrap(),
                }
            }
        }
        let sources: Vec<PathBuf> = sources.iter().map(|name| folder.join(name)).collect();
        let archives: Vec<PathBuf> = archives.iter().filter_map(|name| archive(&folder, name, &mut notes)).collect();
        let validator = self.validator(&archives, &sources, &mut notes);
        let names: Vec<&str> = profiles.iter().map(String::as_str).collect();
        let domain: Vec<&str> = case["settings"]["allowed-extension-domain"].as_str().into_iter().collect();
        let found = issues(&validator, &bytes, &Options { extension_domains: &domain, ..options(case, &names) });
        if only().is_some() {
            for profile in names.iter().filter_map(|name| validator.profile(name)) {
                writeln!(notes, "{profile}").unwrap();
            }
        }
        outcome(check, &found, &notes)
    }

    fn validator(&self, archives: &[PathBuf], sources: &[PathBuf], notes: &mut String) -> Arc<Validator> {
        let key: Vec<PathBuf> = archives.iter().chain(sources).cloned().collect();
        let slot = Arc::clone(self.validators.lock().unwrap().entry(key).or_default());
        let (validator, said) = slot.get_or_init(|| make(archives, sources));
        notes.push_str(said);
        Arc::clone(validator)
    }
}

fn make(archives: &[PathBuf], sources: &[PathBuf]) -> (Arc<Validator>, String) {
    let (mut notes, mut documents) = (String::new(), Vec::new());
    for path in sources {
        match fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| read(&bytes)) {
            Ok(document) => documents.push(document),
            Err(error) => writeln!(notes, "  ! {}: {error}", path.display()).unwrap(),
        }
    }
    let mut packages: Vec<Arc<Package>> = archives.iter().map(|path| package(path)).collect();
    // One that is no definition keeps the others from nothing.
    let usable = documents.iter().filter(|document| match Package::loose("one", [*document]) {
        Ok(_) => true,
        Err(defect) => {
            writeln!(notes, "  ! {defect}").unwrap();
            false
        }
    });
    let usable: Vec<&Document> = usable.collect();
    packages.push(Arc::new(Package::loose("loose", usable).unwrap()));
    let registry = Registry::with_packages(packages);
    for document in &documents {
        let root = Element::root(document);
        let url = root.text_of("url").unwrap_or_default();
        if root.resource_type() == Some("StructureDefinition") && registry.structure(url).is_none() {
            writeln!(notes, "  ! {url} cannot be used").unwrap();
        }
    }
    (Arc::new(Validator::new(registry)), notes)
}

/// What the case sets differently, in our words.
fn options<'a>(case: &'a Value, profiles: &'a [&'a str]) -> Options<'a> {
    let settings = &case["settings"];
    let is = |name: &str, value: &str| settings[name].as_str() == Some(value);
    Options {
        profiles,
        known_extensions: true,
        references: if is("validateReference", "CHECK_EXISTS_AND_TYPE") {
            References::Present
        } else {
            References::Fitting
        },
        forbids_markup: settings["security-checks"] == true || settings["noHtmlInMarkdown"] == true,
        lenient_displays: is("wrong-displays", "warning"),
        skip_contained: is("validateContains", "IGNORE"),
        loose_aggregation: settings["enforceAggregationOutsideBundles"].as_bool() == Some(false),
        ..Options::default()
    }
}

fn strings(value: &Value) -> Vec<String> {
    let listed = value.as_array().map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Where a package lies: with the cases, with the suite, or among ours.
fn archive(cases: &Path, name: &str, notes: &mut String) -> Option<PathBuf> {
    let file = format!("{}.tgz", name.replace('#', "-"));
    let places = [cases.join(name), suite("validator-r4").join("packages").join(&file), packages().join(&file)];
    let found = places.into_iter().find(|path| path.is_file());
    if found.is_none() {
        writeln!(notes, "  ! package {name} is not here").unwrap();
    }
    found
}

/// A path without the remarks that the Java validator puts into it, and without what both sides leave out now and then.
fn plain(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    let cut = out.find("[url=").unwrap_or(out.len());
    out.truncate(cut);
    out.trim_end_matches('.').to_owned()
}

fn outcome(check: &Check, found: &[mhealth_gateway::fhir::outcome::Issue], notes: &str) -> Outcome {
    let case = &*check.case;
    let tier = case["tier"].as_str().unwrap_or("A").chars().next().unwrap_or('A');
    let number = |value: &Value| value[&check.mode].as_u64().unwrap_or(0) as usize;
    let expected = number(if tier == 'A' { &case["errors"] } else { &case["errorsOffline"] });
    let sides = &case["expect"][&check.mode];
    let listed = sides["java"]["issues"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_error = |issue: &&Value| matches!(issue["sev"].as_str(), Some("error" | "fatal"));
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for issue in found.iter().filter(|issue| issue.is_error()) {
        *places.entry(plain(&issue.expression)).or_default() += 1;
    }
    let is_ours = |issue: &&Value| is_error(issue) && (tier == 'A' || issue["tx"].as_bool() != Some(true));
    let mut placed = 0;
    for issue in listed.iter().filter(is_ours) {
        if let Some(count) =
            places.get_mut(plain(issue["path"].as_str().unwrap_or_default()).as_str()).filter(|count| **count > 0)
        {
            *count -= 1;
            placed += 1;
        }
    }
    let firely = sides["firely-sdk-current"].get("error").and_then(Value::as_u64);
    let fatal = sides["firely-sdk-current"].get("fatal").and_then(Value::as_u64).unwrap_or(0);
    let mut outcome = Outcome {
        is_strict: case["strict"].as_bool() == Some(true),
        is_contradicted: false,
        places: found.iter().filter(|issue| issue.is_error()).map(|issue| plain(&issue.expression)).collect(),
        is_special: case["special"].is_string(),
        tier,
        expected,
        found: errors(found),
        placed,
        firely: firely.map(|errors| (errors + fatal) as usize),
        shown: String::new(),
    };
    let mark = match () {
        () if !outcome.is_right() => "WRONG",
        () if outcome.expected != outcome.found => "count",
        () => "right",
    };
    let mut shown = format!(
        "{mark} {} expected {expected} found {} tier {tier}{}{} {} {}\n{notes}",
        check.id,
        outcome.found,
        if outcome.is_strict { " strict" } else { "" },
        if outcome.is_special { " special" } else { "" },
        case["module"].as_str().unwrap_or_default(),
        case["file"].as_str().unwrap_or_default(),
    );
    for issue in listed {
        let text = |name: &str| issue[name].as_str().unwrap_or("-");
        let server = if issue["tx"].as_bool() == Some(true) { " (server)" } else { "" };
        writeln!(shown, "  java {} {} {} {}{server}", text("sev"), text("path"), text("pos"), text("text")).unwrap();
    }
    for issue in found {
        writeln!(shown, "  ours {}", line(issue)).unwrap();
    }
    outcome.shown = shown;
    outcome
}
