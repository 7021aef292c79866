//! R4 search over one resource at a time: parse what was asked, say what it implies, match exactly.
//!
//! A store narrows by what it indexes, with the help of [`Hints`], and every candidate is then matched here
//! against the whole [`Query`], so no index needs to be exact. What cannot be evaluated is refused when the
//! query is parsed, or ignored with a warning where the client asked for leniency; it never silently widens a
//! result. Definitions come from the registry's SearchParameters, shapes from the resource itself. What depends on
//! other resources (chains, `_has`, includes) is read here and resolved by whoever holds them. Unknown here: SQL, paging
//! tokens, the store.
//!
//! Reading order: escape, prefix < date, quantity, string, uri, token, reference < extract < parameter < clause
//! < link, include, sort, subset < query < hints, known, parse; statistics beside them.

mod escape;
mod prefix;

pub mod date;
pub mod quantity;
pub mod reference;
pub mod statistics;
pub mod string;
pub mod token;
pub mod uri;

mod clause;
mod extract;
mod hints;
mod include;
mod known;
mod link;
mod parameter;
mod parse;
mod query;
mod sort;
mod subset;

#[cfg(test)]
mod tests;

pub use clause::{Clause, Test, Wanted};
pub use extract::{Found, Path};
pub use hints::Hints;
pub use include::Include;
pub use known::Known;
pub use link::{Link, pointing};
pub use parameter::{Component, Parameter, parameters};
pub use parse::shown;
pub use prefix::Prefix;
pub use query::{Query, Summary, Total};
pub use sort::{Rank, Sort, SortBy};
pub use subset::Subset;
