//! Elements to JSON: what each attribute is, and where each child goes.
//!
//! One set of texts serves all records, so that a record costs no allocation once the longest has been seen.

use super::date;
use super::device;
use super::scan::{Attribute, piece};
use crate::fhir::tree::{MAX_MEMBERS, json, write, xml};

/// Longest record as JSON; a workout with all its events has a tenth of it.
pub(super) const MAX_RECORD: usize = 4 << 20;

/// Deepest nesting of objects: a workout, its activities, their events.
const MAX_DEPTH: usize = 4;

/// Elements of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Root,
    Record,
    Correlation,
    Workout,
    ActivitySummary,
    ClinicalRecord,
    Audiogram,
    VisionPrescription,
    MetadataEntry,
    BeatList,
    Beat,
    WorkoutEvent,
    WorkoutStatistics,
    WorkoutActivity,
    SensitivityPoint,
    Other,
}

/// What an element becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Object(Kind),
    /// A member of `metadata`.
    Metadata,
    /// Nothing itself: its children belong to its parent.
    Through(Kind),
}

/// Lists that an object may have.
const LISTS: [&str; 6] = ["records", "events", "statistics", "activities", "beats", "points"];

impl Kind {
    pub fn named(name: &[u8]) -> Kind {
        match name {
            b"HealthData" => Kind::Root,
            b"Record" => Kind::Record,
            b"Correlation" => Kind::Correlation,
            b"Workout" => Kind::Workout,
            b"ActivitySummary" => Kind::ActivitySummary,
            b"ClinicalRecord" => Kind::ClinicalRecord,
            b"Audiogram" => Kind::Audiogram,
            b"VisionPrescription" => Kind::VisionPrescription,
            b"MetadataEntry" => Kind::MetadataEntry,
            b"HeartRateVariabilityMetadataList" => Kind::BeatList,
            b"InstantaneousBeatsPerMinute" => Kind::Beat,
            b"WorkoutEvent" => Kind::WorkoutEvent,
            b"WorkoutStatistics" => Kind::WorkoutStatistics,
            b"WorkoutActivity" => Kind::WorkoutActivity,
            b"SensitivityPoint" => Kind::SensitivityPoint,
            _ => Kind::Other,
        }
    }

    /// Stands for itself in the file.
    pub fn is_record(self) -> bool {
        matches!(
            self,
            Kind::Record
                | Kind::Correlation
                | Kind::Workout
                | Kind::ActivitySummary
                | Kind::ClinicalRecord
                | Kind::Audiogram
                | Kind::VisionPrescription
        )
    }

    /// What it becomes inside a record; none where it is passed over.
    pub fn part(self, inside: Option<Part>) -> Option<Part> {
        match (self, inside?) {
            (Kind::MetadataEntry, Part::Object(_)) => Some(Part::Metadata),
            (Kind::BeatList, Part::Object(Kind::Record)) => Some(Part::Through(Kind::BeatList)),
            (Kind::Beat, Part::Through(Kind::BeatList))
            | (Kind::Record, Part::Object(Kind::Correlation))
            | (Kind::WorkoutEvent | Kind::WorkoutStatistics, Part::Object(Kind::Workout | Kind::WorkoutActivity))
            | (Kind::WorkoutActivity, Part::Object(Kind::Workout))
            | (Kind::SensitivityPoint, Part::Object(Kind::Audiogram)) => Some(Part::Object(self)),
            _ => None,
        }
    }

    /// Place of its list in [`LISTS`].
    fn list(self) -> usize {
        match self {
            Kind::WorkoutEvent => 1,
            Kind::WorkoutStatistics => 2,
            Kind::WorkoutActivity => 3,
            Kind::Beat => 4,
            Kind::SensitivityPoint => 5,
            _ => 0,
        }
    }

    /// HealthKit's name of the type, where the element has no attribute that says it.
    fn type_name(self) -> Option<&'static str> {
        match self {
            Kind::Workout => Some("HKWorkoutTypeIdentifier"),
            Kind::ActivitySummary => Some("HKActivitySummaryTypeIdentifier"),
            Kind::VisionPrescription => Some("HKVisionPrescriptionTypeIdentifier"),
            _ => None,
        }
    }
}

impl Part {
    pub fn kind(self) -> Kind {
        match self {
            Part::Object(kind) | Part::Through(kind) => kind,
            Part::Metadata => Kind::MetadataEntry,
        }
    }
}

/// What is done with an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Moment,
    Clock,
    Number,
    Device,
    Text,
}

/// How many attributes tell one record from another.
const IDENTITY: usize = 8;

