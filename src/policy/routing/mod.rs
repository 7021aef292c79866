//! Which destinations a resource goes to: a table of rules, compiled once, by kind, code, category, app, tenant,
//! certification, residence, consent and time.
//!
//! Silence is not consent: a table without rules, and a rule whose list is empty, match nothing; everything is
//! sent only where `*` says so. Several rules may name one destination; they are alternatives. The table prints
//! as the sentences that an operator can check, and says of a resource which conditions of which rule do not hold. It knows
//! names only, no addresses and no credentials.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::access::is_resource_type;
use super::access::scope::Token;
use crate::fhir::tree::time::Moment;

/// A rule as it is configured.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the destination.
    pub name: String,
    /// Resource types, or `*`.
    pub kinds: Vec<String>,
    /// Tokens (`system|code`, `system|`, `code`) of which one must be among the codes; absent: any resource.
    #[serde(default)]
    pub codes: Option<Vec<String>>,
    /// The same for categories.
    #[serde(default)]
    pub categories: Option<Vec<String>>,
    /// Ids of the clients that own the resource; absent: any.
    #[serde(default)]
    pub apps: Option<Vec<String>>,
    /// Tenants to one of which the client belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// Certifications of which the client has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<Vec<String>>,
    /// Where the person lives: ISO 3166-1 (`FI`), or with a part of the country (`DE-BY`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residence: Option<Vec<String>>,
    /// What lets it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Grounds>,
    /// What was measured from that day or moment on, and before that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// On what grounds something may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grounds {
    /// The person's own consent.
    Given,
    /// What the operator may assume where she has said nothing.
    Implied,
}

/// What is known of the resource to be routed; codings are `(system, code)`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Facts<'a> {
    pub kind: &'a str,
    pub codes: &'a [(&'a str, &'a str)],
    pub categories: &'a [(&'a str, &'a str)],
    /// Id of the client that sent it.
    pub owner: &'a str,
    /// When it was measured, half-open, in milliseconds.
    pub date_ms: Option<(i64, i64)>,
    /// Of whom and from whom it is; None where that is not asked, so that conditions on it are left open.
    pub origin: Option<&'a Origin>,
    /// None before the consent was asked.
    pub grounds: Option<Grounds>,
}

/// What other records say of a resource: the person's and the app's.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Origin {
    /// Countries, and parts of them.
    pub residence: Vec<String>,
    pub tenant: Option<String>,
    pub certified: Vec<String>,
}

/// A condition of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    Kind,
    Code,
    Category,
    App,
    Tenant,
    Certification,
    Residence,
    Consent,
    Time,
}

impl Condition {
    pub fn name(self) -> &'static str {
        match self {
            Condition::Kind => "kind",
            Condition::Code => "code",
            Condition::Category => "category",
            Condition::App => "app",
            Condition::Tenant => "tenant",
            Condition::Certification => "certification",
            Condition::Residence => "residence",
            Condition::Consent => "consent",
            Condition::Time => "time",
        }
    }
}

/// A rule, compiled.
struct Compiled {
    destination: usize,
    codes: Option<Vec<Token>>,
    categories: Option<Vec<Token>>,
    apps: Option<Vec<String>>,
    tenants: Option<Vec<String>>,
    certified: Option<Vec<String>>,
    residence: Option<Vec<String>>,
    consent: Option<Grounds>,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

/// What becomes of a resource by one rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account<'t> {
    pub destination: &'t str,
    /// Which rule it is, from 0.
    pub rule: usize,
    /// What does not hold; empty, where it is sent.
    pub unmet: Vec<Condition>,
}

/// Compiled rules.
#[derive(Default)]
pub struct Table {
    destinations: Vec<String>,
    rules: Vec<Rule>,
    /// Beside the rules.
    compiled: Vec<Compiled>,
    /// Places of the rules of each kind, in their order.
    by_kind: HashMap<String, Vec<usize>>,
    any_kind: Vec<usize>,
}

