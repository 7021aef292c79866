//! What readings come to: count, extremes, sum, mean and median.
//!
//! Readings in other units are converted by UCUM to that of the first; what cannot be is among all that there are, and not
//! among those that count. A bound (`<`, `>`) is no value.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::date;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::{Element, time};

const STATISTICS: &str = "http://terminology.hl7.org/CodeSystem/observation-statistics";

/// What is measured: system, where one is named, and code.
pub type Measure = (Option<String>, String);

/// What can be asked for, by the codes of the code system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statistic {
    Average,
    Maximum,
    Minimum,
    Count,
    TotalCount,
    Median,
    Sum,
}

impl Statistic {
    /// In the order of the variants.
    pub const CODES: [&str; 7] = ["average", "maximum", "minimum", "count", "total-count", "median", "sum"];

    const ALL: [Statistic; 7] = [
        Statistic::Average,
        Statistic::Maximum,
        Statistic::Minimum,
        Statistic::Count,
        Statistic::TotalCount,
        Statistic::Median,
        Statistic::Sum,
    ];

    pub fn parse(code: &str) -> Option<Statistic> {
        Statistic::CODES.iter().position(|known| *known == code).map(|place| Statistic::ALL[place])
    }

    fn code(self) -> &'static str {
        Statistic::CODES[self as usize]
    }
}

/// The readings of one measure.
#[derive(Default)]
pub struct Series {
    /// UCUM code of the first reading, and how it is shown.
    unit: Option<(String, String)>,
    values: Vec<Decimal>,
    all: usize,
    /// First millisecond, and the one behind the last.
    span_ms: Option<(i64, i64)>,
}

impl Series {
    /// Takes in what an Observation, or a part of one, says of the measure.
    pub fn take(&mut self, observation: Element<'_>, code: &Measure) {
        let own = std::iter::once(observation).chain(observation.all("component"));
        for said in own.filter(|said| is_of(*said, code)) {
            self.all += 1;
            let value = said.get("valueQuantity").and_then(|quantity| self.converted(quantity));
            self.values.extend(value);
        }
        let date =
            ["effectiveDateTime", "effectiveInstant", "effectivePeriod"].iter().find_map(|name| observation.get(name));
        if let Some((start, end)) = date.and_then(date::interval) {
            let (first, last) = self.span_ms.unwrap_or((start, end));
            self.span_ms = Some((first.min(start), last.max(end)));
        }
    }

    fn converted(&mut self, quantity: Element<'_>) -> Option<Decimal> {
        // At least and at most are no values.
        let value: Decimal =
            quantity.text_of("value").filter(|_| quantity.get("comparator").is_none())?.parse().ok()?;
        let code = quantity.text_of("code").filter(|_| quantity.text_of("system") == Some(ucum::SYSTEM)).unwrap_or("1");
        let shown = quantity.text_of("unit").unwrap_or(code);
        let (unit, _) = self.unit.get_or_insert_with(|| (code.to_owned(), shown.to_owned()));
        ucum::convert(value, code, unit)
    }

    /// The Observation that tells it; nothing where there is nothing to tell of.
    pub fn observation(mut self, asked: &[Statistic], person: &str, (system, code): &Measure) -> Option<Value> {
        if self.all == 0 {
            return None;
        }
        self.values.sort_unstable();
        let components: Vec<Value> = asked.iter().filter_map(|statistic| self.component(*statistic)).collect();
        let mut coding = json!({"code": code});
        if let Some(system) = system {
            coding["system"] = system.as_str().into();
        }
        let mut observation = json!({
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [coding]},
            "subject": {"reference": format!("Patient/{person}")},
        });
        if let Some((start, end)) = self.span_ms.filter(|(start, end)| *start > i64::MIN && *end < i64::MAX) {
            observation["effectivePeriod"] = json!({"start": time::instant(start), "end": time::instant(end - 1)});
        }
        if !components.is_empty() {
            observation["component"] = components.into();
        }
        Some(observation)
    }

    fn component(&self, statistic: Statistic) -> Option<Value> {
        let count = Decimal::from(self.values.len());
        let sum = || self.values.iter().try_fold(Decimal::ZERO, |sum, value| sum.checked_add(*value));
        let value = match statistic {
            Statistic::Count => Some(count),
            Statistic::TotalCount => Some(Decimal::from(self.all)),
            Statistic::Maximum => self.values.last().copied(),
            Statistic::Minimum => self.values.first().copied(),
            Statistic::Sum => sum().filter(|_| !self.values.is_empty()),
            Statistic::Average => sum().and_then(|sum| sum.checked_div(count)),
            Statistic::Median => {
                let middle = self.values.len() / 2;
                let upper = self.values.get(middle)?;
                let lower = if self.values.len() % 2 == 1 { upper } else { self.values.get(middle.checked_sub(1)?)? };
                lower.checked_add(*upper).map(|both| both / Decimal::TWO)
            }
        }?;
        let digits: serde_json::Number = serde_json::from_str(&value.round_sf(12)?.normalize().to_string()).ok()?;
        let mut quantity = json!({"value": digits, "system": ucum::SYSTEM, "code": "1"});
        if let (false, Some((unit, shown))) =
            (matches!(statistic, Statistic::Count | Statistic::TotalCount), self.unit.as_ref())
        {
            quantity["code"] = unit.as_str().into();
            quantity["unit"] = shown.as_str().into();
        }
        Some(json!({"code": {"coding": [{"system": STATISTICS, "code": statistic.code()}]}, "valueQuantity": quantity}))
    }
}

