//! A stretch of samples as readings: one Observation for each point that is a value.
//!
//! `E` is no reading, since nothing was measured; `L` and `U` become values below and above the limits. The identifiers
//! of readings that once were chunked are not in the stretch; each point gets its stretch's with its moment behind it.

use rust_decimal::Decimal;

use super::Unfit;
use super::chunk::Status;
use super::frame::{Frame, Reading, Token};
use super::moment;
use crate::fhir::tree::{Document, Element};

/// Most points that are read.
const MAX_POINTS: usize = 1_000_000;

/// The readings of a stretch, with what they share.
pub fn explode(document: &Document) -> Result<(Frame, Vec<Reading>), Unfit> {
    let root = Element::root(document);
    let data = root.get("valueSampledData").ok_or(Unfit::Form)?;
    let origin = data.get("origin").ok_or(Unfit::Form)?;
    let frame = Frame::of_samples(document, origin.node())?;
    let id = root.get("identifier").and_then(|identifier| identifier.text_of("value")).ok_or(Unfit::Form)?;
    let start = root.get("effectivePeriod").and_then(|period| period.text_of("start")).and_then(moment::told);
    let (start, offset) = start.ok_or(Unfit::Form)?;
    let number = |name: &str| data.text_of(name).map(decimal);
    let period = number("period").flatten().ok_or(Unfit::Form)?;
    let factor = number("factor").map_or(Ok(None), |factor| factor.map(Some).ok_or(Unfit::Form))?;
    let zero = decimal(origin.text_of("value").unwrap_or("0")).ok_or(Unfit::Form)?;
    if data.text_of("dimensions") != Some("1") || root.text_of("status").and_then(Status::of).is_none() {
        return Err(Unfit::Form);
    }
    let is_plain = zero.is_zero() && factor.is_none_or(|factor| factor == Decimal::ONE);
    let scaled = |point: &str| -> Option<String> {
        let number = decimal(point)?;
        if is_plain {
            return Some(point.to_owned());
        }
        let value = number.checked_mul(factor.unwrap_or(Decimal::ONE))?.checked_add(zero)?;
        Some(value.to_string())
    };
    let mut readings = Vec::new();
    for (index, point) in data.text_of("data").unwrap_or_default().split_ascii_whitespace().enumerate() {
        let (token, digits) = match point {
            _ if index == MAX_POINTS => return Err(Unfit::Form),
            "E" => continue,
            "L" => (Token::Below, data.text_of("lowerLimit").and_then(scaled)),
            "U" => (Token::Above, data.text_of("upperLimit").and_then(scaled)),
            value => (Token::Value, scaled(value)),
        };
        let digits = digits.ok_or(Unfit::Form)?;
        let at = whole(period.checked_mul(Decimal::from(index))).map(|after| start + after).ok_or(Unfit::Form)?;
        readings.push(Reading { start: at, end: at, offset, digits, token, id: format!("{id}-{at}") });
    }
    Ok((frame, readings))
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).ok()
}

/// Milliseconds, if they are whole.
fn whole(number: Option<Decimal>) -> Option<i64> {
    number.filter(|number| number.fract().is_zero()).and_then(|number| i64::try_from(number).ok())
}
