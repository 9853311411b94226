//! Loading a handler: from its file or its registry, compiled and checked.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use tempfile::TempDir;
use wasmill_config as config;
use wasmill_pipeline::handler_spec;
use wasmill_wasm::{Engine, Footprint, LoadError, Plugin, digest, private_directory};

use super::compiler::{Unloadable, compile_apart, open_engine};
use super::size;
use crate::oci;

/// Loads handlers. Cheap to clone.
#[derive(Clone)]
pub struct Loader {
    engine: Engine,
    /// `None`: there is no folder that only the owner can write, and the handler is compiled in this process.
    cache: Option<PathBuf>,
    /// The handlers that were loaded last, the latest last: who swaps to and fro need not start a compiler each time, which
    /// takes a processor from the lanes.
    recent: Arc<Mutex<VecDeque<Plugin>>>,
    /// A cache that ends with the process.
    _temporary: Option<Arc<TempDir>>,
}

/// The folder itself if nobody but its owner can write it, else a new one, which goes when it is dropped.
fn usable(folder: PathBuf) -> (Option<PathBuf>, Option<TempDir>) {
    let Err(error) = private_directory(&folder) else { return (Some(folder), None) };
    // Made for its owner alone.
    let temporary = tempfile::Builder::new().prefix("wasmill-").tempdir().ok();
    let compiled = temporary.as_ref().map(|temporary| temporary.path().join("compiled"));
    let compiled = compiled.filter(|compiled| private_directory(compiled).is_ok());
    let instead = if compiled.is_some() { "in a folder of its own until it ends" } else { "in memory" };
    tracing::warn!(
        "compiled handlers are kept {instead}: {error}; hint: set WASMILL_CACHE to a folder below which only this user can \
         write"
    );
    let temporary = temporary.filter(|_| compiled.is_some());
    (compiled, temporary)
}

/// Handlers that are kept for whoever swaps to and fro.
const MAX_RECENT_PLUGINS: usize = 16;

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
    /// Opens the engine over a cache of compiled handlers. Where that folder cannot be used, one of this process alone takes
    /// its place, and where that cannot be either, handlers are compiled in this process.
    pub fn open(cache: Option<PathBuf>) -> anyhow::Result<Self> {
        let (cache, temporary) = match cache {
            Some(folder) => usable(folder),
            None => (None, None),
        };
        Ok(Self {
            engine: open_engine(cache.clone())?,
            cache,
            recent: Arc::default(),
            _temporary: temporary.map(Arc::new),
        })
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
                size::fits(size, most).with_context(|| format!("handler {source}"))?;
                let bytes = config::file::read(path, most).with_context(cannot)?;
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
            plugin.check(handler_spec::grants(pipeline))?;
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
        let fits = |plugin: &Plugin| plugin.footprint().fits(limits.memory_bytes).map_err(|error| unloadable(&error));
        let known = self.recent.lock().iter().find(|plugin| plugin.digest() == digest).cloned();
        if let Some(plugin) = known {
            fits(&plugin)?;
            return Ok(plugin);
        }
        // Before anything is made of it.
        let footprint = Footprint::of(bytes).map_err(|error| unloadable(&error))?;
        footprint.fits(limits.memory_bytes).map_err(|error| unloadable(&error))?;
        if let Some(cache) = &self.cache {
            compile_apart(bytes, cache, limits)?;
        }
        let loaded = self.engine.load(bytes);
        let plugin = loaded.map_err(|error| unloadable(&error))?;
        let mut recent = self.recent.lock();
        if recent.len() == MAX_RECENT_PLUGINS {
            recent.pop_front();
        }
        recent.push_back(plugin.clone());
        Ok(plugin)
    }
}

fn unloadable(error: &LoadError) -> Unloadable {
    Unloadable { kind: error.kind(), reason: error.to_string() }
}

/// Where plugins from registries are kept: beside those that are compiled.
pub fn plugins(compiled: &Path) -> PathBuf {
    compiled.with_file_name("plugins")
}
