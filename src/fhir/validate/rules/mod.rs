//! The rules, one file each: what an element must satisfy, and the words that say so.

pub mod attachment;
pub mod binding;
pub mod bundle;
pub mod canonical;
pub mod capability_statement;
pub mod code_system;
pub mod coding;
pub mod concept_map;
pub mod extension;
pub mod invariant;
pub mod linkage;
pub mod literal;
pub mod markup;
pub mod narrative;
pub mod primitive;
pub mod quantity;
pub mod questionnaire;
pub mod reference;
pub mod search_parameter;
pub mod search_set;
pub mod slicing;
pub mod structure_definition;
pub mod value_set;
pub mod vital_signs;
