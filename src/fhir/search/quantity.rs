//! Number and quantity parameters (R4 §3.1.1.4.5, §3.1.1.4.11).
//!
//! Equality asks for what the written digits allow: `5.4` is [5.35, 5.45). The ordering prefixes take the number
//! as exact. Units match as written, or by UCUM where both sides are UCUM; another unit never matches, whatever
//! the prefix. A comparator or a Range in the resource makes its side an interval.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::escape;
use super::prefix::Prefix;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::{Element, Kind};

const UCUM: &str = ucum::SYSTEM;
const CURRENCY: &str = "urn:iso:std:iso:4217";

/// A number as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub prefix: Prefix,
    pub value: Decimal,
    /// What the written precision covers, half open.
    pub low: Decimal,
    pub high: Decimal,
    pub unit: Unit,
}

/// The unit that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unit {
    Any,
    /// A code of the system, or without one a code or unit of any system.
    Code {
        system: Option<String>,
        code: String,
    },
    /// Any unit of the system.
    System(String),
}

/// The side of the resource: a closed interval, where `None` has no bound.
struct Amount<'d> {
    low: Option<Decimal>,
    high: Option<Decimal>,
    system: Option<&'d str>,
    code: Option<&'d str>,
    unit: Option<&'d str>,
}

impl Wanted {
    /// `[prefix]number`.
    pub(super) fn number(text: &str) -> Option<Wanted> {
        let (prefix, digits) = Prefix::split(text);
        let (value, half) = precise(digits)?;
        let (low, high) = (value.checked_sub(half)?, value.checked_add(half)?);
        Some(Wanted { prefix, value, low, high, unit: Unit::Any })
    }

    /// `[prefix]number`, `[prefix]number|system|code`, `[prefix]number||code`.
    pub(super) fn quantity(text: &str) -> Option<Wanted> {
        let parts = escape::split(text, '|');
        let plain = |at: usize| parts.get(at).map(|part| escape::unescape(part)).filter(|part| !part.is_empty());
        let unit = match (plain(1), plain(2)) {
            _ if parts.len() > 3 => return None,
            (None, None) => Unit::Any,
            (Some(system), None) => Unit::System(system),
            (system, Some(code)) => Unit::Code { system, code },
        };
        Some(Wanted { unit, ..Wanted::number(parts[0])? })
    }

    pub fn matches(&self, element: Element<'_>) -> bool {
        Amount::read(element).is_some_and(|amount| self.compares(&amount))
    }

    fn compares(&self, amount: &Amount<'_>) -> bool {
        let Some(convert) = self.conversion(amount) else { return false };
        let order = |value: Decimal, bound: Decimal| match convert {
            None => Some(value.cmp(&bound)),
            Some((from, to)) => ucum::compare(value, from, bound, to),
        };
        let low = |bound, accepted: fn(Ordering) -> bool| {
            amount.low.is_some_and(|value| order(value, bound).is_some_and(accepted))
        };
        let high = |bound, accepted: fn(Ordering) -> bool| {
            amount.high.is_some_and(|value| order(value, bound).is_some_and(accepted))
        };
        let within = || low(self.low, Ordering::is_ge) && high(self.high, Ordering::is_lt);
        match self.prefix {
            Prefix::Equal => within(),
            Prefix::NotEqual => !within(),
            Prefix::Greater => amount.high.is_none() || high(self.value, Ordering::is_gt),
            Prefix::GreaterOrEqual => amount.high.is_none() || high(self.value, Ordering::is_ge),
            Prefix::Less => amount.low.is_none() || low(self.value, Ordering::is_lt),
            Prefix::LessOrEqual => amount.low.is_none() || low(self.value, Ordering::is_le),
            Prefix::StartsAfter => low(self.value, Ordering::is_gt),
            Prefix::EndsBefore => high(self.value, Ordering::is_lt),
            Prefix::Approximately => {
                // R4 recommends a tenth of the value.
                let tenth = self.value.abs() / Decimal::TEN;
                let (from, until) = (self.value.saturating_sub(tenth), self.value.saturating_add(tenth));
                (amount.high.is_none() || high(from, Ordering::is_ge))
                    && (amount.low.is_none() || low(until, Ordering::is_le))
            }
        }
    }

