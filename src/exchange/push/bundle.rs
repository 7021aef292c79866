//! Many resources at once: batch, where each stands alone, and transaction, where all do or none (R4 §3.1.0.11).

use std::sync::Arc;

use super::commit::{self, Atomicity};
use super::prepare::{self, Examined, Prepared};
use super::{Idempotency, Intent, Kept, Outcome, Patch, Unlike, When, delete};
use crate::exchange::kinds::Subject;
use crate::exchange::{Caller, Gateway, Refusal, Rules, kinds};
use crate::fhir::fhirpath::from_base64;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Document, Element, Kind, write};
use crate::fhir::validate::{Entries, Format, Options};

/// What kind of Bundle it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Batch,
    Transaction,
}

/// What became of one entry.
#[derive(Clone, Debug)]
pub enum Entry {
    Pushed(Outcome),
    /// What was to be deleted is not there.
    Nothing,
    /// A read, which is not ours to answer.
    Read(ReadEntry),
}

/// A read as an entry asks for it.
#[derive(Clone, Debug)]
pub struct ReadEntry {
    /// Relative to the base.
    pub url: String,
    /// What the client has already: tags, or the moment since when it has it.
    pub if_none_match: Option<String>,
    pub if_modified_since_ms: Option<i64>,
    /// Whether it asks for no more than what is said of the answer.
    pub head: bool,
}

/// The Bundle's mode, or why it is none that can be processed.
pub fn mode(bundle: Element<'_>) -> Result<Mode, Refusal> {
    match bundle.text_of("type") {
        Some("batch") => Ok(Mode::Batch),
        Some("transaction") => Ok(Mode::Transaction),
        _ => {
            let text = "Only Bundles of type batch or transaction are processed here.";
            Err(Issue::new(Id::BundleRule, "Bundle.type", text)
                .at(bundle.get("type").unwrap_or(bundle).position())
                .into())
        }
    }
}

/// One entry as its request asks.
enum Asked {
    Push {
        kind: String,
        intent: Intent,
    },
    /// An update to what the entry does not say itself: what is patched, or what is told of the resource when it is deleted.
    Made {
        kind: String,
        intent: Intent,
        document: Arc<Document>,
    },
    /// The patch of a resource, or of what a search names.
    Patch {
        kind: String,
        id: String,
        query: Vec<(String, String)>,
        when: When,
    },
    /// The update or delete of what a search names.
    Matching {
        kind: String,
        query: Vec<(String, String)>,
        when: When,
    },
    /// A create, unless a search finds something.
    Unlike {
        kind: String,
        query: Vec<(String, String)>,
    },
    /// What stands, so that nothing is created.
    Standing(Box<Kept>),
    Nothing,
    Read(ReadEntry),
}

impl Gateway {
    /// `POST [base]`. The error is a refusal of the whole Bundle.
    pub async fn push_bundle(
        &self,
        caller: &Caller<'_>,
        document: Document,
        idempotency: Option<Idempotency>,
    ) -> Result<Vec<Entry>, Refusal> {
        let document = Arc::new(document);
        let (mode, entries) = match self.opened(Element::root(&document)) {
            Ok(opened) => opened,
            Err(refusal) => return Err(self.refused(caller, refusal).await),
        };
        let mut asked: Vec<Result<Asked, Refusal>> =
            entries.iter().enumerate().map(|(index, entry)| asked(*entry, index)).collect();
        for (index, (entry, asked)) in entries.iter().zip(&mut asked).enumerate() {
            if let Err(refusal) = self.find_asked(caller, *entry, index, asked).await {
                *asked = Err(refusal);
            }
        }
        if mode == Mode::Transaction
            && let Err(refusal) = unique_targets(&asked)
        {
            return Err(self.refused(caller, refusal).await);
        }
        let told = asked.iter().filter_map(|asked| match asked {
            Ok(Asked::Made { document, .. }) => Some(Element::root(document)),
            _ => None,
        });
        let sent = entries.iter().filter_map(|entry| entry.get("resource")).chain(told);
        let rules = match self.rules(caller.principal, sent, &[]).await {
            Ok(rules) => rules,
            Err(refusal) => return Err(self.refused(caller, refusal).await),
        };
        let prepared = self.prepare_entries(rules, caller, &document, &entries, asked.as_slice(), mode).await;
        let atomicity = if mode == Mode::Transaction { Atomicity::Whole } else { Atomicity::EachAlone };
        let outcomes = if prepared.is_empty() {
            Vec::new()
        } else {
            self.commit(caller, prepared, commit::Terms { idempotency, ..commit::Terms::of(atomicity) }).await?
        };
        if mode == Mode::Transaction
            && let Some(refusal) = commit::worst(&outcomes)
        {
            return Err(refusal.recorded());
        }
        self.count_refused(&outcomes);
        let mut outcomes = outcomes.into_iter();
        Ok(asked
            .into_iter()
            .map(|asked| match asked {
                Ok(Asked::Read(read)) => Entry::Read(read),
                Ok(Asked::Nothing) => Entry::Nothing,
                Ok(Asked::Standing(kept)) => Entry::Pushed(Outcome::Kept(*kept)),
                _ => {
                    Entry::Pushed(outcomes.next().unwrap_or_else(|| {
                        Outcome::Refused(Refusal::one(Id::Internal, "", "The entry had no outcome."))
                    }))
                }
            })
            .collect())
    }

