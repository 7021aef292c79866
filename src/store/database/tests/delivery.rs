//! Feed, leases and retries: nothing is lost, and no worker writes after its lease.

use super::*;
use crate::store::{Backlog, DAMAGED, Failure, FeedItem, Fenced, Lease, Settlement, SettlementOutcome, Task};

const TTL_MS: i64 = 1000;

async fn leases(fixture: &Fixture, worker: &str, now_ms: i64) -> Vec<Lease> {
    fixture.store.lease("nhs", worker, now_ms, TTL_MS, 16).await.unwrap()
}

async fn one_lease(fixture: &Fixture, worker: &str, now_ms: i64) -> Lease {
    let [lease] = leases(fixture, worker, now_ms).await.try_into().unwrap();
    lease
}

fn failed(item: &FeedItem, reason: &str) -> Failure {
    let stored = &item.items[0];
    Failure {
        pos: item.pos,
        patient: item.patient,
        seq: stored.seq,
        version: stored.version,
        attempts: 1,
        not_before_ms: 50,
        reason: reason.to_owned(),
        dead: false,
        first: false,
    }
}

async fn with_feed(fixture: Fixture, names: &[&str]) -> Fixture {
    fixture.store.ensure_destination("nhs").await.unwrap();
    for name in names {
        fixture.put(observation(patient(1), name, name)).await;
    }
    fixture
}

/// Payloads of what is due.
async fn due(fixture: &Fixture, now_ms: i64) -> Vec<(i64, String)> {
    let due = fixture.store.retries_due("nhs", now_ms, 10).await.unwrap();
    due.into_iter().map(|retry| (retry.id, String::from_utf8(retry.stored.payload).unwrap())).collect()
}

async fn settle(fixture: &Fixture, id: i64, outcome: SettlementOutcome) {
    fixture.store.settle("nhs", vec![Settlement { id, outcome }], vec![audit_record()]).await.unwrap();
}

#[tokio::test]
async fn a_destination_sees_what_comes_after_it() {
    for fixture in Fixture::both() {
        fixture.put(observation(patient(1), "old", "old")).await;
        fixture.store.ensure_destination("nhs").await.unwrap();
        assert!(leases(&fixture, "w", 0).await.is_empty());

        let mut changed = fixture.store.feed_changed();
        changed.mark_unchanged();
        let first = observation(patient(1), "a", "one");
        fixture.accept(unit(vec![first.clone(), observation(patient(2), "b", "two")])).await;
        changed.changed().await.unwrap();
        fixture.put(update(first, 1, "three")).await;
        fixture.put(Write { deliver: false, ..observation(patient(1), "quiet", "quiet") }).await;
        fixture.store.ensure_destination("nhs").await.unwrap();
        assert_eq!(fixture.store.backlog("nhs").await.unwrap().behind, 3);

        let mut seen = Vec::new();
        for lease in leases(&fixture, "w", 0).await {
            let items = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
            for item in &items {
                assert!(!item.parked && item.items.iter().all(|stored| stored.patient == item.patient));
                seen.extend(item.items.iter().map(|stored| (stored.version, stored.payload.clone())));
            }
            let to = items.last().unwrap().pos;
            assert_eq!(fixture.store.advance(&lease, to, Vec::new(), Vec::new()).await.unwrap(), Fenced::Held);
            assert!(fixture.store.feed(&lease, 10, usize::MAX).await.unwrap().is_empty());
        }
        seen.sort();
        assert_eq!(seen, [(1, b"one".to_vec()), (1, b"two".to_vec()), (2, b"three".to_vec())]);
        assert_eq!(fixture.store.backlog("nhs").await.unwrap().behind, 0);
    }
}

#[tokio::test]
async fn what_belongs_to_nobody_is_delivered_too() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &[]).await;
        let devices = ["x", "y"].map(|name| Write {
            kind: "Device".into(),
            patient: None,
            id: ResId::derived(None, 0, &[name.as_bytes()]),
            ..observation(patient(1), name, name)
        });
        fixture.accept(unit(devices.to_vec())).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let items = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        assert_eq!((lease.slot, items.len()), (0, 2), "each goes its own way");
        fixture.store.advance(&lease, 1, vec![failed(&items[0], "no")], Vec::new()).await.unwrap();
        assert!(!fixture.store.feed(&lease, 10, usize::MAX).await.unwrap()[0].parked);
        assert_eq!(due(&fixture, 50).await.len(), 1);
    }
}

