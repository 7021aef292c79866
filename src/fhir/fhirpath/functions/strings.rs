//! Text (FHIRPath §5.6). Positions count characters, not bytes.

use std::borrow::Cow;

use regex::Regex;

use super::{Function, function};
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, MAX_TEXT, Outcome};
use crate::fhir::fhirpath::pattern;
use crate::fhir::fhirpath::plan::Plan;
use crate::fhir::fhirpath::value::{Collection, Value};

const fn patterned(
    name: &'static str,
    arguments: std::ops::RangeInclusive<usize>,
    run: for<'s, 'd> fn(Call<'s, 'd>) -> Outcome<'d>,
) -> Function {
    Function { takes_pattern: true, ..function(name, arguments, run) }
}

pub(super) static FUNCTIONS: [Function; 17] = [
    function("indexOf", 1..=1, index_of),
    function("lastIndexOf", 1..=1, last_index_of),
    function("substring", 1..=2, substring),
    function("startsWith", 1..=1, |call| test(call, |text, part| text.starts_with(part))),
    function("endsWith", 1..=1, |call| test(call, |text, part| text.ends_with(part))),
    function("contains", 1..=1, |call| test(call, |text, part| text.contains(part))),
    function("upper", 0..=0, |call| change(call, |text| text.to_uppercase().into())),
    function("lower", 0..=0, |call| change(call, |text| text.to_lowercase().into())),
    function("trim", 0..=0, |call| change(call, |text| text.trim().to_owned().into())),
    function("length", 0..=0, length),
    function("toChars", 0..=0, to_chars),
    function("replace", 2..=2, replace),
    patterned("matches", 1..=2, matches),
    patterned("matchesFull", 1..=1, matches_full),
    patterned("replaceMatches", 2..=2, replace_matches),
    function("split", 1..=1, split),
    function("join", 0..=1, join),
];

fn index_of<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    position(call, |text, part| text.find(part))
}

fn last_index_of<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    position(call, |text, part| text.rfind(part))
}

fn position<'d>(mut call: Call<'_, 'd>, find: fn(&str, &str) -> Option<usize>) -> Outcome<'d> {
    let (Some(text), Some(part)) = (call.text()?, call.text_argument(0)?) else { return Ok(Collection::Empty) };
    let position = find(&text, &part).map_or(-1, |at| text[..at].chars().count() as i64);
    Ok(Value::Integer(position).into())
}

fn substring<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let (Some(text), Some(start)) = (call.text()?, call.integer_argument(0)?) else { return Ok(Collection::Empty) };
    let length = match call.integer_argument(1)? {
        None if call.has_argument(1) => return Ok(Collection::Empty),
        None => usize::MAX,
        Some(length) => usize::try_from(length).unwrap_or(0),
    };
    let Ok(start) = usize::try_from(start) else { return Ok(Collection::Empty) };
    let byte_of = |count: usize| text.char_indices().nth(count).map(|(at, _)| at);
    let Some(from) = byte_of(start) else { return Ok(Collection::Empty) };
    let to = start.checked_add(length).and_then(byte_of).unwrap_or(text.len());
    Ok(Collection::One(Value::Text(match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[from..to]),
        Cow::Owned(text) => Cow::Owned(text[from..to].to_owned()),
    })))
}

fn test<'d>(mut call: Call<'_, 'd>, test: fn(&str, &str) -> bool) -> Outcome<'d> {
    let (Some(text), Some(part)) = (call.text()?, call.text_argument(0)?) else { return Ok(Collection::Empty) };
    Ok(Collection::boolean(test(&text, &part)))
}

fn change<'d>(mut call: Call<'_, 'd>, change: fn(&str) -> Cow<'static, str>) -> Outcome<'d> {
    Ok(call.text()?.map(|text| Value::Text(change(&text))).into())
}

fn length<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(call.text()?.map_or(Collection::Empty, |text| Collection::integer(text.chars().count())))
}

fn to_chars<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(text) = call.text()? else { return Ok(Collection::Empty) };
    call.machine.spend(text.len())?;
    Ok(text.chars().map(|character| Value::text(character.to_string())).collect())
}

fn replace<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let (Some(text), Some(part), Some(by)) = (call.text()?, call.text_argument(0)?, call.text_argument(1)?) else {
        return Ok(Collection::Empty);
    };
    call.machine.make(replaced_length(&text, &by))?;
    Ok(Collection::text(text.replace(&*part, &by)))
}

/// Most that a replacement can make: one insertion before every character and one at the end.
fn replaced_length(text: &str, by: &str) -> usize {
    text.len() + (text.len() + 1).saturating_mul(by.len())
}

/// The compiled pattern of a constant argument, or one compiled now.
fn with_pattern<T>(call: &Call<'_, '_>, full: bool, use_it: impl FnOnce(&Regex) -> T) -> Result<Option<T>, Failure> {
    if let Some(Plan::Pattern { regex, .. }) = call.arguments.first() {
        return Ok(Some(use_it(regex)));
    }
    let Some(text) = call.text_argument(0)? else { return Ok(None) };
    // Compiling costs about as much as ten thousand ordinary steps.
    call.machine.spend(10_000)?;
    match pattern::compile(&text, full) {
        Some(regex) => Ok(Some(use_it(&regex))),
        None => Err(Failure::Pattern(text.into_owned())),
    }
}

fn matches<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    is_match(call, false)
}

fn matches_full<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    is_match(call, true)
}

fn is_match<'d>(mut call: Call<'_, 'd>, full: bool) -> Outcome<'d> {
    let Some(text) = call.text()? else { return Ok(Collection::Empty) };
    let matched = with_pattern(&call, full, |regex| regex.is_match(&text))?;
    Ok(matched.map_or(Collection::Empty, Collection::boolean))
}

fn replace_matches<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let (Some(text), Some(by)) = (call.text()?, call.text_argument(1)?) else { return Ok(Collection::Empty) };
    call.machine.make(replaced_length(&text, &by))?;
    let replaced = with_pattern(&call, false, |regex| {
        // An empty pattern matches everywhere and replaces nothing.
        if regex.as_str().is_empty() { text.clone().into_owned() } else { regex.replace_all(&text, &*by).into_owned() }
    })?;
    Ok(replaced.map(Value::text).into())
}

fn split<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let (Some(text), Some(separator)) = (call.text()?, call.text_argument(0)?) else { return Ok(Collection::Empty) };
    call.machine.make(text.len())?;
    if separator.is_empty() {
        return Ok(Value::Text(text).into());
    }
    Ok(text.split(&*separator).map(|part| Value::text(part.to_owned())).collect())
}

fn join<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let separator = call.text_argument(0)?.unwrap_or_default();
    if call.input.is_empty() {
        return Ok(Collection::Empty);
    }
    let mut joined = String::new();
    for (index, value) in call.input.iter().enumerate() {
        let text = match value.system() {
            Some(Value::Text(text)) => text,
            None if matches!(value, Value::Node(node) if node.element.kind().is_none()) => continue,
            _ => return Err(Failure::WrongType("join")),
        };
        if index > 0 {
            joined.push_str(&separator);
        }
        call.machine.make(separator.len() + text.len())?;
        joined.push_str(&text);
        if joined.len() > MAX_TEXT {
            return Err(Failure::OutOfRange);
        }
    }
    Ok(Collection::text(joined))
}
