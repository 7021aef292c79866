//! The tables of a pack: CSV with a line of names, as a spreadsheet writes it.

use std::collections::BTreeMap;

use super::Mistake;

/// A line of a table, with the number by which an editor finds it.
pub(super) struct Row<const WIDTH: usize> {
    pub line: u64,
    fields: [String; WIDTH],
}

impl<const WIDTH: usize> Row<WIDTH> {
    /// A field without the spaces around it.
    pub fn get(&self, at: usize) -> &str {
        self.fields[at].trim()
    }
}

/// What could be read of a table.
#[derive(Default)]
pub(super) struct Table<const WIDTH: usize> {
    pub rows: Vec<Row<WIDTH>>,
    /// First columns of the lines that have too many fields or too few.
    pub broken: Vec<String>,
    /// Whether there is a table at all, so that what it has not is missing.
    pub is_there: bool,
}

/// The lines of a table that must have these columns, in any order; more columns are refused, fewer as well, but for those
/// in brackets, which may be left out. No lines, where the file is not there, which is told elsewhere.
pub(super) fn rows<const WIDTH: usize>(
    file: &str,
    files: &BTreeMap<String, String>,
    columns: [&str; WIDTH],
    mistakes: &mut Vec<Mistake>,
) -> Table<WIDTH> {
    let Some(text) = files.get(file) else { return Table::default() };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let head = match reader.headers() {
        Ok(head) => head.clone(),
        Err(error) => {
            mistakes.push(Mistake::at(file, 1, format!("the table cannot be read: {}", problem(&error))));
            return Table::default();
        }
    };
    let mut places = [None; WIDTH];
    let mut complete = true;
    for (place, column) in places.iter_mut().zip(columns) {
        let plain = column.trim_matches(['[', ']']);
        *place = head.iter().position(|name| name.trim() == plain);
        complete &= place.is_some() || plain != column;
    }
    let width = places.iter().flatten().count();
    if !complete || head.len() != width {
        mistakes.push(Mistake::at(file, 1, format!("expected are the columns {}", columns.join(","))));
        return Table::default();
    }
    let mut table = Table { is_there: true, ..Table::default() };
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(1, csv::Position::line);
                mistakes.push(Mistake::at(file, line, problem(&error)));
                continue;
            }
        };
        let line = record.position().map_or(1, csv::Position::line);
        if record.iter().all(|field| field.trim().is_empty())
            || record.get(0).is_some_and(|field| field.starts_with('#'))
        {
            continue;
        }
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default().to_owned();
        if record.len() != width {
            let text = format!(
                "{width} fields are expected, here are {}; a field with a comma stands in quotes",
                record.len()
            );
            mistakes.push(Mistake::at(file, line, text));
            table.broken.push(field(places[0]).trim().to_owned());
            continue;
        }
        table.rows.push(Row { line, fields: places.map(field) });
    }
    table
}

fn problem(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8".to_owned(),
        _ => "the line is no CSV".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(u64, [&str; 2])], &str>) {
        let mut mistakes = Vec::new();
        let files = BTreeMap::from([("t.csv".to_owned(), text.to_owned())]);
        let read: Vec<(u64, [String; 2])> = rows("t.csv", &files, ["a", "b"], &mut mistakes)
            .rows
            .into_iter()
            .map(|row| (row.line, [row.get(0).to_owned(), row.get(1).to_owned()]))
            .collect();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        match expected {
            Ok(rows) => {
                let rows: Vec<_> = rows.iter().map(|(line, fields)| (*line, fields.map(str::to_owned))).collect();
                assert_eq!((read, told), (rows, Vec::new()));
            }
            Err(mistake) => assert_eq!(told, [mistake]),
        }
    }

    #[test]
    fn tables_are_read_as_spreadsheets_write_them() {
        check("a,b\n1,2\n", Ok(&[(2, ["1", "2"])]));
        check("b,a\n1,\"2, 3\"\n\n# said,aside\n", Ok(&[(2, ["2, 3", "1"])]));
        check("a,b\n1,\"two\nlines\"\n3,4\n", Ok(&[(2, ["1", "two\nlines"]), (4, ["3", "4"])]));
        check("a,c\n", Err("t.csv:1: expected are the columns a,b"));
        check("a,b,c\n", Err("t.csv:1: expected are the columns a,b"));
        check("a,a\n", Err("t.csv:1: expected are the columns a,b"));
        let short = "t.csv:3: 2 fields are expected, here are 1; a field with a comma stands in quotes";
        check("a,b\n1,2\n3\n", Err(short));
    }

    #[test]
    fn a_column_in_brackets_may_be_left_out() {
        for (text, expected) in [
            ("a,b\n1,2\n", Some(["1", "2"])),
            ("b,a\n2,1\n", Some(["1", "2"])),
            ("a\n1\n", Some(["1", ""])),
            ("b\n2\n", None),
            ("a,c\n1,2\n", None),
            ("a\n1,2\n", None),
        ] {
            let mut mistakes = Vec::new();
            let files = BTreeMap::from([("t.csv".to_owned(), text.to_owned())]);
            let read = rows("t.csv", &files, ["a", "[b]"], &mut mistakes).rows;
            let read = read.first().map(|row| [row.get(0), row.get(1)]);
            assert_eq!((read, mistakes.is_empty()), (expected, expected.is_some()), "{text}");
        }
    }
}
