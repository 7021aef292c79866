//! The example configuration: it is read as it stands and with every example switched on, and names the defaults.

use std::collections::BTreeMap;

use mhealth_gateway::config::Config;
use toml::Table;

const EXAMPLE: &str = include_str!("../../deploy/gateway.toml");

fn read(text: &str) -> Config {
    Config::read(Some(text), &BTreeMap::new()).unwrap_or_else(|mistakes| panic!("{}", mistakes.join("\n")))
}

/// Keys are commented out without a space, sentences with one.
fn switched_on() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()) => key,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_names_the_defaults() {
    let (example, default) = (read(EXAMPLE), read(""));
    assert_eq!(format!("{:?}", example.limits), format!("{:?}", default.limits));
    assert_eq!(format!("{:?}", example.exchange), format!("{:?}", default.exchange));
    assert_eq!((example.drain, example.base_url), (default.drain, default.base_url));
    assert!(example.destinations.is_empty());
    let all = read(&switched_on());
    let first = read(
        "[[destination]]\nname = 'a'\nactor = 'Organization/b'\n[destination.fhir]\nurl = 'https://platform.example/fhir'",
    );
    let (named, default) = (&all.destinations[0], &first.destinations[0]);
    assert_eq!(format!("{:?}{:?}", named.retry, named.circuit), format!("{:?}{:?}", default.retry, default.circuit));
    assert_eq!((&named.purpose, &named.rule.kinds), (&default.purpose, &default.rule.kinds));
    let times = |config: &Config| {
        let fhir = &config.destinations[0].fhir;
        (fhir.timeout_ms, fhir.connect_timeout_ms, fhir.batch)
    };
    assert_eq!(times(&all), times(&first));
}

/// Each key that the reference page lists, with its section, stands in the example.
#[test]
fn the_example_has_every_key() {
    let table: Table = switched_on().parse().unwrap();
    let has = |path: &[&str]| {
        let mut places = vec![toml::Value::Table(table.clone())];
        for segment in path {
            places = places
                .into_iter()
                .flat_map(|place| match place {
                    toml::Value::Array(list) => list,
                    other => vec![other],
                })
                .filter_map(|place| place.get(segment).cloned())
                .collect();
        }
        !places.is_empty()
    };
    let misspelt = |section: &str| {
        let text = if section.is_empty() { "nothing = 1".to_owned() } else { format!("[{section}]\nnothing = 1") };
        Config::read(Some(&text), &BTreeMap::new()).unwrap_err().join(" ")
    };
    for section in ["", "limits", "exchange", "tls"] {
        // serde names the keys that it would have taken.
        let mistakes = misspelt(section);
        let keys: Vec<&str> = mistakes.split("expected").nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(keys.len() > 1, "{mistakes}");
        for key in keys {
            let path: Vec<&str> = [section, key].into_iter().filter(|part| !part.is_empty()).collect();
            assert!(has(&path), "deploy/gateway.toml lacks {}", path.join("."));
        }
    }
}
