//! Many readings as one SampledData (R4 §2.24.0.12).
//!
//! Samples of a series are equally spaced, so the period is the greatest that leads to every reading; where there is
//! none, `E` stands, and where nearly all would be `E` the readings stay readings. R4's profiles of vital signs fix a
//! single quantity and are never claimed: the guide's series is.

use std::fmt::Write;

use super::frame::{Frame, Reading, Token, period_of};
use super::{Facts, Span, Unfit};

/// Most places in a stretch for each of its readings. A gap costs two bytes and a reading six hundred.
const MAX_PLACES: i64 = 32;

/// Most samples of one stretch: those of a day at one a second.
const MAX_SAMPLES: i64 = 86_400;

/// A stretch of samples.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The Observation.
    pub text: String,
    pub facts: Facts,
    /// Where it can no longer change.
    pub is_final: bool,
}

/// How far a stretch has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Preliminary,
    Final,
    /// It was final, and something came late.
    Amended,
}

impl Status {
    pub fn code(self) -> &'static str {
        match self {
            Status::Preliminary => "preliminary",
            Status::Final => "final",
            Status::Amended => "amended",
        }
    }

    pub fn of(code: &str) -> Option<Status> {
        [Status::Preliminary, Status::Final, Status::Amended].into_iter().find(|status| status.code() == code)
    }
}

/// Writes readings of one span as a stretch. They are sorted by time and have one offset; `part` tells apart
/// several stretches of one span, the first being 0. `complete` is the moment up to which everything has been seen.
pub fn chunk(frame: &Frame, readings: &[Reading], span: Span, part: u32, complete: i64) -> Result<Stretch, Unfit> {
    let first = readings.first().ok_or(Unfit::Alone)?;
    let window = span.start(first.start, first.offset);
    let mut id = frame.stretch(window);
    if part > 0 {
        // Writing into a string does not fail.
        let _ = write!(id, "-{part}");
    }
    let status = if window + span.ms() <= complete { Status::Final } else { Status::Preliminary };
    let period = regular(readings, MAX_PLACES)?;
    stretch(frame, readings, period, id, status)
}

/// The period and the limits that a stretch of the readings would have.
pub(super) fn fits(readings: &[Reading]) -> Result<i64, Unfit> {
    // A reading without a second one has no period; a second is the precision of its time.
    let period = match readings {
        [_] => ALONE_MS,
        // What is to fill a gap may still come, and of minutes there are few enough.
        _ => regular(readings, i64::MAX)
            .and_then(|period| if period < MINUTE_MS { regular(readings, MAX_PLACES) } else { Ok(period) })?,
    };
    limit(readings, Token::Below)?;
    limit(readings, Token::Above)?;
    Ok(period)
}

const ALONE_MS: i64 = 1000;
const MINUTE_MS: i64 = 60_000;

/// Writes them under a name that they have already.
pub(super) fn stretch(
    frame: &Frame,
    readings: &[Reading],
    period: i64,
    id: String,
    status: Status,
) -> Result<Stretch, Unfit> {
    let (lower, upper) = (limit(readings, Token::Below)?, limit(readings, Token::Above)?);
    let measure = frame.measure().ok_or(Unfit::Measure)?;
    let profile = if measure.profiles.contains(&"series") {
        "series"
    } else if measure.profiles.contains(&"cgm") {
        "cgm"
    } else {
        return Err(Unfit::Measure);
    };
    let (first, last) = (&readings[0], &readings[readings.len() - 1]);
    let profile = frame.claim(Some(profile));
    let mut text = String::with_capacity(1024 + readings.len() * 4);
    frame.open(profile.as_deref(), "", status.code(), &id, &mut text);
    text.extend(["\"code\":", frame.code(), ","]);
    period_of(first.start, last.start + period, first.offset, &mut text);
    text.extend([",\"valueSampledData\":{\"origin\":{\"value\":0", frame.unit(), "},\"period\":"]);
    let _ = write!(text, "{period}");
    for (name, limit) in [("lowerLimit", lower), ("upperLimit", upper)] {
        if let Some(limit) = limit {
            text.extend([",\"", name, "\":", limit]);
        }
    }
    text.push_str(",\"dimensions\":1,\"data\":\"");
    samples(readings, period, &mut text);
    text.push_str("\"}}");
    let is_final = status == Status::Final;
    Ok(Stretch { text, facts: Facts::of("chunk", frame, readings, vec![id]), is_final })
}

fn samples(readings: &[Reading], period: i64, out: &mut String) {
    let mut expected = readings[0].start;
    for (index, reading) in readings.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        while expected < reading.start {
            out.push_str("E ");
            expected += period;
        }
        out.push_str(match reading.token {
            Token::Value => &reading.digits,
            Token::Below => "L",
            Token::Above => "U",
        });
        expected += period;
    }
}

/// The greatest period that leads to every reading.
fn regular(readings: &[Reading], most_places: i64) -> Result<i64, Unfit> {
    let [first, .., last] = readings else { return Err(Unfit::Alone) };
    if readings.iter().any(|reading| reading.start != reading.end) {
        return Err(Unfit::Form);
    }
    let steps = readings.windows(2).map(|pair| pair[1].start - pair[0].start);
    let mut period = 0;
    for step in steps {
        if step <= 0 {
            return Err(Unfit::SameMoment);
        }
        period = divisor(step, period);
    }
    let places = (last.start - first.start) / period + 1;
    let most = (readings.len() as i64).saturating_mul(most_places).min(MAX_SAMPLES);
    if places > most { Err(Unfit::Irregular) } else { Ok(period) }
}

/// Euclid's.
fn divisor(one: i64, other: i64) -> i64 {
    let (mut one, mut other) = (one, other);
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// The one limit that readings lie beyond.
fn limit(readings: &[Reading], token: Token) -> Result<Option<&str>, Unfit> {
    let mut limits = readings.iter().filter(|reading| reading.token == token).map(|reading| reading.digits.as_str());
    let first = limits.next();
    if limits.any(|limit| Some(limit) != first) { Err(Unfit::Limits) } else { Ok(first) }
}

impl Facts {
    pub(super) fn of(activity: &'static str, frame: &Frame, readings: &[Reading], targets: Vec<String>) -> Facts {
        Facts {
            activity,
            count: readings.len(),
            from: readings.iter().map(|reading| reading.start).min().unwrap_or_default(),
            to: readings.iter().map(|reading| reading.end).max().unwrap_or_default(),
            system: frame.system(),
            sources: readings.iter().map(|reading| reading.id.clone()).collect(),
            targets,
        }
    }
}
