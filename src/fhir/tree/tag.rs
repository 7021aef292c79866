//! How a name begins and how long it is, in one word.
//!
//! Every rule asks for members by name, and almost every member that is looked at is another one: words tell that
//! without a look at the text. A name of up to seven bytes is the same as another one exactly if their tags are; of
//! longer names the rest has to be compared where the tags agree.

/// The first seven bytes of a name, and its length up to 255.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tag(u64);

/// Bytes that a tag holds.
const HELD: usize = 7;

impl Tag {
    /// The tag of a name; of a literal, it is made when the program is.
    #[inline]
    pub const fn of(name: &str) -> Tag {
        let bytes = name.as_bytes();
        let mut word = 0;
        let mut at = 0;
        while at < bytes.len() && at < HELD {
            word |= (bytes[at] as u64) << (8 * at);
            at += 1;
        }
        Tag(word | length(bytes.len()) << (8 * HELD))
    }

    /// The tag of a piece of a text.
    #[inline]
    pub(super) fn within(text: &[u8], start: usize, len: usize) -> Tag {
        let word = if let Some(chunk) = text.get(start..).and_then(<[u8]>::first_chunk::<8>) {
            u64::from_le_bytes(*chunk)
        } else {
            let piece = text.get(start..start + len).unwrap_or_default();
            piece.iter().take(HELD).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        Tag(word & mask(len) | length(len) << (8 * HELD))
    }

    /// Whether names of the same tag are the same name.
    #[inline]
    pub fn is_whole(self) -> bool {
        self.len() <= HELD
    }

    /// Whether a name of the other tag may be this name with something behind it, as far as the tags tell.
    #[inline]
    pub fn may_begin(self, other: Tag) -> bool {
        (self.0 ^ other.0) & mask(self.len()) == 0 && other.len() >= self.len()
    }

    /// Whether the name begins with an underscore.
    #[inline]
    pub(super) fn is_shadow(self) -> bool {
        self.0 & 0xFF == u64::from(b'_')
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    #[inline]
    fn len(self) -> usize {
        (self.0 >> (8 * HELD)) as usize
    }
}

/// Which names an object may have members of: it never misses one, and now and then takes in another.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Names {
    pub by_tag: u32,
    pub by_initial: u32,
}

impl Names {
    #[inline]
    pub fn add(&mut self, tag: Tag) {
        self.by_tag |= Self::tag_bit(tag);
        self.by_initial |= Self::initial_bit(tag);
    }

    /// Whether a member may have a name of that tag.
    #[inline]
    pub fn may_have(self, tag: Tag) -> bool {
        self.by_tag & Self::tag_bit(tag) != 0 && self.may_begin(tag)
    }

    /// Whether a member's name may begin as that tag does.
    #[inline]
    pub fn may_begin(self, tag: Tag) -> bool {
        self.by_initial & Self::initial_bit(tag) != 0
    }

    #[inline]
    fn tag_bit(tag: Tag) -> u32 {
        1 << (tag.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 59)
    }

    #[inline]
    fn initial_bit(tag: Tag) -> u32 {
        1 << (tag.0 & 31)
    }
}

const fn length(len: usize) -> u64 {
    if len < 255 { len as u64 } else { 255 }
}

/// The bytes of a tag that belong to a name of that length.
const fn mask(len: usize) -> u64 {
    let held = if len < HELD { len } else { HELD };
    (1 << (8 * held)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_miss_none() {
        let mut names = Names::default();
        assert!(!names.may_have(Tag::of("code")) && !names.may_begin(Tag::of("value")));
        for name in ["code", "valueQuantity", "é", ""] {
            names.add(Tag::of(name));
            assert!(names.may_have(Tag::of(name)), "{name}");
        }
        assert!(names.may_begin(Tag::of("value")) && !names.may_have(Tag::of("subject")));
    }

    #[test]
    fn tags_tell_names_apart() {
        let long = format!("valueQu{}", "x".repeat(300));
        let names =
            ["", "a", "id", "code", "display", "displays", "value", "valueQuantity", "valueQuantit", "é", &long];
        for one in names {
            let padded = format!("{{{one}\": 1");
            assert_eq!(Tag::within(padded.as_bytes(), 1, one.len()), Tag::of(one), "{one}");
            assert_eq!(Tag::within(one.as_bytes(), 0, one.len()), Tag::of(one), "{one}");
            for other in names {
                assert_eq!(one == other, Tag::of(one) == Tag::of(other), "{one} {other}");
                let begins = other.starts_with(one);
                assert!(!begins || Tag::of(one).may_begin(Tag::of(other)), "{one} {other}");
                assert!(begins || one.len() > HELD || !Tag::of(one).may_begin(Tag::of(other)), "{one} {other}");
            }
        }
        assert!(Tag::of("_a").is_shadow() && !Tag::of("a_").is_shadow() && !Tag::of("").is_shadow());
        assert_eq!(Tag::of("valueQuantity"), Tag::of("valueQuestion"));
        assert!(Tag::of("display").is_whole() && !Tag::of("displays").is_whole());
    }
}
