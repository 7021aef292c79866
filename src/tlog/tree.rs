//! The Merkle tree of RFC 6962 §2.1, and the proofs as RFC 9162 §2.1.3 and §2.1.4 verify them.
//!
//! Hashes are asked for by the level and the number of a complete subtree: at level 3 the subtree 2 covers the entries 16
//! to 23. Whatever tree is cut out of such.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256.
pub type Hash = [u8; 32];

/// Root of the tree without entries: the hash of nothing.
pub const EMPTY: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// SHA-256 of the parts one after the other.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// What the log holds of a record: who knows the salt and the record can make it, nobody else learns anything by it.
pub fn commitment(salt: &[u8; 32], record: &[u8]) -> Hash {
    sha256(&[salt, record])
}

/// Hash of an entry.
pub fn leaf(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

pub(super) fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// Root of the first `size` entries.
pub fn root<E>(size: u64, complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size == 0 { Ok(EMPTY) } else { span(0, size, complete) }
}

/// The way from an entry to the root of the first `size` entries, from its sibling on (RFC 6962 §2.1.1).
pub fn inclusion<E>(
    index: u64,
    size: u64,
    complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(span(middle, to, complete)?);
            to = middle;
        } else {
            path.push(span(from, middle, complete)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// What shows that the tree of `new` entries begins with that of `old` (RFC 6962 §2.1.2).
pub fn consistency<E>(
    old: u64,
    new: u64,
    complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return Ok(path);
    }
    let (mut from, mut to) = (0, new);
    while to > old {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(span(middle, to, complete)?);
            to = middle;
        } else {
            path.push(span(from, middle, complete)?);
            from = middle;
        }
    }
    // Whoever verifies knows the old root already, if it is a subtree of the new tree.
    if from > 0 {
        path.push(span(from, to, complete)?);
    }
    path.reverse();
    Ok(path)
}

/// Hash over the entries of a subtree that begins where one of its size may.
fn span<E>(from: u64, to: u64, complete: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let count = to - from;
    if count.is_power_of_two() {
        let level = count.trailing_zeros() as u8;
        return complete(level, from >> level);
    }
    let middle = from + split(count);
    let left = span(from, middle, complete)?;
    let right = span(middle, to, complete)?;
    Ok(node(&left, &right))
}

/// The greatest power of two below `count`, which is at least two.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// RFC 9162 §2.1.3.2.
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// RFC 9162 §2.1.4.2. Every tree continues the empty one.
pub fn verify_consistency(old: u64, new: u64, old_root: &Hash, new_root: &Hash, path: &[Hash]) -> bool {
    if old == 0 {
        return *old_root == EMPTY && path.is_empty();
    }
    if old >= new {
        return old == new && path.is_empty() && old_root == new_root;
    }
    let mut path = path.iter();
    let seed = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(seed) = seed else { return false };
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let (mut older, mut newer) = (*seed, *seed);
    for hash in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            older = node(hash, &older);
            newer = node(hash, &newer);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            newer = node(&newer, hash);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && older == *old_root && newer == *new_root
}
