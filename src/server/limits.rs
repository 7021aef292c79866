//! What one request may cost before it is understood: bytes on the wire, bytes inflated, time, and company.
//!
//! Nothing else in the server reads a body, and nothing reads one before it has a place in the queue: a full house
//! answers 503 at the door.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use serde::Deserialize;

use crate::devices::unpack::{Broken, Coding, PACKED_PIECE, Unpack};
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
    /// Largest body of records that is worked off while it arrives, on the wire and inflated.
    pub stream_bytes: u64,
    /// Requests with records of devices that one client may have under way; more are answered 429.
    pub device_requests: usize,
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
            stream_bytes: 1 << 30,
            device_requests: 4,
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
    match coding(headers)? {
        Coding::Plain => Ok(bytes),
        Coding::Gzip => inflate(flate2::read::MultiGzDecoder::new(bytes.as_ref()), bytes.len(), limits),
        Coding::Deflate => inflate(flate2::read::ZlibDecoder::new(bytes.as_ref()), bytes.len(), limits),
    }
}

/// How a body was packed.
fn coding(headers: &HeaderMap) -> Result<Coding, Issue> {
    let name = headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes());
    Coding::named(name)
        .ok_or_else(|| Issue::new(Id::BodyEncoding, "", "The Content-Encoding is not one that is read here."))
}

/// A body that is worked off while it arrives. What is held of it is what one frame inflates to, a piece at a time.
pub struct Inflow<'l, B> {
    body: B,
    limits: &'l Limits,
    unpack: Unpack,
    /// Of the present frame, what was not unpacked yet.
    frame: Bytes,
    wire_bytes: u64,
    plain_bytes: u64,
}

