//! By what names one destination knows persons and resources, where it may not know who they are.
//!
//! A name is a keyed hash of destination and id: two destinations cannot join theirs, nobody can make them without the
//! installation's secret, and a correction bears the name of what it corrects, as long as store and destination keep their
//! own. It is computed and kept nowhere, so there is no register that leads from a name to a person.

use std::sync::Arc;

use crate::exchange::Gateway;
use crate::exchange::trail::Author;
use crate::fhir::definitions::Registry;
use crate::fhir::tree::{Element, json};
use crate::peers::Resource;
use crate::policy::pseudonym::{self, Names};
use crate::store::Stored;

/// The names of one destination.
pub(in crate::exchange) struct Pairwise {
    key: [u8; 32],
}

impl Pairwise {
    pub fn of(installation: &[u8; 32], destination: &str) -> Self {
        Pairwise { key: *blake3::keyed_hash(installation, destination.as_bytes()).as_bytes() }
    }

    /// What names of another form are made of.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// A kind has no slash, so that no two things are hashed alike.
    pub fn id(&self, kind: &str, id: &str) -> String {
        let hash = blake3::keyed_hash(&self.key, format!("{kind}/{id}").as_bytes());
        hash.to_hex()[..32].to_owned()
    }

    /// The id by which the destination knows what it was sent.
    pub fn known_as(&self, kind: &str, id: String, pseudonym: bool) -> String {
        if pseudonym { self.id(kind, &id) } else { id }
    }

    /// The resource as the destination gets it. None where it cannot be told without who it is of.
    pub fn resource(&self, gateway: &Gateway, stored: &Stored) -> Option<Resource> {
        let person = Author::patient_of(stored);
        // Were it of somebody else than the store says, the name would be somebody else's.
        if stored.patient != Some(gateway.patient_key(&person)) {
            return None;
        }
        self.written(&gateway.registry, stored, &person)
    }

    fn written(&self, registry: &Arc<Registry>, stored: &Stored, person: &str) -> Option<Resource> {
        let document = json::parse(stored.payload.as_slice()).ok()?;
        let (own, patient) = (self.id(&stored.kind, &stored.logical_id()), self.id("Patient", person));
        let names = Names { own: &own, patient: &patient, observation: &|id| self.id("Observation", id), days: 0 };
        let json = pseudonym::observation(Element::root(&document), &names, registry)?.into_bytes();
        Some(Resource { kind: stored.kind.to_string(), id: own, version: stored.version, json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_destinations_and_stays() {
        let secret = [7; 32];
        let (north, south) = (Pairwise::of(&secret, "north"), Pairwise::of(&secret, "south"));
        let id = north.id("Patient", "1");
        // What was sent under a name is corrected under it: it is the same in every version of the program.
        assert_eq!(id, "075c0cf5973ca785bc9a146f61c31cd3");
        assert!(crate::exchange::is_id(&id));
        for other in [
            south.id("Patient", "1"),
            north.id("Patient", "2"),
            north.id("Observation", "1"),
            Pairwise::of(&[8; 32], "north").id("Patient", "1"),
        ] {
            assert_ne!(id, other);
        }
    }
}
