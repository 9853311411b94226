//! An instance: one running copy of a plugin, with its own store. It serves one lane and is over after its first error.

use std::sync::Arc;

use wasmill_core::{Batch, Emitted, ErrorClass, Failure, Growth};
use wasmtime::component::Instance as ComponentInstance;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::deadline::Canceller;
use crate::error::{CallError, LoadError, StartError, Stop};
use crate::plugin::Plugin;
use crate::spec::{InstanceSpec, Limits, LogLevel, LogSink};
use crate::state::State;
use crate::world::World;
use crate::{batches, init, messages, text};

/// Bytes of a backtrace's text; function names are the guest's and can be long.
const BACKTRACE_BYTES: usize = 16 * 1024;
/// Resource handles of an instance at a time; they live in the host's memory.
const HANDLES: usize = 10_000;
const MESSAGE_BYTES: usize = 2 * 1024;

/// One running copy of a plugin.
pub struct Instance {
    store: Store<State>,
    handle: Handle,
    limits: Limits,
    canceller: Canceller,
    growth: Growth,
    due: bool,
    /// The error after which nothing is called any more: a trap leaves the guest's memory in any state.
    over: Option<CallError>,
}

enum Handle {
    Batches(batches::Handle),
    Messages(messages::Handle),
}

/// Here and not beside the rest of it: an instance knows its plugin, and a plugin none of its instances.
impl Plugin {
    /// Starts an instance: new memory, `init` called.
    ///
    /// # Errors
    /// Among others if it asks for something that `spec` does not grant: whoever forgot to check is refused here.
    pub fn instantiate(&self, spec: &InstanceSpec) -> Result<Instance, StartError> {
        self.check(spec.grants)?;
        Instance::start(self, spec)
    }

    /// Makes an instance and drops it, without `init`: for whoever can afford that it goes wrong. Code of the guest runs if
    /// it has some that runs by itself.
    ///
    /// # Errors
    /// As [`Plugin::instantiate`].
    pub fn rehearse(&self, limits: &Limits) -> Result<(), StartError> {
        let spec = InstanceSpec {
            pipeline: String::new(),
            group: String::new(),
            config: Vec::new(),
            grants: self.needs(),
            limits: limits.clone(),
            outputs: Default::default(),
            sources: Default::default(),
            log: Arc::new(Silent),
        };
        let mut store = store(self, &spec);
        instantiate(&mut store, self).map(drop).map_err(|error| start_error(&store, &error))
    }
}

struct Silent;

impl LogSink for Silent {
    fn write(&self, _: LogLevel, _: &str) {}
}

/// A store within the limits, whose time to start begins now.
fn store(plugin: &Plugin, spec: &InstanceSpec) -> Store<State> {
    let mut store = Store::new(plugin.pre().engine(), State::new(spec));
    store.data_mut().limiter.begin_with(plugin.footprint().fixed);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(lifted_bytes(&spec.limits));
    store.set_max_component_handles(HANDLES);
    store.epoch_deadline_callback(|mut cx| match cx.data_mut().watch.check() {
        Ok(()) => Ok(UpdateDeadline::Continue(1)),
        Err(stop) => Err(stop.into()),
    });
    store.set_epoch_deadline(1);
    let init_time = spec.limits.init_time;
    store.data_mut().watch.start(init_time, init_time.saturating_add(spec.limits.time_cap));
    store
}

/// Instantiates within the time to start. It is mostly the host's own work, in which no epoch ends, and bounded by the
/// footprint: the clock is read before it and behind it.
fn instantiate(store: &mut Store<State>, plugin: &Plugin) -> wasmtime::Result<ComponentInstance> {
    plugin.footprint().fits(store.data().limiter.limit() as u64)?;
    store.data_mut().watch.check()?;
    let instance = plugin.pre().instantiate(&mut *store)?;
    store.data_mut().watch.check()?;
    Ok(instance)
}

impl Instance {
    fn start(plugin: &Plugin, spec: &InstanceSpec) -> Result<Self, StartError> {
        let mut store = store(plugin, spec);
        let started = start(&mut store, plugin, spec);
        store.data_mut().settle_log();
        let handle = started.map_err(|error| match error {
            Ok(refusal) => StartError::Refused(refusal),
            Err(error) => start_error(&store, &error),
        })?;
        let canceller = store.data().watch.canceller().clone();
        let growth = Growth::new(spec.limits.memory_bytes);
        Ok(Self { store, handle, limits: spec.limits.clone(), canceller, growth, due: false, over: None })
    }