impl<'l, B> Inflow<'l, B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub fn new(headers: &HeaderMap, body: B, limits: &'l Limits) -> Result<Self, Issue> {
        if body.size_hint().lower() > limits.stream_bytes {
            return Err(stream_too_large(limits));
        }
        let unpack = Unpack::new(coding(headers)?);
        Ok(Inflow { body, limits, unpack, frame: Bytes::new(), wire_bytes: 0, plain_bytes: 0 })
    }

    /// The next piece, unpacked; none at the end. The time limit is one for each frame, not for all of them.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Issue> {
        loop {
            while self.frame.is_empty() {
                let time = Duration::from_secs(self.limits.body_seconds);
                let Ok(frame) = tokio::time::timeout(time, self.body.frame()).await else {
                    return Err(Issue::new(Id::BodyTooSlow, "", "The body did not go on within the time limit."));
                };
                match frame {
                    None => return self.end(),
                    Some(Err(_)) => return Err(Issue::new(Id::BodyEncoding, "", "The body broke off before its end.")),
                    Some(Ok(frame)) => self.frame = frame.into_data().unwrap_or_default(),
                }
                self.wire_bytes += self.frame.len() as u64;
            }
            let piece = self.unpack()?;
            self.plain_bytes += piece.len() as u64;
            if self.plain_bytes > self.limits.stream_bytes {
                return Err(stream_too_large(self.limits));
            }
            if self.plain_bytes > self.wire_bytes.saturating_mul(self.limits.inflate_ratio as u64) {
                return Err(too_dense(self.limits));
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    fn unpack(&mut self) -> Result<Bytes, Issue> {
        if self.unpack.is_plain() {
            return Ok(std::mem::take(&mut self.frame));
        }
        let part = self.frame.split_to(self.frame.len().min(PACKED_PIECE));
        let plain = self.unpack.push(&part);
        plain
            .map(Bytes::from)
            .map_err(|Broken| Issue::new(Id::BodyEncoding, "", "The body is not what its Content-Encoding says."))
    }

    fn end(&mut self) -> Result<Option<Bytes>, Issue> {
        let unpack = std::mem::replace(&mut self.unpack, Unpack::new(Coding::Plain));
        let ended = unpack.finish();
        ended.map(|()| None).map_err(|Broken| Issue::new(Id::BodyEncoding, "", "The body broke off before its end."))
    }
}

fn stream_too_large(limits: &Limits) -> Issue {
    let text = format!("The body is larger than {} bytes, as sent or when inflated.", limits.stream_bytes);
    Issue::new(Id::BodyTooLarge, "", text)
}

/// Lets each client have so many requests under way.
#[derive(Default)]
pub struct Turnstile {
    inside: Mutex<HashMap<Arc<str>, usize>>,
}

/// A place that one client holds until it is dropped.
pub struct Turn {
    turnstile: Arc<Turnstile>,
    client: Arc<str>,
}

impl Turnstile {
    /// A place, unless the client has them all.
    pub fn enter(self: &Arc<Self>, client: &Arc<str>, most: usize) -> Option<Turn> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inside.entry(client.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Turn { turnstile: self.clone(), client: client.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inside = self.turnstile.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.client);
            }
        }
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

fn inflate(decoder: impl Read, packed: usize, limits: &Limits) -> Result<Bytes, Issue> {
    let cap = limits.body_bytes.min(packed.saturating_mul(limits.inflate_ratio));
    let mut inflated = Vec::with_capacity(cap.min(packed * 8));
    let mut reader = decoder.take(cap as u64 + 1);
    if reader.read_to_end(&mut inflated).is_err() {
        return Err(Issue::new(Id::BodyEncoding, "", "The body is not what its Content-Encoding says."));
    }
    if inflated.len() > limits.body_bytes {
        return Err(too_large(limits));
    }
    if inflated.len() > cap {
        return Err(too_dense(limits));
    }
    Ok(Bytes::from(inflated))
}

fn too_dense(limits: &Limits) -> Issue {
    let text = format!("The body inflates to more than {} times the bytes that were sent.", limits.inflate_ratio);
    Issue::new(Id::BodyTooLarge, "", text)
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
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        for (length, limit) in [(900, "10 times"), (100_000, "1000 bytes")] {
            let body = Full::new(Bytes::from(gzip(&vec![b'x'; length])));
            let text = read_body(&headers, body, &limits).await.unwrap_err().text;
            assert!(text.contains(limit), "{text}");
        }
        assert_eq!(read(Some("gzip"), b"nonsense".to_vec(), &limits).await.unwrap_err(), Id::BodyEncoding);
        assert_eq!(read(Some("br"), b"{}".to_vec(), &limits).await.unwrap_err(), Id::BodyEncoding);
        assert_eq!(read(Some("deflate"), zlib(b"{\"a\":1}"), &limits).await.unwrap(), "{\"a\":1}");
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// How many bytes come out, and the longest piece; or why not.
    async fn flows(encoding: Option<&str>, bytes: Vec<u8>, limits: &Limits) -> Result<(usize, usize), Id> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        }
        let frames: Vec<Result<hyper::body::Frame<Bytes>, std::io::Error>> =
            bytes.chunks(700).map(|chunk| Ok(hyper::body::Frame::data(Bytes::copy_from_slice(chunk)))).collect();
        let body = Frames(frames.into_iter());
        let mut inflow = Inflow::new(&headers, body, limits).map_err(|issue| issue.id)?;
        let (mut total, mut longest) = (0, 0);
        while let Some(piece) = inflow.next().await.map_err(|issue| issue.id)? {
            (total, longest) = (total + piece.len(), longest.max(piece.len()));
        }
        Ok((total, longest))
    }

    /// A body in frames.
    struct Frames(std::vec::IntoIter<Result<hyper::body::Frame<Bytes>, std::io::Error>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.next())
        }
    }

    #[tokio::test]
    async fn a_body_flows_in_pieces_and_within_its_caps() {
        let limits = Limits { stream_bytes: 1 << 22, inflate_ratio: 2000, ..Limits::default() };
        let text: Vec<u8> = (0..2_000_000_u32).map(|at| b'a' + (at.wrapping_mul(2_654_435_761) >> 29) as u8).collect();
        assert_eq!(flows(None, text.clone(), &limits).await, Ok((text.len(), 700)));
        for (encoding, packed) in [("gzip", gzip(&text)), ("deflate", zlib(&text))] {
            let (total, longest) = flows(Some(encoding), packed.clone(), &limits).await.unwrap();
            assert_eq!(total, text.len(), "{encoding}");
            assert!(longest < 1 << 20, "{encoding}: {longest}");
            let cut = packed[..packed.len() - 20].to_vec();
            assert_eq!(flows(Some(encoding), cut, &limits).await, Err(Id::BodyEncoding), "{encoding} cut short");
        }
        let two = [gzip(b"{}\n"), gzip(b"[]\n")].concat();
        assert_eq!(flows(Some("gzip"), two, &limits).await.unwrap().0, 6);
        assert_eq!(flows(Some("gzip"), b"nonsense".repeat(99), &limits).await, Err(Id::BodyEncoding));
        assert_eq!(flows(Some("zstd"), Vec::new(), &limits).await, Err(Id::BodyEncoding));
        assert_eq!(flows(None, vec![b'x'; 5 << 20], &limits).await, Err(Id::BodyTooLarge));
        assert_eq!(flows(Some("gzip"), gzip(&vec![b'x'; 5 << 20]), &limits).await, Err(Id::BodyTooLarge));
        let tight = Limits { inflate_ratio: 10, ..limits };
        assert_eq!(flows(Some("gzip"), gzip(&vec![b'x'; 1 << 20]), &tight).await, Err(Id::BodyTooLarge));
    }

    #[test]
    fn a_client_has_so_many_turns_and_others_their_own() {
        let turnstile = Arc::new(Turnstile::default());
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let first = turnstile.enter(&one, 2);
        let second = turnstile.enter(&one, 2);
        assert!(first.is_some() && second.is_some() && turnstile.enter(&one, 2).is_none());
        assert!(turnstile.enter(&other, 2).is_some());
        drop(first);
        assert!(turnstile.enter(&one, 2).is_some());
        drop(second);
        assert!(turnstile.inside.lock().unwrap().is_empty());
    }
}
