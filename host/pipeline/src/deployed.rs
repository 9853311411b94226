//! What lanes run, and how they pass from one version to the next.
//!
//! A version is a handler and the settings that can change with it. Which one is in force is one value, [`Deployed`], that
//! is replaced as a whole; lanes compare its number between two batches. So there is one moment at which a version ends
//! for all partitions of the process, also for those that are on their way from one lane to another: none of them goes
//! back to the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmill_kafka::TopicPartition;

use crate::io::Guest;
use crate::version::Version;
use crate::versions::{Candidate, Overseer, Split};

/// What is in force: the version that lanes run, and perhaps a candidate beside it.
pub struct Deployed {
    /// One more for each change: a lane compares it between two batches.
    pub serial: u64,
    /// The version that serves the pipeline.
    pub version: Arc<Version>,
    /// A version beside it.
    pub candidate: Option<Arc<Candidate>>,
    /// Who looks on: at the candidate, or at a version that has just taken over.
    pub overseer: Option<Arc<dyn Overseer>>,
    /// Where each partition passed to this.
    pub handover: Handover,
}

/// Where a partition passed to what is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// The first offset that is handed over under it; everything below was handed over before.
    pub offset: i64,
    /// The assignment it was in.
    pub generation: u64,
    /// The attempt with which the message at `offset` passes on, if it is being retried.
    pub attempt: Option<u32>,
    /// Where it went back to later, if something below `offset` had to be handed over again: the broker refused an output,
    /// or the producer failed.
    pub rewound_to: Option<i64>,
}

/// What the lanes say of their passing on.
#[derive(Default)]
pub struct Handover {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Lanes that have not passed on yet.
    waits: BTreeSet<usize>,
    pauses: BTreeMap<usize, Duration>,
    partitions: BTreeMap<TopicPartition, First>,
    /// Instances that are done with: dropping one takes longer than a lane should stand still.
    old: Vec<Box<dyn Guest>>,
    /// Nobody waits any more.
    left: bool,
}

impl Handover {
    /// One that waits for these lanes.
    pub fn of(lanes: impl Iterator<Item = usize>) -> Self {
        let state = State { waits: lanes.collect(), ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A lane passed on, with what it held, and stood still for so long.
    pub fn passed(
        &self,
        lane: usize,
        pause: Duration,
        firsts: impl IntoIterator<Item = (TopicPartition, First)>,
        old: Vec<Box<dyn Guest>>,
    ) {
        let mut state = self.state.lock();
        state.waits.remove(&lane);
        state.pauses.insert(lane, pause);
        for (id, first) in firsts {
            state.partitions.entry(id).or_insert(first);
        }
        // What is late is dropped by the lane itself, lest it be kept until the next swap.
        let mut late = old;
        if !state.left {
            state.old.append(&mut late);
        }
        drop(state);
        drop(late);
        self.changed.notify_all();
    }

    /// A lane ended; it will not pass on.
    pub fn gone(&self, lane: usize) {
        self.state.lock().waits.remove(&lane);
        self.changed.notify_all();
    }

    /// A partition was assigned to a lane that has passed on already.
    pub fn assigned(&self, id: &TopicPartition, first: First) {
        self.state.lock().partitions.entry(id.clone()).or_insert(first);
    }

    /// A partition goes back to `offset`.
    pub fn rewound(&self, id: &TopicPartition, offset: i64) {
        if let Some(first) = self.state.lock().partitions.get_mut(id)
            && offset < first.rewound_to.unwrap_or(first.offset)
        {
            first.rewound_to = Some(offset);
        }
    }

    /// Waits until every lane has passed on. False: some have not by then.
    pub fn wait(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        loop {
            // Outside of the lock, and on the thread that has time for it.
            let old = std::mem::take(&mut state.old);
            if !old.is_empty() {
                drop(state);
                drop(old);
                state = self.state.lock();
                continue;
            }
            if state.waits.is_empty() {
                return true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                state.left = true;
                return false;
            };
            self.changed.wait_for(&mut state, left);
        }
    }

    /// Lanes that have not passed on yet.
    pub fn waits(&self) -> Vec<usize> {
        self.state.lock().waits.iter().copied().collect()
    }

    /// How long each lane stood still.
    pub fn pauses(&self) -> Vec<(usize, Duration)> {
        self.state.lock().pauses.iter().map(|(lane, pause)| (*lane, *pause)).collect()
    }

    /// Where each partition passed on.
    pub fn partitions(&self) -> Vec<(TopicPartition, First)> {
        self.state.lock().partitions.iter().map(|(id, first)| (id.clone(), *first)).collect()
    }
}

impl Deployed {
    /// How messages are divided now. A candidate that was withdrawn gets nothing any more, before any lane has passed on.
    pub fn split(&self) -> Option<Split> {
        self.candidate.as_ref()?.split()
    }

    /// Whether the candidate is given copies of what the version that serves is given.
    pub fn has_shadow(&self) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.is_shadow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TopicPartition {
        TopicPartition::new("orders", 0)
    }

    fn at(offset: i64) -> First {
        First { offset, generation: 1, attempt: None, rewound_to: None }
    }

    #[test]
    fn a_handover_tells_the_lowest_message_that_a_partition_went_back_to() {
        let handover = Handover::of([0].into_iter());
        handover.rewound(&id(), 3);
        handover.passed(0, Duration::ZERO, [(id(), at(10))], Vec::new());
        let rewound_to = || handover.partitions()[0].1.rewound_to;
        for (to, lowest) in [(10, None), (12, None), (7, Some(7)), (9, Some(7)), (5, Some(5))] {
            handover.rewound(&id(), to);
            assert_eq!(rewound_to(), lowest, "back to {to}");
        }
    }

    #[test]
    fn a_partition_passes_on_once_also_if_it_comes_to_another_lane_later() {
        let handover = Handover::of([0].into_iter());
        handover.assigned(&id(), at(10));
        handover.assigned(&id(), at(20));
        handover.passed(0, Duration::ZERO, [(id(), at(30))], Vec::new());
        assert_eq!(handover.partitions(), [(id(), at(10))]);
    }
}
