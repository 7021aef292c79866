//! What the index finds, in which order, page by page.

use super::*;
use crate::store::database::schema;
use crate::store::database::writer::Ledger;
use crate::store::{CodeKey, Glimpse, HistoryPlan, OTHER_LABELS, Order, OrderBy, Pass, Sieve, Stored, Token, TokenKey};

const LOINC: &str = "http://loinc.org";

/// Names sort as they are created; hour is the date and minute the update.
fn dated(patient: PatientKey, name: &str, code: &str, hour: i64) -> Write {
    Write {
        codes: vec![(LOINC.to_owned(), code.to_owned())],
        date: Some(Dated::At(hour)),
        updated_ms: 1000 - hour,
        ..observation(patient, name, name)
    }
}

fn order(by: OrderBy, descending: bool) -> Order {
    Order { by, descending }
}

fn of_patient(number: u8) -> Plan {
    Plan { patients: Some(vec![patient(number)]), order: order(OrderBy::Date, false), ..Plan::of("Observation") }
}

async fn names(fixture: &Fixture, plan: Plan) -> String {
    let page = fixture.store.search(plan).await.unwrap();
    page.rows.iter().map(|row| String::from_utf8(row.payload.clone()).unwrap()).collect()
}

async fn stocked(fixture: Fixture) -> Fixture {
    let both = vec![(LOINC.to_owned(), "rate".to_owned()), ("local".to_owned(), "rate".to_owned())];
    fixture.put(Write { codes: both, ..dated(patient(1), "a", "rate", 30) }).await;
    fixture.put(dated(patient(1), "b", "mass", 10)).await;
    fixture.put(Write { owner: "watch".into(), ..dated(patient(1), "c", "rate", 20) }).await;
    fixture.put(dated(patient(2), "d", "rate", 15)).await;
    fixture.put(Write { date: None, codes: Vec::new(), ..dated(patient(1), "e", "", 40) }).await;
    let token = Token { param: "identifier", system: "urn:x".to_owned(), value: "7".to_owned() };
    let condition = Write { kind: "Condition".into(), tokens: vec![token], ..dated(patient(1), "f", "rate", 25) };
    fixture.put(condition).await;
    fixture
}

#[tokio::test]
async fn what_was_decided_by_other_consents_is_not_looked_for() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let plan = Plan { epochs: vec![(patient(1), 0), (patient(2), 0)], ..of_patient(1) };
        assert_eq!(names(&fixture, plan.clone()).await, "ebca");
        fixture.put(consent(patient(2), "g")).await;
        let page = fixture.store.search(plan.clone()).await.unwrap();
        assert!(page.stale && page.rows.is_empty() && page.looked_at == 0);
        assert_eq!(names(&fixture, Plan { epochs: vec![(patient(1), 0), (patient(2), 1)], ..plan }).await, "ebca");
    }
}

/// What goes on for long has its place in the order, and is looked at wherever it may reach.
#[tokio::test]
async fn what_goes_on_for_long_lies_where_it_began() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        for (name, since) in [("x", 5), ("y", 20), ("z", 35)] {
            fixture.put(Write { date: Some(Dated::Long(since)), ..dated(patient(1), name, "rate", 50) }).await;
        }
        let rate = Some(vec![CodeKey { system: None, code: "rate".to_owned() }]);
        for (descending, all, within) in [(false, "exbcyaz", "xcy"), (true, "zaycbxe", "ycx")] {
            let by_date = order(OrderBy::Date, descending);
            let plan = Plan { order: by_date, ..of_patient(1) };
            assert_eq!(names(&fixture, plan.clone()).await, all);
            let mut paged = String::new();
            let mut page = Plan { limit: 1, ..plan.clone() };
            loop {
                let found = fixture.store.search(page.clone()).await.unwrap();
                paged.extend(found.rows.iter().map(|row| String::from_utf8(row.payload.clone()).unwrap()));
                let Some(next) = found.next else { break };
                page.after = Some(next);
            }
            assert_eq!(paged, all, "page by page");
            let plan = Plan { codes: rate.clone(), date: Some((15, 30)), ..plan };
            assert_eq!(names(&fixture, plan).await, within, "within a time");
        }
        let listed = ["x", "z", "b"].map(|name| id(patient(1), name).to_string()).to_vec();
        let plan = Plan { ids: Some(listed), order: order(OrderBy::Date, false), ..Plan::of("Observation") };
        assert_eq!(names(&fixture, plan).await, "xbz");
    }
}

