//! What each national system wants a measurement to look like: country packs, which are data.
//!
//! A pack is a folder that an integrator can read and write: `pack.toml`, tables of measures, codes, words and errors, and
//! templates of the shapes. Compiled, it turns measurements of the guide's profiles into the body of a request, or says why
//! they cannot be told there: that is no mistake of anybody's, and is known before a person is asked for consent. Where a
//! destination is, how we sign in there, and what became of a request is not known here.

mod address;
mod answer;
mod compile;
pub mod draft;
mod file;
mod lookup;
mod lost;
mod manifest;
mod message;
mod narrative;
mod pack;
mod quantity;
mod render;
mod shelf;
mod slot;
mod table;
mod template;
#[cfg(test)]
mod tests;
pub mod trial;
mod written;

use std::cell::RefCell;
use std::fmt;

pub use address::Address;
pub use answer::{Answers, Check, Meaning, Said, Who};
pub use file::{Answer, Corrections, Format, Removal};
pub use lookup::{Context, Given, Inquiry, Question};
pub use manifest::Manifest;
pub use message::{Measured, Message, Settings};
use pack::Request;
pub use pack::{Form, Pack, Row, Version};
pub use shelf::{Shelf, built_in};

use self::message::Item;
use self::render::{Gap, Scope};
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Something that is wrong with a pack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    pub file: String,
    /// None where the whole file is meant.
    pub line: Option<u64>,
    pub text: String,
}

impl Mistake {
    fn of(file: &str, text: &str) -> Mistake {
        Mistake { file: file.to_owned(), line: None, text: text.to_owned() }
    }

    fn at(file: &str, line: u64, text: String) -> Mistake {
        Mistake { file: file.to_owned(), line: Some(line), text }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.file, self.text),
            None => write!(formatter, "{}: {}", self.file, self.text),
        }
    }
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub address: Address,
    pub body: String,
    /// Which of the measurements each of its entries tells; none of what stands beside them.
    pub entries: Vec<Option<usize>>,
}

/// Why a measurement cannot be told at a destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotDeliverable {
    pub id: Id,
    /// One sentence; nothing of what was measured.
    pub text: String,
}

impl Pack {
    /// The body of a request that tells some measurements.
    pub fn body(&self, message: &Message<'_>) -> Result<String, NotDeliverable> {
        self.request(message, &[]).map(|told| told.body)
    }

    /// The request that tells some measurements, where the destination knows some of them already: `there` are the names
    /// that it gave to what each became.
    pub fn request(&self, message: &Message<'_>, there: &[&[String]]) -> Result<Told, NotDeliverable> {
        let mut items: Vec<Item<'_>> = Vec::with_capacity(message.measured.len());
        for (at, measured) in message.measured.iter().enumerate() {
            self.placed((*measured, at), message, false, &mut items)?;
        }
        self.fits(message.measured.len(), items.len())?;
        let entries = RefCell::new(Vec::with_capacity(items.len()));
        let scope = Scope { there, entries: Some(&entries), ..Scope::of(self, message, &items) };
        let mut body = String::with_capacity(1024 * (items.len() + 1));
        let written = scope.has_what_it_needs().and_then(|()| scope.render(&self.parts[self.whole], &mut body));
        let address = written.and_then(|()| self.address(&scope)).map_err(|gap| self.not_told(gap))?;
        Ok(Told { address, body, entries: entries.take() })
    }

    /// How many measurements one becomes there.
    pub fn becomes(&self, observation: Element<'_>) -> usize {
        let mut items = Vec::new();
        self.items(Measured { observation, device: None, app: None, contexts: &[] }, 0, &mut items);
        items.len().max(1)
    }

    /// Whether some measurement becomes several there.
    pub fn splits(&self) -> bool {
        self.rows.iter().any(|row| row.form == Form::Split)
    }

    /// Whether one request may carry what so many measurements become.
    fn fits(&self, measured: usize, count: usize) -> Result<(), NotDeliverable> {
        let Request { most, parts, .. } = self.request;
        let most = if measured == 1 { most.max(parts) } else { most };
        if count <= most {
            return Ok(());
        }
        let text = format!("{} takes at most {most} in one request, and this becomes {count}.", self.title);
        Err(NotDeliverable { id: Id::DestinationForm, text })
    }

    /// System and value of the identifier by which the destination knows the person.
    pub fn person(&self, message: &Message<'_>) -> Option<(String, String)> {
        self.identifier(message).map(|(system, value)| (system.to_owned(), value.to_owned()))
    }

    /// Whether the destination takes a measurement, as far as the measurement alone says.
    pub fn takes(&self, observation: Element<'_>) -> Result<(), NotDeliverable> {
        let measured = [Measured { observation, device: None, app: None, contexts: &[] }];
        let settings = Settings::default();
        let message = Message { measured: &measured, person: None, settings: &settings, key: &[0; 32] };
        let mut items = Vec::new();
        self.placed((measured[0], 0), &message, true, &mut items)?;
        self.fits(1, items.len())?;
        let scope = Scope { alone: true, ..Scope::of(self, &message, &items) };
        let fits = scope.has_what_it_needs().and_then(|()| scope.values_fit());
        fits.map_err(|gap| self.not_told(gap))
    }

    /// What a measurement becomes, where the destination has a place for it.
    fn placed<'m>(
        &'m self,
        (measured, at): (Measured<'m>, usize),
        message: &'m Message<'m>,
        alone: bool,
        items: &mut Vec<Item<'m>>,
    ) -> Result<(), NotDeliverable> {
        let row = self.items(measured, at, items).ok_or_else(|| self.no_place())?;
        if row.form == Form::Part {
            return Err(self.only_within(row));
        }
        if row.is_refused() {
            return Err(self.refused(row));
        }
        if row.form == Form::Split {
            // Its parts have needs of their own, which are asked when they are told.
            let whole = [Item { measured, at, of: 0, row, part: None, context: None }];
            let scope = Scope { alone, ..Scope::of(self, message, &whole) };
            scope.has_what_it_needs().map_err(|gap| self.not_told(gap))?;
        }
        Ok(())
    }

    fn no_place(&self) -> NotDeliverable {
        NotDeliverable { id: Id::DestinationMeasure, text: format!("{} has no place for the measure.", self.title) }
    }

    fn only_within(&self, row: &Row) -> NotDeliverable {
        let wholes = self.wholes(row).join(" or ");
        let text = format!("{} takes {} within {wholes} and not by itself.", self.title, row.measure);
        NotDeliverable { id: Id::DestinationMeasure, text }
    }

    fn refused(&self, row: &Row) -> NotDeliverable {
        let why = if row.note.is_empty() { String::new() } else { format!(": {}", row.note) };
        NotDeliverable { id: Id::DestinationMeasure, text: format!("{} takes no {}{why}.", self.title, row.measure) }
    }

    fn not_told(&self, gap: Gap) -> NotDeliverable {
        let title = &self.title;
        let (id, text) = match gap {
            Gap::Form(form) => (Id::DestinationForm, format!("{title} takes {form}.")),
            Gap::Component => (Id::DestinationNeeds, format!("{title} wants every part of the measure.")),
            Gap::Slot(slot) => (Id::DestinationNeeds, format!("{title} wants {}.", slot.missing())),
            Gap::Empty | Gap::Elsewhere => (Id::DestinationNeeds, format!("{title} wants a value.")),
        };
        NotDeliverable { id, text }
    }
}
