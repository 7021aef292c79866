//! Names that destinations gave: kept until what they name is taken back, and told of when the person is erased.

use super::*;
use crate::store::KnownAs;

fn known(person: u8, id: &str, names: &[&str]) -> KnownAs {
    KnownAs {
        destination: "nhs".into(),
        patient: patient(person),
        kind: "Observation".to_owned(),
        id: id.to_owned(),
        version: 1,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

async fn names(fixture: &Fixture, person: u8) -> Vec<String> {
    let known = fixture.store.known_as("nhs", patient(person)).await.unwrap();
    known.into_values().flat_map(|known| known.names).collect()
}

async fn untold(fixture: &Fixture) -> Vec<String> {
    let due = fixture.store.remnants_due("nhs", NOW_MS, 10).await.unwrap();
    let mut names: Vec<String> =
        due.into_iter().map(|one| format!("{}/{}", one.remnant.kind, one.remnant.name)).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_name_stays_until_it_is_taken_back() {
    for fixture in Fixture::both() {
        let given = vec![known(1, "a", &["Observation/1", "Observation/2"]), known(1, "b", &["Observation/3"])];
        fixture.store.know(given, false).await.unwrap();
        fixture.store.know(vec![known(1, "b", &["Observation/4"])], false).await.unwrap();
        assert_eq!(names(&fixture, 1).await, ["Observation/1", "Observation/2", "Observation/4"]);
        let asked = |id: &str| vec![("Observation".to_owned(), id.to_owned())];
        let found = fixture.store.known_of("nhs", patient(1), asked("a")).await.unwrap();
        assert_eq!(found, [known(1, "a", &["Observation/1", "Observation/2"])]);
        assert!(fixture.store.known_of("other", patient(1), asked("a")).await.unwrap().is_empty());
        let before = fixture.audits().await;
        fixture.store.taken_back("nhs", patient(1), asked("a"), vec![audit_record()]).await.unwrap();
        assert_eq!(names(&fixture, 1).await, ["Observation/4"]);
        assert_eq!(fixture.audits().await, before + 1);
    }
}

#[tokio::test]
async fn of_an_erased_person_they_are_what_is_still_to_be_told() {
    for fixture in Fixture::both() {
        fixture.store.know(vec![known(1, "a", &["Observation/1", "Observation/2"])], true).await.unwrap();
        begin_erasure(&fixture, 1).await;
        while fixture.store.forget_names(patient(1), vec!["nhs".into()]).await.unwrap() {}
        // An answer that was under way meanwhile.
        fixture.store.know(vec![known(1, "b", &["Observation/3"])], true).await.unwrap();
        assert_eq!(untold(&fixture).await, ["Observation/1", "Observation/2", "Observation/3"]);
        assert!(names(&fixture, 1).await.is_empty());
    }
}

#[tokio::test]
async fn whoever_is_not_told_leaves_no_name() {
    for fixture in Fixture::both() {
        fixture.store.know(vec![known(1, "a", &["Observation/1"])], false).await.unwrap();
        begin_erasure(&fixture, 1).await;
        while fixture.store.forget_names(patient(1), Vec::new()).await.unwrap() {}
        fixture.store.know(vec![known(1, "b", &["Observation/3"])], false).await.unwrap();
        assert!(untold(&fixture).await.is_empty() && names(&fixture, 1).await.is_empty());
    }
}
