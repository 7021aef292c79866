//! What may be said of a person to whom knows her by a pseudonym alone: an Observation, copied by a list of what is safe.
//!
//! A list of what gives somebody away would never be complete, so there is one of what does not: numbers, times, units of
//! the measure, codes of systems that list or check them. All else is left out: identifiers, texts and displays, devices,
//! performers, what is contained, extensions. What cannot be left out without saying something else (an element that
//! modifies, a label of confidentiality, a time, a measure that nobody knows) keeps back the whole resource. A value that
//! is left out is said to be masked. How pseudonyms are made is not known here.

mod code;
mod person;
mod shift;

pub use person::Traits;
pub use shift::WEEK;

use crate::fhir::definitions::Registry;
use crate::fhir::ours::{BASE, STRUCTURES};
use crate::fhir::terminology::ucum;
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::write::string;
use crate::fhir::tree::{Element, Kind};
use crate::fhir::validate::measures::{self, Measure};

/// Says that it was pseudonymised (<http://terminology.hl7.org/CodeSystem/v3-ObservationValue>).
pub const LABEL: (&str, &str) = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "PSEUDED");

/// By what names the receiver knows things.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Id of the Observation.
    pub own: &'a str,
    /// Id of the person.
    pub patient: &'a str,
    /// Id of another Observation, by the one that it has here.
    pub observation: &'a dyn Fn(&str) -> String,
    /// Days by which its times are moved.
    pub days: i64,
}

/// The Observation without what could give the person away. None where it cannot be told that way.
pub fn observation(of: Element<'_>, names: &Names<'_>, registry: &Registry) -> Option<String> {
    if of.resource_type() != Some("Observation") || modifies(of) || of.get("implicitRules").is_some() {
        return None;
    }
    // What it is about, where that is not the person herself.
    if of.get("focus").is_some() {
        return None;
    }
    let copy = Copier { names, registry, measure: Some(of.get("code").and_then(measures::measured)?) };
    let mut out = String::with_capacity(1024);
    out.push_str("{\"resourceType\":\"Observation\",\"id\":");
    string(names.own, &mut out);
    out.push_str(",\"meta\":");
    copy.meta(of.get("meta"), &mut out)?;
    out.push_str(",\"subject\":{\"reference\":");
    string(&format!("Patient/{}", names.patient), &mut out);
    out.push('}');
    let timed = copy.any(of, EFFECTIVE, &mut out);
    // Without its time it would say that something is so at any.
    if !timed && of.children().any(|(name, _)| name.starts_with("effective")) {
        return None;
    }
    copy.measurement(of, OBSERVATION, &mut out)?;
    out.push('}');
    Some(out)
}

/// Whether something in it says that the rest is to be understood otherwise than it reads.
fn modifies(element: Element<'_>) -> bool {
    element.children().any(|(name, child)| name == "modifierExtension" || modifies(child))
}

/// What an element may hold to be copied.
#[derive(Clone, Copy)]
enum Rule {
    OneOf(&'static [&'static str]),
    Number,
    Boolean,
    Time,
    /// CodeableConcept: the codes that are known, without their texts.
    Concept,
    /// In a unit of the measure.
    Quantity,
    /// In any unit.
    Amount,
    /// `SampledData.data`.
    Points,
    /// A reference to an Observation here.
    Observation,
    Component,
    /// `referenceRange`: only one that holds for everybody.
    Common,
    /// One of the guide's.
    Extension,
    Object(&'static [Part]),
}

/// A child element that is copied.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    rule: Rule,
    /// It repeats.
    many: bool,
    /// Without it the rest says nothing, or something else.
    needed: bool,
}

const fn one(name: &'static str, rule: Rule) -> Part {
    Part { name, rule, many: false, needed: false }
}

const fn many(name: &'static str, rule: Rule) -> Part {
    Part { many: true, ..one(name, rule) }
}

const fn needed(name: &'static str, rule: Rule) -> Part {
    Part { needed: true, ..one(name, rule) }
}