impl Table {
    /// Compiles the rules, or says everything that is wrong with them.
    pub fn compile(rules: Vec<Rule>) -> Result<Table, Vec<String>> {
        let mut table = Table::default();
        let mut mistakes = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let mut mistake = |text: &str| mistakes.push(format!("rule {}: {text}", index + 1));
            if rule.name.is_empty() || rule.name.chars().any(|letter| letter.is_control() || letter == ' ') {
                mistake("name: expected the name of a destination");
            }
            if rule.kinds.iter().any(|kind| kind != "*" && !is_resource_type(kind)) {
                mistake("kinds: expected FHIR R4 resource types or *");
            }
            let codes = compile_tokens(rule.codes.as_deref());
            let categories = compile_tokens(rule.categories.as_deref());
            let (Some(codes), Some(categories)) = (codes, categories) else {
                mistake("codes, categories: expected code, system|code or system|");
                continue;
            };
            let mut moment = |key: &str, text: &Option<String>| {
                let read = text.as_deref().map(Moment::parse);
                if matches!(read, Some(None)) {
                    mistakes.push(format!("rule {}: {key}: expected a day or a moment, such as 2026-05-04", index + 1));
                }
                read.flatten().map(|moment| moment.interval_assuming_utc_ms().0)
            };
            let (from_ms, until_ms) = (moment("from", &rule.from), moment("until", &rule.until));
            if rule.residence.iter().flatten().any(|place| !is_place(place)) {
                mistakes.push(format!("rule {}: residence: expected ISO 3166 codes such as FI or DE-BY", index + 1));
            }
            let destination = table.destination(&rule.name);
            for kind in &rule.kinds {
                match kind.as_str() {
                    "*" => table.any_kind.push(index),
                    kind => table.by_kind.entry(kind.to_owned()).or_default().push(index),
                }
            }
            table.compiled.push(Compiled {
                destination,
                codes,
                categories,
                apps: rule.apps.clone(),
                tenants: rule.tenants.clone(),
                certified: rule.certified.clone(),
                residence: rule.residence.clone(),
                consent: rule.consent,
                from_ms,
                until_ms,
            });
        }
        table.rules = rules;
        if mistakes.is_empty() { Ok(table) } else { Err(mistakes) }
    }

    /// Names of the destinations, each once, in the order in which the rules first name them.
    pub fn decide(&self, facts: &Facts<'_>) -> Vec<&str> {
        let own = self.by_kind.get(facts.kind).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<usize> = own
            .iter()
            .chain(&self.any_kind)
            .map(|at| &self.compiled[*at])
            .filter(|rule| rule.conditions(facts).all(|(_, holds)| holds))
            .map(|rule| rule.destination)
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|destination| self.destinations[destination].as_str()).collect()
    }

    /// What becomes of a resource by each rule, and why.
    pub fn explain(&self, facts: &Facts<'_>) -> Vec<Account<'_>> {
        let account = |(rule, compiled): (usize, &Compiled)| {
            let kinds = &self.rules[rule].kinds;
            let is_kind = kinds.iter().any(|kind| kind == "*" || kind == facts.kind);
            let first = (Condition::Kind, is_kind);
            let all = std::iter::once(first).chain(compiled.conditions(facts));
            let unmet = all.filter(|(_, holds)| !holds).map(|(condition, _)| condition).collect();
            Account { destination: &self.destinations[compiled.destination], rule, unmet }
        };
        self.compiled.iter().enumerate().map(account).collect()
    }

    /// Whether any rule asks where the person lives, or anything of the app but its id.
    pub fn asks_person(&self) -> bool {
        self.compiled.iter().any(|rule| rule.residence.is_some())
    }

    pub fn asks_app(&self) -> bool {
        self.compiled.iter().any(|rule| rule.tenants.is_some() || rule.certified.is_some())
    }

    /// Whether any rule asks on what grounds something goes.
    pub fn asks_consent(&self) -> bool {
        self.compiled.iter().any(|rule| rule.consent.is_some())
    }

    /// Every destination that some rule names, for checking them against those that are configured.
    pub fn destinations(&self) -> &[String] {
        &self.destinations
    }

    fn destination(&mut self, name: &str) -> usize {
        self.destinations.iter().position(|known| known == name).unwrap_or_else(|| {
            self.destinations.push(name.to_owned());
            self.destinations.len() - 1
        })
    }
}

