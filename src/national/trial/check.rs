//! What is wrong with a pack beyond what keeps it from being one: templates that are no FHIR, what is written and never used,
//! and requests of its own that the standard or the destination would refuse.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::known::unknown;
use super::line::contradictions;
use super::measurement::LINKED;
use super::{Stage, documents, requests, stu3, unchecked};
use crate::fhir::definitions::Registry;
use crate::fhir::tree::{Document, Element, Kind, NodeId, json as tree};
use crate::fhir::validate::{Options as Rules, Validator};
use crate::national::compile::{
    CODE_COLUMNS, CODES, ERRORS, MEASURE_COLUMNS, MEASURES, Main, WORD_COLUMNS, WORDS, gathered,
};
use crate::national::file::Corrections;
use crate::national::pack::{Form, Need, Row};
use crate::national::table::rows;
use crate::national::{Mistake, Pack};

/// What was found of a folder that is to be a pack.
#[derive(Debug, Default)]
pub struct Found {
    /// The pack, where nothing keeps the files from being one.
    pub pack: Option<Pack>,
    pub mistakes: Vec<Mistake>,
    /// What the standard or the destination would mind of the pack's own requests and no file says by itself: by the line
    /// of the measure, or of the check.
    pub content: Vec<Mistake>,
}

impl Found {
    pub fn is_nothing(&self) -> bool {
        self.mistakes.is_empty() && self.content.is_empty()
    }

    /// All of it.
    pub fn told(&self) -> impl Iterator<Item = &Mistake> {
        self.mistakes.iter().chain(&self.content)
    }
}

/// Everything that is wrong with the files of a pack, all of it at once. What follows from something that is told is not
/// told again: requests are looked at where the files are sound.
pub fn check(files: &BTreeMap<String, String>) -> Found {
    let Found { pack, mistakes, content } = each(files);
    Found { pack, mistakes: gathered(mistakes), content: gathered(content) }
}

/// The same, with the same of several lines for each of them.
pub(in crate::national) fn each(files: &BTreeMap<String, String>) -> Found {
    let mut mistakes = Vec::new();
    let pack = Pack::of(files, &mut mistakes);
    let main = Main::read(files, &mut Vec::new());
    let core = Validator::new(Registry::core());
    if main.file.fhir != "5.0.0" {
        templates(&core, main.file.fhir == "3.0.2", files, &mut mistakes);
    }
    // Only R4 is known as a whole; what other releases say of their own is for their own validators.
    let validator = Some(core).filter(|_| main.file.fhir == "4.0.1");
    let unknown = unknown(&main, files);
    // A default that is refused is refused to whoever says nothing else.
    for wrong in pack.iter().filter_map(|pack| Stage::of(pack, &BTreeMap::new()).err()).flatten() {
        let key = format!("{}.default", wrong.split(':').next().unwrap_or_default());
        main.wrong(&key, wrong, &mut mistakes);
    }
    let mut content = Vec::new();
    if let Some(pack) = pack.as_ref().filter(|_| mistakes.is_empty()) {
        of_requests(pack, validator.as_ref(), files, &unknown, (&mut mistakes, &mut content));
    }
    mistakes.extend(unknown);
    mistakes.extend(unused(&main, files));
    mistakes.extend(twice(&main, files));
    // What a line contradicts itself in is refused for that.
    let contradictions: Vec<Mistake> = pack.iter().flat_map(|pack| contradictions(pack, &lines(files))).collect();
    content.retain(|one| !contradictions.iter().any(|told| (&told.file, told.line) == (&one.file, one.line)));
    mistakes.extend(contradictions);
    mistakes.extend(pack.iter().flat_map(|pack| unasked(pack, files)));
    Found { pack, mistakes, content }
}

