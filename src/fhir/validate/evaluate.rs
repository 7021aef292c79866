//! FHIRPath over a resource with everything that a check knows: its type, what it contains, its Bundle, value sets and
//! profiles.

use super::run::Run;
use super::{Options, Validator};
use crate::fhir::fhirpath::{Collection, Context, Expression, Failure, Node};
use crate::fhir::tree::Element;

impl Validator {
    /// Evaluates an expression and hands on the result, which lives no longer than the evaluation. `now` is the time
    /// that `now()` and `today()` answer; without it they fail.
    pub fn evaluate<T>(
        &self,
        root: Element<'_>,
        expression: &Expression,
        now: Option<jiff::Timestamp>,
        then: impl FnOnce(Result<Collection<'_>, Failure>) -> T,
    ) -> T {
        let mut run = Run::new(self, root, &Options::default());
        if root.resource_type() == Some("Bundle") {
            run.enter_bundle(root);
        }
        let focus = Node::resource(root);
        let context = Context { now, ..Context::new(&run, focus) };
        then(expression.evaluate(&context, focus))
    }
}
