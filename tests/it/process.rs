//! The program as a process: its exit codes, its signals, its lock, and the commands that work beside a server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use mhealth_gateway::commands::token;
use mhealth_gateway::policy::consent::Action;
use serde_json::json;
use tokio::process::Command;

use crate::fixture::{
    APP_SCOPES, Connection, PROGRAM, Platform, Process, Site, connection, eventually, heart_rate, run,
};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn every_mistake_is_told_before_a_port_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.toml");
    let data = directory.path().join("data");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The port is taken: a program that tried to bind would say so.
    let taken = listener.local_addr().unwrap();
    let text = format!(
        "listen = \"{taken}\"\ndata = {data:?}\nlisen = 1\n[limits]\nbody_bytes = 0\n[[destination]]\nname = \"x\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", &file]).await;
        assert_eq!(output.status.code(), Some(64), "{command}: {}", stderr(&output));
        for mistake in ["lisen:", "limits.body_bytes:", "destination[0].fhir:"] {
            assert!(stderr(&output).contains(mistake), "{command} does not tell {mistake}: {}", stderr(&output));
        }
        assert!(!stderr(&output).contains("listening"), "{}", stderr(&output));
    }
    assert!(!data.exists(), "nothing was made");
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", "/nowhere/gateway.toml"]).await;
        assert_eq!(output.status.code(), Some(64));
        assert!(stderr(&output).contains("/nowhere/gateway.toml"));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_mistakes_of_the_configuration() {
    let destination = |name: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\nactor = \"Organization/{name}\"\n[destination.fhir]\n\
             url = \"https://localhost:1/fhir\"\nca = \"/nowhere/{name}.pem\"\n"
        )
    };
    let tls = "[tls]\ncertificate = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"\n";
    let site = Site::new(&format!("{tls}{}{}", destination("one"), destination("two"))).await;
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", &site.config()]).await;
        assert_eq!(output.status.code(), Some(64), "{command}: {}", stderr(&output));
        for file in ["/nowhere/cert.pem", "/nowhere/one.pem", "/nowhere/two.pem"] {
            assert!(stderr(&output).contains(file), "{command} does not tell {file}: {}", stderr(&output));
        }
    }
}

#[tokio::test]
async fn mistakes_of_keys_files_and_directory_are_told_together() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = directory.path().join("occupied");
    std::fs::write(&occupied, "not a directory").unwrap();
    let file = directory.path().join("gateway.toml");
    let text = format!(
        "data = {:?}\nlisen = 1\n[tls]\ncertificate = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"\n\
         [[destination]]\nname = \"x\"\nactor = \"Organization/x\"\npurpose = \"FOO\"\n[destination.fhir]\n\
         url = \"https://localhost:1/fhir\"\n",
        occupied.join("data")
    );
    std::fs::write(&file, text).unwrap();
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", &file.display().to_string()]).await;
        assert_eq!(output.status.code(), Some(64), "{command}: {}", stderr(&output));
        for mistake in ["data:", "lisen:", "/nowhere/cert.pem", "/nowhere/key.pem", "destination[0].purpose:"] {
            assert!(stderr(&output).contains(mistake), "{command} does not tell {mistake}: {}", stderr(&output));
        }
    }
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "a check leaves nothing behind: {left:?}");
}

#[tokio::test]
async fn apps_that_nobody_registered_are_doubted() {
    let destination = "[[destination]]\nname = \"x\"\nactor = \"Organization/x\"\napps = [\"known\", \"unknown\"]\n\
                       [destination.fhir]\nurl = \"https://localhost:1/fhir\"\n";
    let site = Site::new(destination).await;
    let unheard = run(&["check", "--config", &site.config()]).await;
    assert_eq!((unheard.status.code(), stderr(&unheard).as_str()), (Some(0), ""), "there is no store to ask");
    site.register("known", crate::fixture::APP_SCOPES).await;
    let output = run(&["check", "--config", &site.config()]).await;
    assert_eq!(output.status.code(), Some(0));
    let expected = "warning: destination x: apps: no client is registered as unknown\n";
    assert_eq!(stderr(&output), expected);
}

