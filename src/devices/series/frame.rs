//! An Observation taken apart: what it shares with others of its series, and what is its own.

use std::fmt::Write;

use super::{Unfit, moment};
use crate::fhir::ours::STRUCTURES;
use crate::fhir::tree::{Document, Element, Kind, NodeId, json, write};
use crate::fhir::validate::measures;

/// What all readings of a series say alike, as pieces of JSON.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Frame {
    /// Members of `meta` other than `profile`, each with a comma behind it.
    meta: String,
    /// Members of the Observation that no form of it changes, `code` among them, each with a comma behind it.
    rest: String,
    /// `code` and `extension`, which statistics change.
    code: String,
    extension: String,
    /// Members of the quantity other than its value, each with a comma before it.
    unit: String,
    /// System of the identifiers, as JSON.
    system: String,
    /// Whether the profile of the measure is claimed.
    claims: bool,
    measure: Option<Known>,
    /// The unit is one of something per something else.
    is_rate: bool,
}

/// What is known of a measure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Known {
    pub key: &'static str,
    pub category: &'static str,
    /// Of the guide.
    pub profiles: &'static [&'static str],
}

impl Known {
    fn of(code: Element<'_>) -> Option<Known> {
        let measure = measures::measured(code)?;
        Some(Known { key: &measure.key, category: measure.category, profiles: &measure.profiles })
    }

    /// The profile of a single value.
    fn single(self) -> Option<&'static str> {
        self.profiles.iter().copied().find(|name| !matches!(*name, "series" | "daily"))
    }
}

/// What one reading says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Milliseconds since 1970 in UTC; both the same for a moment.
    pub start: i64,
    pub end: i64,
    /// Where the clock of the person stood, in seconds east of UTC.
    pub offset: i32,
    /// The value, or the limit that it lies beyond; every digit.
    pub digits: String,
    pub token: Token,
    /// Value of the identifier.
    pub id: String,
}

/// What the digits of a reading are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Token {
    Value,
    /// The value lies below the digits, which are the lowest that the device measures.
    Below,
    /// The value lies above them.
    Above,
}

/// What a reading says itself, or what no form but its own can say.
const OWN: [&str; 6] = ["resourceType", "meta", "identifier", "status", "code", "extension"];
const PARTICULAR: [&str; 9] = [
    "id",
    "text",
    "contained",
    "note",
    "component",
    "hasMember",
    "interpretation",
    "dataAbsentReason",
    "modifierExtension",
];

/// Extensions whose value belongs to one reading.
const ORIGINAL: &str = "mh-original-value";

/// Takes a reading apart.
pub fn separate(document: &Document) -> Result<(Frame, Reading), Unfit> {
    let root = Element::root(document);
    let mut frame = Frame::default();
    let (mut time, mut value) = (None, None);
    for node in document.children(document.root()) {
        let key = document.key(node);
        if PARTICULAR.contains(&key) || key.starts_with('_') {
            return Err(Unfit::Particular);
        }
        if OWN.contains(&key) {
            continue;
        }
        let element = Element::at(document, node);
        match key {
            "effectiveDateTime" => time = element.text().and_then(moment::told).map(|at| (at, at)),
            "effectivePeriod" => time = period(element),
            "valueQuantity" => value = Some(quantity(document, node, &mut frame)?),
            _ if key.starts_with("value") || key.starts_with("effective") => return Err(Unfit::Form),
            _ => member(document, node, &mut frame.rest),
        }
    }
    let mut identifiers = root.all("identifier");
    let (Some(identifier), None) = (identifiers.next(), identifiers.next()) else { return Err(Unfit::Form) };
    let (Some(system), Some(id)) = (identifier.text_of("system"), identifier.text_of("value")) else {
        return Err(Unfit::Form);
    };
    if root.resource_type() != Some("Observation") || identifier.children().count() != 2 {
        return Err(Unfit::Form);
    }
    if root.text_of("status") != Some("final") {
        return Err(Unfit::Particular);
    }
    write::string(system, &mut frame.system);
    let code = root.get("code").ok_or(Unfit::Form)?;
    frame.code = write::compact(document, code.node());
    frame.measure = Known::of(code);
    if let Some(list) = document.member(document.root(), "extension") {
        let original = |extension: Element<'_>| extension.text_of("url").is_some_and(|url| url.ends_with(ORIGINAL));
        if root.all("extension").any(original) {
            return Err(Unfit::Particular);
        }
        let list = write::compact(document, list);
        frame.extension.push_str(&list[1..list.len() - 1]);
    }
    meta(document, root, &mut frame)?;
    let (Some(((start, offset), (end, end_offset))), Some((digits, token))) = (time, value) else {
        return Err(Unfit::Form);
    };
    if end < start || end_offset != offset && end != start {
        return Err(Unfit::Form);
    }
    Ok((frame, Reading { start, end, offset, digits, token, id: id.to_owned() }))
}

