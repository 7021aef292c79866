//! What a decision asks of a resource: its codes, labels, dates and authors, read once from the tree.

use std::sync::Arc;

use crate::fhir::ours::STRUCTURES;
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Element, Tag};
use crate::fhir::validate::measures;
use crate::fhir::validate::measures::category::{CONFIDENTIALITY, category};
use crate::policy::consent;

pub use crate::fhir::ours::CATEGORY_SYSTEM;

pub const LOINC: &str = "http://loinc.org";

const RESTRICTED: (&str, &str) = (CONFIDENTIALITY, "R");
const NORMAL: (&str, &str) = (CONFIDENTIALITY, "N");

/// A system and a code.
type Coding<'d> = (&'d str, &'d str);

const PROVENANCE: &str = "Provenance";

/// Resources that say who or what measured, not what: contained ones need no permission of their own.
const SUPPORTING: &[&str] = &["Device", "DeviceMetric", "Organization", "Practitioner", "PractitionerRole"];

/// Facts of one resource.
#[derive(Clone, Debug)]
pub struct Facts<'d> {
    pub kind: Arc<str>,
    /// Codings of `code`, then the measure categories that they imply, then codings of `category`. A sender may not
    /// say itself what a measure's category is, so its codings of that system are left out. Last what extensions say,
    /// which may be denied but widens nothing.
    pub codings: Vec<Coding<'d>>,
    /// The first so many of `codings` come from `code`.
    codes: usize,
    /// The first so many come from where such things are said.
    said: usize,
    /// What the resource claims to be, one by one: a consent must permit each.
    claims: Vec<Claim<'d>>,
    pub labels: Vec<Coding<'d>>,
    /// When it was measured, half-open, in milliseconds.
    pub date_ms: Option<(i64, i64)>,
    pub authors: Vec<&'d str>,
    /// Every reference that it holds.
    pub links: Vec<&'d str>,
}

/// One thing that is measured, with the codings that say so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Claim<'d> {
    kind: Arc<str>,
    codings: Vec<Coding<'d>>,
}

impl<'d> Facts<'d> {
    pub fn of(kind: Arc<str>, element: Element<'d>) -> Self {
        if &*kind == PROVENANCE {
            return Facts::of_provenance(kind, element);
        }
        let mut codings = concept(element.get("code"));
        let codes = codings.len();
        let mut links = Vec::new();
        let hidden = if element.survey(&HIDING, &mut links) { Hidden::of(element) } else { Hidden::default() };
        let mut claims = claims(&kind, element);
        for claim in claims.iter().filter(|claim| claim.kind == kind) {
            codings.extend(claim.codings.iter().filter(|(system, _)| *system == CATEGORY_SYSTEM));
        }
        for category in element.all("category") {
            codings.extend(concept(Some(category)));
        }
        let said = codings.len();
        for claim in hidden.claims(&kind) {
            codings.extend(claim.codings.iter().filter(|(system, _)| *system == CATEGORY_SYSTEM));
            claims.push(claim);
        }
        codings.extend(hidden.codings);
        let mut labels: Vec<Coding<'d>> =
            element.get("meta").into_iter().flat_map(|meta| meta.all("security")).map(coding).collect();
        labels.extend(default_confidentiality(&labels, &claims));
        let authors = ["performer", "author", "source"]
            .iter()
            .flat_map(|name| element.all(name))
            .filter_map(|reference| reference.text_of("reference"))
            .collect();
        let date_ms = date_ms(&kind, element);
        Facts { kind, codings, codes, said, claims, labels, date_ms, authors, links }
    }

