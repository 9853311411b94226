//! `wasmill dev`: a pipeline on an embedded broker, its handler built, rebuilt and swapped on save, everything shown as
//! it flows.

mod broker;
mod build;
mod feed;
pub mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmill_config as config;
use wasmill_deploy::swap::watch::Watch;
use wasmill_kafka::mock::MockBroker;
use wasmill_kafka::plain::PlainProducer;
use wasmill_pipeline::shared::Observer;

use crate::failure::Failure;
use crate::pipelines::launch::{Observe, client_settings};
use crate::pipelines::running::Running;
use crate::project::Missing;
pub use build::command as build_command;
use feed::{Feed, Source};
use show::{Onlooker, Screen};

/// How long a message may take to reach the broker.
const SEND: Duration = Duration::from_secs(10);

/// One run of `wasmill dev`, from the first build on.
pub struct Session {
    once: bool,
    screen: Screen,
    directory: PathBuf,
    client: wasmill_kafka::ClientSettings,
    source: Source,
    broker: MockBroker,
}

impl Session {
    /// Builds the handlers, starts the embedded broker and points the configuration at it. `once`: it ends when all messages
    /// are settled and committed. `stdin`: messages come from standard input instead of the samples.
    pub fn prepare(config: &mut config::Config, screen: Screen, once: bool, stdin: bool) -> Result<Self, Failure> {
        let samples = if stdin { Vec::new() } else { feed::samples(config).map_err(Failure::usage)? };
        if once && !stdin && samples.is_empty() {
            let hint = "nothing to send; hint: set dev.sample in the pipeline, or use --stdin";
            return Err(Failure::usage(anyhow::anyhow!(hint)));
        }
        for pipeline in &config.pipelines {
            while let Err(error) = build::build(pipeline, &config.directory, &screen) {
                // What a save cannot mend ends it, and so does what nobody watches.
                if once
                    || error.is::<Missing>()
                    || !build::wait_for_change(pipeline, &config.directory, &error, &screen)?
                {
                    return Err(Failure::start(error));
                }
            }
        }
        if once {
            // It is over before anybody could look, and a `wasmill run` with the same file may have the port.
            config.admin = None;
        }
        let broker = broker::embed(config).map_err(Failure::start)?;
        let client = client_settings(&config.kafka);
        let source = if stdin { Source::Lines(first_topic(config).to_owned()) } else { Source::Samples(samples) };
        Ok(Self { once, screen, directory: config.directory.clone(), client, source, broker })
    }

    /// Shows what the pipelines do.
    pub fn observer(&self) -> Observe {
        let screen = self.screen.clone();
        Box::new(move |pipeline: &config::Pipeline| -> Arc<dyn Observer> {
            Arc::new(Onlooker::new(pipeline, screen.clone()))
        })
    }

    /// Once the pipelines run: swaps their handlers on save, and sends the messages.
    pub fn begin(self, pipelines: Vec<Running>, admin: Option<SocketAddr>) -> Result<Begun, Failure> {
        let Self { once, screen, directory, client, source, broker } = self;
        screen.note(&format!("embedded broker at {}", broker.bootstrap()));
        if !once {
            let address = broker.bootstrap();
            screen.note(&format!("for produce, consume and capture beside it: export WASMILL_BOOTSTRAP={address}"));
        }
        if let Some(address) = admin {
            screen.note(&format!("admin port at {address}"));
        }
        let mut watches = Vec::new();
        if !once {
            for running in pipelines.clone() {
                let watch = build::watch(running, directory.clone(), screen.clone());
                watches.extend(watch.map_err(Failure::start)?);
            }
        }
        let producer = PlainProducer::open(&client, SEND).map_err(Failure::start)?;
        let feed = Feed { handles: pipelines, producer, screen, once };
        let failed = feed.start(source).map_err(Failure::start)?;
        Ok(Begun { watches, failed, broker })
    }
}

/// What goes on beside the pipelines.
pub struct Begun {
    watches: Vec<Watch>,
    failed: Arc<AtomicBool>,
    broker: MockBroker,
}

impl Begun {
    /// Ends it, the broker last. Whether all messages were sent, and with `once` settled in time.
    pub fn end(self) -> bool {
        drop(self.watches);
        drop(self.broker);
        !self.failed.load(Ordering::Acquire)
    }
}

fn first_topic(config: &config::Config) -> &str {
    config.pipelines.first().and_then(|pipeline| pipeline.topics.first()).map_or("", String::as_str)
}
