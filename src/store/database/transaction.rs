//! How a transaction of the writer begins and ends in either database.
//!
//! A SQLite file has one writer by itself. On a server that several gateways share they take turns: each group of units
//! holds one advisory lock from its beginning to its end. So what is said of the one writer elsewhere holds for all
//! gateways together: positions in the feed are dense, the log is one sequence in the order of the commits, and what a
//! unit has looked at does not change before it is committed. A turn is as long as a group, which many requests share,
//! and a gateway that is silent in the middle of its own loses it.
//!
//! When the connection is lost while a transaction is being committed, nobody has said whether it was. So each turn writes
//! its number beside everything else, and whoever has the next turn reads whether it is there: with the lock in hand the lost
//! transaction is over, one way or the other. The same number tells a gateway whether the database is still the one that it
//! wrote to: one that was moved away, restored or set back under it has another number or says that it was moved, and what
//! the gateway remembers of it (consents, numbers of codes, the end of the log) may be wrong. It then does nothing more.

use std::time::{Duration, Instant};

use super::restore::MOVED;
use crate::store::fault::{Error, OpenError};
use crate::store::sql::{Connection, Fault, Result, Session, Value};

/// Takes the turn of all that have their tables in the same schema. The first number is arbitrary.
pub(super) const TAKE_TURN: &str = "SELECT pg_advisory_xact_lock(1835558241, hashtext(current_schema()))";
/// How long a server that went away while it committed is waited for.
const RETURN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// The writer's turns.
pub(super) struct Turn {
    /// Names this process among those that share the database.
    gateway: [u8; 16],
    /// Of the last turn that was begun to be committed.
    number: i64,
    /// Of the last one that is known to be.
    committed: i64,
}

impl Turn {
    pub(super) fn new() -> std::result::Result<Self, OpenError> {
        let mut gateway = [0; 16];
        getrandom::fill(&mut gateway).map_err(|_| OpenError::Begin(Error::Entropy))?;
        Ok(Self { gateway, number: 0, committed: 0 })
    }

    pub(super) fn begin(&mut self, connection: &Connection) -> Result<()> {
        match connection {
            Connection::Lite(_) => connection.execute("BEGIN IMMEDIATE", ()).map(drop),
            Connection::Postgres(session) => {
                // That a session ended while it was idle may show only now.
                match self.take(session) {
                    Err(Fault::Lost(_)) => self.take(session),
                    begun => begun,
                }
            }
        }
    }

    /// The fault `Unknown` is for when it cannot be found out whether it happened.
    pub(super) fn commit(&mut self, connection: &Connection) -> Result<()> {
        let Connection::Postgres(session) = connection else {
            return connection.execute("COMMIT", ()).map(drop);
        };
        self.number += 1;
        connection
            .prepare_cached(
                "INSERT INTO turn (gateway, number) VALUES (?1, ?2)
                 ON CONFLICT (gateway) DO UPDATE SET number = excluded.number, at = now()",
            )?
            .post(&[Value::Blob(&self.gateway), Value::Integer(self.number)][..])?;
        match session.batch("COMMIT") {
            Ok(()) => {
                self.committed = self.number;
                Ok(())
            }
            Err(Fault::Lost(error)) => match self.was_committed(session) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Fault::Lost(error)),
                Err(Fault::Moved) => Err(Fault::Moved),
                Err(_) => Err(Fault::Unknown),
            },
            failed => failed,
        }
    }

    /// Whether there is no transaction any more.
    pub(super) fn roll_back(connection: &Connection) -> bool {
        match connection {
            // SQLite has rolled back by itself after some failures.
            Connection::Lite(lite) => {
                lite.is_autocommit() || connection.execute("ROLLBACK", ()).is_ok() || lite.is_autocommit()
            }
            Connection::Postgres(session) => {
                if session.batch("ROLLBACK").is_err() {
                    session.hang_up();
                }
                true
            }
        }
    }

    fn was_committed(&mut self, session: &Session) -> Result<bool> {
        let given_up = Instant::now() + RETURN;
        loop {
            let asked = self.take(session).and_then(|()| session.batch("COMMIT"));
            match asked {
                Ok(()) => return Ok(self.committed == self.number),
                Err(Fault::Moved) => return Err(Fault::Moved),
                Err(_) if Instant::now() < given_up => {
                    session.hang_up();
                    // The writer's own thread: whoever waits for it waits for this answer.
                    std::thread::sleep(PAUSE);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Begins a transaction with the lock in hand, in the store that we have known.
    fn take(&mut self, session: &Session) -> Result<()> {
        session.revive()?;
        let taken =
            session.told(&format!("BEGIN; {TAKE_TURN}; {}", self.question())).and_then(|told| self.stays(&told));
        if taken.is_err() && session.batch("ROLLBACK").is_err() {
            session.hang_up();
        }
        taken
    }

    /// Whether the store was moved, and the number of our last turn in it.
    fn question(&self) -> String {
        let gateway: String = self.gateway.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "SELECT (SELECT name FROM secret WHERE name = '{MOVED}'), (SELECT number FROM turn WHERE gateway = '\\x{gateway}')"
        )
    }

    fn stays(&mut self, told: &[Option<String>]) -> Result<()> {
        let [moved, number] = told else { return Err(Fault::NoRow) };
        let number = number.as_ref().map_or(Ok(0), |number| number.parse()).map_err(|_| Fault::Column)?;
        if moved.is_some() || !(self.committed..=self.number).contains(&number) {
            return Err(Fault::Moved);
        }
        self.committed = number;
        Ok(())
    }
}
