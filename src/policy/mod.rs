//! What we allow and promise: pure decisions over plain data. `now` is always an argument; no store, no
//! network. Inside, access < consent < routing; delivery and audit stand beside them.

pub mod access;

pub mod consent;

pub mod routing;

pub mod delivery;

pub mod audit;
