//! Templates filled with a message: one pass over the template, one text.

use std::cell::RefCell;
use std::sync::LazyLock;

use super::compile::coding;
use super::message::{Item, Measured, Message, identifier_of, said_of};
use super::narrative;
use super::pack::{Codes, Form, Need, Pack, Row, Time};
use super::quantity;
use super::slot::{Copied, Part, Slot, Told, Which};
use super::template::{Each, Member, Node, Object, Only, Piece};
use crate::fhir::fhirpath::to_base64;
use crate::fhir::tree::time::{self, Moment};
use crate::fhir::tree::write::{compact, string};
use crate::fhir::tree::{Element, Kind};

/// Why something cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gap {
    Slot(Slot),
    Component,
    /// What the destination asks of a value.
    Form(&'static str),
    /// There is nothing inside.
    Empty,
    /// The value stands elsewhere by the measure's form.
    Elsewhere,
}

/// What a template is filled with at some place.
#[derive(Clone, Copy)]
pub(super) struct Scope<'m> {
    pub pack: &'m Pack,
    pub message: &'m Message<'m>,
    pub items: &'m [Item<'m>],
    pub item: Option<Item<'m>>,
    pub component: Option<Component<'m>>,
    /// By what names the destination knows what each measurement became, in their order.
    pub there: &'m [&'m [String]],
    /// Which measurement each entry of the request tells, where that is to be noted.
    pub entries: Option<&'m RefCell<Vec<Option<usize>>>>,
    /// Whether it is asked of a measurement by itself, so that what stands in other records is not missing.
    pub alone: bool,
}

/// The member whose items are answered one by one, and what such an item has.
const ENTRIES: &str = "\"entry\":";
const RESOURCE: &str = "\"resource\":";

/// A component at the destination.
#[derive(Clone, Copy)]
pub(super) struct Component<'m> {
    pub element: Element<'m>,
    pub row: &'m Row,
    /// The measurement itself is told as a component.
    pub inside: bool,
}

/// A component with its value alone.
static VALUE: LazyLock<Object> = LazyLock::new(|| {
    let value = Member { name: "\"value".to_owned(), choice: true, optional: true, node: Node::Slot(Slot::Value) };
    Object { only: None, each: None, members: vec![value] }
});

