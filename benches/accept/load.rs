//! Who loads the server: keeps so many requests under way and checks every answer.
//!
//! HTTP/1.1 is spoken by hand, because a client library would cost more than the server on the same two cores.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::probe::Usage;

/// What each request is.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Work {
    Single,
    /// A batch of so many.
    Bundle(usize),
    /// A search for so many of one person.
    Pull(usize),
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    pub port: u16,
    pub certificate: PathBuf,
    pub bearer: String,
    pub persons: Vec<String>,
    pub connections: usize,
    /// Requests at once on each connection over HTTP/2; 0 is HTTP/1.1.
    pub streams: usize,
    pub work: Work,
    pub seconds: u64,
    /// Makes the identifiers of this plan its own.
    pub batch: String,
}

#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub requests: u64,
    /// Requests before the clock ran.
    pub warm: u64,
    pub observations_each: usize,
    pub seconds: f64,
    /// Of the load itself.
    pub cpu_seconds: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Numbers the observations of a plan.
struct Source {
    plan: Plan,
    next: AtomicU64,
}

/// Reads a plan from standard input, gets ready, says so, waits for a line, and writes the outcome.
pub async fn run() -> anyhow::Result<()> {
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let plan: Plan = serde_json::from_str(&input.next_line().await?.context("a plan")?)?;
    let tls = connector(&plan)?;
    let mut lanes = Vec::new();
    for _ in 0..plan.connections {
        let stream = TcpStream::connect(("127.0.0.1", plan.port)).await?;
        stream.set_nodelay(true)?;
        let stream = tls.connect(ServerName::try_from("localhost")?, stream).await?;
        if plan.streams == 0 {
            lanes.push(Lane::Http1(Box::new(Http1 { stream, buffer: Vec::with_capacity(64 << 10) })));
            continue;
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        lanes.extend((0..plan.streams).map(|_| Lane::Http2(sender.clone())));
    }
    let source = Arc::new(Source { plan, next: AtomicU64::new(0) });
    let warm_up = lanes.len() as u64;
    // One request each before the clock runs: codes get their numbers, caches fill.
    let mut warm = Vec::new();
    for mut lane in lanes {
        lane.exchange(&source).await?;
        warm.push(lane);
    }
    println!("ready");
    input.next_line().await?;
    let (before, began) = (Usage::now()?, Instant::now());
    let until = began + Duration::from_secs(source.plan.seconds);
    let tasks: Vec<_> = warm.into_iter().map(|lane| tokio::spawn(drive(lane, source.clone(), until))).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let outcome = Outcome {
        requests: times.len() as u64,
        warm: warm_up,
        observations_each: match source.plan.work {
            Work::Single => 1,
            Work::Bundle(count) | Work::Pull(count) => count,
        },
        seconds,
        cpu_seconds: Usage::now()?.since(&before).cpu_seconds,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn connector(plan: &Plan) -> anyhow::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&plan.certificate)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![if plan.streams == 0 { b"http/1.1".to_vec() } else { b"h2".to_vec() }];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn drive(mut lane: Lane, source: Arc<Source>, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        times.push(lane.exchange(&source).await?);
    }
    Ok(times)
}

/// One request under way at a time.
enum Lane {
    Http1(Box<Http1>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Lane {
    async fn exchange(&mut self, source: &Source) -> anyhow::Result<Duration> {
        let (method, path, body) = source.request();
        let bearer = &source.plan.bearer;
        let (status, answer, time) = match self {
            Lane::Http1(connection) => {
                let mut request = format!(
                    "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {bearer}\r\n\
                     content-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                request.push_str(&body);
                let began = Instant::now();
                let (status, answer) = connection.exchange(request.as_bytes()).await?;
                (status, answer, began.elapsed())
            }
            Lane::Http2(sender) => {
                let request = hyper::Request::builder()
                    .method(method)
                    .uri(format!("https://localhost{path}"))
                    .header("authorization", format!("Bearer {bearer}"))
                    .header("content-type", "application/fhir+json")
                    .body(Full::new(Bytes::from(body)))?;
                let began = Instant::now();
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                let status = response.status().as_u16();
                #[expect(clippy::disallowed_methods, reason = "the answers of our own server are bounded")]
                let body = response.into_body().collect().await?;
                (status, body.to_bytes().to_vec(), began.elapsed())
            }
        };
        source.check(status, &answer)?;
        Ok(time)
    }
}

struct Http1 {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Http1 {
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let (head, length) = loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server hung up");
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                break (end + 4, length.context("a length")?.parse::<usize>()?);
            }
        };
        let status = std::str::from_utf8(&self.buffer[9..12])?.parse()?;
        while self.buffer.len() < head + length {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server hung up");
        }
        Ok((status, self.buffer[head..].to_vec()))
    }
}

impl Source {
    /// Method, path and body of the next request.
    fn request(&self) -> (&'static str, String, String) {
        let plan = &self.plan;
        match plan.work {
            Work::Single => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let person = &plan.persons[number as usize % plan.persons.len()];
                ("POST", "/fhir/Observation".to_owned(), observation(person, &plan.batch, number))
            }
            Work::Bundle(count) => {
                let first = self.next.fetch_add(count as u64, Ordering::Relaxed);
                let person = &plan.persons[(first / count as u64) as usize % plan.persons.len()];
                ("POST", "/fhir".to_owned(), bundle(person, &plan.batch, first, count))
            }
            Work::Pull(count) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let person = &plan.persons[number as usize % plan.persons.len()];
                let path = format!("/fhir/Observation?patient={person}&code=8867-4&_sort=-date&_count={count}");
                ("GET", path, String::new())
            }
        }
    }

    fn check(&self, status: u16, answer: &[u8]) -> anyhow::Result<()> {
        let text = std::str::from_utf8(answer)?;
        let fine = match self.plan.work {
            Work::Single => status == 201,
            Work::Bundle(count) => status == 200 && text.matches("\"status\":\"201 Created\"").count() == count,
            Work::Pull(count) => status == 200 && text.matches("\"mode\":\"match\"").count() == count,
        };
        if !fine {
            bail!("{status}: {}", text.chars().take(600).collect::<String>());
        }
        Ok(())
    }
}