#[tokio::test]
async fn a_client_states_purposes_that_exist() {
    let site = Site::new("").await;
    let config = site.config();
    let key = site.directory.path().join("key.pem");
    let output = run(&[
        "client",
        "add",
        "app",
        "--config",
        &config,
        "--actor",
        "nobody",
        "--scope",
        "system/Patient.r",
        "--purpose",
        "TREAT",
        "--purpose",
        "FOO",
        "--generate-key",
        &key.display().to_string(),
    ])
    .await;
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(stderr(&output).contains("FOO") && stderr(&output).contains("actor"), "{}", stderr(&output));
    assert!(!key.exists(), "nothing was made");
}

#[tokio::test]
async fn beyond_loopback_a_certificate_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("serve").env("MHEALTH_LISTEN", "0.0.0.0:0").env("MHEALTH_DATA", directory.path());
    let (code, said) = Process::start(&mut command).ended().await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("beyond loopback") && said.contains("[tls]"), "{said}");
}

#[tokio::test]
async fn a_good_configuration_is_called_good() {
    let site = Site::new("").await;
    let output = run(&["check", "--config", &site.config()]).await;
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert!(stdout(&output).contains(&site.base));
}

#[tokio::test]
async fn one_directory_serves_once() {
    let site = Site::new("").await;
    let mut serving = site.serve().await;
    let mut command = Command::new(PROGRAM);
    command.arg("serve").env("MHEALTH_LISTEN", "127.0.0.1:0").env("MHEALTH_DATA", site.data());
    let (code, said) = Process::start(&mut command).ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process serves from"), "{said}");
    let live = site.http.get(site.base.replace("/fhir", "/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200, "the first one is not disturbed");
    serving.terminate().await;
    assert!(serving.says("draining").await);
    assert_eq!(serving.ended().await.0, Some(0));
    site.serve().await.kill().await;
}

/// A request whose last bytes are still to come when the process is told to end.
async fn half_sent(site: &Site) -> (Connection, String) {
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    let body = heart_rate(&patient, "drip", 60).to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut stream = connection(site.port, &site.data());
    write!(
        stream,
        "POST /fhir/Observation HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/fhir+json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        app.bearer,
        body.len()
    )
    .unwrap();
    stream.flush().unwrap();
    // The server asks for the body, so the request is under way.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    write!(stream, "{first}").unwrap();
    stream.flush().unwrap();
    (stream, rest.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_waits_for_what_is_under_way() {
    let site = Site::new("drain_seconds = 30\n").await;
    let mut serving = site.serve().await;
    let (mut stream, rest) = half_sent(&site).await;
    serving.terminate().await;
    assert!(serving.says("draining").await);
    eventually("new connections are refused", async || TcpStream::connect(("127.0.0.1", site.port)).err()).await;
    let mut bytes = rest.bytes();
    let last = bytes.next_back().unwrap();
    for byte in bytes {
        stream.write_all(&[byte]).unwrap();
    }
    stream.flush().unwrap();
    stream.write_all(&[last]).unwrap();
    stream.flush().unwrap();
    let mut answer = String::new();
    // The server may close without a word of TLS once it has answered.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    let (code, said) = serving.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("still under way"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_ever() {
    let site = Site::new("drain_seconds = 1\n").await;
    let serving = site.serve().await;
    let (mut stream, _rest) = half_sent(&site).await;
    serving.terminate().await;
    let (code, said) = serving.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("still under way"), "{said}");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains("201 Created"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_a_destination_that_hangs() {
    let platform = Platform::start(&[]).await;
    let destination = platform.destination("").replace("timeout_ms = 1000", "timeout_ms = 600000");
    let site = Site::new(&format!("drain_seconds = 1\n{destination}")).await;
    let serving = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    platform.fault("hang", Some(1)).await;
    let sent = app.post("/Observation", &heart_rate(&patient, "hanging", 60)).await;
    assert_eq!(sent.status, 201);
    platform.until("the platform hangs over it", |account| account["received"] == 1).await;
    serving.terminate().await;
    let (code, said) = serving.ended().await;
    assert_eq!(code, Some(0), "{said}");

    // What was cut counts as not delivered, and comes again.
    let _again = site.serve().await;
    platform.until("it is sent again", |account| account["duplicates"] == 1).await;
}

#[tokio::test]
async fn clients_come_and_go_beside_a_server() {
    let site = Site::new("").await;
    let _serving = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.person().await;
    let config = site.config();
    let listed = run(&["client", "list", "--config", &config]).await;
    assert!(stdout(&listed).starts_with("app\tapp\tOrganization/app\t"), "{}", stdout(&listed));

    let removed = run(&["client", "remove", "app", "--config", &config]).await;
    assert_eq!(removed.status.code(), Some(0), "{}", stderr(&removed));
    eventually("its token is refused", async || {
        (app.get(&format!("/Patient/{patient}")).await.status == 401).then_some(())
    })
    .await;
    let url = site.base.replace("/fhir", "/auth/token");
    let pem = std::fs::read(&app.key).unwrap();
    let asked = token::Asked { url: &url, client: "app", kid: "key-1", pem: &pem, scope: None };
    let refused = token::fetch(&site.http, &asked).await.unwrap_err().to_string();
    assert!(refused.contains("401") && refused.contains("invalid_client"), "{refused}");
    let unknown = run(&["client", "remove", "app", "--config", &config]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("there is no client app"));
    let wrong = run(&[
        "client",
        "add",
        "x",
        "--config",
        &config,
        "--actor",
        "nobody",
        "--scope",
        "everything",
        "--generate-key",
        &site.directory.path().join("x.pem").display().to_string(),
    ])
    .await;
    assert_eq!(wrong.status.code(), Some(64), "{}", stderr(&wrong));
}

#[tokio::test]
async fn a_token_is_printed_and_works() {
    let site = Site::new("").await;
    let _serving = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    let key = app.key.display().to_string();
    let url = site.base.replace("/fhir", "/auth/token");
    let certificate = site.data().join("tls-certificate.pem").display().to_string();
    let asked = ["token", "--client", "app", "--key", &key, "--url", &url, "--cacert", &certificate];
    let output = run(&asked).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    app.bearer = stdout(&output).trim().to_owned();
    app.person().await;
    // Where the configuration says who listens, and by which certificate, nothing else has to.
    for named in ["--config", "MHEALTH_CONFIG"] {
        let mut command = tokio::process::Command::new(crate::fixture::PROGRAM);
        command.args(&asked[..5]);
        if named == "--config" {
            command.args(["--config", &site.config()])
        } else {
            command.env(named, site.config())
        };
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{named}: {}", stderr(&output));
        app.bearer = stdout(&output).trim().to_owned();
        app.person().await;
    }
    let beyond = run(&[&asked[..], &["--scope", "system/Practitioner.d"]].concat()).await;
    assert_eq!((beyond.status.code(), stdout(&beyond).as_str()), (Some(1), ""));
    assert!(stderr(&beyond).contains("invalid_scope"), "{}", stderr(&beyond));
}

#[tokio::test]
async fn validate_says_it_by_its_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = write("good.json", heart_rate("p", "i", 60).to_string());
    let mut wrong = heart_rate("p", "i", 60);
    wrong["status"] = json!("finished");
    let bad = write("bad.json", wrong.to_string());
    let broken = write("broken.json", "{\"resourceType\":".to_owned());
    assert_eq!(run(&["validate", &good]).await.status.code(), Some(0));
    let output = run(&["validate", &good, &bad]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("Observation.status"), "{}", stdout(&output));
    assert_eq!(run(&["validate", &broken]).await.status.code(), Some(1));
    let output = run(&["validate", "--format", "json", &bad]).await;
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &line["valid"], &line["file"]), (Some(1), &json!(false), &json!(bad)));
    assert_eq!(line["outcome"]["resourceType"], "OperationOutcome");
    let absent = run(&["validate", "/nowhere/resource.json", &good]).await;
    assert_eq!(absent.status.code(), Some(2));
    assert!(stdout(&absent).contains("input-unreadable") && stdout(&absent).contains("good.json: valid"));
    assert_eq!(run(&["validate", "--profile", "urn:nobody", &good]).await.status.code(), Some(2));
    let profile = write(
        "profile.json",
        json!({
            "resourceType": "StructureDefinition", "url": "urn:test:noted", "name": "Noted", "status": "draft",
            "kind": "resource", "abstract": false, "type": "Observation", "derivation": "constraint",
            "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
            "snapshot": {"element": [
                {"id": "Observation", "path": "Observation"},
                {"id": "Observation.note", "path": "Observation.note", "min": 1}
            ]},
            "differential": {"element": [{"id": "Observation.note", "path": "Observation.note", "min": 1}]}
        })
        .to_string(),
    );
    let output = run(&["validate", "--resource", &profile, "--profile", "urn:test:noted", &good]).await;
    assert!(stdout(&output).contains("cardinality-min"), "{}{}", stdout(&output), stderr(&output));
    let lines = write("all.ndjson", format!("{}\n\n{wrong}\n", heart_rate("p", "i", 60)));
    for (format, part) in
        [("junit", "tests=\"2\" failures=\"1\""), ("sarif", "\"startLine\":3"), ("json", "\"line\":3")]
    {
        let output = run(&["validate", "--format", format, &lines]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).contains(part), "{format}: {part} is not in {}", stdout(&output));
    }
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again_beside_a_server() {
    // The destination refuses one code, until it is another destination that does not.
    let strict = Platform::start(&["8867-4"]).await;
    let site = Site::new(&strict.destination("")).await;
    let serving = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    let observation = app.post("/Observation", &heart_rate(&patient, "refused", 60)).await.id();
    let config = site.config();
    let line = eventually("a dead letter is listed", async || {
        let listed = run(&["dead-letters", "list", "--config", &config]).await;
        stdout(&listed).lines().next().map(str::to_owned)
    })
    .await;
    assert!(line.contains(&format!("Observation/{observation} version 1")) && line.contains("HTTP 422"), "{line}");
    serving.terminate().await;
    assert_eq!(serving.ended().await.0, Some(0));

    let lenient = Platform::start(&[]).await;
    let text = std::fs::read_to_string(&config).unwrap();
    let before = text.split("[[destination]]").next().unwrap();
    std::fs::write(&config, format!("{before}{}", lenient.destination(""))).unwrap();
    let _serving = site.serve().await;
    let id = line.split('\t').next().unwrap();
    let redriven = run(&["dead-letters", "redrive", "platform", id, "--config", &config]).await;
    assert_eq!(redriven.status.code(), Some(0), "{}", stderr(&redriven));
    assert!(stdout(&redriven).starts_with("1 dead letter"), "{}", stdout(&redriven));
    let name = format!("Observation/{observation}");
    lenient.until("it arrives", |account| account["versions"][&name] == json!([1])).await;
    let empty = run(&["dead-letters", "list", "--config", &config]).await;
    assert_eq!(stdout(&empty), "");
    let none = run(&["dead-letters", "redrive", "platform", id, "--config", &config]).await;
    assert!(stdout(&none).starts_with("0 dead letter"), "{}", stdout(&none));
}

#[tokio::test]
async fn the_demonstration_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    let stage = directory.path().join("demo").display().to_string();
    let output = run(&["demo", "--once", "--port", "0", "--directory", &stage]).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains(" 0 broken"), "{}", stdout(&output));
}

