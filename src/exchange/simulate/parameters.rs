//! The question and the answer as FHIR Parameters, for `Consent/$evaluate`.

use serde_json::{Value, json};

use super::asked::{Asked, Coded, Coding, Identifier};
use super::moment_ms;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::Element;

/// A question as it came in.
#[derive(Default)]
pub struct Call<'d> {
    pub asked: Asked,
    /// Consents that are taken as given.
    pub consents: Vec<Element<'d>>,
    pub resources: Vec<Element<'d>>,
    /// Whether the consents on file count besides those that are given.
    pub with_stored: Option<bool>,
    pub now_ms: Option<i64>,
}

const KNOWN: &str = "patient, actor, actorIdentifier, role, purpose, action, code, policyCode, resource, consent, stored, restricted and now";

impl<'d> Call<'d> {
    /// Reads Parameters. What is not known might narrow the question, so it is not passed over.
    pub fn read(parameters: Element<'d>) -> Result<Call<'d>, Issue> {
        let wrong = |text: String| Issue::new(Id::OperationParameter, "", text);
        if parameters.resource_type() != Some("Parameters") {
            return Err(wrong("The question is a resource of type Parameters.".to_owned()));
        }
        let mut call = Call::default();
        let (mut actors, mut roles, mut purposes) = (Vec::new(), Vec::new(), Vec::new());
        for parameter in parameters.all("parameter") {
            let name = parameter.text_of("name").unwrap_or_default();
            let value = |text: Option<String>| {
                text.ok_or_else(|| wrong(format!("The parameter {} has another type of value.", shown(name))))
            };
            match name {
                "patient" => call.asked.patient = Some(value(reference(parameter))?),
                "actor" => actors.push(value(reference(parameter))?),
                "actorIdentifier" => {
                    let identifier = parameter.get("valueIdentifier");
                    let member = |name| identifier.and_then(|given| given.text_of(name)).map(str::to_owned);
                    let (system, value) = (value(member("system"))?, value(member("value"))?);
                    call.asked.actor_identifiers.push(Identifier { system, value });
                }
                "role" => roles.push(coded(parameter).map_or_else(|| value(text(parameter)).map(Coded::Code), Ok)?),
                "purpose" => {
                    purposes.push(coded(parameter).map_or_else(|| value(text(parameter)).map(Coded::Code), Ok)?);
                }
                "action" => call.asked.action = Some(value(text(parameter))?),
                "code" => match coded(parameter) {
                    Some(Coded::Coding(coding)) => call.asked.codes.push(coding),
                    _ => drop(value(None)?),
                },
                "policyCode" => call.asked.policy_codes.push(value(text(parameter))?),
                "resource" | "consent" => {
                    let resource = parameter.get("resource");
                    let resource = resource.ok_or_else(|| wrong("The parameter holds no resource.".to_owned()))?;
                    if name == "consent" { &mut call.consents } else { &mut call.resources }.push(resource);
                }
                "stored" => call.with_stored = parameter.get("valueBoolean").and_then(|value| value.boolean()),
                "restricted" => call.asked.restricted = parameter.get("valueBoolean").and_then(|value| value.boolean()),
                "now" => {
                    let now_ms = text(parameter).as_deref().and_then(moment_ms);
                    call.now_ms =
                        Some(now_ms.ok_or_else(|| wrong("The parameter now is a FHIR dateTime.".to_owned()))?);
                }
                _ => return Err(wrong(format!("The parameters are {KNOWN}."))),
            }
        }
        call.asked.actors = actors;
        call.asked.role = roles;
        call.asked.purpose = purposes;
        Ok(call)
    }

    /// Who asks for nobody in particular asks for itself.
    pub fn default_asker(&mut self, actor: &str, purpose: &str) {
        let asked = &mut self.asked;
        if asked.actors.is_empty() && asked.actor_identifiers.is_empty() {
            asked.actors = vec![actor.to_owned()];
        }
        if asked.purpose.is_empty() {
            asked.purpose = vec![Coded::Code(purpose.to_owned())];
        }
    }

    /// Codes of the purposes that are asked for.
    pub fn purposes(&self) -> impl Iterator<Item = &str> {
        self.asked.purpose.iter().map(|purpose| match purpose {
            Coded::Code(code) => code.as_str(),
            Coded::Coding(coding) => coding.code.as_str(),
        })
    }
}

/// A name of ours.
fn shown(name: &str) -> &str {
    KNOWN.split([',', ' ']).find(|known| *known == name).unwrap_or_default()
}

/// A primitive value, as text.
fn text(parameter: Element<'_>) -> Option<String> {
    let mut values = parameter.children().filter(|(name, _)| name.starts_with("value"));
    values.find_map(|(_, value)| value.string()).map(str::to_owned)
}

fn reference(parameter: Element<'_>) -> Option<String> {
    let reference = parameter.get("valueReference").and_then(|value| value.text_of("reference")).map(str::to_owned);
    reference.or_else(|| text(parameter))
}

fn coded(parameter: Element<'_>) -> Option<Coded> {
    let coding = parameter.get("valueCoding")?;
    let member = |name| coding.text_of(name).map(str::to_owned);
    Some(Coded::Coding(Coding { system: member("system")?, code: member("code")? }))
}

/// The answer as Parameters.
pub fn rendered(answer: &Value) -> Value {
    json!({"resourceType": "Parameters", "parameter": parts(answer)})
}

/// The members of an answer, or of one thing in it, in their order.
fn parts(value: &Value) -> Vec<Value> {
    let mut parts = Vec::new();
    for (name, member) in value.as_object().into_iter().flatten().filter(|(_, member)| !member.is_null()) {
        let mut add = |name: &str, kind: &str, value: Value| parts.push(json!({"name": name, kind: value}));
        match (name.as_str(), member) {
            ("basis", basis) => {
                if let (Some(consent), Some(version)) = (basis["consent"].as_str(), basis["version"].as_u64()) {
                    add("basis", "valueReference", json!({"reference": format!("{consent}/_history/{version}")}));
                }
                if basis["policy"].is_string() {
                    add("policy", "valueUri", basis["policy"].clone());
                }
                if basis["validUntil"].is_string() {
                    add("validUntil", "valueInstant", basis["validUntil"].clone());
                }
            }
            ("lint" | "sent", resource) => add(name, "resource", resource.clone()),
            ("resources" | "consents" | "destinations" | "residual", Value::Array(items)) => {
                let one = name.strip_suffix('s').unwrap_or(name);
                parts.extend(items.iter().map(|item| json!({"name": one, "part": self::parts(item)})));
            }
            ("notYetGiven", Value::Array(items)) => {
                for item in items {
                    add(name, "valueReference", json!({"reference": item}));
                }
            }
            ("unmet", Value::Array(items)) => {
                for item in items {
                    add(name, "valueCode", item.clone());
                }
            }
            ("now", instant) => add(name, "valueInstant", instant.clone()),
            ("resource" | "consent", reference) => add("reference", "valueReference", json!({"reference": reference})),
            ("version", version) => add(name, "valuePositiveInt", version.clone()),
            ("path" | "conditions" | "text" | "destination", text) => {
                add(if name == "destination" { "name" } else { name }, "valueString", text.clone());
            }
            (_, code) => add(name, "valueCode", code.clone()),
        }
    }
    parts
}
