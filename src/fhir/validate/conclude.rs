//! From a report with open questions to a proof or to issues.
//!
//! Whoever can ask a terminology server answers; what becomes of a question that nobody answered is policy. The proof is
//! made of what was checked and of nothing else: a [`Checked`] keeps the resource together with its report.

use std::sync::Arc;

use super::{CodeQuestion, Report, Subject, Validated};
use crate::fhir::definitions::Strength;
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::terminology::Membership;
use crate::fhir::tree::{Document, NodeId};

/// A resource with its report, made by [`super::Validator::examine`] alone.
#[derive(Debug)]
pub struct Checked {
    pub(super) document: Arc<Document>,
    pub(super) node: NodeId,
    pub(super) kind: String,
    pub(super) report: Report,
}

/// What becomes of a code that nobody could decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    Refuse,
    Warn,
    Pass,
}

/// The reactions to questions that nobody answered, by the strength of the binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unanswered {
    pub required: Reaction,
    pub extensible: Reaction,
}

impl Default for Unanswered {
    fn default() -> Self {
        Unanswered { required: Reaction::Refuse, extensible: Reaction::Warn }
    }
}

/// Says of a question what a terminology server said.
pub type Answers<'a> = &'a dyn Fn(&CodeQuestion) -> Membership;

/// Nobody is asked.
pub fn nobody(_: &CodeQuestion) -> Membership {
    Membership::Unknown
}

impl Checked {
    pub fn questions(&self) -> &[CodeQuestion] {
        &self.report.open
    }

    pub fn issues(&self) -> &[Issue] {
        &self.report.issues
    }

    /// The proof, or everything that was found.
    pub fn conclude(self, answers: Answers<'_>, policy: Unanswered) -> Result<Validated, Vec<Issue>> {
        let Checked { document, node, kind, report } = self;
        let issues = report.conclude(answers, policy);
        if has_errors(&issues) { Err(issues) } else { Ok(Validated { document, node, kind, warnings: issues }) }
    }
}

impl Report {
    /// Every issue, those among them that the answers decide.
    pub fn conclude(self, answers: Answers<'_>, policy: Unanswered) -> Vec<Issue> {
        let Report { mut issues, open } = self;
        let mut rest = open.as_slice();
        while let Some(first) = rest.first() {
            // The codings of one concept were asked one after the other: one that is in is enough.
            let length = rest.iter().take_while(|each| each.is_beside(first)).count();
            let (asked, others) = rest.split_at(length);
            rest = others;
            let answer = best(asked, answers);
            if answer != Membership::Unknown || first.about != Subject::CodeSystem {
                issues.retain(|issue| issue.id != Id::BindingUnknown || issue.expression != first.expression);
            }
            issues.extend(first.verdict(answer, policy));
        }
        issues
    }
}

fn best(asked: &[CodeQuestion], answers: Answers<'_>) -> Membership {
    let mut answer = Membership::Out;
    for question in asked {
        match answers(question) {
            Membership::In => return Membership::In,
            Membership::Unknown => answer = Membership::Unknown,
            Membership::Out => {}
        }
    }
    answer
}

impl CodeQuestion {
    fn is_beside(&self, other: &CodeQuestion) -> bool {
        self.about == other.about && self.expression == other.expression
    }

    fn verdict(&self, answer: Membership, policy: Unanswered) -> Option<Issue> {
        let Subject::ValueSet(canonical) = &self.about else {
            // What no server knows is no mistake of the sender.
            let issue =
                Issue::new(Id::CodeUnknown, format!("{}.code", self.expression), "The code system has no such code.");
            return (answer == Membership::Out).then(|| issue.at(self.position));
        };
        let is_required = self.strength == Strength::Required;
        let reaction = if is_required { policy.required } else { policy.extensible };
        let (id, text) = match (answer, reaction) {
            (Membership::In, _) | (Membership::Unknown, Reaction::Pass) => return None,
            (Membership::Out, _) if is_required => {
                (Id::BindingRequired, format!("The code must be one of the value set {canonical}."))
            }
            (Membership::Out, _) => {
                (Id::BindingExtensible, format!("The code should be one of the value set {canonical}."))
            }
            (Membership::Unknown, Reaction::Refuse) => (
                Id::BindingUndecided,
                format!("Nobody could tell whether the code is one of the value set {canonical}."),
            ),
            (Membership::Unknown, Reaction::Warn) => {
                (Id::BindingUnknown, format!("The code was not checked against the value set {canonical}."))
            }
        };
        Some(Issue::new(id, self.expression.clone(), text).at(self.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::outcome::Position;

    fn question(set: &str, code: &str, expression: &str, strength: Strength) -> CodeQuestion {
        let about = if set.is_empty() { Subject::CodeSystem } else { Subject::ValueSet(set.to_owned()) };
        let position = Position { line: 1, column: 2 };
        CodeQuestion {
            about,
            system: None,
            code: code.to_owned(),
            expression: expression.to_owned(),
            position,
            strength,
        }
    }

    fn check(open: Vec<CodeQuestion>, policy: Unanswered, expected: &[(Id, &str)]) {
        let told = Issue::new(Id::BindingUnknown, "A.a", "The code was not checked.");
        let report = Report { issues: vec![told], open };
        let answers = |question: &CodeQuestion| match question.code.as_str() {
            "in" => Membership::In,
            "out" => Membership::Out,
            _ => Membership::Unknown,
        };
        let issues = report.conclude(&answers, policy);
        let found: Vec<(Id, &str)> = issues.iter().map(|issue| (issue.id, issue.expression.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn answers_become_issues() {
        use Strength::{Example, Extensible, Required};
        let strict = Unanswered::default();
        let kind = Unanswered { required: Reaction::Warn, extensible: Reaction::Pass };
        check(vec![question("v", "in", "A.a", Required)], strict, &[]);
        check(vec![question("v", "out", "A.a", Required)], strict, &[(Id::BindingRequired, "A.a")]);
        check(vec![question("v", "out", "A.a", Required), question("v", "in", "A.a", Required)], strict, &[]);
        check(
            vec![question("v", "out", "A.a", Required), question("v", "?", "A.a", Required)],
            strict,
            &[(Id::BindingUndecided, "A.a")],
        );
        check(vec![question("v", "?", "A.a", Required)], kind, &[(Id::BindingUnknown, "A.a")]);
        check(vec![question("v", "out", "A.a", Extensible)], strict, &[(Id::BindingExtensible, "A.a")]);
        check(vec![question("v", "?", "A.a", Extensible)], strict, &[(Id::BindingUnknown, "A.a")]);
        check(vec![question("v", "?", "A.a", Extensible)], kind, &[]);
        check(
            vec![question("v", "in", "A.a", Required), question("w", "out", "A.a", Required)],
            strict,
            &[(Id::BindingRequired, "A.a")],
        );
        let still = (Id::BindingUnknown, "A.a");
        check(vec![question("", "out", "A.b", Example)], strict, &[still, (Id::CodeUnknown, "A.b.code")]);
        check(vec![question("", "?", "A.b", Example)], strict, &[still]);
    }
}
