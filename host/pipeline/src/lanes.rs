//! The lanes of a pipeline: made as partitions come, ended with it.

use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use wasmill_core::Dispatch;
use wasmill_kafka::TopicPartition;

use crate::deployed::Deployed;
use crate::lane::{Command, Lane};
use crate::shared::PipelineShared;
use crate::version::Version;
use crate::versions::Overseer;
use crate::worker::Worker;

/// More threads and guests than this serve nobody, however many partitions there are.
const MAX_LANES: usize = 64;

/// The lanes of a pipeline.
pub struct Lanes {
    shared: Arc<PipelineShared>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Which lane serves what. A partition is named with the member that holds it: in a rebalance one member may still be
    /// giving back what the other is getting.
    dispatch: Dispatch<(usize, TopicPartition)>,
    lanes: Vec<(Arc<Lane>, thread::JoinHandle<()>)>,
}

impl Lanes {
    /// None yet: they are made as partitions come.
    pub fn new(shared: Arc<PipelineShared>) -> Self {
        let limit = shared.started_with.lanes.unwrap_or(MAX_LANES).clamp(1, MAX_LANES);
        let dispatch = Dispatch::new(shared.started_with.order, limit);
        Self { shared, inner: Mutex::new(Inner { dispatch, lanes: Vec::new() }) }
    }

    /// Every lane that was started.
    pub fn all(&self) -> Vec<Arc<Lane>> {
        self.inner.lock().lanes.iter().map(|(lane, _)| lane.clone()).collect()
    }

    /// All of them, and how many partitions each serves.
    pub fn loads(&self) -> Vec<(Arc<Lane>, usize)> {
        let inner = self.inner.lock();
        inner.lanes.iter().map(|(lane, _)| (lane.clone(), inner.dispatch.load(lane.index))).collect()
    }

    /// The lane for one more partition of a member.
    ///
    /// # Errors
    /// There is no thread for a new one.
    pub fn place(&self, member: usize, id: &TopicPartition) -> std::io::Result<Arc<Lane>> {
        let mut inner = self.inner.lock();
        let lane = inner.dispatch.assign((member, id.clone())).lane;
        // One whose thread could not be started is tried again.
        while inner.lanes.len() <= lane {
            match self.start(inner.lanes.len()) {
                Ok(started) => inner.lanes.push(started),
                Err(error) => {
                    inner.dispatch.release(&(member, id.clone()));
                    return Err(error);
                }
            }
        }
        Ok(inner.lanes[lane].0.clone())
    }

    fn start(&self, index: usize) -> std::io::Result<(Arc<Lane>, thread::JoinHandle<()>)> {
        let lane = Arc::new(Lane::new(index));
        let worker = Worker::new(lane.clone(), self.shared.clone());
        let name = format!("{}-lane-{}", self.shared.name, lane.index);
        let thread = thread::Builder::new().name(name).spawn(move || worker.run())?;
        lane.runs_on(thread.thread().clone());
        Ok((lane, thread))
    }

    /// The lane that serves a partition of a member.
    pub fn lane_of(&self, member: usize, id: &TopicPartition) -> Option<Arc<Lane>> {
        let inner = self.inner.lock();
        let lane = inner.dispatch.lane_of(&(member, id.clone()))?;
        inner.lanes.get(lane).map(|(lane, _)| lane.clone())
    }

    /// A partition was given back by its lane.
    pub fn release(&self, member: usize, id: &TopicPartition) {
        self.inner.lock().dispatch.release(&(member, id.clone()));
    }

    /// Puts something else in force, wakes every lane, and does not wait for them. Under the lock under which lanes are
    /// made: each of them is waited for or begins with what is in force from here on.
    pub fn deploy(&self, version: Arc<Version>, overseer: Option<Arc<dyn Overseer>>) -> Arc<Deployed> {
        let inner = self.inner.lock();
        let lanes = &inner.lanes;
        let deployed = self.shared.deploy(version, overseer, lanes.iter().map(|(lane, _)| lane.index));
        lanes.iter().for_each(|(lane, _)| lane.wake());
        deployed
    }

    /// Wakes all of them: something that concerns everybody changed.
    pub fn wake_all(&self) {
        for lane in self.all() {
            lane.wake();
        }
    }

    /// Ends all threads; the partitions must have been released before.
    pub fn stop(&self) {
        let lanes: Vec<_> = std::mem::take(&mut self.inner.lock().lanes);
        for (lane, _) in &lanes {
            lane.tell(Command::Stop);
        }
        for (_, thread) in lanes {
            if thread.join().is_err() {
                tracing::error!(pipeline = %self.shared.name, "a lane's thread panicked");
            }
        }
    }
}
