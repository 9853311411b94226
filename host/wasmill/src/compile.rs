//! Loading a handler: a process of its own compiles it, within limits, into the cache; this process takes it from there.
//!
//! A compiler is a large program that reads somebody else's bytes. By itself it can only exhaust its own memory and
//! crash alone, the pollers come first where processors are short, and no partition waits for it.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use wasmill_config as config;
use wasmill_wasm::{Engine, EngineOptions, LoadKind, Plugin, digest};

use crate::app::{Exit, Failure, told};
use crate::oci;
use crate::pipeline::instances;
use crate::swap::gate;

/// The hidden command that compiles.
const COMMAND: &str = "compile-handler";
/// What is read of what the compiler says.
const REASON_BYTES: u64 = 16 << 10;
/// Seconds that a compiler nobody waits for may go on.
const SLACK: u64 = 5;
/// How much later than everything else the compiler gets a processor: nearly last.
const NICE: i32 = 15;

/// Loads handlers. Cheap to clone.
#[derive(Clone)]
pub struct Loader {
    engine: Engine,
    /// `None`: there is no folder that only the owner can write, and the handler is compiled in this process.
    cache: Option<PathBuf>,
    /// The handlers that were loaded last, the latest last: who swaps to and fro need not start a compiler each time, which
    /// takes a processor from the lanes.
    recent: Arc<Mutex<VecDeque<Plugin>>>,
}

/// So many of them.
const RECENT: usize = 16;

/// The bytes of a handler, and where they are from.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// A component, or what is to be made one.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes in hexadecimal, as [`Plugin::digest`] has it.
    pub digest: String,
    /// The path or the reference, as it was typed.
    pub source: String,
    /// Of a handler from a registry, the digest of its artifact.
    pub artifact: Option<String>,
    /// For whoever answers for it: the registry did not answer, so it may not be what the reference means today; or it is
    /// not kept for when the registry does not answer.
    pub warning: Option<String>,
}

impl Loader {
    /// Opens the engine over a cache of compiled handlers.
    pub fn open(cache: Option<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self { engine: open_engine(cache.clone())?, cache, recent: Arc::default() })
    }

    /// Reads or fetches, compiles and checks the handler of a pipeline, and whether it asks for no more than the pipeline
    /// grants. Runs nothing of it.
    pub fn load(&self, pipeline: &config::Pipeline) -> anyhow::Result<Plugin> {
        self.load_fetched(pipeline, &self.fetch_for(pipeline)?)
    }

    /// Reads or fetches the handler of a pipeline, no more of it than the pipeline allows.
    pub fn fetch_for(&self, pipeline: &config::Pipeline) -> anyhow::Result<Fetched> {
        let fetched = self.fetch(&pipeline.handler, pipeline.limits.component_bytes, oci::Offline::Allowed);
        let fetched = fetched.with_context(|| format!("pipeline {}", pipeline.name))?;
        if let Some(warning) = &fetched.warning {
            tracing::warn!(pipeline = %pipeline.name, "{warning}");
        }
        if let Some(artifact) = &fetched.artifact {
            let (handler, sha256) = (&fetched.source, &fetched.digest);
            tracing::info!(pipeline = %pipeline.name, handler, artifact, sha256, "handler fetched");
        }
        Ok(fetched)
    }

    /// Reads a handler's file, or fetches it from its registry, which takes as long as that takes to answer. `most`: bytes
    /// that it may have.
    ///
    /// # Errors
    /// There is none, it is too large, or it is not to be had.
    pub fn fetch(&self, handler: &config::Handler, most: u64, offline: oci::Offline) -> anyhow::Result<Fetched> {
        let source = handler.to_string();
        match handler {
            config::Handler::File(path) => {
                let cannot = || format!("cannot read handler {source}; hint: build it first");
                let size = std::fs::metadata(path).with_context(cannot)?.len();
                gate::fits(size, most).with_context(|| format!("handler {source}"))?;
                let bytes = std::fs::read(path).with_context(cannot)?;
                Ok(Fetched { digest: digest(&bytes), bytes, source, artifact: None, warning: None })
            }
            config::Handler::Oci(reference) => {
                let folder = self.cache.as_deref().map(plugins);
                let pulled =
                    oci::pull(reference, folder.as_deref(), most, offline).context("cannot fetch the handler")?;
                let warning = match &pulled.from {
                    oci::Source::Remembered(reason) => Some(format!(
                        "{source} is {} from the cache, as it was last seen, because {reason}",
                        pulled.digest
                    )),
                    oci::Source::Registry | oci::Source::Cache => {
                        pulled.unkept.map(|why| format!("{source} is not kept for a start without its registry: {why}"))
                    }
                };
                let (digest, artifact) = (digest(&pulled.bytes), Some(pulled.digest));
                Ok(Fetched { digest, bytes: pulled.bytes, source, artifact, warning })
            }
        }
    }

    /// Compiles and checks a handler that was fetched, and whether it asks for no more than the pipeline grants. Runs
    /// nothing of it.
    pub fn load_fetched(&self, pipeline: &config::Pipeline, fetched: &Fetched) -> anyhow::Result<Plugin> {
        let load = || -> anyhow::Result<Plugin> {
            let plugin = self.compile(&fetched.bytes, &pipeline.limits)?;
            plugin.check(instances::grants(pipeline))?;
            Ok(plugin)
        };
        load().with_context(|| format!("pipeline {}: handler {}", pipeline.name, fetched.source))
    }

    /// Compiles and checks a handler. Runs nothing of it.
    ///
    /// # Errors
    /// [`Unloadable`]: it is none, or it could not be compiled within the limits.
    pub fn compile(&self, bytes: &[u8], limits: &config::Limits) -> Result<Plugin, Unloadable> {
        let digest = digest(bytes);
        let known = self.recent().iter().find(|plugin| plugin.digest() == digest).cloned();
        if let Some(plugin) = known {
            return Ok(plugin);
        }
        if let Some(cache) = &self.cache {
            compile_apart(bytes, cache, limits)?;
        }
        let loaded = self.engine.load(bytes);
        let plugin = loaded.map_err(|error| Unloadable { kind: error.kind(), reason: error.to_string() })?;
        let mut recent = self.recent();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(plugin.clone());
        Ok(plugin)
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Plugin>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        Self { kind: LoadKind::Compile, reason: told(&error) }
    }
}

