//! Links: a person lets a destination take what is hers by signing in there, and the gateway keeps what it was given for it.
//!
//! A link is no consent: it opens the destination's door, and consents decide as ever what goes through it. It carries what
//! the destination wants for its door and the name by which it knows the person, and nothing more; both lie sealed with the
//! person's key, and end with her. Who begins a link and who comes back with its code must be the same visit of her page, so
//! that nobody is made to link somebody else's account.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::person::{Person, Visitor};
use super::pull::page;
use super::trail::{Act, Author};
use super::{Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, json as reader};
use crate::peers::Allowance;
use crate::peers::fhir_rest::{Ended, Given, Linker, Tokens};
use crate::store::{self, Link, PatientKey};

/// What the way back from the destination is sealed for.
const PURPOSE: &str = "link";
/// How long a person may take to sign in.
const SIGN_IN_MS: i64 = 20 * 60_000;
/// How long one process has for renewing a link before another one may.
const RENEWAL_MS: i64 = 60_000;

/// What is kept of a link.
#[derive(Serialize, Deserialize)]
struct Kept {
    tokens: Tokens,
    /// System and value of the name by which the destination knows the person.
    identity: Option<(String, String)>,
    since_ms: i64,
}

impl Kept {
    fn of(link: &Link) -> Option<Kept> {
        serde_json::from_slice(&link.body).ok()
    }

    fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What a person takes with her and brings back.
#[derive(Serialize, Deserialize)]
struct Underway {
    id: String,
    destination: String,
    expires_ms: i64,
}

/// How a person stands with a destination that wants her permission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connection {
    None,
    /// Since when, and until when if that is known.
    Stands {
        since_ms: i64,
        ends_ms: Option<i64>,
    },
    Over,
}

/// Where a person goes to sign in.
pub struct Leaving {
    pub url: String,
    pub host: String,
}

/// By what a delivery is let in.
pub(super) enum Allowed {
    /// The destination wants no person's permission.
    Unneeded,
    With(Allowance),
    Not(String),
}

impl Gateway {
    fn linker(&self, destination: &str) -> Option<&Arc<Linker>> {
        self.recipients.all.iter().find(|one| *one.name == *destination)?.linker.as_ref()
    }

    /// How the person stands with a destination; nothing where it wants no permission of hers.
    pub(super) async fn connection(
        &self,
        destination: &str,
        patient: PatientKey,
    ) -> Result<Option<Connection>, store::Error> {
        if self.linker(destination).is_none() {
            return Ok(None);
        }
        let link = match self.store.link(patient, destination).await {
            // Nothing is let in by it any more.
            Err(store::Error::Damaged) => return Ok(Some(Connection::Over)),
            link => link?,
        };
        let kept = link.as_ref().and_then(Kept::of);
        Ok(Some(match (link, kept) {
            (Some(link), Some(_)) if link.over => Connection::Over,
            (Some(_), Some(kept)) => Connection::Stands { since_ms: kept.since_ms, ends_ms: kept.tokens.ends_ms() },
            _ => Connection::None,
        }))
    }

    /// Sends a person to a destination's own sign-in.
    pub async fn connect(&self, person: &Person, destination: &str) -> Result<Leaving, Refusal> {
        let linker = self.linker(destination).ok_or_else(Refusal::not_found)?;
        let mut entropy = [0; 16];
        (self.entropy)(&mut entropy);
        let id: String = entropy.iter().map(|byte| format!("{byte:02x}")).collect();
        let (verifier, nonce) = (self.derived("verifier", &id), self.derived("nonce", &id));
        let underway = Underway { id, destination: destination.to_owned(), expires_ms: self.now_ms() + SIGN_IN_MS };
        let state = page::sign(&underway, PURPOSE, &self.token_secret, person.session());
        let url =
            linker.authorization(&self.way_back(), &state, &verifier, &nonce).await.map_err(|ended| failed(&ended))?;
        Ok(Leaving { url: url.into(), host: linker.host() })
    }

