//! Sources of readings: what one is named by, when two of them tell of the same time, and which of them counts.
//!
//! A source is the client that sends, the app that recorded and the device that measured, as an Observation names them.
//! A person says in a FHIR List which counts (`order`); `decide` then says of each reading whether it does, by the set of
//! readings alone and not by the order in which they came. It knows neither where readings are kept nor who asks.

mod decide;
mod order;

pub use decide::{Placed, Role, decide};
pub use order::{Order, chosen, compile};

use std::sync::Arc;

use crate::fhir::ours::SOURCE_ROLE_SYSTEM;
use crate::fhir::tree::Element;
use crate::fhir::tree::time::{Moment, Precision};

/// Where a reading comes from; what is not said is empty.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Source {
    pub client: Arc<str>,
    pub app: String,
    pub device: String,
}

/// The extension that names the app, of which R4 says that it transmitted the observation.
const APP: &str = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice";

impl Source {
    /// The source that an Observation names.
    pub fn of(client: &Arc<str>, observation: Element<'_>) -> Source {
        let app = observation.all("extension").find(|extension| extension.text_of("url") == Some(APP));
        let app = app.and_then(|extension| extension.get("valueReference"));
        Source {
            client: client.clone(),
            app: app.and_then(|reference| named(observation, reference)).unwrap_or_default(),
            device: observation.get("device").and_then(|reference| named(observation, reference)).unwrap_or_default(),
        }
    }
}

/// What a reference names by: an identifier before words, since words change; of a Device inside, its own.
fn named(observation: Element<'_>, reference: Element<'_>) -> Option<String> {
    let identified = |element: Element<'_>| {
        element.all("identifier").find_map(|identifier| identifier.text_of("value").map(str::to_owned))
    };
    let inside = || {
        let id = reference.text_of("reference")?.strip_prefix('#')?;
        let device = observation.all("contained").find(|contained| contained.text_of("id") == Some(id))?;
        let name = || device.all("deviceName").find_map(|name| name.text_of("name").map(str::to_owned));
        identified(device).or_else(name)
    };
    identified(reference)
        .or_else(|| reference.text_of("display").map(str::to_owned))
        .or_else(inside)
        .or_else(|| reference.text_of("reference").filter(|text| !text.starts_with('#')).map(str::to_owned))
}

/// Code of the tag of a reading that does not count.
pub const SECONDARY: &str = "secondary";

/// Whether an Observation bears that tag.
pub fn is_secondary(observation: Element<'_>) -> bool {
    let mut tags = observation.get("meta").into_iter().flat_map(|meta| meta.all("tag"));
    tags.any(|tag| tag.text_of("system") == Some(SOURCE_ROLE_SYSTEM) && tag.text_of("code") == Some(SECONDARY))
}

const MINUTE_MS: i64 = 60_000;

/// The time that a reading takes up, half open, in milliseconds since 1970 in UTC: a period as it is, and of a moment the
/// minute that it lies in. None where a time is not known to the second, or not in UTC.
pub fn taken(observation: Element<'_>) -> Option<(i64, i64)> {
    let (start, end) = if let Some(moment) = observation.text_of("effectiveDateTime") {
        let moment = at(moment)?;
        (moment, moment)
    } else {
        let period = observation.get("effectivePeriod")?;
        (at(period.text_of("start")?)?, at(period.text_of("end")?)?)
    };
    if start < end {
        return Some((start, end));
    }
    let minute = start.div_euclid(MINUTE_MS) * MINUTE_MS;
    (start == end).then_some((minute, minute + MINUTE_MS))
}

fn at(text: &str) -> Option<i64> {
    let moment = Moment::parse(text)?;
    (moment.offset.is_some() && moment.precision >= Precision::Second).then(|| moment.interval_ms().0)
}

#[cfg(test)]
mod tests;
