//! Texts made short before they are sealed and written: Zstandard (RFC 8878) with a dictionary.
//!
//! The dictionary holds what resources and records of the audit have in common, and was made of examples of our own, never
//! of what anybody sent. A compact text begins with the number of its dictionary, so that a later one can stand beside it;
//! a text that does not grow shorter stays as it is. What a text says is not known here, but for what its row says as well
//! (`marks`).

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, get_frame_content_size};

use super::id::ResId;
use super::marks::{self, Row};

/// `tests/it/dictionary.rs` made it.
static DICTIONARY: &[u8] = include_bytes!("dictionary.bin");
/// The first byte of what is written by that dictionary.
const NUMBER: u8 = 1;
/// The same of a text in which marks stand for what its row says, with something short and its length behind it.
const MARKED: u8 = 2;
/// First bytes that say what follows; no JSON text begins with one of them.
const RESERVED: u8 = 8;
/// What follows is the text itself, which begins with a reserved byte.
const PLAIN: u8 = 0;
/// Every frame begins so, which need not be written down.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How a frame begins that holds no text (RFC 8878, 3.1.2); no JSON text has such bytes.
const SKIPPED: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
const LEVEL: i32 = 3;
/// Of readings there are so many that effort pays: a sixth less for three microseconds.
const LEVEL_OF_SHORT: i32 = 12;
const SHORT: usize = 1024;
/// Of long texts, which mostly repeat themselves, less effort leaves little more.
const LEVEL_OF_LONG: i32 = 1;
const LONG: usize = 4096;
/// No text that is kept is longer.
const LONGEST: u64 = 1 << 30;

thread_local! {
    static COMPRESSOR_OF_SHORT: RefCell<Option<Compressor<'static>>> = RefCell::new(compressor(LEVEL_OF_SHORT));
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(compressor(LEVEL));
    static COMPRESSOR_OF_LONG: RefCell<Option<Compressor<'static>>> = RefCell::new(compressor(LEVEL_OF_LONG));
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> =
        RefCell::new(Decompressor::with_dictionary(DICTIONARY).ok());
}

fn compressor(level: i32) -> Option<Compressor<'static>> {
    let mut compressor = Compressor::with_dictionary(level, DICTIONARY).ok()?;
    compressor.set_parameter(CParameter::DictIdFlag(false)).ok()?;
    Some(compressor)
}

/// A text that was damaged where it lay, or is of a later program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in the store is damaged, or was written by a later version of the program")
    }
}

impl std::error::Error for Damaged {}

/// By what it is known that a text is what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Guarded {
    /// Whoever asked seals it, or has committed to it.
    Elsewhere,
    /// By a checksum of its own (RFC 8878, 3.1.1), even where that makes it longer.
    ByChecksum,
}

/// The text as it is written.
pub(crate) fn compact(text: &[u8]) -> Cow<'_, [u8]> {
    compact_by(text, Guarded::Elsewhere)
}

fn compact_by(text: &[u8], guarded: Guarded) -> Cow<'_, [u8]> {
    match squeezed(text, NUMBER, guarded) {
        Some(short) if short.len() < text.len() || guarded == Guarded::ByChecksum => short.into(),
        _ if text.first().is_some_and(|first| *first < RESERVED) => [&[PLAIN], text].concat().into(),
        _ => text.into(),
    }
}

/// The text as it is written, with something short behind it where there is a place for it: whoever expands the text passes
/// over that, programs that know nothing of it included.
pub(crate) fn compact_with<'t>(text: &'t [u8], aside: &[u8], guarded: Guarded) -> Cow<'t, [u8]> {
    let written = compact_by(text, guarded);
    let (Some(&NUMBER), Ok(length)) = (written.first(), u16::try_from(aside.len())) else { return written };
    if length == 0 {
        return written;
    }
    let mut written = written.into_owned();
    written.reserve_exact(FRAME + aside.len());
    written.extend_from_slice(&SKIPPED);
    written.extend_from_slice(&(u32::from(length) + 2).to_le_bytes());
    written.extend_from_slice(aside);
    written.extend_from_slice(&length.to_le_bytes());
    written.into()
}

