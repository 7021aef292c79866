//! By which number the security labels of a resource are filed, so that a search passes over what is hidden for them as a
//! whole.
//!
//! The numbers stand in stores, so the tables are only ever appended to. One confidentiality and one sensitivity have
//! numbers of their own; what carries more, or others, is filed as something of which nothing is known, so that a sender
//! cannot make an index of many parts.

use super::said::Coding;
use crate::fhir::validate::measures::category::CONFIDENTIALITY;
use crate::store::OTHER_LABELS;

pub const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// What carries labels that have no number together.
pub const OTHERS: u16 = OTHER_LABELS;

/// Fewer than `ROW`, since none has a place, too.
const CONFIDENTIALITIES: [&str; 6] = ["U", "L", "M", "N", "R", "V"];

/// Numbers from one sensitivity to the next.
const ROW: usize = 8;

/// v3-ActCode, InformationSensitivityPolicy.
const SENSITIVITIES: [&str; 43] = [
    "ETH", "GDIS", "HIV", "MST", "SCA", "SDV", "SEX", "SPI", "BH", "COGN", "DVD", "EMOTDIS", "MH", "PSY", "PSYTHPN",
    "SUD", "ETHUD", "OPIOIDUD", "STD", "TBOO", "VIO", "SICKLE", "IDS", "DEMO", "DOB", "GENDER", "LIVARG", "MARST",
    "RACE", "REL", "B", "EMPL", "LOCIS", "SSP", "ADOL", "CEL", "DIA", "DRGIS", "EMP", "PDS", "PHY", "PRS", "COMPT",
];

/// The number of some labels; 0 of none.
pub fn number(labels: &[Coding<'_>]) -> u16 {
    let (mut confidentiality, mut sensitivity) = (0, 0);
    for (system, code) in labels {
        let (table, known): (&[&str], _) = match *system {
            CONFIDENTIALITY => (&CONFIDENTIALITIES, &mut confidentiality),
            ACT_CODE => (&SENSITIVITIES, &mut sensitivity),
            _ => return OTHERS,
        };
        match table.iter().position(|named| named == code) {
            Some(place) if *known == 0 || *known == place + 1 => *known = place + 1,
            _ => return OTHERS,
        }
    }
    u16::try_from(sensitivity * ROW + confidentiality).unwrap_or(OTHERS)
}

/// The labels of a number; nothing where they have none of their own.
pub fn labels(number: u16) -> Option<Vec<Coding<'static>>> {
    let (confidentiality, sensitivity) = (usize::from(number) % ROW, usize::from(number) / ROW);
    let one = |system, table: &[&'static str], known: usize| match known.checked_sub(1) {
        None => Some(None),
        Some(place) => table.get(place).map(|code| Some((system, *code))),
    };
    let both =
        [one(CONFIDENTIALITY, &CONFIDENTIALITIES, confidentiality)?, one(ACT_CODE, &SENSITIVITIES, sensitivity)?];
    Some(both.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_the_same_labels_for_ever() {
        let conf = |code| (CONFIDENTIALITY, code);
        let act = |code| (ACT_CODE, code);
        let cases: [(&[Coding<'_>], u16); 12] = [
            (&[], 0),
            (&[conf("U")], 1),
            (&[conf("R")], 5),
            (&[conf("R"), conf("R")], 5),
            (&[act("ETH")], 8),
            (&[act("PSY"), conf("V")], 118),
            (&[act("COMPT")], 344),
            (&[conf("N"), conf("R")], OTHERS),
            (&[act("PSY"), act("HIV")], OTHERS),
            (&[conf("x")], OTHERS),
            (&[("urn:x", "R")], OTHERS),
            (&[("", "")], OTHERS),
        ];
        for (labels, expected) in cases {
            assert_eq!(number(labels), expected, "{labels:?}");
        }
    }

    #[test]
    fn labels_and_numbers_are_each_others() {
        for one in 0..=u16::MAX {
            if let Some(labels) = labels(one) {
                assert_eq!(number(&labels), one, "{labels:?}");
            }
        }
        assert_eq!(labels(OTHERS), None);
    }
}
