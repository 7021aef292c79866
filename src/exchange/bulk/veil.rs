//! A de-identified export: persons under names that only this export has, their times moved, and nothing of whom there are
//! too few alike.
//!
//! Names and distances in time follow from the export's own secret, which goes with it: two exports cannot be laid beside
//! each other by them. A group are the persons of one gender and decade of birth of whom a measure is told; the persons of
//! a gender and decade are one as well. What is told of fewer persons than the operator says is not told of any of them.
//! Copies are made by `policy/pseudonym`; how persons are counted is `work`'s.

use crate::exchange::Gateway;
use crate::exchange::pairwise::Pairwise;
use crate::exchange::pull::Visible;
use crate::exchange::trail::Author;
use crate::fhir::validate::measures;
use crate::policy::pseudonym::{self, Names, Traits, WEEK};
use crate::store::ExportJob;

/// The types that can be told that way.
pub(super) const KINDS: [&str; 2] = ["Observation", "Patient"];

/// By how many weeks times are moved at most.
const MOST_WEEKS: i64 = 26;

/// Names a group without telling which it is.
pub(super) type Group = [u8; 16];

pub(super) struct Veil {
    names: Pairwise,
    secret: [u8; 32],
}

impl Veil {
    pub fn of(job: &ExportJob) -> Veil {
        Veil { names: Pairwise::of(&job.secret, "export"), secret: job.secret }
    }

    /// The resource as it is told. None where it cannot be told without who it is of.
    pub fn told(&self, gateway: &Gateway, visible: &Visible) -> Option<String> {
        let stored = &visible.content.stored;
        let person = Author::patient_of(stored);
        // Were it of somebody else than the store says, the name would be somebody else's.
        if stored.patient != Some(gateway.patient_key(&person)) {
            return None;
        }
        let id = self.names.id("Patient", &person);
        let root = visible.content.root()?;
        if &*stored.kind == "Patient" {
            return Some(Traits::of(root).patient(&id));
        }
        let own = self.names.id(&stored.kind, &stored.logical_id());
        let names = Names {
            own: &own,
            patient: &id,
            observation: &|id| self.names.id("Observation", id),
            days: self.weeks(&person) * WEEK,
        };
        pseudonym::observation(root, &names, &gateway.registry)
    }

    /// The group in which a resource tells of a person.
    pub fn group(&self, visible: &Visible, traits: Traits) -> Group {
        let code = visible.content.root().and_then(|root| root.get("code"));
        let measured = code.and_then(measures::measured).map(|measure| measure.key.as_str());
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        let decade = traits.decade.map(|decade| decade.to_string());
        for part in [Some(&*visible.content.stored.kind), measured, traits.gender, decade.as_deref()] {
            // What is not known is a value of its own.
            hasher.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hasher.update(part.unwrap_or_default().as_bytes());
        }
        let mut group = Group::default();
        group.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        group
    }

    /// By how many weeks a person's times are moved: any number but none.
    fn weeks(&self, person: &str) -> i64 {
        let hash = blake3::keyed_hash(&self.secret, format!("weeks/{person}").as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        let weeks = (u64::from_le_bytes(first) % (2 * MOST_WEEKS as u64)) as i64 - MOST_WEEKS;
        if weeks < 0 { weeks } else { weeks + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybodys_times_are_moved_and_each_ones_by_as_much() {
        let veil = |byte: u8| Veil { names: Pairwise::of(&[byte; 32], "export"), secret: [byte; 32] };
        let (one, other) = (veil(1), veil(2));
        let weeks: Vec<i64> = (0..2000).map(|person| one.weeks(&person.to_string())).collect();
        assert!(weeks.iter().all(|weeks| *weeks != 0 && weeks.abs() <= MOST_WEEKS));
        assert_eq!((weeks.iter().min(), weeks.iter().max()), (Some(&-26), Some(&26)));
        assert_eq!(one.weeks("7"), weeks[7]);
        let same = (0..2000).filter(|person| other.weeks(&person.to_string()) == weeks[*person as usize]).count();
        assert!(same < 100, "another export moves them otherwise: {same}");
    }
}
