//! What phones and wearables send, as FHIR: pure.
//!
//! Most formats are a mapping, which is data: it reads a parsed body and writes Observations as text, which then go the way of
//! every pushed resource: validation, consent, storage and delivery do not know that they were not FHIR when they came. What
//! a format cannot say in FHIR it refuses or reports; nothing is guessed, and one bad record never stops the
//! others. Who sent a record and where it goes is not known here.

pub mod apple_health;
pub mod iomt;
mod left_out;
pub mod lines;
pub mod mapping;
pub mod native;
pub mod night;
pub mod observation;
mod open_mhealth;
pub mod series;
pub mod sources;
pub mod unpack;

use std::sync::{Arc, LazyLock};

pub use jiff::tz::TimeZone as Zone;

use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, json};
pub use mapping::{Explained, Pack, Traced};

/// The mappings that are part of the program.
const BUILT_IN: [&str; 20] = [
    include_str!("../../profiles/mappings/fitbit.json"),
    include_str!("../../profiles/mappings/garmin.json"),
    include_str!("../../profiles/mappings/googlefit.json"),
    include_str!("../../profiles/mappings/granola.json"),
    include_str!("../../profiles/mappings/health-auto-export.json"),
    include_str!("../../profiles/mappings/health-connect.json"),
    include_str!("../../profiles/mappings/healthkit.json"),
    include_str!("../../profiles/mappings/ihealth.json"),
    include_str!("../../profiles/mappings/jawbone.json"),
    include_str!("../../profiles/mappings/misfit.json"),
    include_str!("../../profiles/mappings/moves.json"),
    include_str!("../../profiles/mappings/open-mhealth.json"),
    include_str!("../../profiles/mappings/oura.json"),
    include_str!("../../profiles/mappings/polar.json"),
    include_str!("../../profiles/mappings/runkeeper.json"),
    include_str!("../../profiles/mappings/sensorbio.json"),
    include_str!("../../profiles/mappings/suunto.json"),
    include_str!("../../profiles/mappings/tidepool.json"),
    include_str!("../../profiles/mappings/ultrahuman.json"),
    include_str!("../../profiles/mappings/withings.json"),
];

static PACKS: LazyLock<Vec<Arc<Pack>>> = LazyLock::new(|| {
    let compiled = BUILT_IN.iter().map(|text| match Pack::compile(text) {
        Ok(pack) => Arc::new(pack),
        Err(mistakes) => {
            panic!("a mapping that is part of the program, and a test compiles it: {}", mistakes.join("; "))
        }
    });
    compiled.collect()
});

/// The formats that are read.
#[derive(Clone, Debug)]
pub struct Formats {
    packs: Vec<Arc<Pack>>,
    templates: Option<Arc<iomt::Templates>>,
}

impl Default for Formats {
    fn default() -> Self {
        Formats { packs: PACKS.clone(), templates: None }
    }
}

impl Formats {
    /// Adds a mapping, in place of one with the same id. The error says everything that is wrong with it.
    pub fn add(&mut self, text: &str) -> Result<Arc<Pack>, Vec<String>> {
        let pack = Arc::new(Pack::compile(text)?);
        self.packs.retain(|known| known.id != pack.id);
        self.packs.push(Arc::clone(&pack));
        Ok(pack)
    }

    /// Adds the connector's two templates, in place of others. The error says everything that is wrong with them.
    pub fn add_templates(&mut self, content: &str, mapping: &str) -> Result<(), Vec<String>> {
        self.templates = Some(Arc::new(iomt::Templates::compile(content, mapping)?));
        Ok(())
    }

    /// The mapping of that name in an address.
    pub fn named(&self, name: &str) -> Option<&Arc<Pack>> {
        self.packs.iter().find(|pack| pack.id == name)
    }

    /// What reads bodies that are sent under that name.
    pub fn format(&self, name: &str) -> Option<Format> {
        if name == native::NAME {
            return Some(Format::Native);
        }
        if name == iomt::NAME {
            return self.templates.clone().map(Format::Templates);
        }
        self.named(name).map(|pack| Format::Mapping(Arc::clone(pack)))
    }

    /// The names that an address may hold, for whoever used another.
    pub fn names(&self) -> String {
        let mut names: Vec<&str> = self.packs.iter().map(|pack| pack.id.as_str()).chain([native::NAME]).collect();
        names.extend(self.templates.as_ref().map(|_| iomt::NAME));
        names.sort_unstable();
        names.join(", ")
    }

    /// Everything that bodies are read by.
    pub fn all(&self) -> Vec<Format> {
        let packs = self.packs.iter().map(|pack| Format::Mapping(Arc::clone(pack)));
        packs.chain([Format::Native]).chain(self.templates.clone().map(Format::Templates)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.packs.iter()
    }
}

/// What reads a body of records.
#[derive(Clone, Debug)]
pub enum Format {
    Mapping(Arc<Pack>),
    /// Observations that are FHIR already and are completed.
    Native,
    /// Messages as the connector's templates read them.
    Templates(Arc<iomt::Templates>),
}

impl Format {
    /// The name in an address.
    pub fn name(&self) -> &str {
        match self {
            Format::Mapping(pack) => &pack.id,
            Format::Native => native::NAME,
            Format::Templates(_) => iomt::NAME,
        }
    }

