//! A compiled profile: what is checked, as a flat table that prints itself.
//!
//! Two uses of one shape. A type's own plan is full: it lists every child, and what it does not list does
//! not exist. A profile's plan is sparse: it holds only what the profile demands beyond its base type, so
//! that checking a resource against three profiles costs the base once and each difference once. The print
//! of a sparse plan is a golden file: it shows in a page what a snapshot says in a thousand lines.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::compile::invariants::{Check, Invariant};
use super::rules::narrative::Control;
use super::rules::primitive::Primitive;
use crate::fhir::definitions::names::NameMap;
use crate::fhir::definitions::{Aggregation, Literal, SlicingRules, Strength, ValueSet};
use crate::fhir::fhirpath::Expression;
use crate::fhir::tree::{Kind, Tag, write};

/// Index of a node in its profile.
pub type NodeIndex = usize;

/// A type's plan or a profile's, compiled.
#[derive(Debug, Default)]
pub struct Profile {
    pub url: String,
    pub type_name: String,
    /// What an extension's definition says about its place and its parts.
    pub extension: Option<ExtensionRules>,
    /// Canonicals of the profiles that must be satisfied as well.
    pub imposed: Vec<String>,
    /// The first is the root.
    pub nodes: Vec<Node>,
    /// Where the node of a path stands; full plans only.
    pub paths: NameMap<Box<str>, NodeIndex>,
}

/// Where an extension may stand, and what a complex one is made of.
#[derive(Debug, Default)]
pub struct ExtensionRules {
    pub is_modifier: bool,
    /// Empty where it may stand anywhere.
    pub contexts: Vec<Context>,
    pub invariants: Vec<(Box<str>, Option<Expression>)>,
    /// Urls of the extensions inside that the definition names.
    pub parts: Vec<Box<str>>,
}

/// One place where an extension may stand.
#[derive(Debug)]
pub enum Context {
    /// A type, and the path inside it.
    Element(Box<str>, Vec<Box<str>>),
    /// The url of the extension around it.
    Extension(Box<str>),
    /// Whatever the expression selects from the resource.
    Selected(Expression),
    /// The expression is none.
    Undecided,
}

/// The rules of one element.
#[derive(Debug, Default)]
pub struct Node {
    /// Name of the element without `[x]`.
    pub name: Box<str>,
    /// Definition path: `Observation.component.value[x]`.
    pub path: Box<str>,
    /// The FHIR type of the element, or its path where it is part of a type; empty for a choice.
    pub type_name: Box<str>,
    pub choice: bool,
    /// Whether JSON writes an array.
    pub repeats: bool,
    pub min: u32,
    /// `u32::MAX` is `*`.
    pub max: u32,
    /// Full plan: every type. Sparse plan: the types that are left, empty where nothing is restricted.
    pub types: Vec<TypeRule>,
    pub fixed: Option<Literal>,
    pub pattern: Option<Literal>,
    pub min_value: Option<Literal>,
    pub max_value: Option<Literal>,
    pub max_length: Option<usize>,
    pub min_length: Option<usize>,
    /// What the text must match as a whole.
    pub regex: Option<Regex>,
    /// Extensions alone do not do.
    pub must_have_value: bool,
    /// Urls of the extensions of which one must stand in for an absent value.
    pub value_alternatives: Vec<Box<str>>,
    /// What is asked of a narrative.
    pub narrative: Control,
    pub binding: Option<Bound>,
    pub invariants: Arc<[Invariant]>,
    pub slicing: Option<Slices>,
    pub children: Vec<NodeIndex>,
    /// Positions in `children` of those that may stand too seldom or too often; what neither repeats in JSON nor has
    /// several keys cannot stand too often.
    pub counted: Box<[usize]>,
    /// Whether there are invariants that no other rule answers.
    pub has_invariants: bool,
    /// Whether something is asked of the value itself: fixed, pattern, range, length, form.
    pub has_value_rules: bool,
    /// JSON keys of the children, in the order of the definition; full plans only.
    pub keys: Vec<Key>,
}

