//! What the page says, by language: a file each, chosen by the visitor or else by what the browser asks for.

use std::sync::LazyLock;

use hyper::header::{ACCEPT_LANGUAGE, HeaderMap};
use serde_json::Value;

const ENGLISH: usize = 0;

/// The first is the one that holds where none fits.
const FILES: [(&str, &str); 4] = [
    ("en", include_str!("words/en.json")),
    ("de", include_str!("words/de.json")),
    ("fr", include_str!("words/fr.json")),
    ("es", include_str!("words/es.json")),
];

/// A language of the page.
pub(super) struct Words {
    /// BCP 47.
    pub code: &'static str,
    pub all: Value,
}

static LANGUAGES: LazyLock<Vec<Words>> = LazyLock::new(|| {
    let read = |(code, text): (&'static str, &str)| Words {
        code,
        all: serde_json::from_str(text).expect("the words are part of the program, and a test reads them"),
    };
    FILES.map(read).into_iter().collect()
});

pub(super) fn languages() -> &'static [Words] {
    &LANGUAGES
}

/// The language of that code.
pub(super) fn language(code: &str) -> Option<&'static Words> {
    LANGUAGES.iter().find(|words| words.code.eq_ignore_ascii_case(code))
}

/// The one that the browser likes best of those that are here (RFC 9110 §12.5.4; of weights only the order).
pub(super) fn asked(headers: &HeaderMap) -> &'static Words {
    let header = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ranges: Vec<(&str, f32)> = header.split(',').map(weighed).collect();
    ranges.sort_by(|one, other| other.1.total_cmp(&one.1));
    let wanted = ranges.iter().filter(|(_, weight)| *weight > 0.0);
    let primary = |range: &str| range.split('-').next().unwrap_or_default().trim().to_owned();
    wanted.map(|(range, _)| primary(range)).find_map(|code| language(&code)).unwrap_or(&LANGUAGES[ENGLISH])
}

fn weighed(range: &str) -> (&str, f32) {
    match range.split_once(';') {
        Some((range, weight)) => {
            (range, weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()).unwrap_or(0.0))
        }
        None => (range, 1.0),
    }
}

impl Words {
    pub fn text(&self, key: &str) -> &str {
        self.all[key].as_str().unwrap_or_default()
    }

    /// What a code of that list is called; the code itself where nobody gave it a name.
    pub fn term<'w>(&'w self, list: &str, code: &'w str) -> &'w str {
        self.all[list][code].as_str().unwrap_or(code)
    }

    /// A text with its places filled.
    pub fn filled(&self, key: &str, values: &[&str]) -> String {
        let numbered = values.iter().enumerate();
        numbered.fold(self.text(key).to_owned(), |text, (index, value)| text.replace(&format!("{{{index}}}"), value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fhir::validate::measures::category;

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn places(text: &str) -> usize {
        text.matches('{').count()
    }

    #[test]
    fn every_language_says_everything() {
        let english = &languages()[ENGLISH].all;
        let categories: BTreeSet<&str> = category::all().iter().map(|category| category.code.as_str()).collect();
        for words in languages() {
            assert_eq!(keys(&words.all), keys(english), "{}", words.code);
            assert_eq!(keys(&words.all["categories"]), categories, "{}", words.code);
            let lists = ["acts", "categories", "kinds", "purposes"];
            for list in lists {
                assert_eq!(keys(&words.all[list]), keys(&english[list]), "{} {list}", words.code);
            }
            for key in keys(english).into_iter().filter(|key| !lists.contains(key)) {
                assert!(!words.text(key).trim().is_empty(), "{} {key}", words.code);
                assert_eq!(places(words.text(key)), places(english[key].as_str().unwrap()), "{} {key}", words.code);
            }
        }
    }

    #[test]
    fn the_browser_is_heard() {
        for (asked_for, expected) in [
            ("", "en"),
            ("de", "de"),
            ("de-AT,en;q=0.5", "de"),
            ("nl,fr;q=0.8,de;q=0.9", "de"),
            ("nl", "en"),
            ("fr;q=0,es;q=0.1", "es"),
            ("fr;q=x,*", "en"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, asked_for.parse().unwrap());
            assert_eq!(asked(&headers).code, expected, "{asked_for}");
        }
    }
}
