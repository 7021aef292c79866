//! The text that some destinations want beside the data: what was measured, when, and what came out.

use super::pack::Form;
use super::quantity;
use super::render::{Component, Gap, Scope};
use super::slot::Slot;
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
    if item.row.form != Form::Components {
        let row = item.row;
        if let (Some(value), Some(unit)) = (item.holder().get("valueQuantity"), &row.unit)
            && let Ok(digits) = quantity::number(value, row, unit, scope.pack.rounding)
        {
            escaped(&format!("{digits} {}", unit.text), text);
        }
        return;
    }
    let mut first = true;
    for element in item.measured.observation.all("component") {
        let Some(row) = scope.pack.row_of(element).filter(|row| !row.is_refused()) else { continue };
        let within = Scope { component: Some(Component { element, row, inside: false }), ..*scope };
        let (Some(code), Some(value), Some(unit)) = (within.code(), element.get("valueQuantity"), &row.unit) else {
            continue;
        };
        let Ok(digits) = quantity::number(value, row, unit, scope.pack.rounding) else { continue };
        if !first {
            text.push_str(", ");
        }
        first = false;
        escaped(&format!("{}: {digits} {}", code.display, unit.text), text);
    }
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