    /// System of the identifiers that records get.
    pub fn identifier(&self) -> &str {
        match self {
            Format::Mapping(pack) => &pack.identifier,
            Format::Native => &native::IDENTIFIER,
            Format::Templates(_) => &iomt::IDENTIFIER,
        }
    }

    /// Which version of it: what is made differs with it.
    pub fn version(&self) -> &str {
        match self {
            Format::Mapping(pack) => &pack.version,
            Format::Native => env!("CARGO_PKG_VERSION"),
            Format::Templates(templates) => &templates.version,
        }
    }

    /// What a Provenance names, where something was mapped.
    pub fn canonical(&self) -> Option<String> {
        match self {
            Format::Mapping(pack) => Some(pack.canonical()),
            Format::Native | Format::Templates(_) => None,
        }
    }

    /// The document of the sender that it follows.
    pub fn source(&self) -> &str {
        match self {
            Format::Mapping(pack) => &pack.source,
            Format::Native => "HL7 PHD 2.0.0; gematik HDDT 1.0.1; HL7 PHR 1.0.0-ballot2",
            Format::Templates(_) => "device content and FHIR mapping of the IoMT FHIR Connector",
        }
    }

    /// Converts a body of at most `most` records, which become at most [`MOST_MADE`] Observations or as many, in the order
    /// sent. The error says why none of it can be read.
    pub fn convert(&self, document: &Document, sender: &Sender<'_>, most: usize) -> Result<Vec<Record>, Issue> {
        match self {
            Format::Mapping(pack) => convert(pack, document, sender, most),
            Format::Native => native::convert(document, sender, most),
            Format::Templates(templates) => templates.convert(document, sender, most),
        }
    }

    /// As [`Format::convert`], each record with the steps that led to what became of it, where there are any.
    pub fn explain(&self, document: &Document, sender: &Sender<'_>, most: usize) -> Result<Vec<Explained>, Issue> {
        match self {
            Format::Mapping(pack) => explain(pack, document, sender, most),
            Format::Native | Format::Templates(_) => {
                let records = self.convert(document, sender, most)?;
                Ok(records.into_iter().map(|record| (Vec::new(), vec![record])).collect())
            }
        }
    }
}

/// Whose records they are, and what the sender says of all of them.
#[derive(Clone, Debug)]
pub struct Sender<'a> {
    /// Reference to the person.
    pub subject: &'a str,
    /// Where local times without an offset were.
    pub zone: Option<Zone>,
}

/// What became of one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What the sender calls it, where it could be read.
    pub source_id: Option<String>,
    /// What the sender calls the record that this is one item of.
    pub whole: Option<String>,
    /// JSON Pointer (RFC 6901) of the record in what was sent.
    pub pointer: String,
    /// Key of the measure in the guide's table.
    pub measure: Option<&'static str>,
    /// The device or app that the value came from, as the sender names it.
    pub origin: Option<String>,
    /// The Observation as JSON; none where the issues hold an error.
    pub observation: Option<String>,
    /// Places are those of the sent text.
    pub issues: Vec<Issue>,
}

impl Record {
    /// One that could not be read at all.
    pub fn unread(issue: Issue) -> Record {
        Record { issues: vec![issue], ..Record::at("") }
    }

    fn at(pointer: &str) -> Record {
        Record {
            source_id: None,
            whole: None,
            pointer: pointer.to_owned(),
            measure: None,
            origin: None,
            observation: None,
            issues: Vec::new(),
        }
    }
}

/// Most Observations that one body becomes. It may have fewer records: one can hold a day of samples.
pub const MOST_MADE: usize = 10_000;

/// What is said of a body that has more records than are read at once.
fn too_many(most: usize) -> Issue {
    Issue::new(Id::BundleTooManyEntries, "", format!("At most {most} records are read at once."))
}

/// What is held of a body's Observations where so many records are read.
fn hold(records: &[Record], most: usize) -> Result<(), Issue> {
    let most = most.max(MOST_MADE);
    if records.len() <= most {
        return Ok(());
    }
    let text = format!(
        "The records of one request or line become at most {most} Observations: a record of more samples is sent in parts."
    );
    Err(Issue::new(Id::BundleTooManyEntries, "", text))
}

/// Reads a body of records, which may be a list.
pub fn read(bytes: impl Into<Vec<u8>>) -> Result<Document, Issue> {
    json::parse_list(bytes)
}

/// Converts a body of at most `most` records, in the order sent. The error says why none of it can be read.
pub fn convert(pack: &Pack, document: &Document, sender: &Sender<'_>, most: usize) -> Result<Vec<Record>, Issue> {
    mapping::convert(pack, document, sender, most)
}

/// As [`convert`], each record with the steps that led to what became of it.
pub fn explain(pack: &Pack, document: &Document, sender: &Sender<'_>, most: usize) -> Result<Vec<Explained>, Issue> {
    mapping::explain(pack, document, sender, most)
}
