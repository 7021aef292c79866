//! Dates, date-times and times with the precision they were written in (FHIRPath §5.1, §6.1, §6.2).
//!
//! `@2015-02` is less than `@2015-03-01`, but whether it is less than `@2015-02-10` nobody can say, and then the
//! answer is empty. Seconds and their fraction are one precision. A missing offset is never taken for UTC: two
//! date-times of which only one has an offset are ordered where no offset on earth could change the order.
//! Unlike `tree::time::Moment`, which reads FHIR primitives, this reads the literals of the language too.

use std::cmp::Ordering;
use std::fmt;

use jiff::civil;
use jiff::tz::Offset;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TemporalKind {
    Date,
    DateTime,
    Time,
}

/// The smallest component that was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Component {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// Seconds with that many fraction digits.
    Fraction(u8),
}

/// A date, date-time or time of day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Temporal {
    pub kind: TemporalKind,
    /// Components that were not written stand at their minimum; a time of day stands on the first of January 1.
    pub civil: civil::DateTime,
    pub precision: Component,
    pub offset: Option<Offset>,
}

const HOUR_NS: i128 = 3_600_000_000_000;

impl Temporal {
    /// `YYYY[-MM[-DD]]`.
    pub fn date(text: &str) -> Option<Temporal> {
        let (date, precision) = read_date(text)?;
        Some(Temporal { kind: TemporalKind::Date, civil: date.at(0, 0, 0, 0), precision, offset: None })
    }

    /// `YYYY[-MM[-DD[Thh[:mm[:ss[.f]]][offset]]]]`; a `T` may follow a partial date, as in literals.
    pub fn date_time(text: &str) -> Option<Temporal> {
        let kind = TemporalKind::DateTime;
        let Some((date, clock)) = text.split_once('T') else {
            return Temporal::date(text).map(|date| Temporal { kind, ..date });
        };
        let (date, precision) = read_date(date)?;
        if clock.is_empty() {
            return Some(Temporal { kind, civil: date.at(0, 0, 0, 0), precision, offset: None });
        }
        if precision != Component::Day {
            return None;
        }
        let (clock, offset) = split_offset(clock)?;
        let (time, precision) = read_clock(clock)?;
        Some(Temporal { kind, civil: date.to_datetime(time), precision, offset })
    }

    /// `hh[:mm[:ss[.f]]]`.
    pub fn time(text: &str) -> Option<Temporal> {
        let (time, precision) = read_clock(text)?;
        let civil = civil::date(1, 1, 1).to_datetime(time);
        Some(Temporal { kind: TemporalKind::Time, civil, precision, offset: None })
    }

    /// The moment in UTC as a date-time to the millisecond, its date, or its time of day.
    pub fn of_timestamp(now: jiff::Timestamp, kind: TemporalKind) -> Temporal {
        let offset = (kind == TemporalKind::DateTime).then_some(Offset::UTC);
        let now = Offset::UTC.to_datetime(now);
        let (civil, precision) = match kind {
            TemporalKind::Date => (now.date().at(0, 0, 0, 0), Component::Day),
            TemporalKind::DateTime => (now, Component::Fraction(3)),
            TemporalKind::Time => (civil::date(1, 1, 1).to_datetime(now.time()), Component::Fraction(3)),
        };
        Temporal { kind, civil, precision, offset }
    }

    /// A date stands for a date-time of its precision (FHIRPath §5.5, implicit conversion).
    pub fn as_date_time(self) -> Temporal {
        Temporal { kind: TemporalKind::DateTime, ..self }
    }

    /// The date part.
    pub fn as_date(self) -> Temporal {
        let precision = self.precision.min(Component::Day);
        Temporal { kind: TemporalKind::Date, civil: self.civil.date().at(0, 0, 0, 0), precision, offset: None }
    }

