//! Which cluster a command talks to.

use std::path::PathBuf;
use std::time::Duration;

use wasmill_config as config;
use wasmill_kafka::admin::Admin;
use wasmill_kafka::{ClientError, ClientSettings, reach};

use crate::config_file::{load, load_cluster};
use crate::failure::Failure;
use crate::pipelines::launch::client_settings;

/// How long the cluster may take to be there. Whoever waits wants to know the cause within ten seconds.
const REACH: Duration = Duration::from_secs(8);
/// How long the cluster may take to answer.
pub const ANSWER: Duration = Duration::from_secs(30);

/// The cluster: `--bootstrap`, else `[kafka]` of the configuration, else localhost:9092.
#[derive(Debug, clap::Args)]
pub struct Cluster {
    /// `host:port`, several separated by commas
    #[arg(long, global = true, env = "WASMILL_BOOTSTRAP")]
    bootstrap: Option<String>,
    /// A configuration whose cluster is used; by default wasmill.toml, if it is there
    #[arg(long, global = true)]
    config: Option<PathBuf>,
}

impl Cluster {
    /// The configuration: `--config`, else wasmill.toml if it is there.
    pub fn loaded(&self) -> Result<Option<config::Loaded>, Failure> {
        self.file().map(|path| load(&path)).transpose()
    }

    fn file(&self) -> Option<PathBuf> {
        let default = PathBuf::from("wasmill.toml");
        self.config.clone().or_else(|| default.is_file().then_some(default))
    }

    /// Settings of a client for a cluster that answers: what keeps it from that is told here, once for all commands.
    pub fn client(&self) -> Result<ClientSettings, Failure> {
        let settings = self.settings()?;
        reach(&settings, REACH).map_err(failed)?;
        Ok(settings)
    }

    /// Settings of a client. Of a configuration only `[kafka]` is read.
    fn settings(&self) -> Result<ClientSettings, Failure> {
        let mut settings = match self.file().map(|path| load_cluster(&path)).transpose()? {
            Some(kafka) => client_settings(&kafka),
            None => ClientSettings {
                bootstrap: "localhost:9092".to_owned(),
                client_id: "wasmill".to_owned(),
                ..ClientSettings::default()
            },
        };
        if let Some(bootstrap) = &self.bootstrap {
            settings.bootstrap.clone_from(bootstrap);
        }
        Ok(settings)
    }

    /// A client for admin calls.
    pub fn admin(&self) -> Result<Admin, Failure> {
        Ok(Admin::open(&self.client()?).map_err(anyhow::Error::from)?)
    }
}

/// A refusal of the cluster is a failure of the command.
pub fn failed(error: ClientError) -> Failure {
    let hint = match error.code() {
        Some("UNKNOWN_TOPIC_OR_PART" | "_UNKNOWN_TOPIC") => "`wasmill topic list` shows those that there are",
        Some("_UNKNOWN_PARTITION") => "`wasmill topic describe` shows those that there are",
        Some("_AUTO_OFFSET_RESET") => "`wasmill topic describe` shows the first and the next offset of each partition",
        Some("_TRANSPORT" | "_ALL_BROKERS_DOWN" | "_TIMED_OUT") => {
            "is the cluster there? its address is --bootstrap, else WASMILL_BOOTSTRAP, else that of wasmill.toml, \
             else localhost:9092"
        }
        _ => return anyhow::Error::from(error).into(),
    };
    anyhow::anyhow!("{error}; hint: {hint}").into()
}
