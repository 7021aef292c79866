//! Where a store is: a directory of this machine, and perhaps a database server beside it.

use std::path::{Path, PathBuf};

use super::fault::OpenError;
use super::sql::Address;

/// Where a store is. The directory holds the database unless there is a server, and always the files beside it.
#[derive(Clone)]
pub struct Place {
    pub directory: PathBuf,
    /// Of the key that persons' keys are wrapped by; without one it lies in the directory.
    pub key_file: Option<PathBuf>,
    pub server: Option<Server>,
}

/// A PostgreSQL server that several gateways may share. It prints nothing, since it knows a password.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    pub password: Option<String>,
    /// Certificates of the authorities that it is known by; without them it must be on this machine.
    pub ca: Option<PathBuf>,
}

impl Place {
    /// In a directory alone.
    pub fn new(directory: &Path, key_file: Option<&Path>) -> Self {
        Self { directory: directory.to_owned(), key_file: key_file.map(Path::to_owned), server: None }
    }
}

impl Server {
    pub(super) fn address(&self) -> Result<Address, OpenError> {
        Address::new(&self.url, self.password.as_deref(), self.ca.as_deref())
    }
}
