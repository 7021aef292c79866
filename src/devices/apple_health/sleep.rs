//! A record of the analysis of sleep as a stretch of a stage, for whoever makes nights of them.

use crate::devices::night::{Stage, Stretch};
use crate::devices::series::told;
use crate::fhir::tree::Element;

/// Values as exports name them and as apps number them (`HKCategoryValueSleepAnalysis`).
const STAGES: [(&str, &str, Stage); 7] = [
    ("InBed", "0", Stage::InBed),
    ("AsleepUnspecified", "1", Stage::Asleep),
    // What phones wrote before they told stages apart.
    ("Asleep", "1", Stage::Asleep),
    ("Awake", "2", Stage::Awake),
    ("AsleepCore", "3", Stage::Light),
    ("AsleepDeep", "4", Stage::Deep),
    ("AsleepREM", "5", Stage::Rem),
];

/// Who saw it, and what. None where the record is another one, or not whole.
pub fn stretch(record: Element<'_>) -> Option<(&str, Stretch)> {
    if record.text_of("type")?.strip_prefix("HKCategoryTypeIdentifier")? != "SleepAnalysis" {
        return None;
    }
    let value = record.text_of("value")?;
    let name = value.strip_prefix("HKCategoryValueSleepAnalysis").unwrap_or(value);
    let (.., stage) = STAGES.iter().find(|(known, number, _)| *known == name || *number == name)?;
    let ((start, offset), (end, _)) = (told(record.text_of("startDate")?)?, told(record.text_of("endDate")?)?);
    let source = record.text_of("sourceName").unwrap_or_default();
    Some((source, Stretch { stage: *stage, start, end, offset }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    #[test]
    fn reads_both_ways_of_writing_a_stage() {
        for (kind, value, expected) in [
            ("SleepAnalysis", "\"HKCategoryValueSleepAnalysisAsleepDeep\"", Some(Stage::Deep)),
            ("SleepAnalysis", "\"HKCategoryValueSleepAnalysisAsleep\"", Some(Stage::Asleep)),
            ("SleepAnalysis", "5", Some(Stage::Rem)),
            ("SleepAnalysis", "6", None),
            ("MindfulSession", "0", None),
        ] {
            let text = format!(
                r#"{{"type":"HKCategoryTypeIdentifier{kind}","value":{value},"sourceName":"W",
                "startDate":"2026-05-04T08:00:00+02:00","endDate":"2026-05-04T08:30:00+02:00"}}"#
            );
            let record = json::parse(text).unwrap();
            let found = stretch(Element::root(&record));
            assert_eq!(found.map(|(_, stretch)| stretch.stage), expected);
            assert!(found.is_none_or(|(source, stretch)| source == "W" && stretch.end - stretch.start == 1_800_000));
        }
    }
}
