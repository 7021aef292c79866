//! What is wrong with a pack beyond what keeps it from being one: templates that are no FHIR, what is written and never used,
//! and requests of its own that the standard or the destination would refuse.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{Stage, documents, requests, unchecked, within};
use crate::fhir::definitions::Registry;
use crate::fhir::tree::{Document, Element, Kind, NodeId, json as tree};
use crate::fhir::validate::{Options as Rules, Validator};
use crate::national::{Mistake, Pack};

/// What was found of a pack that compiles.
#[derive(Debug, Default)]
pub struct Found {
    pub mistakes: Vec<Mistake>,
    /// Measures of which a request says something wrong that stands in no file.
    pub content: Vec<(String, String)>,
}

impl Found {
    pub fn is_nothing(&self) -> bool {
        self.mistakes.is_empty() && self.content.is_empty()
    }
}

/// Looks at a pack and at the files that it was made of.
pub fn check(pack: &Pack, files: &BTreeMap<String, String>) -> Found {
    let mut found = Found { mistakes: unused(pack, files), content: Vec::new() };
    // Only R4 is known here; what other releases say of their own is for their own validators.
    let validator = (pack.fhir == "4.0.1").then(|| Validator::new(Registry::core()));
    for (name, text) in files.iter().filter(|(name, _)| name.strip_suffix(".json").is_some()) {
        if let (Some(validator), Ok(document)) = (&validator, tree::parse(text.as_str())) {
            let mut template = Template { validator, file: name, document: &document, mistakes: &mut found.mistakes };
            template.walk(document.root(), None);
        }
    }
    let Ok(stage) = Stage::of(pack, &BTreeMap::new()) else { return found };
    let requests: Vec<(String, Json)> = requests(pack, &stage).collect();
    let mut placed = BTreeSet::new();
    for (measure, request) in &requests {
        let Some(validator) = &validator else { break };
        let documents = documents(request);
        for observation in [request].into_iter().chain(&documents).flat_map(|one| within(one, "Observation")) {
            let Some((name, value, text)) = invalid(validator, observation) else { continue };
            match written(files, &name, &value) {
                Some((file, line)) if placed.insert((file.clone(), line)) => {
                    found.mistakes.push(Mistake::at(&file, line, text));
                }
                Some(_) => {}
                None => found.content.push((measure.clone(), text)),
            }
        }
    }
    found.content.extend(unchecked(pack, &requests).into_iter().map(|one| (one.measure, one.text)));
    found
}

/// The first thing that the standard minds: the element, its value and why. Profiles of the destination's are not known, so
/// that a claim is no mistake.
fn invalid(validator: &Validator, observation: &Json) -> Option<(String, String, String)> {
    let mut plain = observation.clone();
    plain.as_object_mut()?.remove("meta");
    let document = tree::parse(plain.to_string()).ok()?;
    let report = validator.check(Element::root(&document), &Rules::default());
    let first = report.issues.iter().find(|issue| issue.is_error())?;
    let name = first.expression.rsplit('.').next().unwrap_or_default();
    let name = name.split('[').next().unwrap_or_default().to_owned();
    let value = plain[name.as_str()].as_str().unwrap_or_default().to_owned();
    Some((name, value, format!("{}: {}", first.expression, first.text)))
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

struct Template<'t> {
    validator: &'t Validator,
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
                if self.validator.has_element(name, []) {
                    self.members(node, Some((name, &[])));
                } else {
                    self.wrong(kind, format!("resourceType: FHIR R4 has no {name}"));
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
            // A choice is named by what it is filled with.
            if name.starts_with('$') || name == "resourceType" || name.ends_with("[x]") {
                continue;
            }
            let names: Vec<&str> = path.iter().copied().chain([name]).collect();
            if !self.validator.has_element(kind, names.iter().copied()) {
                self.wrong(member, format!("{}: {kind} of FHIR R4 has no such element", names.join(".")));
                continue;
            }
            self.walk(member, Some((kind, &names)));
        }
    }

    fn wrong(&mut self, node: NodeId, text: String) {
        self.mistakes.push(Mistake::at(self.file, u64::from(self.document.position(node).line), text));
    }
}

/// What nothing refers to, and what is told of once where there are several.
fn unused(pack: &Pack, files: &BTreeMap<String, String>) -> Vec<Mistake> {
    let mut found = Vec::new();
    let all: String = files.iter().filter(|(name, _)| *name != "pack.toml").map(|(_, text)| text.as_str()).collect();
    let main = files.get("pack.toml").map(String::as_str).unwrap_or_default();
    let line_of = |text: &str| main.lines().position(|line| line.contains(text)).map(|at| at as u64 + 1);
    for name in files.keys().filter_map(|name| name.strip_suffix(".json")).filter(|name| *name != "request") {
        if !all.contains(&format!("\"@{name}\"")) && !all.contains(&format!("\"@@{name}\"")) {
            found.push(Mistake::of(&format!("{name}.json"), "no template includes it"));
        }
    }
    for setting in &pack.settings {
        let slot = format!("setting.{}", setting.name);
        let is_used =
            all.contains(&slot) || main.contains(&format!("{{{slot}}}")) || main.contains(&format!("\"{slot}\""));
        if !is_used {
            let line = line_of(&format!("[settings.{}]", setting.name));
            found.push(Mistake {
                file: "pack.toml".to_owned(),
                line,
                text: format!("settings.{}: nothing uses it", setting.name),
            });
        }
    }
    for words in &pack.words {
        if words.lines.is_empty() {
            found.push(Mistake::of("words.csv", &format!("table: {} has no line", words.name)));
        }
        if !all.contains(&format!("word.{}", words.name)) {
            let text = format!("words.{}: nothing uses it", words.name);
            found.push(Mistake { file: "pack.toml".to_owned(), line: line_of(&format!("{} =", words.name)), text });
        }
    }
    if pack.request.most > 1 && !all.contains("\"$each\": \"measurement\"") {
        let text = "request.most: no template has \"$each\": \"measurement\", so that one alone is told".to_owned();
        found.push(Mistake { file: "pack.toml".to_owned(), line: line_of("most ="), text });
    }
    found
}
