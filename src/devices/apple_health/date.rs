//! Times as the phone writes them, as RFC 3339 has them.
//!
//! `2019-07-19 10:36:11 -0700` keeps its offset. A phone set to twelve hours writes `7:47:41.23 PM`, the space before
//! the letters being a narrow one. What reads differently is left as it is, for whoever expects a time to refuse it.

use std::fmt::Write;

use crate::fhir::tree::time::Moment;

/// Writes a date and time with the offset that it was written with; false if it is none.
pub(super) fn moment(text: &str, out: &mut String) -> bool {
    if is_usual(text.as_bytes()) {
        out.extend([&text[..10], "T", &text[11..19], &text[20..23], ":", &text[23..]]);
        return true;
    }
    let Some((date, rest)) = text.split_once(' ') else { return false };
    let Some(offset_at) = rest.rfind(['+', '-']) else { return false };
    let (time, offset) = rest.split_at(offset_at);
    let digits = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    let offset_fits = digits(&offset[1..], "0000");
    let before = out.len();
    let fits = digits(date, "0000-00-00") && offset_fits && {
        out.push_str(date);
        out.push('T');
        clock(time.trim(), out)
    };
    if fits {
        // Writing into a string does not fail.
        let _ = write!(out, "{}:{}", &offset[..3], &offset[3..]);
    } else {
        out.truncate(before);
    }
    fits
}

/// The moment, in milliseconds since 1970 in UTC.
pub(super) fn instant(text: &str) -> Option<i64> {
    if !text.as_bytes().first()?.is_ascii_digit() || text.len() < "2019-07-19 10:36:11 -0700".len() {
        return None;
    }
    let mut written = [0; 25];
    if is_usual(text.as_bytes()) {
        let text = text.as_bytes();
        for (to, from) in [(0..10, 0..10), (11..19, 11..19), (19..22, 20..23), (23..25, 23..25)] {
            written[to].copy_from_slice(&text[from]);
        }
        (written[10], written[22]) = (b'T', b':');
        let text = std::str::from_utf8(&written).ok()?;
        return Moment::parse(text).map(|moment| moment.interval_ms().0);
    }
    let mut written = String::new();
    moment(text, &mut written).then(|| Moment::parse(&written)).flatten().map(|moment| moment.interval_ms().0)
}

/// The form that nearly all have: ASCII, digits where they belong.
fn is_usual(text: &[u8]) -> bool {
    const SHAPE: &[u8; 25] = b"0000-00-00 00:00:00 +0000";
    text.len() == SHAPE.len()
        && text.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'+' => matches!(byte, b'+' | b'-'),
            other => byte == other,
        })
}

/// Writes a time of day in twenty-four hours; false if it is none.
pub(super) fn clock(text: &str, out: &mut String) -> bool {
    let letters = text.trim_end_matches(|c: char| c.is_alphabetic() || c == '.');
    let half = text[letters.len()..].replace('.', "").to_ascii_lowercase();
    let digits = letters.trim_end();
    let mut parts = digits.splitn(3, ':');
    let (Some(hour), Some(minute), Some(second)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let two = |text: &str, most: u8| {
        let fits = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u8>().ok().filter(|number| fits && *number <= most)
    };
    let (whole, fraction) = second.split_once(['.', ',']).map_or((second, ""), |(whole, part)| (whole, part));
    let (Some(hour), Some(minute), Some(whole)) = (two(hour, 23), two(minute, 59), two(whole, 60)) else {
        return false;
    };
    let hour = match half.as_str() {
        "" => hour,
        "am" if (1..=12).contains(&hour) => hour % 12,
        "pm" if (1..=12).contains(&hour) => hour % 12 + 12,
        _ => return false,
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || second.ends_with(['.', ',']) {
        return false;
    }
    // Writing into a string does not fail.
    let _ = write!(out, "{hour:02}:{minute:02}:{whole:02}");
    if !fraction.is_empty() {
        let _ = write!(out, ".{fraction}");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_offset() {
        let cases = [
            ("2019-07-19 10:36:11 -0700", Some("2019-07-19T10:36:11-07:00")),
            ("2019-07-19 10:36:11 +0545", Some("2019-07-19T10:36:11+05:45")),
            ("2022-12-04 7:12:09\u{202f}AM +0100", Some("2022-12-04T07:12:09+01:00")),
            ("2022-12-04 12:00:00 a.m. +0100", Some("2022-12-04T00:00:00+01:00")),
            ("2022-12-04 12:00:00.5 PM +0100", Some("2022-12-04T12:00:00.5+01:00")),
            ("2019-07-19 10:36:11", None),
            ("2019-07-19", None),
            ("19/07/2019 10:36:11 -0700", None),
            ("2019-07-19 13:36:11 PM -0700", None),
            ("2019-07-19 10:36:11 -07:00", None),
            ("2019-07-19 10:36 -0700", None),
            ("", None),
            ("2019-07-19 \u{e9}", None),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            let fits = moment(text, &mut out);
            assert_eq!((fits, out.as_str()), (expected.is_some(), expected.unwrap_or_default()), "{text}");
        }
    }

    #[test]
    fn one_moment_has_one_number() {
        for (text, expected) in [
            ("1970-01-01 01:00:01 +0100", Some(1000)),
            ("1970-01-01 12:00:01.5\u{202f}AM +0000", Some(1500)),
            ("1970-01-01 00:00:01", None),
            ("1970-13-01 00:00:01 +0100", None),
        ] {
            assert_eq!(instant(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_a_time_of_day() {
        for (text, expected) in
            [("7:47:41.23\u{202f}PM", "19:47:41.23"), ("07:47:41,5", "07:47:41.5"), ("12:00:00 AM", "00:00:00")]
        {
            let mut out = String::new();
            assert!(clock(text, &mut out), "{text}");
            assert_eq!(out, expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[0-9APM:., +\u{202f}é-]{0,32}") {
            let _ = (moment(&text, &mut String::new()), clock(&text, &mut String::new()));
        }
    }
}
