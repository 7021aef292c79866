//! What is to be told: measurements of one person, with what measured them, and what the operator says of its access.

use std::collections::BTreeMap;

use super::compile::is_uri;
use super::lookup::Context;
use super::pack::{Form, Pack, Row, System};
use super::slot::{Copied, Part, Which};
use crate::fhir::ours::STRUCTURES;
use crate::fhir::tree::{Element, time};
use crate::fhir::validate::measures::{self, SNOMED};

/// The standard's extension for the position of the body.
pub(super) const POSITION: &str = "http://hl7.org/fhir/StructureDefinition/observation-bodyPosition";

/// One request, before it is written.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    pub measured: &'m [Measured<'m>],
    /// The Patient, as far as the destination may know her.
    pub person: Option<Element<'m>>,
    pub settings: &'m Settings,
    /// What names are made of; another for each destination.
    pub key: &'m [u8; 32],
}

/// A measurement and what measured it.
#[derive(Clone, Copy)]
pub struct Measured<'m> {
    /// The Observation, as the guide's profiles have it.
    pub observation: Element<'m>,
    /// The Device that it names.
    pub device: Option<Element<'m>>,
    /// The Device of the app that sent it.
    pub app: Option<Element<'m>>,
    /// What was looked up at the destination, of each thing that it becomes there.
    pub contexts: &'m [Context],
}

/// What the operator says, in the order in which the pack asks for it.
#[derive(Clone, Default, Debug)]
pub struct Settings(pub(super) Vec<Option<String>>);

impl Settings {
    /// What the operator says of a pack, or everything that is wrong with it.
    pub fn of(pack: &Pack, said: &BTreeMap<String, String>) -> Result<Settings, Vec<String>> {
        let known: Vec<&str> = pack.settings.iter().map(|setting| setting.name.as_str()).collect();
        let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let mut mistakes: Vec<String> = said
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| format!("settings.{name}: {} has no such setting; it has {has}", pack.name()))
            .collect();
        let mut all = Vec::with_capacity(pack.settings.len());
        for (at, setting) in pack.settings.iter().enumerate() {
            let value = said.get(&setting.name).or(setting.default.as_ref());
            match value {
                None if !setting.optional => {
                    mistakes.push(format!("settings.{}: missing; {}", setting.name, setting.what));
                }
                Some(value) if !setting.one_of.is_empty() && !setting.one_of.contains(value) => {
                    mistakes.push(format!("settings.{}: {}", setting.name, setting.one_of.join(" or ")));
                }
                Some(value) if value.trim().is_empty() => {
                    mistakes.push(format!("settings.{}: it is empty; {}", setting.name, setting.what));
                }
                Some(value) if pack.is_system(at) && !is_uri(value) => {
                    let example = "a URI such as urn:oid:1.2.3 or https://id.example/persons";
                    mistakes.push(format!("settings.{}: {example}; {}", setting.name, setting.what));
                }
                Some(value) if pack.is_zone(at) && !time::is_zone(value) => {
                    mistakes.push(format!("settings.{}: a zone such as Europe/Oslo; {}", setting.name, setting.what));
                }
                _ => {}
            }
            all.push(value.cloned());
        }
        if mistakes.is_empty() { Ok(Settings(all)) } else { Err(mistakes) }
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        self.0.get(at)?.as_deref()
    }
}

/// What one measurement becomes: most become one, some become several.
#[derive(Clone, Copy)]
pub(super) struct Item<'m> {
    pub measured: Measured<'m>,
    /// Which of the message's measurements it is, and which of those that it becomes.
    pub at: usize,
    pub of: usize,
    pub row: &'m Row,
    /// The component that is told alone.
    pub part: Option<Element<'m>>,
    pub context: Option<&'m Context>,
}

impl Pack {
    /// Whether a setting is the system of identifiers.
    fn is_system(&self, at: usize) -> bool {
        let is_it = |system: &System| matches!(system, System::Setting(known) if *known == at);
        self.known_by.iter().chain(&self.device_system).any(is_it)
    }

    /// Whether a setting is a time zone.
    pub(super) fn is_zone(&self, at: usize) -> bool {
        matches!(self.zone, Some(System::Setting(known)) if known == at)
    }
}

impl System {
    pub(super) fn named<'m>(&'m self, settings: &'m Settings) -> Option<&'m str> {
        match self {
            System::Fixed(system) => Some(system),
            System::Setting(at) => settings.get(*at),
        }
    }
}

impl<'m> Item<'m> {
    /// What has the value.
    pub fn holder(&self) -> Element<'m> {
        self.part.unwrap_or(self.measured.observation)
    }

    /// What has an element that is handed on: of a part, what components have is its own.
    pub fn copied_from(&self, copied: Copied) -> Element<'m> {
        if matches!(copied, Copied::Interpretation | Copied::ReferenceRange) {
            self.holder()
        } else {
            self.measured.observation
        }
    }
}

