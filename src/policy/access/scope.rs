//! SMART App Launch 2.2 scopes: `system/Observation.rs?category=…|vital-signs`, and the v1 spellings.
//!
//! One scope that cannot be read or enforced refuses the whole request: granting a readable prefix of a scope
//! fails open. Enforceable restrictions are `category` and `code` with plain tokens; every other parameter,
//! modifier or chain is refused. `/` is the only separator, and nothing is percent-decoded a second time.
//! Scopes of other contexts (`user/`, `patient/`, `openid`, …) can be read, and [`Scopes::within`] refuses
//! them, because only system-to-system access is granted here. What a scope means for one interaction is a
//! [`Grant`], which must be enforced on reads by id, includes and history as well as on searches.

use std::fmt;

use super::kinds::is_resource_type;
use crate::fhir::terminology::named;

/// One interaction of the `cruds` letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interaction {
    Create,
    Read,
    Update,
    Delete,
    Search,
}

impl Interaction {
    pub fn letter(self) -> char {
        match self {
            Interaction::Create => 'c',
            Interaction::Read => 'r',
            Interaction::Update => 'u',
            Interaction::Delete => 'd',
            Interaction::Search => 's',
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// In the order that a v2 scope must keep.
const LETTERS: [Interaction; 5] =
    [Interaction::Create, Interaction::Read, Interaction::Update, Interaction::Delete, Interaction::Search];

/// On whose behalf a scope would act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    System,
    User,
    Patient,
    /// OpenID Connect and launch scopes, which name no resource.
    Session,
}

/// The restricting parameters that are enforced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parameter {
    Category,
    Code,
}

/// A token value as FHIR search writes it: `code`, `system|code`, `|code` or `system|`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// None: any system. Empty: a coding without system.
    pub system: Option<String>,
    /// None: any code of the system.
    pub code: Option<String>,
}

impl Token {
    pub fn parse(text: &str) -> Option<Token> {
        let (system, code) = match text.split_once('|') {
            Some((system, code)) => (Some(system), code),
            None => (None, text),
        };
        if code.contains('|') || (code.is_empty() && system.is_none_or(str::is_empty)) {
            return None;
        }
        Some(Token { system: system.map(str::to_owned), code: (!code.is_empty()).then(|| code.to_owned()) })
    }

    pub fn matches(&self, system: &str, code: &str) -> bool {
        self.system.as_deref().is_none_or(|wanted| wanted == system || named(wanted) == named(system))
            && self.code.as_deref().is_none_or(|wanted| wanted == code)
    }

    /// Whether everything that `other` matches is matched here too.
    fn covers(&self, other: &Token) -> bool {
        (self.system.is_none() || self.system == other.system) && (self.code.is_none() || self.code == other.code)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(system) = &self.system {
            write!(formatter, "{system}|")?;
        }
        formatter.write_str(self.code.as_deref().unwrap_or_default())
    }
}

/// One `parameter=value,value`: any of the values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term {
    pub parameter: Parameter,
    pub values: Vec<Token>,
}

/// The restriction of one granular scope: every term must hold. Displays as the search clause it stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Criterion {
    pub terms: Vec<Term>,
}

impl Criterion {
    /// Whether a resource with these `(system, code)` codings is inside.
    pub fn matches(&self, categories: &[(&str, &str)], codes: &[(&str, &str)]) -> bool {
        self.terms.iter().all(|term| {
            let codings = match term.parameter {
                Parameter::Category => categories,
                Parameter::Code => codes,
            };
            codings.iter().any(|(system, code)| term.values.iter().any(|value| value.matches(system, code)))
        })
    }

    /// Whether every resource inside `other` is inside this one, judged by the terms alone.
    fn covers(&self, other: &Criterion) -> bool {
        self.terms.iter().all(|mine| {
            other.terms.iter().any(|theirs| {
                theirs.parameter == mine.parameter
                    && theirs.values.iter().all(|value| mine.values.iter().any(|token| token.covers(value)))
            })
        })
    }
}

/// What the scopes allow for one interaction on one type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grant {
    None,
    All,
    /// Only resources that satisfy at least one of the criteria.
    Where(Vec<Criterion>),
}

impl Grant {
    pub fn allows(&self, categories: &[(&str, &str)], codes: &[(&str, &str)]) -> bool {
        match self {
            Grant::None => false,
            Grant::All => true,
            Grant::Where(criteria) => criteria.iter().any(|criterion| criterion.matches(categories, codes)),
        }
    }
}

/// One scope.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Scope {
    context: Context,
    /// Resource type or `*`; empty for session scopes.
    kind: String,
    interactions: u8,
    criterion: Option<Criterion>,
    /// As it was asked for, so that the token answer repeats the client's own spelling (RFC 6749 §3.3).
    written: String,
}

impl Scope {
    fn reaches(&self, kind: &str, bit: u8) -> bool {
        self.context == Context::System && self.interactions & bit != 0 && (self.kind == "*" || self.kind == kind)
    }
}

/// Why a scope string is refused; says what is wrong without quoting the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadScope {
    /// 1-based place in the list.
    pub place: usize,
    pub reason: &'static str,
}

impl fmt::Display for BadScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "scope {} {}", self.place, self.reason)
    }
}

impl From<BadScope> for super::Denied {
    fn from(bad: BadScope) -> Self {
        super::Denied::ScopeInvalid { reason: bad.to_string() }
    }
}

/// A set of scopes. Displays as the string it was read from, single-spaced.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scopes {
    list: Vec<Scope>,
}

