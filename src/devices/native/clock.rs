//! What the comparison of a device's clock with its gateway's says of a measurement.
//!
//! PHD calls it a coincident time stamp: an Observation whose subject is the device, whose effective time is the gateway's
//! and whose value is the device's. Whoever wrote the measurement has corrected its time already; here the correction is
//! told, with what the device itself said, and a clock that had a fault is flagged.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::OBSERVATION;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::time::Moment;

const REFERENCE: &str = "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference";
const MDC: &str = "urn:iso:std:iso:11073:10101";
/// Absolute, base-offset, relative and high-resolution relative time.
const CLOCKS: [&str; 4] = ["67975", "68226", "67983", "68072"];

/// Whether a resource compares clocks and measures nothing of a person.
pub(super) fn is_comparison(resource: &Value) -> bool {
    let codings = resource["code"]["coding"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_clock =
        |coding: &Value| coding["system"] == MDC && coding["code"].as_str().is_some_and(|code| CLOCKS.contains(&code));
    resource["resourceType"] == OBSERVATION && codings.iter().any(is_clock)
}

/// Notes what became of the device's time, where a comparison is inside. A fault of the clock is an issue.
pub(super) fn note(observation: &mut Map<String, Value>) -> Option<Issue> {
    let extensions = observation.get("extension")?.as_array()?;
    let reference = extensions.iter().find(|extension| extension["url"] == REFERENCE)?;
    let name = reference["valueReference"]["reference"].as_str()?.strip_prefix('#')?.to_owned();
    let inside = observation.get("contained")?.as_array()?;
    let comparison = inside.iter().find(|resource| resource["id"] == name.as_str())?;
    if comparison.get("dataAbsentReason").is_some() {
        let text = "The clock of the device had a fault when it was compared; the time is that of its gateway.";
        return Some(Issue::new(Id::MeasureClockUnset, "Observation.effective", text));
    }
    let (gateway, device) = (moment(&comparison["effectiveDateTime"])?, moment(&comparison["valueDateTime"])?);
    let by = gateway.duration_since(device);
    if by.is_zero() {
        return None;
    }
    let effective =
        observation.get("effectiveDateTime").or_else(|| observation.get("effectivePeriod")?.get("start"))?;
    let own = Moment::parse(effective.as_str()?).filter(crate::fhir::tree::time::Moment::has_offset)?;
    let said = own.offset?.to_timestamp(own.civil).ok()?.checked_sub(by).ok()?;
    let zoned = said.to_zoned(jiff::tz::TimeZone::fixed(own.offset?));
    let said = zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z");
    let text = format!("The time was corrected by {} s: the device's own clock said {said}.", seconds(by));
    super::member_list(observation, "note").push(json!({"text": text}));
    None
}

fn moment(value: &Value) -> Option<jiff::Timestamp> {
    let moment = Moment::parse(value.as_str()?)?;
    moment.offset?.to_timestamp(moment.civil).ok()
}

/// Seconds with a sign, and with a fraction where there is one.
fn seconds(span: SignedDuration) -> String {
    let (sign, span) = (if span.is_negative() { '-' } else { '+' }, span.unsigned_abs());
    let text = format!("{sign}{}.{:09}", span.as_secs(), span.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
