//! What is sent together, and what came of each of it.
//!
//! Where several are refused as a whole and one of them may be to blame, they are divided until it stands alone: in order,
//! and with no more requests than it takes to find it, so that one bad measurement keeps nothing else back. A destination
//! with a country pack gives names of its own, which come out of here to be kept: a correction is addressed by them.

use std::iter::repeat_n;
use std::sync::PoisonError;
use std::time::Duration;

use super::Worker;
use crate::national::Corrections;
use crate::peers::{Arrival, Content, Delivered, Item, Resource};
use crate::policy::consent::{Permitted, Recall};
use crate::policy::delivery::Verdict;
use crate::store::{self, KnownAs, Stored};

/// Why something was not sent.
const BEHIND: &str = "what came before it did not arrive";

/// Why it is not known to have arrived.
const EARLIER: &str =
    "the destination has one by that name already, perhaps an earlier version, and takes no corrections";

/// What came of one of them.
pub(super) struct Came {
    pub verdict: Verdict,
    /// What the destination calls it, if it said so.
    pub known: Option<KnownAs>,
}

impl Worker {
    /// What is sent at once, and settled at once.
    pub(super) fn units(&self, permitted: Vec<Permitted<Stored>>) -> Vec<Vec<Permitted<Stored>>> {
        let Some(shape) = self.shape() else { return vec![permitted] };
        let mut units: Vec<Vec<Permitted<Stored>>> = Vec::new();
        for one in permitted {
            let fits = |unit: &&mut Vec<Permitted<Stored>>| unit.len() < shape.pack.request.most;
            // What is taken back is no part of a request that tells something.
            let alone = self.takes_back(one.get());
            let joins = |unit: &&mut Vec<Permitted<Stored>>| unit.iter().all(|other| !self.takes_back(other.get()));
            match units.last_mut().filter(|_| !alone).filter(fits).filter(joins) {
                Some(unit) => unit.push(one),
                None => units.push(vec![one]),
            }
        }
        units
    }

    /// Most that goes into one request.
    pub(super) fn most_at_once(&self) -> usize {
        self.shape().map_or(1, |shape| shape.pack.request.most)
    }

    /// Whether the same request leaves the same there, however often it comes.
    pub(super) fn is_repeatable(&self) -> bool {
        self.shape().is_none_or(|shape| shape.pack.request.repeatable)
    }

    /// Whether a version says that there is nothing any more, so that it is taken back.
    pub(super) fn takes_back(&self, stored: &Stored) -> bool {
        self.shape().is_some_and(|shape| shape.takes_back(stored))
    }

    /// Sends what was permitted; what came of each, in their order.
    pub(super) async fn send(&self, permitted: &[Permitted<Stored>]) -> Result<Vec<Came>, store::Error> {
        let mut came = Vec::with_capacity(permitted.len());
        for unit in permitted.chunk_by(|one, other| !self.takes_back(one.get()) && !self.takes_back(other.get())) {
            let stored: Vec<&Stored> = unit.iter().map(Permitted::get).collect();
            let there = self.names_there(&stored).await?;
            let mut arrivals = self.divided(&stored, &there).await?;
            for (at, one) in stored.iter().enumerate() {
                if self.is_still_earlier(one, &there[at], &arrivals[at]) {
                    let names = arrivals[at].names.clone();
                    let mut updated = self.divided(&[one], std::slice::from_ref(&names)).await?;
                    arrivals[at] = Arrival { names, ..updated.swap_remove(0) };
                }
            }
            for (one, arrival) in stored.iter().zip(&mut arrivals) {
                if self.may_be_earlier(one, arrival) {
                    arrival.verdict = Verdict::Rejected { reason: EARLIER.to_owned() };
                }
            }
            came.extend(stored.iter().zip(arrivals).map(|(one, arrival)| self.came(one, arrival)));
        }
        Ok(came)
    }

    fn came(&self, stored: &Stored, arrival: Arrival) -> Came {
        let Arrival { verdict, names, .. } = arrival;
        let known = stored.patient.filter(|_| self.shape().is_some() && !names.is_empty()).map(|patient| KnownAs {
            destination: self.name.clone(),
            patient,
            kind: stored.kind.to_string(),
            id: stored.logical_id(),
            version: stored.version,
            names,
        });
        Came { verdict, known }
    }

    /// Whether an answer only told how something is called that is there as an earlier version: the answer to that one was
    /// lost, so that it was to be created once more.
    fn is_still_earlier(&self, stored: &Stored, there: &[String], arrival: &Arrival) -> bool {
        let updates = |corrections| corrections == Corrections::Update;
        self.shape().is_some_and(|shape| updates(shape.pack.request.corrections))
            && (stored.version > 1 && there.is_empty())
            && (arrival.existed && !arrival.names.is_empty())
    }

    /// Whether an answer only told that something is there by that name, where nothing could mend it: perhaps an earlier
    /// version, whose answer was lost. That this one arrived is not claimed.
    fn may_be_earlier(&self, stored: &Stored, arrival: &Arrival) -> bool {
        let never = |corrections| corrections == Corrections::Never;
        self.shape().is_some_and(|shape| never(shape.pack.request.corrections))
            && stored.version > 1
            && (arrival.existed && arrival.verdict == Verdict::Acknowledged)
    }

