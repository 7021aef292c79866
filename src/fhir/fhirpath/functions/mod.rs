//! The functions of the language, one file per group of the specification, found by name at compile time.
//!
//! Each file ends the same way: a table of [`Function`]s. A function gets its arguments unevaluated, because only
//! it knows what `$this` is in them. `is`, `as` and `ofType` take a type and not an expression, so they are part
//! of the plan and stand in no table.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "functions stand in tables, so they share one signature"
)]

mod boundaries;
mod combining;
mod conversion;
mod existence;
mod filtering;
mod math;
mod narrative;
mod resource;
mod strings;
mod subsetting;
pub(super) mod transcoding;
mod tree;
mod utility;

use std::ops::RangeInclusive;

use super::evaluate::{Call, Outcome};

/// One function.
pub(super) struct Function {
    pub name: &'static str,
    /// How many arguments it takes.
    pub arguments: RangeInclusive<usize>,
    /// Its first argument is a regular expression.
    pub takes_pattern: bool,
    /// What it says of its input, where it says nothing but that.
    pub says: Option<Says>,
    pub run: for<'s, 'd> fn(Call<'s, 'd>) -> Outcome<'d>,
}

const fn function(
    name: &'static str,
    arguments: RangeInclusive<usize>,
    run: for<'s, 'd> fn(Call<'s, 'd>) -> Outcome<'d>,
) -> Function {
    Function { name, arguments, takes_pattern: false, says: None, run }
}

/// What a function without arguments can be answered by alone: no collection has to be made for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Says {
    IsThere,
    IsAbsent,
    IsFalse,
    First,
}

const fn saying(
    says: Says,
    name: &'static str,
    arguments: RangeInclusive<usize>,
    run: for<'s, 'd> fn(Call<'s, 'd>) -> Outcome<'d>,
) -> Function {
    Function { says: Some(says), ..function(name, arguments, run) }
}

static TABLES: [&[Function]; 13] = [
    &boundaries::FUNCTIONS,
    &combining::FUNCTIONS,
    &conversion::FUNCTIONS,
    &existence::FUNCTIONS,
    &filtering::FUNCTIONS,
    &math::FUNCTIONS,
    &narrative::FUNCTIONS,
    &resource::FUNCTIONS,
    &strings::FUNCTIONS,
    &subsetting::FUNCTIONS,
    &transcoding::FUNCTIONS,
    &tree::FUNCTIONS,
    &utility::FUNCTIONS,
];

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().flat_map(|table| table.iter()).find(|function| function.name == name)
}

impl std::fmt::Debug for Function {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let mut names = TABLES.iter().flat_map(|table| table.iter()).map(|function| function.name).collect::<Vec<_>>();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
