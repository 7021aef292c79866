//! What Bulk Data Access 2.0 asks of servers, requirement by requirement: the test that holds it, or why there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::suite;

const SET: &str = "hl7.fhir.uv.bulkdata_2.0.0";

/// Rows of a table whose cells may stand in quotes.
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(letter),
        }
    }
    rows
}

/// Numbers of the requirements that a server has to meet.
fn required() -> BTreeSet<u32> {
    let table = fs::read_to_string(suite("inferno").join("requirements/bulk_data_test_kit_requirements.csv")).unwrap();
    let rows = cells(&table);
    let column = |name: &str| rows[0].iter().position(|title| title == name).unwrap();
    let (set, id, force, actors) = (column("Req Set"), column("ID"), column("Conformance"), column("Actors"));
    let binds = |row: &&Vec<String>| {
        row.len() > actors && row[set] == SET && row[actors].contains("Server") && row[force].starts_with("SHALL")
    };
    rows.iter().filter(binds).map(|row| row[id].parse().unwrap()).collect()
}

/// Whether there is such a test among these.
fn exists(test: &str) -> bool {
    let (module, name) = test.split_once("::").unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(format!("{module}.rs"));
    fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("async fn {name}()")))
}

#[test]
fn every_requirement_on_bulk_exports_has_its_test_or_its_reason() {
    let told: BTreeMap<u32, &str> = include_str!("bulk.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(',').unwrap())
        .map(|(id, said)| (id.parse().unwrap(), said))
        .collect();
    assert_eq!(told.keys().copied().collect::<BTreeSet<_>>(), required());
    for (id, said) in told {
        match said.strip_prefix("not: ") {
            Some(reason) => assert!(reason.len() > 20, "{id}: {reason}"),
            None => assert!(exists(said), "{id}: there is no test {said}"),
        }
    }
}
