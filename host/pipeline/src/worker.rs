//! A lane's thread: it looks at its partitions in turn, and sleeps when none has anything to do.
//!
//! The thread parks when there is nothing to do and is woken by whatever may change that: a source that is no longer empty,
//! a command, a completion after the window was full. No notification is relied on alone: it looks again every 100 ms.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wasmill_core::partition::Event;

use crate::bench::Bench;
use crate::clock;
use crate::deployed::First;
use crate::lane::{Assignment, Command, Lane};
use crate::mutant::{self, Mutant};
use crate::partition::Partition;
use crate::shared::PipelineShared;
use crate::slot::{Slot, Turn};

/// How long a lane sleeps at most: the guard against a wake-up that got lost.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The lane's thread with everything it owns.
pub struct Worker {
    bench: Bench,
    slots: Vec<Slot>,
}

impl Worker {
    /// A worker without partitions.
    pub fn new(lane: Arc<Lane>, shared: Arc<PipelineShared>) -> Self {
        Self { bench: Bench::new(lane, shared), slots: Vec::new() }
    }

    /// The thread. Ends with [`Command::Stop`].
    pub fn run(mut self) {
        let lane = self.bench.lane.clone();
        loop {
            for command in lane.mail() {
                if matches!(command, Command::Stop) {
                    self.bench.shared.deployed().handover.gone(lane.index);
                    return;
                }
                self.obey(command);
            }
            let now = clock::now();
            if let Some(next_look) = self.round(now, now + LOOK_AGAIN) {
                self.bench.sides.serving.observe_memory();
                thread::park_timeout(next_look.saturating_duration_since(clock::now()));
            }
        }
    }

    /// One batch of each partition in turn, so that a busy one cannot starve the others. `None`: something was done, look
    /// again at once. Else when to look again, `next_look` at the latest.
    pub fn round(&mut self, now: Instant, mut next_look: Instant) -> Option<Instant> {
        let mut worked = false;
        self.pass_on();
        for at in 0..self.slots.len() {
            self.pass_on();
            match self.slots[at].turn(&mut self.bench, now) {
                Turn::Worked => worked = true,
                Turn::Idle => {}
                Turn::NotBefore(when) => next_look = next_look.min(when),
            }
            if self.bench.lane.has_mail() {
                return None;
            }
        }
        (!worked).then_some(next_look)
    }

    /// Passes on to another version, between two batches.
    fn pass_on(&mut self) {
        if self.bench.is_behind() {
            let firsts = self.slots.iter().map(|slot| (slot.partition.id.clone(), slot.first())).collect();
            self.bench.pass_on(firsts);
        }
    }

    /// Does what the lane was told.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Assign(assignment) => self.assign(*assignment),
            Command::Release { partitions, done } => {
                self.release(&partitions);
                let _ = done.send(());
            }
            Command::RewindAll => self.slots.iter_mut().for_each(|slot| slot.rewind(&self.bench)),
            Command::Resume { partition, skip, done } => {
                let answer = match self.slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.partition, &partition)) {
                    Some(slot) => slot.resume(&self.bench, skip),
                    None => Err(format!("partition {} is not here", partition.id)),
                };
                let _ = done.send(answer);
            }
            Command::Stop => {}
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        let Assignment { partition, source, delivery } = assignment;
        self.bench.discard_instances();
        let slot = Slot::new(partition, source, delivery);
        self.bench.deployed.handover.assigned(&slot.partition.id, slot.first());
        self.slots.push(slot);
    }

    fn release(&mut self, partitions: &[Arc<Partition>]) {
        self.slots.retain(|slot| {
            let stays = !partitions.iter().any(|gone| Arc::ptr_eq(gone, &slot.partition));
            if !stays
                && mutant::is(Mutant::DropRetriesOnRevoke)
                && let Some((fence, run)) = slot.backlog.open_run()
            {
                slot.partition.apply(Event::Settled { fence, run, ticket: false });
            }
            stays
        });
        // A cancellation was meant for them; the next call is somebody else's.
        self.bench.lane.forgive();
    }
}

impl Slot {
    /// Where the partition passes on to another version: the first message that is delivered from now on.
    fn first(&self) -> First {
        First {
            offset: self.stands_at(),
            generation: self.partition.generation.0,
            attempt: self.backlog.retried(),
            rewound_to: None,
        }
    }
}
