//! The measures: units and ranges as they are enforced, and the categories that consents name.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fhir::validate::measures;
use crate::fhir::validate::measures::relations::{self, Relation};

/// Canonical of the code system by which consents, scopes and audit speak of kinds of measurement.
pub const CATEGORY_SYSTEM: &str = "https://mhealth-gateway.org/fhir/CodeSystem/measure-category";

pub(super) fn page() -> String {
    let mut page = String::from(
        "# Measures\n\n\
         An Observation with one of these LOINC codes is held to the units (UCUM) and ranges below: another unit is\n\
         refused as `measure-unit`, a value outside *possible* as `measure-implausible`; a value outside *usual* is\n\
         accepted with the warning `measure-unusual`. That holds for a Quantity, for both ends of a Range and for every\n\
         point of a SampledData, in the Observation and in its components. Units are compared by what they mean, not by\n\
         how they are spelt. The category is what a person permits or withholds\n\
         (`https://mhealth-gateway.org/fhir/CodeSystem/measure-category`); the last column says who measures so.\n\n\
         | LOINC | measure | category | unit | possible | usual | source |\n|---|---|---|---|---|---|---|\n",
    );
    for measure in measures::all() {
        if measure.units.is_empty() {
            page.push_str(&format!(
                "| {} | {} | {} | | | | {} |\n",
                measure.code, measure.key, measure.category, measure.source
            ));
        }
        for unit in &measure.units {
            page.push_str(&format!(
                "| {} | {} | {} | `{}` | {} to {} | {} to {} | {} |\n",
                measure.code,
                measure.key,
                measure.category,
                unit.code,
                unit.hard.0,
                unit.hard.1,
                unit.soft.0,
                unit.soft.1,
                measure.source
            ));
        }
    }
    page.push_str(
        "\n## Relations\n\n\
         Values of one Observation are refused as `measure-relation` where both sides are there and the following does not\n\
         hold, the tolerance granted.\n\n\
         | rule | holds | left | right | tolerance | source |\n|---|---|---|---|---|---|\n",
    );
    for relation in relations::all() {
        let Relation { id, left, right, tolerance, source, text, .. } = relation;
        page.push_str(&format!("| `{id}` | {text} | {left} | {} | {tolerance} | {source} |\n", right.join(", ")));
    }
    page.push_str(
        "\n## Time\n\n\
         A measurement that begins more than ten minutes in the future is refused as `measure-future`, one before 1900 as\n\
         `measure-too-old`; one on 1970-01-01 is accepted with the warning `measure-clock-unset`. Of a period the start is\n\
         judged.\n",
    );
    page
}

pub(super) fn code_system() -> Value {
    let categories: BTreeSet<&str> = measures::all().iter().map(|measure| measure.category).collect();
    let concepts: Vec<Value> = categories.iter().map(|code| json!({"code": code})).collect();
    json!({
        "resourceType": "CodeSystem",
        "id": "measure-category",
        "url": CATEGORY_SYSTEM,
        "version": env!("CARGO_PKG_VERSION"),
        "name": "MhealthGatewayMeasureCategory",
        "title": "Categories of measurements",
        "status": "draft",
        "caseSensitive": true,
        "content": "complete",
        "count": concepts.len(),
        "concept": concepts,
    })
}
