//! The slice of a member: what it persists together, and when.
//!
//! One machine for both promises. At least once, a slice never ends: whatever the partitions have completed is persisted
//! by a commit of the consumer, one at a time. In a transaction, the outputs and completions of several calls are
//! persisted by one transaction, or none of them.
//!
//! The slice decides *when* something is persisted and *for which partitions*. What is persisted for each of them (the
//! offset and its note, here a *mark*, `M`) the partitions say when the action is carried out.
//!
//! How it is driven:
//! - [`Slice::apply`] takes an event and the time, and adds what has to be done to a list.
//! - Calls to a Kafka client ([`Action::Persist`] to [`Action::Fetch`]) are only asked for in answer to [`Event::Tick`] and
//!   [`Event::Answered`]. One thread applies both, and makes the calls; it sleeps until [`Slice::due`]. All other
//!   events may come from any thread. At most one call is on its way, and each is answered once.
//! - The slice stands behind one lock. Marks and the group's metadata are read before the lock is released under which
//!   the action came: otherwise a partition could leave in between.

use std::time::{Duration, Instant};

use crate::commit::CommitMode;

mod action;
mod at_least_once;
mod event;
mod holdings;
mod transaction;

pub use action::{Action, Listed, Outcome, When};
use at_least_once::AtLeastOnce;
pub use event::{Answer, Call, CallError, Event, Refusal, Why, Work};
use holdings::Holdings;
use transaction::Transaction;

/// What a pipeline promises, with the times that belong to it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Promise {
    /// Outputs may be repeated after a crash. Persisting is a commit of the consumer.
    AtLeastOnce(CommitMode),
    /// Outputs, completions and offsets become visible together, or not at all.
    Transaction {
        /// From the first call of a slice to its end. Grows up to a second while ending takes more than a fifth of the time.
        interval: Duration,
        /// What the end of a slice may take before the slice is aborted: half the transaction's time-out, so that the
        /// coordinator does not abort it first.
        deadline: Duration,
    },
}

/// Names a permit; never used twice by a slice.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PermitId(pub(crate) u64);

/// An event that cannot happen. The slice is as it was before.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Impossible {
    /// Nobody asked for what was answered.
    #[error("an answer to {answered:?} came while {awaited:?} was awaited")]
    Unasked {
        /// What was answered.
        answered: Call,
        /// What an answer is awaited to.
        awaited: Option<Call>,
    },
    /// The permit was given back before, or never granted.
    #[error("permit {} is not out", .0.0)]
    NoSuchPermit(PermitId),
    /// The answer names a partition that was not asked for.
    #[error("an answer to {0:?} names a partition that was not asked for")]
    Unlisted(Call),
    /// The event belongs to transactions.
    #[error("{0} without a transaction")]
    NoTransaction(&'static str),
}

/// What a slice is doing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No transaction is open.
    Idle,
    /// A transaction is being begun.
    Beginning,
    /// Calls may publish and settle.
    Open,
    /// No new permits; waits for those that are out, then for the reports.
    Ending,
    /// Offsets go into the transaction.
    Offsetting,
    /// The transaction is being committed.
    Committing,
    /// The transaction is being aborted.
    Aborting,
    /// The client is of no more use, and what became of the slice may be unknown.
    Unknown,
    /// A new client is being made.
    Renewing,
    /// The coordinator is asked what it has.
    Rereading,
    /// A call did not come back.
    Overdue,
    /// Nothing is persisted any more.
    Dead,
}

/// What a member persists together. `K` names a partition, `M` is what is persisted for one.
#[derive(Debug)]
pub struct Slice<K, M> {
    holdings: Holdings<K>,
    kind: Kind<K, M>,
}

#[derive(Debug)]
enum Kind<K, M> {
    AtLeastOnce(AtLeastOnce<K>),
    Transaction(Box<Transaction<K, M>>),
}

impl<K: Clone + Ord, M> Slice<K, M> {
    /// The slice of a member that holds nothing yet. In a transaction it first asks for a client.
    pub fn new(promise: Promise, now: Instant) -> Self {
        let kind = match promise {
            Promise::AtLeastOnce(mode) => Kind::AtLeastOnce(AtLeastOnce::new(mode, now)),
            Promise::Transaction { interval, deadline } => {
                Kind::Transaction(Box::new(Transaction::new(interval, deadline, now)))
            }
        };
        Self { holdings: Holdings::new(now), kind }
    }

    /// Takes an event and adds what follows from it to `actions`, to be done in that order. `now` never goes back.
    pub fn apply(
        &mut self,
        event: Event<K, M>,
        now: Instant,
        actions: &mut Vec<Action<K, M>>,
    ) -> Result<(), Impossible> {
        self.holdings.now = self.holdings.now.max(now);
        let Self { holdings, kind } = self;
        match event {
            Event::Assigned { partitions, generation } => holdings.assign(partitions, generation),
            Event::Revoke { partitions, deadline } => {
                holdings.revoke(partitions, deadline, actions);
                kind.leaves_came(holdings, actions);
            }
            Event::Lost { partitions } => holdings.lose(&partitions, actions),
            Event::GenerationChanged { valid } => holdings.valid = valid,
            Event::Shutdown { deadline } => {
                holdings.shut_down(deadline);
                kind.leaves_came(holdings, actions);
            }
            Event::Marked { urgent } => holdings.mark(urgent),
            Event::PermitAsked { partition } => kind.permit(holdings, partition, actions),
            Event::PermitReturned { permit, work } => kind.returned(holdings, permit, work)?,
            Event::EndAsked(why) => kind.end(holdings, why),
            Event::ReportFailed => kind.transaction("a failed report")?.report_failed(),
            Event::Doubtful => {
                kind.transaction("a doubtful client")?.doubt();
                kind.leaves_came(holdings, actions);
            }
            Event::TimedOut => kind.expire(holdings, actions),
            Event::Tick => kind.go_on(holdings, actions),
            Event::Answered(answer) => {
                kind.answered(holdings, answer, actions)?;
                kind.go_on(holdings, actions);
            }
        }
        Ok(())
    }