    /// `None`: the units do not match. `Some(None)`: the numbers compare as they are. `Some(Some(from, to))`: by UCUM.
    #[expect(clippy::option_option, reason = "no match, no conversion and a conversion are three answers")]
    fn conversion<'w>(&'w self, amount: &Amount<'w>) -> Option<Option<(&'w str, &'w str)>> {
        let (system, code) = match &self.unit {
            Unit::Any => return Some(None),
            Unit::System(system) => return (amount.system == Some(system.as_str())).then_some(None),
            Unit::Code { system, code } => (system.as_deref(), code.as_str()),
        };
        match system {
            None => (amount.code == Some(code) || amount.unit == Some(code)).then_some(None),
            Some(_) if amount.system != system => None,
            Some(_) if amount.code == Some(code) => Some(None),
            Some(UCUM) => amount.code.filter(|from| ucum::comparable(from, code)).map(|from| Some((from, code))),
            Some(_) => None,
        }
    }
}

impl<'d> Amount<'d> {
    fn read(element: Element<'d>) -> Option<Amount<'d>> {
        let decimal = |element: Element<'_>| {
            element.text().filter(|_| element.kind() == Some(Kind::Number)).and_then(precise).map(|(value, _)| value)
        };
        if !element.is_object() {
            let value = decimal(element)?;
            return Some(Amount { low: Some(value), high: Some(value), system: None, code: None, unit: None });
        }
        if let Some(value) = element.get("value") {
            let value = decimal(value)?;
            let (low, high) = match element.text_of("comparator") {
                Some("<" | "<=") => (None, Some(value)),
                Some(">" | ">=") => (Some(value), None),
                _ => (Some(value), Some(value)),
            };
            let currency = element.text_of("currency");
            return Some(Amount {
                low,
                high,
                system: element.text_of("system").or(currency.map(|_| CURRENCY)),
                code: element.text_of("code").or(currency),
                unit: element.text_of("unit"),
            });
        }
        let (low, high) = (element.get("low"), element.get("high"));
        let either = low.or(high)?;
        Some(Amount {
            low: low.and_then(|low| decimal(low.get("value")?)),
            high: high.and_then(|high| decimal(high.get("value")?)),
            system: either.text_of("system"),
            code: either.text_of("code"),
            unit: either.text_of("unit"),
        })
    }
}

/// What a number or quantity is sorted by: of one in UCUM, how much it is in whatever unit.
pub(super) fn size(element: Element<'_>) -> Option<Decimal> {
    let amount = Amount::read(element)?;
    let value = amount.low.or(amount.high)?;
    let unit = amount.code.filter(|_| amount.system == Some(UCUM));
    Some(unit.and_then(|unit| ucum::size(value, unit)).unwrap_or(value))
}

/// A decimal and half the value of its last written digit.
fn precise(text: &str) -> Option<(Decimal, Decimal)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|it| it.abs() <= 24)?),
        None => (text, 0),
    };
    let digits = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) || digits.contains('_') || digits.len() > 28 {
        return None;
    }
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    let value = scaled(Decimal::from_str_exact(mantissa).ok()?, exponent)?;
    Some((value, scaled(Decimal::new(5, 1), exponent - fraction)?))
}

/// The value times a power of ten.
fn scaled(value: Decimal, exponent: i32) -> Option<Decimal> {
    let power = Decimal::try_from_i128_with_scale(10_i128.checked_pow(exponent.unsigned_abs())?, 0).ok()?;
    if exponent < 0 { value.checked_div(power) } else { value.checked_mul(power) }
}