/// What a frame around something short takes: how it begins, and the length before it and behind it.
const FRAME: usize = SKIPPED.len() + 4 + 2;

/// The same of the text of a row, which need not say what the row says.
pub(crate) fn compact_in<'t>(text: &'t [u8], aside: &[u8], row: &Row, guarded: Guarded) -> Cow<'t, [u8]> {
    let short = marks::set(text, aside, row).and_then(|marked| squeezed(&marked, MARKED, guarded));
    let is_worth_it = |short: &Vec<u8>| short.len() < text.len() || guarded == Guarded::ByChecksum;
    let (before, cut, behind) = cut(aside, row.person);
    match (short.filter(is_worth_it), u16::try_from(before.len() + behind.len())) {
        (Some(short), Ok(length)) => [&short, before, behind, &[cut], &length.to_le_bytes()].concat().into(),
        _ => compact_with(text, aside, guarded),
    }
}

/// What stands behind a text, before and behind where it says whose it is, and where that is.
fn cut(aside: &[u8], person: Option<ResId>) -> (&[u8], u8, &[u8]) {
    let place = person.and_then(|person| aside.windows(person.0.len()).position(|packed| packed == person.0));
    match place.map(|place| (place, u8::try_from(place))) {
        Some((place, Ok(cut))) if cut != UNCUT => (&aside[..place], cut, &aside[place + size_of::<ResId>()..]),
        _ => (aside, UNCUT, &[]),
    }
}

/// Whether it is to be read beside the id of whose it is.
pub(crate) fn is_cut(written: &[u8]) -> bool {
    written.first() == Some(&MARKED) && parted(written).is_some_and(|parts| parts.cut != UNCUT)
}

/// The text of a row that was written so, or without marks.
pub(crate) fn expanded_in(written: Vec<u8>, row: &Row) -> Result<Vec<u8>, Damaged> {
    if written.first() != Some(&MARKED) {
        return expanded(written);
    }
    let parts = parted(&written).ok_or(Damaged)?;
    let aside = parts.aside(row.person).ok_or(Damaged)?;
    marks::replaced(&inflated(parts.text)?, &aside, row).ok_or(Damaged)
}

/// The same text without marks, if it has some: as programs wrote it that knew of none.
pub(crate) fn unmarked(written: &[u8], row: &Row, guarded: Guarded) -> Result<Option<Vec<u8>>, Damaged> {
    if written.first() != Some(&MARKED) {
        return Ok(None);
    }
    let aside = aside(written, row.person).unwrap_or_default();
    let text = expanded_in(written.to_vec(), row)?;
    Ok(Some(compact_with(&text, &aside, guarded).into_owned()))
}

/// Nobody is cut out of what stands behind a text.
const UNCUT: u8 = u8::MAX;

/// A text with marks.
struct Parts<'w> {
    text: &'w [u8],
    /// What stands behind it, without whose it is.
    rest: &'w [u8],
    /// Where that is to be.
    cut: u8,
}

impl<'w> Parts<'w> {
    fn aside(&self, person: Option<ResId>) -> Option<Cow<'w, [u8]>> {
        if self.cut == UNCUT {
            return Some(self.rest.into());
        }
        let (before, behind) = self.rest.split_at_checked(self.cut.into())?;
        Some([before, &person?.0, behind].concat().into())
    }
}

fn parted(written: &[u8]) -> Option<Parts<'_>> {
    let (rest, length) = written.split_last_chunk::<2>()?;
    let (cut, rest) = rest.split_last()?;
    let (text, rest) = rest.split_at_checked(rest.len().checked_sub(u16::from_le_bytes(*length).into())?)?;
    Some(Parts { text, rest, cut: *cut })
}

