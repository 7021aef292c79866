//! What a handler gives back: a status, headers and a body, still free of HTTP's machinery.

use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

use super::flow::Flow;
use crate::fhir::outcome::{Id, Issue};

/// A reply before negotiation: bodies are FHIR JSON until the client asks otherwise.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Body,
    /// Why it was refused; empty if it was not.
    pub issues: Vec<Id>,
    /// Whether the audit knows of the refusal.
    pub on_record: bool,
    /// Method and address that were asked, as the routes have them; none where there is no such route.
    pub route: Option<(&'static str, &'static str)>,
    /// Who asked, for the log.
    pub client: Option<Arc<str>>,
}

/// The body of a reply.
pub enum Body {
    Empty,
    /// A FHIR resource in JSON; written as XML if the client prefers it.
    Resource(Vec<u8>),
    /// An OperationOutcome, put into words for whoever sent the request.
    Outcome(Vec<Issue>),
    /// Plain JSON that is no FHIR resource.
    Json(Vec<u8>),
    /// A page or another file of the guide, as it was published.
    File {
        media_type: &'static str,
        bytes: Vec<u8>,
    },
    /// What is made while it is sent.
    Flow {
        media_type: &'static str,
        flow: Flow,
    },
}

impl std::fmt::Debug for Body {
    /// Bodies hold patient data.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Body::Empty => "Empty",
            Body::Resource(_) => "Resource",
            Body::Outcome(_) => "Outcome",
            Body::Json(_) => "Json",
            Body::File { .. } => "File",
            Body::Flow { .. } => "Flow",
        })
    }
}

impl Reply {
    pub fn new(status: u16, body: Body) -> Self {
        Reply { status, headers: Vec::new(), body, issues: Vec::new(), on_record: false, route: None, client: None }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Reply::new(status, Body::Json(value.to_string().into_bytes()))
    }

    pub fn resource(status: u16, value: &serde_json::Value) -> Self {
        Reply::new(status, Body::Resource(value.to_string().into_bytes()))
    }

    /// Adds a header; a value that HTTP cannot carry is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}