    /// Takes what a person brought back; the destination that it is of. The same code counts once.
    pub async fn connected(
        &self,
        person: &Person,
        visitor: Visitor<'_>,
        (state, code): (&str, &str),
    ) -> Result<String, Refusal> {
        let now_ms = self.now_ms();
        let strange = || Refusal::one(Id::TokenInvalid, "", "The sign-in was not begun by this visit, or long ago.");
        let underway: Underway =
            page::verify(state, PURPOSE, &self.token_secret, person.session()).ok_or_else(strange)?;
        if underway.expires_ms < now_ms
            || !self.store.remember_jti(PURPOSE, &underway.id, underway.expires_ms, now_ms).await?
        {
            return Err(strange());
        }
        let Underway { id, destination, .. } = underway;
        let linker = self.linker(&destination).ok_or_else(Refusal::not_found)?;
        let (verifier, nonce) = (self.derived("verifier", &id), self.derived("nonce", &id));
        let Given { tokens, identity } =
            linker.given(code, &self.way_back(), &verifier, &nonce).await.map_err(|ended| failed(&ended))?;
        let kept = Kept { tokens, identity, since_ms: now_ms };
        let record = self.author_of(person, visitor, "$connect", &destination);
        if !self.store.put_link(person.key(), &destination, kept.body(), record).await? {
            self.give_back(linker, &kept.tokens).await;
            return Err(Refusal::one(Id::PersonErased, "", "Everything of the person was erased."));
        }
        // What was given before is not given back: some servers would end with it what was given just now.
        Ok(destination)
    }

    /// Ends a link, here for good and at the destination as far as it listens.
    pub async fn disconnect(&self, person: &Person, visitor: Visitor<'_>, destination: &str) -> Result<(), Refusal> {
        let linker = self.linker(destination).ok_or_else(Refusal::not_found)?;
        let link = self.link_to_give_back(person.key(), destination).await?;
        let record = self.author_of(person, visitor, "$disconnect", destination);
        self.store.remove_link(person.key(), destination, record).await?;
        if let Some(kept) = link.as_ref().and_then(Kept::of) {
            self.give_back(linker, &kept.tokens).await;
        }
        Ok(())
    }

    /// A link that is about to end. What is damaged ends here alone: nobody knows any more what to give back.
    async fn link_to_give_back(&self, patient: PatientKey, destination: &str) -> Result<Option<Link>, store::Error> {
        match self.store.link(patient, destination).await {
            Err(store::Error::Damaged) => {
                tracing::error!(destination, "a link is damaged, so that the permission behind it is not given back");
                Ok(None)
            }
            link => link,
        }
    }

    /// What is held of a person's links, as she may take it with her: without what opens the door; and how many are damaged.
    pub(super) async fn links_of(&self, patient: PatientKey) -> Result<(Vec<Value>, usize), store::Error> {
        let (mut links, mut damaged) = (Vec::new(), 0);
        for destination in self.store.linked(patient).await? {
            let link = match self.store.link(patient, &destination).await {
                Err(store::Error::Damaged) => {
                    damaged += 1;
                    continue;
                }
                link => link?,
            };
            let Some(link) = link else { continue };
            let Some(kept) = Kept::of(&link) else { continue };
            let name = kept.identity.map(|(system, value)| json!({"system": system, "value": value}));
            links.push(json!({
                "destination": destination, "since": crate::fhir::tree::time::instant(kept.since_ms),
                "scope": kept.tokens.scope, "over": link.over, "identifier": name,
            }));
        }
        Ok((links, damaged))
    }

    /// What a person who is about to be forgotten has given; to be given back when she is.
    pub(super) async fn given_by(&self, patient: PatientKey) -> Result<Vec<(Arc<Linker>, Tokens)>, store::Error> {
        let mut given = Vec::new();
        for destination in self.store.linked(patient).await? {
            let Some(linker) = self.linker(&destination) else { continue };
            let link = self.link_to_give_back(patient, &destination).await?;
            given.extend(link.as_ref().and_then(Kept::of).map(|kept| (linker.clone(), kept.tokens)));
        }
        Ok(given)
    }

    /// Whatever becomes of it, the token is used no more here.
    pub(super) async fn give_back(&self, linker: &Linker, tokens: &Tokens) {
        if let Err(ended) = linker.revoke(tokens).await {
            tracing::warn!(reason = %ended, "a destination was not told that a person's permission is given back");
        }
    }

    /// Whether the destination wants a permission that the person has not given.
    pub(super) async fn is_unlinked(&self, destination: &str, patient: PatientKey) -> Result<bool, store::Error> {
        Ok(self.linker(destination).is_some() && self.store.link(patient, destination).await?.is_none())
    }

