//! What the documents say is so: their examples work, their links lead somewhere, no key is missing.

use std::path::{Path, PathBuf};

use clap::Parser;
use mhealth_gateway::commands::Arguments;
use mhealth_gateway::exchange::subscribe;
use mhealth_gateway::{config, exchange, server};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::fixture::{Gateway, PROGRAM, Process, heart_rate};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consent_to_copy_is_accepted_and_does_what_the_page_says() {
    let page = read("docs/consent.md");
    let example = page.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let gateway = Gateway::start().await;
    let app = gateway.client("my-app", crate::fixture::APP_SCOPES).await;
    let patient = app.person().await;
    let consent = example.replace("REPLACE-WITH-THE-ID", &patient);
    let recorded = app.send(reqwest::Method::POST, "/Consent", consent).await;
    assert_eq!(recorded.status, 201, "{recorded:?}");
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "1", 60)).await.status, 201);
    assert_eq!(app.withdraw(&recorded.id()).await.status, 200);
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "2", 60)).await.status, 403);
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let page = read("docs/configuration.md");
    let keys = |section: &str, printed: String| -> Vec<String> {
        let fields = printed
            .lines()
            .filter_map(|line| line.trim().split_once(": ").map(|(name, _)| name.to_owned()))
            .collect::<Vec<_>>();
        assert!(!fields.is_empty());
        fields.into_iter().map(|field| format!("`{section}.{field}`")).collect()
    };
    let mut all = keys("limits", format!("{:#?}", server::limits::Limits::default()));
    all.extend(keys("exchange", format!("{:#?}", exchange::Config::default())));
    all.extend(keys("validation", format!("{:#?}", config::Validation::default())));
    all.extend(keys("guide", format!("{:#?}", config::Guide::default())));
    all.extend(keys("packs", format!("{:#?}", config::Packs::default())));
    all.extend(keys("devices", format!("{:#?}", config::Devices::default())));
    let subscribe::Config { endpoints, .. } = subscribe::Config::default();
    let inside = keys("subscriptions.endpoints", format!("{endpoints:#?}"));
    let nested = |key: &String| inside.contains(&key.replace("subscriptions.", "subscriptions.endpoints."));
    let subscriptions = keys("subscriptions", format!("{:#?}", subscribe::Config::default()));
    all.extend(subscriptions.into_iter().filter(|key| !nested(key) && !key.contains(".endpoints")));
    all.extend(inside);
    all.retain(|key| key != "`exchange.bundle_entries`");
    for key in all {
        assert!(page.contains(&key), "{key} is missing in docs/configuration.md");
    }
}

#[test]
fn relative_links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages(&root()) {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !page.parent().is_some_and(|folder| folder.join(target).exists()) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_dir() && !name.starts_with('.') && !matches!(name.as_str(), "target" | "node_modules" | "data") {
            found.extend(pages(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "md") {
            found.push(entry);
        }
    }
    found
}

/// Blocks of a language in a page.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Commands of the program that a page shows, as arguments behind the program's name.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut lines: Vec<String> = blocks(page, "sh").iter().flat_map(|block| joined(block)).collect();
    // Of the rest, what stands in back quotes.
    let prose: String = page.split("```").step_by(2).collect();
    lines.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
    let starts = ["mhealth-gateway ", "$G ", "cargo run --release -- ", "cargo run -- "];
    let mut found = Vec::new();
    for line in lines {
        for start in starts {
            for (at, _) in line.match_indices(start) {
                found.push(words(&line[at + start.len()..]));
            }
        }
    }
    found.retain(|words| words.first().is_some_and(|word| word.starts_with(|first: char| first.is_ascii_lowercase())));
    found
}

/// Lines of a shell, those that a backslash goes on with put together.
fn joined(block: &str) -> Vec<String> {
    block.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

/// Words of a simple command, up to where the shell would take over.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), letter) => word.push(letter),
            (None, '"' | '\'') => (quote, begun) = (Some(letter), true),
            (None, ')' | '|' | ';' | '>' | '&') => break,
            // In the middle of a word it is no comment.
            (None, '#') if word.is_empty() => break,
            (None, ' ') => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, letter) => word.push(letter),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

#[test]
fn commands_that_are_shown_exist() {
    let mut count = 0;
    for page in pages(&root()) {
        let text = std::fs::read_to_string(&page).unwrap();
        for words in commands(&text) {
            let arguments = ["mhealth-gateway".to_owned()].into_iter().chain(words.iter().cloned());
            if let Err(error) = Arguments::try_parse_from(arguments) {
                panic!("{}: {words:?}: {error}", page.display());
            }
            count += 1;
        }
    }
    assert!(count >= 8, "only {count} commands were found");
}

/// From the registration to the access log, pasted as it stands into a shell.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_can_be_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = Command::new(PROGRAM);
    let mut gateway = Process::start(command.arg("serve").current_dir(directory.path()).env("MHEALTH_LISTEN", &listen));
    assert!(gateway.says("serving").await, "{}", gateway.said());

    let page = read("README.md");
    let mut steps: Vec<&str> = blocks(&page, "sh").into_iter().filter(|block| block.contains("fhir ")).collect();
    let devices = read("docs/devices.md");
    let device: Vec<&str> = blocks(&devices, "sh").into_iter().filter(|block| block.contains("/devices/")).collect();
    assert_eq!((steps.len(), device.len()), (4, 1), "the walk of the README and the push of docs/devices.md");
    // Before the withdrawal, as the page says.
    steps.insert(3, device[0]);
    let script = steps.join("\n").replace("target/release/mhealth-gateway", PROGRAM);
    let script = script.replace("localhost:8443", &format!("localhost:{port}"));
    // The token is asked for where a gateway listens that nobody configured.
    let script = script.replace("$G token", &format!("$G token --url https://localhost:{port}/auth/token"));
    let output = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(directory.path())
        .env("MHEALTH_LISTEN", &listen)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("\"severity\":\"error\""), "{said}");
    // Behind the word of the registration there are only answers, some of them without a new line.
    let bodies = &said[said.find('{').unwrap_or_default()..];
    let answers: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(bodies).into_iter().collect::<Result<_, _>>().unwrap();
    let kinds: Vec<&str> = answers.iter().filter_map(|answer| answer["resourceType"].as_str()).collect();
    let expected = ["Patient", "Consent", "Observation", "Observation", "Bundle", "Bundle", "Consent", "Bundle"];
    assert_eq!(kinds, expected, "{said}");
    assert_eq!((&answers[4]["total"], answers[6]["status"].as_str()), (&serde_json::json!(1), Some("inactive")));
    let log = answers[7]["entry"].as_array().map_or(0, Vec::len);
    assert!(log >= 7, "{said}");
    gateway.kill().await;
}