pub const UNBOUNDED: u32 = u32::MAX;

/// A JSON key and what it leads to.
#[derive(Debug)]
pub struct Key {
    pub tag: Tag,
    pub text: Box<str>,
    /// Position in the parent's `children`.
    pub child: usize,
    /// Position in the child's `types`.
    pub type_at: usize,
}

/// One allowed type.
#[derive(Debug, Clone)]
pub struct TypeRule {
    pub name: Box<str>,
    /// The rules that its name calls for.
    pub asks: Asks,
    pub content: Content,
    /// Canonicals of which one must be satisfied; empty where the type itself is enough.
    pub profiles: Vec<Box<str>>,
    /// Names of the resource types that a reference may point to; empty where any may.
    pub targets: Vec<Box<str>>,
    /// Canonicals of which the target of a reference must satisfy one; empty where its type is enough.
    pub target_profiles: Vec<Box<str>>,
    /// Where the target must be; empty where it may be anywhere.
    pub aggregation: Vec<Aggregation>,
}

/// The types that have rules beside their plans.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Asks {
    #[default]
    Nothing,
    Attachment,
    Canonical,
    Coding,
    Extension,
    Identifier,
    Markdown,
    Narrative,
    Quantity,
    Reference,
}

impl Asks {
    fn of(name: &str) -> Asks {
        match name {
            "Attachment" => Asks::Attachment,
            "canonical" => Asks::Canonical,
            "Coding" => Asks::Coding,
            "Extension" => Asks::Extension,
            "Identifier" => Asks::Identifier,
            "markdown" => Asks::Markdown,
            "Narrative" => Asks::Narrative,
            "Quantity" | "Age" | "Count" | "Distance" | "Duration" => Asks::Quantity,
            "Reference" => Asks::Reference,
            _ => Asks::Nothing,
        }
    }
}

/// Where the rules of a value of that type stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    Primitive(Primitive),
    /// Index into the validator's data types.
    Complex(usize),
    /// The children of a node of the same plan.
    Inline(NodeIndex),
    /// Any resource.
    Resource,
    /// In the type's own plan, which is walked on its own.
    Elsewhere,
}

/// A binding with its value set at hand; `None` where the set is not loaded.
#[derive(Debug)]
pub struct Bound {
    pub strength: Strength,
    pub canonical: Box<str>,
    pub set: Option<Arc<ValueSet>>,
    /// The set beyond which even an extensible or preferred binding must not go; a required binding by itself.
    pub most: Option<Box<Bound>>,
    /// Further bindings that hold beside this one.
    pub further: Vec<Bound>,
}

/// The slicing of an element.
#[derive(Debug)]
pub struct Slices {
    pub rules: SlicingRules,
    pub ordered: bool,
    pub slices: Vec<Slice>,
}

#[derive(Debug)]
pub struct Slice {
    pub name: Box<str>,
    /// All must hold for an element to belong to the slice. Empty: the slice cannot be told apart, and
    /// nothing belongs to it.
    pub tests: Vec<Test>,
    /// The slice's own rules; its cardinality is the slice's.
    pub node: NodeIndex,
}

/// What one discriminator asks of an element.
#[derive(Debug)]
pub struct Test {
    pub path: Vec<Step>,
    pub check: TestKind,
}

#[derive(Debug)]
pub enum TestKind {
    Fixed(Literal),
    Pattern(Literal),
    /// The canonical of an extension's definition.
    Url(Box<str>),
    Member(Arc<ValueSet>),
    Exists(bool),
    Types(Vec<Box<str>>),
    Profile(Vec<Box<str>>),
}

/// One step of a discriminator's path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    Child(Box<str>),
    Extension(Box<str>),
    OfType(Box<str>),
    Resolve,
}

