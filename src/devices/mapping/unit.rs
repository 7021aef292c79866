//! Units and factors: which unit a value is in, and digits multiplied without one being lost.

use rust_decimal::Decimal;

use super::expression::{Scope, issue_of};
use super::pack::{Unit, UnitOf};
use crate::fhir::outcome::{Id, Issue};

/// Most digits that are multiplied: FHIR's own limit, and far from the end of [`Decimal`].
pub(super) const MAX_DIGITS: usize = 18;

pub(super) fn multiplied(digits: &str, factor: Decimal) -> Option<String> {
    let number = Decimal::from_str_exact(digits).or_else(|_| Decimal::from_scientific(digits)).ok()?;
    let exact = is_short(digits) && number.scale() + factor.scale() <= Decimal::MAX_SCALE;
    let product = number.checked_mul(factor).filter(|_| exact)?;
    Some(product.to_string())
}

/// Whether a number has no more digits than can be multiplied exactly.
pub(super) fn is_short(digits: &str) -> bool {
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count() <= MAX_DIGITS
}

pub(super) fn unit_of<'u>(unit: &'u UnitOf, scope: Scope<'_>) -> Result<&'u Unit, Issue> {
    match unit {
        UnitOf::Fixed(unit) => Ok(unit),
        UnitOf::By { by, is, default } => {
            let sent = by.word(scope)?;
            let found = match &sent {
                None => default.as_ref(),
                Some(sent) => is.get(sent.as_ref()),
            };
            found.ok_or_else(|| {
                let names: Vec<&str> = is.keys().map(String::as_str).collect();
                let id = if sent.is_some() { Id::MeasureUnit } else { Id::DeviceRecord };
                let text = match sent {
                    Some(_) => format!("The value is measured in {}.", names.join(" or ")),
                    None => format!("{} is missing: {} is expected.", by.text(), names.join(" or ")),
                };
                issue_of(id, scope, by.place(scope), &text)
            })
        }
    }
}
