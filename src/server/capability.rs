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
use crate::policy::subscription::TOPICS;

/// The guide by which subscriptions work.
const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport";

/// Bulk Data Access, whose definitions its operations have.
const BULK: &str = "http://hl7.org/fhir/uv/bulkdata";

/// Date of the interface that the statement describes.
const RELEASED: &str = "2026-11-21";

/// `GET [base]/metadata` (R4 §3.1.0.9).
pub fn statement(gateway: &Gateway) -> Value {
    let routed = |action: Action| ROUTES.iter().any(|row| row.action == action);
    let resources: Vec<Value> = KINDS
        .iter()
        .map(|rule| {
            let mut interactions = Vec::new();
            // Of audit events there is one version each, which search finds.
            let is_named = rule.name != "AuditEvent";
            if routed(Action::Read) && is_named {
                interactions.extend([json!({"code": "read"}), json!({"code": "vread"})]);
            }
            if routed(Action::Search) {
                interactions.push(json!({"code": "search-type"}));
            }
            let has_history = routed(Action::History) && is_named;
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
                "conditionalRead": if is_named { "full-support" } else { "not-supported" },
                "conditionalUpdate": rule.writable && routed(Action::ConditionalUpdate),
                "conditionalDelete": if rule.writable { "single" } else { "not-supported" },
                "searchInclude": includes(gateway, rule),
                "searchRevInclude": reverse_includes(gateway, rule),
                "searchParam": parameters(gateway, rule.name),
                "operation": operations(rule),
            })
        })
        .map(without_empty_arrays)
        .chain([subscription(gateway), topics()])
        .chain(Definition::KINDS.iter().map(|kind| definitional(gateway, kind)))
        .collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": RELEASED,
        "kind": "instance",
        "software": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "mHealth gateway: validated, consent-checked intake and routing", "url": gateway.base},
        "instantiates": [
            format!("{BULK}/CapabilityStatement/bulk-data"),
            format!("{BACKPORT}/CapabilityStatement/backport-subscription-server-r4"),
        ],
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
            "operation": [{"name": "export", "definition": format!("{BULK}/OperationDefinition/export")}],
        }],
    })
}

/// What can be asked of a type beyond the interactions of FHIR.
fn operations(rule: &KindRule) -> Value {
    let mut operations = Vec::new();
    if rule.writable {
        operations.push(operation(rule.name, "validate"));
    }
    operations.extend(own_operations(rule.name));
    operations.into()
}

/// The operations that have addresses of their own.
fn own_operations(kind: &str) -> Vec<Value> {
    let mut operations = Vec::new();
    for (kind, name) in ROUTES.iter().filter_map(|row| named_operation(row.pattern)).filter(|(own, _)| *own == kind) {
        let stated = operation(kind, name);
        if !operations.contains(&stated) {
            operations.push(stated);
        }
    }
    operations
}

/// Subscriptions by topic, with the topics that there are.
fn subscription(gateway: &Gateway) -> Value {
    let canonical = format!("{BACKPORT}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical");
    let topics: Vec<Value> =
        TOPICS.iter().map(|topic| json!({"url": canonical, "valueCanonical": topic.canonical()})).collect();
    let interactions = ["read", "vread", "history-instance", "search-type", "create", "update", "patch", "delete"]
        .map(|code| json!({"code": code}));
    json!({
        "extension": topics,
        "type": "Subscription",
        "profile": "http://hl7.org/fhir/StructureDefinition/Subscription",
        "supportedProfile": [format!("{BACKPORT}/StructureDefinition/backport-subscription")],
        "documentation": "A client sees its own subscriptions, and is told what it may read as the person's Consent permits.",
        "interaction": interactions,
        "versioning": "versioned",
        "readHistory": true,
        "updateCreate": false,
        "conditionalCreate": false,
        "searchParam": parameters(gateway, "Subscription"),
        "operation": own_operations("Subscription"),
    })
}

