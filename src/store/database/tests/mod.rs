//! The store through its boundary, in a file and on a server; only the fault tests reach behind it.

mod accept;
mod delivery;
mod exports;
mod faults;
mod keep;
mod keys;
mod known;
mod model;
mod raw;
mod receipts;
mod remnants;
mod search;
mod server;
mod shared;
mod spans;
mod statements;
mod subscriptions;

use std::sync::Arc;

use tempfile::TempDir;

use super::writer::Ledger;
use crate::store::sql::params;
use crate::store::{
    Accepted, AuditPlan, AuditRecord, Dated, Erasure, Expect, Finished, PatientKey, Place, Plan, ResId, Server, Store,
    Unit, Write, WriteOutcome,
};

const NOW_MS: i64 = 1_700_000_000_000;

struct Fixture {
    dir: TempDir,
    place: Place,
    store: Arc<Store>,
}

impl Fixture {
    /// A store in a file.
    fn new() -> Self {
        Self::at(None, None)
    }

    /// A store on the server.
    fn shared() -> Self {
        Self::at(Some(server::fresh()), None)
    }

    /// One of each kind: what is true of the one is true of the other. What is printed says at which a test failed.
    fn both() -> impl Iterator<Item = Self> {
        [("in a file", Self::new as fn() -> Self), ("on a server", Self::shared)].into_iter().map(|(kind, made)| {
            eprintln!("{kind}:");
            made()
        })
    }

    /// A gateway's store; of those that share a server all have the first one's key.
    fn at(server: Option<Server>, first: Option<&Self>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if let Some(first) = first {
            std::fs::copy(first.dir.path().join("gateway.key"), dir.path().join("gateway.key")).unwrap();
        }
        let place = Place { server, ..Place::new(dir.path(), None) };
        let store = Arc::new(Store::open(&place).unwrap());
        Self { dir, place, store }
    }

    fn reopen(self) -> Self {
        let Self { dir, place, store } = self;
        drop(Arc::into_inner(store).expect("no task holds the store"));
        let store = Arc::new(Store::open(&place).unwrap());
        Self { dir, place, store }
    }

    async fn accept(&self, unit: Unit) -> Accepted {
        self.store.accept(unit).await.unwrap()
    }

    /// Accepts one write that must be new or an update.
    async fn put(&self, write: Write) {
        let accepted = self.accept(unit(vec![write])).await;
        let Accepted::Done { outcomes } = &accepted else { panic!("{accepted:?}") };
        assert!(matches!(outcomes[..], [WriteOutcome::Created | WriteOutcome::Updated]), "{outcomes:?}");
    }

    async fn count(&self, kind: &str) -> usize {
        self.store.search(Plan::of(kind)).await.unwrap().rows.len()
    }

    async fn audits(&self) -> usize {
        self.store.audit(AuditPlan { limit: 1000, ..AuditPlan::default() }).await.unwrap().len()
    }
}

fn patient(number: u8) -> PatientKey {
    PatientKey::derive(&[9; 32], &format!("Patient/{number}"))
}

fn id(patient: PatientKey, name: &str) -> ResId {
    ResId::derived(Some(patient), 19_000, &[name.as_bytes()])
}

fn observation(patient: PatientKey, name: &str, text: &str) -> Write {
    let mut content = [0; 16];
    content.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    Write {
        kind: "Observation".into(),
        id: id(patient, name),
        name: None,
        patient: Some(patient),
        owner: "app".into(),
        expect: Expect::Absent,
        content,
        codes: vec![("http://loinc.org".to_owned(), "8867-4".to_owned())],
        tokens: Vec::new(),
        date: Some(Dated::At(NOW_MS)),
        updated_ms: NOW_MS,
        version: 1,
        payload: text.as_bytes().to_vec(),
        gist: Vec::new(),
        person: None,
        labels: 0,
        delete: false,
        deliver: true,
        consent: false,
        reading: None,
        says_the_same: false,
        growth: None,
        span: None,
    }
}

fn update(mut write: Write, from: u32, text: &str) -> Write {
    write.expect = Expect::Version(from);
    write.version = from + 1;
    write.payload = text.as_bytes().to_vec();
    write.content = [from as u8; 16];
    write
}

fn consent(patient: PatientKey, name: &str) -> Write {
    Write {
        kind: "Consent".into(),
        codes: Vec::new(),
        consent: true,
        deliver: false,
        ..observation(patient, name, "consent")
    }
}

/// A person is to be forgotten.
async fn begin_erasure(fixture: &Fixture, person: u8) {
    let erasure = Erasure {
        patient: patient(person),
        owner: "app".into(),
        at_ms: NOW_MS,
        record: audit_record().id,
        receipt: Vec::new(),
        finished: false,
    };
    assert!(fixture.store.begin_erasure(erasure, audit_record()).await.unwrap());
}

fn audit_record() -> AuditRecord {
    AuditRecord {
        at_ms: NOW_MS,
        patient: Some(patient(1)),
        client: "app".into(),
        id: ResId::random(None, 1, [1; 16]),
        payload: b"event".to_vec(),
        salt: AuditRecord::salt([9; 32]),
    }
}

/// An atomic unit that audits once and answers with the number of its outcomes.
fn unit(writes: Vec<Write>) -> Unit {
    Unit {
        client: "app".into(),
        idempotency: None,
        preconditions: Vec::new(),
        progress: None,
        rereading: None,
        rehearsal: false,
        writes,
        atomic: true,
        now_ms: NOW_MS,
        finish: Box::new(|outcomes| Finished {
            audit: vec![audit_record()],
            response: Some(vec![outcomes.len() as u8]),
            ..Finished::default()
        }),
    }
}

/// Writes over what is kept of a resource, as a disk may.
async fn spoil(fixture: &Fixture, name: &str) {
    let tail = id(patient(1), name).tail();
    let sql = "UPDATE resource SET payload = ?2 WHERE tail = ?1";
    let spoilt = move |ledger: &mut Ledger| ledger.connection.execute(sql, params![tail, &b"no text"[..]]);
    assert_eq!(fixture.store.writer.call(1, move |ledger| Ok(spoilt(ledger)?)).await.unwrap(), 1);
}
