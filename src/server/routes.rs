//! Every address that exists, as data: its method, what it needs, and what the audit will call it.
//!
//! The CapabilityStatement is built from these rows and a test holds each against what the server really does, so
//! that a route without authentication cannot slip in unseen.

use crate::guide::Definition;

/// Whether the body is worked off while it arrives, and not read before.
pub fn flows(action: Action, is_lines: bool) -> bool {
    action == Action::UploadAppend || (action == Action::Device && is_lines)
}

/// Whether it is open to whoever learns of persons by pseudonyms alone.
pub fn is_deidentified(action: Action) -> bool {
    use Action::{ExportAll, ExportCancel, ExportFile, ExportPersons, ExportStatus};
    matches!(action, ExportAll | ExportPersons | ExportStatus | ExportCancel | ExportFile)
}

/// What a route does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    Metadata,
    SmartConfiguration,
    Guide,
    Explain,
    Definition,
    Definitions,
    Live,
    Ready,
    Token,
    Bundle,
    Search,
    SearchForm,
    Compartment,
    Latest,
    Statistics,
    CompartmentForm,
    Create,
    Read,
    VersionRead,
    History,
    Update,
    Patch,
    Delete,
    ConditionalUpdate,
    ConditionalPatch,
    ConditionalDelete,
    Validate,
    Device,
    Receipts,
    Scorecard,
    UploadOptions,
    UploadCreate,
    UploadOffset,
    UploadAppend,
    UploadRemove,
    UploadStatus,
    DeviceExplain,
    Visit,
    PersonPage,
    PersonStyle,
    PersonDoor,
    PersonEnter,
    PersonChoice,
    PersonLog,
    PersonExport,
    PersonErase,
    PersonWithdraw,
    PersonConnect,
    PersonReturned,
    PersonConnected,
    PersonDisconnect,
    PersonLeave,
    Evaluate,
    Revoke,
    ConsentReceipt,
    ReceiptKeys,
    LogCheckpoint,
    LogKey,
    LogTile,
    AuditProof,
    Everything,
    Summary,
    AccessLog,
    Erase,
    Export,
    ExportAll,
    ExportPersons,
    ExportGroup,
    ExportStatus,
    ExportCancel,
    ExportFile,
    Restrict,
    Unrestrict,
    Subscribe,
    Subscription,
    SubscriptionVersion,
    SubscriptionHistory,
    Subscriptions,
    Resubscribe,
    PatchSubscription,
    Unsubscribe,
    SubscriptionStatus,
    SubscriptionEvents,
    BindingToken,
    Socket,
    Topic,
    Topics,
}

/// Who may come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// Anybody; nothing here concerns a person.
    Open,
    /// A client that proves itself in the request.
    Assertion,
    /// A person with a link or a session, which the page's own handlers look at.
    Visit,
    /// A valid access token; the scope that the action needs is checked where the resource type is known.
    Token,
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub method: &'static str,
    /// Segments; `{kind}`, `{definitions}` (a type of the guide's definitions), `{id}`, `{version}`, `{format}` and `{file}` take one each,
    /// `{path}` all that follow.
    pub pattern: &'static str,
    pub action: Action,
    pub door: Door,
}

const fn row(method: &'static str, pattern: &'static str, action: Action, door: Door) -> Row {
    Row { method, pattern, action, door }
}

