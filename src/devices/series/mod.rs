//! Time series: readings, stretches of samples and statistics, and the ways between them.
//!
//! A reading is an Observation with one value. `frame` tells what the readings of a series share from what makes each
//! one itself; `chunk` writes many readings as one SampledData and `explode` takes it apart again, so that exploding
//! what was chunked gives the same readings, digit by digit; `aggregate` counts, sums and averages what falls into an
//! hour or a day; `collect` does either for readings that stream by, and `grow` adds them to a stretch that stands, of the
//! measures that are `kept` so. Nothing is invented: a gap is `E`, a series that
//! is not regular stays as it is and says why, and sources are never mixed, since the device and the app are part of
//! what a series shares. What does not count beside another source is in no statistic.

mod aggregate;
mod chunk;
mod collect;
mod explode;
mod frame;
mod grow;
mod kept;
mod moment;

pub use aggregate::{Statistic, aggregate};
pub use chunk::{Status, Stretch, chunk};
pub use collect::{Collector, Form, Made};
pub use explode::explode;
pub use frame::{Frame, Reading, Token, separate};
pub use grow::{Fate, again, grow};
pub use kept::Kept;
pub use moment::{dated, told};

use std::fmt;

use crate::fhir::ours::STRUCTURES;
use crate::fhir::tree::write;

/// How long a stretch or a statistic is. Both begin at the person's own midnight, by the offset of the readings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Span {
    Hour,
    Day,
}

impl Span {
    pub fn ms(self) -> i64 {
        match self {
            Span::Hour => 3_600_000,
            Span::Day => 86_400_000,
        }
    }

    /// First millisecond of the span that a moment falls into.
    pub fn start(self, at: i64, offset: i32) -> i64 {
        let shift = i64::from(offset) * 1000;
        (at + shift).div_euclid(self.ms()) * self.ms() - shift
    }
}

/// Why readings stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Unfit {
    /// It is no single value with an identifier and one moment or period.
    Form,
    /// It says something that no stretch of samples could say of one of them: a note, the original value, a status.
    Particular,
    /// The guide knows no series of the measure.
    Measure,
    /// There is no second reading in the span.
    Alone,
    /// Two readings are of one moment.
    SameMoment,
    /// Their moments have no common period that would not be nearly all gaps.
    Irregular,
    /// They name different limits of what the device can measure, or lie beyond one that cannot be averaged.
    Limits,
    /// It overlaps another of its source, so that a sum would count twice.
    Overlap,
    /// It came when its span had been closed.
    Late,
    /// Another source that the person prefers tells of its time, so that it would count twice.
    Secondary,
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Unfit::Form => "no single value with an identifier and a time",
            Unfit::Particular => "says something that the samples of a series could not say",
            Unfit::Measure => "the guide has no series of the measure",
            Unfit::Alone => "the only reading of its span",
            Unfit::SameMoment => "another reading of the same moment",
            Unfit::Irregular => "no common period between the readings",
            Unfit::Limits => "lies beyond the limits of measuring",
            Unfit::Overlap => "overlaps another reading of its source",
            Unfit::Late => "came after its span was closed",
            Unfit::Secondary => "does not count beside a source that the person prefers",
        })
    }
}

/// What a Provenance says of something derived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// What was done.
    pub activity: &'static str,
    /// Readings that went in.
    pub count: usize,
    /// First and last moment of them, in milliseconds since 1970 in UTC.
    pub from: i64,
    pub to: i64,
    /// Identifiers of the readings and of what was made of them: all of one system.
    pub system: String,
    pub sources: Vec<String>,
    pub targets: Vec<String>,
}

impl Facts {
    /// A Provenance that says so: every reading is named, since the stretch or statistic no longer names them. `recorded` is
    /// a moment in milliseconds since 1970 in UTC.
    pub fn provenance(&self, recorded: i64) -> String {
        let mut out = String::with_capacity(1024 + self.sources.len() * 128);
        out.push_str("{\"resourceType\":\"Provenance\",\"meta\":{\"profile\":[\"");
        out.extend([STRUCTURES, "mh-provenance\"]},\"extension\":[{\"url\":\"", STRUCTURES]);
        out.push_str("mh-recording-method\",\"valueCode\":\"derived\"}],\"target\":[");
        for (index, target) in self.targets.iter().enumerate() {
            out.push_str(if index == 0 { "" } else { "," });
            self.reference(target, &mut out);
        }
        out.push_str("],\"occurredPeriod\":{\"start\":\"");
        moment::write(self.from, 0, &mut out);
        out.push_str("\",\"end\":\"");
        moment::write(self.to, 0, &mut out);
        out.push_str("\"},\"recorded\":\"");
        moment::write(recorded, 0, &mut out);
        out.extend([
            "\",\"activity\":{\"text\":\"",
            self.activity,
            "\"},\"agent\":[{\"type\":{\"coding\":[{\"system\":\"",
        ]);
        out.push_str("http://terminology.hl7.org/CodeSystem/provenance-participant-type\",\"code\":\"assembler\"}]},");
        out.extend(["\"who\":{\"type\":\"Device\",\"display\":\"mhealth-gateway ", env!("CARGO_PKG_VERSION"), "\"}}]"]);
        for (index, source) in self.sources.iter().enumerate() {
            out.push_str(if index == 0 { ",\"entity\":[" } else { "," });
            out.push_str("{\"role\":\"derivation\",\"what\":");
            self.reference(source, &mut out);
            out.push('}');
        }
        out.push_str(if self.sources.is_empty() { "}" } else { "]}" });
        out
    }

    fn reference(&self, id: &str, out: &mut String) {
        out.push_str("{\"type\":\"Observation\",\"identifier\":{\"system\":");
        write::string(&self.system, out);
        out.push_str(",\"value\":");
        write::string(id, out);
        out.push_str("}}");
    }
}

#[cfg(test)]
mod tests;
