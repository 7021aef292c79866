//! The embedded store through its boundary; only the fault tests reach behind it.

mod accept;
mod delivery;
mod faults;
mod keys;
mod raw;
mod receipts;
mod remnants;
mod search;
mod spans;

use std::sync::Arc;

use tempfile::TempDir;

use crate::store::{
    Accepted, AuditPlan, AuditRecord, Expect, Finished, PatientKey, Place, Plan, ResId, Store, Unit, Write,
    WriteOutcome,
};

const NOW_MS: i64 = 1_700_000_000_000;

struct Fixture {
    dir: TempDir,
    store: Arc<Store>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Place::new(dir.path(), None)).unwrap());
        Self { dir, store }
    }

    fn reopen(self) -> Self {
        let Self { dir, store } = self;
        drop(Arc::into_inner(store).expect("no task holds the store"));
        let store = Arc::new(Store::open(&Place::new(dir.path(), None)).unwrap());
        Self { dir, store }
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
        date: Some(NOW_MS),
        updated_ms: NOW_MS,
        version: 1,
        payload: text.as_bytes().to_vec(),
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

fn audit_record() -> AuditRecord {
    AuditRecord {
        at_ms: NOW_MS,
        patient: Some(patient(1)),
        client: "app".into(),
        id: ResId::random(None, 1, [1; 16]),
        payload: b"event".to_vec(),
        withheld: false,
        salt: [9; 32],
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
