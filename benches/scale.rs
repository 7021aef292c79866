//! What a store does as it fills: `cargo bench --bench scale -- 10000000 100000` (observations, persons); with the word
//! `server` it is on a PostgreSQL of the bench's own, beside what that takes to be copied the same rows. With the words
//! `join DIRECTORY URL SECONDS` it is one of the gateways on a server that is there, for so long; where the directories have
//! the same `gateway.key`, several are run beside one another.
//!
//! Readings come as they do in Bundles: a hundred of one person, who is any; many Bundles at once share a commit. Everything
//! of a push that the store sees is there: seal, index, feed, audit, log. Validation and consent are not, since they cost the
//! same whatever is stored. A page that is not what is due ends the run.

mod kernel;
#[allow(dead_code, reason = "tests do more with servers")]
#[expect(clippy::unwrap_used, reason = "it is a part of the tests")]
#[path = "../tests/it/postgres.rs"]
mod postgres;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mhealth_gateway::exchange::gist;
use mhealth_gateway::store::{
    AuditRecord, CodeKey, Dated, Expect, Finished, Order, OrderBy, PatientKey, Place, Plan, ResId, Server, Store, Unit,
    Write,
};

const BUNDLE: u64 = 100;
const AT_ONCE: u64 = 16;
const PAGE: usize = 50;
const TENTHS: u64 = 10;
/// 2026-01-01, from when on each person has a reading every five minutes.
const BEGIN_MS: i64 = 1_767_225_600_000;
const STEP_MS: i64 = 300_000;
const DAY_MS: i64 = 86_400_000;
/// When the first Bundle comes in, and how long after it the next one.
const SENT_MS: i64 = BEGIN_MS + 90 * DAY_MS;
const APART_MS: i64 = 3;
/// What a server is given where it has a machine to itself.
const ROOM: &[&str] = &["-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB", "-c", "wal_compression=lz4"];
/// The tables that a push writes to.
const TABLES: [&str; 8] = ["resource", "entry", "feed", "audit", "log_entry", "log_tile", "person_key", "kind"];