type At = (i64, i32);

fn period(element: Element<'_>) -> Option<(At, At)> {
    let bound = |name: &str| element.text_of(name).and_then(moment::told);
    (element.children().count() == 2).then_some(())?;
    Some((bound("start")?, bound("end")?))
}

fn quantity(document: &Document, node: NodeId, frame: &mut Frame) -> Result<(String, Token), Unfit> {
    let (mut digits, mut token) = (None, Token::Value);
    for member in document.children(node) {
        match document.key(member) {
            "value" => digits = (document.kind(member) == Kind::Number).then(|| document.value(member).to_owned()),
            "comparator" => {
                token = match document.value(member) {
                    "<" => Token::Below,
                    ">" => Token::Above,
                    _ => return Err(Unfit::Particular),
                };
            }
            name => {
                frame.is_rate |= name == "code" && document.value(member).contains('/');
                frame.unit.push(',');
                key(document, member, &mut frame.unit);
                frame.unit.push_str(&write::compact(document, member));
            }
        }
    }
    // The samples of a series are decimals without an exponent.
    let digits = digits.filter(|digits| !digits.contains(['e', 'E'])).ok_or(Unfit::Form)?;
    Ok((digits, token))
}

/// The profile of the measure may be claimed and is claimed again; others would be lost.
fn meta(document: &Document, root: Element<'_>, frame: &mut Frame) -> Result<(), Unfit> {
    let Some(meta) = root.get("meta") else { return Ok(()) };
    for node in document.children(meta.node()) {
        match document.key(node) {
            "profile" => {}
            "tag" | "security" => member(document, node, &mut frame.meta),
            "source" => member(document, node, &mut frame.meta),
            _ => return Err(Unfit::Particular),
        }
    }
    let single = frame.measure.and_then(Known::single);
    for profile in meta.all("profile") {
        let name = profile.text().and_then(|profile| profile.strip_prefix(STRUCTURES)?.strip_prefix("mh-"));
        if name.is_none() || name != single {
            return Err(Unfit::Particular);
        }
        frame.claims = true;
    }
    Ok(())
}

fn member(document: &Document, node: NodeId, out: &mut String) {
    key(document, node, out);
    out.push_str(&write::compact(document, node));
    out.push(',');
}

fn key(document: &Document, node: NodeId, out: &mut String) {
    write::string(document.key(node), out);
    out.push(':');
}

impl Frame {
    pub(super) fn measure(&self) -> Option<Known> {
        self.measure
    }

    /// The guide's profile of that name, where the readings claim one.
    pub(super) fn claim(&self, name: Option<&str>) -> Option<String> {
        name.filter(|_| self.claims).map(|name| format!("{STRUCTURES}mh-{name}"))
    }

    /// Writes the reading as it was.
    pub fn reading(&self, reading: &Reading, out: &mut String) {
        let profile = self.claim(self.measure.and_then(Known::single));
        self.open(profile.as_deref(), "", "final", &reading.id, out);
        out.extend(["\"code\":", &self.code, ","]);
        effective(reading.start, reading.end, reading.offset, out);
        out.push_str(",\"valueQuantity\":{\"value\":");
        out.push_str(&reading.digits);
        out.push_str(match reading.token {
            Token::Value => "",
            Token::Below => ",\"comparator\":\"<\"",
            Token::Above => ",\"comparator\":\">\"",
        });
        out.extend([&self.unit, "}}"]);
    }