#[tokio::test]
async fn a_lease_fences_whoever_was_away_too_long() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b"]).await;
        let first = one_lease(&fixture, "w1", 0).await;
        assert!(leases(&fixture, "w2", TTL_MS - 1).await.is_empty(), "held by another");
        let renewed = one_lease(&fixture, "w1", 500).await;
        assert_eq!((renewed.epoch, renewed.until_ms), (first.epoch, 500 + TTL_MS));
        assert!(leases(&fixture, "w2", TTL_MS).await.is_empty(), "renewed");

        let second = one_lease(&fixture, "w2", 500 + TTL_MS).await;
        assert!(second.epoch > first.epoch);
        let items = fixture.store.feed(&second, 10, usize::MAX).await.unwrap();
        assert!(fixture.store.feed(&first, 10, usize::MAX).await.unwrap().is_empty());
        let before = fixture.audits().await;
        let late = fixture.store.advance(&first, 2, vec![failed(&items[0], "x")], vec![audit_record()]).await.unwrap();
        assert_eq!((late, fixture.audits().await), (Fenced::Lost, before));
        let held = fixture.store.advance(&second, 1, vec![failed(&items[0], "x")], vec![audit_record()]).await.unwrap();
        assert_eq!((held, fixture.audits().await), (Fenced::Held, before + 1));
        let backlog = fixture.store.backlog("nhs").await.unwrap();
        assert_eq!((backlog.behind, backlog.retries, backlog.dead), (1, 1, 0));
        assert!(fixture.store.feed(&second, 10, usize::MAX).await.unwrap()[0].parked);
    }
}

#[tokio::test]
async fn retries_keep_the_order_of_a_patient() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b", "c"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let items = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let mut failures: Vec<_> = items.iter().map(|item| failed(item, "down")).collect();
        failures[1].not_before_ms = 0;
        fixture.store.advance(&lease, 3, failures, Vec::new()).await.unwrap();
        assert_eq!(fixture.store.next_due("nhs").await.unwrap(), Some(50));
        assert!(due(&fixture, 49).await.is_empty(), "b is due, but stands behind a");

        let [(a, payload)] = due(&fixture, 50).await.try_into().unwrap();
        assert_eq!(payload, "a");
        let again = SettlementOutcome::Again { not_before_ms: 70, attempts: 2, reason: "still down".to_owned() };
        settle(&fixture, a, again).await;
        assert!(due(&fixture, 69).await.is_empty());
        let retry = fixture.store.retries_due("nhs", 70, 10).await.unwrap().remove(0);
        assert_eq!((retry.attempts, retry.not_before_ms, &retry.reason[..]), (2, 70, "still down"));
        settle(&fixture, a, SettlementOutcome::Done).await;
        settle(&fixture, a, SettlementOutcome::Done).await;
        let [(b, payload)] = due(&fixture, 70).await.try_into().unwrap();
        assert_eq!(payload, "b", "a second answer about a changes nothing");
        settle(&fixture, b, SettlementOutcome::Dead { reason: "refused".to_owned() }).await;
        assert_eq!(due(&fixture, 70).await[0].1, "c");
        let backlog = fixture.store.backlog("nhs").await.unwrap();
        assert_eq!((backlog.retries, backlog.dead), (1, 1));
    }
}

#[tokio::test]
async fn what_goes_ahead_heads_its_lane_and_is_not_met_again() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b", "c", "d", "e"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let items = fixture.store.feed(&lease, 1, usize::MAX).await.unwrap();
        fixture.store.advance(&lease, 1, vec![failed(&items[0], "down")], Vec::new()).await.unwrap();
        let behind = fixture.store.look_ahead(&lease, 2, 10).await.unwrap();
        assert_eq!(behind.iter().map(|item| item.pos).collect::<Vec<_>>(), [3, 4, 5]);
        let taken = [&behind[0], &behind[2]].map(|item| Failure {
            not_before_ms: i64::MIN,
            first: true,
            ..failed(item, "first")
        });
        let late = Lease { epoch: lease.epoch + 1, ..lease.clone() };
        assert_eq!(fixture.store.take_ahead(&late, 5, taken.to_vec()).await.unwrap(), Fenced::Lost);
        assert_eq!(fixture.store.take_ahead(&lease, 5, taken.to_vec()).await.unwrap(), Fenced::Held);
        assert!(fixture.store.look_ahead(&lease, 2, 10).await.unwrap().is_empty(), "looked through");

        // In their order, before what waited already, which is due long since.
        let lane = fixture.store.retries_of("nhs", patient(1)).await.unwrap();
        assert_eq!(lane.iter().map(|retry| &retry.stored.payload[..]).collect::<Vec<_>>(), [b"c", b"e", b"a"]);
        for expected in ["c", "e", "a"] {
            let [(id, payload)] = due(&fixture, 50).await.try_into().unwrap();
            assert_eq!(payload, expected);
            settle(&fixture, id, SettlementOutcome::Done).await;
        }
        let rest = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let left = rest.iter().map(|item| (item.pos, item.ahead, item.items.len())).collect::<Vec<_>>();
        assert_eq!(left, [(2, false, 1), (3, true, 0), (4, false, 1), (5, true, 0)]);
        fixture.store.advance(&lease, 5, Vec::new(), Vec::new()).await.unwrap();
        assert_eq!(fixture.store.backlog("nhs").await.unwrap(), Backlog::default());
    }
}

