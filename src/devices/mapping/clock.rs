//! When it was: what a sender writes, as a FHIR dateTime.
//!
//! What is already exact enough (seconds and an offset) stays as it was written. A count of seconds is a moment without a
//! place: it is written in the offset that the record names, else in UTC. A local time needs an offset or a zone, from the
//! record or from whoever sends it; without one it is refused, because nobody can say later which moment it meant. So is what the clocks of the zone
//! skipped, or went through twice.

use std::borrow::Cow;

use jiff::civil;
use jiff::fmt::strtime;
use jiff::tz::{AmbiguousOffset, AmbiguousZoned, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::fhir::tree::time::{Moment, Precision};

/// How a time is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::devices) enum Form {
    /// RFC 3339; where the offset is missing, a local time. Also with a space in place of the T.
    Text,
    /// A number since 1970 in UTC; how many make a second.
    Epoch(u32),
    /// A number since 1970 by the clock on the wall; how many make a second.
    Local(u32),
    /// As `strptime` reads it.
    Pattern(String),
}

impl Form {
    pub fn named(name: &str) -> Option<Form> {
        Some(match name {
            "text" => Form::Text,
            "seconds" => Form::Epoch(1),
            "milliseconds" => Form::Epoch(1_000),
            "nanoseconds" => Form::Epoch(1_000_000_000),
            "local-seconds" => Form::Local(1),
            "local-milliseconds" => Form::Local(1_000),
            pattern if pattern.contains('%') => {
                // Whether it is a pattern at all shows when it is tried.
                let known = !matches!(strtime::parse(pattern, "").map_err(|error| error.to_string()), Err(text) if text.contains("unrecognized"));
                return known.then(|| Form::Pattern(pattern.to_owned()));
            }
            _ => return None,
        })
    }
}

/// A moment with the offset in which it is told.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::devices) struct Told<'t> {
    /// As it was written, where that is a FHIR dateTime.
    written: Option<Cow<'t, str>>,
    pub at: Timestamp,
    pub offset: Offset,
}

/// Why a time is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::devices) enum Untold {
    Unreadable,
    NoOffset,
    /// A whole day, where a moment is expected.
    Day,
    /// The clocks of the zone skipped it.
    Skipped,
    /// The clocks of the zone went through it twice.
    Twice,
}

/// Where a local time was.
#[derive(Clone, Default, Debug)]
pub(in crate::devices) struct Whereabouts {
    pub offset: Option<Offset>,
    pub zone: Option<TimeZone>,
}

impl Whereabouts {
    fn offset_at(&self, at: Timestamp) -> Option<Offset> {
        self.offset.or_else(|| self.zone.as_ref().map(|zone| zone.to_offset(at)))
    }

    fn ambiguous(&self, local: civil::DateTime) -> Result<AmbiguousZoned, Untold> {
        let zone = match (&self.offset, &self.zone) {
            (Some(offset), _) => TimeZone::fixed(*offset),
            (None, Some(zone)) => zone.clone(),
            (None, None) => return Err(Untold::NoOffset),
        };
        Ok(zone.into_ambiguous_zoned(local))
    }

    /// The moment that a local time meant. One that the clocks skipped or went through twice is not known: a second
    /// reading under the same time would pass for the first.
    fn moment(&self, local: civil::DateTime) -> Result<(Timestamp, Offset), Untold> {
        let ambiguous = self.ambiguous(local)?;
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => settled(ambiguous),
            AmbiguousOffset::Gap { .. } => Err(Untold::Skipped),
            AmbiguousOffset::Fold { .. } => Err(Untold::Twice),
        }
    }
}

/// What is unambiguous, or else the first of two and the moment after what was skipped.
fn settled(at: AmbiguousZoned) -> Result<(Timestamp, Offset), Untold> {
    let at = at.compatible().or(Err(Untold::Unreadable))?;
    Ok((at.timestamp(), at.offset()))
}

/// When a day begins where it was: there is one such moment also where the clocks change at midnight.
pub(super) fn begins(date: civil::Date, place: &Whereabouts) -> Result<Told<'static>, Untold> {
    let (at, offset) = settled(place.ambiguous(date.at(0, 0, 0, 0))?)?;
    Ok(Told { written: None, at, offset })
}

/// Reads a time.
pub(in crate::devices) fn read<'t>(form: &Form, text: Cow<'t, str>, place: &Whereabouts) -> Result<Told<'t>, Untold> {
    match form {
        Form::Epoch(fraction) => {
            let at = counted(&text, *fraction).ok_or(Untold::Unreadable)?;
            Ok(Told { written: None, at, offset: place.offset_at(at).unwrap_or(Offset::UTC) })
        }
        Form::Local(fraction) => {
            let local = Offset::UTC.to_datetime(counted(&text, *fraction).ok_or(Untold::Unreadable)?);
            let (at, offset) = place.moment(local)?;
            Ok(Told { written: None, at, offset })
        }
        Form::Text => in_text(text, place),
        Form::Pattern(pattern) => {
            let parsed = strtime::parse(pattern, text.as_bytes()).or(Err(Untold::Unreadable))?;
            let Ok(local) = parsed.to_datetime() else {
                return Err(if parsed.to_date().is_ok() { Untold::Day } else { Untold::Unreadable });
            };
            let place = Whereabouts { offset: parsed.offset().or(place.offset), zone: place.zone.clone() };
            let (at, offset) = place.moment(local)?;
            Ok(Told { written: None, at, offset })
        }
    }
}

