//! An answer to a verdict. Pure.
//!
//! The question is only what is known afterwards. Acknowledged needs a complete answer that says so; refused
//! means that the same bytes would be refused again; everything else is a retry, which costs nothing because
//! delivery is idempotent. Reasons carry statuses and issue codes, never foreign text.

use jiff::Timestamp;
use serde_json::Value;

use super::send::Answer;
use crate::peers::Verdict;

/// Longest wait that a destination may ask for.
const MAX_RETRY_AFTER_MS: i64 = 3_600_000;

/// `entries` is how many entries the transaction had, if it was one.
pub(super) fn verdict(answer: &Answer, entries: Option<usize>, now: Timestamp) -> Verdict {
    match (answer.status, entries) {
        (200, Some(entries)) => transaction(answer, entries),
        (200 | 201 | 204, None) => acknowledgement(&answer.body, answer.status),
        (status, _) => refusal(status, &codes(&json(&answer.body)), retry_after(answer, now)),
    }
}

/// Of a deletion. What is not there need not be deleted, and a server that says 202 was told, whatever it makes of it
/// (FHIR R4 §3.1.0.7).
pub(super) fn deletion(answer: &Answer, now: Timestamp) -> Verdict {
    match answer.status {
        202 | 404 | 410 => Verdict::Acknowledged,
        _ => verdict(answer, None, now),
    }
}

pub(super) fn status_of(entry: &Value) -> u16 {
    let status = entry["response"]["status"].as_str().unwrap_or_default();
    status.split(' ').next().unwrap_or_default().parse().unwrap_or_default()
}

/// A proxy or a login page also says 200: an acknowledgement has no body or a FHIR body.
pub(super) fn acknowledgement(body: &[u8], status: u16) -> Verdict {
    if body.trim_ascii().is_empty() {
        return Verdict::Acknowledged;
    }
    let body = json(body);
    if !body["resourceType"].is_string() {
        return retry(None, format!("HTTP {status} with a body that is not FHIR; something else may have answered"));
    }
    let failed = body["resourceType"] == "OperationOutcome" && has_errors(&body);
    if failed {
        return Verdict::Rejected { reason: reason(status, &codes(&body)) };
    }
    Verdict::Acknowledged
}

fn transaction(answer: &Answer, entries: usize) -> Verdict {
    let body = json(&answer.body);
    let answered = body["entry"].as_array().map_or(&[][..], Vec::as_slice);
    if body["resourceType"] != "Bundle" || answered.len() != entries {
        return retry(None, "HTTP 200 without an answer for every entry of the transaction".to_owned());
    }
    let mut rejected = None;
    for entry in answered {
        let status = status_of(entry);
        if matches!(status, 200 | 201 | 204) {
            continue;
        }
        match refusal(status, &codes(&entry["response"]["outcome"]), None) {
            Verdict::Rejected { reason } => {
                rejected.get_or_insert(Verdict::Rejected { reason });
            }
            other => return other,
        }
    }
    rejected.unwrap_or(Verdict::Acknowledged)
}

/// Anything but success.
pub(super) fn refusal(status: u16, codes: &[String], after_ms: Option<i64>) -> Verdict {
    match status {
        300..=399 => retry(None, format!("HTTP {status}: the destination redirects, and redirects are not followed")),
        401 | 403 => retry(after_ms, reason(status, codes)),
        408 | 425 | 429 => retry(after_ms, reason(status, codes)),
        400..=499 => Verdict::Rejected { reason: reason(status, codes) },
        500..=599 => retry(after_ms, reason(status, codes)),
        _ => retry(after_ms, format!("HTTP {status} is no acknowledgement")),
    }
}

pub(super) fn retry(after_ms: Option<i64>, reason: String) -> Verdict {
    Verdict::Retry { after_ms, reason }
}

fn reason(status: u16, codes: &[String]) -> String {
    if codes.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {}", codes.join(", ")) }
}

pub(super) fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

fn has_errors(outcome: &Value) -> bool {
    let issues = outcome["issue"].as_array().map_or(&[][..], Vec::as_slice);
    issues.iter().any(|issue| matches!(issue["severity"].as_str(), Some("error" | "fatal")))
}

/// The issue types of an OperationOutcome, and the codes of its details where they look like codes.
pub(super) fn codes(outcome: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    if outcome["resourceType"] != "OperationOutcome" {
        return found;
    }
    for issue in outcome["issue"].as_array().into_iter().flatten().take(8) {
        let detail = &issue["details"]["coding"][0]["code"];
        for code in [&issue["code"], detail].into_iter().filter_map(Value::as_str).filter(|code| is_code(code)) {
            if !found.iter().any(|known| known == code) {
                found.push(code.to_owned());
            }
        }
    }
    found
}

/// Codes are short words; a longer or freer text could repeat patient data.
pub(super) fn is_code(text: &str) -> bool {
    matches!(text.len(), 1..=40) && text.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_'))
}

