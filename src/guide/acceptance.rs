//! Which national platform takes which measure, and how: what the country packs of the program say, side by side.
//!
//! A measure without a line is one that the platform has no place for.

use std::sync::LazyLock;

use crate::national;

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
    /// What the value is: `integer`, or a form of the packs.
    pub form: &'static str,
    pub note: &'static str,
    /// The measures that it is told within, where it is not taken by itself.
    pub within: Vec<&'static str>,
    refused: bool,
}

impl Acceptance {
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// `within blood-pressure`; nothing of what is taken by itself.
    pub fn as_part(&self) -> Option<String> {
        (!self.within.is_empty()).then(|| format!("within {}", self.within.join(" or ")))
    }
}

static PLATFORMS: LazyLock<Vec<Platform>> = LazyLock::new(|| {
    let platform = |pack: &'static national::Pack| Platform {
        id: &pack.id,
        country: &pack.country,
        country_name: &pack.country_name,
        name: &pack.title,
        direction: &pack.direction,
        fhir: &pack.fhir,
        status: &pack.status,
        source: &pack.source,
    };
    national::built_in().iter().map(|pack| platform(pack)).collect()
});

static ACCEPTANCE: LazyLock<Vec<Acceptance>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for pack in national::built_in() {
        for row in pack.rows() {
            all.push(Acceptance {
                platform: &pack.id,
                measure: &row.measure,
                system: &row.system,
                code: &row.code,
                unit: pack.unit_of(row),
                form: if row.is_integer() { "integer" } else { row.form.name() },
                note: &row.note,
                within: pack.wholes(row),
                refused: row.is_refused(),
            });
        }
    }
    all
});

/// Every platform.
pub fn platforms() -> &'static [Platform] {
    &PLATFORMS
}

/// Everything that any platform takes or refuses.
pub fn all() -> &'static [Acceptance] {
    &ACCEPTANCE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::validate::measures;

    #[test]
    fn every_line_is_about_a_platform_and_a_measure_that_exist() {
        assert_eq!(platforms().iter().filter(|each| each.country.len() == 2).count(), platforms().len());
        assert!(platforms().len() > 10 && all().len() > 90, "{} {}", platforms().len(), all().len());
        for line in all() {
            assert!(platforms().iter().any(|each| each.id == line.platform), "{line:?}");
            assert!(measures::all().iter().any(|each| each.key == line.measure), "{line:?}");
            assert!(!line.code.is_empty(), "{line:?}");
        }
        let steps: Vec<_> = all().iter().filter(|line| line.measure == "steps-daily").map(|line| line.unit).collect();
        assert_eq!(steps, ["{steps}/d", "/d", "1", "1/(24.h)"]);
    }
}
