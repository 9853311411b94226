//! Compiling: a process of its own compiles a handler, within limits, into the cache; this process takes it from there.
//!
//! A compiler is a large program that reads somebody else's bytes. By itself it can only exhaust its own memory and
//! crash alone, the pollers come first where processors are short, and no partition waits for it.

use std::io::{Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, nice, set_parent_process_death_signal, setrlimit};
use wasmill_config as config;
use wasmill_wasm::{Engine, EngineOptions, Limits, LoadError, LoadKind};

use super::room;
use crate::explain;

/// The hidden command of this program that compiles: [`compile_here`], with `--cache`, `--memory` and `--time`.
pub const COMMAND: &str = "compile-handler";
/// How that command ends if the handler is refused.
pub const REFUSED_EXIT_CODE: u8 = 3;
/// What is read of what the compiler says.
const REASON_BYTES: u64 = 16 << 10;
/// Seconds that a compiler nobody waits for may go on.
const CPU_SLACK_SECONDS: u64 = 5;
/// With less no handler was seen to compile.
const LEAST_COMPILE_BYTES: u64 = 96 << 20;
/// How much later than everything else the compiler gets a processor: nearly last.
const COMPILER_NICENESS: i32 = 15;

/// Signals by which somebody asks a process to end.
const ASKED_TO_END: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// Why there is no plugin.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unloadable {
    /// What was asked of it.
    pub kind: LoadKind,
    /// What it lacks, or what became of the compiler.
    pub reason: String,
}

/// The compiler's process came to no answer.
impl From<anyhow::Error> for Unloadable {
    fn from(error: anyhow::Error) -> Self {
        Self { kind: LoadKind::Compile, reason: explain(&error) }
    }
}

/// Opens the engine over a cache of compiled handlers.
pub(super) fn open_engine(cache: Option<PathBuf>) -> anyhow::Result<Engine> {
    Ok(Engine::new(&EngineOptions { cache_directory: cache, ..EngineOptions::default() })?)
}

/// The bound of a compiler: what the configuration says, or what there is room for if that is less.
///
/// # Errors
/// There is too little room; the error has the figures.
fn bounded(limits: &config::Limits, room: Option<&room::Room>) -> Result<(u64, String), Unloadable> {
    let configured = (limits.compile_memory_bytes, "hint: limits.compile_memory".to_owned());
    let Some(room) = room else { return Ok(configured) };
    // What is left over is for this process, which goes on meanwhile.
    let bytes = room.bytes / 8 * 7;
    if bytes >= configured.0 {
        return Ok(configured);
    }
    if bytes < LEAST_COMPILE_BYTES {
        let least = bytesize::ByteSize(LEAST_COMPILE_BYTES);
        return Err(Unloadable {
            kind: LoadKind::Compile,
            reason: format!(
                "to compile it takes {least} at least, and {room}; hint: raise that limit, or lower `memory`"
            ),
        });
    }
    Ok((bytes, format!("as {room}; hint: raise that limit")))
}

/// Has another process compile these bytes. They go through a pipe: a file could be another by the time it is read.
pub(super) fn compile_apart(bytes: &[u8], cache: &Path, limits: &config::Limits) -> Result<(), Unloadable> {
    let (memory, why) = bounded(limits, room::for_a_process().as_ref())?;
    let (status, said) = run_apart(bytes, cache, limits, memory)?;
    if status.success() {
        return Ok(());
    }
    // It came to an answer, and the answer is no.
    if status.code() == Some(i32::from(REFUSED_EXIT_CODE))
        && let Some((kind, reason)) = said.split_once('\n')
        && let Some(kind) = LoadKind::ALL.into_iter().find(|one| one.as_str() == kind)
    {
        return Err(Unloadable { kind, reason: reason.trim().to_owned() });
    }
    // Not by its limits: somebody ended it, as a supervisor does that sends its signal to all processes.
    if let Some(signal) = status.signal().filter(|signal| ASKED_TO_END.iter().any(|one| one.as_raw() == *signal)) {
        return Err(anyhow::anyhow!("the process that compiles it was asked to end (signal {signal})").into());
    }
    let error = anyhow::anyhow!(
        "the process that compiles it ended with {status}; it may use {}; {why}\n{}",
        bytesize::ByteSize(memory),
        said.trim()
    );
    Err(error.into())
}

