//! Where a partition is between its assignment and its end, and what moves it while it is held.

use std::time::Instant;

use crate::offset::NextOffset;

/// Where a partition is. Each assignment begins anew; no stage is gone back to but `Opening`, by a seek.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Its first position is not known yet. The holds say why and when it is asked for again.
    Resolving,
    /// Its position is known and not persisted yet: nothing is delivered before it is, or a crash could jump ahead of it.
    Opening,
    /// Messages are delivered as the holds and the motion allow.
    Held,
    /// It is being taken away: what is running may finish, nothing more is delivered.
    Leaving {
        /// Its position was never persisted.
        opening: bool,
        /// Nobody waits for room for its outputs any more. What is with the producer already goes out.
        at_once: bool,
    },
    /// The assignment is over: nothing of it moves or is persisted any more.
    Closed(Closed),
}

/// Why an assignment is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The group took it away, or the member left. Before that it was tried to commit what was due.
    Revoked,
    /// The group gave it to somebody else without asking.
    Lost,
    /// Its topic was deleted. The text says so for status.
    Orphaned(String),
}

/// What moves a partition while it is held or opening.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Motion {
    /// Nothing moves it.
    Steady,
    /// What is in flight has to be answered for first.
    Draining(Drain),
    /// The source has to be put somewhere else before it is read again.
    Repositioning {
        /// The offset to read on from.
        to: NextOffset,
        /// The last try failed: not before then.
        not_before: Option<Instant>,
    },
}

/// What a drain is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drain {
    /// The broker refused something: back to the watermark, in a new epoch.
    Rewind,
    /// An operator moves the partition.
    Seek {
        /// The offset to read on from.
        to: NextOffset,
        /// Then it waits no longer; what is dropped may have been published.
        until: Instant,
    },
}
