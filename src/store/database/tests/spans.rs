//! Spans of readings, and stretches that gather records.

use super::*;
use crate::store::{Around, Growth, Known, Span};

fn reading(name: &str, device: &str, start_ms: i64, end_ms: i64) -> Write {
    let span = Span {
        measure: "steps".into(),
        app: String::new(),
        device: device.to_owned(),
        start_ms,
        end_ms,
        secondary: false,
    };
    Write { span: Some(span), ..observation(patient(1), name, name) }
}

fn around(device: Option<&str>, windows: &[(i64, i64)]) -> Vec<Around> {
    let but = device.map(|device| ("app".into(), String::new(), device.to_owned()));
    vec![Around { measure: "steps".into(), but, windows: windows.to_vec() }]
}

#[tokio::test]
async fn what_reaches_into_a_window_is_found() {
    for fixture in Fixture::both() {
        let store = &fixture.store;
        let writes = vec![
            reading("long", "watch", 0, 1000),
            reading("short", "watch", 400, 500),
            reading("phone", "phone", 500, 600),
            reading("late", "phone", 2000, 2100),
        ];
        store.accept(unit(writes)).await.unwrap();
        let found = async |device: Option<&str>, windows: &[(i64, i64)]| -> Vec<i64> {
            let found = store.neighbours(patient(1), around(device, windows)).await.unwrap();
            found.iter().map(|neighbour| neighbour.span.start_ms).collect()
        };
        assert_eq!(found(None, &[(450, 460)]).await, [0, 400]);
        assert_eq!(found(None, &[(500, 501)]).await, [0, 500], "an end is left out");
        assert_eq!(found(Some("watch"), &[(0, 3000)]).await, [500, 2000]);
        assert_eq!(found(None, &[(10, 20), (900, 950)]).await, [0], "once, though it reaches into both");
        assert_eq!(found(None, &[(1000, 2000)]).await, [0_i64; 0]);
        assert_eq!(store.neighbours(patient(2), around(None, &[(0, 3000)])).await.unwrap().len(), 0);
        let measures = store.several_sources(patient(1)).await.unwrap();
        assert_eq!(measures.iter().map(|measure| &**measure).collect::<Vec<_>>(), ["steps"]);
    }
}

#[tokio::test]
async fn a_later_version_has_a_span_of_its_own_or_none() {
    for fixture in Fixture::both() {
        let store = &fixture.store;
        let first = Write { reading: Some([7; 16]), ..reading("a", "watch", 0, 100) };
        store.accept(unit(vec![first.clone()])).await.unwrap();
        let known = Known { id: id(patient(1), "other"), reading: Some([7; 16]) };
        let mut told = update(first.clone(), 1, "told");
        told.says_the_same = true;
        told.span = told.span.map(|span| Span { secondary: true, ..span });
        store.accept(unit(vec![told.clone()])).await.unwrap();
        let found = store.neighbours(patient(1), around(None, &[(0, 100)])).await.unwrap();
        assert!(found.len() == 1 && found[0].span.secondary, "{found:?}");
        assert_eq!(store.stand(vec![known]).await.unwrap(), [true], "it stands for the same reading still");
        let corrected = Write { span: None, reading: None, says_the_same: false, ..update(told, 2, "corrected") };
        store.accept(unit(vec![corrected])).await.unwrap();
        assert_eq!(store.neighbours(patient(1), around(None, &[(0, 100)])).await.unwrap().len(), 0);
        assert_eq!(store.stand(vec![known]).await.unwrap(), [false]);
    }
}

#[tokio::test]
async fn a_stretch_knows_its_records_and_when_it_is_ripe() {
    for fixture in Fixture::both() {
        let store = &fixture.store;
        let (one, other) = (id(patient(1), "one"), id(patient(1), "other"));
        let growth = |member, until_ms| Some(Growth { members: vec![member], until_ms });
        let stretch = Write { growth: growth(one, Some(50)), ..reading("stretch", "watch", 0, 100) };
        store.accept(unit(vec![stretch.clone()])).await.unwrap();
        assert_eq!(store.next_ripe().await.unwrap(), Some(50));
        assert_eq!(store.ripe(49, 10).await.unwrap().len(), 0);
        let grown = Write { growth: growth(other, Some(70)), ..update(stretch, 1, "grown") };
        store.accept(unit(vec![grown.clone()])).await.unwrap();
        assert_eq!(store.ripe(70, 10).await.unwrap().len(), 1);
        for (record, known) in [(one, true), (other, true), (id(patient(1), "third"), false)] {
            let found = store.gathered(record).await.unwrap();
            assert_eq!(found.map(|(stored, _)| stored.version), known.then_some(2));
            assert_eq!(store.stand(vec![Known { id: record, reading: None }]).await.unwrap(), [known]);
        }
        let closed = Write { growth: None, ..update(grown, 2, "closed") };
        store.accept(unit(vec![closed])).await.unwrap();
        assert_eq!(store.next_ripe().await.unwrap(), None);
        assert!(store.gathered(one).await.unwrap().is_some());
    }
}
