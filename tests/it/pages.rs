//! Pages of a search are full however much is withheld between the hits, and together they are all there is.

use std::collections::BTreeSet;

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::AuditPlan;
use serde_json::{Value, json};

use crate::fixture::{Gateway, heart_rate};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_leaves_no_gaps_in_pages() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let actor = app.actor.clone();
    let collect = (actor.as_str(), &[Action::Collect][..], &["heart-rate", "weight"][..]);
    let access = (actor.as_str(), &[Action::Access][..], &["heart-rate"][..]);
    app.consent(&patient, &[collect, access]).await;
    for index in 0..5 {
        for withheld in 0..index * 4 {
            let mut weight = heart_rate(&patient, &format!("weight-{index}-{withheld}"), 70);
            weight["code"]["coding"][0]["code"] = json!("29463-7");
            weight["valueQuantity"] =
                json!({"value": 70.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"});
            let answer = app.post("/Observation", &weight).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        assert_eq!(app.post("/Observation", &heart_rate(&patient, &format!("heart-{index}"), 70)).await.status, 201);
    }
    let refused = async || {
        let all = gateway.store().audit(AuditPlan { limit: 1000, ..AuditPlan::default() }).await.unwrap();
        let told = |payload: &[u8]| String::from_utf8_lossy(payload).contains(r#""outcome":"4""#);
        all.iter().filter(|(_, payload)| told(payload)).count()
    };
    for sort in ["", "&_sort=-date", "&_sort=_lastUpdated"] {
        let before = refused().await;
        let mut address = Some(format!("/Observation?patient={patient}&_count=2{sort}"));
        let (mut pages, mut ids) = (Vec::new(), BTreeSet::new());
        while let Some(at) = address {
            let page = app.get(&at).await.json();
            let entries: Vec<&Value> = page["entry"].as_array().into_iter().flatten().collect();
            pages.push(entries.len());
            ids.extend(entries.iter().map(|entry| entry["resource"]["id"].to_string()));
            let links = page["link"].as_array().into_iter().flatten();
            let next = links.filter(|link| link["relation"] == "next").find_map(|link| link["url"].as_str());
            address = next.map(str::to_owned);
        }
        assert_eq!((pages, ids.len()), (vec![2, 2, 1], 5), "{sort}");
        assert_eq!(refused().await - before, 3, "the person hears of each page that something was kept from it");
    }
}
