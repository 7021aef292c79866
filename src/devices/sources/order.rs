//! The List by which a person says which source counts, compiled.

use super::Source;
use crate::fhir::ours::{BASE, CATEGORY_SYSTEM};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::Element;
use crate::fhir::validate::measures::category::category;
use crate::fhir::validate::measures::{self, Measure};

/// A List, as far as it says something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    of: Scope,
    entries: Vec<Named>,
    /// Whether it still holds.
    pub is_current: bool,
}

/// What a List is about; what says more counts before what says less.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Scope {
    All,
    Category(&'static str),
    Measure(&'static str),
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Named {
    Client(String),
    /// A device or an app.
    Instrument(String),
}

const LIST_ORDER: &str = "http://terminology.hl7.org/CodeSystem/list-order";

/// Last part of the system of identifiers that name clients of this gateway.
const CLIENTS: &str = "/sid/client";

/// Reads a List; the error is everything that keeps it from being an order of sources.
pub fn compile(list: Element<'_>) -> Result<Order, Vec<Issue>> {
    let mut issues = Vec::new();
    let mut wrong = |place: &str, text: &str, at: Element<'_>| {
        issues.push(Issue::new(Id::SourceOrder, format!("List{place}"), text).at(at.position()));
    };
    if list.text_of("mode") != Some("working") {
        wrong(".mode", "A List that orders sources has the mode working.", list);
    }
    let ordered = list.get("orderedBy").is_some_and(|concept| {
        concept
            .all("coding")
            .any(|coding| coding.text_of("system") == Some(LIST_ORDER) && coding.text_of("code") == Some("priority"))
    });
    if !ordered {
        wrong(".orderedBy", "A List that orders sources is ordered by list-order#priority.", list);
    }
    let of = match list.get("code") {
        None => Scope::All,
        Some(code) => scope(code).unwrap_or_else(|| {
            wrong(".code", "The code of a measure or of a category of measures is expected, or none for all.", code);
            Scope::All
        }),
    };
    let mut entries = Vec::new();
    for (index, entry) in list.all("entry").enumerate() {
        match entry.get("item").and_then(named) {
            Some(named) => entries.push(named),
            None => {
                wrong(&format!(".entry[{index}].item"), "A source is named by identifier.value or by display.", entry);
            }
        }
    }
    if list.all("entry").next().is_none() {
        wrong(".entry", "A List that orders sources names at least one.", list);
    }
    let is_current = list.text_of("status") == Some("current");
    if issues.is_empty() { Ok(Order { of, entries, is_current }) } else { Err(issues) }
}

fn scope(code: Element<'_>) -> Option<Scope> {
    if let Some(measure) = measures::measured(code) {
        return Some(Scope::Measure(&measure.key));
    }
    let of_category = |coding: Element<'_>| {
        (coding.text_of("system") == Some(CATEGORY_SYSTEM)).then_some(())?;
        category(coding.text_of("code")?)
    };
    code.all("coding").find_map(of_category).map(|category| Scope::Category(&category.code))
}

fn named(item: Element<'_>) -> Option<Named> {
    if let Some(identifier) = item.get("identifier")
        && let Some(value) = identifier.text_of("value")
    {
        let system = identifier.text_of("system").unwrap_or_default();
        let is_client = system.strip_prefix(BASE) == Some(CLIENTS);
        let value = value.to_owned();
        return Some(if is_client { Named::Client(value) } else { Named::Instrument(value) });
    }
    item.text_of("display").map(|display| Named::Instrument(display.to_owned()))
}

/// The order that holds for a measure: the one that says most of it, and of those that say as much the first.
pub fn chosen<'o>(orders: &'o [Order], measure: &Measure) -> Option<&'o Order> {
    let holds = |order: &&Order| {
        order.is_current
            && match &order.of {
                Scope::All => true,
                Scope::Category(category) => *category == measure.category,
                Scope::Measure(key) => **key == *measure.key,
            }
    };
    orders.iter().filter(holds).rev().max_by(|one, other| one.of.cmp(&other.of))
}

impl Order {
    /// Place of the first entry that names the source.
    pub(super) fn rank(&self, source: &Source) -> Option<usize> {
        self.entries.iter().position(|entry| match entry {
            Named::Client(client) => **client == *source.client,
            Named::Instrument(name) => *name == source.device || *name == source.app,
        })
    }

    /// Whether it names both clients, so that what they send may be compared.
    pub(super) fn names_both(&self, one: &str, other: &str) -> bool {
        let names = |client: &str| self.entries.contains(&Named::Client(client.to_owned()));
        names(one) && names(other)
    }
}
