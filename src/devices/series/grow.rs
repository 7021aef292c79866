//! A stretch that grows as readings arrive.
//!
//! What a stretch says already stands: the same said again changes nothing, and something else of the same moment is no part
//! of it. What would leave it without a common period stays outside, so that a stretch never becomes less exact.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Unfit;
use super::chunk::{Shape, Status, Stretch, stretch};
use super::explode::explode;
use super::frame::{Frame, Reading};
use crate::fhir::tree::{Document, Element};

/// What becomes of a reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is part of the stretch now.
    Taken,
    /// The stretch said so before.
    Same,
    /// The stretch says something else of that moment.
    Other,
    /// It must stay as it is.
    Left(Unfit),
}

/// Adds moments to those that stand, and writes the stretch of that name anew; none where nothing was added.
pub fn grow(
    frame: &Frame,
    standing: &[Reading],
    new: &[Reading],
    id: &str,
    status: Status,
) -> (Option<Stretch>, Vec<Fate>) {
    let (mut all, mut fates) = added(standing, new, |_| Ok(()));
    if Shape::of(all.values().copied()).and_then(|shape| shape.open()).is_err() {
        let Ok(mut shape) = Shape::of(standing) else { return (None, vec![Fate::Left(Unfit::Form); new.len()]) };
        (all, fates) = added(standing, new, |reading| {
            let with = shape.and(reading)?;
            with.open()?;
            shape = with;
            Ok(())
        });
    }
    if !fates.contains(&Fate::Taken) {
        return (None, fates);
    }
    let readings: Vec<Reading> = all.into_values().cloned().collect();
    match drawn(frame, &readings, id.to_owned(), status) {
        Ok(stretch) => (Some(stretch), fates),
        Err(why) => {
            let left = |fate: &Fate| if *fate == Fate::Taken { Fate::Left(why) } else { *fate };
            (None, fates.iter().map(left).collect())
        }
    }
}

/// What there is with those that may be added, and what becomes of each.
fn added<'r>(
    standing: &'r [Reading],
    new: &'r [Reading],
    mut fits: impl FnMut(&Reading) -> Result<(), Unfit>,
) -> (BTreeMap<i64, &'r Reading>, Vec<Fate>) {
    let mut all: BTreeMap<i64, &Reading> = standing.iter().map(|reading| (reading.start, reading)).collect();
    let mut fates = Vec::with_capacity(new.len());
    for reading in new {
        fates.push(match all.get(&reading.start) {
            Some(known) if says_the_same(known, reading) => Fate::Same,
            Some(_) => Fate::Other,
            None => match fits(reading) {
                Ok(()) => {
                    all.insert(reading.start, reading);
                    Fate::Taken
                }
                Err(why) => Fate::Left(why),
            },
        });
    }
    (all, fates)
}

fn drawn(frame: &Frame, readings: &[Reading], id: String, status: Status) -> Result<Stretch, Unfit> {
    let shape = Shape::of(readings)?;
    stretch(frame, readings, &shape, shape.open()?, id, status)
}

fn says_the_same(one: &Reading, other: &Reading) -> bool {
    let number = |reading: &Reading| Decimal::from_str_exact(&reading.digits).ok();
    one.token == other.token
        && (one.digits == other.digits || number(one).is_some_and(|value| Some(value) == number(other)))
}

/// A stretch as it is, with another status.
pub fn again(document: &Document, status: Status) -> Result<Stretch, Unfit> {
    let (frame, readings) = explode(document)?;
    let identifier = Element::root(document).get("identifier").ok_or(Unfit::Form)?;
    let id = identifier.text_of("value").ok_or(Unfit::Form)?;
    drawn(&frame, &readings, id.to_owned(), status)
}