/// The moment so many parts of a second after 1970 began.
fn counted(text: &str, fraction: u32) -> Option<Timestamp> {
    let number: Decimal = text.parse().ok()?;
    let nanoseconds = number.checked_mul(Decimal::from(1_000_000_000 / fraction))?;
    Timestamp::from_nanosecond(nanoseconds.fract().is_zero().then(|| nanoseconds.to_i128()).flatten()?).ok()
}

/// A zone by its name in the IANA database, or an offset that stands for one, with or without GMT or UTC before it.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let fixed = || {
        let bare = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC")).unwrap_or(name);
        offset(if bare.is_empty() { "Z" } else { bare }, None).map(TimeZone::fixed)
    };
    TimeZone::get(name).ok().or_else(fixed)
}

fn in_text<'t>(text: Cow<'t, str>, place: &Whereabouts) -> Result<Told<'t>, Untold> {
    let standard = match text.as_bytes().get(10) {
        Some(b' ') => {
            // 2019-07-19 10:36:11 -0700, as Apple writes it.
            let mut standard = text.replacen(' ', "T", 1).replace(' ', "");
            let bytes = standard.as_bytes();
            if bytes.len() >= 5 && matches!(bytes[bytes.len() - 5], b'+' | b'-') {
                standard.insert(standard.len() - 2, ':');
            }
            Cow::Owned(standard)
        }
        _ => text,
    };
    let moment = Moment::parse(&standard).ok_or(Untold::Unreadable)?;
    if moment.precision <= Precision::Day {
        return Err(if moment.precision == Precision::Day { Untold::Day } else { Untold::Unreadable });
    }
    let Some(offset) = moment.offset else {
        let (at, offset) = place.moment(moment.civil)?;
        return Ok(Told { written: None, at, offset });
    };
    let at = offset.to_timestamp(moment.civil).or(Err(Untold::Unreadable))?;
    // UTC is a moment without a place; where the record says the place beside it, it is told there.
    if let (Offset::UTC, Some(local)) = (offset, place.offset) {
        return Ok(Told { written: None, at, offset: local });
    }
    let exact = moment.precision >= Precision::Second && offset.seconds() % 60 == 0;
    Ok(Told { written: exact.then_some(standard), at, offset })
}

impl Told<'_> {
    pub fn plus(&self, by: SignedDuration) -> Option<Told<'static>> {
        let at = self.at.checked_add(by).ok()?;
        Some(Told { written: None, at, offset: self.offset })
    }

    /// As a FHIR dateTime.
    pub fn text(&self) -> String {
        if let Some(written) = &self.written {
            return written.clone().into_owned();
        }
        let local = self.offset.to_datetime(self.at);
        if self.offset == Offset::UTC {
            return format!("{local}Z");
        }
        let minutes = self.offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{local}{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    }
}

/// An offset as `+02:00`, `+0200`, `-7`, or a number of the given length in seconds.
pub(super) fn offset(text: &str, unit: Option<i64>) -> Option<Offset> {
    let seconds = if let Some(unit) = unit {
        text.parse::<Decimal>().ok()?.checked_mul(Decimal::from(unit))?.to_i64()?
    } else if text == "Z" {
        0
    } else {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("-", rest) => (-1, rest),
            ("+", rest) => (1, rest),
            _ => return None,
        };
        let digits: String = rest.chars().filter(|character| *character != ':').collect();
        let (hours, minutes) = match digits.len() {
            1 | 2 => (digits.parse::<i64>().ok()?, 0),
            4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
            _ => return None,
        };
        sign * (hours * 3600 + minutes * 60)
    };
    let within = seconds.abs() <= 14 * 3600 && seconds % 60 == 0;
    within.then(|| i32::try_from(seconds).ok().and_then(|seconds| Offset::from_seconds(seconds).ok())).flatten()
}

/// Seconds of a unit of duration (UCUM).
pub(super) fn unit_nanoseconds(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "wk" => 604_800_000_000_000,
        _ => return None,
    })
}

/// A length of time, exact to the nanosecond.
pub(super) fn duration(digits: &str, unit: &str) -> Option<SignedDuration> {
    let number: Decimal = digits.parse().ok()?;
    let nanoseconds = number.checked_mul(Decimal::from(unit_nanoseconds(unit)?))?;
    let whole = !nanoseconds.is_sign_negative() && nanoseconds.fract().is_zero();
    whole.then(|| nanoseconds.to_i64()).flatten().map(SignedDuration::from_nanos)
}
