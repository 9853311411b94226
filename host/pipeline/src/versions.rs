//! The seam between lanes and whoever decides which version they run.
//!
//! Lanes know two versions at most: the one that serves, and a [`Candidate`] beside it that gets a share of the messages or
//! a copy of them. What the candidate has to prove, and what follows from it, is the matter of an [`Overseer`]: lanes tell
//! it what came of each call and obey its ruling. Nothing here is asked once a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmill_config as config;
use wasmill_core::{Batch, Emitted, Failure, FailureKind, MessageRef, Place, Share, Side};
use wasmill_kafka::TopicPartition;
use wasmill_wasm::{CallError, OutputNames};

use crate::version::Version;

/// How messages are divided between the version that serves and the candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// What decides where a message goes.
    pub by: config::CanaryBy,
    /// What the candidate gets.
    pub share: Share,
}

impl Split {
    /// Which version gets a message of partition number `partition`.
    pub fn side_of(&self, partition: i32, message: &MessageRef<'_>) -> Side {
        let place = match self.by {
            config::CanaryBy::Key => Place::of_message(message.key(), message.offset),
            config::CanaryBy::Partition => Place::of_partition(partition),
        };
        if place.is_in(self.share) { Side::Candidate } else { Side::Serving }
    }
}

/// What a candidate is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gets {
    /// A share of the messages. The version that serves gets the others.
    Share(Split),
    /// Every batch that the version that serves is given. Nothing of what it makes of it counts.
    Copies,
}

/// A version that runs beside the one that serves, in an instance of its own on each lane.
pub struct Candidate {
    /// The version.
    pub version: Arc<Version>,
    /// What it is given.
    pub gets: Gets,
    withdrawn: AtomicBool,
}

impl Candidate {
    /// A candidate that nothing was given to yet.
    pub fn new(version: Arc<Version>, gets: Gets) -> Self {
        Self { version, gets, withdrawn: AtomicBool::new(false) }
    }

    /// From now on it is given nothing, before any lane has passed on: it sees no message more than those that are being
    /// handled.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    /// How messages are divided now.
    pub fn split(&self) -> Option<Split> {
        match self.gets {
            Gets::Share(split) if !self.withdrawn.load(Ordering::Acquire) => Some(split),
            Gets::Share(_) | Gets::Copies => None,
        }
    }

    /// Whether it is given copies now.
    pub fn is_shadow(&self) -> bool {
        self.gets == Gets::Copies && !self.withdrawn.load(Ordering::Acquire)
    }
}

/// What lanes have to do about what they told an [`Overseer`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing changes.
    GoOn,
    /// Deliver nothing more until another version serves.
    Suspend,
}

/// A handler call, and what it cost.
#[derive(Clone, Copy)]
pub struct Called<'a> {
    /// The version that was called.
    pub version: &'a Arc<Version>,
    /// How long the call took.
    pub time: Duration,
    /// Messages that were delivered in it.
    pub messages: usize,
}

/// What a version said of a batch.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    /// What it emitted.
    pub emitted: &'a Emitted,
    /// The messages that it did not acknowledge.
    pub failures: &'a [Failure],
    /// Messages that it came to.
    pub reached: u32,
}

impl Said<'_> {
    /// Of so many messages it said something that counts: what stands behind a retry does not.
    pub fn counts(&self) -> usize {
        let retries = self.failures.iter().filter(|one| one.kind == FailureKind::Retry);
        let reached = self.reached as usize;
        retries.map(|one| one.message as usize + 1).min().unwrap_or(reached).min(reached)
    }
}

/// What the two versions made of the same batch.
pub struct Shadowed<'a> {
    /// The partition that it is from.
    pub id: &'a TopicPartition,
    /// The batch.
    pub batch: &'a Batch,
    /// The topics that outputs name by number.
    pub names: &'a OutputNames,
    /// What the version that serves said.
    pub serving: Said<'a>,
    /// What the candidate said, or how its call ended.
    pub candidate: Result<Said<'a>, &'a CallError>,
}

impl Shadowed<'_> {
    /// The first messages of the batch, of which both said something that counts. Of a failed call the first one.
    pub fn compared(&self) -> usize {
        self.candidate.map_or(1, |candidate| candidate.counts().min(self.serving.counts()))
    }
}

/// Looks on at what is deployed: at the candidate, or at a version that took over a moment ago. Called on the lanes'
/// threads, once a call each; it must not wait.
pub trait Overseer: Send + Sync {
    /// The version that is to run beside the one that serves. Asked once, when this is deployed.
    fn candidate(&self) -> Option<&Arc<Candidate>>;
    /// Something was counted in [`Version::done`]: after each call, with what it cost, and after a message that failed
    /// without one.
    fn observe(&self, call: Option<Called<'_>>) -> Ruling;
    /// The candidate was given a copy of a batch.
    fn shadowed(&self, both: &Shadowed<'_>);
    /// The breaker is about to open for this reason. `None`: it opens. Else the version before takes over again, and the
    /// breaker need not.
    fn breaker_opens(&self, reason: &str) -> Option<Ruling>;
    /// A [`Ruling::Suspend`] was obeyed: no lane begins another batch. Only now may anything be put in motion that takes time.
    fn suspended(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(failures: &[(u32, FailureKind)], reached: u32) -> usize {
        let failure = |(message, kind): &(u32, FailureKind)| Failure {
            message: *message,
            kind: *kind,
            reason: String::new(),
            retry_after: None,
        };
        let failures: Vec<_> = failures.iter().map(failure).collect();
        Said { emitted: &Emitted::default(), failures: &failures, reached }.counts()
    }

    #[test]
    fn what_stands_behind_a_retry_does_not_count() {
        assert_eq!(counts(&[], 5), 5);
        assert_eq!(counts(&[(1, FailureKind::Reject)], 5), 5);
        assert_eq!(counts(&[(1, FailureKind::Reject), (3, FailureKind::Retry), (4, FailureKind::Retry)], 5), 4);
        assert_eq!(counts(&[(4, FailureKind::Retry)], 2), 2);
    }
}
