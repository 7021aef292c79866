//! The figures, at an address of their own: whoever watches needs no token, and clients do not come there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::exchange::Gateway;
use crate::telemetry::counted;

/// Most who ask at once.
const CONNECTIONS: usize = 8;

/// How long it may take to ask and to be answered.
const WHOLE: Duration = Duration::from_secs(10);

pub const PATH: &str = "/metrics";

/// Answers until `shutdown`; whoever asks then is cut.
pub async fn run(listener: TcpListener, gateway: Arc<Gateway>, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut asked = tokio::task::JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = asked.join_next() => continue,
            () = &mut shutdown => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: waiting gives the others time to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!("too many ask for figures; one was turned away");
            continue;
        };
        let gateway = gateway.clone();
        asked.spawn(async move {
            connection(stream, gateway).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, gateway: Arc<Gateway>) {
    let service = service_fn(move |request| answer(request, gateway.clone()));
    let mut server = http1::Builder::new();
    // One answer each: whoever does not read it keeps nobody else out for long.
    server.timer(TokioTimer::new()).header_read_timeout(WHOLE).max_buf_size(16 << 10).keep_alive(false);
    match tokio::time::timeout(WHOLE, server.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for figures ended early"),
        Err(_) => tracing::debug!("a connection for figures took too long"),
    }
}

async fn answer(request: Request<Incoming>, gateway: Arc<Gateway>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    match (request.method(), request.uri().path()) {
        (&Method::GET, PATH) => {
            *response.body_mut() = Full::from(gateway.figures().await);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(counted::CONTENT_TYPE));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        (_, PATH) => {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}
