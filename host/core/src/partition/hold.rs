//! Holds: the reasons why something is not delivered now.
//!
//! A partition has a *set* of holds, at most one of each kind. They begin and end separately: a partition that is paused
//! while it waits for its next attempt stays paused when the wait is over. What is delivered next depends on the set being
//! empty, never on which hold came last.

use std::borrow::Cow;
use std::mem::discriminant;
use std::time::Instant;

/// Why something is not delivered. The order of the variants is the order in which status names them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// A later version of the group has had messages of the partition, and this process does not run it yet.
    VersionBehind {
        /// Its place in the control topic.
        epoch: u64,
    },
    /// The partition needs a decision.
    Stopped(StopClass),
    /// The note that names the version in force is not persisted yet.
    VersionUnnoted,
    /// What the version before left in flight is not confirmed yet.
    VersionDraining,
    /// Whether the last slice was committed is not known; the coordinator is asked.
    OutcomeUnknown,
    /// The input cannot be read now: no leader, no permission, a batch that cannot be decoded, or a client that gave the
    /// partition up.
    AwaitInput,
    /// An output topic takes nothing now.
    AwaitOutput,
    /// The message at the head waits for its next attempt.
    Backoff {
        /// The attempt that is next.
        attempt: u32,
    },
    /// A message waits behind an earlier one of its key.
    Parked,
    /// An operator paused it.
    Paused,
    /// The pipeline's breaker is open, or its version was found bad and is being rolled back.
    Breaker,
    /// The producer failed and the next one is not there yet.
    ProducerResting,
    /// The in-flight window is full.
    WindowFull,
    /// The commit note has no room for another message in retry.
    NoteFull,
    /// As many messages are in retry as may be.
    RetryFull,
    /// Sync mode: the commit of the last batch is not answered yet.
    SyncUnpersisted,
    /// The member's slice is being ended.
    SliceEnding,
    /// The pipeline delivers no faster than it may.
    RateLimit,
}

/// What a partition that stopped cannot get past.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StopClass {
    /// A failed message, and `on_exhausted = "stop"`.
    Failed,
    /// The output or dead-letter topic takes nothing. What a cluster took away it can give back, so this is tried again by
    /// itself, with a growing pause; an operator need not wait for that.
    Output,
    /// Not even the dead letter was taken.
    DeadLetter,
    /// The position does not exist any more. Only a new client can go on.
    OutOfRange,
    /// The group has no offset and `start = "error"`. Only a new client can go on.
    NoOffset,
}

impl StopClass {
    /// Whether this client can never go on with the partition: it has given it up and refuses every seek.
    pub fn needs_new_client(self) -> bool {
        matches!(self, Self::OutOfRange | Self::NoOffset)
    }

    /// Whether the partition tries again by itself.
    pub fn is_tried_again(self) -> bool {
        matches!(self, Self::Output)
    }
}

/// What a hold holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Every partition of the pipeline.
    Pipeline,
    /// Every partition of the member.
    Member,
    /// This partition alone.
    Partition,
    /// One message, and in partition order everything behind it.
    Message(i64),
}

/// The one event that ends a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndedBy {
    /// An operator: resume, skip or seek.
    Operator,
    /// A time.
    Time,
    /// A completion.
    Completion,
    /// The coordinator's answer to a commit.
    Persisted,
    /// A new client.
    NewClient,
    /// Another version in force.
    VersionInForce,
    /// The topic or its partition is well again.
    TopicNews,
    /// The message in front is done with.
    Predecessor,
}

impl Reason {
    /// What ends it.
    pub fn ended_by(self) -> EndedBy {
        match self {
            Self::Stopped(class) if class.needs_new_client() => EndedBy::NewClient,
            Self::Stopped(class) if class.is_tried_again() => EndedBy::Time,
            Self::Stopped(_) | Self::Paused | Self::Breaker => EndedBy::Operator,
            Self::VersionBehind { .. } => EndedBy::VersionInForce,
            Self::VersionUnnoted | Self::SyncUnpersisted | Self::SliceEnding | Self::OutcomeUnknown => {
                EndedBy::Persisted
            }
            Self::AwaitOutput => EndedBy::TopicNews,
            // One without a time waits for a new client.
            Self::AwaitInput | Self::Backoff { .. } | Self::RateLimit => EndedBy::Time,
            Self::Parked => EndedBy::Predecessor,
            Self::ProducerResting => EndedBy::NewClient,
            Self::VersionDraining | Self::WindowFull | Self::NoteFull | Self::RetryFull => EndedBy::Completion,
        }
    }
}

/// One reason, with what there is to say about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// What keeps messages from being delivered.
    pub reason: Reason,
    /// What it holds.
    pub scope: Scope,
    /// Since when.
    pub since: Instant,
    /// In words; empty where the reason says all.
    pub why: Cow<'static, str>,
    /// When it is tried again by itself, if it is.
    pub next_try: Option<Instant>,
}

