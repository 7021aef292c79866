//! A measurement as an Observation: in the guide's form where its code is one of the guide's measures, else as the template
//! has it.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::IDENTIFIER;
use super::content::Measurement;
use super::mapping::{Form, Mapping, Valued};
use crate::devices::native;
use crate::devices::observation::{self, Draft, Effective, Measured, Quantity, Recording};
use crate::devices::{Record, Sender};
use crate::fhir::ours::STRUCTURES;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::terminology::ucum;
use crate::fhir::tree::json::is_number;
use crate::fhir::validate::measures::Measure;

/// Units as templates write them, in UCUM.
const UNITS: [(&str, &str); 30] = [
    ("count/min", "/min"),
    ("bpm", "/min"),
    ("beats/min", "/min"),
    ("beats/minute", "/min"),
    ("breaths/min", "/min"),
    ("breaths/minute", "/min"),
    ("mmhg", "mm[Hg]"),
    ("c", "Cel"),
    ("degc", "Cel"),
    ("°c", "Cel"),
    ("celsius", "Cel"),
    ("f", "[degF]"),
    ("degf", "[degF]"),
    ("°f", "[degF]"),
    ("fahrenheit", "[degF]"),
    ("lb", "[lb_av]"),
    ("lbs", "[lb_av]"),
    ("in", "[in_i]"),
    ("inch", "[in_i]"),
    ("inches", "[in_i]"),
    ("meters", "m"),
    ("kilograms", "kg"),
    ("percent", "%"),
    ("seconds", "s"),
    ("sec", "s"),
    ("minutes", "min"),
    ("kcal", "kcal"),
    ("mg/dl", "mg/dL"),
    ("mmol/l", "mmol/L"),
    ("liters", "L"),
];

/// Puts the Observation into its record, or why there is none.
pub(super) fn record(mapping: &Mapping, measurement: &Measurement, sender: &Sender<'_>, record: &mut Record) {
    let id = identifier(measurement);
    record.source_id = Some(id.clone());
    record.origin = Some(measurement.device.clone());
    match built(mapping, measurement, sender, &id) {
        Ok((measure, observation)) => {
            record.measure = measure.map(|measure| measure.key.as_str());
            record.observation = Some(observation);
        }
        Err(issue) => record.issues.push(issue),
    }
}

/// The same kind of the same device at the same time is the same record, however often it comes.
fn identifier(measurement: &Measurement) -> String {
    let mut hasher = blake3::Hasher::new();
    let parts =
        [Some(&measurement.device), Some(&measurement.kind), Some(&measurement.time), measurement.correlation.as_ref()];
    for part in parts.into_iter().flatten() {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn built(
    mapping: &Mapping,
    measurement: &Measurement,
    sender: &Sender<'_>,
    id: &str,
) -> Result<(Option<&'static Measure>, String), Issue> {
    let own = mapping.value.as_ref().and_then(|valued| Some((valued, sent(measurement, valued)?)));
    let parts: Vec<(&Value, &Valued, &str)> = mapping
        .components
        .iter()
        .filter_map(|(code, valued)| Some((code, valued, sent(measurement, valued)?)))
        .collect();
    if own.is_none() && parts.is_empty() {
        return Err(Issue::new(Id::DeviceRecord, "", "None of the values that the FHIR mapping names is there."));
    }
    let unit = own.and_then(|(valued, _)| unit(valued));
    let measure = measure(&mapping.code, unit.as_deref());
    let panel = own.is_none() && measure.is_some_and(|measure| measure.units.is_empty());
    let is_number = own.is_some_and(|(valued, _)| matches!(valued.of, Form::Quantity { .. }));
    let (Some(measure), true) = (measure, panel || is_number && parts.is_empty()) else {
        return Ok((measure, plain(mapping, measurement, sender, id, own, &parts)?));
    };
    let (mut value, mut original) = (Measured::Nothing, None);
    if let Some((valued, text)) = own {
        let (quantity, before) = quantity(measure, valued, text)?;
        (value, original) = (Measured::Quantity(quantity), before);
    }
    let mut components = Vec::with_capacity(parts.len());
    for (code, valued, text) in parts {
        let part = self::measure(code, None).ok_or_else(|| unmeasured(&valued.name))?;
        components.push((part, quantity(part, valued, text)?.0));
    }
    let draft = Draft {
        measure,
        identifier: (&IDENTIFIER, id),
        subject: sender.subject,
        status: "final",
        effective: Effective::At(measurement.time.clone()),
        value,
        original,
        components,
        recording: Recording::Automatic,
        device: Some(measurement.device.clone()),
        app: None,
        statistic: None,
        zone: None,
        meal: None,
        completeness: None,
        notes: Vec::new(),
    };
    let mut out = String::new();
    draft.write(&mut out);
    Ok((Some(measure), out))
}

fn sent<'m>(measurement: &'m Measurement, valued: &Valued) -> Option<&'m str> {
    let named = measurement.values.iter().find(|(name, _)| name.eq_ignore_ascii_case(&valued.name));
    named.map(|(_, text)| text.as_str())
}

fn unmeasured(name: &str) -> Issue {
    Issue::new(Id::DeviceRecord, "", format!("{name}: its code in the FHIR mapping is none of the guide's measures."))
}