    /// Writes everything up to the code: the code, the time and the value are left, and the last brace.
    pub(super) fn open(&self, profile: Option<&str>, extension: &str, status: &str, id: &str, out: &mut String) {
        out.push_str("{\"resourceType\":\"Observation\",");
        if profile.is_some() || !self.meta.is_empty() {
            out.push_str("\"meta\":{");
            out.push_str(&self.meta);
            if let Some(profile) = profile {
                out.push_str("\"profile\":[");
                write::string(profile, out);
                out.push(']');
            } else {
                out.pop();
            }
            out.push_str("},");
        }
        let comma = if extension.is_empty() || self.extension.is_empty() { "" } else { "," };
        if !extension.is_empty() || !self.extension.is_empty() {
            out.extend(["\"extension\":[", &self.extension, comma, extension, "],"]);
        }
        out.extend(["\"identifier\":[{\"system\":", &self.system, ",\"value\":"]);
        write::string(id, out);
        out.extend(["}],\"status\":\"", status, "\","]);
        out.push_str(&self.rest);
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn unit(&self) -> &str {
        &self.unit
    }

    /// System of the identifiers.
    pub fn system(&self) -> String {
        serde_json::from_str(&self.system).unwrap_or_default()
    }

    /// Whether its values add up to that of a longer period: steps do, a rate or a share does not.
    pub(super) fn adds_up(&self) -> bool {
        self.measure.is_some_and(|measure| {
            measure.profiles.contains(&"interval")
                || measure.profiles.contains(&"daily") && measure.category == "activity" && !self.is_rate
        })
    }

    /// The same with other extensions.
    pub(super) fn with(&self, extension: String) -> Frame {
        Frame { extension, ..self.clone() }
    }

    /// The extensions but those that end in one of the names.
    pub(super) fn extensions_without(&self, names: &[&str]) -> String {
        let Ok(document) = json::parse(format!("[{}]", self.extension)) else { return String::new() };
        let kept = document.children(document.root()).filter(|node| {
            let url = document.member(*node, "url").map_or("", |url| document.value(url));
            !names.iter().any(|name| url.ends_with(name))
        });
        kept.map(|node| write::compact(&document, node)).collect::<Vec<_>>().join(",")
    }

    /// The frame of a SampledData, whose quantity is its origin.
    pub(super) fn of_samples(document: &Document, origin: NodeId) -> Result<Frame, Unfit> {
        let mut frame = Frame::default();
        let root = Element::root(document);
        for node in document.children(document.root()) {
            let key = document.key(node);
            if key.starts_with('_') || key != "id" && PARTICULAR.contains(&key) {
                return Err(Unfit::Particular);
            }
            let is_own = OWN.contains(&key) || key == "id";
            if !is_own && !key.starts_with("value") && !key.starts_with("effective") {
                member(document, node, &mut frame.rest);
            }
        }
        let identifier = root.get("identifier").ok_or(Unfit::Form)?;
        write::string(identifier.text_of("system").ok_or(Unfit::Form)?, &mut frame.system);
        let code = root.get("code").ok_or(Unfit::Form)?;
        frame.code = write::compact(document, code.node());
        frame.measure = Known::of(code);
        // How much of a stretch was measured says nothing of one of its points.
        let kept: Vec<String> = root
            .all("extension")
            .filter(|extension| extension.text_of("url").is_none_or(|url| !url.ends_with("mh-completeness")))
            .map(|extension| write::compact(document, extension.node()))
            .collect();
        frame.extension = kept.join(",");
        quantity(document, origin, &mut frame)?;
        if let Some(meta) = root.get("meta") {
            for node in document.children(meta.node()) {
                match document.key(node) {
                    "tag" | "security" | "source" => member(document, node, &mut frame.meta),
                    "profile" => frame.claims = true,
                    _ => {}
                }
            }
        }
        Ok(frame)
    }

    /// Hash of all that is shared.
    pub(super) fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The name of the stretch that begins with that span.
    pub fn stretch(&self, start: i64) -> String {
        self.derived("series-", start)
    }

    /// A name for something derived, the same whenever it is derived from this series.
    pub(super) fn derived(&self, what: &str, start: i64) -> String {
        let mut hasher = blake3::Hasher::new();
        let parts = [&self.system, &self.code, &self.unit, &self.rest, &self.extension];
        for part in parts {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&start.to_le_bytes());
        let mut name = String::from(what);
        for byte in &hasher.finalize().as_bytes()[..16] {
            // Writing into a string does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// Writes `effective[x]`.
pub(super) fn effective(start: i64, end: i64, offset: i32, out: &mut String) {
    if start == end {
        out.push_str("\"effectiveDateTime\":\"");
        moment::write(start, offset, out);
        out.push('"');
    } else {
        period_of(start, end, offset, out);
    }
}

/// Writes a period.
pub(super) fn period_of(start: i64, end: i64, offset: i32, out: &mut String) {
    out.push_str("\"effectivePeriod\":{\"start\":\"");
    moment::write(start, offset, out);
    out.push_str("\",\"end\":\"");
    moment::write(end, offset, out);
    out.push_str("\"}");
}
