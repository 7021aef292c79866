//! Somebody who is told things: an endpoint over TLS that answers as it is told to, and remembers what it heard.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use mhealth_gateway::server::tls;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::fixture::eventually;

/// One call that was heard to its end.
#[derive(Clone, Debug)]
pub struct Heard {
    pub path: String,
    pub headers: hyper::HeaderMap,
    pub text: String,
    /// With which status it was answered.
    pub status: u16,
}

impl Heard {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// A parameter of the status that comes first.
    pub fn said(&self, name: &str) -> Value {
        parameter(&self.json()["entry"][0]["resource"], name)
    }

    pub fn occasion(&self) -> String {
        self.said("type")["valueCode"].as_str().unwrap().to_owned()
    }

    /// Numbers and focuses of its events.
    pub fn events(&self) -> Vec<(u64, Option<String>)> {
        events(&self.json())
    }
}

pub fn parameter(status: &Value, name: &str) -> Value {
    let parameters = status["parameter"].as_array().unwrap();
    parameters.iter().find(|each| each["name"] == name).cloned().unwrap_or(Value::Null)
}

/// Numbers and focuses of the events of a notification.
pub fn events(bundle: &Value) -> Vec<(u64, Option<String>)> {
    let parameters = bundle["entry"][0]["resource"]["parameter"].as_array().unwrap();
    let part = |event: &Value, name: &str| {
        event["part"].as_array().unwrap().iter().find(|part| part["name"] == name).cloned().unwrap_or(Value::Null)
    };
    let told = parameters.iter().filter(|each| each["name"] == "notification-event").map(|event| {
        let number = part(event, "event-number")["valueString"].as_str().unwrap().parse().unwrap();
        let focus = part(event, "focus")["valueReference"]["reference"].as_str().map(str::to_owned);
        (number, focus)
    });
    told.collect()
}

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Status(u16),
    /// It redirects to itself.
    Redirect,
    /// It never answers.
    Silent,
}

/// An endpoint.
pub struct Hook {
    pub url: String,
    directory: TempDir,
    port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    manner: Arc<Mutex<Manner>>,
    running: Option<JoinHandle<()>>,
}

impl Hook {
    pub async fn start() -> Hook {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut hook = Hook {
            url: format!("https://localhost:{port}"),
            directory,
            port,
            heard: Arc::default(),
            manner: Arc::new(Mutex::new(Manner::Status(200))),
            running: None,
        };
        hook.run(listener);
        hook
    }

    fn run(&mut self, listener: TcpListener) {
        let own = tls::self_signed(self.directory.path()).unwrap();
        let acceptor = TlsAcceptor::from(tls::server_config(&own).unwrap());
        let (heard, manner) = (self.heard.clone(), self.manner.clone());
        self.running = Some(tokio::spawn(async move {
            // What it has taken ends with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, heard, manner) = (acceptor.clone(), heard.clone(), manner.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, heard.clone(), manner.clone()));
                    let io = TokioIo::new(stream);
                    let mut builder =
                        hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                    builder.http1().keep_alive(false);
                    let _ = builder.serve_connection(io, service).await;
                });
            }
        }));
    }

    /// The sections of a gateway's configuration that let it be called.
    pub fn configuration(&self, more: &str) -> String {
        let ca = tls::self_signed(self.directory.path()).unwrap().certificate;
        format!(
            "[subscriptions]\nretry_base_ms = 5\nretry_cap_ms = 20\nheartbeat_seconds = 1\n{more}\n\
             [subscriptions.endpoints]\nloopback = true\nca = {ca:?}\n"
        )
    }

    pub fn answer_with(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Nobody listens any more.
    pub async fn leave(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }

    pub async fn come_back(&mut self) {
        let port = self.port;
        let listener = eventually("the port is free", async || TcpListener::bind(("127.0.0.1", port)).await.ok()).await;
        self.run(listener);
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Events that it has taken, in the order in which it was told.
    pub fn taken(&self) -> Vec<(u64, Option<String>)> {
        let heard = self.heard();
        let taken = heard.iter().filter(|heard| heard.status == 200 && heard.occasion() == "event-notification");
        taken.flat_map(Heard::events).collect()
    }

    /// Waits until so many events were taken.
    pub async fn until_taken(&self, count: usize) -> Vec<(u64, Option<String>)> {
        let taken = eventually("events are taken", async || Some(self.taken()).filter(|taken| taken.len() >= count));
        taken.await
    }

    /// Waits for a call with that occasion.
    pub async fn until(&self, occasion: &str) -> Heard {
        let found = || self.heard().into_iter().find(|heard| heard.occasion() == occasion);
        eventually(occasion, async || found()).await
    }
}

#[expect(clippy::disallowed_methods, reason = "what is heard comes from the gateway under test")]
async fn answer(
    request: Request<Incoming>,
    heard: Arc<Mutex<Vec<Heard>>>,
    manner: Arc<Mutex<Manner>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let manner = *manner.lock().unwrap();
    let status = match manner {
        Manner::Status(status) => status,
        Manner::Redirect => 307,
        Manner::Silent => 0,
    };
    heard.lock().unwrap().push(Heard {
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
        status,
    });
    if manner == Manner::Silent {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = hyper::StatusCode::from_u16(status.max(200)).unwrap();
    if manner == Manner::Redirect {
        response.headers_mut().insert("location", hyper::header::HeaderValue::from_static("/elsewhere"));
    }
    Ok(response)
}
