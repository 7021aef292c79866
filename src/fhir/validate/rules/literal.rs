//! Fixed values, patterns and ranges: an element against a value that stands in the definition.

use rust_decimal::Decimal;

use super::super::profile::{Node, shown};
use super::super::run::Run;
use crate::fhir::definitions::Literal;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Document, Element, Kind, NodeId};

/// Checks `fixed[x]`, `pattern[x]`, `minValue[x]`, `maxValue[x]` and `maxLength`.
pub fn check<'d>(run: &mut Run<'_, 'd>, node: &Node, element: Element<'d>) {
    if node.has_value_rules {
        judge(run, node, element);
    }
}

fn judge<'d>(run: &mut Run<'_, 'd>, node: &Node, element: Element<'d>) {
    if let Some(fixed) = &node.fixed
        && !is_fixed(fixed, element)
    {
        run.issue(Id::FixedValue, element, format!("The value must be exactly {}.", shown(fixed)));
    }
    if let Some(pattern) = &node.pattern
        && !has_pattern(pattern, element)
    {
        run.issue(Id::PatternValue, element, format!("The value must include {}.", shown(pattern)));
    }
    if let Some(least) = &node.min_value
        && compare(element, least).is_some_and(std::cmp::Ordering::is_lt)
    {
        run.issue(Id::ValueRange, element, format!("The value must be at least {}.", shown(least)));
    }
    if let Some(most) = &node.max_value
        && compare(element, most).is_some_and(std::cmp::Ordering::is_gt)
    {
        run.issue(Id::ValueRange, element, format!("The value must be at most {}.", shown(most)));
    }
    if let Some(length) = node.min_length
        && element.string().is_some_and(|text| text.chars().count() < length)
    {
        run.issue(Id::MinLength, element, format!("The value must have at least {length} characters."));
    }
    if let Some(regex) = &node.regex
        && element.text().is_some_and(|text| !regex.is_match(text))
    {
        run.issue(Id::PrimitiveFormat, element, format!("The value must match {regex}."));
    }
    if node.must_have_value && element.kind().is_none() {
        run.issue(Id::ValueMissing, element, "A value must be sent; extensions alone do not do.".to_owned());
    }
    if !node.value_alternatives.is_empty() && element.kind().is_none() {
        let stands_in = |url: &str| node.value_alternatives.iter().any(|each| **each == *url);
        if !element.all("extension").any(|each| each.text_of("url").is_some_and(stands_in)) {
            let text = format!("A value must be sent, or the extension {}.", node.value_alternatives.join(" or "));
            run.issue(Id::ValueMissing, element, text);
        }
    }
    if let Some(length) = node.max_length
        && element.string().is_some_and(|text| text.chars().count() > length)
    {
        run.issue(Id::MaxLength, element, format!("The value must have at most {length} characters."));
    }
}

/// Whether an element is exactly the value, `id`s and extensions included (R4 §5.1.0.8).
pub fn is_fixed(fixed: &Literal, element: Element<'_>) -> bool {
    element.value_node().is_some_and(|node| equal(&fixed.document, fixed.node, element.document(), node))
}

/// Whether an element has all that the pattern has, and maybe more.
pub fn has_pattern(pattern: &Literal, element: Element<'_>) -> bool {
    element.value_node().is_some_and(|node| includes(&pattern.document, pattern.node, element.document(), node))
}

fn equal(one: &Document, a: NodeId, other: &Document, b: NodeId) -> bool {
    match (one.kind(a), other.kind(b)) {
        (Kind::Object, Kind::Object) => {
            one.children(a).count() == other.children(b).count()
                && one.children(a).all(|member| {
                    other
                        .tagged(b, one.tag(member), one.key(member))
                        .is_some_and(|found| equal(one, member, other, found))
                })
        }
        (Kind::Array, Kind::Array) => {
            one.children(a).count() == other.children(b).count()
                && one.children(a).zip(other.children(b)).all(|(x, y)| equal(one, x, other, y))
        }
        (x, y) => x == y && same_value(x, one.value(a), other.value(b)),
    }
}

fn includes(pattern: &Document, a: NodeId, other: &Document, b: NodeId) -> bool {
    match (pattern.kind(a), other.kind(b)) {
        (Kind::Object, Kind::Object) => pattern.children(a).all(|member| {
            other
                .tagged(b, pattern.tag(member), pattern.key(member))
                .is_some_and(|found| includes(pattern, member, other, found))
        }),
        (Kind::Array, Kind::Array) => {
            pattern.children(a).all(|item| other.children(b).any(|found| includes(pattern, item, other, found)))
        }
        (x, y) => x == y && same_value(x, pattern.value(a), other.value(b)),
    }
}

fn same_value(kind: Kind, one: &str, other: &str) -> bool {
    one == other
        || (kind == Kind::Number
            && matches!((one.parse::<Decimal>(), other.parse::<Decimal>()), (Ok(a), Ok(b)) if a == b))
}

/// Numbers, moments, and quantities of units that can be converted; anything else, and what precision leaves
/// undecided, has no order.
fn compare(element: Element<'_>, bound: &Literal) -> Option<std::cmp::Ordering> {
    if bound.type_name == "Quantity" {
        let amount = |element: Element<'_>| element.text_of("value")?.parse::<Decimal>().ok();
        let unit =
            |element: Element<'_>| element.get("code").or_else(|| element.get("unit"))?.text().map(str::to_owned);
        let (own, bound) = (element, bound.element());
        return match (unit(own), unit(bound)) {
            (None, None) => Some(amount(own)?.cmp(&amount(bound)?)),
            (one, other) => ucum::compare(amount(own)?, &one?, amount(bound)?, &other?),
        };
    }
    let (own, bound) = (element.text()?, bound.element().text()?);
    if element.kind() == Some(Kind::Number) {
        return Some(own.parse::<Decimal>().ok()?.cmp(&bound.parse().ok()?));
    }
    let (own, bound) = (Moment::parse(own)?.interval_ms(), Moment::parse(bound)?.interval_ms());
    match () {
        () if own.1 <= bound.0 => Some(std::cmp::Ordering::Less),
        () if own.0 >= bound.1 => Some(std::cmp::Ordering::Greater),
        () => None,
    }
}
