//! Versions of resources as a column of bytes: each the distance of its sequence number from the one before and the version,
//! in groups of seven bits, the lowest first (LEB128). What came in together has numbers in a row, and takes two bytes each.

/// Sequence numbers and versions.
pub(super) fn packed_items(items: &[(u64, u32)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(items.len() * 2 + 8);
    let mut before = 0;
    for (seq, version) in items {
        push(&mut bytes, folded(seq.wrapping_sub(before)));
        push(&mut bytes, u64::from(*version));
        before = *seq;
    }
    bytes
}

pub(super) fn named_items(bytes: &[u8]) -> Vec<(u64, u32)> {
    let mut rest = bytes.iter();
    let mut items = Vec::new();
    let mut before = 0_u64;
    while let (Some(distance), Some(version)) = (next(&mut rest), next(&mut rest)) {
        before = before.wrapping_add(unfolded(distance));
        items.push((before, version as u32));
    }
    items
}

/// Small distances are small numbers in either direction.
fn folded(distance: u64) -> u64 {
    distance << 1 ^ ((distance as i64) >> 63) as u64
}

fn unfolded(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn next<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(items in any::<Vec<(u64, u32)>>()) {
            assert_eq!(named_items(&packed_items(&items)), items);
        }

        #[test]
        fn whatever_lies_there_ends(bytes in any::<Vec<u8>>()) {
            let _ = named_items(&bytes);
        }
    }

    #[test]
    fn numbers_in_a_row_take_two_bytes_each() {
        let items: Vec<(u64, u32)> = (1_000_000..1_000_100).map(|seq| (seq, 1)).collect();
        assert_eq!(packed_items(&items).len(), 2 * 99 + 4);
    }
}
