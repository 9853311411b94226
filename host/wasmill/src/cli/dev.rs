//! `wasmill dev`.

use std::path::PathBuf;

use wasmill_config as config;

use super::global::Global;
use crate::app::{App, Options, Signals, control_plane};
use crate::cache::cache_folder;
use crate::config_file::load;
use crate::dev::Session;
use crate::dev::show::Screen;
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
        let (screen, printer) = Screen::open().map_err(Failure::start)?;
        let exit = self.run_on(loaded.config, &screen);
        screen.close();
        let _ = printer.join();
        drop(guard);
        exit
    }

    fn run_on(&self, mut config: config::Config, screen: &Screen) -> Result<Exit, Failure> {
        let session = Session::prepare(&mut config, screen.clone(), self.once, self.stdin)?;
        let metrics = telemetry::start_metrics().map_err(Failure::start)?;
        let observer = Some(session.observer());
        let options = Options { config, file: None, cache: cache_folder(), observer, embedded: true };
        let app = App::start(options, metrics)?;
        let begun = session.begin(app.pipelines.handles(), app.admin.as_ref().map(|admin| admin.address))?;
        let runtime = control_plane()?;
        let exit = runtime.block_on(async { app.run(Signals::new()?).await });
        // Threads that wait for standard input or for changes must not keep the process.
        runtime.shutdown_background();
        let all_settled = begun.end();
        match exit? {
            Exit::Done if self.once && !all_settled => Ok(Exit::Failed),
            other => Ok(other),
        }
    }
}
