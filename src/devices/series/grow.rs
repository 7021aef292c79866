//! A stretch that grows as readings arrive.
//!
//! What a stretch says already stands: the same said again changes nothing, and something else of the same moment is no part
//! of it. What would leave it without a common period stays outside, so that a stretch never becomes less exact.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Unfit;
use super::chunk::{Status, Stretch, fits, stretch};
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
    let mut all: BTreeMap<i64, Reading> = standing.iter().map(|reading| (reading.start, reading.clone())).collect();
    let mut fates = Vec::with_capacity(new.len());
    for reading in new {
        fates.push(met(&all, reading));
        all.entry(reading.start).or_insert_with(|| reading.clone());
    }
    if fit(&all).is_err() {
        all = standing.iter().map(|reading| (reading.start, reading.clone())).collect();
        fates.clear();
        for reading in new {
            let mut fate = met(&all, reading);
            if fate == Fate::Taken {
                all.insert(reading.start, reading.clone());
                if let Err(why) = fit(&all) {
                    all.remove(&reading.start);
                    fate = Fate::Left(why);
                }
            }
            fates.push(fate);
        }
    }
    if !fates.contains(&Fate::Taken) {
        return (None, fates);
    }
    let readings: Vec<Reading> = all.into_values().collect();
    match fits(&readings).and_then(|period| stretch(frame, &readings, period, id.to_owned(), status)) {
        Ok(stretch) => (Some(stretch), fates),
        Err(why) => {
            let left = |fate: &Fate| if *fate == Fate::Taken { Fate::Left(why) } else { *fate };
            (None, fates.iter().map(left).collect())
        }
    }
}

fn fit(all: &BTreeMap<i64, Reading>) -> Result<i64, Unfit> {
    let readings: Vec<Reading> = all.values().cloned().collect();
    fits(&readings)
}

fn met(all: &BTreeMap<i64, Reading>, reading: &Reading) -> Fate {
    match all.get(&reading.start) {
        None => Fate::Taken,
        Some(known) if says_the_same(known, reading) => Fate::Same,
        Some(_) => Fate::Other,
    }
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
    stretch(&frame, &readings, fits(&readings)?, id.to_owned(), status)
}
