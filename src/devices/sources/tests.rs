//! Names of sources, times and lists read as they are meant, and the decision whatever the order of arrival.

use proptest::prelude::*;

use super::*;
use crate::fhir::outcome::Id;
use crate::fhir::tree::json;
use crate::fhir::validate::measures::measure;

fn source(client: &str, app: &str, device: &str) -> Source {
    Source { client: client.into(), app: app.to_owned(), device: device.to_owned() }
}

fn list(code: &serde_json::Value, entries: &[(&str, &str)]) -> serde_json::Value {
    let entries: Vec<serde_json::Value> = entries
        .iter()
        .map(|(system, name)| match *system {
            "" => serde_json::json!({"item": {"display": name}}),
            system => serde_json::json!({"item": {"identifier": {"system": system, "value": name}}}),
        })
        .collect();
    let mut list = serde_json::json!({
        "resourceType": "List", "status": "current", "mode": "working", "entry": entries,
        "orderedBy": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/list-order", "code": "priority"}]},
    });
    if !code.is_null() {
        list["code"] = serde_json::json!({"coding": [code]});
    }
    list
}

fn compiled(list: &serde_json::Value) -> Result<Order, Vec<String>> {
    let document = json::parse(list.to_string()).unwrap();
    compile(Element::root(&document)).map_err(|issues| {
        assert!(issues.iter().all(|issue| issue.id == Id::SourceOrder));
        issues.into_iter().map(|issue| issue.expression).collect()
    })
}

fn order(entries: &[(&str, &str)]) -> Order {
    compiled(&list(&serde_json::Value::Null, entries)).unwrap()
}

#[test]
fn an_observation_names_its_source() {
    let app = |reference: &str| format!("\"extension\":[{{\"url\":\"{APP}\",\"valueReference\":{reference}}}]");
    for (members, expected) in [
        (String::new(), ("", "")),
        ("\"device\":{\"display\":\"Watch\"}".into(), ("", "Watch")),
        ("\"device\":{\"display\":\"Watch\",\"identifier\":{\"value\":\"w-1\"}}".into(), ("", "w-1")),
        ("\"device\":{\"reference\":\"Device/w\"}".into(), ("", "Device/w")),
        ("\"device\":{\"reference\":\"#w\"}".into(), ("", "")),
        (
            "\"contained\":[{\"resourceType\":\"Device\",\"id\":\"w\",\"identifier\":[{\"value\":\"7\"}]}],\
             \"device\":{\"reference\":\"#w\"}"
                .into(),
            ("", "7"),
        ),
        (app("{\"display\":\"org.example.app\"}"), ("org.example.app", "")),
    ] {
        let text =
            format!("{{\"resourceType\":\"Observation\"{}{members}}}", if members.is_empty() { "" } else { "," });
        let document = json::parse(text).unwrap();
        let found = Source::of(&"c".into(), Element::root(&document));
        assert_eq!(found, source("c", expected.0, expected.1), "{members}");
    }
}

#[test]
fn a_reading_takes_up_its_period_or_its_minute() {
    let minute = 60_000;
    for (members, expected) in [
        ("\"effectiveDateTime\":\"1970-01-01T00:01:59Z\"", Some((minute, 2 * minute))),
        ("\"effectiveDateTime\":\"1970-01-01T01:01:00.5+01:00\"", Some((minute, 2 * minute))),
        ("\"effectiveDateTime\":\"1970-01-01T00:01:59\"", None),
        ("\"effectiveDateTime\":\"1970-01-01\"", None),
        (
            "\"effectivePeriod\":{\"start\":\"1970-01-01T00:01:30Z\",\"end\":\"1970-01-01T00:02:00Z\"}",
            Some((minute + minute / 2, 2 * minute)),
        ),
        (
            "\"effectivePeriod\":{\"start\":\"1970-01-01T00:01:30Z\",\"end\":\"1970-01-01T00:01:30Z\"}",
            Some((minute, 2 * minute)),
        ),
        ("\"effectivePeriod\":{\"start\":\"1970-01-01T00:01:30Z\",\"end\":\"1970-01-01T00:00:00Z\"}", None),
        ("\"effectivePeriod\":{\"start\":\"1970-01-01T00:01:30Z\"}", None),
    ] {
        let document = json::parse(format!("{{\"resourceType\":\"Observation\",{members}}}")).unwrap();
        assert_eq!(taken(Element::root(&document)), expected, "{members}");
    }
}

#[test]
fn a_list_that_orders_nothing_is_told_why() {
    let steps = serde_json::json!({"system": "http://loinc.org", "code": "55423-8"});
    let good = list(&steps, &[("", "Watch"), ("", "Phone")]);
    assert!(compiled(&good).is_ok());
    for (member, value, expected) in [
        ("mode", serde_json::json!("snapshot"), "List.mode"),
        ("orderedBy", serde_json::json!(null), "List.orderedBy"),
        ("code", serde_json::json!({"text": "steps"}), "List.code"),
        ("entry", serde_json::json!([]), "List.entry"),
        ("entry", serde_json::json!([{"item": {"display": "a"}}, {"item": {"type": "Device"}}]), "List.entry[1].item"),
    ] {
        let mut wrong = good.clone();
        wrong[member] = value;
        if wrong[member].is_null() || wrong[member].as_array().is_some_and(Vec::is_empty) {
            wrong.as_object_mut().unwrap().remove(member);
        }
        assert_eq!(compiled(&wrong).unwrap_err(), [expected]);
    }
}

