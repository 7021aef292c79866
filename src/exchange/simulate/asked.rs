//! The question: who asks, for what, about whom. It is plain JSON, or FHIR Parameters (`parameters`).

use serde::Deserialize;
use serde_json::Value;

use crate::exchange::recipients::Identity;
use crate::fhir::outcome::{Id, Issue};

/// What is asked, as it is written.
#[derive(Deserialize, Clone, Default, Debug)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Reference to the person; of the resource or the consent if absent.
    pub patient: Option<String>,
    /// References that the one who asks answers to: itself, its organisation, its groups.
    #[serde(default)]
    pub actors: OneOrMany<String>,
    #[serde(default)]
    pub actor_identifiers: Vec<Identifier>,
    /// Roles, as words that implicit policies know, or as codings.
    #[serde(default, alias = "roles")]
    pub role: OneOrMany<Coded>,
    #[serde(default)]
    pub purpose: OneOrMany<Coded>,
    pub action: Option<String>,
    /// What is asked for, beside the resources that are given.
    pub resource: Option<Value>,
    /// Codes under which it is asked for, beside the resource's own.
    #[serde(default)]
    pub codes: Vec<Coding>,
    /// The same in the system of the German broad consent.
    #[serde(default)]
    pub policy_codes: Vec<String>,
    /// Whether the person wants what is hers kept and nothing else.
    pub restricted: Option<bool>,
    /// By what name whoever receives it knows the person.
    pub identity: Option<Identity>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::Many(many) => many,
            OneOrMany::One(one) => std::slice::from_ref(one),
        }
    }
}

#[derive(Deserialize, Clone, Debug)]
pub struct Identifier {
    pub system: String,
    pub value: String,
}

#[derive(Deserialize, Clone, Debug)]
pub struct Coding {
    pub system: String,
    pub code: String,
}

/// A code of the expected system, or with its own.
#[derive(Deserialize, Clone, Debug)]
#[serde(untagged)]
pub enum Coded {
    Coding(Coding),
    Code(String),
}

/// Reads the question. The error says what is wrong with it.
pub fn read(text: &str) -> Result<Asked, Issue> {
    serde_json::from_str(text)
        .map_err(|error| Issue::new(Id::JsonSyntax, "", format!("The request cannot be read: {error}.")))
}
