//! A simulated national platform: the system that a gateway delivers to, for demonstrations and tests.
//!
//! It is a server, and therefore the one place outside `server` that names hyper and tokio-rustls. It checks what
//! it receives with its own few rules and shares no code with our validator, so that a mistake there cannot hide
//! itself here. It keeps account of everything (`GET /account`): versions, duplicates, order, violations, and
//! whether anything arrived that it was promised not to get; `GET /held` shows what it has, and `POST /held` gives it
//! something of its own that it can be asked for. Faults come on order (`POST /faults`). With a log
//! it remembers across its own restarts what it acknowledged.
//!
//! Not for the open network: the account, what is held and the faults are unprotected. Bind it to loopback.

mod account;
mod check;
mod citizen;
mod fault;
mod iua;
mod login;
mod own;
mod possession;
mod respond;
mod shape;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::national::Pack;
pub use fault::{Fault, Mode};

const MAX_CONNECTIONS: usize = 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Config {
    /// Certificate chain and key; plain HTTP if absent.
    pub tls: Option<Tls>,
    /// Address under which we are reached, without a slash at the end; the token endpoint is `{url}/token`.
    pub url: String,
    /// The one client that is registered, its key's id, and its public ES384 key in PEM.
    pub client_id: String,
    pub kid: String,
    pub public_key_pem: String,
    /// Whose tokens open the door.
    pub admission: Admission,
    /// Life of the access tokens that we grant.
    pub token_seconds: i64,
    /// Codes that were never promised to us: an Observation with one of them is a violation.
    pub refuse_codes: Vec<String>,
    /// One JSON line for each resource version received, flushed before the answer; read at the start.
    pub log: Option<PathBuf>,
    /// The country pack of the system that is played; without one it takes FHIR as it comes.
    pub pack: Option<Arc<Pack>>,
    /// What it has of its own, to be asked for: care plans, persons.
    pub holds: Vec<serde_json::Value>,
    /// What to do with the first writes.
    pub fault: Fault,
    /// The time.
    pub clock: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>,
}

/// Who is let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Admission {
    /// The registered client, by a token of its own.
    #[default]
    Client,
    /// The same, by a token that is bound to a key of its own (RFC 9449).
    Possession,
    /// The registered client, by tokens that citizens gave it.
    Citizens,
    /// The registered client, by its secret (`secret-of-` and its id) and tokens each of which is for one person's record
    /// (IHE IUA, as the Swiss EPR has it).
    Persons,
}

/// PEM texts.
#[derive(Clone)]
pub struct Tls {
    pub cert_pem: String,
    pub key_pem: String,
}

/// Why the platform cannot start.
#[derive(Debug)]
pub enum StartError {
    Certificate(rustls::pki_types::pem::Error),
    Tls(rustls::Error),
    ClientKey(jsonwebtoken::errors::Error),
    Log(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            StartError::Certificate(_) => "the platform's certificate or key cannot be read",
            StartError::Tls(_) => "the platform's certificate and key cannot be used",
            StartError::ClientKey(_) => "the registered client's public key cannot be read",
            StartError::Log(_) => "the platform's log cannot be opened",
        })
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            StartError::Certificate(source) => source,
            StartError::Tls(source) => source,
            StartError::ClientKey(source) => source,
            StartError::Log(source) => source,
        })
    }
}

/// What all connections share.
struct Platform {
    login: login::Login,
    account: account::Account,
    own: own::Own,
    fault: fault::Orders,
    refuse_codes: Vec<String>,
    shape: Option<shape::Shape>,
    url: String,
    clock: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>,
}

/// Serves until `shutdown` completes; open connections are cut, as a platform that goes away cuts them.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let tls = config.tls.as_ref().map(acceptor).transpose()?;
    let platform = Arc::new(Platform {
        login: login::Login::new(&config).map_err(StartError::ClientKey)?,
        account: account::Account::open(config.log.as_deref()).map_err(StartError::Log)?,
        own: own::Own::of(config.holds),
        fault: fault::Orders::new(config.fault),
        refuse_codes: config.refuse_codes,
        shape: config.pack.map(shape::Shape::new),
        url: config.url,
        clock: config.clock,
    });
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        while connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        let stream = tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => {
                // Out of descriptors or a peer that is gone already: the next accept may do better.
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                stream
            }
        };
        let platform = platform.clone();
        let tls = tls.clone();
        connections.spawn(async move {
            match tls {
                None => serve(stream, platform).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        serve(stream, platform).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, platform: Arc<Platform>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let service = service_fn(move |request| {
        let platform = platform.clone();
        async move { respond::respond(&platform, request).await }
    });
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the simulated platform ended early");
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, StartError> {
    let chain = CertificateDer::pem_slice_iter(tls.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(StartError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).map_err(StartError::Certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(StartError::Tls)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(StartError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
