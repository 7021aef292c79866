//! Subscriptions: what is filed is numbered without gaps, whoever numbers; a turn is one worker's; what is of a person
//! goes with the person.

use super::*;
use crate::store::{Asked, Course, Fate, Fenced, Happened, Lease, Placed, Stored, Subscription, TurnEnd};

const FOLLOWER: &str = "follower";

fn asked(id: &str, follows: u32, course: Course) -> Asked {
    Asked {
        id: id.into(),
        client: "app".into(),
        follows,
        now_ms: 10,
        status: "active".to_owned(),
        body: b"{}".to_vec(),
        granted: b"{}".to_vec(),
        secret: b"secret".to_vec(),
        sends: true,
        course,
        record: audit_record(),
    }
}

async fn put(fixture: &Fixture, asked: Asked) -> Placed {
    fixture.store.put_subscription(asked, 3, FOLLOWER).await.unwrap()
}

async fn with_subscription(fixture: Fixture) -> Fixture {
    fixture.store.ensure_destination(FOLLOWER).await.unwrap();
    assert_eq!(put(&fixture, asked("s", 0, Course::Begins)).await, Placed::Done);
    fixture
}

async fn standing(fixture: &Fixture) -> Subscription {
    fixture.store.subscription("s").await.unwrap().unwrap()
}

/// Files whatever the feed has for the subscription.
async fn follow(fixture: &Fixture) {
    let leases: Vec<Lease> = fixture.store.lease(FOLLOWER, "w", 0, 1000, 16).await.unwrap();
    for lease in leases {
        let rows = fixture.store.feed(&lease, 100, usize::MAX).await.unwrap();
        let to = rows.last().unwrap().pos;
        let happened = |stored: &Stored| Happened {
            subscription: "s".into(),
            patient: stored.patient,
            seq: stored.seq,
            version: stored.version,
            at_ms: stored.updated_ms,
        };
        let happened = rows.iter().flat_map(|row| &row.items).map(happened).collect();
        assert_eq!(fixture.store.file_events(&lease, to, happened).await.unwrap(), Fenced::Held);
    }
}

/// What waits, by number of the event and payload.
async fn waiting(fixture: &Fixture, now_ms: i64) -> Vec<(i64, String)> {
    let waiting = fixture.store.events_waiting("s", now_ms, 100).await.unwrap();
    let text =
        |stored: Option<Stored>| stored.map_or_else(String::new, |stored| String::from_utf8(stored.payload).unwrap());
    waiting.into_iter().map(|event| (event.id, text(event.stored))).collect()
}

async fn numbered(fixture: &Fixture) -> Vec<(u64, bool)> {
    let events = fixture.store.events_numbered("s", 0, u64::MAX, 100).await.unwrap();
    events.into_iter().map(|event| (event.number, event.stored.is_some())).collect()
}

fn end(course: Course, taken: u64) -> TurnEnd {
    TurnEnd {
        status: "active".to_owned(),
        error: None,
        failures: 0,
        not_before_ms: 0,
        told_ms: 20,
        wake_ms: i64::MAX,
        taken,
        course,
        now_ms: 20,
    }
}

#[tokio::test]
async fn what_was_written_before_is_not_filed() {
    for fixture in Fixture::both() {
        fixture.put(observation(patient(1), "old", "old")).await;
        let fixture = with_subscription(fixture).await;
        assert!(fixture.store.lease(FOLLOWER, "w", 0, 1000, 16).await.unwrap().is_empty(), "the follower begins here");
        assert!(standing(&fixture).await.starts.unwrap().contains(&1));
        fixture.put(observation(patient(1), "new", "new")).await;
        follow(&fixture).await;
        assert_eq!(waiting(&fixture, 0).await.len(), 1);
    }
}

#[tokio::test]
async fn numbers_have_no_gaps_whoever_gives_them() {
    for fixture in Fixture::both() {
        let fixture = with_subscription(fixture).await;
        for name in ["a", "b", "c"] {
            fixture.put(observation(patient(1), name, name)).await;
        }
        follow(&fixture).await;
        let events = waiting(&fixture, 0).await;
        let fates: Vec<(i64, Fate)> = vec![(events[0].0, Fate::Told), (events[1].0, Fate::Withheld)];
        let number =
            async |seen, fates| fixture.store.number_events("s", seen, fates, vec![audit_record()]).await.unwrap();
        assert_eq!(number(0, fates.clone()).await, Some(1));
        assert_eq!(number(0, fates.clone()).await, None, "whoever saw fewer decides again");
        assert_eq!(number(1, fates).await, Some(1), "a number is given once");
        assert_eq!(number(1, vec![(events[2].0, Fate::Told)]).await, Some(2));
        assert_eq!(numbered(&fixture).await, [(1, true), (2, true)]);
        assert!(waiting(&fixture, 0).await.is_empty());
        let fixture = fixture.reopen();
        assert_eq!((standing(&fixture).await.events, standing(&fixture).await.secret), (2, b"secret".to_vec()));
    }
}