#[tokio::test]
async fn dead_letters_are_redriven_once() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let items = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let failures = items.iter().map(|item| Failure { dead: true, ..failed(item, "refused") }).collect();
        fixture.store.advance(&lease, 2, failures, Vec::new()).await.unwrap();
        assert_eq!(fixture.store.next_due("nhs").await.unwrap(), None);

        let letters = fixture.store.dead_letters(Some("nhs")).await.unwrap();
        let expected = (id(patient(1), "a"), 1, "refused");
        assert_eq!((letters[0].resource, letters[0].version, &letters[0].reason[..]), expected);
        assert!(fixture.store.dead_letters(Some("other")).await.unwrap().is_empty());
        assert_eq!(fixture.store.dead_letters(None).await.unwrap(), letters);

        let first = Some(vec![letters[0].id]);
        assert_eq!(fixture.store.redrive("other", first.clone()).await.unwrap(), 0);
        assert_eq!(fixture.store.redrive("nhs", first.clone()).await.unwrap(), 1);
        assert_eq!(fixture.store.redrive("nhs", first).await.unwrap(), 0);
        assert_eq!(fixture.store.redrive("nhs", None).await.unwrap(), 1);
        let retry = fixture.store.retries_due("nhs", 0, 10).await.unwrap().remove(0);
        assert_eq!((retry.attempts, retry.stored.payload), (0, b"a".to_vec()));
    }
}

/// What an earlier process was at when it ended.
#[tokio::test]
async fn a_restart_takes_over_leases_and_sends_under_way() {
    let fixture = with_feed(Fixture::new(), &["a"]).await;
    fixture.put(observation(patient(2), "b", "b")).await;
    let held = leases(&fixture, "w", 0).await;
    for lease in &held {
        fixture.store.foretell("nhs", Task::Slot(lease.slot), vec![audit_record()]).await.unwrap();
    }
    let before = fixture.audits().await;
    fixture.store.advance(&held[0], 1, Vec::new(), vec![audit_record()]).await.unwrap();
    assert_eq!(fixture.audits().await, before + 1, "what is settled is told as it was");

    let fixture = fixture.reopen();
    assert_eq!(fixture.audits().await, before + held.len(), "what was under way is told as it may be");
    let again = leases(&fixture, "other", 0).await;
    assert_eq!(again.len(), held.len() - 1, "nobody waits for a process that is gone");
    let fixture = fixture.reopen();
    assert_eq!(fixture.audits().await, before + held.len(), "once");
}

#[tokio::test]
async fn whoever_takes_over_tells_what_may_have_been_sent() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        fixture.store.foretell("nhs", Task::Slot(lease.slot), vec![audit_record()]).await.unwrap();
        let before = fixture.audits().await;
        assert!(leases(&fixture, "other", 0).await.is_empty(), "it is at work");
        let after = lease.until_ms;
        assert_eq!(leases(&fixture, "other", after).await.len(), 1, "it is silent");
        assert_eq!(fixture.audits().await, before + 1);
        assert_eq!(leases(&fixture, "other", after).await.len(), 1, "the same goes on");
        assert_eq!(fixture.audits().await, before + 1, "once");
    }
}

#[tokio::test]
async fn whoever_ends_in_good_order_leaves_its_leases_to_others() {
    let fixture = with_feed(Fixture::shared(), &["a"]).await;
    let lease = one_lease(&fixture, "w", 0).await;
    fixture.store.give_back("nhs", "somebody").await.unwrap();
    assert!(leases(&fixture, "other", 1).await.is_empty(), "it is at work");
    fixture.store.give_back("nhs", "w").await.unwrap();
    assert_eq!(one_lease(&fixture, "other", 1).await.slot, lease.slot);
    let late = fixture.store.advance(&lease, 1, Vec::new(), Vec::new()).await.unwrap();
    assert_eq!(late, Fenced::Lost);
}

