//! The tables, as numbered migrations.
//!
//! The database counts the migrations that were applied. One of a newer program is refused: older code would read it
//! wrongly in silence. Migrations are only ever appended, each with its way back, and written once, as SQLite has them; for PostgreSQL the names
//! of the types are changed. Indexes are few, since each random one costs a
//! page write per row: `tail` is unique, `kind` grows at the right edge only, `entry` clusters by patient.

use super::transaction::TAKE_TURN;
use super::{consents, feed};
use crate::store::fault::OpenError;
use crate::store::sql::{self, Connection, Optional};

/// `code.id` and the negated `kind.id` share `entry.code`: a kind without codes has one row per resource there.
/// `resource.codes` and `.tokens` repeat the keys of the rows to delete when the version is replaced. `sealed_by` is the
/// number of the key that the payload is sealed by (once `dict_id`), 0 when it lies plain. `retry.head` marks the oldest row of each lane, a lane
/// being a patient or, of nobody's resources, the one resource. `dead` and `retry` never reuse an id, so that a late
/// answer about one row cannot hit another; nor does `resource`, whose numbers the feed goes on naming when what had them was
/// taken away. `foretold` holds audit records of sends under way: of a retry row under its
/// id, of a slot of the feed under `-1 - slot`. An audit event that is `withheld` is not shown to its own client.
/// `patient_state.turn` counts those who wrote what depends on what else the person has, where several gateways do.
/// `patient_state.restricted` is the moment since which the person wants what is hers kept and nothing else, `lifted` when she
/// wanted it before.
/// `remnant` is what destinations are to be told of erased persons, `consent_turn` when a person's consents change by time alone.
/// `audit.entry` is its number in the transparency log, `log_entry` what stands there, `log_tile` the roots of full tiles;
/// `audit_forgotten` are the numbers of those that were forgotten in time.
/// `subscription.starts` are positions in the feed, of each slot the one behind which its events lie, NULL while it has none;
/// `event.number` is NULL until it is decided that the event may be told. `export_part` is the work of an export in one
/// slot, `left_over` the times that it is still to be gone through; `export_piece.lines` are sequence numbers and versions.
/// `subscription_past` are the latest of a subscription's versions before the one that stands.
/// `known_as.names` are the names, one a line, that a destination gave to what it was sent: what it is corrected and taken
/// back by. `resource.gist` is what searches judge by before they open a row, sealed like the payload and with its key; NULL
/// where it was not made yet, and empty where there is none. `retry_stopped` are destinations for which what fails is not
/// tried again. `ahead` are rows of the feed that a destination was sent before their turn, `cursor.scout` how far it was
/// looked for such, `retry.first` what stands before the rest of its lane. `entry.code` has the number of the labels that a resource
/// carries (`resource.labels`) above its lowest 32 bits; `label_set` are those that some resource carries, and 0 where what lies
/// under none may carry some, because it was filed before they were told apart. `patient_state.sum` is of marks of what a person
/// has said (her consents' numbers, her restriction, the epoch), by which it is noticed that some of it is gone; `feed.sum` a hash of
/// the row. `entry.date` has what goes on for long below everything that has a date, by its beginning all the same
/// (`plan::Dated`).
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE code (
    id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, code TEXT NOT NULL, system TEXT NOT NULL,
    UNIQUE (kind, code, system)
) STRICT;

