//! The tree against another implementation of RFC 6962, the notes against what Go's `note` package documents, and whatever
//! was tampered with is not believed.

use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn entry(number: u64) -> Vec<u8> {
    commitment(&[number as u8; 32], &number.to_be_bytes()).to_vec()
}

/// A log kept in memory as a store keeps it: entries, and the roots of full tiles.
#[derive(Default)]
struct Kept {
    entries: Vec<Hash>,
    subtrees: Vec<Subtree>,
    edge: Edge,
}

impl Kept {
    fn of(size: u64) -> Self {
        let mut kept = Kept::default();
        for number in 0..size {
            let hash = leaf(&entry(number));
            kept.entries.push(hash);
            kept.edge.push(hash, &mut kept.subtrees);
        }
        kept
    }

    fn hashes(&self, level: u8, from: u64, count: u64) -> Vec<Hash> {
        (from..from + count)
            .map(|index| match level {
                0 => self.entries[index as usize],
                _ => self.subtrees.iter().find(|kept| (kept.level, kept.index) == (level, index)).unwrap().root,
            })
            .collect()
    }

    fn complete(&self) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> + '_ {
        |level, index| subtree(level, index, &mut |level, from, count| Ok(self.hashes(level, from, count)))
    }

    fn root(&self, size: u64) -> Hash {
        root(size, &mut self.complete()).unwrap()
    }
}

fn oracle(size: u64) -> Oracle {
    let mut tree = Oracle::new();
    (0..size).for_each(|number| tree.push(entry(number)));
    tree
}

/// Sizes around full tiles, and everything small.
fn sizes() -> Vec<u64> {
    (1..=20).chain([255, 256, 257, 300, 511, 512, 513, 1000]).collect()
}

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    for size in sizes() {
        let (kept, oracle) = (Kept::of(size), oracle(size));
        let root_there = oracle.root();
        let root = kept.root(size);
        assert_eq!(root.as_slice(), root_there.as_bytes().as_slice(), "{size}");
        for index in (0..size).step_by(1 + size as usize / 25) {
            let path = inclusion(index, size, &mut kept.complete()).unwrap();
            assert_eq!(path.concat(), oracle.prove_inclusion(index as usize).as_bytes(), "{index} of {size}");
            assert!(verify_inclusion(index, size, &leaf(&entry(index)), &path, &root), "{index} of {size}");
        }
        for old in (1..size).step_by(1 + size as usize / 25) {
            let path = consistency(old, size, &mut kept.complete()).unwrap();
            let there = oracle.prove_consistency((size - old) as usize);
            assert_eq!(path.concat(), there.as_bytes(), "{old} to {size}");
            assert!(verify_consistency(old, size, &kept.root(old), &root, &path), "{old} to {size}");
        }
    }
    assert_eq!(Kept::default().root(0), EMPTY);
}

#[test]
fn an_edge_goes_on_where_it_was_left() {
    let whole = Kept::of(70_000);
    for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999] {
        let at_edge = |(level, (from, count)): (usize, (u64, u64))| whole.hashes(level as u8, from, count);
        let mut edge = Edge::resume(size, levels(size).enumerate().map(at_edge).collect());
        let mut later = Vec::new();
        for index in size..70_000 {
            edge.push(whole.entries[index as usize], &mut later);
        }
        assert_eq!(edge, whole.edge, "{size}");
        assert_eq!(edge.root(), whole.root(70_000));
        assert_eq!(Kept::of(size % 2000).edge.root(), whole.root(size % 2000), "{size}");
        assert!(whole.subtrees.ends_with(&later), "{size}");
    }
}

#[test]
fn tiles_are_where_the_specification_puts_them() {
    for (text, content, index, width) in [
        ("0/000", Content::Hashes(0), 0, 256),
        ("0/x001/x234/067", Content::Hashes(0), 1_234_067, 256),
        ("1/000.p/17", Content::Hashes(1), 0, 17),
        ("entries/x001/000.p/1", Content::Entries, 1000, 1),
    ] {
        assert_eq!(Address::parse(text), Ok(Address { content, index, width }));
        assert_eq!(Address { content, index, width }.to_string(), format!("tile/{text}"));
    }
    for text in [
        "",
        "0",
        "0/",
        "0/0",
        "0/0000",
        "0/x000/001",
        "64/000",
        "-1/000",
        "00/000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000/",
        "0/001/002",
        "0/+01",
    ] {
        assert!(Address::parse(text).is_err(), "{text}");
    }
    // The example of the specification: 70 000 entries.
    let all: Vec<Address> = Address::all(70_000).filter(|tile| tile.content != Content::Entries).collect();
    let count =
        |level, width| all.iter().filter(|tile| (tile.content, tile.width) == (Content::Hashes(level), width)).count();
    assert_eq!((count(0, 256), count(0, 112), count(1, 256), count(1, 17), count(2, 1)), (273, 1, 1, 1, 1));
    assert_eq!(all.len(), 277);
}

