//! Places on PostgreSQL servers.

#[path = "../../../../tests/it/postgres.rs"]
mod postgres;

pub(super) use self::postgres::{Own, idle, speak};
use crate::store::Server;

/// A place on the server of this process where nothing is yet.
pub(super) fn fresh() -> Server {
    // Whoever asks may be a test that polls futures.
    let asked = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(postgres::fresh())
    });
    at(asked.join().unwrap())
}

pub(super) fn at(url: String) -> Server {
    Server { url, password: None, ca: None }
}
