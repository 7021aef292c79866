//! Which destinations a resource goes to: a table of rules, compiled once, by kind, code, category and app.
//!
//! Silence is not consent: a table without rules, and a rule whose list is empty, match nothing; everything is
//! sent only where `*` says so. Several rules may name one destination; they are alternatives. The table prints
//! as the sentences that an operator can check. It knows names only, no addresses and no credentials.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::access::is_resource_type;
use super::access::scope::Token;

/// A rule as it is configured.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
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
}

/// What is known of the resource to be routed; codings are `(system, code)`.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub kind: &'a str,
    pub codes: &'a [(&'a str, &'a str)],
    pub categories: &'a [(&'a str, &'a str)],
    /// Id of the client that sent it.
    pub owner: &'a str,
}

struct Condition {
    destination: usize,
    codes: Option<Vec<Token>>,
    categories: Option<Vec<Token>>,
    apps: Option<Vec<String>>,
}

/// Compiled rules.
#[derive(Default)]
pub struct Table {
    destinations: Vec<String>,
    rules: Vec<Rule>,
    /// In the order of the rules.
    by_kind: HashMap<String, Vec<Condition>>,
    any_kind: Vec<Condition>,
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
            let destination = table.destination(&rule.name);
            for kind in &rule.kinds {
                let condition = Condition {
                    destination,
                    codes: codes.clone(),
                    categories: categories.clone(),
                    apps: rule.apps.clone(),
                };
                match kind.as_str() {
                    "*" => table.any_kind.push(condition),
                    kind => table.by_kind.entry(kind.to_owned()).or_default().push(condition),
                }
            }
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
            .filter(|condition| condition.holds(facts))
            .map(|condition| condition.destination)
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|destination| self.destinations[destination].as_str()).collect()
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

impl Condition {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        among(self.codes.as_deref(), facts.codes)
            && among(self.categories.as_deref(), facts.categories)
            && self.apps.as_ref().is_none_or(|apps| apps.iter().any(|app| app == facts.owner))
    }
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
            for (name, list) in [("code", &rule.codes), ("category", &rule.categories), ("app", &rule.apps)] {
                if let Some(list) = list {
                    write!(formatter, " with {name} {}", or_nothing(list))?;
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
