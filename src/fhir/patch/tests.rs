//! Operations that the suites do not have; the suites run where the definitions are at hand.

use serde_json::{Value, json};

use super::{json as json_patch, xml};
use crate::fhir::outcome::Id;

/// `expected`: the patched document, or why not.
fn check(document: &str, patch: &str, expected: Result<&str, Id>) {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let found = json_patch::apply(&parsed(document), &parsed(patch));
    let found = found.map(|value| value.to_string()).map_err(|issue| issue.id);
    assert_eq!(found.as_deref().map_err(|id| *id), expected, "{document} {patch}");
}

#[test]
fn json_patches_are_done_whole_or_not_at_all() {
    let ok = |op: &str| format!("[{op}]");
    check(r#"{"a":1.50}"#, &ok(r#"{"op":"test","path":"/a","value":1.5}"#), Ok(r#"{"a":1.50}"#));
    check(r#"{"a":[1]}"#, &ok(r#"{"op":"copy","from":"/a","path":"/b"}"#), Ok(r#"{"a":[1],"b":[1]}"#));
    check(r#"{"a":{}}"#, &ok(r#"{"op":"move","from":"/a","path":"/a/b"}"#), Err(Id::PatchFailed));
    check(r#"{"a":[1]}"#, &ok(r#"{"op":"add","path":"/a/01","value":1}"#), Err(Id::PatchFailed));
    check(r#"{"a":[1]}"#, &ok(r#"{"op":"add","path":"/a/2","value":1}"#), Err(Id::PatchFailed));
    check(r#"{"a":1,"b":2,"c":3}"#, &ok(r#"{"op":"remove","path":"/a"}"#), Ok(r#"{"b":2,"c":3}"#));
    check("{}", &ok(r#"{"op":"remove","path":"a"}"#), Err(Id::PatchInvalid));
    check("{}", &ok(r#"{"op":"remove","path":"/~2"}"#), Err(Id::PatchInvalid));
    check("{}", &ok(r#"{"op":"add","path":"/a"}"#), Err(Id::PatchInvalid));
    check("{}", &ok(r#"{"op":"frob","path":"/a"}"#), Err(Id::PatchInvalid));
    check("{}", "{}", Err(Id::PatchInvalid));
    let many = json!(vec![json!({"op": "test", "path": "", "value": {}}); 501]).to_string();
    check("{}", &many, Err(Id::PatchInvalid));
}

#[test]
fn xml_patches_select_one_node() {
    let check = |document: &str, operations: &str, expected: Result<&str, Id>| {
        let patch = format!("<diff xmlns:p=\"u\">{operations}</diff>");
        let found = xml::apply(document, &patch).map_err(|issue| issue.id);
        assert_eq!(found.as_deref().map_err(|id| *id), expected, "{operations}");
    };
    let document = "<a xmlns=\"u\"><b c=\"1\"><d e=\"x\"/></b><b c=\"2\">t</b></a>";
    let without = |part: &str| Ok(document.replace(part, ""));
    let cases: [(&str, Result<String, Id>); 11] = [
        ("<remove sel=\"/p:a/p:b[p:d/@e='x']\"/>", without("<b c=\"1\"><d e=\"x\"/></b>")),
        ("<remove sel=\"p:a/p:b[.='t']\"/>", without("<b c=\"2\">t</b>")),
        ("<remove sel='p:a/*[2]/@c'/>", without(" c=\"2\"")),
        (
            "<remove sel=\"p:a/p:b[p:d]/p:d\"/>",
            Ok(document.replace("<d e=\"x\"/></b>", "</b>").replace("<b c=\"1\"></b>", "<b c=\"1\"/>")),
        ),
        (
            "<add sel=\"p:a/p:b[1]\" pos=\"prepend\"><n xmlns=\"u\"/></add>",
            Ok(document.replace("<d e", "<n xmlns=\"u\"/><d e")),
        ),
        ("<remove sel=\"p:a\"/>", Err(Id::PatchFailed)),
        ("<remove sel=\"p:a/p:b\"/>", Err(Id::PatchFailed)),
        ("<remove sel=\"q:a\"/>", Err(Id::PatchInvalid)),
        ("<remove sel=\"p:a[\"/>", Err(Id::PatchInvalid)),
        ("<add sel=\"p:a/p:b[1]\" type=\"@c\">3</add>", Err(Id::PatchFailed)),
        ("<frob sel=\"p:a\"/>", Err(Id::PatchInvalid)),
    ];
    for (operations, expected) in cases {
        check(document, operations, expected.as_deref().map_err(|id| *id));
    }
}

#[test]
fn copies_of_copies_end_before_they_fill_the_memory() {
    let document = serde_json::json!({"note": [{"text": "x".repeat(1000)}]});
    let patch = |operation: &str| format!("[{}]", vec![operation; 100].join(","));
    for operation in [
        // Each doubles the array, and each doubles the depth.
        r#"{"op":"copy","from":"/note","path":"/note/-"}"#,
        r#"{"op":"copy","from":"/note/0","path":"/note/0/text"}"#,
        r#"{"op":"copy","from":"/note","path":"/note/0"}"#,
    ] {
        let patch = serde_json::from_str(&patch(operation)).unwrap();
        let found = super::json::apply(&document, &patch).map_err(|issue| issue.id);
        assert_eq!(found.map(|_| ()), Err(Id::PatchFailed), "{operation}");
    }
}
