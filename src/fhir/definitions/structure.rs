//! A StructureDefinition as rules see it: the snapshot's elements, without prose.
//!
//! Read from the tree, whether the text came out of the binary or out of a package. Only snapshots count; a
//! differential without its snapshot is not a definition that anything can be checked against.

use std::sync::Arc;

use super::package::Kind;
use crate::fhir::tree::{Document, Element, NodeId, json, write};

/// What a structure defines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StructureKind {
    Primitive,
    Complex,
    Resource,
    Logical,
}

impl StructureKind {
    pub fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "primitive-type" => StructureKind::Primitive,
            "complex-type" => StructureKind::Complex,
            "resource" => StructureKind::Resource,
            "logical" => StructureKind::Logical,
            _ => return None,
        })
    }
}

/// One StructureDefinition.
#[derive(Clone, Debug)]
pub struct Structure {
    pub url: String,
    pub version: String,
    pub name: String,
    /// The type that is defined or constrained.
    pub type_name: String,
    pub kind: StructureKind,
    pub abstract_type: bool,
    /// Canonical of the base definition; empty at the root of the hierarchy.
    pub base: String,
    /// A profile or an extension definition, as opposed to a type of its own.
    pub is_profile: bool,
    /// Where an extension may stand; empty where its definition does not say.
    pub contexts: Vec<ExtensionContext>,
    /// Expressions that must hold where an extension stands.
    pub context_invariants: Vec<String>,
    /// Canonicals of the profiles that whatever conforms to this one satisfies as well.
    pub imposed: Vec<String>,
    /// The snapshot, in its order; the first is the root.
    pub elements: Vec<ElementDefinition>,
}

/// One place where an extension may stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtensionContext {
    pub kind: ContextKind,
    pub expression: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextKind {
    /// A type or a path in one.
    Element,
    /// The url of an extension.
    Extension,
    FhirPath,
}

/// One element of a snapshot.
#[derive(Clone, Debug)]
pub struct ElementDefinition {
    pub id: String,
    pub path: String,
    pub slice_name: Option<String>,
    pub min: u32,
    /// `None` is `*`.
    pub max: Option<u32>,
    /// Whether the element repeats in the base type, which decides whether JSON writes an array.
    pub base_repeats: bool,
    pub types: Vec<TypeReference>,
    /// Id of the element whose content this one shares, without the `#`.
    pub content_reference: Option<String>,
    pub fixed: Option<Literal>,
    pub pattern: Option<Literal>,
    pub min_value: Option<Literal>,
    pub max_value: Option<Literal>,
    pub max_length: Option<usize>,
    pub binding: Option<Binding>,
    pub constraints: Vec<Constraint>,
    pub slicing: Option<Slicing>,
    pub is_modifier: bool,
    pub min_length: Option<usize>,
    /// A regular expression that the text must match as a whole.
    pub regex: Option<String>,
    /// Extensions alone do not do.
    pub must_have_value: bool,
    /// Urls of extensions of which one must stand in for an absent value.
    pub value_alternatives: Vec<String>,
}

/// A type that an element may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeReference {
    pub code: String,
    pub profiles: Vec<String>,
    pub targets: Vec<String>,
    /// Where the target of a reference must be; empty where it may be anywhere.
    pub aggregation: Vec<Aggregation>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aggregation {
    Contained,
    Referenced,
    Bundled,
}

/// A value inside a definition: `fixed[x]`, `pattern[x]`, `minValue[x]`.
#[derive(Clone, Debug)]
pub struct Literal {
    pub type_name: String,
    pub document: Arc<Document>,
    pub node: NodeId,
}