/// A heart rate as a phone sends it: every one another identifier and minute.
pub fn observation(person: &str, batch: &str, number: u64) -> String {
    let seconds = 1_735_689_600 + (number % 400_000) as i64 * 60;
    let time = jiff::Timestamp::from_second(seconds).expect("within the years that there are");
    let value = 50 + number % 90;
    format!(
        concat!(
            r#"{{"resourceType":"Observation","#,
            r#""identifier":[{{"system":"urn:bench:readings","value":"{batch}-{number}"}}],"#,
            r#""status":"final","#,
            r#""category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],"#,
            r#""code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4","display":"Heart rate"}}]}},"#,
            r#""subject":{{"reference":"Patient/{person}"}},"effectiveDateTime":"{time}","#,
            r#""valueQuantity":{{"value":{value},"unit":"beats/minute","system":"http://unitsofmeasure.org","code":"/min"}}}}"#,
        ),
        batch = batch,
        number = number,
        person = person,
        time = time,
        value = value,
    )
}

/// A batch of them.
pub fn bundle(person: &str, batch: &str, first: u64, count: usize) -> String {
    let mut text = String::with_capacity(count * 720);
    text.push_str(r#"{"resourceType":"Bundle","type":"batch","entry":["#);
    for number in first..first + count as u64 {
        text.push_str(if number == first { r#"{"resource":"# } else { r#",{"resource":"# });
        text.push_str(&observation(person, batch, number));
        text.push_str(r#","request":{"method":"POST","url":"Observation"}}"#);
    }
    text.push_str("]}");
    text
}
