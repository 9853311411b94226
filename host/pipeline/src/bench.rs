//! What a lane works with, whichever of its partitions has its turn: the versions in force with an instance each, the
//! batch, and how large it may be.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::{Batch, BatchBound, Emitted, Side};
use wasmill_kafka::TopicPartition;

use crate::clock;
use crate::deployed::{Deployed, First};
use crate::instances::Instances;
use crate::lane::Lane;
use crate::shared::PipelineShared;
use crate::version::Version;
use crate::versions::Called;

/// A lane's bench.
pub struct Bench {
    pub(crate) lane: Arc<Lane>,
    pub(crate) shared: Arc<PipelineShared>,
    /// What was in force when the lane last looked.
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) sides: Sides,
    /// The messages of the call, reused.
    pub(crate) batch: Batch,
    pub(crate) bound: BatchBound,
    pub(crate) nothing: Emitted,
}

/// The lane's instances: of the version that serves, and of one on trial.
pub(crate) struct Sides {
    pub(crate) serving: Instances,
    pub(crate) candidate: Option<Instances>,
}

impl Sides {
    /// The instances of what is in force; none has started, unless it was made beforehand.
    fn new(lane: &Arc<Lane>, shared: &Arc<PipelineShared>, deployed: &Deployed) -> Self {
        let instances = |side, version| Instances::new(lane.clone(), shared.clone(), side, version);
        let candidate = deployed.candidate.as_ref().map(|candidate| &candidate.version);
        Self {
            serving: instances(Side::Serving, deployed.version.clone()),
            candidate: candidate.map(|version| instances(Side::Candidate, version.clone())),
        }
    }

    /// A call goes to the candidate only while there is one; when there is none any more, the version that serves
    /// answers for what it left.
    pub(crate) fn of(&mut self, side: Side) -> &mut Instances {
        match (side, &mut self.candidate) {
            (Side::Candidate, Some(candidate)) => candidate,
            _ => &mut self.serving,
        }
    }

    pub(crate) fn look_at(&self, side: Side) -> &Instances {
        match (side, &self.candidate) {
            (Side::Candidate, Some(candidate)) => candidate,
            _ => &self.serving,
        }
    }
}

impl Bench {
    /// The bench of a lane that has not begun.
    pub fn new(lane: Arc<Lane>, shared: Arc<PipelineShared>) -> Self {
        let deployed = shared.deployed();
        Self {
            sides: Sides::new(&lane, &shared, &deployed),
            deployed,
            bound: BatchBound::new(shared.started_with.batch_messages),
            batch: Batch::new(),
            nothing: Emitted::default(),
            lane,
            shared,
        }
    }

    /// What instances remember of an earlier assignment is not for the next one.
    pub(crate) fn discard_instances(&mut self) {
        self.sides.serving.discard();
        if let Some(candidate) = &mut self.sides.candidate {
            candidate.discard();
        }
    }

    /// Whether something else is in force than what the lane runs.
    pub(crate) fn is_behind(&self) -> bool {
        self.deployed.serial != self.shared.deployed_serial()
    }

    /// Passes on to what is in force: what was delivered until here was delivered to the old version, and everything from
    /// here on goes to the new one, what waits for another attempt included. `firsts` says where the partitions are.
    ///
    /// The instance was made beforehand, and the old one is dropped by whoever waits for the handover. What is left for
    /// the lane is to exchange the two.
    pub(crate) fn pass_on(&mut self, firsts: Vec<(TopicPartition, First)>) {
        let began = clock::now();
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
        self.deployed = deployed;
        self.deployed.handover.passed(self.lane.index, began.elapsed(), firsts, old);
    }

    /// A call took so long: whoever looks on hears of it.
    pub(crate) fn report_call(&self, version: &Arc<Version>, time: Duration) {
        self.report(Some(Called { version, time, messages: self.batch.len() }));
    }

    /// Something was counted: whoever looks on hears of it.
    pub(crate) fn report_settled(&self) {
        self.report(None);
    }

    fn report(&self, call: Option<Called<'_>>) {
        if let Some(overseer) = &self.deployed.overseer {
            self.shared.obey(overseer.observe(call), &**overseer, self.deployed.serial);
        }
    }
}
