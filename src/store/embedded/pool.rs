//! The read-only connections.
//!
//! Each query runs on a blocking thread in one read transaction, so all it sees is one state of the store, and the
//! writer is never in its way. A query whose caller went away still finishes and gives its connection back.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::store::fault::Error;

pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Mutex::new(connections)), permits }
    }

    pub(super) async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
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

fn in_one_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let snapshot = connection.unchecked_transaction()?;
    let value = work(&snapshot)?;
    snapshot.commit()?;
    Ok(value)
}