    /// Finds what an entry names: what a search means, what is to be deleted, and what a patch leaves.
    async fn find_asked(
        &self,
        caller: &Caller<'_>,
        entry: Element<'_>,
        index: usize,
        asked: &mut Result<Asked, Refusal>,
    ) -> Result<(), Refusal> {
        if let Ok(Asked::Unlike { kind, query }) = asked {
            let kind = std::mem::take(kind);
            *asked = Ok(match self.standing_like(caller, &kind, query).await? {
                Some(kept) => Asked::Standing(Box::new(kept)),
                None => Asked::Push { kind, intent: Intent::Create { condition: None } },
            });
        }
        if let Ok(Asked::Matching { kind, query, when }) = asked {
            let (kind, when) = (std::mem::take(kind), *when);
            let intent = if when.deletes {
                self.meant(caller, &kind, query).await?.map(|id| delete::deletion(&id, when))
            } else {
                let resource = entry.get("resource").unwrap_or(entry);
                Some(self.intended(caller, &kind, query, resource, when).await?)
            };
            *asked = Ok(intent.map_or(Asked::Nothing, |intent| Asked::Push { kind, intent }));
        }
        if let Ok(Asked::Push { kind, intent: intent @ Intent::Update { when: When { deletes: true, .. }, .. } }) =
            asked
            && let Intent::Update { id, .. } = &*intent
        {
            let document = self.ended(caller, kind, id).await?;
            *asked = Ok(Asked::Made { kind: std::mem::take(kind), intent: intent.clone(), document });
        }
        if let Ok(Asked::Patch { kind, id, query, when }) = asked {
            let (kind, mut when) = (std::mem::take(kind), *when);
            let id = if id.is_empty() {
                self.meant(caller, &kind, query).await?.ok_or_else(Refusal::not_found)?
            } else {
                std::mem::take(id)
            };
            let (form, patch) = patch_of(entry, index)?;
            // As a PATCH by itself: who may not see a resource may not feel for its content, and what was patched is replaced.
            let stored = self.read(caller, &kind, &id, None).await?;
            let document = Arc::new(self.patched(&stored.payload, form, &patch)?);
            when.version = when.version.or(Some(stored.version));
            *asked = Ok(Asked::Made { kind, intent: Intent::Update { id, when }, document });
        }
        Ok(())
    }

