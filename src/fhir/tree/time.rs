//! FHIR dates and times as the intervals they mean (R4 §2.24.0.1, §3.1.1.4.2).
//!
//! `2026-03` is not a point: it is the whole month. A [`Moment`] keeps the precision that was written and gives
//! the half-open interval of milliseconds that it covers. Where no offset was written the interval is widened
//! by the largest offsets on earth, because a local time is never taken for UTC.

use jiff::civil;
use jiff::tz::{Offset, TimeZone};

/// How precisely a moment was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Precision {
    Year,
    Month,
    Day,
    Minute,
    Second,
    Fraction,
}

/// A `date`, `dateTime` or `instant`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    pub civil: civil::DateTime,
    pub offset: Option<Offset>,
    pub precision: Precision,
    /// Length of the smallest written fraction, in milliseconds (1 at least); 0 above seconds.
    fraction_ms: i64,
}

const HOUR_MS: i64 = 3_600_000;

impl Moment {
    /// Reads `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, or `YYYY-MM-DDThh:mm[:ss[.fff]][Z|±hh:mm]`.
    ///
    /// More lenient than the primitive types: minutes without seconds and times without offset parse, as search
    /// values may be written so; whether an element may is a matter of its type.
    pub fn parse(text: &str) -> Option<Moment> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let (date, precision) = parse_date(date)?;
        let Some(time) = time else {
            return Some(Moment { civil: date.at(0, 0, 0, 0), offset: None, precision, fraction_ms: 0 });
        };
        if precision != Precision::Day {
            return None;
        }
        let (clock, offset) = split_offset(time)?;
        let (clock, precision, fraction_ms) = parse_clock(clock)?;
        Some(Moment { civil: date.to_datetime(clock), offset, precision, fraction_ms })
    }

    /// First millisecond covered and first one no longer covered, since 1970 in UTC.
    pub fn interval_ms(&self) -> (i64, i64) {
        let start = epoch_ms(self.civil);
        let (year, month) = (i64::from(self.civil.year()), i64::from(self.civil.month()));
        let end = match self.precision {
            Precision::Year => days(year + 1, 1, 1) * 24 * HOUR_MS,
            Precision::Month if month == 12 => days(year + 1, 1, 1) * 24 * HOUR_MS,
            Precision::Month => days(year, month + 1, 1) * 24 * HOUR_MS,
            Precision::Day => start + 24 * HOUR_MS,
            Precision::Minute => start + 60_000,
            Precision::Second => start + 1000,
            Precision::Fraction => start + self.fraction_ms.max(1),
        };
        match self.offset {
            Some(offset) => {
                let shift = i64::from(offset.seconds()) * 1000;
                (start - shift, end - shift)
            }
            None => (start - 14 * HOUR_MS, end + 12 * HOUR_MS),
        }
    }

    /// The interval as if a missing offset were UTC, which is how R4 servers read search values.
    pub fn interval_assuming_utc_ms(&self) -> (i64, i64) {
        let assumed = Moment { offset: Some(self.offset.unwrap_or(Offset::UTC)), ..*self };
        assumed.interval_ms()
    }

    /// Nanoseconds since 1970 in UTC at which it begins; none of a local time.
    pub fn begins_ns(&self) -> Option<i128> {
        Some(self.offset?.to_timestamp(self.civil).ok()?.as_nanosecond())
    }

    pub fn has_offset(&self) -> bool {
        self.offset.is_some()
    }
}

fn parse_date(text: &str) -> Option<(civil::Date, Precision)> {
    let bytes = text.as_bytes();
    let year = number(bytes.get(..4)?)?;
    let (month, day, precision) = match bytes.len() {
        4 => (1, 1, Precision::Year),
        7 if bytes[4] == b'-' => (number(&bytes[5..])?, 1, Precision::Month),
        10 if bytes[4] == b'-' && bytes[7] == b'-' => (number(&bytes[5..7])?, number(&bytes[8..])?, Precision::Day),
        _ => return None,
    };
    if year == 0 {
        return None;
    }
    let date = civil::Date::new(year as i16, month as i8, day as i8).ok()?;
    Some((date, precision))
}

fn split_offset(time: &str) -> Option<(&str, Option<Offset>)> {
    if let Some(clock) = time.strip_suffix('Z') {
        return Some((clock, Some(Offset::UTC)));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, None)) };
    let (clock, text) = time.split_at(at);
    let bytes = text.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let (hours, minutes) = (number(&bytes[1..3])?, number(&bytes[4..])?);
    if hours > 14 || minutes > 59 || (hours == 14 && minutes > 0) {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    let offset = Offset::from_seconds(if bytes[0] == b'-' { -seconds } else { seconds }).ok()?;
    Some((clock, Some(offset)))
}

