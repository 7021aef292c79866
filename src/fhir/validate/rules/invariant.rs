//! Invariants: the rules that definitions state as expressions, run on an element.
//!
//! The native forms are recognised by their exact text, so that a profile which reuses a key for other words
//! gets its own words. They decide as the expression would, or more kindly where partial dates leave it open.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::compile::invariants::{Check, Invariant};
use super::super::likeness::Rule;
use super::super::run::Run;
use crate::fhir::fhirpath::{Context, Expression, Node};
use crate::fhir::outcome::Id;
use crate::fhir::tree::time::{Moment, Precision};
use crate::fhir::tree::{Document, Element, Kind, NodeId, Tag};

/// Whether an element satisfies a rule, decided without FHIRPath.
pub type Native = fn(Element<'_>) -> bool;

/// The same, where it can be told without FHIRPath.
pub type Quick = fn(Element<'_>) -> Option<bool>;

/// Runs the invariants that stand on an element. `type_name` is its type, or its path inside a type.
pub fn check<'d>(run: &mut Run<'_, 'd>, invariants: &Arc<[Invariant]>, element: Element<'d>, type_name: &str) {
    for (at, invariant) in invariants.iter().enumerate() {
        if run.options.skip_contained && invariant.expression.starts_with("contained.") {
            continue;
        }
        let again = || Rule::Invariant { among: Arc::clone(invariants), at, type_name: type_name.into() };
        run.rule(element, again, |run| one(run, invariant, element, type_name));
    }
}

/// Runs one of them.
pub fn one<'d>(run: &mut Run<'_, 'd>, invariant: &Invariant, element: Element<'d>, type_name: &str) {
    let holds = match &invariant.check {
        Check::Native(native) => Some(native(element)),
        Check::Elsewhere => Some(true),
        Check::Quick(quick, expression) => quick(element).or_else(|| evaluate(run, expression, element, type_name)),
        Check::Expression(expression) => evaluate(run, expression, element, type_name),
        Check::Undecided => None,
    };
    let key = &invariant.key;
    match holds {
        Some(true) => {}
        Some(false) if invariant.is_narrative => {
            let text = "The narrative is not the plain XHTML that is allowed, or it says nothing.";
            run.issue(Id::NarrativeInvalid, element, text.to_owned());
        }
        Some(false) => {
            let id = if invariant.is_error { Id::Invariant } else { Id::InvariantWarning };
            run.issue(id, element, format!("{key}: {}", invariant.human));
        }
        None => run.issue(Id::InvariantUndecided, element, format!("{key} could not be evaluated.")),
    }
}

fn evaluate<'d>(run: &Run<'_, 'd>, expression: &Expression, element: Element<'d>, type_name: &str) -> Option<bool> {
    let resource = Node::resource(run.scope.resource);
    let root = Node::resource(run.scope.container);
    let context = Context { root, loose_choices: true, ..Context::new(run, resource) };
    let type_name = (!type_name.is_empty()).then_some(type_name);
    run.unresolved.store(false, Ordering::Relaxed);
    let holds = expression.holds(&context, Node { element, type_name }).ok()?;
    // What is referred to may be elsewhere, and might have made it hold.
    (holds || !run.unresolved.load(Ordering::Relaxed)).then_some(holds)
}

