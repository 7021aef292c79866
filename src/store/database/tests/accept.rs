//! What one transaction keeps, and what it refuses to keep twice.

use super::*;
use crate::store::{CodeKey, Error, IdempotencyKey, Precondition};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_thing_sent_at_once_is_created_once() {
    for fixture in Fixture::both() {
        fixture.store.ensure_destination("nhs").await.unwrap();
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let store = fixture.store.clone();
                tokio::spawn(async move { store.accept(unit(vec![observation(patient(1), "a", "72")])).await.unwrap() })
            })
            .collect();
        let mut created = 0;
        for task in tasks {
            let Accepted::Done { outcomes } = task.await.unwrap() else { panic!("not done") };
            match outcomes[..] {
                [WriteOutcome::Created] => created += 1,
                [WriteOutcome::Existing { version: 1, updated_ms: NOW_MS }] => {}
                _ => panic!("{outcomes:?}"),
            }
        }
        assert_eq!((created, fixture.audits().await), (1, 64));
        assert_eq!(fixture.store.backlog("nhs").await.unwrap().behind, 1);

        let other = fixture.accept(unit(vec![observation(patient(1), "a", "73")])).await;
        assert_eq!(other, Accepted::RolledBack { outcomes: vec![WriteOutcome::Conflict { version: 1 }] });
    }
}

#[tokio::test]
async fn an_atomic_conflict_leaves_only_its_audit() {
    for fixture in Fixture::both() {
        fixture.store.ensure_destination("nhs").await.unwrap();
        fixture.put(observation(patient(1), "b", "1")).await;
        let writes = || vec![observation(patient(1), "a", "1"), observation(patient(1), "b", "2")];

        let accepted = fixture.accept(unit(writes())).await;
        let conflict = WriteOutcome::Conflict { version: 1 };
        assert_eq!(accepted, Accepted::RolledBack { outcomes: vec![WriteOutcome::Created, conflict] });
        let behind = fixture.store.backlog("nhs").await.unwrap().behind;
        assert_eq!((fixture.count("Observation").await, fixture.audits().await, behind), (1, 2, 1));

        let accepted = fixture.accept(Unit { atomic: false, ..unit(writes()) }).await;
        assert_eq!(accepted, Accepted::Done { outcomes: vec![WriteOutcome::Created, conflict] });
        assert_eq!(fixture.count("Observation").await, 2);
    }
}

#[tokio::test]
async fn an_idempotency_key_replays_or_is_refused() {
    for fixture in Fixture::both() {
        let keyed = |client: &str, hash: u8, name: &str| Unit {
            client: client.into(),
            idempotency: Some(IdempotencyKey { key: "k".to_owned(), hash: [hash; 32] }),
            ..unit(vec![observation(patient(1), name, "1")])
        };
        let done = Accepted::Done { outcomes: vec![WriteOutcome::Created] };
        assert_eq!(fixture.accept(keyed("app", 1, "a")).await, done);
        assert_eq!(fixture.accept(keyed("app", 1, "a")).await, Accepted::Replayed { response: vec![1] });
        assert_eq!(fixture.accept(keyed("app", 2, "b")).await, Accepted::KeyReused);
        assert_eq!(fixture.accept(keyed("other", 2, "b")).await, done, "keys are a client's own");
        assert_eq!(fixture.audits().await, 2);
    }
}

#[tokio::test]
async fn consents_move_the_epoch_and_stale_decisions_are_refused() {
    for fixture in Fixture::both() {
        let decided = |epoch, name: &str| Unit {
            preconditions: vec![Precondition::ConsentEpoch { patient: patient(1), epoch }],
            ..unit(vec![observation(patient(1), name, "1")])
        };
        let done = Accepted::Done { outcomes: vec![WriteOutcome::Created] };
        assert_eq!(fixture.accept(decided(0, "a")).await, done);
        fixture.put(consent(patient(1), "c")).await;
        assert_eq!(fixture.accept(decided(0, "b")).await, Accepted::Stale);
        assert_eq!(fixture.accept(decided(1, "b")).await, done);
        let (epoch, found) = fixture.store.consents(patient(1)).await.unwrap();
        assert_eq!((epoch, found.len()), (1, 1));
        assert_eq!(fixture.store.consents(patient(2)).await.unwrap(), (0, Vec::new()));

        // A consent that from now on speaks of another patient concerns both.
        fixture.put(Write { patient: Some(patient(2)), ..update(consent(patient(1), "c"), 1, "moved") }).await;
        let epochs = |consents: (u64, Vec<_>)| (consents.0, consents.1.len());
        let first = epochs(fixture.store.consents(patient(1)).await.unwrap());
        let second = epochs(fixture.store.consents(patient(2)).await.unwrap());
        assert_eq!((first, second), ((2, 0), (1, 1)));

        let gone = Write { patient: Some(patient(2)), delete: true, ..update(consent(patient(1), "c"), 2, "") };
        fixture.put(gone).await;
        assert_eq!(epochs(fixture.store.consents(patient(2)).await.unwrap()), (2, 0));
    }
}

