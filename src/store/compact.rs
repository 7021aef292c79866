//! Texts made short before they are sealed and written: Zstandard (RFC 8878) with a dictionary.
//!
//! The dictionary holds what resources and records of the audit have in common, and was made of examples of our own, never
//! of what anybody sent. A compact text begins with the number of its dictionary, so that a later one can stand beside it;
//! a text that does not grow shorter stays as it is. What a text says is not known here.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, get_frame_content_size};

/// `tests/it/dictionary.rs` made it.
static DICTIONARY: &[u8] = include_bytes!("dictionary.bin");
/// The first byte of what is written by that dictionary.
const NUMBER: u8 = 1;
/// First bytes that say what follows; no JSON text begins with one of them.
const RESERVED: u8 = 8;
/// What follows is the text itself, which begins with a reserved byte.
const PLAIN: u8 = 0;
/// Every frame begins so, which need not be written down.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How a frame begins that holds no text (RFC 8878, 3.1.2); no JSON text has such bytes.
const SKIPPED: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
const LEVEL: i32 = 3;
/// Of long texts, which mostly repeat themselves, less effort leaves little more.
const LEVEL_OF_LONG: i32 = 1;
const LONG: usize = 4096;
/// No text that is kept is longer.
const LONGEST: u64 = 1 << 30;

thread_local! {
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

/// The text as it is written.
pub(crate) fn compact(text: &[u8]) -> Cow<'_, [u8]> {
    match squeezed(text) {
        Some(short) if short.len() < text.len() => short.into(),
        _ if text.first().is_some_and(|first| *first < RESERVED) => [&[PLAIN], text].concat().into(),
        _ => text.into(),
    }
}

/// The text as it is written, with something short behind it where there is a place for it: whoever expands the text passes
/// over that, programs that know nothing of it included.
pub(crate) fn compact_with<'t>(text: &'t [u8], aside: &[u8]) -> Cow<'t, [u8]> {
    let written = compact(text);
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

/// What stands behind a text, if anything does.
pub(crate) fn aside(written: &[u8]) -> Option<&[u8]> {
    let (text, length) = written.split_last_chunk::<2>()?;
    let length = u16::from_le_bytes(*length);
    let (text, aside) = text.split_at(text.len().checked_sub(length.into())?);
    let head = text.last_chunk::<8>()?;
    let is_one = head[..4] == SKIPPED && head[4..] == (u32::from(length) + 2).to_le_bytes();
    (written.first() == Some(&NUMBER) && length > 0 && is_one).then_some(aside)
}

fn squeezed(text: &[u8]) -> Option<Vec<u8>> {
    let compressor = if text.len() < LONG { &COMPRESSOR } else { &COMPRESSOR_OF_LONG };
    let mut short = compressor.with_borrow_mut(|compressor| compressor.as_mut()?.compress(text).ok())?;
    // The number takes the place of the magic's last byte.
    *short.first_chunk_mut()? = [0, 0, 0, NUMBER];
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
        Some(&NUMBER) => {
            let frame = [&MAGIC, &written[1..]].concat();
            let length = get_frame_content_size(&frame).ok().flatten().filter(|length| *length < LONGEST);
            let length = length.ok_or(Damaged)? as usize;
            DECOMPRESSOR.with_borrow_mut(|decompressor| {
                decompressor.as_mut().ok_or(Damaged)?.decompress(&frame, length).map_err(|_| Damaged)
            })
        }
        Some(&first) if first < RESERVED => Err(Damaged),
        _ => Ok(written),
    }
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
        }
    }

    #[test]
    fn what_stands_behind_a_text_is_no_part_of_it() {
        let text =
            br#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org"}]}}"#;
        for length in [1, 2, 57, 255, 256, 4096] {
            let behind = vec![7; length];
            let written = compact_with(text, &behind);
            assert_eq!(aside(&written), Some(&behind[..]));
            assert_eq!(written.len(), compact(text).len() + length + FRAME);
            assert_eq!(expanded(written.into_owned()).unwrap(), text);
        }
        // What does not grow shorter has no place for it, and neither has what is too long one.
        for (text, behind) in [(&b"{}"[..], 1), (text, 0), (text, 1 << 16)] {
            let written = compact_with(text, &vec![7; behind]);
            assert_eq!((written.as_ref(), aside(&written)), (compact(text).as_ref(), None));
        }
        for written in [&b""[..], b"{}", &[NUMBER, 1, 0], &[NUMBER, 0, 0]] {
            assert_eq!(aside(written), None);
        }
    }

    #[test]
    fn what_resources_have_in_common_costs_little() {
        let text = br#"{"resourceType":"Observation","id":"572512b4-a128-8ae5-bf9c-cea6349d2e11","meta":{"versionId":"1","lastUpdated":"2026-11-22T07:21:24.269Z"},"status":"final","identifier":[{"system":"https://my-app.example/readings","value":"1795332084"}],"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/000512ba-0932-8158-a608-e56ad61c6db5"},"effectiveDateTime":"2026-11-22T07:21:24Z","valueQuantity":{"value":62,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}"#;
        let written = compact(text);
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
        assert_eq!(expanded(Vec::new()), Ok(Vec::new()));
    }
}
