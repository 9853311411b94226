//! A running pipeline takes up another handler, or other settings, without leaving its group.

use anyhow::Context as _;
use serde_json::Value;
use wasmill_config as config;
use wasmill_wasm::Plugin;

use super::launch::Launch;
use crate::pipeline::{Handle, instances};

/// What passed every gate.
pub struct Ready {
    handle: Handle,
    plugin: Plugin,
}

/// The settings that a pipeline runs with now.
pub fn settings(handle: &Handle) -> config::Pipeline {
    handle.shared.settings.clone()
}

/// The handler that its file holds now, if it is not the one that runs.
///
/// # Errors
/// The file cannot be read.
pub fn other_handler(handle: &Handle, settings: &config::Pipeline) -> anyhow::Result<Option<Vec<u8>>> {
    let path = settings.handler.display();
    let bytes = std::fs::read(&settings.handler)
        .with_context(|| format!("pipeline {}: cannot read handler {path}; hint: build it first", settings.name))?;
    let runs = handle.shared.deployed().plugin.digest() == wasmill_wasm::digest(&bytes);
    Ok((!runs).then_some(bytes))
}

/// Everything that can be asked before anything is touched.
///
/// # Errors
/// What refused it.
pub fn prepare(
    launch: &Launch,
    handle: &Handle,
    settings: &config::Pipeline,
    bytes: Option<Vec<u8>>,
    _by: &str,
) -> anyhow::Result<Ready> {
    let plugin = match bytes {
        Some(bytes) => launch.loader.compile(&bytes, &settings.limits)?,
        None => handle.shared.deployed().plugin.clone(),
    };
    plugin.check(instances::grants(settings))?;
    Ok(Ready { handle: handle.clone(), plugin })
}

impl Ready {
    /// Puts it in force; what came of it.
    ///
    /// # Errors
    /// It does not start after all.
    pub fn switch(self) -> anyhow::Result<Value> {
        self.handle.deploy(self.plugin)?;
        Ok(Value::Null)
    }
}
