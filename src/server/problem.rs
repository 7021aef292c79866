//! The one place where a refusal becomes an HTTP reply.
//!
//! The body is an OperationOutcome for the sender; what the operator needs was logged where the failure was handled.

use hyper::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};

use super::reply::{Body, Reply};
use crate::exchange::Refusal;
use crate::fhir::outcome::{Id, Issue};

pub fn reply(refusal: &Refusal) -> Reply {
    let status = refusal.status();
    let mut reply = Reply::new(status, Body::Outcome(refusal.issues.clone()));
    reply.issues = refusal.ids();
    reply.issues.dedup();
    reply.on_record = refusal.on_record;
    if let Some(seconds) = refusal.retry_after_seconds {
        reply = reply.with(RETRY_AFTER, &seconds.to_string());
    }
    if status == 401 {
        // RFC 6750 §3: no error code when no token was sent.
        let sent = refusal.issues.iter().any(|issue| issue.id == Id::TokenInvalid);
        reply = reply.with(WWW_AUTHENTICATE, if sent { "Bearer error=\"invalid_token\"" } else { "Bearer" });
    }
    reply
}

pub fn issue(issue: Issue) -> Reply {
    reply(&issue.into())
}

pub fn method_not_allowed(allowed: &str) -> Reply {
    issue(Issue::new(Id::MethodNotAllowed, "", "This address does not know the method.")).with(ALLOW, allowed)
}

pub fn route_unknown() -> Reply {
    issue(Issue::new(Id::RouteUnknown, "", "There is nothing at this address."))
}

/// For a task that died: the sender learns that it was us.
pub fn internal() -> Reply {
    issue(Issue::new(Id::Internal, "", "The gateway failed to process the request."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_say_whether_to_come_back() {
        let refusal =
            Refusal { retry_after_seconds: Some(60), ..Refusal::one(Id::StorageFull, "", "The storage is full.") };
        let reply = reply(&refusal);
        assert_eq!(reply.status, 507);
        assert!(reply.headers.iter().any(|(name, value)| name == RETRY_AFTER && value == "60"));
        assert_eq!(internal().status, 500);
    }
}