fn main() -> anyhow::Result<()> {
    let mut asked = std::env::args().filter_map(|argument| argument.parse().ok());
    // `cargo test` runs it as well, and only wants to see that it works.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let total = asked.next().unwrap_or(if is_bench { 1_000_000 } else { 4_000 });
    let persons = asked.next().unwrap_or((total / BUNDLE).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "join") {
        let [directory, url, seconds] = words.get(at + 1..at + 4).context("DIRECTORY URL SECONDS")? else {
            return Ok(());
        };
        let server = Server { url: url.clone(), password: None, ca: None };
        let place = Place { server: Some(server), ..Place::new(Path::new(directory), None) };
        return runtime.block_on(join(&place, Duration::from_secs(seconds.parse()?)));
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let place = Place::new(directory.path(), None);
    if !std::env::args().any(|argument| argument == "server") {
        return runtime.block_on(fill(&place, directory.path(), total, persons)).map(drop);
    }
    // Others than its owner run it.
    let own = postgres::Own::start(ROOM);
    let server = Server { url: own.url(), password: None, ca: None };
    let place = Place { server: Some(server), ..place };
    let rate = runtime.block_on(fill(&place, &own.data(), total, persons))?;
    let copied = runtime.block_on(copied(&own, total))?;
    println!(
        "the same rows copied alone, a table after the other: {copied:.0} obs/s; rate to that: {:.2}",
        rate / copied
    );
    Ok(())
}

/// Observations in a second that the server takes where it is handed all rows of a table at once, with all their indexes.
async fn copied(own: &postgres::Own, total: u64) -> anyhow::Result<f64> {
    for table in TABLES {
        let file = own.data().join(table);
        postgres::speak(
            &own.url(),
            &format!(
                "COPY {table} TO '{}' (FORMAT binary); CREATE TABLE copied_{table} (LIKE {table} INCLUDING ALL)",
                file.display()
            ),
        )
        .await;
    }
    postgres::speak(&own.url(), "CHECKPOINT").await;
    let began = Instant::now();
    for table in TABLES {
        let file = own.data().join(table);
        postgres::speak(&own.url(), &format!("COPY copied_{table} FROM '{}' (FORMAT binary)", file.display())).await;
    }
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

/// Pushes to a store for so long.
async fn join(place: &Place, time: Duration) -> anyhow::Result<()> {
    let store = Arc::new(Store::open(place)?);
    let first = u64::from(std::process::id()) << 32;
    let mut crowd = Crowd { first, read: vec![0; 10_000], stored: 0, numbers: first, written: 0 };
    let began = Instant::now();
    let mut under_way = VecDeque::new();
    while began.elapsed() < time {
        // As many as are told to it at once, so that a group gathers while another is committed.
        while under_way.len() < 2 * AT_ONCE as usize {
            let (store, unit) = (store.clone(), crowd.unit());
            under_way.push_back(tokio::spawn(async move { store.accept(unit).await }));
        }
        if let Some(unit) = under_way.pop_front() {
            unit.await??;
        }
    }
    for unit in under_way {
        unit.await??;
    }
    println!("{:.0} obs/s", crowd.stored as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Fills a store, whose files lie in that directory; the rate of all of it.
async fn fill(place: &Place, directory: &Path, total: u64, persons: u64) -> anyhow::Result<f64> {
    let store = Store::open(place)?;
    let mut crowd = Crowd { first: 0, read: vec![0; usize::try_from(persons)?], stored: 0, numbers: 1, written: 0 };
    println!("{total} observations of {persons} persons\n");
    println!("    stored      obs/s   bytes/obs   of the JSON   page of {PAGE}, median us   p99 us   memory MB");
    let each = (total / TENTHS).max(BUNDLE);
    let (mut rates, mut seconds) = (Vec::new(), 0.0);
    while crowd.stored < total {
        let goal = (crowd.stored + each).min(total);
        let (began, before) = (Instant::now(), crowd.stored);
        while crowd.stored < goal {
            let units = (0..AT_ONCE).map(|_| crowd.unit()).collect();
            for outcome in store.accept_all(units).await {
                outcome?;
            }
        }
        let took = began.elapsed().as_secs_f64();
        seconds += took;
        let rate = (crowd.stored - before) as f64 / took;
        let bytes = size(directory)? as f64;
        let mut pages = crowd.pages(&store).await?;
        pages.sort_unstable();
        println!(
            "{:>10} {rate:>10.0} {:>11.0} {:>13.2} {:>24} {:>8} {:>11.0}",
            crowd.stored,
            bytes / crowd.stored as f64,
            bytes / crowd.written as f64,
            pages[pages.len() / 2],
            pages[pages.len() * 99 / 100],
            kernel::peak_memory_mb()?,
        );
        rates.push(rate);
    }
    let (first, last) = (rates.first().context("nothing was stored")?, rates.last().context("nothing was stored")?);
    println!("\nrate at the end to rate at the beginning: {:.2}", last / first);
    store.close().await;
    Ok(total as f64 / seconds)
}

/// Bytes of the files of a store, but for a server's log.
fn size(directory: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        size += match entry.file_type()?.is_dir() {
            true if entry.file_name() == "pg_wal" => 0,
            true => self::size(&entry.path())?,
            // A server takes files away while it is looked at.
            false => entry.metadata().map_or(0, |about| about.len()),
        };
    }
    Ok(size)
}

struct Crowd {
    /// The number of the first person.
    first: u64,
    /// How many readings each person has.
    read: Vec<u64>,
    stored: u64,
    numbers: u64,
    /// Bytes of JSON.
    written: u64,
}

impl Crowd {
    fn random(&mut self) -> u64 {
        self.numbers = self.numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.numbers >> 20
    }

    fn anybody(&mut self) -> usize {
        (self.random() % self.read.len() as u64) as usize
    }

    fn key(&self, person: usize) -> PatientKey {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(&(self.first + person as u64).to_le_bytes()).as_bytes()[..16]);
        PatientKey(key)
    }

    fn unit(&mut self) -> Unit {
        let person = self.anybody();
        let now_ms = SENT_MS + (self.stored / BUNDLE) as i64 * APART_MS;
        let writes: Vec<Write> = (0..BUNDLE).map(|_| self.reading(person, now_ms)).collect();
        let salt = blake3::hash(&self.random().to_le_bytes()).into();
        let references: String =
            writes.iter().map(|write| format!("{{\"what\":\"Observation/{}\"}},", write.id)).collect();
        let audit = AuditRecord {
            at_ms: now_ms,
            patient: Some(self.key(person)),
            client: "app".into(),
            id: ResId::random(Some(self.key(person)), 1, [0; 16]),
            payload: format!("{{\"resourceType\":\"AuditEvent\",\"entity\":[{references}]}}").into_bytes(),
            salt,
        };
        Unit {
            client: "app".into(),
            idempotency: None,
            preconditions: Vec::new(),
            progress: None,
            rereading: None,
            rehearsal: false,
            writes,
            atomic: true,
            now_ms,
            finish: Box::new(move |_| Finished { audit: vec![audit], ..Finished::default() }),
        }
    }

    fn reading(&mut self, person: usize, now_ms: i64) -> Write {
        let number = self.read[person];
        self.read[person] += 1;
        self.stored += 1;
        let ms = BEGIN_MS + number as i64 * STEP_MS;
        let value = format!("{person}-{number}");
        let system = "https://my-app.example/readings";
        let patient = self.key(person);
        let id = ResId::derived(Some(patient), (ms / DAY_MS) as u16, &[system.as_bytes(), value.as_bytes()]);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        let updated = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let subject = ResId::derived(Some(patient), 0, &[b"patient"]);
        let payload = format!(
            "{{\"resourceType\":\"Observation\",\"id\":\"{id}\",\"meta\":{{\"versionId\":\"1\",\"lastUpdated\":\"{updated:.3}\"}},\
             \"status\":\"final\",\"identifier\":[{{\"system\":\"{system}\",\"value\":\"{value}\"}}],\"category\":[{{\"coding\":\
             [{{\"system\":\"http://terminology.hl7.org/CodeSystem/observation-category\",\"code\":\"vital-signs\"}}]}}],\
             \"code\":{{\"coding\":[{{\"system\":\"http://loinc.org\",\"code\":\"8867-4\"}}]}},\
             \"subject\":{{\"reference\":\"Patient/{subject}\"}},\"effectiveDateTime\":\"{time}\",\
             \"valueQuantity\":{{\"value\":{},\"unit\":\"/min\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"/min\"}}}}",
            50 + self.random() % 90
        )
        .into_bytes();
        self.written += payload.len() as u64;
        let mut content = [0; 16];
        content.copy_from_slice(&blake3::hash(&payload).as_bytes()[..16]);
        Write {
            kind: "Observation".into(),
            id,
            name: None,
            patient: Some(patient),
            owner: "app".into(),
            expect: Expect::Absent,
            content,
            reading: None,
            says_the_same: false,
            growth: None,
            span: None,
            codes: vec![("http://loinc.org".to_owned(), "8867-4".to_owned())],
            // Of Observations there are so many that they are known by their ids alone.
            tokens: Vec::new(),
            date: Some(Dated::At(ms)),
            updated_ms: now_ms,
            version: 1,
            gist: gist::of("Observation", &payload).unwrap_or_default(),
            person: Some(subject),
            labels: 0,
            payload,
            delete: false,
            deliver: true,
            consent: false,
        }
    }

    /// Microseconds that each of some pages took.
    async fn pages(&mut self, store: &Store) -> anyhow::Result<Vec<u128>> {
        let mut times = Vec::new();
        for _ in 0..500 {
            let mut person = self.anybody();
            while self.read[person] == 0 {
                person = self.anybody();
            }
            let readings = self.read[person];
            let until = BEGIN_MS + readings as i64 * STEP_MS;
            let plan = Plan {
                patients: Some(vec![self.key(person)]),
                codes: Some(vec![CodeKey { system: Some("http://loinc.org".to_owned()), code: "8867-4".to_owned() }]),
                date: Some((until - 30 * DAY_MS, until)),
                order: Order { by: OrderBy::Date, descending: true },
                limit: PAGE,
                ..Plan::of("Observation")
            };
            let began = Instant::now();
            let page = store.search(plan).await?;
            times.push(began.elapsed().as_micros());
            ensure!(page.rows.len() as u64 == readings.min(PAGE as u64), "a page of {} rows", page.rows.len());
        }
        Ok(times)
    }
}
