//! An Observation as text, from what a format read: the one place that knows how the guide wants a measurement.
//!
//! Codes, category and profile follow from the measure's row in the guide's tables; a format says which measure it is, its
//! value, when it was and where it came from. Numbers are digits, so that none is rounded on the way.

use crate::fhir::ours::{MEASURE_SYSTEM, STRUCTURES};
use crate::fhir::terminology::ucum;
use crate::fhir::tree::write;
use crate::fhir::validate::measures::{Code, LOINC, Measure};

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const STATISTICS: &str = "http://terminology.hl7.org/CodeSystem/observation-statistics";
const ORIGIN: &str = "data-origin";
const APP: &str = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice";

/// A number in a unit of UCUM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quantity {
    pub digits: String,
    pub ucum: String,
}

/// `effective[x]` of an Observation, as FHIR writes times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effective {
    At(String),
    Period { start: String, end: String },
}

/// A code that stands for a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coding {
    pub system: String,
    pub code: String,
    /// What the sender calls it.
    pub text: Option<String>,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Measured {
    /// A panel, whose values are its components.
    Nothing,
    Quantity(Quantity),
    Coding(Coding),
    Boolean(bool),
    DateTime(String),
    Sampled(Sampled),
}

/// Equally spaced samples (R4 §2.24.0.10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sampled {
    /// UCUM code of the samples.
    pub ucum: String,
    /// Milliseconds between two samples.
    pub period: String,
    pub lower: Option<String>,
    pub upper: Option<String>,
    /// Numbers, `E`, `L` and `U`, with a space between them.
    pub data: String,
}

/// Who or what recorded a value (`recording-method` of the guide).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recording {
    Automatic,
    Manual,
    Derived,
    Unknown,
}

impl Recording {
    pub fn code(self) -> &'static str {
        match self {
            Recording::Automatic => "automatic",
            Recording::Manual => "manual",
            Recording::Derived => "derived",
            Recording::Unknown => "unknown",
        }
    }

    pub fn of(code: &str) -> Option<Recording> {
        [Recording::Automatic, Recording::Manual, Recording::Derived, Recording::Unknown]
            .into_iter()
            .find(|known| known.code() == code)
    }
}