/// Waits until a demonstration serves from a directory.
async fn demonstrating(stage: &std::path::Path) -> tokio::process::Child {
    let child = Command::new(PROGRAM)
        .args(["demo", "--port", "0", "--directory"])
        .arg(stage)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let store = stage.join("gateway/gateway.sqlite3");
    eventually("the demonstration has a store", async || store.exists().then_some(())).await;
    child
}

#[tokio::test]
async fn a_demonstration_is_not_emptied_by_another_and_ends_on_sigterm() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let stage = directory.path().join("demo");
    let mut child = demonstrating(&stage).await;
    let mode = std::fs::metadata(&stage).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "its keys are nobody else's");

    let second = run(&["demo", "--once", "--port", "0", "--directory", &stage.display().to_string()]).await;
    assert_eq!(second.status.code(), Some(1), "{}", stdout(&second));
    assert!(stderr(&second).contains("--directory"), "{}", stderr(&second));
    assert!(stage.join("gateway/gateway.sqlite3").exists(), "the first one keeps its store");

    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let status = child.wait().await.unwrap();
    assert!(status.code().is_some(), "it ends by itself, not by the signal: {status}");

    let again = run(&["demo", "--once", "--port", "0", "--directory", &stage.display().to_string()]).await;
    assert_eq!(again.status.code(), Some(0), "{}{}", stdout(&again), stderr(&again));
}