impl<'m> Scope<'m> {
    pub(super) fn of(pack: &'m Pack, message: &'m Message<'m>, items: &'m [Item<'m>]) -> Self {
        let item = items.first().copied();
        Scope { pack, message, items, item, component: None, there: &[], entries: None, alone: false }
    }

    /// Whether a measurement has what its line of the table asks for.
    pub(super) fn has_what_it_needs(&self) -> Result<(), Gap> {
        let Some(item) = self.item else { return Ok(()) };
        for need in &item.row.needs {
            match need {
                Need::Slot(slot) if self.alone && slot.is_beside() || self.has(*slot) => {}
                Need::Slot(slot) => return Err(Gap::Slot(*slot)),
                Need::Component(measure) => {
                    let mut components = item.measured.observation.all("component");
                    let is_it = |row: &Row| row.measure == *measure;
                    if !components.any(|one| has_value(one) && self.pack.row_of(one).is_some_and(is_it)) {
                        return Err(Gap::Component);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether each value that is there is one that the destination takes.
    pub(super) fn values_fit(&self) -> Result<(), Gap> {
        let mut out = String::new();
        for item in self.items {
            let scope = Scope { item: Some(*item), ..*self };
            let fits = match scope.value(&mut out) {
                Ok(()) | Err(Gap::Elsewhere) => scope.components(&VALUE, 0, &mut out),
                other => other,
            };
            if let Err(gap @ Gap::Form(_)) = fits {
                return Err(gap);
            }
        }
        Ok(())
    }

    pub(super) fn render(&self, node: &'m Node, out: &mut String) -> Result<(), Gap> {
        match node {
            Node::Raw(text) => out.push_str(text),
            Node::Slot(slot) => self.slot(*slot, out)?,
            Node::Text(pieces) => {
                out.push('"');
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.push_str(text),
                        Piece::Slot(slot) => {
                            let at = out.len();
                            self.slot(*slot, out)?;
                            // A text within a text has no quotes of its own.
                            if out[at..].starts_with('"') {
                                out.pop();
                                out.remove(at);
                            }
                        }
                    }
                }
                out.push('"');
            }
            Node::Object(object) => self.object(object, out)?,
            Node::Array(items) => self.array(items, None, out)?,
            Node::Part(at) => self.render(&self.pack.parts[*at], out)?,
            Node::Encoded(at) => {
                let mut whole = String::new();
                // What is inside is one thing, and answered as one.
                Scope { entries: None, ..*self }.render(&self.pack.parts[*at], &mut whole)?;
                string(&to_base64(whole.as_bytes()), out);
            }
        }
        Ok(())
    }

    fn object(&self, object: &'m Object, out: &mut String) -> Result<(), Gap> {
        if !self.holds(object.only.as_ref()) {
            return Err(Gap::Empty);
        }
        out.push('{');
        let begin = out.len();
        for member in &object.members {
            let before = out.len();
            if before > begin {
                out.push(',');
            }
            out.push_str(&member.name);
            let written = match (&member.node, member.choice) {
                (Node::Slot(Slot::Value), true) => self.value(out),
                (Node::Slot(Slot::Effective), true) => self.effective(out),
                (Node::Array(items), _) if member.name == ENTRIES => self.array(items, self.entries, out),
                (node, _) => self.render(node, out),
            };
            if let Err(gap) = written {
                out.truncate(before);
                let left_out = match gap {
                    Gap::Elsewhere => true,
                    // What is there and does not fit is never left out in silence.
                    Gap::Form(_) => false,
                    Gap::Slot(_) | Gap::Component | Gap::Empty => member.optional,
                };
                if !left_out {
                    return Err(gap);
                }
            }
        }
        if out.len() == begin {
            return Err(Gap::Empty);
        }
        out.push('}');
        Ok(())
    }

    fn array(
        &self,
        items: &'m [Node],
        entries: Option<&RefCell<Vec<Option<usize>>>>,
        out: &mut String,
    ) -> Result<(), Gap> {
        out.push('[');
        let begin = out.len();
        let note = |object: &Object, item: Option<&Item<'_>>| {
            if let Some(entries) = entries.filter(|_| object.members.iter().any(|member| member.name == RESOURCE)) {
                entries.borrow_mut().push(item.map(|item| item.at));
            }
        };
        for node in items {
            let Node::Object(object) = node else {
                listed(begin, out, |out| self.render(node, out))?;
                continue;
            };
            match object.each {
                None if self.holds(object.only.as_ref()) => {
                    listed(begin, out, |out| self.object(object, out))?;
                    note(object, None);
                }
                None => {}
                Some(Each::Measurement) => {
                    for item in self.items {
                        let scope = Scope { item: Some(*item), component: None, ..*self };
                        scope.has_what_it_needs()?;
                        if scope.holds(object.only.as_ref()) {
                            listed(begin, out, |out| scope.object(object, out))?;
                            note(object, Some(item));
                        }
                    }
                }
                Some(Each::Component) => self.components(object, begin, out)?,
            }
        }
        if out.len() == begin {
            return Err(Gap::Empty);
        }
        out.push(']');
        Ok(())
    }

    fn components(&self, object: &'m Object, begin: usize, out: &mut String) -> Result<(), Gap> {
        let says_why = object.members.iter().any(|member| member.node.slots().contains(&Slot::Absent));
        for component in self.parts_with(says_why) {
            let scope = Scope { component: Some(component), ..*self };
            if scope.holds(object.only.as_ref()) {
                listed(begin, out, |out| scope.object(object, out))?;
            }
        }
        Ok(())
    }

    /// The components that are told of a measurement with their values.
    pub(super) fn parts(&self) -> Vec<Component<'m>> {
        self.parts_with(false)
    }

    /// The same with those that say why they have no value, where the template has a place for that. What the destination
    /// has no place for is not told, nor is what says nothing: what must be there was asked for before.
    fn parts_with(&self, says_why: bool) -> Vec<Component<'m>> {
        let Some(item) = self.item.filter(|item| item.part.is_none()) else { return Vec::new() };
        let mut told: Vec<Component<'m>> = item
            .measured
            .observation
            .all("component")
            .filter(|element| has_value(*element) || says_why && is_absent(*element))
            .filter_map(|element| {
                let row = self.pack.row_of(element).filter(|row| item.row.tells(row))?;
                Some(Component { element, row, inside: false })
            })
            .collect();
        let own = Component { element: item.holder(), row: item.row, inside: true };
        if item.row.form == Form::Inside && (told.is_empty() || has_value(own.element)) {
            // The measurement's own value is said once.
            told.retain(|component| !item.row.has_inside(component.row.codings()));
            told.insert(0, own);
        }
        told
    }

    fn holds(&self, only: Option<&Only>) -> bool {
        only.is_none_or(|only| {
            let said = match &only.is {
                None => self.has(only.slot),
                Some(word) => self.text(only.slot).is_some_and(|text| text == word),
            };
            said != only.not
        })
    }

    fn has(&self, slot: Slot) -> bool {
        let mut out = String::new();
        match slot {
            Slot::Value => self.value(&mut out).is_ok(),
            Slot::Effective => self.effective(&mut out).is_ok(),
            _ => self.text(slot).is_some() || self.slot(slot, &mut out).is_ok(),
        }
    }

    /// Whether the destination has it already, by a name of its own.
    pub(super) fn is_there(&self) -> bool {
        self.text(Slot::There).is_some()
    }

    fn measured(&self) -> Option<Measured<'m>> {
        self.item.map(|item| item.measured)
    }

