//! Moments as numbers, and back.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::fhir::tree::time::{Moment, Precision};

/// Milliseconds since 1970 in UTC, and seconds east of UTC; none where it is less exact, or more.
pub fn told(text: &str) -> Option<(i64, i32)> {
    let moment = Moment::parse(text)?;
    let offset = moment.offset?.seconds();
    let is_whole = moment.civil.subsec_nanosecond() % 1_000_000 == 0;
    (moment.precision >= Precision::Second && is_whole).then(|| (moment.interval_ms().0, offset))
}

/// Writes a dateTime.
pub(super) fn write(at: i64, offset: i32, out: &mut String) {
    let timestamp = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    let civil = Offset::from_seconds(offset).unwrap_or(Offset::UTC).to_datetime(timestamp);
    // Writing into a string does not fail.
    let _ = write!(out, "{civil}");
    if offset == 0 {
        out.push('Z');
    } else {
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.unsigned_abs() / 60;
        let _ = write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    }
}

/// A dateTime.
pub fn dated(at: i64, offset: i32) -> String {
    let mut out = String::new();
    write(at, offset, &mut out);
    out
}

/// The date of a moment where it was.
pub(super) fn date(at: i64, offset: i32) -> String {
    let timestamp = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::from_seconds(offset).unwrap_or(Offset::UTC).to_datetime(timestamp).date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back() {
        let cases = [
            ("2026-05-04T08:00:00+02:00", Some("2026-05-04T08:00:00+02:00")),
            ("2026-05-04T08:00:00.250-03:30", Some("2026-05-04T08:00:00.25-03:30")),
            ("2026-05-04T08:00:00.000Z", Some("2026-05-04T08:00:00Z")),
            ("2026-05-04T08:00:00+00:00", Some("2026-05-04T08:00:00Z")),
            ("2026-05-04T08:00:00.0001Z", None),
            ("2026-05-04T08:00Z", None),
            ("2026-05-04T08:00:00", None),
            ("2026-05-04", None),
        ];
        for (text, expected) in cases {
            let written = told(text).map(|(at, offset)| {
                let mut out = String::new();
                write(at, offset, &mut out);
                out
            });
            assert_eq!(written.as_deref(), expected, "{text}");
        }
        assert_eq!(date(told("2026-05-04T00:30:00+02:00").unwrap().0, 7200), "2026-05-04");
    }
}
