//! FHIR XML in and out, by way of JSON: the one place where fhirbolt is used.
//!
//! fhirbolt knows which R4 elements repeat and which are numbers, which is all that the conversion needs, but it
//! was not written for hostile input: it panics on empty arrays, drops attributes and members that it does not
//! know, lets a stray resource replace its parent's type, trims narrative, and its XML reader is old. It is
//! therefore boxed in: `scan` reads the XML first and hands on a text without declarations, comments and
//! narrative; narratives travel beside it, byte for byte; elements and attributes are counted before and after,
//! so that a loss becomes a refusal; and a panic becomes an issue. Decimals keep their digits, though an exponent
//! may be respelled (`1.0e0` becomes `1.0e+0`). Nothing outside this folder sees a fhirbolt type.
//!
//! Refused although XML allows it: a prefix on narrative elements, encodings other than UTF-8, CDATA outside
//! narrative.

mod read;
mod scan;
#[cfg(test)]
mod tests;
mod write;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fhirbolt::FhirReleases;
use fhirbolt::element::{Element, Primitive, Value};

use crate::fhir::outcome::{Id, Issue};

pub use read::to_json;
pub use write::from_json;

/// Longest text that is converted, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

const XHTML: &str = "http://www.w3.org/1999/xhtml";

type Tree = Element<{ FhirReleases::R4 }>;
type Member = Value<{ FhirReleases::R4 }>;

fn syntax(what: impl std::fmt::Display) -> Issue {
    Issue::new(Id::XmlSyntax, "", format!("The resource cannot be converted between XML and JSON: {what}."))
}

/// Runs fhirbolt. It unwraps in places that no check of ours can prove unreachable, and a sender must never be
/// able to end the process; nothing outlives the closure, so no broken state can be seen afterwards.
/// The library's own messages quote the content and are dropped.
fn contained<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Issue> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(syntax("a value or a structure does not fit the FHIR R4 element that it stands in")),
        Err(_) => Err(syntax("its structure is not one that FHIR R4 allows")),
    }
}

/// What must survive a conversion: nodes that are XML elements, and values that are XML attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    elements: usize,
    attributes: usize,
}

/// Counts a tree as XML would show it. A resource inside a resource has its holder and itself as elements.
fn count(tree: &Tree) -> Count {
    let mut total = Count { elements: 1, attributes: 0 };
    for (key, value) in tree {
        let inner = match value {
            Value::Primitive(_) if key == "resourceType" => continue,
            Value::Primitive(_) => Count { elements: 0, attributes: 1 },
            // The text of a narrative is content, not an attribute.
            Value::Element(element) if key == "div" => Count { attributes: 0, ..count(element) },
            Value::Element(element) => count_held(element),
            Value::Sequence(sequence) => sequence.iter().map(count_held).fold(Count::default(), add),
        };
        total = add(total, inner);
    }
    total
}

fn count_held(tree: &Tree) -> Count {
    let holder = usize::from(tree.contains_key("resourceType"));
    add(count(tree), Count { elements: holder, attributes: 0 })
}

fn add(left: Count, right: Count) -> Count {
    Count { elements: left.elements + right.elements, attributes: left.attributes + right.attributes }
}

/// Visits the text of every narrative.
fn each_narrative(tree: &mut Tree, visit: &mut impl FnMut(&mut String) -> Result<(), Issue>) -> Result<(), Issue> {
    for (key, value) in tree.iter_mut() {
        match value {
            Value::Element(element) => {
                if key == "div"
                    && let Some(Member::Primitive(Primitive::String(text))) = element.get_mut("value")
                {
                    visit(text)?;
                } else {
                    each_narrative(element, visit)?;
                }
            }
            Value::Sequence(sequence) => {
                for element in sequence {
                    each_narrative(element, visit)?;
                }
            }
            Value::Primitive(_) => {}
        }
    }
    Ok(())
}

/// What stands for a narrative while fhirbolt holds the tree.
fn placeholder(index: usize) -> String {
    format!("<div xmlns=\"{XHTML}\">{index}</div>")
}

/// The index inside a placeholder.
fn placeholder_index(text: &str) -> Option<usize> {
    let inner = text.split_once('>')?.1.split_once("</div")?.0;
    inner.trim().parse().ok()
}