    /// What is a text and needs no work.
    fn text(&self, slot: Slot) -> Option<&'m str> {
        let observation = || self.measured().map(|measured| measured.observation);
        let person = || self.message.person;
        match slot {
            Slot::Id => observation()?.text_of("id"),
            Slot::Version => observation()?.get("meta")?.text_of("versionId"),
            Slot::Measure => self.item.map(|item| item.row.measure.as_str()),
            Slot::Profile => self.item.map(|item| item.row.profile.as_str()).filter(|text| !text.is_empty()),
            Slot::Status => observation()?.text_of("status"),
            Slot::Issued => {
                let observation = observation()?;
                observation.text_of("issued").or_else(|| observation.get("meta")?.text_of("lastUpdated"))
            }
            Slot::Note => observation()?.get("note")?.text_of("text"),
            Slot::Language => self.pack.narrative.as_ref().map(|narrative| narrative.language.as_str()),
            Slot::Recording | Slot::Meal | Slot::Statistic | Slot::Zone => {
                self.measured()?.extension(slot.extension()?)
            }
            Slot::Position => self.measured()?.position(),
            Slot::PersonSystem => self.pack.identifier(self.message).map(|(system, _)| system),
            Slot::PersonValue => self.pack.identifier(self.message).map(|(_, value)| value),
            Slot::PersonName => person()?.get("name")?.text_of("text"),
            Slot::PersonFamily => person()?.get("name")?.text_of("family"),
            Slot::PersonGiven => person()?.get("name")?.text_of("given"),
            Slot::PersonGender => person()?.text_of("gender"),
            Slot::PersonBirth => person()?.text_of("birthDate"),
            Slot::Thing(which, part) => self.thing(which, part),
            Slot::Episode | Slot::Plan | Slot::PlanVersion | Slot::PersonThere => {
                let own = self.own_context(slot);
                self.item?.context.map_or(own, |context| context.or(own, slot))
            }
            Slot::EpisodeId => self.text(Slot::Episode)?.rsplit('/').next(),
            Slot::CodeSystem => Some(self.code()?.codings.first()?.0.as_str()),
            Slot::CodeCode => Some(self.code()?.codings.first()?.1.as_str()),
            Slot::There => {
                let item = self.item?;
                let name = self.there.get(item.at)?.get(item.of)?;
                Some(name.rsplit_once('/').map_or(name.as_str(), |(_, id)| id))
            }
            Slot::Setting(at) => self.message.settings.get(usize::from(at)),
            Slot::Word(at, told) => {
                let word = self.word(at)?;
                let text = match told {
                    Told::Coding => return None,
                    Told::System => &word.system,
                    Told::Code => &word.code,
                    Told::Display => &word.display,
                };
                Some(text.as_str()).filter(|text| !text.is_empty())
            }
            _ => None,
        }
    }

    /// What the measurement itself says of the care plan that it is for.
    pub(super) fn own_context(&self, slot: Slot) -> Option<&'m str> {
        let measured = self.measured()?;
        let based_on = || measured.observation.get("basedOn")?.text_of("reference");
        match slot {
            Slot::Episode => measured.referred("http://hl7.org/fhir/StructureDefinition/workflow-episodeOfCare"),
            Slot::Plan => {
                let reference = based_on()?;
                Some(reference.split_once("/_history/").map_or(reference, |(reference, _)| reference))
            }
            Slot::PlanVersion => Some(based_on()?.split_once("/_history/")?.1),
            _ => None,
        }
    }

    fn thing(&self, which: Which, part: Part) -> Option<&'m str> {
        let device = self.measured()?.thing(which, self.pack.app_otherwise)?;
        match part {
            Part::System => identifier_of(device)
                .map(|(system, _)| system)
                .or_else(|| self.pack.device_system.as_ref()?.named(self.message.settings)),
            Part::Value => identifier_of(device).map(|(_, value)| value),
            _ => said_of(device, part),
        }
    }

    fn word(&self, at: u16) -> Option<&'m super::pack::Word> {
        let words = &self.pack.words[usize::from(at)];
        let from = self.text(words.by)?;
        words.lines.iter().find(|word| word.from == from)
    }

    pub(super) fn slot(&self, slot: Slot, out: &mut String) -> Result<(), Gap> {
        if let Some(text) = self.text(slot) {
            string(text, out);
            return Ok(());
        }
        let missing = Gap::Slot(slot);
        let item = self.item.ok_or(missing);
        match slot {
            Slot::Uuid => {
                let (id, part, _) = named_by(item?).ok_or(missing)?;
                self.uuid(&["Observation", id, part], out);
            }
            Slot::VersionUuid | Slot::VersionOid => {
                let (id, part, version) = named_by(item?).ok_or(missing)?;
                let name = self.name(&["Observation", id, part, version]);
                if slot == Slot::VersionUuid { uuid(name, out) } else { oid(name, out) }
            }
            Slot::DocumentUuid => {
                let (id, part, version) = named_by(item?).ok_or(missing)?;
                self.uuid(&["Document", id, part, version], out);
            }
            Slot::PersonUuid => {
                let id = self.message.person.and_then(|person| person.text_of("id")).ok_or(missing)?;
                self.uuid(&["Patient", id], out);
            }
            Slot::RequestUuid | Slot::RequestOid => {
                let ids = self.items.iter().filter_map(|item| named_by(*item));
                // Of first versions nothing is said, so that names stay what they were.
                let names: Vec<&str> = ["Bundle"]
                    .into_iter()
                    .chain(
                        ids.flat_map(|(id, _, version)| [Some(id), Some(version).filter(|version| *version != "1")])
                            .flatten(),
                    )
                    .collect();
                let name = self.name(&names);
                if slot == Slot::RequestUuid { uuid(name, out) } else { oid(name, out) }
            }
            Slot::Thing(which, Part::Uuid) => {
                let device = item?.measured.thing(which, self.pack.app_otherwise).ok_or(missing)?;
                self.uuid(&["Device", device.text_of("id").ok_or(missing)?], out);
            }
            Slot::Thing(which, Part::Value) => {
                // Without a system of the operator's own there is no place for a name of ours.
                let device = item?.measured.thing(which, self.pack.app_otherwise).ok_or(missing)?;
                self.pack.device_system.as_ref().ok_or(missing)?;
                self.uuid(&["Device", device.text_of("id").ok_or(missing)?], out);
            }
            Slot::Categories => {
                out.push_str(Some(&item?.row.categories).filter(|text| !text.is_empty()).ok_or(missing)?);
            }
            Slot::Code => out.push_str(&self.code().ok_or(missing)?.concept),
            Slot::Value => self.value(out)?,
            Slot::Effective => self.effective(out)?,
            Slot::Absent => {
                let holder = self.component.map_or(item?.holder(), |component| component.element);
                copy(holder.get("dataAbsentReason").ok_or(missing)?, out)?;
            }
            Slot::Notes | Slot::NotesText => notes(item?.measured.observation, slot, out)?,
            Slot::Narrative => narrative::write(self, out)?,
            Slot::DerivedFrom => self.others(item?.measured.observation, "derivedFrom", slot, out)?,
            Slot::HasMember => self.others(item?.measured.observation, "hasMember", slot, out)?,
            Slot::Copy(Copied::Security) => {
                let meta = item?.measured.observation.get("meta");
                copied_of(meta.ok_or(missing)?, Copied::Security, out)?;
            }
            Slot::Copy(copied) => {
                let holder = self.component.map_or(item?.copied_from(copied), |component| component.element);
                copied_of(holder, copied, out)?;
            }
            Slot::PersonName => {
                let name = self.message.person.and_then(|person| person.get("name")).ok_or(missing)?;
                let parts: Vec<&str> = texts(name, "given").into_iter().chain(name.text_of("family")).collect();
                string(&Some(parts.join(" ")).filter(|name| !name.is_empty()).ok_or(missing)?, out);
            }
            Slot::PersonGivens => {
                let name = self.message.person.and_then(|person| person.get("name")).ok_or(missing)?;
                list(&texts(name, "given"), out).ok_or(missing)?;
            }
            Slot::RequestIssued => {
                let issued =
                    self.items.iter().filter_map(|item| Scope { item: Some(*item), ..*self }.text(Slot::Issued));
                let begins = |text: &&str| Moment::parse(text).map(|moment| moment.interval_assuming_utc_ms().0);
                string(issued.max_by_key(begins).ok_or(missing)?, out);
            }
            Slot::PersonIdentifier => {
                let (system, value) = self.pack.identifier(self.message).ok_or(missing)?;
                out.push_str("{\"system\":");
                string(system, out);
                out.push_str(",\"value\":");
                string(value, out);
                out.push('}');
            }
            Slot::Word(at, Told::Coding) => {
                let word = self.word(at).ok_or(missing)?;
                coding(&word.system, &word.code, &word.display, out);
            }
            _ => return Err(missing),
        }
        Ok(())
    }

    /// Other measurements that one names, by the names that they have there.
    fn others(&self, observation: Element<'_>, member: &str, slot: Slot, out: &mut String) -> Result<(), Gap> {
        let begin = out.len();
        for one in observation.all(member) {
            let Some(id) = one.text_of("reference").and_then(|reference| reference.strip_prefix("Observation/")) else {
                continue;
            };
            out.push_str(if out.len() == begin { "[" } else { "," });
            out.push_str("{\"reference\":\"Observation/");
            let id = id.split_once('/').map_or(id, |(id, _)| id);
            let at = out.len();
            self.uuid(&["Observation", id, ""], out);
            // Within the text of the reference.
            out.remove(at);
            out.push('}');
        }
        if out.len() == begin {
            return Err(Gap::Slot(slot));
        }
        out.push(']');
        Ok(())
    }

    /// What it is called there.
    pub(super) fn code(&self) -> Option<&'m Codes> {
        let codes = match self.component {
            Some(Component { row, inside: true, .. }) => &row.inside,
            Some(Component { row, .. }) => &row.codes,
            None => &self.item?.row.codes,
        };
        codes.iter().find(|codes| self.holds(codes.when.as_ref()))
    }

    /// The rest of the name `value[x]`, and the value.
    fn value(&self, out: &mut String) -> Result<(), Gap> {
        let (holder, row) = match (self.component, self.item) {
            (Some(component), _) => (component.element, component.row),
            (None, Some(item)) => (item.holder(), item.row),
            (None, None) => return Err(Gap::Slot(Slot::Value)),
        };
        match row.form {
            Form::Inside if self.component.is_none() => return Err(Gap::Elsewhere),
            Form::Members if holder.get("component").is_some() => {
                return Err(Gap::Form("members that are measurements of their own, and no components"));
            }
            Form::Components | Form::Split | Form::Members => return Err(Gap::Elsewhere),
            _ => {}
        }
        let rounding = self.pack.rounding;
        if let Some(value) = holder.get("valueQuantity") {
            if !matches!(row.form, Form::Quantity | Form::Inside | Form::Part) {
                return Err(Gap::Form("another type of value"));
            }
            out.push_str("Quantity\":");
            return quantity::quantity(value, row, rounding, out);
        }
        if let Some(value) = holder.get("valueSampledData") {
            if row.form != Form::Series {
                return Err(Gap::Form("single values and no series"));
            }
            out.push_str("SampledData\":");
            return quantity::series(value, row, out);
        }
        if let Some(value) = holder.get("valueCodeableConcept") {
            if row.form != Form::Coded && !(row.form == Form::Part && row.unit.is_none()) {
                return Err(Gap::Form("another type of value"));
            }
            out.push_str("CodeableConcept\":");
            return copy(value, out);
        }
        Err(if has_value(holder) { Gap::Form("another type of value") } else { Gap::Slot(Slot::Value) })
    }

    /// The rest of the name `effective[x]`, and the time.
    fn effective(&self, out: &mut String) -> Result<(), Gap> {
        let missing = Gap::Slot(Slot::Effective);
        let item = self.item.ok_or(missing)?;
        let observation = item.measured.observation;
        let point = observation.text_of("effectiveDateTime").or_else(|| observation.text_of("effectiveInstant"));
        let period = observation.get("effectivePeriod");
        let start = point.or_else(|| period?.text_of("start"));
        match item.row.time {
            Time::AsSent => match (point, period) {
                (Some(point), _) => {
                    out.push_str("DateTime\":");
                    string(point, out);
                }
                (None, Some(period)) => {
                    out.push_str("Period\":");
                    copy(period, out)?;
                }
                (None, None) => return Err(missing),
            },
            Time::From => {
                out.push_str("Period\":{\"start\":");
                string(start.ok_or(missing)?, out);
                out.push('}');
            }
            Time::Date | Time::Start => {
                let start = start.ok_or(missing)?;
                let day;
                let start = if item.row.time == Time::Date {
                    day = self.day(start).ok_or(missing)?;
                    day.as_str()
                } else {
                    start
                };
                out.push_str("DateTime\":");
                string(start, out);
            }
        }
        Ok(())
    }

    /// The day of a moment: by the zone that the measurement names, by the hour that it was there, or, of what says neither,
    /// by the zone of the destination.
    fn day(&self, moment: &str) -> Option<String> {
        let own = self.text(Slot::Zone);
        let there = || self.pack.zone.as_ref().and_then(|zone| zone.named(self.message.settings));
        let is_nowhere = moment.ends_with('Z') || moment.ends_with("+00:00");
        match own.or_else(|| if is_nowhere { there() } else { None }) {
            Some(zone) => time::day_in(moment, zone),
            None => moment.get(..10).map(str::to_owned),
        }
    }

    fn uuid(&self, names: &[&str], out: &mut String) {
        uuid(self.name(names), out);
    }

    /// A name that the destination alone knows it by.
    fn name(&self, names: &[&str]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(self.message.key);
        for name in names {
            hasher.update(name.as_bytes()).update(b"/");
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        // RFC 9562: version 8, whose bits are the maker's own.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }
}

pub(super) fn has_value(element: Element<'_>) -> bool {
    element.children().any(|(name, _)| name.starts_with("value"))
}

/// Whether it says why it has no value.
pub(super) fn is_absent(element: Element<'_>) -> bool {
    element.get("dataAbsentReason").is_some()
}

/// Each text of a member, in their order.
fn texts<'m>(element: Element<'m>, name: &str) -> Vec<&'m str> {
    element.all(name).filter_map(|one| one.text()).collect()
}

