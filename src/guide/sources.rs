//! Where the types of phones and device formats go in the guide, or why they go nowhere.
//!
//! `profiles/source-types.csv` has a line for each type of a source: the measures that carry it, or the profile where it is
//! no measurement, or the reason. What a mapping does with a record is not known here.

use std::sync::LazyLock;

/// A type of a source.
#[derive(Debug)]
pub struct SourceType {
    /// `healthkit`, `health-connect`, `open-mhealth`, `ieee-1752`.
    pub source: &'static str,
    pub name: &'static str,
    /// Keys of measures.
    pub measures: Vec<&'static str>,
    /// Name of a profile without what all their names begin with; empty where the measures' own serve.
    pub profile: &'static str,
    /// Empty where it goes somewhere.
    pub why_not: &'static str,
}

static TYPES: LazyLock<Vec<SourceType>> = LazyLock::new(|| {
    let lines = include_str!("../../profiles/source-types.csv").lines().skip(1);
    lines
        .map(|line| read(line).expect("profiles/source-types.csv is part of the program, and a test reads it"))
        .collect()
});

fn read(line: &'static str) -> Option<SourceType> {
    let mut fields = line.split(',');
    let mut next = || fields.next();
    Some(SourceType {
        source: next()?,
        name: next()?,
        measures: next()?.split_whitespace().collect(),
        profile: next()?,
        why_not: next()?,
    })
}

/// Every type, source by source.
pub fn all() -> &'static [SourceType] {
    &TYPES
}

/// What a source is called.
pub fn title(source: &str) -> &str {
    match source {
        "healthkit" => "Apple HealthKit",
        "health-connect" => "Android Health Connect",
        "open-mhealth" => "Open mHealth",
        "ieee-1752" => "IEEE 1752.1",
        other => other,
    }
}

pub(super) fn page() -> String {
    let mut page = String::from(
        "# Types of phones and device formats\n\n\
         Where each type goes: the measures of [measures.md](measures.md) that carry it, or a profile of the guide where it is\n\
         no measurement; or why it goes nowhere.\n",
    );
    let mut source = "";
    for each in all() {
        if each.source != source {
            source = each.source;
            page.push_str(&format!(
                "\n## {}\n\n| type | measures | profile | why not |\n|---|---|---|---|\n",
                title(source)
            ));
        }
        let profile = if each.profile.is_empty() { String::new() } else { format!("mh-{}", each.profile) };
        page.push_str(&format!("| {} | {} | {profile} | {} |\n", each.name, each.measures.join(", "), each.why_not));
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fhir::ours;
    use crate::fhir::validate::measures;

    #[test]
    fn every_type_goes_somewhere_or_says_why_not() {
        let keys: BTreeSet<&str> = measures::all().iter().map(|measure| measure.key.as_str()).collect();
        let registry = crate::guide::registry();
        let mut seen = BTreeSet::new();
        for each in all() {
            assert!(seen.insert((each.source, each.name)), "{} {} stands twice", each.source, each.name);
            let goes = !each.measures.is_empty() || !each.profile.is_empty();
            assert!(goes == each.why_not.is_empty(), "{} {}", each.source, each.name);
            assert!(each.measures.iter().all(|key| keys.contains(key)), "{} {}", each.source, each.name);
            if !each.profile.is_empty() {
                assert!(
                    registry.structure(&format!("{}mh-{}", ours::STRUCTURES, each.profile)).is_some(),
                    "{}",
                    each.name
                );
            }
        }
        let sources: BTreeSet<&str> = all().iter().map(|each| each.source).collect();
        assert_eq!(sources.len(), 4);
        assert!(all().len() > 250);
    }

    /// What no source has can only be typed in, or comes from devices of its own.
    #[test]
    fn most_measures_come_from_somewhere() {
        let sent: BTreeSet<&str> = all().iter().flat_map(|each| &each.measures).copied().collect();
        assert!(sent.len() > 70, "{}", sent.len());
    }
}
