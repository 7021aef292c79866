//! What a profile settles: doubts about a code that the profile itself asks for.
//!
//! An extensible binding warns, because the value set may have a code that fits better, and a system that is not loaded,
//! because its code was not checked. Of a code that a profile demands by name neither is true: whoever wrote the profile
//! has decided that this one is meant. A code that a profile's value set lists was checked, wherever its system is. Doubts
//! are rare, so that the profiles are asked for what they settle where there are any, and not in passing.

use super::Validator;
use super::run::{MAX_NESTED, Run};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::Element;

/// What profiles settle of the codes of a resource, by place.
#[derive(Default)]
pub struct Settled {
    /// Fixed, or in a pattern.
    pub named: Vec<String>,
    /// Codings that a value set lists.
    pub listed: Vec<String>,
}

impl<'d> Run<'_, 'd> {
    /// Takes back the doubts among the issues from `first` on that the profiles settle.
    pub fn settle(&mut self, resource: Element<'d>, profiles: &[&str], first: usize) {
        let found = self.report.issues.get(first..).unwrap_or_default();
        if self.nested >= MAX_NESTED || !found.iter().any(|issue| is_doubt(issue.id)) {
            return;
        }
        let validator: &Validator = self.validator;
        let mut beside = self.beside();
        beside.settled = Some(Box::default());
        for profile in profiles.iter().filter_map(|canonical| validator.profile(canonical)) {
            beside.apply_all(&profile, resource, 0);
        }
        let settled = beside.settled.unwrap_or_default();
        let mut at = 0;
        self.report.issues.retain(|issue| {
            at += 1;
            at <= first || !settled.has(issue)
        });
    }

    /// The element that is looked at is as a profile names it.
    pub fn is_named(&mut self) {
        let Run { settled, trail, .. } = self;
        if let Some(settled) = settled {
            settled.named.push(trail.expression());
        }
    }

    /// A profile's value set has a coding of the element that is looked at, or the element itself.
    pub fn is_listed(&mut self, coding: Option<usize>) {
        let Run { settled, trail, .. } = self;
        if let Some(settled) = settled {
            settled.listed.push(match coding {
                Some(at) => trail.expression_of(&format!("coding[{at}]")),
                None => trail.expression(),
            });
        }
    }
}

fn is_doubt(id: Id) -> bool {
    matches!(id, Id::BindingExtensible | Id::CodeSystemUnknown)
}

impl Settled {
    fn has(&self, issue: &Issue) -> bool {
        let place = issue.expression.as_str();
        match issue.id {
            Id::BindingExtensible => self.named.iter().any(|named| {
                // The concept, one of its codings, or the code of one.
                let rest = named.strip_prefix(place).map(|rest| rest.strip_suffix(".code").unwrap_or(rest));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(".coding[") && rest.ends_with(']'))
            }),
            Id::CodeSystemUnknown => place.strip_suffix(".system").is_some_and(|coding| {
                let is_it = |named: &String| named.strip_suffix(".code").unwrap_or(named) == coding;
                self.named.iter().any(is_it) || self.listed.iter().any(|listed| listed == coding)
            }),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fhir::definitions::Registry;
    use crate::fhir::outcome::Id;
    use crate::fhir::tree::{Element, json};
    use crate::fhir::validate::{Options, Validator};

    /// A profile on Basic whose code may be out of an extensible value set.
    fn profile(url: &str, elements: &str) -> String {
        format!(
            r#"{{"resourceType":"StructureDefinition","url":"{url}","type":"Basic","kind":"resource",
            "derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Basic",
            "snapshot":{{"element":[{{"path":"Basic"}},{elements}]}}}}"#
        )
    }

    #[test]
    fn what_a_profile_asks_for_by_name_or_list_is_no_doubt() {
        let bound = |strength: &str, set: &str| {
            format!(
                r#"{{"path":"Basic.code","min":1,"max":"1","type":[{{"code":"CodeableConcept"}}],
                "binding":{{"strength":"{strength}","valueSet":"{set}"}}}}"#
            )
        };
        let pattern = r#"{"path":"Basic.code","min":1,"max":"1","type":[{"code":"CodeableConcept"}],
            "patternCodeableConcept":{"coding":[{"system":"urn:iso:other","code":"c"}]}}"#;
        let set = |url: &str, system: &str, code: &str| {
            format!(
                r#"{{"resourceType":"ValueSet","url":"{url}","status":"draft","compose":{{"include":[
                {{"system":"{system}","concept":[{{"code":"{code}"}}]}}]}}}}"#
            )
        };
        let definitions = [
            profile("urn:iso:may", &bound("extensible", "urn:iso:few")),
            profile("urn:iso:named", pattern),
            profile("urn:iso:listed", &bound("required", "urn:iso:list")),
            set("urn:iso:few", "urn:iso:s", "a"),
            set("urn:iso:list", "urn:iso:other", "c"),
        ];
        let documents = definitions.iter().map(|text| json::parse(text.as_str()).unwrap()).collect();
        let validator = Validator::new(Registry::with(documents).unwrap());
        let (doubt, unknown) = (Id::BindingExtensible, Id::CodeSystemUnknown);
        for (profiles, code, expected) in [
            (&["urn:iso:may"][..], "c", &[unknown, doubt][..]),
            (&["urn:iso:may", "urn:iso:named"], "c", &[unknown]),
            (&["urn:iso:named", "urn:iso:may"], "c", &[unknown]),
            (&["urn:iso:named", "urn:iso:listed", "urn:iso:may"], "c", &[]),
            (&["urn:iso:named", "urn:iso:may"], "d", &[unknown, Id::PatternValue, doubt]),
            // That a list has it says nothing of what another list has.
            (&["urn:iso:may", "urn:iso:listed"], "c", &[doubt]),
            (&["urn:iso:listed"], "c", &[]),
            (&["urn:iso:listed"], "d", &[unknown, Id::BindingRequired]),
        ] {
            let text = format!(
                r#"{{"resourceType":"Basic","meta":{{"profile":["{}"]}},
                "code":{{"coding":[{{"system":"urn:iso:other","code":"{code}"}}]}}}}"#,
                profiles.join("\",\"")
            );
            let document = json::parse(text).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            let found: Vec<Id> = issues.iter().map(|issue| issue.id).collect();
            assert_eq!(found, expected, "{profiles:?} {code} {issues:?}");
        }
    }
}
