//! The calls of a transaction, their answers, and what becomes of a slice.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Attempt, MOST_PAUSE_INIT, PAUSE, PAUSE_INIT, State, Step, Transaction};
use crate::slice::holdings::{Held, Holdings, Marks};
use crate::slice::{Action, Answer, Call, CallError, Impossible, Listed, Outcome, Refusal};

impl<K: Clone + Ord, M> Transaction<K, M> {
    pub fn perform(&mut self, step: Step, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let now = holdings.now;
        match step {
            Step::LetGo => {
                let settled = holdings.marks.any.is_none();
                holdings.let_go_all(|_| settled, actions);
            }
            Step::AskAgain => {
                self.wanted = false;
                actions.push(Action::AskAgain);
            }
            Step::Begin => {
                self.state = State::Beginning;
                actions.push(Action::Begin);
            }
            Step::End(_) => {
                self.ending_since = now;
                let first = holdings.first_deadline().unwrap_or(now + self.deadline);
                self.state = State::Ending { deadline: first.min(now + self.deadline), flushing: false };
            }
            Step::Settled(deadline) => self.settled(deadline, holdings, actions),
            Step::GiveUp => {
                self.unclean = true;
                self.abort(holdings, actions);
            }
            Step::Again => self.call_again(holdings, actions),
            Step::Init => {
                if std::mem::replace(&mut self.has_client, true) {
                    actions.push(Action::Discard);
                }
                let deadline = now + self.deadline;
                self.state = State::Renewing { deadline };
                actions.push(Action::Init { until: deadline });
            }
            Step::Fetch => self.fetch(holdings, actions),
            Step::Stop => {
                if self.has_client {
                    actions.push(Action::Discard);
                }
                self.state = State::Dead;
                actions.push(Action::Stopped);
            }
        }
    }

    fn settled(&mut self, deadline: Instant, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        if self.is_doomed(holdings) {
            self.abort(holdings, actions);
        } else if self.content.is_empty() {
            // Offsets and notes alone: there are no reports to wait for.
            self.send_offsets(deadline, holdings, actions);
        } else {
            self.state = State::Ending { deadline, flushing: true };
            actions.push(Action::Flush { until: deadline });
        }
    }

    fn send_offsets(&mut self, deadline: Instant, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let now = holdings.now;
        let deadline = holdings.first_deadline().map_or(deadline, |first| first.min(deadline));
        self.unclean |= now >= deadline;
        if self.is_doomed(holdings) || !holdings.valid || now >= deadline {
            return self.abort(holdings, actions);
        }
        let list = holdings.list(true, true);
        self.listed = list
            .iter()
            .map(|Listed { partition, generation, .. }| (partition.clone(), (partition.clone(), *generation)))
            .collect();
        self.taken = std::mem::take(&mut holdings.marks);
        self.state = State::Offsetting(Attempt { deadline, again: None });
        actions.push(Action::SendOffsets { list, until: deadline });
    }

    fn abort(&mut self, holdings: &Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let deadline = holdings.now + self.deadline;
        self.state = State::Aborting(Attempt { deadline, again: None });
        actions.push(Action::Abort { until: deadline });
    }

    fn call_again(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let now = holdings.now;
        let doomed = self.is_doomed(holdings) || !holdings.valid;
        match &mut self.state {
            State::Offsetting(attempt) if doomed || now >= attempt.deadline => {
                self.unclean |= now >= attempt.deadline;
                self.abort(holdings, actions);
            }
            State::Committing(attempt) | State::Aborting(attempt) if now >= attempt.deadline => {
                self.unknown(now, holdings, actions);
            }
            State::Offsetting(attempt) => {
                attempt.again = None;
                actions.push(Action::Again(Call::SendOffsets));
            }
            State::Committing(attempt) => {
                attempt.again = None;
                actions.push(Action::Again(Call::Commit));
            }
            State::Aborting(attempt) => {
                attempt.again = None;
                actions.push(Action::Again(Call::Abort));
            }
            _ => unreachable!("only asked for while one of these is tried"),
        }
    }

