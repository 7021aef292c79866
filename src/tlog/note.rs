//! Signed notes (C2SP signed-note) by Ed25519 (RFC 8032), with keys written as Go's `note` package writes them.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Doubt;
use super::tree::sha256;

/// The type of signature that is an Ed25519 one over the text.
const ED25519_TYPE: u8 = 1;
/// More signatures than any note has.
const SIGNATURES: usize = 64;
/// What a private key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";
const DASH: &str = "\u{2014} ";

/// Signs notes.
pub struct Signer {
    verifier: Verifier,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// The name is the log's origin, without spaces or `+`.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Signer, Doubt> {
        // No seed of this length is refused.
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Doubt::Form("A seed of 32 bytes"))?;
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Ok(Signer { verifier: Verifier::new(name, key)?, pair })
    }

    /// A key for a new signer, as Go's `note` package writes it.
    pub fn written(name: &str, seed: &[u8; 32]) -> Result<String, Doubt> {
        let id = Signer::new(name, seed)?.verifier.printed_id();
        let key = STANDARD.encode([&[ED25519_TYPE][..], seed].concat());
        Ok(format!("{PRIVATE}{name}+{id}+{key}"))
    }

    /// Reads such a key.
    pub fn parse(text: &str) -> Result<Signer, Doubt> {
        let read = || {
            let mut parts = text.trim().strip_prefix(PRIVATE)?.splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let key = STANDARD.decode(key).ok()?;
            let seed: [u8; 32] = key.strip_prefix(&[ED25519_TYPE])?.try_into().ok()?;
            Signer::new(name, &seed).ok().filter(|signer| signer.verifier.printed_id() == id)
        };
        read().ok_or(Doubt::Form("A signer's key PRIVATE+KEY+NAME+ID+KEY of Ed25519"))
    }

    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The text, which ends with a line's end, as a note.
    pub fn sign(&self, text: &str) -> String {
        let signature = [&self.verifier.id[..], self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n{DASH}{} {}\n", self.verifier.name, STANDARD.encode(signature))
    }
}

/// The public half, by which notes are believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl Verifier {
    fn new(name: &str, key: [u8; 32]) -> Result<Verifier, Doubt> {
        if name.is_empty() || name.contains(|sign: char| sign.is_whitespace() || sign.is_control() || sign == '+') {
            return Err(Doubt::Form("A name without spaces or +"));
        }
        let hash = sha256(&[name.as_bytes(), b"\n", &[ED25519_TYPE], &key]);
        Ok(Verifier { name: name.to_owned(), id: [hash[0], hash[1], hash[2], hash[3]], key })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `name+id+key`, the id in eight hexadecimal digits.
    pub fn parse(text: &str) -> Result<Verifier, Doubt> {
        let read = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let key = STANDARD.decode(key).ok()?;
            let key: [u8; 32] = key.strip_prefix(&[ED25519_TYPE])?.try_into().ok()?;
            Verifier::new(name, key).ok().filter(|verifier| verifier.printed_id() == id)
        };
        read().ok_or(Doubt::Form("A verifier key NAME+ID+KEY of Ed25519"))
    }

    fn printed_id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The text of a note that this key has signed. Other keys' signatures, such as witnesses', are passed over.
    pub fn open<'n>(&self, note: &'n str) -> Result<&'n str, Doubt> {
        let form = Doubt::Form("A signed note: text, an empty line, signatures");
        if note.contains(|sign: char| sign.is_ascii_control() && sign != '\n') {
            return Err(form);
        }
        let at = note.rfind("\n\n").ok_or(form)?;
        let (text, signatures) = (&note[..=at], &note[at + 2..]);
        let lines = signatures.strip_suffix('\n').ok_or(form)?;
        let mut found = false;
        for line in lines.split('\n').take(SIGNATURES) {
            let (name, signature) = line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')).ok_or(form)?;
            let signature = STANDARD.decode(signature).map_err(|_| form)?;
            let (id, signature) = signature.split_at_checked(4).ok_or(form)?;
            if name == self.name && id == self.id {
                let key = UnparsedPublicKey::new(&ED25519, self.key);
                key.verify(text.as_bytes(), signature).map_err(|_| Doubt::Forged)?;
                found = true;
            }
        }
        if found { Ok(text) } else { Err(Doubt::Unsigned) }
    }
}

/// Whom a note names as its signers: name and id of each key. Whether they signed it is for whoever has the keys to say.
pub fn signers(note: &str) -> Vec<String> {
    let signatures = note.rfind("\n\n").map_or("", |at| &note[at + 2..]);
    let signer = |line: &str| {
        let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
        let signature = STANDARD.decode(signature).ok()?;
        let id: String = signature.get(..4)?.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{name}+{id}"))
    };
    signatures.lines().take(SIGNATURES).filter_map(signer).collect()
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = STANDARD.encode([&[ED25519_TYPE][..], &self.key].concat());
        write!(formatter, "{}+{}+{key}", self.name, self.printed_id())
    }
}