    /// What is known of how measurements came to be is as private as they are: it claims the categories of all that it
    /// tells of, which the gateway itself wrote into its tags.
    fn of_provenance(kind: Arc<str>, element: Element<'d>) -> Self {
        let tags = element.get("meta").into_iter().flat_map(|meta| meta.all("tag")).map(coding);
        let codings: Vec<Coding<'d>> = tags.filter(|(system, _)| *system == CATEGORY_SYSTEM).collect();
        let mut claims: Vec<Claim<'d>> =
            codings.iter().map(|category| Claim { kind: kind.clone(), codings: vec![*category] }).collect();
        if claims.is_empty() {
            claims.push(Claim { kind: kind.clone(), codings: Vec::new() });
        }
        let labels = default_confidentiality(&[], &claims).into_iter().collect();
        let mut links = Vec::new();
        element.survey(&[], &mut links);
        let said = codings.len();
        Facts { kind, codings, codes: 0, said, claims, labels, date_ms: None, authors: Vec::new(), links }
    }

    /// Codes under which it is asked for, beside its own.
    pub fn add_codes(&mut self, codes: &[Coding<'d>]) {
        self.codings.extend(codes);
        for claim in &mut self.claims {
            claim.codings.extend(codes);
        }
    }

    pub fn codes(&self) -> &[Coding<'d>] {
        &self.codings[..self.codes]
    }

    pub fn categories(&self) -> &[Coding<'d>] {
        &self.codings[self.codes..self.said]
    }

    /// Everything that the resource says of itself at once: what any of it is denied for, it is denied for.
    pub fn whole<'a>(&'a self, patients: &'a [&'a str], reference: &'a str) -> consent::Facts<'a> {
        self.with(&self.kind, &self.codings, patients, reference)
    }

    /// What it claims to be, one by one; never empty.
    pub fn claims<'a>(
        &'a self,
        patients: &'a [&'a str],
        reference: &'a str,
    ) -> impl DoubleEndedIterator<Item = consent::Facts<'a>> {
        self.claims.iter().map(move |claim| self.with(&claim.kind, &claim.codings, patients, reference))
    }

    fn with<'a>(
        &'a self,
        kind: &'a str,
        codings: &'a [Coding<'d>],
        patients: &'a [&'a str],
        reference: &'a str,
    ) -> consent::Facts<'a> {
        consent::Facts {
            patients,
            kind,
            reference,
            codings,
            labels: &self.labels,
            date_ms: self.date_ms,
            authors: &self.authors,
            links: &self.links,
        }
    }
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
#[derive(Default)]
struct Hidden<'d> {
    codings: Vec<Coding<'d>>,
    /// An amount of nobody knows what.
    unclassified: bool,
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
                self.codings.extend(concept(Some(child)));
            } else if name == "property" {
                // What a device says of itself, in a Device inside an Observation.
                self.codings.extend(concept(child.get("type")));
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
                "valueCodeableConcept" => self.codings.extend(concept(Some(child))),
                _ if AMOUNTS.contains(&name) => self.unclassified |= !defined,
                _ => {}
            }
        }
        self.codings.retain(|(system, _)| *system != CATEGORY_SYSTEM);
    }

    /// What is measured is claimed like everything else; answers and parts (LA and LP codes) measure nothing.
    fn claims(&self, kind: &Arc<str>) -> Vec<Claim<'d>> {
        let measures =
            |(system, code): &&Coding<'d>| *system == LOINC && !code.starts_with("LA") && !code.starts_with("LP");
        let named = self.codings.iter().filter(measures).map(|coding| {
            let category = measures::measure(coding.0, coding.1).map(|measure| (CATEGORY_SYSTEM, measure.category));
            Claim { kind: kind.clone(), codings: [*coding].into_iter().chain(category).collect() }
        });
        let unnamed = self.unclassified.then(|| Claim { kind: kind.clone(), codings: Vec::new() });
        named.chain(unnamed).collect()
    }
}

/// What a resource claims by its code, by components that belong to something else, and by resources inside it.
fn claims<'d>(kind: &Arc<str>, element: Element<'d>) -> Vec<Claim<'d>> {
    let mut found: Vec<Claim<'d>> = claimed(kind, element.get("code"));
    for component in element.all("component") {
        for claim in claimed(kind, component.get("code")) {
            let own = claim.codings.iter().find(|(system, _)| *system == CATEGORY_SYSTEM);
            if own.is_none_or(|own| !found.iter().any(|known| known.codings.contains(own))) {
                found.push(claim);
            }
        }
    }
    for contained in element.all("contained") {
        let inner = contained.resource_type().unwrap_or_default();
        if !SUPPORTING.contains(&inner) {
            found.extend(claims(&Arc::from(inner), contained));
        }
    }
    found
}

