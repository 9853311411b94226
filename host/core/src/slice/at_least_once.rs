//! At least once: whatever is complete is committed by the consumer, as often as the commit mode says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::holdings::{Held, Holdings, Marks};
use super::{Action, Answer, Call, Impossible, Listed, Outcome, Phase, Refusal};
use crate::commit::{CommitMode, Pace};
use crate::fence::Generation;

/// After a commit that was refused for now, or for a reason of its own.
const PAUSE: Duration = Duration::from_millis(50);
/// After one whose generation is over: the revoke or the loss is on its way.
const PAUSE_CLOSED: Duration = Duration::from_millis(200);

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Commit what those that stay have.
    Persist,
    /// Commit what those that leave have, for the last time.
    PersistLast,
    /// Nothing is left, and nothing comes.
    Stop,
}

/// A commit on its way.
#[derive(Debug)]
struct Flight<K> {
    listed: BTreeMap<K, Generation>,
    last: bool,
}

#[derive(Debug)]
pub struct AtLeastOnce<K> {
    mode: CommitMode,
    flight: Option<Flight<K>>,
    /// When the last commit went out; that of a revoke does not count.
    started: Option<Instant>,
    /// When the last one was answered and its pause over. An interval counts from here.
    rested: Instant,
    dead: bool,
}

impl<K: Clone + Ord> AtLeastOnce<K> {
    pub fn new(mode: CommitMode, now: Instant) -> Self {
        Self { mode, flight: None, started: None, rested: now, dead: false }
    }

    pub fn phase(&self) -> Phase {
        if self.dead { Phase::Dead } else { Phase::Open }
    }

    pub fn awaited(&self) -> Option<Call> {
        self.flight.as_ref().map(|_| Call::Persist)
    }

    /// They are let go once their last commit is answered; after the end there is none.
    pub fn leaves_came<M>(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        if self.dead {
            holdings.let_go_all(|_| true, actions);
        }
    }

    /// One commit at a time: a late one of those that stay can so never follow that of a revoke with less.
    pub fn next(&self, holdings: &Holdings<K>) -> Option<(Instant, Step)> {
        if self.flight.is_some() || self.dead {
            None
        } else if holdings.leaves() {
            Some((holdings.now, Step::PersistLast))
        } else if holdings.stopping {
            Some((holdings.now, Step::Stop))
        } else if holdings.is_empty() || !holdings.valid {
            None
        } else {
            Some((self.regular(holdings.marks)?, Step::Persist))
        }
    }

    fn regular(&self, marks: Marks) -> Option<Instant> {
        // What the last commit of partitions that leave was has no say in the pace of those that stay.
        let pace = Pace { started: self.started, rested: self.rested };
        self.mode.next_commit(pace, marks.any).into_iter().chain(marks.urgent).min()
    }

    pub fn perform<M>(&mut self, step: Step, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let list = match step {
            Step::Persist => {
                self.started = Some(holdings.now);
                holdings.marks = Marks::default();
                holdings.list(false, true)
            }
            Step::PersistLast => {
                holdings.ask_leaves();
                holdings.list(true, false)
            }
            Step::Stop => {
                self.dead = true;
                return actions.push(Action::Stopped);
            }
        };
        let listed = list.iter().map(|Listed { partition, generation, .. }| (partition.clone(), *generation)).collect();
        self.flight = Some(Flight { listed, last: step == Step::PersistLast });
        actions.push(Action::Persist(list));
    }

    pub fn answered<M>(
        &mut self,
        holdings: &mut Holdings<K>,
        answer: Answer<K, M>,
        actions: &mut Vec<Action<K, M>>,
    ) -> Result<(), Impossible> {
        let answered = answer.call();
        let unasked = Impossible::Unasked { answered, awaited: self.awaited() };
        let Some(Flight { listed, last }) = &self.flight else { return Err(unasked) };
        let (results, waiting) = match answer {
            Answer::Persisted { results, waiting } => (results, waiting),
            // Which of the partitions had something to persist is not said, so it is taken that each had.
            Answer::Failed(Call::Persist, _) => {
                (listed.keys().map(|key| (key.clone(), Err(Refusal::Other))).collect(), false)
            }
            Answer::Begun
            | Answer::Flushed
            | Answer::OffsetsSent { .. }
            | Answer::Committed
            | Answer::Aborted
            | Answer::Renewed
            | Answer::Fetched { .. }
            | Answer::Failed(..) => return Err(unasked),
        };
        if results.iter().any(|(key, _)| !listed.contains_key(key)) {
            return Err(Impossible::Unlisted(Call::Persist));
        }
        let refused: Vec<(K, Refusal)> =
            results.iter().filter_map(|(key, result)| Some((key.clone(), *result.as_ref().err()?))).collect();
        for (partition, result) in results {
            let (_, generation): Held<K> = (partition.clone(), listed[&partition]);
            let outcome = match result {
                Ok(mark) => Outcome::Persisted(Some(mark)),
                Err(refusal) => Outcome::Refused(refusal),
            };
            actions.push(Action::Tell { partition, generation, outcome });
        }
        let last = *last;
        self.flight = None;
        if last {
            // It may fail, and then this is an ordinary end: whoever holds them next delivers again what was not persisted.
            holdings.let_go_asked(|key| !refused.iter().any(|(refused, _)| refused == key), actions);
        } else {
            self.rest(holdings, &refused, waiting);
        }
        Ok(())
    }

    /// What was refused is still due, with whatever there is by then.
    fn rest(&mut self, holdings: &mut Holdings<K>, refused: &[(K, Refusal)], waiting: bool) {
        self.rested = holdings.now;
        if refused.is_empty() {
            return;
        }
        let closed = refused.iter().all(|(_, refusal)| *refusal == Refusal::Closed);
        self.rested += if closed { PAUSE_CLOSED } else { PAUSE };
        if !holdings.is_empty() {
            let again = Marks { any: Some(self.rested), urgent: waiting.then_some(self.rested) };
            holdings.marks = holdings.marks.join(again);
        }
    }
}
