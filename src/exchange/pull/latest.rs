//! `Observation/$lastn` (FHIR R4, operation Observation-lastn): the latest of each measure of a person.
//!
//! What is measured is told by the codings: two Observations that share one measure the same. Each is asked of consent like
//! the hit of a search, before it can be among the latest.

use std::collections::BTreeMap;

use super::Sight;
use super::search::{Found, Gathered, Hit, Walk};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::search::Rank;
use crate::fhir::tree::Element;

type Pairs = [(String, String)];

const KIND: &str = "Observation";

/// The latest first; of two with one date, what was changed last.
const ORDER: &str = "-date,-_lastUpdated";

/// What is measured, and the latest of it in their order.
struct Measure {
    codings: Vec<(String, String)>,
    latest: BTreeMap<(Rank, u64), Hit>,
}

impl Gateway {
    /// `GET [base]/Observation/$lastn?max=…&patient=…&code=…`.
    pub async fn last_of_each(&self, caller: &Caller<'_>, pairs: &Pairs, lenient: bool) -> Result<Found, Refusal> {
        let (max, asked) = read(pairs)?;
        let rule = self.searchable(caller, KIND).await?;
        let mut gathered = Gathered::default();
        let (query, mut warnings) = self.asked(caller, rule, &asked, lenient, &mut gathered).await?;
        if query.hints().patients.is_none() {
            let text = "The latest are those of a person: name one by patient or subject.";
            return Err(Refusal::one(Id::OperationParameter, "", text));
        }
        let mut measures: Vec<Measure> = Vec::new();
        let mut walk = Walk::of_any(self, rule, &query);
        walk.plan.spares_damaged = true;
        while let Some(rows) = walk.round(self, caller, &query, &mut gathered).await? {
            for stored in rows {
                let Sight::Visible(found) = self.hit(caller, &walk, &query, stored, &mut gathered).await? else {
                    continue;
                };
                let Some(root) = found.content.root() else { continue };
                let stored = &found.content.stored;
                let place = (query.rank(root, stored.updated_ms), stored.seq);
                let latest = &mut measure(&mut measures, codings(root)).latest;
                latest.insert(place, (found.content.stored, found.basis));
                if latest.len() > max {
                    latest.pop_last();
                }
            }
        }
        if measures.iter().map(|measure| measure.latest.len()).sum::<usize>() > self.config.page_entries_max {
            let text = format!("These are more than the {} that a page holds.", self.config.page_entries_max);
            return Err(Refusal::one(Id::SearchTooCostly, "", text));
        }
        gathered.hits = measures.into_iter().flat_map(|measure| measure.latest.into_values()).collect();
        self.record_query(caller, "Observation/$lastn", pairs, &gathered).await?;
        let total = Some(gathered.hits.len());
        warnings.extend(gathered.incomplete());
        Ok(Found { entries: gathered.entries(), total, next: None, query: pairs.to_vec(), warnings })
    }
}

/// How many of each, and the search for them.
fn read(pairs: &Pairs) -> Result<(usize, Vec<(String, String)>), Refusal> {
    let mut max = 1;
    let mut asked = vec![("_sort".to_owned(), ORDER.to_owned())];
    for (name, value) in pairs {
        match name.as_str() {
            "max" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                max = count.ok_or_else(|| Refusal::one(Id::OperationParameter, "", "max is a number from 1."))?;
            }
            "_sort" | "_count" | "_total" | "_include" | "_revinclude" => {
                let text = format!(
                    "{name} is nothing to $lastn: the latest stand in one order and on one page; max says how many of each."
                );
                return Err(Refusal::one(Id::OperationParameter, "", text));
            }
            _ => asked.push((name.clone(), value.clone())),
        }
    }
    Ok((max, asked))
}

fn measure(measures: &mut Vec<Measure>, codings: Vec<(String, String)>) -> &mut Measure {
    let shares = |measure: &Measure| measure.codings.iter().any(|coding| codings.contains(coding));
    let known = measures.iter().position(shares);
    let index = known.unwrap_or_else(|| {
        measures.push(Measure { codings: Vec::new(), latest: BTreeMap::new() });
        measures.len() - 1
    });
    let measure = &mut measures[index];
    for coding in codings {
        if !measure.codings.contains(&coding) {
            measure.codings.push(coding);
        }
    }
    measure
}

/// What says what was measured; a text, where no code does.
fn codings(observation: Element<'_>) -> Vec<(String, String)> {
    let Some(code) = observation.get("code") else { return Vec::new() };
    let text = |element: Element<'_>, name| element.text_of(name).unwrap_or_default().to_owned();
    let mut codings: Vec<_> = code.all("coding").map(|coding| (text(coding, "system"), text(coding, "code"))).collect();
    if codings.is_empty() {
        codings.push((String::new(), text(code, "text")));
    }
    codings
}
