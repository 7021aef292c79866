//! Date parameters: both sides are intervals (R4 §3.1.1.4.2, §3.1.1.4.7).
//!
//! What was written as a day covers the day, a Period its bounds, a Timing the outer limits of its schedule.
//! A time without offset is read as UTC on both sides, so that a birth date equals the date asked for. An open
//! end of a Period is the end of time. `ge` and `le` ask whether anything lies on that side of the bound or in it,
//! so a night's sleep that reaches into a day is found by `ge` and `le` of that day.

use super::prefix::Prefix;
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

/// First millisecond covered and first one no longer covered.
pub type Interval = (i64, i64);

pub const ALWAYS: Interval = (i64::MIN, i64::MAX);

/// A date as it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub prefix: Prefix,
    pub interval: Interval,
}

impl Wanted {
    pub(super) fn parse(text: &str) -> Option<Wanted> {
        let (prefix, date) = Prefix::split(text);
        // A `+` that the client did not encode arrives as the space that forms make of it.
        let interval = match Moment::parse(date) {
            Some(moment) => moment.interval_assuming_utc_ms(),
            None => Moment::parse(&date.replacen(' ', "+", 1))?.interval_assuming_utc_ms(),
        };
        Some(Wanted { prefix, interval })
    }

    pub fn matches(&self, (start, end): Interval) -> bool {
        let (low, high) = self.interval;
        let within = low <= start && end <= high;
        match self.prefix {
            Prefix::Equal => within,
            Prefix::NotEqual => !within,
            Prefix::Greater => end > high,
            Prefix::Less => start < low,
            Prefix::GreaterOrEqual => end > low,
            Prefix::LessOrEqual => start < high,
            Prefix::StartsAfter => start >= high,
            Prefix::EndsBefore => end <= low,
            Prefix::Approximately => {
                let (low, high) = self.around();
                start < high && end > low
            }
        }
    }

    /// The interval that everything that matches meets.
    pub fn met(&self) -> Interval {
        let (low, high) = self.interval;
        match self.prefix {
            Prefix::Equal => (low, high),
            Prefix::NotEqual => ALWAYS,
            Prefix::Greater | Prefix::StartsAfter => (high, i64::MAX),
            Prefix::GreaterOrEqual => (low, i64::MAX),
            Prefix::Less | Prefix::EndsBefore => (i64::MIN, low),
            Prefix::LessOrEqual => (i64::MIN, high),
            Prefix::Approximately => self.around(),
        }
    }

    /// Approximately is the interval widened by its own length on either side: R4 leaves the measure to the
    /// server, and the tenth of the distance to now that it recommends would need a clock.
    fn around(&self) -> Interval {
        let (low, high) = self.interval;
        let length = high.saturating_sub(low);
        (low.saturating_sub(length), high.saturating_add(length))
    }
}

/// What a date, dateTime, instant, Period or Timing covers.
pub fn interval(element: Element<'_>) -> Option<Interval> {
    if let Some(text) = element.string() {
        return Moment::parse(text).map(|moment| moment.interval_assuming_utc_ms());
    }
    // A Period that ends before it begins covers nothing.
    period(element).or_else(|| timing(element)).filter(|(start, end)| start < end)
}

fn period(element: Element<'_>) -> Option<Interval> {
    let bound = |name| element.get(name).and_then(|bound| bound.string()).map(Moment::parse);
    match (bound("start"), bound("end")) {
        (None, None) | (Some(None), _) | (_, Some(None)) => None,
        (start, end) => Some((
            start.flatten().map_or(i64::MIN, |moment| moment.interval_assuming_utc_ms().0),
            end.flatten().map_or(i64::MAX, |moment| moment.interval_assuming_utc_ms().1),
        )),
    }
}

fn timing(element: Element<'_>) -> Option<Interval> {
    let events = element.all("event").filter_map(interval);
    let bounds = element.get("repeat").and_then(|repeat| repeat.get("boundsPeriod")).and_then(period);
    events.chain(bounds).reduce(hull)
}

/// The smallest interval that holds both.
pub(super) fn hull(one: Interval, other: Interval) -> Interval {
    (one.0.min(other.0), one.1.max(other.1))
}
