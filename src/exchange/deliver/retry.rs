//! What failed before: the oldest of each patient, again, until it arrives, is withheld, or is given up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::recall::is_review;
use super::send::Came;
use super::{RESTRICTED, RESTRICTED_MS, Worker};
use crate::fhir::outcome::Id;
use crate::policy::delivery::{self, Verdict};
use crate::store::{self, AuditRecord, DAMAGED, KnownAs, Retry, Settlement, SettlementOutcome, Task};

/// What came of trying some of it.
#[derive(Default)]
struct Again {
    settled: Vec<Settlement>,
    audit: Vec<AuditRecord>,
    /// Names that the destination gave.
    known: Vec<KnownAs>,
}

impl Again {
    fn join(&mut self, other: Again) {
        self.settled.extend(other.settled);
        self.audit.extend(other.audit);
        self.known.extend(other.known);
    }
}

impl Worker {
    /// Tries what is due; answers how many rows were settled, and whether some of them went before their turn.
    pub(super) async fn retries(self: &Arc<Self>, now_ms: i64, width: usize) -> Result<(usize, bool), store::Error> {
        let due = self.gateway.store.retries_due(&self.name, now_ms, width).await?;
        let any_first = due.iter().any(|retry| retry.first);
        let mut attempts = JoinSet::new();
        for retry in due {
            let worker = self.clone();
            attempts.spawn(async move {
                let id = retry.id;
                match worker.again(retry).await {
                    Err(store::Error::Damaged) => {
                        let settled = vec![Settlement { id, outcome: worker.unreadable() }];
                        Ok(Again { settled, ..Again::default() })
                    }
                    again => again,
                }
            });
        }
        let mut all = Again::default();
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(attempt) => all.join(attempt?),
                Err(error) => tracing::error!(destination = &*self.name, %error, "a delivery task ended early"),
            }
        }
        let count = all.settled.len();
        if count > 0 {
            let settle = self.gateway.store.settle(&self.name, all.settled, all.audit);
            tokio::try_join!(self.gateway.store.know(all.known, self.on_erasure.is_some()), settle)?;
        }
        Ok((count, any_first))
    }

    /// The head of a lane, and what waits behind it as far as one request carries it.
    async fn again(&self, head: Retry) -> Result<Again, store::Error> {
        if is_review(&head.stored) {
            let (settlement, audit) = self.review(&head).await?;
            return Ok(Again { settled: vec![settlement], audit, ..Again::default() });
        }
        let task = Task::Retry(head.id);
        let run = self.run(head).await?;
        let judged = self.judge(run.iter().map(|retry| retry.stored.clone()).collect()).await?;
        let mut again = Again { audit: judged.audit, ..Again::default() };
        let restricted: HashSet<u64> = judged.restricted.iter().map(|(stored, _)| stored.seq).collect();
        // What was kept back before was told then, and no attempt was made that would count.
        let before: HashSet<u64> =
            run.iter().filter(|retry| retry.reason == RESTRICTED).map(|retry| retry.stored.seq).collect();
        let new = judged.restricted.into_iter().filter(|(stored, _)| !before.contains(&stored.seq));
        again.audit.extend(new.map(|(_, record)| record));
        self.note_withheld(again.audit.len(), &judged.nowhere);
        let came = if judged.permitted.is_empty() {
            Vec::new()
        } else {
            let foretold = self.disclosed(&judged.permitted.iter().collect::<Vec<_>>(), &[Id::EntryFailed]);
            self.gateway.store.foretell(&self.name, task, foretold).await?;
            self.send(&judged.permitted).await?
        };
        let mut came: HashMap<u64, Came> = judged.permitted.iter().map(|one| one.get().seq).zip(came).collect();
        let damaged: HashSet<u64> = judged.damaged.iter().map(|(seq, _)| *seq).collect();
        let now_ms = self.gateway.now_ms();
        let (mut arrived, mut left, mut refused) = (HashSet::new(), HashSet::new(), HashSet::new());
        for retry in run {
            let seq = retry.stored.seq;
            let outcome = match came.remove(&seq) {
                Some(Came { withheld: Some(issue), .. }) => {
                    self.note_withheld(1, &[issue]);
                    again.audit.extend(self.withheld(&retry.stored, issue));
                    SettlementOutcome::Done
                }
                Some(Came { verdict, known, withheld: None }) => {
                    again.known.extend(known);
                    let (has_left, is_refused) = (verdict.has_left(), verdict.is_refused());
                    let outcome = self.settlement(verdict, retry.attempts + 1, now_ms);
                    if matches!(outcome, SettlementOutcome::Done) {
                        arrived.insert(seq);
                    } else if is_refused {
                        refused.insert(seq);
                    } else if has_left {
                        left.insert(seq);
                    }
                    outcome
                }
                None if restricted.contains(&seq) => SettlementOutcome::Again {
                    not_before_ms: now_ms + RESTRICTED_MS,
                    attempts: retry.attempts,
                    reason: RESTRICTED.to_owned(),
                },
                None if damaged.contains(&seq) => self.unreadable(),
                None => SettlementOutcome::Done,
            };
            again.settled.push(Settlement { id: retry.id, outcome });
        }
        // Whether it arrived is unknown each time that nobody has acknowledged it.
        let told: [(_, &[Id]); 3] = [(arrived, &[]), (left, &[Id::EntryFailed]), (refused, &[Id::DestinationContent])];
        for (which, issues) in told {
            let some: Vec<_> = judged.permitted.iter().filter(|one| which.contains(&one.get().seq)).collect();
            again.audit.extend(self.disclosed(&some, issues));
        }
        Ok(again)
    }

    /// What is tried together with the head of a lane: what waits behind it and is due, each resource once.
    async fn run(&self, head: Retry) -> Result<Vec<Retry>, store::Error> {
        let most = self.most_at_once();
        let Some(patient) = head.stored.patient.filter(|_| most > 1) else { return Ok(vec![head]) };
        let now_ms = self.gateway.now_ms();
        let mut seen = HashSet::from([head.stored.seq]);
        let behind = self.gateway.store.first_retries_of(&self.name, patient, most).await?;
        let behind = behind.into_iter().skip_while(|retry| retry.id != head.id).skip(1);
        let together = behind.take_while(|retry| {
            !is_review(&retry.stored) && retry.not_before_ms <= now_ms && seen.insert(retry.stored.seq)
        });
        let mut run: Vec<Retry> = together.collect();
        run.insert(0, head);
        Ok(run)
    }

    /// What becomes of what cannot be sent because what is kept is damaged.
    fn unreadable(&self) -> SettlementOutcome {
        self.given_up(DAMAGED);
        SettlementOutcome::Dead { reason: DAMAGED.to_owned() }
    }

    fn settlement(&self, verdict: Verdict, attempts: u32, now_ms: i64) -> SettlementOutcome {
        let settlement = delivery::settle(verdict, &self.schedule(), attempts, now_ms, self.random());
        self.note_settled(&settlement);
        match settlement {
            delivery::Settlement::Done => SettlementOutcome::Done,
            delivery::Settlement::Again { at_ms, reason } => {
                SettlementOutcome::Again { not_before_ms: at_ms, attempts, reason }
            }
            delivery::Settlement::Dead { reason } => {
                self.given_up(&reason);
                SettlementOutcome::Dead { reason }
            }
        }
    }
}