/// However much the sieve keeps back, the search looks at no more, and knows that there is some.
#[tokio::test]
async fn what_the_sieve_keeps_back_costs_nothing() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let sieve = Sieve::new(
            |of| (of.patient != patient(1) || of.coding != Some((LOINC, "mass"))).then_some(ALL),
            |_| Pass::Through,
        );
        let mut looked_at = Vec::new();
        for hidden in [1, 10, 100] {
            for number in 0..hidden {
                fixture.put(dated(patient(1), &format!("{hidden}.{number}"), "mass", 10 + number)).await;
            }
            for descending in [false, true] {
                let plan = Plan {
                    patients: Some(vec![patient(1), patient(2)]),
                    order: order(OrderBy::Date, descending),
                    limit: 3,
                    sieve: Some(sieve.clone()),
                    ..of_patient(1)
                };
                let first = fixture.store.search(plan.clone()).await.unwrap();
                let rest = fixture.store.search(Plan { after: first.next, ..plan.clone() }).await.unwrap();
                let read = |rows: &[Stored]| -> String {
                    rows.iter().map(|row| String::from_utf8(row.payload.clone()).unwrap()).collect()
                };
                let expected = if descending { ("acd", "e") } else { ("edc", "a") };
                assert_eq!((read(&first.rows).as_str(), read(&rest.rows).as_str()), expected);
                assert_eq!(first.kept_back.len(), 1, "one of each run");
                let sorted = Plan { order: order(OrderBy::Updated, descending), limit: 9, ..plan };
                let sorted = fixture.store.search(sorted).await.unwrap();
                assert_eq!(sorted.rows.len(), 4);
                looked_at.push(first.looked_at + rest.looked_at + sorted.looked_at);
            }
        }
        assert!(looked_at.iter().all(|rows| rows == &looked_at[0]), "{looked_at:?}");
    }
}

/// What carries labels lies apart: however much of it is kept back, no more is looked at; whoever may see it finds it in its
/// place, by codes and without, after it was changed, and not after the person was erased.
#[tokio::test]
async fn what_is_kept_back_for_its_labels_costs_nothing() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let code = |code: &str| CodeKey { system: Some(LOINC.to_owned()), code: code.to_owned() };
        let plans = [None, Some(vec![code("rate")])].map(|codes| Plan { codes, limit: 2, ..of_patient(1) });
        let open = Sieve::new(|of| (of.labels == Some(0)).then_some(ALL), |_| Pass::Through);
        let mut looked_at = Vec::new();
        for hidden in [0, 1, 10, 100] {
            for number in 0..hidden {
                let name = format!("{hidden}.{number}");
                let labels = 1 + number as u16 % 3;
                fixture.put(Write { labels, ..dated(patient(1), &name, "rate", 10 + number) }).await;
            }
            let mut all = 0;
            for (plan, expected) in plans.iter().zip(["eb", "ca"]) {
                let plan = Plan { sieve: Some(open.clone()), ..plan.clone() };
                let page = fixture.store.search(plan.clone()).await.unwrap();
                let read: Vec<u8> = page.rows.iter().flat_map(|row| row.payload.clone()).collect();
                assert_eq!(String::from_utf8(read).unwrap(), expected);
                assert_eq!(page.kept_back.is_empty(), hidden == 0);
                all += page.looked_at;
            }
            looked_at.push(all);
        }
        assert!(looked_at.iter().all(|rows| rows == &looked_at[0]), "{looked_at:?}");

        let changed = Write { labels: 0, ..dated(patient(1), "1.0", "rate", 5) };
        fixture.put(update(changed, 1, "z")).await;
        for sieve in [Some(open), None] {
            let plan = Plan { sieve: sieve.clone(), limit: 1000, ..plans[1].clone() };
            let found = names(&fixture, plan).await;
            assert!(found.starts_with('z'), "{found}");
            assert_eq!(found.contains("100.99"), sieve.is_none());
            assert_eq!(found.matches('.').count(), if sieve.is_none() { 110 } else { 0 });
        }
        begin_erasure(&fixture, 1).await;
        while fixture.store.erase_step(patient(1)).await.unwrap() {}
        assert_eq!(labelled(&fixture).await, 0);
    }
}

