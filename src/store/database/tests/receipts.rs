//! Receipts: filed with the push, numbered client by client, forgotten in time.

use super::*;
use crate::store::{Filing, Receipt, ReceiptPlan, Tally};

fn filing(at_ms: i64, record: u8, forget_before_ms: i64) -> Filing {
    let receipt = Receipt { at_ms, record: Some([record; 16]), outcome: "refused", body: vec![record], once: false };
    let tally = Tally { day: at_ms, format: "f".into(), topic: "refused".to_owned(), count: 2 };
    Filing { patient: None, receipts: vec![receipt], tallies: vec![tally], forget_before_ms }
}

async fn file(store: &Store, client: &str, filing: Filing) {
    let unit = Unit {
        client: client.into(),
        finish: Box::new(|_| Finished { filing, ..Finished::default() }),
        ..unit(Vec::new())
    };
    store.accept(unit).await.unwrap();
}

fn of(client: &str) -> ReceiptPlan {
    ReceiptPlan {
        client: client.into(),
        records: None,
        patient: None,
        since_ms: None,
        outcome: None,
        after: 0,
        limit: 10,
    }
}

#[tokio::test]
async fn each_client_has_numbers_and_rows_of_its_own() {
    for fixture in Fixture::both() {
        let store = &fixture.store;
        for (client, at_ms, record) in [("a", 1, 1), ("b", 2, 1), ("a", 3, 2)] {
            file(store, client, filing(at_ms, record, 0)).await;
        }
        let numbers = async |plan: ReceiptPlan| -> Vec<(u64, i64)> {
            store.receipts(plan).await.unwrap().iter().map(|row| (row.number, row.at_ms)).collect()
        };
        assert_eq!(numbers(of("a")).await, [(1, 1), (2, 3)]);
        assert_eq!(numbers(of("b")).await, [(1, 2)]);
        assert_eq!(numbers(ReceiptPlan { records: Some(vec![[2; 16], [9; 16]]), ..of("a") }).await, [(2, 3)]);
        assert_eq!(numbers(ReceiptPlan { since_ms: Some(2), ..of("a") }).await, [(2, 3)]);
        assert_eq!(numbers(ReceiptPlan { after: 1, ..of("a") }).await, [(2, 3)]);
        assert_eq!(numbers(ReceiptPlan { outcome: Some("flagged".to_owned()), ..of("a") }).await, []);
        // Old ones go as new ones come; the number of the last is never given again.
        file(store, "b", filing(10, 5, 10)).await;
        assert_eq!(numbers(of("a")).await, [(2, 3)]);
        assert_eq!(numbers(of("b")).await, [(2, 10)]);
    }
}

#[tokio::test]
async fn tallies_add_up_and_are_kept_for_their_time() {
    for fixture in Fixture::both() {
        let store = &fixture.store;
        for day in [1, 1, 500] {
            file(store, "a", filing(day, 1, 0)).await;
        }
        let counts: Vec<(i64, u64)> =
            store.tallies("a", 0, 1000).await.unwrap().iter().map(|tally| (tally.day, tally.count)).collect();
        assert_eq!(counts, [(500, 2)]);
        file(store, "a", filing(500, 1, 0)).await;
        assert_eq!(store.tallies("a", 0, 1000).await.unwrap()[0].count, 4);
        assert!(store.tallies("b", 0, 1000).await.unwrap().is_empty());
    }
}