    /// Hands a sealed batch of one partition over and says how many messages the guest reached, which is at most
    /// `batch.len()`. What it emitted and which messages it did not acknowledge is in `emitted` and `failures` until
    /// the next call.
    ///
    /// # Errors
    /// The call failed as a whole, and nothing it said counts. Every later call fails at once: the instance must be
    /// replaced. (A call that was not begun because of a canceller is the exception.)
    pub fn handle(&mut self, source: u32, partition: i32, batch: &Batch) -> Result<u32, CallError> {
        if let Some(over) = &self.over {
            let message = format!("the instance has failed and must be replaced: {}", over.message);
            return Err(CallError { class: over.class, message, backtrace: None });
        }
        self.store.data_mut().outcome_mut().clear();
        if self.canceller.is_cancelled() {
            let message = "the call was cancelled before it began".to_owned();
            return Err(CallError { class: ErrorClass::Cancelled, message, backtrace: None });
        }
        if batch.is_empty() {
            return Ok(0);
        }
        self.begin(batch);
        let called = match &self.handle {
            Handle::Batches(handle) => handle.call(&mut self.store, source, partition, batch),
            Handle::Messages(handle) => {
                handle.call(&mut self.store, source, partition, batch, self.limits.time_per_message)
            }
        };
        self.store.data_mut().outcome_mut().close();
        self.store.data_mut().settle_log();
        let result = called.map_err(|error| call_error(&self.store, &error)).and_then(|reached| {
            if reached as usize <= batch.len() {
                return Ok(reached);
            }
            let lie = Stop::protocol(format!("handle reached {reached} of {} messages", batch.len()));
            Err(CallError { class: lie.class(), message: lie.to_string(), backtrace: None })
        });
        match &result {
            Ok(_) => self.due = self.growth.is_due(self.memory_bytes()),
            Err(error) => {
                self.over = Some(error.clone());
                self.store.data_mut().outcome_mut().clear();
            }
        }
        result
    }

    fn begin(&mut self, batch: &Batch) {
        let messages = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let limits = &self.limits;
        let allowed = limits.time_per_message.saturating_mul(messages);
        let state = self.store.data_mut();
        state.outcome_mut().open(batch);
        state.limiter.forget_refusal();
        state.log.words.forget();
        state.watch.start(allowed, limits.time_cap);
        self.store.set_epoch_deadline(1);
    }

    /// What the last call emitted, checked. Empty unless it returned `Ok`. A span below the length of the batch's data
    /// refers to the batch, so it is read together with that batch.
    pub fn emitted(&self) -> &Emitted {
        &self.store.data().outcome().emitted
    }

    /// The messages that the last call did not acknowledge, in the order in which the guest named them, each once.
    pub fn failures(&self) -> &[Failure] {
        &self.store.data().outcome().failures
    }

    /// Ends this instance's running call from another thread.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Bytes that the instance holds: linear memories, tables, globals and function references.
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().limiter.memory_bytes()
    }

    /// Whether its memory has grown so far that a new instance should take over before the next batch, once what the last
    /// call emitted is dealt with. It still works; but one that never gives memory back ends in the middle of a batch.
    pub fn is_due_for_replacement(&self) -> bool {
        self.due
    }

    /// Log lines dropped since the instance was made, because it wrote more than `Limits::log_lines_per_second`. The log
    /// says how many were lost each time; this is their sum, for a metric.
    pub fn dropped_log_lines(&self) -> u64 {
        self.store.data().log.dropped()
    }
}

/// Instantiates and runs `init`. `Err(Ok(text))` is a refusal by the handler.
fn start(
    store: &mut Store<State>,
    plugin: &Plugin,
    spec: &InstanceSpec,
) -> Result<Handle, Result<String, wasmtime::Error>> {
    let instance = instantiate(store, plugin).map_err(Err)?;
    init::call(store, instance, spec, plugin.digest()).map_err(Err)?.map_err(Ok)?;
    match plugin.world() {
        World::Batches => batches::Handle::find(store, instance).map(Handle::Batches),
        World::Messages => messages::Handle::find(store, instance).map(Handle::Messages),
    }
    .map_err(Err)
}