    /// What concerns the Bundle as a whole, before any of its entries.
    fn opened<'d>(&self, bundle: Element<'d>) -> Result<(Mode, Vec<Element<'d>>), Refusal> {
        prepare::right_type(bundle, "Bundle")?;
        let mode = mode(bundle)?;
        frame(bundle)?;
        let entries: Vec<Element<'_>> = bundle.all("entry").collect();
        if entries.len() > self.config.bundle_entries {
            let text = format!("A Bundle may have at most {} entries.", self.config.bundle_entries);
            return Err(Refusal::one(Id::BundleTooManyEntries, "Bundle.entry", text));
        }
        unique_full_urls(&entries)?;
        Ok((mode, entries))
    }

    /// Prepares every entry that writes, Patients first: what refers to them takes its partition from them.
    async fn prepare_entries(
        &self,
        rules: Rules<'_>,
        caller: &Caller<'_>,
        document: &Arc<Document>,
        entries: &[Element<'_>],
        asked: &[Result<Asked, Refusal>],
        mode: Mode,
    ) -> Vec<Result<Prepared, Refusal>> {
        // One index for all entries, or a Bundle would cost the square of its length.
        let around = Arc::new(Entries::new(Element::root(document)));
        let mut examined: Vec<Option<Result<Examined, Refusal>>> = Vec::with_capacity(entries.len());
        for (index, asked) in asked.iter().enumerate() {
            examined.push(match asked {
                Ok(
                    Asked::Read(_)
                    | Asked::Nothing
                    | Asked::Matching { .. }
                    | Asked::Patch { .. }
                    | Asked::Unlike { .. }
                    | Asked::Standing(_),
                ) => None,
                Ok(Asked::Made { kind, intent, document }) => {
                    let validator = rules.of(Some(Element::root(document)), &[]);
                    Some(prepare::one(self, validator, caller, kind, document, intent.clone()))
                }
                Err(refusal) => Some(Err(refusal.clone())),
                Ok(Asked::Push { kind, intent }) => Some(self.examine_entry(
                    rules,
                    caller,
                    document,
                    &around,
                    entries[index],
                    index,
                    kind,
                    intent.clone(),
                )),
            });
        }
        drop(around);
        let open = examined.iter().flatten().flatten().flat_map(|entry| entry.checked.questions());
        let told = self.told(open).await;
        let is_patient = |asked: &Result<Asked, Refusal>| matches!(asked, Ok(Asked::Push { kind, .. }) if kinds::kind(kind).is_some_and(|rule| rule.subject == Subject::Itself));
        let mut prepared: Vec<Option<Result<Prepared, Refusal>>> = (0..entries.len()).map(|_| None).collect();
        let mut rewrites: Vec<(String, String)> = Vec::new();
        for patients in [true, false] {
            let known = Arc::new(rewrites.clone());
            for (index, _) in asked.iter().enumerate().filter(|(_, asked)| is_patient(asked) == patients) {
                let Some(entry) = examined[index].take() else { continue };
                let one =
                    entry.and_then(|examined| prepare::conclude(self, caller, examined, &told, Arc::clone(&known)));
                // Entries of a batch are independent and may not refer to each other (R4 §3.1.0.11.1).
                if mode == Mode::Transaction
                    && let Ok(prepared) = &one
                    && let Some(full_url) = entries[index].text_of("fullUrl")
                {
                    rewrites.push((full_url.to_owned(), format!("{}/{}", prepared.rule.name, prepared.logical)));
                }
                prepared[index] = Some(one);
            }
        }
        let rewrites = Arc::new(rewrites);
        prepared
            .into_iter()
            .flatten()
            .map(|one| one.map(|prepared| Prepared { rewrites: rewrites.clone(), ..prepared }))
            .collect()
    }

    #[expect(clippy::too_many_arguments, reason = "one entry is described by all of them")]
    fn examine_entry(
        &self,
        rules: Rules<'_>,
        caller: &Caller<'_>,
        document: &Arc<Document>,
        around: &Arc<Entries<'_>>,
        entry: Element<'_>,
        index: usize,
        kind: &str,
        intent: Intent,
    ) -> Result<Examined, Refusal> {
        let location = format!("Bundle.entry[{index}].resource");
        let Some(resource) = entry.get("resource").filter(Element::is_object) else {
            return Err(Refusal::one(Id::BodyMissing, location, "The entry has no resource."));
        };
        prepare::right_type(resource, kind)?;
        let rule = prepare::writable(kind)?;
        prepare::permitted_by_scope(caller, rule, &intent, &location)?;
        if let Intent::Update { id, when } = &intent {
            prepare::right_id(resource, id, *when, &location)?;
        }
        let options = Options { bundle: Some(around), ..prepare::rules(self, &location) };
        let checked = rules.of(Some(resource), &[]).examine(document.clone(), resource.node(), &options);
        Ok(Examined { checked, rule, intent, location })
    }
}

