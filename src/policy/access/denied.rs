//! Why a caller was turned away, as a value with two audiences.
//!
//! The caller reads [`Denied::issue`] or [`Denied::oauth_error`]: enough to act on, nothing that helps to guess
//! (which check of a signature failed, whether a client exists). The operator reads `Display`.

use std::fmt;

use crate::fhir::outcome::{Id, Issue};

/// A refusal. Not a fault: it is answered, audited and counted, never retried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denied {
    /// No token or assertion was sent.
    Missing,
    /// Not a JWT of the form that is accepted here; says which part.
    Malformed {
        part: &'static str,
    },
    /// The token or assertion names an unknown client.
    Unknown,
    /// The client is registered, and blocked.
    Suspended,
    /// The client is registered for a version of the guide that is not here.
    Guide,
    /// No registered key has the `kid`.
    KeyUnknown,
    /// The algorithm is not the one of the registered key.
    Algorithm,
    /// The signature does not verify.
    Signature,
    /// Issued by or for somebody else.
    Audience,
    /// `iss` and `sub` are not both the client id (SMART 2.2, private_key_jwt).
    Subject,
    Expired,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// `exp` lies further ahead than the five minutes that SMART 2.2 allows.
    TooLongLived,
    /// The `jti` was seen before within its lifetime.
    Replayed,
    /// The scopes held or asked for do not suffice.
    Scope {
        needed: String,
    },
    /// A scope that cannot be read or enforced.
    ScopeInvalid {
        reason: String,
    },
    /// A purpose of use that the client may not state.
    Purpose,
    /// The token request itself is wrong: a parameter missing, repeated or not form-encoded.
    Request {
        reason: &'static str,
    },
    /// `grant_type` is not `client_credentials`.
    GrantType,
}

impl Denied {
    /// Of an assertion: whether the signature had verified, so that it is the client itself that is refused.
    pub fn is_proven(&self) -> bool {
        match self {
            Denied::Missing
            | Denied::Malformed { .. }
            | Denied::Unknown
            | Denied::KeyUnknown
            | Denied::Algorithm
            | Denied::Signature
            | Denied::Request { .. }
            | Denied::GrantType => false,
            Denied::Suspended
            | Denied::Guide
            | Denied::Audience
            | Denied::Subject
            | Denied::Expired
            | Denied::NotYetValid
            | Denied::TooLongLived
            | Denied::Replayed
            | Denied::Scope { .. }
            | Denied::ScopeInvalid { .. }
            | Denied::Purpose => true,
        }
    }

    /// What a FHIR client is told.
    pub fn issue(&self) -> Issue {
        let (id, text) = match self {
            Denied::Missing => (Id::LoginRequired, "The request carries no access token.".to_owned()),
            Denied::Expired => (Id::TokenInvalid, "The access token has expired.".to_owned()),
            Denied::Scope { needed } => {
                (Id::ScopeInsufficient, format!("The access token does not cover this interaction; it needs {needed}."))
            }
            Denied::ScopeInvalid { reason } => {
                (Id::ScopeInsufficient, format!("The scope cannot be granted: {reason}."))
            }
            Denied::Purpose => (
                Id::ScopeInsufficient,
                "The client is not registered for the purpose of use that it states.".to_owned(),
            ),
            Denied::Guide => (
                Id::GuideVersion,
                "The client is registered for a version of the guide that is not enforced here any more.".to_owned(),
            ),
            _ => (Id::TokenInvalid, "The access token is not valid here.".to_owned()),
        };
        Issue::new(id, "", text)
    }

    /// `error` of the token endpoint's answer (RFC 6749 §5.2; SMART 2.2 asks `invalid_client` for bad assertions).
    pub fn oauth_error(&self) -> &'static str {
        match self {
            Denied::Missing | Denied::Request { .. } => "invalid_request",
            Denied::GrantType => "unsupported_grant_type",
            Denied::Guide => "unauthorized_client",
            Denied::Scope { .. } | Denied::ScopeInvalid { .. } | Denied::Purpose => "invalid_scope",
            _ => "invalid_client",
        }
    }

    /// `error_description` of the token endpoint's answer. Developers integrate against this text, so it says
    /// which rule was broken, except where that would tell whether a client or a key exists.
    pub fn oauth_description(&self) -> String {
        match self {
            Denied::Unknown | Denied::Suspended | Denied::KeyUnknown | Denied::Algorithm | Denied::Signature => {
                "client authentication failed: check client id, kid, algorithm and signature".to_owned()
            }
            told => told.to_string(),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Denied::Missing => "nothing was presented",
            Denied::Malformed { part } => return write!(formatter, "malformed {part}"),
            Denied::Unknown => "unknown client",
            Denied::Suspended => "suspended client",
            Denied::Guide => "the client is registered for a version of the guide that is not enforced here any more",
            Denied::KeyUnknown => "no registered key has this kid",
            Denied::Algorithm => "alg is not that of the registered key",
            Denied::Signature => "signature does not verify",
            Denied::Audience => "aud must be the address of this token endpoint alone",
            Denied::Subject => "iss and sub must both be the client id",
            Denied::Expired => "expired",
            Denied::NotYetValid => "iat or nbf lies in the future",
            Denied::TooLongLived => "exp must lie at most five minutes ahead",
            Denied::Replayed => "jti was used before",
            Denied::Scope { needed } => return write!(formatter, "scope {needed} is needed"),
            Denied::ScopeInvalid { reason } => return write!(formatter, "invalid scope: {reason}"),
            Denied::Purpose => "purpose of use is not registered for the client",
            Denied::Request { reason } => reason,
            Denied::GrantType => "grant_type must be client_credentials",
        };
        formatter.write_str(text)
    }
}
