//! How the world reaches us: TLS, HTTP, limits, routes, and one handler an interaction.
//!
//! Reading order is the order of dependence: limits < negotiate < problem < handlers < routes < listen; `figures`
//! has a listener of its own. A handler reads the request, calls `exchange` and turns what comes back into a reply; it decides nothing. Not known here:
//! the store, the peers, how a resource is validated or what a consent says.

pub mod limits;

pub mod flow;

pub mod reply;

pub mod negotiate;

pub mod problem;

pub mod routes;

pub mod capability;

pub mod handlers;

pub mod tls;

mod socket;

mod unread;

pub mod listen;

pub mod figures;
