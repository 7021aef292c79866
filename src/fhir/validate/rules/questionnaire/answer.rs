//! One answer: its type, and what the form asks of its value.

use rust_decimal::Decimal;

use super::super::super::run::Run;
use super::super::super::scope::{Found, named};
use super::super::attachment::decoded_length;
use super::form::{Amount, Coding, Form, Item, Kind, Limits};
use super::options;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, membership, ucum};
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

/// The types of `QuestionnaireResponse.item.answer.value[x]`.
const ANSWER_TYPES: [&str; 12] = [
    "Attachment",
    "Coding",
    "Quantity",
    "Reference",
    "boolean",
    "date",
    "dateTime",
    "decimal",
    "integer",
    "string",
    "time",
    "uri",
];

/// Checks an answer of an item that has so many. The trail stands on the answer.
pub fn check<'d>(run: &mut Run<'_, 'd>, form: &Form, item: &Item, answer: Element<'d>, count: usize) {
    let Some(kind) = item.kind else { return };
    let types = kind.types();
    if types.is_empty() {
        return;
    }
    let Some(value) = named(answer, "value", Some(true)).into_iter().next() else { return };
    // What no answer may be has been said of the element itself.
    if !ANSWER_TYPES.contains(&value.type_name) {
        return;
    }
    if !types.contains(&value.type_name) {
        run.enter(&value);
        let text = format!("The answer to {} must be of type {}.", form.name(item), types.join(" or "));
        run.issue(Id::FormAnswerType, value.element, text);
        run.leave();
        return;
    }
    match kind {
        Kind::Choice | Kind::OpenChoice => options::check_choice(run, form, item, &value, answer, count),
        Kind::Attachment => attachment(run, &item.limits, &value, answer),
        _ => {
            run.enter(&value);
            simple(run, kind, item, &value);
            if !matches!(kind, Kind::Boolean | Kind::Text | Kind::Url | Kind::Reference | Kind::Quantity) {
                options::check_plain(run, item, &value);
            }
            run.leave();
        }
    }
}

fn simple<'d>(run: &mut Run<'_, 'd>, kind: Kind, item: &Item, value: &Found<'d>) {
    let limits = &item.limits;
    match kind {
        Kind::Integer | Kind::Decimal => number(run, limits, value),
        Kind::Date | Kind::DateTime => moment(run, limits, value),
        Kind::Time => time(run, limits, value),
        Kind::String => string(run, item, value),
        Kind::Quantity => quantity(run, limits, value),
        Kind::Reference => reference(run, limits, value),
        _ => {}
    }
}

fn limit<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, text: String) {
    run.issue(Id::FormAnswerLimit, element, text);
}

fn number<'d>(run: &mut Run<'_, 'd>, limits: &Limits, value: &Found<'d>) {
    let Some(text) = value.element.text() else { return };
    let Ok(own) = text.parse::<Decimal>() else { return };
    if let Some(min) = limits.min_value.as_deref().filter(|min| min.parse().is_ok_and(|min: Decimal| own < min)) {
        limit(run, value.element, format!("The answer must be at least {min}."));
    }
    if let Some(max) = limits.max_value.as_deref().filter(|max| max.parse().is_ok_and(|max: Decimal| own > max)) {
        limit(run, value.element, format!("The answer must be at most {max}."));
    }
    decimals(run, limits, value.element, text);
}

fn decimals<'d>(run: &mut Run<'_, 'd>, limits: &Limits, element: Element<'d>, text: &str) {
    let places = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if let Some(max) = limits.decimals.filter(|max| places > *max) {
        limit(run, element, format!("The answer must have at most {max} decimal places."));
    }
}

/// Moments of different precision are out of range only if no reading of them is in it.
fn moment<'d>(run: &mut Run<'_, 'd>, limits: &Limits, value: &Found<'d>) {
    let interval = |text: &str| Moment::parse(text).map(|moment| moment.interval_assuming_utc_ms());
    let Some(own) = value.element.text().and_then(interval) else { return };
    if let Some(min) = limits.min_value.as_deref().filter(|min| interval(min).is_some_and(|min| own.1 <= min.0)) {
        limit(run, value.element, format!("The answer must not lie before {min}."));
    }
    if let Some(max) = limits.max_value.as_deref().filter(|max| interval(max).is_some_and(|max| own.0 >= max.1)) {
        limit(run, value.element, format!("The answer must not lie after {max}."));
    }
}

/// Times of day have one form, which sorts as text.
fn time<'d>(run: &mut Run<'_, 'd>, limits: &Limits, value: &Found<'d>) {
    let Some(own) = value.element.text() else { return };
    if let Some(min) = limits.min_value.as_deref().filter(|min| own < *min) {
        limit(run, value.element, format!("The answer must not lie before {min}."));
    }
    if let Some(max) = limits.max_value.as_deref().filter(|max| own > *max) {
        limit(run, value.element, format!("The answer must not lie after {max}."));
    }
}

