//! A running pipeline takes up another handler, or other settings, without leaving its group: a swap, through the gate.

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use wasmill_config as config;

use crate::pipeline::Handle;
use crate::swap::{Ask, Prepared};

/// What passed every gate.
pub struct Ready {
    handle: Handle,
    prepared: Prepared,
}

/// The settings that a pipeline runs with now.
pub fn settings(handle: &Handle) -> config::Pipeline {
    config::Pipeline::clone(&handle.shared.deployed().version.settings)
}

/// The handler that the settings name, if that is not what runs.
///
/// # Errors
/// It cannot be read or fetched, or is larger than a handler may be.
pub fn other_handler(handle: &Handle, settings: &config::Pipeline) -> anyhow::Result<Option<Vec<u8>>> {
    if handle.shared.is_grouped() {
        // Its group decides on that, and a process that took another one by itself would be told apart from it by messages
        // only. Status says that the file holds something else.
        return Ok(None);
    }
    let fetched = handle.swapper.loader().fetch_for(settings)?;
    let runs = handle.shared.deployed().version.digest() == fetched.digest;
    Ok((!runs).then_some(fetched.bytes))
}

/// Everything that can be asked before anything is touched.
///
/// # Errors
/// The gate that refused it, and why.
pub fn prepare(
    handle: &Handle,
    settings: &config::Pipeline,
    bytes: Option<Vec<u8>>,
    by: &str,
) -> anyhow::Result<Ready> {
    let rollout = bytes.is_none().then_some(config::Rollout::All);
    let ask = Ask {
        bytes,
        settings: Some(settings.clone()),
        source: settings.handler.to_string(),
        by: by.to_owned(),
        // Settings alone are in force at once. As a canary or a shadow they would have to prove themselves against the
        // same handler, and a shadow never takes over.
        rollout,
    };
    let prepared = handle.swapper.prepare(ask);
    let prepared = prepared.with_context(|| format!("pipeline {}: handler {}", settings.name, settings.handler))?;
    Ok(Ready { handle: handle.clone(), prepared })
}

impl Ready {
    /// Hands over to it; where it took effect.
    ///
    /// # Errors
    /// It does not start after all, or something else came in between.
    pub fn switch(self) -> anyhow::Result<Value> {
        let outcome = self.handle.swapper.switch(self.prepared, None)?;
        serde_json::to_value(outcome).map_err(|error| anyhow!("it took over, and cannot be told of: {error}"))
    }

    /// The pipeline.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
