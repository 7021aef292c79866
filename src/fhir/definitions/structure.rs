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
    /// Where an extension may stand; one of them must hold.
    pub contexts: Vec<ExtensionContext>,
    /// Expressions that must hold of the element that carries the extension; all of them.
    pub context_invariants: Vec<String>,
    /// Profiles that hold wherever this one does.
    pub imposes: Vec<String>,
    /// Profiles that this one claims to be compatible with.
    pub complies_with: Vec<String>,
    /// The snapshot, in its order; the first is the root.
    pub elements: Vec<ElementDefinition>,
}

/// A place where an extension may stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtensionContext {
    pub kind: ContextKind,
    pub expression: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextKind {
    /// An element by its path or its type.
    Element,
    /// Another extension, by its canonical.
    Extension,
    /// What an expression selects.
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
    pub min_length: Option<usize>,
    /// Regular expression that the whole of a primitive must match, besides the one of its type.
    pub regex: Option<String>,
    pub binding: Option<Binding>,
    pub constraints: Vec<Constraint>,
    pub slicing: Option<Slicing>,
    pub is_modifier: bool,
    pub is_summary: bool,
    pub must_support: bool,
    /// Extensions alone do not do.
    pub must_have_value: bool,
    /// Urls of extensions of which one must stand in for an absent value.
    pub value_alternatives: Vec<String>,
    /// Of a narrative: what is asked of its sections by language, and whether its content must say its source.
    pub narrative_languages: Vec<String>,
    pub narrative_sources: bool,
}

/// A type that an element may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeReference {
    pub code: String,
    pub profiles: Vec<String>,
    pub targets: Vec<String>,
    /// How what is referred to may be carried; any way where empty.
    pub aggregation: Vec<Aggregation>,
    pub versioning: Versioning,
    /// Regular expression that the type sets for its text.
    pub regex: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aggregation {
    Contained,
    Referenced,
    Bundled,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Versioning {
    #[default]
    Either,
    Independent,
    Specific,
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
    /// The set beyond which an extensible or preferred binding must not be extended.
    pub max: Option<String>,
    /// The set that a system must support at least.
    pub min: Option<String>,
    pub additional: Vec<AdditionalBinding>,
}

/// A further value set that holds beside the binding's own, or under a condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdditionalBinding {
    /// Code of what it is for: `maximum`, `required`, `extensible`, `candidate`, `current`, `preferred`, `ui` …
    pub purpose: String,
    pub value_set: String,
    /// Whether one repetition is enough to satisfy it.
    pub any: bool,
    /// Where it is limited to a usage context, which nobody can decide from the resource alone.
    pub conditional: bool,
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
const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";
const REGEX: &str = "http://hl7.org/fhir/StructureDefinition/regex";
const MUST_HAVE_VALUE: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.mustHaveValue";
const VALUE_ALTERNATIVES: &str =
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.valueAlternatives";
const NARRATIVE_LANGUAGES: &str = "http://hl7.org/fhir/StructureDefinition/narrative-language-control";
const NARRATIVE_SOURCES: &str = "http://hl7.org/fhir/StructureDefinition/narrative-source-control";
const MIN_LENGTH: &str = "http://hl7.org/fhir/StructureDefinition/minLength";
const MAX_VALUE_SET: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet";
const MIN_VALUE_SET: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-minValueSet";
const IMPOSE_PROFILE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-imposeProfile";
const COMPLIES_WITH: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-compliesWithProfile";
/// The tools' own name of it, and the one that R5 gave it.
const ADDITIONAL_BINDING: [&str; 2] = [
    "http://hl7.org/fhir/tools/StructureDefinition/additional-binding",
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.binding.additional",
];
const SYSTEM_TYPE: &str = "http://hl7.org/fhirpath/System.";

impl Structure {
    /// Reads a StructureDefinition; `None` where it lacks a url, a type, a known kind or any elements. One that has
    /// only a differential is read without elements.
    pub fn read(document: &Document, node: NodeId) -> Option<Structure> {
        let root = Element::at(document, node);
        let text = |name| root.text_of(name).unwrap_or_default().to_owned();
        let snapshot = root.get("snapshot").into_iter().flat_map(|snapshot| snapshot.all("element"));
        let elements: Vec<ElementDefinition> =
            snapshot.filter_map(|element| ElementDefinition::read(document, element)).collect();
        let kind = StructureKind::parse(root.text_of("kind")?)?;
        let has_elements = !elements.is_empty() || differential(root).next().is_some();
        if !has_elements || root.text_of("url").is_none() || root.text_of("type").is_none() {
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
            context_invariants: root.all("contextInvariant").filter_map(|each| Some(each.text()?.to_owned())).collect(),
            imposes: extensions(root, IMPOSE_PROFILE).filter_map(canonical_of).collect(),
            complies_with: extensions(root, COMPLIES_WITH).filter_map(canonical_of).collect(),
            elements,
        })
    }
}

