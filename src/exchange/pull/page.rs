//! Paging links: sealed, and of use only to the client that received them.
//!
//! A token carries the query, where to go on and which arrivals came too late for it, so that a page sequence is
//! stable while data arrives. Places are counted through the whole store, which would tell of others' writes: nobody but us
//! reads what a token carries.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sorted::Last;
use crate::store::{Key, SealingKey};

/// What a token carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Continuation {
    pub kind: String,
    pub query: Vec<(String, String)>,
    pub lenient: bool,
    pub after_value: i64,
    pub after_seq: u64,
    pub as_of_seq: u64,
    /// The last hit, where no index has the order.
    #[serde(default)]
    pub last: Option<Last>,
}

impl Continuation {
    pub fn after(&self) -> Key {
        Key(self.after_value, self.after_seq)
    }

    pub fn sign(&self, secret: &[u8; 32], client: &str) -> String {
        sign(self, SEARCH, secret, client)
    }

    /// `None` for anything that we did not write for this client.
    pub fn verify(token: &str, secret: &[u8; 32], client: &str) -> Option<Continuation> {
        verify(token, SEARCH, secret, client)
    }
}

/// What tokens of searches are for.
const SEARCH: &str = "search";

/// A token that carries a place, for one purpose and of use to one client alone; empty where the library fails.
pub(in crate::exchange) fn sign(place: &impl Serialize, purpose: &str, secret: &[u8; 32], client: &str) -> String {
    let content = serde_json::to_vec(place).unwrap_or_default();
    let sealed = key(secret, purpose, client).and_then(|key| key.seal(purpose.as_bytes(), &content).ok());
    encode(&sealed.unwrap_or_default())
}

/// The place in a token; `None` for anything that we did not write for this purpose and client.
pub(in crate::exchange) fn verify<P: DeserializeOwned>(
    token: &str,
    purpose: &str,
    secret: &[u8; 32],
    client: &str,
) -> Option<P> {
    let content = key(secret, purpose, client)?.open(purpose.as_bytes(), decode(token)?).ok()?;
    serde_json::from_slice(&content).ok()
}

/// Each client and purpose has a key of its own.
fn key(secret: &[u8; 32], purpose: &str, client: &str) -> Option<SealingKey> {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    for part in [purpose, client] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    SealingKey::new(hasher.finalize().as_bytes()).ok()
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_serves_its_client_alone() {
        let continuation = Continuation {
            kind: "Observation".into(),
            query: vec![("code".into(), "8867-4".into())],
            lenient: false,
            after_value: 5,
            after_seq: 7,
            as_of_seq: 9,
            last: None,
        };
        let token = continuation.sign(&[1; 32], "app");
        let bytes = decode(&token).unwrap();
        assert!(!bytes.windows(3).any(|part| part == b"seq"), "nobody reads it");
        assert_ne!(continuation.sign(&[1; 32], "app"), token, "two of one place don't tell that it is one");
        assert_eq!(Continuation::verify(&token, &[1; 32], "app"), Some(continuation));
        assert_eq!(Continuation::verify(&token, &[1; 32], "other"), None);
        assert_eq!(Continuation::verify(&token, &[2; 32], "app"), None);
        assert_eq!(Continuation::verify(&token[1..], &[1; 32], "app"), None);
        assert_eq!(verify::<Continuation>(&token, "history", &[1; 32], "app"), None);
        assert_eq!(Continuation::verify("", &[1; 32], "app"), None);
    }
}
