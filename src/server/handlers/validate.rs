//! `$validate` on a type or an instance (R4 OperationDefinition Resource-validate): the resource as the body, or in
//! Parameters with mode and profiles, or the stored one.
//!
//! The operation succeeds whatever it finds; what it found is in the body. It fails where what was asked cannot be
//! done: a profile that is not loaded, a mode that does not fit the address.

use std::sync::Arc;

use super::{Request, body};
use crate::exchange::Refusal;
use crate::exchange::push::Trial;
use crate::fhir::outcome::{Id, Issue, Severity};
use crate::fhir::tree::{Document, Element, NodeId, json};
use crate::server::reply::{Body, Reply};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Update,
    Delete,
    Profile,
}

/// What a request asks for.
#[derive(Default)]
struct Asked {
    mode: Option<Mode>,
    profiles: Vec<String>,
    resource: Option<(Arc<Document>, NodeId)>,
    /// What is wrong with the text of the body.
    issues: Vec<Issue>,
}

pub(super) async fn validate(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let mut asked = Asked::read(request)?;
    let claims = std::mem::take(&mut asked.profiles);
    let profiles: Vec<&str> = claims.iter().map(String::as_str).collect();
    let validator = request.gateway.rules(caller.principal, [], &profiles).await?.of(None, &profiles);
    for profile in &profiles {
        if validator.profile(profile).is_none() && validator.registry.type_of(profile).is_none() {
            let text = "A profile that was asked for is not loaded here, so nothing was checked against it.";
            let issue = Issue { severity: Severity::Error, ..Issue::new(Id::ProfileUnknown, "", text) };
            return Err(issue.into());
        }
    }
    let (kind, id) = (request.matched.kind, request.matched.id);
    let on_instance = !id.is_empty();
    if matches!(asked.mode, Some(Mode::Update | Mode::Delete | Mode::Profile)) && !on_instance {
        return Err(wrong("The modes update, delete and profile are asked of an instance, at [type]/[id]/$validate."));
    }
    if asked.mode == Some(Mode::Profile) && profiles.is_empty() {
        return Err(wrong("The mode profile needs the profile to check against."));
    }
    let is_stored = asked.resource.is_none() && on_instance;
    if is_stored && matches!(asked.mode, None | Some(Mode::Profile | Mode::Delete)) {
        let stored = request.gateway.read(&caller, kind, id, None).await?;
        asked.resource = Some((Arc::new(json::parse(stored.payload)?), NodeId::ROOT));
    }
    if asked.mode == Some(Mode::Delete) {
        return Ok(Reply::new(200, Body::Outcome(request.gateway.deletable(&caller, kind, id).await)));
    }
    let Some((document, node)) = asked.resource else {
        return Err(Refusal::one(Id::BodyMissing, "", "There is no resource to validate."));
    };
    let sent = Element::at(&document, node);
    let validator = request.gateway.rules(caller.principal, [sent], &profiles).await?.of(Some(sent), &profiles);
    let trial = Trial {
        profiles: &profiles,
        writes: matches!(asked.mode, Some(Mode::Create | Mode::Update)),
        id: (asked.mode == Some(Mode::Update)).then_some(id),
    };
    let mut issues = asked.issues;
    issues.extend(request.gateway.check(validator, kind, &document, node, &trial).await);
    Ok(Reply::new(200, Body::Outcome(issues)))
}

fn wrong(text: &str) -> Refusal {
    Refusal::one(Id::OperationParameter, "", text)
}

impl Asked {
    fn read(request: &Request<'_>) -> Result<Asked, Refusal> {
        let mut asked = Asked::default();
        for (name, value) in &request.query {
            match name.as_str() {
                "mode" => asked.mode = Some(Mode::named(value)?),
                "profile" => asked.profiles.push(value.clone()),
                _ => {}
            }
        }
        // An address of an instance says by itself what is meant.
        if request.body.is_empty() && (request.method == "GET" || !request.matched.id.is_empty()) {
            return Ok(asked);
        }
        let reading = body::reading(request)?;
        let Some(document) = reading.document else { return Err(reading.issues.into()) };
        asked.issues = reading.issues;
        asked.take(Arc::new(document), request.matched.kind)?;
        Ok(asked)
    }

    /// The body: the resource itself, or Parameters around it. Parameters that hold no parameter of the operation are
    /// what is to be validated, where the address says so.
    fn take(&mut self, document: Arc<Document>, kind: &str) -> Result<(), Refusal> {
        let root = Element::root(&document);
        let mut is_call = kind != "Parameters";
        if root.resource_type() != Some("Parameters") {
            self.resource = Some((document, NodeId::ROOT));
            return Ok(());
        }
        let mut resource = None;
        for parameter in root.all("parameter") {
            let text = || {
                let mut values = parameter.children().filter(|(name, _)| name.starts_with("value"));
                values.find_map(|(_, value)| value.string())
            };
            match parameter.text_of("name") {
                Some("mode") => {
                    self.mode = Some(Mode::named(text().unwrap_or_default())?);
                    is_call = true;
                }
                Some("profile") => {
                    self.profiles.extend(text().map(str::to_owned));
                    is_call = true;
                }
                Some("resource") => {
                    resource = parameter.get("resource").map(|found| found.node());
                    is_call |= resource.is_some();
                }
                _ => {}
            }
        }
        self.resource = match resource {
            None if !is_call => Some((document, NodeId::ROOT)),
            found => found.map(|node| (document, node)),
        };
        Ok(())
    }
}

impl Mode {
    fn named(code: &str) -> Result<Mode, Refusal> {
        match code {
            "create" => Ok(Mode::Create),
            "update" => Ok(Mode::Update),
            "delete" => Ok(Mode::Delete),
            "profile" => Ok(Mode::Profile),
            _ => Err(wrong("The mode is one of create, update, delete and profile.")),
        }
    }
}