fn string<'d>(run: &mut Run<'_, 'd>, item: &Item, value: &Found<'d>) {
    let limits = &item.limits;
    let Some(text) = value.element.text() else { return };
    let length = text.encode_utf16().count();
    if let Some(min) = limits.min_length.filter(|min| length < *min) {
        limit(run, value.element, format!("The answer must have at least {min} characters."));
    }
    if let Some(max) = limits.max_length.filter(|max| length > *max) {
        limit(run, value.element, format!("The answer must have at most {max} characters."));
    }
    if limits.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
        limit(run, value.element, "The answer must have the format that the form asks for.".to_owned());
    }
    if text.contains(['\r', '\n']) {
        let text = "The answer to an item of type string should be one line; for more the form has the type text.";
        run.issue(Id::FormAnswerAdvice, value.element, text.to_owned());
    }
    let Some(offer) = &item.value_set else { return };
    match offer.set.as_deref().map(|set| membership(set, None, text)) {
        None => options::set_unknown(run, value.element),
        Some(Membership::Out) => {
            let text = format!("The answer must be a code of the value set {}.", offer.canonical);
            run.issue(Id::FormAnswerOption, value.element, text);
        }
        Some(_) => {}
    }
}

fn attachment<'d>(run: &mut Run<'_, 'd>, limits: &Limits, value: &Found<'d>, answer: Element<'d>) {
    if !limits.media_types.is_empty() {
        let own = value.element.text_of("contentType");
        if own.is_none_or(|own| !limits.media_types.iter().any(|allowed| own.starts_with(&**allowed))) {
            limit(run, answer, format!("The attachment's contentType must be {}.", limits.media_types.join(" or ")));
        }
    }
    if let (Some(max), Some(data)) = (limits.max_size, value.element.text_of("data"))
        && decoded_length(data) > max
    {
        limit(run, answer, format!("The attachment must have at most {max} bytes."));
    }
}

fn reference<'d>(run: &mut Run<'_, 'd>, limits: &Limits, value: &Found<'d>) {
    if limits.targets.is_empty() {
        if value.element.text_of("reference").is_some_and(|text| is_of_unknown_type(run, text)) {
            let text = "A reference of the form [base]/[type]/[id] must name a type of resources.";
            limit(run, value.element, text.to_owned());
        }
        return;
    }
    let Some(kind) = super::super::reference::kind(run, value.element) else { return };
    if !limits.targets.iter().any(|target| run.validator.registry.subtype_of(kind, target)) {
        limit(run, value.element, format!("The reference must point to {}.", limits.targets.join(" or ")));
    }
}

/// Whether an address has the form of a resource's on a server, but for a type that there is none of.
fn is_of_unknown_type(run: &Run<'_, '_>, address: &str) -> bool {
    let Some((_, path)) = address.split_once("://") else { return false };
    let path = path.split("/_history/").next().unwrap_or(path);
    let mut parts = path.rsplit('/');
    let (Some(_), Some(kind), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let looks_like_one = kind.starts_with(|first: char| first.is_ascii_uppercase())
        && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    looks_like_one && !run.validator.registry.is_resource(kind)
}

fn quantity<'d>(run: &mut Run<'_, 'd>, limits: &Limits, value: &Found<'d>) {
    let element = value.element;
    let own = Amount::read(element);
    for (bound, is_min) in [(&limits.min_quantity, true), (&limits.max_quantity, false)] {
        let Some(bound) = bound else { continue };
        let most = if is_min { "least" } else { "most" };
        match order(&own, bound) {
            Some(order) if (is_min && order.is_lt()) || (!is_min && order.is_gt()) => {
                limit(
                    run,
                    element,
                    format!("The quantity is not within the form's bound: at {most} {}.", shown(bound)),
                );
            }
            Some(_) => {}
            None => {
                let text =
                    format!("The quantity must have a unit that compares with the bound: at {most} {}.", shown(bound));
                limit(run, element, text);
            }
        }
    }
    if let Some(text) = element.text_of("value") {
        decimals(run, limits, element, text);
    }
    let has = |own: Option<&str>, wanted: &Option<Box<str>>| wanted.is_none() || own == wanted.as_deref();
    let is_unit = |coding: &Coding| {
        has(element.text_of("system"), &coding.system)
            && has(element.text_of("code"), &coding.code)
            && has(element.text_of("unit"), &coding.display)
    };
    if !limits.units.is_empty() && !limits.units.iter().any(is_unit) {
        limit(run, element, "The unit must be one of those that the form offers.".to_owned());
    }
    let Some(offer) = &limits.unit_set else { return };
    let code = element.text_of("code").unwrap_or_default();
    let system = element.text_of("system").unwrap_or_default();
    match offer.set.as_deref().map(|set| membership(set, Some(system), code)) {
        None => options::set_unknown(run, element),
        Some(Membership::Out) => {
            limit(run, element, format!("The unit must be one of the value set {}.", offer.canonical));
        }
        Some(_) => {}
    }
}

fn order(own: &Amount, bound: &Amount) -> Option<std::cmp::Ordering> {
    let (value, limit) = (own.value?, bound.value?);
    let (code, unit) = (own.code.as_deref()?, bound.code.as_deref()?);
    if own.system.as_deref()? != bound.system.as_deref()? {
        return None;
    }
    if code == unit {
        return Some(value.cmp(&limit));
    }
    if own.system.as_deref() != Some(ucum::SYSTEM) {
        return None;
    }
    ucum::compare(value, code, limit, unit)
}

fn shown(amount: &Amount) -> String {
    let value = amount.value.map(|value| value.to_string()).unwrap_or_default();
    format!("{value} {}", amount.code.as_deref().unwrap_or_default()).trim().to_owned()
}
