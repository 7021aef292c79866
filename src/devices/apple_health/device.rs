//! `<<HKDevice: 0x282a45810>, name:Apple Watch, manufacturer:Apple, model:Watch, hardware:Watch2,4, software:4.3.1>`
//! taken apart.
//!
//! A value may hold commas, so a field ends where the next known one begins. The address in memory differs from export
//! to export and says nothing.

use crate::fhir::tree::write;

/// Names as the phone writes them, and ours for them.
const FIELDS: [(&str, &str); 9] = [
    ("name", "name"),
    ("manufacturer", "manufacturer"),
    ("model", "model"),
    ("hardware", "hardware"),
    ("firmware", "firmware"),
    ("software", "software"),
    ("localIdentifier", "localIdentifier"),
    ("UDIDeviceIdentifier", "udi"),
    ("creation date", ""),
];

/// Writes the device as a JSON object; one whose text has another form keeps it as its name.
pub(super) fn write(text: &str, out: &mut String) {
    out.push('{');
    let before = out.len();
    let described = text.strip_prefix("<<HKDevice: ").and_then(|rest| rest.split_once('>'));
    match described {
        Some((_, rest)) => fields(rest.strip_suffix('>').unwrap_or(rest), out),
        None => member("name", text, out),
    }
    if out.len() > before {
        // Each member ends in a comma.
        out.pop();
    }
    out.push('}');
}

fn fields(text: &str, out: &mut String) {
    let mut rest = text;
    let mut seen = [false; FIELDS.len()];
    let mut open: Option<&str> = None;
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = rest[at..].find(", ") {
        let start = at + found;
        let next = &rest[start + 2..];
        let known =
            FIELDS.iter().position(|(name, _)| next.strip_prefix(name).is_some_and(|next| next.starts_with(':')));
        let Some(known) = known.filter(|known| !seen[*known]) else {
            at = start + 2;
            continue;
        };
        if let Some(name) = open {
            member(name, &rest[from..start], out);
        }
        seen[known] = true;
        open = Some(FIELDS[known].1);
        rest = &next[FIELDS[known].0.len() + 1..];
        (from, at) = (0, 0);
    }
    if let Some(name) = open {
        member(name, &rest[from..], out);
    }
}

fn member(name: &str, value: &str, out: &mut String) {
    let value = value.trim();
    if !name.is_empty() && !value.is_empty() {
        out.extend(["\"", name, "\":"]);
        write::string(value, out);
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_it_apart() {
        let cases = [
            (
                "<<HKDevice: 0x282a45810>, name:Apple Watch, manufacturer:Apple, model:Watch, hardware:Watch2,4, software:4.3.1>",
                r#"{"name":"Apple Watch","manufacturer":"Apple","model":"Watch","hardware":"Watch2,4","software":"4.3.1"}"#,
            ),
            (
                "<<HKDevice: 0x1>, name:A, B, model:M, creation date:2023-01-01 00:00:00 +0000>",
                r#"{"name":"A, B","model":"M"}"#,
            ),
            ("<<HKDevice: 0x1>>", "{}"),
            ("Scale", r#"{"name":"Scale"}"#),
            ("", "{}"),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            write(text, &mut out);
            assert_eq!(out, expected, "{text}");
        }
    }
}
