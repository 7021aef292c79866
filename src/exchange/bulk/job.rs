//! An export from its request to its manifest: who may begin one, what it is about, how far it is, and its end.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::asked::{Asked, DEIDENTIFIED, Level, Pair, is_exported};
use super::{absent, interaction, veil};
use crate::exchange::kinds::{self, KINDS, KindRule, Subject};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, is_id, uploads};
use crate::fhir::outcome::{Id, Issue, Reader, has_errors, operation_outcome};
use crate::fhir::tree::{Element, json as reader, time};
use crate::policy::access::scope::Scopes;
use crate::policy::access::{Denied, Principal};
use crate::store::{AuditRecord, ExportJob, ExportPieceHead, ExportState, PatientKey};

const HOUR_MS: i64 = 3_600_000;

/// A request for an export.
pub struct Kickoff<'a> {
    pub level: Level<'a>,
    pub pairs: &'a [Pair],
    /// Whether they came in a body.
    pub posted: bool,
    pub lenient: bool,
    /// The address as it was asked for, relative to the server.
    pub address: &'a str,
}

/// How far an export is.
pub enum Status {
    /// Lines so far.
    Working(u64),
    /// The manifest, and when it is forgotten.
    Finished(Value, i64),
}

/// What is remembered of a request, for whoever works on it later.
#[derive(Serialize, Deserialize)]
pub(super) struct About {
    actor: String,
    scopes: String,
    pub purpose: String,
    pub address: Option<String>,
    /// The full URL.
    request: String,
    /// As the audit tells of it.
    pub path: String,
    pub query: Vec<Pair>,
    /// Types that belong to it.
    pub kinds: Vec<String>,
    pub asked: Asked,
    /// OperationOutcomes, a line each.
    pub said: Vec<String>,
}

impl About {
    pub fn of(job: &ExportJob) -> Result<About, Refusal> {
        serde_json::from_slice(&job.about)
            .map_err(|_| Refusal::one(Id::Internal, "", "What was asked for of an export cannot be read."))
    }

    /// Who asked, with what it was allowed then.
    pub fn principal(&self, client: &Arc<str>) -> Result<Principal, Refusal> {
        let unreadable = |_| Refusal::one(Id::Internal, "", "What was asked for of an export cannot be read.");
        Ok(Principal {
            client: client.clone(),
            actor: Arc::from(self.actor.as_str()),
            scopes: Scopes::parse(&self.scopes).map_err(unreadable)?,
            purposes: vec![self.purpose.clone()],
            expires_ms: i64::MAX,
            guide: None,
            deidentified: self.asked.deidentified,
        })
    }
}

impl Gateway {
    /// Begins an export; answers the address where it is told how far it is.
    pub async fn begin_export(&self, caller: &Caller<'_>, kickoff: &Kickoff<'_>) -> Result<String, Refusal> {
        let begun = async {
            let (job, phases, record) = self.export_job(caller, kickoff).await?;
            let most = u64::from(self.config.export_jobs);
            let id = job.id;
            if !self.store.create_export(job, phases, most, record).await? {
                let text = "The client has as many exports under way as it may have.";
                let refusal = Refusal::one(Id::TooManyRequests, "", text);
                return Err(Refusal { retry_after_seconds: Some(60), ..refusal });
            }
            self.exports.begun.notify_one();
            Ok(self.export_address(&uploads::printed(id)))
        };
        match begun.await {
            Ok(address) => Ok(address),
            Err(refusal) => Err(self.refused(caller, refusal).await),
        }
    }

