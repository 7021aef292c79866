//! One file an interaction: read the request, call the exchange, say what came of it.

mod body;
mod bulk;
mod bundle;
mod consent;
mod create;
mod definitions;
mod delete;
mod device;
mod guide;
mod history;
mod log;
mod measures;
mod open;
mod patch;
mod person;
mod read;
mod receipts;
mod rights;
mod search;
mod subscription;
mod token;
mod update;
mod uploads;
mod validate;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;

use super::limits::Limits;
use super::reply::{Body, Reply};
use super::routes::{Action, Matched};
use super::{negotiate, problem};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Reader;
use crate::policy::access::Principal;

/// A request within its limits, with whoever sent it.
pub struct Request<'r> {
    pub gateway: &'r Arc<Gateway>,
    pub matched: Matched<'r>,
    pub method: &'r str,
    pub path: &'r str,
    /// Path and query as they were sent.
    pub address_sent: &'r str,
    /// Percent-decoded.
    pub query: Vec<(String, String)>,
    pub headers: &'r HeaderMap,
    pub body: Bytes,
    pub principal: Option<&'r Principal>,
    pub request_id: &'r str,
    /// IP address of the caller.
    pub address: &'r str,
    /// Resources that its searches have looked at so far, those of each entry of a Bundle among them.
    pub looked_at: AtomicUsize,
}

impl Request<'_> {
    /// The caller of a route that needs a token; the server admits nobody else to it.
    fn caller(&self) -> Result<Caller<'_>, Refusal> {
        let Some(principal) = self.principal else {
            return Err(crate::policy::access::Denied::Missing.issue().into());
        };
        let purpose = principal.purpose(stated_purpose(self.headers)).map_err(|denied| denied.issue())?;
        Ok(Caller {
            principal,
            request_id: self.request_id,
            purpose,
            address: Some(self.address),
            looked_at: Some(&self.looked_at),
        })
    }

    /// Whom the answer's issues are for.
    fn reader(&self) -> Reader<'_> {
        negotiate::reader(&self.gateway.pages, self.headers)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The purpose of use that a client states.
pub fn stated_purpose(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-purpose-of-use").and_then(|value| value.to_str().ok())
}

/// Serves a request whose body is worked off while it arrives.
pub async fn stream(request: &Request<'_>, body: Incoming, limits: &Limits) -> Reply {
    match request.matched.action {
        Action::UploadAppend => {
            uploads::append(request, body, limits).await.unwrap_or_else(|refusal| uploads::refused(&refusal))
        }
        _ => device::stream(request, body, limits).await.unwrap_or_else(|refusal| problem::reply(&refusal)),
    }
}

