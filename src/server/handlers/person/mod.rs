//! The person's page: a few forms without scripts, for whoever holds a session (`exchange/person`).
//!
//! Every change is a POST that carries the session's seal, answered by a redirect, so that no other page can make it and
//! going back repeats nothing. What the page says stands in files, one a language.

mod words;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, COOKIE, HeaderName, LOCATION, SET_COOKIE,
};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value as Context, context};
use serde_json::Value;

use self::words::Words;
use super::Request;
use crate::exchange::Refusal;
use crate::exchange::links::Connection;
use crate::exchange::person::{Choices, Made, Party, PartyKind, Person, State, Visitor};
use crate::fhir::outcome::Id;
use crate::policy::consent::Manner;
use crate::server::problem;
use crate::server::reply::{Body, Reply};

/// The cookie that holds the session; the prefix keeps it to this host, over TLS.
const SESSION: &str = "__Host-visit";
/// Ends it.
const GONE: &str = "__Host-visit=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0";
const LANGUAGE: &str = "__Host-lang";
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    for (name, source) in [
        ("page.html", include_str!("templates/page.html")),
        ("plain.html", include_str!("templates/plain.html")),
        ("choices.html", include_str!("templates/choices.html")),
        ("log.html", include_str!("templates/log.html")),
    ] {
        environment.add_template(name, source).expect("the templates are part of the program, and a test shows them");
    }
    environment
});

/// What the page may be told to say after a change.
const SAID: [&str; 8] = [
    "changed",
    "refused-elsewhere",
    "meanwhile",
    "withdrawn",
    "confirm-missing",
    "connected",
    "disconnected",
    "connect-failed",
];

/// `POST [base]/Patient/[id]/$visit`.
pub(super) async fn open(request: &Request<'_>) -> Result<Reply, Refusal> {
    let opened = request.gateway.open_visit(&request.caller()?, request.matched.id).await?;
    let expires = crate::fhir::tree::time::instant(opened.expires_ms);
    let value = serde_json::json!({"url": opened.url, "expires": expires});
    Ok(Reply::json(200, &value).with(CACHE_CONTROL, "no-store"))
}

pub(super) fn style() -> Reply {
    let bytes = include_bytes!("templates/style.css").to_vec();
    Reply::new(200, Body::File { media_type: "text/css; charset=utf-8", bytes })
        .with(CACHE_CONTROL, "public, max-age=600")
}

/// Shows a link's button: looking at a link, as programs do that show what is behind it, must not use it up.
pub(super) fn door(request: &Request<'_>) -> Reply {
    let words = spoken(request);
    let link = request.query.iter().find(|(name, _)| name == "link").map(|(_, link)| link.as_str());
    match link {
        Some(link) => {
            let form = context! { action => "/person/enter", fields => vec![vec!["link".to_owned(), link.to_owned()]], button => words.text("enter") };
            plain(request, words, 200, ("enter", "enter-text"), context! { form })
        }
        None => no_visit(request),
    }
}

/// Begins the session.
pub(super) async fn enter(request: &Request<'_>) -> Reply {
    let form = form(request);
    match request.gateway.enter(field(&form, "link"), visitor(request)).await {
        Ok(begun) => {
            let cookie = format!(
                "{SESSION}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={}",
                begun.session, begun.lifetime_s
            );
            moved("/person").with(SET_COOKIE, &cookie)
        }
        Err(refusal) => turned_away(request, &refusal),
    }
}

pub(super) async fn page(request: &Request<'_>) -> Reply {
    let person = match visiting(request).await {
        Ok(person) => person,
        Err(refusal) => return turned_away(request, &refusal),
    };
    let choices = match request.gateway.choices(&person).await {
        Ok(choices) => choices,
        Err(refusal) => return problem::reply(&refusal),
    };
    let restricted = match request.gateway.is_restricted(&person).await {
        Ok(restricted) => restricted,
        Err(refusal) => return problem::reply(&refusal),
    };
    let words = spoken(request);
    let parties: Vec<Context> = choices.iter().enumerate().map(|(index, of)| party(words, index, of)).collect();
    let more = context! {
        opened => words.filled("opened-by", &[person.client_name()]),
        seal => request.gateway.form_seal(&person),
        parties => parties,
        restricted => restricted,
    };
    shown(request, words, 200, "choices.html", more)
}