    async fn export_job(
        &self,
        caller: &Caller<'_>,
        kickoff: &Kickoff<'_>,
    ) -> Result<(ExportJob, u8, AuditRecord), Refusal> {
        let mut pairs = kickoff.pairs.to_vec();
        if caller.principal.deidentified {
            pairs.push((DEIDENTIFIED.to_owned(), "true".to_owned()));
        }
        let (asked, mut issues) = Asked::read(&pairs, (kickoff.level, kickoff.posted), &self.registry, kickoff.lenient);
        if has_errors(&issues) {
            return Err(issues.into());
        }
        let kinds = permitted(caller, kickoff, &asked, &mut issues)?;
        let persons = self.export_persons(caller, kickoff.level, asked.persons.as_deref()).await?;
        let now_ms = self.now_ms();
        let (mut id, mut secret) = ([0; 16], [0; 32]);
        (self.entropy)(&mut id);
        (self.entropy)(&mut secret);
        let reader = Reader { pages: &self.pages, is_xml: false };
        let root = self.base.trim_end_matches("/fhir");
        let path = match kickoff.level {
            Level::System => "$export".to_owned(),
            Level::Patients => "Patient/$export".to_owned(),
            Level::Group(id) => format!("Group/{id}/$export"),
        };
        let record =
            Author::of(self, caller).with_query(&path, kickoff.pairs).record(Act::Operation, None, &[], None, &[]);
        let about = About {
            actor: caller.principal.actor.to_string(),
            scopes: caller.principal.scopes.to_string(),
            purpose: caller.purpose.to_owned(),
            address: caller.address.map(str::to_owned),
            request: format!("{root}{}", kickoff.address),
            path,
            query: kickoff.pairs.to_vec(),
            kinds: kinds.iter().map(|rule| rule.name.to_owned()).collect(),
            said: once_each(issues)
                .iter()
                .map(|issue| operation_outcome(std::slice::from_ref(issue), reader).to_string())
                .collect(),
            asked: Asked { persons: None, ..asked },
        };
        let job = ExportJob {
            id,
            client: caller.principal.client.clone(),
            about: serde_json::to_vec(&about).unwrap_or_default(),
            persons,
            nobodys: kickoff.level == Level::System,
            secret,
            // What is kept in this very millisecond may still come.
            cut_ms: now_ms - 1,
            state: ExportState::Working,
            lines: 0,
            told: 0,
            failure: None,
            created_ms: now_ms,
            until_ms: now_ms + i64::from(self.config.export_hours) * HOUR_MS,
        };
        // Of a de-identified export persons are counted before any of them is told of.
        let phases = if about.asked.deidentified { 2 } else { 1 };
        Ok((job, phases, record))
    }

    /// The only persons that an export is about.
    async fn export_persons(
        &self,
        caller: &Caller<'_>,
        level: Level<'_>,
        named: Option<&[String]>,
    ) -> Result<Option<Vec<PatientKey>>, Refusal> {
        let ids: Vec<String> = match (level, named) {
            (Level::Group(id), named) => {
                let members = self.members(caller, id).await?;
                match named {
                    None => members.into_iter().collect(),
                    Some(named) if named.iter().all(|id| members.contains(id)) => named.to_vec(),
                    Some(_) => {
                        let text = "The parameter patient names somebody who is no member of the group.";
                        return Err(Refusal::one(Id::OperationParameter, "patient", text));
                    }
                }
            }
            // Whoever is unknown or hidden is passed over, since to refuse one and not the other would tell them apart.
            (_, Some(named)) => named.to_vec(),
            (_, None) => return Ok(None),
        };
        let keys: BTreeSet<PatientKey> = ids.iter().map(|id| self.patient_key(id)).collect();
        Ok(Some(keys.into_iter().collect()))
    }

