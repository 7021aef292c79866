//! What a person keeps to prove that a right was asked for and what was done: signed by the installation's key, so that it
//! is believed by its published key alone, also when nothing is left here that could tell.

use serde_json::{Value, json};

use crate::exchange::{Gateway, Refusal};
use crate::fhir::outcome::Id;

/// Type of the signed text for an operation.
fn kind(operation: &str) -> String {
    format!("{operation}-receipt+jwt")
}

impl Gateway {
    /// The receipt of an operation on a person, as a JWS.
    pub(super) fn receipt(&self, operation: &str, person: &str, at_ms: i64, said: &Value) -> Result<String, Refusal> {
        let claims = json!({
            "iss": self.base,
            "iat": at_ms.div_euclid(1000),
            "sub": format!("Patient/{person}"),
            operation: said,
        });
        let signed = self.seal.as_ref().and_then(|seal| seal.sign(&kind(operation), &claims));
        signed.ok_or_else(|| Refusal::one(Id::Internal, "", "The receipt could not be signed."))
    }
}