#[tokio::test]
async fn of_those_who_share_a_store_one_tries_again() {
    let fixture = with_feed(Fixture::shared(), &["a"]).await;
    let lease = one_lease(&fixture, "w", 0).await;
    let rows = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
    fixture.store.advance(&lease, rows[0].pos, vec![failed(&rows[0], "down")], Vec::new()).await.unwrap();
    let other = Fixture::at(fixture.place.server.clone(), Some(&fixture));
    let [(id, _)] = due(&fixture, 100).await.try_into().unwrap();
    assert!(due(&other, 100).await.is_empty() && due(&fixture, 100).await.is_empty(), "it is at work");
    other.store.foretell("nhs", Task::Retry(id), vec![audit_record()]).await.unwrap();
    let before = fixture.audits().await;
    assert_eq!(due(&other, 1_000_000).await.len(), 1, "it is silent");
    assert_eq!(fixture.audits().await, before + 1, "and may have sent it");
}

#[tokio::test]
async fn a_settled_retry_forgets_what_was_foretold() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let rows = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        fixture.store.advance(&lease, rows[0].pos, vec![failed(&rows[0], "down")], Vec::new()).await.unwrap();
        let [(id, _)] = due(&fixture, 100).await.try_into().unwrap();
        let before = fixture.audits().await;
        for _ in 0..2 {
            fixture.store.foretell("nhs", Task::Retry(id), vec![audit_record()]).await.unwrap();
        }
        assert_eq!(fixture.audits().await, before + 1, "the first was never settled, so it may have been sent");
        settle(&fixture, id, SettlementOutcome::Done).await;
        assert_eq!(fixture.reopen().audits().await, before + 2, "the second was settled as it was");
    }
}

/// What was put on record before a send and is damaged since stops neither what comes after nor the store.
#[tokio::test]
async fn what_was_foretold_and_is_damaged_stands_in_nobodys_way() {
    let foretell = async |fixture: &Fixture, slot| {
        let spoilt = AuditRecord { at_ms: NOW_MS, ..audit_record() };
        let whole = AuditRecord { at_ms: NOW_MS + 1, ..audit_record() };
        fixture.store.foretell("nhs", Task::Slot(slot), vec![spoilt, whole]).await.unwrap();
        let damage = |ledger: &mut Ledger| {
            let sql = "UPDATE foretold SET payload = ?1 WHERE at = ?2";
            Ok(ledger.connection.execute(sql, params![&[1_u8, 0xff][..], NOW_MS])?)
        };
        assert_eq!(fixture.store.writer.call(1, damage).await.unwrap(), 1);
    };
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a"]).await;
        let before = fixture.audits().await;
        let lease = one_lease(&fixture, "w", 0).await;
        foretell(&fixture, lease.slot).await;
        let again = one_lease(&fixture, "another", lease.until_ms + 1).await;
        let told = fixture.audits().await - before;
        assert_eq!((again.slot, told), (lease.slot, 1), "what can be read may have been sent");
    }
    let fixture = with_feed(Fixture::new(), &["a"]).await;
    let before = fixture.audits().await;
    foretell(&fixture, one_lease(&fixture, "w", 0).await.slot).await;
    assert_eq!(fixture.reopen().audits().await, before + 1);
}

#[tokio::test]
async fn a_redriven_letter_carries_the_current_version() {
    for fixture in Fixture::both() {
        fixture.store.ensure_destination("nhs").await.unwrap();
        let first = observation(patient(1), "a", "one");
        fixture.put(first.clone()).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let rows = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let dead = Failure { dead: true, ..failed(&rows[0], "refused") };
        fixture.store.advance(&lease, rows[0].pos, vec![dead], Vec::new()).await.unwrap();
        fixture.put(update(first, 1, "two")).await;
        assert_eq!(fixture.store.redrive("nhs", None).await.unwrap(), 1);
        let due = due(&fixture, 0).await;
        assert_eq!(due.iter().map(|(_, payload)| payload.as_str()).collect::<Vec<_>>(), ["two"]);
    }
}

