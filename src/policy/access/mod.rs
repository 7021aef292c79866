//! Who is calling, and what the caller was granted: SMART Backend Services, system to system.
//!
//! A client is registered with public keys and scopes ([`client`]), proves itself with a signed assertion
//! ([`assertion`]) and receives a short-lived token ([`token`]) that later requests turn into a [`Principal`].
//! A check that fails is a [`Denied`] value; whoever answers maps it to a status, never to a fault.
//! Nothing here knows where keys or registrations are kept, or the time of day: both are arguments. Signature
//! primitives come from jsonwebtoken, but its claim checks read the clock and accept what SMART refuses, so
//! the claims are read and judged in [`assertion`] and [`token`].

use std::fmt;
use std::sync::Arc;

mod denied;
mod jose;
mod kinds;

pub mod scope;

pub mod key;

pub mod client;

pub mod assertion;

pub mod token;

pub mod seal;
pub mod visit;

pub use denied::Denied;
pub use kinds::is_resource_type;
pub use scope::{Grant, Interaction, Scopes};

/// An authenticated caller for the length of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    pub client: Arc<str>,
    /// The reference by which Consents name this caller.
    pub actor: Arc<str>,
    pub scopes: Scopes,
    /// v3-ActReason codes that the caller may state; the first holds when it states none.
    pub purposes: Vec<String>,
    pub expires_ms: i64,
    /// The version of the guide that the client is registered for; without one, the newest.
    pub guide: Option<Arc<str>>,
    /// Whether it learns of nobody but by pseudonyms.
    pub deidentified: bool,
}

impl Principal {
    /// What the scopes allow for one interaction, or the scope that would have been needed.
    pub fn permits(&self, kind: &str, interaction: Interaction) -> Result<Grant, Denied> {
        match self.scopes.permits(kind, interaction) {
            Grant::None => Err(Denied::Scope { needed: format!("system/{kind}.{}", interaction.letter()) }),
            grant => Ok(grant),
        }
    }

    /// The purpose of this request: the stated one if the client may state it, else its default.
    pub fn purpose<'a>(&'a self, stated: Option<&str>) -> Result<&'a str, Denied> {
        let found = match stated {
            None => self.purposes.first(),
            Some(code) => self.purposes.iter().find(|purpose| purpose.as_str() == code),
        };
        found.map(String::as_str).ok_or(Denied::Purpose)
    }
}

/// Prints the client id only: what a caller may do is nobody's business in a log.
impl fmt::Debug for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Principal").field(&self.client).finish()
    }
}

#[cfg(test)]
mod tests;
