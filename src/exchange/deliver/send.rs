//! What is sent together, and what came of each of it.
//!
//! Where several are refused as a whole and one of them may be to blame, they are divided until it stands alone: in order,
//! and with no more requests than it takes to find it, so that one bad measurement keeps nothing else back. A destination
//! with a country pack gives names of its own, which come out of here to be kept: a correction is addressed by them.

use std::sync::atomic::Ordering;

use std::iter::repeat_n;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Worker;
use super::lookup::Looked;
use crate::fhir::outcome::Id;
use crate::national::{Context, Corrections, NotDeliverable};
use crate::peers::{Arrival, Content, Delivered, Item, Resource, Trace};
use crate::policy::consent::{Permitted, Recall};
use crate::policy::delivery::Verdict;
use crate::store::{self, KnownAs, Stored};

/// Why something was not sent.
const BEHIND: &str = "what came before it did not arrive";

/// Why it was not sent after it was looked up where it belongs.
const CHANGED: &str = "it was no longer permitted when it had been looked up there";

/// Why it is not known to have arrived.
const EARLIER: &str =
    "the destination has one by that name already, perhaps an earlier version, and takes no corrections";

/// What came of one of them.
pub(super) struct Came {
    pub verdict: Verdict,
    /// What the destination calls it, if it said so.
    pub known: Option<KnownAs>,
    /// Why it was not sent after all, if it has no place there.
    pub withheld: Option<Id>,
}

impl Came {
    fn of(verdict: Verdict) -> Came {
        Came { verdict, known: None, withheld: None }
    }
}

