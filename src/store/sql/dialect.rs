//! Statements as PostgreSQL wants them: parameters are `$1` and not `?1`.

/// Without a number a parameter is the one after the highest so far, as SQLite has it.
pub(super) fn rendered(sql: &str) -> String {
    let mut rendered = String::with_capacity(sql.len() + 8);
    let mut rest = sql.chars().peekable();
    let (mut quoted, mut highest) = (false, 0);
    while let Some(letter) = rest.next() {
        quoted ^= letter == '\'';
        if letter != '?' || quoted {
            rendered.push(letter);
            continue;
        }
        let mut number = 0;
        while let Some(digit) = rest.peek().and_then(|letter| letter.to_digit(10)) {
            number = number * 10 + digit;
            rest.next();
        }
        if number == 0 {
            number = highest + 1;
        }
        highest = highest.max(number);
        rendered.push('$');
        rendered.push_str(&number.to_string());
    }
    rendered
}

/// A statement that adds one row as one that adds many: each of its parameters, of these types, is a list.
pub(super) fn of_many(sql: &str, types: &[&str]) -> String {
    let numbered = |of: fn(usize, &str) -> String| {
        types.iter().enumerate().map(|(index, kind)| of(index + 1, kind)).collect::<Vec<_>>().join(", ")
    };
    let one = format!("VALUES ({})", numbered(|number, _| format!("${number}")));
    let many = format!("SELECT * FROM unnest({})", numbered(|number, kind| format!("${number}::{kind}[]")));
    rendered(sql).replacen(&one, &many, 1)
}

#[cfg(test)]
mod tests {
    use super::{of_many, rendered};

    #[test]
    fn one_row_becomes_many() {
        let sql = "INSERT INTO a (b, c) VALUES (?1, ?2) ON CONFLICT (b) DO NOTHING";
        let wanted = "INSERT INTO a (b, c) SELECT * FROM unnest($1::bytea[], $2::int8[]) ON CONFLICT (b) DO NOTHING";
        assert_eq!(of_many(sql, &["bytea", "int8"]), wanted);
    }

    #[test]
    fn parameters_are_renamed_and_nothing_else() {
        for (written, wanted) in [
            ("SELECT 1", "SELECT 1"),
            (
                "SELECT a FROM b WHERE c = ?1 AND d = ?12 OR e = ?1",
                "SELECT a FROM b WHERE c = $1 AND d = $12 OR e = $1",
            ),
            ("WHERE a = ? AND b > ? LIMIT ?", "WHERE a = $1 AND b > $2 LIMIT $3"),
            ("SET a = 'why?1', b = ?1", "SET a = 'why?1', b = $1"),
        ] {
            assert_eq!(rendered(written), wanted);
        }
    }
}