/// The elements of a differential, in their order.
pub fn differential(root: Element<'_>) -> impl Iterator<Item = Element<'_>> {
    root.get("differential").into_iter().flat_map(|differential| differential.all("element"))
}

fn extensions<'d>(element: Element<'d>, url: &'static str) -> impl Iterator<Item = Element<'d>> {
    element.all("extension").filter(move |each| each.text_of("url") == Some(url))
}

fn canonical_of(extension: Element<'_>) -> Option<String> {
    let text =
        ["valueCanonical", "valueUri", "valueUrl", "valueString"].iter().find_map(|name| extension.text_of(name));
    text.map(str::to_owned)
}

impl ExtensionContext {
    fn read(element: Element<'_>) -> Option<ExtensionContext> {
        let kind = match element.text_of("type")? {
            "extension" => ContextKind::Extension,
            "fhirpath" => ContextKind::FhirPath,
            _ => ContextKind::Element,
        };
        Some(ExtensionContext { kind, expression: element.text_of("expression")?.to_owned() })
    }
}

impl Structure {
    /// Hands out each reference to another definition, so that it can be changed.
    pub fn each_reference(&mut self, mut change: impl FnMut(Kind, &mut String)) {
        change(Kind::StructureDefinition, &mut self.base);
        self.imposes.iter_mut().for_each(|each| change(Kind::StructureDefinition, each));
        for element in &mut self.elements {
            for reference in &mut element.types {
                reference
                    .profiles
                    .iter_mut()
                    .chain(&mut reference.targets)
                    .for_each(|each| change(Kind::StructureDefinition, each));
            }
            if let Some(binding) = &mut element.binding {
                let further = binding.additional.iter_mut().map(|each| &mut each.value_set);
                let sets = std::iter::once(&mut binding.value_set).chain(&mut binding.max).chain(&mut binding.min);
                sets.chain(further).for_each(|each| change(Kind::ValueSet, each));
            }
        }
    }
}

impl ElementDefinition {
    fn read(document: &Document, element: Element<'_>) -> Option<ElementDefinition> {
        let path = element.text_of("path")?;
        let mut read = ElementDefinition::at(element.text_of("id").unwrap_or(path), path);
        read.change(document, element);
        let base_max = element.get("base").and_then(|base| base.text_of("max"));
        read.base_repeats = base_max.map_or(read.max != Some(1) && read.max != Some(0), repeats);
        Some(read)
    }

    /// An element of which nothing is said.
    pub fn at(id: &str, path: &str) -> ElementDefinition {
        ElementDefinition {
            id: id.to_owned(),
            path: path.to_owned(),
            slice_name: None,
            min: 0,
            max: None,
            base_repeats: false,
            types: Vec::new(),
            content_reference: None,
            fixed: None,
            pattern: None,
            min_value: None,
            max_value: None,
            max_length: None,
            min_length: None,
            regex: None,
            binding: None,
            constraints: Vec::new(),
            slicing: None,
            is_modifier: false,
            is_summary: false,
            must_support: false,
            must_have_value: false,
            value_alternatives: Vec::new(),
            narrative_languages: Vec::new(),
            narrative_sources: false,
        }
    }

    /// Takes over what another definition of the element says; what it is silent about stays. Types and bindings are
    /// said as a whole, constraints are added, slicing is left to who knows the slices.
    pub fn change(&mut self, document: &Document, said: Element<'_>) {
        if let Some(name) = said.text_of("sliceName") {
            self.slice_name = Some(name.to_owned());
        }
        if let Some(min) = said.text_of("min").and_then(|text| text.parse().ok()) {
            self.min = min;
        }
        if let Some(max) = said.text_of("max") {
            self.max = max.parse().ok();
        }
        let types: Vec<TypeReference> = said.all("type").filter_map(TypeReference::read).collect();
        if !types.is_empty() {
            self.types = types;
        }
        if let Some((_, id)) = said.text_of("contentReference").and_then(|text| text.rsplit_once('#')) {
            self.content_reference = Some(id.to_owned());
        }
        for (prefix, place) in [
            ("fixed", &mut self.fixed),
            ("pattern", &mut self.pattern),
            ("minValue", &mut self.min_value),
            ("maxValue", &mut self.max_value),
        ] {
            if let Some(literal) = Literal::read(document, said, prefix) {
                *place = Some(literal);
            }
        }
        let length = |text: &str| text.parse().ok();
        self.max_length = said.text_of("maxLength").and_then(length).or(self.max_length);
        let min_length = extensions(said, MIN_LENGTH).find_map(|each| each.text_of("valueInteger"));
        self.min_length = min_length.and_then(length).or(self.min_length);
        if let Some(regex) = extensions(said, REGEX).find_map(|each| each.text_of("valueString")) {
            self.regex = Some(regex.to_owned());
        }
        if let Some(binding) = said.get("binding").and_then(|binding| Binding::read(binding, self.binding.as_ref())) {
            self.binding = Some(binding);
        }
        for constraint in said.all("constraint").filter_map(Constraint::read) {
            if !self.constraints.iter().any(|known| known.key == constraint.key) {
                self.constraints.push(constraint);
            }
        }
        if let Some(slicing) = said.get("slicing") {
            self.slicing = Some(Slicing::read(slicing));
        }
        let flag = |name: &str| said.text_of(name).map(|text| text == "true");
        self.is_modifier = flag("isModifier").unwrap_or(self.is_modifier);
        self.is_summary = flag("isSummary").unwrap_or(self.is_summary);
        self.must_support = flag("mustSupport").unwrap_or(self.must_support);
        if let Some(text) = extensions(said, MUST_HAVE_VALUE).find_map(|each| each.text_of("valueBoolean")) {
            self.must_have_value = text == "true";
        }
        for code in extensions(said, NARRATIVE_LANGUAGES).filter_map(|each| each.text_of("valueCode")) {
            if !self.narrative_languages.iter().any(|known| known == code) {
                self.narrative_languages.push(code.to_owned());
            }
        }
        self.narrative_sources |= extensions(said, NARRATIVE_SOURCES).next().is_some();
        let alternatives = extensions(said, VALUE_ALTERNATIVES).filter_map(canonical_of);
        for alternative in alternatives {
            if !self.value_alternatives.contains(&alternative) {
                self.value_alternatives.push(alternative);
            }
        }
    }

    /// Last part of the path: the element's own name, `value[x]` for a choice.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

/// Whether JSON writes an array where that many are allowed at most.
fn repeats(max: &str) -> bool {
    !matches!(max, "0" | "1")
}

impl TypeReference {
    /// A type without anything that narrows it.
    pub fn of(code: &str) -> TypeReference {
        TypeReference {
            code: code.to_owned(),
            profiles: Vec::new(),
            targets: Vec::new(),
            aggregation: Vec::new(),
            versioning: Versioning::Either,
            regex: None,
        }
    }

    pub fn read(element: Element<'_>) -> Option<TypeReference> {
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
            "referenced" => Some(Aggregation::Referenced),
            "bundled" => Some(Aggregation::Bundled),
            _ => None,
        });
        Some(TypeReference {
            profiles: listed("profile"),
            targets: listed("targetProfile"),
            aggregation: aggregation.collect(),
            versioning: match element.text_of("versioning") {
                Some("independent") => Versioning::Independent,
                Some("specific") => Versioning::Specific,
                _ => Versioning::Either,
            },
            regex: extensions(element, REGEX).find_map(|each| Some(each.text_of("valueString")?.to_owned())),
            ..TypeReference::of(code)
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
    /// Reads a binding; what it does not say is as it was before.
    fn read(element: Element<'_>, before: Option<&Binding>) -> Option<Binding> {
        let strength = match element.text_of("strength") {
            Some("required") => Strength::Required,
            Some("extensible") => Strength::Extensible,
            Some("preferred") => Strength::Preferred,
            Some(_) => Strength::Example,
            None => before?.strength,
        };
        let value_set = match element.text_of("valueSet") {
            Some(canonical) => canonical.to_owned(),
            None => before?.value_set.clone(),
        };
        let additional =
            ADDITIONAL_BINDING.iter().flat_map(|url| extensions(element, url)).chain(element.all("additional"));
        Some(Binding {
            strength,
            value_set,
            max: extensions(element, MAX_VALUE_SET).find_map(canonical_of),
            min: extensions(element, MIN_VALUE_SET).find_map(canonical_of),
            additional: additional.filter_map(AdditionalBinding::read).collect(),
        })
    }
}

impl AdditionalBinding {
    /// Reads one as an extension with parts, or as R5 writes it.
    fn read(element: Element<'_>) -> Option<AdditionalBinding> {
        let part = |name: &str| element.all("extension").find(|each| each.text_of("url") == Some(name));
        let text = |name: &str, value: &str| {
            let within = part(name).and_then(|part| part.text_of(value));
            within.or_else(|| element.text_of(name))
        };
        Some(AdditionalBinding {
            purpose: text("purpose", "valueCode")?.to_owned(),
            value_set: text("valueSet", "valueCanonical")?.to_owned(),
            any: text("any", "valueBoolean") == Some("true"),
            conditional: part("usage").is_some() || element.get("usage").is_some(),
        })
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
