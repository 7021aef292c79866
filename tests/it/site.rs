//! The guide's site as it is served: pages in a browser, files, the package, and what the headers promise.

use std::path::Path;

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::guide::ethics::{CLAUSES, Held};
use serde_json::{Value, json};

use crate::fixture::{Gateway, browse};

#[tokio::test(flavor = "multi_thread")]
async fn people_find_their_way_through_the_pages() {
    let gateway = Gateway::start().await;
    let task = json!({"guide": gateway.base.replace("/fhir", "/guide"), "downloads": gateway.path()});
    browse("guide_check.mjs", task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_cached_and_load_nothing_from_elsewhere() {
    let gateway = Gateway::start().await;
    let guide = gateway.base.replace("/fhir", "/guide");
    let get = async |path: &str, tag: Option<&str>| {
        let request = gateway.http.get(format!("{guide}{path}"));
        let request = tag.map_or(request.try_clone().unwrap(), |tag| request.header("if-none-match", tag));
        request.send().await.unwrap()
    };
    for (path, media_type) in [
        ("/", "text/html"),
        ("/issues", "text/html"),
        ("/issues.html", "text/html"),
        ("/site.css", "text/css"),
        ("/StructureDefinition-mh-heart-rate.json", "application/fhir+json"),
        ("/StructureDefinition-mh-heart-rate.xml", "application/fhir+xml"),
        ("/package.tgz", "application/gzip"),
        ("/0.1.0/", "text/html"),
        ("/0.1.0/StructureDefinition-mh-score", "text/html"),
        ("/0.1.0/StructureDefinition-mh-score.json", "application/fhir+json"),
        ("/0.1.0/package.tgz", "application/gzip"),
    ] {
        let answer = get(path, None).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(header("content-type").starts_with(media_type), "{path}: {}", header("content-type"));
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(header("cache-control"), "public, max-age=600", "{path}");
        let again = get(path, Some(&header("etag"))).await;
        assert_eq!((again.status().as_u16(), again.content_length()), (304, Some(0)), "{path}");
    }
    assert_eq!(get("/no-such-page", None).await.status(), 404);
    // Without the slash the pages' links would lead astray.
    let moved = get("", None).await;
    assert_eq!((moved.status().as_u16(), moved.headers()["location"].to_str().unwrap()), (308, "/guide/"));
    let moved = get("/0.1.0", None).await;
    assert_eq!((moved.status().as_u16(), moved.headers()["location"].to_str().unwrap()), (308, "/guide/0.1.0/"));
    for unknown in ["/7.7.7/", "/7.7.7/issues", "/0.1.0/no-such-page", "/7.7.7/explain?q=sleep"] {
        assert_eq!(get(unknown, None).await.status(), 404, "{unknown}");
    }
    for address in ["/explain?q=0.1.0", "/0.1.0/explain?q=v0.1.0"] {
        let explained = get(address, None).await.text().await.unwrap();
        assert!(explained.contains("Version 0.1.0 of the guide"), "{address}");
    }
    let explained = get("/0.1.0/explain?q=64394-0", None).await.text().await.unwrap();
    assert!(explained.contains("This is version 0.1.0") && explained.contains("perceived-stress"));
    let posted = gateway.http.post(format!("{guide}/issues")).send().await.unwrap();
    assert_eq!(posted.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_package_is_one_that_validators_load() {
    let gateway = Gateway::start().await;
    let address = gateway.base.replace("/fhir", "/guide/package.tgz");
    let bytes = gateway.http.get(address).send().await.unwrap().bytes().await.unwrap();
    let package = Package::read(&bytes).unwrap();
    let registry = Registry::with_packages(vec![package.into()]);
    let heart_rate = registry.structure("https://mhealth-gateway.org/fhir/StructureDefinition/mh-heart-rate").unwrap();
    assert!(heart_rate.elements.len() > 60, "{}", heart_rate.elements.len());
    assert_eq!(registry.defects().count(), 0);
}

/// A clause that names a test that nobody runs is held by nothing.
#[test]
fn the_tests_that_hold_the_code_of_ethics_exist() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    for clause in CLAUSES {
        let Held::ByTests(tests) = clause.held else { continue };
        for test in tests {
            let (module, name) = test.rsplit_once("::").unwrap();
            let places = [format!("tests/it/{module}.rs"), format!("src/{}/tests.rs", module.replace("::", "/"))];
            let texts = places.iter().filter_map(|place| std::fs::read_to_string(home.join(place)).ok());
            let holds = |text: &str| text.contains(&format!("fn {name}("));
            assert!(texts.into_iter().any(|text| holds(&text)), "{}: no test {test}", clause.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_read_and_searched_without_a_token() {
    let gateway = Gateway::start().await;
    let get = async |path: &str| {
        let answer = gateway.http.get(format!("{}{path}", gateway.base)).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    let ids = |bundle: &Value| -> Vec<String> {
        let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        entries.map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
    };
    let (status, profile) = get("/StructureDefinition/mh-heart-rate").await;
    assert_eq!(status, 200);
    assert!(profile["snapshot"]["element"].as_array().unwrap().len() > 60);
    let url = profile["url"].as_str().unwrap();
    for (path, expected) in [
        (format!("/StructureDefinition?url={url}"), "mh-heart-rate"),
        ("/StructureDefinition?base=http://hl7.org/fhir/StructureDefinition/heartrate".to_owned(), "mh-heart-rate"),
        ("/Questionnaire?title=nine".to_owned(), "phq-9"),
        ("/CodeSystem?name=MhealthGatewayIssue".to_owned(), "issue"),
    ] {
        let (status, found) = get(&path).await;
        assert_eq!((status, ids(&found)), (200, vec![expected.to_owned()]), "{path}: {found}");
    }
    // Pages hold as many as asked for, and together everything once.
    let (mut all, mut path, mut pages) = (Vec::new(), "/ValueSet?_count=30&status=draft".to_owned(), 0);
    loop {
        let (_, page) = get(&path).await;
        pages += 1;
        all.extend(ids(&page));
        assert!(ids(&page).len() <= 30);
        let next = page["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next");
        let Some(next) = next else {
            assert_eq!(page["total"], all.len());
            break;
        };
        path = next["url"].as_str().unwrap().replace(&gateway.base, "");
    }
    all.sort();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(pages > 2 && count > 60, "{pages} {count}");
    // Of earlier versions whoever asks for one, under ids of their own; strangers are not sent megabytes.
    let (_, found) = get(&format!("/StructureDefinition?url={url}&version=0.1.0")).await;
    assert_eq!(ids(&found), ["mh-heart-rate-v0.1.0"], "{found}");
    let (status, earlier) = get("/StructureDefinition/mh-heart-rate-v0.1.0").await;
    assert_eq!((status, &earlier["version"], &earlier["id"]), (200, &json!("0.1.0"), &json!("mh-heart-rate-v0.1.0")));
    assert_eq!(get("/StructureDefinition/mh-heart-rate-v7.7.7").await.0, 404);
    let (_, page) = get("/StructureDefinition?_count=1000").await;
    assert!(page.to_string().len() < 600_000 && ids(&page).len() > 1, "{}", page.to_string().len());
    assert_eq!(get("/StructureDefinition/no-such").await.0, 404);
    assert_eq!(get("/StructureDefinition?no-such=1").await.0, 400);
    assert_eq!(get("/StructureDefinition?_page=x").await.0, 410);
    assert_eq!(get("/Observation").await.0, 401);
    let posted = gateway.http.post(format!("{}/StructureDefinition", gateway.base)).body("{}").send().await.unwrap();
    assert_eq!(posted.status(), 401);
}
