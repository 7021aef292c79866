//! Requests that are no HTTP/1.1, or whose head is too large: hyper refuses them before anybody of ours is asked.
//!
//! Its answer is a bare status. This wrapper around the connection knows that answer by its form, since every reply of
//! ours has a request id, and says the same with an OperationOutcome. What hyper answers behind a reply of ours in one
//! write, and what HTTP/2 refuses within its own frames, stays as it is. No reply of ours is looked into.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::exchange::refusal::status_of;
use crate::fhir::outcome::{Id, Issue, Reader, operation_outcome};

/// What hyper refused on a connection; the connection ends with it.
pub type Refused = Arc<OnceLock<Id>>;

/// A connection whose bare refusals are said in full.
pub struct Outspoken<I> {
    inner: I,
    request_id: String,
    /// Where the guide is.
    pages: String,
    refused: Refused,
    /// Bytes that stand for hyper's own, and how many of them are written.
    pending: Vec<u8>,
    written: usize,
}

impl<I> Outspoken<I> {
    pub fn new(inner: I, request_id: String, pages: String, refused: Refused) -> Self {
        Outspoken { inner, request_id, pages, refused, pending: Vec::new(), written: 0 }
    }

    fn say(&mut self, bare: &[u8]) -> bool {
        let Some((id, full)) = said_in_full(bare, &self.request_id, &self.pages) else { return false };
        let _ = self.refused.set(id);
        (self.pending, self.written) = (full, 0);
        true
    }
}

impl<I: Write + Unpin> Outspoken<I> {
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, &self.pending[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Read + Unpin> Read for Outspoken<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<I: Write + Unpin> Write for Outspoken<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(context))?;
        if self.say(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(context))?;
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.say(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The answer in full, if these bytes are a bare refusal of hyper: a 4xx with an empty body and nothing but the headers
/// that HTTP itself asks for.
fn said_in_full(bare: &[u8], request_id: &str, pages: &str) -> Option<(Id, Vec<u8>)> {
    if !bare.starts_with(b"HTTP/1.") {
        return None;
    }
    let head = std::str::from_utf8(bare).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next()?;
    let status: u16 = status_line.split(' ').nth(1)?.parse().ok()?;
    let (mut is_empty, mut date) = (false, None);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        match name {
            "content-length" if value.trim() == "0" => is_empty = true,
            "date" => date = Some(line),
            "connection" => {}
            _ => return None,
        }
    }
    let issue = match status {
        400 => Issue::new(Id::HttpMalformed, "", "The request is not well-formed HTTP."),
        414 | 431 => Issue::new(Id::HeadTooLarge, "", "The request's address and headers are too large."),
        _ => return None,
    };
    if !is_empty {
        return None;
    }
    debug_assert!(status == 414 || status == status_of(issue.id), "hyper and we agree");
    let body = operation_outcome(std::slice::from_ref(&issue), Reader { pages, is_xml: false }).to_string();
    let mut full = format!(
        "{status_line}\r\ncontent-type: application/fhir+json; charset=utf-8\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: {request_id}\r\n\
         connection: close\r\n",
        body.len()
    );
    if let Some(line) = date {
        full.push_str(line);
        full.push_str("\r\n");
    }
    full.push_str("\r\n");
    full.push_str(&body);
    Some((issue.id, full.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_said_in_full() {
        let said = |head: &str| {
            let bytes = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
            said_in_full(bytes.as_bytes(), "r-1", "https://gateway.example.org/guide")
                .map(|(id, full)| (id, String::from_utf8(full).unwrap()))
        };
        let bare = "connection: close\ncontent-length: 0\ndate: Sat, 21 Nov 2026 14:00:00 GMT";
        let (id, full) = said(&format!("HTTP/1.1 400 Bad Request\n{bare}")).unwrap();
        assert_eq!(id, Id::HttpMalformed);
        assert!(full.contains("x-request-id: r-1\r\n") && full.contains("\r\ndate: Sat, 21 Nov"), "{full}");
        let (head, body) = full.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{full}");
        let (id, _) = said(&format!("HTTP/1.1 431 Request Header Fields Too Large\n{bare}")).unwrap();
        assert_eq!(id, Id::HeadTooLarge);
        for other in [
            format!("HTTP/1.1 400 Bad Request\n{bare}\nx-request-id: r-1"),
            format!("HTTP/1.1 200 OK\n{bare}"),
            format!("HTTP/1.1 404 Not Found\n{bare}"),
            "HTTP/1.1 400 Bad Request\ncontent-length: 5".to_owned(),
            "HTTP/1.1 100 Continue".to_owned(),
        ] {
            assert_eq!(said(&other), None, "{other}");
        }
        assert_eq!(
            said_in_full(b"{\"resourceType\":\"Patient\"}\r\n\r\n", "r-1", "https://gateway.example.org/guide"),
            None
        );
    }
}
