//! Subsumption: whether one concept is the same as another or above it (R4 §4.8.6).

use std::collections::HashSet;

use crate::fhir::definitions::{CodeSystem, Content};

/// Whether the first code is the second or stands above it; `None` where what is here cannot tell.
pub fn subsumes(system: &CodeSystem, general: &str, specific: &str) -> Option<bool> {
    if general == specific {
        return Some(true);
    }
    let (above, below) = (system.concept(general)?, system.concept(specific)?);
    if std::ptr::eq(above, below) {
        return Some(true);
    }
    let (mut waiting, mut seen): (Vec<u32>, HashSet<u32>) = (below.parents.clone(), HashSet::new());
    while let Some(at) = waiting.pop() {
        let Some(concept) = system.concepts.get(at as usize) else { continue };
        if std::ptr::eq(concept, above) {
            return Some(true);
        }
        if seen.insert(at) {
            waiting.extend(&concept.parents);
        }
    }
    // Of a part of a system only what it says can be told, not what it leaves out.
    (system.content == Content::Complete).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::{Element, json};

    #[test]
    fn walks_up() {
        let text = |content: &str| {
            format!(
                r#"{{"resourceType":"CodeSystem","content":"{content}","caseSensitive":true,"concept":[{{"code":"a","concept":[
                {{"code":"b","concept":[{{"code":"c"}}]}},{{"code":"d"}}]}}]}}"#
            )
        };
        for (content, apart) in [("complete", Some(false)), ("fragment", None)] {
            let document = json::parse(text(content)).unwrap();
            let system = CodeSystem::read(Element::root(&document)).unwrap();
            let cases = [
                ("a", "c", Some(true)),
                ("b", "b", Some(true)),
                ("c", "a", apart),
                ("d", "c", apart),
                ("a", "x", None),
            ];
            for (general, specific, expected) in cases {
                assert_eq!(subsumes(&system, general, specific), expected, "{content} {general} {specific}");
            }
        }
    }
}
