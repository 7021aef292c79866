//! Reads of single resources, and the way into a search.

use super::pool::Reader;
use super::{Store, row, search};
use crate::store::fault::Error;
use crate::store::id::ResId;
use crate::store::plan::{Page, Plan, Readable, Stored};
use crate::store::sql;

impl Store {
    /// The current version by logical id, even if it is a deletion.
    pub async fn read(&self, kind: &str, id: &str) -> Result<Option<Stored>, Error> {
        self.named(kind, id, row::current).await
    }

    /// The same for whoever asks whose it is and no more: without its text where that is damaged.
    pub async fn heading(&self, kind: &str, id: &str) -> Result<Option<Stored>, Error> {
        self.named(kind, id, row::current_or_unread).await
    }

    async fn named(
        &self,
        kind: &str,
        id: &str,
        read: fn(&Reader, u64) -> sql::Result<Option<Stored>>,
    ) -> Result<Option<Stored>, Error> {
        let (kind, id) = (kind.to_owned(), id.to_owned());
        self.query(move |connection| match row::find(connection, &kind, &id)? {
            Some(seq) => read(connection, seq),
            None => Ok(None),
        })
        .await
    }

    /// The current version of what was derived from the same parts, whichever patient and day it lies under.
    pub async fn read_derived(&self, kind: &str, id: ResId) -> Result<Option<Stored>, Error> {
        let kind = kind.to_owned();
        self.query(move |connection| match row::find_tail(connection, &kind, id)? {
            Some(seq) => row::current(connection, seq),
            None => Ok(None),
        })
        .await
    }

    /// One version, current or past.
    pub async fn read_version(&self, kind: &str, id: &str, version: u32) -> Result<Option<Stored>, Error> {
        let (kind, id) = (kind.to_owned(), id.to_owned());
        self.query(move |connection| match row::find(connection, &kind, &id)? {
            Some(seq) => row::version(connection, seq, version),
            None => Ok(None),
        })
        .await
    }

    /// Those of some versions that are there, by type, logical id and version, in the order asked.
    pub async fn versions(&self, asked: Vec<(String, String, u32)>) -> Result<Readable, Error> {
        self.query(move |connection| {
            let mut found = Readable::default();
            for (kind, id, version) in &asked {
                if let Some(seq) = row::find(connection, kind, id)? {
                    found.file((seq, *version), row::version(connection, seq, *version))?;
                }
            }
            Ok(found)
        })
        .await
    }

    pub async fn search(&self, plan: Plan) -> Result<Page, Error> {
        self.query(move |connection| search::page(connection, &plan)).await
    }
}