impl Hold {
    /// A hold of the partition that ends by an event and needs no words.
    pub fn new(reason: Reason, since: Instant) -> Self {
        Self { reason, scope: Scope::Partition, since, why: Cow::Borrowed(""), next_try: None }
    }

    /// The same, of one message.
    #[must_use]
    pub fn at(self, offset: i64) -> Self {
        Self { scope: Scope::Message(offset), ..self }
    }

    /// The same, with words.
    #[must_use]
    pub fn because(self, why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), ..self }
    }

    /// The same, tried again at `when`.
    #[must_use]
    pub fn until(self, when: Instant) -> Self {
        Self { next_try: Some(when), ..self }
    }

    /// The message that is held, if it is one.
    pub fn offset(&self) -> Option<i64> {
        match self.scope {
            Scope::Message(offset) => Some(offset),
            Scope::Pipeline | Scope::Member | Scope::Partition => None,
        }
    }
}

/// The holds of one partition: at most one of each kind, in the order of [`Reason`].
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Holds(Vec<Hold>);

impl Holds {
    /// True if nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, the one that status names first.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.0.iter()
    }

    /// The first of them.
    pub fn first(&self) -> Option<&Hold> {
        self.0.first()
    }

    /// The hold of this kind, whatever the reason's details are.
    pub fn get(&self, kind: Reason) -> Option<&Hold> {
        self.0.iter().find(|hold| discriminant(&hold.reason) == discriminant(&kind))
    }

    /// The stop, if there is one.
    pub fn stop(&self) -> Option<(StopClass, &Hold)> {
        self.0.iter().find_map(|hold| match hold.reason {
            Reason::Stopped(class) => Some((class, hold)),
            _ => None,
        })
    }

    /// Begins a hold. One of the same kind is replaced, but goes back as far as the older of them.
    pub fn put(&mut self, hold: Hold) {
        if let Some(old) = self.0.iter_mut().find(|old| discriminant(&old.reason) == discriminant(&hold.reason)) {
            let since = old.since.min(hold.since);
            *old = Hold { since, ..hold };
            return;
        }
        let place = self.0.partition_point(|old| old.reason < hold.reason);
        self.0.insert(place, hold);
    }

    /// Ends the hold of this kind. True if there was one.
    pub fn end(&mut self, kind: Reason) -> bool {
        let before = self.0.len();
        self.0.retain(|hold| discriminant(&hold.reason) != discriminant(&kind));
        self.0.len() < before
    }

    /// Ends the stop, of whatever class.
    pub fn end_stop(&mut self) -> bool {
        self.end(Reason::Stopped(StopClass::Failed))
    }

    /// Ends the backoff.
    pub fn end_backoff(&mut self) -> bool {
        self.end(Reason::Backoff { attempt: 0 })
    }

    /// Ends what holds the partition for the sake of versions.
    pub fn end_version_holds(&mut self) {
        if self.is_empty() {
            return;
        }
        self.end(Reason::VersionBehind { epoch: 0 });
        self.end(Reason::VersionDraining);
        self.end(Reason::VersionUnnoted);
    }

    /// Ends those whose time has come.
    pub fn expire(&mut self, now: Instant) {
        self.0.retain(|hold| {
            hold.reason.ended_by() != EndedBy::Time || hold.next_try.is_none_or(|next_try| now < next_try)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_holds_end_separately() {
        let now = Instant::now();
        let mut holds = Holds::default();
        holds.put(Hold::new(Reason::Paused, now));
        holds.put(Hold::new(Reason::Backoff { attempt: 2 }, now).until(now + Duration::from_secs(1)));
        holds.expire(now + Duration::from_secs(2));
        assert!(holds.get(Reason::Paused).is_some() && holds.get(Reason::Backoff { attempt: 9 }).is_none());
        assert!(holds.end(Reason::Paused) && holds.is_empty());
    }

    #[test]
    fn a_hold_that_begins_again_keeps_its_beginning() {
        let now = Instant::now();
        let mut holds = Holds::default();
        holds.put(Hold::new(Reason::AwaitOutput, now).because("one"));
        holds.put(Hold::new(Reason::AwaitOutput, now + Duration::from_secs(5)).because("two"));
        let hold = holds.first().expect("held");
        assert_eq!((hold.since, &*hold.why, holds.iter().count()), (now, "two", 1));
    }

    #[test]
    fn a_time_ends_only_what_waits_for_time() {
        let now = Instant::now();
        let mut holds = Holds::default();
        holds.put(Hold::new(Reason::AwaitOutput, now).until(now));
        holds.put(Hold::new(Reason::Stopped(StopClass::Failed), now));
        holds.expire(now + Duration::from_secs(1));
        assert_eq!(holds.iter().count(), 2);
        assert_eq!(holds.first().map(|hold| hold.reason), Some(Reason::Stopped(StopClass::Failed)));
    }
}
