//! What XML does not say of itself and its reader must be told: which elements repeat, which are numbers, which hold
//! a resource, which are attributes, and in which order they stand. Whoever holds the definitions answers.

/// The form of an element's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form<I> {
    /// A primitive that JSON writes as a string.
    Text,
    Number,
    Boolean,
    /// XHTML, kept as it was written.
    Narrative,
    /// Elements of its own.
    Complex(I),
    /// A resource of any type.
    Resource,
}

/// An element as its parent's definition knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape<I> {
    /// Its place among its siblings.
    pub place: usize,
    /// Length of its name without the type that a choice appends.
    pub name: usize,
    pub repeats: bool,
    /// XML writes it as an attribute: `id` of an element and `url` of an extension (R4 §2.6.1.1).
    pub attribute: bool,
    pub form: Form<I>,
}

/// Knows the shapes of resources and data types.
pub trait Shapes {
    /// Stands for a type or a part of one, whose children can be asked for.
    type Inside: Copy;

    /// The children of a resource type; `None` where there is no such type.
    fn resource(&self, name: &str) -> Option<Self::Inside>;

    /// The children of a primitive: its id and extensions.
    fn primitive(&self) -> Self::Inside;

    /// A child by its name in JSON, which for a choice names the type; `None` where there is none of that name.
    fn child(&self, inside: Self::Inside, name: &str) -> Option<Shape<Self::Inside>>;
}