impl Profile {
    /// Works out what the run would otherwise work out for every element.
    pub fn made_ready(mut self) -> Profile {
        for index in 0..self.nodes.len() {
            let may_be_many = |child: &Node| child.repeats || child.choice || child.max == 0;
            let is_counted = |child: &Node| child.min > 0 || (child.max != UNBOUNDED && may_be_many(child));
            let children = self.nodes[index].children.iter().enumerate();
            let counted = children.filter(|(_, child)| is_counted(&self.nodes[**child])).map(|(at, _)| at).collect();
            let node = &mut self.nodes[index];
            node.counted = counted;
            node.has_invariants = node.invariants.iter().any(|each| !matches!(each.check, Check::Elsewhere));
            node.has_value_rules = node.asks_of_value();
            for rule in &mut node.types {
                rule.asks = Asks::of(&rule.name);
            }
        }
        self
    }

    pub fn root(&self) -> &Node {
        &self.nodes[0]
    }
}

impl Node {
    /// Whether there is nothing that this node asks for.
    pub fn is_idle(&self) -> bool {
        self.min == 0
            && self.max == UNBOUNDED
            && self.types.is_empty()
            && !self.asks_of_value()
            && self.narrative.is_idle()
            && self.binding.is_none()
            && self.invariants.is_empty()
            && self.slicing.is_none()
            && self.children.is_empty()
    }

    fn asks_of_value(&self) -> bool {
        self.fixed.is_some()
            || self.pattern.is_some()
            || self.min_value.is_some()
            || self.max_value.is_some()
            || self.max_length.is_some()
            || self.min_length.is_some()
            || self.regex.is_some()
            || self.must_have_value
            || !self.value_alternatives.is_empty()
    }
}

/// `Quantity` for `valueQuantity`, `string` for `valueString`: the type that a choice's key names.
pub fn type_of_suffix(suffix: &str) -> &str {
    match suffix {
        "Base64Binary" => "base64Binary",
        "Boolean" => "boolean",
        "Canonical" => "canonical",
        "Code" => "code",
        "Date" => "date",
        "DateTime" => "dateTime",
        "Decimal" => "decimal",
        "Id" => "id",
        "Instant" => "instant",
        "Integer" => "integer",
        "Markdown" => "markdown",
        "Oid" => "oid",
        "PositiveInt" => "positiveInt",
        "String" => "string",
        "Time" => "time",
        "UnsignedInt" => "unsignedInt",
        "Uri" => "uri",
        "Url" => "url",
        "Uuid" => "uuid",
        other => other,
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "profile {} on {}", self.url, self.type_name)?;
        self.print(formatter, 0, 1, &self.type_name)
    }
}

impl Profile {
    fn print(&self, formatter: &mut fmt::Formatter<'_>, at: NodeIndex, depth: usize, label: &str) -> fmt::Result {
        let node = &self.nodes[at];
        let indent = "  ".repeat(depth);
        write!(formatter, "{indent}{label}")?;
        if node.min > 0 || node.max != UNBOUNDED {
            let max = if node.max == UNBOUNDED { "*".to_owned() } else { node.max.to_string() };
            write!(formatter, " {}..{max}", node.min)?;
        }
        if !node.types.is_empty() {
            let types: Vec<String> = node.types.iter().map(ToString::to_string).collect();
            write!(formatter, " {}", types.join(" or "))?;
        }
        writeln!(formatter)?;
        node.print_values(formatter, &format!("{indent}  "))?;
        for child in &node.children {
            self.print(formatter, *child, depth + 1, &format!(".{}", label_of(&self.nodes[*child])))?;
        }
        if let Some(slicing) = &node.slicing {
            let order = if slicing.ordered { ", ordered" } else { "" };
            writeln!(formatter, "{indent}  sliced {:?}{order}", slicing.rules)?;
            for slice in &slicing.slices {
                for test in &slice.tests {
                    writeln!(formatter, "{indent}  : {} if {test}", slice.name)?;
                }
                self.print(formatter, slice.node, depth + 2, &format!(":{}", slice.name))?;
            }
        }
        Ok(())
    }
}

