//! What the engine asks of the outside: the type model, references, value sets, profiles.
//!
//! Declared here and implemented above, because a model and terminology know expressions (invariants) and not the
//! other way round. [`ShapesOnly`] knows the data types of R4 by name and nothing else; it serves expressions
//! that need no model. A host that cannot decide says `None`, and the evaluation fails: a question that nobody
//! answered is never taken for a yes.

use super::value::Node;

/// A child as the model sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child<'d> {
    /// Element name without the type suffix of a choice: `value` for `valueQuantity`.
    pub name: &'d str,
    /// Type name, or the path of a backbone element. `Resource` stands for whatever `resourceType` says.
    pub type_name: &'d str,
}

/// A code with the system it stands in; a bare `code` element has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code<'d> {
    pub system: Option<&'d str>,
    pub version: Option<&'d str>,
    pub code: &'d str,
}

/// What the engine asks of the outside.
pub trait Host: Sync {
    /// The child under a JSON key of a parent of that type. `None`: unknown, and the shape decides.
    fn child<'a>(&'a self, parent: &str, key: &str) -> Option<Child<'a>>;

    /// Whether the model defines such a child, asked where evaluation is strict. `None`: unknown.
    fn defines(&self, parent: &str, name: &str) -> Option<bool>;

    /// Whether a type is a specialisation of another one; a type is none of itself.
    fn is_subtype(&self, type_name: &str, ancestor: &str) -> bool;

    /// The resource that a reference points to, other than a contained one.
    fn resolve<'a>(&'a self, from: Node<'a>, reference: &str) -> Option<Node<'a>>;

    /// Whether any of the codes is in the value set. `None`: undecidable.
    fn member_of(&self, value_set: &str, codes: &[Code<'_>]) -> Option<bool>;

    /// Whether the first code is the second or stands above it in their code system. `None`: undecidable.
    fn subsumes(&self, general: &Code<'_>, specific: &Code<'_>) -> Option<bool>;

    /// Whether the node conforms to the profile. `None`: the profile is unknown.
    fn conforms_to(&self, node: Node<'_>, profile: &str) -> Option<bool>;
}

/// A host that knows nothing beyond shapes and the names of the R4 data types.
pub struct ShapesOnly;

impl Host for ShapesOnly {
    fn child<'a>(&'a self, _parent: &str, _key: &str) -> Option<Child<'a>> {
        None
    }

    fn defines(&self, _parent: &str, _name: &str) -> Option<bool> {
        None
    }

    fn is_subtype(&self, type_name: &str, ancestor: &str) -> bool {
        let starts_upper = |name: &str| name.starts_with(|first: char| first.is_ascii_uppercase());
        match ancestor {
            "string" => matches!(type_name, "code" | "id" | "markdown"),
            "uri" => matches!(type_name, "url" | "canonical" | "uuid" | "oid"),
            "integer" => matches!(type_name, "positiveInt" | "unsignedInt"),
            "Quantity" => {
                matches!(type_name, "Age" | "Count" | "Distance" | "Duration" | "MoneyQuantity" | "SimpleQuantity")
            }
            "Element" => is_data_type(type_name) || type_name.contains('.'),
            "BackboneElement" => matches!(type_name, "Timing" | "Dosage") || type_name.contains('.'),
            "Resource" => starts_upper(type_name) && !is_data_type(type_name) && !type_name.contains('.'),
            "DomainResource" => {
                self.is_subtype(type_name, "Resource") && !matches!(type_name, "Bundle" | "Binary" | "Parameters")
            }
            _ => false,
        }
    }

    fn resolve<'a>(&'a self, _from: Node<'a>, _reference: &str) -> Option<Node<'a>> {
        None
    }

    fn member_of(&self, _value_set: &str, _codes: &[Code<'_>]) -> Option<bool> {
        None
    }

    fn subsumes(&self, general: &Code<'_>, specific: &Code<'_>) -> Option<bool> {
        (general.system.is_some() && (general.system, general.code) == (specific.system, specific.code)).then_some(true)
    }

    fn conforms_to(&self, _node: Node<'_>, _profile: &str) -> Option<bool> {
        None
    }
}

/// Primitive types of R4 (§2.24), sorted.
const PRIMITIVES: [&str; 20] = [
    "base64Binary",
    "boolean",
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
    "xhtml",
];

/// Complex data types of R4, sorted.
const COMPLEX: [&str; 43] = [
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "BackboneElement",
    "CodeableConcept",
    "Coding",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Count",
    "DataRequirement",
    "Distance",
    "Dosage",
    "Duration",
    "Element",
    "ElementDefinition",
    "Expression",
    "Extension",
    "HumanName",
    "Identifier",
    "MarketingStatus",
    "Meta",
    "Money",
    "MoneyQuantity",
    "Narrative",
    "ParameterDefinition",
    "Period",
    "Population",
    "ProdCharacteristic",
    "ProductShelfLife",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "RelatedArtifact",
    "SampledData",
    "Signature",
    "SimpleQuantity",
    "SubstanceAmount",
    "Timing",
    "TriggerDefinition",
    "UsageContext",
];

pub(super) fn is_primitive(name: &str) -> bool {
    PRIMITIVES.binary_search(&name).is_ok()
}

pub(super) fn is_data_type(name: &str) -> bool {
    is_primitive(name) || COMPLEX.binary_search(&name).is_ok()
}

/// The data type that the suffix of a choice names: `Quantity` of `valueQuantity`, `dateTime` of `valueDateTime`.
pub(super) fn choice_type(suffix: &str) -> Option<&'static str> {
    if let Ok(at) = COMPLEX.binary_search(&suffix) {
        return Some(COMPLEX[at]);
    }
    let (first, rest) = suffix.split_at_checked(1)?;
    PRIMITIVES.into_iter().find(|name| {
        let (initial, tail) = name.split_at(1);
        tail == rest && initial.to_ascii_uppercase() == first
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(PRIMITIVES.is_sorted() && COMPLEX.is_sorted());
    }

    #[test]
    fn a_suffix_names_a_type() {
        let cases =
            [("Quantity", Some("Quantity")), ("DateTime", Some("dateTime")), ("Set", None), ("", None), ("ß", None)];
        for (suffix, expected) in cases {
            assert_eq!(choice_type(suffix), expected, "{suffix}");
        }
    }
}
