//! Sealing: what is kept of a person can be read with that person's key alone.
//!
//! AES-256-GCM with a random nonce for each text (NIST SP 800-38D, 8.2.2), which is safe for 2^32 texts of one key: more
//! than one person ever has. What a text is and whose is bound to it as associated data, so that a sealed row that is moved
//! elsewhere is not opened. Where keys lie and who has which is not known here.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

pub(crate) const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// A key that seals and opens. It prints nothing, and cannot be got out again.
pub(crate) struct Key(RandomizedNonceKey);

/// Something could not be sealed, or is not what was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sealed text cannot be opened with its key")
    }
}

impl std::error::Error for Broken {}

impl Key {
    pub(crate) fn new(bytes: &[u8; KEY_BYTES]) -> Result<Self, Broken> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes).map(Self).map_err(|_| Broken)
    }

    /// The sealed text, its tag and its nonce, in this order.
    pub(crate) fn seal(&self, identity: &[u8], text: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut sealed = Vec::with_capacity(text.len() + TAG_BYTES + NONCE_LEN);
        sealed.extend_from_slice(text);
        let nonce = self.0.seal_in_place_append_tag(Aad::from(identity), &mut sealed).map_err(|_| Broken)?;
        sealed.extend_from_slice(nonce.as_ref());
        Ok(sealed)
    }

    pub(crate) fn open(&self, identity: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, Broken> {
        let (_, nonce) = sealed.split_last_chunk::<NONCE_LEN>().ok_or(Broken)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        sealed.truncate(sealed.len() - NONCE_LEN);
        let length = self.0.open_in_place(nonce, Aad::from(identity), &mut sealed).map_err(|_| Broken)?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_the_same_text_of_the_same_thing() {
        let key = Key::new(&[1; KEY_BYTES]).unwrap();
        let sealed = key.seal(b"row 1", b"72 /min").unwrap();
        assert_eq!(key.open(b"row 1", sealed.clone()), Ok(b"72 /min".to_vec()));
        assert_ne!(key.seal(b"row 1", b"72 /min").unwrap(), sealed, "each has a nonce of its own");
        assert_eq!(key.open(b"row 2", sealed.clone()), Err(Broken));
        assert_eq!(Key::new(&[2; KEY_BYTES]).unwrap().open(b"row 1", sealed.clone()), Err(Broken));
        for length in 0..sealed.len() {
            assert_eq!(key.open(b"row 1", sealed[..length].to_vec()), Err(Broken), "{length}");
        }
        for place in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[place] ^= 1;
            assert_eq!(key.open(b"row 1", bent), Err(Broken), "{place}");
        }
        assert_eq!(key.open(b"", key.seal(b"", b"").unwrap()), Ok(Vec::new()));
    }
}
