//! A search parameter of one resource type, compiled: where it looks, what it compares.
//!
//! Compiled once a definition and shared by every query after; the cache is keyed by what definitions say, never
//! by what clients send, so it is as large as the definitions. What cannot be evaluated is no parameter here, and
//! so the CapabilityStatement does not promise it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::extract::Path;
use crate::fhir::definitions::{Registry, SearchKind, SearchParameter};

/// One parameter as queries use it.
#[derive(Debug)]
pub struct Parameter {
    pub code: String,
    pub kind: SearchKind,
    pub path: Path,
    /// Resource types that a reference may point to.
    pub targets: Vec<String>,
    /// Parts of a composite, seen from each value of `path`.
    pub components: Vec<Component>,
    /// Name of the element that it reads, where that is a direct child of the resource that does not repeat.
    pub single: Option<String>,
    /// Value set that the element is bound to, which gives a primitive code its system.
    pub binding: Option<String>,
}

/// One part of a composite parameter.
#[derive(Debug)]
pub struct Component {
    pub kind: SearchKind,
    pub path: Path,
}

/// Parameters that have an expression, but a meaning that the expression does not give: `phonetic` needs a
/// phonetic algorithm.
const BEYOND_EXPRESSION: [&str; 1] = ["phonetic"];

/// Composites by the end of their code: the part that follows `code` (R4 Observation search parameters).
const COMPOSITES: [(&str, SearchKind, &str); 4] = [
    ("code-value-quantity", SearchKind::Quantity, "value.as(Quantity)"),
    ("code-value-concept", SearchKind::Token, "value.as(CodeableConcept)"),
    ("code-value-string", SearchKind::String, "value.as(string)"),
    ("code-value-date", SearchKind::Date, "value.as(dateTime) | value.as(Period)"),
];

/// The parameters of a resource type that a query can be matched by, for the CapabilityStatement.
pub fn parameters<'r>(kind: &'r str, registry: &'r Registry) -> impl Iterator<Item = &'r SearchParameter> {
    let listed = registry.search_parameters(kind);
    let mut last: Option<&str> = None;
    // Sorted by code; of several definitions with one code the first that can be evaluated counts.
    listed.iter().filter(move |definition| {
        let fresh = last != Some(definition.code.as_str()) && compiled(kind, definition, registry).is_some();
        if fresh {
            last = Some(definition.code.as_str());
        }
        fresh
    })
}

/// Every parameter of a resource type that can be evaluated.
pub(super) fn all<'r>(kind: &'r str, registry: &'r Registry) -> impl Iterator<Item = Arc<Parameter>> + 'r {
    parameters(kind, registry).filter_map(move |definition| compiled(kind, definition, registry))
}

/// The parameter of that code.
pub(super) fn find(kind: &str, code: &str, registry: &Registry) -> Option<Arc<Parameter>> {
    let listed = registry.search_parameters(kind);
    listed.iter().filter(|definition| definition.code == code).find_map(|found| compiled(kind, found, registry))
}

/// What a definition was compiled from: resource type, canonical, expression.
type Source = (String, String, String);

fn compiled(kind: &str, definition: &SearchParameter, registry: &Registry) -> Option<Arc<Parameter>> {
    static CACHE: LazyLock<RwLock<HashMap<Source, Option<Arc<Parameter>>>>> = LazyLock::new(RwLock::default);
    let source = (kind.to_owned(), definition.url.clone(), definition.expression.clone());
    // A panic while the lock is held leaves a map that is still whole: entries are inserted in one step.
    if let Some(known) = CACHE.read().unwrap_or_else(PoisonError::into_inner).get(&source) {
        return known.clone();
    }
    let parameter = compile(kind, definition, registry).map(Arc::new);
    CACHE.write().unwrap_or_else(PoisonError::into_inner).insert(source, parameter.clone());
    parameter
}

fn compile(kind: &str, definition: &SearchParameter, registry: &Registry) -> Option<Parameter> {
    if definition.kind == SearchKind::Special || BEYOND_EXPRESSION.contains(&definition.code.as_str()) {
        return None;
    }
    let path = Path::compile(kind, &definition.expression)?;
    let components = match definition.kind {
        SearchKind::Composite => components(kind, &definition.code)?,
        _ => Vec::new(),
    };
    let element = path.plain().and_then(|path| {
        let structure = registry.structure(kind)?;
        let choice = format!("{path}[x]");
        structure.elements.iter().find(|element| element.path == path || element.path == choice).cloned()
    });
    let plain = path.plain().and_then(|path| path.strip_prefix(kind)?.strip_prefix('.')).filter(|it| !it.contains('.'));
    let single = plain.filter(|_| element.as_ref().is_some_and(|element| element.max == Some(1))).map(str::to_owned);
    let binding = element.and_then(|element| element.binding).map(|binding| binding.value_set);
    Some(Parameter {
        code: definition.code.clone(),
        kind: definition.kind,
        targets: definition.targets.clone(),
        path,
        components,
        single,
        binding,
    })
}

fn components(kind: &str, code: &str) -> Option<Vec<Component>> {
    if kind != "Observation" {
        return None;
    }
    let (_, value, expression) = COMPOSITES.into_iter().find(|(end, ..)| code.ends_with(end))?;
    let component = |kind, expression| Some(Component { kind, path: Path::compile("Observation", expression)? });
    Some(vec![component(SearchKind::Token, "code")?, component(value, expression)?])
}
