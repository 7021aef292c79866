//! The embedded form of a package: an index of heads, and the definitions' condensed JSON in blocks.
//!
//! A condensed definition says what rules ask and nothing else. Index and blocks are deflated each on its
//! own, so that start-up pays for the index alone and a definition costs its block when it is first asked for.
//! The order is fixed, so that the same package always gives the same bytes.

use std::io::{Read, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::package::{Head, Kind, Package, content_rank};
use super::structure::StructureKind;
use crate::fhir::tree::Document;

/// A block ends with the definition that takes it beyond this. Larger ones compress better, smaller ones cost
/// less when one definition is asked for.
const BLOCK: usize = 192 << 10;

/// One definition, condensed.
pub struct Condensed {
    /// Kind, url, version, type, kind of structure, derivation, base, content: what stands in the index.
    heads: [String; 8],
    json: String,
}

/// The deflated blocks of an embedded package.
pub(super) struct Blocks {
    bytes: &'static [u8],
    /// Of each block: where its definitions stand in the text, and where it stands in the bytes.
    places: Vec<(Range<usize>, Range<usize>)>,
    /// The block that was read last: definitions that are asked for together stand together.
    last: Mutex<Option<(usize, Arc<str>)>>,
}

impl Blocks {
    /// The text of one definition.
    pub fn text(&self, range: Range<usize>) -> Option<String> {
        let at = self.places.partition_point(|(texts, _)| texts.end <= range.start);
        let (texts, place) = self.places.get(at)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match &*last {
            Some((block, text)) if *block == at => Arc::clone(text),
            _ => {
                let text: Arc<str> = inflate(self.bytes.get(place.clone())?)?.into();
                *last = Some((at, Arc::clone(&text)));
                text
            }
        };
        drop(last);
        text.get(range.start - texts.start..range.end - texts.start).map(str::to_owned)
    }
}

/// The package that bytes written by [`compress`] hold.
pub(super) fn package(name: &str, version: &str, bytes: &'static [u8]) -> Option<Package> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let index_end = u32::from_le_bytes(*length) as usize;
    let index = inflate(rest.get(..index_end)?)?;
    let bytes = rest.get(index_end..)?;
    let (mut heads, mut places) = (Vec::with_capacity(5000), Vec::with_capacity(100));
    let (mut text_at, mut bytes_at, mut definition_at) = (0, 0, 0);
    for line in index.split_terminator('\n') {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let kind = next();
        if kind == "block" {
            let (packed, length) = (next().parse::<usize>().ok()?, next().parse::<usize>().ok()?);
            places.push((text_at..text_at + length, bytes_at..bytes_at + packed));
            (text_at, bytes_at) = (text_at + length, bytes_at + packed);
            continue;
        }
        let (url, version, type_name, structure) = (next(), next(), next(), next());
        let (derivation, base, content) = (next(), next(), next());
        let length = next().parse::<usize>().ok()?;
        heads.push(Head {
            kind: Kind::named(kind)?,
            url: url.into(),
            version: version.into(),
            type_name: type_name.into(),
            structure: StructureKind::parse(structure),
            is_profile: derivation == "constraint",
            has_snapshot: true,
            content: content_rank(content),
            base: base.into(),
            at: definition_at..definition_at + length,
        });
        definition_at += length;
    }
    Some(Package::compiled(name, version, heads, Blocks { bytes, places, last: Mutex::new(None) }))
}

fn inflate(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(BLOCK + BLOCK / 2);
    flate2::read::DeflateDecoder::new(bytes).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Deflate and not a denser code: a pure Rust reader of it is quick and small.
fn deflate(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.expect("a Vec takes whatever is written to it")
}

/// The form in which condensed definitions are embedded.
pub fn compress(definitions: &[Condensed]) -> Vec<u8> {
    let (mut index, mut packed, mut block) = (String::new(), Vec::new(), String::new());
    let mut lines = String::new();
    let mut flush = |block: &mut String| {
        if !block.is_empty() {
            let bytes = deflate(block);
            index.push_str(&format!("block\t{}\t{}\n", bytes.len(), block.len()));
            packed.extend(bytes);
            block.clear();
        }
    };
    for definition in definitions {
        lines.push_str(&format!("{}\t{}\n", definition.heads.join("\t"), definition.json.len()));
        block.push_str(&definition.json);
        if block.len() > BLOCK {
            flush(&mut block);
        }
    }
    flush(&mut block);
    index.push_str(&lines);
    let index = deflate(&index);
    let mut bytes = (index.len() as u32).to_le_bytes().to_vec();
    bytes.extend(index);
    bytes.extend(packed);
    bytes
}

/// What is kept of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// What rules ask of the standard: structures, terminology, search parameters.
    Rules,
    /// Forms, maps and measures as well.
    Everything,
}

/// Condenses the resources of a package.
pub fn condense(documents: &[Document], scope: Scope) -> Vec<Condensed> {
    let mut condensed = Vec::with_capacity(documents.len());
    for document in documents {
        // The tree has read it as one JSON object, so serde_json does too.
        let Ok(value) = serde_json::from_str::<Value>(document.source()) else { continue };
        let Some(kind) = value["resourceType"].as_str().and_then(Kind::named) else { continue };
        let kept = match kind {
            Kind::StructureDefinition if value["kind"] == "logical" || value.get("snapshot").is_none() => continue,
            Kind::StructureDefinition => structure(&value),
            Kind::SearchParameter => parameter(&value),
            Kind::ValueSet => value_set(&value),
            Kind::CodeSystem => code_system(&value),
            Kind::ConceptMap | Kind::NamingSystem | Kind::Questionnaire | Kind::Measure | Kind::ImplementationGuide => {
                if scope == Scope::Rules {
                    continue;
                }
                whole(&value)
            }
        };
        let names = match kind {
            Kind::StructureDefinition => ["url", "version", "type", "kind", "derivation", "baseDefinition", ""],
            _ => ["url", "version", "", "", "", "supplements", "content"],
        };
        let [url, version, type_name, structure_kind, derivation, base, content] =
            names.map(|name| string(&value, name).to_owned());
        let heads = [kind.name().to_owned(), url, version, type_name, structure_kind, derivation, base, content];
        condensed.push(Condensed { heads, json: kept.to_string() });
    }
    // Types first and profiles last, so that the types, which everybody asks for, share their blocks.
    condensed.sort_by(|one, other| one.order().cmp(&other.order()));
    condensed.dedup_by(|one, other| one.heads == other.heads);
    condensed
}

impl Condensed {
    fn order(&self) -> (Option<Kind>, &str, &str, &str, &str) {
        let [kind, url, version, _, structure, derivation, ..] = &self.heads;
        (Kind::named(kind), derivation_rank(derivation), structure, url, version)
    }
}

fn derivation_rank(derivation: &str) -> &str {
    if derivation == "constraint" { derivation } else { "" }
}

fn string<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn keep(value: &Value, names: &[&str]) -> Map<String, Value> {
    let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), value.get(*name)?.clone())));
    kept.collect()
}

