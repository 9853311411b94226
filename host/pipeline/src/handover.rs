//! A lane passes from one version to the next, between two batches.

use std::sync::Arc;
use std::time::Instant;

use super::deployed::{Deployed, First};
use super::instances::Instances;
use super::lane::{Lane, Side};
use super::shared::PipelineShared;
use super::succession::Admit;
use super::turn::{Held, Sides, Worker};
use super::versions::Called;

impl Worker {
    /// Passes on to what is in force, if that is something else than before: what was handed over until here was handed
    /// to the old version, and everything from here on goes to the new one, what waits for another attempt included.
    ///
    /// The instance was made beforehand, and the old one is dropped by whoever waits for the handover. What is left for
    /// the lane is to exchange the two and to say where its partitions are.
    pub fn pass_on(&mut self) {
        if self.deployed.serial == self.shared.deployed_serial() {
            return;
        }
        let began = Instant::now();
        let deployed = self.shared.deployed();
        let mut old = Vec::new();
        if !Arc::ptr_eq(&self.deployed.version, &deployed.version) {
            // One that served its trial goes on with the instance that it has.
            let candidate = self.sides.candidate.take_if(|one| Arc::ptr_eq(one.version(), &deployed.version));
            old.extend(self.sides.serving.replace(deployed.version.clone()));
            if let Some(instance) = candidate.and_then(Instances::give_up) {
                old.extend(self.sides.serving.resume_with(instance));
            }
        }
        let candidate = deployed.candidate.as_ref().map(|candidate| &candidate.version);
        let stays = |one: &Instances| candidate.is_some_and(|version| Arc::ptr_eq(one.version(), version));
        if !self.sides.candidate.as_ref().is_some_and(stays) {
            old.extend(self.sides.candidate.take().and_then(Instances::give_up));
            self.sides.candidate = candidate.map(|version| {
                Instances::new(self.lane.clone(), self.shared.clone(), Side::Candidate, version.clone())
            });
        }
        let firsts: Vec<_> = self.held.iter().map(|held| (held.partition.id.clone(), held.first())).collect();
        self.deployed = deployed;
        self.deployed.handover.passed(self.lane.index, began.elapsed(), firsts, old);
    }

    /// Whether the version that serves here may have the partition's next message, as far as the group is concerned. Asked
    /// also while a partition is paused or stands: it passes on with the others.
    pub(super) fn may_succeed(&mut self, index: usize) -> bool {
        if !self.shared.is_grouped() {
            return true;
        }
        let running = self.deployed.version.epoch;
        let held = &self.held[index];
        let partition = &held.partition;
        {
            let state = partition.lock();
            // Nothing is ever committed for a group that may not begin: it stands, and the queue says why.
            let begins = state.committed.is_some() || state.first_commit;
            let Some(succession) = state.succession.filter(|_| begins) else { return true };
            if succession.is_settled(running) || partition.is_leaving() {
                return true;
            }
        }
        let next = held.next_offset();
        let again = held.again.as_ref().map_or(0, |again| (again.batch.len() - again.from) as u64);
        let mut state = partition.lock();
        // What was purged from a producer that failed is not in flight any more, and goes again.
        let in_flight = state.tickets > 0 || state.must_rewind || state.tracker.outstanding() > again;
        let Some(succession) = &mut state.succession else { return true };
        match succession.admit(running, next, in_flight) {
            Admit::Now => return true,
            // The group has moved on; the thread that follows it puts that version in force.
            Admit::Behind | Admit::Noted(false) => {}
            // The next completion wakes the lane.
            Admit::Drained => state.starved = true,
            Admit::Noted(true) => {
                state.note_dirty = true;
                drop(state);
                partition.mark_urgent();
            }
        }
        false
    }

    /// The instances of what is in force; none has started, unless it was made beforehand.
    pub(super) fn sides(lane: &Arc<Lane>, shared: &Arc<PipelineShared>, deployed: &Deployed) -> Sides {
        let instances = |side, version| Instances::new(lane.clone(), shared.clone(), side, version);
        let candidate = deployed.candidate.as_ref().map(|candidate| &candidate.version);
        Sides {
            serving: instances(Side::Serving, deployed.version.clone()),
            candidate: candidate.map(|version| instances(Side::Candidate, version.clone())),
        }
    }

    /// Something was counted: whoever looks on hears of it.
    pub(super) fn report(&self, call: Option<Called<'_>>) {
        if let Some(overseer) = &self.deployed.overseer {
            self.shared.obey(overseer.observe(call), self.deployed.serial);
        }
    }
}

impl Held {
    /// Where the partition passes on: the first message that is handed over from now on.
    pub(super) fn first(&self) -> First {
        First {
            offset: self.next_offset(),
            generation: self.partition.generation.0,
            attempt: self.again.as_ref().map(|again| again.attempt).filter(|attempt| *attempt > 1),
            rewound_to: None,
        }
    }
}
