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
    // Two of one moment cannot stand in it.
    if readings.windows(2).any(|pair| pair[1].start <= pair[0].start) {
        return Err(Unfit::SameMoment);
    }
    let shape = Shape::of(readings)?;
    stretch(frame, readings, &shape, shape.closed()?, id, status)
}

const ALONE_MS: i64 = 1000;
const MINUTE_MS: i64 = 60_000;

/// What decides whether readings make a stretch; one more is added without looking at the others again.
#[derive(Clone, Default)]
pub(super) struct Shape {
    first: i64,
    last: i64,
    /// The greatest that leads to every reading; 0 for less than two.
    period: i64,
    count: i64,
    lower: Option<String>,
    upper: Option<String>,
}

impl Shape {
    pub(super) fn of<'r>(readings: impl IntoIterator<Item = &'r Reading>) -> Result<Shape, Unfit> {
        readings.into_iter().try_fold(Shape::default(), |shape, reading| shape.and(reading))
    }

    /// With a reading of another moment.
    pub(super) fn and(&self, reading: &Reading) -> Result<Shape, Unfit> {
        if reading.start != reading.end {
            return Err(Unfit::Form);
        }
        let mut shape = self.clone();
        let limit = match reading.token {
            Token::Value => None,
            Token::Below => Some(&mut shape.lower),
            Token::Above => Some(&mut shape.upper),
        };
        if let Some(limit) = limit
            && *limit.get_or_insert_with(|| reading.digits.clone()) != reading.digits
        {
            return Err(Unfit::Limits);
        }
        if self.count == 0 {
            (shape.first, shape.last) = (reading.start, reading.start);
        }
        shape.period = divisor((reading.start - shape.first).abs(), self.period);
        (shape.first, shape.last) = (shape.first.min(reading.start), shape.last.max(reading.start));
        shape.count += 1;
        Ok(shape)
    }

    /// The period of a stretch that is made at once.
    fn closed(&self) -> Result<i64, Unfit> {
        if self.count < 2 {
            return Err(Unfit::Alone);
        }
        let most = self.count.saturating_mul(MAX_PLACES).min(MAX_SAMPLES);
        if self.places() > most { Err(Unfit::Irregular) } else { Ok(self.period) }
    }

    /// The period of a stretch that may still grow: what is to fill a gap may still come, and of minutes there are few
    /// enough. A reading without a second one has none; a second is the precision of its time.
    pub(super) fn open(&self) -> Result<i64, Unfit> {
        match self.count {
            0 => Err(Unfit::Alone),
            1 => Ok(ALONE_MS),
            _ if self.period >= MINUTE_MS && self.places() <= MAX_SAMPLES => Ok(self.period),
            _ => self.closed(),
        }
    }

    fn places(&self) -> i64 {
        (self.last - self.first) / self.period.max(1) + 1
    }
}

/// Writes them under a name that they have already.
pub(super) fn stretch(
    frame: &Frame,
    readings: &[Reading],
    shape: &Shape,
    period: i64,
    id: String,
    status: Status,
) -> Result<Stretch, Unfit> {
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
    for (name, limit) in [("lowerLimit", &shape.lower), ("upperLimit", &shape.upper)] {
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

/// Euclid's.
fn divisor(one: i64, other: i64) -> i64 {
    let (mut one, mut other) = (one, other);
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
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