/// What an Observation is made of.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    pub measure: &'a Measure,
    /// System and value of the identifier.
    pub identifier: (&'a str, &'a str),
    pub subject: &'a str,
    pub status: &'a str,
    pub effective: Effective,
    pub value: Measured,
    /// Before it was converted.
    pub original: Option<Quantity>,
    pub components: Vec<(&'a Measure, Quantity)>,
    pub recording: Recording,
    /// The device that measured, and the app that sent, in words.
    pub device: Option<String>,
    pub app: Option<String>,
    /// Code in `observation-statistics`, with words where the code is not all.
    pub statistic: Option<(&'a str, String)>,
    /// IANA name of the zone by whose midnight a day was cut.
    pub zone: Option<String>,
    /// Code of the guide's `meal-time`.
    pub meal: Option<String>,
    /// Percent of the period.
    pub completeness: Option<String>,
    pub notes: Vec<String>,
}

/// Profiles that derive from the vital signs of R4, and those of the laboratory.
const VITAL: [&str; 9] = [
    "heart-rate",
    "respiratory-rate",
    "oxygen-saturation",
    "body-temperature",
    "body-weight",
    "body-height",
    "head-circumference",
    "bmi",
    "blood-pressure",
];
/// The one of them that is a pair of quantities.
const PAIR: &str = "blood-pressure";
/// Profiles of one quantity beside the vital signs.
const SINGLE: [&str; 3] = ["measurement", "glucose", "lung"];
const LABORATORY: [&str; 3] = ["glucose", "cgm", "cgm-summary"];
const TOLD: [&str; 2] = ["score", "self-report"];
/// Profiles that hold samples.
const SAMPLED: [&str; 3] = ["series", "cgm", "ecg"];
/// Profiles that need a beginning and an end.
const SPAN: [&str; 6] = ["interval", "sleep", "sleep-stage", "session", "series", "cgm"];
/// Profiles of one moment.
const MOMENT: [&str; 2] = ["glucose", "lung"];

/// Whether an Observation of the measure may hold a value in that unit: R4 binds the lengths of its vital signs to fewer
/// units (ucum-bodylength) than the measure has.
pub fn takes(measure: &Measure, unit: &str) -> bool {
    let length = measure.profiles.iter().any(|profile| ["body-height", "head-circumference"].contains(profile));
    measure.units.iter().any(|known| known.code == unit) && !(length && unit == "m")
}

/// Whether an Observation of that profile holds one quantity of one moment.
pub fn holds_one_quantity(profile: &str) -> bool {
    profile != PAIR && (VITAL.contains(&profile) || SINGLE.contains(&profile))
}

/// Whether a measure can only be said of a span of time.
pub fn needs_span(measure: &Measure) -> bool {
    measure.profiles.iter().all(|profile| SPAN.contains(profile))
}

/// Whether a measure can only be said of a moment.
pub fn needs_moment(measure: &Measure) -> bool {
    measure.profiles.iter().all(|profile| MOMENT.contains(profile) || SAMPLED.contains(profile))
}

impl Draft<'_> {
    /// The guide's profile that carries it, without what all their names begin with.
    pub fn profile(&self) -> Option<&'static str> {
        let sampled = matches!(self.value, Measured::Sampled(_));
        let span = matches!(self.effective, Effective::Period { .. });
        self.measure.profiles.iter().copied().find(|profile| {
            SAMPLED.contains(profile) == sampled
                && (span || !SPAN.contains(profile))
                && (*profile != "daily" || self.zone.is_some())
        })
    }

    /// The Observation as JSON.
    pub fn write(&self, out: &mut String) {
        let profile = self.profile();
        out.push_str("{\"resourceType\":\"Observation\",\"meta\":{");
        if let Some(profile) = profile {
            out.push_str("\"profile\":[\"");
            out.push_str(STRUCTURES);
            out.push_str("mh-");
            out.push_str(profile);
            out.push_str("\"],");
        }
        out.push_str("\"tag\":[{\"system\":\"");
        system(ORIGIN, out);
        out.push_str("\",\"code\":\"patient-generated\"}]},\"extension\":[");
        self.extensions(profile, out);
        out.push_str("],\"identifier\":[{\"system\":");
        write::string(self.identifier.0, out);
        out.push_str(",\"value\":");
        write::string(self.identifier.1, out);
        out.push_str("}],\"status\":\"");
        out.push_str(self.status);
        out.push_str("\",\"category\":[{\"coding\":[");
        coding(CATEGORY, category(self.measure), out);
        out.push_str("]}],\"code\":{\"coding\":[");
        codes(self.measure, out);
        out.push_str("]},\"subject\":{\"reference\":");
        write::string(self.subject, out);
        out.push_str("},");
        self.effective.write(out);
        self.value.write(out);
        self.context(out);
        for (index, (measure, value)) in self.components.iter().enumerate() {
            out.push_str(if index == 0 {
                ",\"component\":[{\"code\":{\"coding\":["
            } else {
                ",{\"code\":{\"coding\":["
            });
            codes(measure, out);
            out.push_str("]},\"valueQuantity\":");
            value.write(out);
            out.push('}');
        }
        out.push_str(if self.components.is_empty() { "}" } else { "]}" });
    }

    fn extensions(&self, profile: Option<&str>, out: &mut String) {
        extension("mh-recording-method", "valueCode", out);
        write::string(self.recording.code(), out);
        out.push('}');
        let next = |name: &str, kind: &str, out: &mut String| {
            out.push(',');
            extension(name, kind, out);
        };
        if let Some(original) = &self.original {
            next("mh-original-value", "valueQuantity", out);
            original.write(out);
            out.push('}');
        }
        if let Some(zone) = self.zone.as_ref().filter(|_| matches!(profile, Some("daily" | "sleep"))) {
            next("mh-time-zone", "valueCode", out);
            write::string(zone, out);
            out.push('}');
        }
        if let Some(meal) = self.meal.as_ref().filter(|_| profile == Some("glucose")) {
            next("mh-meal-time", "valueCode", out);
            write::string(meal, out);
            out.push('}');
        }
        if let Some(percent) = &self.completeness {
            next("mh-completeness", "valueQuantity", out);
            Quantity { digits: percent.clone(), ucum: "%".to_owned() }.write(out);
            out.push('}');
        }
        if let Some((code, _)) = self.statistic.as_ref().filter(|_| profile == Some("daily")) {
            next("mh-statistic", "valueCode", out);
            write::string(code, out);
            out.push('}');
        }
        if let Some(app) = &self.app {
            out.push_str(",{\"url\":\"");
            out.push_str(APP);
            out.push_str("\",\"valueReference\":{\"display\":");
            write::string(app, out);
            out.push_str("}}");
        }
    }

    fn context(&self, out: &mut String) {
        for (index, note) in self.notes.iter().enumerate() {
            out.push_str(if index == 0 { ",\"note\":[{\"text\":" } else { ",{\"text\":" });
            write::string(note, out);
            out.push('}');
        }
        if !self.notes.is_empty() {
            out.push(']');
        }
        if let Some((known, words)) = &self.statistic {
            out.push_str(",\"method\":{\"coding\":[");
            coding(STATISTICS, known, out);
            out.push_str("],\"text\":");
            write::string(words, out);
            out.push('}');
        }
        if let Some(device) = &self.device {
            out.push_str(",\"device\":{\"display\":");
            write::string(device, out);
            out.push('}');
        }
    }
}

