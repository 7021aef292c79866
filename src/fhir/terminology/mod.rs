//! Terminology: whether a code belongs to a value set, as far as it can be told from here.
//!
//! Three answers, because two would lie: [`Membership::Unknown`] where the set cannot be enumerated and no
//! grammar decides. No remote server is known here; whoever holds the question may ask one.

mod alias;
mod check_digit;
mod grammar;
mod subsume;
pub mod ucum;
mod value_set;

pub use alias::named;
pub use check_digit::has_check_digit;
pub use grammar::is_country;
pub use subsume::subsumes;
pub use value_set::{Membership, defines, membership};