    /// Takes the answer to the call that is awaited; while none is, the answer to one that was given up on.
    pub fn answered(
        &mut self,
        holdings: &mut Holdings<K>,
        answer: Answer<K, M>,
        actions: &mut Vec<Action<K, M>>,
    ) -> Result<(), Impossible> {
        let now = holdings.now;
        match (&mut self.state, answer) {
            (State::Overdue, _) => {
                // Now the client can be destroyed. What it says comes too late for everybody.
                actions.push(Action::Discard);
                self.state = State::Dead;
            }
            (_, Answer::Failed(call, error)) => self.failed(call, error, holdings, actions),
            (State::Beginning, Answer::Begun) => {
                self.state = State::Open { since: None, end: None };
            }
            (State::Ending { deadline, .. }, Answer::Flushed) => {
                let deadline = *deadline;
                self.send_offsets(deadline, holdings, actions);
            }
            (State::Offsetting(attempt), Answer::OffsetsSent { marks }) => {
                if marks.iter().any(|(key, _)| !self.listed.contains_key(key)) {
                    return Err(Impossible::Unlisted(Call::SendOffsets));
                }
                let deadline = attempt.deadline;
                self.marks = marks.into_iter().map(|(key, mark)| (self.listed[&key].clone(), mark)).collect();
                // The others have nothing in the transaction.
                self.listed.retain(|_, held| self.marks.contains_key(held));
                // Freshness: what left while the offsets were on their way must not be committed.
                if self.is_doomed(holdings) || !holdings.valid {
                    self.abort(holdings, actions);
                } else {
                    self.state = State::Committing(Attempt { deadline, again: None });
                    actions.push(Action::Commit { until: deadline });
                }
            }
            (State::Committing(_), Answer::Committed) => self.committed(now, holdings, actions),
            (State::Aborting(_), Answer::Aborted) => self.aborted(now, holdings, actions),
            (State::Renewing { .. }, Answer::Renewed) => {
                self.inits_failed = 0;
                self.left_open = false;
                self.fetch(holdings, actions);
            }
            (State::Rereading { .. }, Answer::Fetched { partitions }) => {
                self.unread.retain(|(key, _)| !partitions.contains(key));
                self.state = State::Rereading { again: Some(now + PAUSE) };
                self.read_all(holdings);
            }
            (_, answer) => return Err(Impossible::Unasked { answered: answer.call(), awaited: None }),
        }
        Ok(())
    }

    fn failed(&mut self, call: Call, error: CallError, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let now = holdings.now;
        match (call, error) {
            // Nothing is in the slice yet: the next client begins.
            (Call::Begin, _) => self.unknown(now + PAUSE, holdings, actions),
            (Call::SendOffsets | Call::Commit | Call::Abort, CallError::Retriable) => match &mut self.state {
                State::Offsetting(attempt) | State::Committing(attempt) | State::Aborting(attempt) => {
                    attempt.again = Some((now + PAUSE).min(attempt.deadline));
                }
                _ => unreachable!("the call is awaited"),
            },
            // No commit was asked for, so an abort tells for sure what became of it.
            (Call::Flush, CallError::Retriable | CallError::Abortable | CallError::TimedOut)
            | (Call::SendOffsets, CallError::Abortable | CallError::TimedOut) => {
                self.unclean = true;
                self.abort(holdings, actions);
            }
            (Call::Flush | Call::SendOffsets, CallError::Fatal) => self.unknown(now, holdings, actions),
            // The coordinator may have committed although the call failed.
            (Call::Commit, CallError::Abortable | CallError::Fatal | CallError::TimedOut) => {
                self.unknown(now, holdings, actions);
            }
            (Call::Abort, CallError::Abortable | CallError::Fatal | CallError::TimedOut) => {
                self.unknown(now, holdings, actions);
            }
            (Call::Init, _) => {
                let pause = PAUSE_INIT.saturating_mul(1 << self.inits_failed.min(10)).min(MOST_PAUSE_INIT);
                self.inits_failed = self.inits_failed.saturating_add(1);
                self.state = State::Unknown { until: now + pause };
            }
            (Call::Fetch, _) => {
                self.state = State::Rereading { again: Some(now + PAUSE_INIT) };
                self.read_all(holdings);
            }
            (Call::Persist, _) => unreachable!("never asked for in a transaction"),
        }
    }