#[tokio::test]
async fn what_is_behind_something_held_waits_with_it() {
    for fixture in Fixture::both() {
        let fixture = with_subscription(fixture).await;
        fixture.put(observation(patient(1), "a", "held")).await;
        follow(&fixture).await;
        let first = waiting(&fixture, 0).await[0].0;
        fixture.store.number_events("s", 0, vec![(first, Fate::Held { until_ms: 50 })], Vec::new()).await.unwrap();
        fixture.put(observation(patient(1), "b", "behind")).await;
        fixture.put(observation(patient(2), "c", "other")).await;
        follow(&fixture).await;
        let texts =
            async |now_ms| waiting(&fixture, now_ms).await.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(49).await, ["other"]);
        let mut all = texts(50).await;
        all.sort();
        assert_eq!(all, ["behind", "held", "other"]);
        fixture.store.restrict(patient(1), true, 5, audit_record()).await.unwrap();
        fixture.store.restrict(patient(1), false, 6, audit_record()).await.unwrap();
        assert_eq!(texts(0).await.len(), 3, "what is lifted is looked at at once");
    }
}

#[tokio::test]
async fn a_turn_is_one_workers_until_it_is_over() {
    for fixture in Fixture::both() {
        let fixture = with_subscription(fixture).await;
        let take =
            async |worker: &str, now_ms| fixture.store.lease_subscriptions(worker, now_ms, 100, 5).await.unwrap().pop();
        let first = take("w1", 10).await.unwrap();
        assert!(take("w2", 50).await.is_none());
        let second = take("w2", 111).await.expect("the first was away too long");
        let settle = async |turn: &Subscription, end| {
            fixture.store.settle_subscription(turn, end, vec![audit_record()], FOLLOWER).await.unwrap()
        };
        let audits = fixture.audits().await;
        assert_eq!(settle(&first, end(Course::GoesOn, 0)).await, Fenced::Lost);
        assert_eq!(fixture.audits().await, audits, "nothing of a lost turn is stored");
        assert_eq!(settle(&second, end(Course::GoesOn, 0)).await, Fenced::Held);
        assert!(take("w1", 500).await.is_none(), "nothing is to be done");
        assert_eq!(fixture.store.next_subscription().await.unwrap(), None);
        fixture.put(observation(patient(1), "a", "a")).await;
        follow(&fixture).await;
        assert_eq!(fixture.store.next_subscription().await.unwrap(), Some(0));
        let third = take("w1", 500).await.expect("something was filed");
        // What was filed is still there, so that the turn after this one is due.
        assert_eq!(settle(&third, end(Course::GoesOn, 0)).await, Fenced::Held);
        let fourth = take("w1", 500).await.unwrap();
        fixture.store.foretell_subscription("s", vec![audit_record()]).await.unwrap();
        let audits = fixture.audits().await;
        let fifth = take("w2", 1000).await.expect("whoever had it is gone");
        assert_eq!(fixture.audits().await, audits + 1, "what it foretold counts");
        assert!(fifth.epoch > fourth.epoch);
        assert_eq!(settle(&fifth, end(Course::Ends, 0)).await, Fenced::Held);
        assert!(waiting(&fixture, 0).await.is_empty(), "an ended one has nothing that waits");
        assert!(fixture.store.subscriptions_live().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_client_has_as_many_as_it_may_and_changes_what_it_saw() {
    for fixture in Fixture::both() {
        let fixture = with_subscription(fixture).await;
        for id in ["t", "u"] {
            assert_eq!(put(&fixture, asked(id, 0, Course::GoesOn)).await, Placed::Done);
        }
        assert_eq!(put(&fixture, asked("v", 0, Course::GoesOn)).await, Placed::Full);
        assert_eq!(put(&fixture, asked("s", 1, Course::GoesOn)).await, Placed::Done);
        assert_eq!(put(&fixture, asked("s", 1, Course::GoesOn)).await, Placed::Moved);
        assert_eq!(standing(&fixture).await.version, 2);
        assert_eq!(fixture.store.subscriptions_of("app").await.unwrap().len(), 3);
        assert!(!fixture.store.remove_subscription("other", "s", audit_record()).await.unwrap());
        assert!(fixture.store.remove_subscription("app", "s", audit_record()).await.unwrap());
        assert!(fixture.store.subscription("s").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn of_an_erased_person_numbers_alone_remain() {
    for fixture in Fixture::both() {
        let fixture = with_subscription(fixture).await;
        fixture.put(observation(patient(1), "a", "a")).await;
        fixture.put(observation(patient(1), "b", "b")).await;
        fixture.put(observation(patient(2), "c", "c")).await;
        follow(&fixture).await;
        let events = waiting(&fixture, 0).await;
        let told = events.iter().filter(|(_, text)| text != "b").map(|(id, _)| (*id, Fate::Told)).collect();
        fixture.store.number_events("s", 0, told, Vec::new()).await.unwrap();
        begin_erasure(&fixture, 1).await;
        assert!(waiting(&fixture, 0).await.is_empty());
        let mut left = numbered(&fixture).await;
        left.sort_by_key(|(_, says)| *says);
        assert_eq!(left.iter().map(|(_, says)| *says).collect::<Vec<_>>(), [false, true]);
    }
}
