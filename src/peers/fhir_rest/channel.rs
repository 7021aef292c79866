//! A FHIR endpoint that is asked rather than delivered to: the same connections, credentials and bounds.

use reqwest::Url;

use super::send::{Answer, Failure, Sender};
use super::{Auth, Config, OpenError, config, token};
use crate::peers::Clock;

/// An opened endpoint.
pub(in crate::peers) struct Channel {
    base: Url,
    sender: Sender,
    token: Option<token::Source>,
}

impl Channel {
    pub(in crate::peers) fn open(endpoint: &Config, clock: Clock) -> Result<Self, OpenError> {
        let sender = Sender::open(endpoint)?;
        let token = match &endpoint.auth {
            Auth::BackendServices(credentials) => Some(token::Source::open(credentials, clock)?),
            Auth::None | Auth::ClientCertificate { .. } | Auth::Citizen(_) | Auth::Iua(_) => None,
        };
        let mut base = config::address(&endpoint.url).map_err(OpenError::Config)?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Channel { base, sender, token })
    }

    /// Posts FHIR JSON to a path below the base; `None` where there is no complete answer. A refused token is renewed
    /// once, because it may have been revoked before its time.
    pub(in crate::peers) async fn post(&self, path: &str, body: Vec<u8>) -> Option<Answer> {
        let url = self.base.join(path).ok()?;
        let mut renewed = false;
        loop {
            let access = match &self.token {
                None => None,
                Some(source) => Some(source.access(&self.sender, renewed, None).await.ok()?),
            };
            let answer: Result<Answer, Failure> = self.sender.post(&url, body.clone(), access.as_ref()).await;
            let answer = answer.ok()?;
            if answer.status == 401 && self.token.is_some() && !renewed {
                renewed = true;
                continue;
            }
            return Some(answer);
        }
    }
}
