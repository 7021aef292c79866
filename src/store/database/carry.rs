//! Rows out of one database and into another, through bytes that both can make and take.
//!
//! A table is a sequence of bytes in PostgreSQL's binary form of COPY: a header, each row as its columns with their lengths,
//! an end. It is documented and other tools read it. Rows lie in the order of their key, so the same rows are the same
//! bytes, whichever database they came out of. What the rows mean is not known here.

use std::io::{self, Read, Write};

use super::layout::{Holds, Table};
use crate::store::sql::{Connection, Fault, Result, Row, Statement, Value};

const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1_i16).to_be_bytes();
/// Rows that a server is asked for at a time.
const PIECE: usize = 500;
/// A column with more bytes than this was never written: the database could not have held it.
const MOST_BYTES: usize = 1 << 30;

/// Why rows could not be carried.
#[derive(Debug)]
pub(super) enum Stuck {
    Database(Fault),
    File(io::Error),
    /// The bytes are no such rows.
    Form,
}

impl From<Fault> for Stuck {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}

impl From<io::Error> for Stuck {
    fn from(error: io::Error) -> Self {
        // Where more was expected nothing was.
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Form } else { Self::File(error) }
    }
}

/// Begins a transaction that sees one state of the store for as long as it takes. Writers go on meanwhile.
pub(super) fn begin_snapshot(connection: &Connection) -> Result<()> {
    match connection {
        Connection::Lite(_) => connection.batch("BEGIN DEFERRED; SELECT 1 FROM kind"),
        Connection::Postgres(_) => connection.batch(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
        ),
    }
}

/// Writes all rows of a table, inside a snapshot; how many.
pub(super) fn out(connection: &Connection, table: &Table, to: &mut impl Write) -> std::result::Result<u64, Stuck> {
    to.write_all(HEADER)?;
    let mut rows = 0;
    let mut bytes = Vec::new();
    let mut write = |row: &Row<'_>| {
        bytes.clear();
        encode(row, table, &mut bytes)?;
        rows += 1;
        Ok::<_, Stuck>(to.write_all(&bytes)?)
    };
    match connection {
        Connection::Lite(_) => {
            let sql = table.select();
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = statement.query(())?;
            while let Some(row) = found.next()? {
                write(&row)?;
            }
        }
        Connection::Postgres(_) => {
            let name = &table.name;
            connection.batch(&format!("DECLARE carry_{name} NO SCROLL CURSOR FOR {}", table.select()))?;
            let sql = format!("FETCH {PIECE} FROM carry_{name}");
            loop {
                let mut statement = connection.prepare_cached(&sql)?;
                let mut found = statement.query(())?;
                let mut count = 0;
                while let Some(row) = found.next()? {
                    write(&row)?;
                    count += 1;
                }
                if count < PIECE {
                    break;
                }
            }
            connection.batch(&format!("CLOSE carry_{name}"))?;
        }
    }
    to.write_all(&END)?;
    Ok(rows)
}

fn encode(row: &Row<'_>, table: &Table, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.extend((table.columns.len() as i16).to_be_bytes());
    for index in 0..table.columns.len() {
        let number;
        let column: &[u8] = match row.get_ref(index)? {
            Value::Null => {
                bytes.extend((-1_i32).to_be_bytes());
                continue;
            }
            Value::Integer(integer) => {
                number = integer.to_be_bytes();
                &number
            }
            Value::Text(text) => text.as_bytes(),
            Value::Blob(blob) => blob,
        };
        bytes.extend((column.len() as i32).to_be_bytes());
        bytes.extend_from_slice(column);
    }
    Ok(())
}

