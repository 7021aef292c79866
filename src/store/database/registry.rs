//! What the gateway itself must remember: registered clients, token ids already used, and its own secrets.

use super::Store;
use crate::store::fault::Error;
use crate::store::sql::{self, Connection, Optional, params};

impl Store {
    pub async fn put_client(&self, id: &str, body: &str) -> Result<(), Error> {
        let (id, body) = (id.to_owned(), body.to_owned());
        let put = move |connection: &Connection| {
            connection
                .prepare_cached(
                    "INSERT INTO client (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                )?
                .execute([id, body])
                .map(drop)
        };
        self.writer.call(1, move |ledger| Ok(put(&ledger.connection)?)).await
    }

    /// Takes note of what is sent to a destination; everything that ever was noted, in the caller's words.
    pub async fn remember_route(&self, destination: &str, rule: &str) -> Result<Vec<String>, Error> {
        let (destination, rule) = (destination.to_owned(), rule.to_owned());
        let remember = move |connection: &Connection| -> sql::Result<Vec<String>> {
            connection
                .prepare_cached("INSERT INTO route (destination, rule) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .post(params![destination, rule])?;
            connection
                .prepare_cached("SELECT rule FROM route WHERE destination = ?1")?
                .query_map([destination], |row| row.get(0))?
                .collect()
        };
        self.writer.call(1, move |ledger| Ok(remember(&ledger.connection)?)).await
    }

    pub async fn get_client(&self, id: &str) -> Result<Option<String>, Error> {
        let id = id.to_owned();
        self.query(move |connection| {
            connection
                .prepare_cached("SELECT body FROM client WHERE id = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// Ids and bodies.
    pub async fn clients(&self) -> Result<Vec<(String, String)>, Error> {
        self.query(|connection| all(connection)).await
    }

    /// Whether there was one.
    pub async fn remove_client(&self, id: &str) -> Result<bool, Error> {
        let id = id.to_owned();
        let remove =
            move |connection: &Connection| connection.prepare_cached("DELETE FROM client WHERE id = ?1")?.execute([id]);
        self.writer.call(1, move |ledger| Ok(remove(&ledger.connection)? > 0)).await
    }

    /// True if the token id is new. Durable when it returns, so a restart opens no window for a replay.
    pub async fn remember_jti(&self, issuer: &str, jti: &str, expires_ms: i64, now_ms: i64) -> Result<bool, Error> {
        let (issuer, jti) = (issuer.to_owned(), jti.to_owned());
        self.writer.call(1, move |ledger| Ok(remember(&ledger.connection, &issuer, &jti, expires_ms, now_ms)?)).await
    }

    /// A secret of this installation, made at its first use. Waits for the writer: for start-up, not for requests.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], Error> {
        let name = name.to_owned();
        self.writer.call_blocking(move |ledger| secret(&ledger.connection, &name))
    }
}

pub(super) fn all(connection: &Connection) -> sql::Result<Vec<(String, String)>> {
    connection
        .prepare_cached("SELECT id, body FROM client ORDER BY id")?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Whether the token id is new. A token that has expired is refused by its date, so its id need not be kept.
fn remember(connection: &Connection, issuer: &str, jti: &str, expires_ms: i64, now_ms: i64) -> sql::Result<bool> {
    connection
        .prepare_cached(
            "DELETE FROM jti WHERE (issuer, jti) IN (SELECT issuer, jti FROM jti WHERE expires < ?1 LIMIT 16)",
        )?
        .post([now_ms])?;
    let added = connection
        .prepare_cached("INSERT INTO jti (issuer, jti, expires) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![issuer, jti, expires_ms])?;
    Ok(added > 0)
}

fn secret(connection: &Connection, name: &str) -> Result<[u8; 32], Error> {
    let found = connection
        .prepare_cached("SELECT value FROM secret WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(value) = found {
        return Ok(value);
    }
    let mut value = [0; 32];
    getrandom::fill(&mut value).map_err(|_| Error::Entropy)?;
    connection.prepare_cached("INSERT INTO secret (name, value) VALUES (?1, ?2)")?.post(params![name, value])?;
    Ok(value)
}
