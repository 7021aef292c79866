//! What destinations are still to be told of erased persons, and turns.

use super::*;
use crate::store::{Remnant, Settlement, SettlementOutcome, Untold};

fn remnant(name: &str) -> Remnant {
    Remnant { destination: "nhs".into(), patient: patient(1), kind: "Observation".to_owned(), name: name.to_owned() }
}

async fn due(fixture: &Fixture, now_ms: i64) -> Vec<Untold> {
    fixture.store.remnants_due("nhs", now_ms, 10).await.unwrap()
}

async fn settle(fixture: &Fixture, id: i64, outcome: SettlementOutcome) {
    fixture.store.settle_remnants("nhs", vec![Settlement { id, outcome }], vec![audit_record()]).await.unwrap();
}

#[tokio::test]
async fn a_name_stands_until_it_was_told() {
    let fixture = Fixture::new();
    let names = vec![remnant("a"), remnant("b"), remnant("a")];
    fixture.store.redact_audit(Vec::new(), names.clone(), None).await.unwrap();
    fixture.store.redact_audit(Vec::new(), names, None).await.unwrap();
    let both = due(&fixture, 0).await;
    assert_eq!(both.iter().map(|one| one.remnant.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(fixture.store.remnants_due("other", 0, 10).await.unwrap().is_empty());

    let again = SettlementOutcome::Again { not_before_ms: 50, attempts: 1, reason: "busy".to_owned() };
    settle(&fixture, both[0].id, again).await;
    settle(&fixture, both[1].id, SettlementOutcome::Done).await;
    assert!(due(&fixture, 49).await.is_empty());
    assert_eq!(fixture.store.next_due("nhs").await.unwrap(), Some(50));
    assert_eq!(due(&fixture, 50).await[0].attempts, 1);

    settle(&fixture, both[0].id, SettlementOutcome::Dead { reason: "405".to_owned() }).await;
    assert!(due(&fixture, i64::MAX).await.is_empty());
    let given_up = fixture.store.remnants_of(patient(1)).await.unwrap();
    assert_eq!((given_up.len(), given_up[0].waiting, given_up[0].given_up), (1, 0, 1));
    assert_eq!(fixture.store.remnants_given_up(Some("other")).await.unwrap(), []);
    assert_eq!(fixture.store.redrive("nhs", None).await.unwrap(), 1);
    settle(&fixture, both[0].id, SettlementOutcome::Done).await;
    assert_eq!(fixture.store.remnants_of(patient(1)).await.unwrap(), []);
}

#[tokio::test]
async fn a_turn_puts_a_consent_into_the_feed_once() {
    let fixture = Fixture::new();
    fixture.store.ensure_destination("nhs").await.unwrap();
    let consent =
        Write { consent: true, deliver: false, kind: "Consent".into(), ..observation(patient(1), "c", "said") };
    fixture.put(consent).await;
    assert_eq!(fixture.store.backlog("nhs").await.unwrap().behind, 0);
    fixture.store.set_turn(patient(1), Some(100)).await.unwrap();
    fixture.store.set_turn(patient(2), Some(50)).await.unwrap();
    fixture.store.set_turn(patient(2), None).await.unwrap();
    assert_eq!(fixture.store.turns_due(99, 10).await.unwrap(), []);
    assert_eq!(fixture.store.turns_due(100, 10).await.unwrap(), [patient(1)]);
    for _ in 0..2 {
        fixture.store.take_turn(patient(1), 100).await.unwrap();
    }
    assert_eq!(fixture.store.backlog("nhs").await.unwrap().behind, 1);
    assert_eq!(fixture.store.turns_due(i64::MAX, 10).await.unwrap(), []);
}
