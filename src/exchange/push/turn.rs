//! One at a time, where what is written depends on what else a person has: pushes of records, and what re-reads them.
//!
//! Within this process waiting in line is enough, and nobody has to begin again because another was faster. Where other
//! gateways write to the same store, whoever has the gate here asks for the number of the turn as well, and its transaction
//! says `Stale` where another gateway was faster. Persons share a gate only by chance.

use tokio::sync::{Mutex, MutexGuard};

use crate::exchange::Gateway;
use crate::store::{self, PatientKey, Precondition};

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

impl Gateway {
    /// What a turn's transaction rests on; to be asked for before anything else is looked at.
    pub(super) async fn turn_of(&self, patient: PatientKey) -> Result<Option<Precondition>, store::Error> {
        Ok(self.store.turn(patient).await?.map(|number| Precondition::Turn { patient, number }))
    }
}
