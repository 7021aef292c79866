//! What can be said of a type's values: bound, measured in length, put in an order.

/// What definitions ask of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trait {
    /// Codes of a value set.
    Bind,
    Length,
    Range,
    /// A reference to somewhere.
    Target,
}

/// Types that can be bound.
const BIND: [&str; 16] = [
    "Age",
    "CodeableConcept",
    "Coding",
    "Distance",
    "Duration",
    "Extension",
    "MoneyQuantity",
    "Quantity",
    "Range",
    "SimpleQuantity",
    "code",
    "oid",
    "string",
    "uri",
    "url",
    "uuid",
];

const LENGTH: [&str; 17] = [
    "canonical",
    "code",
    "date",
    "dateTime",
    "decimal",
    "id",
    "instant",
    "integer",
    "markdown",
    "oid",
    "positiveInt",
    "string",
    "time",
    "unsignedInt",
    "uri",
    "url",
    "uuid",
];

const RANGE: [&str; 16] = [
    "Age",
    "Count",
    "Distance",
    "Duration",
    "Money",
    "MoneyQuantity",
    "Quantity",
    "SimpleQuantity",
    "date",
    "dateTime",
    "decimal",
    "instant",
    "integer",
    "positiveInt",
    "time",
    "unsignedInt",
];

const TARGET: [&str; 2] = ["Reference", "canonical"];

/// Whether values of a type can be that.
pub fn has(type_name: &str, wanted: Trait) -> bool {
    let listed: &[&str] = match wanted {
        Trait::Bind => &BIND,
        Trait::Length => &LENGTH,
        Trait::Range => &RANGE,
        Trait::Target => &TARGET,
    };
    listed.binary_search(&type_name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(BIND.is_sorted() && LENGTH.is_sorted() && RANGE.is_sorted() && TARGET.is_sorted());
        assert!(has("code", Trait::Bind) && !has("boolean", Trait::Length));
    }
}