    /// Ids of the active members of one of the caller's groups.
    async fn members(&self, caller: &Caller<'_>, id: &str) -> Result<BTreeSet<String>, Refusal> {
        let rule = kinds::kind("Group").filter(|rule| interaction(caller.principal, rule).is_some());
        if rule.is_none() {
            return Err(Denied::Scope { needed: "system/Group.rs".to_owned() }.issue().into());
        }
        let found = if is_id(id) { self.store.read("Group", id).await? } else { None };
        let own = found.filter(|stored| !stored.deleted && stored.owner == caller.principal.client);
        let Some(stored) = own else { return Err(Refusal::not_found()) };
        let document = reader::parse(stored.payload)?;
        let member = |member: Element<'_>| {
            let is_active = member.get("inactive").and_then(|inactive| inactive.boolean()) != Some(true);
            let reference = member.get("entity").and_then(|entity| entity.text_of("reference"))?;
            is_active.then(|| self.local_reference(reference, "Patient").map(str::to_owned)).flatten()
        };
        Ok(Element::root(&document).all("member").filter_map(member).collect())
    }

    /// A client's own export; what is another's is absent.
    pub(super) async fn own_export(&self, caller: &Caller<'_>, id: &str) -> Result<ExportJob, Refusal> {
        let found = match uploads::parsed(id) {
            Some(id) => self.store.export(id).await?,
            None => None,
        };
        found.filter(|job| job.client == caller.principal.client && job.until_ms > self.now_ms()).ok_or_else(absent)
    }

    /// How far an export is.
    pub async fn export_status(&self, caller: &Caller<'_>, id: &str) -> Result<Status, Refusal> {
        let job = self.own_export(caller, id).await?;
        if job.state == ExportState::Failed {
            return Err(Refusal::one(Id::ExportFailed, "", "The export could not be made to its end."));
        }
        let about = About::of(&job)?;
        covers(caller, &about)?;
        match job.state {
            ExportState::Working if !self.exports.may_ask(job.id, self.now_ms()) => {
                let text = "How far an export is, is asked for no more often than Retry-After says.";
                Err(Refusal { retry_after_seconds: Some(1), ..Refusal::one(Id::TooManyRequests, "", text) })
            }
            ExportState::Working | ExportState::Failed => Ok(Status::Working(job.lines)),
            ExportState::Finished => {
                self.exports.forget(job.id);
                let pieces = self.store.export_pieces(job.id).await?;
                Ok(Status::Finished(self.manifest(&job, &about, &pieces), job.until_ms))
            }
        }
    }

    /// Ends an export and forgets it.
    pub async fn cancel_export(&self, caller: &Caller<'_>, id: &str) -> Result<(), Refusal> {
        let job = self.own_export(caller, id).await?;
        self.store.remove_export(job.id).await?;
        self.exports.forget(job.id);
        Ok(())
    }

    fn manifest(&self, job: &ExportJob, about: &About, pieces: &[ExportPieceHead]) -> Value {
        let id = uploads::printed(job.id);
        let item = |kind: &str, name: &str, lines: u64| json!({"type": kind, "url": format!("{}/{name}", self.export_address(&id)), "count": lines});
        let (mut output, mut deleted, mut error) = (Vec::new(), Vec::new(), Vec::new());
        if !about.said.is_empty() {
            error.push(item(OUTCOME, SAID, about.said.len() as u64));
        }
        for file in files(pieces, self.config.export_file_lines) {
            let (kind, list) = match file.kind {
                _ if file.gone => ("Bundle", &mut deleted),
                OUTCOME => (OUTCOME, &mut error),
                kind => (kind, &mut output),
            };
            // All that is damaged is one line.
            let lines = if kind == OUTCOME { 1 } else { file.lines() };
            list.push(item(kind, &file.name(), lines));
        }
        json!({
            "transactionTime": time::instant(job.cut_ms),
            "request": about.request,
            "requiresAccessToken": true,
            "output": output,
            "deleted": deleted,
            "error": error,
        })
    }

    fn export_address(&self, id: &str) -> String {
        format!("{}/exports/{id}", self.base.trim_end_matches("/fhir"))
    }
}

/// The same issues without any that is like one before; how often that was said, it says itself.
fn once_each(issues: Vec<Issue>) -> Vec<Issue> {
    let mut told: Vec<(Issue, usize)> = Vec::new();
    for issue in issues {
        let like = |(one, _): &&mut (Issue, usize)| {
            (one.id, &one.expression, &one.text) == (issue.id, &issue.expression, &issue.text)
        };
        match told.iter_mut().find(like) {
            Some((_, times)) => *times += 1,
            None => told.push((issue, 1)),
        }
    }
    let counted = |(mut issue, times): (Issue, usize)| {
        if times > 1 {
            issue.text = format!("{} ({times} times)", issue.text);
        }
        issue
    };
    told.into_iter().map(counted).collect()
}

/// The type of what is said of what is missing.
pub(super) const OUTCOME: &str = "OperationOutcome";

/// Name of the file of what is said of the export itself.
pub(super) const SAID: &str = "outcomes.ndjson";

/// One file of an export: pieces of one type, as many as make up its lines.
pub(super) struct File<'p> {
    pub kind: &'p str,
    pub gone: bool,
    number: usize,
    pub pieces: &'p [ExportPieceHead],
}

impl File<'_> {
    pub fn name(&self) -> String {
        let deleted = if self.gone { "deleted-" } else { "" };
        format!("{deleted}{}-{}.ndjson", self.kind, self.number)
    }

    fn lines(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.lines).sum()
    }
}

