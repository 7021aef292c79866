//! The measures: units and ranges as they are enforced, and the categories that consents name.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fhir::validate::measures;

/// Canonical of the code system by which consents, scopes and audit speak of kinds of measurement.
pub const CATEGORY_SYSTEM: &str = "https://mhealth-gateway.org/fhir/CodeSystem/measure-category";

pub(super) fn page() -> String {
    let mut page = String::from(
        "# Measures\n\n\
         An Observation with one of these LOINC codes is held to the units (UCUM) and ranges below: another unit is\n\
         refused as `measure-unit`, a value outside *possible* as `measure-implausible`; a value outside *usual* is\n\
         accepted with the warning `measure-unusual`. The category is what a person permits or withholds\n\
         (`https://mhealth-gateway.org/fhir/CodeSystem/measure-category`).\n\n\
         | LOINC | measure | category | unit | possible | usual |\n|---|---|---|---|---|---|\n",
    );
    for measure in measures::all() {
        if measure.units.is_empty() {
            page.push_str(&format!("| {} | {} | {} | | | |\n", measure.code, measure.key, measure.category));
        }
        for unit in &measure.units {
            page.push_str(&format!(
                "| {} | {} | {} | `{}` | {} to {} | {} to {} |\n",
                measure.code,
                measure.key,
                measure.category,
                unit.code,
                unit.hard.0,
                unit.hard.1,
                unit.soft.0,
                unit.soft.1
            ));
        }
    }
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
