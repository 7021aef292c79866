//! What a destination's answers mean: its own statuses, codes and texts, as ids of ours, whether it is worth another
//! try, and who has to do something.

use crate::fhir::fhirpath::Expression;
use crate::fhir::outcome::Id;

/// The table of a pack, `errors.csv`.
#[derive(Default, Debug)]
pub struct Answers {
    pub(super) lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) struct Line {
    /// None for any.
    pub status: Option<u16>,
    /// Of `OperationOutcome.issue.code`, without regard to case; none for any.
    pub code: Option<String>,
    /// Parts of the text, in this order; what stands between them is anything.
    pub text: Vec<String>,
    pub meaning: Meaning,
    /// What holds of a request that is not answered so.
    pub check: Option<Check>,
}

/// Something that the destination checks itself, and what it says where it does not hold.
#[derive(Debug)]
pub struct Check {
    /// FHIRPath on the request.
    pub holds: Expression,
    /// Where the table says so.
    pub line: u64,
    pub status: u16,
    pub code: String,
    pub text: String,
}

/// What an answer means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meaning {
    pub id: Id,
    /// Whether the same may be taken at another time.
    pub again: bool,
    /// It says that the same is there already, so that it has arrived.
    pub there: bool,
    pub who: Who,
    /// In the pack's own words.
    pub rule: String,
}

/// Who has to do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    Operator,
    App,
    Person,
    Destination,
}

impl Who {
    const ALL: [(&'static str, Who); 4] =
        [("operator", Who::Operator), ("app", Who::App), ("person", Who::Person), ("destination", Who::Destination)];

    pub(super) fn named(name: &str) -> Option<Who> {
        Who::ALL.iter().find(|(known, _)| *known == name).map(|(_, who)| *who)
    }

    pub fn name(self) -> &'static str {
        Who::ALL.iter().find(|(_, who)| *who == self).map_or("", |(name, _)| name)
    }
}

/// The ids that answers can mean.
pub(super) const IDS: [Id; 5] = [
    Id::DestinationConsent,
    Id::DestinationPerson,
    Id::DestinationAccess,
    Id::DestinationContent,
    Id::DestinationTrouble,
];

impl Answers {
    /// What the destination checks, in its order: of a simulation, and of whoever writes the pack.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.lines.iter().filter_map(|line| line.check.as_ref())
    }

    /// An answer that a line of the table means, by its place among those that say a status.
    pub fn answer(&self, at: usize) -> Option<(u16, String, String)> {
        let line = self.lines.iter().filter(|line| line.status.is_some()).nth(at)?;
        let code = line.code.clone().unwrap_or_else(|| "processing".to_owned());
        Some((line.status?, code, line.text.join(" something ")))
    }

    /// What an answer means: the first line that fits its status, one of its codes, and one of its texts.
    pub fn meaning(&self, status: u16, codes: &[&str], texts: &[&str]) -> Option<&Meaning> {
        let fits = |line: &&Line| {
            line.status.is_none_or(|known| known == status)
                && line.code.as_ref().is_none_or(|known| codes.iter().any(|code| code.eq_ignore_ascii_case(known)))
                && (line.text.is_empty() || texts.iter().any(|text| in_order(text, &line.text)))
        };
        self.lines.iter().find(fits).map(|line| &line.meaning)
    }
}

fn in_order(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| match rest.find(part.as_str()) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(status: Option<u16>, code: Option<&str>, text: &[&str], id: Id) -> Line {
        Line {
            status,
            code: code.map(str::to_owned),
            text: text.iter().map(|part| (*part).to_owned()).collect(),
            meaning: Meaning { id, again: false, there: false, who: Who::App, rule: String::new() },
            check: None,
        }
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let answers = Answers {
            lines: vec![
                line(Some(403), None, &["Consent not given"], Id::DestinationConsent),
                line(Some(403), None, &["idPe", "not match"], Id::DestinationPerson),
                line(Some(422), Some("invalid"), &[], Id::DestinationContent),
                line(Some(503), None, &[], Id::DestinationTrouble),
            ],
        };
        for (status, codes, texts, expected) in [
            (403, &[][..], &["x", "Consent not given, access refused."][..], Some(Id::DestinationConsent)),
            (403, &[], &["idPe requested do not match authorized idPe."], Some(Id::DestinationPerson)),
            (403, &[], &["not match idPe"], None),
            (422, &["INVALID"], &[], Some(Id::DestinationContent)),
            (422, &["value"], &[], None),
            (503, &["x"], &["y"], Some(Id::DestinationTrouble)),
            (500, &[], &[], None),
        ] {
            assert_eq!(answers.meaning(status, codes, texts).map(|found| found.id), expected, "{status} {codes:?}");
        }
    }
}
