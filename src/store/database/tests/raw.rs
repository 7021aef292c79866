//! Raw inputs: kept once, sealed, noted only by whoever saw them as they are, and forgotten.

use super::{Fixture, NOW_MS, observation, patient, unit};
use crate::store::{Accepted, Finished, Raw, RawInput, RawStep, Reread, Rereading, Store, Unit, WriteOutcome};

const MARKER: &str = "what came in, word for word";

fn input(number: u8, at_ms: i64) -> RawInput {
    RawInput {
        at_ms,
        patient: patient(1),
        format: "band".into(),
        version: "1.0.0".into(),
        digest: [number; 16],
        made: b"[]".to_vec(),
        body: format!("{MARKER} {number}").into_bytes().into(),
        forget_before_ms: NOW_MS - 1000,
    }
}

fn doing(step: RawStep) -> Unit {
    let finish = move |_: &[WriteOutcome]| Finished { raw: Some(step), ..Finished::default() };
    Unit { finish: Box::new(finish), ..unit(Vec::new()) }
}

async fn bodies(store: &Store) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for head in store.raw_heads(0, 100).await.unwrap() {
        let Raw { body, .. } = store.raw(head.number).await.unwrap().unwrap();
        found.push((head.number, String::from_utf8(body).unwrap()));
    }
    found
}

#[tokio::test]
async fn an_input_is_kept_once_and_sealed() {
    for fixture in Fixture::both() {
        for number in [1, 2, 1] {
            fixture.accept(doing(RawStep::Keep(input(number, NOW_MS)))).await;
        }
        let expected = [(1, format!("{MARKER} 1")), (2, format!("{MARKER} 2"))];
        assert_eq!(bodies(&fixture.store).await, expected);
        assert_eq!(fixture.store.raw_heads(1, 100).await.unwrap().len(), 1);
        for entry in std::fs::read_dir(fixture.dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()));
        }
        // Another client may send the same.
        let other = Unit { client: "other".into(), ..doing(RawStep::Keep(input(1, NOW_MS))) };
        fixture.accept(other).await;
        assert_eq!(bodies(&fixture.store).await.len(), 3);
        fixture.store.shred(patient(1)).await.unwrap();
        assert_eq!(fixture.store.raw_heads(0, 100).await.unwrap(), []);
    }
}

#[tokio::test]
async fn only_who_saw_it_as_it_is_notes_what_came_of_it() {
    for fixture in Fixture::both() {
        fixture.accept(doing(RawStep::Keep(input(1, NOW_MS)))).await;
        let note = |from: &str, to: &str| {
            let reread = Reread { number: 1, version: to.into(), made: to.as_bytes().to_vec() };
            let write = observation(patient(1), to, to);
            let unit = doing(RawStep::Note(reread));
            Unit { rereading: Some(Rereading { number: 1, from: from.to_owned() }), writes: vec![write], ..unit }
        };
        let outcomes = |accepted: Accepted| matches!(accepted, Accepted::Done { .. });
        assert!(outcomes(fixture.accept(note("1.0.0", "1.1.0")).await));
        assert_eq!(fixture.accept(note("1.0.0", "1.2.0")).await, Accepted::Overtaken);
        assert!(outcomes(fixture.accept(note("1.1.0", "1.2.0")).await));
        let raw = fixture.store.raw(1).await.unwrap().unwrap();
        assert_eq!((raw.head.version.as_str(), raw.made.as_slice()), ("1.2.0", b"1.2.0".as_slice()));
        assert_eq!(fixture.count("Observation").await, 2, "what was overtaken wrote nothing");
        let gone =
            Unit { rereading: Some(Rereading { number: 7, from: "1.0.0".to_owned() }), ..note("1.2.0", "2.0.0") };
        assert_eq!(fixture.accept(gone).await, Accepted::Overtaken);
    }
}

#[tokio::test]
async fn a_rehearsal_says_what_would_happen_and_keeps_nothing() {
    for fixture in Fixture::both() {
        fixture.put(observation(patient(1), "there", "1")).await;
        let audits = fixture.audits().await;
        let writes = || vec![observation(patient(1), "there", "1"), observation(patient(1), "new", "2")];
        let rehearsed = fixture.accept(Unit { rehearsal: true, atomic: false, ..unit(writes()) }).await;
        let Accepted::Done { outcomes } = rehearsed else { panic!("{rehearsed:?}") };
        assert!(matches!(outcomes[..], [WriteOutcome::Existing { .. }, WriteOutcome::Created]), "{outcomes:?}");
        assert_eq!((fixture.count("Observation").await, fixture.audits().await), (1, audits));
        let done = fixture.accept(Unit { atomic: false, ..unit(writes()) }).await;
        assert_eq!(done, Accepted::Done { outcomes });
    }
}

#[tokio::test]
async fn inputs_are_forgotten_as_new_ones_come_and_as_time_goes_by() {
    for fixture in Fixture::both() {
        for number in 1..=5 {
            let forget_before_ms = i64::MIN;
            let old = RawInput { forget_before_ms, ..input(number, NOW_MS - 5000) };
            fixture.accept(doing(RawStep::Keep(old))).await;
        }
        fixture.accept(doing(RawStep::Keep(input(6, NOW_MS)))).await;
        assert_eq!(bodies(&fixture.store).await.len(), 4, "twice as fast as they come");
        assert_eq!(fixture.store.expire_raw(NOW_MS - 1000).await.unwrap(), 3);
        assert_eq!(bodies(&fixture.store).await, [(6, format!("{MARKER} 6"))]);
    }
}
