//! What the values of one Observation must be to each other: `profiles/measure-rules.csv`.
//!
//! A relation is asked only where both of its sides are there, as the Observation's own value or as components, in units
//! that can be converted into each other.

use std::collections::HashMap;
use std::sync::LazyLock;

use rust_decimal::Decimal;

use super::{LOINC, SNOMED, decimal};
use crate::fhir::outcome::Id;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::Element;
use crate::fhir::validate::run::Run;
use crate::fhir::validate::scope::{Found, named};

/// How the left side stands to the right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Above,
    AtLeast,
    /// The right is the sum of what is there of it.
    AtLeastSum,
}

/// One relation.
#[derive(Debug)]
pub struct Relation {
    pub id: &'static str,
    pub order: Order,
    /// Codes of LOINC or SNOMED CT, which look different.
    pub left: &'static str,
    pub right: Vec<&'static str>,
    /// By how much the left may lack, in its own unit: what rounding does.
    pub tolerance: Decimal,
    pub source: &'static str,
    /// What holds, in words.
    pub text: &'static str,
}

static TABLE: LazyLock<Vec<Relation>> = LazyLock::new(|| {
    let lines = include_str!("../../../../profiles/measure-rules.csv").lines().skip(1);
    let read = |line| read(line).expect("profiles/measure-rules.csv is part of the program, and a test reads it");
    lines.map(read).collect()
});

fn read(line: &'static str) -> Option<Relation> {
    let mut fields = line.splitn(7, ',');
    let mut next = || fields.next();
    Some(Relation {
        id: next()?,
        order: match next()? {
            "above" => Order::Above,
            "at-least" => Order::AtLeast,
            "at-least-sum" => Order::AtLeastSum,
            _ => return None,
        },
        left: next()?,
        right: next()?.split(' ').collect(),
        tolerance: next()?.parse().ok()?,
        source: next()?,
        text: next()?,
    })
}

/// Every relation, in the table's order.
pub fn all() -> &'static [Relation] {
    &TABLE
}

/// A measured amount and where it stands.
struct Amount<'d> {
    code: &'d str,
    value: Decimal,
    unit: &'d str,
    component: Option<Found<'d>>,
    quantity: Found<'d>,
}

pub(super) fn check<'d>(run: &mut Run<'_, 'd>, observation: Element<'d>) {
    // With one value there is nothing to relate.
    if observation.get("component").is_none() {
        return;
    }
    let mut amounts: HashMap<&str, Amount<'d>> = HashMap::new();
    let components = named(observation, "component", Some(false));
    let holders = std::iter::once((None, observation)).chain(components.iter().map(|each| (Some(*each), each.element)));
    for (component, holder) in holders {
        for amount in amounts_of(component, holder) {
            amounts.entry(amount.code).or_insert(amount);
        }
    }
    for relation in all() {
        let Some(left) = amounts.get(relation.left) else { continue };
        let mut right = relation.right.iter().filter_map(|code| amounts.get(code)).peekable();
        if right.peek().is_none() || holds(relation, left, right) != Some(false) {
            continue;
        }
        if let Some(component) = &left.component {
            run.enter(component);
        }
        run.enter(&left.quantity);
        let text = format!("{}: {}.", relation.id, relation.text);
        run.issue(Id::MeasureRelation, left.quantity.element, text);
        run.leave();
        if left.component.is_some() {
            run.leave();
        }
    }
}

fn amounts_of<'d>(component: Option<Found<'d>>, holder: Element<'d>) -> Vec<Amount<'d>> {
    let values = named(holder, "value", Some(true));
    let Some(quantity) = values.into_iter().find(|value| value.type_name == "Quantity") else { return Vec::new() };
    let element = quantity.element;
    let amount = element.text_of("value").and_then(decimal);
    let unit = element.text_of("code").filter(|_| element.text_of("system") == Some(ucum::SYSTEM));
    // "Less than" and "more than" relate to nothing.
    let (Some(value), Some(unit), None) = (amount, unit, element.get("comparator")) else { return Vec::new() };
    let codings = holder.get("code").into_iter().flat_map(|code| code.all("coding"));
    codings
        .filter(|coding| coding.text_of("system").is_some_and(|system| [LOINC, SNOMED].contains(&system)))
        .filter_map(|coding| Some(Amount { code: coding.text_of("code")?, value, unit, component, quantity }))
        .collect()
}

fn holds<'a, 'd: 'a>(
    relation: &Relation,
    left: &Amount<'d>,
    right: impl Iterator<Item = &'a Amount<'d>>,
) -> Option<bool> {
    let mut sum = Decimal::ZERO;
    for amount in right {
        sum = sum.checked_add(ucum::convert(amount.value, amount.unit, left.unit)?)?;
    }
    let bound = sum.checked_sub(relation.tolerance)?;
    Some(if relation.order == Order::Above { left.value > bound } else { left.value >= bound })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;
    use crate::fhir::validate::measures::measure;
    use crate::fhir::validate::{Options, Validator};

    #[test]
    fn the_table_can_be_read_and_makes_sense() {
        assert!(all().len() > 5);
        for relation in all() {
            let known = |code| measure(LOINC, code).or(measure(SNOMED, code));
            let left = known(relation.left).unwrap_or_else(|| panic!("{}", relation.id));
            for code in &relation.right {
                let right = known(code).unwrap_or_else(|| panic!("{}", relation.id));
                assert!(ucum::comparable(left.units[0].code, right.units[0].code), "{}", relation.id);
            }
            assert!(relation.right.len() == 1 || relation.order == Order::AtLeastSum, "{}", relation.id);
        }
    }

    #[test]
    fn values_stand_to_each_other_as_they_must() {
        let validator = Validator::new(Registry::core());
        let component = |(code, value, unit): &(&str, &str, &str)| {
            format!(
                r#"{{"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},
                "valueQuantity":{{"value":{value},"unit":"x","system":"http://unitsofmeasure.org","code":"{unit}"}}}}"#
            )
        };
        for (components, expected) in [
            (&[("8480-6", "120", "mm[Hg]"), ("8462-4", "80", "mm[Hg]")][..], ""),
            (&[("8480-6", "80", "mm[Hg]"), ("8462-4", "80", "mm[Hg]")], "bp-order"),
            (&[("8480-6", "120", "mm[Hg]")], ""),
            (&[("8480-6", "120", "mm[Hg]"), ("8462-4", "80", "mm[Hg]"), ("8478-0", "121", "mm[Hg]")], "bp-mean-high"),
            (&[("93832-4", "400", "min"), ("93831-6", "100", "min"), ("93830-8", "200", "min")], ""),
            (&[("93832-4", "400", "min"), ("93831-6", "201", "min"), ("93830-8", "201", "min")], ""),
            (&[("93832-4", "400", "min"), ("93831-6", "300", "min"), ("93830-8", "200", "min")], "sleep-parts"),
        ] {
            let text = format!(
                r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"component":[{}]}}"#,
                components.iter().map(component).collect::<Vec<_>>().join(",")
            );
            let document = json::parse(text).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            let broken: Vec<&str> = issues
                .iter()
                .filter(|issue| issue.id == Id::MeasureRelation)
                .map(|issue| issue.text.split(':').next().unwrap_or_default())
                .collect();
            assert_eq!(broken.join(" "), expected, "{components:?}");
        }
    }
}
