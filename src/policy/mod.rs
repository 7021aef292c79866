//! What we allow and promise: pure decisions over plain data. `now` is always an argument; no store, no
//! network. Inside, access < consent < routing; delivery, audit and pseudonym stand beside them, subscription above.

pub mod access;

pub mod consent;

pub mod routing;

pub mod delivery;

pub mod audit;

pub mod pseudonym;

pub mod subscription;