impl Literal {
    pub fn element(&self) -> Element<'_> {
        Element::at(&self.document, self.node)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Strength {
    Example,
    Preferred,
    Extensible,
    Required,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    pub strength: Strength,
    pub value_set: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Constraint {
    pub key: String,
    pub is_error: bool,
    pub best_practice: bool,
    pub human: String,
    pub expression: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiscriminatorKind {
    Value,
    Pattern,
    Exists,
    Type,
    Profile,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discriminator {
    pub kind: DiscriminatorKind,
    pub path: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlicingRules {
    Open,
    Closed,
    OpenAtEnd,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slicing {
    pub discriminators: Vec<Discriminator>,
    pub rules: SlicingRules,
    pub ordered: bool,
}

const BEST_PRACTICE: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-bestpractice";
const IMPOSED: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-imposeProfile";
const MIN_LENGTH: &str = "http://hl7.org/fhir/StructureDefinition/minLength";
const REGEX: &str = "http://hl7.org/fhir/StructureDefinition/regex";
/// Elements of later versions that definitions of R4 carry as extensions.
const MUST_HAVE_VALUE: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.mustHaveValue";
const VALUE_ALTERNATIVES: &str =
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.valueAlternatives";
const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";
const SYSTEM_TYPE: &str = "http://hl7.org/fhirpath/System.";

impl Structure {
    /// Reads a StructureDefinition; `None` where it lacks a url, a type, a known kind or a snapshot.
    pub fn read(document: &Document, node: NodeId) -> Option<Structure> {
        let root = Element::at(document, node);
        let text = |name| root.text_of(name).unwrap_or_default().to_owned();
        let elements: Vec<ElementDefinition> = root
            .get("snapshot")?
            .all("element")
            .filter_map(|element| ElementDefinition::read(document, element))
            .collect();
        let kind = StructureKind::parse(root.text_of("kind")?)?;
        if elements.is_empty() || root.text_of("url").is_none() || root.text_of("type").is_none() {
            return None;
        }
        Some(Structure {
            url: text("url"),
            version: text("version"),
            name: text("name"),
            type_name: text("type"),
            kind,
            abstract_type: root.text_of("abstract") == Some("true"),
            base: text("baseDefinition"),
            is_profile: root.text_of("derivation") == Some("constraint"),
            contexts: root.all("context").filter_map(ExtensionContext::read).collect(),
            context_invariants: root
                .all("contextInvariant")
                .filter_map(|each| each.text())
                .map(str::to_owned)
                .collect(),
            imposed: extended(root, IMPOSED).map(str::to_owned).collect(),
            elements,
        })
    }
}

impl Structure {
    /// Hands out each reference to another definition, so that it can be changed.
    pub fn each_reference(&mut self, mut change: impl FnMut(Kind, &mut String)) {
        change(Kind::StructureDefinition, &mut self.base);
        for element in &mut self.elements {
            for reference in &mut element.types {
                reference
                    .profiles
                    .iter_mut()
                    .chain(&mut reference.targets)
                    .for_each(|each| change(Kind::StructureDefinition, each));
            }
            if let Some(binding) = &mut element.binding {
                change(Kind::ValueSet, &mut binding.value_set);
            }
        }
    }
}

/// The values of an element's extensions of that url.
fn extended<'d>(element: Element<'d>, url: &'static str) -> impl Iterator<Item = &'d str> {
    element
        .all("extension")
        .filter(move |each| each.text_of("url") == Some(url))
        .filter_map(|each| each.children().find(|(name, _)| name.starts_with("value"))?.1.text())
}

impl ExtensionContext {
    fn read(element: Element<'_>) -> Option<ExtensionContext> {
        let kind = match element.text_of("type")? {
            "fhirpath" => ContextKind::FhirPath,
            "extension" => ContextKind::Extension,
            _ => ContextKind::Element,
        };
        Some(ExtensionContext { kind, expression: element.text_of("expression")?.to_owned() })
    }
}

impl ElementDefinition {
    fn read(document: &Document, element: Element<'_>) -> Option<ElementDefinition> {
        let path = element.text_of("path")?.to_owned();
        let max = element.text_of("max").unwrap_or("*");
        let base_max = element.get("base").and_then(|base| base.text_of("max")).unwrap_or(max);
        Some(ElementDefinition {
            id: element.text_of("id").unwrap_or(&path).to_owned(),
            slice_name: element.text_of("sliceName").map(str::to_owned),
            min: element.text_of("min").and_then(|text| text.parse().ok()).unwrap_or(0),
            max: max.parse().ok(),
            base_repeats: !matches!(base_max, "0" | "1"),
            types: element.all("type").filter_map(TypeReference::read).collect(),
            content_reference: element
                .text_of("contentReference")
                .and_then(|text| text.rsplit_once('#'))
                .map(|(_, id)| id.to_owned()),
            fixed: Literal::read(document, element, "fixed"),
            pattern: Literal::read(document, element, "pattern"),
            min_value: Literal::read(document, element, "minValue"),
            max_value: Literal::read(document, element, "maxValue"),
            max_length: element.text_of("maxLength").and_then(|text| text.parse().ok()),
            binding: element.get("binding").and_then(Binding::read),
            constraints: element.all("constraint").filter_map(Constraint::read).collect(),
            slicing: element.get("slicing").map(Slicing::read),
            is_modifier: element.text_of("isModifier") == Some("true"),
            min_length: extended(element, MIN_LENGTH).find_map(|text| text.parse().ok()),
            regex: extended(element, REGEX)
                .chain(element.all("type").flat_map(|each| extended(each, REGEX)))
                .next()
                .map(str::to_owned),
            must_have_value: extended(element, MUST_HAVE_VALUE).any(|text| text == "true"),
            value_alternatives: extended(element, VALUE_ALTERNATIVES).map(str::to_owned).collect(),
            path,
        })
    }

    /// Last part of the path: the element's own name, `value[x]` for a choice.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

impl TypeReference {
    fn read(element: Element<'_>) -> Option<TypeReference> {
        let code = element.text_of("code")?;
        let code = if code.starts_with(SYSTEM_TYPE) {
            let said = element.all("extension").find(|each| each.text_of("url") == Some(FHIR_TYPE));
            let said = said.and_then(|each| each.text_of("valueUrl").or_else(|| each.text_of("valueUri")));
            said.unwrap_or("string")
        } else {
            code
        };
        let listed = |name| element.all(name).filter_map(|each| each.text()).map(str::to_owned).collect();
        let aggregation = element.all("aggregation").filter_map(|each| match each.text()? {
            "contained" => Some(Aggregation::Contained),
            "bundled" => Some(Aggregation::Bundled),
            _ => Some(Aggregation::Referenced),
        });
        Some(TypeReference {
            code: code.to_owned(),
            profiles: listed("profile"),
            targets: listed("targetProfile"),
            aggregation: aggregation.collect(),
        })
    }
}

impl Literal {
    fn read(document: &Document, element: Element<'_>, prefix: &str) -> Option<Literal> {
        let node = element.value_node()?;
        document.children(node).find_map(|member| {
            let type_name = document.key(member).strip_prefix(prefix)?;
            let first = type_name.chars().next().filter(char::is_ascii_uppercase)?;
            let lowered = format!("{}{}", first.to_ascii_lowercase(), &type_name[1..]);
            let type_name = if is_primitive(&lowered) { lowered } else { type_name.to_owned() };
            // A text of its own: the value outlives the definition that it stands in.
            let document = json::parse(format!("{{\"value\":{}}}", write::compact(document, member))).ok()?;
            let node = document.member(NodeId::ROOT, "value")?;
            Some(Literal { type_name, document: Arc::new(document), node })
        })
    }
}

/// The primitive types of R4 (§2.24.0.1).
pub fn is_primitive(name: &str) -> bool {
    matches!(
        name,
        "base64Binary"
            | "boolean"
            | "canonical"
            | "code"
            | "date"
            | "dateTime"
            | "decimal"
            | "id"
            | "instant"
            | "integer"
            | "markdown"
            | "oid"
            | "positiveInt"
            | "string"
            | "time"
            | "unsignedInt"
            | "uri"
            | "url"
            | "uuid"
            | "xhtml"
    )
}

impl Binding {
    fn read(element: Element<'_>) -> Option<Binding> {
        let strength = match element.text_of("strength")? {
            "required" => Strength::Required,
            "extensible" => Strength::Extensible,
            "preferred" => Strength::Preferred,
            _ => Strength::Example,
        };
        Some(Binding { strength, value_set: element.text_of("valueSet")?.to_owned() })
    }
}

impl Constraint {
    fn read(element: Element<'_>) -> Option<Constraint> {
        Some(Constraint {
            key: element.text_of("key")?.to_owned(),
            is_error: element.text_of("severity") == Some("error"),
            best_practice: element.all("extension").any(|each| each.text_of("url") == Some(BEST_PRACTICE)),
            human: element.text_of("human").unwrap_or_default().to_owned(),
            expression: element.text_of("expression")?.to_owned(),
        })
    }
}

impl Slicing {
    fn read(element: Element<'_>) -> Slicing {
        let discriminators = element.all("discriminator").filter_map(|each| {
            let kind = match each.text_of("type")? {
                "pattern" => DiscriminatorKind::Pattern,
                "exists" => DiscriminatorKind::Exists,
                "type" => DiscriminatorKind::Type,
                "profile" => DiscriminatorKind::Profile,
                _ => DiscriminatorKind::Value,
            };
            Some(Discriminator { kind, path: each.text_of("path")?.to_owned() })
        });
        Slicing {
            discriminators: discriminators.collect(),
            rules: match element.text_of("rules") {
                Some("closed") => SlicingRules::Closed,
                Some("openAtEnd") => SlicingRules::OpenAtEnd,
                _ => SlicingRules::Open,
            },
            ordered: element.text_of("ordered") == Some("true"),
        }
    }
}