/// However many sets of labels somebody thinks up, the index has few parts, and what is in them is found all the same.
#[tokio::test]
async fn many_sets_of_labels_lie_together() {
    for fixture in Fixture::both() {
        for labels in 1..=40 {
            fixture.put(Write { labels, ..dated(patient(1), &format!("{labels} "), "rate", labels.into()) }).await;
        }
        let plan = Plan { limit: 100, ..of_patient(1) };
        let all = names(&fixture, plan.clone()).await;
        assert_eq!(all.split(' ').filter(|name| !name.is_empty()).count(), 40);
        let page = fixture.store.search(plan.clone()).await.unwrap();
        assert_eq!(page.parts, 33);
        let known =
            Sieve::new(|of| of.labels.is_none_or(|labels| labels != OTHER_LABELS).then_some(ALL), |_| Pass::Through);
        assert_eq!(fixture.store.search(Plan { sieve: Some(known), ..plan }).await.unwrap().rows.len(), 32);
        let changed = Write { labels: 3, ..dated(patient(1), "40 ", "rate", 40) };
        fixture.put(update(changed, 1, "z")).await;
        assert!(names(&fixture, of_patient(1)).await.ends_with('z'));
    }
}

/// A store of a time when labels were not told apart: of what lies under none, nothing is known; and what lies apart goes back
/// to its code where the store goes back to that time.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_from_before_labels_were_told_apart_is_gone_through() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let condition = || Plan { kind: "Condition".into(), ..of_patient(1) };
        fixture.put(Write { labels: 7, ..dated(patient(1), "g", "rate", 35) }).await;
        let coded = Write { kind: "Condition".into(), ..dated(patient(1), "h", "", 36) };
        fixture.put(Write { codes: Vec::new(), labels: 7, ..coded.clone() }).await;
        assert_eq!(labelled(&fixture).await, 2);
        let Fixture { dir, place, store } = fixture;
        drop(Arc::into_inner(store).unwrap());
        let before = schema::MARKED - 2;
        Store::migrate(&place, before).unwrap();
        Store::migrate(&place, Store::newest_schema()).unwrap();
        let store = Arc::new(Store::open(&place).unwrap());
        let fixture = Fixture { dir, place, store };
        assert_eq!(labelled(&fixture).await, 0);
        let none = Sieve::new(|of| of.labels.is_none().then_some(ALL), |_| Pass::Through);
        for (plan, expected) in [(of_patient(1), "ebcag"), (condition(), "fh")] {
            for sieve in [None, Some(none.clone())] {
                assert_eq!(names(&fixture, Plan { sieve, ..plan.clone() }).await, expected);
            }
        }
        // What comes to it now has its place, also where it stood under none before.
        fixture.put(Write { codes: Vec::new(), labels: 8, ..update(coded, 1, "i") }).await;
        assert_eq!(labelled(&fixture).await, 1);
        assert_eq!(names(&fixture, condition()).await, "fi");
        let others = Sieve::new(|of| (of.labels != Some(8)).then_some(ALL), |_| Pass::Through);
        assert_eq!(names(&fixture, Plan { sieve: Some(others), ..condition() }).await, "f");
    }
}