/// What the standard or the destination would mind of the requests that the pack makes, as far as they say nothing that was
/// told of already.
fn of_requests(
    pack: &Pack,
    validator: Option<&Validator>,
    files: &BTreeMap<String, String>,
    told: &[Mistake],
    (mistakes, content): (&mut Vec<Mistake>, &mut Vec<Mistake>),
) {
    let is_everywhere = |one: &Mistake| one.file == WORDS || one.file.strip_suffix(".json").is_some();
    let Ok(stage) = Stage::of(pack, &BTreeMap::new()) else { return };
    let of_all = ["categories.", "settings.", "person.", "device."];
    if told.iter().any(|one| is_everywhere(one) || of_all.iter().any(|key| one.text.starts_with(key))) {
        return;
    }
    let lines_told: BTreeSet<u64> = told.iter().filter(|one| one.file == CODES).filter_map(|one| one.line).collect();
    let codes = rows(CODES, files, CODE_COLUMNS, &mut Vec::new()).rows;
    let doubtful: BTreeSet<&str> =
        codes.iter().filter(|row| lines_told.contains(&row.line)).map(|row| row.get(0)).collect();
    let is_doubtful = |measure: &str| {
        let part = |need: &Need| matches!(need, Need::Component(part) if doubtful.contains(part.as_str()));
        doubtful.contains(measure) || pack.row(measure).is_some_and(|row| row.needs.iter().any(part))
    };
    let requests: Vec<(String, Json)> = requests(pack, &stage).filter(|(measure, _)| !is_doubtful(measure)).collect();
    let lines = lines(files);
    for (measure, request) in &requests {
        let Some(validator) = validator else { break };
        let documents = documents(request);
        for whole in [request].into_iter().chain(&documents) {
            let Some((name, value, text)) = invalid(validator, whole) else { continue };
            match written(files, &name, &value) {
                Some((file, line)) => mistakes.push(Mistake::at(&file, line, text)),
                None => content.push(Mistake::at(MEASURES, lines.get(measure).copied().unwrap_or(1), text)),
            }
        }
    }
    let mut refused: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for one in unchecked(pack, &requests) {
        refused.entry(one.line).or_default().push(one.measure);
    }
    content.extend(refused.into_iter().map(|(line, measures)| {
        let text = format!("check: it does not hold of what the pack itself makes of {}", some(&measures));
        Mistake::at(ERRORS, line, text)
    }));
}