#[tokio::test]
async fn a_demonstration_that_nobody_reads_to_the_end_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let stage = directory.path().join("demo");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // Without --once, it would serve on for nobody.
    let mut command = Command::new(PROGRAM);
    command.args(["demo", "--port", "0", "--directory"]).arg(&stage);
    command.stdin(std::process::Stdio::null()).stdout(writer).stderr(std::process::Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_wrong_registration_writes_nothing_and_a_key_is_never_overwritten() {
    let site = Site::new("").await;
    let config = site.config();
    let key = site.directory.path().join("x.pem");
    let file = key.display().to_string();
    let add = async |actor: &str| {
        let scope = "system/Patient.r";
        let options = ["--config", &config, "--actor", actor, "--scope", scope, "--generate-key", &file];
        run(&[&["client", "add", "x"], &options[..]].concat()).await
    };
    let wrong = add("nobody").await;
    assert_eq!(wrong.status.code(), Some(64), "{}", stderr(&wrong));
    assert!(!key.exists() && !site.data().join("gateway.sqlite3").exists());

    assert_eq!(add("Organization/x").await.status.code(), Some(0));
    let first = std::fs::read(&key).unwrap();
    let again = add("Organization/x").await;
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains(&format!("{file} exists; name another file or remove it")), "{}", stderr(&again));
    assert_eq!(std::fs::read(&key).unwrap(), first);
}

