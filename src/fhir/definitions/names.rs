//! Maps from the names that definitions give: types, canonicals, codes.
//!
//! What is looked up many times for each element must cost little, and the keys that are *in* such a map come from the
//! packages that the operator chose and never from a sender: so the hash is quick and needs no secret. Maps whose keys
//! a sender chooses are the standard library's.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub type NameMap<K, V> = HashMap<K, V, BuildHasherDefault<NameHasher>>;
pub type NameSet<K> = HashSet<K, BuildHasherDefault<NameHasher>>;

/// Folds eight bytes at a time into a product.
#[derive(Clone, Copy, Default, Debug)]
pub struct NameHasher(u64);

/// The golden ratio's bits: odd, and no simple pattern.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl NameHasher {
    fn fold(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.fold(rest << 8 | bytes.len() as u64 & 0xFF);
    }

    fn write_u8(&mut self, byte: u8) {
        // What the standard library puts behind a text tells nothing that its length has not told.
        if byte != 0xFF {
            self.fold(u64::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        // The product's low bits are the weak ones, and a table reads both ends.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn names_spread() {
        let names: Vec<String> = (0..4096)
            .flat_map(|at| [format!("http://hl7.org/fhir/StructureDefinition/{at}"), format!("{at}"), "x".repeat(at)])
            .collect();
        let build = BuildHasherDefault::<NameHasher>::default();
        let hashes: HashSet<u64> = names.iter().map(|name| build.hash_one(name.as_str())).collect();
        let distinct: HashSet<&String> = names.iter().collect();
        assert_eq!(hashes.len(), distinct.len());
        for bits in [0, 57] {
            let buckets: HashSet<u64> = hashes.iter().map(|hash| hash >> bits & 0x7F).collect();
            assert_eq!(buckets.len(), 128, "bits from {bits}");
        }
    }
}