/// All of them. The first row that fits is taken, so fixed names stand before placeholders.
pub const ROUTES: &[Row] = &[
    row("GET", "/health/live", Action::Live, Door::Open),
    row("GET", "/health/ready", Action::Ready, Door::Open),
    row("GET", "/.well-known/smart-configuration", Action::SmartConfiguration, Door::Open),
    row("GET", "/fhir/.well-known/smart-configuration", Action::SmartConfiguration, Door::Open),
    row("GET", "/.well-known/consent-receipt-keys", Action::ReceiptKeys, Door::Open),
    row("GET", "/guide", Action::Guide, Door::Open),
    row("HEAD", "/guide", Action::Guide, Door::Open),
    row("GET", "/guide/explain", Action::Explain, Door::Open),
    row("GET", "/guide/{file}", Action::Guide, Door::Open),
    row("HEAD", "/guide/{file}", Action::Guide, Door::Open),
    row("GET", "/guide/{version}/explain", Action::Explain, Door::Open),
    row("GET", "/guide/{version}/{file}", Action::Guide, Door::Open),
    row("HEAD", "/guide/{version}/{file}", Action::Guide, Door::Open),
    row("GET", "/person", Action::PersonPage, Door::Visit),
    row("GET", "/person/style.css", Action::PersonStyle, Door::Open),
    row("GET", "/person/enter", Action::PersonDoor, Door::Visit),
    row("POST", "/person/enter", Action::PersonEnter, Door::Visit),
    row("POST", "/person/choice", Action::PersonChoice, Door::Visit),
    row("GET", "/person/log", Action::PersonLog, Door::Visit),
    row("POST", "/person/export", Action::PersonExport, Door::Visit),
    row("POST", "/person/erase", Action::PersonErase, Door::Visit),
    row("POST", "/person/withdraw", Action::PersonWithdraw, Door::Visit),
    row("GET", "/person/connect", Action::PersonConnect, Door::Visit),
    row("GET", "/person/connected", Action::PersonReturned, Door::Open),
    row("POST", "/person/connected", Action::PersonConnected, Door::Visit),
    row("POST", "/person/disconnect", Action::PersonDisconnect, Door::Visit),
    row("POST", "/person/leave", Action::PersonLeave, Door::Open),
    row("GET", "/log/checkpoint", Action::LogCheckpoint, Door::Open),
    row("GET", "/log/key", Action::LogKey, Door::Open),
    row("GET", "/log/tile/{path}", Action::LogTile, Door::Open),
    row("POST", "/auth/token", Action::Token, Door::Assertion),
    row("POST", "/devices/{format}", Action::Device, Door::Token),
    row("OPTIONS", "/devices/{format}/uploads", Action::UploadOptions, Door::Open),
    row("POST", "/devices/{format}/uploads", Action::UploadCreate, Door::Token),
    row("OPTIONS", "/uploads/{id}", Action::UploadOptions, Door::Open),
    row("HEAD", "/uploads/{id}", Action::UploadOffset, Door::Token),
    row("PATCH", "/uploads/{id}", Action::UploadAppend, Door::Token),
    row("DELETE", "/uploads/{id}", Action::UploadRemove, Door::Token),
    row("GET", "/uploads/{id}", Action::UploadStatus, Door::Token),
    row("GET", "/exports/{id}", Action::ExportStatus, Door::Token),
    row("DELETE", "/exports/{id}", Action::ExportCancel, Door::Token),
    row("GET", "/exports/{id}/{file}", Action::ExportFile, Door::Token),
    row("GET", "/receipts", Action::Receipts, Door::Token),
    row("GET", "/receipts/scorecard", Action::Scorecard, Door::Token),
    row("POST", "/devices/{format}/$explain", Action::DeviceExplain, Door::Token),
    row("GET", "/fhir/metadata", Action::Metadata, Door::Open),
    row("HEAD", "/fhir/metadata", Action::Metadata, Door::Open),
    row("GET", "/fhir/{definitions}", Action::Definitions, Door::Open),
    row("GET", "/fhir/{definitions}/{id}", Action::Definition, Door::Open),
    row("HEAD", "/fhir/{definitions}/{id}", Action::Definition, Door::Open),
    row("GET", "/fhir/Basic", Action::Topics, Door::Open),
    row("GET", "/fhir/Basic/{id}", Action::Topic, Door::Open),
    row("HEAD", "/fhir/Basic/{id}", Action::Topic, Door::Open),
    row("GET", "/fhir/Subscription/$status", Action::SubscriptionStatus, Door::Token),
    row("POST", "/fhir/Subscription/$status", Action::SubscriptionStatus, Door::Token),
    row("GET", "/fhir/Subscription/{id}/$status", Action::SubscriptionStatus, Door::Token),
    row("POST", "/fhir/Subscription/{id}/$status", Action::SubscriptionStatus, Door::Token),
    row("GET", "/fhir/Subscription/{id}/$events", Action::SubscriptionEvents, Door::Token),
    row("POST", "/fhir/Subscription/{id}/$events", Action::SubscriptionEvents, Door::Token),
    row("GET", "/fhir/Subscription/$get-ws-binding-token", Action::BindingToken, Door::Token),
    row("POST", "/fhir/Subscription/$get-ws-binding-token", Action::BindingToken, Door::Token),
    row("GET", "/fhir/Subscription/{id}/$get-ws-binding-token", Action::BindingToken, Door::Token),
    row("POST", "/fhir/Subscription/{id}/$get-ws-binding-token", Action::BindingToken, Door::Token),
    row("GET", "/subscriptions/websocket", Action::Socket, Door::Open),
    row("GET", "/fhir/Subscription", Action::Subscriptions, Door::Token),
    row("POST", "/fhir/Subscription/_search", Action::Subscriptions, Door::Token),
    row("POST", "/fhir/Subscription", Action::Subscribe, Door::Token),
    row("GET", "/fhir/Subscription/{id}", Action::Subscription, Door::Token),
    row("HEAD", "/fhir/Subscription/{id}", Action::Subscription, Door::Token),
    row("GET", "/fhir/Subscription/{id}/_history", Action::SubscriptionHistory, Door::Token),
    row("GET", "/fhir/Subscription/{id}/_history/{version}", Action::SubscriptionVersion, Door::Token),
    row("HEAD", "/fhir/Subscription/{id}/_history/{version}", Action::SubscriptionVersion, Door::Token),
    row("PUT", "/fhir/Subscription/{id}", Action::Resubscribe, Door::Token),
    row("PATCH", "/fhir/Subscription/{id}", Action::PatchSubscription, Door::Token),
    row("DELETE", "/fhir/Subscription/{id}", Action::Unsubscribe, Door::Token),
    row("POST", "/fhir", Action::Bundle, Door::Token),
    row("POST", "/fhir/{kind}/$validate", Action::Validate, Door::Token),
    row("POST", "/fhir/{kind}/{id}/$validate", Action::Validate, Door::Token),
    row("GET", "/fhir/{kind}/{id}/$validate", Action::Validate, Door::Token),
    row("GET", "/fhir/$export", Action::ExportAll, Door::Token),
    row("POST", "/fhir/$export", Action::ExportAll, Door::Token),
    row("GET", "/fhir/Patient/$export", Action::ExportPersons, Door::Token),
    row("POST", "/fhir/Patient/$export", Action::ExportPersons, Door::Token),
    row("GET", "/fhir/Group/{id}/$export", Action::ExportGroup, Door::Token),
    row("POST", "/fhir/Group/{id}/$export", Action::ExportGroup, Door::Token),
    row("POST", "/fhir/Consent/$evaluate", Action::Evaluate, Door::Token),
    row("POST", "/fhir/Consent/{id}/$revoke", Action::Revoke, Door::Token),
    row("GET", "/fhir/Patient/{id}/$everything", Action::Everything, Door::Token),
    row("GET", "/fhir/Patient/{id}/$summary", Action::Summary, Door::Token),
    row("POST", "/fhir/Patient/{id}/$restrict", Action::Restrict, Door::Token),
    row("POST", "/fhir/Patient/{id}/$unrestrict", Action::Unrestrict, Door::Token),
    row("GET", "/fhir/Patient/{id}/$export-data", Action::Export, Door::Token),
    row("POST", "/fhir/Patient/{id}/$erase", Action::Erase, Door::Token),
    row("GET", "/persons/{id}/access-log", Action::AccessLog, Door::Token),
    row("GET", "/fhir/Consent/{id}/$receipt", Action::ConsentReceipt, Door::Token),
    row("GET", "/fhir/Consent/{id}/_history/{version}/$receipt", Action::ConsentReceipt, Door::Token),
    row("GET", "/fhir/Observation/$lastn", Action::Latest, Door::Token),
    row("GET", "/fhir/Observation/$stats", Action::Statistics, Door::Token),
    row("POST", "/fhir/Observation/$stats", Action::Statistics, Door::Token),
    row("GET", "/fhir/Patient/{id}/{kind}", Action::Compartment, Door::Token),
    row("POST", "/fhir/Patient/{id}/{kind}/_search", Action::CompartmentForm, Door::Token),
    row("POST", "/fhir/{kind}/_search", Action::SearchForm, Door::Token),
    row("GET", "/fhir/{kind}", Action::Search, Door::Token),
    row("POST", "/fhir/{kind}", Action::Create, Door::Token),
    row("POST", "/fhir/Patient/{id}/$visit", Action::Visit, Door::Token),
    row("GET", "/fhir/AuditEvent/{id}/$proof", Action::AuditProof, Door::Token),
    row("GET", "/fhir/{kind}/{id}", Action::Read, Door::Token),
    row("HEAD", "/fhir/{kind}/{id}", Action::Read, Door::Token),
    row("PUT", "/fhir/{kind}/{id}", Action::Update, Door::Token),
    row("PATCH", "/fhir/{kind}/{id}", Action::Patch, Door::Token),
    row("DELETE", "/fhir/{kind}/{id}", Action::Delete, Door::Token),
    row("PUT", "/fhir/{kind}", Action::ConditionalUpdate, Door::Token),
    row("PATCH", "/fhir/{kind}", Action::ConditionalPatch, Door::Token),
    row("DELETE", "/fhir/{kind}", Action::ConditionalDelete, Door::Token),
    row("GET", "/fhir/_history", Action::History, Door::Token),
    row("GET", "/fhir/{kind}/_history", Action::History, Door::Token),
    row("GET", "/fhir/{kind}/{id}/_history", Action::History, Door::Token),
    row("GET", "/fhir/{kind}/{id}/_history/{version}", Action::VersionRead, Door::Token),
    row("HEAD", "/fhir/{kind}/{id}/_history/{version}", Action::VersionRead, Door::Token),
];

