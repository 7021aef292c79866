//! Faults on order, applied to writes.
//!
//! They come in two kinds, because both happen: the platform did nothing (`down`, `busy`, `redirect`, `revoke`, `table`), or it
//! did its work and the answer was lost (`slow`, `hang`, `garbage`, `half`, `lie`, `error-after-accept`), which is what makes
//! duplicates. By `table` it answers as the real system does, with each line of its country pack's table of errors in turn.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use serde::Deserialize;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Ok,
    /// 503, nothing is stored.
    Down,
    /// 429 with a time to come back, nothing is stored.
    Busy,
    /// The next line of the pack's table of errors, nothing is stored; after the last one it is well again.
    Table,
    /// 307 to elsewhere, nothing is stored.
    Redirect,
    /// 401, nothing is stored, and every token that was granted so far is worth nothing.
    Revoke,
    /// Handled twice, as by a proxy between us that tries again; the second answer is the one that comes.
    Duplicate,
    /// Stored; the answer comes after a while.
    Slow,
    /// Stored; there is never an answer.
    Hang,
    /// Stored; the answer is not FHIR.
    Garbage,
    /// Stored; the answer breaks off.
    Half,
    /// Stored; the answer is well-formed and tells of nothing that was sent.
    Lie,
    /// Stored; 500.
    ErrorAfterAccept,
}

/// A mode for the next `count` writes; without a count until another order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub mode: Mode,
    #[serde(default)]
    pub count: Option<u32>,
}

/// What was ordered, and how many writes have met it.
pub(super) struct Orders(Mutex<(Fault, usize)>);

impl Orders {
    pub(super) fn new(fault: Fault) -> Self {
        Orders(Mutex::new((fault, 0)))
    }

    pub(super) fn order(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (fault, 0);
    }

    pub(super) fn is_table(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.mode == Mode::Table
    }

    /// What the next write meets, and how many met it before.
    pub(super) fn next(&self) -> (Mode, usize) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (fault, met) = &mut *orders;
        *met += 1;
        let mode = match &mut fault.count {
            Some(0) => Mode::Ok,
            Some(left) => {
                *left -= 1;
                fault.mode
            }
            None => fault.mode,
        };
        (mode, *met - 1)
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    /// `MODE`, or `MODE:COUNT`.
    fn from_str(text: &str) -> Result<Fault, String> {
        let (mode, count) = text.split_once(':').map_or((text, None), |(mode, count)| (mode, Some(count)));
        let count = count.map(str::parse).transpose().map_err(|_| "how often is a number".to_owned())?;
        let mode = serde_json::from_value(mode.into()).map_err(|_| {
            "expected is ok, down, busy, table, redirect, revoke, duplicate, slow, hang, garbage, half, lie or error-after-accept"
                .to_owned()
        })?;
        Ok(Fault { mode, count })
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
