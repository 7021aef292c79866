//! Definitions: what a FHIR package says a resource must look like, condensed to what rules ask.
//!
//! The definitions of FHIR R4 (4.0.1) are compiled into the binary as one compressed text, a line a
//! definition, written by the `definitions` command from the published package. At start only the line
//! heads are indexed; a definition is read when somebody asks for it. The gateway's own definitions come on
//! top through [`Registry::with`]. Nothing here knows what a rule does with a definition.

mod blob;
mod code_system;
mod compose;
mod core;
#[cfg(feature = "gateway")]
pub mod package;
mod registry;
mod search_parameter;
mod structure;
mod terms;
mod value_set;

pub use blob::condense;
pub use code_system::{CodeSystem, Concept, Content};
pub use compose::Filter;
pub use core::compress;
pub use registry::{Defect, Registry};
pub use search_parameter::{SearchKind, SearchParameter};
pub use structure::{
    Binding, Constraint, Discriminator, DiscriminatorKind, ElementDefinition, Literal, Slicing, SlicingRules, Strength,
    Structure, StructureKind, TypeReference,
};
pub use value_set::{Codes, Group, Open, ValueSet};

#[cfg(test)]
mod tests;
