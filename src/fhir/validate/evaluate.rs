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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::fhirpath;
    use crate::fhir::tree::json;

    const PATIENT: &str = r##"{"resourceType":"Patient","id":"p","gender":"male",
        "contained":[{"resourceType":"Organization","id":"o","name":"here"}],
        "managingOrganization":{"reference":"#o"},"generalPractitioner":[{"reference":"Practitioner/elsewhere"}],
        "contact":[{"name":{"text":"x"},"relationship":[
            {"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"FAMMEMB"}]},
            {"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-RoleCode","code":"CHILD"}]}]}]}"##;

    #[test]
    fn answers_with_what_the_definitions_know() {
        let validator = Validator::new(Registry::core());
        let document = json::parse(PATIENT).unwrap();
        let check = |text: &str, expected: Result<&str, &str>| {
            let expression = fhirpath::compile(text).unwrap();
            let found = validator.evaluate(Element::root(&document), &expression, None, |found| {
                let found = found.map_err(|failure| failure.to_string())?;
                Ok(found.iter().map(|value| format!("{:?}", value.system())).collect::<Vec<_>>().join(" "))
            });
            match expected {
                Ok(part) => assert!(found.as_ref().is_ok_and(|shown: &String| shown == part), "{text}: {found:?}"),
                Err(part) => assert!(found.as_ref().is_err_and(|why: &String| why.contains(part)), "{text}: {found:?}"),
            }
        };
        let (yes, no) = (Ok("Some(Boolean(true))"), Ok("Some(Boolean(false))"));
        check("gender.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", yes);
        check("gender.memberOf('http://example.org/nobody')", Err("memberOf"));
        check("conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", yes);
        check("conformsTo('http://hl7.org/fhir/StructureDefinition/Observation')", no);
        check("managingOrganization.resolve().name = 'here'", yes);
        check("generalPractitioner.resolve().exists()", no);
        check("contact.relationship[0].subsumes(contact.relationship[1])", yes);
        check("contact.relationship[1].coding.subsumes(contact.relationship[0].coding)", no);
        check("contact.relationship[1].subsumedBy(contact.relationship[0])", yes);
        check("%resource.id = %rootResource.id and %context.id = 'p'", yes);
        check("contact.name is HumanName", yes);
    }
}
