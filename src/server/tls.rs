//! Who we prove to be: the certificate, from files or made at first start.
//!
//! A self-signed certificate is for one's own machine, so listening beyond loopback with one is refused where the
//! configuration is checked. TLS 1.2 and 1.3 only, aws-lc-rs underneath.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

/// Where the certificate lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file: the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
}

/// Why there is no TLS. The text names the file, for the operator.
#[derive(Debug)]
pub enum Error {
    File { path: PathBuf, source: io::Error },
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    NoCertificate { path: PathBuf },
    Mismatch { source: rustls::Error },
    Generate { source: rcgen::Error },
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::File { path, .. } => write!(formatter, "{} cannot be read or written", path.display()),
            Error::Pem { path, .. } => write!(formatter, "{} holds no readable PEM", path.display()),
            Error::NoCertificate { path } => write!(formatter, "{} holds no certificate", path.display()),
            Error::Mismatch { .. } => formatter.write_str("the certificate and its key cannot be used together"),
            Error::Generate { .. } => formatter.write_str("a self-signed certificate cannot be made"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::File { source, .. } => Some(source),
            Error::Pem { source, .. } => Some(source),
            Error::Mismatch { source } => Some(source),
            Error::Generate { source } => Some(source),
            Error::NoCertificate { .. } => None,
        }
    }
}

/// Reads certificate and key and checks that they belong together.
pub fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, Error> {
    let pem = |path: &Path| fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source });
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem(&tls.certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Pem { path: tls.certificate.clone(), source })?;
    if chain.is_empty() {
        return Err(Error::NoCertificate { path: tls.certificate.clone() });
    }
    let key = PrivateKeyDer::from_pem_slice(&pem(&tls.key)?)
        .map_err(|source| Error::Pem { path: tls.key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| Error::Mismatch { source })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificate under the data directory, made at first start for this machine's own names.
pub fn self_signed(directory: &Path) -> Result<Tls, Error> {
    let tls = Tls { certificate: directory.join("tls-certificate.pem"), key: directory.join("tls-key.pem") };
    if tls.certificate.exists() && tls.key.exists() {
        return Ok(tls);
    }
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|source| Error::Generate { source })?;
    write_private(&tls.key, made.signing_key.serialize_pem().as_bytes())?;
    // The certificate comes last and whole: if it is there, so is its key.
    write(&tls.certificate, made.cert.pem().as_bytes(), 0o644)?;
    Ok(tls)
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, 0o600)
}

/// Under its name a file is whole or not there, whenever the process ends.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&beside, path)).map_err(|source| Error::File { path: path.to_owned(), source })
}
