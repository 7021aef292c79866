//! The measures: units and ranges as they are enforced, and the categories that consents name.

use crate::fhir::ours::{CATEGORY_SYSTEM, STRUCTURES};
use crate::fhir::validate::measures::answers::{Answer, Answers};
use crate::fhir::validate::measures::relations::{self, Relation};
use crate::fhir::validate::measures::{self, Measure, Unit};

/// Whom the tables of measures name, in short, for a unit, a range or a rule.
const SOURCES: [(&str, &str); 26] = [
    ("BE", "Belgium, patient monitoring"),
    ("DK", "Denmark, the national telemedicine infrastructure"),
    ("EE", "Estonia"),
    ("FHIR-R4-vitals", "the vital signs of FHIR R4"),
    ("FI", "Finland, Kanta"),
    ("FR", "France, Mesures de santé"),
    ("HC", "Health Connect"),
    ("HDDT", "gematik's HDDT (Germany)"),
    ("HK", "HealthKit"),
    ("HL7-CGM", "HL7's guide for continuous glucose monitoring"),
    ("HL7-PHR", "HL7's guide for personal health records"),
    ("IPS", "HL7's International Patient Summary"),
    ("ISiK", "gematik's ISiK (Germany)"),
    ("L2020", "LOINC as released in 2020"),
    ("LOINC", "LOINC as published since"),
    ("MIO", "mio42's MIO (Germany)"),
    ("NL", "the Netherlands, MedMij"),
    ("NO", "Norway"),
    ("OMOP-wearables", "OMOP's vocabulary for wearables"),
    ("PA-IG", "HL7's guide for physical activity"),
    ("PCD-IG", "the patient-contributed data of HL7's guide for personal health records"),
    ("PHD", "HL7's guide for personal health devices"),
    ("Stanford-Grove", "Stanford's Grove"),
    ("WHO-SMBP", "WHO's guide for self-measured blood pressure"),
    ("definition", "what the measure is by its definition"),
    ("dk-core", "Denmark, the core profiles"),
];

/// The same in full, as far as it is known.
pub(super) fn sources(short: &str) -> String {
    let full = |name| SOURCES.iter().find(|(known, _)| *known == name).map_or(name, |(_, full)| *full);
    short.split_whitespace().map(full).collect::<Vec<_>>().join("; ")
}

/// Who else has a measure's LOINC codes, one text a code.
pub(super) fn verified(measure: &Measure) -> Vec<&'static str> {
    let codes = measure.codes.iter().filter(|code| code.system == measures::LOINC);
    codes.map(|code| code.verified).collect()
}

/// What stands in the place of a unit where there is none.
pub(super) fn answered(measure: &Measure) -> &'static str {
    match &measure.answer {
        Answer::Amount => "",
        Answer::Parts => "its parts",
        Answer::Date => "a date",
        Answer::Code | Answer::Component(_) => "a code",
        Answer::CodeOrBoolean => "a code, or true or false",
        Answer::OneOf(Answers { required: true, .. }) => "one of a list",
        Answer::OneOf(_) => "one of a list where one fits",
    }
}

pub(super) fn page() -> String {
    let mut page = format!(
        "# Measures\n\n\
         An Observation with one of these codes is held to the units (UCUM) and ranges below: another unit is\n\
         refused as `measure-unit`, a value outside *possible* as `measure-implausible`; a value outside *usual* is\n\
         accepted with the warning `measure-unusual`. That holds for a Quantity, for both ends of a Range and for every\n\
         point of a SampledData, in the Observation and in its components. Units are compared by what they mean, not by\n\
         how they are spelt. The category is what a person permits or withholds (`{CATEGORY_SYSTEM}`); the\n\
         profiles are those of the guide (`{STRUCTURES}mh-…`); the last column says\n\
         who measures so, [in short](#sources).\n\n\
         Where a code stands for several measures, such as the 160184 of meters that show either unit, the value may be\n\
         what any of them may be; beside a narrower code, the narrower one counts.\n\n\
         What has no unit has its *parts*, each held to its own line, or is answered with a date or a code; which codes stands\n\
         [below](#answers) where it is prescribed.\n\n\
         | measure | category | profiles | unit or answer | possible | usual | source |\n|---|---|---|---|---|---|---|\n"
    );
    for measure in measures::all() {
        let Measure { key, category, source, .. } = measure;
        let profiles = measure.profiles.join(", ");
        if measure.units.is_empty() {
            let answered = answered(measure);
            page.push_str(&format!("| {key} | {category} | {profiles} | {answered} | | | {source} |\n"));
        }
        for Unit { code, hard, soft } in &measure.units {
            page.push_str(&format!(
                "| {key} | {category} | {profiles} | `{code}` | {} to {} | {} to {} | {source} |\n",
                hard.0, hard.1, soft.0, soft.1
            ));
        }
    }
    page.push_str(
        "\n## Codes\n\n\
         LOINC where it has a code, the codes of others beside it or in its place. *PGHD* is the code system of HL7's\n\
         personal health record guide, *own* that of this guide, for what nobody else names.\n\
         The last column says where a LOINC code was found with this meaning besides in our sources: in a guide of HL7 or\n\
         of a country, in a release of LOINC; or that it was not.\n\n\
         | measure | LOINC | SNOMED CT | ISO/IEEE 11073 | PGHD | own | LOINC verified by |\n|---|---|---|---|---|---|---|\n",
    );
    for measure in measures::all() {
        page.push_str(&format!("| {} |", measure.key));
        for system in measures::systems() {
            let codes = measure.codes.iter().filter(|code| code.system == system).map(|code| code.code);
            page.push_str(&format!(" {} |", codes.collect::<Vec<_>>().join(", ")));
        }
        page.push_str(&format!(" {} |\n", verified(measure).join(" / ")));
    }
    page.push_str(&answers());
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
    page.push_str("\n## Sources\n\n| in short | who |\n|---|---|\n");
    for (short, full) in SOURCES {
        page.push_str(&format!("| {short} | {full} |\n"));
    }
    page
}

fn answers() -> String {
    let mut page = String::from(
        "\n## Answers\n\n\
         A measure of these is answered with one of its codes, in the Observation and in its components, whichever profile is\n\
         claimed. Another answer is refused as `measure-answer`, or accepted with the warning `measure-answer-other` where the\n\
         list is to be used *where one fits*. A code of the sender's own may stand beside it.\n\n\
         | measure | binding | system | code | meaning |\n|---|---|---|---|---|\n",
    );
    for (measure, answers) in measures::all().iter().filter_map(|each| Some((each, each.answer.listed()?))) {
        let binding = if answers.required { "refused otherwise" } else { "where one fits" };
        for one in &answers.list {
            page.push_str(&format!("| {} | {binding} | {} | {} | {} |\n", measure.key, one.system, one.code, one.text));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_source_is_told_in_full() {
        let named: BTreeSet<&str> =
            measures::all().iter().flat_map(|measure| measure.source.split_whitespace()).collect();
        let told: BTreeSet<&str> = SOURCES.iter().map(|(short, _)| *short).collect();
        assert_eq!(told, named);
        assert_eq!(sources("HK L2020"), "HealthKit; LOINC as released in 2020");
    }
}
