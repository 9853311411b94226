//! `wasmill run`.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Global, cache_folder, load};
use crate::app::{App, Exit, Failure, Options};
use crate::telemetry;

/// Run the pipelines of a configuration until a signal
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The configuration
    #[arg(default_value = "wasmill.toml")]
    config: PathBuf,
}

impl Run {
    /// Runs.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let loaded = load(&self.config)?;
        let guard = telemetry::start_logging(global.log_format, global.log_level.as_deref().unwrap_or("info"))
            .map_err(Failure::usage)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let metrics = telemetry::start_metrics().map_err(Failure::start)?;
        let app = App::start(
            Options { config: loaded.config, cache: cache_folder(), observer: None, embedded: false },
            metrics,
        )?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the control plane")
            .map_err(Failure::start)?;
        let exit = runtime.block_on(app.run());
        // A thread that did not end in time must not keep the process.
        runtime.shutdown_background();
        drop(guard);
        exit
    }
}
