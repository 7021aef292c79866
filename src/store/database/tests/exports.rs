//! Exports: a cut that divides what comes, and work that is shared and done once.

use super::*;
use crate::store::{ExportJob, ExportPiece, ExportPlace, ExportState, ExportStep, Fenced};

const CUT_MS: i64 = NOW_MS + 10;

fn job(number: u8) -> ExportJob {
    ExportJob {
        id: [number; 16],
        client: "reader".into(),
        about: b"about".to_vec(),
        persons: None,
        nobodys: false,
        secret: [number; 32],
        cut_ms: CUT_MS,
        state: ExportState::Working,
        lines: 0,
        told: 0,
        failure: None,
        created_ms: CUT_MS,
        until_ms: CUT_MS + 1000,
    }
}

fn later(mut write: Write, updated_ms: i64) -> Write {
    write.updated_ms = updated_ms;
    write
}

async fn versions(fixture: &Fixture, person: PatientKey) -> Vec<u32> {
    let standing = fixture.store.standing(Some(person), 0, CUT_MS).await.unwrap();
    standing.into_iter().map(|one| one.version).collect()
}

#[tokio::test]
async fn what_was_changed_since_is_found_without_the_rest() {
    for fixture in Fixture::both() {
        let kinds = || vec!["Observation".into(), "Patient".into()];
        assert_eq!(fixture.store.changed_since(kinds(), 0, 5).await.unwrap(), Some(Vec::new()), "there is nothing");
        for number in [2, 1] {
            for name in ["old", "new"] {
                let moment = if name == "new" { NOW_MS + 5 } else { NOW_MS };
                fixture.put(later(observation(patient(number), name, name), moment)).await;
            }
        }
        let nobodys = Write { patient: None, ..later(observation(patient(3), "nobody", "x"), NOW_MS + 6) };
        fixture.put(nobodys).await;
        fixture.put(later(update(observation(patient(1), "old", "old"), 1, "mended"), CUT_MS + 1)).await;
        let changed = fixture.store.changed_since(kinds(), NOW_MS, 4).await.unwrap().unwrap();
        let mut wanted = vec![(None, 5), (Some(patient(1)), 3), (Some(patient(1)), 4), (Some(patient(2)), 2)];
        wanted.sort_unstable();
        assert_eq!(changed, wanted);
        assert_eq!(fixture.store.changed_since(kinds(), NOW_MS, 3).await.unwrap(), None, "more than that");
        assert_eq!(fixture.store.changed_since(vec!["Patient".into()], 0, 3).await.unwrap(), Some(Vec::new()));
        let stood = fixture.store.standing_of(vec![3, 4, 99], CUT_MS).await.unwrap();
        assert_eq!(stood.iter().map(|one| (one.seq, one.version)).collect::<Vec<_>>(), [(3, 1), (4, 1)]);
    }
}

#[tokio::test]
async fn a_cut_divides_what_was_from_what_comes() {
    for fixture in Fixture::both() {
        let person = patient(1);
        let (first, second) = (observation(person, "1", "one"), observation(person, "2", "two"));
        fixture.put(first.clone()).await;
        fixture.put(second.clone()).await;
        fixture.put(later(update(second.clone(), 1, "two, mended"), CUT_MS)).await;
        assert!(fixture.store.create_export(job(1), 1, 1, audit_record()).await.unwrap());
        assert!(!fixture.store.create_export(job(2), 1, 1, audit_record()).await.unwrap(), "one at a time");
        assert_eq!(versions(&fixture, person).await, [1, 2]);
        // What was decided before the cut is decided again.
        let late = observation(person, "3", "three");
        assert_eq!(fixture.accept(unit(vec![late.clone()])).await, Accepted::Stale);
        fixture.put(later(late, CUT_MS + 1)).await;
        fixture.put(later(update(first, 1, "one, mended"), CUT_MS + 1)).await;
        assert_eq!(versions(&fixture, person).await, [1, 2], "it stands as it stood");
        let standing = fixture.store.standing(Some(person), 0, CUT_MS).await.unwrap();
        let asked = standing.iter().map(|one| (one.seq, one.version)).collect();
        let read = fixture.store.standing_versions(asked).await.unwrap();
        assert_eq!(read.rows.into_iter().map(|one| one.payload).collect::<Vec<_>>(), [&b"one"[..], b"two, mended"]);
    }
}

#[tokio::test]
async fn slots_are_shared_out_and_a_lost_lease_adds_nothing() {
    for fixture in Fixture::both() {
        let store = &fixture.store;
        let mut persons = Vec::new();
        for number in 0..20 {
            fixture.put(observation(patient(number), &number.to_string(), "one")).await;
            persons.push(patient(number));
        }
        persons.sort_unstable();
        let mut found = Vec::new();
        for slot in 0..16 {
            let mut last = None;
            while let Some(person) = store.next_exported(slot, last).await.unwrap() {
                found.push(person);
                last = Some(person);
            }
        }
        assert_eq!(found, persons, "each is in one slot");

        store.create_export(job(1), 2, 1, audit_record()).await.unwrap();
        let lease = async |worker: &str, at_ms| store.lease_export(worker, at_ms, 100).await.unwrap();
        let (_, one) = lease("one", 0).await.unwrap();
        let (_, other) = lease("other", 0).await.unwrap();
        assert_ne!(one.slot, other.slot);
        let line = ExportPiece { kind: "Observation".into(), gone: false, lines: vec![(1, 1), (2, 1)] };
        let step = |to: Option<ExportPlace>| ExportStep { pieces: vec![line.clone()], to, ..ExportStep::default() };
        let place = ExportPlace { person: Some(persons[0]), seq: 7 };
        assert_eq!(store.advance_export(&one, step(Some(place.clone())), 100).await.unwrap(), Fenced::Held);
        // Who was silent for too long loses it, and what it does then is not kept.
        let mut taken = lease("third", 101).await.unwrap().1;
        if taken.slot != one.slot {
            taken = lease("third", 101).await.unwrap().1;
        }
        assert_eq!((taken.slot, taken.after.as_ref()), (one.slot, Some(&place)));
        assert_eq!(store.advance_export(&one, step(None), 300).await.unwrap(), Fenced::Lost);
        assert_eq!(store.advance_export(&taken, step(None), 300).await.unwrap(), Fenced::Held);
        assert_eq!(store.export(job(1).id).await.unwrap().unwrap().lines, 4);
        let pieces = store.export_pieces(job(1).id).await.unwrap();
        assert_eq!(pieces.len(), 2);
        assert_eq!(store.export_lines(job(1).id, &pieces[0]).await.unwrap().unwrap(), line.lines);

        // The second time begins when the first is over everywhere.
        let mut phases = Vec::new();
        while let Some((_, part)) = lease("last", 10_000).await {
            phases.push(part.phase);
            let done = ExportStep { keep_until_ms: CUT_MS + 5, ..ExportStep::default() };
            assert_eq!(store.advance_export(&part, done, 0).await.unwrap(), Fenced::Held);
        }
        assert_eq!((phases.len(), phases.is_sorted(), phases.last()), (31, true, Some(&1)));
        assert_eq!(store.export(job(1).id).await.unwrap().unwrap().state, ExportState::Finished);
        assert_eq!(store.expire_exports(CUT_MS + 4).await.unwrap(), 0);
        assert_eq!(store.expire_exports(CUT_MS + 5).await.unwrap(), 1);
        assert_eq!(store.export(job(1).id).await.unwrap(), None);
        assert_eq!(store.export_pieces(job(1).id).await.unwrap(), []);
    }
}