/// Codes of LOINC say what is measured, and those of one category say the same. Codings of other systems beside them
/// are translations, which nobody here can check: they can be denied, but permit nothing. Alone, each counts, and the
/// table of measures knows the category of those that devices use.
fn claimed<'d>(kind: &Arc<str>, code: Option<Element<'d>>) -> Vec<Claim<'d>> {
    let codings = concept(code);
    if let [(system, code)] = codings[..] {
        let category = measures::measure(system, code).map(|measure| (CATEGORY_SYSTEM, measure.category));
        let codings = codings.into_iter().chain(category).collect();
        return vec![Claim { kind: kind.clone(), codings }];
    }
    let any_loinc = codings.iter().any(|(system, _)| *system == LOINC);
    let mut groups: Vec<(Option<&'static str>, Vec<Coding<'d>>)> = Vec::new();
    for coding in codings.into_iter().filter(|(system, _)| !any_loinc || *system == LOINC) {
        let category = measures::measure(coding.0, coding.1).map(|measure| measure.category);
        match groups.iter_mut().find(|(known, _)| known.is_some() && *known == category) {
            Some((_, group)) => group.push(coding),
            None => groups.push((category, vec![coding])),
        }
    }
    if groups.is_empty() {
        groups.push((None, Vec::new()));
    }
    let claim = |(category, mut codings): (Option<_>, Vec<_>)| {
        codings.extend(category.map(|category| (CATEGORY_SYSTEM, category)));
        Claim { kind: kind.clone(), codings }
    };
    groups.into_iter().map(claim).collect()
}

/// How confidential what a resource claims is by its category, unless it says so itself: what is about mood, cycle or alcohol
/// is restricted. Of what has no category nobody knows.
fn default_confidentiality<'d>(labels: &[Coding<'_>], claims: &[Claim<'_>]) -> Option<Coding<'d>> {
    if labels.iter().any(|(system, _)| *system == CONFIDENTIALITY) {
        return None;
    }
    let own = |claim: &Claim<'_>| {
        let (_, code) = claim.codings.iter().find(|(system, _)| *system == CATEGORY_SYSTEM)?;
        Some(category(code)?.confidentiality == RESTRICTED.1)
    };
    let restricted = claims.iter().map(own);
    if restricted.clone().any(|is| is == Some(true)) {
        return Some(RESTRICTED);
    }
    (!claims.is_empty() && restricted.into_iter().all(|is| is.is_some())).then_some(NORMAL)
}

/// Codings of a concept, but for those that only the gateway may give.
fn concept(element: Option<Element<'_>>) -> Vec<Coding<'_>> {
    let codings = element.into_iter().flat_map(|concept| concept.all("coding")).map(coding);
    codings.filter(|(system, _)| *system != CATEGORY_SYSTEM).collect()
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

/// Where what is kept here says so.
const INDEXED: &[&str] = &["effectiveDateTime", "effectiveInstant", "authored", "effectivePeriod"];

/// Longest interval that the index keeps by its start: a day of twenty-five hours and a night before it.
pub const INDEXED_SPAN_MS: i64 = 32 * 3_600_000;

/// Where the date index keeps a resource. What spans longer has no single place there: it is kept undated, and a
/// search by date looks at it in any case.
pub fn indexed_ms(element: Element<'_>) -> Option<i64> {
    let (start, end) = written(element, INDEXED, Moment::interval_assuming_utc_ms)?;
    (end.saturating_sub(start) <= INDEXED_SPAN_MS).then_some(start)
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
            let facts = Facts::of(Arc::from(kind), Element::root(&document));
            let second = Moment::parse("2026-01-02").unwrap().interval_ms();
            assert_eq!(facts.date_ms, expected.then_some(second), "{kind} {members}");
        }
    }
}
