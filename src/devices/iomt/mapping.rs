//! FHIR mapping: what a kind of measurement is in FHIR.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::content::member;

/// One template.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// `typeName`.
    pub kind: String,
    /// CodeableConcepts, ready to be written.
    pub code: Value,
    pub category: Vec<Value>,
    pub value: Option<Valued>,
    pub components: Vec<(Value, Valued)>,
}

/// A value of an Observation or component.
#[derive(Clone, Debug)]
pub(super) struct Valued {
    pub name: String,
    pub of: Form,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Also what becomes one of many samples in the connector.
    Quantity {
        unit: String,
        system: Option<String>,
        code: Option<String>,
    },
    Text,
    Concept(Value),
}

/// Place, type and body of a template.
pub(super) type Packed = (String, String, Map<String, Value>);

/// The templates of a file: one, or those of a collection.
pub(super) fn unpack(text: &str, file: &str, collection: &str) -> (Vec<Packed>, Vec<String>) {
    let wrong = |what: String| (Vec::new(), vec![format!("{file}: {what}")]);
    let root: Value = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(root) => root,
        Err(error) => return wrong(format!("not JSON at line {} column {}", error.line(), error.column())),
    };
    let kind_of = |value: &Value| {
        let members = value.as_object()?;
        Some((member(members, "templateType")?.as_str()?.to_owned(), member(members, "template")?.clone()))
    };
    let Some((kind, template)) = kind_of(&root) else {
        return wrong("templateType and template are expected".to_owned());
    };
    if !kind.eq_ignore_ascii_case(collection) {
        return match template {
            Value::Object(template) => (vec![(file.to_owned(), kind, template)], Vec::new()),
            _ => wrong(format!("templateType is {collection}, or template is an object")),
        };
    }
    let Value::Array(items) = template else { return wrong("template is a list".to_owned()) };
    if items.is_empty() {
        return wrong("template is empty".to_owned());
    }
    let (mut found, mut mistakes) = (Vec::new(), Vec::new());
    for (at, item) in items.iter().enumerate() {
        let place = format!("{file}: template[{at}]");
        match kind_of(item) {
            Some((kind, Value::Object(template))) => found.push((place, kind, template)),
            _ => mistakes.push(format!("{place} has a templateType and a template")),
        }
    }
    (found, mistakes)
}

/// The templates of a file by name, with what is wrong with it.
pub(super) fn compile(text: &str) -> (HashMap<String, Mapping>, Vec<String>) {
    let (templates, mut mistakes) = unpack(text, "FHIR mapping", "CollectionFhir");
    let mut mappings = HashMap::new();
    for (place, kind, template) in templates {
        if !kind.eq_ignore_ascii_case("CodeValueFhir") {
            mistakes.push(format!("{place}.templateType is CodeValueFhir"));
            continue;
        }
        let mut wrong = Vec::new();
        let mapping = read(&template, &mut wrong);
        mistakes.extend(wrong.into_iter().map(|what| format!("{place}.template.{what}")));
        let Some(mapping) = mapping else { continue };
        if mappings.insert(mapping.kind.to_lowercase(), mapping).is_some() {
            mistakes.push(format!("{place}.template.typeName is that of another template"));
        }
    }
    (mappings, mistakes)
}

fn text<'v>(of: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    member(of, name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