CREATE TABLE resource (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, tail BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, bucket INTEGER NOT NULL,
    day INTEGER NOT NULL, name TEXT, patient BLOB, owner TEXT NOT NULL, date INTEGER, updated INTEGER NOT NULL,
    version INTEGER NOT NULL, deleted INTEGER NOT NULL, content BLOB NOT NULL, codes BLOB, tokens BLOB,
    dict_id INTEGER NOT NULL DEFAULT 0, payload BLOB NOT NULL
) STRICT;
CREATE INDEX resource_kind ON resource (kind);
CREATE TABLE entry (
    patient BLOB NOT NULL, code INTEGER NOT NULL, date INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (patient, code, date, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE token (hash INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (hash, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE alias (
    kind INTEGER NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE history (
    seq INTEGER NOT NULL, version INTEGER NOT NULL, patient BLOB, owner TEXT NOT NULL, date INTEGER,
    updated INTEGER NOT NULL, deleted INTEGER NOT NULL, content BLOB NOT NULL,
    dict_id INTEGER NOT NULL DEFAULT 0, payload BLOB NOT NULL, PRIMARY KEY (seq, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE patient_state (patient BLOB PRIMARY KEY, consent_epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE consent (patient BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (patient, seq)) STRICT, WITHOUT ROWID;

CREATE TABLE feed (
    slot INTEGER NOT NULL, pos INTEGER NOT NULL, patient BLOB, at INTEGER NOT NULL, items BLOB NOT NULL,
    PRIMARY KEY (slot, pos)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursor (
    destination TEXT NOT NULL, slot INTEGER NOT NULL, pos INTEGER NOT NULL, epoch INTEGER NOT NULL,
    owner TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (destination, slot)
) STRICT, WITHOUT ROWID;
CREATE TABLE retry (
    id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, lane BLOB NOT NULL, patient BLOB,
    seq INTEGER NOT NULL, version INTEGER NOT NULL, attempts INTEGER NOT NULL, not_before INTEGER NOT NULL,
    reason TEXT NOT NULL, head INTEGER NOT NULL
) STRICT;
CREATE INDEX retry_lane ON retry (destination, lane, id);
CREATE INDEX retry_due ON retry (destination, not_before) WHERE head = 1;
CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, lane BLOB NOT NULL, patient BLOB,
    seq INTEGER NOT NULL, version INTEGER NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX dead_destination ON dead (destination);

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, patient BLOB, client TEXT NOT NULL, id BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX audit_patient ON audit (patient) WHERE patient IS NOT NULL;
CREATE INDEX audit_client ON audit (client);

CREATE TABLE idem (
    client TEXT NOT NULL, key TEXT NOT NULL, hash BLOB NOT NULL, response BLOB NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idem_at ON idem (at);
CREATE TABLE jti (
    issuer TEXT NOT NULL, jti TEXT NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (issuer, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX jti_expires ON jti (expires);
CREATE TABLE client (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE foretold (
    destination TEXT NOT NULL, task INTEGER NOT NULL, at INTEGER NOT NULL, patient BLOB, client TEXT NOT NULL,
    id BLOB NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE INDEX foretold_task ON foretold (destination, task);
",
    "
ALTER TABLE audit ADD COLUMN withheld INTEGER NOT NULL DEFAULT 0;
",
    "
CREATE TABLE receipt (
    client TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, record BLOB, outcome TEXT NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (client, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_record ON receipt (client, record) WHERE record IS NOT NULL;
CREATE INDEX receipt_at ON receipt (at);
CREATE TABLE tally (
    client TEXT NOT NULL, day INTEGER NOT NULL, format TEXT NOT NULL, topic TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (client, day, format, topic)
) STRICT, WITHOUT ROWID;
CREATE TABLE upload (
    id BLOB PRIMARY KEY, client TEXT NOT NULL, patient BLOB NOT NULL, about BLOB NOT NULL, length INTEGER NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, accepted INTEGER NOT NULL DEFAULT 0,
    flagged INTEGER NOT NULL DEFAULT 0, duplicate INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL, failure TEXT, created INTEGER NOT NULL, until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE reading (hash BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX reading_seq ON reading (seq);
CREATE INDEX upload_client ON upload (client);
CREATE INDEX upload_until ON upload (until);
",
    "
ALTER TABLE audit ADD COLUMN entry INTEGER;
ALTER TABLE audit ADD COLUMN salt BLOB;
ALTER TABLE foretold ADD COLUMN salt BLOB;
CREATE TABLE log_entry (number INTEGER PRIMARY KEY, entry BLOB NOT NULL) STRICT;
CREATE TABLE log_tile (number INTEGER PRIMARY KEY, root BLOB NOT NULL) STRICT;
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, at INTEGER NOT NULL, note TEXT NOT NULL) STRICT;
",
    "
CREATE TABLE series (
    id INTEGER PRIMARY KEY, patient BLOB NOT NULL, measure TEXT NOT NULL, client TEXT NOT NULL, app TEXT NOT NULL,
    device TEXT NOT NULL, longest INTEGER NOT NULL, UNIQUE (patient, measure, client, app, device)
) STRICT;
CREATE TABLE span (
    series INTEGER NOT NULL, start INTEGER NOT NULL, seq INTEGER NOT NULL, finish INTEGER NOT NULL,
    secondary INTEGER NOT NULL, PRIMARY KEY (series, start, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX span_seq ON span (seq);
",
    "
CREATE TABLE person_key (
    number INTEGER PRIMARY KEY AUTOINCREMENT, patient BLOB NOT NULL UNIQUE, wrapped BLOB NOT NULL
) STRICT;
ALTER TABLE resource RENAME COLUMN dict_id TO sealed_by;
ALTER TABLE history RENAME COLUMN dict_id TO sealed_by;
CREATE TABLE raw (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, client TEXT NOT NULL, patient BLOB NOT NULL,
    format TEXT NOT NULL, version TEXT NOT NULL, digest BLOB NOT NULL, made BLOB NOT NULL, sealed_by INTEGER NOT NULL,
    body BLOB NOT NULL, UNIQUE (client, digest)
) STRICT;
CREATE INDEX raw_at ON raw (at);
",
    "
CREATE TABLE member (tail BLOB PRIMARY KEY, seq INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE open_stretch (seq INTEGER PRIMARY KEY, until INTEGER NOT NULL) STRICT;
CREATE INDEX open_stretch_until ON open_stretch (until);
",
    "
ALTER TABLE patient_state ADD COLUMN restricted INTEGER;
ALTER TABLE receipt ADD COLUMN patient BLOB;
CREATE INDEX receipt_patient ON receipt (patient) WHERE patient IS NOT NULL;
ALTER TABLE idem ADD COLUMN patient BLOB;
CREATE INDEX member_seq ON member (seq);
CREATE TABLE route (destination TEXT NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (destination, rule)) STRICT, WITHOUT ROWID;
CREATE TABLE erased (
    patient BLOB PRIMARY KEY, owner TEXT NOT NULL, at INTEGER NOT NULL, record BLOB NOT NULL, receipt BLOB NOT NULL,
    finished INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
",
    "
ALTER TABLE foretold ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
",
    "
ALTER TABLE history ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
UPDATE history SET kind = (SELECT r.kind FROM resource r WHERE r.seq = history.seq);
CREATE INDEX history_kind ON history (kind, updated);
CREATE INDEX resource_updated ON resource (kind, updated);
",
    "
DELETE FROM upload;
ALTER TABLE upload ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN sealed_by INTEGER NOT NULL DEFAULT 0;
",
    "
ALTER TABLE patient_state ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
",
    "
CREATE TABLE remnant (
    id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, patient BLOB NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, attempts INTEGER NOT NULL, not_before INTEGER NOT NULL, reason TEXT NOT NULL,
    dead INTEGER NOT NULL, UNIQUE (patient, destination, kind, name)
) STRICT;
CREATE INDEX remnant_due ON remnant (destination, not_before) WHERE dead = 0;
CREATE TABLE consent_turn (patient BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX consent_turn_at ON consent_turn (at);
CREATE INDEX raw_patient ON raw (patient, number);
",
    "
CREATE TABLE audit_forgotten (entry INTEGER PRIMARY KEY) STRICT;
",
    "
CREATE TABLE subscription (
    id TEXT PRIMARY KEY, client TEXT NOT NULL, version INTEGER NOT NULL, updated INTEGER NOT NULL,
    status TEXT NOT NULL, error TEXT, body BLOB NOT NULL, granted BLOB NOT NULL, secret BLOB NOT NULL, starts BLOB,
    events INTEGER NOT NULL, taken INTEGER NOT NULL, failures INTEGER NOT NULL, not_before INTEGER NOT NULL,
    told INTEGER NOT NULL, wake INTEGER NOT NULL, sends INTEGER NOT NULL, epoch INTEGER NOT NULL,
    owner TEXT NOT NULL, until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX subscription_client ON subscription (client);
CREATE INDEX subscription_wake ON subscription (wake);
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, subscription TEXT NOT NULL, number INTEGER, patient BLOB,
    seq INTEGER NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL, not_before INTEGER NOT NULL
) STRICT;
CREATE INDEX event_number ON event (subscription, number, id);
CREATE INDEX event_held ON event (subscription, patient) WHERE not_before > 0;
CREATE INDEX event_patient ON event (patient) WHERE patient IS NOT NULL;
CREATE INDEX event_at ON event (at);
",
    "
CREATE TABLE export (
    id BLOB PRIMARY KEY, client TEXT NOT NULL, about BLOB NOT NULL, persons BLOB, nobodys INTEGER NOT NULL,
    secret BLOB NOT NULL, cut INTEGER NOT NULL, state INTEGER NOT NULL, lines INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0, failure TEXT, created INTEGER NOT NULL, until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX export_cut ON export (cut);
CREATE TABLE export_part (
    job BLOB NOT NULL, slot INTEGER NOT NULL, phase INTEGER NOT NULL, left_over INTEGER NOT NULL, person BLOB,
    seq INTEGER, epoch INTEGER NOT NULL, worker TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (job, slot)
) STRICT, WITHOUT ROWID;
CREATE TABLE export_piece (
    job BLOB NOT NULL, slot INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, gone INTEGER NOT NULL,
    count INTEGER NOT NULL, lines BLOB NOT NULL, PRIMARY KEY (job, slot, number, kind, gone)
) STRICT, WITHOUT ROWID;
CREATE TABLE export_count (
    job BLOB NOT NULL, name BLOB NOT NULL, persons INTEGER NOT NULL, PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE lifted (
    patient BLOB NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (patient, since)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE link (
    patient BLOB NOT NULL, destination TEXT NOT NULL, version INTEGER NOT NULL, busy INTEGER NOT NULL,
    over INTEGER NOT NULL, sealed_by INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (patient, destination)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE known_as (
    patient BLOB NOT NULL, destination TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    names TEXT NOT NULL, PRIMARY KEY (patient, destination, kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE retry_stopped (destination TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
",
    "
ALTER TABLE cursor ADD COLUMN scout INTEGER NOT NULL DEFAULT 0;
ALTER TABLE retry ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
CREATE TABLE ahead (
    destination TEXT NOT NULL, slot INTEGER NOT NULL, pos INTEGER NOT NULL, PRIMARY KEY (destination, slot, pos)
) STRICT, WITHOUT ROWID;
",
    "
ALTER TABLE resource ADD COLUMN gist BLOB;
CREATE INDEX resource_gist ON resource (seq) WHERE gist IS NULL;
",
    "
CREATE TABLE subscription_past (
    id TEXT NOT NULL, version INTEGER NOT NULL, updated INTEGER NOT NULL, status TEXT NOT NULL, error TEXT,
    body BLOB NOT NULL, PRIMARY KEY (id, version)
) STRICT, WITHOUT ROWID;
",
    "
ALTER TABLE resource ADD COLUMN labels INTEGER NOT NULL DEFAULT 0;
CREATE TABLE label_set (number INTEGER PRIMARY KEY) STRICT;
INSERT INTO label_set (number) SELECT 0 WHERE EXISTS (SELECT 1 FROM resource);
",
    "
-- Texts may have marks for what their rows say.
ALTER TABLE person_key ADD COLUMN person BLOB;
",
    "
ALTER TABLE feed ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE patient_state ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
",
];

/// The schema from which on they may.
pub(super) const MARKED: i64 = 25;

/// The schema from which on rows that lead to others are summed up.
const SUMMED: usize = 26;

/// The ways back, each beside the migration of the same number: what the program before it did not have goes, and what that
/// one had is as it was. Nothing is before the first. Rows that only the newer program understands are lost on the way.
const BACK: &[&str] = &[
    "",
    "DROP TABLE foretold;",
    "ALTER TABLE audit DROP COLUMN withheld;",
    "
DROP TABLE receipt;
DROP TABLE tally;
DROP TABLE upload;
DROP TABLE reading;
",
    "
DROP TABLE checkpoint;
DROP TABLE log_tile;
DROP TABLE log_entry;
ALTER TABLE foretold DROP COLUMN salt;
ALTER TABLE audit DROP COLUMN salt;
ALTER TABLE audit DROP COLUMN entry;
",
    "
DROP TABLE span;
DROP TABLE series;
",
    "
DROP TABLE raw;
ALTER TABLE history RENAME COLUMN sealed_by TO dict_id;
ALTER TABLE resource RENAME COLUMN sealed_by TO dict_id;
DROP TABLE person_key;
",
    "
DROP TABLE open_stretch;
DROP TABLE member;
",
    "
DROP TABLE erased;
DROP TABLE route;
DROP INDEX member_seq;
ALTER TABLE idem DROP COLUMN patient;
DROP INDEX receipt_patient;
ALTER TABLE receipt DROP COLUMN patient;
ALTER TABLE patient_state DROP COLUMN restricted;
",
    "ALTER TABLE foretold DROP COLUMN place;",
    "
DROP INDEX resource_updated;
DROP INDEX history_kind;
ALTER TABLE history DROP COLUMN kind;
",
    "
ALTER TABLE upload DROP COLUMN sealed_by;
ALTER TABLE upload DROP COLUMN stored;
",
    "ALTER TABLE patient_state DROP COLUMN turn;",
    "
DROP INDEX raw_patient;
DROP TABLE consent_turn;
DROP TABLE remnant;
",
    "DROP TABLE audit_forgotten;",
    "
DROP TABLE event;
DROP TABLE subscription;
",
    "
DROP TABLE export_count;
DROP TABLE export_piece;
DROP TABLE export_part;
DROP TABLE export;
",
    "DROP TABLE lifted;",
    "DROP TABLE link;",
    "
DROP TABLE retry_stopped;
DROP TABLE known_as;
",
    "
DROP TABLE ahead;
ALTER TABLE retry DROP COLUMN first;
ALTER TABLE cursor DROP COLUMN scout;
",
    "
DROP INDEX resource_gist;
ALTER TABLE resource DROP COLUMN gist;
",
    "DROP TABLE subscription_past;",
    "
UPDATE entry SET code = CASE WHEN code < 0 THEN -(-code & 4294967295) ELSE code & 4294967295 END
WHERE code > 4294967295 OR code < -4294967295;
DROP TABLE label_set;
ALTER TABLE resource DROP COLUMN labels;
",
    "
-- They are written anew without before (`unmark`).
ALTER TABLE person_key DROP COLUMN person;
",
    "
UPDATE entry SET date = -9223372036854775808 WHERE date < -4611686018427387904;
UPDATE resource SET date = NULL WHERE date < -4611686018427387904;
UPDATE history SET date = NULL WHERE date < -4611686018427387904;
ALTER TABLE patient_state DROP COLUMN sum;
ALTER TABLE feed DROP COLUMN sum;
",
];

/// Brings the database to the newest schema this program knows.
pub(super) fn migrate(connection: &Connection) -> Result<(), OpenError> {
    migrate_to(connection, newest()).map(drop)
}

/// Brings the database to a schema, forward or back, all at once or not at all; the schema that it had. Only what this
/// program knows can be reached and left.
pub(super) fn migrate_to(connection: &Connection, wanted: i64) -> Result<i64, OpenError> {
    migrate_after(connection, wanted, |_| Ok(()))
}

/// The same after something that is done first, told which schema there is.
pub(super) fn migrate_after(
    connection: &Connection,
    wanted: i64,
    first: impl FnOnce(i64) -> Result<(), OpenError>,
) -> Result<i64, OpenError> {
    begin(connection)?;
    let migrated =
        version(connection).map_err(OpenError::from).and_then(first).and_then(|()| apply(connection, wanted));
    connection.batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    migrated
}

/// Begins a transaction in which nobody else changes the tables. On a server those that are not the store's are made.
pub(super) fn begin(connection: &Connection) -> sql::Result<()> {
    match connection {
        Connection::Lite(_) => connection.execute("BEGIN IMMEDIATE", ()).map(drop),
        // Of gateways that start at once one is first.
        Connection::Postgres(_) => connection.batch(&format!(
            "BEGIN; {TAKE_TURN}; CREATE TABLE IF NOT EXISTS schema_version (number BIGINT NOT NULL);
             CREATE TABLE IF NOT EXISTS turn (
                 gateway BYTEA PRIMARY KEY, number BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now());
             DELETE FROM turn WHERE at < now() - interval '30 days'",
        )),
    }
}

/// Goes from the schema that there is to another one, step by step; the one that there was.
pub(super) fn apply(connection: &Connection, wanted: i64) -> Result<i64, OpenError> {
    let known = newest();
    let found = version(connection)?;
    if !(0..=known).contains(&found) || !(1..=known).contains(&wanted) {
        return Err(OpenError::Newer { found: found.max(wanted), known });
    }
    let (from, to) = (found as usize, wanted as usize);
    let forward = MIGRATIONS.iter().take(to).skip(from);
    let back = BACK.iter().take(from).skip(to).rev();
    for step in forward.chain(back) {
        match connection {
            Connection::Lite(_) => connection.batch(step)?,
            Connection::Postgres(_) => connection.batch(&translated(step))?,
        }
    }
    if from < SUMMED && to >= SUMMED {
        consents::sum_up_all(connection)?;
        feed::sum_up_all(connection)?;
    }
    if found != wanted {
        match connection {
            Connection::Lite(_) => connection.batch(&format!("PRAGMA user_version = {wanted}"))?,
            Connection::Postgres(_) => connection
                .batch(&format!("DELETE FROM schema_version; INSERT INTO schema_version (number) VALUES ({wanted})"))?,
        }
    }
    Ok(found)
}

/// The newest schema that this program knows.
pub(super) fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

pub(super) fn version(connection: &Connection) -> sql::Result<i64> {
    let sql = match connection {
        Connection::Lite(_) => "PRAGMA user_version",
        Connection::Postgres(_) => "SELECT number FROM schema_version",
    };
    Ok(connection.prepare_cached(sql)?.query_row((), |row| row.get(0)).optional()?.unwrap_or(0))
}

/// A migration for PostgreSQL: other names of the same types. Texts are ordered by their bytes, as SQLite does.
fn translated(migration: &str) -> String {
    [
        ("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        ("INTEGER PRIMARY KEY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        ("INTEGER", "BIGINT"),
        ("BLOB", "BYTEA"),
        (" TEXT", " TEXT COLLATE \"C\""),
        (" STRICT, WITHOUT ROWID;", ";"),
        (" STRICT;", ";"),
    ]
    .iter()
    .fold(migration.to_owned(), |text, (ours, theirs)| text.replace(ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_has_its_way_back() {
        assert_eq!(BACK.len(), MIGRATIONS.len());
        assert!(BACK.iter().skip(1).all(|back| !back.trim().is_empty()));
    }
}