/// A list of texts; nothing where there is none.
fn list(texts: &[&str], out: &mut String) -> Option<()> {
    for (index, text) in texts.iter().enumerate() {
        out.push(if index == 0 { '[' } else { ',' });
        string(text, out);
    }
    texts.first()?;
    out.push(']');
    Some(())
}

/// What people wrote of it, without who and when: a list of Annotations, or one text.
fn notes(observation: Element<'_>, slot: Slot, out: &mut String) -> Result<(), Gap> {
    let texts: Vec<&str> = observation.all("note").filter_map(|note| note.text_of("text")).collect();
    if texts.is_empty() {
        return Err(Gap::Slot(slot));
    }
    if slot == Slot::NotesText {
        string(&texts.join("\n"), out);
        return Ok(());
    }
    for (index, text) in texts.iter().enumerate() {
        out.push_str(if index == 0 { "[{\"text\":" } else { ",{\"text\":" });
        string(text, out);
        out.push('}');
    }
    out.push(']');
    Ok(())
}

/// What a measurement is called here: its id, the part of it that is meant, and its version.
fn named_by(item: Item<'_>) -> Option<(&str, &str, &str)> {
    let observation = item.measured.observation;
    let version = observation.get("meta").and_then(|meta| meta.text_of("versionId")).unwrap_or("1");
    Some((observation.text_of("id")?, item.part.map_or("", |_| item.row.measure.as_str()), version))
}