/// What is done with an attribute, and its place among those that tell one record from another. Not the time of its
/// creation and not the device, whose text differs from export to export.
fn meant(name: &str) -> (Content, Option<usize>) {
    match name {
        "type" => (Content::Text, Some(0)),
        "workoutActivityType" => (Content::Text, Some(1)),
        "sourceName" => (Content::Text, Some(2)),
        "startDate" => (Content::Moment, Some(3)),
        "endDate" => (Content::Moment, Some(4)),
        "value" => (Content::Number, Some(5)),
        "unit" => (Content::Text, Some(6)),
        "dateComponents" => (Content::Text, Some(7)),
        "creationDate" | "date" | "dateIssued" | "expirationDate" => (Content::Moment, None),
        "time" => (Content::Clock, None),
        "device" => (Content::Device, None),
        "bpm"
        | "duration"
        | "totalDistance"
        | "totalEnergyBurned"
        | "totalFlightsClimbed"
        | "totalSwimmingStrokeCount"
        | "sum"
        | "average"
        | "minimum"
        | "maximum"
        | "activeEnergyBurned"
        | "activeEnergyBurnedGoal"
        | "appleMoveTime"
        | "appleMoveTimeGoal"
        | "appleExerciseTime"
        | "appleExerciseTimeGoal"
        | "appleStandHours"
        | "appleStandHoursGoal"
        | "frequencyValue"
        | "leftEarValue"
        | "rightEarValue" => (Content::Number, None),
        _ => (Content::Text, None),
    }
}

/// An object under construction.
#[derive(Debug, Default)]
struct Frame {
    text: String,
    metadata: String,
    /// Keys of `metadata`, where they stand in it.
    keys: Vec<(usize, usize)>,
    lists: [String; LISTS.len()],
}

impl Frame {
    fn clear(&mut self) {
        self.text.clear();
        self.metadata.clear();
        self.keys.clear();
        self.lists.iter_mut().for_each(String::clear);
    }

    fn len(&self) -> usize {
        self.text.len() + self.metadata.len() + self.lists.iter().map(String::len).sum::<usize>()
    }

    fn complete(&mut self) {
        if !self.metadata.is_empty() {
            self.text.extend([",\"metadata\":{", &self.metadata, "}"]);
        }
        for (name, list) in LISTS.iter().zip(&self.lists) {
            if !list.is_empty() {
                self.text.extend([",\"", name, "\":[", list, "]"]);
            }
        }
        self.text.push('}');
    }
}

/// Builds one record after the other.
#[derive(Debug, Default)]
pub(super) struct Builder {
    frames: Vec<Frame>,
    depth: usize,
    /// Objects deeper than [`MAX_DEPTH`].
    too_deep: usize,
    scratch: String,
    identity: [String; IDENTITY],
    /// The device that was met last, as it was written and as JSON: one after the other has the same.
    device: (String, String),
}

/// Why a record is refused.
type Built = Result<(), &'static str>;

impl Builder {
    pub fn clear(&mut self) {
        self.depth = 0;
        self.too_deep = 0;
    }

    /// The record that was closed last.
    pub fn text(&self) -> &str {
        self.frames.first().map_or("", |frame| &frame.text)
    }

    pub fn open(&mut self, part: Part, token: &[u8], attributes: &[Attribute]) -> Built {
        let kind = match part {
            Part::Object(kind) => kind,
            Part::Metadata => return self.metadata(token, attributes),
            Part::Through(_) => return Ok(()),
        };
        if self.depth == MAX_DEPTH {
            self.too_deep += 1;
            return Err("Its elements nest deeper than those of any known record.");
        }
        if self.frames.len() == self.depth {
            self.frames.push(Frame::default());
        }
        self.frames[self.depth].clear();
        self.depth += 1;
        if kind == Kind::ClinicalRecord {
            return Err("A clinical record is FHIR already: send the file that stands beside the export.");
        }
        self.object(kind, token, attributes)
    }

