//! String parameters: by default the beginning, without regard to case and accents (R4 §3.1.1.4.8).
//!
//! HumanName and Address are searched in each of their parts. Letters are folded by a table of Latin letters
//! with marks, and combining marks are dropped, so that `Müller`, `muller` and `Mu\u{308}ller` are one name.

use crate::fhir::tree::Element;

/// How the text must lie in the resource's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Starts,
    Contains,
    Exact,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub manner: Manner,
    /// Folded unless exact.
    text: String,
}

/// Parts of the types that string parameters search: HumanName, Address, and those with a `text` or `display`.
const PARTS: [&str; 12] = [
    "text",
    "display",
    "family",
    "given",
    "prefix",
    "suffix",
    "line",
    "city",
    "district",
    "state",
    "postalCode",
    "country",
];

impl Wanted {
    pub(super) fn new(manner: Manner, text: &str) -> Option<Wanted> {
        let text = if manner == Manner::Exact { text.to_owned() } else { folded(text) };
        (!text.is_empty()).then_some(Wanted { manner, text })
    }

    pub fn matches(&self, element: Element<'_>) -> bool {
        if !element.is_object() {
            return element.text().is_some_and(|text| self.meets(text));
        }
        PARTS.iter().any(|part| element.all(part).any(|part| part.text().is_some_and(|text| self.meets(text))))
    }

    pub fn meets(&self, text: &str) -> bool {
        match self.manner {
            Manner::Exact => text == self.text,
            Manner::Starts => folded(text).starts_with(&self.text),
            Manner::Contains => folded(text).contains(&self.text),
        }
    }
}

/// What an element is sorted by: its first part, a person's family name before the others.
pub(super) fn first(element: Element<'_>) -> Option<String> {
    if !element.is_object() {
        return element.text().map(folded);
    }
    let part = |part: &&str| element.all(part).find_map(|part| part.text());
    ["family"].iter().chain(&PARTS).find_map(part).map(folded)
}

/// Lower case, without marks, white space as single spaces.
pub(super) fn folded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        for each in word.chars().flat_map(char::to_lowercase) {
            match base(each) {
                "" if is_mark(each) => {}
                "" => plain.push(each),
                letters => plain.push_str(letters),
            }
        }
    }
    plain
}

fn is_mark(each: char) -> bool {
    matches!(each, '\u{300}'..='\u{36f}')
}

/// The letters that a lower-case Latin letter with a mark stands on; empty for every other character.
fn base(each: char) -> &'static str {
    match each {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ạ'..='ặ' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẹ'..='ệ' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ỉ' | 'ị' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ọ'..='ợ' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' | 'ụ'..='ự' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' | 'ỳ' | 'ỵ' | 'ỷ' | 'ỹ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'þ' => "th",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds() {
        for (text, expected) in [
            ("Müller", "muller"),
            ("Mu\u{308}ller", "muller"),
            ("Straße", "strasse"),
            ("  Kari  Ødegård ", "kari odegard"),
            ("ИВАНОВ", "иванов"),
            ("İstanbul", "istanbul"),
        ] {
            assert_eq!(folded(text), expected);
        }
    }
}
