//! PostgreSQL servers for tests: one of this process, and others that may be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Address of a place on the server of this process where nothing is yet.
pub async fn fresh() -> String {
    static SCHEMAS: AtomicU32 = AtomicU32::new(0);
    let schema = format!("t{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    speak(&url(folder(), "public"), &format!("CREATE SCHEMA {schema}")).await;
    url(folder(), &schema)
}

/// Has a server do something beside the gateways.
pub async fn speak(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// Sessions that do nothing but be there, until they are dropped.
#[allow(dead_code, reason = "as below")]
pub async fn idle(url: &str, count: usize) -> Vec<Client> {
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        sessions.push(client);
    }
    sessions
}

/// Address of the tables of one schema.
fn url(folder: &str, schema: &str) -> String {
    format!("postgres://gateway@/postgres?host={folder}&options=-csearch_path%3D{schema}")
}

/// Where the server of this process listens. It ends with the thread that started it, which ends with the process.
fn folder() -> &'static str {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let (ready, told) = mpsc::channel();
        std::thread::spawn(move || {
            let own = Own::start(&[]);
            ready.send(own.folder().to_owned()).unwrap();
            loop {
                std::thread::park();
            }
        });
        told.recv().expect("PostgreSQL starts; tests/setup installs it")
    })
}

/// A server of one test. It ends with the thread that started it, at the latest.
pub struct Own {
    directory: TempDir,
    child: Child,
}

impl Own {
    pub fn start(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = run(directory.path().to_str().unwrap(), settings, None);
        Self { directory, child }
    }

    fn folder(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    pub fn url(&self) -> String {
        url(self.folder(), "public")
    }

    /// At once, as a crash would.
    pub fn kill(&mut self) {
        let killed = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = run(self.folder(), &[], None);
    }
}

#[allow(dead_code, reason = "the store's own tests and a bench use this file, too, and these alone use this")]
impl Own {
    /// A way to it on which whatever it says takes so long.
    pub fn slow(&self, by: Duration) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let there = self.directory.path().join(SOCKET);
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let Ok(there) = UnixStream::connect(&there) else { continue };
                let (asks, answers) = (here.try_clone().unwrap(), there.try_clone().unwrap());
                std::thread::spawn(move || hand_over(asks, there, Duration::ZERO));
                std::thread::spawn(move || hand_over(answers, here, by));
            }
        });
        directory
    }

    /// Address by such a way.
    pub fn url_by(way: &TempDir) -> String {
        url(way.path().to_str().unwrap(), "public")
    }

    /// Where its files lie.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A standby, for which the server waits with each commit from now on.
    pub async fn standby(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = run(directory.path().to_str().unwrap(), &[], Some(self.folder()));
        speak(&self.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        speak(&self.url(), "SELECT pg_reload_conf()").await;
        Self { directory, child }
    }

    /// Makes a standby the one that takes data; it does when this returns.
    pub async fn promote(&self) {
        speak(&self.url(), "SELECT pg_promote()").await;
    }

    /// Address of this one, and of another that takes over.
    pub fn url_with(&self, other: &Self) -> String {
        url(&format!("{}&host={}", self.folder(), other.folder()), "public")
    }
}

/// Where a server listens in its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// Everything that is said by one to the other, a while later.
fn hand_over(mut from: UnixStream, mut to: UnixStream, by: Duration) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(by);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a server, and returns when it takes connections.
fn run(folder: &str, settings: &[&str], follows: Option<&str>) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres");
    let mut command = Command::new(script);
    command.arg(folder).args(settings).stderr(Stdio::piped());
    if let Some(follows) = follows {
        command.env("FOLLOWS", follows);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    let ready = lines.by_ref().any(|line| {
        seen.push(line.clone());
        line.contains("database system is ready to accept ")
    });
    assert!(ready, "PostgreSQL ended: {seen:#?}");
    // It must never wait for somebody to read what it says.
    std::thread::spawn(move || lines.for_each(drop));
    child
}
