//! A running pipeline takes up another handler, or other settings, without leaving its group: a swap, through the gate.

use anyhow::Context as _;
use wasmill_config as config;
use wasmill_deploy::swap::answer::Outcome;
use wasmill_deploy::swap::swapper::{Ask, Prepared};

use super::running::Running;

/// What passed every gate.
pub struct Ready {
    running: Running,
    prepared: Prepared,
}

/// The settings that a pipeline runs with now.
pub fn settings(running: &Running) -> config::Pipeline {
    config::Pipeline::clone(&running.pipeline.shared.deployed().version.settings)
}

/// The handler that the settings name, if that is not what runs.
///
/// # Errors
/// It cannot be read or fetched, or is larger than a handler may be.
pub fn other_handler(running: &Running, settings: &config::Pipeline) -> anyhow::Result<Option<Vec<u8>>> {
    let deployed = running.pipeline.shared.deployed();
    if running.pipeline.shared.is_grouped() && deployed.version.epoch > 0 {
        // What the group agreed on runs, whatever the file names; status tells that they differ.
        return Ok(None);
    }
    let fetched = running.swapper.loader().fetch_for(settings)?;
    let runs = deployed.version.digest() == fetched.digest;
    Ok((!runs).then_some(fetched.bytes))
}

/// Everything that can be asked before anything is touched.
///
/// # Errors
/// The gate that refused it, and why.
pub fn prepare(
    running: &Running,
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
    let prepared = running.swapper.prepare(ask);
    let prepared = prepared.with_context(|| format!("pipeline {}: handler {}", settings.name, settings.handler))?;
    Ok(Ready { running: running.clone(), prepared })
}

impl Ready {
    /// Hands over to it; where it took effect.
    ///
    /// # Errors
    /// It does not start after all, or something else came in between.
    pub fn switch(self) -> anyhow::Result<Outcome> {
        Ok(self.running.swapper.switch(self.prepared, None)?)
    }

    /// The pipeline.
    pub fn running(&self) -> &Running {
        &self.running
    }
}