impl Worker {
    /// What is sent at once, and settled at once.
    pub(super) fn units(&self, permitted: Vec<Permitted<Stored>>) -> Vec<Vec<Permitted<Stored>>> {
        let Some(shape) = self.shape() else { return vec![permitted] };
        let mut units: Vec<Vec<Permitted<Stored>>> = Vec::new();
        // What the last of them becomes there.
        let mut carried = 0;
        for one in permitted {
            let count = shape.becomes(one.get());
            let fits = |_: &&mut Vec<Permitted<Stored>>| carried + count <= shape.pack.request.most;
            // What is taken back is no part of a request that tells something.
            let alone = self.takes_back(one.get());
            let joins = |unit: &&mut Vec<Permitted<Stored>>| unit.iter().all(|other| !self.takes_back(other.get()));
            if let Some(unit) = units.last_mut().filter(|_| !alone).filter(fits).filter(joins) {
                unit.push(one);
                carried += count;
            } else {
                units.push(vec![one]);
                carried = count;
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
        self.sent_ms.store(self.gateway.now_ms(), Ordering::Relaxed);
        let mut came = Vec::with_capacity(permitted.len());
        for unit in permitted.chunk_by(|one, other| !self.takes_back(one.get()) && !self.takes_back(other.get())) {
            came.extend(self.sent(unit).await?);
        }
        Ok(came)
    }

    /// The same of what goes out together, after it was looked up what is to be known of each.
    async fn sent(&self, unit: &[Permitted<Stored>]) -> Result<Vec<Came>, store::Error> {
        let trace = unit.first().and_then(|first| self.trace(&self.request_id(first.get())));
        let looked = self.all_looked_up(unit, trace.as_ref()).await?;
        let (mut ready, mut contexts, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (one, looked) in unit.iter().zip(&looked) {
            if let Looked::Found { contexts: found, kept: known, .. } = looked {
                ready.push(one);
                contexts.push(found.clone());
                kept.push(*known);
            }
        }
        let mut arrived = self.ready_sent(&ready, &mut contexts, &kept, trace.as_ref()).await?.into_iter();
        let came = looked.into_iter().map(|looked| match looked {
            Looked::Found { .. } => {
                arrived.next().unwrap_or_else(|| Came::of(Verdict::Unreached { reason: BEHIND.to_owned() }))
            }
            Looked::Nothing(told) => Came { withheld: Some(told.id), ..Came::of(Verdict::Acknowledged) },
            Looked::Not(verdict) => Came::of(verdict),
        });
        Ok(came.collect())
    }

    /// What is to be known of each; behind one of which it cannot be found out, nothing is sent.
    async fn all_looked_up(
        &self,
        unit: &[Permitted<Stored>],
        trace: Option<&Arc<Trace>>,
    ) -> Result<Vec<Looked>, store::Error> {
        let shape = self.shape();
        let mut all = Vec::with_capacity(unit.len());
        for one in unit {
            let looked = match &shape {
                Some(_) if matches!(all.last(), Some(Looked::Not(_))) => {
                    Looked::Not(Verdict::Unreached { reason: BEHIND.to_owned() })
                }
                Some(shape) if !self.takes_back(one.get()) => self.looked_up(shape, one, trace).await?,
                _ => Looked::nothing_to_find(),
            };
            all.push(looked);
        }
        // It took its time, and what was permitted and true before may not be so any more.
        let was_asked = all.iter().any(|looked| matches!(looked, Looked::Found { asked: true, .. }));
        for (one, looked) in unit.iter().zip(&mut all) {
            let (Some(shape), Looked::Found { .. }) = (&shape, &looked) else { continue };
            if shape.is_outdated(&self.gateway, one.get()).await? {
                let text = "a newer version is there, and the destination takes no corrections".to_owned();
                *looked = Looked::Nothing(NotDeliverable { id: Id::DestinationCorrection, text });
            } else if was_asked && self.judge(vec![one.get().clone()]).await?.permitted.is_empty() {
                *looked = Looked::Not(Verdict::Waits { reason: CHANGED.to_owned() });
            }
        }
        Ok(all)
    }

    async fn ready_sent(
        &self,
        unit: &[&Permitted<Stored>],
        contexts: &mut [Vec<Context>],
        kept: &[bool],
        trace: Option<&Arc<Trace>>,
    ) -> Result<Vec<Came>, store::Error> {
        let stored: Vec<&Stored> = unit.iter().map(|one| one.get()).collect();
        let there = self.names_there(&stored).await?;
        let mut arrivals = self.divided(&stored, &there, contexts, trace).await?;
        let mut withheld = vec![None; unit.len()];
        for (at, one) in unit.iter().enumerate() {
            // What was known may not be so any more: it is found out anew, once.
            if kept[at] && matches!(arrivals[at].verdict, Verdict::Rejected { .. }) {
                match self.looked_up_anew(one, trace).await? {
                    Looked::Found { contexts: found, .. } if found != contexts[at] => {
                        contexts[at] = found;
                        arrivals[at] = self.alone(stored[at], &there[at], &contexts[at], trace).await?;
                    }
                    Looked::Nothing(told) => {
                        arrivals[at].verdict = Verdict::Acknowledged;
                        withheld[at] = Some(told.id);
                    }
                    Looked::Not(verdict) => arrivals[at].verdict = verdict,
                    Looked::Found { .. } => {}
                }
            }
            if self.is_still_earlier(stored[at], &there[at], &arrivals[at]) {
                let names = arrivals[at].names.clone();
                let updated = self.alone(stored[at], &names, &contexts[at], trace).await?;
                arrivals[at] = Arrival { names, ..updated };
            }
        }
        for (one, arrival) in stored.iter().zip(&mut arrivals) {
            if self.may_be_earlier(one, arrival) {
                arrival.verdict = Verdict::Rejected { reason: EARLIER.to_owned() };
            }
        }
        let came = stored.iter().zip(arrivals).map(|(one, arrival)| self.came(one, arrival));
        Ok(came.zip(withheld).map(|(came, withheld)| Came { withheld, ..came }).collect())
    }

    async fn alone(
        &self,
        stored: &Stored,
        there: &[String],
        contexts: &[Context],
        trace: Option<&Arc<Trace>>,
    ) -> Result<Arrival, store::Error> {
        let mut one = self.divided(&[stored], &[there.to_vec()], &[contexts.to_vec()], trace).await?;
        Ok(one.swap_remove(0))
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
        Came { verdict, known, withheld: None }
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
    async fn divided(
        &self,
        stored: &[&Stored],
        there: &[Vec<String>],
        contexts: &[Vec<Context>],
        trace: Option<&Arc<Trace>>,
    ) -> Result<Vec<Arrival>, store::Error> {
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let mut arrivals = Vec::with_capacity(stored.len());
        // Parts, as beginning and end, the first one last.
        let mut parts = vec![(0, stored.len())];
        while let Some((begin, end)) = parts.pop() {
            let some = &stored[begin..end];
            let once = self.once(some, &there[begin..end], &contexts[begin..end], trace).await?;
            let Delivered { verdict, each, divisible } = once;
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
    async fn once(
        &self,
        stored: &[&Stored],
        there: &[Vec<String>],
        contexts: &[Vec<Context>],
        trace: Option<&Arc<Trace>>,
    ) -> Result<Delivered, store::Error> {
        if let ([one], [names]) = (stored, there)
            && self.takes_back(one)
        {
            return self.undo(one, names).await;
        }
        let refused = |reason| Delivered { verdict: Verdict::Rejected { reason }, each: Vec::new(), divisible: true };
        let content = if let Some(shape) = self.shape() {
            let material = shape.material(&self.gateway, &self.name, stored).await?;
            match shape.content(&self.gateway.validator, stored, &material, contexts, there) {
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
        let item = Item { content, request_id, access, trace: trace.cloned() };
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
