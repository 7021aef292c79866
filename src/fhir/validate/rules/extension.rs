//! Extensions: each is checked against the definition that its url names (R4 §2.4.1).
//!
//! An unknown extension may be ignored, so it warns; an unknown modifier extension may turn the meaning of
//! everything around it, so it stops the resource.

use super::super::run::Run;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

pub fn check<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, is_modifier: bool) {
    let Some(url) = element.text_of("url") else { return };
    // Parts of a complex extension have relative urls and are defined by the extension around them.
    if !url.contains(':') {
        return;
    }
    match run.validator.profile(url).filter(|profile| profile.type_name == "Extension") {
        Some(profile) => run.apply(&profile, element),
        None if is_modifier => {
            let text = "The modifier extension is not known here, and it may change the meaning of what surrounds it.";
            run.issue(Id::ModifierExtensionUnknown, element, text.to_owned());
        }
        None => {
            let text = "The extension is not known here; its content was not checked.";
            run.issue(Id::ExtensionUnknown, element, text.to_owned());
        }
    }
}
