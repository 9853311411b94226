//! An assigned partition as the lane, the delivery thread, the committer and the status page share it: the machine of core
//! behind one mutex, and what its effects set going.
//!
//! The mutex is taken a few times a batch, never for a message, and nothing else is locked under it. Everything belongs to
//! one generation: a partition that comes back is a new [`Partition`], so nothing late can reach the new one.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use wasmill_core::partition::{
    Closed, Effects, Event, Mark, Partition as Machine, SeekRefused, Sought, Start, Urgency,
};
use wasmill_core::{Generation, NextOffset, Offset};
use wasmill_kafka::{TopicPartition, Wake};

use crate::clock;
use crate::counters::PartitionCounters;
use crate::dirty::Dirty;
use crate::mutant::{self, Mutant};

/// Brokers take 4,096 bytes of metadata; host/kafka adds a few of its own.
const NOTE_BYTES: usize = 4080;

/// Hears when a partition that an operator moved has its new position persisted, or why it was not moved.
pub type SeekAnswer = oneshot::Sender<Result<Sought, String>>;

/// One assigned partition.
pub struct Partition {
    /// Topic and partition.
    pub id: TopicPartition,
    /// The topic's number for the handler.
    pub source: u32,
    /// The assignment it belongs to.
    pub generation: Generation,
    /// The member that holds it.
    pub member: usize,
    /// Counters of this partition.
    pub counters: PartitionCounters,
    /// Messages of it that failed since it was assigned, for status.
    pub failed: AtomicU64,
    machine: Mutex<Machine>,
    /// Who waits for a move to be persisted, and where to. Locked under the machine, and alone.
    seeker: Mutex<Option<(NextOffset, SeekAnswer)>>,
    dirty: Arc<Dirty>,
    wake: OnceLock<Wake>,
}

/// What is to be committed for a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// The machine's word; it wants it back with the coordinator's answer.
    pub mark: Mark,
    /// The offset that goes to the coordinator.
    pub next: NextOffset,
    /// The note that goes with it.
    pub note: String,
}

impl Partition {
    /// A partition that was just assigned.
    pub fn new(
        id: TopicPartition,
        source: u32,
        member: usize,
        start: Start,
        dirty: Arc<Dirty>,
        counters: PartitionCounters,
    ) -> Self {
        Self {
            id,
            source,
            generation: start.generation,
            member,
            counters,
            failed: AtomicU64::new(0),
            machine: Mutex::new(Machine::new(start)),
            seeker: Mutex::default(),
            dirty,
            wake: OnceLock::new(),
        }
    }

    /// The lane that serves this partition.
    pub fn served_by(&self, wake: Wake) {
        let _ = self.wake.set(wake);
    }

    /// Wakes the lane.
    pub fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// The machine, to ask it. What happened is said with [`Partition::apply`], so that the effects are not forgotten.
    pub fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock()
    }

    /// Says what happened, and sets going what follows from it.
    pub fn apply(&self, event: Event<'_>) {
        let effects = self.lock().apply(event, clock::now());
        self.follow(effects);
    }

    /// Sets going what follows from an event.
    pub fn follow(&self, effects: Effects) {
        let Effects { persist, wake, stale, moved } = effects;
        if stale {
            self.counters.stale.increment(1);
        }
        if let Some(sought) = moved
            && let Some((_, seeker)) = self.seeker.lock().take_if(|(to, _)| to.get() == sought.to)
        {
            let _ = seeker.send(Ok(sought));
        }
        match persist {
            Some(Urgency::Now) => self.dirty.mark_urgent(),
            Some(Urgency::Soon) => self.dirty.mark(),
            None => {}
        }
        if wake {
            self.wake();
        }
    }

    /// Has what changed persisted.
    pub fn persist(&self, urgency: Urgency) {
        self.follow(Effects { persist: Some(urgency), ..Effects::default() });
    }

    /// Begins a move; `answer` hears when the new position is persisted.
    pub fn seek(&self, to: NextOffset, until: Instant, answer: SeekAnswer) {
        let mut machine = self.lock();
        let mut seeker = self.seeker.lock();
        // One at a time until the new position is persisted: the answer to one would be taken for that to the other.
        let busy = seeker.as_ref().is_some_and(|(_, answer)| !answer.is_closed());
        let begun = if busy { Err(SeekRefused::Moving) } else { machine.seek(to, until) };
        let refused = match begun {
            Ok(()) => {
                *seeker = Some((to, answer));
                return;
            }
            Err(refused) => refused,
        };
        drop((seeker, machine));
        let _ = answer.send(Err(format!("partition {} cannot be moved: {refused}", self.id)));
    }

    /// What to commit now. `closing`: at a revoke, a shutdown and a stop.
    pub fn due(&self, closing: bool) -> Option<Due> {
        let mark = self.lock().due(closing)?;
        let next =
            if mutant::is(Mutant::WatermarkPlusOne) { NextOffset::after(Offset(mark.next.get())) } else { mark.next };
        let note = mark.note.encode_within(NOTE_BYTES);
        Some(Due { mark, next, note })
    }

    /// Ends the assignment: nothing of it moves or is persisted any more.
    pub fn close(&self, closed: Closed) {
        if mutant::is(Mutant::NoFence) {
            return;
        }
        self.apply(Event::Close(closed));
        // Whoever waits for a move hears that the partition is gone.
        self.seeker.lock().take();
    }
}