impl Effective {
    fn write(&self, out: &mut String) {
        match self {
            Effective::At(time) => {
                out.push_str("\"effectiveDateTime\":");
                write::string(time, out);
            }
            Effective::Period { start, end } => {
                out.push_str("\"effectivePeriod\":{\"start\":");
                write::string(start, out);
                out.push_str(",\"end\":");
                write::string(end, out);
                out.push('}');
            }
        }
    }
}

impl Measured {
    fn write(&self, out: &mut String) {
        match self {
            Measured::Nothing => {}
            Measured::Quantity(quantity) => {
                out.push_str(",\"valueQuantity\":");
                quantity.write(out);
            }
            Measured::Coding(Coding { system, code, text }) => {
                out.push_str(",\"valueCodeableConcept\":{\"coding\":[");
                coding(system, code, out);
                out.push(']');
                if let Some(text) = text {
                    out.push_str(",\"text\":");
                    write::string(text, out);
                }
                out.push('}');
            }
            Measured::Boolean(value) => {
                out.push_str(",\"valueBoolean\":");
                out.push_str(if *value { "true" } else { "false" });
            }
            Measured::DateTime(time) => {
                out.push_str(",\"valueDateTime\":");
                write::string(time, out);
            }
            Measured::Sampled(sampled) => sampled.write(out),
        }
    }
}

impl Sampled {
    fn write(&self, out: &mut String) {
        out.push_str(",\"valueSampledData\":{\"origin\":{\"value\":0,\"system\":\"");
        out.push_str(ucum::SYSTEM);
        out.push_str("\",\"code\":");
        write::string(&self.ucum, out);
        out.push_str("},\"period\":");
        out.push_str(&self.period);
        for (name, limit) in [("lowerLimit", &self.lower), ("upperLimit", &self.upper)] {
            if let Some(limit) = limit {
                out.push_str(",\"");
                out.push_str(name);
                out.push_str("\":");
                out.push_str(limit);
            }
        }
        out.push_str(",\"dimensions\":1,\"data\":");
        write::string(&self.data, out);
        out.push('}');
    }
}

impl Quantity {
    fn write(&self, out: &mut String) {
        out.push_str("{\"value\":");
        out.push_str(&self.digits);
        out.push_str(",\"unit\":");
        write::string(&self.ucum, out);
        out.push_str(",\"system\":\"");
        out.push_str(ucum::SYSTEM);
        out.push_str("\",\"code\":");
        write::string(&self.ucum, out);
        out.push('}');
    }
}

/// The category that an Observation of the measure has in R4's own code system.
pub(super) fn category(measure: &Measure) -> &'static str {
    let is = |list: &[&str]| measure.profiles.iter().any(|profile| list.contains(profile));
    match () {
        () if is(&VITAL) => "vital-signs",
        () if is(&LABORATORY) => "laboratory",
        () if is(&TOLD) => "survey",
        () => "activity",
    }
}

/// Every code of the measure that stands in LOINC, with what tells two apart that share it.
pub(super) fn codes_of(measure: &Measure) -> impl Iterator<Item = &Code> {
    // What two measures share in LOINC is told apart by the code of another system beside it.
    let beside = measure.key == "basal-body-temperature";
    measure.codes.iter().filter(move |code| code.system == LOINC || (beside && code.system.ends_with("/sct")))
}

/// The tag that says that a person made it.
pub(super) fn origin() -> serde_json::Value {
    let mut of = String::new();
    system(ORIGIN, &mut of);
    serde_json::json!({"system": of, "code": "patient-generated"})
}

/// Every LOINC code of the measure, else the code that it is known by.
fn codes(measure: &Measure, out: &mut String) {
    let mut any = false;
    for code in codes_of(measure) {
        if any {
            out.push(',');
        }
        coding(code.system, code.code, out);
        any = true;
    }
    if !any {
        let known = measure.codes.iter().find(|code| code.system == MEASURE_SYSTEM).or(measure.codes.first());
        if let Some(code) = known {
            coding(code.system, code.code, out);
        }
    }
}

fn coding(system: &str, code: &str, out: &mut String) {
    out.push_str("{\"system\":\"");
    out.push_str(system);
    out.push_str("\",\"code\":");
    write::string(code, out);
    out.push('}');
}

fn extension(name: &str, kind: &str, out: &mut String) {
    out.push_str("{\"url\":\"");
    out.push_str(STRUCTURES);
    out.push_str(name);
    out.push_str("\",\"");
    out.push_str(kind);
    out.push_str("\":");
}

/// A code system of the guide.
fn system(name: &str, out: &mut String) {
    out.push_str(crate::fhir::ours::BASE);
    out.push_str("/CodeSystem/");
    out.push_str(name);
}
