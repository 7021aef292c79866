//! Where the walk stands, written as FHIRPath only when an issue needs it.
//!
//! The steps borrow the document's own keys, so that going down a level copies nothing.

use super::profile::type_of_suffix;
use super::stack::Stack;

#[derive(Clone)]
/// The path from the checked resource to the element under the walk.
pub struct Trail<'d> {
    prefix: &'d str,
    steps: Stack<Step<'d>, 16>,
}

#[derive(Clone, Copy)]
struct Step<'d> {
    key: &'d str,
    /// Length of the element's name in the key; what follows it names the type of a choice.
    name: usize,
    index: Option<u32>,
}

impl<'d> Trail<'d> {
    pub fn new(prefix: &'d str) -> Self {
        Trail { prefix, steps: Stack::new() }
    }

    /// `name` is the element's name as the definition says it: shorter than the key for a choice.
    pub fn push(&mut self, key: &'d str, name: usize, index: Option<u32>) {
        self.steps.push(Step { key, name, index });
    }

    pub fn pop(&mut self) {
        self.steps.pop();
    }

    pub fn depth(&self) -> usize {
        self.steps.len()
    }

    /// `Observation.component[1].value.ofType(Quantity)`.
    pub fn expression(&self) -> String {
        let mut out = self.prefix.to_owned();
        for step in self.steps.iter() {
            let (name, suffix) = step.key.split_at(step.name.min(step.key.len()));
            out.push('.');
            out.push_str(name);
            if let Some(index) = step.index {
                out.extend(["[", &index.to_string(), "]"]);
            }
            if !suffix.is_empty() {
                out.extend([".ofType(", type_of_suffix(suffix), ")"]);
            }
        }
        out
    }

    /// Names of the steps from a depth on, and whether each is one of a choice.
    pub fn names(&self, from: usize) -> Vec<(&'d str, bool)> {
        let steps = self.steps.iter().skip(from);
        steps.map(|step| (&step.key[..step.name.min(step.key.len())], step.name < step.key.len())).collect()
    }

    /// The path of the element around this one.
    pub fn expression_above(&mut self) -> String {
        let last = self.steps.pop();
        let expression = self.expression();
        if let Some(last) = last {
            self.steps.push(last);
        }
        expression
    }

    /// The path of a child that the element lacks.
    pub fn expression_of(&self, child: &str) -> String {
        format!("{}.{child}", self.expression())
    }
}
