//! By which version of the guide a resource is judged: the one that its claim names, else the one that its client is
//! registered for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Gateway, Refusal};
use crate::fhir::ours;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;
use crate::fhir::validate::Validator;
use crate::guide::{claimed_version, names_earlier};
use crate::policy::access::Principal;

/// The rules for what a client sends. Those of the newest version are always there; others were opened for what was
/// sent with the request.
#[derive(Clone, Copy)]
pub struct Rules<'g> {
    gateway: &'g Gateway,
    /// The client's own.
    version: &'g str,
}

impl Gateway {
    /// Opens what the resources will need, beside the threads that serve.
    pub async fn rules<'g>(
        &'g self,
        principal: &Principal,
        sent: impl IntoIterator<Item = Element<'_>>,
        asked: &[&str],
    ) -> Result<Rules<'g>, Refusal> {
        let gone = || Refusal::one(Id::GuideVersion, "", "The rules that the client is registered for are not here.");
        let registered = principal.guide.as_deref().unwrap_or(ours::VERSION);
        let version = self.shelf.versions().find(|known| *known == registered).ok_or_else(gone)?;
        let rules = Rules { gateway: self, version };
        let wanted = sent.into_iter().map(|sent| rules.wanted(Some(sent), asked)).chain([rules.wanted(None, asked)]);
        let missing: BTreeSet<&str> = wanted.flatten().filter(|version| self.shelf.opened(version).is_none()).collect();
        for version in missing {
            let (shelf, version) = (Arc::clone(&self.shelf), version.to_owned());
            let opening = tokio::task::spawn_blocking(move || shelf.validator(&version).is_some()).await;
            if !opening.unwrap_or(false) {
                return Err(gone());
            }
        }
        Ok(rules)
    }
}

impl<'g> Rules<'g> {
    /// The rules for a resource, and for the profiles that it is to be held to besides.
    pub fn of(&self, sent: Option<Element<'_>>, asked: &[&str]) -> &'g Validator {
        let opened = self.wanted(sent, asked).and_then(|version| self.gateway.shelf.opened(version));
        opened.unwrap_or(&self.gateway.validator)
    }

    /// The version whose rules are wanted from the shelf; none where those that are always there will do.
    fn wanted(&self, sent: Option<Element<'_>>, asked: &[&str]) -> Option<&'g str> {
        let shelf = &self.gateway.shelf;
        let named = asked.iter().find_map(|claim| claimed_version(claim));
        let named = named.or_else(|| sent.and_then(first_claim));
        let version = named.and_then(|named| shelf.versions().find(|known| *known == named)).unwrap_or(self.version);
        let names_another = named.is_some_and(|named| named != ours::VERSION) || sent.is_some_and(names_earlier);
        (version != ours::VERSION || names_another).then_some(version)
    }
}

/// The version that a resource's own claim names.
fn first_claim(sent: Element<'_>) -> Option<&str> {
    let claims = sent.get("meta").into_iter().flat_map(|meta| meta.all("profile"));
    claims.filter_map(|claim| claim.string()).find_map(claimed_version)
}
