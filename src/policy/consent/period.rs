//! When a rule holds, and which clinical dates it speaks of.
//!
//! Both ends of a FHIR Period are inclusive and a partial date covers its whole unit (R4 Period), so `2026-12-31`
//! as an end lasts until the first millisecond of 2027. Dates without a time are read as UTC: a bound that means
//! another instant to each reader could not be announced as the moment when a decision ends. A time of day
//! without an offset is not a FHIR dateTime and is not read.

use std::fmt;

use super::matching::{Effect, Match};
use crate::fhir::tree::Element;
use crate::fhir::tree::time::{Moment, Precision, instant};

/// A half-open interval of milliseconds; the extremes stand for open ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub from: i64,
    pub until: i64,
}

/// A `period` or `dataPeriod`, or one that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Window {
    Span(Span),
    Unclear,
}

impl Window {
    /// Reads a Period. One without bounds, or that ends before it starts, says nothing that can be relied on.
    pub fn read(element: Element<'_>) -> Window {
        let bound = |name| element.get(name).map(|bound| bound.string().and_then(interval));
        let (Some(start), Some(end)) =
            (bound("start").unwrap_or(Some((i64::MIN, 0))), bound("end").unwrap_or(Some((0, i64::MAX))))
        else {
            return Window::Unclear;
        };
        let span = Span { from: start.0, until: end.1 };
        let bounded = span.from > i64::MIN || span.until < i64::MAX;
        if bounded && span.from < span.until { Window::Span(span) } else { Window::Unclear }
    }

    /// The same, but that it has no beginning.
    pub fn without_beginning(self) -> Window {
        match self {
            Window::Span(span) => Window::Span(Span { from: i64::MIN, ..span }),
            Window::Unclear => Window::Unclear,
        }
    }

    pub fn span(self) -> Option<Span> {
        match self {
            Window::Span(span) => Some(span),
            Window::Unclear => None,
        }
    }

    /// Whether the rule is in force at `now`.
    pub fn holds(self, now_ms: i64) -> Match {
        self.span().map_or(Match::Unknown, |span| Match::of(span.contains(now_ms)))
    }

    /// Whether data of that time is spoken of: wholly inside for a permit, any overlap for a deny.
    pub fn speaks_of(self, effect: Effect, date_ms: Option<(i64, i64)>) -> Match {
        let (Some(span), Some((start, end))) = (self.span(), date_ms) else { return Match::Unknown };
        let end = end.max(start.saturating_add(1));
        match effect {
            Effect::Permit => Match::of(start >= span.from && end <= span.until),
            Effect::Deny => Match::of(start < span.until && end > span.from),
        }
    }
}

impl Span {
    pub const ALWAYS: Span = Span { from: i64::MIN, until: i64::MAX };

    pub fn contains(self, now_ms: i64) -> bool {
        self.from <= now_ms && now_ms < self.until
    }

    /// The instants at which a decision can change.
    pub fn bounds(self) -> impl Iterator<Item = i64> {
        [self.from, self.until].into_iter().filter(|bound| *bound != i64::MIN && *bound != i64::MAX)
    }
}

fn interval(text: &str) -> Option<(i64, i64)> {
    let moment = Moment::parse(text)?;
    let readable = moment.has_offset() || moment.precision <= Precision::Day;
    readable.then(|| moment.interval_assuming_utc_ms())
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (i64::MIN, i64::MAX) => formatter.write_str("always"),
            (i64::MIN, until) => write!(formatter, "before {}", instant(until)),
            (from, i64::MAX) => write!(formatter, "from {}", instant(from)),
            (from, until) => write!(formatter, "from {} until before {}", instant(from), instant(until)),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Window::Span(span) => span.fmt(formatter),
            Window::Unclear => formatter.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    fn check(period: &str, expected: &str) {
        let document = json::parse(period).unwrap();
        assert_eq!(Window::read(Element::root(&document)).to_string(), expected, "{period}");
    }

    #[test]
    fn bounds_are_inclusive_and_cover_their_unit() {
        check(r#"{"end":"2022-12-31"}"#, "before 2023-01-01T00:00:00.000Z");
        check(
            r#"{"start":"2022-02","end":"2022"}"#,
            "from 2022-02-01T00:00:00.000Z until before 2023-01-01T00:00:00.000Z",
        );
        check(r#"{"start":"2022-02-01T10:00:00+02:00"}"#, "from 2022-02-01T08:00:00.000Z");
        for unclear in [
            "{}",
            r#"{"start":"2023","end":"2022"}"#,
            r#"{"start":"soon"}"#,
            r#"{"start":null,"end":"2022"}"#,
            r#"{"_start":{"extension":[]},"end":"2022"}"#,
            r#"{"end":"2022-01-01T10:00:00"}"#,
        ] {
            check(unclear, "?");
        }
    }

    #[test]
    fn data_is_inside_for_permits_and_touched_for_denies() {
        let window = Window::Span(Span { from: 100, until: 200 });
        let cases = [
            (Some((100, 200)), Match::Yes, Match::Yes),
            (Some((90, 110)), Match::No, Match::Yes),
            (Some((200, 210)), Match::No, Match::No),
            (Some((100, 100)), Match::Yes, Match::Yes),
            (None, Match::Unknown, Match::Unknown),
        ];
        for (date, permit, deny) in cases {
            assert_eq!(
                (window.speaks_of(Effect::Permit, date), window.speaks_of(Effect::Deny, date)),
                (permit, deny),
                "{date:?}"
            );
        }
    }
}
