//! What a decision asks of a resource: its codes, labels, dates and authors, read once from the tree.

use std::sync::Arc;

use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;
use crate::fhir::validate::measures;
use crate::policy::consent;

/// Canonical of the code system by which consents, scopes and audit speak of kinds of measurement.
pub const CATEGORY_SYSTEM: &str = "https://mhealth-gateway.org/fhir/CodeSystem/measure-category";

const LOINC: &str = "http://loinc.org";

/// Facts of one resource.
#[derive(Clone, Debug)]
pub struct Facts<'d> {
    pub kind: Arc<str>,
    /// Codings of `code` and `category`, and the measure category they imply.
    pub codings: Vec<(&'d str, &'d str)>,
    /// The first so many of `codings` come from `code`, the rest from `category` and the measure.
    codes: usize,
    /// Codings of components that belong to another measure than the whole: each must be permitted by itself.
    pub foreign: Vec<Vec<(&'d str, &'d str)>>,
    pub labels: Vec<(&'d str, &'d str)>,
    /// When it was measured, half-open, in milliseconds.
    pub date_ms: Option<(i64, i64)>,
    pub authors: Vec<&'d str>,
    /// Every reference that it holds.
    pub links: Vec<&'d str>,
}

impl<'d> Facts<'d> {
    pub fn of(kind: Arc<str>, element: Element<'d>) -> Self {
        let mut codings = concept(element.get("code"));
        let measure = category(&codings);
        let foreign = element
            .all("component")
            .map(|component| concept(component.get("code")))
            .filter(|codes| category(codes).is_some_and(|category| Some(category) != measure))
            .map(with_category)
            .collect();
        let codes = codings.len();
        codings = with_category(codings);
        for category in element.all("category") {
            codings.extend(concept(Some(category)));
        }
        let labels = element.get("meta").into_iter().flat_map(|meta| meta.all("security")).map(coding).collect();
        let authors = ["performer", "author", "source"]
            .iter()
            .flat_map(|name| element.all(name))
            .filter_map(|reference| reference.text_of("reference"))
            .collect();
        let mut links = Vec::new();
        references(element, &mut links);
        Facts { kind, codings, codes, foreign, labels, date_ms: date_ms(element), authors, links }
    }

    pub fn codes(&self) -> &[(&'d str, &'d str)] {
        &self.codings[..self.codes]
    }

    pub fn categories(&self) -> &[(&'d str, &'d str)] {
        &self.codings[self.codes..]
    }

    /// The resource as the consent engine asks for it.
    pub fn whole<'a>(&'a self, patients: &'a [&'a str], reference: &'a str) -> consent::Facts<'a> {
        self.with_codings(&self.codings, patients, reference)
    }

    /// Each part of it that stands for another measure than the whole.
    pub fn foreign<'a>(
        &'a self,
        patients: &'a [&'a str],
        reference: &'a str,
    ) -> impl Iterator<Item = consent::Facts<'a>> {
        self.foreign.iter().map(move |codings| self.with_codings(codings, patients, reference))
    }

    fn with_codings<'a>(
        &'a self,
        codings: &'a [(&'d str, &'d str)],
        patients: &'a [&'a str],
        reference: &'a str,
    ) -> consent::Facts<'a> {
        consent::Facts {
            patients,
            kind: &self.kind,
            reference,
            codings,
            labels: &self.labels,
            date_ms: self.date_ms,
            authors: &self.authors,
            links: &self.links,
        }
    }
}

/// References anywhere in a resource; the tree's depth is bounded where it was read.
fn references<'d>(element: Element<'d>, into: &mut Vec<&'d str>) {
    for (name, child) in element.children() {
        match child.string() {
            Some(reference) if name == "reference" => into.push(reference),
            _ if child.is_object() => references(child, into),
            _ => {}
        }
    }
}

fn concept(element: Option<Element<'_>>) -> Vec<(&str, &str)> {
    element.into_iter().flat_map(|concept| concept.all("coding")).map(coding).collect()
}

fn coding(element: Element<'_>) -> (&str, &str) {
    (element.text_of("system").unwrap_or_default(), element.text_of("code").unwrap_or_default())
}

fn category(codings: &[(&str, &str)]) -> Option<&'static str> {
    codings
        .iter()
        .filter(|(system, _)| *system == LOINC)
        .find_map(|(_, code)| measures::measure(code))
        .map(|measure| measure.category)
}

fn with_category<'d>(mut codings: Vec<(&'d str, &'d str)>) -> Vec<(&'d str, &'d str)> {
    if let Some(category) = category(&codings) {
        codings.push((CATEGORY_SYSTEM, category));
    }
    codings
}

/// The clinically relevant time: `effective[x]`, or what the type has in its place.
fn date_ms(element: Element<'_>) -> Option<(i64, i64)> {
    written(element, Moment::interval_ms)
}

fn written(element: Element<'_>, interval_ms: fn(&Moment) -> (i64, i64)) -> Option<(i64, i64)> {
    for name in ["effectiveDateTime", "effectiveInstant", "authored"] {
        if let Some(moment) = element.text_of(name).and_then(Moment::parse) {
            return Some(interval_ms(&moment));
        }
    }
    let period = element.get("effectivePeriod")?;
    let start = interval_ms(&period.text_of("start").and_then(Moment::parse)?);
    let end = period.text_of("end").and_then(Moment::parse).map_or(i64::MAX, |end| interval_ms(&end).1);
    Some((start.0, end))
}

/// Longest interval that the index keeps by its start: a day of twenty-five hours and a night before it.
pub const INDEXED_SPAN_MS: i64 = 32 * 3_600_000;

/// Where the date index keeps a resource. What spans longer has no single place there: it is kept undated, and a
/// search by date looks at it in any case.
pub fn indexed_ms(element: Element<'_>) -> Option<i64> {
    let (start, end) = written(element, Moment::interval_assuming_utc_ms)?;
    (end.saturating_sub(start) <= INDEXED_SPAN_MS).then_some(start)
}
