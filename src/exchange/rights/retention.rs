//! How long what is held is held (GDPR Art. 5(1)(e)): rules by category of measure and by the client that sent it, and a
//! look around in small steps that takes away what is older.
//!
//! What the person registered and consented to is hers for as long as she is here. The audit is kept for three years at
//! least (EHDS Art. 9), whatever else goes, and its entries in the transparency log for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::exchange::facts::Facts;
use crate::exchange::subscribe::FOLLOWER;
use crate::exchange::trail::{Act, Author};
use crate::exchange::{CATEGORY_SYSTEM, Gateway, Refusal};
use crate::fhir::tree::{Element, json};
use crate::fhir::validate::measures::category::category;
use crate::store::{Plan, Stored, Tidying};

const DAY_MS: i64 = 86_400_000;

/// Three years, one of them a leap year.
const AUDIT_DAYS: u32 = 1096;

/// What is measured and what tells of it.
const KINDS: [&str; 3] = ["Observation", "QuestionnaireResponse", "Provenance"];

/// Resources that are looked at together.
const STEP: usize = 200;

/// What is kept for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days for which records of the audit are kept.
    pub audit_days: u32,
    /// Days for which the feed remembers what every destination has.
    pub feed_days: u32,
    /// How long measurements are kept; of these the first that fits counts, and what none fits is kept.
    pub rule: Vec<Rule>,
}

/// How long measurements of some kind are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A category of measures; any, where none is named. What is of several is kept as long as the longest of them.
    pub category: Option<String>,
    /// The client that sent them; any, where none is named.
    pub origin: Option<String>,
    /// Days since it was received or changed.
    pub days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { audit_days: 3653, feed_days: 30, rule: Vec::new() }
    }
}

impl Retention {
    /// Everything that is wrong with it.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.audit_days < AUDIT_DAYS {
            mistakes.push(format!("retention.audit_days: at least {AUDIT_DAYS}, which is three years"));
        }
        if self.feed_days == 0 {
            mistakes.push("retention.feed_days: must be greater than 0".to_owned());
        }
        for (index, rule) in self.rule.iter().enumerate() {
            if rule.days == 0 {
                mistakes.push(format!("retention.rule[{index}].days: must be greater than 0"));
            }
            if rule.category.as_deref().is_some_and(|code| category(code).is_none()) {
                mistakes.push(format!("retention.rule[{index}].category: a category of measures of the guide"));
            }
        }
        mistakes
    }

    /// Days for which something is kept; without end where no rule fits.
    fn days(&self, categories: &[&str], origin: &str) -> Option<u32> {
        let fits = |rule: &&Rule, category: Option<&str>| {
            rule.origin.as_deref().is_none_or(|wanted| wanted == origin)
                && rule.category.as_deref().is_none_or(|wanted| category == Some(wanted))
        };
        let of = |category: Option<&str>| self.rule.iter().find(|rule| fits(rule, category)).map(|rule| rule.days);
        if categories.is_empty() {
            return of(None);
        }
        categories.iter().map(|category| of(Some(category))).try_fold(0, |longest, days| Some(longest.max(days?)))
    }

    fn shortest(&self) -> Option<u32> {
        self.rule.iter().map(|rule| rule.days).min()
    }
}

