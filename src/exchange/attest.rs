//! Signed receipts for consents: what a person keeps to prove what was agreed to, when, in which words and by which way.
//!
//! The facts are those of ISO/IEC TS 27560 that a Consent has; the hash is of the version as the gateway answers it, so that
//! whoever holds both can tell that they belong together. It is believed by the gateway's published key alone.

use serde_json::{Value, json};

use super::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::time::instant;
use crate::fhir::tree::{Element, json as tree, write};
use crate::policy::access::seal::{self, Seal};
use crate::store::Stored;
use crate::tlog::sha256;

/// Type of the signed text.
pub const TYPE: &str = "consent-receipt+jwt";

/// What is said of a Consent as it says it itself.
const AS_IT_SAYS: [&str; 9] =
    ["status", "scope", "category", "dateTime", "performer", "organization", "policy", "policyRule", "language"];

impl Gateway {
    /// The key by which receipts are believed, as a JWK Set.
    pub fn receipt_keys(&self) -> Value {
        self.seal.as_ref().map_or_else(|| json!({"keys": []}), Seal::keys)
    }

    /// The receipt of a Consent as it stands, or of one version of it.
    pub async fn attest(&self, caller: &Caller<'_>, id: &str, version: Option<u32>) -> Result<String, Refusal> {
        let stored = self.read(caller, "Consent", id, version).await?;
        let claims = self.claims(&stored)?;
        let signed = self.seal.as_ref().and_then(|seal| seal.sign(TYPE, &claims));
        signed.ok_or_else(|| Refusal::one(Id::Internal, "", "The receipt could not be signed."))
    }

    fn claims(&self, stored: &Stored) -> Result<Value, Refusal> {
        let document = tree::parse(stored.payload.as_slice())?;
        let consent = Element::root(&document);
        let mut record = json!({
            "version": format!("Consent/{}/_history/{}", stored.logical_id(), stored.version),
            "recorded": instant(stored.updated_ms),
            "hash": {"algorithm": "sha-256", "value": hexadecimal(&sha256(&[&stored.payload]))},
        });
        for name in AS_IT_SAYS {
            copy(consent, name, &mut record);
        }
        // The words that were agreed to.
        if let Some(text) = consent.get("sourceAttachment") {
            let mut source = json!({});
            for name in ["title", "url", "hash", "language", "contentType", "creation", "size"] {
                copy(text, name, &mut source);
            }
            record["text"] = source;
        }
        copy(consent, "sourceReference", &mut record);
        if let Some(provision) = consent.get("provision") {
            copy(provision, "period", &mut record);
        }
        Ok(json!({
            "iss": self.base,
            "iat": self.now_ms().div_euclid(1000),
            "sub": consent.get("patient").and_then(|patient| patient.text_of("reference")),
            "consent": record,
            "channel": &*stored.owner,
        }))
    }
}

/// What a receipt says, if its key is of that set; and, of a Consent, whether it is the one that is meant.
pub fn verified(receipt: &str, keys: &Value, consent: Option<&[u8]>) -> Result<Value, String> {
    let claims = seal::verify(receipt, TYPE, keys).map_err(|denied| denied.to_string())?;
    if let Some(consent) = consent {
        let found = hexadecimal(&sha256(&[consent]));
        if claims["consent"]["hash"]["value"] != found {
            return Err("the receipt is of another Consent, or of another version of it".to_owned());
        }
    }
    Ok(claims)
}

fn copy(from: Element<'_>, name: &str, into: &mut Value) {
    let found = from.document().member(from.node(), name);
    let found = found.and_then(|member| serde_json::from_str(&write::compact(from.document(), member)).ok());
    if let Some(found) = found {
        into[name] = found;
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