const STATUS: &[&str] =
    &["registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"];

const COMPARATORS: &[&str] = &["<", "<=", ">=", ">"];

const PERIOD: Rule = Rule::Object(&[one("start", Rule::Time), one("end", Rule::Time)]);

/// Values that say a measurement. A text says anything.
const VALUES: &[Part] = &[
    one("valueQuantity", Rule::Quantity),
    one("valueCodeableConcept", Rule::Concept),
    one("valueBoolean", Rule::Boolean),
    one("valueInteger", Rule::Number),
    one("valueRange", Rule::Object(&[one("low", Rule::Quantity), one("high", Rule::Quantity)])),
    one("valueRatio", Rule::Object(&[needed("numerator", Rule::Amount), needed("denominator", Rule::Amount)])),
    one(
        "valueSampledData",
        Rule::Object(&[
            needed("origin", Rule::Quantity),
            needed("period", Rule::Number),
            one("factor", Rule::Number),
            one("lowerLimit", Rule::Number),
            one("upperLimit", Rule::Number),
            needed("dimensions", Rule::Number),
            needed("data", Rule::Points),
        ]),
    ),
    one("valueTime", Rule::Time),
    one("valueDateTime", Rule::Time),
    one("valuePeriod", PERIOD),
];

/// Times that say when. A timing may name events of somebody's life.
const EFFECTIVE: &[Part] =
    &[one("effectiveDateTime", Rule::Time), one("effectiveInstant", Rule::Time), one("effectivePeriod", PERIOD)];

/// What is copied of an Observation, beside its time, its value and its components.
const OBSERVATION: &[Part] = &[
    many("extension", Rule::Extension),
    needed("status", Rule::OneOf(STATUS)),
    many("category", Rule::Concept),
    needed("code", Rule::Concept),
    one("bodySite", Rule::Concept),
    one("method", Rule::Concept),
    many("hasMember", Rule::Observation),
    many("derivedFrom", Rule::Observation),
    many("interpretation", Rule::Concept),
    many("referenceRange", Rule::Common),
];

/// The same of a component.
const COMPONENT: &[Part] =
    &[needed("code", Rule::Concept), many("interpretation", Rule::Concept), many("referenceRange", Rule::Common)];

/// Of a range that holds for whoever is measured. One for some only would give away who it is.
const COMMON: &[Part] = &[one("low", Rule::Quantity), one("high", Rule::Quantity), one("type", Rule::Concept)];

/// Extensions of the guide that tell how something was measured, without what all their names begin with.
const EXTENSIONS: &[(&str, Held)] = &[
    ("mh-recording-method", Held::Own("recording-method")),
    ("mh-meal-time", Held::Own("meal-time")),
    ("mh-statistic", Held::Code("http://terminology.hl7.org/CodeSystem/observation-statistics")),
    ("mh-completeness", Held::Amount),
];

