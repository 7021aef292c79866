//! JSON Patch (RFC 6902).
//!
//! Our own and not a crate's: a hundred lines, decimals keep their digits, and numbers are compared by value.

use serde_json::{Map, Value};

use super::pointer::{equal, find, find_mut, index, tokens};
use super::{MAX_OPERATIONS, failed, invalid};
use crate::fhir::outcome::Issue;

/// Most that all copies of one patch add, in bytes: copies of copies double with each operation.
const MAX_COPIED: usize = 1 << 20;

/// Deepest place of a patched document; no resource that is read is deeper.
const MAX_DEPTH: usize = 64;

/// The document with every operation done.
pub fn apply(document: &Value, patch: &Value) -> Result<Value, Issue> {
    let operations = patch.as_array().ok_or_else(|| invalid("it is no array of operations"))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(invalid(format_args!("it has more than {MAX_OPERATIONS} operations")));
    }
    let mut patched = document.clone();
    let mut growth = MAX_COPIED;
    for (at, operation) in operations.iter().enumerate() {
        let operation = operation.as_object().ok_or_else(|| invalid("an operation is no object"))?;
        one(&mut patched, at, operation, &mut growth)?;
    }
    Ok(patched)
}

/// How much of a value counts for a copy, and how deep it is.
fn measured(value: &Value) -> (usize, usize) {
    let inner = |parts: &mut dyn Iterator<Item = (usize, usize)>| {
        parts.fold((16, 1), |(size, depth), (more, below)| (size + more, depth.max(below + 1)))
    };
    match value {
        Value::String(text) => (16 + text.len(), 1),
        Value::Array(items) => inner(&mut items.iter().map(measured)),
        Value::Object(members) => inner(&mut members.iter().map(|(name, member)| {
            let (size, depth) = measured(member);
            (size + name.len(), depth)
        })),
        _ => (16, 1),
    }
}

fn one(document: &mut Value, at: usize, operation: &Map<String, Value>, growth: &mut usize) -> Result<(), Issue> {
    let pointer = |name: &str| {
        let text = operation.get(name).and_then(Value::as_str);
        text.and_then(tokens).ok_or_else(|| invalid(format_args!("{name} is no JSON Pointer")))
    };
    let value = || operation.get("value").cloned().ok_or_else(|| invalid("an operation lacks its value"));
    let absent = || failed(at, "there is nothing at the place that it names");
    let path = pointer("path")?;
    let placed = |value: Value| {
        let (size, depth) = measured(&value);
        if path.len() + depth > MAX_DEPTH {
            return Err(failed(at, format_args!("it would lead deeper than {MAX_DEPTH} levels")));
        }
        Ok((value, size))
    };
    match operation.get("op").and_then(Value::as_str) {
        Some("add") => add(document, &path, placed(value()?)?.0).ok_or_else(absent),
        Some("remove") => remove(document, &path).map(drop).ok_or_else(absent),
        Some("replace") => {
            let (value, _) = placed(value()?)?;
            *find_mut(document, &path).ok_or_else(absent)? = value;
            Ok(())
        }
        Some("move") => {
            let from = pointer("from")?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err(failed(at, "nothing can be moved into itself"));
            }
            let moved = remove(document, &from).ok_or_else(absent)?;
            add(document, &path, placed(moved)?.0).ok_or_else(absent)
        }
        Some("copy") => {
            let from = find(document, &pointer("from")?).ok_or_else(absent)?;
            let (size, _) = measured(from);
            let Some(left) = growth.checked_sub(size) else {
                return Err(failed(at, format_args!("the copies would add more than {MAX_COPIED} bytes")));
            };
            *growth = left;
            let (copied, _) = placed(from.clone())?;
            add(document, &path, copied).ok_or_else(absent)
        }
        Some("test") => {
            let value = value()?;
            let found = find(document, &path).ok_or_else(absent)?;
            if equal(found, &value) { Ok(()) } else { Err(failed(at, "the value is not the one that is tested for")) }
        }
        _ => Err(invalid("an operation is none of add, remove, replace, move, copy and test")),
    }
}

fn add(document: &mut Value, path: &[String], value: Value) -> Option<()> {
    let Some((last, parent)) = path.split_last() else {
        *document = value;
        return Some(());
    };
    match find_mut(document, parent)? {
        Value::Object(members) => {
            members.insert(last.clone(), value);
        }
        Value::Array(items) => {
            let at = if last == "-" { items.len() } else { index(last)? };
            if at > items.len() {
                return None;
            }
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &[String]) -> Option<Value> {
    let (last, parent) = path.split_last()?;
    match find_mut(document, parent)? {
        Value::Object(members) => members.shift_remove(last),
        Value::Array(items) => index(last).filter(|at| *at < items.len()).map(|at| items.remove(at)),
        _ => None,
    }
}