/// Bounds of one request; a token must stay small enough for a header.
const MAX_LENGTH: usize = 2048;
const MAX_SCOPES: usize = 64;

impl Scopes {
    /// Reads a space-separated list; one bad scope refuses all. An empty text gives the empty set.
    pub fn parse(text: &str) -> Result<Scopes, BadScope> {
        if text.len() > MAX_LENGTH {
            return Err(BadScope { place: 0, reason: "list is longer than 2048 characters" });
        }
        let mut list = Vec::new();
        for (index, written) in text.split(' ').filter(|part| !part.is_empty()).enumerate() {
            if index == MAX_SCOPES {
                return Err(BadScope { place: index + 1, reason: "is one more than the 64 allowed" });
            }
            list.push(parse_scope(written).map_err(|reason| BadScope { place: index + 1, reason })?);
        }
        Ok(Scopes { list })
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Scopes add up: an unrestricted one wins, several restricted ones are alternatives.
    pub fn permits(&self, kind: &str, interaction: Interaction) -> Grant {
        let mut criteria = Vec::new();
        for scope in self.list.iter().filter(|scope| scope.reaches(kind, interaction.bit())) {
            match &scope.criterion {
                None => return Grant::All,
                Some(criterion) => criteria.push(criterion.clone()),
            }
        }
        if criteria.is_empty() { Grant::None } else { Grant::Where(criteria) }
    }

    /// Whether everything asked for here lies within `registered`. Contexts other than `system/` never do.
    pub fn within(&self, registered: &Scopes) -> bool {
        self.list.iter().all(|asked| {
            asked.context == Context::System
                && LETTERS.iter().map(|interaction| interaction.bit()).filter(|bit| asked.interactions & bit != 0).all(
                    |bit| {
                        registered.list.iter().any(|held| {
                            held.reaches(&asked.kind, bit)
                                && match (&held.criterion, &asked.criterion) {
                                    (None, _) => true,
                                    (Some(_), None) => false,
                                    (Some(held), Some(asked)) => held.covers(asked),
                                }
                        })
                    },
                )
        })
    }

    /// Whether only `system/` scopes stand here, as a registration must have it.
    pub fn only_system(&self) -> bool {
        self.list.iter().all(|scope| scope.context == Context::System)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.list.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            formatter.write_str(&scope.written)?;
        }
        Ok(())
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let name = match term.parameter {
                Parameter::Category => "category=",
                Parameter::Code => "code=",
            };
            formatter.write_str(if index > 0 { "&" } else { "" })?;
            formatter.write_str(name)?;
            for (index, value) in term.values.iter().enumerate() {
                formatter.write_str(if index > 0 { "," } else { "" })?;
                write!(formatter, "{value}")?;
            }
        }
        Ok(())
    }
}

fn parse_scope(written: &str) -> Result<Scope, &'static str> {
    // RFC 6749 §3.3 scope-token characters; '%' is left out because decoding twice would read another scope.
    if !written.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E) && byte != b'%') {
        return Err("has a character that no scope may have");
    }
    if is_session_scope(written) {
        return Ok(Scope {
            context: Context::Session,
            kind: String::new(),
            interactions: 0,
            criterion: None,
            written: written.to_owned(),
        });
    }
    let (context, rest) = written.split_once('/').ok_or("is not of the form context/Type.interactions")?;
    let context = match context {
        "system" => Context::System,
        "user" => Context::User,
        "patient" => Context::Patient,
        _ => return Err("has a context other than system, user or patient"),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let (kind, interactions) = path.split_once('.').ok_or("is not of the form context/Type.interactions")?;
    if kind != "*" && !is_resource_type(kind) {
        return Err("names no FHIR R4 resource type");
    }
    Ok(Scope {
        context,
        kind: kind.to_owned(),
        interactions: parse_interactions(interactions)?,
        criterion: query.map(parse_criterion).transpose()?,
        written: written.to_owned(),
    })
}

fn is_session_scope(text: &str) -> bool {
    matches!(text, "openid" | "profile" | "fhirUser" | "offline_access" | "online_access" | "launch")
        || text
            .strip_prefix("launch/")
            .is_some_and(|what| !what.is_empty() && what.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// v2 letters in order, or one word: SMART v1 and the EU Health Data API spell `read`, `write`, `search`, `create`.
fn parse_interactions(text: &str) -> Result<u8, &'static str> {
    let letters = match text {
        "read" => "rs",
        "write" => "cud",
        "*" => "cruds",
        "search" => "s",
        "create" => "c",
        letters => letters,
    };
    let mut remaining = LETTERS.iter();
    let mut interactions = 0;
    for letter in letters.chars() {
        let found = remaining.find(|interaction| interaction.letter() == letter);
        interactions |=
            found.ok_or("has interactions other than the letters cruds, once each and in this order")?.bit();
    }
    if interactions == 0 { Err("names no interaction") } else { Ok(interactions) }
}

fn parse_criterion(query: &str) -> Result<Criterion, &'static str> {
    let mut terms = Vec::new();
    for part in query.split('&') {
        let (name, values) = part.split_once('=').ok_or("has a restriction without a value")?;
        let parameter = match name {
            "category" => Parameter::Category,
            "code" => Parameter::Code,
            _ => return Err("is restricted by a parameter that cannot be enforced; category and code can"),
        };
        if values.contains(['=', '?', '$']) {
            return Err("has a restriction that is not a plain token");
        }
        let values = values.split(',').map(Token::parse).collect::<Option<Vec<_>>>();
        terms.push(Term { parameter, values: values.ok_or("has a restriction that is not a plain token")? });
    }
    Ok(Criterion { terms })
}
