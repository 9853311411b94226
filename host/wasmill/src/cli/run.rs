//! `wasmill run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::spawn_blocking;
use wasmill_config as config;

use super::global::Global;
use crate::app::{App, Options, Signals, control_plane};
use crate::cache::cache_folder;
use crate::config_file;
use crate::config_file::load;
use crate::failure::{Exit, Failure};
use crate::pipelines::table::File;
use crate::telemetry;

/// Run the pipelines of a configuration until a signal
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The configuration
    #[arg(default_value = "wasmill.toml")]
    config: PathBuf,
    /// Where the admin port listens, instead of the configuration's admin.listen: for a second process with the same
    /// file on one machine
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

impl Run {
    /// Runs.
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let runtime = control_plane()?;
        // Before anything else: while the cluster is looked for, which can take long, a signal is an order as well.
        let signals = runtime.block_on(async { Signals::with_reload() })?;
        let path = config_file::file(&self.config);
        let mut loaded = load(&path)?;
        // As the file has it, for what is read again to be compared with.
        let file = File { path, config: loaded.config.clone() };
        if let Some(listen) = self.admin {
            listen_at(&mut loaded.config, listen)?;
        }
        let guard = telemetry::start_logging(global.log_format, global.log_level.as_deref().unwrap_or("info"))
            .map_err(Failure::usage)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let metrics = telemetry::start_metrics().map_err(Failure::start)?;
        let exit = runtime.block_on(start_and_run(loaded.config, file, metrics, signals));
        // A thread that did not end in time must not keep the process.
        runtime.shutdown_background();
        drop(guard);
        exit
    }
}

async fn start_and_run(
    config: config::Config,
    file: File,
    metrics: PrometheusHandle,
    mut signals: Signals,
) -> Result<Exit, Failure> {
    let start = spawn_blocking(move || {
        let file = Some(file);
        App::start(Options { config, file, cache: cache_folder(), observer: None, embedded: false }, metrics)
    });
    let app = tokio::select! {
        started = start => started.context("the start was cut off").map_err(Failure::start)??,
        () = signals.ended() => {
            tracing::info!("asked to end before anything was handed over");
            return Ok(Exit::Done);
        }
    };
    app.run(signals).await
}

/// Moves the admin port, under the rule that the file's own address is under.
fn listen_at(config: &mut config::Config, listen: SocketAddr) -> Result<(), Failure> {
    let unset = config::Admin { listen, allow_remote: false, token_file: None };
    let admin = config::Admin { listen, ..config.admin.take().unwrap_or(unset) };
    if !listen.ip().is_loopback() && !admin.allow_remote {
        let port = listen.port();
        return Err(Failure::usage(anyhow::anyhow!(
            "--admin {listen} is reached from other machines; hint: write 127.0.0.1:{port}, or set allow_remote = true \
             in [admin]"
        )));
    }
    config.admin = Some(admin);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_port_moves_and_stays_on_this_machine_unless_the_file_lets_it_leave() {
        let file = |admin: &str| {
            let text = format!(
                "[kafka]\nbootstrap = \"localhost:9092\"\n{admin}\n[pipelines.a]\ntopics = [\"a\"]\ngroup = \"a\"\n\
                 handler = \"a.wasm\"\non_exhausted = \"stop\"\n"
            );
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("wasmill.toml");
            std::fs::write(&path, text).expect("a file");
            load(&path).expect("a good file").config
        };
        let (near, far) = ("127.0.0.1:9465".parse().expect("an address"), "0.0.0.0:9465".parse().expect("an address"));
        let mut plain = file("");
        assert!(listen_at(&mut plain, near).is_ok() && plain.admin.is_some_and(|admin| admin.listen == near));
        assert_eq!(listen_at(&mut file(""), far).map_err(|failure| failure.exit).err(), Some(Exit::Usage));
        let mut open = file("[admin]\nlisten = \"0.0.0.0:9464\"\nallow_remote = true\n");
        assert!(listen_at(&mut open, far).is_ok() && open.admin.is_some_and(|admin| admin.listen == far));
    }
}
