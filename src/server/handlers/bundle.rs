//! `POST [base]`: batch and transaction.

use super::{Request, body, create, history, search};
use crate::exchange::pull::Whose;
use crate::exchange::push::{self, Entry, Kept, Outcome, ReadEntry};
use crate::exchange::refusal::status_line;
use crate::exchange::{Caller, Refusal};
use crate::fhir::outcome::{Id, operation_outcome};
use crate::fhir::tree::{Element, time, write};
use crate::server::reply::{Body, Reply};

/// No more is read for an answer that is longer already.
const LONGEST: usize = 32 << 20;

pub(super) async fn bundle(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let idempotency = create::idempotency(request)?;
    let document = body::recorded(request, &caller).await?;
    let kind = match push::mode(Element::root(&document)) {
        Ok(push::Mode::Transaction) => "transaction-response",
        _ => "batch-response",
    };
    let entries = request.gateway.push_bundle(&caller, document, idempotency).await?;
    Ok(response(request, kind, entries.into_iter().map(|entry| (entry, None))).await)
}

/// The Bundle that says what became of each entry, with the address where it is said again, where there is one.
pub(super) async fn response(
    request: &Request<'_>,
    kind: &str,
    entries: impl ExactSizeIterator<Item = (Entry, Option<String>)>,
) -> Reply {
    let with_resources = body::preferred(request, body::Return::Minimal) == body::Return::Representation;
    let mut out = format!("{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\"");
    let empty = entries.len() == 0;
    for (index, (entry, link)) in entries.enumerate() {
        out.push_str(if index == 0 { ",\"entry\":[{" } else { ",{" });
        if let Some(link) = link {
            out.push_str("\"link\":[{\"relation\":\"via\",\"url\":");
            write::string(&link, &mut out);
            out.push_str("}],");
        }
        match entry {
            Entry::Pushed(Outcome::Kept(kept)) => entry_kept(request, &kept, with_resources, &mut out),
            Entry::Pushed(Outcome::Refused(refusal)) => entry_refused(request, &refusal, &mut out),
            Entry::Nothing => out.push_str("\"response\":{\"status\":\"204 No Content\"}}"),
            Entry::Read(_) if out.len() > LONGEST => {
                let text = "The answers to the entries before are long already; ask the rest by itself.";
                entry_refused(request, &Refusal::one(Id::SearchTooCostly, "", text), &mut out);
            }
            Entry::Read(read) => entry_read(request, &read, &mut out).await,
        }
    }
    if !empty {
        out.push(']');
    }
    out.push('}');
    Reply::new(200, Body::Resource(out.into_bytes()))
}

fn entry_kept(request: &Request<'_>, kept: &Kept, with_resource: bool, out: &mut String) {
    let address = format!("{}/{}/{}", request.gateway.base, kept.kind, kept.id);
    out.push_str("\"fullUrl\":");
    write::string(&address, out);
    if with_resource && !kept.deleted {
        out.push_str(",\"resource\":");
        out.push_str(std::str::from_utf8(&kept.payload).unwrap_or("{}"));
    }
    out.push_str(",\"response\":{\"status\":");
    write::string(status_line(kept.status()), out);
    out.push_str(",\"location\":");
    write::string(&format!("{address}/_history/{}", kept.version), out);
    described(kept.version, kept.updated_ms, out);
    if !kept.warnings.is_empty() {
        out.push_str(",\"outcome\":");
        out.push_str(&operation_outcome(&kept.warnings, request.reader()).to_string());
    }
    out.push_str("}}");
}

fn entry_refused(request: &Request<'_>, refusal: &Refusal, out: &mut String) {
    out.push_str("\"response\":{\"status\":");
    write::string(status_line(refusal.status()), out);
    out.push_str(",\"outcome\":");
    out.push_str(&refusal.outcome(request.reader()).to_string());
    out.push_str("}}");
}

/// Which version it is, and since when.
fn described(version: u32, updated_ms: i64, out: &mut String) {
    out.push_str(&format!(",\"etag\":\"W/\\\"{version}\\\"\",\"lastModified\":\"{}\"", time::instant(updated_ms)));
}

