//! What a person may ask of whoever holds her data (GDPR Articles 12 to 22), one file an operation.
//!
//! Who counts as the person herself is decided in `standing` alone. What these operations do is on record like everything
//! else, and to anybody but the person a person that exists and one that does not look the same.

mod access_log;
mod blanked;
mod erasure;
mod everything;
mod export;
mod receipt;
mod restriction;
pub mod retention;
mod standing;
mod summary;
pub mod upkeep;

pub use export::{Export, Form};
