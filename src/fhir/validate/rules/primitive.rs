//! Formats of the primitive types (R4 §2.24.0.1), checked byte by byte.
//!
//! Own checkers and not the standard's regular expressions: they are several times faster, they know the
//! calendar, and they say what is expected instead of printing a pattern.

use crate::fhir::tree::Kind;
use crate::fhir::tree::time::{Moment, Precision};

/// A primitive type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Primitive {
    Base64Binary,
    Boolean,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Uuid,
    Xhtml,
}

/// Whether there is nothing to see: such a text is advised against, since XML may take it for none (R4 §2.24.0.1).
pub fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte <= b' ')
}

/// Longest string (R4 §2.24.0.1: 1 MB).
const MAX_STRING: usize = 1 << 20;

impl Primitive {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "base64Binary" => Primitive::Base64Binary,
            "boolean" => Primitive::Boolean,
            "code" => Primitive::Code,
            "date" => Primitive::Date,
            "dateTime" => Primitive::DateTime,
            "decimal" => Primitive::Decimal,
            "id" => Primitive::Id,
            "instant" => Primitive::Instant,
            "integer" => Primitive::Integer,
            "markdown" | "string" => Primitive::String,
            "oid" => Primitive::Oid,
            "positiveInt" => Primitive::PositiveInt,
            "time" => Primitive::Time,
            "unsignedInt" => Primitive::UnsignedInt,
            "canonical" | "uri" | "url" => Primitive::Uri,
            "uuid" => Primitive::Uuid,
            "xhtml" => Primitive::Xhtml,
            _ => return None,
        })
    }

    /// The JSON form that the type takes (R4 §2.6.2.2).
    pub fn json(self) -> &'static str {
        match self {
            Primitive::Boolean => "true or false",
            Primitive::Decimal | Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt => "a number",
            _ => "a string",
        }
    }

    pub fn takes(self, kind: Kind) -> bool {
        match self {
            Primitive::Boolean => matches!(kind, Kind::True | Kind::False),
            Primitive::Decimal | Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt => {
                kind == Kind::Number
            }
            _ => kind == Kind::String,
        }
    }

    /// What the text should be, where it is not.
    pub fn expects(self, text: &str) -> Option<&'static str> {
        let (good, expected) = match self {
            Primitive::Boolean => (true, ""),
            Primitive::Decimal => (decimal(text), "a decimal of at most 28 digits"),
            Primitive::Integer => (integer(text, i64::from(i32::MIN)), "a whole number of 32 bits"),
            Primitive::UnsignedInt => (integer(text, 0), "a whole number from 0 to 2147483647"),
            Primitive::PositiveInt => (integer(text, 1), "a whole number from 1 to 2147483647"),
            Primitive::String => (string(text), "text of at most 1 MB without control characters"),
            Primitive::Xhtml => (!text.is_empty(), "an XHTML <div>"),
            Primitive::Uri => (uri(text), "a URI without spaces; a urn:uuid: or urn:oid: well-formed"),
            Primitive::Code => (code(text), "a code without leading, trailing or double spaces"),
            Primitive::Id => (id(text), "1 to 64 letters, digits, '-' and '.'"),
            Primitive::Oid => (oid(text), "an OID as urn:oid:1.2.3"),
            Primitive::Uuid => (uuid(text), "a UUID as urn:uuid: with lower-case digits"),
            Primitive::Base64Binary => (base64(text), "base64 in groups of four characters"),
            Primitive::Date => (date(text), "a real date as YYYY, YYYY-MM or YYYY-MM-DD"),
            Primitive::DateTime => {
                (date_time(text), "a real date as YYYY, YYYY-MM or YYYY-MM-DD, or with time, seconds and UTC offset")
            }
            Primitive::Instant => (instant(text), "a real date with time, seconds and UTC offset"),
            Primitive::Time => (time(text), "a time as hh:mm:ss"),
        };
        (!good).then_some(expected)
    }
}

fn decimal(text: &str) -> bool {
    // JSON's grammar has been checked already; what is left is a bound that every reader shares.
    text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).filter(u8::is_ascii_digit).count() <= 28
}

fn integer(text: &str, least: i64) -> bool {
    text != "-0" && text.parse::<i64>().is_ok_and(|value| (least..=i64::from(i32::MAX)).contains(&value))
}

