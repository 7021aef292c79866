//! The text that some destinations want beside the data: what was measured, when, and what came out.

use super::pack::{Form, Row};
use super::quantity;
use super::render::{Component, Gap, Scope};
use super::slot::Slot;
use crate::fhir::tree::Element;
use crate::fhir::tree::write::string;

/// Writes the XHTML of a measurement as a JSON string.
pub(super) fn write(scope: &Scope<'_>, out: &mut String) -> Result<(), Gap> {
    let missing = Gap::Slot(Slot::Narrative);
    let (words, item) = (scope.pack.narrative.as_ref().ok_or(missing)?, scope.item.ok_or(missing)?);
    let mut text = String::with_capacity(256);
    text.push_str("<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"");
    escaped(&words.language, &mut text);
    text.push_str("\" xml:lang=\"");
    escaped(&words.language, &mut text);
    text.push_str("\">");
    escaped(&words.code, &mut text);
    text.push_str(": ");
    escaped(&scope.code().ok_or(missing)?.display, &mut text);
    text.push_str("<br/>");
    let observation = item.measured.observation;
    let period = observation.get("effectivePeriod");
    let when = observation.text_of("effectiveDateTime").or_else(|| period?.text_of("start"));
    if let Some(when) = when {
        escaped(&words.time, &mut text);
        text.push_str(": ");
        escaped(when, &mut text);
        text.push_str("<br/>");
    }
    escaped(&words.value, &mut text);
    text.push_str(": ");
    values(scope, &mut text);
    text.push_str("</div>");
    string(&text, out);
    Ok(())
}

/// What cannot be said in a few words is not said here.
fn values(scope: &Scope<'_>, text: &mut String) {
    let Some(item) = scope.item else { return };
    let number = |element: Element<'_>, row: &Row| {
        let (value, unit) = (element.get("valueQuantity")?, row.unit.as_ref()?);
        let digits = quantity::number(value, row, unit, scope.pack.rounding).ok()?;
        Some(format!("{digits} {}", unit.text))
    };
    let own = if item.row.form == Form::Components { None } else { number(item.holder(), item.row) };
    let mut said: Vec<String> = own.into_iter().collect();
    for component in scope.parts() {
        let Component { element, row, inside } = component;
        // The measurement's own value stands at the beginning.
        if inside && !said.is_empty() {
            continue;
        }
        let within = Scope { component: Some(component), ..*scope };
        let value = number(element, row).or_else(|| word(element).map(str::to_owned));
        if let (Some(code), Some(value)) = (within.code(), value) {
            said.push(format!("{}: {value}", code.display));
        }
    }
    escaped(&said.join(", "), text);
}

/// What a coded value is called, where it is said.
fn word(element: Element<'_>) -> Option<&str> {
    let concept = element.get("valueCodeableConcept")?;
    concept.text_of("text").or_else(|| concept.get("coding")?.text_of("display"))
}

fn escaped(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}