/// A matched address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Matched<'p> {
    pub row: &'static Row,
    pub action: Action,
    pub door: Door,
    pub kind: &'p str,
    pub id: &'p str,
    pub version: &'p str,
    pub format: &'p str,
    pub file: &'p str,
}

/// What an address and method lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup<'p> {
    Found(Matched<'p>),
    /// The address exists with other methods.
    Method {
        allowed: String,
    },
    Nothing,
}

/// Finds the row. One slash at the end is as good as none, because clients post Bundles to `[base]/`.
pub fn find<'p>(method: &str, path: &'p str) -> Lookup<'p> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let mut allowed: Vec<&str> = Vec::new();
    for row in ROUTES {
        if let Some(mut matched) = fits(row, path) {
            if row.method == method {
                matched.door = row.door;
                return Lookup::Found(matched);
            }
            allowed.push(row.method);
        }
    }
    allowed.dedup();
    if allowed.is_empty() { Lookup::Nothing } else { Lookup::Method { allowed: allowed.join(", ") } }
}

fn fits<'p>(row: &'static Row, path: &'p str) -> Option<Matched<'p>> {
    let mut matched =
        Matched { row, action: row.action, door: row.door, kind: "", id: "", version: "", format: "", file: "" };
    let mut segments = path.split('/');
    for pattern in row.pattern.split('/') {
        let segment = segments.next()?;
        match pattern {
            "{path}" if !segment.is_empty() => {
                // The rest begins where this segment does.
                matched.file = &path[segment.as_ptr().addr() - path.as_ptr().addr()..];
                return Some(matched);
            }
            "{kind}" if is_kind(segment) => matched.kind = segment,
            "{definitions}" if Definition::KINDS.contains(&segment) => matched.kind = segment,
            "{id}" if !segment.is_empty() && !segment.starts_with(['_', '$']) => matched.id = segment,
            "{version}" if !segment.is_empty() => matched.version = segment,
            "{format}" if !segment.is_empty() => matched.format = segment,
            "{file}" if !segment.is_empty() => matched.file = segment,
            fixed if fixed == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(matched)
}

/// Resource types begin with a capital letter; whether the type exists is the handler's to say.
fn is_kind(segment: &str) -> bool {
    segment.starts_with(|first: char| first.is_ascii_uppercase())
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, expected: &str) {
        let shown = match find(method, path) {
            Lookup::Found(found) => {
                let segments = [found.kind, found.id, found.version, found.format, found.file].join(" ");
                format!("{:?} {segments}", found.action).trim_end().to_owned()
            }
            Lookup::Method { allowed } => format!("405 {allowed}"),
            Lookup::Nothing => "404".to_owned(),
        };
        assert_eq!(shown, expected, "{method} {path}");
    }

    #[test]
    fn leads_where_the_table_says() {
        check("GET", "/fhir/metadata", "Metadata");
        check("GET", "/fhir/Observation", "Search Observation");
        check("POST", "/fhir/Observation/", "Create Observation");
        check("POST", "/fhir/", "Bundle");
        check("POST", "/fhir", "Bundle");
        check("POST", "/fhir/Observation/_search", "SearchForm Observation");
        check("POST", "/fhir/Observation/$validate", "Validate Observation");
        check("GET", "/fhir/Observation/a/$validate", "Validate Observation a");
        check("POST", "/fhir/Consent/$evaluate", "Evaluate");
        check("POST", "/fhir/Observation/$evaluate", "404");
        check("POST", "/fhir/Consent/a/$revoke", "Revoke  a");
        check("GET", "/fhir/Patient/a/$everything", "Everything  a");
        check("GET", "/persons/a/access-log", "AccessLog  a");
        check("GET", "/fhir/$export", "ExportAll");
        check("POST", "/fhir/Patient/$export", "ExportPersons");
        check("GET", "/fhir/Group/a/$export", "ExportGroup  a");
        check("DELETE", "/exports/a", "ExportCancel  a");
        check("GET", "/exports/a/Patient-1.ndjson", "ExportFile  a   Patient-1.ndjson");
        check("GET", "/fhir/Consent/a/$receipt", "ConsentReceipt  a");
        check("GET", "/fhir/Consent/a/_history/2/$receipt", "ConsentReceipt  a 2");
        check("GET", "/fhir/Observation/a-1", "Read Observation a-1");
        check("HEAD", "/fhir/Observation/a-1", "Read Observation a-1");
        check("GET", "/fhir/Observation/a/_history/2", "VersionRead Observation a 2");
        check("GET", "/fhir/Observation/a/_history", "History Observation a");
        check("GET", "/fhir/Observation/_history", "History Observation");
        check("GET", "/fhir/_history", "History");
        check("GET", "/fhir/Subscription/a/_history", "SubscriptionHistory  a");
        check("GET", "/fhir/Subscription/a/_history/2", "SubscriptionVersion  a 2");
        check("GET", "/fhir/Observation/$lastn", "Latest");
        check("POST", "/fhir/Observation/$stats", "Statistics");
        check("GET", "/fhir/Patient/a/Observation", "Compartment Observation a");
        check("POST", "/fhir/Patient/a/Observation/_search", "CompartmentForm Observation a");
        check("POST", "/devices/open-mhealth", "Device    open-mhealth");
        check("GET", "/devices/open-mhealth", "405 POST");
        check("POST", "/devices/open-mhealth/$explain", "DeviceExplain    open-mhealth");
        check("POST", "/devices", "404");
        check("GET", "/receipts", "Receipts");
        check("GET", "/receipts/scorecard", "Scorecard");
        check("DELETE", "/fhir/Observation/a", "Delete Observation a");
        check("DELETE", "/fhir/Observation", "ConditionalDelete Observation");
        check("OPTIONS", "/fhir/Observation/a", "405 GET, HEAD, PUT, PATCH, DELETE");
        check("PATCH", "/fhir/Observation/a", "Patch Observation a");
        check("GET", "/fhir/ValueSet", "Definitions ValueSet");
        check("GET", "/fhir/ValueSet/a", "Definition ValueSet a");
        check("POST", "/fhir/ValueSet/$validate", "Validate ValueSet");
        check("GET", "/guide", "Guide");
        check("GET", "/guide/", "Guide");
        check("GET", "/guide/issues", "Guide     issues");
        check("GET", "/guide/explain", "Explain");
        check("GET", "/guide/0.1.0/issues", "Guide   0.1.0  issues");
        check("GET", "/guide/0.1.0/explain", "Explain   0.1.0");
        check("GET", "/guide/a/b/c", "404");
        check("GET", "/log/tile/0/x001/234.p/5", "LogTile     0/x001/234.p/5");
        check("GET", "/log/tile/", "404");
        check("GET", "/fhir/AuditEvent/a/$proof", "AuditProof  a");
        check("GET", "/fhir", "405 POST");
        check("GET", "/fhir/observation", "404");
        check("GET", "/fhir/Observation/a/b", "404");
        check("GET", "/", "404");
        check("GET", "", "404");
        check("GET", "//fhir/metadata", "404");
    }

    #[test]
    fn only_rows_without_persons_are_open() {
        let open: Vec<&str> = ROUTES.iter().filter(|row| row.door == Door::Open).map(|row| row.pattern).collect();
        assert_eq!(
            open,
            [
                "/health/live",
                "/health/ready",
                "/.well-known/smart-configuration",
                "/fhir/.well-known/smart-configuration",
                "/.well-known/consent-receipt-keys",
                "/guide",
                "/guide",
                "/guide/explain",
                "/guide/{file}",
                "/guide/{file}",
                "/guide/{version}/explain",
                "/guide/{version}/{file}",
                "/guide/{version}/{file}",
                "/person/style.css",
                "/person/connected",
                "/person/leave",
                "/log/checkpoint",
                "/log/key",
                "/log/tile/{path}",
                "/devices/{format}/uploads",
                "/uploads/{id}",
                "/fhir/metadata",
                "/fhir/metadata",
                "/fhir/{definitions}",
                "/fhir/{definitions}/{id}",
                "/fhir/{definitions}/{id}",
                "/fhir/Basic",
                "/fhir/Basic/{id}",
                "/fhir/Basic/{id}",
                "/subscriptions/websocket"
            ]
        );
    }
}