    pub fn close(&mut self, part: Part) -> Built {
        let Part::Object(kind) = part else { return Ok(()) };
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return Ok(());
        }
        self.depth = self.depth.saturating_sub(1);
        let (parents, children) = self.frames.split_at_mut(self.depth);
        let Some(child) = children.first_mut() else { return Ok(()) };
        child.complete();
        let Some(parent) = parents.last_mut() else { return Ok(()) };
        if parent.len() + child.text.len() > MAX_RECORD {
            return Err("The record has more than 4 mebibytes.");
        }
        let list = &mut parent.lists[kind.list()];
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&child.text);
        Ok(())
    }

    /// The `value` of an element as a dateTime.
    pub fn moment(&mut self, token: &[u8], attributes: &[Attribute]) -> Option<String> {
        let value = attributes.iter().find(|attribute| piece(token, attribute.name) == b"value")?;
        let mut out = String::new();
        date::moment(read(text(token).ok()?, value, &mut self.scratch).ok()?.1, &mut out).then_some(out)
    }

    fn object(&mut self, kind: Kind, token: &[u8], attributes: &[Attribute]) -> Built {
        self.identity.iter_mut().for_each(String::clear);
        let text = text(token)?;
        let Some(frame) = self.frames.get_mut(self.depth - 1) else { return Ok(()) };
        let out = &mut frame.text;
        out.push('{');
        if let Some(name) = kind.type_name() {
            out.extend(["\"type\":\"", name, "\","]);
            self.identity[0].push_str(name);
        }
        let mut named = false;
        for attribute in attributes {
            let (name, value) = read(text, attribute, &mut self.scratch)?;
            let name = if name == "type" && kind.type_name().is_some() { "prescriptionType" } else { name };
            let (content, place) = meant(name);
            out.extend(["\"", name, "\":"]);
            if content == Content::Device {
                described(value, &mut self.device, out);
            } else {
                written(content, value, out);
            }
            out.push(',');
            named |= name == "uuid";
            if let Some(place) = place {
                self.identity[place].push_str(value);
            }
        }
        if kind.is_record() && !named {
            identify(&self.identity, out);
        } else if out.ends_with(',') {
            out.pop();
        }
        if out.len() > MAX_RECORD { Err("The record has more than 4 mebibytes.") } else { Ok(()) }
    }

    fn metadata(&mut self, token: &[u8], attributes: &[Attribute]) -> Built {
        let text = text(token)?;
        let Some(frame) = self.depth.checked_sub(1).and_then(|at| self.frames.get_mut(at)) else { return Ok(()) };
        let attribute = |name: &[u8]| {
            let found = attributes.iter().find(|attribute| piece(token, attribute.name) == name);
            found.ok_or("A MetadataEntry has no key or no value.")
        };
        let (key, value) = (attribute(b"key")?, attribute(b"value")?);
        let before = frame.metadata.len();
        if before > 0 {
            frame.metadata.push(',');
        }
        let from = frame.metadata.len();
        string(read(text, key, &mut self.scratch)?.1, &mut frame.metadata);
        let to = frame.metadata.len();
        let (known, new) = frame.metadata.split_at(from);
        if frame.keys.iter().any(|(from, to)| &known[*from..*to] == new) {
            // The same key again: a dictionary has it once, and the first is as good as the other.
            frame.metadata.truncate(before);
            return Ok(());
        }
        frame.keys.push((from, to));
        frame.metadata.push(':');
        string(read(text, value, &mut self.scratch)?.1, &mut frame.metadata);
        if frame.keys.len() > MAX_MEMBERS as usize {
            return Err("The record has more than 256 entries of metadata.");
        }
        if frame.len() > MAX_RECORD { Err("The record has more than 4 mebibytes.") } else { Ok(()) }
    }
}

fn text(token: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(token).map_err(|_| "The record is not in UTF-8.")
}

/// Name and value of an attribute, references read.
fn read<'t>(
    token: &'t str,
    attribute: &Attribute,
    scratch: &'t mut String,
) -> Result<(&'t str, &'t str), &'static str> {
    let part = |(from, to): (u32, u32)| token.get(from as usize..to as usize).unwrap_or_default();
    let (name, value) = (part(attribute.name), part(attribute.value));
    if !attribute.references {
        return Ok((name, value));
    }
    scratch.clear();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        let known = after.split_once(';').and_then(|(name, after)| Some((xml::character(name)?, after)));
        let (character, after) = known.ok_or("A reference is neither to a character nor one of XML's own five.")?;
        scratch.push_str(before);
        scratch.push(character);
        rest = after;
    }
    scratch.push_str(rest);
    Ok((name, scratch))
}

fn written(content: Content, value: &str, out: &mut String) {
    match content {
        Content::Number if json::is_number(value) => out.push_str(value),
        Content::Device => device::write(value, out),
        Content::Moment => quoted(value, out, date::moment),
        Content::Clock => quoted(value, out, date::clock),
        Content::Number | Content::Text => string(value, out),
    }
}

fn described(value: &str, last: &mut (String, String), out: &mut String) {
    if last.0 != value || last.1.is_empty() {
        last.0.clear();
        last.0.push_str(value);
        last.1.clear();
        device::write(value, &mut last.1);
    }
    out.push_str(&last.1);
}

/// A value in the form that others expect, or as it is.
fn quoted(value: &str, out: &mut String, form: fn(&str, &mut String) -> bool) {
    out.push('"');
    if form(value, out) {
        out.push('"');
    } else {
        out.pop();
        string(value, out);
    }
}

/// A JSON string. White space of an attribute is a space (XML 1.0 §3.3.3), and so are the control characters that some
/// apps put into names, which neither XML nor FHIR has.
fn string(text: &str, out: &mut String) {
    let is_plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | 0x7f);
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else if text.bytes().any(|byte| byte.is_ascii_control()) {
        let cleaned: String = text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
        write::string(&cleaned, out);
    } else {
        write::string(text, out);
    }
}

/// Writes `uuid`: the same record has the same in every export. The phone leaves out its own, and writes all times in
/// the zone where it happens to be, so that moments count and not their texts.
fn identify(identity: &[String; IDENTITY], out: &mut String) {
    let mut hasher = blake3::Hasher::new();
    for value in identity {
        match date::instant(value) {
            Some(ms) => hasher.update(&ms.to_le_bytes()),
            None => hasher.update(value.as_bytes()),
        };
        hasher.update(&[0]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    // RFC 9562 §5.8: version 8, a hash of our own.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    out.push_str("\"uuid\":\"");
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for digit in [byte >> 4, byte & 0x0f] {
            out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    out.push('"');
}