/// How many bytes one call may have lifted out of guest memory: nested values can say the same bytes again and again.
fn lifted_bytes(limits: &Limits) -> usize {
    limits
        .output_bytes
        .saturating_mul(2)
        .saturating_add(limits.output_messages.saturating_mul(256))
        .saturating_add(1 << 20)
}

fn start_error(store: &Store<State>, error: &wasmtime::Error) -> StartError {
    if store.data().limiter.refused().is_some() || error.is::<LoadError>() {
        return StartError::Memory;
    }
    if error.is::<Trap>() || error.is::<Stop>() {
        let error = call_error(store, error);
        return match error.class {
            ErrorClass::Deadline => StartError::Deadline,
            ErrorClass::TimeCap => StartError::TimeCap(error.message),
            _ => StartError::Trap(error.full()),
        };
    }
    StartError::Imports(text::clean(&format!("{error:#}"), MESSAGE_BYTES))
}

fn call_error(store: &Store<State>, error: &wasmtime::Error) -> CallError {
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .filter(|backtrace| !backtrace.frames().is_empty())
        .map(|backtrace| frames(&backtrace.to_string()));
    let (class, mut message) = describe(store, error);
    // What ended by itself said why, if anybody did; what the host ended has its reason already.
    if let ErrorClass::Trap | ErrorClass::Memory = class
        && let Some(words) = store.data().log.words.last()
    {
        message = format!("{message}: {words}");
    }
    if let (ErrorClass::Trap, Some(asked)) = (class, backtrace.as_deref().and_then(stubbed)) {
        message = format!("{message}: the handler asked for {asked}, which it does not have");
    }
    CallError { class, message: text::clean(&message, MESSAGE_BYTES), backtrace }
}

/// The frames of the runtime's text: it demangles the names, which its other form does not.
fn frames(backtrace: &str) -> String {
    let frames: Vec<&str> = backtrace.lines().skip(1).map(str::trim).collect();
    text::clean_lines(&frames.join("\n"), BACKTRACE_BYTES)
}

/// What a handler asked for that was built without WASI: some toolchains put a trap in its place, which says nothing. Told by
/// the C library's functions in the first frames.
fn stubbed(backtrace: &str) -> Option<&'static str> {
    const FUNCTIONS: [(&str, &str); 4] = [
        ("!wall_clock_now", "the time (a message has a `timestamp`)"),
        ("!monotonic_clock_now", "the time (a message has a `timestamp`)"),
        ("!random_get_random_bytes", "random numbers"),
        ("!filesystem_preopens_get_directories", "a file"),
    ];
    let first: Vec<&str> = backtrace.lines().take(5).collect();
    let came_through = |name: &str| first.iter().any(|frame| frame.contains(name));
    FUNCTIONS.into_iter().find(|(name, _)| came_through(name)).map(|(_, what)| what)
}

fn describe(store: &Store<State>, error: &wasmtime::Error) -> (ErrorClass, String) {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return (stop.class(), stop.to_string());
    }
    let limiter = &store.data().limiter;
    if let Some(wanted) = limiter.refused() {
        let limit = limiter.limit();
        return (ErrorClass::Memory, format!("the handler wanted {wanted} bytes of memory; its limit is {limit}"));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let trap = trap.to_string();
        let what = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
        return (ErrorClass::Trap, format!("the handler trapped: {what}"));
    }
    let root = error.root_cause().to_string();
    // The runtime keeps this error's type to itself.
    if root.contains("fuel allocated for hostcalls") {
        return (ErrorClass::OutputLimit, "output limit: the call gave the host too much data at once".to_owned());
    }
    // What is left are values that break the canonical ABI: lists outside of memory, text that is not UTF-8.
    (ErrorClass::Protocol, format!("the handler broke the contract: {root}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_in_the_place_of_wasi_says_what_was_asked_for() {
        let frames = "0: 0xade0b9 - <unknown>!<wasm function 0>\n1: 0xaf2928 - libc.so!wall_clock_now\n";
        assert_eq!(stubbed(frames), Some("the time (a message has a `timestamp`)"));
        assert_eq!(stubbed("0: 0x1 - handler.wasm!run\n"), None);
        // A handler's own function of that name, far up, is no reason.
        let far = "0: 0x1 - x!a\n".repeat(6) + "6: 0x1 - x!wall_clock_now\n";
        assert_eq!(stubbed(&far), None);
    }
}
