//! The read-only connections.
//!
//! Each query runs on a blocking thread in one read transaction, so all it sees is one state of the store, and the
//! writer is never in its way. A query whose caller went away still finishes and gives its connection back.

use std::ops::Deref;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::keys::Keys;
use super::writer;
use crate::store::fault::{Error, Health};
use crate::store::sql::{self, Connection, Fault};

pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Reader>>>,
    permits: Arc<Semaphore>,
    health: Arc<AtomicU8>,
}

/// A connection that reads, and what opens what was sealed.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) keys: Arc<Keys>,
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Pool {
    pub(super) fn new(connections: Vec<Reader>, health: Arc<AtomicU8>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Mutex::new(connections)), permits, health }
    }

    pub(super) async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        // What lies there is not what was acknowledged, or is not minded any more.
        if self.health.load(Ordering::Acquire) == Health::Moved as u8 {
            return Err(Error::Moved);
        }
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let (idle, health) = (self.idle.clone(), self.health.clone());
        let query = move || {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // Fewer connections than permits only after a query panicked with one in hand.
            let connection = taken.ok_or(Error::Closed)?;
            let outcome = in_one_snapshot(&connection, work);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            if let Err(Fault::Lost(_)) = &outcome {
                writer::note(&health, Health::Ok, Health::Unreachable);
            }
            Ok(outcome?)
        };
        tokio::task::spawn_blocking(query).await.unwrap_or(Err(Error::Closed))
    }
}

fn in_one_snapshot<T>(reader: &Reader, work: impl FnOnce(&Reader) -> sql::Result<T>) -> sql::Result<T> {
    begin(reader)?;
    let done = work(reader);
    let ending = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    match &reader.connection {
        Connection::Lite(_) => drop(reader.batch(ending)),
        Connection::Postgres(session) => {
            // Nobody waits for it, and who comes next finds a session that is well or is given another.
            if session.post_batch(ending).is_err() {
                session.hang_up();
            }
        }
    }
    // What was read was read, however the transaction ended.
    done
}

fn begin(reader: &Reader) -> sql::Result<()> {
    match &reader.connection {
        Connection::Lite(_) => reader.execute("BEGIN DEFERRED", ()).map(drop),
        Connection::Postgres(session) => {
            session.revive()?;
            session.post_batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        }
    }
}