fn is_of(said: Element<'_>, (system, code): &Measure) -> bool {
    said.get("code").is_some_and(|concept| {
        concept.all("coding").any(|coding| {
            coding.text_of("code") == Some(code)
                && system.as_deref().is_none_or(|system| coding.text_of("system") == Some(system))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json as reader;

    fn told(readings: &[Value], code: &str) -> Option<Value> {
        let measure = (Some("urn:test".to_owned()), code.to_owned());
        let mut series = Series::default();
        for reading in readings {
            series.take(Element::root(&reader::parse(reading.to_string()).unwrap()), &measure);
        }
        series.observation(&Statistic::ALL, "p", &measure)
    }

    fn reading(code: &str, quantity: &Value) -> Value {
        json!({"code": {"coding": [{"system": "urn:test", "code": code}]}, "effectiveDateTime": "2026-01-15T08:00:00Z",
            "valueQuantity": quantity})
    }

    fn kilograms(value: f64) -> Value {
        reading("w", &json!({"value": value, "unit": "kg", "system": ucum::SYSTEM, "code": "kg"}))
    }

    #[test]
    fn readings_come_to_something() {
        let grams = reading("w", &json!({"value": 64000, "unit": "g", "system": ucum::SYSTEM, "code": "g"}));
        let metres = reading("w", &json!({"value": 2, "unit": "m", "system": ucum::SYSTEM, "code": "m"}));
        let bound =
            reading("w", &json!({"value": 1, "comparator": "<", "unit": "kg", "system": ucum::SYSTEM, "code": "kg"}));
        let other = reading("h", &json!({"value": 1}));
        let all = [kilograms(60.5), kilograms(62.0), grams, metres, bound, other];
        let told = told(&all, "w").unwrap();
        let values: Vec<String> = told["component"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| {
                let quantity = &component["valueQuantity"];
                format!(
                    "{} {} {}",
                    component["code"]["coding"][0]["code"].as_str().unwrap(),
                    quantity["value"],
                    quantity["code"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            values,
            [
                "average 62.1666666667 kg",
                "maximum 64 kg",
                "minimum 60.5 kg",
                "count 3 1",
                "total-count 5 1",
                "median 62 kg",
                "sum 186.5 kg"
            ]
        );
        assert_eq!(told["effectivePeriod"]["start"], "2026-01-15T08:00:00.000Z");
    }

    #[test]
    fn parts_count_and_nothing_comes_to_nothing() {
        let pressure = json!({"code": {"coding": [{"system": "urn:test", "code": "bp"}]}, "component": [
            {"code": {"coding": [{"system": "urn:test", "code": "sys"}]}, "valueQuantity": {"value": 120}},
            {"code": {"coding": [{"system": "urn:test", "code": "dia"}]}, "valueQuantity": {"value": 80}},
        ]});
        let told_of = told(std::slice::from_ref(&pressure), "dia").unwrap();
        assert_eq!(told_of["component"][5]["valueQuantity"]["value"], 80, "{told_of}");
        assert_eq!(told(std::slice::from_ref(&pressure), "none"), None);
        // What there is without a value has a number and no mean.
        let bare = told(&[pressure], "bp").unwrap();
        let codes: Vec<&Value> =
            bare["component"].as_array().unwrap().iter().map(|each| &each["code"]["coding"][0]["code"]).collect();
        assert_eq!(codes, ["count", "total-count"]);
        for code in Statistic::CODES {
            assert_eq!(Statistic::parse(code).map(Statistic::code), Some(code));
        }
    }
}