fn listed(value: &Value, name: &str, each: &dyn Fn(&Value) -> Option<Value>) -> Option<Value> {
    let listed: Vec<Value> = value[name].as_array()?.iter().filter_map(each).collect();
    (!listed.is_empty()).then_some(Value::Array(listed))
}

fn structure(value: &Value) -> Value {
    let names = [
        "resourceType",
        "url",
        "version",
        "name",
        "type",
        "kind",
        "abstract",
        "baseDefinition",
        "derivation",
        "context",
        "contextInvariant",
    ];
    let mut kept = keep(value, &names);
    let elements = value["snapshot"]["element"].as_array().map(Vec::as_slice).unwrap_or_default();
    let elements: Vec<Value> = elements.iter().map(element).collect();
    kept.insert("snapshot".to_owned(), serde_json::json!({"element": elements}));
    Value::Object(kept)
}

fn element(value: &Value) -> Value {
    let mut kept = keep(value, &["path", "min", "max", "sliceName", "contentReference", "maxLength"]);
    let members = value.as_object().into_iter().flatten();
    for (name, member) in members {
        if ["fixed", "pattern", "minValue", "maxValue"].iter().any(|prefix| name.starts_with(prefix)) {
            kept.insert(name.clone(), member.clone());
        }
    }
    if value["id"] != value["path"] {
        kept.insert("id".to_owned(), value["id"].clone());
    }
    if value["base"]["max"] != value["max"] {
        kept.insert("base".to_owned(), serde_json::json!({"max": value["base"]["max"]}));
    }
    for name in ["isModifier", "isSummary", "mustSupport"] {
        if value[name] == true {
            kept.insert(name.to_owned(), Value::Bool(true));
        }
    }
    let kept_type = |each: &Value| {
        let names = ["code", "profile", "targetProfile", "aggregation", "versioning", "extension"];
        Some(Value::Object(keep(each, &names)))
    };
    let types = listed(value, "type", &kept_type);
    let root = !string(value, "path").contains('.');
    let constraints = listed(value, "constraint", &|each| constraint(each, root));
    for (name, listed) in [("type", types), ("constraint", constraints)] {
        if let Some(listed) = listed {
            kept.insert(name.to_owned(), listed);
        }
    }
    if let Some(slicing) = value.get("slicing") {
        kept.insert("slicing".to_owned(), Value::Object(keep(slicing, &["discriminator", "rules", "ordered"])));
    }
    let strength = string(&value["binding"], "strength");
    if !strength.is_empty() {
        let mut binding = keep(&value["binding"], &["strength", "valueSet"]);
        if let Some(extensions) = listed(&value["binding"], "extension", &max_value_set) {
            binding.insert("extension".to_owned(), extensions);
        }
        kept.insert("binding".to_owned(), Value::Object(binding));
    }
    Value::Object(kept)
}

