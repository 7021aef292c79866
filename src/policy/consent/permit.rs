//! The proof that consent was asked: a value that only [`permit`] makes.
//!
//! The next step takes a `Permitted<T>` and nothing else, so that forgetting to ask does not compile. The proof
//! is bound to the value it was given for, cannot be built from stored data, and carries its basis for the audit.

use std::sync::Arc;

use super::compile::Compiled;
use super::decide::{Basis, Decision, Denial, decide};
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

/// Decides, and wraps what is permitted. `facts` must describe `value`. A refused value is dropped.
pub fn permit<T>(
    consents: &[Arc<Compiled>],
    request: &Request<'_>,
    facts: &Facts<'_>,
    value: T,
) -> Result<Permitted<T>, Denial> {
    match decide(consents, request, facts) {
        Decision::Permit(basis) => Ok(Permitted { value, basis }),
        Decision::Deny(denial) => Err(denial),
    }
}