/// What is answered, unless it is left out.
fn answered(resource: &[u8], is_left_out: bool, out: &mut String) {
    if !is_left_out {
        out.push_str("\"resource\":");
        out.push_str(std::str::from_utf8(resource).unwrap_or("{}"));
        out.push(',');
    }
}

/// What a read came upon.
enum Answer {
    One { payload: Vec<u8>, version: u32, updated_ms: i64 },
    Many(Vec<u8>),
}

/// A resource, or the part of it that is asked for.
async fn one(
    request: &Request<'_>,
    caller: &Caller<'_>,
    (kind, id, version): (&str, &str, Option<u32>),
    pairs: &[(String, String)],
) -> Result<Answer, Refusal> {
    let part = request.gateway.part(kind, pairs, false)?;
    let stored = request.gateway.read(caller, kind, id, version).await?;
    let (version, updated_ms) = (stored.version, stored.updated_ms);
    let payload = match &part {
        Some(part) => request.gateway.part_of(part, &stored)?,
        None => stored.payload,
    };
    Ok(Answer::One { payload, version, updated_ms })
}

/// A read inside a Bundle is the same read as alone, with its consent and its audit.
async fn entry_read(request: &Request<'_>, read: &ReadEntry, out: &mut String) {
    let (path, query) = read.url.split_once('?').unwrap_or((&read.url, ""));
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let answer = match request.caller() {
        Err(refusal) => Err(refusal),
        Ok(caller) => match path.split('/').collect::<Vec<_>>().as_slice() {
            [kind, id, "_history", version] => match version.parse() {
                Ok(version) => one(request, &caller, (kind, id, Some(version)), &pairs).await,
                Err(_) => Err(Refusal::not_found()),
            },
            ["_history"] => history::bundle(request, &caller, Whose::All, &pairs, false).await.map(Answer::Many),
            [kind, "_history"] => {
                history::bundle(request, &caller, Whose::Type(kind), &pairs, false).await.map(Answer::Many)
            }
            [kind, id, "_history"] => {
                history::bundle(request, &caller, Whose::Resource(kind, id), &pairs, false).await.map(Answer::Many)
            }
            ["Patient", id, kind] if !kind.starts_with(['_', '$']) => {
                let pairs: Vec<(String, String)> = pairs.into_iter().chain([search::compartment(id)]).collect();
                let found = request.gateway.search(&caller, kind, &pairs, false).await;
                found.map(|found| Answer::Many(search::searchset(request, kind, &found)))
            }
            [kind, id] => one(request, &caller, (kind, id, None), &pairs).await,
            [kind] => {
                let found = match search::page(&pairs) {
                    Some(token) => request.gateway.search_page(&caller, kind, token).await,
                    None => request.gateway.search(&caller, kind, &pairs, false).await,
                };
                found.map(|found| Answer::Many(search::searchset(request, kind, &found)))
            }
            _ => Err(Refusal::not_found()),
        },
    };
    match answer {
        Ok(Answer::Many(bundle)) => {
            answered(&bundle, read.head, out);
            out.push_str("\"response\":{\"status\":\"200 OK\"}}");
        }
        Ok(Answer::One { payload, version, updated_ms }) => {
            let is_known = match (&read.if_none_match, read.if_modified_since_ms) {
                (Some(tags), _) => body::names(tags, version),
                (None, Some(since_ms)) => updated_ms <= since_ms,
                (None, None) => false,
            };
            answered(&payload, is_known || read.head, out);
            out.push_str("\"response\":{\"status\":");
            write::string(status_line(if is_known { 304 } else { 200 }), out);
            described(version, updated_ms, out);
            out.push_str("}}");
        }
        Err(refusal) => {
            let refusal = match request.caller() {
                Ok(caller) => request.gateway.refused(&caller, refusal).await,
                Err(_) => refusal,
            };
            request.gateway.counted.refusal(refusal.codes());
            entry_refused(request, &refusal, out);
        }
    }
}
