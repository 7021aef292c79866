//! `pack.toml` as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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
    #[serde(default)]
    pub numbers: Numbers,
    #[serde(default)]
    pub narrative: Option<Narrative>,
    #[serde(default)]
    pub person: Person,
    #[serde(default)]
    pub device: Device,
    /// What the operator says of its own access there.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// Lists of CodeableConcepts that `measures.csv` names.
    #[serde(default)]
    pub categories: BTreeMap<String, Category>,
    /// What is asked there before a measurement can be told.
    #[serde(default)]
    pub lookup: Option<Lookup>,
    /// Tables of `words.csv`, and the slot that chooses among their lines.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default = "post")]
    pub method: String,
    /// Below the address of the destination.
    #[serde(default)]
    pub path: String,
    /// Most measurements that one request carries.
    #[serde(default = "one")]
    pub most: usize,
    /// What is done with a new version of what was sent: `again`, `update`, or `never`.
    #[serde(default)]
    pub corrections: Corrections,
    /// How something is taken back: `entered-in-error`, `delete`, or `never`.
    #[serde(default)]
    pub removal: Removal,
    /// Whether the same request leaves the same there, however often it comes.
    #[serde(default = "yes")]
    pub repeatable: bool,
    /// What an answer looks like: `resource`; `entries` of a Bundle, one for each of the request; or one that is `whole`.
    #[serde(default)]
    pub answer: Answer,
    /// How the body is written.
    #[serde(default)]
    pub format: Format,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    /// What it is, for whoever sets it.
    pub what: String,
    #[serde(default)]
    pub default: Option<String>,
    /// What it may be; anything, where nothing is listed.
    #[serde(default)]
    pub one_of: Vec<String>,
    /// What it is used for can do without it.
    #[serde(default)]
    pub optional: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lookup {
    /// How long an answer holds, and how long that there was nothing.
    #[serde(default = "quarter")]
    pub keep_seconds: u32,
    #[serde(default = "minute")]
    pub keep_none_seconds: u32,
    /// Why a measurement cannot be told, where nothing is found.
    pub none: String,
    pub ask: Vec<Ask>,
}

/// One text, or several of the same name.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// Below the address for lookups.
    pub path: String,
    /// Texts with slots, by the names of parameters.
    #[serde(default)]
    pub query: BTreeMap<String, Texts>,
    /// FHIRPath on the answer, by what it gives within `context`.
    #[serde(default)]
    pub gives: BTreeMap<String, String>,
    /// FHIRPath that holds of the answer, or nothing was found.
    #[serde(default)]
    pub holds: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Category {
    pub coding: Vec<Coding>,
    #[serde(default)]
    pub text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Coding {
    pub system: String,
    pub code: String,
    #[serde(default)]
    pub display: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn quarter() -> u32 {
    900
}

fn minute() -> u32 {
    60
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}
