//! When a record was: the clocks of its rule, read as an `effective[x]`.

use jiff::SignedDuration;

use super::clock::{self, Form, Told, Untold, Whereabouts};
use super::expression::{Expression, Scope, issue_at, issue_of};
use super::pack::{Clock, Length, Time};
use super::trace::{Trace, note};
use super::unit::{multiplied, unit_of};
use crate::devices::observation::Effective;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::NodeId;

pub(super) fn effective(
    time: &Time,
    scope: Scope<'_>,
    place: &Whereabouts,
    trace: &mut Trace<'_>,
) -> Result<Effective, Issue> {
    let one = found(time, scope, place)?;
    let effective = one.ok_or_else(|| {
        let text = format!("The time is missing or not complete: {} is expected.", time.expected());
        issue_at(scope, time.place(scope), &text)
    })?;
    note(
        trace,
        "time",
        || time.expected(),
        || match &effective {
            Effective::At(at) => at.clone(),
            Effective::Period { start, end } => format!("{start} to {end}"),
        },
    );
    Ok(effective)
}

fn found(time: &Time, scope: Scope<'_>, place: &Whereabouts) -> Result<Option<Effective>, Issue> {
    let period = |start: Told<'_>, end: Told<'_>, at: &Clock| {
        if start.at > end.at {
            return Err(issue_at(scope, at.time.place(scope), "The end lies before the start."));
        }
        if start.at == end.at {
            return Ok(Some(Effective::At(start.text())));
        }
        Ok(Some(Effective::Period { start: start.text(), end: end.text() }))
    };
    let beyond = |at: &Clock| issue_at(scope, at.time.place(scope), "The duration leads out of the calendar.");
    match time {
        Time::At(at) => Ok(told(at, scope, place)?.map(|told| Effective::At(told.text()))),
        Time::StartEnd(from, to) => match (told(from, scope, place)?, told(to, scope, place)?) {
            (Some(start), Some(end)) => period(start, end, to),
            _ => Ok(None),
        },
        Time::StartLength(from, length) => match (told(from, scope, place)?, lasting(length, scope)?) {
            (Some(start), Some(length)) => {
                let end = start.plus(length).ok_or_else(|| beyond(from))?;
                period(start, end, from)
            }
            _ => Ok(None),
        },
        Time::EndLength(to, length) => match (told(to, scope, place)?, lasting(length, scope)?) {
            (Some(end), Some(length)) => {
                let start = end.plus(-length).ok_or_else(|| beyond(to))?;
                period(start, end, to)
            }
            _ => Ok(None),
        },
        Time::Day(clock) => day(clock, scope, place),
        Time::Either(times) => {
            for time in times {
                if let Some(one) = found(time, scope, place)? {
                    return Ok(Some(one));
                }
            }
            Ok(None)
        }
    }
}

/// A day from midnight to midnight where it was.
fn day(clock: &Clock, scope: Scope<'_>, place: &Whereabouts) -> Result<Option<Effective>, Issue> {
    let Some(text) = clock.time.word(scope)? else { return Ok(None) };
    let unreadable = || issue_at(scope, clock.time.place(scope), "A date is expected.");
    let date = match &clock.form {
        Form::Epoch(_) | Form::Local(_) => {
            let told = told(clock, scope, place)?.ok_or_else(unreadable)?;
            Some(told.offset.to_datetime(told.at).date())
        }
        Form::Pattern(pattern) => {
            jiff::fmt::strtime::parse(pattern, text.as_bytes()).ok().and_then(|parsed| parsed.to_date().ok())
        }
        // A day that comes with a clock time is the day of it.
        Form::Text => text.get(..10).and_then(|date| date.parse::<jiff::civil::Date>().ok()),
    };
    let date = date.ok_or_else(unreadable)?;
    let next = date.tomorrow().map_err(|_| unreadable())?;
    let place = place_of(clock, scope, place)?;
    let midnight =
        |date: jiff::civil::Date| clock::begins(date, &place).map_err(|untold| untold_issue(untold, scope, clock));
    Ok(Some(Effective::Period { start: midnight(date)?.text(), end: midnight(next)?.text() }))
}

fn place_of(clock: &Clock, scope: Scope<'_>, place: &Whereabouts) -> Result<Whereabouts, Issue> {
    let mut place = place.clone();
    if let Some(zone) = &clock.zone
        && let Some(name) = zone.word(scope)?
    {
        let found = clock::zone(&name);
        place.zone = Some(
            found
                .ok_or_else(|| issue_at(scope, zone.place(scope), "A zone is named as the IANA database names it."))?,
        );
    }
    if let Some((offset, unit)) = &clock.offset
        && let Some(text) = offset.word(scope)?
    {
        let found = clock::offset(&text, *unit);
        place.offset =
            Some(found.ok_or_else(|| issue_at(scope, offset.place(scope), "An offset from UTC is expected."))?);
    }
    Ok(place)
}