/// A time of day; second 60 is read as 59, since a leap second has no place on a civil clock.
fn parse_clock(text: &str) -> Option<(civil::Time, Precision, i64)> {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || bytes[2] != b':' {
        return None;
    }
    let (hour, minute) = (number(&bytes[..2])?, number(&bytes[3..5])?);
    let mut second = 0;
    let mut nanosecond = 0;
    let mut precision = Precision::Minute;
    let mut fraction_ms = 0;
    if bytes.len() > 5 {
        if bytes.len() < 8 || bytes[5] != b':' {
            return None;
        }
        second = number(&bytes[6..8])?;
        if second == 60 {
            second = 59;
        }
        precision = Precision::Second;
        if bytes.len() > 8 {
            if bytes[8] != b'.' || bytes.len() == 9 {
                return None;
            }
            let digits = &bytes[9..];
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let kept = &digits[..digits.len().min(9)];
            nanosecond = number(kept)? * 10u32.pow(9 - kept.len() as u32);
            precision = Precision::Fraction;
            fraction_ms = match digits.len() {
                1 => 100,
                2 => 10,
                _ => 1,
            };
        }
    }
    let time = civil::Time::new(hour as i8, minute as i8, second as i8, nanosecond as i32).ok()?;
    Some((time, precision, fraction_ms))
}

fn number(digits: &[u8]) -> Option<u32> {
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
        .then(|| digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

/// Of every year that FHIR can write, the last hours of 9999 included, which are no timestamps any more.
fn epoch_ms(civil: civil::DateTime) -> i64 {
    let day = days(i64::from(civil.year()), i64::from(civil.month()), i64::from(civil.day()));
    let seconds = i64::from(civil.hour()) * 3600 + i64::from(civil.minute()) * 60 + i64::from(civil.second());
    day * 24 * HOUR_MS + seconds * 1000 + i64::from(civil.subsec_nanosecond()) / 1_000_000
}

/// Days from 1970 to a day of the Gregorian calendar, counted in eras of 400 years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A FHIR instant in UTC with milliseconds.
pub fn instant(ms: i64) -> String {
    let timestamp = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The day that a moment falls on in a zone of the IANA database; a day without an hour is what it is.
pub fn day_in(moment: &str, zone: &str) -> Option<String> {
    let zone = TimeZone::get(zone).ok()?;
    if moment.len() == 10 {
        return Some(moment.to_owned());
    }
    Some(moment.parse::<jiff::Timestamp>().ok()?.to_zoned(zone).date().to_string())
}

/// Whether the IANA database has a zone of that name.
pub fn is_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

/// Days since 1970 in UTC, as storage partitions count them.
pub fn day_number(ms: i64) -> u16 {
    ms.div_euclid(24 * HOUR_MS).clamp(0, i64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(text: &str) -> Option<(String, String)> {
        Moment::parse(text)
            .map(|moment| moment.interval_assuming_utc_ms())
            .map(|(start, end)| (instant(start), instant(end)))
    }

    #[test]
    fn covers_what_was_written() {
        let cases = [
            ("2026", "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2024-02", "2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
            ("2026-11-21", "2026-11-21T00:00:00.000Z", "2026-11-22T00:00:00.000Z"),
            ("2026-11-21T10:30", "2026-11-21T10:30:00.000Z", "2026-11-21T10:31:00.000Z"),
            ("2026-11-21T10:30:05+02:00", "2026-11-21T08:30:05.000Z", "2026-11-21T08:30:06.000Z"),
            ("0001", "0001-01-01T00:00:00.000Z", "0002-01-01T00:00:00.000Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z", "1969-12-31T23:59:59.600Z"),
            ("2000-02-29", "2000-02-29T00:00:00.000Z", "2000-03-01T00:00:00.000Z"),
            ("2026-11-21T10:30:05.25Z", "2026-11-21T10:30:05.250Z", "2026-11-21T10:30:05.260Z"),
        ];
        for (text, start, end) in cases {
            assert_eq!(interval(text), Some((start.to_owned(), end.to_owned())), "{text}");
        }
    }

    /// Such is how "for ever" is written.
    #[test]
    fn the_last_day_has_an_end() {
        let last = 253_402_300_800_000;
        for text in
            ["9999", "9999-12", "9999-12-31", "9999-12-31T23:59Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"]
        {
            let (start, end) = Moment::parse(text).unwrap().interval_ms();
            assert!(start < end && start > 253_370_000_000_000, "{text}");
            assert!(text.ends_with('Z') && end == last || end == last + 12 * HOUR_MS, "{text}: {end}");
        }
        let (start, end) = Moment::parse("9999-12-31T23:59:59-14:00").unwrap().interval_ms();
        assert_eq!((start, end), (last + 14 * HOUR_MS - 1000, last + 14 * HOUR_MS));
    }

    proptest::proptest! {
        #[test]
        fn days_are_those_of_the_calendar(day in -719_162_i64..2_932_000) {
            let timestamp = jiff::Timestamp::from_second(day * 86_400).unwrap();
            let civil = Offset::UTC.to_datetime(timestamp);
            proptest::prop_assert_eq!(epoch_ms(civil), day * 24 * HOUR_MS);
        }
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "26",
            "2026-13",
            "2026-02-30",
            "2026-2-3",
            "01/03/2026",
            "2026-01-01T",
            "2026-01-01T25:00:00Z",
            "2026-01-01T10:00:00+15:00",
            "2026-01-01T10:00:00.Z",
            "0000",
            "2026-01T10:00:00Z",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_local_time_covers_every_offset() {
        let (start, end) = Moment::parse("2026-01-01T12:00:00").unwrap().interval_ms();
        assert_eq!(
            (instant(start), instant(end)),
            ("2025-12-31T22:00:00.000Z".into(), "2026-01-02T00:00:01.000Z".into())
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[0-9TZ:.+-]{0,32}") {
            let _ = Moment::parse(&text).map(|moment| moment.interval_ms());
        }
    }
}
