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
    match &node.fixed {
        Some(fixed) if is_fixed(fixed, element) => run.is_named(),
        Some(fixed) => run.issue(Id::FixedValue, element, format!("The value must be exactly {}.", shown(fixed))),
        None => {}
    }
    match &node.pattern {
        Some(pattern) if has_pattern(pattern, element) => run.is_named(),
        Some(pattern) => run.issue(Id::PatternValue, element, format!("The value must include {}.", shown(pattern))),
        None => {}
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
    if let Some(bound) = node.min_value.as_ref().or(node.max_value.as_ref())
        && measures_something_else(element, bound)
    {
        run.issue(Id::ValueRange, element, format!("The unit must be one of what {} measures.", shown(bound)));
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
        // Digits count: 1.0 says more than 1.
        (x, y) => x == y && one.value(a) == other.value(b),
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
        (x, y) => x == y && pattern.value(a) == other.value(b),
    }
}

/// Whether both are quantities in UCUM, of units that cannot be converted.
fn measures_something_else(element: Element<'_>, bound: &Literal) -> bool {
    let unit = |element: Element<'_>| {
        (element.text_of("system") == Some(ucum::SYSTEM)).then(|| element.text_of("code").map(str::to_owned)).flatten()
    };
    let (Some(own), Some(limit)) = (unit(element), unit(bound.element())) else { return false };
    bound.type_name == "Quantity" && ucum::valid(&own) && ucum::valid(&limit) && !ucum::comparable(&own, &limit)
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

#[cfg(test)]
mod tests {
    use crate::fhir::definitions::Registry;
    use crate::fhir::outcome::Id;
    use crate::fhir::tree::{Element, json};
    use crate::fhir::validate::{Options, Validator};

    #[test]
    fn quantities_are_held_against_digits_and_units() {
        let grams = r#"{"value":10,"system":"http://unitsofmeasure.org","code":"g"}"#;
        let quantity = |value: &str, code: &str| {
            format!(r#"{{"value":{value},"system":"http://unitsofmeasure.org","code":"{code}"}}"#)
        };
        let (fixed, pattern, least) = ("fixedQuantity", "patternQuantity", "minValueQuantity");
        for (rule, sent, expected) in [
            (fixed, quantity("10", "g"), None),
            (fixed, quantity("10.0", "g"), Some(Id::FixedValue)),
            (pattern, quantity("10.0", "g"), Some(Id::PatternValue)),
            (least, quantity("10.0", "g"), None),
            (least, quantity("0.01", "kg"), None),
            (least, quantity("9", "g"), Some(Id::ValueRange)),
            (least, quantity("50", "m"), Some(Id::ValueRange)),
        ] {
            let profile = format!(
                r#"{{"resourceType":"StructureDefinition","url":"urn:iso:p","type":"Observation","kind":"resource",
                "derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Observation",
                "snapshot":{{"element":[{{"path":"Observation"}},
                {{"path":"Observation.value[x]","min":0,"max":"1","type":[{{"code":"Quantity"}}],"{rule}":{grams}}}]}}}}"#
            );
            let validator = Validator::new(Registry::with(vec![json::parse(profile).unwrap()]).unwrap());
            let text = format!(
                r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"valueQuantity":{sent}}}"#
            );
            let document = json::parse(text).unwrap();
            let options = Options { profiles: &["urn:iso:p"], ..Options::default() };
            let issues = validator.check(Element::root(&document), &options).issues;
            let found: Vec<Id> = issues.iter().filter(|issue| issue.is_error()).map(|issue| issue.id).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{rule} {sent}");
        }
    }
}
