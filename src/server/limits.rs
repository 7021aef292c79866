//! What one request may cost before it is understood: bytes on the wire, bytes inflated, time, and company.
//!
//! Nothing else in the server reads a body, and nothing reads one before it has a place in the queue: a full house
//! answers 503 at the door.

use std::io::Read;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use serde::Deserialize;

use crate::fhir::outcome::{Id, Issue};

/// Caps, with their units in the names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest body on the wire and after inflation.
    pub body_bytes: usize,
    /// Largest inflation: a gzip body may grow to this many times its size.
    pub inflate_ratio: usize,
    /// Longest time for a whole body to arrive.
    pub body_seconds: u64,
    /// Longest time for the request's head to arrive, and for a TLS handshake.
    pub head_seconds: u64,
    /// Requests worked on at once; more are answered 503.
    pub concurrent_requests: usize,
    /// Open connections; more are closed.
    pub connections: usize,
    /// Entries of one Bundle.
    pub bundle_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 5 << 20,
            inflate_ratio: 100,
            body_seconds: 30,
            head_seconds: 10,
            concurrent_requests: 1024,
            connections: 4096,
            bundle_entries: 1000,
        }
    }
}

/// Reads a body within the caps, inflated if it came as gzip.
pub async fn read_body<B>(headers: &HeaderMap, body: B, limits: &Limits) -> Result<Bytes, Issue>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(too_large(limits));
    }
    let read = collect(body, limits);
    let Ok(read) = tokio::time::timeout(Duration::from_secs(limits.body_seconds), read).await else {
        return Err(Issue::new(Id::BodyTooSlow, "", "The body did not arrive within the time limit."));
    };
    let bytes = read?;
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => Ok(bytes),
        Some(encoding) if encoding == b"identity" => Ok(bytes),
        Some(encoding) if encoding == b"gzip" || encoding == b"x-gzip" => inflate(&bytes, limits),
        Some(_) => Err(Issue::new(Id::BodyEncoding, "", "The Content-Encoding is not one that is read here.")),
    }
}

async fn collect<B>(mut body: B, limits: &Limits) -> Result<Bytes, Issue>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first: Option<Bytes> = None;
    let mut gathered: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Issue::new(Id::BodyEncoding, "", "The body broke off before its end."));
        };
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(gathered.len(), Bytes::len);
        if so_far + data.len() > limits.body_bytes {
            return Err(too_large(limits));
        }
        // Most bodies arrive in one frame, and then nothing is copied.
        match first.take() {
            None if gathered.is_empty() => first = Some(data),
            None => gathered.extend_from_slice(&data),
            Some(head) => {
                gathered.reserve(head.len() + data.len());
                gathered.extend_from_slice(&head);
                gathered.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| Bytes::from(gathered)))
}

fn inflate(bytes: &[u8], limits: &Limits) -> Result<Bytes, Issue> {
    let cap = limits.body_bytes.min(bytes.len().saturating_mul(limits.inflate_ratio));
    let mut inflated = Vec::with_capacity(cap.min(bytes.len() * 8));
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(cap as u64 + 1);
    if reader.read_to_end(&mut inflated).is_err() {
        return Err(Issue::new(Id::BodyEncoding, "", "The body is not a readable gzip stream."));
    }
    if inflated.len() > cap {
        return Err(too_large(limits));
    }
    Ok(Bytes::from(inflated))
}

fn too_large(limits: &Limits) -> Issue {
    Issue::new(
        Id::BodyTooLarge,
        "",
        format!("The body is larger than {} bytes, as sent or when inflated.", limits.body_bytes),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http_body_util::Full;

    use super::*;

    async fn read(encoding: Option<&str>, bytes: Vec<u8>, limits: &Limits) -> Result<Bytes, Id> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        }
        read_body(&headers, Full::new(Bytes::from(bytes)), limits).await.map_err(|issue| issue.id)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A body that never comes.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_has_its_time() {
        let limits = Limits { body_seconds: 0, ..Limits::default() };
        assert_eq!(read_body(&HeaderMap::new(), Never, &limits).await.unwrap_err().id, Id::BodyTooSlow);
    }

    #[tokio::test]
    async fn caps_hold_plain_and_inflated() {
        let limits = Limits { body_bytes: 1000, inflate_ratio: 10, ..Limits::default() };
        assert_eq!(read(None, vec![b'x'; 1000], &limits).await.unwrap().len(), 1000);
        assert_eq!(read(None, vec![b'x'; 1001], &limits).await.unwrap_err(), Id::BodyTooLarge);
        assert_eq!(read(Some("gzip"), gzip(b"{\"a\":1}"), &limits).await.unwrap(), "{\"a\":1}");
        assert_eq!(read(Some("gzip"), gzip(&[b'x'; 900]), &limits).await.unwrap_err(), Id::BodyTooLarge);
        assert_eq!(read(Some("gzip"), gzip(&vec![b'x'; 1 << 20]), &limits).await.unwrap_err(), Id::BodyTooLarge);
        assert_eq!(read(Some("gzip"), b"nonsense".to_vec(), &limits).await.unwrap_err(), Id::BodyEncoding);
        assert_eq!(read(Some("br"), b"{}".to_vec(), &limits).await.unwrap_err(), Id::BodyEncoding);
    }
}
