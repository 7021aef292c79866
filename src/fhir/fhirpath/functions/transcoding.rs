//! `encode`, `decode`, `escape`, `unescape` (FHIRPath §5.6, "Additional String Functions").
//!
//! Base64 is written out here: it is twenty lines, and the crate for it belongs to a higher floor.

use super::{Function, function};
use crate::fhir::fhirpath::evaluate::{Call, Outcome};
use crate::fhir::fhirpath::value::{Collection, Value};

pub(super) static FUNCTIONS: [Function; 4] = [
    function("encode", 1..=1, |call| transcode(call, encode)),
    function("decode", 1..=1, |call| transcode(call, decode)),
    function("escape", 1..=1, |call| transcode(call, escape)),
    function("unescape", 1..=1, |call| transcode(call, unescape)),
];

/// A text in another form; an unknown form and malformed text are empty.
fn transcode<'d>(mut call: Call<'_, 'd>, transcode: fn(&str, &str) -> Option<String>) -> Outcome<'d> {
    let (Some(text), Some(form)) = (call.text()?, call.text_argument(0)?) else { return Ok(Collection::Empty) };
    // No form is longer than six bytes for one.
    call.machine.make(text.len().saturating_mul(6))?;
    Ok(transcode(&text, &form).map(Value::text).into())
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(text: &str, form: &str) -> Option<String> {
    Some(match form {
        "hex" => hex(text.as_bytes()),
        "base64" => base64(text.as_bytes(), STANDARD),
        "urlbase64" => base64(text.as_bytes(), URL_SAFE),
        _ => return None,
    })
}

fn decode(text: &str, form: &str) -> Option<String> {
    let bytes = match form {
        "hex" => unhex(text)?,
        "base64" => unbase64(text, STANDARD)?,
        "urlbase64" => unbase64(text, URL_SAFE)?,
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

/// Bytes as FHIR's `base64Binary` has them.
pub fn to_base64(bytes: &[u8]) -> String {
    base64(bytes, STANDARD)
}

pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    unbase64(text, STANDARD)
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0u32, |group, (at, byte)| group | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = alphabet[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { letter.into() } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str, alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut bits) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = alphabet.iter().position(|candidate| *candidate == letter)?;
        group = group << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().map(|byte| char::from(byte).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

fn escape(text: &str, form: &str) -> Option<String> {
    let mut escaped = String::with_capacity(text.len() + 8);
    match form {
        "html" => {
            for character in text.chars() {
                match character {
                    '<' => escaped.push_str("&lt;"),
                    '>' => escaped.push_str("&gt;"),
                    '&' => escaped.push_str("&amp;"),
                    '"' => escaped.push_str("&quot;"),
                    '\'' => escaped.push_str("&#39;"),
                    other => escaped.push(other),
                }
            }
        }
        "json" => {
            let quoted = serde_json::to_string(text).ok()?;
            escaped.push_str(&quoted[1..quoted.len() - 1]);
        }
        _ => return None,
    }
    Some(escaped)
}

fn unescape(text: &str, form: &str) -> Option<String> {
    match form {
        // `&amp;` last, so that `&amp;lt;` becomes `&lt;`.
        "html" => Some(
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
                .into_iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to)),
        ),
        "json" => unescape_json(text),
        _ => None,
    }
}

/// Quotes may stand unescaped, since the text is no JSON document but the inside of one string.
fn unescape_json(text: &str) -> Option<String> {
    let mut quoted = String::with_capacity(text.len() + 8);
    let mut characters = text.chars();
    quoted.push('"');
    while let Some(character) = characters.next() {
        if character == '"' {
            quoted.push('\\');
        }
        quoted.push(character);
        if character == '\\' {
            quoted.extend(characters.next());
        }
    }
    quoted.push('"');
    serde_json::from_str(&quoted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_round_trips() {
        for text in ["", "a", "ab", "abc", "subjects?_d", "ü€"] {
            for form in ["base64", "urlbase64", "hex"] {
                let encoded = encode(text, form).unwrap();
                assert_eq!(decode(&encoded, form).as_deref(), Some(text), "{form} {encoded}");
            }
        }
        assert_eq!(decode("dGVzdA==", "base64").as_deref(), Some("test"));
        assert_eq!((decode("d*", "base64"), decode("abc", "hex"), encode("a", "rot13")), (None, None, None));
    }
}