#[tokio::test]
async fn whoever_only_looks_makes_no_store() {
    let site = Site::new("").await;
    let config = site.config();
    for command in [
        &["client", "list"][..],
        &["client", "remove", "x"],
        &["dead-letters", "list"],
        &["dead-letters", "redrive", "platform"],
    ] {
        let output = run(&[command, &["--config", &config]].concat()).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", stdout(&output));
        assert!(stderr(&output).contains("there is no store in"), "{command:?}: {}", stderr(&output));
        assert!(!site.data().join("gateway.sqlite3").exists(), "{command:?}");
    }
    site.register("app", APP_SCOPES).await;
    let unknown = run(&["dead-letters", "redrive", "platfrom", "--config", &config]).await;
    assert_eq!(unknown.status.code(), Some(1), "{}", stdout(&unknown));
    assert!(stderr(&unknown).contains("no destination of that name"), "{}", stderr(&unknown));
}

#[tokio::test]
async fn registrations_that_collide_are_doubted() {
    let site = Site::new("").await;
    let config = site.config();
    let add = async |id: &str, actor: &str| {
        let key = site.directory.path().join(format!("{}.pem", id.replace('/', "-"))).display().to_string();
        let scope = "system/Patient.r";
        run(&["client", "add", id, "--config", &config, "--actor", actor, "--scope", scope, "--generate-key", &key])
            .await
    };
    let first = add("one", "Organization/acme").await;
    assert_eq!((first.status.code(), stderr(&first).as_str()), (Some(0), ""));
    let second = add("two", "Organization/acme").await;
    assert_eq!(second.status.code(), Some(0));
    assert!(stderr(&second).contains("client one has the actor Organization/acme too"), "{}", stderr(&second));
    for id in ["a/b", "urn:a"] {
        let wrong = add(id, "Organization/b").await;
        assert_eq!(wrong.status.code(), Some(64), "{id}");
        assert!(stderr(&wrong).contains("id: expected no : or /"), "{}", stderr(&wrong));
    }
}

#[tokio::test]
async fn whoever_does_not_trust_the_certificate_is_told_where_it_lies() {
    let site = Site::new("").await;
    let _serving = site.serve().await;
    let app = site.register("app", APP_SCOPES).await;
    let url = site.base.replace("/fhir", "/auth/token");
    let key = app.key.display().to_string();
    let output = run(&["token", "--client", "app", "--key", &key, "--url", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--cacert"), "{}", stderr(&output));
}