const BUNDLE: &[&str] = &[
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "identifier",
    "type",
    "timestamp",
    "total",
    "link",
    "entry",
    "signature",
];

const ENTRY: &[&str] =
    &["id", "extension", "modifierExtension", "link", "fullUrl", "resource", "search", "request", "response"];

/// The frame around the resources, which no validation of an entry sees: a misspelt `entry` must not be an empty
/// Bundle, nor something that changes the meaning of the whole be passed over.
fn frame(bundle: Element<'_>) -> Result<(), Refusal> {
    members(bundle, BUNDLE, &["entry", "link"], "Bundle")?;
    if bundle.get("implicitRules").is_some() {
        let text = "Rules that are not known here cannot be applied.";
        return Err(Refusal::one(Id::ImplicitRulesUnknown, "Bundle.implicitRules", text));
    }
    for (index, entry) in bundle.all("entry").enumerate() {
        let place = format!("Bundle.entry[{index}]");
        members(entry, ENTRY, &["extension", "modifierExtension", "link"], &place)?;
        if entry.get("modifierExtension").is_some() {
            let text = "A modifier extension that is not known here may change what is asked.";
            let place = format!("{place}.modifierExtension");
            return Err(Refusal::one(Id::ModifierExtensionUnknown, place, text));
        }
    }
    Ok(())
}

fn members(element: Element<'_>, known: &[&str], repeated: &[&str], place: &str) -> Result<(), Refusal> {
    if !element.is_object() {
        let issue = Issue::new(Id::ElementShape, place, "A JSON object is expected here.");
        return Err(issue.at(element.position()).into());
    }
    let document = element.document();
    for member in document.children(element.node()) {
        let key = document.key(member);
        let name = key.strip_prefix('_').unwrap_or(key);
        let position = || document.position(member);
        if !known.contains(&name) {
            return Err(Issue::new(Id::ElementUnknown, place, "There is no such property.").at(position()).into());
        }
        if (document.kind(member) == Kind::Array) != repeated.contains(&name) {
            let text = "An array stands where one is expected, or the other way round.";
            return Err(Issue::new(Id::ElementShape, format!("{place}.{name}"), text).at(position()).into());
        }
        if document.kind(member) == Kind::Array && document.children(member).next().is_none() {
            let text = "FHIR knows no empty arrays.";
            return Err(Issue::new(Id::ElementEmpty, format!("{place}.{name}"), text).at(position()).into());
        }
    }
    Ok(())
}

/// R4 §3.1.0.11.2: a transaction in which two entries change the same resource has no one meaning.
fn unique_targets(asked: &[Result<Asked, Refusal>]) -> Result<(), Refusal> {
    let mut seen = std::collections::HashSet::new();
    for (index, asked) in asked.iter().enumerate() {
        if let Ok(
            Asked::Push { kind, intent: Intent::Update { id, .. } }
            | Asked::Made { kind, intent: Intent::Update { id, .. }, .. },
        ) = asked
            && !seen.insert((kind, id))
        {
            let text = "Two entries of the transaction change the same resource.";
            return Err(Refusal::one(Id::BundleRule, format!("Bundle.entry[{index}].request.url"), text));
        }
    }
    Ok(())
}

fn unique_full_urls(entries: &[Element<'_>]) -> Result<(), Refusal> {
    let mut seen = std::collections::HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(full_url) = entry.text_of("fullUrl")
            && !seen.insert(full_url)
        {
            let text = "Two entries have the same fullUrl.";
            return Err(Refusal::one(Id::BundleRule, format!("Bundle.entry[{index}].fullUrl"), text));
        }
    }
    Ok(())
}

