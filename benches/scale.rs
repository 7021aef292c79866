//! What the embedded store does as it fills: `cargo bench --bench scale -- 10000000 100000` (observations, persons).
//!
//! Readings come as they do in Bundles: a hundred of one person, who is any; many Bundles at once share a commit. Everything
//! of a push that the store sees is there: seal, index, feed, audit, log. Validation and consent are not, since they cost the
//! same whatever is stored. A page that is not what is due ends the run.

mod kernel;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use mhealth_gateway::store::{
    AuditRecord, CodeKey, Expect, Finished, Order, OrderBy, PatientKey, Place, Plan, ResId, Store, Unit, Write,
};

const BUNDLE: u64 = 100;
const AT_ONCE: u64 = 16;
const PAGE: usize = 50;
const TENTHS: u64 = 10;
/// 2026-01-01, from when on each person has a reading every five minutes.
const BEGIN_MS: i64 = 1_767_225_600_000;
const STEP_MS: i64 = 300_000;
const DAY_MS: i64 = 86_400_000;

fn main() -> anyhow::Result<()> {
    let mut asked = std::env::args().filter_map(|argument| argument.parse().ok());
    // `cargo test` runs it as well, and only wants to see that it works.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let total = asked.next().unwrap_or(if is_bench { 1_000_000 } else { 4_000 });
    let persons = asked.next().unwrap_or((total / BUNDLE).max(1));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(fill(total, persons))
}

async fn fill(total: u64, persons: u64) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::open(&Place::new(directory.path(), None))?;
    let mut crowd = Crowd { read: vec![0; usize::try_from(persons)?], stored: 0, numbers: 1, written: 0 };
    println!("{total} observations of {persons} persons\n");
    println!("    stored      obs/s   bytes/obs   of the JSON   page of {PAGE}, median us   p99 us   memory MB");
    let each = (total / TENTHS).max(BUNDLE);
    let mut rates = Vec::new();
    while crowd.stored < total {
        let goal = (crowd.stored + each).min(total);
        let (began, before) = (Instant::now(), crowd.stored);
        while crowd.stored < goal {
            let units = (0..AT_ONCE).map(|_| crowd.unit()).collect();
            for outcome in store.accept_all(units).await {
                outcome?;
            }
        }
        let rate = (crowd.stored - before) as f64 / began.elapsed().as_secs_f64();
        let bytes = size(directory.path())? as f64;
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
    Ok(())
}

/// Bytes of the files of a store.
fn size(directory: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}

struct Crowd {
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

    fn unit(&mut self) -> Unit {
        let person = self.anybody();
        let writes: Vec<Write> = (0..BUNDLE).map(|_| self.reading(person)).collect();
        let salt = blake3::hash(&self.random().to_le_bytes()).into();
        let references: String =
            writes.iter().map(|write| format!("{{\"what\":\"Observation/{}\"}},", write.id)).collect();
        let audit = AuditRecord {
            at_ms: BEGIN_MS,
            patient: Some(key(person)),
            client: "app".into(),
            id: ResId::random(Some(key(person)), 1, [0; 16]),
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
            now_ms: BEGIN_MS,
            finish: Box::new(move |_| Finished { audit: vec![audit], ..Finished::default() }),
        }
    }

    fn reading(&mut self, person: usize) -> Write {
        let number = self.read[person];
        self.read[person] += 1;
        self.stored += 1;
        let ms = BEGIN_MS + number as i64 * STEP_MS;
        let value = format!("{person}-{number}");
        let system = "https://my-app.example/readings";
        let patient = key(person);
        let id = ResId::derived(Some(patient), (ms / DAY_MS) as u16, &[system.as_bytes(), value.as_bytes()]);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        let subject = ResId::derived(Some(patient), 0, &[b"patient"]);
        let payload = format!(
            "{{\"resourceType\":\"Observation\",\"id\":\"{id}\",\"meta\":{{\"versionId\":\"1\",\"lastUpdated\":\"{time:.3}\"}},\
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
            date: Some(ms),
            updated_ms: ms,
            version: 1,
            gist: gist::of("Observation", &payload).unwrap_or_default(),
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
                patients: Some(vec![key(person)]),
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

fn key(person: usize) -> PatientKey {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(&person.to_le_bytes()).as_bytes()[..16]);
    PatientKey(key)
}
