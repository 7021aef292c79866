//! The proof that consent was asked: a value that only [`permit`] makes.
//!
//! The next step takes a `Permitted<T>` and nothing else, so that forgetting to ask does not compile. The proof
//! is bound to the value it was given for, cannot be built from stored data, and carries its basis for the audit: a consent,
//! or where the person has said nothing of the matter, the policy that the deployment has for that.

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
