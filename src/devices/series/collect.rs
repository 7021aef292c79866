//! Readings as they stream by, gathered by series and span.
//!
//! What is open is bounded: a series has one span open at a time, and when too many series are open all are closed. A
//! series is told apart by all that its readings share, so that two devices never come together.

use std::collections::HashMap;

use super::aggregate::aggregate;
use super::chunk::{Stretch, chunk};
use super::explode::explode;
use super::frame::{Frame, Reading, separate};
use super::{Facts, Span, Unfit};
use crate::devices::sources::is_secondary;
use crate::fhir::tree::{Document, Element};

/// What readings become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One Observation a reading.
    Explode,
    /// Stretches of samples.
    Chunk(Span),
    /// Statistics.
    Aggregate(Span),
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Made {
    /// As it went in.
    Same,
    /// Went in before, and stays a reading.
    Left {
        text: String,
        why: Unfit,
    },
    /// Is no reading that could be gathered, and stays as it went in.
    Unfit(Unfit),
    Reading(String),
    Stretch(Stretch),
    Statistics(Vec<String>, Facts),
}

/// Most series that are open at a time.
const MAX_OPEN: usize = 512;

/// Most readings of one span: those of a day at one a second.
const MAX_READINGS: usize = 86_400;

/// The span of a series that is being gathered.
struct Open {
    window: i64,
    offset: i32,
    readings: Vec<Reading>,
}

/// Gathers readings.
pub struct Collector {
    form: Form,
    /// Everything before this moment has been seen.
    complete: i64,
    open: HashMap<Frame, Open>,
    /// How often spans of series have been closed, so that none is told twice under one name.
    closed: HashMap<(u64, i64), u32>,
}

impl Collector {
    /// `complete` is the moment, in milliseconds since 1970 in UTC, up to which everything has been seen: spans that end
    /// before are final.
    pub fn new(form: Form, complete: i64) -> Collector {
        Collector { form, complete, open: HashMap::new(), closed: HashMap::new() }
    }

    /// What follows has been seen up to that moment and no further.
    pub fn seen_until(&mut self, moment: i64) {
        self.complete = self.complete.min(moment);
    }

    /// Takes one Observation. What it completes is told.
    pub fn take(&mut self, document: &Document, told: &mut impl FnMut(Made)) {
        let is_stretch = Element::root(document).get("valueSampledData").is_some();
        let span = match self.form {
            Form::Explode if is_stretch => {
                match explode(document) {
                    Ok((frame, readings)) => {
                        for reading in &readings {
                            told(Made::Reading(text(&frame, reading)));
                        }
                    }
                    Err(why) => told(Made::Unfit(why)),
                }
                return;
            }
            Form::Explode => return told(Made::Same),
            Form::Chunk(_) if is_stretch => return told(Made::Same),
            Form::Chunk(span) | Form::Aggregate(span) => span,
        };
        if matches!(self.form, Form::Aggregate(_)) && is_secondary(Element::root(document)) {
            return told(Made::Unfit(Unfit::Secondary));
        }
        let (frame, reading) = match separate(document) {
            Ok(apart) => apart,
            Err(why) => return told(Made::Unfit(why)),
        };
        if matches!(self.form, Form::Chunk(_)) && reading.start != reading.end {
            return told(Made::Unfit(Unfit::Form));
        }
        self.gather(frame, reading, span, told);
    }

    fn gather(&mut self, frame: Frame, reading: Reading, span: Span, told: &mut impl FnMut(Made)) {
        let (window, offset) = (span.start(reading.start, reading.offset), reading.offset);
        let Some(open) = self.open.get_mut(&frame) else {
            if self.open.len() >= MAX_OPEN {
                self.close_all(told);
            }
            self.open.insert(frame, Open { window, offset, readings: vec![reading] });
            return;
        };
        if open.window == window && open.offset == offset && open.readings.len() < MAX_READINGS {
            open.readings.push(reading);
            return;
        }
        let before = std::mem::replace(open, Open { window, offset, readings: vec![reading] });
        self.close(&frame, before, told);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, told: &mut impl FnMut(Made)) {
        self.close_all(told);
    }

    fn close_all(&mut self, told: &mut impl FnMut(Made)) {
        let mut all: Vec<(u64, Frame, Open)> =
            self.open.drain().map(|(frame, open)| (frame.fingerprint(), frame, open)).collect();
        all.sort_by_key(|(fingerprint, _, open)| (open.window, *fingerprint));
        for (_, frame, open) in all {
            self.close(&frame, open, told);
        }
    }

    fn close(&mut self, frame: &Frame, open: Open, told: &mut impl FnMut(Made)) {
        let Open { window, mut readings, .. } = open;
        readings.sort_by_key(|reading| (reading.start, reading.end));
        let times = self.closed.entry((frame.fingerprint(), window)).or_default();
        let part = *times;
        *times += 1;
        let mut left = |readings: &[Reading], why: Unfit| {
            for reading in readings {
                told(Made::Left { text: text(frame, reading), why });
            }
        };
        match self.form {
            Form::Explode => {}
            Form::Aggregate(_) if part > 0 => left(&readings, Unfit::Late),
            Form::Aggregate(span) => match aggregate(frame, &readings, span) {
                Ok((texts, facts)) => told(Made::Statistics(texts, facts)),
                Err(why) => left(&readings, why),
            },
            Form::Chunk(span) => {
                // What is of one moment cannot stand in one stretch; the first of them does.
                let mut again = Vec::new();
                let mut last = None;
                readings.retain(|reading| {
                    let is_first = last.replace(reading.start) != Some(reading.start);
                    if !is_first {
                        again.push(reading.clone());
                    }
                    is_first
                });
                left(&again, Unfit::SameMoment);
                match chunk(frame, &readings, span, part, self.complete) {
                    Ok(stretch) => told(Made::Stretch(stretch)),
                    Err(why) => left(&readings, why),
                }
            }
        }
    }
}

fn text(frame: &Frame, reading: &Reading) -> String {
    let mut out = String::with_capacity(768);
    frame.reading(reading, &mut out);
    out
}
