//! Definitions: what FHIR packages say a resource must look like, condensed to what rules ask.
//!
//! The definitions of FHIR R4 (4.0.1) are compiled into the binary, written by the `definitions` command from
//! the published package. Other packages and loose resources come on top through [`Registry::with_packages`]
//! and [`Registry::with`], several versions side by side. Only heads are indexed at once; a definition is read
//! when somebody asks for it. Nothing here knows what a rule does with a definition, nor where packages lie.

pub mod archive;
mod blob;
pub mod canonical;
mod code_system;
mod compose;
mod core;
pub mod names;
pub mod package;
mod registry;
mod search_parameter;
mod skim;
mod snapshot;
mod structure;
mod terms;
mod value_set;

pub use blob::{Condensed, Scope, compress, condense};
pub use code_system::{CodeSystem, Concept, Content};
pub use compose::Filter;
pub use package::{Defect, Kind, Package, Unreadable};
pub use registry::{DefinitionId, Registry};
pub use search_parameter::{SearchKind, SearchParameter};
pub use structure::{
    AdditionalBinding, Aggregation, Binding, Constraint, ContextKind, Discriminator, DiscriminatorKind,
    ElementDefinition, ExtensionContext, Literal, Slicing, SlicingRules, Strength, Structure, StructureKind,
    TypeReference, Versioning, is_primitive,
};
pub use value_set::{Codes, Group, Open, ValueSet};

#[cfg(test)]
mod tests;