/// Rows of the index that lie apart.
async fn labelled(fixture: &Fixture) -> i64 {
    const SQL: &str = "SELECT COUNT(*) FROM entry WHERE code > 4294967295 OR code < -4294967295";
    let count = |ledger: &mut Ledger| Ok(ledger.connection.prepare_cached(SQL)?.query_row((), |row| row.get(0))?);
    fixture.store.writer.call(1, count).await.unwrap()
}

const ALL: (i64, i64) = (i64::MIN, i64::MAX);

fn sifted(plan: Plan, rows: impl Fn(&Glimpse<'_>) -> Pass + Send + Sync + 'static) -> Plan {
    Plan { sieve: Some(Sieve::new(|_| Some(ALL), rows)), ..plan }
}

async fn execute(fixture: &Fixture, sql: &'static str) {
    fixture.store.writer.call(1, move |ledger| Ok(ledger.connection.execute(sql, ())?)).await.unwrap();
}

/// What is judged by what was written beside it is not opened; what has nothing beside it is handed over.
#[tokio::test]
async fn a_row_is_judged_before_it_is_opened() {
    let with = |name: &str, hour: i64, gist: &str| Write {
        gist: gist.as_bytes().to_vec(),
        ..dated(patient(1), name, "rate", hour)
    };
    for fixture in Fixture::both() {
        for number in 0..40 {
            fixture.put(with(&format!("hidden {number}"), number, "hidden")).await;
        }
        fixture.put(with("a", 10, "shown")).await;
        fixture.put(with("b", 20, "")).await;
        fixture.put(Write { patient: None, ..with("c", 30, "of nobody") }).await;
        let judge = |pass: Pass| {
            move |glimpse: &Glimpse<'_>| {
                assert_eq!(glimpse.patient, patient(1));
                assert_eq!(glimpse.logical_id().len(), 36);
                if glimpse.gist == b"hidden" { pass } else { Pass::Through }
            }
        };
        for by in [OrderBy::Date, OrderBy::Updated] {
            let plan = Plan { order: order(by, false), limit: 1, ..of_patient(1) };
            let page = fixture.store.search(sifted(plan, judge(Pass::KeptBack))).await.unwrap();
            assert_eq!(page.rows.len(), 1);
            assert_eq!(page.kept_back.len(), 16, "a few of them tell that there are some");
            assert!(page.kept_back.iter().all(|stored| stored.gist.as_deref() == Some(b"hidden")));
        }
        // Nobody who may not open it comes so far as to notice.
        execute(
            &fixture,
            "UPDATE resource SET payload = sealed_by_nobody.payload FROM
            (SELECT payload FROM resource WHERE patient IS NULL) sealed_by_nobody WHERE date < 10",
        )
        .await;
        let page = fixture.store.search(sifted(of_patient(1), judge(Pass::Out))).await.unwrap();
        let gists: Vec<Option<&[u8]>> = page.rows.iter().map(|stored| stored.gist.as_deref()).collect();
        assert_eq!(gists, [Some(&b"shown"[..]), None]);
        assert!(page.kept_back.is_empty() && page.next.is_none());
        fixture.store.search(of_patient(1)).await.unwrap_err();
        // Of nobody it lies plain, and no sieve is asked.
        let page = fixture.store.search(sifted(Plan::of("Observation"), |_| Pass::Out)).await.unwrap();
        assert_eq!(
            page.rows.iter().map(|stored| stored.gist.clone().unwrap_or_default()).collect::<Vec<_>>(),
            [b"".to_vec(), b"of nobody".to_vec()]
        );
    }
}

