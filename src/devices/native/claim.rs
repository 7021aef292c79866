//! Whether an Observation, once completed, is what one of the guide's profiles describes.
//!
//! Claiming a profile that does not fit would have the Observation refused for what its sender never said. So only what is
//! sure is claimed: the measure's own unit, a closed time, no component beside those that the profile knows.

use serde_json::{Map, Value};

use super::{has_category, kind};
use crate::devices::observation::{category, holds_one_quantity, takes};
use crate::fhir::terminology::ucum;
use crate::fhir::tree::time::{Moment, Precision};
use crate::fhir::validate::measures::Measure;

const SPAN: &str = "interval";
const PRESSURE: &str = "blood-pressure";

/// The guide's profile that it fits, without what all their names begin with.
pub(super) fn profile(measure: &Measure, observation: &Map<String, Value>) -> Option<&'static str> {
    let is = |name: &str| measure.profiles.iter().copied().find(|known| *known == name);
    if !matches!(observation.get("status")?.as_str()?, "final" | "amended" | "corrected" | "preliminary") {
        return None;
    }
    if observation.contains_key("effectivePeriod") {
        let period = &observation["effectivePeriod"];
        return is(SPAN).filter(|_| {
            is_moment(&period["start"])
                && is_moment(&period["end"])
                && is_value(measure, observation)
                && is_bare(observation)
        });
    }
    if !is_moment(observation.get("effectiveDateTime")?) {
        return None;
    }
    // R4 wants its vital signs to be called that.
    let category = category(measure);
    if category == "vital-signs" && !has_category(observation, |code| code == category) {
        return None;
    }
    if let Some(pressure) = is(PRESSURE).filter(|_| measure.units.is_empty()) {
        let parts = observation.get("component")?.as_array()?;
        let fits = |key: &str| {
            let of = |part: &&Value| part.as_object().and_then(kind::of).is_some_and(|measure| measure.key == key);
            parts.iter().filter(of).count() == 1
        };
        let known = |part: &Value| {
            part.as_object().is_some_and(|part| {
                kind::of(part).is_some_and(|measure| measure.profiles.contains(&PRESSURE) && is_value(measure, part))
            })
        };
        return (fits("systolic-bp") && fits("diastolic-bp") && parts.iter().all(known)).then_some(pressure);
    }
    let single = measure.profiles.iter().copied().find(|name| holds_one_quantity(name))?;
    (is_value(measure, observation) && is_bare(observation)).then_some(single)
}

fn is_bare(observation: &Map<String, Value>) -> bool {
    !observation.contains_key("component")
}

fn is_moment(time: &Value) -> bool {
    let moment = time.as_str().and_then(Moment::parse);
    moment.is_some_and(|moment| moment.precision >= Precision::Second && moment.has_offset())
}

fn is_value(measure: &Measure, element: &Map<String, Value>) -> bool {
    let Some(quantity) = element.get("valueQuantity") else { return false };
    quantity["value"].is_number()
        && quantity["system"] == ucum::SYSTEM
        && quantity["code"].as_str().is_some_and(|unit| takes(measure, unit))
}