    /// When there is something to do for the thread that makes the calls.
    pub fn due(&self, now: Instant) -> When {
        let next = match &self.kind {
            Kind::AtLeastOnce(kind) => kind.next(&self.holdings).map(|(at, _)| at),
            Kind::Transaction(kind) => {
                let step = kind.next(&self.holdings).map(|(at, _)| at);
                step.into_iter().chain(kind.overdue_at()).min()
            }
        };
        match next.into_iter().chain(self.holdings.first_deadline()).min() {
            Some(at) if at <= now.max(self.holdings.now) => When::Now,
            Some(at) => When::At(at),
            None => When::Never,
        }
    }

    /// What the slice is doing.
    pub fn phase(&self) -> Phase {
        self.kind.phase()
    }

    /// Whether something of the partition waits for the end of this slice: false means that nothing needs to end before the
    /// partition can be moved.
    pub fn involves(&self, partition: &K) -> bool {
        match &self.kind {
            // A commit of the consumer takes no outputs along.
            Kind::AtLeastOnce(_) => false,
            Kind::Transaction(kind) => kind.involves(&self.holdings, partition),
        }
    }
}

impl<K: Clone + Ord, M> Kind<K, M> {
    fn transaction(&mut self, what: &'static str) -> Result<&mut Transaction<K, M>, Impossible> {
        match self {
            Self::AtLeastOnce(_) => Err(Impossible::NoTransaction(what)),
            Self::Transaction(kind) => Ok(kind),
        }
    }

    fn permit(&mut self, holdings: &mut Holdings<K>, partition: K, actions: &mut Vec<Action<K, M>>) {
        let Some(generation) = holdings.staying(&partition) else {
            return actions.push(Action::Gone { partition });
        };
        let open = match self {
            _ if self.is_over() => return actions.push(Action::Gone { partition }),
            // Watermarks are read whenever a commit goes out; it takes none of a call's outputs with it.
            Self::AtLeastOnce(_) => true,
            Self::Transaction(kind) => kind.admit(holdings),
        };
        if open {
            let permit = holdings.grant(partition.clone(), generation);
            actions.push(Action::Granted { partition, permit });
        } else {
            actions.push(Action::Wait { partition });
        }
    }

    fn returned(&mut self, holdings: &mut Holdings<K>, permit: PermitId, work: Work) -> Result<(), Impossible> {
        let permit = holdings.permits.remove(&permit).ok_or(Impossible::NoSuchPermit(permit))?;
        match self {
            // The completions come with the delivery reports, and are marked then.
            Self::AtLeastOnce(_) => {}
            Self::Transaction(kind) => kind.returned(holdings, permit, work),
        }
        Ok(())
    }

    fn end(&mut self, holdings: &Holdings<K>, why: Why) {
        match self {
            // There is nothing to end: outputs are visible at once, and the mode alone says when to commit.
            Self::AtLeastOnce(_) => {}
            Self::Transaction(kind) => kind.end_asked(holdings, why),
        }
    }

    fn leaves_came(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        match self {
            Self::AtLeastOnce(kind) => kind.leaves_came(holdings, actions),
            Self::Transaction(kind) => kind.leaves_came(holdings, actions),
        }
    }

    /// What is due and no call: the deadlines.
    fn expire(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        if let Self::Transaction(kind) = self {
            kind.expire(holdings, actions);
        }
        holdings.let_go_overdue(actions);
    }

    fn go_on(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        self.expire(holdings, actions);
        match self {
            Self::AtLeastOnce(kind) => {
                while let Some((_, step)) = kind.next(holdings).filter(|(at, _)| *at <= holdings.now) {
                    kind.perform(step, holdings, actions);
                }
            }
            Self::Transaction(kind) => {
                while let Some((_, step)) = kind.next(holdings).filter(|(at, _)| *at <= holdings.now) {
                    kind.perform(step, holdings, actions);
                }
            }
        }
    }

    fn answered(
        &mut self,
        holdings: &mut Holdings<K>,
        answer: Answer<K, M>,
        actions: &mut Vec<Action<K, M>>,
    ) -> Result<(), Impossible> {
        let awaited = match self {
            Self::AtLeastOnce(kind) => kind.awaited(),
            Self::Transaction(kind) => kind.awaited(),
        };
        let answered = answer.call();
        // While it is overdue, any answer is that of the call that was given up on.
        if awaited != Some(answered) && self.phase() != Phase::Overdue {
            return Err(Impossible::Unasked { answered, awaited });
        }
        // What left at its deadline is not waited for by what follows.
        holdings.let_go_overdue(actions);
        match self {
            Self::AtLeastOnce(kind) => kind.answered(holdings, answer, actions),
            Self::Transaction(kind) => kind.answered(holdings, answer, actions),
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::AtLeastOnce(kind) => kind.phase(),
            Self::Transaction(kind) => kind.phase(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase(), Phase::Overdue | Phase::Dead)
    }
}

#[cfg(test)]
mod tests;
