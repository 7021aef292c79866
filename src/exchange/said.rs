//! What a resource says that judgements ask about, read once from the tree: its words and nothing that follows from them.
//!
//! What follows ([`Facts`](super::facts::Facts)) goes by the tables of measures, which grow from version to version; what a
//! resource says stays what it was, so that it can be kept beside the resource ([`gist`](super::gist)) and judged without it.

use crate::fhir::ours::STRUCTURES;
use crate::fhir::search::date;
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Element, Tag};
use crate::store::Dated;

pub use crate::fhir::ours::CATEGORY_SYSTEM;

/// A system and a code; empty where there is none.
pub type Coding<'d> = (&'d str, &'d str);

const PROVENANCE: &str = "Provenance";

/// Resources that say who or what measured, not what: contained ones need no permission of their own.
const SUPPORTING: &[&str] = &["Device", "DeviceMetric", "Organization", "Practitioner", "PractitionerRole"];

/// What one resource says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said<'d> {
    pub part: Part<'d>,
    /// Codings of `category`; of a Provenance the categories that the gateway wrote into its tags.
    pub categories: Vec<Coding<'d>>,
    pub labels: Vec<Coding<'d>>,
    pub hidden: Hidden<'d>,
    /// When it was measured, half-open, in milliseconds.
    pub date_ms: Option<(i64, i64)>,
    /// Where a search by date finds an Observation; nothing where that is more than one interval says.
    pub found_ms: Option<(i64, i64)>,
    /// The reference to whose it is; empty where it names nobody.
    pub person: &'d str,
    pub authors: Vec<&'d str>,
    /// Every reference that it holds.
    pub links: Vec<&'d str>,
}

/// What a resource, or one inside it, calls what it measures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part<'d> {
    /// The type of one that is inside another.
    pub kind: &'d str,
    pub code: Vec<Coding<'d>>,
    /// Codings of the code of each component.
    pub components: Vec<Vec<Coding<'d>>>,
    pub contained: Vec<Part<'d>>,
}

impl<'d> Said<'d> {
    pub fn of(kind: &str, element: Element<'d>) -> Self {
        let mut links = Vec::new();
        let may_hide = element.survey(&HIDING, &mut links);
        let meta = |name| element.get("meta").into_iter().flat_map(move |meta| meta.all(name)).map(coding);
        let person = person(element).unwrap_or_default();
        if kind == PROVENANCE {
            // It is as private as what it tells of, whatever else it says.
            let categories = meta("tag").filter(|(system, _)| *system == CATEGORY_SYSTEM).collect();
            return Said { categories, person, links, ..Said::default() };
        }
        let authors = ["performer", "author", "source"]
            .iter()
            .flat_map(|name| element.all(name))
            .map(|reference| reference.text_of("reference").unwrap_or_default())
            .collect();
        Said {
            part: Part::of("", element),
            categories: element.all("category").flat_map(|category| concept(Some(category))).collect(),
            labels: meta("security").collect(),
            hidden: if may_hide { Hidden::of(element) } else { Hidden::default() },
            date_ms: date_ms(kind, element),
            found_ms: if kind == "Observation" { found_ms(element) } else { None },
            person,
            authors,
            links,
        }
    }

    /// Id of the patient that it names.
    pub fn patient(&self) -> &'d str {
        patient(self.person)
    }
}

impl<'d> Part<'d> {
    fn of(kind: &'d str, element: Element<'d>) -> Self {
        let inside = element.all("contained").filter_map(|contained| {
            let kind = contained.resource_type().unwrap_or_default();
            (!SUPPORTING.contains(&kind)).then(|| Part::of(kind, contained))
        });
        Part {
            kind,
            code: concept(element.get("code")).collect(),
            components: element.all("component").map(|component| concept(component.get("code")).collect()).collect(),
            contained: inside.collect(),
        }
    }
}

/// The reference by which a resource other than a Patient names whose it is.
fn person(root: Element<'_>) -> Option<&str> {
    ["subject", "patient"]
        .iter()
        .find_map(|name| root.get(name))
        .or_else(|| root.get("agent").and_then(|agent| agent.get("onBehalfOf")))
        .and_then(|subject| subject.text_of("reference"))
}

/// Id of the patient that a resource other than a Patient names.
pub fn patient_named(root: Element<'_>) -> &str {
    patient(person(root).unwrap_or_default())
}

/// Id of the patient that a reference names.
pub fn patient(reference: &str) -> &str {
    let id = reference.rsplit_once("Patient/").map(|(_, id)| id).unwrap_or_default();
    id.split('/').next().unwrap_or_default()
}

/// Elements beside `code` whose concept a sender could use to say what was measured.
const BESIDE_CODE: &[&str] = &["interpretation", "method"];

/// Where something can be hidden that way.
const HIDING: [Tag; 5] = [
    Tag::of("extension"),
    Tag::of("modifierExtension"),
    Tag::of("interpretation"),
    Tag::of("method"),
    Tag::of("property"),
];

