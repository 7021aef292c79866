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
    /// Whether warnings count as well as errors.
    pub any_severity: bool,
    /// What holds of a request that is not answered so.
    pub check: Option<Check>,
}

/// An issue of an answer, in the destination's words.
#[derive(Clone, Default, Debug)]
pub struct Said<'a> {
    pub code: &'a str,
    pub texts: Vec<&'a str>,
    /// Whether it is why something was refused, and no warning or remark beside that.
    pub is_error: bool,
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

    /// What an answer means: the first line that fits its status, one of its codes, and one of its texts. That the same is
    /// there already is meant where each thing that it was refused for says so.
    pub fn meaning(&self, status: u16, issues: &[Said<'_>]) -> Option<&Meaning> {
        let is_there = |issue: &Said<'_>| {
            let one = std::slice::from_ref(issue);
            self.lines.iter().find(|line| line.fits(status, one)).is_some_and(|line| line.meaning.there)
        };
        let means = |line: &&Line| {
            line.fits(status, issues)
                && (!line.meaning.there || issues.iter().filter(|issue| issue.is_error).all(is_there))
        };
        self.lines.iter().find(means).map(|line| &line.meaning)
    }
}

impl Line {
    fn fits(&self, status: u16, issues: &[Said<'_>]) -> bool {
        let counts = || issues.iter().filter(|issue| issue.is_error || self.any_severity);
        let is_text = |text: &&str| in_order(text, &self.text);
        self.status.is_none_or(|known| known == status)
            && self.code.as_ref().is_none_or(|known| counts().any(|issue| issue.code.eq_ignore_ascii_case(known)))
            && (self.text.is_empty() || counts().any(|issue| issue.texts.iter().any(is_text)))
    }

    /// Whether an earlier line means every answer that this one does.
    pub(super) fn is_behind(&self, earlier: &Line) -> bool {
        let mut rest = self.text.iter();
        let text = earlier.text.iter().all(|part| rest.any(|own| own.contains(part.as_str())));
        let code = earlier
            .code
            .as_ref()
            .is_none_or(|known| self.code.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(known)));
        let severity = earlier.any_severity || !self.any_severity || earlier.code.is_none() && earlier.text.is_empty();
        // That something is there may be meant less often than its line says.
        !earlier.meaning.there
            && earlier.status.is_none_or(|known| self.status == Some(known))
            && (text && code && severity)
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
            any_severity: false,
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
            let said =
                |code: &&'static str, texts: &[&'static str]| Said { code, texts: texts.to_vec(), is_error: true };
            let mut issues: Vec<Said<'_>> = codes.iter().map(|code| said(code, &[])).collect();
            issues.push(said(&"", texts));
            assert_eq!(answers.meaning(status, &issues).map(|found| found.id), expected, "{status} {codes:?}");
        }
    }

    #[test]
    fn a_warning_is_no_reason_and_one_of_several_reasons_is_no_arrival() {
        let there = |line: Line| Line { meaning: Meaning { there: true, ..line.meaning }, ..line };
        let answers = Answers {
            lines: vec![
                there(line(Some(422), Some("duplicate"), &[], Id::DestinationContent)),
                Line { any_severity: true, ..line(Some(422), Some("throttled"), &[], Id::DestinationTrouble) },
                line(Some(422), Some("business-rule"), &["unknown"], Id::DestinationPerson),
                line(Some(422), None, &[], Id::DestinationContent),
            ],
        };
        let (error, warning) = (true, false);
        for (issues, expected) in [
            (&[("duplicate", "", error)][..], (true, Id::DestinationContent)),
            (&[("duplicate", "", error), ("duplicate", "", error)], (true, Id::DestinationContent)),
            (&[("duplicate", "", error), ("informational", "", warning)], (true, Id::DestinationContent)),
            (&[("duplicate", "", warning), ("value", "", error)], (false, Id::DestinationContent)),
            (&[("duplicate", "", error), ("value", "", error)], (false, Id::DestinationContent)),
            (&[("duplicate", "", warning)], (false, Id::DestinationContent)),
            (&[("business-rule", "Person unknown", warning)], (false, Id::DestinationContent)),
            (&[("business-rule", "Person unknown", error)], (false, Id::DestinationPerson)),
            (&[("throttled", "", warning)], (false, Id::DestinationTrouble)),
            (&[], (false, Id::DestinationContent)),
        ] {
            let said = |(code, text, is_error): &(&'static str, &'static str, bool)| Said {
                code,
                texts: vec![text],
                is_error: *is_error,
            };
            let issues: Vec<Said<'_>> = issues.iter().map(said).collect();
            let found = answers.meaning(422, &issues).map(|found| (found.there, found.id));
            assert_eq!(found, Some(expected), "{issues:?}");
        }
    }
}