fn uuid(bytes: [u8; 16], out: &mut String) {
    out.push('"');
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for digit in [byte >> 4, byte & 0xf] {
            out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    out.push('"');
}

/// The same as an OID (ITU-T X.667: the arc 2.25).
fn oid(bytes: [u8; 16], out: &mut String) {
    out.push_str("\"urn:oid:2.25.");
    out.push_str(&u128::from_be_bytes(bytes).to_string());
    out.push('"');
}

/// The element as it was sent.
fn copy(element: Element<'_>, out: &mut String) -> Result<(), Gap> {
    match (element.value_node(), element.kind()) {
        (Some(node), Some(Kind::Object)) => {
            out.push_str(&compact(element.document(), node));
            Ok(())
        }
        _ => Err(Gap::Empty),
    }
}

/// An item of a list, behind those that it has already.
fn listed(begin: usize, out: &mut String, write: impl FnOnce(&mut String) -> Result<(), Gap>) -> Result<(), Gap> {
    if out.len() > begin {
        out.push(',');
    }
    write(out)
}

fn copied_of(holder: Element<'_>, copied: Copied, out: &mut String) -> Result<(), Gap> {
    if !copied.repeats() {
        return copy(holder.get(copied.name()).ok_or(Gap::Slot(Slot::Copy(copied)))?, out);
    }
    let mut before = '[';
    for one in holder.all(copied.name()) {
        out.push(before);
        copy(one, out)?;
        before = ',';
    }
    if before == '[' {
        return Err(Gap::Slot(Slot::Copy(copied)));
    }
    out.push(']');
    Ok(())
}