/// Whoever has asked before asks the store again after each of these.
#[tokio::test]
async fn a_store_that_nobody_else_writes_knows_that_somebody_said_something() {
    for fixture in Fixture::both() {
        let store = &fixture.store;
        if fixture.place.server.is_some() {
            assert_eq!(store.said_so_far(), None);
            continue;
        }
        let so_far = || store.said_so_far().unwrap();
        let mut before = so_far();
        fixture.put(observation(patient(1), "a", "1")).await;
        assert_eq!(so_far(), before);
        let mut is_told = |what: &str| {
            assert!(so_far() > before, "{what}");
            before = so_far();
        };
        fixture.put(consent(patient(1), "c")).await;
        is_told("a consent");
        fixture.put(update(consent(patient(1), "c"), 1, "2")).await;
        is_told("another version");
        fixture.put(Write { delete: true, ..update(consent(patient(1), "c"), 2, "") }).await;
        is_told("a consent that is deleted");
        store.restrict(patient(1), true, 5, audit_record()).await.unwrap();
        is_told("a restriction");
        store.restrict(patient(1), false, 6, audit_record()).await.unwrap();
        is_told("a restriction that ends");
        begin_erasure(&fixture, 1).await;
        is_told("an erasure");
    }
}

#[tokio::test]
async fn an_update_keeps_the_past_and_a_deletion_too() {
    for fixture in Fixture::both() {
        let first = observation(patient(1), "a", "one");
        let logical_id = first.id.to_string();
        fixture.put(first.clone()).await;
        fixture.put(update(first.clone(), 1, "two")).await;

        let late = fixture.accept(unit(vec![update(first.clone(), 1, "late")])).await;
        assert_eq!(late, Accepted::RolledBack { outcomes: vec![WriteOutcome::VersionMismatch { actual: 2 }] });
        let unknown = fixture.accept(unit(vec![update(observation(patient(1), "x", "x"), 1, "x")])).await;
        assert_eq!(unknown, Accepted::RolledBack { outcomes: vec![WriteOutcome::VersionMismatch { actual: 0 }] });

        fixture.put(Write { delete: true, ..update(first.clone(), 2, "") }).await;
        let again = fixture.accept(unit(vec![first])).await;
        assert_eq!(again, Accepted::RolledBack { outcomes: vec![WriteOutcome::Conflict { version: 3 }] });
        for (version, payload, deleted) in [(1, "one", false), (2, "two", false), (3, "", true)] {
            let found = fixture.store.read_version("Observation", &logical_id, version).await.unwrap().unwrap();
            assert_eq!((found.version, &found.payload[..], found.deleted), (version, payload.as_bytes(), deleted));
        }
        assert!(fixture.store.read("Observation", &logical_id).await.unwrap().unwrap().deleted);
        assert_eq!(fixture.store.read("Patient", &logical_id).await.unwrap(), None);
        assert_eq!(fixture.count("Observation").await, 0);
    }
}

#[tokio::test]
async fn a_chosen_name_belongs_to_one_resource() {
    for fixture in Fixture::both() {
        let named = |id: &str| Write { name: Some("abc".to_owned()), ..observation(patient(1), id, "1") };
        fixture.put(named("a")).await;
        let found = fixture.store.read("Observation", "abc").await.unwrap().unwrap();
        assert_eq!((found.id, found.logical_id()), (id(patient(1), "a"), "abc".to_owned()));
        assert_eq!(fixture.store.read("Observation", &found.id.to_string()).await.unwrap(), None);
        let other = fixture.accept(unit(vec![named("b")])).await;
        assert_eq!(other, Accepted::RolledBack { outcomes: vec![WriteOutcome::Conflict { version: 1 }] });
        let clash = Write { kind: "Condition".into(), ..observation(patient(1), "a", "1") };
        let accepted = fixture.accept(unit(vec![clash])).await;
        assert_eq!(accepted, Accepted::RolledBack { outcomes: vec![WriteOutcome::Conflict { version: 1 }] });
    }
}

#[tokio::test]
async fn a_panic_in_finish_hurts_only_its_unit() {
    for fixture in Fixture::both() {
        let broken =
            Unit { finish: Box::new(|_| panic!("on purpose")), ..unit(vec![observation(patient(1), "a", "1")]) };
        assert!(matches!(fixture.store.accept(broken).await, Err(Error::Finish)));
        assert_eq!(fixture.count("Observation").await, 0);
        fixture.put(observation(patient(1), "a", "1")).await;
    }
}