/// The first of them by name.
fn some(names: &[String]) -> String {
    const MOST: usize = 4;
    let named = names[..names.len().min(MOST)].join(", ");
    let more = names.len().saturating_sub(MOST);
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// Where each measure stands.
fn lines(files: &BTreeMap<String, String>) -> BTreeMap<String, u64> {
    let table = rows(MEASURES, files, MEASURE_COLUMNS, &mut Vec::new());
    table.rows.iter().map(|row| (row.get(0).to_owned(), row.line)).collect()
}

/// The first thing that the standard minds: the element, its value and why. Profiles of the destination's are not known, so
/// that a claim is no mistake.
fn invalid(validator: &Validator, whole: &Json) -> Option<(String, String, String)> {
    let mut plain = whole.clone();
    unclaimed(&mut plain);
    let document = tree::parse(plain.to_string()).ok()?;
    let report = validator.check(Element::root(&document), &Rules::default());
    let errors = report.issues.iter().filter(|issue| issue.is_error());
    errors.map(|issue| located(&plain, &issue.expression, &issue.text)).find(|(_, _, text)| !text.is_empty())
}

/// The element of an expression and its value, and what is said of it within its own resource; nothing of what stands there
/// because the person is made up.
fn located(whole: &Json, expression: &str, said: &str) -> (String, String, String) {
    let (mut name, mut value) = ("", whole);
    let mut shown = whole["resourceType"].as_str().unwrap_or_default().to_owned();
    for step in expression.split('.').skip(1) {
        let (own, index) = step.strip_suffix(']').and_then(|step| step.split_once('[')).unwrap_or((step, ""));
        (name, value) = (own, &value[own]);
        value = index.parse().map_or(value, |index: usize| &value[index]);
        match value["resourceType"].as_str() {
            Some(kind) => kind.clone_into(&mut shown),
            None => shown = format!("{shown}.{step}"),
        }
    }
    let is_made_up = value.to_string().contains(&format!("\"{LINKED}\""));
    let text = if is_made_up { String::new() } else { format!("{shown}: {said}") };
    (name.to_owned(), value.as_str().unwrap_or_default().to_owned(), text)
}

/// Without the profiles that its resources claim.
fn unclaimed(value: &mut Json) {
    match value {
        Json::Object(members) => {
            if let Some(meta) = members.get_mut("meta").and_then(Json::as_object_mut) {
                meta.remove("profile");
            }
            members.retain(|name, value| name != "meta" || value != &Json::Object(serde_json::Map::new()));
            members.values_mut().for_each(unclaimed);
        }
        Json::Array(items) => items.iter_mut().for_each(unclaimed),
        _ => {}
    }
}

/// What leaves the same there twice where it comes twice, though the pack says that it does not.
fn twice(main: &Main, files: &BTreeMap<String, String>) -> Vec<Mistake> {
    let request = &main.file.request;
    let is_known_again = request.corrections == Corrections::Again || request.path.contains('$');
    if !main.is_there || !request.repeatable || request.method != "POST" || is_known_again {
        return Vec::new();
    }
    let read = |name: &String| serde_json::from_str::<Json>(&files[name]).ok();
    let templates = || files.keys().filter(|name| name.strip_suffix(".json").is_some());
    let whole = files.get("request.json").and_then(|text| serde_json::from_str::<Json>(text).ok());
    let kind = whole.as_ref().and_then(|whole| whole["resourceType"].as_str()).unwrap_or("Bundle");
    let is_alone = kind != "Bundle" && kind != "Parameters" && request.condition.is_none();
    if !is_alone && !templates().filter_map(read).any(|template| is_posted(&template)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let text = "request.repeatable: what is posted without a condition (ifNoneExist, request.condition) is there twice where \
                it comes twice; it is false then";
    main.wrong("request.repeatable", text.to_owned(), &mut found);
    found
}

/// Whether an entry posts a measurement on no condition.
fn is_posted(template: &Json) -> bool {
    match template {
        Json::Object(members) => {
            let ask = &template["request"];
            let is_posted =
                template["$each"] == "measurement" && ask["method"] == "POST" && ask["ifNoneExist"].is_null();
            is_posted || members.values().any(self::is_posted)
        }
        Json::Array(items) => items.iter().any(is_posted),
        _ => false,
    }
}

/// Where a template says so by itself.
fn written(files: &BTreeMap<String, String>, name: &str, value: &str) -> Option<(String, u64)> {
    if value.is_empty() {
        return None;
    }
    let (key, value) = (format!("\"{name}"), format!("\"{value}\""));
    let templates = files.iter().filter(|(name, _)| name.strip_suffix(".json").is_some());
    let mut lines =
        templates.flat_map(|(file, text)| (1..).zip(text.lines()).map(move |(line, text)| (file, line, text)));
    lines.find(|(_, _, text)| text.contains(&key) && text.contains(&value)).map(|(file, line, _)| (file.clone(), line))
}

/// Templates against the elements of their release. What is no JSON is told elsewhere.
fn templates(validator: &Validator, is_stu3: bool, files: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) {
    for (file, text) in files.iter().filter(|(name, _)| name.strip_suffix(".json").is_some()) {
        if let Ok(document) = tree::parse(text.as_str()) {
            Template { validator, is_stu3, file, document: &document, mistakes }.walk(document.root(), None);
        }
    }
}

struct Template<'t> {
    validator: &'t Validator,
    is_stu3: bool,
    file: &'t str,
    document: &'t Document,
    mistakes: &'t mut Vec<Mistake>,
}

impl Template<'_> {
    /// Each member against what its resource may have; `within` is the resource's type and the names that lead here.
    fn walk(&mut self, node: NodeId, within: Option<(&str, &[&str])>) {
        let document = self.document;
        match document.kind(node) {
            Kind::Array => document.children(node).for_each(|item| self.walk(item, within)),
            Kind::Object => {
                let kind = document.children(node).find(|member| document.key(*member) == "resourceType");
                let Some(kind) = kind else { return self.members(node, within) };
                let name = document.value(kind);
                if self.has(name, &[]) {
                    self.members(node, Some((name, &[])));
                } else {
                    self.wrong(kind, format!("resourceType: FHIR {} has no {name}", self.release()));
                }
            }
            _ => {}
        }
    }

    fn members(&mut self, node: NodeId, within: Option<(&str, &[&str])>) {
        let Some((kind, path)) = within else { return };
        let document = self.document;
        for member in document.children(node) {
            let key = document.key(member);
            let name = key.strip_suffix('?').unwrap_or(key);
            // What a primitive says beside its value.
            let (name, is_beside) = name.strip_prefix('_').map_or((name, false), |name| (name, true));
            // A choice is named by what it is filled with.
            if name.starts_with('$') || name == "resourceType" || name.ends_with("[x]") {
                continue;
            }
            let names: Vec<&str> = path.iter().copied().chain([name]).collect();
            if !self.has(kind, &names) {
                let release = self.release();
                self.wrong(member, format!("{}: {kind} of FHIR {release} has no such element", names.join(".")));
                continue;
            }
            if !is_beside {
                self.walk(member, Some((kind, &names)));
            }
        }
    }

    fn has(&self, kind: &str, names: &[&str]) -> bool {
        match (self.is_stu3, names) {
            (false, _) => self.validator.has_element(kind, names.iter().copied()),
            (true, []) => stu3::is_resource(self.validator, kind),
            (true, _) => stu3::has_element(self.validator, kind, names),
        }
    }

    fn release(&self) -> &'static str {
        if self.is_stu3 { "STU3" } else { "R4" }
    }

    fn wrong(&mut self, node: NodeId, text: String) {
        self.mistakes.push(Mistake::at(self.file, u64::from(self.document.position(node).line), text));
    }
}