/// Turns a switch.
pub(super) async fn choice(request: &Request<'_>) -> Reply {
    changed(request, async |person, form| {
        let (actor, category) = (field(form, "actor"), field(form, "category"));
        let on = match field(form, "wish") {
            "on" => true,
            "off" => false,
            _ => return Err(Refusal::one(Id::OperationParameter, "", "The wish is on or off.")),
        };
        Ok(match request.gateway.choose(person, visitor(request), actor, category, on).await? {
            Made::AsWished => "changed",
            Made::RefusedElsewhere => "refused-elsewhere",
        })
    })
    .await
}

/// Withdraws every consent.
pub(super) async fn withdraw(request: &Request<'_>) -> Reply {
    changed(request, async |person, form| {
        if field(form, "sure") != "yes" {
            return Ok("confirm-missing");
        }
        request.gateway.withdraw_all(person, visitor(request)).await?;
        Ok("withdrawn")
    })
    .await
}

/// Shows the way to a destination's own sign-in.
pub(super) async fn connect(request: &Request<'_>) -> Reply {
    let person = match visiting(request).await {
        Ok(person) => person,
        Err(refusal) => return turned_away(request, &refusal),
    };
    let destination = field(&request.query, "destination");
    let words = spoken(request);
    match request.gateway.connect(&person, destination).await {
        Ok(leaving) => {
            let host = [leaving.host.as_str()];
            let out = context! { url => leaving.url, text => words.filled("connect-go", &host) };
            let more = context! {
                heading => words.filled("connect-title", &[destination]), text => words.filled("connect-text", &host), out,
            };
            shown(request, words, 200, "plain.html", more)
        }
        Err(refusal) if refusal.ids().contains(&Id::DestinationTrouble) => moved("/person?said=connect-failed"),
        Err(refusal) => problem::reply(&refusal),
    }
}

/// Where people come back to. The browser brings no session along from elsewhere, but it does from this page.
pub(super) fn returned(request: &Request<'_>) -> Reply {
    let words = spoken(request);
    let given = |name: &str| request.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    if let (Some(state), Some(code)) = (given("state"), given("code")) {
        let fields = [("state", state), ("code", code)];
        let fields: Vec<Vec<String>> = fields.map(|(name, value)| vec![name.to_owned(), value.to_owned()]).into();
        let form = context! { action => "/person/connected", fields, button => words.text("connected-go") };
        return plain(request, words, 200, ("connected-title", "connected-text"), context! { form });
    }
    let out = context! { url => "/person", text => words.text("back") };
    plain(request, words, 200, ("connect-refused", "connect-refused-text"), context! { out })
}

/// Makes the connection.
pub(super) async fn connected(request: &Request<'_>) -> Reply {
    let person = match visiting(request).await {
        Ok(person) => person,
        Err(refusal) => return turned_away(request, &refusal),
    };
    let form = form(request);
    let brought = (field(&form, "state"), field(&form, "code"));
    match request.gateway.connected(&person, visitor(request), brought).await {
        Ok(_) => moved("/person?said=connected"),
        Err(refusal) if refusal.ids().iter().any(|id| matches!(id, Id::DestinationTrouble | Id::TokenInvalid)) => {
            moved("/person?said=connect-failed")
        }
        Err(refusal) => problem::reply(&refusal),
    }
}

/// Ends a connection.
pub(super) async fn disconnect(request: &Request<'_>) -> Reply {
    changed(request, async |person, form| {
        request.gateway.disconnect(person, visitor(request), field(form, "destination")).await?;
        Ok("disconnected")
    })
    .await
}

/// Who did what.
pub(super) async fn log(request: &Request<'_>) -> Reply {
    let person = match visiting(request).await {
        Ok(person) => person,
        Err(refusal) => return turned_away(request, &refusal),
    };
    let page = request.query.iter().find(|(name, _)| name == "_page").map(|(_, page)| page.as_str());
    let log = match request.gateway.log_of(&person, visitor(request), page).await {
        Ok(log) => log,
        Err(refusal) => return problem::reply(&refusal),
    };
    let words = spoken(request);
    let lines: Vec<Context> = log["entries"].as_array().into_iter().flatten().map(|entry| line(words, entry)).collect();
    let next = log["next"].as_str().and_then(|next| next.split_once("_page=")).map(|(_, token)| token.to_owned());
    shown(request, words, 200, "log.html", context! { lines, next })
}

