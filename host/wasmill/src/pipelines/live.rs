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

/// The handler that a configuration names.
pub struct Named {
    /// Its digest; `None`: the group's agreement counts and not the file.
    pub digest: Option<String>,
    /// The handler itself, if the pipeline is to take it up.
    pub bytes: Option<Vec<u8>>,
}

/// Looks at the handler that the settings name. It is to be taken up if it is another one than runs, and another one
/// than the configuration named before: what a person or a rollback put in its place stays until the file says something
/// new.
///
/// # Errors
/// It cannot be read or fetched, or is larger than a handler may be.
pub fn named(running: &Running, settings: &config::Pipeline) -> anyhow::Result<Named> {
    let deployed = running.pipeline.shared.deployed();
    if running.pipeline.shared.is_grouped() && deployed.version.epoch > 0 {
        // What the group agreed on runs, whatever the file names; status tells that they differ.
        return Ok(Named { digest: None, bytes: None });
    }
    let fetched = running.swapper.loader().fetch_for(settings)?;
    let runs = deployed.version.digest() == fetched.digest;
    let bytes = (!runs && !running.swapper.has_taken(&fetched.digest)).then_some(fetched.bytes);
    Ok(Named { digest: Some(fetched.digest), bytes })
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
    // Other settings do not change where the handler came from that serves.
    let serves = running.pipeline.shared.deployed().version.source.clone();
    let ask = Ask {
        source: if bytes.is_some() { settings.handler.to_string() } else { serves },
        bytes,
        settings: Some(settings.clone()),
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