    fn committed(&mut self, now: Instant, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let mut marks = std::mem::take(&mut self.marks);
        for held in std::mem::take(&mut self.content) {
            let mark = marks.remove(&held);
            tell(held, Outcome::Persisted(mark), actions);
        }
        marks.into_iter().for_each(|(held, mark)| tell(held, Outcome::Persisted(Some(mark)), actions));
        self.last_end = now.saturating_duration_since(self.ending_since);
        self.taken = Marks::default();
        self.rested = now;
        self.over(holdings);
        // With a client to be replaced, what leaves need not wait for the next one.
        self.leaves_came(holdings, actions);
    }

    /// The abort was clean: nothing of the slice is visible, and the partitions know what was persisted before.
    fn aborted(&mut self, now: Instant, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let restored = self.in_flight(holdings);
        let refused: Vec<Held<K>> =
            std::mem::take(&mut self.listed).into_values().filter(|held| !restored.contains(held)).collect();
        restored.into_iter().for_each(|held| tell(held, Outcome::Restored, actions));
        refused.into_iter().for_each(|held| tell(held, Outcome::Refused(Refusal::Again), actions));
        self.end_without_commit(now + PAUSE, holdings, actions);
        self.over(holdings);
    }

    /// Nobody knows what became of the slice: the next client ends its transaction, and then the coordinator is asked.
    fn unknown(&mut self, until: Instant, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        self.tell_unknown(holdings, actions);
        self.end_without_commit(until.max(holdings.now + PAUSE), holdings, actions);
        self.over(holdings);
        self.left_open = true;
        self.state = State::Unknown { until };
    }

    pub(super) fn tell_unknown(&mut self, holdings: &Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        let mut held = self.in_flight(holdings);
        held.extend(std::mem::take(&mut self.listed).into_values());
        self.unread.extend(held.iter().cloned());
        held.into_iter().for_each(|held| tell(held, Outcome::Unknown, actions));
    }

    /// What has something in the slice, or could have: its permit is out.
    fn in_flight(&mut self, holdings: &Holdings<K>) -> BTreeSet<Held<K>> {
        let mut held = std::mem::take(&mut self.content);
        held.extend(holdings.permits.values().filter(|permit| !permit.late).map(|permit| permit.held.clone()));
        held
    }

    /// What was marked is still due, and what leaves does so without it.
    fn end_without_commit(&mut self, rested: Instant, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        self.rested = rested;
        let taken = std::mem::take(&mut self.taken);
        holdings.marks = holdings.marks.join(taken.not_before(rested));
        holdings.let_go_all(|_| false, actions);
    }

    pub(super) fn over(&mut self, holdings: &mut Holdings<K>) {
        holdings.permits.values_mut().for_each(|permit| permit.late = true);
        self.listed.clear();
        self.marks.clear();
        self.doomed = false;
        self.rest(holdings.now);
    }

    /// No slice is open, and the next one begins with this client or with a new one.
    fn rest(&mut self, now: Instant) {
        let unclean = std::mem::take(&mut self.unclean);
        self.state = if unclean { State::Unknown { until: now } } else { State::Idle };
    }

    fn fetch(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        self.state = State::Rereading { again: None };
        self.read_all(holdings);
        if matches!(self.state, State::Rereading { .. }) {
            actions.push(Action::Fetch(self.unread.iter().map(|(key, _)| key.clone()).collect()));
        }
    }

    /// Goes on if nothing is left to read. What is no longer held is for its next owner to read.
    fn read_all(&mut self, holdings: &Holdings<K>) {
        self.unread.retain(|held| holdings.holds(held));
        if self.unread.is_empty() {
            self.rest(holdings.now);
        }
    }
}

fn tell<K, M>((partition, generation): Held<K>, outcome: Outcome<M>, actions: &mut Vec<Action<K, M>>) {
    actions.push(Action::Tell { partition, generation, outcome });
}