impl Pack {
    /// The line of the measure that an element is coded as. Of a code that several measures share, the one whose unit is
    /// the value's.
    pub(super) fn row_of(&self, element: Element<'_>) -> Option<&Row> {
        let measure = measures::measured(element.get("code")?)?;
        let mut rows = self.candidates(measure);
        let first = rows.next()?;
        if rows.next().is_none() {
            return Some(first);
        }
        let sent = element.get("valueQuantity").and_then(|quantity| quantity.text_of("code"));
        let fits = |row: &&Row| {
            let units = row.known.filter(|known| !known.units.is_empty());
            sent.zip(units).is_none_or(|(sent, known)| known.unit(sent).is_some())
        };
        let mut fitting = self.candidates(measure).filter(fits);
        let found = fitting.next();
        // A guess would be wrong half of the time.
        if fitting.next().is_some() { None } else { found }
    }

    /// What a measurement becomes there; nothing, where the destination has no place for it.
    pub(super) fn items<'m>(&'m self, measured: Measured<'m>, at: usize, items: &mut Vec<Item<'m>>) -> Option<&'m Row> {
        let row = self.row_of(measured.observation)?;
        if row.form == Form::Split {
            let components = measured.observation.all("component");
            let parts = components.filter_map(|part| Some((part, self.row_of(part)?)));
            // What the destination refuses by name is no part of what is told.
            let parts = parts.filter(|(_, row)| !row.is_refused());
            items.extend(parts.enumerate().map(|(of, (part, row))| Item {
                measured,
                at,
                of,
                row,
                part: Some(part),
                context: measured.context(of),
            }));
        } else {
            items.push(Item { measured, at, of: 0, row, part: None, context: measured.context(0) });
        }
        Some(row)
    }

    /// The identifier by which the destination knows the person.
    pub(super) fn identifier<'m>(&'m self, message: &Message<'m>) -> Option<(&'m str, &'m str)> {
        let person = message.person?;
        self.known_by.iter().filter_map(|system| system.named(message.settings)).find_map(|system| {
            let own = |identifier: &Element<'_>| identifier.text_of("system") == Some(system);
            person.all("identifier").find(own).and_then(|identifier| Some((system, identifier.text_of("value")?)))
        })
    }
}

impl<'m> Measured<'m> {
    fn context(&self, of: usize) -> Option<&'m Context> {
        self.contexts.get(of).or(self.contexts.last())
    }

    /// What measured, or what sent.
    pub fn thing(&self, which: Which, app_otherwise: bool) -> Option<Element<'m>> {
        match which {
            Which::App => self.app,
            Which::Device if app_otherwise => self.device.or(self.app),
            Which::Device => self.device,
        }
    }

    /// What one of the guide's extensions says.
    pub fn extension(&self, name: &str) -> Option<&'m str> {
        let is_it = |one: &Element<'m>| {
            one.text_of("url").and_then(|url| url.strip_prefix(STRUCTURES)).is_some_and(|own| own == name)
        };
        self.observation.all("extension").find(is_it)?.text_of("valueCode")
    }

    /// What an extension of the standard refers to.
    pub fn referred(&self, url: &str) -> Option<&'m str> {
        self.standard(url)?.get("valueReference")?.text_of("reference")
    }

    /// The SNOMED CT code of the position of the body.
    pub fn position(&self) -> Option<&'m str> {
        let mut codings = self.standard(POSITION)?.get("valueCodeableConcept")?.all("coding");
        codings.find(|coding| coding.text_of("system") == Some(SNOMED))?.text_of("code")
    }

    fn standard(&self, url: &str) -> Option<Element<'m>> {
        self.observation.all("extension").find(|one| one.text_of("url") == Some(url))
    }
}

/// What a device says of itself, but for its identifier.
pub(super) fn said_of(device: Element<'_>, part: Part) -> Option<&str> {
    let name = || device.get("deviceName").and_then(|name| name.text_of("name"));
    match part {
        Part::Manufacturer => device.text_of("manufacturer"),
        Part::Model => device.text_of("modelNumber").or_else(name),
        Part::Name => name().or_else(|| device.text_of("modelNumber")),
        Part::Serial => device.text_of("serialNumber"),
        Part::Version => device.get("version").and_then(|version| version.text_of("value")),
        Part::Specialization => device.get("specialization")?.get("systemType")?.get("coding")?.text_of("code"),
        Part::Uuid | Part::System | Part::Value => None,
    }
}

/// The identifier of a device that the destination can have: what the maker gave it, under an OID.
pub(super) fn identifier_of(device: Element<'_>) -> Option<(&str, &str)> {
    device.all("identifier").find_map(|identifier| {
        let (system, value) = (identifier.text_of("system")?, identifier.text_of("value")?);
        system.starts_with("urn:oid:").then_some((system, value))
    })
}
