//! Gives back the memory of partitions that went.
//!
//! Messages fetched for an assignment that is over stay on the partition's queue, unreachable, until somebody takes from
//! it again; 178 MB were seen. So a queue is kept for a moment after its revoke and taken from once more: not at once,
//! since a fetch may still be under way. A partition that came back has a new reader, and its queue is left alone: a take
//! here would steal from it. All of this happens on the member's thread, where partitions come and go, too.

use super::handle::Shared;
use crate::TopicPartition;
use crate::queue::{Take, lock};
use std::time::{Duration, Instant};

/// How long a retired queue is left alone. A fetch that was under way at the revoke has been answered by then: the broker
/// waits a tenth of a second.
const SETTLE: Duration = Duration::from_millis(1500);

/// Queues of partitions that went.
#[derive(Default)]
pub(super) struct Janitor {
    retired: Vec<Retired>,
}

struct Retired {
    id: TopicPartition,
    source: Box<dyn Take>,
    due: Instant,
}

impl Janitor {
    pub(super) fn keep(&mut self, id: TopicPartition, source: Box<dyn Take>, now: Instant) {
        self.retired.push(Retired { id, source, due: now + SETTLE });
    }

    fn due(&mut self, now: Instant) -> Vec<Retired> {
        let (due, rest) = std::mem::take(&mut self.retired).into_iter().partition(|retired| retired.due <= now);
        self.retired = rest;
        due
    }
}

impl Shared {
    /// Drains and drops the retired queues whose time has come. On the member's thread.
    pub(super) fn sweep(&self, now: Instant) {
        let due = lock(&self.janitor).due(now);
        for mut retired in due {
            let back = lock(&self.live).contains_key(&retired.id);
            if !back {
                retired.source.drain_outdated();
            }
        }
    }

    /// Drops all of them: the client is about to be destroyed.
    pub(super) fn sweep_all(&self) {
        lock(&self.janitor).retired.clear();
    }
}
