//! One data point along its schema's mapping: from header and body to an Observation.
//!
//! Everything that is wrong with a record is found in one go. Numbers are copied digit by digit; only a unit that
//! FHIR's profiles do not know is converted, exactly, and a number too long for that is refused.

use rust_decimal::Decimal;

use super::mapping::{Content, Mapping, Note, Reading, Schema, Unit};
use super::place::Place;
use super::time::{self, Effective};
use crate::devices::Record;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::terminology::ucum;
use crate::fhir::tree::{Kind, write};

const LOINC: &str = "http://loinc.org";
const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const STATISTICS: &str = "http://terminology.hl7.org/CodeSystem/observation-statistics";

/// Fields of a body that every schema may have.
const COMMON: [&str; 4] =
    ["effective_time_frame", "descriptive_statistic", "descriptive_statistic_denominator", "user_notes"];

/// Most digits that are multiplied: FHIR's own limit, and far from the end of [`Decimal`].
const MAX_DIGITS: usize = 18;

/// Reads a data point.
pub(super) fn data_point(mapping: &Mapping, point: &Place<'_>, subject: &str) -> Record {
    let mut record = Record { source_id: None, pointer: String::new(), observation: None, issues: Vec::new() };
    let (Some(header), Some(body)) = (object(point, "header"), object(point, "body")) else {
        let text = "A data point is an object with the objects header and body.";
        record.issues.push(point.issue(Id::DeviceRecord, text));
        return record;
    };
    record.source_id = source_id(&header).map(str::to_owned);
    if record.source_id.is_none() {
        record.issues.push(header.missing("id"));
    }
    let schema = match schema(mapping, &header) {
        Ok(schema) => schema,
        Err(issue) => {
            record.issues.push(issue);
            return record;
        }
    };
    let draft = Draft::read(mapping, schema, &header, &body, &mut record.issues);
    if let (Some(draft), Some(id)) = (draft, &record.source_id)
        && record.issues.is_empty()
    {
        record.observation = Some(draft.observation(mapping, schema, id, subject));
        record.issues.extend(ignored(schema, &body));
    }
    record
}

fn object<'d>(place: &Place<'d>, name: &str) -> Option<Place<'d>> {
    place.get(name).filter(|member| member.kind() == Kind::Object)
}

/// `id` of Open mHealth's header, `uuid` of IEEE 1752.1's.
fn source_id<'d>(header: &Place<'d>) -> Option<&'d str> {
    header.get("id").or_else(|| header.get("uuid"))?.string()
}

fn schema<'m>(mapping: &'m Mapping, header: &Place<'_>) -> Result<&'m Schema, Issue> {
    let id = object(header, "schema_id").ok_or_else(|| header.missing("schema_id"))?;
    let part = |name: &str| id.get(name).and_then(|part| part.string()).ok_or_else(|| id.missing(name));
    let name = format!("{}:{}", part("namespace")?, part("name")?);
    let major = part("version")?.split('.').next().and_then(|major| major.parse().ok());
    major
        .and_then(|major| mapping.schema(&name, major))
        .ok_or_else(|| id.issue(Id::DeviceSchemaUnknown, "There is no mapping for this schema and version."))
}

/// What is lost, said once a record.
fn ignored(schema: &Schema, body: &Place<'_>) -> Option<Issue> {
    let (_, first) = body.members().find(|(name, _)| !COMMON.contains(name) && !schema.names_field(name))?;
    Some(first.issue(Id::DeviceField, "The body has fields that are not carried over, here the first of them."))
}

/// A number with its unit in UCUM.
struct Quantity {
    digits: String,
    ucum: String,
}