#[tokio::test]
async fn everything_survives_a_restart() {
    for fixture in Fixture::both() {
        let secret = fixture.store.secret("page").unwrap();
        fixture.put(observation(patient(1), "a", "1")).await;
        fixture.put(consent(patient(1), "c")).await;
        fixture.store.put_client("app", "{}").await.unwrap();
        assert!(fixture.store.remember_jti("iss", "1", NOW_MS + 10, NOW_MS).await.unwrap());

        let fixture = fixture.reopen();
        assert_eq!(fixture.store.secret("page").unwrap(), secret);
        assert_ne!(fixture.store.secret("other").unwrap(), secret);
        assert_eq!((fixture.count("Observation").await, fixture.audits().await), (1, 2));
        assert_eq!(fixture.store.consents(patient(1)).await.unwrap().0, 1);
        assert_eq!(fixture.store.clients().await.unwrap(), [("app".to_owned(), "{}".to_owned())]);
        assert_eq!(fixture.store.get_client("app").await.unwrap().as_deref(), Some("{}"));
        assert!(fixture.store.remove_client("app").await.unwrap());
        assert!(!fixture.store.remove_client("app").await.unwrap());

        assert!(!fixture.store.remember_jti("iss", "1", NOW_MS + 10, NOW_MS).await.unwrap());
        assert!(fixture.store.remember_jti("other", "1", NOW_MS + 10, NOW_MS).await.unwrap());
        assert!(
            fixture.store.remember_jti("iss", "1", NOW_MS + 20, NOW_MS + 11).await.unwrap(),
            "expired and forgotten"
        );
    }
}

#[tokio::test]
async fn the_audit_is_searched_both_ways() {
    for fixture in Fixture::both() {
        let record = |client: &str, number: u8| AuditRecord {
            client: client.into(),
            patient: Some(patient(number)),
            payload: vec![number],
            ..audit_record()
        };
        fixture.store.record_audit(vec![record("a", 1), record("b", 2), record("a", 2), record("a", 3)]).await.unwrap();
        let check = async |plan: AuditPlan, expected: &[u64]| {
            let found = fixture.store.audit(AuditPlan { limit: 2, ..plan }).await.unwrap();
            assert_eq!(found.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), expected);
        };
        let all = AuditPlan::default;
        check(all(), &[1, 2]).await;
        check(AuditPlan { after_seq: Some(2), ..all() }, &[3, 4]).await;
        check(AuditPlan { descending: true, after_seq: Some(3), ..all() }, &[2, 1]).await;
        check(AuditPlan { patient: Some(patient(2)), ..all() }, &[2, 3]).await;
        check(AuditPlan { client: Some("a".to_owned()), descending: true, ..all() }, &[4, 3]).await;
        check(AuditPlan { client: Some("b".to_owned()), patient: Some(patient(3)), ..all() }, &[]).await;
        fixture.store.record_audit(vec![record("b", 2).kept_from_client()]).await.unwrap();
        for (reader, expected) in [("a", &[3, 5]), ("b", &[2, 3])] {
            let reader = Some(reader.to_owned());
            let after_seq = Some(if expected[0] == 3 { 2 } else { 0 });
            check(AuditPlan { patient: Some(patient(2)), reader, after_seq, ..all() }, expected).await;
        }
    }
}

#[tokio::test]
async fn any_character_may_stand_in_a_text() {
    for fixture in Fixture::both() {
        let texts = ["\0", "a\0b", "\u{7f}'\"\\", "\u{1f469}\u{200d}\u{1f52c}"];
        for (index, text) in texts.iter().enumerate() {
            let codes = vec![("urn:s".to_owned(), (*text).to_owned())];
            fixture.put(Write { codes, ..observation(patient(1), &index.to_string(), "1") }).await;
        }
        for text in texts {
            let code = CodeKey { system: None, code: text.to_owned() };
            let plan = Plan { codes: Some(vec![code]), ..Plan::of("Observation") };
            assert_eq!(fixture.store.search(plan).await.unwrap().rows.len(), 1, "{text:?}");
        }
    }
}

#[tokio::test]
async fn what_was_restricted_when_is_known() {
    for fixture in Fixture::both() {
        // Asked for twice, begun again in the moment in which it ended, and lifted in the moment in which it began.
        let changes =
            [(true, 10), (false, 20), (true, 20), (true, 25), (false, 30), (true, 40), (false, 40), (true, 50)];
        for (on, at_ms) in changes {
            fixture.store.restrict(patient(1), on, at_ms, audit_record()).await.unwrap();
        }
        let stood = async |at_ms| fixture.store.was_restricted(patient(1), at_ms).await.unwrap();
        for (at_ms, expected) in [(9, false), (10, true), (29, true), (30, false), (40, false), (49, false), (50, true)]
        {
            assert_eq!(stood(at_ms).await, expected, "{at_ms}");
        }
        assert!(!fixture.store.was_restricted(patient(2), 10).await.unwrap());
    }
}
