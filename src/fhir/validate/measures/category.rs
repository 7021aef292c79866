//! The categories of measurements, as the guide's code system lists them.
//!
//! What a person switches on or off, and how confidential it is unless a resource says so itself. One list serves consents,
//! scopes, audit and labels of apps; it stands in the guide and is read from there.

use std::sync::LazyLock;

use serde_json::Value;

/// The system of confidentiality codes.
pub const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// One category.
#[derive(Debug)]
pub struct Category {
    pub code: String,
    pub display: String,
    /// Code of v3-Confidentiality.
    pub confidentiality: String,
}

static CATEGORIES: LazyLock<Vec<Category>> = LazyLock::new(|| {
    let text = include_str!("../../../../profiles/compiled/CodeSystem-measure-category.json");
    let system: Value = serde_json::from_str(text).expect("the compiled guide is JSON");
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let concepts = system["concept"].as_array().map(Vec::as_slice).unwrap_or_default();
    let category = |concept: &Value| Category {
        code: string(&concept["code"]),
        display: string(&concept["display"]),
        confidentiality: string(&concept["property"][0]["valueCoding"]["code"]),
    };
    concepts.iter().map(category).collect()
});

/// Every category, in the order of the guide.
pub fn all() -> &'static [Category] {
    &CATEGORIES
}

/// The category of that code.
pub fn category(code: &str) -> Option<&'static Category> {
    CATEGORIES.iter().find(|category| category.code == code)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fhir::validate::measures;

    #[test]
    fn categories_are_those_of_the_measures() {
        let listed: BTreeSet<&str> = all().iter().map(|category| category.code.as_str()).collect();
        let used: BTreeSet<&str> = measures::all().iter().map(|measure| measure.category).collect();
        assert_eq!(listed, used);
        for category in all() {
            assert!(!category.display.is_empty(), "{}", category.code);
            assert!(["N", "R"].contains(&category.confidentiality.as_str()), "{}", category.code);
        }
        assert_eq!(super::category("mental-health").unwrap().confidentiality, "R");
        assert_eq!(super::category("activity").unwrap().confidentiality, "N");
    }
}