impl Node {
    fn print_values(&self, formatter: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let literals = [
            ("fixed", &self.fixed),
            ("pattern", &self.pattern),
            ("at least", &self.min_value),
            ("at most", &self.max_value),
        ];
        for (word, literal) in literals {
            if let Some(literal) = literal {
                writeln!(formatter, "{indent}{word} {}", shown(literal))?;
            }
        }
        if let Some(length) = self.max_length {
            writeln!(formatter, "{indent}at most {length} characters")?;
        }
        if let Some(length) = self.min_length {
            writeln!(formatter, "{indent}at least {length} characters")?;
        }
        if let Some(regex) = &self.regex {
            writeln!(formatter, "{indent}matches {regex}")?;
        }
        if self.must_have_value {
            writeln!(formatter, "{indent}has a value")?;
        }
        if !self.value_alternatives.is_empty() {
            writeln!(formatter, "{indent}has a value or {}", self.value_alternatives.join(" or "))?;
        }
        if !self.narrative.is_idle() {
            writeln!(formatter, "{indent}{:?}", self.narrative)?;
        }
        if let Some(binding) = &self.binding {
            let known = if binding.set.is_some() { "" } else { " (not loaded)" };
            writeln!(formatter, "{indent}{:?} binding {}{known}", binding.strength, binding.canonical)?;
            if let Some(most) = &binding.most {
                writeln!(formatter, "{indent}at most {}", most.canonical)?;
            }
            for further in &binding.further {
                writeln!(formatter, "{indent}besides {:?} binding {}", further.strength, further.canonical)?;
            }
        }
        for invariant in &*self.invariants {
            writeln!(formatter, "{indent}{invariant}")?;
        }
        Ok(())
    }
}

fn label_of(node: &Node) -> String {
    format!("{}{}", node.name, if node.choice { "[x]" } else { "" })
}

/// A definition's value on one line.
pub fn shown(literal: &Literal) -> String {
    match literal.document.kind(literal.node) {
        Kind::Object | Kind::Array => write::compact(&literal.document, literal.node),
        _ => format!("'{}'", literal.document.value(literal.node)),
    }
}

impl fmt::Display for TypeRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if !self.profiles.is_empty() {
            write!(formatter, " as {}", self.profiles.join(" or "))?;
        }
        if !self.targets.is_empty() {
            write!(formatter, "({})", self.targets.join(" | "))?;
        }
        if !self.target_profiles.is_empty() {
            write!(formatter, " to {}", self.target_profiles.join(" or "))?;
        }
        if !self.aggregation.is_empty() {
            write!(formatter, " {:?}", self.aggregation)?;
        }
        Ok(())
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<String> = self.path.iter().map(ToString::to_string).collect();
        let path = if path.is_empty() { "$this".to_owned() } else { path.join(".") };
        match &self.check {
            TestKind::Fixed(literal) => write!(formatter, "{path} = {}", shown(literal)),
            TestKind::Pattern(literal) => write!(formatter, "{path} ~ {}", shown(literal)),
            TestKind::Url(url) => write!(formatter, "{path} = '{url}'"),
            TestKind::Member(set) => write!(formatter, "{path} in {}", set.url),
            TestKind::Exists(true) => write!(formatter, "{path} exists"),
            TestKind::Exists(false) => write!(formatter, "{path} is absent"),
            TestKind::Types(types) => write!(formatter, "{path} is {}", types.join(" or ")),
            TestKind::Profile(profiles) => write!(formatter, "{path} conforms to {}", profiles.join(" or ")),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Child(name) => formatter.write_str(name),
            Step::Extension(url) => write!(formatter, "extension('{url}')"),
            Step::OfType(name) => write!(formatter, "ofType({name})"),
            Step::Resolve => formatter.write_str("resolve()"),
        }
    }
}
