//! Why a request was not served: issues for the sender, and the one table that gives them an HTTP status.
//!
//! The status follows from the first error's id, here and nowhere else, because the same number stands in a
//! response line and in `Bundle.entry.response.status`.

use crate::fhir::outcome::{self, Id, Issue};
use crate::policy::consent::Basis;
use crate::store;

/// A refusal: at least one issue, and when to come back if that helps.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub issues: Vec<Issue>,
    pub retry_after_seconds: Option<u32>,
    /// The consent that refused, for the audit.
    pub basis: Option<Basis>,
    /// Whether the audit has it already, or nothing could take it.
    pub on_record: bool,
}

impl Refusal {
    pub fn one(id: Id, expression: impl Into<String>, text: impl Into<String>) -> Self {
        Issue::new(id, expression, text).into()
    }

    pub fn status(&self) -> u16 {
        status(&self.issues)
    }

    pub fn ids(&self) -> Vec<Id> {
        self.issues.iter().map(|issue| issue.id).collect()
    }

    pub fn codes(&self) -> impl Iterator<Item = &'static str> {
        self.issues.iter().map(|issue| issue.id.code())
    }

    /// The same, once the audit has it.
    #[must_use]
    pub fn recorded(self) -> Self {
        Refusal { on_record: true, ..self }
    }

    pub fn outcome(&self, reader: outcome::Reader<'_>) -> serde_json::Value {
        outcome::operation_outcome(&self.issues, reader)
    }

    /// What the absent and the withheld have in common: the same bytes.
    pub fn not_found() -> Self {
        Refusal::one(Id::NotFound, "", "There is no such resource for this client.")
    }
}

impl From<Issue> for Refusal {
    fn from(issue: Issue) -> Self {
        vec![issue].into()
    }
}

impl From<Vec<Issue>> for Refusal {
    fn from(issues: Vec<Issue>) -> Self {
        debug_assert!(!issues.is_empty(), "a refusal says why");
        Refusal { issues, retry_after_seconds: None, basis: None, on_record: false }
    }
}

impl From<store::Error> for Refusal {
    /// The sender learns whether to come back; the operator reads the rest in the log.
    fn from(error: store::Error) -> Self {
        if matches!(error, store::Error::Damaged) {
            // Which one it is, the store has said. Asking again helps nobody.
            let text = "What is kept of a resource is damaged, so that it cannot be read.";
            return Refusal { on_record: true, ..Refusal::one(Id::ResourceDamaged, "", text) };
        }
        let (id, text, retry) = match &error {
            store::Error::Busy => (Id::Overloaded, "The gateway has more work than it can take.", 1),
            store::Error::Full => (Id::StorageFull, "The storage is full.", 60),
            store::Error::Lost => (Id::StorageFailed, "The storage cannot be reached.", 5),
            store::Error::Unknown => {
                (Id::StorageFailed, "Whether this was stored is not known. Sent again, it has one effect.", 5)
            }
            _ => (Id::StorageFailed, "The storage does not take data.", 60),
        };
        tracing::error!(issue = id.code(), error = &error as &dyn std::error::Error, "the store refused");
        let refusal = Refusal::one(id, "", text);
        Refusal { retry_after_seconds: Some(retry), on_record: true, ..refusal }
    }
}

/// Status of a list of issues: that of its first error.
pub fn status(issues: &[Issue]) -> u16 {
    issues.iter().find(|issue| issue.is_error()).map_or(200, |issue| status_of(issue.id))
}

/// HTTP status of an issue (FHIR R4 §3.1.0.1.2, §3.1.0.8.1; RFC 9110).
pub fn status_of(id: Id) -> u16 {
    match id {
        Id::JsonSyntax
        | Id::JsonComment
        | Id::JsonComma
        | Id::JsonQuotes
        | Id::JsonDuplicateKey
        | Id::JsonTooDeep
        | Id::JsonTooWide
        | Id::XmlSyntax
        | Id::XmlText
        | Id::XmlAttribute
        | Id::XmlNamespace
        | Id::XmlOrder
        | Id::XmlInstruction
        | Id::XmlDoctype
        | Id::BodyMissing
        | Id::BodyEncoding
        | Id::TypeNotInUrl
        | Id::IdMismatch
        | Id::HttpMalformed
        | Id::IdInvalid
        | Id::IdempotencyKeyInvalid
        | Id::PatientMissing
        | Id::SearchParameterUnknown
        | Id::SearchValue
        | Id::OperationParameter
        | Id::PatchInvalid
        | Id::SearchModifier
        | Id::ConditionUnsupported
        | Id::ResourceTypeMissing
        | Id::BundleRule => 400,
        Id::LoginRequired | Id::TokenInvalid => 401,
        Id::GuideVersion
        | Id::ScopeInsufficient
        | Id::IdRefused
        | Id::RequestNotOwn
        | Id::ProcessingRestricted
        | Id::ConsentMissing
        | Id::ConsentDenied
        | Id::ConsentUnclear => 403,
        Id::NotFound | Id::RouteUnknown | Id::InteractionUnsupported => 404,
        Id::MethodNotAllowed => 405,
        Id::NotAcceptable => 406,
        Id::BodyTooSlow => 408,
        Id::DuplicateIdentifier | Id::DeleteReferenced | Id::IdempotencyKeyReused | Id::UploadOffset => 409,
        Id::Gone | Id::PersonErased | Id::PageUnknown => 410,
        Id::VersionConflict | Id::MultipleMatches | Id::UploadVersion => 412,
        Id::BodyTooLarge | Id::BundleTooManyEntries => 413,
        Id::MediaTypeUnsupported => 415,
        Id::TooManyRequests | Id::UploadQuota | Id::SubscriptionQuota => 429,
        Id::HeadTooLarge => 431,
        Id::Internal | Id::InputUnreadable | Id::ExportFailed | Id::ResourceDamaged => 500,
        Id::Overloaded | Id::DestinationFull | Id::StorageFailed => 503,
        Id::StorageFull => 507,
        // Readable, but not what the profiles, the measures or the person allow.
        _ => 422,
    }
}

/// The words that HTTP puts behind a number, for `Bundle.entry.response.status`.
pub fn status_line(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        201 => "201 Created",
        204 => "204 No Content",
        304 => "304 Not Modified",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        409 => "409 Conflict",
        410 => "410 Gone",
        412 => "412 Precondition Failed",
        413 => "413 Content Too Large",
        415 => "415 Unsupported Media Type",
        422 => "422 Unprocessable Content",
        424 => "424 Failed Dependency",
        429 => "429 Too Many Requests",
        500 => "500 Internal Server Error",
        503 => "503 Service Unavailable",
        507 => "507 Insufficient Storage",
        _ => "400 Bad Request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_the_store_say_whether_to_come_back() {
        for (error, status, id) in [
            (store::Error::Busy, 503, Id::Overloaded),
            (store::Error::Full, 507, Id::StorageFull),
            (store::Error::Finish, 503, Id::StorageFailed),
            (store::Error::Lost, 503, Id::StorageFailed),
            (store::Error::Unknown, 503, Id::StorageFailed),
            (store::Error::Moved, 503, Id::StorageFailed),
            (store::Error::Damaged, 500, Id::ResourceDamaged),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.issues[0].id, refusal.status()), (id, status));
            assert_eq!(refusal.retry_after_seconds.is_some(), id != Id::ResourceDamaged, "{id}");
        }
        assert_eq!(status_of(Id::Internal), 500);
    }
}
