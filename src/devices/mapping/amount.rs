//! A number with its unit, out of a record: sent, or the time that spans last together.
//!
//! Digits are copied as they were sent; where the unit is none of the measure's it is converted, exactly, and what was sent
//! stays beside it.

use std::borrow::Cow;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use super::clock::Whereabouts;
use super::expression::{Found, Scope, issue_at, issue_of, missing};
use super::pack::{Number, Source, SpanEnd, Spans};
use super::trace::{Trace, note};
use super::unit::{MAX_DIGITS, is_short, multiplied, unit_of};
use super::when::told;
use crate::devices::observation::{self, Quantity};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::terminology::ucum;
use crate::fhir::tree::NodeId;
use crate::fhir::tree::json::is_number;
use crate::fhir::validate::measures::Measure;

/// A measure with its value, and with the value before it was converted.
pub(super) type Counted = (&'static Measure, Quantity, Option<Quantity>);

/// The number in a unit that one of the measures has, and as it was before where it had to be converted.
pub(super) fn number(
    number: &Number,
    measures: &[&'static Measure],
    scope: Scope<'_>,
    place: &Whereabouts,
    trace: &mut Trace<'_>,
) -> Result<Option<Counted>, Issue> {
    let (digits, at): (Cow<'_, str>, NodeId) = match &number.from {
        Source::Value(value) => {
            let Some(found) = value.one(scope)? else { return Ok(None) };
            let (digits, at) = match &found {
                Found::Node(node) => (Cow::Borrowed(scope.document.value(*node)), *node),
                Found::Text(text) => (Cow::Owned(text.clone().into_owned()), scope.item),
            };
            let digits = match digits {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                owned @ Cow::Owned(_) => owned,
            };
            if digits.is_empty() {
                return Ok(None);
            }
            if !is_number(&digits) {
                return Err(issue_at(scope, at, "A number is expected."));
            }
            (digits, at)
        }
        Source::Spans(spans) => {
            let Some(seconds) = lasting(spans, scope, place)? else { return Ok(None) };
            (Cow::Owned(seconds), spans.of.place(scope))
        }
    };
    let unit = unit_of(&number.unit, scope)?;
    let mut factor = unit.times;
    for sent in [times(number, scope)?, shift(number, scope)?].into_iter().flatten() {
        let product = factor.map_or(Some(sent), |own| own.checked_mul(sent));
        factor = Some(product.ok_or_else(|| too_long(scope, at))?);
    }
    let digits = match factor {
        None => digits.into_owned(),
        Some(factor) => multiplied(&digits, factor).ok_or_else(|| too_long(scope, at))?,
    };
    note(trace, "value", || number.from.text(), || format!("{digits} {}", unit.ucum));
    let sent = Quantity { digits, ucum: unit.ucum.clone() };
    // In a unit of the measure's own, as it was sent.
    for measure in measures {
        if observation::takes(measure, &sent.ucum) {
            return Ok(Some((measure, sent, None)));
        }
    }
    for measure in measures {
        let Some(known) = measure.units.first() else { continue };
        let value = Decimal::from_str_exact(&sent.digits).or_else(|_| Decimal::from_scientific(&sent.digits)).ok();
        if !ucum::comparable(known.code, &sent.ucum) {
            continue;
        }
        let converted = value
            .filter(|_| is_short(&sent.digits))
            .and_then(|value| ucum::convert(value, &sent.ucum, known.code))
            .ok_or_else(|| too_long(scope, at))?;
        let quantity = Quantity { digits: converted.normalize().to_string(), ucum: known.code.to_owned() };
        note(trace, "converted", || measure.key.clone(), || format!("{} {}", quantity.digits, quantity.ucum));
        return Ok(Some((measure, quantity, Some(sent))));
    }
    let allowed: Vec<&str> = measures.iter().flat_map(|measure| measure.units.iter().map(|unit| unit.code)).collect();
    let text = format!("{} is measured in {} (UCUM).", measures[0].key, allowed.join(" or "));
    Err(issue_of(Id::MeasureUnit, scope, at, &text))
}

fn times(number: &Number, scope: Scope<'_>) -> Result<Option<Decimal>, Issue> {
    let Some(times) = &number.times else { return Ok(None) };
    let sent = times.word(scope)?.ok_or_else(|| missing(scope, times))?;
    let factor = Decimal::from_str_exact(&sent).or_else(|_| Decimal::from_scientific(&sent)).ok();
    let factor = factor.filter(|factor| *factor > Decimal::ZERO);
    factor.map(Some).ok_or_else(|| issue_at(scope, times.place(scope), "A positive number is expected."))
}

fn shift(number: &Number, scope: Scope<'_>) -> Result<Option<Decimal>, Issue> {
    let Some(shift) = &number.shift else { return Ok(None) };
    let Some(sent) = shift.word(scope)? else { return Ok(None) };
    let power = sent.parse::<i32>().ok().filter(|power| power.unsigned_abs() as usize <= MAX_DIGITS);
    let power =
        power.ok_or_else(|| issue_at(scope, shift.place(scope), "A power of ten from -18 to 18 is expected."))?;
    Ok(Some(if power < 0 {
        Decimal::from_i128_with_scale(1, power.unsigned_abs())
    } else {
        Decimal::from_i128_with_scale(10_i128.pow(power.unsigned_abs()), 0)
    }))
}

fn lasting(
    Spans { of, from, to, counts }: &Spans,
    scope: Scope<'_>,
    place: &Whereabouts,
) -> Result<Option<String>, Issue> {
    let nodes = of.nodes(scope)?;
    if nodes.is_empty() {
        return Ok(None);
    }
    // Where nobody knows the place, both ends are taken to have one offset, which their distance does not show.
    let nowhere = place.offset.is_none() && place.zone.is_none();
    let place = if nowhere { Whereabouts { offset: None, zone: Some(TimeZone::UTC) } } else { place.clone() };
    let mut total = SignedDuration::ZERO;
    for (index, &node) in nodes.iter().enumerate() {
        let span = Scope { item: node, ..scope };
        if let Some(counts) = counts
            && !counts.holds(span)?
        {
            continue;
        }
        let start = told(from, span, &place)?;
        let end = match (to, nodes.get(index + 1)) {
            (SpanEnd::Own(to), _) => told(to, span, &place)?,
            (SpanEnd::Next(_), Some(&next)) => told(from, Scope { item: next, ..scope }, &place)?,
            (SpanEnd::Next(until), None) => told(until, scope, &place)?,
        };
        let (Some(start), Some(end)) = (start, end) else {
            return Err(issue_at(scope, node, "A span has a start and an end."));
        };
        let length = start.at.until(end.at).ok().and_then(|span| SignedDuration::try_from(span).ok());
        let length = length.filter(|length| !length.is_negative());
        let length = length.ok_or_else(|| issue_at(scope, node, "A span does not end before it starts."))?;
        total = total.checked_add(length).ok_or_else(|| too_long(scope, node))?;
    }
    let nanoseconds = Decimal::from_i128_with_scale(total.as_nanos(), 9);
    Ok(Some(nanoseconds.normalize().to_string()))
}

impl Source {
    fn text(&self) -> String {
        match self {
            Source::Value(value) => value.text().to_owned(),
            Source::Spans(spans) => format!("length of {}", spans.of.text()),
        }
    }
}

fn too_long(scope: Scope<'_>, place: NodeId) -> Issue {
    issue_at(scope, place, "The number is too long to be converted exactly.")
}
