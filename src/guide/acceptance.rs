//! Which national platform takes which measure, and how: facts of their published specifications.
//!
//! `profiles/platforms.csv` says who they are, `profiles/acceptance.csv` what they take. A measure without a line is one
//! that the platform has no place for.

use std::sync::LazyLock;

/// A national platform.
#[derive(Debug)]
pub struct Platform {
    pub id: &'static str,
    /// ISO 3166-1 code of the country.
    pub country: &'static str,
    pub country_name: &'static str,
    pub name: &'static str,
    /// Who calls whom: `push`, `pull`, both, or nobody yet.
    pub direction: &'static str,
    /// Release of FHIR.
    pub fhir: &'static str,
    pub status: &'static str,
    /// The specification that says so.
    pub source: &'static str,
}

/// How a platform takes a measure.
#[derive(Debug)]
pub struct Acceptance {
    pub platform: &'static str,
    /// Key of the measure.
    pub measure: &'static str,
    pub system: &'static str,
    pub code: &'static str,
    /// The text that it wants in `code` of the Quantity.
    pub unit: &'static str,
    /// What the value is: `quantity`, `integer`, `components`, `series`, or `refused`.
    pub form: &'static str,
    pub note: &'static str,
}

impl Acceptance {
    pub fn is_refused(&self) -> bool {
        self.form == "refused"
    }
}

static PLATFORMS: LazyLock<Vec<Platform>> =
    LazyLock::new(|| {
        let rows = rows(include_str!("../../profiles/platforms.csv"));
        let platform = |[id, country, country_name, name, direction, fhir, status, source]: [&'static str; 8]| {
            Platform { id, country, country_name, name, direction, fhir, status, source }
        };
        rows.into_iter().map(platform).collect()
    });

static ACCEPTANCE: LazyLock<Vec<Acceptance>> = LazyLock::new(|| {
    let rows = rows(include_str!("../../profiles/acceptance.csv"));
    let acceptance = |[platform, measure, system, code, unit, form, note]: [&'static str; 7]| Acceptance {
        platform,
        measure,
        system,
        code,
        unit,
        form,
        note,
    };
    rows.into_iter().map(acceptance).collect()
});

/// Every platform.
pub fn platforms() -> &'static [Platform] {
    &PLATFORMS
}

/// Everything that any platform takes or refuses.
pub fn all() -> &'static [Acceptance] {
    &ACCEPTANCE
}

/// The lines of a table whose fields need no quotes; the last field may hold commas.
fn rows<const WIDTH: usize>(table: &'static str) -> Vec<[&'static str; WIDTH]> {
    let row = |line: &'static str| {
        let fields: Vec<&str> = line.splitn(WIDTH, ',').collect();
        fields.try_into().expect("the table is part of the program, and a test reads it")
    };
    table.lines().skip(1).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::terminology::ucum;
    use crate::fhir::validate::measures;

    #[test]
    fn every_line_is_about_a_platform_and_a_measure_that_exist() {
        assert_eq!(platforms().iter().filter(|each| each.country.len() == 2).count(), platforms().len());
        for line in all() {
            assert!(platforms().iter().any(|each| each.id == line.platform), "{line:?}");
            // What is no Observation has no measure.
            let known = measures::all().iter().any(|each| each.key == line.measure);
            assert!(known || line.form == "medication administration", "{line:?}");
            let unit = line.unit;
            assert!(unit.is_empty() || unit == "1/30sec" || ucum::valid(unit), "{line:?}");
        }
    }
}
