//! The instance of a lane: made when it is first needed, thrown away after a crash, for a new assignment, and when its
//! memory only grows; replaced by one that was made beforehand when the lane passes on to another version.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wasmill_config as config;
use wasmill_core::{Batch, Emitted, Failure, Grant, Grants};
use wasmill_wasm::{CallError, Instance, InstanceSpec, Limits, OutputNames, Plugin};

use super::counters;
use super::lane::{Lane, Side};
use super::shared::PipelineShared;
use super::version::Version;
use crate::telemetry::HandlerLog;

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
    instance: Instance,
    calls: u64,
}

impl Running {
    /// One call.
    pub fn handle(&mut self, source: u32, partition: i32, batch: &Batch) -> Result<u32, CallError> {
        self.calls += 1;
        self.instance.handle(source, partition, batch)
    }
}

/// What a pipeline grants to its handler.
pub fn grants(settings: &config::Pipeline) -> Grants {
    let grant = |one: &config::Grant| match one {
        config::Grant::Clock => Grant::Clock,
        config::Grant::Random => Grant::Random,
    };
    settings.grant.iter().map(grant).collect()
}

/// The topics that a pipeline's handler may name, by number.
pub fn output_names(settings: &config::Pipeline) -> OutputNames {
    OutputNames { default: settings.output.default.clone(), granted: settings.output.granted.clone() }
}

/// What an instance of a pipeline's handler is made with.
pub fn spec(settings: &config::Pipeline, lane: usize) -> InstanceSpec {
    let limits = &settings.limits;
    InstanceSpec {
        pipeline: settings.name.clone(),
        group: settings.group.clone(),
        config: settings.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        grants: grants(settings),
        limits: Limits {
            memory_bytes: limits.memory_bytes,
            time_per_message: limits.time,
            time_cap: limits.time_cap,
            init_time: limits.init_time,
            output_messages: limits.output_messages,
            output_bytes: limits.output_bytes,
            log_line_bytes: limits.log_line_bytes,
            log_lines_per_second: limits.log_lines_per_second,
        },
        outputs: Arc::new(output_names(settings)),
        sources: Arc::new(settings.topics.clone()),
        log: Arc::new(HandlerLog::new(&settings.name, lane)),
    }
}

/// Makes and drops an instance, so that a handler that cannot start is noticed before anything is consumed.
pub fn rehearse(plugin: &Plugin, settings: &config::Pipeline) -> Result<(), wasmill_wasm::StartError> {
    plugin.instantiate(&spec(settings, 0)).map(drop)
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
    pub fn replace(&mut self, version: Arc<Version>) -> Option<Instance> {
        let old = self.current.take().map(|running| running.instance);
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
    pub fn resume_with(&mut self, instance: Instance) -> Option<Instance> {
        let unused = self.current.take().map(|running| running.instance);
        self.started(instance);
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
    pub fn give_up(mut self) -> Option<Instance> {
        self.lane.set_canceller(self.side, None);
        self.current.take().map(|running| running.instance)
    }

    /// The instance to call, a new one if need be; or when to ask again.
    pub fn ready(&mut self, now: Instant) -> Result<&mut Running, Instant> {
        if self.current.as_ref().is_some_and(|running| running.instance.is_due_for_replacement()) {
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

    fn started(&mut self, instance: Instance) {
        self.lane.set_canceller(self.side, Some(instance.canceller()));
        *lock(&self.lane.trouble) = None;
        self.lane.memory_bytes.store(instance.memory_bytes() as usize, Ordering::Relaxed);
        self.not_before = None;
        self.current = Some(Running { instance, calls: 0 });
    }

    fn start(&mut self, now: Instant) -> Result<(), Instant> {
        match self.version.plugin.instantiate(&spec(&self.version.settings, self.lane.index)) {
            Ok(instance) => {
                self.started(instance);
                Ok(())
            }
            Err(error) => {
                let text = format!("handler cannot start: {error}");
                let mut trouble = lock(&self.lane.trouble);
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
        let (memory, limit) = (running.instance.memory_bytes(), self.version.settings.limits.memory_bytes);
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
        self.current.as_ref().expect("a call was answered, so its instance is there").instance.emitted()
    }

    /// What the last call said of messages that are not acknowledged.
    pub fn failures(&self) -> &[Failure] {
        self.current.as_ref().map_or(&[], |running| running.instance.failures())
    }

    /// Notes how much memory the instance has, for status.
    pub fn observe_memory(&self) {
        if let Some(running) = &self.current {
            self.lane.memory_bytes.store(running.instance.memory_bytes() as usize, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