impl Compiled {
    /// Each condition, and whether it holds.
    fn conditions<'c>(&'c self, facts: &'c Facts<'_>) -> impl Iterator<Item = (Condition, bool)> + 'c {
        const ALL: [Condition; 8] = [
            Condition::Code,
            Condition::Category,
            Condition::App,
            Condition::Tenant,
            Condition::Certification,
            Condition::Residence,
            Condition::Consent,
            Condition::Time,
        ];
        ALL.into_iter().map(|condition| (condition, self.holds(condition, facts)))
    }

    fn holds(&self, condition: Condition, facts: &Facts<'_>) -> bool {
        let open = |wanted: &Option<Vec<String>>, has: &dyn Fn(&Origin, &[String]) -> bool| match (wanted, facts.origin)
        {
            (None, _) | (_, None) => true,
            (Some(wanted), Some(origin)) => has(origin, wanted),
        };
        match condition {
            Condition::Kind => true,
            Condition::Code => among(self.codes.as_deref(), facts.codes),
            Condition::Category => among(self.categories.as_deref(), facts.categories),
            Condition::App => self.apps.as_ref().is_none_or(|apps| apps.iter().any(|app| app == facts.owner)),
            Condition::Tenant => {
                open(&self.tenants, &|origin, wanted| origin.tenant.as_ref().is_some_and(|own| wanted.contains(own)))
            }
            Condition::Certification => {
                open(&self.certified, &|origin, wanted| origin.certified.iter().any(|own| wanted.contains(own)))
            }
            Condition::Residence => {
                open(&self.residence, &|origin, wanted| origin.residence.iter().any(|own| wanted.contains(own)))
            }
            Condition::Consent => self.consent.is_none() || facts.grounds.is_none() || facts.grounds == self.consent,
            // What has no time is not known to be within any.
            Condition::Time => match (self.from_ms, self.until_ms, facts.date_ms) {
                (None, None, _) => true,
                (_, _, None) => false,
                (from, until, Some((start, _))) => {
                    from.is_none_or(|from| from <= start) && until.is_none_or(|until| start < until)
                }
            },
        }
    }
}

fn is_place(text: &str) -> bool {
    let (country, part) = text.split_once('-').map_or((text, None), |(country, part)| (country, Some(part)));
    let is_part = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()) && part.is_none_or(is_part)
}

fn among(tokens: Option<&[Token]>, codings: &[(&str, &str)]) -> bool {
    tokens.is_none_or(|tokens| {
        codings.iter().any(|(system, code)| tokens.iter().any(|token| token.matches(system, code)))
    })
}

/// None for a token that cannot be read; `Some(None)` for no restriction.
#[expect(clippy::option_option, reason = "no list, a list, and a bad list are three different things")]
fn compile_tokens(written: Option<&[String]>) -> Option<Option<Vec<Token>>> {
    written
        .map(|list| list.iter().map(|text| Token::parse(text)).collect::<Option<Vec<_>>>())
        .map_or(Some(None), |list| list.map(Some))
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            write!(formatter, "{} <- {}", rule.name, or_nothing(&rule.kinds))?;
            for (name, list) in [
                ("code", &rule.codes),
                ("category", &rule.categories),
                ("app", &rule.apps),
                ("tenant", &rule.tenants),
                ("certification", &rule.certified),
                ("residence", &rule.residence),
            ] {
                if let Some(list) = list {
                    write!(formatter, " with {name} {}", or_nothing(list))?;
                }
            }
            if let Some(grounds) = rule.consent {
                write!(formatter, " with consent {}", if grounds == Grounds::Given { "given" } else { "implied" })?;
            }
            for (word, day) in [("from", &rule.from), ("until", &rule.until)] {
                if let Some(day) = day {
                    write!(formatter, " {word} {day}")?;
                }
            }
            formatter.write_str("\n")?;
        }
        Ok(())
    }
}

fn or_nothing(list: &[String]) -> String {
    if list.is_empty() { "(nothing)".to_owned() } else { list.join(" or ") }
}

#[cfg(test)]
mod tests;