impl Gateway {
    /// Takes away what is older than it may be; `go_on` is asked between steps.
    pub async fn retain(&self, now_ms: i64, go_on: impl Fn() -> bool) -> Result<(), Refusal> {
        let before = |days: u32| now_ms.saturating_sub(i64::from(days) * DAY_MS);
        let retention = &self.retention;
        let tidying = Tidying {
            now_ms,
            audit_before_ms: before(retention.audit_days),
            feed_before_ms: before(retention.feed_days),
            destinations: self.followers().await?,
        };
        self.count_of_sockets().await?;
        while go_on() && self.store.tidy(tidying.clone()).await? {}
        let Some(shortest) = retention.shortest() else { return Ok(()) };
        for kind in KINDS {
            let mut after = None;
            while go_on() {
                // Of what is damaged nobody can tell how long it may be kept.
                let plan = Plan { after, limit: STEP, deleted: true, spares_damaged: true, ..Plan::of(kind) };
                let page = self.store.search(plan).await?;
                // Resources stand in the order in which they came, so that behind one that is young all are.
                let young = |stored: &Stored| stored.version == 1 && stored.updated_ms >= before(shortest);
                let all_seen = page.rows.last().is_none_or(young) || page.next.is_none();
                let old = page.rows.into_iter().filter(|stored| {
                    let days = self.kept_days(stored);
                    days.is_some_and(|days| stored.updated_ms < before(days))
                });
                self.remove(old.collect()).await?;
                if all_seen {
                    break;
                }
                after = page.next;
            }
        }
        Ok(())
    }

    /// Whoever still needs what the feed has.
    async fn followers(&self) -> Result<Vec<Arc<str>>, Refusal> {
        let mut followers: Vec<Arc<str>> = self.recipients.all.iter().map(|recipient| recipient.name.clone()).collect();
        if !self.store.subscriptions_live().await?.is_empty() {
            followers.push(Arc::from(FOLLOWER));
        }
        Ok(followers)
    }

    fn kept_days(&self, stored: &Stored) -> Option<u32> {
        let document = json::parse(stored.payload.as_slice()).ok()?;
        let facts = Facts::of(stored.kind.clone(), Element::root(&document));
        let own = facts.categories().iter().filter(|(system, _)| *system == CATEGORY_SYSTEM);
        let mut categories: Vec<&str> = own.map(|(_, code)| *code).collect();
        categories.sort_unstable();
        categories.dedup();
        self.retention.days(&categories, &stored.owner)
    }

    /// One record of the audit a person.
    async fn remove(&self, old: Vec<Stored>) -> Result<(), Refusal> {
        let author = Author::stranger(self, "").with_query("retention", &[]);
        let mut persons = BTreeMap::new();
        for stored in &old {
            let Some(key) = stored.patient else { continue };
            let reference = format!("{}/{}/_history/{}", stored.kind, stored.logical_id(), stored.version);
            persons.entry(key).or_insert_with(|| (Author::patient_of(stored), Vec::new())).1.push(reference);
        }
        let records = persons
            .into_iter()
            .map(|(key, (id, references))| author.record(Act::Operation, Some(&(id, key)), &references, None, &[]));
        let records: Vec<_> = records.collect();
        if records.is_empty() {
            return Ok(());
        }
        Ok(self.store.remove(old.iter().map(|stored| (stored.seq, stored.version)).collect(), records).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rule = |category: Option<&str>, origin: Option<&str>, days| Rule {
            category: category.map(str::to_owned),
            origin: origin.map(str::to_owned),
            days,
        };
        let rules = vec![
            rule(Some("heart-rate"), Some("app"), 10),
            rule(Some("heart-rate"), None, 20),
            rule(None, Some("app"), 30),
        ];
        let retention = Retention { rule: rules, ..Retention::default() };
        for (categories, origin, expected) in [
            (&["heart-rate"][..], "app", Some(10)),
            (&["heart-rate"], "other", Some(20)),
            (&["weight"], "app", Some(30)),
            (&["weight"], "other", None),
            (&["heart-rate", "weight"], "app", Some(30)),
            (&["heart-rate", "weight"], "other", None),
            (&[], "app", Some(30)),
            (&[], "other", None),
        ] {
            assert_eq!(retention.days(categories, origin), expected, "{categories:?} {origin}");
        }
    }

    #[test]
    fn the_audit_is_kept_for_three_years() {
        let mut retention = Retention { audit_days: 1095, feed_days: 0, ..Retention::default() };
        retention.rule.push(Rule { category: Some("nonsense".to_owned()), origin: None, days: 0 });
        assert_eq!(retention.mistakes().len(), 4);
        assert_eq!(Retention::default().mistakes(), Vec::<String>::new());
    }
}
