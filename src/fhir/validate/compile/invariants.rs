//! Invariants: the constraints of a definition, made ready to run.
//!
//! The ones that every resource meets have native forms, recognised by their exact expression; the others
//! are FHIRPath. A few are answered by a rule of their own, which says more than yes or no, or are advice
//! that no device follows; those are left out.

use std::fmt;

use super::super::rules::invariant::{Native, Quick, native, quick};
use crate::fhir::definitions::Constraint;
use crate::fhir::fhirpath::{self, Expression};

/// One compiled constraint.
#[derive(Debug)]
pub struct Invariant {
    pub key: Box<str>,
    pub human: Box<str>,
    pub is_error: bool,
    /// It asks for a safe narrative.
    pub is_narrative: bool,
    pub expression: Box<str>,
    pub check: Check,
}

#[derive(Debug)]
pub enum Check {
    Native(Native),
    /// Mostly decided without the expression.
    Quick(Quick, Expression),
    Expression(Expression),
    /// What stands there is no expression: the issue says that nobody decided.
    Undecided,
    /// Answered by another rule.
    Elsewhere,
}

/// Constraints that other rules answer: empties (ele-1), contained references (ref-1), narrative (txt-1, txt-2);
/// and dom-6, which wants prose from machines.
const ELSEWHERE: [&str; 5] = ["ele-1", "ref-1", "txt-1", "txt-2", "dom-6"];

/// Expressions that R4 published wrong, and what they were meant to say; the reference validator mends the same.
const ERRATA: [(&str, &str); 7] = [
    ("fullUrl.contains('/_history/').not()", "fullUrl.exists() implies fullUrl.contains('/_history/').not()"),
    (
        "probability is decimal implies (probability as decimal) <= 100",
        "probability.empty() or ((probability is decimal) implies ((probability as decimal) <= 100))",
    ),
    ("operator = 'exists' implies (answer is Boolean)", "operator = 'exists' implies (answer is boolean)"),
    (
        "enableWhen.count() > 2 implies enableBehavior.exists()",
        "enableWhen.count() >= 2 implies enableBehavior.exists()",
    ),
    // Names and paths are meant as a whole.
    (
        r#"path.matches('[^\\s\\.,:;\\\'"\\/|?!@#$%&*()\\[\\]{}]{1,64}(\\.[^\\s\\.,:;\\\'"\\/|?!@#$%&*()\\[\\]{}]{1,64}(\\[x\\])?(\\:[^\\s\\.]+)?)*')"#,
        r#"path.matches('^[^\\s\\.,:;\\\'"\\/|?!@#$%&*()\\[\\]{}]{1,64}(\\.[^\\s\\.,:;\\\'"\\/|?!@#$%&*()\\[\\]{}]{1,64}(\\[x\\])?(\\:[^\\s\\.]+)?)*$')"#,
    ),
    (
        r"path.matches('[A-Za-z][A-Za-z0-9]*(\\.[a-z][A-Za-z0-9]*(\\[x])?)*')",
        r"path.matches('^[A-Za-z][A-Za-z0-9]*(\\.[a-z][A-Za-z0-9]*(\\[x])?)*$')",
    ),
    (r"name.matches('[A-Z]([A-Za-z0-9_]){0,254}')", r"name.matches('^[A-Z]([A-Za-z0-9_]){0,254}$')"),
];

impl Invariant {
    pub fn compile(constraint: &Constraint) -> Invariant {
        let published = constraint.expression.as_str();
        let expression = ERRATA.iter().find(|(wrong, _)| *wrong == published).map_or(published, |(_, right)| *right);
        let check = if ELSEWHERE.contains(&constraint.key.as_str()) {
            Check::Elsewhere
        } else if let Some(native) = native(expression) {
            Check::Native(native)
        } else {
            match (fhirpath::compile(expression), quick(expression)) {
                (Ok(compiled), Some(quick)) => Check::Quick(quick, compiled),
                (Ok(compiled), None) => Check::Expression(compiled),
                (Err(_), _) => Check::Undecided,
            }
        };
        Invariant {
            key: constraint.key.as_str().into(),
            human: constraint.human.as_str().into(),
            is_narrative: constraint.expression == "htmlChecks()",
            is_error: constraint.is_error && !constraint.best_practice,
            expression: expression.into(),
            check,
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.check {
            Check::Native(_) => " (native)",
            Check::Quick(..) | Check::Expression(_) => "",
            Check::Undecided => " (undecided)",
            Check::Elsewhere => " (another rule)",
        };
        let severity = if self.is_error { "" } else { "warning " };
        write!(formatter, "{severity}{}{how}: {}", self.key, self.expression)
    }
}
