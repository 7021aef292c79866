//! `_include` and `_revinclude` (R4 §3.1.1.5.4): what else belongs into the answer, besides what matches.

use std::sync::Arc;

use super::link;
use super::parameter::{self, Parameter};
use crate::fhir::definitions::{Registry, SearchKind};
use crate::fhir::tree::Element;

/// One `_include` or `_revinclude`.
#[derive(Clone, Debug)]
pub struct Include {
    pub reverse: bool,
    /// Whether it is asked of what is included, too.
    pub iterate: bool,
    /// The type that the references stand in.
    pub source: String,
    /// By which it points; never empty.
    pub parameters: Vec<Arc<Parameter>>,
    /// Type that it must point to.
    pub target: Option<String>,
}

impl Include {
    /// `*`, `Type:*`, `Type:parameter` or `Type:parameter:Target`; `*` is about the type that is searched for.
    pub(super) fn parse(kind: &str, reverse: bool, iterate: bool, text: &str, registry: &Registry) -> Option<Include> {
        let mut parts = text.split(':');
        let (source, code, target) = match (parts.next()?, parts.next(), parts.next()) {
            ("*", None, None) if !reverse => (kind, "*", None),
            (source, Some(code), target) if registry.is_resource(source) => (source, code, target),
            _ => return None,
        };
        if parts.next().is_some() || target.is_some_and(|target| !registry.is_resource(target)) {
            return None;
        }
        let parameters: Vec<Arc<Parameter>> = match code {
            "*" => parameter::all(source, registry).filter(|each| each.kind == SearchKind::Reference).collect(),
            code => parameter::find(source, code, registry).into_iter().collect(),
        };
        let fits = !parameters.is_empty() && parameters.iter().all(|each| each.kind == SearchKind::Reference);
        fits.then(|| Include {
            reverse,
            iterate,
            source: source.to_owned(),
            parameters,
            target: target.map(str::to_owned),
        })
    }

    /// Type and id of what a resource points to.
    pub fn targets(&self, resource: Element<'_>, base: Option<&str>) -> Vec<(String, String)> {
        if resource.resource_type() != Some(self.source.as_str()) {
            return Vec::new();
        }
        let all = self.parameters.iter().flat_map(|parameter| link::targets(parameter, resource, base));
        all.filter(|(kind, _)| self.target.as_deref().is_none_or(|target| target == kind)).collect()
    }
}