/// What stands behind a text, if anything does.
pub(crate) fn aside(written: &[u8], person: Option<ResId>) -> Option<Cow<'_, [u8]>> {
    if written.first() == Some(&MARKED) {
        return parted(written)?.aside(person).filter(|aside| !aside.is_empty());
    }
    let (text, length) = written.split_last_chunk::<2>()?;
    let length = u16::from_le_bytes(*length);
    let (text, aside) = text.split_at(text.len().checked_sub(length.into())?);
    let head = text.last_chunk::<8>()?;
    let is_one = head[..4] == SKIPPED && head[4..] == (u32::from(length) + 2).to_le_bytes();
    (written.first() == Some(&NUMBER) && length > 0 && is_one).then_some(aside.into())
}

fn squeezed(text: &[u8], number: u8, guarded: Guarded) -> Option<Vec<u8>> {
    let compressor = match text.len() {
        ..SHORT => &COMPRESSOR_OF_SHORT,
        SHORT..LONG => &COMPRESSOR,
        LONG.. => &COMPRESSOR_OF_LONG,
    };
    let mut short = compressor.with_borrow_mut(|compressor| {
        let compressor = compressor.as_mut()?;
        compressor.set_parameter(CParameter::ChecksumFlag(guarded == Guarded::ByChecksum)).ok()?;
        compressor.compress(text).ok()
    })?;
    // The number takes the place of the magic's last byte.
    *short.first_chunk_mut()? = [0, 0, 0, number];
    short.drain(..MAGIC.len() - 1);
    Some(short)
}

/// The text that was written so.
pub(crate) fn expanded(mut written: Vec<u8>) -> Result<Vec<u8>, Damaged> {
    match written.first() {
        Some(&PLAIN) => {
            written.remove(0);
            Ok(written)
        }
        Some(&NUMBER) => inflated(&written),
        Some(&first) if first < RESERVED => Err(Damaged),
        _ => Ok(written),
    }
}

