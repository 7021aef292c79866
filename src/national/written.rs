//! A TOML file as somebody wrote it: where each key stands, and everything of it that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::Mistake;

/// Where the keys of a file stand. A key is named by its path: `request.path`, `lookup.ask.0.query.code`.
#[derive(Default, Debug)]
pub(super) struct Places {
    keys: BTreeMap<String, Place>,
    /// What is missing or cannot be read, so that nothing follows from its value.
    lost: BTreeSet<String>,
}

#[derive(Debug)]
struct Place {
    line: u64,
    within: String,
    /// Whether keys can stand in it.
    is_section: bool,
}

impl Places {
    /// The line of a key, or of what it would stand in.
    pub fn line(&self, key: &str) -> u64 {
        let mut key = key;
        loop {
            if let Some(place) = self.keys.get(key) {
                return place.line;
            }
            let Some((within, _)) = key.rsplit_once('.') else { return 1 };
            key = within;
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Names of the keys that stand in one, whether they can be read or not.
    pub fn names(&self, within: &str) -> Vec<String> {
        let inner = self.keys.iter().filter(|(_, place)| place.within == within);
        inner.filter_map(|(key, _)| key.strip_prefix(within)?.strip_prefix('.').map(str::to_owned)).collect()
    }

    /// Whether a key was told of already, by itself or with what it stands in.
    pub fn is_lost(&self, key: &str) -> bool {
        let ends = key.match_indices('.').map(|(at, _)| at).chain([key.len()]);
        ends.into_iter().any(|end| self.lost.contains(&key[..end]))
    }

    /// Every key that a pattern means: `*` stands for whatever there is.
    fn meant(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.split('.').filter(|part| !part.is_empty()) {
            let inner = |within: &String| match part {
                "*" => {
                    self.keys.iter().filter(|(_, place)| place.within == *within).map(|(key, _)| key.clone()).collect()
                }
                name => Vec::from_iter(Some(join(within, name)).filter(|key| self.has(key))),
            };
            found = found.iter().flat_map(inner).collect();
        }
        found
    }

    fn add(&mut self, table: &DeTable<'_>, within: &str, text: &str) {
        for (name, value) in table {
            let key = join(within, name.get_ref());
            self.put(&key, within, (name.span().start, text), value.get_ref());
        }
    }

    fn add_value(&mut self, value: &DeValue<'_>, key: &str, text: &str) {
        match value {
            DeValue::Table(table) => self.add(table, key, text),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let place = join(key, &index.to_string());
                    self.put(&place, key, (item.span().start, text), item.get_ref());
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, key: &str, within: &str, (at, text): (usize, &str), value: &DeValue<'_>) {
        let place = Place { line: line(text, at), within: within.to_owned(), is_section: value.is_table() };
        self.keys.insert(key.to_owned(), place);
        self.add_value(value, key, text);
    }
}

fn join(within: &str, name: &str) -> String {
    if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") }
}

fn line(text: &str, at: usize) -> u64 {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() as u64 + 1
}

/// Reads a file. What cannot be read is told and left out, so that the rest is judged all the same; nothing is judged of
/// what is no TOML. `required` are keys without which it says too little, by what they stand in.
pub(super) fn read<T: DeserializeOwned>(
    file: &str,
    text: &str,
    required: &[(&str, &[&str])],
    mistakes: &mut Vec<Mistake>,
) -> (Option<T>, Places) {
    let mut places = Places::default();
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut told = BTreeSet::new();
        for error in &errors {
            let line = line(text, error.span().map_or(0, |span| span.start));
            // Where a line is broken, what is said of its rest follows from that.
            if told.insert(line) {
                mistakes.push(Mistake::at(file, line, error.message().to_owned()));
            }
        }
        return (None, places);
    }
    places.add(table.get_ref(), "", text);
    for (pattern, keys) in required {
        let is_section = |key: &String| places.keys.get(key).is_none_or(|place| place.is_section);
        let meant: Vec<String> = places.meant(pattern).into_iter().filter(is_section).collect();
        for within in meant {
            for key in keys.iter().map(|key| join(&within, key)).filter(|key| !places.has(key)).collect::<Vec<_>>() {
                mistakes.push(Mistake::at(file, places.line(&key), format!("{key} is missing")));
                places.lost.insert(key);
            }
        }
    }
    loop {
        let error = match T::deserialize(Deserializer::from(table.clone())) {
            Ok(value) => return (Some(value), places),
            Err(error) => error,
        };
        let at = error.span().map_or(0, |span| span.start);
        mistakes.push(Mistake::at(file, line(text, at), error.message().to_owned()));
        match taken_out(table.get_mut(), at, "") {
            Some(key) => drop(places.lost.insert(key)),
            None => return (None, places),
        }
    }
}

/// Takes out the innermost key whose name or value stands there.
fn taken_out(table: &mut DeTable<'_>, at: usize, within: &str) -> Option<String> {
    for (name, value) in table.iter_mut() {
        let key = join(within, name.get_ref());
        let inner = match value.get_mut() {
            DeValue::Table(table) => taken_out(table, at, &key),
            DeValue::Array(items) => items.iter_mut().enumerate().find_map(|(index, item)| match item.get_mut() {
                DeValue::Table(table) => taken_out(table, at, &join(&key, &index.to_string())),
                _ => None,
            }),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    let name = table.iter().find(|(name, value)| stands(name, at) || stands(value, at))?.0.get_ref().clone();
    table.remove(name.as_ref());
    Some(join(within, &name))
}

fn stands<T>(what: &Spanned<T>, at: usize) -> bool {
    what.span().contains(&at)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Whole {
        name: String,
        part: Part,
        list: Vec<Part>,
    }

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Part {
        most: u8,
        all: Vec<String>,
    }

    #[test]
    fn whatever_cannot_be_read_is_told_at_once_and_the_rest_is_read() {
        let required: &[(&str, &[&str])] = &[("", &["name"]), ("list.*", &["most"])];
        for (text, expected, lost) in [
            ("name = \"a\"\n[part]\nmost = 1", &[][..], &[][..]),
            (
                "nam = \"a\"\n[part]\nmost = 300\nmots = 1\n",
                &[
                    "t:1: name is missing",
                    "t:1: unknown field `nam`",
                    "t:3: invalid value",
                    "t:4: unknown field `mots`",
                ],
                &["name", "part.most"],
            ),
            (
                "name = 1\n[[list]]\nmost = 1\n[[list]]\nall = [\"a\",\n 2]",
                &["t:4: list.1.most is missing", "t:1: invalid type", "t:6: invalid type"],
                &["name", "list.1.most", "list.1.all"],
            ),
            ("name = \nlist = [1\n", &["t:1: ", "t:2: "], &[]),
            ("name = \"a\"\nname = \"b\"", &["t:2: duplicate key"], &[]),
            ("part = 1\nname = \"a\"", &["t:1: invalid type"], &["part", "part.most"]),
            ("list = [1]\nname = \"a\"", &["t:1: invalid type"], &["list"]),
        ] {
            let mut mistakes = Vec::new();
            let (_, places) = read::<Whole>("t", text, required, &mut mistakes);
            let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            let each = expected.iter().all(|part| told.iter().any(|line| line.starts_with(part)));
            assert!(each && told.len() == expected.len(), "{expected:?}: {told:#?}");
            assert!(lost.iter().all(|key| places.is_lost(key)), "{lost:?}: {places:?}");
        }
    }

    #[test]
    fn keys_have_lines_however_they_are_written() {
        let text = "name = \"a\"\n\n[part]\nall = [\n \"x\",\n \"y\"\n]\n[[list]]\n[[list]]\nmost = 1\n";
        let (whole, places) = read::<Whole>("t", text, &[], &mut Vec::new());
        let whole = whole.unwrap();
        assert_eq!((whole.name.as_str(), whole.part.all.len(), whole.part.most, whole.list.len()), ("a", 2, 0, 2));
        assert!(whole.list[1].all.is_empty() && whole.list[1].most == 1);
        for (key, line) in [
            ("name", 1),
            ("part", 3),
            ("part.most", 3),
            ("part.all.1", 6),
            ("list.1", 9),
            ("list.1.most", 10),
            ("no", 1),
        ] {
            assert_eq!(places.line(key), line, "{key}");
        }
    }
}