/// What extensions say, anywhere in a resource and in those inside it, and what stands beside its code: a sender could
/// say there what it does not say in `code`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hidden<'d> {
    pub codings: Vec<Coding<'d>>,
    /// An amount of nobody knows what.
    pub unclassified: bool,
}

/// Extensions that the standard defines say nothing but what their definition says.
const DEFINED: &str = "http://hl7.org/fhir/StructureDefinition/";

/// Extensions of the guide that hold an amount, which is one of the measurement that they stand in.
const AMOUNTS_OF_GUIDE: [&str; 3] = ["mh-completeness", "mh-delay", "mh-original-value"];

/// Values that may be a measurement, or a file of them.
const AMOUNTS: &[&str] = &[
    "valueAge",
    "valueAttachment",
    "valueBase64Binary",
    "valueCount",
    "valueDecimal",
    "valueDistance",
    "valueDuration",
    "valueInteger",
    "valueMoney",
    "valuePositiveInt",
    "valueQuantity",
    "valueRange",
    "valueRatio",
    "valueSampledData",
    "valueUnsignedInt",
];

fn is_defined(url: &str) -> bool {
    url.starts_with(DEFINED) || url.strip_prefix(STRUCTURES).is_some_and(|name| AMOUNTS_OF_GUIDE.contains(&name))
}

impl<'d> Hidden<'d> {
    fn of(element: Element<'d>) -> Self {
        let mut hidden = Hidden::default();
        hidden.walk(element);
        hidden
    }

    fn walk(&mut self, element: Element<'d>) {
        for (name, child) in element.children() {
            if name == "extension" || name == "modifierExtension" {
                let defined = child.text_of("url").is_some_and(is_defined);
                self.extension(child, defined);
                continue;
            }
            if BESIDE_CODE.contains(&name) {
                self.codings.extend(own(Some(child)));
            } else if name == "property" {
                // What a device says of itself, in a Device inside an Observation.
                self.codings.extend(own(child.get("type")));
            }
            self.walk(child);
        }
    }

    /// The addresses of nested extensions are relative to that of the outermost.
    fn extension(&mut self, extension: Element<'d>, defined: bool) {
        for (name, child) in extension.children() {
            match name {
                "extension" => self.extension(child, defined),
                "valueCoding" => self.codings.push(coding(child)),
                "valueCodeableConcept" => self.codings.extend(own(Some(child))),
                _ if AMOUNTS.contains(&name) => self.unclassified |= !defined,
                _ => {}
            }
        }
        self.codings.retain(|(system, _)| *system != CATEGORY_SYSTEM);
    }
}