/// What an Observation is made of.
struct Draft<'m, 'd> {
    reading: &'m Reading,
    value: Option<Quantity>,
    components: Vec<(&'m Reading, Quantity)>,
    effective: Effective,
    /// Statistic as sent, its code, and what it is counted by.
    statistic: Option<(&'m str, &'m str, Option<&'m str>)>,
    notes: Vec<String>,
    device: Option<&'d str>,
}

impl<'m, 'd> Draft<'m, 'd> {
    fn read(
        mapping: &'m Mapping,
        schema: &'m Schema,
        header: &Place<'d>,
        body: &Place<'d>,
        issues: &mut Vec<Issue>,
    ) -> Option<Self> {
        let value = kept(value(schema, body), issues);
        let components: Vec<Option<(&Reading, Quantity)>> =
            schema.components.iter().map(|component| kept(component_value(component, body), issues)).collect();
        let effective = kept(time::effective(body, schema.interval), issues);
        let statistic = kept(statistic(mapping, body), issues);
        let notes = kept(notes(schema, header, body), issues);
        let (reading, value) = value?;
        Some(Draft {
            reading,
            value,
            components: components.into_iter().collect::<Option<Vec<_>>>()?,
            effective: effective?,
            statistic: statistic?,
            notes: notes?,
            device: object(header, "acquisition_provenance")
                .and_then(|provenance| provenance.get("source_name"))
                .and_then(|name| name.string()),
        })
    }

    fn observation(&self, mapping: &Mapping, schema: &Schema, id: &str, subject: &str) -> String {
        let mut out = String::with_capacity(768);
        out.push_str("{\"resourceType\":\"Observation\",\"identifier\":[{\"system\":");
        write::string(&mapping.identifier, &mut out);
        out.push_str(",\"value\":");
        write::string(id, &mut out);
        out.push_str("}],\"status\":\"final\",\"category\":[{\"coding\":[");
        coding(CATEGORY, &schema.category, &mut out);
        out.push_str("]}],");
        code(self.reading, &schema.text, &mut out);
        out.push_str(",\"subject\":{\"reference\":");
        write::string(subject, &mut out);
        out.push_str("},");
        self.effective(&mut out);
        if let Some(value) = &self.value {
            out.push(',');
            quantity(value, &mut out);
        }
        self.context(&mut out);
        for (index, (component, value)) in self.components.iter().enumerate() {
            out.push_str(if index == 0 { ",\"component\":[{" } else { ",{" });
            code(component, component.text.as_deref().unwrap_or_default(), &mut out);
            out.push(',');
            quantity(value, &mut out);
            out.push('}');
        }
        out.push_str(if self.components.is_empty() { "}" } else { "]}" });
        out
    }

    fn effective(&self, out: &mut String) {
        match &self.effective {
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

    fn context(&self, out: &mut String) {
        for (index, note) in self.notes.iter().enumerate() {
            out.push_str(if index == 0 { ",\"note\":[{\"text\":" } else { ",{\"text\":" });
            write::string(note, out);
            out.push('}');
        }
        if !self.notes.is_empty() {
            out.push(']');
        }
        if let Some((sent, known, denominator)) = self.statistic {
            out.push_str(",\"method\":{\"coding\":[");
            coding(STATISTICS, known, out);
            out.push_str("],\"text\":");
            let text = denominator.map_or_else(|| sent.to_owned(), |denominator| format!("{sent} per {denominator}"));
            write::string(&text, out);
            out.push('}');
        }
        if let Some(device) = self.device {
            out.push_str(",\"device\":{\"display\":");
            write::string(device, out);
            out.push('}');
        }
    }
}

/// The value, or its issue put with the others.
fn kept<T>(result: Result<T, Issue>, issues: &mut Vec<Issue>) -> Option<T> {
    result.map_err(|issue| issues.push(issue)).ok()
}

/// The reading whose conditions and unit fit, with its value.
fn value<'m>(schema: &'m Schema, body: &Place<'_>) -> Result<(&'m Reading, Option<Quantity>), Issue> {
    let fitting: Vec<&Reading> = schema.readings.iter().filter(|reading| fits(reading, body)).collect();
    let Some(first) = fitting.first() else {
        let text = "No code stands for this measure with what the body says of specimen or method.";
        return Err(body.issue(Id::DeviceRecord, text));
    };
    let Some(field) = &first.value else { return Ok((first, None)) };
    let place = body.get(field).ok_or_else(|| body.missing(field))?;
    if let Some(bare) = &first.bare {
        let digits = place.number().ok_or_else(|| place.issue(Id::DeviceRecord, "A number is expected."))?;
        return Ok((first, Some(Quantity { digits: digits.to_owned(), ucum: bare.clone() })));
    }
    let units = || fitting.iter().flat_map(|reading| reading.units.iter().map(move |unit| (*reading, unit)));
    let (index, digits) = measured(&place, &units().map(|(_, unit)| unit).collect::<Vec<_>>())?;
    let (reading, unit) = units().nth(index).unwrap_or((first, &first.units[0]));
    Ok((reading, Some(converted(&place, digits, unit)?)))
}

fn component_value<'m>(reading: &'m Reading, body: &Place<'_>) -> Result<(&'m Reading, Quantity), Issue> {
    let field = reading.value.as_deref().unwrap_or_default();
    let place = body.get(field).ok_or_else(|| body.missing(field))?;
    let units: Vec<&Unit> = reading.units.iter().collect();
    let (index, digits) = measured(&place, &units)?;
    Ok((reading, converted(&place, digits, units[index])?))
}

fn fits(reading: &Reading, body: &Place<'_>) -> bool {
    reading.when.iter().all(|(field, allowed)| match body.get(field) {
        None => allowed.contains(&None),
        Some(sent) => sent.string().is_some_and(|sent| allowed.iter().any(|allowed| allowed.as_deref() == Some(sent))),
    })
}

/// Place of the sent unit in the list, and the digits of the value.
fn measured<'d>(place: &Place<'d>, units: &[&Unit]) -> Result<(usize, &'d str), Issue> {
    let value = place.get("value").ok_or_else(|| place.missing("value"))?;
    let digits = value.number().ok_or_else(|| value.issue(Id::DeviceRecord, "A number is expected."))?;
    let sent = place.get("unit").ok_or_else(|| place.missing("unit"))?;
    let index = units.iter().position(|unit| sent.string() == Some(&unit.sent)).ok_or_else(|| {
        let names: Vec<&str> = units.iter().map(|unit| unit.sent.as_str()).collect();
        sent.issue(Id::MeasureUnit, format!("The value is measured in {}.", names.join(" or ")))
    })?;
    Ok((index, digits))
}

fn converted(place: &Place<'_>, digits: &str, unit: &Unit) -> Result<Quantity, Issue> {
    let digits = match unit.times {
        None => digits.to_owned(),
        Some(factor) => Some(digits)
            .filter(|digits| digits.len() <= MAX_DIGITS)
            .and_then(|digits| Decimal::from_str_exact(digits).ok())
            .and_then(|number| number.checked_mul(factor))
            .map(|number| number.to_string())
            .ok_or_else(|| place.issue(Id::DeviceRecord, "The number is too long to be converted exactly."))?,
    };
    Ok(Quantity { digits, ucum: unit.ucum.clone() })
}

type Statistic<'m> = (&'m str, &'m str, Option<&'m str>);