    /// Order of the two, or `None` where their precision or a missing offset leaves it open.
    pub fn compare(&self, other: &Temporal) -> Option<Ordering> {
        if (self.kind == TemporalKind::Time) != (other.kind == TemporalKind::Time) {
            return None;
        }
        let clocked = |temporal: &Temporal| temporal.precision > Component::Day;
        let (left, right) = match (self.offset, other.offset) {
            (Some(_), Some(_)) => (self.in_utc(), other.in_utc()),
            (None, None) => (self.civil, other.civil),
            // Only one offset is known and both have a clock: decided where every offset on earth agrees.
            (one, _) if clocked(self) && clocked(other) => {
                let (fixed, local, turned) = if one.is_some() { (self, other, false) } else { (other, self, true) };
                let distance = nanoseconds(fixed.in_utc()) - nanoseconds(local.civil);
                let order = if distance > 12 * HOUR_NS {
                    Ordering::Greater
                } else if distance < -14 * HOUR_NS {
                    Ordering::Less
                } else {
                    return None;
                };
                return Some(if turned { order.reverse() } else { order });
            }
            _ => (self.civil, other.civil),
        };
        compare_components(left, self.precision, right, other.precision)
    }

    /// Whether both were written to the same component; equivalence asks for that (FHIRPath §6.1.2).
    pub fn same_precision(&self, other: &Temporal) -> bool {
        self.precision.min(Component::Second) == other.precision.min(Component::Second)
    }

    /// Count of digits written: `@2014` 4, `@T10:30` 4, a date-time with milliseconds 17 (FHIRPath §5.6.7).
    pub fn digits(&self) -> u8 {
        let digits = self.precision.digits();
        if self.kind == TemporalKind::Time { digits - 8 } else { digits }
    }

    fn in_utc(&self) -> civil::DateTime {
        let shift = self.offset.map_or(0, Offset::seconds);
        self.civil.checked_sub(jiff::SignedDuration::from_secs(i64::from(shift))).unwrap_or(self.civil)
    }
}

impl Component {
    fn digits(self) -> u8 {
        match self {
            Component::Year => 4,
            Component::Month => 6,
            Component::Day => 8,
            Component::Hour => 10,
            Component::Minute => 12,
            Component::Second => 14,
            Component::Fraction(digits) => 14 + digits,
        }
    }

    /// The component that a digit count ends at, counted as in a date-time.
    pub fn of_digits(digits: u8) -> Option<Component> {
        Some(match digits {
            4 => Component::Year,
            6 => Component::Month,
            8 => Component::Day,
            10 => Component::Hour,
            12 => Component::Minute,
            14 => Component::Second,
            15..=17 => Component::Fraction(digits - 14),
            _ => return None,
        })
    }
}

fn compare_components(
    left: civil::DateTime,
    left_precision: Component,
    right: civil::DateTime,
    right_precision: Component,
) -> Option<Ordering> {
    let parts = |at: civil::DateTime| {
        let nanosecond = i64::from(at.second()) * 1_000_000_000 + i64::from(at.subsec_nanosecond());
        let small = [at.year(), at.month().into(), at.day().into(), at.hour().into(), at.minute().into()];
        let [year, month, day, hour, minute] = small.map(i64::from);
        [year, month, day, hour, minute, nanosecond]
    };
    let count = |precision: Component| match precision {
        Component::Year => 1,
        Component::Month => 2,
        Component::Day => 3,
        Component::Hour => 4,
        Component::Minute => 5,
        Component::Second | Component::Fraction(_) => 6,
    };
    let shared = count(left_precision).min(count(right_precision));
    match parts(left)[..shared].cmp(&parts(right)[..shared]) {
        Ordering::Equal if count(left_precision) != count(right_precision) => None,
        order => Some(order),
    }
}

fn nanoseconds(at: civil::DateTime) -> i128 {
    Offset::UTC.to_timestamp(at).map_or(0, jiff::Timestamp::as_nanosecond)
}

fn read_date(text: &str) -> Option<(civil::Date, Component)> {
    let bytes = text.as_bytes();
    let year = number(bytes.get(..4)?)?;
    let (month, day, precision) = match bytes.len() {
        4 => (1, 1, Component::Year),
        7 if bytes[4] == b'-' => (number(&bytes[5..])?, 1, Component::Month),
        10 if bytes[4] == b'-' && bytes[7] == b'-' => (number(&bytes[5..7])?, number(&bytes[8..])?, Component::Day),
        _ => return None,
    };
    if year == 0 {
        return None;
    }
    Some((civil::Date::new(year as i16, month as i8, day as i8).ok()?, precision))
}

