//! A question as `$validate-code` puts it, and what an answer says. Pure.
//!
//! Yes and no are believed only where the answer is complete and about the code; a server that does not know the system
//! or the value set says no as well, and that is no answer.

use serde_json::{Value, json};

use super::Question;

/// What an answer comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Yes,
    No,
    /// The server is well and does not know.
    Nothing,
    /// No server of that kind has answered.
    Failed,
}

/// The operation's path below the base.
pub(super) fn operation(question: &Question) -> &'static str {
    if question.value_set.is_some() { "ValueSet/$validate-code" } else { "CodeSystem/$validate-code" }
}

/// The operation's input.
pub(super) fn parameters(question: &Question) -> Vec<u8> {
    let mut parameters = Vec::new();
    let mut add = |name: &str, kind: &str, value: &str| parameters.push(json!({"name": name, kind: value}));
    match &question.value_set {
        Some(canonical) => {
            let (url, version) = canonical.split_once('|').unwrap_or((canonical, ""));
            add("url", "valueUri", url);
            if !version.is_empty() {
                add("valueSetVersion", "valueString", version);
            }
            if let Some(system) = &question.system {
                add("system", "valueUri", system);
            }
        }
        None => add("url", "valueUri", question.system.as_deref().unwrap_or_default()),
    }
    add("code", "valueCode", &question.code);
    if question.system.is_none() {
        parameters.push(json!({"name": "inferSystem", "valueBoolean": true}));
    }
    json!({"resourceType": "Parameters", "parameter": parameters}).to_string().into_bytes()
}

/// What the answer says.
pub(super) fn told(status: u16, body: &[u8]) -> Told {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match status {
        200 => {}
        // Not found and unprocessable: the server is there and lacks the definition.
        400..=499 if status != 401 && status != 403 && status != 408 && status != 429 => {
            return if body["resourceType"] == "OperationOutcome" { Told::Nothing } else { Told::Failed };
        }
        _ => return Told::Failed,
    }
    if body["resourceType"] != "Parameters" {
        return Told::Failed;
    }
    let parameters = body["parameter"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut results = parameters.iter().filter(|each| each["name"] == "result");
    let (Some(result), None) = (results.next().and_then(|each| each["valueBoolean"].as_bool()), results.next()) else {
        return Told::Failed;
    };
    if result {
        return Told::Yes;
    }
    let unknown = parameters.iter().any(|each| {
        matches!(each["name"].as_str(), Some("x-caused-by-unknown-system" | "x-unknown-system"))
            || each["name"] == "issues" && is_not_found(&each["resource"])
    });
    if unknown { Told::Nothing } else { Told::No }
}

/// Whether an outcome says that a definition is missing, rather than that the code is wrong.
fn is_not_found(outcome: &Value) -> bool {
    let issues = outcome["issue"].as_array().map(Vec::as_slice).unwrap_or_default();
    let coded = |issue: &Value| {
        let codings = issue["details"]["coding"].as_array().map(Vec::as_slice).unwrap_or_default();
        codings.iter().any(|coding| coding["code"] == "not-found")
    };
    issues.iter().any(coded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_put_as_the_operation_wants_it() {
        let question = Question {
            value_set: Some("urn:v|1.0".to_owned()),
            system: Some("urn:s".to_owned()),
            code: "a".to_owned(),
        };
        assert_eq!(operation(&question), "ValueSet/$validate-code");
        let sent: Value = serde_json::from_slice(&parameters(&question)).unwrap();
        let names: Vec<&str> =
            sent["parameter"].as_array().unwrap().iter().filter_map(|each| each["name"].as_str()).collect();
        assert_eq!(names, ["url", "valueSetVersion", "system", "code"]);
        let implied = Question { system: None, ..question };
        assert!(String::from_utf8(parameters(&implied)).unwrap().contains("inferSystem"));
    }

    #[test]
    fn only_a_clear_word_is_an_answer() {
        let parameters = |rest: &str| format!(r#"{{"resourceType":"Parameters","parameter":[{rest}]}}"#);
        let no = r#"{"name":"result","valueBoolean":false}"#;
        for (status, body, expected) in [
            (200, parameters(r#"{"name":"result","valueBoolean":true}"#), Told::Yes),
            (200, parameters(no), Told::No),
            (200, parameters(&format!("{no},{no}")), Told::Failed),
            (200, parameters(r#"{"name":"result","valueString":"true"}"#), Told::Failed),
            (200, parameters(""), Told::Failed),
            (
                200,
                parameters(&format!(r#"{no},{{"name":"x-caused-by-unknown-system","valueUri":"urn:s"}}"#)),
                Told::Nothing,
            ),
            (
                200,
                parameters(&format!(
                    r#"{no},{{"name":"issues","resource":{{"issue":[{{"details":{{"coding":[{{"code":"not-found"}}]}}}}]}}}}"#
                )),
                Told::Nothing,
            ),
            (200, "<html>".to_owned(), Told::Failed),
            (200, r#"{"resourceType":"Bundle"}"#.to_owned(), Told::Failed),
            (404, r#"{"resourceType":"OperationOutcome"}"#.to_owned(), Told::Nothing),
            (404, "not here".to_owned(), Told::Failed),
            (401, r#"{"resourceType":"OperationOutcome"}"#.to_owned(), Told::Failed),
            (429, String::new(), Told::Failed),
            (500, String::new(), Told::Failed),
        ] {
            assert_eq!(told(status, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