#[tokio::test]
async fn what_has_no_gist_yet_is_given_one() {
    for fixture in Fixture::both() {
        fixture.put(Write { gist: b"known".to_vec(), ..dated(patient(1), "a", "rate", 1) }).await;
        let changed = dated(patient(1), "b", "rate", 2);
        fixture.put(changed.clone()).await;
        fixture.put(Write { patient: None, ..dated(patient(1), "c", "rate", 3) }).await;
        fixture.put(dated(patient(2), "d", "rate", 4)).await;
        execute(&fixture, "UPDATE resource SET gist = NULL WHERE date > 1").await;
        let (first, next) = fixture.store.without_gist(0, 2).await.unwrap();
        assert_eq!(first.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [2, 3]);
        let (rest, next) = fixture.store.without_gist(next.unwrap(), 2).await.unwrap();
        assert_eq!((rest.len(), next), (1, Some(4)));
        assert_eq!(fixture.store.without_gist(4, 2).await.unwrap(), (Vec::new(), None));
        let made = |stored: &Stored| (stored.seq, stored.version, [b"of ", &stored.payload[..]].concat());
        let gists = first.iter().chain(&rest).map(made).collect();
        // One was changed meanwhile, and what it says now was made with it.
        fixture.put(Write { gist: b"later".to_vec(), ..update(changed, 1, "B") }).await;
        fixture.store.add_gists(gists).await.unwrap();
        let rows = fixture.store.search(Plan::of("Observation")).await.unwrap().rows;
        let gists: Vec<&[u8]> = rows.iter().map(|stored| stored.gist.as_deref().unwrap()).collect();
        assert_eq!(gists, [&b"known"[..], b"later", b"of c", b"of d"]);
        assert_eq!(fixture.store.without_gist(0, 9).await.unwrap().0, Vec::new());
    }
}

/// What lies outside of the dates that are worth looking at is not looked at; what has no date is.
#[tokio::test]
async fn dates_that_nothing_is_permitted_of_are_not_gone_through() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let sieve = Sieve::new(|of| Some(if of.patient == patient(1) { (15, 30) } else { ALL }), |_| Pass::Through);
        for (descending, expected) in [(false, "edc"), (true, "cde")] {
            let plan = Plan {
                patients: Some(vec![patient(1), patient(2)]),
                order: order(OrderBy::Date, descending),
                sieve: Some(sieve.clone()),
                ..of_patient(1)
            };
            assert_eq!(names(&fixture, plan.clone()).await, expected);
            let page = fixture.store.search(plan.clone()).await.unwrap();
            assert_eq!((page.looked_at, page.kept_back.len()), (3, 2), "one of each run, and each once");
            assert_eq!(
                names(&fixture, Plan { date: Some((0, 20)), ..plan }).await,
                if descending { "de" } else { "ed" }
            );
        }
    }
}