pub(super) fn told<'s>(clock: &'s Clock, scope: Scope<'s>, place: &Whereabouts) -> Result<Option<Told<'s>>, Issue> {
    let Some(text) = clock.time.word(scope)? else { return Ok(None) };
    let own;
    let place = if clock.offset.is_some() || clock.zone.is_some() {
        own = place_of(clock, scope, place)?;
        &own
    } else {
        place
    };
    let told = clock::read(&clock.form, text, place).map_err(|untold| untold_issue(untold, scope, clock))?;
    let Some((plus, unit)) = &clock.plus else { return Ok(Some(told)) };
    let Some(digits) = plus.word(scope)? else { return Ok(Some(told)) };
    let length = clock::duration(&digits, unit);
    let moved = length.and_then(|length| told.plus(length));
    moved.map(Some).ok_or_else(|| issue_at(scope, plus.place(scope), "A length of time is expected."))
}

fn lasting(length: &Length, scope: Scope<'_>) -> Result<Option<SignedDuration>, Issue> {
    let wrong =
        |at: &Expression| issue_at(scope, at.place(scope), "A length of time is expected, which is not negative.");
    match length {
        Length::Iso(value) => match value.word(scope)? {
            None => Ok(None),
            Some(text) => {
                let parsed: Option<SignedDuration> = text.parse().ok();
                parsed.filter(|length| !length.is_negative()).map(Some).ok_or_else(|| wrong(value))
            }
        },
        Length::Number(value, unit) => match value.word(scope)? {
            None => Ok(None),
            Some(digits) => {
                let unit = unit_of(unit, scope)?;
                let digits = match unit.times {
                    None => Some(digits.into_owned()),
                    Some(factor) => multiplied(&digits, factor),
                };
                let length = digits.and_then(|digits| clock::duration(&digits, &unit.ucum));
                length.map(Some).ok_or_else(|| wrong(value))
            }
        },
    }
}

impl Time {
    /// What a record needs, in the words of the mapping.
    pub(super) fn expected(&self) -> String {
        let mut ways = Vec::new();
        self.ways(&mut ways);
        // What all begin with is said once by the place of the issue.
        let first = ways.first().and_then(|way| way.first()).copied().unwrap_or_default();
        let shared = first.rmatch_indices('.').map(|(at, _)| &first[..=at]);
        // Only names are cut: the beginning of an expression says what the rest of it means.
        let is_name =
            |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
        let names = ways.iter().flatten().all(is_name);
        let shared =
            shared.into_iter().find(|prefix| names && ways.iter().flatten().all(|text| text.starts_with(prefix)));
        let shared = shared.unwrap_or_default().len();
        let ways: Vec<String> =
            ways.iter().map(|way| way.iter().map(|text| &text[shared..]).collect::<Vec<_>>().join(" with ")).collect();
        ways.join(", or ")
    }

    fn ways<'t>(&'t self, into: &mut Vec<Vec<&'t str>>) {
        fn long(length: &Length) -> &str {
            match length {
                Length::Iso(value) | Length::Number(value, _) => value.text(),
            }
        }
        into.push(match self {
            Time::At(clock) | Time::Day(clock) => vec![clock.time.text()],
            Time::StartEnd(start, end) => vec![start.time.text(), end.time.text()],
            Time::StartLength(clock, length) | Time::EndLength(clock, length) => vec![clock.time.text(), long(length)],
            Time::Either(times) => {
                for time in times {
                    time.ways(into);
                }
                return;
            }
        });
    }

    /// The nearest that is there to where a time would be.
    fn place(&self, scope: Scope<'_>) -> NodeId {
        match self {
            Time::At(clock)
            | Time::Day(clock)
            | Time::StartEnd(clock, _)
            | Time::StartLength(clock, _)
            | Time::EndLength(clock, _) => clock.time.place(scope),
            Time::Either(times) => times.iter().map(|time| time.place(scope)).max().unwrap_or(scope.item),
        }
    }
}

fn untold_issue(untold: Untold, scope: Scope<'_>, clock: &Clock) -> Issue {
    let place = clock.time.place(scope);
    match untold {
        Untold::Unreadable => {
            issue_at(scope, place, "A date and time is expected as the mapping says how it is written.")
        }
        Untold::NoOffset => issue_of(
            Id::MeasureNoOffset,
            scope,
            place,
            "The time is local and says no UTC offset; name the zone of the person with the request.",
        ),
        Untold::Skipped => issue_of(
            Id::MeasureNoOffset,
            scope,
            place,
            "There was no such time in the zone: its clocks were put forward over it. A time with its UTC offset says which \
             moment is meant.",
        ),
        Untold::Twice => issue_of(
            Id::MeasureNoOffset,
            scope,
            place,
            "The clocks of the zone went through this time twice, and nothing says which is meant: a time with its UTC \
             offset does.",
        ),
        Untold::Day => issue_at(scope, place, "A date and time is expected, and not a date alone."),
    }
}
