//! When it was: a time frame as the `effective[x]` of an Observation.
//!
//! Times are kept as they were written, offset included; only the missing end of an interval is calculated, and
//! then in the offset of the other. A local time is refused, because nobody can say later which moment it meant.

use jiff::SignedDuration;
use jiff::civil;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::place::Place;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::time::{Moment, Precision};

/// `effective[x]` of an Observation.
pub(super) enum Effective {
    At(String),
    Period { start: String, end: String },
}

/// Reads `effective_time_frame`.
pub(super) fn effective(body: &Place<'_>, interval_only: bool) -> Result<Effective, Issue> {
    let frame = body.get("effective_time_frame").ok_or_else(|| body.missing("effective_time_frame"))?;
    match (frame.get("date_time"), frame.get("time_interval")) {
        (Some(point), None) if interval_only => {
            Err(point.issue(Id::DeviceRecord, "This measure covers a span of time: a time_interval is expected."))
        }
        (Some(point), None) => Ok(Effective::At(moment(&point)?.text.to_owned())),
        (None, Some(interval)) => period(&interval),
        _ => Err(frame.issue(Id::DeviceRecord, "Either date_time or time_interval is expected.")),
    }
}

fn period(interval: &Place<'_>) -> Result<Effective, Issue> {
    let at = |name: &str| interval.get(name);
    match (at("start_date_time"), at("end_date_time"), at("duration")) {
        (Some(start), Some(end), None) => {
            Ok(Effective::Period { start: moment(&start)?.text.to_owned(), end: moment(&end)?.text.to_owned() })
        }
        (Some(start), None, Some(length)) => {
            let start = moment(&start)?;
            let end = start.shifted(duration(&length)?).ok_or_else(|| out_of_calendar(&length))?;
            Ok(Effective::Period { start: start.text.to_owned(), end })
        }
        (None, Some(end), Some(length)) => {
            let end = moment(&end)?;
            let start = end.shifted(-duration(&length)?).ok_or_else(|| out_of_calendar(&length))?;
            Ok(Effective::Period { start, end: end.text.to_owned() })
        }
        _ => {
            let text = "Two of start_date_time, end_date_time and duration are expected; a part of a day is not taken.";
            Err(interval.issue(Id::DeviceRecord, text))
        }
    }
}

/// A moment that is exact enough for a FHIR dateTime, as it was written.
struct Written<'d> {
    text: &'d str,
    civil: civil::DateTime,
    /// `Z` or `±hh:mm`.
    offset: &'d str,
}

fn moment<'d>(place: &Place<'d>) -> Result<Written<'d>, Issue> {
    let unreadable = || place.issue(Id::DeviceRecord, "A date and time is expected as RFC 3339 writes it.");
    let text = place.string().ok_or_else(unreadable)?;
    let moment = Moment::parse(text).filter(|moment| moment.precision > Precision::Day).ok_or_else(unreadable)?;
    if !moment.has_offset() || moment.precision < Precision::Second {
        return Err(place.issue(Id::MeasureNoOffset, "The time has no seconds or no UTC offset."));
    }
    let offset = if text.ends_with('Z') { "Z" } else { &text[text.len() - "+hh:mm".len()..] };
    Ok(Written { text, civil: moment.civil, offset })
}

impl Written<'_> {
    fn shifted(&self, by: SignedDuration) -> Option<String> {
        let moved = self.civil.checked_add(by).ok().filter(|moved| moved.year() > 0)?;
        Some(format!("{moved}{}", self.offset))
    }
}

fn out_of_calendar(length: &Place<'_>) -> Issue {
    length.issue(Id::DeviceRecord, "The duration leads out of the calendar.")
}

/// Exact to the nanosecond. Months and years have no fixed length.
fn duration(length: &Place<'_>) -> Result<SignedDuration, Issue> {
    let value = length.get("value").ok_or_else(|| length.missing("value"))?;
    let unit = length.get("unit").ok_or_else(|| length.missing("unit"))?;
    let nanoseconds = match unit.string() {
        Some("ns") => 1,
        Some("us") => 1_000,
        Some("ms") => 1_000_000,
        Some("sec") => 1_000_000_000,
        Some("min") => 60_000_000_000,
        Some("h") => 3_600_000_000_000,
        Some("d") => 86_400_000_000_000,
        Some("wk") => 604_800_000_000_000_i64,
        _ => {
            return Err(
                unit.issue(Id::DeviceRecord, "A duration is measured in ns, us, ms, sec, min, h, d or wk here.")
            );
        }
    };
    value
        .number()
        .and_then(|digits| Decimal::from_str_exact(digits).ok())
        .and_then(|number| number.checked_mul(Decimal::from(nanoseconds)))
        .filter(|number| !number.is_sign_negative() && number.fract().is_zero())
        .and_then(|number| number.to_i64())
        .map(SignedDuration::from_nanos)
        .ok_or_else(|| value.issue(Id::DeviceRecord, "The duration is not a positive number of nanoseconds."))
}
