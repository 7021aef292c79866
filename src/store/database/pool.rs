//! The read-only connections.
//!
//! Each query runs on a blocking thread in one read transaction, so all it sees is one state of the store, and the
//! writer is never in its way. A query whose caller went away still finishes and gives its connection back.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::keys::Keys;
use crate::store::fault::Error;

pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Reader>>>,
    permits: Arc<Semaphore>,
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
    pub(super) fn new(connections: Vec<Reader>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Mutex::new(connections)), permits }
    }

    pub(super) async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let idle = self.idle.clone();
        let query = move || {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // Fewer connections than permits only after a query panicked with one in hand.
            let connection = taken.ok_or(Error::Closed)?;
            let outcome = in_one_snapshot(&connection, work);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            Ok(outcome?)
        };
        tokio::task::spawn_blocking(query).await.unwrap_or(Err(Error::Closed))
    }
}

fn in_one_snapshot<T>(reader: &Reader, work: impl FnOnce(&Reader) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let snapshot = reader.connection.unchecked_transaction()?;
    let value = work(reader)?;
    snapshot.commit()?;
    Ok(value)
}
