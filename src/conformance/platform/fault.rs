//! Faults on order, applied to writes.
//!
//! They come in two kinds, because both happen: the platform did nothing (`down`, `redirect`, `revoke`), or it did its work
//! and the answer was lost (`slow`, `hang`, `garbage`, `half`), which is what makes duplicates.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use serde::Deserialize;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Ok,
    /// 503, nothing is stored.
    Down,
    /// 307 to elsewhere, nothing is stored.
    Redirect,
    /// 401, nothing is stored, and every token that was granted so far is worth nothing.
    Revoke,
    /// Stored; the answer comes after a while.
    Slow,
    /// Stored; there is never an answer.
    Hang,
    /// Stored; the answer is not FHIR.
    Garbage,
    /// Stored; the answer breaks off.
    Half,
}

/// A mode for the next `count` writes; without a count until another order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub mode: Mode,
    #[serde(default)]
    pub count: Option<u32>,
}

pub(super) struct Orders(Mutex<Fault>);

impl Orders {
    pub(super) fn new(fault: Fault) -> Self {
        Orders(Mutex::new(fault))
    }

    pub(super) fn order(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// What the next write meets.
    pub(super) fn next(&self) -> Mode {
        let mut fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut fault.count {
            Some(0) => Mode::Ok,
            Some(left) => {
                *left -= 1;
                fault.mode
            }
            None => fault.mode,
        }
    }
}

/// The body of an answer: whole, or one that breaks off.
pub(super) enum Answer {
    Whole(Option<Bytes>),
    Half { begun: bool },
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match &mut *self {
            Answer::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Answer::Half { begun: true } => Some(Err(std::io::ErrorKind::ConnectionReset.into())),
            Answer::Half { begun } => {
                *begun = true;
                Some(Ok(Frame::data(Bytes::from_static(b"{\"resourceType\":"))))
            }
        })
    }
}
