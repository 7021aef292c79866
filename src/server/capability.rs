//! What this server says of itself: CapabilityStatement and SMART configuration, built from the tables that it
//! really runs on.

use serde_json::{Value, json};

use super::routes::{Action, ROUTES};
use crate::exchange::kinds::{KINDS, KindRule};
use crate::exchange::{ChosenIds, Gateway};
use crate::fhir::definitions::{SearchKind, SearchParameter};
use crate::fhir::ours::BASE;
use crate::fhir::search;
use crate::guide::Definition;

/// Date of the interface that the statement describes.
const RELEASED: &str = "2026-11-21";

/// `GET [base]/metadata` (R4 §3.1.0.9).
pub fn statement(gateway: &Gateway) -> Value {
    let routed = |action: Action| ROUTES.iter().any(|row| row.action == action);
    let resources: Vec<Value> = KINDS
        .iter()
        .map(|rule| {
            let mut interactions = Vec::new();
            if routed(Action::Read) && rule.writable {
                interactions.extend([json!({"code": "read"}), json!({"code": "vread"})]);
            }
            if routed(Action::Search) {
                interactions.push(json!({"code": "search-type"}));
            }
            // Of audit events there is one version each, which search finds.
            let has_history = routed(Action::History) && rule.name != "AuditEvent";
            if has_history {
                interactions.extend(["history-instance", "history-type"].map(|code| json!({"code": code})));
            }
            if rule.writable {
                interactions.extend(["create", "update", "patch", "delete"].map(|code| json!({"code": code})));
            }
            json!({
                "type": rule.name,
                "profile": format!("http://hl7.org/fhir/StructureDefinition/{}", rule.name),
                "interaction": interactions,
                "versioning": "versioned-update",
                "readHistory": has_history,
                "updateCreate": rule.writable,
                "conditionalCreate": rule.writable,
                "conditionalRead": if rule.writable { "full-support" } else { "not-supported" },
                "conditionalUpdate": rule.writable && routed(Action::ConditionalUpdate),
                "conditionalDelete": if rule.writable { "single" } else { "not-supported" },
                "searchInclude": includes(gateway, rule),
                "searchRevInclude": reverse_includes(gateway, rule),
                "searchParam": parameters(gateway, rule.name),
                "operation": operations(rule),
            })
        })
        .map(without_empty_arrays)
        .chain(Definition::KINDS.iter().map(|kind| definitional(gateway, kind)))
        .collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": RELEASED,
        "kind": "instance",
        "software": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "mHealth gateway: validated, consent-checked intake and routing", "url": gateway.base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": [
            "application/fhir+json", "application/fhir+xml", "application/json-patch+json", "application/xml-patch+xml"
        ],
        "rest": [{
            "mode": "server",
            "documentation": format!(
                "Bundles of at most {} entries. Every interaction with data of persons needs an access token (SMART Backend Services); \
                 measurements are taken in, passed on and read only as the person's Consent permits. {}",
                gateway.config.bundle_entries,
                match gateway.config.chosen_ids {
                    ChosenIds::Own => {
                        "An id that a client gives by PUT is a random UUID, or the client's own id, a dot and a name."
                    }
                    ChosenIds::Any => "A client may give any id by PUT.",
                }
            ),
            "security": {
                "cors": false,
                "service": [{"coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"
                }]}],
                "extension": [{
                    "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                    "extension": [{"url": "token", "valueUri": gateway.token_url()}]
                }],
            },
            "resource": resources,
            "interaction": [{"code": "transaction"}, {"code": "batch"}, {"code": "history-system"}],
        }],
    })
}

/// What can be asked of a type beyond the interactions of FHIR.
fn operations(rule: &KindRule) -> Value {
    let mut operations = Vec::new();
    if rule.writable {
        operations.push(
            json!({"name": "validate", "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate"}),
        );
    }
    if rule.name == "Patient" {
        operations.extend([
            json!({"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}),
            json!({"name": "summary", "definition": "http://hl7.org/fhir/uv/ips/OperationDefinition/summary"}),
        ]);
        let own = ["erase", "export-data", "restrict", "unrestrict"]
            .map(|name| json!({"name": name, "definition": format!("{BASE}/OperationDefinition/patient-{name}")}));
        operations.extend(own);
    }
    if rule.name == "Observation" {
        operations.extend([
            json!({"name": "lastn", "definition": "http://hl7.org/fhir/OperationDefinition/Observation-lastn"}),
            json!({"name": "stats", "definition": "http://hl7.org/fhir/OperationDefinition/Observation-stats"}),
        ]);
    }
    if rule.name == "Consent" {
        let own = ["evaluate", "revoke"]
            .map(|name| json!({"name": name, "definition": format!("{BASE}/OperationDefinition/consent-{name}")}));
        operations.extend(own);
    }
    operations.into()
}

/// A type of the guide's definitions.
fn definitional(gateway: &Gateway, kind: &str) -> Value {
    json!({
        "type": kind,
        "profile": format!("http://hl7.org/fhir/StructureDefinition/{kind}"),
        "documentation": "Definitions of the implementation guide; no token is needed.",
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": parameters(gateway, kind),
    })
}

fn parameters(gateway: &Gateway, kind: &str) -> Value {
    search::parameters(kind, &gateway.registry)
        .map(|parameter| json!({"name": parameter.code, "type": parameter.kind.code()}))
        .collect()
}

/// Audit events are searched by themselves.
fn points(rule: &KindRule) -> bool {
    rule.name != "AuditEvent"
}

fn includes(gateway: &Gateway, rule: &KindRule) -> Value {
    if !points(rule) {
        return json!([]);
    }
    let mut names = vec!["*".to_owned()];
    names.extend(references(gateway, rule.name).map(|parameter| format!("{}:{}", rule.name, parameter.code)));
    names.into()
}

fn reverse_includes(gateway: &Gateway, rule: &KindRule) -> Value {
    let sources = KINDS.iter().filter(|source| points(rule) && points(source));
    let pointing = sources.flat_map(|source| {
        let here = references(gateway, source.name)
            .filter(|parameter| parameter.targets.iter().any(|target| target == rule.name));
        here.map(|parameter| format!("{}:{}", source.name, parameter.code))
    });
    pointing.collect()
}

fn references<'g>(gateway: &'g Gateway, kind: &'g str) -> impl Iterator<Item = &'g SearchParameter> {
    search::parameters(kind, &gateway.registry).filter(|parameter| parameter.kind == SearchKind::Reference)
}

/// FHIR knows no empty arrays.
fn without_empty_arrays(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, member| member.as_array().is_none_or(|array| !array.is_empty()));
    }
    value
}

/// `/.well-known/smart-configuration` (SMART App Launch 2.2 §5).
pub fn smart_configuration(gateway: &Gateway) -> Value {
    let scopes: Vec<String> = KINDS
        .iter()
        .map(|rule| format!("system/{}.{}", rule.name, if rule.writable { "cruds" } else { "s" }))
        .collect();
    json!({
        "issuer": gateway.base,
        "token_endpoint": gateway.token_url(),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES384", "RS384"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": scopes,
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        "code_challenge_methods_supported": ["S256"],
    })
}