/// The topics, as R4 can say them.
fn topics() -> Value {
    json!({
        "type": "Basic",
        "profile": "http://hl7.org/fhir/StructureDefinition/Basic",
        "documentation": "Topics of subscriptions; no token is needed.",
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [{"name": "code", "type": "token"}],
    })
}

/// Type and name of the operation at an address that names both.
fn named_operation(pattern: &'static str) -> Option<(&'static str, &'static str)> {
    let kind = pattern.strip_prefix("/fhir/")?.split('/').next().filter(|kind| !kind.starts_with(['{', '$']))?;
    Some((kind, pattern.rsplit_once("/$")?.1))
}

/// By whose definition an operation is served: FHIR's, or our own.
fn operation(kind: &str, name: &str) -> Value {
    let definition = match name {
        "validate" => "http://hl7.org/fhir/OperationDefinition/Resource-validate".to_owned(),
        "everything" => "http://hl7.org/fhir/OperationDefinition/Patient-everything".to_owned(),
        "lastn" => "http://hl7.org/fhir/OperationDefinition/Observation-lastn".to_owned(),
        "stats" => "http://hl7.org/fhir/OperationDefinition/Observation-stats".to_owned(),
        "export" => format!("{BULK}/OperationDefinition/{}-export", kind.to_lowercase()),
        "summary" => "http://hl7.org/fhir/uv/ips/OperationDefinition/summary".to_owned(),
        "status" | "events" | "get-ws-binding-token" if kind == "Subscription" => {
            format!("{BACKPORT}/OperationDefinition/backport-subscription-{name}")
        }
        _ => format!("{BASE}/OperationDefinition/{}-{name}", kind.to_lowercase()),
    };
    json!({"name": name, "definition": definition})
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fhir::ours;
    use crate::guide::Shelf;

    /// What is served is defined, as it is served, and what is defined is served.
    #[test]
    fn every_operation_has_its_definition() {
        let shelf = Shelf::new(Vec::new());
        let all = shelf.definitions(ours::VERSION).iter().filter(|each| each.kind == "OperationDefinition");
        let all: Vec<Value> = all.map(|each| serde_json::from_str(&each.text()).unwrap()).collect();
        let defined = |url: &str| all.iter().find(|definition| definition["url"] == url);
        let mut served = BTreeSet::new();
        for row in ROUTES {
            let Some((kind, name)) = named_operation(row.pattern) else { continue };
            let stated = operation(kind, name);
            let url = stated["definition"].as_str().unwrap();
            if !url.starts_with(BASE) {
                continue;
            }
            served.insert(url.to_owned());
            let definition = defined(url).unwrap_or_else(|| panic!("{url}"));
            let on_instance = row.pattern.contains("/{id}/");
            assert_eq!((&definition["code"], &definition["resource"]), (&json!(name), &json!([kind])), "{url}");
            assert_eq!(definition["instance"], on_instance, "{url}");
            assert_eq!(definition["type"], !on_instance, "{url}");
            assert!(row.method != "GET" || definition["affectsState"] == false, "{url}");
            assert!(definition["description"].is_string() && definition["parameter"].is_array(), "{url}");
        }
        assert!(!served.is_empty());
        let known: BTreeSet<String> = all.iter().map(|each| each["url"].as_str().unwrap().to_owned()).collect();
        assert_eq!(known, served);
    }

    /// What FHIR defines is named by FHIR's own definition.
    #[test]
    fn definitions_of_others_are_named() {
        for (kind, name, url) in [
            ("Patient", "everything", "http://hl7.org/fhir/OperationDefinition/Patient-everything"),
            ("Observation", "validate", "http://hl7.org/fhir/OperationDefinition/Resource-validate"),
        ] {
            assert_eq!(operation(kind, name), json!({"name": name, "definition": url}));
        }
        assert_eq!(named_operation("/fhir/Consent/{id}/$revoke"), Some(("Consent", "revoke")));
        for other in ["/devices/{format}/$explain", "/fhir/{kind}/$validate", "/fhir/Patient/{id}"] {
            assert_eq!(named_operation(other), None, "{other}");
        }
    }
}