fn read(template: &Map<String, Value>, wrong: &mut Vec<String>) -> Option<Mapping> {
    let kind = text(template, "typeName");
    if kind.is_none() {
        wrong.push("typeName is missing".to_owned());
    }
    if let Some(interval) = member(template, "periodInterval") {
        let number = interval.as_i64().or_else(|| interval.as_str()?.parse().ok());
        let named = ["Single", "Hourly", "Daily", "CorrelationId"];
        let is_named = interval.as_str().is_some_and(|name| named.iter().any(|known| known.eq_ignore_ascii_case(name)));
        if !is_named && !matches!(number, Some(-1 | 0 | 60 | 1440)) {
            wrong.push("periodInterval is 0, 60, 1440 or -1".to_owned());
        }
    }
    let code = codes(template, "", wrong);
    let category = member(template, "category").and_then(Value::as_array).into_iter().flatten();
    let category: Vec<Value> = category
        .enumerate()
        .filter_map(|(at, category)| concept(category.as_object()?, &format!("category[{at}]."), wrong))
        .collect();
    let value = member(template, "value").and_then(|value| valued(value, "value", wrong));
    let mut components = Vec::new();
    for (at, component) in member(template, "components").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let place = format!("components[{at}].");
        let Some(component) = component.as_object() else {
            wrong.push(format!("components[{at}] is an object"));
            continue;
        };
        let code = codes(component, &place, wrong);
        let Some(of) = member(component, "value") else {
            wrong.push(format!("{place}value is missing"));
            continue;
        };
        let value = valued(of, &format!("{place}value"), wrong);
        components.extend(code.zip(value));
    }
    if member(template, "value").is_none() && components.is_empty() {
        wrong.push("value or components is missing".to_owned());
    }
    if !wrong.is_empty() {
        return None;
    }
    Some(Mapping { kind: kind?.to_owned(), code: code?, category, value, components })
}

/// A CodeableConcept of `codes`, which there has to be at least one of.
fn codes(of: &Map<String, Value>, place: &str, wrong: &mut Vec<String>) -> Option<Value> {
    let found = concept(of, place, wrong);
    if member(of, "codes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        wrong.push(format!("{place}codes is a list of at least one"));
        return None;
    }
    found
}

fn concept(of: &Map<String, Value>, place: &str, wrong: &mut Vec<String>) -> Option<Value> {
    let mut codings = Vec::new();
    for (at, code) in member(of, "codes").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(code) = code.as_object().filter(|code| text(code, "code").is_some()) else {
            wrong.push(format!("{place}codes[{at}].code is missing"));
            continue;
        };
        let mut coding = Map::new();
        for name in ["system", "code", "display"] {
            if let Some(text) = text(code, name) {
                coding.insert(name.to_owned(), json!(text));
            }
        }
        codings.push(Value::Object(coding));
    }
    let mut concept = Map::new();
    if !codings.is_empty() {
        concept.insert("coding".to_owned(), Value::Array(codings));
    }
    if let Some(text) = text(of, "text") {
        concept.insert("text".to_owned(), json!(text));
    }
    (!concept.is_empty()).then_some(Value::Object(concept))
}

fn valued(value: &Value, place: &str, wrong: &mut Vec<String>) -> Option<Valued> {
    let Some(value) = value.as_object() else {
        wrong.push(format!("{place} is an object"));
        return None;
    };
    let name = text(value, "valueName");
    if name.is_none() {
        wrong.push(format!("{place}.valueName is missing"));
    }
    let kind = text(value, "valueType").unwrap_or_default().to_ascii_lowercase();
    let own = |name: &str| text(value, name).map(str::to_owned);
    let of = match kind.as_str() {
        "quantity" | "sampleddata" => {
            Form::Quantity { unit: own("unit").unwrap_or_default(), system: own("system"), code: own("code") }
        }
        "string" => Form::Text,
        "codeableconcept" => {
            if let Some(concept) = concept(value, &format!("{place}."), wrong) {
                Form::Concept(concept)
            } else {
                wrong.push(format!("{place} has codes or a text"));
                return None;
            }
        }
        _ => {
            wrong.push(format!("{place}.valueType is SampledData, Quantity, String or CodeableConcept"));
            return None;
        }
    };
    Some(Valued { name: name?.to_owned(), of })
}

impl Mapping {
    /// The values that it asks for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.value.iter().chain(self.components.iter().map(|(_, value)| value)).map(|value| value.name.as_str())
    }
}