/// Of a binding's extensions, what an editor calls the binding is no rule.
fn max_value_set(value: &Value) -> Option<Value> {
    let url = string(value, "url");
    let is_rule = ["maxValueSet", "minValueSet", "additional-binding"].iter().any(|name| url.ends_with(name));
    is_rule.then(|| value.clone())
}

/// Constraints of a type stand on the type; their copies on each element of that type say nothing new.
fn constraint(value: &Value, root: bool) -> Option<Value> {
    if !root && matches!(string(value, "key"), "ele-1" | "ext-1") {
        return None;
    }
    Some(Value::Object(keep(value, &["key", "severity", "human", "expression", "extension"])))
}

/// What is asked and answered may be anywhere in it.
fn whole(value: &Value) -> Value {
    let members = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "text");
    Value::Object(members.map(|(name, member)| (name.clone(), member.clone())).collect())
}

fn parameter(value: &Value) -> Value {
    Value::Object(keep(value, &["resourceType", "url", "code", "base", "type", "expression", "target"]))
}

fn value_set(value: &Value) -> Value {
    let mut kept = keep(value, &["resourceType", "url", "version", "name", "expansion"]);
    let part = |each: &Value| {
        let mut kept = keep(each, &["system", "version", "filter", "valueSet"]);
        if let Some(concepts) =
            listed(each, "concept", &|concept| Some(Value::Object(keep(concept, &["code", "display"]))))
        {
            kept.insert("concept".to_owned(), concepts);
        }
        Some(Value::Object(kept))
    };
    if let Some(compose) = value.get("compose") {
        let mut parts = keep(compose, &["inactive"]);
        for name in ["include", "exclude"] {
            if let Some(listed) = listed(compose, name, &part) {
                parts.insert(name.to_owned(), listed);
            }
        }
        kept.insert("compose".to_owned(), Value::Object(parts));
        kept.remove("expansion");
    }
    Value::Object(kept)
}

fn code_system(value: &Value) -> Value {
    let names = [
        "resourceType",
        "url",
        "version",
        "name",
        "caseSensitive",
        "valueSet",
        "hierarchyMeaning",
        "versionNeeded",
        "content",
        "supplements",
    ];
    let mut kept = keep(value, &names);
    if let Some(concepts) = listed(value, "concept", &|each| Some(concept(each))) {
        kept.insert("concept".to_owned(), concepts);
    }
    if let Some(properties) =
        listed(value, "property", &|each| Some(Value::Object(keep(each, &["code", "uri", "type"]))))
    {
        kept.insert("property".to_owned(), properties);
    }
    Value::Object(kept)
}

fn concept(value: &Value) -> Value {
    let mut kept = keep(value, &["code", "display"]);
    // What serves no filter is left out, and active is what a concept is when nothing is said.
    let property = |each: &Value| {
        let idle = matches!(string(each, "code"), "internalId" | "deprecationDate" | "legacy")
            || each["code"] == "status" && each["valueCode"] == "active";
        (!idle).then(|| each.clone())
    };
    for (name, listed) in [
        ("property", listed(value, "property", &property)),
        ("concept", listed(value, "concept", &|each| Some(concept(each)))),
    ] {
        if let Some(listed) = listed {
            kept.insert(name.to_owned(), listed);
        }
    }
    Value::Object(kept)
}
