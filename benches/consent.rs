//! What a decision by consents costs: `cargo bench --bench consent`.
//!
//! Twenty consents of one person with ten rules each, of which the last is about whoever asks: the most that a decision has
//! to look at, since every consent may refuse. CPU time of one thread; nothing is asserted about speed, and a decision that is not what it
//! should be ends the run.

mod clock;
mod kernel;

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{anyhow, ensure};
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::policy::consent::draft::{Draft, Permit};
use mhealth_gateway::policy::consent::{self, Action, Actor, Compiled, Facts, Request};

use clock::micros;
use kernel::peak_memory_mb;

const CONSENTS: usize = 20;
const RULES: usize = 10;
const NOW_MS: i64 = 1_780_000_000_000;
const CATEGORY: &str = mhealth_gateway::fhir::ours::CATEGORY_SYSTEM;

fn main() -> anyhow::Result<()> {
    let consents = compiled()?;
    let actor = Actor::reference("Organization/app");
    let request = Request { action: Action::Collect, actor: &actor, purpose: "TREAT", policies: &[], now_ms: NOW_MS };
    let codings = [("http://loinc.org", "8867-4"), (CATEGORY, "heart-rate")];
    let facts = |codings| Facts {
        codings,
        kind: "Observation",
        reference: "Observation/1",
        date_ms: Some((NOW_MS - 60_000, NOW_MS)),
        ..Facts::unknown(&["Patient/1", "https://gateway.example/fhir/Patient/1"])
    };
    println!("{CONSENTS} consents of {RULES} rules, {:.1} MB at most", peak_memory_mb()?);
    for (name, codings, permits) in [
        ("permitted by the last rule", &codings, true),
        ("permitted by none", &[("http://loinc.org", "2339-0"), (CATEGORY, "glucose")], false),
    ] {
        let facts = facts(codings);
        let decide = || consent::decide(black_box(&consents), &request, &facts);
        ensure!(decide().is_permit() == permits, "{name}: decided otherwise");
        let allocations = allocation_counter::measure(|| drop(black_box(decide())));
        let each = micros(|| drop(black_box(decide())))?;
        println!("  {name:28} {each:8.3} µs   {} allocations", allocations.count_total);
    }
    Ok(())
}

/// Each permits the one measure in question by its last rule, and others by those before.
fn compiled() -> anyhow::Result<Vec<Arc<Compiled>>> {
    (0..CONSENTS)
        .map(|number| {
            let permit = |rule: usize| Permit {
                actor: if rule + 1 == RULES {
                    "Organization/app".to_owned()
                } else {
                    format!("Organization/other-{rule}")
                },
                actions: vec![Action::Collect, Action::Access],
                purposes: vec!["TREAT".to_owned()],
                codings: vec![(CATEGORY.to_owned(), "heart-rate".to_owned())],
                period_ms: (None, Some(NOW_MS + 86_400_000)),
            };
            let draft = Draft {
                patient: "Patient/1".to_owned(),
                made_ms: 1_700_000_000_000,
                permits: (0..RULES).map(permit).collect(),
                until_ms: Some(NOW_MS + 31_536_000_000),
            };
            let mut body = draft.consent();
            body["id"] = format!("c{number}").into();
            let document = json::parse(body.to_string()).map_err(|issue| anyhow!("{}", issue.text))?;
            Ok(Arc::new(consent::compile(Element::root(&document), 1).0))
        })
        .collect()
}
