//! One at a time, where what is written depends on what else a person has: pushes of records, and what re-reads them.
//!
//! This process is the only one that writes (the store's lock sees to it), so waiting in line here is enough, and nobody has
//! to begin again because another was faster. Persons share a gate only by chance.

use tokio::sync::{Mutex, MutexGuard};

use crate::store::PatientKey;

/// Persons at whom something is being written may be about so many.
const GATES: usize = 1024;

pub(in crate::exchange) struct Turns {
    gates: Box<[Mutex<()>]>,
}

impl Default for Turns {
    fn default() -> Self {
        Turns { gates: (0..GATES).map(|_| Mutex::new(())).collect() }
    }
}

impl Turns {
    /// Waits until it is the caller's turn with that person.
    pub(super) async fn of(&self, patient: PatientKey) -> MutexGuard<'_, ()> {
        // The key is a hash already.
        let at = usize::from(u16::from_le_bytes([patient.0[4], patient.0[5]])) % GATES;
        self.gates[at].lock().await
    }
}
