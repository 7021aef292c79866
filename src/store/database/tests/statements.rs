//! Every statement that stands in the store's sources is one that both databases understand.

use std::fs;
use std::path::Path;

use super::server;
use crate::store::Place;
use crate::store::database::{Store, file, schema, server as own};
use crate::store::sql::Connection;

/// Statements that stand whole in a source. Those of one database alone are not among the tables' own verbs.
fn statements() -> Vec<String> {
    let is_whole = |text: &&str| {
        let words = text.split_once(char::is_whitespace);
        words.is_some_and(|(verb, rest)| ["SELECT", "INSERT", "UPDATE", "DELETE"].contains(&verb) && rest.len() > 11)
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/database");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file())
    {
        let source = fs::read_to_string(entry.path()).unwrap();
        // What asks one of them about itself.
        if ["server.rs", "transaction.rs", "schema.rs", "layout.rs", "carry.rs"]
            .iter()
            .any(|name| entry.file_name() == *name)
        {
            continue;
        }
        found.extend(source.split('"').filter(is_whole).map(str::to_owned));
    }
    // The rest is put together when it is known what is asked.
    found.retain(|sql| !sql.contains('{') && !sql.trim_end().ends_with("WHERE"));
    found
}

#[test]
fn both_databases_understand_every_statement() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::new(directory.path(), None);
    drop(Store::open(&place).unwrap());
    let lite = file::open_reader(&directory.path().join(file::FILE)).unwrap();
    let address = server::fresh().address().unwrap();
    let Connection::Postgres(session) = own::open(&address).unwrap() else { panic!("it is a server") };
    let session = Connection::Postgres(session);
    schema::migrate(&session).unwrap();
    let Connection::Postgres(session) = session else { panic!("it is a server") };
    let statements = statements();
    assert!(statements.len() > 100, "{}", statements.len());
    let mut wrong = Vec::new();
    for sql in statements {
        if let Err(fault) = lite.prepare_cached(&sql) {
            wrong.push(format!("SQLite: {sql}: {fault:?}"));
        }
        match session.understands(&sql) {
            Ok(true) => {}
            Ok(false) => wrong.push(format!("PostgreSQL, a type: {sql}")),
            Err(fault) => wrong.push(format!("PostgreSQL: {sql}: {fault:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