    /// By what names the destination knows earlier versions.
    async fn names_there(&self, stored: &[&Stored]) -> Result<Vec<Vec<String>>, store::Error> {
        let mut there = vec![Vec::new(); stored.len()];
        let corrections: Vec<usize> = (0..stored.len()).filter(|at| stored[*at].version > 1).collect();
        let patient = corrections.first().and_then(|at| stored[*at].patient);
        let (Some(_), Some(patient)) = (self.shape(), patient) else { return Ok(there) };
        let name = |stored: &Stored| (stored.kind.to_string(), stored.logical_id());
        let names = corrections.iter().map(|at| name(stored[*at])).collect();
        for known in self.gateway.store.known_of(&self.name, patient, names).await? {
            let is_it = |at: &&usize| known.id == stored[**at].logical_id() && *known.kind == *stored[**at].kind;
            if let Some(at) = corrections.iter().find(is_it) {
                there[*at] = known.names;
            }
        }
        Ok(there)
    }

    /// Sends all at once, and in parts where the whole is refused for one of them.
    async fn divided(&self, stored: &[&Stored], there: &[Vec<String>]) -> Result<Vec<Arrival>, store::Error> {
        let mut arrivals = Vec::with_capacity(stored.len());
        // Parts, as beginning and end, the first one last.
        let mut parts = vec![(0, stored.len())];
        while let Some((begin, end)) = parts.pop() {
            let (some, names) = (&stored[begin..end], &there[begin..end]);
            let Delivered { verdict, each, divisible } = self.once(some, names).await?;
            let alive = verdict.is_alive();
            if each.len() == some.len() {
                arrivals.extend(each);
            } else if some.len() > 1 && divisible && matches!(verdict, Verdict::Rejected { .. }) {
                let middle = begin + some.len() / 2;
                parts.extend([(middle, end), (begin, middle)]);
            } else {
                arrivals.extend(repeat_n(Arrival { verdict, names: Vec::new(), existed: false }, some.len()));
            }
            if !alive {
                let behind = Arrival {
                    verdict: Verdict::Unreached { reason: BEHIND.to_owned() },
                    names: Vec::new(),
                    existed: false,
                };
                arrivals.extend(repeat_n(behind, stored.len() - arrivals.len()));
                break;
            }
        }
        Ok(arrivals)
    }

    /// One request.
    async fn once(&self, stored: &[&Stored], there: &[Vec<String>]) -> Result<Delivered, store::Error> {
        if let ([one], [names]) = (stored, there)
            && self.takes_back(one)
        {
            return self.undo(one, names).await;
        }
        let refused = |reason| Delivered { verdict: Verdict::Rejected { reason }, each: Vec::new(), divisible: true };
        let content = if let Some(shape) = self.shape() {
            match shape.content(&self.gateway, &self.name, stored, there).await? {
                Ok(shaped) => Content::Shaped(shaped),
                Err(told) => return Ok(refused(told.text)),
            }
        } else {
            let outgoing: Option<Vec<Resource>> = stored.iter().map(|one| self.outgoing(one)).collect();
            let Some(resources) = outgoing else {
                return Ok(refused("it cannot be told without whose it is".to_owned()));
            };
            Content::Resources(resources)
        };
        let request_id = stored.first().map_or_else(String::new, |first| self.request_id(first));
        let patient = stored.first().and_then(|first| first.patient);
        let access = match self.allowed(patient).await? {
            Ok(access) => access,
            Err(verdict) => return Ok(Delivered { verdict, each: Vec::new(), divisible: false }),
        };
        let item = Item { content, request_id, access };
        self.turn().await;
        let delivered = self.platform.deliver(&item).await;
        self.heard(&delivered.verdict);
        self.gateway.link_used(&self.name, patient, item.access.as_ref()).await?;
        Ok(delivered)
    }

    /// Waits for the next turn to send, where the destination wants requests at a pace.
    pub(super) async fn turn(&self) {
        let now_ms = self.gateway.now_ms();
        let turn_ms = self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(now_ms);
        if turn_ms > now_ms {
            tokio::time::sleep(Duration::from_millis((turn_ms - now_ms) as u64)).await;
        }
    }

    /// What was deleted here is taken back there.
    async fn undo(&self, stored: &Stored, names: &[String]) -> Result<Delivered, store::Error> {
        let removal = self.shape().and_then(|shape| shape.removal());
        let named = names.iter().filter_map(|name| name.split_once('/'));
        let recalls: Vec<Recall> = named.map(|(kind, id)| Recall::of_deleted(kind, id)).collect();
        let (Some(manner), Some(patient)) = (removal, stored.patient) else {
            let reason = "nobody could be asked about it".to_owned();
            return Ok(Delivered { verdict: Verdict::Rejected { reason }, each: Vec::new(), divisible: false });
        };
        let verdict = self.take_all_back(&recalls, manner, patient).await?;
        if verdict == Verdict::Acknowledged {
            let name = (stored.kind.to_string(), stored.logical_id());
            self.gateway.store.taken_back(&self.name, patient, vec![name], Vec::new()).await?;
        }
        Ok(Delivered { verdict, each: Vec::new(), divisible: false })
    }
}
