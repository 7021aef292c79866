//! The proof that consent was asked: a value that only [`permit`] makes.
//!
//! The next step takes a `Permitted<T>` and nothing else, so that forgetting to ask does not compile. The proof
//! is bound to the value it was given for, cannot be built from stored data, and carries its basis for the audit: a consent,
//! or where the person has said nothing of the matter, the policy that the deployment has for that.

use std::collections::HashMap;
use std::sync::Arc;

use super::compile::Compiled;
use super::decide::{self, Basis, Decision, Denial, decide};
use super::implied::Implied;
use super::request::{Facts, Request};

/// A value that consent permits to be used as was asked.
#[derive(Debug)]
pub struct Permitted<T> {
    value: T,
    basis: Basis,
}

impl<T> Permitted<T> {
    pub fn get(&self) -> &T {
        &self.value
    }

    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    pub fn into_inner(self) -> T {
        self.value
    }
}

/// Decides each of what a value claims to be, and wraps it if all are permitted; the basis is that of the first. A policy
/// knows of no claims and judges the `whole`. All these must describe `value`, which is dropped if it is refused.
pub fn permit<'f, T>(
    consents: &[Arc<Compiled>],
    implied: &Implied,
    request: &Request<'_>,
    whole: &Facts<'_>,
    claims: impl Iterator<Item = Facts<'f>>,
    value: T,
) -> Result<Permitted<T>, Denial> {
    let mut first = None;
    for claim in claims {
        match decide(consents, request, &claim) {
            Decision::Permit(basis) => first = first.or(Some(basis)),
            Decision::Deny(denial) => {
                let basis = by_policy(consents, implied, request, whole, denial)?;
                return Ok(Permitted { value, basis });
            }
        }
    }
    match first {
        Some(basis) => Ok(Permitted { value, basis }),
        None => Err(Denial::silence()),
    }
}

/// What was decided on one request by one person's consents, of resources that say the same.
#[derive(Debug, Default)]
pub struct Precedents {
    /// Until when by time alone nothing changes; always, where nothing is known yet.
    until_ms: Option<i64>,
    known: HashMap<Box<[u8]>, Result<Basis, Denial>>,
}

/// Of how many kinds it is remembered.
const PRECEDENTS: usize = 256;

impl Precedents {
    /// Forgets what was decided before something may have changed, by then, by time alone: by consents that come or cease to
    /// hold, or are still to be given.
    pub fn refresh(&mut self, consents: &[Arc<Compiled>], now_ms: i64) {
        if self.until_ms.is_some_and(|until_ms| now_ms < until_ms) {
            return;
        }
        self.known.clear();
        let bounds = consents.iter().filter_map(|consent| consent.next_bound(now_ms));
        let none_to_come = consents.iter().all(|consent| consent.given_ms().is_none_or(|given_ms| given_ms <= now_ms));
        self.until_ms = Some(if none_to_come { bounds.min().unwrap_or(i64::MAX) } else { now_ms });
    }

    /// Decides as before what is like before; gives the value back where nothing like it was decided. `alike` must hold
    /// everything of a value that a decision can depend on.
    pub fn follow<T>(&self, alike: &[u8], value: T) -> Result<Result<Permitted<T>, Denial>, T> {
        match self.known.get(alike) {
            Some(decided) => Ok(decided.clone().map(|basis| Permitted { value, basis })),
            None => Err(value),
        }
    }

    /// Takes note of what was decided of a value like this.
    pub fn note<T>(&mut self, alike: &[u8], decided: &Result<Permitted<T>, Denial>) {
        if self.known.len() < PRECEDENTS {
            let decided = decided.as_ref().map(|permitted| permitted.basis.clone()).map_err(Denial::clone);
            self.known.insert(alike.into(), decided);
        }
    }
}

/// What stands in for a consent, or the denial that it was asked for.
fn by_policy(
    consents: &[Arc<Compiled>],
    implied: &Implied,
    request: &Request<'_>,
    whole: &Facts<'_>,
    denial: Denial,
) -> Result<Basis, Denial> {
    let policy = implied.permits(denial.reason, consents, request, whole.patients, Some(whole)).ok_or(denial)?;
    Ok(Basis::policy(policy, decide::until(consents, request, whole.patients)))
}