    /// By what a delivery of that person's is let in now, renewed if need be.
    pub(super) async fn allowance(
        &self,
        destination: &str,
        patient: Option<PatientKey>,
    ) -> Result<Allowed, store::Error> {
        let Some(linker) = self.linker(destination) else { return Ok(Allowed::Unneeded) };
        let not = |reason: &str| Ok(Allowed::Not(reason.to_owned()));
        let Some(patient) = patient else { return not("it is of nobody who could permit it there") };
        let Some(link) = self.store.link(patient, destination).await? else {
            return not("the person has not connected the destination");
        };
        let Some(kept) = Kept::of(&link) else { return not("the person's permission cannot be read") };
        if link.over {
            return not("the person's permission at the destination has ended; she can connect it again");
        }
        let now_ms = self.now_ms();
        if kept.tokens.is_fresh(now_ms) {
            return Ok(Allowed::With(Allowance::new(kept.tokens.access)));
        }
        let term = (now_ms, now_ms + RENEWAL_MS);
        if !self.store.claim_link(patient, destination, link.version, term).await? {
            return not("the person's permission is being renewed");
        }
        match linker.refreshed(&kept.tokens).await {
            Ok(tokens) => {
                let access = tokens.access.clone();
                let body = Kept { tokens, ..kept }.body();
                // Should she have ended it meanwhile, nothing more is sent.
                let stands = self.store.renew_link(patient, destination, Link { body, ..link }).await?;
                if stands {
                    Ok(Allowed::With(Allowance::new(access)))
                } else {
                    not("the person's permission has changed")
                }
            }
            Err(Ended::Over(reason)) => {
                tracing::info!(destination, reason, "a person's permission at a destination has ended");
                self.store.renew_link(patient, destination, Link { over: true, ..link }).await?;
                not("the person's permission at the destination has ended; she can connect it again")
            }
            Err(Ended::Trouble(reason)) => Ok(Allowed::Not(reason)),
        }
    }

    /// A token that was refused is not shown again.
    pub(super) async fn link_used(
        &self,
        destination: &str,
        patient: Option<PatientKey>,
        access: Option<&Allowance>,
    ) -> Result<(), store::Error> {
        let (Some(patient), Some(access)) = (patient, access) else { return Ok(()) };
        if !access.is_refused() {
            return Ok(());
        }
        let Some(link) = self.store.link(patient, destination).await? else { return Ok(()) };
        let Some(mut kept) = Kept::of(&link) else { return Ok(()) };
        kept.tokens.access_until_ms = 0;
        self.store.renew_link(patient, destination, Link { body: kept.body(), ..link }).await.map(drop)
    }

    /// The person as the destination knows her: by the name that it said when she linked it, or else by those on record.
    pub(super) async fn person_there(
        &self,
        destination: &str,
        patient: Option<PatientKey>,
        id: &str,
    ) -> Result<Option<Document>, store::Error> {
        let stored = self.store.read("Patient", id).await?.filter(|stored| !stored.deleted);
        let link = match patient.filter(|_| self.linker(destination).is_some_and(|linker| linker.identifies())) {
            Some(patient) => self.store.link(patient, destination).await?,
            None => None,
        };
        let identity = link.as_ref().and_then(Kept::of).and_then(|kept| kept.identity);
        let Some(stored) = stored else { return Ok(None) };
        let Some((system, value)) = identity else { return Ok(reader::parse(stored.payload).ok()) };
        let Ok(mut named) = serde_json::from_slice::<Value>(&stored.payload) else { return Ok(None) };
        named["identifier"] = json!([{"system": system, "value": value}]);
        Ok(reader::parse(named.to_string()).ok())
    }

    /// Where people come back to.
    fn way_back(&self) -> String {
        format!("{}/connected", self.person_page())
    }

    /// What only this installation can say of a sign-in.
    fn derived(&self, what: &str, id: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.token_secret);
        hasher.update(b"link\0").update(what.as_bytes()).update(b"\0").update(id.as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    fn author_of(
        &self,
        person: &Person,
        visitor: Visitor<'_>,
        operation: &str,
        destination: &str,
    ) -> store::AuditRecord {
        let pairs = [("destination".to_owned(), destination.to_owned())];
        let about = person.about();
        Author::of(self, &person.caller(visitor))
            .with_query(&format!("Patient/{}/{operation}", about.0), &pairs)
            .record(Act::Operation, Some(&about), &[], None, &[])
    }
}

/// The destination's server did not do its part.
fn failed(ended: &Ended) -> Refusal {
    tracing::warn!(reason = %ended, "a person could not be linked to a destination");
    Refusal::one(Id::DestinationTrouble, "", "The destination's sign-in did not work.")
}
