//! What a decision asks of a resource: its codes, labels, dates and authors, and what follows from them.

use std::sync::Arc;

use super::said::{Coding, Hidden, Part, Said};
use crate::fhir::terminology::named;
use crate::fhir::tree::Element;
use crate::fhir::validate::measures;
use crate::fhir::validate::measures::category::{CONFIDENTIALITY, category};
use crate::policy::consent;

pub use super::said::CATEGORY_SYSTEM;

pub const LOINC: &str = "http://loinc.org";

const RESTRICTED: (&str, &str) = (CONFIDENTIALITY, "R");
const NORMAL: (&str, &str) = (CONFIDENTIALITY, "N");

const PROVENANCE: &str = "Provenance";

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
        let said = Said::of(&kind, element);
        Facts::from(kind, said)
    }

    /// What follows from what it says.
    pub fn from(kind: Arc<str>, said: Said<'d>) -> Self {
        if &*kind == PROVENANCE {
            return Facts::from_provenance(kind, said);
        }
        let Said { mut part, mut categories, mut labels, mut hidden, date_ms, authors, links, .. } = said;
        by_one_name(&mut part);
        categories.iter_mut().chain(&mut hidden.codings).for_each(name);
        hidden.codings.retain(|(system, _)| *system != CATEGORY_SYSTEM);
        let mut codings: Vec<Coding<'d>> = own(&part.code).collect();
        let codes = codings.len();
        let mut claims = claims(&kind, &part);
        for claim in claims.iter().filter(|claim| claim.kind == kind) {
            codings.extend(claim.codings.iter().filter(|(system, _)| *system == CATEGORY_SYSTEM));
        }
        codings.extend(own(&categories));
        let said = codings.len();
        for claim in claims_of(&hidden, &kind) {
            codings.extend(claim.codings.iter().filter(|(system, _)| *system == CATEGORY_SYSTEM));
            claims.push(claim);
        }
        codings.extend(hidden.codings);
        labels.extend(default_confidentiality(&labels, &claims));
        Facts { kind, codings, codes, said, claims, labels, date_ms, authors, links }
    }

    /// What is known of how measurements came to be is as private as they are: it claims the categories of all that it
    /// tells of, which the gateway itself wrote into its tags.
    fn from_provenance(kind: Arc<str>, said: Said<'d>) -> Self {
        let codings = said.categories;
        let mut claims: Vec<Claim<'d>> =
            codings.iter().map(|category| Claim { kind: kind.clone(), codings: vec![*category] }).collect();
        if claims.is_empty() {
            claims.push(Claim { kind: kind.clone(), codings: Vec::new() });
        }
        let labels = default_confidentiality(&[], &claims).into_iter().collect();
        let links = said.links;
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

/// What is measured is claimed like everything else; answers and parts (LA and LP codes) measure nothing.
fn claims_of<'d>(hidden: &Hidden<'d>, kind: &Arc<str>) -> Vec<Claim<'d>> {
    let measures =
        |(system, code): &&Coding<'d>| *system == LOINC && !code.starts_with("LA") && !code.starts_with("LP");
    let named = hidden.codings.iter().filter(measures).map(|coding| {
        let category = measures::measure(coding.0, coding.1).map(|measure| (CATEGORY_SYSTEM, measure.category));
        Claim { kind: kind.clone(), codings: [*coding].into_iter().chain(category).collect() }
    });
    let unnamed = hidden.unclassified.then(|| Claim { kind: kind.clone(), codings: Vec::new() });
    named.chain(unnamed).collect()
}

/// What a resource claims by its code, by components that belong to something else, and by resources inside it.
fn claims<'d>(kind: &Arc<str>, part: &Part<'d>) -> Vec<Claim<'d>> {
    let mut found: Vec<Claim<'d>> = claimed(kind, &part.code);
    for component in &part.components {
        for claim in claimed(kind, component) {
            let own = claim.codings.iter().find(|(system, _)| *system == CATEGORY_SYSTEM);
            if own.is_none_or(|own| !found.iter().any(|known| known.codings.contains(own))) {
                found.push(claim);
            }
        }
    }
    for contained in &part.contained {
        found.extend(claims(&Arc::from(contained.kind), contained));
    }
    found
}

/// Codes of LOINC say what is measured, and those of one category say the same. Codings of other systems beside them
/// are translations, which nobody here can check: they can be denied, but permit nothing. Alone, each counts, and the
/// table of measures knows the category of those that devices use.
fn claimed<'d>(kind: &Arc<str>, code: &[Coding<'d>]) -> Vec<Claim<'d>> {
    let codings: Vec<Coding<'d>> = own(code).collect();
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
    if labels.iter().any(|(system, _)| named(system) == CONFIDENTIALITY) {
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

/// The labels of what carries these itself and claims something of a category; and whether they are all, or some
/// confidentiality may follow from what else it claims.
pub fn with_confidentiality<'d>(mut labels: Vec<Coding<'d>>, of: Option<&str>) -> (Vec<Coding<'d>>, bool) {
    let said = labels.iter().any(|(system, _)| named(system) == CONFIDENTIALITY);
    let follows = !said && of.and_then(category).is_some_and(|category| category.confidentiality == RESTRICTED.1);
    labels.extend(follows.then_some(RESTRICTED));
    (labels, said || follows)
}

/// Whatever a sender calls a system, what follows is the same.
fn by_one_name(part: &mut Part<'_>) {
    part.code.iter_mut().chain(part.components.iter_mut().flatten()).for_each(name);
    part.contained.iter_mut().for_each(by_one_name);
}

fn name(coding: &mut Coding<'_>) {
    coding.0 = named(coding.0);
}

/// Without those that only the gateway may give.
fn own<'c, 'd>(codings: &'c [Coding<'d>]) -> impl Iterator<Item = Coding<'d>> + use<'c, 'd> {
    codings.iter().copied().filter(|(system, _)| *system != CATEGORY_SYSTEM)
}
