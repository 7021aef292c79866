//! Which words we speak: media types in and out, as FHIR clients really send them (R4 §3.1.0.1.9).

use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap};

use crate::fhir::outcome::{Id, Issue, Reader};

/// The two wire formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Json,
    Xml,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/fhir+json; charset=utf-8",
            Format::Xml => "application/fhir+xml; charset=utf-8",
        }
    }
}

/// Format of the body that was sent.
pub fn of_body(headers: &HeaderMap) -> Result<Format, Issue> {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return Err(unsupported("The request has a body but no Content-Type."));
    };
    let (media, parameters) = value.split_once(';').unwrap_or((value, ""));
    if let Some(charset) = parameter(parameters, "charset")
        && !charset.eq_ignore_ascii_case("utf-8")
    {
        return Err(unsupported("The charset is not UTF-8."));
    }
    if !is_r4(parameters) {
        return Err(unsupported("The fhirVersion is not 4.0: what is read here is R4."));
    }
    named(media.trim()).ok_or_else(|| unsupported("The Content-Type is not one that is read here."))
}

/// Whether records come one a line.
pub fn is_lines(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media.as_str(), "application/x-ndjson" | "application/ndjson" | "application/fhir+ndjson")
}

/// Format of the answer: `_format` wins over `Accept`, and no wish means JSON.
pub fn of_answer(headers: &HeaderMap, format: Option<&str>) -> Result<Format, Issue> {
    if let Some(format) = format {
        return match format {
            "json" => Ok(Format::Json),
            "xml" => Ok(Format::Xml),
            media => {
                let (media, parameters) = media.split_once(';').unwrap_or((media, ""));
                // A '+' in a query means a space once decoded; both spellings are meant alike.
                let format = named(&media.trim().replace(' ', "+"));
                format.filter(|_| is_r4(parameters)).ok_or_else(not_acceptable)
            }
        };
    }
    let mut wishes: Vec<(u32, Format)> = Vec::new();
    let mut any = false;
    for value in headers.get_all(ACCEPT) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let (media, parameters) = item.split_once(';').unwrap_or((item, ""));
            let quality = parameter(parameters, "q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
            any |= !media.trim().is_empty();
            if quality > 0.0
                && is_r4(parameters)
                && let Some(format) = accepted(media.trim())
            {
                wishes.push(((quality * 1000.0) as u32, format));
            }
        }
    }
    if !any {
        return Ok(Format::Json);
    }
    // Stable: of equal wishes the first named wins.
    wishes.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    wishes.first().map(|(_, format)| *format).ok_or_else(not_acceptable)
}

/// Whether plain JSON is asked for by name, before FHIR's: what is no resource can then be said in fewer words.
pub fn wants_receipts(headers: &HeaderMap) -> bool {
    let mut best: Option<(u32, bool)> = None;
    for value in headers.get_all(ACCEPT) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let (media, parameters) = item.split_once(';').unwrap_or((item, ""));
            let quality = parameter(parameters, "q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
            let quality = (quality * 1000.0) as u32;
            // Of equal wishes the first named wins.
            if best.is_none_or(|(known, _)| quality > known) {
                best = Some((quality, media.trim().eq_ignore_ascii_case("application/json")));
            }
        }
    }
    best.is_some_and(|(quality, plain)| plain && quality > 0)
}

/// Whom an answer's issues are for: they lead to this gateway's own guide, in the words of the format that was sent.
pub fn reader<'p>(pages: &'p str, headers: &HeaderMap) -> Reader<'p> {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Reader { pages, is_xml: sent.split(';').next().is_some_and(|media| media.trim_end().ends_with("xml")) }
}

/// Whether the answer may be compressed.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().any(|value| {
        value.to_str().unwrap_or_default().split(',').any(|item| {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            matches!(coding.trim(), "gzip" | "x-gzip")
                && parameter(parameters, "q").and_then(|q| q.parse::<f32>().ok()) != Some(0.0)
        })
    })
}

fn named(media: &str) -> Option<Format> {
    let media = media.to_ascii_lowercase();
    match media.as_str() {
        "application/fhir+json" | "application/json" | "application/json+fhir" | "text/json" => Some(Format::Json),
        "application/fhir+xml" | "application/xml" | "application/xml+fhir" | "text/xml" => Some(Format::Xml),
        _ => None,
    }
}

fn accepted(media: &str) -> Option<Format> {
    match media {
        "*/*" | "application/*" | "text/*" | "text/html" => Some(Format::Json),
        media => named(media),
    }
}

/// Whether the version of FHIR is ours, where one is named (R4 §3.1.0.1.12).
fn is_r4(parameters: &str) -> bool {
    parameter(parameters, "fhirVersion").is_none_or(|version| version == "4.0" || version.starts_with("4.0."))
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

fn unsupported(text: &str) -> Issue {
    Issue::new(Id::MediaTypeUnsupported, "", text)
}

fn not_acceptable() -> Issue {
    Issue::new(Id::NotAcceptable, "", "None of the accepted media types is written here, in FHIR 4.0.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(accept: &str, format: Option<&str>) -> Option<Format> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        of_answer(&headers, format).ok()
    }

    #[test]
    fn receipts_are_asked_for_by_name() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            wants_receipts(&headers)
        };
        for accept in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json, */*",
            "*/*;q=0.1, application/json",
        ] {
            assert!(wants(accept), "{accept}");
        }
        for accept in
            ["*/*", "application/fhir+json", "application/fhir+json, application/json", "application/json;q=0", ""]
        {
            assert!(!wants(accept), "{accept}");
        }
        assert!(!wants_receipts(&HeaderMap::new()));
    }

    #[test]
    fn answers_as_clients_ask() {
        let json = Some(Format::Json);
        let xml = Some(Format::Xml);
        assert_eq!(answer("", None), json);
        assert_eq!(answer("*/*", None), json);
        assert_eq!(answer("application/fhir+json", None), json);
        assert_eq!(answer("application/json;charset=utf-8", None), json);
        assert_eq!(answer("application/fhir+xml", None), xml);
        assert_eq!(answer("application/fhir+json;q=0.5, application/fhir+xml", None), xml);
        assert_eq!(answer("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None), json);
        assert_eq!(answer("image/png", None), None);
        assert_eq!(answer("application/fhir+json; fhirVersion=4.0", None), json);
        assert_eq!(answer("application/fhir+json; fhirVersion=3.0", None), None);
        assert_eq!(answer("application/fhir+json; fhirVersion=5.0, application/fhir+xml", None), xml);
        assert_eq!(answer("", Some("application/fhir+xml; fhirVersion=4.0")), xml);
        assert_eq!(answer("", Some("application/fhir+xml; fhirVersion=5.0")), None);
        assert_eq!(answer("application/fhir+xml", Some("json")), json);
        assert_eq!(answer("", Some("application/fhir xml")), xml);
        assert_eq!(answer("", Some("turtle")), None);
    }

    #[test]
    fn bodies_are_utf_8_json_or_xml() {
        let body = |content_type: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            of_body(&headers).ok()
        };
        assert_eq!(body("application/fhir+json; charset=UTF-8"), Some(Format::Json));
        assert_eq!(body("application/fhir+json; fhirVersion=4.0.1"), Some(Format::Json));
        assert_eq!(body("application/fhir+json; fhirVersion=3.0"), None);
        assert_eq!(body("application/json"), Some(Format::Json));
        assert_eq!(body("application/fhir+json; charset=iso-8859-1"), None);
        assert_eq!(body("application/x-www-form-urlencoded"), None);
        assert_eq!(body("text/xml"), Some(Format::Xml));
    }
}