#[tokio::test]
async fn every_part_of_a_plan_narrows() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let check =
            async |plan: Plan, expected: &str| assert_eq!(names(&fixture, plan.clone()).await, expected, "{plan:?}");
        let code = |system: Option<&str>, code: &str| {
            Some(vec![CodeKey { system: system.map(str::to_owned), code: code.to_owned() }])
        };
        check(of_patient(1), "ebca").await;
        check(Plan { order: order(OrderBy::Date, true), ..of_patient(1) }, "acbe").await;
        check(Plan { order: order(OrderBy::Updated, false), ..of_patient(1) }, "eacb").await;
        check(Plan { order: order(OrderBy::Seq, true), ..of_patient(1) }, "ecba").await;
        check(Plan { patients: Some(vec![patient(2), patient(1), patient(2)]), ..of_patient(1) }, "ebdca").await;
        check(Plan { patients: Some(Vec::new()), ..of_patient(1) }, "").await;
        check(Plan { codes: code(None, "rate"), ..of_patient(1) }, "ca").await;
        check(Plan { codes: code(Some("local"), "rate"), ..of_patient(1) }, "a").await;
        check(Plan { codes: code(Some("none"), "rate"), ..of_patient(1) }, "").await;
        check(Plan { codes: code(None, "rate"), ..Plan::of("Observation") }, "acd").await;
        check(Plan { codes: code(None, "rate"), ..Plan::of("Condition") }, "f").await;
        // What has no date may lie on any.
        check(Plan { date: Some((10, 30)), ..of_patient(1) }, "ebc").await;
        check(Plan { date: Some((10, 30)), order: order(OrderBy::Date, true), ..of_patient(1) }, "cbe").await;
        check(Plan { date: Some((10, 30)), order: order(OrderBy::Date, true), ..Plan::of("Observation") }, "cdbe")
            .await;
        check(Plan { updated: Some((970, 981)), ..of_patient(1) }, "ca").await;
        check(Plan { owner: Some("watch".into()), ..of_patient(1) }, "c").await;
        check(Plan { as_of_seq: Some(2), ..of_patient(1) }, "ba").await;
        check(Plan::of("Observation"), "abcde").await;
        check(Plan { order: order(OrderBy::Seq, true), ..Plan::of("Observation") }, "edcba").await;
        check(Plan::of("Unknown"), "").await;
        let ids = ["b", "a", "nothing"].map(|name| id(patient(1), name).to_string()).to_vec();
        check(Plan { ids: Some(ids), ..of_patient(1) }, "ba").await;
        let token = |system: Option<&str>, value: &str| {
            Some(TokenKey {
                param: "identifier".to_owned(),
                system: system.map(str::to_owned),
                value: value.to_owned(),
            })
        };
        check(Plan { token: token(None, "7"), ..Plan::of("Condition") }, "f").await;
        check(Plan { token: token(Some("urn:x"), "7"), ..Plan::of("Condition") }, "f").await;
        check(Plan { token: token(Some(""), "7"), ..Plan::of("Condition") }, "").await;
        check(Plan { token: token(None, "7"), ..Plan::of("Observation") }, "").await;
    }
}

#[tokio::test]
async fn updates_move_a_row_in_the_index() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let moved = Write { date: Some(Dated::At(5)), ..update(dated(patient(1), "a", "mass", 30), 1, "A") };
        fixture.put(moved).await;
        assert_eq!(names(&fixture, of_patient(1)).await, "eAbc");
        let codes = Some(vec![CodeKey { system: None, code: "rate".to_owned() }]);
        assert_eq!(names(&fixture, Plan { codes, ..of_patient(1) }).await, "c");
    }
}

#[tokio::test]
async fn pages_stay_as_they_were_while_rows_arrive() {
    for by in [OrderBy::Date, OrderBy::Updated, OrderBy::Seq] {
        for descending in [false, true] {
            for patients in [None, Some(vec![patient(1)])] {
                check_pages(Plan { patients, order: order(by, descending), limit: 7, ..Plan::of("Observation") }).await;
            }
        }
    }
}

/// 150 rows, more than a source fetches at a time, with several of the same date.
async fn check_pages(mut plan: Plan) {
    for fixture in Fixture::both() {
        let row = |number: i64| {
            dated(patient(1), &format!("{number},"), ["rate", "mass"][number as usize % 2], number * 7 % 50)
        };
        fixture.accept(unit((0..150).map(row).collect())).await;
        let whole = names(&fixture, Plan { limit: 1000, ..plan.clone() }).await;
        let mut paged = String::new();
        let mut arrived = 150;
        loop {
            let page = fixture.store.search(plan.clone()).await.unwrap();
            assert!(page.rows.len() <= 7 && !page.exhausted_budget);
            plan.as_of_seq.get_or_insert(page.high_seq);
            paged.extend(page.rows.iter().map(|row| str::from_utf8(&row.payload).unwrap()));
            let Some(next) = page.next else { break };
            plan.after = Some(next);
            fixture.accept(unit(vec![row(arrived), row(arrived + 1)])).await;
            arrived += 2;
        }
        assert_eq!(paged, whole, "{:?}", plan.order);
    }
}