/// Where plugins from registries are kept: beside those that are compiled.
pub fn plugins(compiled: &Path) -> PathBuf {
    compiled.with_file_name("plugins")
}

fn open_engine(cache: Option<PathBuf>) -> anyhow::Result<Engine> {
    Ok(Engine::new(&EngineOptions { cache_directory: cache, ..EngineOptions::default() })?)
}

/// Has another process compile these bytes. They go through a pipe: a file could be another by the time it is read.
fn compile_apart(bytes: &[u8], cache: &Path, limits: &config::Limits) -> Result<(), Unloadable> {
    let (status, said) = run_apart(bytes, cache, limits)?;
    if status.success() {
        return Ok(());
    }
    // It came to an answer, and the answer is no.
    if status.code() == Some(i32::from(Exit::Start as u8))
        && let Some((kind, reason)) = said.split_once('\n')
        && let Some(kind) = LoadKind::ALL.into_iter().find(|one| one.as_str() == kind)
    {
        return Err(Unloadable { kind, reason: reason.trim().to_owned() });
    }
    let error = anyhow::anyhow!(
        "the process that compiles it ended with {status}; it may use {}; hint: limits.compile_memory\n{}",
        bytesize::ByteSize(limits.compile_memory_bytes),
        said.trim()
    );
    Err(error.into())
}

/// How that process ended, and what it said.
fn run_apart(
    bytes: &[u8],
    cache: &Path,
    limits: &config::Limits,
) -> anyhow::Result<(std::process::ExitStatus, String)> {
    let mut child = Command::new(this_program()?)
        .arg(COMMAND)
        .arg("--cache")
        .arg(cache)
        .args(["--memory", &limits.compile_memory_bytes.to_string()])
        .args(["--time", &limits.compile_time.as_secs().max(1).to_string()])
        // The allocator reserves a gigabyte at first, which the bound on its memory would count: nothing smaller could hold.
        .env("MIMALLOC_ARENA_RESERVE", "0")
        // Whoever is out of memory and writes down where stands still for ever if that takes memory too.
        .env("RUST_BACKTRACE", "0")
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

/// Compile the handler on standard input into the cache
#[derive(Debug, clap::Args)]
pub struct CompileHandler {
    /// The folder of compiled handlers
    #[arg(long)]
    cache: PathBuf,
    /// Bytes of memory that it may take
    #[arg(long)]
    memory: u64,
    /// Seconds that it may take
    #[arg(long)]
    time: u64,
}

impl CompileHandler {
    /// Compiles. Exit 3: the handler is none.
    pub fn run(self) -> Result<Exit, Failure> {
        self.limit().context("cannot set the limits of the compiler").map_err(Failure::from)?;
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read the handler")?;
        let engine = open_engine(Some(self.cache))?;
        match engine.load(&bytes) {
            Ok(_) => Ok(Exit::Done),
            Err(error) => {
                // In what it lacks, then by itself and in full: whoever asked adds which handler it is.
                let _ = write!(std::io::stderr(), "{}\n{:#}", error.kind().as_str(), anyhow::Error::from(error));
                Ok(Exit::Start)
            }
        }
    }

    fn limit(&self) -> anyhow::Result<()> {
        let at_most = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(Resource::Data, at_most(self.memory))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        // Whoever asked keeps the time; this is for when they are gone.
        setrlimit(Resource::Cpu, at_most((self.time + SLACK).saturating_mul(processors)))?;
        // A crash is told by the one who asked; a core file of gigabytes helps nobody.
        setrlimit(Resource::Core, at_most(0))?;
        // Both are favours: where they are not granted it goes on without.
        let _ = nice(NICE);
        let _ = std::fs::write("/proc/self/oom_score_adj", "800");
        Ok(())
    }
}
