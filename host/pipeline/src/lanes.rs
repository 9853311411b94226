//! The lanes of a pipeline: made as partitions come, ended with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use parking_lot::Mutex;

use crate::deployed::Deployed;
use crate::lane::{Command, Lane};
use crate::shared::PipelineShared;
use crate::version::Version;
use crate::versions::Overseer;
use crate::worker::Worker;

/// More threads and guests than this serve nobody, however many partitions there are.
const MOST_LANES: usize = 64;

/// The lanes of a pipeline.
pub struct Lanes {
    shared: Arc<PipelineShared>,
    limit: usize,
    lanes: Mutex<Vec<(Arc<Lane>, thread::JoinHandle<()>)>>,
}

impl Lanes {
    /// None yet: they are made as partitions come.
    pub fn new(shared: Arc<PipelineShared>) -> Self {
        let limit = shared.settings.lanes.unwrap_or(MOST_LANES).clamp(1, MOST_LANES);
        Self { shared, limit, lanes: Mutex::default() }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().iter().map(|(lane, _)| lane.clone()).collect()
    }

    /// The lane for one more partition: an idle one, a new one while there may be more, else the one with the fewest.
    ///
    /// # Errors
    /// There is no thread for a new one.
    pub fn place(&self) -> std::io::Result<Arc<Lane>> {
        let mut lanes = self.lanes.lock();
        let fewest = lanes.iter().map(|(lane, _)| lane).min_by_key(|lane| lane.load.load(Ordering::Relaxed));
        let lane = match fewest {
            Some(lane) if lane.load.load(Ordering::Relaxed) == 0 || lanes.len() >= self.limit => lane.clone(),
            _ => {
                let lane = Arc::new(Lane::new(lanes.len()));
                let worker = Worker::new(lane.clone(), self.shared.clone());
                let name = format!("{}-lane-{}", self.shared.name, lane.index);
                let thread = thread::Builder::new().name(name).spawn(move || worker.run())?;
                lane.runs_on(thread.thread().clone());
                lanes.push((lane.clone(), thread));
                lane
            }
        };
        lane.load.fetch_add(1, Ordering::Relaxed);
        Ok(lane)
    }

    /// Puts something else in force, wakes every lane, and does not wait for them. Under the lock under which lanes are
    /// made: each of them is waited for or begins with what is in force from here on.
    pub fn deploy(&self, version: Arc<Version>, overseer: Option<Arc<dyn Overseer>>) -> Arc<Deployed> {
        let lanes = self.lanes.lock();
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
        let lanes: Vec<_> = std::mem::take(&mut *self.lanes.lock());
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