#[tokio::test]
async fn what_waits_is_counted_up_to_a_bound() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b", "c", "d"]).await;
        assert_eq!(fixture.store.waiting("nhs", 10).await.unwrap(), 4);
        assert!(fixture.store.still_to_come("nhs").await.unwrap().is_some());
        let lease = one_lease(&fixture, "w", 0).await;
        let rows = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let failures = rows.iter().map(|row| failed(row, "down")).collect();
        fixture.store.advance(&lease, rows[3].pos, failures, Vec::new()).await.unwrap();
        assert_eq!(fixture.store.waiting("nhs", 10).await.unwrap(), 4);
        assert_eq!(fixture.store.waiting("nhs", 3).await.unwrap(), 3);
        assert_eq!(fixture.store.still_to_come("nhs").await.unwrap(), None);
        assert_eq!(fixture.store.waiting("nobody", 3).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_is_sent_once_more_waits_once_and_as_it_stands() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let rows = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let items: Vec<(u64, u32)> = rows.iter().map(|row| (row.items[0].seq, row.items[0].version)).collect();
        fixture.store.advance(&lease, rows[1].pos, vec![failed(&rows[0], "down")], Vec::new()).await.unwrap();
        fixture.put(update(observation(patient(1), "b", "b"), 1, "b, mended")).await;
        assert_eq!(fixture.store.not_waiting("nhs", items.clone()).await.unwrap(), 1);
        assert_eq!(fixture.store.requeue("nhs", items.clone()).await.unwrap(), 1);
        assert_eq!(fixture.store.requeue("nhs", items).await.unwrap(), 0);
        let lane = fixture.store.retries_of("nhs", patient(1)).await.unwrap();
        let payloads: Vec<&[u8]> = lane.iter().map(|retry| retry.stored.payload.as_slice()).collect();
        assert_eq!(payloads, [&b"a"[..], b"b, mended"]);
        let first = fixture.store.first_retries_of("nhs", patient(1), 1).await.unwrap();
        assert_eq!((first.len(), first[0].id), (1, lane[0].id));
    }
}

#[tokio::test]
async fn nothing_is_tried_again_where_that_is_stopped() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let rows = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let untried = Failure { attempts: 0, ..failed(&rows[1], "behind") };
        fixture.store.advance(&lease, rows[1].pos, vec![failed(&rows[0], "down"), untried], Vec::new()).await.unwrap();
        assert!(!fixture.store.retries_stopped("nhs").await.unwrap());
        for _ in 0..2 {
            fixture.store.stop_retries("nhs", true).await.unwrap();
        }
        assert!(fixture.store.retries_stopped("nhs").await.unwrap());
        assert_eq!(fixture.store.give_up("nhs", "stopped", 10).await.unwrap(), 1);
        assert_eq!(fixture.store.give_up("nhs", "stopped", 10).await.unwrap(), 0);
        let letters = fixture.store.dead_letters(Some("nhs")).await.unwrap();
        assert_eq!(letters.iter().map(|letter| letter.reason.as_str()).collect::<Vec<_>>(), ["stopped"]);
        // What was never tried steps forward, and is.
        assert_eq!(due(&fixture, 100).await.len(), 1);
        fixture.store.stop_retries("nhs", false).await.unwrap();
        assert!(!fixture.store.retries_stopped("nhs").await.unwrap());
    }
}

#[tokio::test]
async fn what_is_damaged_holds_nobody_up() {
    for fixture in Fixture::both() {
        let fixture = with_feed(fixture, &["a", "b", "c"]).await;
        let lease = one_lease(&fixture, "w", 0).await;
        let whole = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        // One waits to be tried again, and one is in the feed still.
        fixture.store.advance(&lease, whole[0].pos, vec![failed(&whole[0], "down")], Vec::new()).await.unwrap();
        spoil(&fixture, "a").await;
        spoil(&fixture, "b").await;
        let rows = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.items.len(), row.damaged.len())).collect();
        assert_eq!(seen, [(0, 1), (1, 0)]);
        assert_eq!(rows[0].damaged, [(whole[1].items[0].seq, 1)]);
        assert!(due(&fixture, 50).await.is_empty());
        let dead = fixture.store.dead_letters(Some("nhs")).await.unwrap();
        assert_eq!(dead.iter().map(|letter| letter.reason.as_str()).collect::<Vec<_>>(), [DAMAGED]);
        assert!(!fixture.store.feed(&lease, 10, usize::MAX).await.unwrap()[1].parked, "nothing is before it");
        // So many resources end a turn, and no row is divided.
        assert_eq!(fixture.store.feed(&lease, 10, 1).await.unwrap().len(), 2);
    }
}
