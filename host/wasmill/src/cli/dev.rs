//! `wasmill dev`.

use std::path::PathBuf;

use super::global::Global;
use crate::config_file::load;
use crate::dev::Session;
use crate::failure::{Exit, Failure};
use crate::telemetry;

/// Run pipelines on an embedded broker, with sample messages; rebuild and swap the handler on save
#[derive(Debug, clap::Args)]
pub struct Dev {
    /// A folder with a wasmill.toml, or the file
    #[arg(default_value = ".")]
    path: PathBuf,
    /// End when all messages are settled and committed, with a table of the committed offsets
    #[arg(long)]
    once: bool,
    /// Send messages from standard input, one JSON object a line, instead of the samples
    #[arg(long)]
    stdin: bool,
}

impl Dev {
    /// Runs until a signal, or until everything is done with `--once`.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let loaded = load(&self.path)?;
        let level = global.log_level.as_deref().unwrap_or("warn,handler=info");
        let guard = telemetry::start_logging(global.log_format, level).map_err(Failure::usage)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let exit = Session { once: self.once, stdin: self.stdin }.run(loaded.config);
        drop(guard);
        exit
    }
}
