//! The instance of a lane: made when it is first needed, thrown away after a crash, for a new assignment, and when its
//! memory only grows; replaced by one that was made beforehand when the lane passes on to another version.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use metrics::Counter;
use wasmill_core::{Batch, Emitted, Failure, Side};
use wasmill_wasm::CallError;

use crate::counters::InstanceCounters;
use crate::handler_spec::spec;
use crate::io::Guest;
use crate::lane::Lane;
use crate::shared::PipelineShared;
use crate::version::Version;

/// How long to wait before trying again after an instance could not be made.
const START_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The lane's instance of one version.
pub struct Instances {
    lane: Arc<Lane>,
    shared: Arc<PipelineShared>,
    side: Side,
    version: Arc<Version>,
    current: Option<Running>,
    not_before: Option<Instant>,
    counters: InstanceCounters,
}

/// An instance and how often it was called.
pub struct Running {
    guest: Box<dyn Guest>,
    calls: u64,
    /// Of its log lines that were dropped, so many are counted.
    counted_log_lines: u64,
    dropped_log_lines: Counter,
}

impl Running {
    /// A new one.
    fn new(guest: Box<dyn Guest>, dropped_log_lines: Counter) -> Self {
        Self { guest, calls: 0, counted_log_lines: 0, dropped_log_lines }
    }

    /// Goes on with one that was used before.
    fn used(guest: Box<dyn Guest>, dropped_log_lines: Counter) -> Self {
        let counted_log_lines = guest.dropped_log_lines();
        // What fails in it now may be what earlier calls left.
        Self { guest, calls: 1, counted_log_lines, dropped_log_lines }
    }

    /// One call.
    pub fn handle(&mut self, source: u32, partition: i32, batch: &Batch) -> Result<u32, CallError> {
        self.calls += 1;
        let answer = self.guest.handle(source, partition, batch);
        let dropped = self.guest.dropped_log_lines();
        self.dropped_log_lines.increment(dropped - self.counted_log_lines);
        self.counted_log_lines = dropped;
        answer
    }
}

impl Instances {
    /// Without an instance, unless one was made beforehand.
    pub fn new(lane: Arc<Lane>, shared: Arc<PipelineShared>, side: Side, version: Arc<Version>) -> Self {
        let counters = InstanceCounters::register(&shared.name);
        let mut instances =
            Self { lane, shared, side, version: version.clone(), current: None, not_before: None, counters };
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
            self.started(Running::new(instance, self.counters.dropped_log_lines.clone()));
        }
        old
    }

    /// Goes on with an instance that was used before. Gives the one back that was made for it.
    pub fn resume_with(&mut self, guest: Box<dyn Guest>) -> Option<Box<dyn Guest>> {
        let unused = self.current.take().map(|running| running.guest);
        self.started(Running::used(guest, self.counters.dropped_log_lines.clone()));
        unused
    }

    /// The version whose instance this is.
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

    fn started(&mut self, running: Running) {
        let guest = &running.guest;
        self.lane.set_canceller(self.side, guest.canceller());
        *self.lane.trouble.lock() = None;
        self.lane.memory_bytes.store(guest.memory_bytes() as usize, Ordering::Relaxed);
        self.not_before = None;
        self.current = Some(running);
    }

    fn start(&mut self, now: Instant) -> Result<(), Instant> {
        match self.version.handler.start(&spec(&self.version.settings, self.lane.index)) {
            Ok(instance) => {
                self.started(Running::new(instance, self.counters.dropped_log_lines.clone()));
                Ok(())
            }
            Err(error) => {
                let text = format!("handler cannot start: {error}");
                let mut trouble = self.lane.trouble.lock();
                if trouble.as_deref() != Some(&text) {
                    tracing::error!(pipeline = %self.shared.name, lane = self.lane.index, "{text}");
                    *trouble = Some(text);
                }
                let again = now + START_RETRY_DELAY;
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
        self.counters.recycled.increment(1);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// Drops three more log lines with each call, and two when it is made.
    struct Chatty {
        dropped: u64,
        emitted: Emitted,
    }

    impl Guest for Chatty {
        fn handle(&mut self, _: u32, _: i32, batch: &Batch) -> Result<u32, CallError> {
            self.dropped += 3;
            Ok(batch.len() as u32)
        }

        fn emitted(&self) -> &Emitted {
            &self.emitted
        }

        fn failures(&self) -> &[Failure] {
            &[]
        }

        fn dropped_log_lines(&self) -> u64 {
            self.dropped
        }
    }

    #[test]
    fn each_dropped_log_line_of_an_instance_is_counted_once() {
        let total = Arc::new(AtomicU64::new(0));
        let counted = || total.load(Ordering::Relaxed);
        let mut running = Running::new(
            Box::new(Chatty { dropped: 2, emitted: Emitted::default() }),
            Counter::from_arc(total.clone()),
        );
        let call = |running: &mut Running| running.handle(0, 0, &Batch::new()).map(drop).expect("it works");
        call(&mut running);
        assert_eq!(counted(), 5, "two of its start, three of the call");
        call(&mut running);
        assert_eq!(counted(), 8);
        let mut used = Running::used(running.guest, Counter::from_arc(total.clone()));
        call(&mut used);
        assert_eq!(counted(), 11);
    }
}
