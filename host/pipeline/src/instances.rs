//! The instance of a lane: made when it is first needed, thrown away after a crash, for a new assignment, and when its
//! memory only grows; replaced by one that was made beforehand when the lane passes on to another version.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wasmill_core::{Batch, Emitted, Failure, Side};
use wasmill_wasm::CallError;

use crate::counters;
use crate::handler_spec::spec;
use crate::io::Guest;
use crate::lane::Lane;
use crate::shared::PipelineShared;
use crate::version::Version;

/// How long to wait before trying again after an instance could not be made.
const AGAIN: Duration = Duration::from_secs(1);

/// The lane's instance of one version.
pub struct Instances {
    lane: Arc<Lane>,
    shared: Arc<PipelineShared>,
    side: Side,
    version: Arc<Version>,
    current: Option<Running>,
    not_before: Option<Instant>,
    recycled: metrics::Counter,
}

/// An instance and how often it was called.
pub struct Running {
    guest: Box<dyn Guest>,
    calls: u64,
}

impl Running {
    /// One call.
    pub fn handle(&mut self, source: u32, partition: i32, batch: &Batch) -> Result<u32, CallError> {
        self.calls += 1;
        self.guest.handle(source, partition, batch)
    }
}

impl Instances {
    /// None yet.
    pub fn new(lane: Arc<Lane>, shared: Arc<PipelineShared>, side: Side, version: Arc<Version>) -> Self {
        let recycled = counters::recycled(&shared.name);
        let mut instances =
            Self { lane, shared, side, version: version.clone(), current: None, not_before: None, recycled };
        // One may have been made for it.
        drop(instances.replace(version));
        instances
    }

    /// Passes on to another version, with the instance that was made for it. Gives the old one back: to drop it takes
    /// longer than a lane should stand still.
    pub fn replace(&mut self, version: Arc<Version>) -> Option<Box<dyn Guest>> {
        let old = self.current.take().map(|running| running.guest);
        let staged = self.lane.take_staged(&version);
        self.version = version;
        self.not_before = None;
        self.lane.set_canceller(self.side, None);
        if let Some(instance) = staged {
            self.started(instance);
        }
        old
    }

    /// Goes on with an instance that was used before. Gives the one back that was made for it.
    pub fn resume_with(&mut self, guest: Box<dyn Guest>) -> Option<Box<dyn Guest>> {
        let unused = self.current.take().map(|running| running.guest);
        self.started(guest);
        if let Some(running) = &mut self.current {
            // What fails in it now may be what earlier calls left.
            running.calls = 1;
        }
        unused
    }

    /// The version.
    pub fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// The instance, to be dropped elsewhere.
    pub fn give_up(mut self) -> Option<Box<dyn Guest>> {
        self.lane.set_canceller(self.side, None);
        self.current.take().map(|running| running.guest)
    }

    /// The instance to call, a new one if need be; or when to ask again.
    pub fn ready(&mut self, now: Instant) -> Result<&mut Running, Instant> {
        if self.current.as_ref().is_some_and(|running| running.guest.is_due_for_replacement()) {
            self.recycle();
        }
        if self.current.is_none() {
            if let Some(when) = self.not_before
                && now < when
            {
                return Err(when);
            }
            self.start(now)?;
        }
        Ok(self.current.as_mut().expect("started just above"))
    }

    fn started(&mut self, guest: Box<dyn Guest>) {
        self.lane.set_canceller(self.side, guest.canceller());
        *self.lane.trouble.lock() = None;
        self.lane.memory_bytes.store(guest.memory_bytes() as usize, Ordering::Relaxed);
        self.not_before = None;
        self.current = Some(Running { guest, calls: 0 });
    }

    fn start(&mut self, now: Instant) -> Result<(), Instant> {
        match self.version.handler.start(&spec(&self.version.settings, self.lane.index)) {
            Ok(instance) => {
                self.started(instance);
                Ok(())
            }
            Err(error) => {
                let text = format!("handler cannot start: {error}");
                let mut trouble = self.lane.trouble.lock();
                if trouble.as_deref() != Some(&text) {
                    tracing::error!(pipeline = %self.shared.name, lane = self.lane.index, "{text}");
                    *trouble = Some(text);
                }
                let again = now + AGAIN;
                self.not_before = Some(again);
                Err(again)
            }
        }
    }

    /// Drops an instance that works and takes more and more memory. What it remembers is a cache, and `init` runs again.
    fn recycle(&mut self) {
        let Some(running) = self.current.take() else { return };
        let (memory, limit) = (running.guest.memory_bytes(), self.version.settings.limits.memory_bytes);
        tracing::debug!(
            pipeline = %self.shared.name, lane = self.lane.index, memory, limit, calls = running.calls,
            "instance replaced: its memory only grew"
        );
        self.recycled.increment(1);
        self.lane.recycled.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops the instance: after a crash its store is undefined, and a new assignment must not see what an old one left.
    pub fn discard(&mut self) {
        if let Some(running) = self.current.take() {
            self.lane.memory_bytes.store(0, Ordering::Relaxed);
            drop(running);
        }
        self.lane.set_canceller(self.side, None);
    }

    /// Whether the last call was the instance's first.
    pub fn was_fresh(&self) -> bool {
        self.current.as_ref().is_some_and(|running| running.calls == 1)
    }

    /// What the last call emitted.
    pub fn emitted(&self) -> &Emitted {
        self.current.as_ref().expect("a call was answered, so its instance is there").guest.emitted()
    }

    /// What the last call said of messages that are not acknowledged.
    pub fn failures(&self) -> &[Failure] {
        self.current.as_ref().map_or(&[], |running| running.guest.failures())
    }

    /// Notes how much memory the instance has, for status.
    pub fn observe_memory(&self) {
        if let Some(running) = &self.current {
            self.lane.memory_bytes.store(running.guest.memory_bytes() as usize, Ordering::Relaxed);
        }
    }
}