#[test]
fn what_says_more_of_a_measure_holds() {
    let code = |system: &str, code: &str| serde_json::json!({"system": system, "code": code});
    let all = compiled(&list(&serde_json::Value::Null, &[("", "all")])).unwrap();
    let of_category =
        compiled(&list(&code(crate::fhir::ours::CATEGORY_SYSTEM, "activity"), &[("", "category")])).unwrap();
    let of_measure = compiled(&list(&code("http://loinc.org", "55423-8"), &[("", "measure")])).unwrap();
    let later = compiled(&list(&code("http://loinc.org", "55423-8"), &[("", "later")])).unwrap();
    let mut over = of_measure.clone();
    over.is_current = false;
    let steps = measure("http://loinc.org", "55423-8").unwrap();
    let heart = measure("http://loinc.org", "8867-4").unwrap();
    let orders = [all.clone(), of_measure.clone(), later, of_category.clone()];
    assert_eq!(chosen(&orders, steps), Some(&of_measure), "the first of those that say as much");
    assert_eq!(chosen(&orders, heart), Some(&all));
    assert_eq!(chosen(&[over, of_category.clone(), all], steps), Some(&of_category));
    assert_eq!(chosen(&[], steps), None);
}

#[test]
fn the_first_that_is_listed_counts() {
    let (watch, phone, other) = (source("c", "health", "Watch"), source("c", "health", "Phone"), source("c", "x", ""));
    let cloud = source("cloud", "", "Watch");
    let clients = format!("{}/sid/client", crate::fhir::ours::BASE);
    let listed = order(&[("", "Watch"), ("", "Phone")]);
    let both = order(&[(&clients, "c"), (&clients, "cloud")]);
    let (one, overlapping, after) = ((0, 10), (9, 20), (10, 20));
    let check = |order: Option<&Order>, readings: &[(&Source, (i64, i64))], expected: &[Role]| {
        let placed: Vec<Placed<'_>> = readings
            .iter()
            .map(|(source, (start_ms, end_ms))| Placed { source, start_ms: *start_ms, end_ms: *end_ms })
            .collect();
        assert_eq!(decide(&placed, order), expected, "{readings:?}");
    };
    use Role::{Alone, First, Secondary, Undecided};
    check(Some(&listed), &[(&phone, one), (&watch, overlapping)], &[Secondary(0), First]);
    check(Some(&listed), &[(&phone, one), (&watch, after)], &[Alone, Alone]);
    check(Some(&listed), &[(&watch, one), (&watch, overlapping)], &[Alone, Alone]);
    check(Some(&listed), &[(&other, one), (&phone, overlapping)], &[Secondary(1), First]);
    check(None, &[(&phone, one), (&watch, overlapping)], &[Undecided, Undecided]);
    check(None, &[(&cloud, one), (&watch, overlapping)], &[Alone, Alone]);
    check(Some(&listed), &[(&cloud, one), (&phone, overlapping)], &[Alone, Alone]);
    check(Some(&both), &[(&cloud, one), (&phone, overlapping)], &[Secondary(0), First]);
    check(Some(&both), &[(&watch, one), (&phone, overlapping)], &[Undecided, Undecided]);
    // The middle one is hidden by the first, and hides the last all the same.
    let chain = order(&[("", "Watch"), ("", "Phone"), ("", "x")]);
    check(
        Some(&chain),
        &[(&watch, (0, 10)), (&phone, (5, 15)), (&other, (12, 20))],
        &[First, Secondary(0), Secondary(1)],
    );
}

proptest! {
    /// What came one by one, each decided beside what stood and standing ones only ever losing their count, ends as what
    /// came at once, in whichever order it came.
    #[test]
    fn the_order_of_arrival_makes_no_difference(
        readings in proptest::collection::vec((0_usize..5, 0_i64..60, 1_i64..30), 1..24),
        listed in proptest::collection::vec(0_usize..5, 0..4),
        shuffle in any::<u64>(),
    ) {
        let sources: Vec<Source> = (0..5).map(|index| source("c", "", &format!("d{index}"))).collect();
        let names: Vec<String> = listed.iter().map(|index| format!("d{index}")).collect();
        let entries: Vec<(&str, &str)> = names.iter().map(|name| ("", name.as_str())).collect();
        let order = (!entries.is_empty()).then(|| order(&entries));
        let placed: Vec<Placed<'_>> = readings
            .iter()
            .map(|(index, start, long)| Placed { source: &sources[*index], start_ms: *start, end_ms: start + long })
            .collect();
        let hidden = |role: &Role| matches!(role, Role::Secondary(_));
        let at_once: Vec<bool> = decide(&placed, order.as_ref()).iter().map(hidden).collect();
        let mut arrival: Vec<usize> = (0..placed.len()).collect();
        arrival.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(shuffle | 1).rotate_left(17));
        let mut standing: Vec<usize> = Vec::new();
        let mut secondary = vec![false; placed.len()];
        for index in arrival {
            let new = placed[index];
            let mut near: Vec<usize> = standing
                .iter()
                .copied()
                .filter(|known| placed[*known].start_ms < new.end_ms && placed[*known].end_ms > new.start_ms)
                .collect();
            near.push(index);
            let seen: Vec<Placed<'_>> = near.iter().map(|known| placed[*known]).collect();
            for (known, role) in near.iter().zip(decide(&seen, order.as_ref())) {
                secondary[*known] |= hidden(&role);
            }
            standing.push(index);
        }
        prop_assert_eq!(secondary, at_once);
    }
}
