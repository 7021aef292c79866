//! Codes under which a person has nothing that the caller may see, so that a search need not go through it.
//!
//! The index knows codes and no consents, and consents speak of codes and categories: what is decided here holds of every
//! resource that has the code, whatever else it says, and what may be seen of the rest is decided of each. Codes other than
//! LOINC's may stand beside what is claimed without being a claim, so nothing follows from them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::ConsentsSeen;
use crate::exchange::facts::{CATEGORY_SYSTEM, LOINC};
use crate::exchange::kinds::KindRule;
use crate::exchange::{Caller, Gateway, consents};
use crate::fhir::validate::measures;
use crate::policy::consent::{self, Action, Actor, Compiled, Meant, Outlook, Reason};
use crate::store::{PatientKey, Sieve};

/// A system and a code.
type Coding = (&'static str, &'static str);

/// What may be claimed together with a code of LOINC of a category: the category, and its other codes there.
static TOGETHER: LazyLock<HashMap<&'static str, Vec<Coding>>> = LazyLock::new(|| {
    let mut together: HashMap<&'static str, Vec<Coding>> = HashMap::new();
    for measure in measures::all() {
        let category = measure.category;
        let codings = together.entry(category).or_insert_with(|| vec![(CATEGORY_SYSTEM, category)]);
        let codes = measure.codes.iter().filter(|code| code.system == LOINC);
        codings.extend(codes.map(|code| (LOINC, code.code)));
    }
    together
});

/// A person of whom the caller may see some things and not others.
struct Partly {
    consents: Arc<[Arc<Compiled>]>,
    names: [String; 2],
}

/// What the sieve asks for.
struct Asked {
    actor: Actor,
    purpose: String,
    now_ms: i64,
    policies: &'static [&'static str],
    kind: &'static str,
    persons: HashMap<PatientKey, Partly>,
}

impl Gateway {
    /// The sieve for a search among some persons whose consents are known; none where it would keep nothing back.
    pub(super) fn sieve(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        persons: &[(String, PatientKey)],
        seen: &mut ConsentsSeen,
    ) -> Option<Sieve> {
        // What the gateway itself writes is as private as what it tells of, whatever its own code.
        if !rule.writable {
            return None;
        }
        let (actor, now_ms) = (seen.actor(caller).clone(), self.now_ms());
        let purpose = caller.purpose;
        let request = consent::Request { action: Action::Access, actor: &actor, purpose, policies: &[], now_ms };
        let policies = self.implied.package(&request);
        let request = consent::Request { policies, ..request };
        let mut partly = HashMap::new();
        for (id, key) in persons {
            let Some(page) = seen.pages.get(key) else { continue };
            let names = consents::names(&self.base, id);
            let patients = names.each_ref().map(String::as_str);
            let unsaid = |said| self.implied.permits(said, &page.consents, &request, &patients, None).is_some();
            // A policy permits a resource for one of the things that it claims.
            if unsaid(Reason::NoConsent) || unsaid(Reason::NotCovered) {
                continue;
            }
            let permitting = consents::permitting(&page.consents, now_ms);
            if consent::outlook(&permitting, &request, &patients, false).0 == Outlook::Partial {
                partly.insert(*key, Partly { consents: Arc::from(&*permitting), names });
            }
        }
        if partly.is_empty() {
            return None;
        }
        let asked = Asked { actor, purpose: purpose.to_owned(), now_ms, policies, kind: rule.name, persons: partly };
        Some(Sieve::new(move |patient, system, code| asked.lets_through(patient, system, code)))
    }
}

impl Asked {
    fn lets_through(&self, patient: PatientKey, system: &str, code: &str) -> bool {
        let Some(person) = self.persons.get(&patient).filter(|_| system == LOINC) else { return true };
        let Asked { actor, purpose, now_ms, policies, kind, .. } = self;
        let request = consent::Request { action: Action::Access, actor, purpose, policies, now_ms: *now_ms };
        let patients = person.names.each_ref().map(String::as_str);
        let category = measures::measure(system, code).map(|measure| measure.category);
        let alone = [(LOINC, code), (CATEGORY_SYSTEM, category.unwrap_or_default())];
        let surely = &alone[..1 + usize::from(category.is_some())];
        let perhaps = category.and_then(|category| TOGETHER.get(category)).map_or(surely, Vec::as_slice);
        let meant = Meant { kind, surely, perhaps };
        consent::may_permit(&person.consents, &request, &patients, false, &meant)
    }
}
