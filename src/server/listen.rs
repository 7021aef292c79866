//! The socket: TLS, HTTP/1.1 and HTTP/2, one task a request, and an orderly end.
//!
//! Each request runs in a task of its own, so that a panic costs one answer and not a connection full of them. At
//! the end nothing new is taken, what is under way is finished, and the deadline cuts what takes too long.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER, VARY,
};
use hyper::service::service_fn;
use hyper::{Request as HyperRequest, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::flow::Flow;
use super::handlers::{self, Request};
use super::limits::{self, Limits, Turnstile};
use super::negotiate::{self, Format};
use super::problem;
use super::reply::{Body, Reply};
use super::routes::{self, Action, Door, Lookup, Matched};
use super::socket::{self, Sockets};
use super::unread::{Outspoken, Refused};
use crate::exchange::refusal::status_of;
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::{Id, Issue, Reader, operation_outcome};
use crate::fhir::tree::json;
use crate::policy::access::Principal;

/// Everything that connections share.
struct Shared {
    gateway: Arc<Gateway>,
    limits: Limits,
    requests: Arc<Semaphore>,
    turnstile: Arc<Turnstile>,
    sockets: Sockets,
}

/// By what a request is known to the audit.
#[derive(Clone)]
struct Contact {
    request_id: String,
    /// The far end of the connection. What a proxy says of others is not believed.
    address: Arc<str>,
}

/// Serves until `shutdown`, then drains for at most `drain`.
pub async fn run(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    gateway: Arc<Gateway>,
    limits: Limits,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = Arc::new(Semaphore::new(limits.connections));
    let requests = Arc::new(Semaphore::new(limits.concurrent_requests));
    let sockets = Sockets::new(limits.connections);
    let shared = Arc::new(Shared { gateway, limits, requests, turnstile: Arc::default(), sockets });
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: waiting gives the others time to close.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let Ok(place) = connections.clone().try_acquire_owned() else {
            tracing::warn!("too many connections; one was closed");
            continue;
        };
        let (acceptor, shared, watcher) = (acceptor.clone(), shared.clone(), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, address, acceptor, shared, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    let ended = async {
        tokio::join!(graceful.shutdown(), shared.sockets.close());
    };
    if tokio::time::timeout(drain, ended).await.is_err() {
        tracing::warn!(drain_seconds = drain.as_secs(), "requests were still under way at the deadline");
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Answers are small and awaited; nothing is gained by waiting for more of them.
    let _ = stream.set_nodelay(true);
    let head = Duration::from_secs(shared.limits.head_seconds);
    let Ok(Ok(stream)) = tokio::time::timeout(head, acceptor.accept(stream)).await else {
        tracing::debug!("a TLS handshake failed");
        return;
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(64 << 10);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(32 << 10).max_concurrent_streams(256);
    let gateway = shared.gateway.clone();
    let address: Arc<str> = Arc::from(address.ip().to_canonical().to_string());
    let service = service_fn(move |request| serve(request, shared.clone(), address.clone()));
    let (request_id, refused) = (random_id(&gateway), Refused::default());
    let stream = Outspoken::new(TokioIo::new(stream), request_id.clone(), gateway.pages.clone(), refused.clone());
    let served = builder.serve_connection_with_upgrades(stream, service).into_owned();
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection ended early");
    }
    if let Some(id) = refused.get() {
        tracing::info!(request_id, client = "-", status = status_of(*id), issues = id.code(), "refused");
        gateway.refused_stranger(&request_id, &[*id]).await;
    }
}

async fn serve(
    mut request: HyperRequest<Incoming>,
    shared: Arc<Shared>,
    address: Arc<str>,
) -> Result<Response<Either<Full<Bytes>, Flow>>, Infallible> {
    let started = Instant::now();
    let gateway = shared.gateway.clone();
    let under_way = gateway.counted.came();
    let request_id = request_id(request.headers(), &shared.gateway);
    if request.uri().path() == socket::PATH
        && request.method() == hyper::Method::GET
        && let Ok(opened) = shared.sockets.open(&mut request, &shared.gateway)
    {
        tracing::debug!(request_id, "a socket was opened");
        return Ok(switched(opened));
    }
    let method = request.method().clone();
    let is_head = method == hyper::Method::HEAD;
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let contact = Contact { request_id: request_id.clone(), address };
    let asked = contact.clone();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let worker = Arc::clone(&shared);
    // What is only read is read for whoever waits for it; what is written is written to its end.
    let reads = matches!(method, hyper::Method::GET | hyper::Method::HEAD) || parts.uri.path().ends_with("/_search");
    let worked = tokio::spawn(async move {
        let _under_way = under_way;
        let reply = work(&parts, body, &worker, &asked).await;
        finish(reply, &worker.gateway, &parts.headers, &query)
    });
    let abandoned = reads.then(|| Abandoned(worked.abort_handle()));
    let worked = worked.await;
    drop(abandoned);
    let (reply, encoded) = if let Ok(answer) = worked {
        answer
    } else {
        // A task ends early only by a panic, since nobody cancels it; the panic itself was logged.
        let reply = on_record(problem::internal(), Who::Unasked, &headers, &shared, &contact).await;
        finish(reply, &shared.gateway, &headers, "")
    };
    let status = reply.status;
    let duration_ms = started.elapsed().as_millis() as u64;
    let (known_method, route) = reply.route.unwrap_or(("other", "none"));
    gateway.counted.answered(known_method, route, status, started.elapsed());
    gateway.counted.refusal(reply.issues.iter().map(|id| id.code()));
    let client = reply.client.as_deref().unwrap_or("-");
    if status >= 400 {
        let issues = reply.issues.iter().map(|id| id.code()).collect::<Vec<_>>().join(" ");
        tracing::info!(request_id, client, %method, status, issues, duration_ms, "refused");
    } else {
        tracing::debug!(request_id, client, %method, status, duration_ms, "served");
    }
    Ok(response(reply, encoded, &request_id, is_head))
}

/// Ends the work for a client that is gone.
struct Abandoned(tokio::task::AbortHandle);

impl Drop for Abandoned {
    fn drop(&mut self) {
        // Of what is through, nothing is left to end.
        self.0.abort();
    }
}

/// The answer by which a request becomes a socket.
fn switched(headers: HeaderMap) -> Response<Either<Full<Bytes>, Flow>> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

/// From the head of a request to its reply, with every refusal on record.
async fn work(parts: &hyper::http::request::Parts, body: Incoming, shared: &Shared, contact: &Contact) -> Reply {
    let path = parts.uri.path();
    let matched = match routes::find(parts.method.as_str(), path) {
        Lookup::Found(matched) => matched,
        lookup => {
            let reply = match lookup {
                Lookup::Method { allowed } => problem::method_not_allowed(&allowed),
                _ => problem::route_unknown(),
            };
            return on_record(reply, Who::Unasked, &parts.headers, shared, contact).await;
        }
    };
    let mut who = Who::Unasked;
    let reply = serve_within(parts, body, matched, shared, contact, &mut who).await;
    let route = Some((matched.row.method, matched.row.pattern));
    Reply { route, ..on_record(reply, who, &parts.headers, shared, contact).await }
}

/// The reply, once a refusal that nobody has recorded yet is on record.
async fn on_record(mut reply: Reply, mut who: Who, headers: &HeaderMap, shared: &Shared, contact: &Contact) -> Reply {
    let Contact { request_id, address } = contact;
    if !reply.issues.is_empty() && !reply.on_record {
        if matches!(who, Who::Unasked) {
            who = asking(shared, headers).await;
        }
        match &who {
            Who::Client(principal) => {
                // A purpose that it may not state is no purpose of the refusal.
                let purpose = principal.purpose(handlers::stated_purpose(headers)).unwrap_or_default();
                let caller = Caller { principal, request_id, purpose, address: Some(address), looked_at: None };
                if let Err(fault) = shared.gateway.refused_for(&caller, &reply.issues).await {
                    reply = problem::reply(&fault);
                }
            }
            Who::Unasked | Who::Stranger(_) => shared.gateway.refused_stranger(request_id, &reply.issues).await,
        }
    }
    if let Who::Client(principal) = who {
        reply.client = Some(principal.client);
    }
    reply
}

/// Who sends a request, as far as it was looked at.
enum Who {
    Unasked,
    Stranger(Refusal),
    Client(Box<Principal>),
}

async fn asking(shared: &Shared, headers: &HeaderMap) -> Who {
    match shared.gateway.authenticate(bearer(headers)).await {
        Ok(principal) => Who::Client(Box::new(principal)),
        Err(refusal) => Who::Stranger(refusal),
    }
}

async fn serve_within(
    parts: &hyper::http::request::Parts,
    body: Incoming,
    matched: Matched<'_>,
    shared: &Shared,
    contact: &Contact,
    who: &mut Who,
) -> Reply {
    let path = parts.uri.path();
    let Ok(_place) = shared.requests.clone().try_acquire_owned() else {
        let issue = Issue::new(Id::Overloaded, "", "The gateway has more requests than it can take.");
        return problem::issue(issue).with(RETRY_AFTER, "1");
    };
    // Who it is comes before what it sends: a stranger's body is not even read.
    if matched.door == Door::Token {
        *who = asking(shared, &parts.headers).await;
    }
    let principal = match who {
        Who::Client(principal) => Some(&**principal),
        Who::Stranger(refusal) => return problem::reply(refusal),
        Who::Unasked => None,
    };
    if principal.is_some_and(|principal| principal.deidentified) && !routes::is_deidentified(matched.action) {
        let text = "The client is registered for de-identified exports alone.";
        return problem::issue(Issue::new(Id::ScopeInsufficient, "", text));
    }
    // What could not be answered is not done either: a resource that was kept is not told of by a 406.
    if matched.door == Door::Token
        && !matches!(matched.action, Action::Export | Action::ExportFile)
        && let Err(issue) = negotiate::of_answer(&parts.headers, asked_format(parts.uri.query()).as_deref())
    {
        return problem::issue(issue);
    }
    let _turn = if let (Action::Device | Action::UploadAppend, Some(principal)) = (matched.action, principal) {
        let Some(turn) = shared.turnstile.enter(&principal.client, shared.limits.device_requests) else {
            let text = "This client has as many requests with records under way as it may have.";
            return problem::issue(Issue::new(Id::TooManyRequests, "", text)).with(RETRY_AFTER, "1");
        };
        Some(turn)
    } else {
        None
    };
    let (body, flowing) = if routes::flows(matched.action, negotiate::is_lines(&parts.headers)) {
        (Bytes::new(), Some(body))
    } else {
        match limits::read_body(&parts.headers, body, &shared.limits).await {
            Ok(body) => (body, None),
            Err(issue) => return problem::issue(issue),
        }
    };
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let request = Request {
        gateway: &shared.gateway,
        matched,
        method: parts.method.as_str(),
        path,
        address_sent: parts.uri.path_and_query().map_or(path, |sent| sent.as_str()),
        query,
        headers: &parts.headers,
        body,
        principal,
        request_id: &contact.request_id,
        address: &contact.address,
        looked_at: AtomicUsize::new(0),
    };
    match flowing {
        Some(body) => handlers::stream(&request, body, &shared.limits).await,
        None => handlers::handle(&request).await,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The client's own id for the request where it is harmless, else one of ours.
fn request_id(headers: &HeaderMap, gateway: &Gateway) -> String {
    let sent = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    if let Some(id) = sent.filter(|id| crate::exchange::is_id(id)) {
        return id.to_owned();
    }
    random_id(gateway)
}

fn random_id(gateway: &Gateway) -> String {
    let mut entropy = [0; 12];
    (gateway.entropy)(&mut entropy);
    entropy.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bodies shorter than this are not worth compressing.
const COMPRESSED_FROM: usize = 1024;

/// The body as bytes, with the headers that describe it.
struct Encoded {
    bytes: Vec<u8>,
    content_type: Option<&'static str>,
    gzip: bool,
    /// What comes after the bytes, while it is made.
    flow: Option<Flow>,
}

/// Writes the body in the format and coding that the client takes.
fn finish(mut reply: Reply, gateway: &Gateway, headers: &HeaderMap, query: &str) -> (Reply, Encoded) {
    let wanted = negotiate::of_answer(headers, asked_format(Some(query)).as_deref());
    let reader = negotiate::reader(&gateway.pages, headers);
    let body = match std::mem::replace(&mut reply.body, Body::Empty) {
        Body::Outcome(issues) => Body::Resource(operation_outcome(&issues, reader).to_string().into_bytes()),
        body => body,
    };
    let (reply, bytes, content_type) = match (body, wanted) {
        (Body::Empty | Body::Outcome(_), _) => (reply, Vec::new(), None),
        (Body::Json(bytes), _) => (reply, bytes, Some("application/json")),
        (Body::File { media_type, bytes }, _) => (reply, bytes, Some(media_type)),
        (Body::Flow { media_type, flow }, _) => {
            let gzip = negotiate::takes_gzip(headers);
            let flow = Some(if gzip { flow.gzipped() } else { flow });
            let encoded = Encoded { bytes: Vec::new(), content_type: Some(media_type), gzip, flow };
            return (reply, encoded);
        }
        (Body::Resource(bytes), Ok(Format::Json)) => (reply, bytes, Some(Format::Json.content_type())),
        (Body::Resource(bytes), Ok(Format::Xml)) => match as_xml(gateway, &bytes) {
            Ok(bytes) => (reply, bytes, Some(Format::Xml.content_type())),
            Err(refusal) => plain(problem::reply(&refusal), reader),
        },
        // A refusal is still worth reading in JSON; a resource is not what the client could read.
        (Body::Resource(bytes), Err(_)) if reply.status >= 400 => (reply, bytes, Some(Format::Json.content_type())),
        (Body::Resource(_), Err(issue)) => plain(problem::issue(issue), reader),
    };
    let gzip = bytes.len() >= COMPRESSED_FROM && negotiate::takes_gzip(headers);
    let bytes = if gzip { compressed(&bytes) } else { bytes };
    (reply, Encoded { bytes, content_type, gzip, flow: None })
}

fn asked_format(query: Option<&str>) -> Option<String> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "_format")
        .map(|(_, value)| value.into_owned())
}

fn plain(mut reply: Reply, reader: Reader<'_>) -> (Reply, Vec<u8>, Option<&'static str>) {
    let bytes = match std::mem::replace(&mut reply.body, Body::Empty) {
        Body::Outcome(issues) => operation_outcome(&issues, reader).to_string().into_bytes(),
        Body::Resource(bytes) | Body::Json(bytes) | Body::File { bytes, .. } => bytes,
        Body::Empty | Body::Flow { .. } => Vec::new(),
    };
    (reply, bytes, Some(Format::Json.content_type()))
}

fn as_xml(gateway: &Gateway, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    Ok(gateway.validator.to_xml(&json::parse(bytes)?)?)
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn response(
    reply: Reply,
    mut encoded: Encoded,
    request_id: &str,
    is_head: bool,
) -> Response<Either<Full<Bytes>, Flow>> {
    let length = encoded.bytes.len();
    if is_head {
        // HTTP/2 would send the body all the same.
        encoded.bytes.clear();
    }
    let mut response = Response::new(match encoded.flow {
        Some(flow) => Either::Right(flow),
        None => Either::Left(Full::new(Bytes::from(encoded.bytes))),
    });
    *response.status_mut() =
        hyper::StatusCode::from_u16(reply.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let fixed = |value: &'static str| HeaderValue::from_static(value);
    if is_head {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(content_type) = encoded.content_type {
        headers.insert(CONTENT_TYPE, fixed(content_type));
    }
    if encoded.gzip {
        headers.insert(CONTENT_ENCODING, fixed("gzip"));
    }
    headers.insert(VARY, fixed("accept, accept-encoding"));
    headers.insert(CACHE_CONTROL, fixed("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), fixed("nosniff"));
    headers.insert(HeaderName::from_static("strict-transport-security"), fixed("max-age=31536000"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    for (name, value) in reply.headers {
        headers.insert(name, value);
    }
    response
}