/// The native form of an expression.
pub fn native(expression: &str) -> Option<Native> {
    Some(match expression {
        "extension.exists() != value.exists()" => |element| element.get("extension").is_some() != has_value(element),
        "contained.contained.empty()" => |element| element.all("contained").all(|each| each.get("contained").is_none()),
        DOM_3 => is_every_contained_used,
        "(type = 'history') or entry.where(fullUrl.exists()).select(fullUrl&resource.meta.versionId).isDistinct()" => {
            is_every_entry_distinct
        }
        "contained.meta.versionId.empty() and contained.meta.lastUpdated.empty()" => |element| {
            element
                .all("contained")
                .filter_map(|each| each.get("meta"))
                .all(|meta| meta.get("versionId").is_none() && meta.get("lastUpdated").is_none())
        },
        "contained.meta.security.empty()" => |element| {
            element.all("contained").filter_map(|each| each.get("meta")).all(|meta| meta.get("security").is_none())
        },
        "code.empty() or system.exists()" => |element| element.get("code").is_none() || element.get("system").is_some(),
        "value.empty() or system.exists()" => {
            |element| element.get("value").is_none() || element.get("system").is_some()
        }
        "data.empty() or contentType.exists()" => {
            |element| element.get("data").is_none() || element.get("contentType").is_some()
        }
        "comparator.empty()" => |element| element.get("comparator").is_none(),
        "low.exists() or high.exists() or text.exists()" => {
            |element| ["low", "high", "text"].iter().any(|name| element.get(name).is_some())
        }
        "dataAbsentReason.empty() or value.empty()" => {
            |element| element.get("dataAbsentReason").is_none() || !has_value(element)
        }
        "value.empty() or component.code.where(coding.intersect(%resource.code.coding).exists()).empty()" => {
            has_no_component_of_own_code
        }
        "($this as dateTime).toString().length() >= 8" => {
            |element| element.string().is_none_or(|text| text.chars().count() >= 8)
        }
        "(component.empty() and hasMember.empty()) implies (dataAbsentReason.exists() or value.exists())" => {
            |element| {
                ["component", "hasMember", "dataAbsentReason"].iter().any(|name| element.get(name).is_some())
                    || has_value(element)
            }
        }
        "value.exists() or dataAbsentReason.exists()" => {
            |element| has_value(element) || element.get("dataAbsentReason").is_some()
        }
        _ => return None,
    })
}

/// The quick form of an expression.
pub fn quick(expression: &str) -> Option<Quick> {
    (expression == "start.hasValue().not() or end.hasValue().not() or (start <= end)").then_some(is_in_order as Quick)
}

/// Whether a Period does not end before it begins (per-1), where both ends are known to the second.
fn is_in_order(period: Element<'_>) -> Option<bool> {
    let (Some(start), Some(end)) = (period.get("start"), period.get("end")) else { return Some(true) };
    let exact = |moment: &Moment| moment.precision >= Precision::Second && moment.offset.is_some();
    let at = |end: Element<'_>| Moment::parse(end.string()?).filter(exact).map(|moment| moment.interval_ms().0);
    let (start_ms, end_ms) = (at(start)?, at(end)?);
    // What lies within one millisecond is for the expression to compare.
    (start_ms != end_ms).then_some(start_ms < end_ms)
}

const DOM_3: &str = "contained.where((('#'+id in (%resource.descendants().reference | \
    %resource.descendants().as(canonical) | %resource.descendants().as(uri) | %resource.descendants().as(url))) or \
    descendants().where(reference = '#').exists() or descendants().where(as(canonical) = '#').exists() or \
    descendants().where(as(canonical) = '#').exists()).not()).trace('unmatched', id).empty()";

const VALUE: Tag = Tag::of("value");

/// Any variant of `value[x]`.
fn has_value(element: Element<'_>) -> bool {
    let Some(node) = element.value_node() else { return false };
    let document = element.document();
    let has_shadows = document.has_shadows(node);
    let may_have = document.kind(node) == Kind::Object && document.may_begin(node, VALUE);
    if !has_shadows && !may_have {
        return false;
    }
    document.children(node).any(|member| {
        if !has_shadows && !VALUE.may_begin(document.tag(member)) {
            return false;
        }
        let key = document.key_bytes(member);
        let key = key.strip_prefix(b"_").unwrap_or(key);
        key.strip_prefix(b"value").is_some_and(|suffix| suffix.first().is_some_and(u8::is_ascii_uppercase))
    })
}