fn asked(entry: Element<'_>, index: usize) -> Result<Asked, Refusal> {
    let place = format!("Bundle.entry[{index}].request");
    let refuse = |what: &str, text: &str| Refusal::one(Id::BundleRule, format!("{place}{what}"), text);
    let Some(request) = entry.get("request") else {
        return Err(refuse("", "The entry does not say what is to be done."));
    };
    let Some(url) = request.text_of("url") else { return Err(refuse(".url", "The request has no url.")) };
    match request.text_of("method") {
        Some("POST") => {
            let unlike = request.text_of("ifNoneExist").map(Unlike::parse).transpose().map_err(|mut issue| {
                issue.expression = format!("{place}.ifNoneExist");
                issue
            })?;
            let kind = url.trim_start_matches('/');
            if !kind.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(refuse(".url", "A POST names a resource type and nothing else."));
            }
            let kind = kind.to_owned();
            Ok(match unlike {
                Some(Unlike::Found(query)) => Asked::Unlike { kind, query },
                Some(Unlike::Named(condition)) => {
                    Asked::Push { kind, intent: Intent::Create { condition: Some(condition) } }
                }
                None => Asked::Push { kind, intent: Intent::Create { condition: None } },
            })
        }
        Some(method @ ("PUT" | "DELETE" | "PATCH")) => {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let (kind, id) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
            if !kind.bytes().all(|byte| byte.is_ascii_alphabetic()) || id.is_empty() == query.is_empty() {
                return Err(refuse(".url", "It names Type/id, or Type?search."));
            }
            let when = When::read(request.text_of("ifMatch"), request.text_of("ifNoneMatch")).map_err(|bad| {
                let place = if bad == "If-Match" { ".ifMatch" } else { ".ifNoneMatch" };
                refuse(place, "The ETag is not W/\"version\".")
            })?;
            let (kind, when) = (kind.to_owned(), When { deletes: method == "DELETE", ..when });
            let query = || url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            if method == "PATCH" {
                let query = if id.is_empty() { query() } else { Vec::new() };
                return Ok(Asked::Patch { kind, id: id.to_owned(), query, when });
            }
            if id.is_empty() {
                return Ok(Asked::Matching { kind, query: query(), when });
            }
            Ok(Asked::Push { kind, intent: Intent::Update { id: id.to_owned(), when } })
        }
        Some(method @ ("GET" | "HEAD")) => {
            let since = request.text_of("ifModifiedSince").map(|text| {
                let since = Moment::parse(text).map(|moment| moment.interval_ms().0);
                since.ok_or_else(|| refuse(".ifModifiedSince", "It is no instant."))
            });
            Ok(Asked::Read(ReadEntry {
                url: url.trim_start_matches('/').to_owned(),
                if_none_match: request.text_of("ifNoneMatch").map(str::to_owned),
                if_modified_since_ms: since.transpose()?,
                head: method == "HEAD",
            }))
        }
        _ => Err(refuse(".method", "The method is not one of GET, HEAD, POST, PUT, PATCH and DELETE.")),
    }
}

/// The patch that an entry carries: Parameters, or the document of a JSON or XML Patch in a Binary.
fn patch_of(entry: Element<'_>, index: usize) -> Result<(Patch, Vec<u8>), Refusal> {
    let place = format!("Bundle.entry[{index}].resource");
    let Some(resource) = entry.get("resource").filter(Element::is_object) else {
        return Err(Refusal::one(Id::BodyMissing, place, "The entry has no resource."));
    };
    let invalid = |at: &str, text: &str| {
        let issue = Issue::new(Id::PatchInvalid, format!("{place}{at}"), text);
        Refusal::from(issue.at(resource.position()))
    };
    match resource.text_of("resourceType") {
        Some("Parameters") => {
            let text = write::compact(resource.document(), resource.node());
            Ok((Patch::FhirPath(Format::Json), text.into_bytes()))
        }
        Some("Binary") => {
            let form = match resource.text_of("contentType") {
                Some("application/json-patch+json") => Patch::Json,
                Some("application/xml-patch+xml") => Patch::Xml,
                _ => {
                    let text = "A patch is application/json-patch+json or application/xml-patch+xml.";
                    return Err(invalid(".contentType", text));
                }
            };
            let data = resource.text_of("data").and_then(from_base64);
            let data = data.ok_or_else(|| invalid(".data", "The patch is missing, or not in base64."))?;
            Ok((form, data))
        }
        _ => Err(invalid("", "A patch is a resource of type Parameters or Binary.")),
    }
}

/// Version out of an ETag such as `W/"3"` (R4 §3.1.0.1.3).
pub fn etag(text: &str) -> Option<u32> {
    let text = text.trim();
    text.strip_prefix("W/").unwrap_or(text).trim_matches('"').parse().ok()
}
