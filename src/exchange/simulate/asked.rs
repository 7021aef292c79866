//! The question: who asks, for what, about whom. It is plain JSON, or FHIR Parameters (`parameters`).
//!
//! It is read by hand, so that a mistake is told by the member that it is in and by what that may be.

use serde_json::{Map, Value};

use crate::exchange::recipients::Identity;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::json;

/// What is asked, as it is written.
#[derive(Clone, Default, Debug)]
pub struct Asked {
    /// Reference to the person; of the resource or the consent if absent.
    pub patient: Option<String>,
    /// References that the one who asks answers to: itself, its organisation, its groups.
    pub actors: Vec<String>,
    pub actor_identifiers: Vec<Identifier>,
    /// Roles, as words that implicit policies know, or as codings.
    pub role: Vec<Coded>,
    pub purpose: Vec<Coded>,
    pub action: Option<String>,
    /// What is asked for, beside the resources that are given.
    pub resource: Option<Value>,
    /// Codes under which it is asked for, beside the resource's own.
    pub codes: Vec<Coding>,
    /// The same in the system of the German broad consent.
    pub policy_codes: Vec<String>,
    /// Whether the person wants what is hers kept and nothing else.
    pub restricted: Option<bool>,
    /// By what name whoever receives it knows the person.
    pub identity: Option<Identity>,
}

#[derive(Clone, Debug)]
pub struct Identifier {
    pub system: String,
    pub value: String,
}

#[derive(Clone, Debug)]
pub struct Coding {
    pub system: String,
    pub code: String,
}

/// A code of the expected system, or with its own.
#[derive(Clone, Debug)]
pub enum Coded {
    Coding(Coding),
    Code(String),
}

const MEMBERS: &str =
    "patient, actors, actor_identifiers, role, purpose, action, resource, codes, policy_codes, restricted and identity";

/// Reads the question. The error says which member is wrong, and what it may be.
pub fn read(text: &str) -> Result<Asked, Issue> {
    // A member that stands twice is told by this reader alone.
    json::parse(text)?;
    let value = serde_json::from_str(text)
        .map_err(|error| Issue::new(Id::JsonSyntax, "", format!("The request cannot be read: {error}.")))?;
    let mut asked = Asked::default();
    for (name, value) in object("The request", "an object", &value)? {
        match name.as_str() {
            "patient" => asked.patient = Some(string(name, value)?),
            "actors" => asked.actors = one_or_many(name, value, string)?,
            "actor_identifiers" => asked.actor_identifiers = many(name, value, identifier)?,
            "role" | "roles" => asked.role = one_or_many(name, value, coded)?,
            "purpose" => asked.purpose = one_or_many(name, value, coded)?,
            "action" => asked.action = Some(string(name, value)?),
            "resource" => {
                object(name, "a resource, an object", value)?;
                asked.resource = Some(value.clone());
            }
            "codes" => asked.codes = many(name, value, coding)?,
            "policy_codes" => asked.policy_codes = many(name, value, string)?,
            "restricted" => {
                asked.restricted = Some(value.as_bool().ok_or_else(|| wrong(name, "true or false"))?);
            }
            "identity" => {
                asked.identity = Some(match value.as_str() {
                    Some("kept") => Identity::Kept,
                    Some("pseudonym") => Identity::Pseudonym,
                    _ => return Err(wrong(name, "\"kept\" or \"pseudonym\"")),
                });
            }
            _ => {
                let text = format!("The request has no member {name}; it may have {MEMBERS}.");
                return Err(Issue::new(Id::OperationParameter, "", text));
            }
        }
    }
    Ok(asked)
}

fn wrong(place: &str, may_be: &str) -> Issue {
    Issue::new(Id::OperationParameter, "", format!("{place} is {may_be}."))
}

fn string(place: &str, value: &Value) -> Result<String, Issue> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(place, "a text"))
}

fn object<'v>(place: &str, may_be: &str, value: &'v Value) -> Result<&'v Map<String, Value>, Issue> {
    value.as_object().ok_or_else(|| wrong(place, may_be))
}

/// How a member, or one of several, is read.
type Read<T> = fn(&str, &Value) -> Result<T, Issue>;

fn many<T>(place: &str, value: &Value, read: Read<T>) -> Result<Vec<T>, Issue> {
    let all = value.as_array().ok_or_else(|| wrong(place, "a list"))?;
    all.iter().enumerate().map(|(index, one)| read(&format!("{place}[{index}]"), one)).collect()
}

fn one_or_many<T>(place: &str, value: &Value, read: Read<T>) -> Result<Vec<T>, Issue> {
    if value.is_array() { many(place, value, read) } else { Ok(vec![read(place, value)?]) }
}

fn identifier(place: &str, value: &Value) -> Result<Identifier, Issue> {
    let (system, value) = pair(place, value, ["system", "value"])?;
    Ok(Identifier { system, value })
}

fn coding(place: &str, value: &Value) -> Result<Coding, Issue> {
    let (system, code) = pair(place, value, ["system", "code"])?;
    Ok(Coding { system, code })
}

fn coded(place: &str, value: &Value) -> Result<Coded, Issue> {
    match value {
        Value::String(code) => Ok(Coded::Code(code.clone())),
        Value::Object(_) => coding(place, value).map(Coded::Coding),
        _ => Err(wrong(place, "a code, or an object with system and code")),
    }
}

fn pair(place: &str, value: &Value, [first, second]: [&str; 2]) -> Result<(String, String), Issue> {
    let may_be = format!("an object with {first} and {second}");
    let members = object(place, &may_be, value)?;
    let member = |name: &str| {
        let value = members.get(name).ok_or_else(|| wrong(place, &may_be))?;
        string(&format!("{place}.{name}"), value)
    };
    Ok((member(first)?, member(second)?))
}