#[tokio::test]
async fn a_spent_budget_says_so() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let rare = Plan { owner: Some("watch".into()), scan_budget: 2, ..of_patient(1) };
        let page = fixture.store.search(rare.clone()).await.unwrap();
        assert!(page.exhausted_budget && page.rows.is_empty());
        let page = fixture.store.search(Plan { after: page.next, ..rare.clone() }).await.unwrap();
        assert_eq!((page.rows.len(), page.exhausted_budget, page.next), (1, false, None));
        let unsorted = Plan { order: order(OrderBy::Updated, false), ..rare };
        let page = fixture.store.search(unsorted).await.unwrap();
        assert_eq!((page.exhausted_budget, page.next), (true, None));
    }
}

#[tokio::test]
async fn what_was_changed_within_a_time_is_read_in_that_order() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let recent = |descending| Plan { order: order(OrderBy::Updated, descending), ..Plan::of("Observation") };
        assert_eq!(names(&fixture, recent(false)).await, "eacdb");
        assert_eq!(names(&fixture, recent(true)).await, "bdcae");
        assert_eq!(names(&fixture, Plan { updated: Some((970, 986)), ..recent(false) }).await, "acd");
        assert_eq!(names(&fixture, Plan { updated: Some((970, 985)), ..recent(true) }).await, "ca");
        let first = fixture.store.search(Plan { limit: 2, ..recent(true) }).await.unwrap();
        assert_eq!(names(&fixture, Plan { after: first.next, limit: 2, ..recent(true) }).await, "ca");
        // A budget that runs out leaves a place to go on from.
        let short = fixture.store.search(Plan { scan_budget: 3, ..recent(false) }).await.unwrap();
        assert_eq!((short.rows.len(), short.exhausted_budget, short.next.is_some()), (3, true, true));
    }
}

#[tokio::test]
async fn versions_go_back_in_time() {
    for fixture in Fixture::both() {
        let fixture = stocked(fixture).await;
        let changed = |from, text: &str, updated_ms| Write {
            updated_ms,
            ..update(dated(patient(1), "a", "rate", 30), from, text)
        };
        fixture.put(changed(1, "A", 2000)).await;
        fixture.put(Write { delete: true, ..changed(2, "x", 3000) }).await;
        let plan = |kinds: &[&str], id: Option<&str>| HistoryPlan {
            kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
            id: id.map(|name| super::id(patient(1), name).to_string()),
            since_ms: None,
            after: None,
            limit: 100,
        };
        let told = async |plan: HistoryPlan| {
            let (versions, next) = fixture.store.history(plan).await.unwrap();
            let text: String =
                versions.rows.iter().map(|version| String::from_utf8(version.payload.clone()).unwrap()).collect();
            (text, next)
        };
        assert_eq!(told(plan(&["Observation"], Some("a"))).await.0, "xAa");
        assert_eq!(told(plan(&["Condition"], Some("a"))).await.0, "");
        assert_eq!(told(plan(&["Observation"], None)).await.0, "xAbdcae");
        assert_eq!(told(plan(&["Condition"], None)).await.0, "f");
        assert_eq!(told(plan(&["Observation", "Condition", "Unknown"], None)).await.0, "xAbdcfae");
        assert_eq!(told(HistoryPlan { since_ms: Some(985), ..plan(&["Observation"], None) }).await.0, "xAbd");
        let mut whole = String::new();
        let mut after = None;
        loop {
            let (text, next) = told(HistoryPlan { after, limit: 2, ..plan(&["Observation"], None) }).await;
            whole.push_str(&text);
            after = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(whole, "xAbdcae");
        // What was deleted is found by whoever looks for all that there is.
        assert_eq!(names(&fixture, of_patient(1)).await, "ebc");
        assert_eq!(names(&fixture, Plan { deleted: true, ..of_patient(1) }).await, "ebcx");
    }
}