/// Codings of a concept.
fn concept(element: Option<Element<'_>>) -> impl Iterator<Item = Coding<'_>> {
    element.into_iter().flat_map(|concept| concept.all("coding")).map(coding)
}

/// Codings of a concept, but for those that only the gateway may give.
fn own(element: Option<Element<'_>>) -> impl Iterator<Item = Coding<'_>> {
    concept(element).filter(|(system, _)| *system != CATEGORY_SYSTEM)
}

fn coding(element: Element<'_>) -> Coding<'_> {
    (element.text_of("system").unwrap_or_default(), element.text_of("code").unwrap_or_default())
}

/// Where each type says when what it tells of was so, the first that is there; those that FHIR's search parameter for the
/// date of the type looks at. Of a type that is not listed nobody knows, so that a period of the data permits none of it.
const DATES: &[(&str, &[&str])] = &[
    ("AllergyIntolerance", &["recordedDate"]),
    ("CarePlan", &["period"]),
    ("CareTeam", &["period"]),
    ("ClinicalImpression", &["effectiveDateTime", "effectivePeriod", "date"]),
    ("Composition", &["date"]),
    ("Condition", &["recordedDate", "onsetDateTime", "onsetPeriod"]),
    ("Consent", &["dateTime"]),
    ("DeviceUseStatement", &["timingDateTime", "timingPeriod"]),
    ("DiagnosticReport", &["effectiveDateTime", "effectivePeriod"]),
    ("DocumentReference", &["date"]),
    ("Encounter", &["period"]),
    ("EpisodeOfCare", &["period"]),
    ("FamilyMemberHistory", &["date"]),
    ("Flag", &["period"]),
    ("Goal", &["startDate"]),
    ("ImagingStudy", &["started"]),
    ("Immunization", &["occurrenceDateTime"]),
    ("List", &["date"]),
    ("Media", &["createdDateTime", "createdPeriod"]),
    ("MedicationAdministration", &["effectiveDateTime", "effectivePeriod"]),
    ("MedicationDispense", &["whenHandedOver", "whenPrepared"]),
    ("MedicationRequest", &["authoredOn"]),
    ("MedicationStatement", &["effectiveDateTime", "effectivePeriod"]),
    ("Observation", &["effectiveDateTime", "effectiveInstant", "effectivePeriod"]),
    ("Procedure", &["performedDateTime", "performedPeriod"]),
    ("QuestionnaireResponse", &["authored"]),
    ("RiskAssessment", &["occurrenceDateTime", "occurrencePeriod"]),
    ("ServiceRequest", &["authoredOn"]),
    ("Specimen", &["collectedDateTime", "collectedPeriod"]),
];

/// The clinically relevant time of a resource, as its type says it.
fn date_ms(kind: &str, element: Element<'_>) -> Option<(i64, i64)> {
    let (_, names) = DATES[DATES.binary_search_by_key(&kind, |(kind, _)| *kind).ok()?];
    // What is collected says so one level below.
    let element = if kind == "Specimen" { element.get("collection")? } else { element };
    written(element, names, Moment::interval_ms)
}

/// The first of these elements that is there, a moment or a period.
fn written(element: Element<'_>, names: &[&str], interval_ms: fn(&Moment) -> (i64, i64)) -> Option<(i64, i64)> {
    let found = names.iter().find_map(|name| element.get(name))?;
    if let Some(text) = found.string() {
        return Moment::parse(text).map(|moment| interval_ms(&moment));
    }
    let start = interval_ms(&found.text_of("start").and_then(Moment::parse)?);
    let end = found.text_of("end").and_then(Moment::parse).map_or(i64::MAX, |end| interval_ms(&end).1);
    Some((start.0, end))
}

/// What the search parameter for the date of an Observation finds it by.
fn found_ms(element: Element<'_>) -> Option<(i64, i64)> {
    const EFFECTIVE: [&str; 4] = ["effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming"];
    let mut found = EFFECTIVE.iter().filter_map(|name| element.get(name));
    let only = found.next().filter(|_| found.next().is_none())?;
    date::interval(only)
}

/// What says the topic of a resource, for the index.
pub fn coded(element: Element<'_>) -> Vec<(String, String)> {
    let codings = element.get("code").into_iter().flat_map(|code| code.all("coding"));
    let code = |coding: Element<'_>| {
        Some((coding.text_of("system").unwrap_or_default().to_owned(), coding.text_of("code")?.to_owned()))
    };
    codings.filter_map(code).collect()
}

/// Where what is kept here says so.
const INDEXED: &[&str] = &["effectiveDateTime", "effectiveInstant", "authored", "effectivePeriod"];

/// Longest interval that the index keeps by its start: a day of twenty-five hours and a night before it.
pub const INDEXED_SPAN_MS: i64 = 32 * 3_600_000;

/// Where the date index keeps a resource. What spans longer is kept apart there, and a search by date looks at it in any
/// case, as at what says no beginning.
pub fn dated(element: Element<'_>) -> Option<Dated> {
    let (start, end) = written(element, INDEXED, Moment::interval_assuming_utc_ms)?;
    match start {
        i64::MIN => None,
        _ if end.saturating_sub(start) <= INDEXED_SPAN_MS => Some(Dated::At(start)),
        _ => Some(Dated::Long(start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    #[test]
    fn each_type_has_a_date_of_its_own() {
        assert!(DATES.is_sorted_by_key(|(kind, _)| *kind));
        for (kind, members, expected) in [
            ("Observation", r#""effectiveDateTime":"2026-01-02","issued":"2027-01-01T00:00:00Z""#, true),
            ("Condition", r#""recordedDate":"2026-01-02","onsetDateTime":"1990""#, true),
            ("Condition", r#""onsetDateTime":"2026-01-02""#, true),
            ("Condition", r#""onsetAge":{"value":3}"#, false),
            ("Procedure", r#""performedPeriod":{"start":"2026-01-02","end":"2026-01-02"}"#, true),
            ("Procedure", r#""performedDateTime":"2026-01-02""#, true),
            ("Procedure", r#""effectiveDateTime":"2026-01-02""#, false),
            ("Encounter", r#""period":{"start":"2026-01-02","end":"2026-01-02"}"#, true),
            ("Encounter", r#""period":{"end":"2026-01-02"}"#, false),
            ("Specimen", r#""collection":{"collectedDateTime":"2026-01-02"}"#, true),
            ("Specimen", r#""receivedTime":"2026-01-02T00:00:00Z""#, false),
            ("Immunization", r#""occurrenceString":"2026-01-02""#, false),
            ("MedicationRequest", r#""authoredOn":"2026-01-02""#, true),
            ("Coverage", r#""period":{"start":"2026-01-02"}"#, false),
        ] {
            let document = json::parse(format!(r#"{{"resourceType":"{kind}",{members}}}"#)).unwrap();
            let said = Said::of(kind, Element::root(&document));
            let second = Moment::parse("2026-01-02").unwrap().interval_ms();
            assert_eq!(said.date_ms, expected.then_some(second), "{kind} {members}");
        }
    }
}
