//! Times moved by whole weeks, so that days of the week, times of the day and distances between times stay as they are.
//!
//! A year or a month alone cannot be moved by weeks without saying something else, so that what has no more is not told. By
//! how much somebody's times are moved is not known here.

use jiff::ToSpan;
use jiff::civil::Date;

/// Days of a week.
pub const WEEK: i64 = 7;

/// A date or a moment, so many days later. A time of day stays as it is. None where it cannot be moved.
pub(super) fn moved(text: &str, days: i64) -> Option<String> {
    let is_of_day = text.as_bytes().get(2) == Some(&b':');
    if days == 0 || is_of_day {
        return Some(text.to_owned());
    }
    let (date, rest) = text.split_at_checked(10)?;
    let date: Date = date.parse().ok()?;
    Some(format!("{}{rest}", date.checked_add(days.days()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_week_and_times_of_day_stay() {
        for (text, days, expected) in [
            ("2026-01-15", 7, Some("2026-01-22")),
            ("2026-01-15", -21, Some("2025-12-25")),
            ("2024-02-29T23:59:59.5+01:00", 14, Some("2024-03-14T23:59:59.5+01:00")),
            ("08:30:00", 7, Some("08:30:00")),
            ("2026", 0, Some("2026")),
            ("2026", 7, None),
            ("2026-01", 7, None),
            ("9999-12-31", 7, None),
            ("", 7, None),
        ] {
            assert_eq!(moved(text, days).as_deref(), expected, "{text} {days}");
        }
    }
}
