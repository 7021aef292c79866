//! What the text of a row need not say, since the row says it: its own id, the moment at which it was written, and ids that stand
//! packed in what lies behind it. Each is written as a mark, one of the bytes that no JSON text has, and comes back when the text
//! is read: of a reading of five hundred bytes these are what cannot be made short.

use memchr::{memchr, memchr3, memchr3_iter};

use super::id::ResId;

/// What a row says of its text.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) id: ResId,
    pub(crate) updated_ms: i64,
    /// Whose it is, where that is kept beside her key.
    pub(crate) person: Option<ResId>,
}

/// Stands for the id of the row.
const OWN: u8 = 1;
/// Stands for the moment at which it was written.
const UPDATED: u8 = 2;
/// Stands for an id behind the text, from the byte on that follows.
const BESIDE: u8 = 3;

const ID: usize = 36;

/// The text with marks; none where it has bytes that would be taken for some.
pub(crate) fn set(text: &[u8], aside: &[u8], row: &Row) -> Option<Vec<u8>> {
    if memchr3(OWN, UPDATED, BESIDE, text).is_some() {
        return None;
    }
    let updated = moment(row.updated_ms);
    let is_updated = |start: &usize| !updated.is_empty() && text[*start..].starts_with(updated.as_bytes());
    let mut marked = Vec::with_capacity(text.len());
    // Up to where it is copied, and up to where it is looked through.
    let (mut copied, mut seen) = (0, 0);
    while let Some(hyphen) = text.get(seen..).and_then(|rest| memchr(b'-', rest)).map(|at| seen + at) {
        // An id has its first hyphen behind eight digits, a moment behind four.
        let begins = |digits: usize| hyphen.checked_sub(digits).filter(|start| *start >= copied);
        if let Some(start) = begins(8)
            && let Some(id) = text.get(start..start + ID).and_then(id)
            && let Some(mark) = mark(id, aside, row)
        {
            marked.extend_from_slice(&text[copied..start]);
            marked.extend_from_slice(&mark.0[..mark.1]);
            copied = start + ID;
            seen = copied;
        } else if let Some(start) = begins(4).filter(is_updated) {
            marked.extend_from_slice(&text[copied..start]);
            marked.push(UPDATED);
            copied = start + updated.len();
            seen = copied;
        } else {
            seen = hyphen + 1;
        }
    }
    marked.extend_from_slice(&text[copied..]);
    Some(marked)
}

/// The text without marks; none where a mark stands for nothing.
pub(crate) fn replaced(marked: &[u8], aside: &[u8], row: &Row) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(marked.len() + 4 * ID);
    let mut copied = 0;
    for at in memchr3_iter(OWN, UPDATED, BESIDE, marked) {
        // It is the place that belongs to the mark before it.
        if at < copied {
            continue;
        }
        text.extend_from_slice(&marked[copied..at]);
        copied = at + 1;
        match marked[at] {
            OWN => text.extend_from_slice(&row.id.text()),
            UPDATED => text.extend_from_slice(moment(row.updated_ms).as_bytes()),
            _ => {
                let place = usize::from(*marked.get(copied)?);
                let packed = aside.get(place..)?.first_chunk::<16>()?;
                text.extend_from_slice(&ResId(*packed).text());
                copied += 1;
            }
        }
    }
    text.extend_from_slice(&marked[copied..]);
    Some(text)
}

fn id(text: &[u8]) -> Option<ResId> {
    // Most hyphens are none of an id.
    (text[13] == b'-' && text[18] == b'-').then(|| ResId::parse(str::from_utf8(text).ok()?)).flatten()
}

/// The mark for an id, and how long it is.
fn mark(id: ResId, aside: &[u8], row: &Row) -> Option<([u8; 2], usize)> {
    if id == row.id {
        return Some(([OWN, 0], 1));
    }
    let place = aside.windows(id.0.len()).position(|packed| packed == id.0)?;
    Some(([BESIDE, u8::try_from(place).ok()?], 2))
}

/// As the text says when it was written; nothing of a moment that no calendar has.
pub(super) fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|moment| format!("{moment:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const OTHER: &str = "000512ba-0932-8158-a608-e56ad61c6db5";

    fn row() -> Row {
        let id = ResId::parse("572512b4-a128-8ae5-bf9c-cea6349d2e11").unwrap();
        Row { id, updated_ms: 1_795_332_084_269, person: None }
    }

    fn packed() -> Vec<u8> {
        [&[5, 6], &ResId::parse(OTHER).unwrap().0[..], &[1, 2, 3]].concat()
    }

    #[test]
    fn what_the_row_says_is_a_mark() {
        let own = row().id;
        for (text, marked) in [
            (String::new(), String::new()),
            (format!("{own}"), "\u{1}".to_owned()),
            (format!("a {own}-{own} {own}/1"), "a \u{1}-\u{1} \u{1}/1".to_owned()),
            ("at 2026-11-22T07:21:24.269Z.".to_owned(), "at \u{2}.".to_owned()),
            (format!("Patient/{OTHER}"), "Patient/\u{3}\u{2}".to_owned()),
            (format!("{OTHER}{own}2026-11-22T07:21:24.269Z"), "\u{3}\u{2}\u{1}\u{2}".to_owned()),
        ] {
            let set = set(text.as_bytes(), &packed(), &row()).unwrap();
            assert_eq!(str::from_utf8(&set).unwrap(), marked, "{text}");
            assert_eq!(replaced(&set, &packed(), &row()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_only_resembles_it_is_none() {
        for text in [
            "572512B4-A128-8AE5-BF9C-CEA6349D2E11",
            "572512b4-a128-4ae5-bf9c-cea6349d2e11",
            "572512b4-a128-8ae5-bf9c-cea6349d2e1",
            "2026-11-22T07:21:24.268Z",
            "2026-11-22T07:21:24Z",
            "00000000-0000-8000-8000-000000000000",
            "-",
            "--------",
            "1234-",
        ] {
            assert_eq!(set(text.as_bytes(), &packed(), &row()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn a_moment_that_no_calendar_has_is_none() {
        for updated_ms in [i64::MIN, i64::MAX] {
            let row = Row { updated_ms, ..row() };
            let text = "at 2026-11-22T07:21:24.269Z, 1234-5";
            assert_eq!(set(text.as_bytes(), &[], &row).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_cannot_be_marked_is_left_alone_and_what_is_no_mark_is_told() {
        for text in ["a\u{1}", "\u{2}", "\u{3}b"] {
            assert_eq!(set(text.as_bytes(), &[], &row()), None);
        }
        for marked in [&[BESIDE][..], &[BESIDE, 6], &[b'a', BESIDE, 255]] {
            assert_eq!(replaced(marked, &packed(), &row()), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_marked_comes_back(parts in any::<Vec<(u8, String)>>(), aside in any::<Vec<u8>>()) {
            let aside = [aside, packed()].concat();
            let text: String = parts
                .iter()
                .map(|(what, text)| match what % 4 {
                    0 => row().id.to_string(),
                    1 => moment(row().updated_ms),
                    2 => OTHER.to_owned(),
                    _ => text.clone(),
                })
                .collect();
            if let Some(marked) = set(text.as_bytes(), &aside, &row()) {
                assert_eq!(replaced(&marked, &aside, &row()).unwrap(), text.as_bytes());
            }
        }

        #[test]
        fn no_bytes_do_harm(marked in any::<Vec<u8>>(), aside in any::<Vec<u8>>()) {
            let _ = replaced(&marked, &aside, &row());
        }
    }
}