/// The key and the note that the documentation of Go's `golang.org/x/mod/sumdb/note` shows.
#[test]
fn notes_are_those_of_other_programs() {
    let key = Verifier::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let signed = format!(
        "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    );
    assert_eq!(key.open(&signed), Ok(text));
    assert_eq!(key.open(&signed.replace("answer", "Answer")), Err(Doubt::Forged));
    assert_eq!(key.open(&signed.replace("PeterNeumann", "Somebody")), Err(Doubt::Unsigned));
    assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
}

#[test]
fn a_signer_is_written_down_and_read_again() {
    let text = Signer::written("health.example", &[3; 32]).unwrap();
    let read = Signer::parse(&format!("{text}\n")).unwrap();
    assert_eq!(read.verifier(), Signer::new("health.example", &[3; 32]).unwrap().verifier());
    for wrong in ["", "health.example+00000000+AA==", &text.replace("health", "other"), &text[..text.len() - 8]] {
        assert!(Signer::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_has_not_the_form_is_not_believed() {
    let signer = signer();
    for key in ["", "a+b+c", "name+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"] {
        assert!(Verifier::parse(key).is_err(), "{key}");
    }
    for name in ["", "a b", "a+b", "a\n"] {
        assert!(Signer::new(name, &[1; 32]).is_err(), "{name}");
    }
    let note = signer.sign("log\n0\nAAAA\n");
    for broken in ["", "\n\n", "text", &note.replace('\u{2014}', "-"), &note[..note.len() - 1], &format!("{note}\r")] {
        assert!(signer.verifier().open(broken).is_err(), "{broken}");
    }
    for text in ["", "log\n1\n", "log\n01\nAAAA\n", "\n1\nAAAA\n"] {
        assert!(Checkpoint::parse(text).is_err(), "{text}");
    }
    assert_eq!(Checkpoint::open(&signer.sign(&checkpoint("another", 1).text()), signer.verifier()), Err(Doubt::Origin));
}

fn signer() -> Signer {
    Signer::new("gateway.example/log", &[7; 32]).unwrap()
}

fn checkpoint(origin: &str, size: u64) -> Checkpoint {
    Checkpoint { origin: origin.to_owned(), size, root: Kept::of(size).root(size) }
}

/// The proof of a record in a log of that size, whose other entries are arbitrary.
fn proof(index: u64, size: u64, record: &[u8]) -> Proof {
    let salt = [3; 32];
    let mut kept = Kept::default();
    for number in 0..size {
        let entry = if number == index { commitment(&salt, record).to_vec() } else { entry(number) };
        kept.entries.push(leaf(&entry));
        kept.edge.push(leaf(&entry), &mut kept.subtrees);
    }
    let head = Checkpoint { origin: "gateway.example/log".to_owned(), size, root: kept.root(size) };
    Proof {
        extra: Extra { salt, record: record.to_vec() },
        index,
        path: inclusion(index, size, &mut kept.complete()).unwrap(),
        checkpoint: signer().sign(&head.text()),
    }
}

proptest! {
    #[test]
    fn a_proof_holds_for_its_record_and_for_nothing_else(
        (size, index) in (1_u64..600).prop_flat_map(|size| (Just(size), 0..size)),
        record in proptest::collection::vec(any::<u8>(), 0..80),
        at in any::<prop::sample::Index>(), flip in 1_u8..128,
    ) {
        let signer = signer();
        let text = proof(index, size, &record).to_string();
        let shown = Proof::parse(&text).unwrap().verify(signer.verifier()).unwrap();
        prop_assert_eq!((shown.index, &shown.record, shown.checkpoint.size), (index, &record, size));
        let mut changed = text.clone().into_bytes();
        let place = at.index(changed.len());
        changed[place] ^= flip;
        if let Ok(changed) = String::from_utf8(changed)
            && let Ok(proof) = Proof::parse(&changed)
            && let Ok(other) = proof.verify(signer.verifier())
        {
            prop_assert_eq!(other, shown);
        }
    }

    #[test]
    fn a_tree_that_was_rewritten_is_not_a_continuation(
        (new, old) in (2_u64..600).prop_flat_map(|new| (Just(new), 1..new)), changed in any::<prop::sample::Index>(),
    ) {
        let before = Kept::of(old).root(old);
        let mut rewritten = Kept::default();
        let changed = changed.index(old as usize) as u64;
        for number in 0..new {
            let hash = leaf(&entry(if number == changed { number + 1_000_000 } else { number }));
            rewritten.entries.push(hash);
            rewritten.edge.push(hash, &mut rewritten.subtrees);
        }
        let path = consistency(old, new, &mut rewritten.complete()).unwrap();
        prop_assert!(!verify_consistency(old, new, &before, &rewritten.root(new), &path));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "(c2sp\\.org/tlog-proof@v1\n)?(extra [A-Za-z0-9+/=]{0,60}\n)?(index [0-9]{1,20}\n)?\\PC{0,40}\n{0,2}\\PC{0,40}\n") {
        drop(Proof::parse(&text).map(|proof| proof.verify(signer().verifier())));
        let _ = Address::parse(&text);
        drop(Verifier::parse(&text));
    }
}