fn line(words: &Words, entry: &Value) -> Context {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let who = [text("/who/name"), text("/who/id")].into_iter().find(|name| !name.is_empty()).unwrap_or("-");
    let itself = text("/who/reference").starts_with("Patient/");
    let who = if itself { words.filled("you", &[who]) } else { who.to_owned() };
    let act = match text("/operation") {
        "$visit" => words.text("visit-link"),
        "$connect" => words.text("connect-act"),
        "$disconnect" => words.text("disconnect-act"),
        _ => words.term("acts", text("/act")),
    };
    let done = if entry["done"] == false && text("/act") != "refuse" { words.text("refused") } else { "" };
    let act = [act, done].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    let categories = entry["categories"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut of: Vec<&str> = categories.map(|code| words.term("categories", code)).collect();
    if of.is_empty() {
        let references = entry["resources"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let kinds: BTreeSet<&str> = references.filter_map(|reference| reference.split('/').next()).collect();
        of.extend(kinds.into_iter().map(|kind| words.term("kinds", kind)));
    }
    let why = match text("/basis/kind") {
        "consent" => words.text("by-consent"),
        "own-client" => words.text("own-client"),
        "policy" => words.text("by-policy"),
        _ => "",
    };
    let purpose = words.term("purposes", text("/purpose"));
    let why = [why, purpose].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    let when = text("/when");
    let shown = format!("{} UTC", moment(when));
    context! { when, shown, who, act, of => of.join(", "), why }
}

/// Everything, as a file.
pub(super) async fn export(request: &Request<'_>) -> Reply {
    let person = match sealed(request).await {
        Ok((person, _)) => person,
        Err(refusal) => return turned_away(request, &refusal),
    };
    match request.gateway.export_of(&person, visitor(request)).await {
        Ok(export) => super::rights::poured(request, export, "application/fhir+ndjson")
            .with(CONTENT_DISPOSITION, "attachment; filename=\"health-data.ndjson\"")
            .with(CACHE_CONTROL, "no-store"),
        Err(refusal) => problem::reply(&refusal),
    }
}

/// Forgets the person. What follows is the last page of the visit.
pub(super) async fn erase(request: &Request<'_>) -> Reply {
    let (person, form) = match sealed(request).await {
        Ok(sealed) => sealed,
        Err(refusal) => return turned_away(request, &refusal),
    };
    if field(&form, "sure") != "yes" {
        return moved("/person?said=confirm-missing");
    }
    let receipt = match request.gateway.erase_person(&person, visitor(request)).await {
        Ok(receipt) => receipt,
        Err(refusal) => return problem::reply(&refusal),
    };
    let words = spoken(request);
    let counts = receipt["erased"]["resources"].as_object().into_iter().flatten();
    let count: u64 = counts.filter_map(|(_, count)| count.as_u64()).sum();
    let of = |by: &str, key: &str| {
        let all = receipt["recipients"].as_array().into_iter().flatten();
        let names: Vec<&str> =
            all.filter(|each| each["by"] == by).filter_map(|each| each["destination"].as_str()).collect();
        (!names.is_empty()).then(|| words.filled(key, &[&names.join(", ")]))
    };
    let told = [of("the gateway", "erased-telling"), of("the operator", "erased-told")];
    let told: Vec<String> = told.into_iter().flatten().collect();
    let more = context! {
        heading => words.text("erased"), text => words.filled("erased-text", &[&count.to_string()]), told,
    };
    shown(request, words, 200, "plain.html", more).with(SET_COOKIE, GONE)
}

/// Ends the session in this browser.
pub(super) fn leave(request: &Request<'_>) -> Reply {
    let words = spoken(request);
    plain(request, words, 200, ("closed", "closed-text"), context! {}).with(SET_COOKIE, GONE)
}

/// A change by a form of the page itself, and then the page again with a word about it.
async fn changed(
    request: &Request<'_>,
    change: impl AsyncFnOnce(&Person, &[(String, String)]) -> Result<&'static str, Refusal>,
) -> Reply {
    let (person, form) = match sealed(request).await {
        Ok(sealed) => sealed,
        Err(refusal) => return turned_away(request, &refusal),
    };
    match change(&person, &form).await {
        Ok(said) => moved(&format!("/person?said={said}{}", place(&form))),
        Err(refusal) if refusal.ids().contains(&Id::VersionConflict) => moved("/person?said=meanwhile"),
        Err(refusal) => problem::reply(&refusal),
    }
}

/// The fragment of the switch that was turned, so that whoever goes by keyboard goes on from there.
fn place(form: &[(String, String)]) -> String {
    let place = field(form, "place");
    let is_one = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_one { format!("#{place}") } else { String::new() }
}

/// The person who sent a form, and the form, if it was of a page that this very visit was shown.
async fn sealed(request: &Request<'_>) -> Result<(Person, Form), Refusal> {
    let person = visiting(request).await?;
    let form = form(request);
    if request.gateway.is_sealed(&person, field(&form, "seal")) {
        return Ok((person, form));
    }
    Err(Refusal::one(Id::TokenInvalid, "", "The form is not of this page."))
}

async fn visiting(request: &Request<'_>) -> Result<Person, Refusal> {
    match cookie(request, SESSION) {
        Some(session) => request.gateway.visiting(session).await,
        None => Err(Refusal::one(Id::LoginRequired, "", "There is no session.")),
    }
}

fn visitor<'r>(request: &'r Request<'_>) -> Visitor<'r> {
    Visitor { request_id: request.request_id, address: request.address }
}

fn party(words: &Words, index: usize, of: &Choices) -> Context {
    let (kind, does) = match of.party.kind {
        PartyKind::App => ("app", "app-does"),
        PartyKind::Destination => ("destination", "destination-does"),
        PartyKind::Other => ("other", "other-does"),
        PartyKind::Entitled => ("entitled", "entitled-does"),
    };
    let allowed = of.choices.iter().filter(|choice| choice.state != State::Off).count();
    let summary = match allowed {
        0 => words.text("nothing-on").to_owned(),
        some => words.filled("allowed-kinds", &[&some.to_string(), &of.choices.len().to_string()]),
    };
    let choices: Vec<Context> = of
        .choices
        .iter()
        .map(|choice| {
            let state = match choice.state {
                State::On => "on",
                State::Off => "off",
                State::Part => "part",
            };
            let code = choice.category.code.as_str();
            let needs: Vec<&str> = choice.needs.iter().map(|code| words.term("categories", code)).collect();
            let needs = (!needs.is_empty()).then(|| words.filled("needs", &[&needs.join(", ")]));
            context! {
                id => format!("p{index}-{code}"), code, state, name => words.term("categories", code), shown => words.text(state),
                needs,
            }
        })
        .collect();
    let connection = of.party.receives.as_ref().and_then(|receives| receives.connection.as_ref());
    context! {
        name => of.party.name.as_str(), actor => of.party.actor.as_str(), any => allowed > 0, kind => words.text(kind),
        does => words.text(does), summary, choices, receives => receives(words, &of.party),
        connect => connection.and_then(|connection| way(words, &of.party.name, connection)),
        connected => connection.is_some_and(|connection| *connection != Connection::None),
    }
}

/// What is said of a destination besides: by which name it knows the person, and whether it gives up what it has.
fn receives(words: &Words, party: &Party) -> Vec<String> {
    let Some(receives) = &party.receives else { return Vec::new() };
    let told = match receives.told {
        None => "told-nothing",
        Some(Manner::Delete) => "told-delete",
        Some(Manner::EnteredInError) => "told-entered-in-error",
    };
    let name = receives.pseudonym.then(|| words.text("by-pseudonym").to_owned());
    let last = receives.told_last.as_deref().map(|when| words.filled("told-on", &[&moment(when)]));
    let connection = receives.connection.iter().flat_map(|connection| standing(words, connection));
    name.into_iter().chain([words.text(told).to_owned()]).chain(last).chain(connection).collect()
}

/// How the person stands with a destination that wants her to sign in.
fn standing(words: &Words, connection: &Connection) -> Vec<String> {
    let shown = |ms: i64| moment(&crate::fhir::tree::time::instant(ms));
    match connection {
        Connection::None => vec![words.text("link-none").to_owned()],
        Connection::Over => vec![words.text("link-over").to_owned()],
        Connection::Stands { since_ms, ends_ms } => {
            let ends = ends_ms.map(|ends_ms| words.filled("link-ends", &[&shown(ends_ms)]));
            [words.filled("link-stands", &[&shown(*since_ms)])].into_iter().chain(ends).collect()
        }
    }
}

/// The way that connects it.
fn way(words: &Words, destination: &str, connection: &Connection) -> Option<Context> {
    let text = match connection {
        Connection::None => words.text("connect"),
        Connection::Over => words.text("connect-again"),
        Connection::Stands { .. } => return None,
    };
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("destination", destination).finish();
    Some(context! { url => format!("/person/connect?{query}"), text })
}

/// RFC 3339 in UTC, to the second, as people read it.
fn moment(when: &str) -> String {
    when.get(..19).unwrap_or(when).replace('T', " ")
}

/// Who has no session, or none that still holds, and is told where to get one.
fn turned_away(request: &Request<'_>, refusal: &Refusal) -> Reply {
    if refusal.issues.iter().any(|issue| !matches!(issue.id, Id::LoginRequired | Id::TokenInvalid)) {
        return problem::reply(refusal);
    }
    Reply { issues: refusal.ids(), ..no_visit(request) }
}

fn no_visit(request: &Request<'_>) -> Reply {
    plain(request, spoken(request), 401, ("no-visit", "no-visit-text"), context! {})
}

fn plain(
    request: &Request<'_>,
    words: &'static Words,
    status: u16,
    (heading, text): (&str, &str),
    more: Context,
) -> Reply {
    let more = context! { heading => words.text(heading), text => words.text(text), ..more };
    shown(request, words, status, "plain.html", more)
}

fn shown(request: &Request<'_>, words: &'static Words, status: u16, template: &str, more: Context) -> Reply {
    let asked = |name: &str| request.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let said = asked("said").filter(|said| SAID.contains(said)).map(|said| words.text(said));
    let languages: Vec<(&str, &str)> =
        words::languages().iter().map(|words| (words.code, words.text("language"))).collect();
    let all = context! {
        kept => kept(request), lang => words.code, words => Context::from(minijinja::value::Serde(&words.all)), languages, said, ..more
    };
    let template = TEMPLATES.get_template(template).expect("every template is listed above");
    let html = template.render(all).expect("the templates use what they are given, and a test shows them");
    let reply = Reply::new(status, Body::File { media_type: "text/html; charset=utf-8", bytes: html.into_bytes() })
        .with(CONTENT_SECURITY_POLICY, POLICY)
        .with(CACHE_CONTROL, "no-store")
        .with(HeaderName::from_static("referrer-policy"), "no-referrer");
    match asked("lang").and_then(words::language) {
        Some(chosen) => reply.with(
            SET_COOKIE,
            &format!("{LANGUAGE}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=31536000", chosen.code),
        ),
        None => reply,
    }
}

/// What a choice of language must not lose: the link that is still to be used, and the place in the log.
fn kept(request: &Request<'_>) -> String {
    let pairs = request
        .query
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "link" | "_page" | "state" | "code" | "destination"));
    let mut kept = url::form_urlencoded::Serializer::new(String::new());
    let kept = kept.extend_pairs(pairs).finish();
    if kept.is_empty() { kept } else { format!("&{kept}") }
}

/// The language that was chosen just now, or once, or else that of the browser.
fn spoken(request: &Request<'_>) -> &'static Words {
    let chosen = request.query.iter().find(|(name, _)| name == "lang").map(|(_, code)| code.as_str());
    let chosen = chosen.or_else(|| cookie(request, LANGUAGE)).and_then(words::language);
    chosen.unwrap_or_else(|| words::asked(request.headers))
}

fn moved(to: &str) -> Reply {
    Reply::new(303, Body::Empty).with(LOCATION, to).with(CACHE_CONTROL, "no-store")
}

fn cookie<'r>(request: &'r Request<'_>, name: &str) -> Option<&'r str> {
    let headers = request.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Fields and values.
type Form = Vec<(String, String)>;

fn form(request: &Request<'_>) -> Form {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

fn field<'f>(form: &'f [(String, String)], name: &str) -> &'f str {
    form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}
