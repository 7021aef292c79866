//! Backup, restore, move and migrate as an operator runs them: what was acknowledged is there afterwards, and goes on.

use std::path::Path;

use crate::fixture::{APP_SCOPES, Client, Process, Site, heart_rate, run};
use crate::postgres;

async fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said} {}", String::from_utf8_lossy(&output.stderr));
    said
}

async fn fails(arguments: &[&str], code: i32, wanted: &str) {
    let output = run(arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(code) && said.contains(wanted), "{arguments:?}: {:?} {said}", output.status);
}

async fn end(process: Process) {
    process.terminate().await;
    assert_eq!(process.ended().await.0, Some(0));
}

async fn pushed(app: &Client, patient: &str, names: &[&str]) {
    for name in names {
        assert_eq!(app.post("/Observation", &heart_rate(patient, name, 70)).await.status, 201, "{name}");
    }
}

async fn found(app: &Client, patient: &str) -> Option<u64> {
    app.find(&format!("/Observation?patient={patient}")).await.0
}

/// Another configuration for the same address.
fn configuration(site: &Site, name: &str, data: &Path, store: &str) -> String {
    let path = site.directory.path().join(name);
    std::fs::write(&path, format!("listen = \"127.0.0.1:{}\"\ndata = {data:?}\n{store}", site.port)).unwrap();
    path.display().to_string()
}

/// A gateway on that configuration, which shows the certificate that the clients know.
async fn serving(site: &Site, config: &str, data: &Path) -> Process {
    std::fs::create_dir_all(data).unwrap();
    for file in ["tls-certificate.pem", "tls-key.pem"] {
        if let Ok(text) = std::fs::read(site.data().join(file)) {
            std::fs::write(data.join(file), text).unwrap();
        }
    }
    let mut process =
        Process::start(tokio::process::Command::new(crate::fixture::PROGRAM).args(["serve", "--config", config]));
    assert!(process.says("serving").await, "{}", process.said());
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_serving_is_a_gateway_elsewhere() {
    let site = Site::new("").await;
    let config = site.config();
    let process = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    pushed(&app, &patient, &["a", "b"]).await;
    let backup = site.directory.path().join("backup");
    let to = backup.display().to_string();
    let said = succeeds(&["backup", "--config", &config, &to]).await;
    assert!(said.contains("The key is not in it"), "{said}");
    fails(&["backup", "--config", &config, &to], 1, "nothing is written over").await;
    pushed(&app, &patient, &["c"]).await;
    fails(&["restore", "--config", &config, &to], 1, "serves from").await;
    fails(&["migrate", "--config", &config, "--back"], 1, "serves from").await;
    end(process).await;
    fails(&["restore", "--config", &config, &to], 1, "is there already").await;

    let data = site.directory.path().join("restored");
    let other = configuration(&site, "restored.toml", &data, "");
    fails(&["restore", "--config", &other, &to], 1, "gateway.key is not there").await;
    std::fs::create_dir_all(&data).unwrap();
    std::fs::copy(site.data().join("gateway.key"), data.join("gateway.key")).unwrap();
    succeeds(&["restore", "--config", &other, "--check", &to]).await;
    let said = succeeds(&["restore", "--config", &other, &to]).await;
    assert!(said.contains("later head of the audit's log"), "{said}");
    let process = serving(&site, &other, &data).await;
    app.sign_in().await;
    assert_eq!(found(&app, &patient).await, Some(2), "as it was then");
    pushed(&app, &patient, &["c"]).await;
    assert_eq!(found(&app, &patient).await, Some(3));
    succeeds(&["audit", "check", "--config", &other]).await;
    end(process).await;
}

/// What is damaged is copied as it lies, and whoever makes the backup hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_says_what_is_damaged() {
    let site = Site::new("").await;
    let config = site.config();
    let process = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    pushed(&app, &patient, &["a", "b", "c"]).await;
    end(process).await;
    let to = |name: &str| site.directory.path().join(name).display().to_string();
    let said = succeeds(&["backup", "--config", &config, &to("whole")]).await;
    assert!(!said.contains("fault"), "{said}");
    let store = rusqlite::Connection::open(site.data().join("gateway.sqlite3")).unwrap();
    store.execute("UPDATE resource SET payload = zeroblob(100) WHERE seq IN (SELECT seq FROM resource ORDER BY seq DESC LIMIT 2)", []).unwrap();
    let said = succeeds(&["backup", "--config", &config, &to("damaged")]).await;
    assert!(said.contains("store.sealed: 2 row(s)") && said.contains("`doctor`"), "{said}");
    store.execute("UPDATE audit SET payload = x'01ff' WHERE seq = 2", []).unwrap();
    let said = succeeds(&["backup", "--config", &config, &to("more")]).await;
    assert!(said.contains("store.sealed: 2 row(s)") && said.contains("audit.log: 1 row(s)"), "{said}");
    let said = succeeds(&["backup", "--config", &config, "--erasures", &to("erasures")]).await;
    assert!(!said.contains("fault"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_moves_to_a_server_and_its_tables_back_and_forward() {
    let site = Site::new("").await;
    let config = site.config();
    let process = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    pushed(&app, &patient, &["a"]).await;
    let data = site.directory.path().join("moved");
    let store = format!("[store]\nurl = {:?}", postgres::fresh().await);
    let other = configuration(&site, "moved.toml", &data, &store);
    fails(&["move", "--config", &config, "--to", &other], 1, "serves from").await;
    end(process).await;
    succeeds(&["move", "--config", &config, "--to", &other]).await;
    for command in ["check", "serve"] {
        fails(&[command, "--config", &config], 64, "the store was moved").await;
    }
    let process = serving(&site, &other, &data).await;
    app.sign_in().await;
    pushed(&app, &patient, &["b"]).await;
    assert_eq!(found(&app, &patient).await, Some(2));
    end(process).await;
    succeeds(&["audit", "check", "--config", &other]).await;

    let said = succeeds(&["migrate", "--config", &other, "--back"]).await;
    assert!(said.contains("start the older one"), "{said}");
    fails(&["migrate", "--config", &other, "--to", "1000"], 64, "Use the program that made it").await;
    let said = succeeds(&["migrate", "--config", &other]).await;
    assert!(said.contains("went from schema"), "{said}");
    let said = succeeds(&["migrate", "--config", &other]).await;
    assert!(said.contains("is already at schema"), "{said}");
    // Also where nothing is to be done another key is another store's.
    let key = data.join("gateway.key");
    let own = std::fs::read(&key).unwrap();
    std::fs::write(&key, "0".repeat(own.len() - 1)).unwrap();
    fails(&["migrate", "--config", &other], 1, "is not the one").await;
    std::fs::remove_file(&key).unwrap();
    fails(&["migrate", "--config", &other], 1, "is not there").await;
    std::fs::write(&key, own).unwrap();
    let process = serving(&site, &other, &data).await;
    assert_eq!(found(&app, &patient).await, Some(2));
    end(process).await;
    succeeds(&["move", "--config", &config, "--take-back"]).await;
    succeeds(&["client", "list", "--config", &config]).await;
}