/// What nothing refers to, and what is told of once where there are several. Where a name is used that there is not, what
/// has another one is most likely meant, so that it is not unused.
fn unused(main: &Main, files: &BTreeMap<String, String>) -> Vec<Mistake> {
    let mut found = Vec::new();
    let all: String = files.values().map(String::as_str).collect();
    let templates: BTreeSet<&str> = files.keys().filter_map(|name| name.strip_suffix(".json")).collect();
    let included: BTreeSet<&str> = named(&all, "@").collect();
    if templates.contains("request") && included.is_subset(&templates) {
        let lonely = templates.difference(&included).filter(|name| **name != "request");
        let text = "no template includes it";
        found.extend(lonely.map(|name| Mistake::at(&format!("{name}.json"), 1, text.to_owned())));
    }
    if !main.is_there {
        return found;
    }
    let mut wrong = |key: &str, text: String| main.wrong(key, text, &mut found);
    let settings: BTreeSet<&str> = main.settings.iter().map(String::as_str).collect();
    let words: BTreeSet<&str> = main.words.iter().map(String::as_str).collect();
    for (section, own, used) in [
        ("settings", settings, named(&all, "setting.").collect::<BTreeSet<&str>>()),
        ("words", words.clone(), named(&all, "word.").collect()),
    ] {
        if used.is_subset(&own) {
            own.difference(&used).for_each(|name| {
                let key = format!("{section}.{name}");
                wrong(&key, format!("{key}: nothing uses it"));
            });
        }
    }
    let table = rows(WORDS, files, WORD_COLUMNS, &mut Vec::new());
    if table.is_there || !files.contains_key(WORDS) {
        let told: BTreeSet<&str> =
            table.rows.iter().map(|row| row.get(0)).chain(table.broken.iter().map(String::as_str)).collect();
        // A line of a table that there is not is most likely one of these.
        if told.is_subset(&words) {
            words.difference(&told).for_each(|name| {
                let key = format!("words.{name}");
                wrong(&key, format!("{key}: words.csv has no line of it"));
            });
        }
    }
    if main.file.request.most > 1 && templates.contains("request") && !all.contains("\"$each\": \"measurement\"") {
        let text = "request.most: no template has \"$each\": \"measurement\", so that one alone is told";
        wrong("request.most", text.to_owned());
    }
    found
}

/// Lines of which no request can make use: parts that nothing is told with, and members that no template names.
fn unasked(pack: &Pack, files: &BTreeMap<String, String>) -> Vec<Mistake> {
    let lines = lines(files);
    let is_named = files.values().any(|text| text.contains("{hasMember}"));
    let why = |row: &Row| {
        let is_told = |whole: &Row| whole.form == Form::Split || whole.tells(row);
        match row.form {
            Form::Part if !pack.rows().iter().any(is_told) => {
                Some("form: it is a part, and no line has it in its parts")
            }
            Form::Split if pack.request.most.max(pack.request.parts) < row.named_parts().len().max(2) => {
                Some("form: what is split becomes several measurements, and request.most and request.parts are less")
            }
            Form::Members if !is_named => Some("form: no template has {hasMember}, so that its members are not named"),
            _ => None,
        }
    };
    let found = pack.rows().iter().filter_map(|row| Some((row, why(row)?)));
    let line = |row: &Row| lines.get(&row.measure).copied().unwrap_or(1);
    found.map(|(row, text)| Mistake::at(MEASURES, line(row), text.to_owned())).collect()
}

/// Every name that follows a word within quotes, braces or the fields of a table.
fn named<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    text.match_indices(before).filter_map(move |(at, _)| {
        let rest = &text[at + before.len()..];
        let name = &rest[..rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len())];
        let begins = text[..at].trim_end_matches('@').ends_with(['"', '{', ',', ' ', '\n']);
        (begins && !name.is_empty()).then_some(name)
    })
}
