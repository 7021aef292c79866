//! A subscription as it is worked with: what it is about, ready to be matched.

use std::sync::{Arc, PoisonError};

use crate::exchange::Gateway;
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::search::Query;
use crate::fhir::tree::{Element, json};
use crate::policy::subscription::{Terms, Topic, Wanted};
use crate::store::{PatientKey, Subscription};

/// What a subscription is about.
pub(super) struct Watch {
    pub wanted: Wanted,
    /// All must find what is told.
    queries: Vec<Query>,
    /// The persons whom the filters name; none where they name nobody.
    pub patients: Option<Vec<PatientKey>>,
}

/// Subscriptions that are kept read.
const KEPT: usize = 10_000;

impl Watch {
    /// Whether something of that type and person may be what it is about.
    pub fn may_be_about(&self, kind: &str, patient: Option<PatientKey>) -> bool {
        let named = |patients: &Vec<PatientKey>| patient.is_some_and(|patient| patients.contains(&patient));
        self.wanted.topic.kind == kind && self.patients.as_ref().is_none_or(named)
    }

    pub fn is_about(&self, resource: Element<'_>, updated_ms: i64) -> bool {
        self.queries.iter().all(|query| query.matches(resource, updated_ms))
    }
}

impl Gateway {
    /// What a client wants, if it can be done.
    pub(super) fn watch(&self, subscription: Element<'_>) -> Result<Watch, Vec<Issue>> {
        let limits = self.subscriptions.config.limits();
        self.watched(Wanted::read(subscription, &limits, self.now_ms())?)
    }

    /// What was found to be possible when it was asked for; none where it is no longer.
    pub(super) fn watch_of(&self, subscription: &Subscription) -> Option<Arc<Watch>> {
        let lock = || self.subscriptions.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, watch)) = lock().get(&subscription.id)
            && *version == subscription.version
        {
            return Some(watch.clone());
        }
        let document = json::parse(subscription.body.as_slice()).ok()?;
        // That its end has come is no reason not to know what it was.
        let limits = self.subscriptions.config.limits();
        let wanted = Wanted::read(Element::root(&document), &limits, i64::MIN).ok()?;
        let watch = Arc::new(self.watched(wanted).ok()?);
        let mut kept = lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(subscription.id.clone(), (subscription.version, watch.clone()));
        Some(watch)
    }

    fn watched(&self, wanted: Wanted) -> Result<Watch, Vec<Issue>> {
        let mut issues = Vec::new();
        let mut queries = Vec::with_capacity(wanted.filters.len());
        for filter in &wanted.filters {
            match self.filter(wanted.topic, filter) {
                Ok(query) => queries.push(query),
                Err(issue) => issues.push(issue),
            }
        }
        if !issues.is_empty() {
            return Err(issues);
        }
        let mut patients: Option<Vec<PatientKey>> = None;
        for named in queries.iter().filter_map(|query| query.hints().patients) {
            let keys: Vec<PatientKey> = named.iter().map(|id| self.patient_key(id)).collect();
            patients = Some(match patients {
                None => keys,
                Some(both) => both.into_iter().filter(|key| keys.contains(key)).collect(),
            });
        }
        Ok(Watch { wanted, queries, patients })
    }

    /// `Observation?patient=1&code=…`, with or without the type.
    fn filter(&self, topic: &Topic, text: &str) -> Result<Query, Issue> {
        const PLACE: &str = "Subscription.criteria";
        let pairs = match text.split_once('?') {
            Some((kind, pairs)) if kind == topic.kind => pairs,
            Some(_) => {
                let text = format!("A filter of this topic is a search for {}.", topic.kind);
                return Err(Issue::new(Id::SubscriptionFilter, PLACE, text));
            }
            None => text,
        };
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(pairs.as_bytes()).into_owned().collect();
        let known = |name: &str| topic.filters.iter().any(|(filter, _)| *filter == name);
        if pairs.is_empty() || !pairs.iter().all(|(name, value)| known(name) && !value.is_empty()) {
            let names: Vec<&str> = topic.filters.iter().map(|(name, _)| *name).collect();
            let text = format!("The topic is filtered by {}, without modifiers and chains.", names.join(", "));
            return Err(Issue::new(Id::SubscriptionFilter, PLACE, text));
        }
        let (mut query, issues) = Query::parse(topic.kind, &pairs, &self.registry, false);
        if has_errors(&issues) || !query.links.is_empty() {
            let text = "A value of the filter is not one of its parameter.";
            return Err(Issue::new(Id::SubscriptionFilter, PLACE, text));
        }
        query.base = Some(self.base.clone());
        Ok(query)
    }

    pub(super) fn terms(&self, watch: &Watch, sends: bool) -> Terms {
        Terms {
            schedule: self.subscriptions.config.schedule(),
            heartbeat_ms: watch.wanted.heartbeat_seconds.map(|seconds| i64::from(seconds) * 1000),
            end_ms: watch.wanted.end_ms,
            sends,
        }
    }
}
