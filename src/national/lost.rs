//! What a measurement has and a destination is not told, so that it can be named beforehand.

use super::message::Measured;
use super::pack::{Form, Need, Pack, Row};
use super::render::{has_value, is_absent};
use super::slot::{Copied, Slot};
use super::template::{Each, Node};
use crate::fhir::tree::Element;
use crate::fhir::validate::measures;

/// Elements that templates may name, and the slots that tell them.
const ELEMENTS: [(&str, &[Slot]); 8] = [
    ("bodySite", &[Slot::Copy(Copied::BodySite)]),
    ("method", &[Slot::Copy(Copied::Method)]),
    ("interpretation", &[Slot::Copy(Copied::Interpretation)]),
    ("referenceRange", &[Slot::Copy(Copied::ReferenceRange)]),
    ("derivedFrom", &[Slot::DerivedFrom]),
    ("hasMember", &[Slot::HasMember]),
    ("note", &[Slot::Note, Slot::Notes, Slot::NotesText]),
    ("device", &[]),
];

/// What the guide's extensions say, by the slots that tell it.
const SAID: [(&str, Slot); 4] = [
    ("recording", Slot::Recording),
    ("meal", Slot::Meal),
    ("statistic", Slot::Statistic),
    ("position", Slot::Position),
];

/// What the templates of a pack ask for.
#[derive(Default, Debug)]
pub(super) struct Asked {
    of_measurement: Vec<Slot>,
    of_component: Vec<Slot>,
    /// Whether something of the device is told.
    device: bool,
}

impl Asked {
    pub(super) fn of(whole: &Node, parts: &[Node]) -> Asked {
        let mut asked = Asked::default();
        asked.add(whole, parts, false);
        asked.device = asked.of_measurement.iter().any(|slot| matches!(slot, Slot::Thing(..)));
        asked
    }

    fn add(&mut self, node: &Node, parts: &[Node], within: bool) {
        match node {
            Node::Raw(_) => {}
            Node::Slot(_) | Node::Text(_) => {
                let of = if within { &mut self.of_component } else { &mut self.of_measurement };
                of.extend(node.slots());
            }
            Node::Array(items) => items.iter().for_each(|item| self.add(item, parts, within)),
            Node::Part(at) | Node::Encoded(at) => self.add(&parts[*at], parts, within),
            Node::Object(object) => {
                self.of_measurement.extend(object.only.as_ref().map(|only| only.slot));
                let within = within || matches!(object.each, Some(Each::Component));
                object.members.iter().for_each(|member| self.add(&member.node, parts, within));
            }
        }
    }

    fn tells(&self, slot: Slot) -> bool {
        self.of_measurement.contains(&slot)
    }
}

impl Pack {
    /// What a measurement has that is not told with it: components by the keys of their measures, and elements by their
    /// names. Nothing of it where the measurement itself has no place.
    pub fn left_out(&self, observation: Element<'_>) -> Vec<String> {
        let Some(whole) = self.row_of(observation).filter(|row| !row.is_refused()) else { return Vec::new() };
        let mut lost = self.components_lost(whole, observation);
        let has = |name: &str| observation.get(name).is_some();
        for (name, slots) in ELEMENTS.into_iter().filter(|(name, slots)| has(name) && !slots.is_empty()) {
            if !slots.iter().any(|slot| self.asked.tells(*slot)) {
                lost.push(name.to_owned());
            }
        }
        let is_labelled = observation.get("meta").is_some_and(|meta| meta.get("security").is_some());
        if is_labelled && !self.asked.tells(Slot::Copy(Copied::Security)) {
            lost.push("security labels".to_owned());
        }
        let notes = observation.all("note").count();
        let tells_all = [Slot::Notes, Slot::NotesText].iter().any(|slot| self.asked.tells(*slot));
        if notes > 1 && self.asked.tells(Slot::Note) && !tells_all {
            lost.push("further notes".to_owned());
        }
        if observation.get("dataAbsentReason").is_some() && !self.asked.tells(Slot::Absent) {
            lost.push("dataAbsentReason".to_owned());
        }
        let measured = Measured { observation, device: None, app: None, contexts: &[] };
        for (name, slot) in SAID {
            let is_said = match slot.extension() {
                Some(extension) => measured.extension(extension).is_some(),
                None => measured.position().is_some(),
            };
            if is_said && !self.names(whole, slot) {
                lost.push(name.to_owned());
            }
        }
        if has("device") && !self.asked.device {
            lost.push("device".to_owned());
        }
        lost
    }

    /// Whether a slot is told, or chooses a code or a word of what is.
    fn names(&self, row: &Row, slot: Slot) -> bool {
        let by_code = row.codes.iter().chain(&row.inside).filter_map(|codes| codes.when.as_ref());
        let by_word = self.words.iter().any(|words| words.by == slot);
        let needed = row.needs.iter().any(|need| matches!(need, Need::Slot(known) if *known == slot));
        self.asked.tells(slot) || by_word || needed || by_code.into_iter().any(|only| only.slot == slot)
    }

    fn components_lost(&self, whole: &Row, observation: Element<'_>) -> Vec<String> {
        let is_split = whole.form == Form::Split;
        let place = |component: Element<'_>| {
            self.row_of(component).is_some_and(|part| match whole.form {
                Form::Split => !part.is_refused(),
                _ => whole.tells(part) || whole.has_inside(part.codings()),
            })
        };
        let tells_absent = if is_split { self.asked.tells(Slot::Absent) } else { self.tells_absent_parts() };
        let mut lost = Vec::new();
        for component in observation.all("component") {
            let Some(key) = component.get("code").and_then(measures::measured).map(|known| known.key.as_str()) else {
                continue;
            };
            if has_value(component) && !place(component) {
                lost.push(key.to_owned());
            } else if !has_value(component) && is_absent(component) && !(place(component) && tells_absent) {
                lost.push(format!("{key}, which was not measured"));
            }
            let of_part = if is_split { &self.asked.of_measurement } else { &self.asked.of_component };
            for copied in [Copied::Interpretation, Copied::ReferenceRange] {
                let is_told = place(component) && of_part.contains(&Slot::Copy(copied));
                if has_value(component) && component.get(copied.name()).is_some() && !is_told {
                    lost.push(format!("{} of {key}", copied.name()));
                }
            }
        }
        lost
    }

    /// Whether components say why they have no value.
    pub(super) fn tells_absent_parts(&self) -> bool {
        self.asked.of_component.contains(&Slot::Absent)
    }
}
