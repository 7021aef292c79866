//! What of the guide a destination takes, measure by measure: what is deliverable, what is refused, what has no place, and
//! what must be there so that it can be told.

use std::fmt::Write;

use super::measurement::measure;
use crate::fhir::validate::measures;
use crate::national::pack::{Form, Need, Pack, Row};
use crate::national::slot::Slot;
use crate::national::template::Node;

/// One measure of the guide's at a destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    pub measure: String,
    pub category: &'static str,
    pub state: State,
    /// The measures that tell it, where it has no message of its own.
    pub within: Vec<String>,
    /// Code and unit there.
    pub code: String,
    pub unit: String,
    /// What must be there, one sentence's part each.
    pub needs: Vec<&'static str>,
    pub note: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    Deliverable,
    /// It is told within another measure.
    Within,
    Refused,
    NoPlace,
}

impl State {
    /// What follows `within` is said by the gap.
    pub fn name(self) -> &'static str {
        match self {
            State::Deliverable => "deliverable",
            State::Within => "within",
            State::Refused => "refused",
            State::NoPlace => "no place",
        }
    }
}

/// Every measure of the guide's, by key.
pub fn gaps(pack: &Pack) -> Vec<Gap> {
    let always = required(pack);
    measures::all().iter().map(|measure| gap(pack, &measure.key, measure.category, &always)).collect()
}

fn gap(pack: &Pack, key: &str, category: &'static str, always: &[Slot]) -> Gap {
    let row = pack.row(key);
    let state = match row.map(|row| row.form) {
        None => State::NoPlace,
        Some(Form::Refused) => State::Refused,
        Some(Form::Part) => State::Within,
        Some(_) => State::Deliverable,
    };
    let needs = row.filter(|_| state == State::Deliverable).map(|row| needs(row, always)).unwrap_or_default();
    Gap {
        measure: key.to_owned(),
        category,
        state,
        within: row.map(|row| pack.wholes(row).into_iter().map(str::to_owned).collect()).unwrap_or_default(),
        code: row.map(|row| row.code.clone()).unwrap_or_default(),
        unit: row.map(|row| pack.unit_of(row).to_owned()).unwrap_or_default(),
        needs,
        note: row.map(|row| row.note.clone()).unwrap_or_default(),
    }
}

fn needs(row: &Row, always: &[Slot]) -> Vec<&'static str> {
    let own = row.needs.iter().map(|need| match need {
        Need::Slot(slot) => slot.missing(),
        Need::Component(key) => measure(key).map_or("a component", |_| "each part of the panel"),
    });
    let mut all: Vec<&str> = Vec::new();
    for need in always.iter().map(|slot| slot.missing()).chain(own) {
        if !all.contains(&need) {
            all.push(need);
        }
    }
    all
}

/// What every request must have that a measurement alone does not.
fn required(pack: &Pack) -> Vec<Slot> {
    let mut found = Vec::new();
    demanded(pack, &pack.parts[pack.whole], &mut found);
    found.retain(|slot| !comes_with_measurement(*slot));
    found
}

fn demanded(pack: &Pack, node: &Node, found: &mut Vec<Slot>) {
    match node {
        Node::Raw(_) => {}
        Node::Slot(slot) => found.push(*slot),
        Node::Text(_) => found.extend(node.slots()),
        Node::Array(items) => items.iter().for_each(|item| demanded(pack, item, found)),
        Node::Part(at) | Node::Encoded(at) => demanded(pack, &pack.parts[*at], found),
        Node::Object(object) if object.only.is_some() => {}
        Node::Object(object) => {
            let members = object.members.iter().filter(|member| !member.optional);
            members.for_each(|member| demanded(pack, &member.node, found));
        }
    }
}

fn comes_with_measurement(slot: Slot) -> bool {
    let is_extra = matches!(
        slot,
        Slot::Recording
            | Slot::Meal
            | Slot::Statistic
            | Slot::Zone
            | Slot::Position
            | Slot::Note
            | Slot::Notes
            | Slot::NotesText
            | Slot::Absent
            | Slot::Copy(_)
            | Slot::DerivedFrom
            | Slot::HasMember
            | Slot::Episode
            | Slot::Plan
            | Slot::PlanVersion
            | Slot::Word(..)
    );
    !is_extra && !slot.is_of_record()
}

/// The report as a page.
pub fn page(pack: &Pack) -> String {
    let all = gaps(pack);
    let mut out = format!("# {} and the measures of the guide\n\n", pack.title);
    let count = |state| all.iter().filter(|gap| gap.state == state).count();
    let _ = writeln!(
        out,
        "Of {} measures {} are deliverable, {} within another, {} refused, and {} have no place there.\n",
        all.len(),
        count(State::Deliverable),
        count(State::Within),
        count(State::Refused),
        count(State::NoPlace),
    );
    out.push_str("| measure | category | there | code | unit | needs | note |\n|---|---|---|---|---|---|---|\n");
    let mut sorted: Vec<&Gap> = all.iter().collect();
    sorted.sort_by_key(|gap| gap.state);
    for gap in sorted {
        let Gap { measure, category, state, within, code, unit, needs, note } = gap;
        let there = format!("{} {}", state.name(), within.join(" or "));
        let (there, needs) = (there.trim_end(), needs.join("; "));
        let _ = writeln!(out, "| {measure} | {category} | {there} | {code} | {unit} | {needs} | {note} |");
    }
    out
}