/// The files that pieces make up: the same ones whenever they are asked for, since nothing is added to an export that is
/// finished.
pub(super) fn files(pieces: &[ExportPieceHead], most: u64) -> Vec<File<'_>> {
    let mut files: Vec<File<'_>> = Vec::new();
    for group in pieces.chunk_by(|one, next| (one.gone, &one.kind) == (next.gone, &next.kind)) {
        let (mut begin, mut lines) = (0, 0);
        for (index, piece) in group.iter().enumerate() {
            lines += piece.lines;
            if lines >= most || index + 1 == group.len() {
                let number = files
                    .last()
                    .filter(|last| (last.gone, last.kind) == (piece.gone, &*piece.kind))
                    .map_or(1, |last| last.number + 1);
                files.push(File { kind: &piece.kind, gone: piece.gone, number, pieces: &group[begin..=index] });
                (begin, lines) = (index + 1, 0);
            }
        }
    }
    files
}

/// Types that an export has: those that are asked for, or all that its level and the client's scopes let it have.
fn permitted(
    caller: &Caller<'_>,
    kickoff: &Kickoff<'_>,
    asked: &Asked,
    issues: &mut Vec<Issue>,
) -> Result<Vec<&'static KindRule>, Refusal> {
    let at_level = |rule: &&KindRule| {
        is_exported(rule)
            && (kickoff.level == Level::System || rule.subject != Subject::Nobody)
            && (!asked.deidentified || veil::KINDS.contains(&rule.name))
    };
    let may = |rule: &&KindRule| interaction(caller.principal, rule).is_some();
    let Some(names) = &asked.kinds else {
        let kinds: Vec<_> = KINDS.iter().filter(at_level).filter(may).collect();
        return if kinds.is_empty() { Err(out_of_scope("*")) } else { Ok(kinds) };
    };
    let mut kinds = Vec::new();
    for rule in names.iter().filter_map(|name| kinds::kind(name)).filter(at_level) {
        if may(&rule) {
            kinds.push(rule);
        } else if kickoff.lenient {
            let text = "The access token does not cover a type that was asked for; it was left out.";
            issues.push(Issue::new(Id::SearchParameterIgnored, "_type", text));
        } else {
            return Err(out_of_scope(rule.name));
        }
    }
    if kinds.is_empty() {
        let text = "Of the types that were asked for none can be exported.";
        return Err(Refusal::one(Id::OperationParameter, "_type", text));
    }
    Ok(kinds)
}

/// Whether the token covers all that is exported (Bulk Data Access 2.0, privacy and security considerations).
pub(super) fn covers(caller: &Caller<'_>, about: &About) -> Result<(), Refusal> {
    if caller.principal.deidentified && !about.asked.deidentified {
        return Err(absent());
    }
    let uncovered = about
        .kinds
        .iter()
        .filter_map(|name| kinds::kind(name))
        .find(|rule| interaction(caller.principal, rule).is_none());
    match uncovered {
        Some(rule) => Err(out_of_scope(rule.name)),
        None => Ok(()),
    }
}

fn out_of_scope(kind: &str) -> Refusal {
    Denied::Scope { needed: format!("system/{kind}.rs") }.issue().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_files_of_one_type() {
        let piece = |kind: &str, gone: bool, slot: u16, lines: u64| ExportPieceHead {
            kind: Arc::from(kind),
            gone,
            slot,
            number: 1,
            lines,
        };
        let pieces = [
            piece("Observation", false, 0, 3),
            piece("Observation", false, 1, 7),
            piece("Observation", false, 2, 1),
            piece("Patient", false, 0, 2),
            piece("Observation", true, 0, 20),
        ];
        let made: Vec<_> = files(&pieces, 10).iter().map(|file| (file.name(), file.lines())).collect();
        let expected = [
            ("Observation-1.ndjson", 10),
            ("Observation-2.ndjson", 1),
            ("Patient-1.ndjson", 2),
            ("deleted-Observation-1.ndjson", 20),
        ];
        assert_eq!(made, expected.map(|(name, lines)| (name.to_owned(), lines)));
        assert!(files(&[], 10).is_empty());
    }
}
