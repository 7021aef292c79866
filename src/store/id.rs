//! The two names everything in the store hangs on: the patient's pseudonym and the resource id.
//!
//! A `ResId` is a UUID version 8 (RFC 9562 section 5.8): `bucket:12 | day:16 | shelf:20 | hash:74`. Derived from what
//! identifies the thing at its source, it is at once primary key, guard against double creation and shard address, so that
//! no identifier index is needed for the bulk of the data. Shelf and hash are the tail, by which it is found: a person's
//! things stand together there, so that what comes in of one person at once changes few pages of the index. The pseudonym is a keyed hash: without the key, a copy of the
//! database does not say whose rows it holds. Neither knows what a resource is.

use std::fmt;

/// Feed rows, cursors and leases are split into this many slots, by patient.
pub const SLOTS: u16 = 16;

/// A patient's pseudonym: keyed hash of the id by which the caller knows the patient.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatientKey(pub [u8; 16]);

impl PatientKey {
    pub fn derive(secret: &[u8; 32], id: &str) -> Self {
        let hash = blake3::keyed_hash(secret, id.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        Self(key)
    }

    /// The top 12 bits: which of 4096 buckets, hence which shard, holds everything of this patient.
    pub fn bucket(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]]) >> 4
    }

    /// Which of about a million shelves: the bucket and eight bits more, which is little to tell persons by.
    fn shelf(&self) -> u128 {
        u128::from(u32::from_be_bytes([0, self.0[0], self.0[1], self.0[2]]) >> 4)
    }

    /// Which part of the work that is shared out by persons is about this one.
    pub fn slot(&self) -> u16 {
        slot(Some(*self))
    }
}

/// Prints nothing of the key: a pseudonym still links records of one person.
impl fmt::Debug for PatientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientKey(..)")
    }
}

/// The slot of a bucket; what belongs to no patient lies in bucket 0.
pub(super) fn slot(patient: Option<PatientKey>) -> u16 {
    patient.map_or(0, |patient| patient.bucket()) >> 8
}

/// A resource's id, printed as lower-case UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ResId(pub [u8; 16]);

const TAIL_BITS: u128 = (1 << 94) - 1;
const SHELF_SHIFT: u32 = 74;
const HASH_BITS: u128 = (1 << SHELF_SHIFT) - 1;
const LOW: u128 = (1 << 62) - 1;
const VERSION: u128 = 8 << 76;
const VARIANT: u128 = 2 << 62;

impl ResId {
    /// The same parts give the same id, whoever asks and whenever.
    pub fn derived(patient: Option<PatientKey>, day: u16, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            // Lengths keep ("ab", "c") apart from ("a", "bc").
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self::random(patient, day, hash)
    }

    /// For things that bring no identity of their own.
    pub fn random(patient: Option<PatientKey>, day: u16, entropy: [u8; 16]) -> Self {
        let entropy = u128::from_be_bytes(entropy);
        match patient {
            Some(patient) => {
                Self::assemble(patient.bucket(), day, patient.shelf() << SHELF_SHIFT | entropy & HASH_BITS)
            }
            None => Self::assemble(0, day, entropy & TAIL_BITS),
        }
    }

    /// `None` for whatever is not a lower-case UUID of version 8: such an id was chosen by a client.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut value: u128 = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let digit = match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => continue,
                (8 | 13 | 18 | 23, _) => return None,
                (_, b'0'..=b'9') => byte - b'0',
                (_, b'a'..=b'f') => byte - b'a' + 10,
                _ => return None,
            };
            value = value << 4 | u128::from(digit);
        }
        let id = Self(value.to_be_bytes());
        (value & (15 << 76) == VERSION && value & (3 << 62) == VARIANT).then_some(id)
    }

    /// As it is printed, in ASCII.
    pub(super) fn text(&self) -> [u8; 36] {
        // A page of a search prints a hundred, and the formats of integers take their time.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            at += usize::from(matches!(index, 4 | 6 | 8 | 10));
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        text
    }

    pub fn bucket(&self) -> u16 {
        (u128::from_be_bytes(self.0) >> 116) as u16
    }

    pub fn day(&self) -> u16 {
        (u128::from_be_bytes(self.0) >> 100) as u16
    }

    /// The 94 bits of shelf and hash, right aligned: alone they are unique.
    pub fn tail(&self) -> [u8; 12] {
        let id = u128::from_be_bytes(self.0);
        let hash = (id >> 80 & 0xf_ffff) << 74 | (id >> 64 & 0xfff) << 62 | id & LOW;
        let mut tail = [0; 12];
        tail.copy_from_slice(&hash.to_be_bytes()[4..]);
        tail
    }

    /// The inverse of `bucket`, `day` and `tail`.
    pub(super) fn from_columns(bucket: u16, day: u16, tail: [u8; 12]) -> Self {
        let mut hash = [0; 16];
        hash[4..].copy_from_slice(&tail);
        Self::assemble(bucket, day, u128::from_be_bytes(hash) & TAIL_BITS)
    }

    fn assemble(bucket: u16, day: u16, hash: u128) -> Self {
        let id = u128::from(bucket & 0xfff) << 116
            | u128::from(day) << 100
            | (hash >> 74) << 80
            | VERSION
            | (hash >> 62 & 0xfff) << 64
            | VARIANT
            | hash & LOW;
        Self(id.to_be_bytes())
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_and_comes_back() {
        let patient = PatientKey::derive(&[7; 32], "Patient/1");
        for entropy in [[0; 16], [0xff; 16], [0xa5; 16]] {
            for day in [0, 20_000, u16::MAX] {
                let id = ResId::random(Some(patient), day, entropy);
                let text = id.to_string();
                assert_eq!((text.as_bytes()[14], id.bucket(), id.day()), (b'8', patient.bucket(), day));
                assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
                assert_eq!(ResId::parse(&text), Some(id));
                assert_eq!(ResId::from_columns(id.bucket(), id.day(), id.tail()), id);
            }
        }
    }

    #[test]
    fn other_texts_are_not_ours() {
        for text in ["", "abc", "00000000-0000-4000-8000-000000000000", "00000000-0000-8000-c000-000000000000"] {
            assert_eq!(ResId::parse(text), None, "{text}");
        }
        let id = ResId::derived(None, 1, &[b"a"]).to_string();
        assert_eq!(ResId::parse(&id.to_uppercase()), None);
    }

    #[test]
    fn what_is_of_one_person_stands_together() {
        let shelf = |name: &str, part: &[u8]| {
            let tail = ResId::derived(Some(PatientKey::derive(&[7; 32], name)), 1, &[part]).tail();
            // The tail is right aligned in 96 bits.
            u32::from_be_bytes([tail[0], tail[1], tail[2], tail[3]]) >> 10
        };
        assert_eq!(shelf("Patient/1", b"a"), shelf("Patient/1", b"b"));
        assert_ne!(shelf("Patient/1", b"a"), shelf("Patient/2", b"a"));
    }

    #[test]
    fn parts_do_not_run_together_and_the_day_is_not_in_the_tail() {
        let id = |day, parts: &[&[u8]]| ResId::derived(None, day, parts);
        assert_ne!(id(1, &[b"ab", b"c"]).tail(), id(1, &[b"a", b"bc"]).tail());
        assert_eq!(id(1, &[b"ab"]).tail(), id(2, &[b"ab"]).tail());
    }
}