fn inflated(written: &[u8]) -> Result<Vec<u8>, Damaged> {
    let frame = [&MAGIC, written.get(1..).ok_or(Damaged)?].concat();
    let length = get_frame_content_size(&frame).ok().flatten().filter(|length| *length < LONGEST);
    let length = length.ok_or(Damaged)? as usize;
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        decompressor.as_mut().ok_or(Damaged)?.decompress(&frame, length).map_err(|_| Damaged)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_written_comes_back(text in any::<Vec<u8>>()) {
            assert_eq!(expanded(compact(&text).into_owned()), Ok(text));
        }

        #[test]
        fn whatever_lies_there_is_a_text_or_damaged(written in any::<Vec<u8>>()) {
            let _ = expanded(written.clone());
            let _ = expanded([&[NUMBER], &written[..]].concat());
            let _ = expanded_in([&[MARKED], &written[..]].concat(), &row());
            let _ = aside(&[&[MARKED], &written[..]].concat(), Some(row().id));
        }

        #[test]
        fn whatever_a_row_says_comes_back(text in any::<Vec<u8>>(), behind in any::<Vec<u8>>()) {
            let written = compact_in(&text, &behind, &row(), Guarded::Elsewhere).into_owned();
            if written.first() == Some(&MARKED) {
                assert_eq!(aside(&written, None).unwrap_or_default(), behind);
            }
            assert_eq!(expanded_in(written, &row()), Ok(text));
        }
    }

    fn row() -> Row {
        let id = ResId::parse("572512b4-a128-8ae5-bf9c-cea6349d2e11").unwrap();
        Row { id, updated_ms: 1_795_332_084_269, person: None }
    }

    #[test]
    fn what_the_row_says_costs_next_to_nothing() {
        let person = ResId::parse("000512ba-0932-8158-a608-e56ad61c6db5").unwrap();
        let behind = [&[7; 20], &person.0[..], &[9; 5]].concat();
        let text = sample(
            "572512b4-a128-8ae5-bf9c-cea6349d2e11",
            "2026-11-22T07:21:24.269Z",
            "000512ba-0932-8158-a608-e56ad61c6db5",
        );
        let without = compact_with(&text, &behind, Guarded::Elsewhere);
        // It is kept beside her key, or behind the text.
        for (row, saves) in [(Row { person: Some(person), ..row() }, 60), (row(), 45)] {
            let written = compact_in(&text, &behind, &row, Guarded::Elsewhere).into_owned();
            assert_eq!(is_cut(&written), row.person.is_some());
            assert_eq!(aside(&written, row.person).as_deref(), Some(&behind[..]));
            assert!(written.len() + saves < without.len(), "{} of {}", written.len(), without.len());
            assert_eq!(unmarked(&written, &row, Guarded::Elsewhere).unwrap().as_deref(), Some(without.as_ref()));
            assert_eq!(expanded_in(written.clone(), &row).unwrap(), text);
            assert_eq!(expanded(written.clone()), Err(Damaged));
            // Another row's text would say other things; that it is not is held by the seal.
            let other = Row { updated_ms: 0, ..row };
            assert_ne!(expanded_in(written, &other).unwrap(), text);
        }
        assert_eq!(unmarked(&without, &row(), Guarded::Elsewhere), Ok(None));
        // Of an earlier program, and of audit records, which have no row of this kind.
        assert_eq!(expanded_in(without.into_owned(), &row()).unwrap(), text);
        let cut = compact_in(&text, &behind, &Row { person: Some(person), ..row() }, Guarded::Elsewhere).into_owned();
        assert_eq!((expanded_in(cut.clone(), &row()), aside(&cut, None)), (Err(Damaged), None));
    }

    fn sample(id: &str, updated: &str, person: &str) -> Vec<u8> {
        [
            r#"{"resourceType":"Observation","id":""#,
            id,
            r#"","meta":{"versionId":"1","lastUpdated":""#,
            updated,
            r#""},"status":"final","identifier":[{"system":"https://my-app.example/readings","value":"1795332084"}],"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/"#,
            person,
            r#""},"effectiveDateTime":"2026-11-22T07:21:24Z","valueQuantity":{"value":62,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}"#,
        ]
        .concat()
        .into_bytes()
    }

    #[test]
    fn what_resources_have_in_common_costs_little() {
        let text = sample(
            "572512b4-a128-8ae5-bf9c-cea6349d2e11",
            "2026-11-22T07:21:24.269Z",
            "000512ba-0932-8158-a608-e56ad61c6db5",
        );
        let written = compact(&text);
        assert!(written.len() * 3 < text.len(), "{} of {}", written.len(), text.len());
        assert_eq!(expanded(written.into_owned()).unwrap(), text);
        let long = text.repeat(20);
        let written = compact(&long);
        assert!(written.len() * 40 < long.len(), "{} of {}", written.len(), long.len());
        assert_eq!(expanded(written.into_owned()).unwrap(), long);
    }

    #[test]
    fn what_is_damaged_is_said_to_be() {
        let written = compact(&[b'a'; 300]).into_owned();
        assert_eq!(written[0], NUMBER);
        assert_eq!(expanded(written[..written.len() - 1].to_vec()), Err(Damaged));
        assert_eq!(expanded(vec![RESERVED - 1, 1]), Err(Damaged), "of a later program");
        // By its checksum any text is known, short ones and those without marks included.
        for text in [&b"{}"[..], br#"{"resourceType":"Device","id":"d"}"#, b"\x02not JSON"] {
            let whole = compact_in(text, b"", &row(), Guarded::ByChecksum).into_owned();
            assert_eq!(expanded_in(whole.clone(), &row()).as_deref(), Ok(text));
            // The first byte says whether there is one. A frame has bits that mean nothing.
            for bit in 8..whole.len() * 8 {
                let mut bent = whole.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                let read = expanded_in(bent, &row());
                assert!(read == Err(Damaged) || read.as_deref() == Ok(text), "{bit}: {read:?}");
            }
        }
        assert_eq!(expanded(Vec::new()), Ok(Vec::new()));
    }
}