fn string(text: &str) -> bool {
    text.len() <= MAX_STRING && every(text, |byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
}

fn uri(text: &str) -> bool {
    // Readers of URIs take UUIDs in either case (RFC 9562 §4); phones write capitals. The type uuid is stricter.
    if text.starts_with("urn:uuid:") {
        return uuid(&text.to_ascii_lowercase());
    }
    if text.starts_with("urn:oid:") {
        return oid(text);
    }
    !text.is_empty() && every(text, |byte| byte > b' ')
}

/// Whether all bytes pass, asked a piece at a time, which a processor does at once.
fn every(text: &str, passes: impl Fn(u8) -> bool) -> bool {
    text.as_bytes().chunks(32).all(|piece| piece.iter().fold(true, |all, byte| all & passes(*byte)))
}

fn code(text: &str) -> bool {
    let mut before = b' ';
    for byte in text.bytes() {
        if byte < b' ' || (byte == b' ' && before == b' ') {
            return false;
        }
        before = byte;
    }
    before != b' '
}

fn id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

fn oid(text: &str) -> bool {
    let Some(arcs) = text.strip_prefix("urn:oid:") else { return false };
    let mut arcs = arcs.split('.');
    let first = arcs.next().is_some_and(|arc| matches!(arc, "0" | "1" | "2"));
    let mut count = 0;
    let rest = arcs.all(|arc| {
        count += 1;
        arc == "0" || (!arc.is_empty() && !arc.starts_with('0') && arc.bytes().all(|byte| byte.is_ascii_digit()))
    });
    first && rest && count > 0
}

fn uuid(text: &str) -> bool {
    let Some(digits) = text.strip_prefix("urn:uuid:") else { return false };
    digits.len() == 36
        && digits.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

fn base64(text: &str) -> bool {
    let mut count = 0;
    let mut padding = 0;
    for byte in text.bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'=' => padding += 1,
            _ if padding > 0 => return false,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'/' => {}
            _ => return false,
        }
        count += 1;
    }
    count > 0 && count % 4 == 0 && padding <= 2
}

fn date(text: &str) -> bool {
    text.len() <= 10 && Moment::parse(text).is_some_and(|moment| moment.precision <= Precision::Day)
}

fn date_time(text: &str) -> bool {
    Moment::parse(text).is_some_and(|moment| {
        moment.precision <= Precision::Day || (moment.precision >= Precision::Second && moment.has_offset())
    })
}

fn instant(text: &str) -> bool {
    Moment::parse(text).is_some_and(|moment| moment.precision >= Precision::Second && moment.has_offset())
}

fn time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pair = |at: usize, most: u8| {
        bytes.get(at..at + 2).is_some_and(|digits| {
            digits.iter().all(u8::is_ascii_digit) && (digits[0] - b'0') * 10 + digits[1] - b'0' <= most
        })
    };
    let colons = bytes.get(2) == Some(&b':') && bytes.get(5) == Some(&b':');
    let fraction = match bytes.get(8) {
        None => true,
        Some(b'.') => bytes.len() > 9 && bytes[9..].iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    colons && pair(0, 23) && pair(3, 59) && pair(6, 60) && fraction
}

#[cfg(test)]
mod suite;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(primitive: Primitive, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(primitive.expects(text), None, "{primitive:?} {text:?}");
        }
        for text in bad {
            assert!(primitive.expects(text).is_some(), "{primitive:?} {text:?}");
        }
    }

    #[test]
    fn formats() {
        check(Primitive::Date, &["2026", "2026-02", "2024-02-29"], &["2026-02-30", "01/03/2026", "2026-2", "20260101"]);
        check(
            Primitive::DateTime,
            &["2026", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.123+02:00"],
            &["2026-01-01T10:00Z", "2026-01-01T10:00:00", "2026-01-01T24:00:00Z", "yesterday"],
        );
        check(Primitive::Instant, &["2026-01-01T10:00:00Z"], &["2026-01-01", "2026-01-01T10:00:00"]);
        check(
            Primitive::Time,
            &["10:00:00", "23:59:60.5"],
            &["10:00", "24:00:00", "10:00:00Z", "1a:00:00", "é0:00:00"],
        );
        check(Primitive::Id, &["a-1.B"], &["", "a_b", "a b", &"x".repeat(65)]);
        check(Primitive::Oid, &["urn:oid:1.2.840"], &["1.2.3", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.02"]);
        check(
            Primitive::Uuid,
            &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
            &["urn:uuid:C757873D-ec9a-4326-a141-556f43239520", "c757873d-ec9a-4326-a141-556f43239520"],
        );
        check(Primitive::Code, &["a", "a b"], &["", " a", "a ", "a  b", "a\tb"]);
        check(Primitive::Uri, &["http://a", "relative"], &["", "a b", "urn:uuid:1", "urn:oid:x"]);
        check(Primitive::String, &["a", " a\n", "  "], &["a\u{1}"]);
        check(Primitive::Base64Binary, &["YWI=", "YW Jj\nYWJj"], &["", "YWI", "Y=Ib", "YW*="]);
        check(Primitive::Integer, &["0", "-5"], &["1.0", "2147483648", "1e3"]);
        check(Primitive::PositiveInt, &["1"], &["0", "-1"]);
        check(Primitive::UnsignedInt, &["0"], &["-1"]);
        check(Primitive::Decimal, &["1.50", "-1e5"], &["1.00000000000000000000000000000000"]);
    }
}