fn read_clock(text: &str) -> Option<(civil::Time, Component)> {
    let bytes = text.as_bytes();
    let colon = |at: usize| bytes.get(at).is_none_or(|byte| *byte == b':');
    let two = |at: usize| bytes.get(at..at + 2).and_then(number);
    let (mut minute, mut second, mut nanosecond) = (0, 0, 0);
    let hour = two(0)?;
    let mut precision = Component::Hour;
    if bytes.len() > 2 {
        minute = two(3).filter(|_| colon(2))?;
        precision = Component::Minute;
    }
    if bytes.len() > 5 {
        // A leap second has no place on a civil clock.
        second = two(6).filter(|_| colon(5))?.min(if bytes[6..8] == *b"60" { 59 } else { 60 });
        precision = Component::Second;
    }
    if bytes.len() > 8 {
        let digits = bytes.get(9..).filter(|digits| bytes[8] == b'.' && !digits.is_empty())?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let kept = &digits[..digits.len().min(9)];
        nanosecond = number(kept)? * 10u32.pow(9 - kept.len() as u32);
        precision = Component::Fraction(kept.len() as u8);
    }
    let time = civil::Time::new(hour as i8, minute as i8, second as i8, nanosecond as i32).ok()?;
    Some((time, precision))
}

fn split_offset(clock: &str) -> Option<(&str, Option<Offset>)> {
    if let Some(clock) = clock.strip_suffix('Z') {
        return Some((clock, Some(Offset::UTC)));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, None)) };
    let (clock, text) = clock.split_at(at);
    let bytes = text.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let (hours, minutes) = (number(&bytes[1..3])?, number(&bytes[4..])?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    let offset = Offset::from_seconds(if bytes[0] == b'-' { -seconds } else { seconds }).ok()?;
    Some((clock, Some(offset)))
}

fn number(digits: &[u8]) -> Option<u32> {
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
        .then(|| digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

impl fmt::Display for Temporal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.civil;
        if self.kind != TemporalKind::Time {
            write!(formatter, "{:04}", at.year())?;
            if self.precision >= Component::Month {
                write!(formatter, "-{:02}", at.month())?;
            }
            if self.precision >= Component::Day {
                write!(formatter, "-{:02}", at.day())?;
            }
            if self.precision <= Component::Day {
                return Ok(());
            }
            formatter.write_str("T")?;
        }
        write!(formatter, "{:02}", at.hour())?;
        if self.precision >= Component::Minute {
            write!(formatter, ":{:02}", at.minute())?;
        }
        if self.precision >= Component::Second {
            write!(formatter, ":{:02}", at.second())?;
        }
        if let Component::Fraction(digits) = self.precision {
            let fraction = format!("{:09}", at.subsec_nanosecond());
            write!(formatter, ".{}", &fraction[..usize::from(digits.min(9))])?;
        }
        match self.offset {
            None => Ok(()),
            Some(Offset::UTC) => formatter.write_str("Z"),
            Some(offset) => {
                let (sign, minutes) = (if offset.seconds() < 0 { '-' } else { '+' }, offset.seconds().abs() / 60);
                write!(formatter, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, right: &str, expected: Option<Ordering>) {
        let (left, right) = (Temporal::date_time(left).unwrap(), Temporal::date_time(right).unwrap());
        assert_eq!(left.compare(&right), expected, "{left} : {right}");
        assert_eq!(right.compare(&left), expected.map(Ordering::reverse), "{right} : {left}");
    }

    #[test]
    fn orders_only_what_is_known() {
        check("2018-03", "2018-03-01", None);
        check("2018-03", "2018-04-01", Some(Ordering::Less));
        check("2012-04-15T15:00:00Z", "2012-04-15T10:00:00", None);
        check("2012-04-15T15:00:00Z", "2012-04-13T10:00:00", Some(Ordering::Greater));
        check("2012-04-15T15:00:00+02:00", "2012-04-15T16:00:00+03:00", Some(Ordering::Equal));
        check("2012-04-15T15:30:31", "2012-04-15T15:30:31.0", Some(Ordering::Equal));
    }

    #[test]
    fn prints_what_it_read() {
        for text in ["2015", "2015-02", "2015-02-04T14", "2015-02-04T14:34:28.120+10:00", "2015-02-04T14:34Z"] {
            assert_eq!(Temporal::date_time(text).unwrap().to_string(), text);
        }
        assert_eq!(Temporal::time("14:34:28.1").unwrap().to_string(), "14:34:28.1");
        assert!(Temporal::time("14:3").is_none() && Temporal::date_time("2015-02T10").is_none());
    }
}
