//! ConceptMaps: whether what they map is there, on either side (R4 §ConceptMap).

use std::sync::Arc;

use super::super::run::Run;
use super::super::scope::named;
use crate::fhir::definitions::{CodeSystem, Content, Kind, ValueSet};
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, membership};
use crate::fhir::tree::Element;

/// What the codes of one side are held against.
#[derive(Clone, Default)]
struct Side<'d> {
    system: Option<&'d str>,
    known: Option<Arc<CodeSystem>>,
    set: Option<Arc<ValueSet>>,
}

/// Checks a ConceptMap. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, map: Element<'d>) {
    let scopes = [scope(run, map, "source"), scope(run, map, "target")];
    for (index, group) in map.all("group").enumerate() {
        run.trail.push("group", "group".len(), Some(index as u32));
        let source = side(run, group, "source", scopes[0].as_ref());
        let target = side(run, group, "target", scopes[1].as_ref());
        for (index, element) in group.all("element").enumerate() {
            run.trail.push("element", "element".len(), Some(index as u32));
            code(run, element, &source);
            for (index, mapped) in element.all("target").enumerate() {
                run.trail.push("target", "target".len(), Some(index as u32));
                code(run, mapped, &target);
                run.trail.pop();
            }
            run.trail.pop();
        }
        run.trail.pop();
    }
}

/// The value set of one side; a resource of another type is none.
fn scope<'d>(run: &mut Run<'_, 'd>, map: Element<'d>, name: &'static str) -> Option<Arc<ValueSet>> {
    let stated = named(map, name, Some(true)).into_iter().next()?;
    let canonical = stated.element.text()?;
    let registry = Arc::clone(&run.validator.registry);
    if registry.find(Kind::ValueSet, canonical).is_none() && registry.resource(canonical).is_some() {
        run.enter(&stated);
        run.issue(Id::ConceptMapRule, stated.element, "A concept map maps between value sets.".to_owned());
        run.leave();
    }
    registry.value_set(canonical).cloned()
}

fn side<'d>(run: &mut Run<'_, 'd>, group: Element<'d>, name: &'static str, set: Option<&Arc<ValueSet>>) -> Side<'d> {
    let set = set.cloned();
    let Some(stated) = group.text_of(name) else {
        let text = format!("A group should say the code system of its {name} codes.");
        run.issue(Id::ConceptMapAdvice, group, text);
        return Side { set, ..Side::default() };
    };
    let system = stated.split('|').next().unwrap_or(stated);
    let version = if name == "source" { "sourceVersion" } else { "targetVersion" };
    let canonical = group.text_of(version).map_or_else(|| stated.to_owned(), |version| format!("{system}|{version}"));
    let known = run.validator.registry.code_system(&canonical).cloned();
    Side { system: Some(system), known, set }
}

fn code<'d>(run: &mut Run<'_, 'd>, holder: Element<'d>, side: &Side<'d>) {
    let Some(element) = holder.get("code") else { return };
    let Some(code) = element.text() else { return };
    let found = side.known.as_deref().filter(|known| known.content == Content::Complete && !known.concepts.is_empty());
    let (id, text) = match found.map(|known| known.concept(code)) {
        Some(None) => (Id::ConceptMapRule, "The code must be one of the group's code system."),
        Some(Some(concept))
            if holder
                .text_of("display")
                .is_some_and(|display| concept.names().all(|name| !name.eq_ignore_ascii_case(display))) =>
        {
            (Id::ConceptMapAdvice, "The display should be one of the concept's names.")
        }
        _ => match (&side.set, side.system) {
            (Some(set), Some(system)) if membership(set, Some(system), code) == Membership::Out => {
                (Id::ConceptMapAdvice, "The code should be one of the map's value set.")
            }
            _ => return,
        },
    };
    run.trail.push("code", "code".len(), None);
    run.issue(id, element, text.to_owned());
    run.trail.pop();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::{Options, Validator};
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    #[test]
    fn maps_hold_codes_that_exist() {
        let system = |url: &str| {
            json!({"resourceType": "CodeSystem", "url": url, "content": "complete", "status": "active",
                "concept": [{"code": "a", "display": "Alpha"}, {"code": "b"}]})
        };
        let set = json!({"resourceType": "ValueSet", "url": "urn:v", "status": "active",
            "compose": {"include": [{"system": "urn:s", "concept": [{"code": "a"}]}]}});
        let resources = [system("urn:s"), system("urn:t"), set];
        let documents = resources.iter().map(|each| json::parse(each.to_string()).unwrap()).collect();
        let validator = Validator::new(Registry::with(documents).unwrap());
        for (source, group, expected) in [
            (
                "urn:v",
                json!({"source": "urn:s", "target": "urn:t", "element": [{"code": "a", "target": [{"code": "b"}]}]}),
                None,
            ),
            (
                "urn:v",
                json!({"source": "urn:s", "target": "urn:t", "element": [{"code": "c"}]}),
                Some("concept-map-rule ConceptMap.group[0].element[0].code"),
            ),
            (
                "urn:v",
                json!({"source": "urn:s", "target": "urn:t", "element": [{"code": "b"}]}),
                Some("concept-map-advice ConceptMap.group[0].element[0].code"),
            ),
            (
                "urn:v",
                json!({"source": "urn:s", "target": "urn:t", "element": [{"code": "a", "target": [{"code": "c"}]}]}),
                Some("concept-map-rule ConceptMap.group[0].element[0].target[0].code"),
            ),
            (
                "urn:v",
                json!({"source": "urn:s", "target": "urn:t", "element": [{"code": "a", "display": "Beta"}]}),
                Some("concept-map-advice ConceptMap.group[0].element[0].code"),
            ),
            (
                "urn:v",
                json!({"source": "urn:s", "element": [{"code": "a"}]}),
                Some("concept-map-advice ConceptMap.group[0]"),
            ),
            (
                "urn:s",
                json!({"source": "urn:s", "target": "urn:u", "element": [{"code": "a", "target": [{"code": "c"}]}]}),
                Some("concept-map-rule ConceptMap.source.ofType(canonical)"),
            ),
        ] {
            let map =
                json!({"resourceType": "ConceptMap", "status": "active", "sourceCanonical": source, "group": [group]});
            let document = json::parse(map.to_string()).unwrap();
            let report = validator.check(Element::root(&document), &Options::default());
            let own =
                report.issues.iter().filter(|issue| matches!(issue.id, Id::ConceptMapRule | Id::ConceptMapAdvice));
            let found: Vec<String> = own.map(|issue| format!("{} {}", issue.id, issue.expression)).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{map}");
        }
    }
}