/// The measure of a concept; a unit helps where a code stands for several.
fn measure(code: &Value, unit: Option<&str>) -> Option<&'static Measure> {
    let mut element = json!({"code": code});
    if let Some(unit) = unit {
        element["valueQuantity"] = json!({"system": ucum::SYSTEM, "code": unit});
    }
    let known = native::measure(element.as_object()?);
    // What is in a unit of something else is told by whoever looks at the unit.
    known.or_else(|| native::measure(json!({"code": code}).as_object()?))
}

/// The unit of a value in UCUM, where it is known.
fn unit(valued: &Valued) -> Option<String> {
    let Form::Quantity { unit, system, code } = &valued.of else { return None };
    if let Some(code) = code.as_ref().filter(|_| system.as_deref().is_none_or(|system| system == ucum::SYSTEM)) {
        return Some(code.clone());
    }
    let word = UNITS.iter().find(|(word, _)| unit.eq_ignore_ascii_case(word) || unit.to_lowercase() == *word);
    word.map(|(_, ucum)| (*ucum).to_owned()).or_else(|| ucum::valid(unit).then(|| unit.clone()))
}

/// A value in the measure's own unit, and before it was converted.
fn quantity(measure: &Measure, valued: &Valued, text: &str) -> Result<(Quantity, Option<Quantity>), Issue> {
    let wrong = || {
        let allowed: Vec<&str> = measure.units.iter().map(|unit| unit.code).collect();
        let text = format!(
            "{}: the FHIR mapping calls it {}, which is measured in {} (UCUM).",
            valued.name,
            measure.key,
            allowed.join(" or ")
        );
        Issue::new(Id::MeasureUnit, "", text)
    };
    if !is_number(text) {
        return Err(Issue::new(Id::DeviceRecord, "", format!("{}: a number is expected.", valued.name)));
    }
    let Form::Quantity { unit: word, .. } = &valued.of else { return Err(unmeasured(&valued.name)) };
    // What is counted has no unit that could be wrong.
    let counted = measure.units.first().filter(|unit| unit.code.starts_with('{') && unit.code.ends_with('}'));
    if let Some(counted) = counted.filter(|_| matches!(word.as_str(), "" | "count" | "1" | "steps" | "step")) {
        return Ok((Quantity { digits: text.to_owned(), ucum: counted.code.to_owned() }, None));
    }
    let sent = Quantity { digits: text.to_owned(), ucum: unit(valued).ok_or_else(wrong)? };
    if observation::takes(measure, &sent.ucum) {
        return Ok((sent, None));
    }
    let known = measure.units.first().filter(|known| ucum::comparable(known.code, &sent.ucum)).ok_or_else(wrong)?;
    let number = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok();
    let converted = number.and_then(|number| ucum::convert(number, &sent.ucum, known.code));
    let converted = converted.ok_or_else(|| {
        Issue::new(Id::DeviceRecord, "", format!("{}: the number is too long to be converted exactly.", valued.name))
    })?;
    let quantity = Quantity { digits: converted.normalize().to_string(), ucum: known.code.to_owned() };
    Ok((quantity, Some(sent)))
}

/// As the template has it, with the person, the device, the origin and the identifier.
fn plain(
    mapping: &Mapping,
    measurement: &Measurement,
    sender: &Sender<'_>,
    id: &str,
    own: Option<(&Valued, &str)>,
    parts: &[(&Value, &Valued, &str)],
) -> Result<String, Issue> {
    let mut observation = json!({
        "resourceType": "Observation",
        "meta": {"tag": [observation::origin()]},
        "extension": [{"url": format!("{STRUCTURES}mh-recording-method"), "valueCode": "automatic"}],
        "identifier": [{"system": *IDENTIFIER, "value": id}],
        "status": "final",
        "code": mapping.code,
        "subject": {"reference": sender.subject},
        "effectiveDateTime": measurement.time,
        "device": {"display": measurement.device},
    });
    if !mapping.category.is_empty() {
        observation["category"] = Value::Array(mapping.category.clone());
    }
    if let Some((valued, text)) = own {
        let (name, value) = written(valued, text)?;
        observation[name] = value;
    }
    let mut components = Vec::with_capacity(parts.len());
    for (code, valued, text) in parts {
        let (name, value) = written(valued, text)?;
        let mut component = json!({"code": code});
        component[name] = value;
        components.push(component);
    }
    if !components.is_empty() {
        observation["component"] = Value::Array(components);
    }
    Ok(observation.to_string())
}

fn written(valued: &Valued, text: &str) -> Result<(&'static str, Value), Issue> {
    Ok(match &valued.of {
        Form::Text => ("valueString", json!(text)),
        Form::Concept(concept) => ("valueCodeableConcept", concept.clone()),
        Form::Quantity { unit: word, system, code } => {
            let number: Option<Value> = is_number(text).then(|| serde_json::from_str(text).ok()).flatten();
            let number = number
                .ok_or_else(|| Issue::new(Id::DeviceRecord, "", format!("{}: a number is expected.", valued.name)))?;
            let mut quantity = json!({"value": number});
            if !word.is_empty() {
                quantity["unit"] = json!(word);
            }
            match (system, code, unit(valued)) {
                (Some(system), Some(code), _) => {
                    quantity["system"] = json!(system);
                    quantity["code"] = json!(code);
                }
                (_, _, Some(ucum)) => {
                    quantity["system"] = json!(ucum::SYSTEM);
                    quantity["code"] = json!(ucum);
                }
                _ => {}
            }
            ("valueQuantity", quantity)
        }
    })
}
