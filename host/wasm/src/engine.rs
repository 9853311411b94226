//! The engine: how guests are compiled and interrupted. One for the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Config, EngineWeak, InstanceAllocationStrategy, WasmBacktraceDetails};

use crate::cache;
use crate::capabilities;
use crate::error::{EngineError, LoadError};
use crate::linkers::Linkers;
use crate::plugin::Plugin;

/// Frames kept of a trap's backtrace.
const FRAMES: u8 = 20;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where compiled code is kept between runs; made if it is missing, refused if others can write to it.
    /// `None`: compile each time.
    pub cache_directory: Option<PathBuf>,
    /// How often guests are asked whether they may go on; the precision of deadlines and cancellation.
    pub tick: Duration,
    /// The largest plugin that is accepted.
    pub plugin_bytes: u64,
    /// The version under which the contract's interfaces are linked: another patch than [`contract`](crate::contract)'s
    /// only in tests of what a later host does with the plugins of today.
    pub contract: String,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache_directory: None,
            tick: Duration::from_millis(2),
            plugin_bytes: 256 << 20,
            contract: capabilities::contract().to_owned(),
        }
    }
}

/// Compiles plugins. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    linkers: Linkers,
    plugin_bytes: u64,
}

impl Engine {
    /// Makes the engine and starts its epoch thread, which ends with the last plugin and instance.
    pub fn new(options: &EngineOptions) -> Result<Self, EngineError> {
        let mut config = config();
        if let Some(directory) = &options.cache_directory {
            config.cache(Some(cache::open(directory)?));
        }
        let runtime = |error: wasmtime::Error| EngineError::Runtime(format!("{error:#}"));
        let engine = wasmtime::Engine::new(&config).map_err(runtime)?;
        let linkers = Linkers::new(&engine, &options.contract).map_err(runtime)?;
        start_ticker(engine.weak(), options.tick).map_err(EngineError::Ticker)?;
        Ok(Self(Arc::new(Inner { engine, linkers, plugin_bytes: options.plugin_bytes })))
    }

    /// Checks and compiles a plugin: a component, or a core module with an embedded component type (as wit-bindgen
    /// leaves it), which is turned into a component. Takes from milliseconds to seconds; none of it runs guest code.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        let (size, limit) = (bytes.len() as u64, self.0.plugin_bytes);
        if size > limit {
            return Err(LoadError::TooLarge { size, limit });
        }
        Plugin::load(&self.0.engine, &self.0.linkers, bytes)
    }
}

fn config() -> Config {
    let mut config = Config::new();
    // Instances live long and their number is not known before the assignment is: a pool would be sized by guesswork.
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    // 32-bit memories then need no bounds checks; less costs a third of the speed.
    config.memory_reservation(4 << 30);
    config.epoch_interruption(true);
    config.max_wasm_stack(512 << 10);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(FRAMES.into()));
    // Function names only: lines would mean reading debug information that a guest wrote.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.wasm_memory64(false);
    // Results of a handler do not depend on the machine it runs on.
    config.relaxed_simd_deterministic(true);
    config
}

/// The thread by which deadlines and cancellation reach guests. It does nothing else, so that no guest can starve it.
fn start_ticker(engine: EngineWeak, tick: Duration) -> std::io::Result<()> {
    std::thread::Builder::new().name("wasmill-epoch".into()).stack_size(128 << 10).spawn(move || {
        loop {
            std::thread::sleep(tick);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    })?;
    Ok(())
}
