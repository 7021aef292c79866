//! Who sent records, of whom and by which right: remembered where they are read later than they came, and restored then.
//!
//! What is restored is what the sender was allowed when it sent. Whether it still is, whoever reads later asks anew
//! (`Gateway::stands`), and so is the person's consent.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Caller, Gateway, Refusal};
use crate::devices::{Format, Zone};
use crate::fhir::outcome::Id;
use crate::policy::access::Principal;
use crate::policy::access::scope::Scopes;

/// What was remembered, ready to be used.
pub(super) struct Sending {
    pub format: Format,
    pub patient: String,
    pub zone: Option<Zone>,
    pub principal: Principal,
    pub purpose: String,
}

impl Sending {
    pub fn remembered(caller: &Caller<'_>, format: &Format, patient: &str, zone: Option<&str>) -> Value {
        json!({
            "format": format.name(),
            "patient": patient,
            "zone": zone,
            "actor": &*caller.principal.actor,
            "scopes": caller.principal.scopes.to_string(),
            "purpose": caller.purpose,
        })
    }

    /// What a client sent, by the format as it is now.
    pub fn restored(gateway: &Gateway, client: &Arc<str>, remembered: &Value) -> Result<Sending, Refusal> {
        let unreadable = || Refusal::one(Id::Internal, "", "What was said of the records cannot be read.");
        let text = |name: &str| remembered[name].as_str().ok_or_else(unreadable);
        let purpose = text("purpose")?.to_owned();
        Ok(Sending {
            format: gateway
                .formats
                .format(text("format")?)
                .ok_or_else(|| Refusal::one(Id::RouteUnknown, "", "There is no device format of that name."))?,
            patient: text("patient")?.to_owned(),
            zone: remembered["zone"].as_str().map(Zone::get).transpose().map_err(|_| unreadable())?,
            principal: Principal {
                client: client.clone(),
                actor: Arc::from(text("actor")?),
                scopes: Scopes::parse(text("scopes")?).map_err(|_| unreadable())?,
                purposes: vec![purpose.clone()],
                expires_ms: i64::MAX,
                guide: None,
                deidentified: false,
            },
            purpose,
        })
    }
}