/// What an extension holds.
#[derive(Clone, Copy)]
enum Held {
    /// A code of one of the guide's systems.
    Own(&'static str),
    /// A code of the system.
    Code(&'static str),
    Amount,
}

/// Why a value is absent.
const MASKED: &str = "{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/data-absent-reason\",\
                      \"code\":\"masked\"}]}";

#[derive(Clone, Copy)]
struct Copier<'a> {
    names: &'a Names<'a>,
    registry: &'a Registry,
    /// What is measured, whose units are told.
    measure: Option<&'static Measure>,
}

impl Copier<'_> {
    /// The version, so that a correction is told from what it corrects; how confidential it is; and whether it counts.
    fn meta(&self, meta: Option<Element<'_>>, out: &mut String) -> Option<()> {
        out.push('{');
        let version = meta.and_then(|meta| meta.text_of("versionId"));
        if let Some(version) = version.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())) {
            member("versionId", out);
            string(version, out);
        }
        member("security", out);
        out.push('[');
        for label in meta.iter().flat_map(|meta| meta.all("security")) {
            if (label.text_of("system"), label.text_of("code")) == (Some(LABEL.0), Some(LABEL.1)) {
                continue;
            }
            // Without its label it might be shown to more than it may.
            self.coding(label, out)?;
            out.push(',');
        }
        coding(LABEL, out);
        out.push(']');
        let own = |tag: &Element<'_>| tag.text_of("system").is_some_and(|system| system.starts_with(BASE));
        let tags = meta.iter().flat_map(|meta| meta.all("tag")).filter(own);
        repetitions("tag", tags, &|tag, out| self.coding(tag, out), out);
        out.push('}');
        Some(())
    }

    /// The members of an object that has a value, behind those that it has already.
    fn measurement(&self, element: Element<'_>, parts: &[Part], out: &mut String) -> Option<()> {
        self.parts(element, parts, out)?;
        let components = self.child(element, many("component", Rule::Component), out);
        let values = self.any(element, VALUES, out);
        if components || values || self.child(element, one("dataAbsentReason", Rule::Concept), out) {
            return Some(());
        }
        if element.children().any(|(name, _)| name.starts_with("value") || name == "component") {
            member("dataAbsentReason", out);
            out.push_str(MASKED);
        }
        Some(())
    }

    /// None where something is missing that is needed.
    fn parts(&self, element: Element<'_>, parts: &[Part], out: &mut String) -> Option<()> {
        parts.iter().all(|part| self.child(element, *part, out) || !part.needed).then_some(())
    }

    /// Copies the first that can be, of those of which there is one.
    fn any(&self, element: Element<'_>, parts: &[Part], out: &mut String) -> bool {
        parts.iter().any(|part| self.child(element, *part, out))
    }

    fn child(&self, element: Element<'_>, part: Part, out: &mut String) -> bool {
        if part.many {
            return repetitions(part.name, element.all(part.name), &|one, out| self.copy(one, part.rule, out), out);
        }
        let before = out.len();
        member(part.name, out);
        let copied = element.get(part.name).and_then(|child| self.copy(child, part.rule, out));
        if copied.is_none() {
            out.truncate(before);
        }
        copied.is_some()
    }

    /// None where it is not copied; what was written until then is undone by whoever called.
    fn copy(&self, element: Element<'_>, rule: Rule, out: &mut String) -> Option<()> {
        let text = || element.text();
        match rule {
            Rule::OneOf(allowed) => string(text().filter(|text| allowed.contains(text))?, out),
            Rule::Number => out.push_str(text().filter(|_| element.kind() == Some(Kind::Number))?),
            Rule::Boolean => out.push_str(if element.boolean()? { "true" } else { "false" }),
            Rule::Time => string(&shift::moved(text().filter(|text| is_time(text))?, self.names.days)?, out),
            Rule::Points => string(text().filter(|text| text.split(' ').all(is_point))?, out),
            Rule::Concept => {
                out.push('{');
                let any = repetitions("coding", element.all("coding"), &|one, out| self.coding(one, out), out);
                out.push('}');
                return any.then_some(());
            }
            Rule::Quantity => self.quantity(element, self.measure, out)?,
            Rule::Amount => self.quantity(element, None, out)?,
            Rule::Observation => {
                let id = element.text_of("reference")?.strip_prefix("Observation/")?;
                let id = id.split_once("/_history/").map_or(id, |(id, _)| id);
                out.push_str("{\"reference\":");
                string(&format!("Observation/{}", (self.names.observation)(id)), out);
                out.push('}');
            }
            Rule::Component => {
                let measure = Some(element.get("code").and_then(measures::measured)?);
                out.push('{');
                Copier { measure, ..*self }.measurement(element, COMPONENT, out)?;
                out.push('}');
            }
            Rule::Common => {
                if element.children().any(|(name, _)| COMMON.iter().all(|part| part.name != name)) {
                    return None;
                }
                return self.copy(element, Rule::Object(COMMON), out);
            }
            Rule::Extension => self.extension(element, out)?,
            Rule::Object(parts) => {
                out.push('{');
                self.parts(element, parts, out)?;
                let empty = out.ends_with('{');
                out.push('}');
                return (!empty).then_some(());
            }
        }
        Some(())
    }

    fn coding(&self, of: Element<'_>, out: &mut String) -> Option<()> {
        let (system, code) = (of.text_of("system")?, of.text_of("code")?);
        code::is_known(self.registry, system, code).then(|| coding((system, code), out))
    }

    /// Its unit is told by the code alone, without what stands in braces, which says anything.
    fn quantity(&self, of: Element<'_>, measure: Option<&'static Measure>, out: &mut String) -> Option<()> {
        let sent = of.text_of("code").filter(|_| of.text_of("system") == Some(ucum::SYSTEM))?;
        let unit = match measure.filter(|measure| !measure.units.is_empty()) {
            Some(measure) => {
                let known = measure.unit(sent)?.code;
                if sent.contains('{') { known } else { sent }
            }
            None => Some(sent).filter(|unit| !unit.contains('{') && ucum::valid(unit))?,
        };
        out.push('{');
        self.parts(of, &[needed("value", Rule::Number)], out)?;
        // Without it the number says something else.
        let comparator = one("comparator", Rule::OneOf(COMPARATORS));
        if !self.child(of, comparator, out) && of.get("comparator").is_some() {
            return None;
        }
        for (name, text) in [("unit", unit), ("system", ucum::SYSTEM), ("code", unit)] {
            member(name, out);
            string(text, out);
        }
        out.push('}');
        Some(())
    }

    fn extension(&self, of: Element<'_>, out: &mut String) -> Option<()> {
        let name = of.text_of("url")?.strip_prefix(STRUCTURES)?;
        let (name, held) = EXTENSIONS.iter().find(|(known, _)| *known == name)?;
        out.push_str("{\"url\":");
        string(&format!("{STRUCTURES}{name}"), out);
        let system = match held {
            Held::Own(name) => format!("{BASE}/CodeSystem/{name}"),
            Held::Code(system) => (*system).to_owned(),
            Held::Amount => {
                self.parts(of, &[needed("valueQuantity", Rule::Amount)], out)?;
                out.push('}');
                return Some(());
            }
        };
        let code = of.text_of("valueCode").filter(|code| code::is_known(self.registry, &system, code))?;
        member("valueCode", out);
        string(code, out);
        out.push('}');
        Some(())
    }
}

