//! Places in a JSON value: JSON Pointers (RFC 6901) and what stands there.

use serde_json::Value;

/// One step down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The tokens of a pointer; `None` where it is none.
pub(super) fn tokens(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let unescape = |token: &str| {
        let plain = token.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        // First ~1, then ~0, so that ~01 is ~1.
        plain.then(|| token.replace("~1", "/").replace("~0", "~"))
    };
    text.strip_prefix('/')?.split('/').map(unescape).collect()
}

/// An array's index: digits without leading zeros.
pub(super) fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    plain.then(|| token.parse().ok()).flatten()
}

/// The value at the end of tokens.
pub(super) fn find<'v>(root: &'v Value, tokens: &[String]) -> Option<&'v Value> {
    tokens.iter().try_fold(root, |value, token| match value {
        Value::Object(members) => members.get(token),
        Value::Array(items) => items.get(index(token)?),
        _ => None,
    })
}

pub(super) fn find_mut<'v>(root: &'v mut Value, tokens: &[String]) -> Option<&'v mut Value> {
    tokens.iter().try_fold(root, |value, token| match value {
        Value::Object(members) => members.get_mut(token),
        Value::Array(items) => items.get_mut(index(token)?),
        _ => None,
    })
}

/// The value at the end of steps.
pub(super) fn at_mut<'v>(root: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps.iter().try_fold(root, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

/// Equal as JSON Patch compares (RFC 6902 §4.6): numbers by value, objects without order.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let decimal = |number: &serde_json::Number| {
                let text = number.to_string();
                text.parse().ok().or_else(|| rust_decimal::Decimal::from_scientific(&text).ok())
            };
            match (decimal(left), decimal(right)) {
                (Some(left), Some(right)) => left == right,
                _ => left == right,
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}