/// A statistic that is still a value of the measure: a maximum is one, a variance is not.
fn statistic<'m>(mapping: &'m Mapping, body: &Place<'_>) -> Result<Option<Statistic<'m>>, Issue> {
    let Some(sent) = body.get("descriptive_statistic") else {
        return match body.get("descriptive_statistic_denominator") {
            None => Ok(None),
            Some(lone) => Err(lone.issue(Id::DeviceRecord, "A denominator belongs to a descriptive_statistic.")),
        };
    };
    let found = mapping.statistics.iter().find(|(name, _)| sent.string() == Some(name));
    let (name, known) = found.ok_or_else(|| {
        let names: Vec<&str> = mapping.statistics.iter().map(|(name, _)| name.as_str()).collect();
        let text = format!("A statistic is one of {}; others are not values of the measure.", names.join(", "));
        sent.issue(Id::DeviceRecord, text)
    })?;
    let denominator = match body.get("descriptive_statistic_denominator") {
        None => None,
        Some(sent) => {
            let found = mapping.denominators.iter().find(|name| sent.string() == Some(name));
            let text = || format!("A denominator is one of {}.", mapping.denominators.join(", "));
            Some(found.ok_or_else(|| sent.issue(Id::DeviceRecord, text()))?.as_str())
        }
    };
    Ok(Some((name, known, denominator)))
}

/// What has no element of its own but belongs to the reading, in words.
fn notes(schema: &Schema, header: &Place<'_>, body: &Place<'_>) -> Result<Vec<String>, Issue> {
    let mut notes = Vec::new();
    let modality = object(header, "acquisition_provenance").and_then(|provenance| provenance.get("modality"));
    if let Some(modality) = modality.or_else(|| header.get("modality")) {
        match modality.string() {
            Some(word @ ("sensed" | "self-reported")) => notes.push(format!("modality: {word}")),
            _ => return Err(modality.issue(Id::DeviceRecord, "The modality is sensed or self-reported.")),
        }
    }
    for Note { field, content } in &schema.notes {
        if let Some(sent) = body.get(field) {
            notes.push(format!("{}: {}", field.replace('_', " "), context(&sent, content)?));
        }
    }
    if let Some(sent) = body.get("user_notes") {
        let text = sent.string().ok_or_else(|| sent.issue(Id::DeviceRecord, "A text is expected."))?;
        notes.push(text.to_owned());
    }
    Ok(notes)
}

fn context(sent: &Place<'_>, content: &Content) -> Result<String, Issue> {
    match content {
        Content::Words(words) => {
            let known = words.iter().find(|word| sent.string() == Some(word)).cloned();
            known.ok_or_else(|| sent.issue(Id::DeviceRecord, format!("One of {} is expected.", words.join(", "))))
        }
        Content::Measured(unit) => {
            let digits = sent.get("value").and_then(|value| value.number());
            let same = sent.get("unit").and_then(|unit| unit.string()) == Some(unit);
            let words = digits.filter(|_| same).map(|digits| format!("{digits} {unit}"));
            words.ok_or_else(|| sent.issue(Id::DeviceRecord, format!("A number in {unit} is expected.")))
        }
    }
}

fn code(reading: &Reading, text: &str, out: &mut String) {
    for (index, loinc) in reading.loinc.iter().enumerate() {
        out.push_str(if index == 0 { "\"code\":{\"coding\":[" } else { "," });
        coding(LOINC, loinc, out);
    }
    out.push_str("],\"text\":");
    write::string(text, out);
    out.push('}');
}

fn coding(system: &str, code: &str, out: &mut String) {
    out.push_str("{\"system\":");
    write::string(system, out);
    out.push_str(",\"code\":");
    write::string(code, out);
    out.push('}');
}

fn quantity(quantity: &Quantity, out: &mut String) {
    out.push_str("\"valueQuantity\":{\"value\":");
    out.push_str(&quantity.digits);
    out.push_str(",\"unit\":");
    write::string(&quantity.ucum, out);
    out.push_str(",\"system\":");
    write::string(ucum::SYSTEM, out);
    out.push_str(",\"code\":");
    write::string(&quantity.ucum, out);
    out.push('}');
}