/// Those that can be copied, as an array; nothing where there are none.
fn repetitions<'d>(
    name: &str,
    children: impl Iterator<Item = Element<'d>>,
    copy: &dyn Fn(Element<'d>, &mut String) -> Option<()>,
    out: &mut String,
) -> bool {
    let before = out.len();
    member(name, out);
    out.push('[');
    let first = out.len();
    for child in children {
        let mark = out.len();
        if mark > first {
            out.push(',');
        }
        if copy(child, out).is_none() {
            out.truncate(mark);
        }
    }
    let any = out.len() > first;
    if any {
        out.push(']');
    } else {
        out.truncate(before);
    }
    any
}

fn member(name: &str, out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
    string(name, out);
    out.push(':');
}

fn coding((system, code): (&str, &str), out: &mut String) {
    out.push('{');
    for (name, text) in [("system", system), ("code", code)] {
        member(name, out);
        string(text, out);
    }
    out.push('}');
}

/// A date, a moment, or a time of day.
fn is_time(text: &str) -> bool {
    let of_day = text.len() >= 8 && text.split(':').count() == 3;
    let letters = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b':' | b'.' | b'T' | b'Z');
    text.bytes().all(letters) && (Moment::parse(text).is_some() || of_day && !text.contains(['-', '+', 'T', 'Z']))
}

/// A number, or a letter for one that is not there (FHIR R4 §2.24.0.14).
fn is_point(text: &str) -> bool {
    matches!(text, "E" | "U" | "L")
        || text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'))
            && text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