/// RFC 9110 §10.2.3: seconds or a date. Capped, since a destination must not park a delivery for ever.
pub(super) fn retry_after(answer: &Answer, now: Timestamp) -> Option<i64> {
    let text = answer.retry_after.as_deref()?.trim();
    let wait_ms = if let Ok(seconds) = text.parse::<u32>() {
        i64::from(seconds) * 1000
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        date.as_millisecond() - now.as_millisecond()
    };
    Some(wait_ms.clamp(0, MAX_RETRY_AFTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTCOME: &str = r#"{"resourceType":"OperationOutcome","issue":[
        {"severity":"error","code":"invariant","details":{"coding":[{"code":"obs-6"}],"text":"Jane Doe"},"diagnostics":"Jane"},
        {"severity":"error","code":"Jane Doe was here"}]}"#;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().expect("a timestamp")
    }

    fn check(status: u16, retry_after: Option<&str>, body: &str, expected: &str) {
        let answer = Answer {
            status,
            nonce: None,
            retry_after: retry_after.map(str::to_owned),
            location: None,
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(shown(verdict(&answer, None, now())), expected, "{status} {retry_after:?}");
    }

    fn shown(verdict: Verdict) -> String {
        match verdict {
            Verdict::Acknowledged => "acknowledged".to_owned(),
            Verdict::Retry { after_ms: None, reason } => format!("retry: {reason}"),
            Verdict::Retry { after_ms: Some(ms), reason } => format!("retry after {ms}: {reason}"),
            Verdict::Unreached { reason } | Verdict::Waits { reason } => format!("unreached: {reason}"),
            Verdict::Rejected { reason } => format!("rejected: {reason}"),
        }
    }

    #[test]
    fn classifies_single_answers() {
        check(200, None, "", "acknowledged");
        check(201, None, r#"{"resourceType":"Observation"}"#, "acknowledged");
        check(204, None, "", "acknowledged");
        check(200, None, "<html>", "retry: HTTP 200 with a body that is not FHIR; something else may have answered");
        check(200, None, OUTCOME, "rejected: HTTP 200: invariant");
        check(202, None, "", "retry: HTTP 202 is no acknowledgement");
        check(302, None, "", "retry: HTTP 302: the destination redirects, and redirects are not followed");
        check(401, None, "", "retry: HTTP 401");
        check(403, None, "", "retry: HTTP 403");
        check(408, None, "", "retry: HTTP 408");
        check(425, None, "", "retry: HTTP 425");
        check(429, Some("2"), "", "retry after 2000: HTTP 429");
        check(429, Some("Sat, 21 Nov 2026 12:00:30 GMT"), "", "retry after 30000: HTTP 429");
        check(503, Some("Sat, 21 Nov 2026 11:00:00 GMT"), "", "retry after 0: HTTP 503");
        check(503, Some("99999999"), "", "retry after 3600000: HTTP 503");
        check(503, Some("soon"), "", "retry: HTTP 503");
        for status in [400, 404, 405, 409, 410, 412, 413, 415, 418] {
            check(status, None, "", &format!("rejected: HTTP {status}"));
        }
        check(422, None, OUTCOME, "rejected: HTTP 422: invariant");
        check(500, None, OUTCOME, "retry: HTTP 500: invariant");
    }

    #[test]
    fn what_is_not_there_is_deleted() {
        for (status, expected) in [
            (200, "acknowledged"),
            (202, "acknowledged"),
            (204, "acknowledged"),
            (404, "acknowledged"),
            (410, "acknowledged"),
            (401, "retry: HTTP 401"),
            (405, "rejected: HTTP 405"),
            (503, "retry: HTTP 503"),
        ] {
            let answer = Answer { status, nonce: None, retry_after: None, location: None, body: Vec::new() };
            assert_eq!(shown(deletion(&answer, now())), expected, "{status}");
        }
    }

    #[test]
    fn classifies_entries() {
        let cases = [
            (r#"["200 OK","201"]"#, "acknowledged"),
            (r#"["200 OK","422 Unprocessable"]"#, "rejected: HTTP 422"),
            (r#"["422","503 later"]"#, "retry: HTTP 503"),
            (r#"["200 OK",""]"#, "retry: HTTP 0 is no acknowledgement"),
            (r#"["200 OK"]"#, "retry: HTTP 200 without an answer for every entry of the transaction"),
        ];
        for (statuses, expected) in cases {
            let statuses: Vec<String> = serde_json::from_str(statuses).expect("a list");
            let entry: Vec<Value> =
                statuses.iter().map(|status| serde_json::json!({"response": {"status": status}})).collect();
            let body = serde_json::json!({"resourceType": "Bundle", "type": "transaction-response", "entry": entry});
            let answer = Answer {
                status: 200,
                nonce: None,
                retry_after: None,
                location: None,
                body: body.to_string().into_bytes(),
            };
            assert_eq!(shown(verdict(&answer, Some(2), now())), expected);
        }
    }
}
