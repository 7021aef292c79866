//! The tables of a schema, as far as rows are carried from one database to another.
//!
//! What they are is asked of a database in memory that the migrations were applied to: so there is one place that says it,
//! it is true of every schema that this program knows, and of both databases.

use super::schema;
use crate::store::fault::OpenError;
use crate::store::sql::{self, Connection};

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holds {
    Integers,
    Texts,
    Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Holds)>,
    /// Columns that the rows are put in order by.
    key: Vec<String>,
    /// The column whose numbers the database gives, where it does.
    pub(super) numbered: Option<String>,
    /// Whether a number that was given is never given again.
    pub(super) remembers: bool,
}

impl Table {
    fn named(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    /// All rows, in one order whatever the database.
    pub(super) fn select(&self) -> String {
        let order: Vec<String> = self.key.iter().map(|column| format!("{column} NULLS FIRST")).collect();
        format!("SELECT {} FROM {} ORDER BY {}", self.named(), self.name, order.join(", "))
    }

    pub(super) fn insert(&self) -> String {
        let places: Vec<String> = (1..=self.columns.len()).map(|number| format!("?{number}")).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", self.name, self.named(), places.join(", "))
    }

    /// How a PostgreSQL server takes many rows.
    pub(super) fn copy(&self) -> String {
        format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.name, self.named())
    }
}

/// The tables of a schema, by name.
pub(super) fn of(version: i64) -> Result<Vec<Table>, OpenError> {
    let memory = Connection::Lite(rusqlite::Connection::open_in_memory()?);
    schema::migrate_to(&memory, version)?;
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut statement = memory.prepare_cached(sql)?;
    let made: Vec<(String, String)> =
        statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<sql::Result<_>>()?;
    Ok(made.into_iter().map(|(name, made)| table(&memory, name, &made)).collect::<sql::Result<_>>()?)
}

fn table(memory: &Connection, name: String, made: &str) -> sql::Result<Table> {
    let mut statement = memory.prepare_cached("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid")?;
    let found: Vec<(String, String, i64)> = statement
        .query_map([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<sql::Result<_>>()?;
    let mut key: Vec<(i64, String)> =
        found.iter().filter(|(.., place)| *place > 0).map(|(column, _, place)| (*place, column.clone())).collect();
    key.sort();
    let mut key: Vec<String> = key.into_iter().map(|(_, column)| column).collect();
    let columns: Vec<(String, Holds)> = found.into_iter().map(|(column, kind, _)| (column, holds(&kind))).collect();
    if key.is_empty() {
        key = columns.iter().map(|(column, _)| column.clone()).collect();
    }
    let numbered = made.contains("INTEGER PRIMARY KEY").then(|| key[0].clone());
    Ok(Table { remembers: made.contains("AUTOINCREMENT"), name, columns, key, numbered })
}

fn holds(kind: &str) -> Holds {
    match kind {
        "INTEGER" => Holds::Integers,
        "TEXT" => Holds::Texts,
        _ => Holds::Bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_those_of_the_schema() {
        let newest = of(schema::newest()).unwrap();
        let table = |name: &str| newest.iter().find(|table| table.name == name).unwrap().clone();
        assert_eq!(table("token").select(), "SELECT hash, seq FROM token ORDER BY hash NULLS FIRST, seq NULLS FIRST");
        assert_eq!(table("client").insert(), "INSERT INTO client (id, body) VALUES (?1, ?2)");
        assert_eq!(table("client").columns, [("id".to_owned(), Holds::Texts), ("body".to_owned(), Holds::Texts)]);
        assert_eq!((table("retry").numbered.as_deref(), table("retry").remembers), (Some("id"), true));
        assert_eq!((table("resource").numbered.as_deref(), table("resource").remembers), (Some("seq"), true));
        assert_eq!((table("feed").numbered, table("foretold").key.len()), (None, table("foretold").columns.len()));
        let first = of(1).unwrap();
        assert!(first.iter().all(|table| table.name != "person_key") && first.len() < newest.len());
    }
}