/// How that process ended, and what it said.
fn run_apart(
    bytes: &[u8],
    cache: &Path,
    limits: &config::Limits,
    memory: u64,
) -> anyhow::Result<(std::process::ExitStatus, String)> {
    let mut child = Command::new(this_program()?)
        .arg(COMMAND)
        .arg("--cache")
        .arg(cache)
        .args(["--parent", &std::process::id().to_string()])
        .args(["--memory", &memory.to_string()])
        .args(["--instance-memory", &limits.memory_bytes.to_string()])
        .args(["--init-time", &limits.init_time.as_millis().to_string()])
        .args(["--time", &limits.compile_time.as_secs().max(1).to_string()])
        // The allocator reserves a gigabyte at first, which the bound on its memory would count: nothing smaller could hold.
        .env("MIMALLOC_ARENA_RESERVE", "0")
        // Whoever is out of memory and writes down where stands still for ever if that takes memory too.
        .env("RUST_BACKTRACE", "0")
        // A Ctrl-C is for the one who asked, which ends in good order; it goes to all processes of the terminal's group.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the process that compiles it")?;
    if let Some(mut input) = child.stdin.take() {
        // One that ended early says why in another way.
        let _ = input.write_all(bytes);
    }
    let said = wait(&mut child, limits.compile_time)?;
    let status = child.wait().context("the process that compiles it")?;
    Ok((status, said))
}

/// What the process said until it ended, or until its time was up: then it is ended.
fn wait(child: &mut Child, time: Duration) -> anyhow::Result<String> {
    let Some(said) = child.stderr.take() else { return Ok(String::new()) };
    let (done, ended) = mpsc::channel();
    std::thread::Builder::new().name("compile".to_owned()).spawn(move || {
        let mut text = Vec::new();
        // Standard error closes when the process ends: that is the event which is waited for.
        let _ = said.take(REASON_BYTES).read_to_end(&mut text);
        let _ = done.send(String::from_utf8_lossy(&text).into_owned());
    })?;
    ended.recv_timeout(time).or_else(|_| {
        child.kill().ok();
        child.wait().ok();
        bail!("it was not compiled within {}; hint: limits.compile_time", humantime::format_duration(time))
    })
}

/// The program that runs, even if its file was replaced meanwhile: another version has another cache.
fn this_program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { Ok(std::env::current_exe()?) }
}

/// Compiles the handler on standard input into `cache`, within these bounds. False: it is refused, and why was written to
/// standard error.
///
/// # Errors
/// There was no answer: the bounds could not be set, nothing could be read, or there is no engine.
pub fn compile_here(cache: PathBuf, parent: i32, bounds: &Bounds) -> anyhow::Result<bool> {
    end_with(parent)?;
    bounds.set().context("cannot set the limits of the compiler")?;
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read the handler")?;
    let engine = open_engine(Some(cache))?;
    // An instance is made here first, where it can hurt nobody.
    let tried = engine.load(&bytes).and_then(|plugin| {
        bounds.let_an_instance_be();
        let limits = Limits { memory_bytes: bounds.instance_memory, init_time: bounds.init_time, ..Limits::default() };
        plugin.rehearse(&limits).map_err(|error| LoadError::Instance(error.to_string()))
    });
    let Err(error) = tried else { return Ok(true) };
    // In what it lacks, then by itself and in full: whoever asked adds which handler it is.
    let _ = write!(std::io::stderr(), "{}\n{:#}", error.kind().as_str(), anyhow::Error::from(error));
    Ok(false)
}

/// Ends this process with its parent, however that ends: a compiler that nobody waits for would go on taking what it may.
fn end_with(parent: i32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be told of the end of who asked")?;
    // It may have ended before.
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    anyhow::ensure!(now == Some(parent), "who asked for it has ended");
    Ok(())
}

/// What a compiler may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory: u64,
    /// Seconds.
    pub time: u64,
    /// Bytes that an instance may take, once it is compiled.
    pub instance_memory: u64,
    /// How long that may take.
    pub init_time: Duration,
}

impl Bounds {
    fn set(&self) -> anyhow::Result<()> {
        // What holds around this process holds for it as well: limits are lowered and never raised.
        let lower = |resource: Resource, current: u64, maximum: u64| {
            let found = getrlimit(resource);
            let maximum = found.maximum.map_or(maximum, |around| around.min(maximum));
            let current = found.current.map_or(current, |around| around.min(current)).min(maximum);
            setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })
        };
        lower(Resource::Data, self.memory, self.memory.saturating_add(self.instance_memory))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        // Whoever asked keeps the time; this is for when they are gone.
        let seconds = (self.time + CPU_SLACK_SECONDS).saturating_mul(processors);
        lower(Resource::Cpu, seconds, seconds)?;
        // A crash is told by the one who asked; a core file of gigabytes helps nobody.
        lower(Resource::Core, 0, 0)?;
        // Both are favours: where they are not granted it goes on without.
        let _ = nice(COMPILER_NICENESS);
        let _ = std::fs::write("/proc/self/oom_score_adj", "800");
        Ok(())
    }

    /// The compiler is done: what an instance may take comes on top of what it took.
    fn let_an_instance_be(&self) {
        let maximum = getrlimit(Resource::Data).maximum;
        let _ = setrlimit(Resource::Data, Rlimit { current: maximum, maximum });
    }
}