/// Serves a request.
pub async fn handle(request: &Request<'_>) -> Reply {
    let outcome = match request.matched.action {
        Action::Live => Ok(open::live()),
        Action::Ready => Ok(open::ready(request)),
        Action::Metadata => Ok(open::metadata(request)),
        Action::SmartConfiguration => Ok(open::smart_configuration(request)),
        Action::Guide => Ok(guide::file(request).await),
        Action::Explain => Ok(guide::explain(request).await),
        Action::Definition => definitions::read(request).await,
        Action::Definitions => definitions::search(request).await,
        Action::Token => Ok(token::grant(request).await),
        Action::Create => create::create(request).await,
        Action::Update => update::update(request).await,
        Action::ConditionalUpdate => update::conditional(request).await,
        Action::Patch => patch::patch(request).await,
        Action::ConditionalPatch => patch::conditional(request).await,
        Action::Delete => delete::delete(request).await,
        Action::ConditionalDelete => delete::conditional(request).await,
        Action::Read | Action::VersionRead => read::read(request).await,
        Action::Latest => measures::latest(request).await,
        Action::Statistics => measures::statistics(request).await,
        Action::History => history::history(request).await,
        Action::Search | Action::SearchForm | Action::Compartment | Action::CompartmentForm => {
            search::search(request).await
        }
        Action::Bundle => bundle::bundle(request).await,
        Action::Device => device::device(request).await,
        Action::Receipts => receipts::receipts(request).await,
        Action::Scorecard => receipts::scorecard(request).await,
        Action::DeviceExplain => device::explain(request).await,
        Action::Validate => validate::validate(request).await,
        Action::Visit => person::open(request).await,
        Action::PersonPage => Ok(person::page(request).await),
        Action::PersonStyle => Ok(person::style()),
        Action::PersonDoor => Ok(person::door(request)),
        Action::PersonEnter => Ok(person::enter(request).await),
        Action::PersonChoice => Ok(person::choice(request).await),
        Action::PersonLog => Ok(person::log(request).await),
        Action::PersonExport => Ok(person::export(request).await),
        Action::PersonErase => Ok(person::erase(request).await),
        Action::PersonWithdraw => Ok(person::withdraw(request).await),
        Action::PersonConnect => Ok(person::connect(request).await),
        Action::PersonReturned => Ok(person::returned(request)),
        Action::PersonConnected => Ok(person::connected(request).await),
        Action::PersonDisconnect => Ok(person::disconnect(request).await),
        Action::PersonLeave => Ok(person::leave(request)),
        Action::ConsentReceipt => consent::receipt(request).await,
        Action::ReceiptKeys => Ok(Reply::json(200, &request.gateway.receipt_keys())),
        Action::Revoke => consent::revoke(request).await,
        Action::Evaluate => consent::evaluate(request).await,
        Action::LogCheckpoint => log::checkpoint(request).await,
        Action::LogKey => Ok(log::key(request)),
        Action::LogTile => log::tile(request).await,
        Action::AuditProof => log::proof(request).await,
        Action::Everything => rights::everything(request).await,
        Action::Summary => rights::summary(request).await,
        Action::Export => rights::export(request).await,
        Action::ExportAll | Action::ExportPersons | Action::ExportGroup => bulk::kickoff(request).await,
        Action::ExportStatus => bulk::status(request).await,
        Action::ExportCancel => bulk::cancel(request).await,
        Action::ExportFile => bulk::file(request).await,
        Action::Erase => rights::erase(request).await,
        Action::Restrict => rights::restrict(request, true).await,
        Action::Unrestrict => rights::restrict(request, false).await,
        Action::Subscribe => subscription::create(request).await,
        Action::Subscription => subscription::read(request).await,
        Action::SubscriptionVersion => subscription::version(request).await,
        Action::SubscriptionHistory => subscription::history(request).await,
        Action::Subscriptions => subscription::search(request).await,
        Action::Resubscribe => subscription::update(request).await,
        Action::PatchSubscription => subscription::patch(request).await,
        Action::Unsubscribe => subscription::delete(request).await,
        Action::SubscriptionStatus => subscription::status(request).await,
        Action::SubscriptionEvents => subscription::events(request).await,
        Action::BindingToken => subscription::binding_token(request).await,
        // A request that asks for a socket has become one before it came here.
        Action::Socket => Ok(Reply::new(426, Body::Empty).with(hyper::header::UPGRADE, "websocket")),
        Action::Topic => Ok(subscription::topic(request)),
        Action::Topics => subscription::topics(request),
        Action::AccessLog => rights::access_log(request).await,
        Action::UploadOptions => Ok(uploads::options(request)),
        Action::UploadCreate => Ok(uploaded(uploads::create(request).await)),
        Action::UploadOffset => Ok(uploaded(uploads::offset(request).await)),
        Action::UploadRemove => Ok(uploaded(uploads::remove(request).await)),
        Action::UploadStatus => uploads::status(request).await,
        // Its body flows, so it is served above.
        Action::UploadAppend => Ok(problem::internal()),
    };
    // What was refused without having been judged is recorded by the server, in one place for all.
    outcome.unwrap_or_else(|refusal| problem::reply(&refusal))
}

fn uploaded(outcome: Result<Reply, Refusal>) -> Reply {
    outcome.unwrap_or_else(|refusal| uploads::refused(&refusal))
}
