//! What FHIR adds to the language (R4 §fhirpath "Additional functions").

use std::borrow::Cow;

use super::{Function, function};
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome, single};
use crate::fhir::fhirpath::host::Code;
use crate::fhir::fhirpath::value::{Collection, Node, Value};
use crate::fhir::tree::Element;

pub(super) static FUNCTIONS: [Function; 9] = [
    function("extension", 1..=1, extension),
    function("hasExtension", 1..=1, has_extension),
    function("hasValue", 0..=0, has_value),
    function("getValue", 0..=0, get_value),
    function("resolve", 0..=0, resolve),
    function("memberOf", 1..=1, member_of),
    function("subsumes", 1..=1, |call| subsumption(call, "subsumes")),
    function("subsumedBy", 1..=1, |call| subsumption(call, "subsumedBy")),
    function("conformsTo", 1..=1, conforms_to),
];

fn extension<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(url) = call.text_argument(0)? else { return Ok(Collection::Empty) };
    let mut found = Collection::Empty;
    for value in &call.input {
        let Value::Node(node) = value else { continue };
        for element in node.element.all("extension") {
            call.machine.spend(1)?;
            if element.text_of("url") == Some(&*url) {
                found.push(Value::Node(Node { element, type_name: Some("Extension") }));
            }
        }
    }
    Ok(found)
}

fn has_extension<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(Collection::boolean(!extension(call)?.is_empty()))
}

/// Whether the input is one primitive with a value, and not extensions alone.
fn has_value<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(Collection::boolean(match call.input.as_slice() {
        [Value::Node(node)] => node.element.text().is_some(),
        [_] => true,
        _ => false,
    }))
}

fn get_value<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(match call.input.as_slice() {
        [Value::Node(node)] if node.element.text().is_none() => Collection::Empty,
        [value] => value.system().into(),
        _ => Collection::Empty,
    })
}

/// The resources that references point to; what cannot be found is left out.
fn resolve<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let mut found = Collection::Empty;
    for value in &call.input {
        let (from, reference) = match value {
            Value::Node(node) => match node.element.text_of("reference").or_else(|| node.element.string()) {
                Some(reference) => (*node, Cow::Borrowed(reference)),
                None => continue,
            },
            Value::Text(text) => (call.machine.context.resource, text.clone()),
            _ => continue,
        };
        let resource = match reference.strip_prefix('#') {
            Some(id) => contained(&call, id)?,
            None => call.machine.context.host.resolve(from, &reference),
        };
        if let Some(resource) = resource {
            found.push(Value::Node(resource));
        }
    }
    Ok(found)
}

/// `#id` is a contained resource, a bare `#` the container (R4 §2.27.4).
fn contained<'d>(call: &Call<'_, 'd>, id: &str) -> Result<Option<Node<'d>>, Failure> {
    let root = call.machine.context.root;
    if id.is_empty() {
        return Ok(Some(root));
    }
    for element in root.element.all("contained") {
        call.machine.spend(1)?;
        if element.text_of("id") == Some(id) {
            return Ok(Some(Node::resource(element)));
        }
    }
    Ok(None)
}

fn member_of<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let (Some(value), Some(value_set)) = (call.single()?, call.text_argument(0)?) else {
        return Ok(Collection::Empty);
    };
    let codes = match &value {
        Value::Node(node) => codes(node.element),
        Value::Text(text) => vec![Code { system: None, version: None, code: text }],
        _ => return Err(Failure::WrongType("memberOf")),
    };
    call.machine.spend(codes.len())?;
    match call.machine.context.host.member_of(&value_set, &codes) {
        Some(member) => Ok(Collection::boolean(member)),
        None => Err(Failure::Undecidable("memberOf", value_set.into_owned())),
    }
}

/// Whether any code of one side is any of the other, or stands above it.
fn subsumption<'d>(mut call: Call<'_, 'd>, name: &'static str) -> Outcome<'d> {
    let given = single(call.argument(0)?, "an argument")?;
    let (Some(source), Some(given)) = (call.single()?, given) else { return Ok(Collection::Empty) };
    let (Value::Node(source), Value::Node(given)) = (source, given) else { return Err(Failure::WrongType(name)) };
    let (source, given) = (codes(source.element), codes(given.element));
    call.machine.spend(source.len() * given.len())?;
    let mut decided = true;
    for (own, other) in source.iter().flat_map(|own| given.iter().map(move |other| (own, other))) {
        let (general, specific) = if name == "subsumes" { (own, other) } else { (other, own) };
        match call.machine.context.host.subsumes(general, specific) {
            Some(true) => return Ok(Collection::boolean(true)),
            Some(false) => {}
            None => decided = false,
        }
    }
    if decided { Ok(Collection::boolean(false)) } else { Err(Failure::Undecidable(name, "these codes".to_owned())) }
}

/// The codes of a code, Coding, CodeableConcept, or Quantity.
fn codes(element: Element<'_>) -> Vec<Code<'_>> {
    if let Some(code) = element.string() {
        return vec![Code { system: None, version: None, code }];
    }
    if element.get("coding").is_some() {
        return element.all("coding").filter_map(coding).collect();
    }
    coding(element).into_iter().collect()
}

fn coding(element: Element<'_>) -> Option<Code<'_>> {
    let code = element.text_of("code")?;
    Some(Code { system: element.text_of("system"), version: element.text_of("version"), code })
}

fn conforms_to<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let (Some(value), Some(profile)) = (call.single()?, call.text_argument(0)?) else { return Ok(Collection::Empty) };
    let Value::Node(node) = value else { return Err(Failure::WrongType("conformsTo")) };
    match call.machine.context.host.conforms_to(node, &profile) {
        Some(conforms) => Ok(Collection::boolean(conforms)),
        None => Err(Failure::Undecidable("conformsTo", profile.into_owned())),
    }
}
