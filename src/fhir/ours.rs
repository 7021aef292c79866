//! The guide's own canonicals, as the compiled guide declares them.
//!
//! The address stands in the guide's sources alone (`profiles/sushi-config.yaml`); here it is read, while this is
//! compiled, from what they were compiled to. What the definitions say is not known here.

const GUIDE: &str = include_str!("../../profiles/compiled/ImplementationGuide-mhealth-gateway.guide.json");

/// Canonical of the guide.
pub const GUIDE_URL: &str = member(GUIDE, "url");

/// What the guide is called as a package.
pub const PACKAGE: &str = member(GUIDE, "packageId");

/// Version of the guide.
pub const VERSION: &str = member(GUIDE, "version");

/// What the canonicals of the guide begin with, without the slash.
pub const BASE: &str = before(GUIDE_URL, "/ImplementationGuide/");

/// Where people read the guide.
pub const PAGES: &str = text(&joined::<{ SITE.len() + PAGE_FOLDER.len() }>(SITE, PAGE_FOLDER));
const SITE: &str = before(BASE, "/fhir");
const PAGE_FOLDER: &str = "/guide";

/// Where the guide's structures are, with the slash.
pub const STRUCTURES: &str = text(&joined::<{ BASE.len() + STRUCTURE_FOLDER.len() }>(BASE, STRUCTURE_FOLDER));
const STRUCTURE_FOLDER: &str = "/StructureDefinition/";

/// The code system of issues.
pub const ISSUE_SYSTEM: &str = text(&joined::<{ BASE.len() + ISSUES.len() }>(BASE, ISSUES));
const ISSUES: &str = "/CodeSystem/issue";

/// The code system by which consents, scopes and audit speak of kinds of measurement.
pub const CATEGORY_SYSTEM: &str =
    member(include_str!("../../profiles/compiled/CodeSystem-measure-category.json"), "url");

/// The code system of measures that no other system names.
pub const MEASURE_SYSTEM: &str = member(include_str!("../../profiles/compiled/CodeSystem-measure.json"), "url");

/// The code system by which readings are tagged that do not count beside those of another source.
pub const SOURCE_ROLE_SYSTEM: &str = member(include_str!("../../profiles/compiled/CodeSystem-source-role.json"), "url");

/// A text member of the outermost object of JSON that is indented by two spaces and needs no escapes.
const fn member(json: &'static str, name: &str) -> &'static str {
    let mut at = 0;
    while !follows(json, at, "\n  \"") || !follows(json, at + 4, name) || !follows(json, at + 4 + name.len(), "\": \"")
    {
        at += 1;
    }
    let start = at + 4 + name.len() + 4;
    let mut end = start;
    while json.as_bytes()[end] != b'"' {
        end += 1;
    }
    json.split_at(end).0.split_at(start).1
}

const fn before(whole: &'static str, part: &str) -> &'static str {
    let mut at = 0;
    while !follows(whole, at, part) {
        at += 1;
    }
    whole.split_at(at).0
}

const fn follows(whole: &str, at: usize, part: &str) -> bool {
    let (whole, part) = (whole.as_bytes(), part.as_bytes());
    let mut index = 0;
    while index < part.len() {
        if whole[at + index] != part[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn joined<const LENGTH: usize>(one: &str, other: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        bytes[at] = if at < one.len() { one.as_bytes()[at] } else { other.as_bytes()[at - one.len()] };
        at += 1;
    }
    bytes
}

const fn text(bytes: &'static [u8]) -> &'static str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("two texts make a text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonicals_are_what_the_guide_declares() {
        let guide: serde_json::Value = serde_json::from_str(GUIDE).unwrap();
        assert_eq!(guide["url"], GUIDE_URL);
        assert_eq!(guide["packageId"], PACKAGE);
        assert_eq!(guide["version"], VERSION);
        for (canonical, path) in [
            (ISSUE_SYSTEM, "/CodeSystem/issue"),
            (CATEGORY_SYSTEM, "/CodeSystem/measure-category"),
            (MEASURE_SYSTEM, "/CodeSystem/measure"),
            (SOURCE_ROLE_SYSTEM, "/CodeSystem/source-role"),
            (STRUCTURES, "/StructureDefinition/"),
        ] {
            assert_eq!(canonical, format!("{BASE}{path}"));
        }
        assert_eq!(BASE.strip_suffix("/fhir").map(|site| format!("{site}/guide")).as_deref(), Some(PAGES));
    }
}
