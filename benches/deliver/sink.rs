//! A system that takes whatever it is sent, at once: counts, the time from the first to the last, and what it was.

use std::convert::Infallible;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// What came so far.
#[derive(Serialize, Deserialize)]
pub struct Counts {
    pub requests: u64,
    /// From the first request to the last.
    pub seconds: f64,
}

/// A request as it came.
#[derive(Serialize, Deserialize)]
pub struct Sample {
    pub method: String,
    pub path: String,
    pub body: String,
}

/// The system in a process of its own.
pub struct Sink {
    pub origin: String,
    pub url: String,
    http: reqwest::Client,
    _child: Child,
}

impl Sink {
    pub async fn start() -> anyhow::Result<Sink> {
        let mut child =
            Command::new(std::env::current_exe()?).arg("--sink").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = child.stdout.take().context("a pipe from the sink")?;
        let port = BufReader::new(output).lines().next_line().await?.context("a port")?;
        let origin = format!("http://127.0.0.1:{port}");
        Ok(Sink { url: format!("{origin}/fhir"), origin, http: reqwest::Client::new(), _child: child })
    }

    async fn ask<T: for<'a> Deserialize<'a>>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.http.get(format!("{}{path}", self.origin)).send().await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// Waits until so many requests have come.
    pub async fn wait(&self, expected: u64) -> anyhow::Result<Counts> {
        let began = Instant::now();
        loop {
            let counts: Counts = self.ask("/counts").await?;
            if counts.requests >= expected {
                return Ok(counts);
            }
            ensure!(began.elapsed() < Duration::from_mins(5), "{} of {expected} arrived", counts.requests);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn samples(&self) -> anyhow::Result<Vec<Sample>> {
        self.ask("/samples").await
    }

    pub async fn reset(&self) -> anyhow::Result<()> {
        self.ask::<serde_json::Value>("/reset").await.map(drop)
    }
}

#[derive(Default)]
struct Taken {
    requests: u64,
    times: Option<(Instant, Instant)>,
    samples: Vec<Sample>,
}

/// Serves until it is killed.
pub async fn run() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let taken = Arc::new(Mutex::new(Taken::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let taken = taken.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, taken.clone()));
            // A connection that breaks is one that the client has closed.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, taken: Arc<Mutex<Taken>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    #[expect(clippy::disallowed_methods, reason = "the requests of our own gateway are bounded")]
    let body = request.into_body().collect().await;
    let Ok(body) = body else { return Ok(Response::new(Full::default())) };
    let body = body.to_bytes();
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let text = match path.as_str() {
        "/counts" => {
            let seconds = taken.times.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
            json!({"requests": taken.requests, "seconds": seconds}).to_string()
        }
        "/samples" => json!(taken.samples).to_string(),
        "/reset" => {
            *taken = Taken::default();
            "null".to_owned()
        }
        _ => {
            let now = Instant::now();
            taken.requests += 1;
            taken.times = Some((taken.times.map_or(now, |(first, _)| first), now));
            let body = String::from_utf8_lossy(&body).into_owned();
            let answer = acknowledged(&body);
            taken.samples.push(Sample { method, path, body });
            answer
        }
    };
    Ok(Response::new(Full::from(text)))
}

/// A transaction is answered entry by entry.
fn acknowledged(body: &str) -> String {
    if !body.contains(r#""resourceType":"Bundle""#) {
        return String::new();
    }
    let count = body.matches(r#""method":"PUT""#).count();
    let entries = vec![json!({"response": {"status": "200 OK"}}); count];
    json!({"resourceType": "Bundle", "type": "transaction-response", "entry": entries}).to_string()
}
