//! Mappings as data: one small language for every sender of JSON.
//!
//! A mapping (`profiles/mappings/*.json`, described in `docs/devices.md`) says where the records are, what kind each is,
//! and for each kind which measure it becomes, where its value, unit, time and origin stand. `file` is its grammar, `pack`
//! what it is compiled to by `compile`, `expression` the paths and FHIRPath in it. `run` follows it for a record, with `when` for
//! its time (`clock`: how times are written) and `amount` for its numbers (`unit`); `trace` says how. What happens to the
//! Observations is not known here.

mod amount;
pub(super) mod clock;
mod compile;
mod expression;
mod file;
mod pack;
mod place;
mod run;
mod trace;
mod unit;
mod when;

#[cfg(test)]
mod tests;

pub use pack::Pack;
pub use trace::Traced;

use super::{Record, Sender};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::Document;

/// Converts what was sent, in its order. The error says why none of it can be read.
pub(super) fn convert(
    pack: &Pack,
    document: &Document,
    sender: &Sender<'_>,
    most: usize,
) -> Result<Vec<Record>, Issue> {
    let places = places(pack, document, most)?;
    let run = run::Run { pack, sender, document };
    let mut records = Vec::with_capacity(places.len());
    for (input, node, pointer) in places {
        run.record(input, node, &pointer, &mut None, &mut records);
    }
    super::hold(&records, most)?;
    Ok(records)
}

/// As [`convert`], with what led to each record.
pub(super) fn explain(
    pack: &Pack,
    document: &Document,
    sender: &Sender<'_>,
    most: usize,
) -> Result<Vec<Explained>, Issue> {
    let run = run::Run { pack, sender, document };
    let mut explained = Vec::new();
    for (input, node, pointer) in places(pack, document, most)? {
        let (mut trace, mut records) = (Vec::new(), Vec::new());
        run.record(input, node, &pointer, &mut Some(&mut trace), &mut records);
        explained.push((trace, records));
    }
    Ok(explained)
}

/// The records that one of the sender's became, with the steps that led there.
pub type Explained = (Vec<Traced>, Vec<Record>);

type Places<'p> = Vec<(&'p pack::Input, crate::fhir::tree::NodeId, String)>;

fn places<'p>(pack: &'p Pack, document: &Document, most: usize) -> Result<Places<'p>, Issue> {
    let places = run::records(pack, document)?;
    if places.is_empty() {
        let at: Vec<&str> =
            pack.inputs.iter().flat_map(|input| input.at.iter().map(expression::Expression::text)).collect();
        let text = format!("There are no records here. They are looked for at {}.", at.join(", "));
        return Err(Issue::new(Id::DeviceRecord, "", text));
    }
    if places.len() > most {
        return Err(super::too_many(most));
    }
    Ok(places)
}
