//! Units: a quantity that says it uses UCUM must use it (R4 §2.24.0.16), and a code of another system must be of it.

use super::super::run::Run;
use super::coding;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::Element;

/// Checks the unit code of a Quantity or one of its specialisations.
pub fn check<'d>(run: &mut Run<'_, 'd>, element: Element<'d>) {
    let Some(system) = element.text_of("system") else { return };
    if system != ucum::SYSTEM {
        return coding::check_of(run, element, system);
    }
    if let Some(code) = element.get("code")
        && let Some(text) = code.string()
        && !ucum::valid(text)
    {
        run.trail.push("code", 4, None);
        run.issue(Id::UnitUnknown, code, "The code is not a valid UCUM unit.".to_owned());
        run.trail.pop();
    }
}
