//! A registered client: who it is to people, to Consents and to the signature check, and what it may ask for.
//!
//! Registrations are written by people, so the reader reports every mistake at once and refuses members it
//! does not know. Keys are given by value; a key URL is refused with that reason, because fetching is not done.

use serde_json::{Map, Value, json};

use super::Denied;
use super::key::{self, Jwk};
use super::scope::Scopes;

/// A registration that passed every check.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub name: String,
    /// The reference by which Consents name the client, e.g. `Organization/acme` or `Device/band-7`.
    pub actor: String,
    pub keys: Vec<Jwk>,
    pub scopes: Scopes,
    /// v3-ActReason codes that it may state; the first is the default.
    pub purposes: Vec<String>,
    pub suspended: bool,
    /// The version of the guide that it is held to; without one, the newest.
    pub guide: Option<String>,
    /// Whether it knows for sure who the person is that uses it, so that it may open the page about the person's data.
    pub visits: bool,
    /// Whether it learns of persons by pseudonyms alone: it may have de-identified exports and nothing else.
    pub deidentified: bool,
    /// To whom of those that share the gateway it belongs, for the routing table.
    pub tenant: Option<String>,
    /// What it is certified as, in the words that the routing table uses.
    pub certified: Vec<String>,
}

const MEMBERS: [&str; 12] = [
    "id",
    "name",
    "actor",
    "keys",
    "scopes",
    "purposes",
    "suspended",
    "guide",
    "visits",
    "deidentified",
    "tenant",
    "certified",
];

/// Types that `Consent.provision.actor.reference` may point to (R4).
const ACTOR_TYPES: [&str; 8] =
    ["CareTeam", "Device", "Group", "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson"];

impl Client {
    /// Reads a registration, or says everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Client, Vec<String>> {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => Client::from_object(&object),
            Ok(_) => Err(vec!["a client is a JSON object".to_owned()]),
            Err(error) => Err(vec![format!("not JSON at line {}, column {}", error.line(), error.column())]),
        }
    }

    /// The same from JSON that is read already.
    pub fn from_object(object: &Map<String, Value>) -> Result<Client, Vec<String>> {
        let mut mistakes = Vec::new();
        for name in object.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
            mistakes.push(match name.as_str() {
                "jwks_url" | "jwks_uri" => format!("{name}: key sets are not fetched; give the keys by value in keys"),
                _ => format!("{name}: no such member"),
            });
        }
        let mut text = |name: &str, valid: fn(&str) -> bool, expected: &str| {
            let value = object.get(name).and_then(Value::as_str).filter(|value| valid(value));
            if value.is_none() {
                mistakes.push(format!("{name}: {expected}"));
            }
            value.unwrap_or_default().to_owned()
        };
        let id = text("id", is_id, "expected 1 to 128 characters of A-Z a-z 0-9 . _ : / -");
        let name = text("name", is_name, "expected 1 to 200 printable characters");
        let actor =
            text("actor", is_actor, "expected Organization/…, Device/… or another actor that a Consent can name");
        let (keys, key_mistakes) = key::parse_set(object.get("keys").unwrap_or(&Value::Null));
        mistakes.extend(key_mistakes);
        let scopes = read_scopes(object.get("scopes"), &mut mistakes);
        let purposes = read_purposes(object.get("purposes"), &mut mistakes);
        let mut flag = |name: &str, otherwise: bool| match object.get(name) {
            None => false,
            Some(Value::Bool(value)) => *value,
            Some(_) => {
                mistakes.push(format!("{name}: expected true or false"));
                otherwise
            }
        };
        let (suspended, visits, deidentified) =
            (flag("suspended", true), flag("visits", false), flag("deidentified", true));
        let guide = match object.get("guide") {
            None | Some(Value::Null) => None,
            Some(Value::String(version)) if is_version(version) => Some(version.clone()),
            Some(_) => {
                mistakes.push("guide: expected a version of the guide, such as 1.0.0".to_owned());
                None
            }
        };
        let tenant = match object.get("tenant") {
            None | Some(Value::Null) => None,
            Some(Value::String(word)) if is_word(word) => Some(word.clone()),
            Some(_) => {
                mistakes.push("tenant: expected a word of 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned());
                None
            }
        };
        let certified = match object.get("certified") {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(list)) => {
                let word = |one: &Value| one.as_str().filter(|word| is_word(word)).map(str::to_owned);
                list.iter().map(word).collect()
            }
            Some(_) => None,
        };
        if certified.is_none() {
            mistakes.push("certified: expected a list of words of 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned());
        }
        let client = Client {
            id,
            name,
            actor,
            keys,
            scopes,
            purposes,
            suspended,
            guide,
            visits,
            deidentified,
            tenant,
            certified: certified.unwrap_or_default(),
        };
        if mistakes.is_empty() { Ok(client) } else { Err(mistakes) }
    }

    /// The scopes of a token request: all that was asked for, or a refusal. No subset is granted, because a client
    /// that overlooks the shorter list fails later, request by request, where it is harder to see.
    pub fn grant(&self, asked: &str) -> Result<Scopes, Denied> {
        let scopes = Scopes::parse(asked)?;
        let refused = |reason: &str| Err(Denied::ScopeInvalid { reason: reason.to_owned() });
        if scopes.is_empty() {
            return refused("the request names no scope");
        }
        if !scopes.only_system() {
            return refused("only system/ scopes are granted");
        }
        if !scopes.within(&self.scopes) {
            return refused("the request goes beyond what the client is registered for");
        }
        Ok(scopes)
    }

    /// What [`Client::parse`] reads.
    pub fn document(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "actor": self.actor,
            "keys": {"keys": self.keys.iter().map(Jwk::document).collect::<Vec<_>>()},
            "scopes": self.scopes.to_string(), "purposes": self.purposes, "suspended": self.suspended, "guide": self.guide,
            "visits": self.visits, "deidentified": self.deidentified, "tenant": self.tenant, "certified": self.certified,
        })
    }
}

fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}

fn is_name(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

fn is_actor(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, id)| {
        ACTOR_TYPES.contains(&kind)
            && (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    })
}

fn read_scopes(value: Option<&Value>, mistakes: &mut Vec<String>) -> Scopes {
    let Some(text) = value.and_then(Value::as_str) else {
        mistakes.push("scopes: expected one string of SMART scopes".to_owned());
        return Scopes::default();
    };
    match Scopes::parse(text) {
        Ok(scopes) if scopes.is_empty() => mistakes.push("scopes: expected at least one scope".to_owned()),
        Ok(scopes) if !scopes.only_system() => mistakes.push("scopes: only system/ scopes are granted".to_owned()),
        Ok(scopes) => return scopes,
        Err(bad) => mistakes.push(format!("scopes: {bad}")),
    }
    Scopes::default()
}

fn read_purposes(value: Option<&Value>, mistakes: &mut Vec<String>) -> Vec<String> {
    let valid = |code: &&str| (2..=32).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let codes = value.and_then(Value::as_array).filter(|list| (1..=32).contains(&list.len())).and_then(|list| {
        list.iter().map(|code| code.as_str().filter(valid).map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    let codes = codes.filter(|codes| codes.iter().enumerate().all(|(index, code)| !codes[..index].contains(code)));
    if codes.is_none() {
        mistakes
            .push("purposes: expected a list of 1 to 32 different v3-ActReason codes, the default first".to_owned());
    }
    codes.unwrap_or_default()
}
