//! `pack.toml` as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a pack says too little without, by what it stands in.
pub(super) const REQUIRED: &[(&str, &[&str])] = &[
    ("", &["id", "version", "title", "country", "country_name", "direction", "status", "fhir", "source", "request"]),
    ("narrative", &["language", "code", "time", "value"]),
    ("settings.*", &["what"]),
    ("categories.*", &["coding"]),
    ("categories.*.coding.*", &["system", "code"]),
    ("lookup", &["none", "ask"]),
    ("lookup.ask.*", &["path"]),
];

/// Whatever is required may be missing here, so that the rest is read all the same.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub id: String,
    /// Three numbers.
    pub version: String,
    pub title: String,
    /// ISO 3166-1 code, or `EU`.
    pub country: String,
    pub country_name: String,
    /// `push`, `pull`, `push and pull`, or `none yet`.
    pub direction: String,
    /// How far the destination is with it.
    pub status: String,
    /// Release of FHIR: `3.0.2`, `4.0.1` or `5.0.0`.
    pub fhir: String,
    /// The specification that the pack follows.
    pub source: String,
    pub request: Request,
    pub numbers: Numbers,
    pub narrative: Option<Narrative>,
    pub person: Person,
    pub device: Device,
    pub time: Time,
    /// What the operator says of its own access there.
    pub settings: BTreeMap<String, Setting>,
    /// Lists of CodeableConcepts that `measures.csv` names.
    pub categories: BTreeMap<String, Category>,
    /// What is asked there before a measurement can be told.
    pub lookup: Option<Lookup>,
    /// Tables of `words.csv`, and the slot that chooses among their lines.
    pub words: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Request {
    pub method: String,
    /// Below the address of the destination.
    pub path: String,
    /// Where a new version replaces what has the id `{there}`.
    pub correction: Option<String>,
    /// What a resource by itself is created unless there is one of.
    pub condition: Option<String>,
    /// Most measurements that one request carries.
    pub most: usize,
    /// Most that one measurement may become in a request of its own, where that is more than `most`.
    pub parts: usize,
    /// What is done with a new version of what was sent: `again`, `update`, or `never`.
    pub corrections: Corrections,
    /// How something is taken back: `entered-in-error`, `delete`, or `never`.
    pub removal: Removal,
    /// Whether the same request leaves the same there, however often it comes.
    pub repeatable: bool,
    /// What an answer looks like: `resource`; `entries` of a Bundle, one for each of the request; or one that is `whole`.
    pub answer: Answer,
    /// How the body is written.
    pub format: Format,
    /// Whether it wants to be told which requests belong together.
    pub trace: bool,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            method: "POST".to_owned(),
            path: String::new(),
            correction: None,
            condition: None,
            most: 1,
            parts: 1,
            corrections: Corrections::default(),
            removal: Removal::default(),
            repeatable: true,
            answer: Answer::default(),
            format: Format::default(),
            trace: false,
        }
    }
}

/// How a destination reads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Xml,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Corrections {
    /// It is sent as what was new; the destination knows by the identifier that it is the same.
    Again,
    /// It is sent as what replaces the resource of the id that the destination gave: a template says so by `{there}`.
    Update,
    /// The destination takes none.
    #[default]
    Never,
}

/// How a destination lets go of what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removal {
    /// The resource of the id that it gave is deleted.
    Delete,
    /// That resource becomes one that was an error and says nothing more.
    EnteredInError,
    /// It does not, for anybody who asks by this way.
    #[default]
    Never,
}

/// How a destination answers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    #[default]
    Resource,
    Entries,
    /// A Bundle whose entries are one document: they arrive together, and what is known by a name is the DocumentReference.
    Whole,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Numbers {
    pub rounding: Rounding,
}

/// How a number loses the digits that are too many.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// 0.5 goes away from zero.
    #[default]
    HalfUp,
    /// 0.5 goes to the even neighbour.
    HalfEven,
    /// A number that has them is not told.
    Refuse,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Narrative {
    pub language: String,
    /// What stands before code, time and value.
    pub code: String,
    pub time: String,
    pub value: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Person {
    /// Systems of the identifiers by which the destination knows persons, the preferred one first; or `{setting.NAME}`.
    pub identifiers: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Device {
    /// The app stands for a device that nobody named.
    pub app_otherwise: bool,
    /// System of the identifiers of devices that have none of their own; or `{setting.NAME}`.
    pub system: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Time {
    /// Name of the IANA database, or `{setting.NAME}`: where days are cut of what says no zone of its own.
    pub zone: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Setting {
    /// What it is, for whoever sets it.
    pub what: String,
    pub default: Option<String>,
    /// What it may be; anything, where nothing is listed.
    pub one_of: Vec<String>,
    /// What it is used for can do without it.
    pub optional: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lookup {
    /// How long an answer holds, and how long that there was nothing.
    pub keep_seconds: u32,
    pub keep_none_seconds: u32,
    /// Why a measurement cannot be told, where nothing is found.
    pub none: String,
    pub ask: Vec<Ask>,
}

impl Default for Lookup {
    fn default() -> Self {
        Lookup { keep_seconds: 900, keep_none_seconds: 60, none: String::new(), ask: Vec::new() }
    }
}

/// One text, or several of the same name.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    /// Each of them, with the key by which it stands.
    pub fn each<'t>(&'t self, name: &'t str) -> impl Iterator<Item = (String, &'t str)> {
        let (texts, is_list) = match self {
            Texts::One(text) => (std::slice::from_ref(text), false),
            Texts::Many(texts) => (texts.as_slice(), true),
        };
        let key = move |at: usize| if is_list { format!("{name}.{at}") } else { name.to_owned() };
        texts.iter().enumerate().map(move |(at, text)| (key(at), text.as_str()))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ask {
    /// Below the address for lookups.
    pub path: String,
    /// Texts with slots, by the names of parameters.
    pub query: BTreeMap<String, Texts>,
    /// Names of parameters that the destination has beyond the standard's.
    pub own: Vec<String>,
    /// FHIRPath on the answer, by what it gives within `context`.
    pub gives: BTreeMap<String, String>,
    /// FHIRPath that holds of the answer, or nothing was found.
    pub holds: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Category {
    pub coding: Vec<Coding>,
    pub text: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Coding {
    pub system: String,
    pub code: String,
    pub display: Option<String>,
}
