//! The order of results by what they hold (R4 §3.1.1.5.2): of several values the first in the direction counts, and what has
//! none comes last.

use std::cmp::Ordering;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::extract::Found;
use super::parameter::Parameter;
use super::{date, quantity, string, token};
use crate::fhir::definitions::SearchKind;
use crate::fhir::fhirpath::Node;
use crate::fhir::tree::Element;

#[derive(Clone, PartialEq, Debug)]
pub struct Sort {
    pub by: SortBy,
    pub descending: bool,
}

#[derive(Clone, Debug)]
pub enum SortBy {
    Date,
    LastUpdated,
    Id,
    Parameter(Arc<Parameter>),
}

impl SortBy {
    /// The parameter that clients name.
    pub fn code(&self) -> &str {
        match self {
            SortBy::Date => "date",
            SortBy::LastUpdated => "_lastUpdated",
            SortBy::Id => "_id",
            SortBy::Parameter(parameter) => &parameter.code,
        }
    }
}

impl PartialEq for SortBy {
    fn eq(&self, other: &SortBy) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.code() == other.code()
    }
}

/// Where a resource stands, as far as one rule of the order tells.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Moment(i64),
    Number(Decimal),
    Text(String),
}

/// Where a resource stands in an order; one that sorts before another compares less.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rank(Vec<(Option<Place>, bool)>);

impl Rank {
    pub fn of(sort: &[Sort], resource: Element<'_>, updated_ms: i64) -> Rank {
        Rank(sort.iter().map(|rule| (rule.place(resource, updated_ms), rule.descending)).collect())
    }

    /// As a paging link carries it.
    pub fn texts(&self) -> Vec<Option<String>> {
        let text = |place: &Place| match place {
            Place::Moment(moment) => format!("m{moment}"),
            Place::Number(number) => format!("n{number}"),
            Place::Text(text) => format!("t{text}"),
        };
        self.0.iter().map(|(place, _)| place.as_ref().map(text)).collect()
    }

    /// What [`Rank::texts`] wrote of the same order.
    pub fn read(texts: &[Option<String>], sort: &[Sort]) -> Option<Rank> {
        let place = |text: &String| {
            let (first, rest) = text.split_at_checked(1)?;
            match first {
                "m" => rest.parse().ok().map(Place::Moment),
                "n" => rest.parse().ok().map(Place::Number),
                "t" => Some(Place::Text(rest.to_owned())),
                _ => None,
            }
        };
        if texts.len() != sort.len() {
            return None;
        }
        let read = texts.iter().zip(sort).map(|(text, rule)| match text {
            Some(text) => place(text).map(|place| (Some(place), rule.descending)),
            None => Some((None, rule.descending)),
        });
        read.collect::<Option<_>>().map(Rank)
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Rank) -> Ordering {
        let orders = self.0.iter().zip(&other.0).map(|((one, descending), (other, _))| match (one, other) {
            (Some(one), Some(other)) if *descending => other.cmp(one),
            (Some(one), Some(other)) => one.cmp(other),
            // What has no value comes last either way.
            (one, other) => one.is_none().cmp(&other.is_none()),
        });
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Sort {
    fn place(&self, resource: Element<'_>, updated_ms: i64) -> Option<Place> {
        let parameter = match &self.by {
            SortBy::LastUpdated => return Some(Place::Moment(updated_ms)),
            SortBy::Id => return resource.text_of("id").map(|id| Place::Text(id.to_owned())),
            // Without its parameter the order is the index's, which is read and not ranked.
            SortBy::Date => return None,
            SortBy::Parameter(parameter) => parameter,
        };
        let node = Node::resource(resource);
        let found = parameter.path.select(node, node)?;
        let places = found.iter().filter_map(|found| place(parameter.kind, found, self.descending));
        if self.descending { places.max() } else { places.min() }
    }
}

fn place(kind: SearchKind, found: &Found<'_>, descending: bool) -> Option<Place> {
    let element = match found {
        Found::Node(node) => node.element,
        Found::Boolean(value) => return Some(Place::Text(value.to_string())),
    };
    match kind {
        SearchKind::Date => {
            let (start, end) = date::interval(element)?;
            Some(Place::Moment(if descending { end } else { start }))
        }
        SearchKind::Number | SearchKind::Quantity => quantity::size(element).map(Place::Number),
        SearchKind::String => string::first(element).map(Place::Text),
        SearchKind::Token => token::first(element).map(Place::Text),
        SearchKind::Reference | SearchKind::Uri => {
            let text = element.text().or_else(|| element.text_of("reference"))?;
            Some(Place::Text(text.to_owned()))
        }
        SearchKind::Composite | SearchKind::Special => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::search::Query;
    use crate::fhir::tree::json;

    /// Ids of some Observations, as an order puts them.
    fn sorted(order: &str) -> String {
        let all = [
            r#"{"resourceType":"Observation","id":"a","status":"final","code":{"text":"Zebra"},
                "valueQuantity":{"value":9,"system":"http://unitsofmeasure.org","code":"g"},
                "effectivePeriod":{"start":"2026-01-01T00:00:00Z","end":"2026-01-09T00:00:00Z"},"subject":{"reference":"Patient/2"}}"#,
            r#"{"resourceType":"Observation","id":"b","status":"final","code":{"text":"apple"},
                "valueQuantity":{"value":0.0105,"system":"http://unitsofmeasure.org","code":"kg"},
                "effectiveDateTime":"2026-01-02","subject":{"reference":"Patient/1"}}"#,
            r#"{"resourceType":"Observation","id":"c","status":"amended","code":{"coding":[{"code":"m"}]},
                "subject":{"reference":"Patient/1"}}"#,
        ];
        let pairs = [("_sort".to_owned(), order.to_owned())];
        let (query, issues) = Query::parse("Observation", &pairs, &Registry::core(), false);
        assert!(issues.is_empty(), "{order}: {issues:?}");
        let mut ranked: Vec<(Rank, String)> = Vec::new();
        for (index, text) in all.iter().enumerate() {
            let document = json::parse(*text).unwrap();
            let root = Element::root(&document);
            let rank = query.rank(root, index as i64);
            assert_eq!(Rank::read(&rank.texts(), &query.sort), Some(rank.clone()), "{order}");
            ranked.push((rank, root.text_of("id").unwrap().to_owned()));
        }
        ranked.sort();
        ranked.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn orders_by_any_parameter() {
        for (order, expected) in [
            ("_id", "abc"),
            ("-_id", "cba"),
            ("code", "bca"),
            ("-code", "acb"),
            ("value-quantity,_id", "abc"),
            ("-value-quantity", "bac"),
            ("subject,-_id", "cba"),
            ("subject,_id", "bca"),
            ("status,_id", "cab"),
            ("-status,-_lastUpdated", "bac"),
            ("date,_id", "abc"),
            ("-date,_id", "abc"),
        ] {
            assert_eq!(sorted(order), expected, "{order}");
        }
    }

    #[test]
    fn a_place_of_another_order_is_none() {
        assert_eq!(Rank::read(&[Some("m1".to_owned())], &[]), None);
        let sort = [Sort { by: SortBy::Id, descending: false }];
        assert_eq!(Rank::read(&[Some("x1".to_owned())], &sort), None);
        assert_eq!(Rank::read(&[Some("mfirst".to_owned())], &sort), None);
    }
}