/// Reads rows of a table, and hands each over; how many.
pub(super) fn read(
    table: &Table,
    from: &mut impl Read,
    mut each: impl FnMut(&[Value<'_>]) -> Result<()>,
) -> std::result::Result<u64, Stuck> {
    let mut header = [0; HEADER.len()];
    from.read_exact(&mut header)?;
    if header != *HEADER {
        return Err(Stuck::Form);
    }
    let mut columns: Vec<Option<Vec<u8>>> = vec![None; table.columns.len()];
    let mut rows = 0;
    while decode(from, &mut columns)? {
        let values: Option<Vec<Value<'_>>> =
            columns.iter().zip(&table.columns).map(|(bytes, (_, holds))| value(bytes.as_deref(), *holds)).collect();
        each(&values.ok_or(Stuck::Form)?)?;
        rows += 1;
    }
    if from.read(&mut [0])? == 0 { Ok(rows) } else { Err(Stuck::Form) }
}

/// The next row's columns; false at the end.
fn decode(from: &mut impl Read, columns: &mut [Option<Vec<u8>>]) -> std::result::Result<bool, Stuck> {
    let mut count = [0; 2];
    from.read_exact(&mut count)?;
    if count == END {
        return Ok(false);
    }
    if usize::from(u16::from_be_bytes(count)) != columns.len() {
        return Err(Stuck::Form);
    }
    for column in columns {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = i32::from_be_bytes(length);
        if length == -1 {
            *column = None;
            continue;
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= MOST_BYTES).ok_or(Stuck::Form)?;
        let bytes = column.get_or_insert_default();
        bytes.clear();
        // What is not there is not made room for.
        if from.take(length as u64).read_to_end(bytes)? < length {
            return Err(Stuck::Form);
        }
    }
    Ok(true)
}

fn value(bytes: Option<&[u8]>, holds: Holds) -> Option<Value<'_>> {
    let Some(bytes) = bytes else { return Some(Value::Null) };
    Some(match holds {
        Holds::Integers => Value::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        Holds::Texts => Value::Text(std::str::from_utf8(bytes).ok()?),
        Holds::Bytes => Value::Blob(bytes),
    })
}

/// Puts the rows of a table into one that is empty, inside a transaction; how many.
pub(super) fn in_(connection: &Connection, table: &Table, from: &mut impl Read) -> std::result::Result<u64, Stuck> {
    match connection {
        Connection::Lite(_) => {
            let sql = table.insert();
            let mut statement: Statement<'_> = connection.prepare_cached(&sql)?;
            read(table, from, |values| statement.execute(values).map(drop))
        }
        Connection::Postgres(session) => {
            let types: Vec<_> = table.columns.iter().map(|(_, holds)| *holds).collect();
            let integers = types.iter().map(|holds| *holds == Holds::Integers);
            let texts = types.iter().map(|holds| *holds == Holds::Texts);
            let mut copying = session.copy_in(&table.copy(), integers.zip(texts))?;
            let rows = read(table, from, |values| copying.put(values))?;
            copying.finish()?;
            Ok(rows)
        }
    }
}

/// The last number that was given to a row of a table that never gives one again; none where none was.
pub(super) fn last_number(connection: &Connection, table: &Table) -> Result<Option<i64>> {
    let Some(column) = table.numbered.as_ref().filter(|_| table.remembers) else { return Ok(None) };
    let mut statement;
    let found: Option<i64> = match connection {
        Connection::Lite(_) => {
            statement = connection.prepare_cached("SELECT MAX(seq) FROM sqlite_sequence WHERE name = ?1")?;
            statement.query_row([table.name.as_str()], |row| row.get(0))?
        }
        Connection::Postgres(_) => {
            let name = &table.name;
            let mut asked = connection.prepare_cached(
                "SELECT pg_sequence_last_value(CAST(CAST(pg_get_serial_sequence(?1, ?2) AS TEXT) AS REGCLASS))",
            )?;
            asked.query_row([name.as_str(), column.as_str()], |row| row.get(0))?
        }
    };
    Ok(found)
}

/// Has the database go on behind a number, and behind every row that there is.
pub(super) fn go_on(connection: &Connection, table: &Table, last: Option<i64>) -> Result<()> {
    let Some(column) = &table.numbered else { return Ok(()) };
    let name = &table.name;
    match connection {
        Connection::Lite(_) => {
            let Some(last) = last.filter(|_| table.remembers) else { return Ok(()) };
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [name.as_str()])?;
            let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
            connection.execute(sql, crate::store::sql::params![name, last]).map(drop)
        }
        Connection::Postgres(_) => connection.batch(&format!(
            "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), number) FROM
             (SELECT GREATEST(MAX({column}), {}) AS number FROM {name}) AS found WHERE number > 0",
            last.unwrap_or(0)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::{layout, schema};

    fn memory() -> Connection {
        let memory = Connection::Lite(rusqlite::Connection::open_in_memory().unwrap());
        schema::migrate(&memory).unwrap();
        memory
    }

    fn table(name: &str) -> Table {
        layout::of(schema::newest()).unwrap().into_iter().find(|table| table.name == name).unwrap()
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let (from, to) = (memory(), memory());
        let table = table("idem");
        let rows = "INSERT INTO idem VALUES ('a', 'k', x'00ff', x'', -9223372036854775808, NULL),
                    ('\u{e9}', '', zeroblob(100000), x'01', 9223372036854775807, x'07')";
        from.batch(rows).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(out(&from, &table, &mut bytes).unwrap(), 2);
        assert_eq!(in_(&to, &table, &mut bytes.as_slice()).unwrap(), 2);
        let mut again = Vec::new();
        out(&to, &table, &mut again).unwrap();
        assert!(bytes == again);
    }

    #[test]
    fn bytes_that_are_no_rows_are_refused_and_cost_nothing() {
        let from = memory();
        let table = table("client");
        from.batch("INSERT INTO client VALUES ('a', 'body')").unwrap();
        let mut whole = Vec::new();
        out(&from, &table, &mut whole).unwrap();
        let refused = |bytes: &[u8]| matches!(read(&table, &mut &*bytes, |_| Ok(())), Err(Stuck::Form));
        for end in 0..whole.len() {
            assert!(refused(&whole[..end]), "{end}");
        }
        assert!(refused(&[whole.as_slice(), b"x"].concat()), "something follows");
        for place in [0, HEADER.len(), HEADER.len() + 1, HEADER.len() + 2, HEADER.len() + 5] {
            let mut bent = whole.clone();
            bent[place] ^= 0x40;
            assert!(refused(&bent), "{place}");
        }
    }

    #[test]
    fn numbers_that_were_given_are_not_given_again() {
        let (from, to) = (memory(), memory());
        let table = table("person_key");
        from.batch("INSERT INTO person_key (patient, wrapped) VALUES (x'01', x''), (x'02', x'')").unwrap();
        from.batch("DELETE FROM person_key WHERE number = 2").unwrap();
        let mut bytes = Vec::new();
        out(&from, &table, &mut bytes).unwrap();
        in_(&to, &table, &mut bytes.as_slice()).unwrap();
        go_on(&to, &table, last_number(&from, &table).unwrap()).unwrap();
        let next = to.insert("INSERT INTO person_key (patient, wrapped) VALUES (x'03', x'')", "number", ()).unwrap();
        assert_eq!(next, Some(3));
    }
}