/// A contained resource is pointed to from the resource around it, or points back to it (dom-3).
fn is_every_contained_used(element: Element<'_>) -> bool {
    if element.get("contained").is_none() {
        return true;
    }
    let mut targets = HashSet::new();
    local_references(element.document(), element.node(), &mut targets);
    element.all("contained").all(|contained| {
        let points_back = || {
            let mut own = HashSet::new();
            local_references(contained.document(), contained.node(), &mut own);
            own.contains("")
        };
        contained.text_of("id").is_some_and(|id| targets.contains(id)) || points_back()
    })
}

/// What the texts that begin with `#` point to.
fn local_references<'d>(document: &'d Document, node: NodeId, targets: &mut HashSet<&'d str>) {
    match document.kind(node) {
        // Images and links of a narrative.
        Kind::String if document.key(node) == "div" => {
            let text = document.value(node);
            for attribute in ["src=\"#", "href=\"#"] {
                targets.extend(text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()));
            }
        }
        Kind::String => targets.extend(document.value(node).strip_prefix('#')),
        Kind::Object | Kind::Array => {
            document.children(node).for_each(|child| local_references(document, child, targets));
        }
        _ => {}
    }
}

/// Entries of one fullUrl are versions of one resource (bdl-7).
fn is_every_entry_distinct(bundle: Element<'_>) -> bool {
    if bundle.text_of("type") == Some("history") {
        return true;
    }
    let mut seen = HashSet::new();
    bundle.all("entry").all(|entry| {
        let version = || entry.get("resource")?.get("meta")?.text_of("versionId");
        entry.text_of("fullUrl").is_none_or(|url| seen.insert((url, version())))
    })
}

/// A panel with its own value does not repeat its code in a component (obs-7).
fn has_no_component_of_own_code(element: Element<'_>) -> bool {
    if !has_value(element) {
        return true;
    }
    if element.get("component").is_none() {
        return true;
    }
    let codings = |element: Element<'_>| -> HashSet<[Option<String>; 3]> {
        let codings = element.get("code").into_iter().flat_map(|code| code.all("coding").collect::<Vec<_>>());
        codings
            .map(|coding| ["system", "code", "version"].map(|name| coding.text_of(name).map(str::to_owned)))
            .collect()
    };
    let own = codings(element);
    element.all("component").all(|component| codings(component).is_disjoint(&own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::fhirpath;
    use crate::fhir::tree::json;
    use crate::fhir::validate::Validator;

    #[test]
    fn what_is_quick_decides_as_the_expression() {
        const PERIOD: &str = "start.hasValue().not() or end.hasValue().not() or (start <= end)";
        let validator = Validator::new(Registry::core());
        let expression = fhirpath::compile(&format!("identifier.period.all({PERIOD})")).unwrap();
        let quick = quick(PERIOD).unwrap();
        let times = [
            "2026",
            "2026-02",
            "2026-02-03",
            "2026-02-03T04:05:06Z",
            "2026-02-03T04:05:06+01:00",
            "2026-02-03T04:05:06.789Z",
            "2026-02-03T04:05:06.7891Z",
            "2026-02-03T05:05:06+01:00",
            "x",
            "",
            "2026-02-03T04:05:06",
            "2026-02-03T24:05:06Z",
            "2025-12-31T23:59:59-14:00",
        ];
        let mut decided = 0;
        for (start, end) in times.iter().flat_map(|start| times.iter().map(move |end| (start, end))) {
            let text = format!(
                r#"{{"resourceType":"Patient","identifier":[{{"period":{{"start":"{start}","end":"{end}"}}}}]}}"#
            );
            let document = json::parse(text).unwrap();
            let root = Element::root(&document);
            let period = root.get("identifier").unwrap().get("period").unwrap();
            let Some(quick) = quick(period) else { continue };
            decided += 1;
            let slow = validator.evaluate(root, &expression, None, |found| {
                format!("{:?}", found.unwrap().iter().map(|value| format!("{:?}", value.system())).collect::<Vec<_>>())
            });
            assert!(slow.contains(&quick.to_string()), "{start} {end}: {quick} and {slow}");
        }
        assert!(decided > 15, "{decided}");
    }
}
