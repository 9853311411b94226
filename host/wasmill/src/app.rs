//! The one place where the parts meet: configuration in, plugins loaded, pipelines run, and everything drained at the
//! end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wasmill_config as config;
use wasmill_kafka::{ClientSettings, TopicRules};

use crate::admin::{self, Admin};
use crate::compile::Loader;
use crate::pipeline::shared::Observer;
use crate::pipeline::{End, Handle, Parts, Pipeline, instances};
use crate::swap::watch::{self, Watch};

/// How long the cluster may take to answer at the start.
const ASK: Duration = Duration::from_secs(15);

/// How long it may take to tell what a topic refuses; nothing depends on the answer.
const ASK_RULES: Duration = Duration::from_secs(5);

/// What output topics are known to refuse, by name.
type Rules = BTreeMap<String, TopicRules>;

/// How the process ends. The numbers are part of the interface; `wasmill help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Asked to end, and everything handed over was settled and committed.
    Done = 0,
    /// A pipeline can go on no longer.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
    /// It could not start: handler, cluster, admin port.
    Start = 3,
    /// Asked to end, and something was not settled in time.
    Overdue = 4,
    /// Asked twice: ended at once.
    Killed = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// Why.
    pub error: anyhow::Error,
}

impl Failure {
    /// Wrong words or wrong configuration.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// It could not start.
    pub fn start(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Start, error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failed, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.error))
    }
}

/// An error with its causes. What to do about it comes last, whichever of them knew it.
pub fn told(error: &anyhow::Error) -> String {
    const HINT: &str = "; hint: ";
    let mut causes: Vec<String> = Vec::new();
    let mut hints = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let (cause, hint) = cause.split_once(HINT).unwrap_or((&cause, ""));
        // Some errors say their cause themselves.
        if !causes.last().is_some_and(|last| last.ends_with(cause)) {
            causes.push(cause.to_owned());
        }
        if !hint.is_empty() {
            hints += HINT;
            hints += hint;
        }
    }
    causes.join(": ") + &hints
}

/// Makes an observer of a pipeline.
pub type Observe = Box<dyn Fn(&config::Pipeline) -> Arc<dyn Observer>>;

/// What `run` and `dev` start with.
pub struct Options {
    /// The checked configuration.
    pub config: config::Config,
    /// Where compiled plugins are kept.
    pub cache: Option<PathBuf>,
    /// Makes who looks on at a pipeline, for `dev`.
    pub observer: Option<Observe>,
    /// The cluster is the embedded one, which has no rules for its topics and does not answer who asks for them.
    pub embedded: bool,
}

/// Everything that runs.
pub struct App {
    pipelines: Vec<Pipeline>,
    /// What swaps handlers that change on the disk.
    watches: Vec<Watch>,
    /// The pipelines for everybody else.
    pub handles: Vec<Handle>,
    /// The admin port.
    pub admin: Option<Admin>,
}

/// The client settings that every client of the process shares.
pub fn client_settings(kafka: &config::Kafka) -> ClientSettings {
    ClientSettings {
        bootstrap: kafka.bootstrap.clone(),
        client_id: "wasmill".to_owned(),
        properties: kafka.properties.clone().into_inner(),
    }
}

impl App {
    /// Loads every plugin, rehearses its `init`, asks the cluster for the topics and opens the producers. Nothing is
    /// consumed yet.
    pub fn start(options: Options, metrics: PrometheusHandle) -> Result<Self, Failure> {
        let Options { config, cache, observer, embedded } = options;
        let loader = Loader::open(cache).map_err(Failure::start)?;
        let client = client_settings(&config.kafka);
        let (partitions, rules) = ask_for_topics(&client, &config, embedded).map_err(Failure::start)?;
        let Shares { prefetch_bytes, buffer_bytes } =
            Shares::of(config.memory_bytes, partitions, config.pipelines.len() as u64);
        tracing::info!(partitions, prefetch_bytes, buffer_bytes, "memory divided");
        let mut pipelines = Vec::new();
        for settings in &config.pipelines {
            let plugin = loader.load(settings).map_err(Failure::start)?;
            let digest = plugin.digest().to_owned();
            let parts = Parts {
                client: client.clone(),
                plugin,
                loader: loader.clone(),
                state: (!embedded).then(|| config.directory.join(".wasmill").join("history")),
                prefetch_bytes,
                buffer_bytes,
                rules: rules.clone(),
                observer: observer.as_ref().map(|make| make(settings)),
            };
            let pipeline = Pipeline::new(settings.clone(), parts)
                .with_context(|| format!("pipeline {}", settings.name))
                .map_err(Failure::start)?;
            let shared = pipeline.handle().shared;
            instances::rehearse(&shared.deployed().version.plugin, settings)
                .with_context(|| format!("pipeline {}: handler {}", settings.name, settings.handler))
                .map_err(Failure::start)?;
            tracing::info!(pipeline = %settings.name, group = %settings.group, plugin = digest, "handler loaded");
            pipelines.push(pipeline);
        }
        let handles: Vec<_> = pipelines.iter().map(Pipeline::handle).collect();
        let admin = start_admin(&config, &handles, metrics).map_err(Failure::start)?;
        // In `dev` it is the sources that are watched.
        let watched = handles.iter().filter(|handle| !embedded && handle.shared.settings.swap.watch);
        let watches = watched.map(|handle| watch::start(handle.clone())).collect::<anyhow::Result<_>>();
        Ok(Self { pipelines, watches: watches.map_err(Failure::start)?, handles, admin })
    }

    /// Runs until a signal or until a pipeline can go on no longer. One that fails ends the others in good order: an
    /// orchestrator then starts the process again.
    pub async fn run(self, mut signals: Signals) -> Result<Exit, Failure> {
        let mut tasks = JoinSet::new();
        for pipeline in self.pipelines {
            let name = pipeline.handle().shared.name.clone();
            tasks.spawn(async move { (name, pipeline.run().await) });
        }
        let _watches = self.watches;
        let handles = self.handles.clone();
        let mut asked = false;
        let mut exit = Exit::Done;
        loop {
            tokio::select! {
                () = signals.next() => {
                    if asked {
                        tracing::warn!("asked twice: ending at once; what was not committed is handled again");
                        return Ok(Exit::Killed);
                    }
                    asked = true;
                    tracing::info!("draining; a second signal ends at once");
                    handles.iter().for_each(Handle::shut_down);
                }
                ended = tasks.join_next() => match ended {
                    None => return Ok(exit),
                    Some(Ok((name, End::Drained))) => tracing::info!(pipeline = %name, "drained"),
                    Some(Ok((name, End::Overdue))) => {
                        tracing::warn!(pipeline = %name, "not everything was settled in time; it is handled again by the next owner");
                        if exit == Exit::Done {
                            exit = Exit::Overdue;
                        }
                        // Threads that did not end cannot be waited for.
                        if tasks.is_empty() { return Ok(exit) }
                    }
                    Some(Ok((name, End::Failed(reason)))) => {
                        tracing::error!(pipeline = %name, reason, "pipeline failed");
                        exit = Exit::Failed;
                        handles.iter().for_each(Handle::shut_down);
                    }
                    Some(Err(panic)) => {
                        tracing::error!(%panic, "a pipeline's control loop panicked");
                        exit = Exit::Failed;
                        handles.iter().for_each(Handle::shut_down);
                    }
                },
            }
        }
    }
}

/// The runtime of the control plane: one worker for all pipelines.
pub fn control_plane() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("cannot start the control plane").map_err(Failure::start)
}

/// The signals that ask the process to end. From when this is made, none ends it by itself.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens. To be called within a runtime.
    pub fn new() -> Result<Self, Failure> {
        Self::listen().context("cannot listen to signals").map_err(Failure::start)
    }

    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What each partition and each pipeline may use of the memory of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shares {
    /// Bytes that may be fetched ahead for a partition.
    prefetch_bytes: u64,
    /// Bytes of a pipeline's outputs on their way.
    buffer_bytes: u64,
}

impl Shares {
    /// With less a client does not get on: only here more than `memory` may be used, by thousands of partitions.
    const LEAST: Self = Self { prefetch_bytes: 64 << 10, buffer_bytes: 1 << 20 };

    /// Half of the memory is for what is fetched ahead, in equal parts for all partitions; a quarter for what is on its
    /// way out, in equal parts for the pipelines; the rest is spans.
    fn of(memory_bytes: u64, partitions: u64, pipelines: u64) -> Self {
        Self {
            prefetch_bytes: (memory_bytes / 2 / partitions.max(1)).max(Self::LEAST.prefetch_bytes),
            buffer_bytes: (memory_bytes / 4 / pipelines.max(1)).max(Self::LEAST.buffer_bytes),
        }
    }
}

/// Partitions of all input topics, for the memory budget, and what the output topics refuse; an error names every topic
/// that is not there. wasmill makes no topics: one made by mistake, with the broker's defaults, is worse than an error.
fn ask_for_topics(client: &ClientSettings, config: &config::Config, embedded: bool) -> anyhow::Result<(u64, Rules)> {
    let mut partitions = 0;
    let mut missing = Vec::new();
    let mut rules = Rules::new();
    let admin = wasmill_kafka::admin::Admin::open(client)?;
    let topics = admin
        .topics(ASK)
        .with_context(|| format!("cannot reach kafka at {}; hint: see bootstrap in [kafka]", client.bootstrap))?;
    for pipeline in &config.pipelines {
        let outputs = pipeline.output.default.iter().chain(&pipeline.output.granted);
        let dead_letters = match &pipeline.on_exhausted {
            config::OnExhausted::DeadLetter(topic) => Some(topic),
            config::OnExhausted::Stop | config::OnExhausted::Skip => None,
        };
        for (topic, input) in pipeline
            .topics
            .iter()
            .map(|topic| (topic, true))
            .chain(outputs.chain(dead_letters).map(|topic| (topic, false)))
        {
            match topics.iter().find(|known| known.name == *topic) {
                Some(known) if input => partitions += known.partitions.len() as u64,
                Some(_) if embedded => {}
                Some(_) => match admin.topic_config(topic, ASK_RULES) {
                    Ok(entries) => {
                        rules.insert(topic.clone(), TopicRules::of(&entries));
                    }
                    // Not allowed to ask, or the broker does not know how to answer: then the broker refuses by itself.
                    Err(error) => tracing::debug!(topic, %error, "the topic's configuration is not to be had"),
                },
                None if missing.contains(topic) => {}
                None => missing.push(topic.clone()),
            }
        }
    }
    anyhow::ensure!(
        missing.is_empty(),
        "topics that do not exist: {}; hint: wasmill topic create {} --partitions N",
        missing.join(", "),
        missing.first().map_or("NAME", String::as_str)
    );
    Ok((partitions, rules))
}

fn start_admin(
    config: &config::Config,
    handles: &[Handle],
    metrics: PrometheusHandle,
) -> anyhow::Result<Option<Admin>> {
    let Some(settings) = &config.admin else { return Ok(None) };
    let token = admin::load_token(&admin::token_path(config))?;
    let state = admin::State {
        pipelines: handles.to_vec(),
        metrics,
        token,
        allow_remote: settings.allow_remote,
        uploads: Semaphore::new(1),
        started: Instant::now(),
    };
    let admin = Admin::start(settings, state)?;
    tracing::info!(address = %admin.address, "admin port open");
    Ok(Some(admin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_comes_after_every_cause_and_no_cause_twice() {
        let file = std::io::Error::other("no such file");
        let error = anyhow::Error::from(file).context("cannot read a.wasm; hint: build it first").context("pipeline a");
        assert_eq!(told(&error), "pipeline a: cannot read a.wasm: no such file; hint: build it first");
        let path = std::path::Path::new("no/such/wasmill.toml");
        let text = told(&config::load(path).expect_err("no file").into());
        assert_eq!(text.matches("No such file").count(), 1, "{text}");
    }

    #[test]
    fn half_of_the_memory_is_fetched_ahead_in_equal_parts_and_a_quarter_is_on_its_way_out() {
        let memory = 512 << 20;
        for (partitions, pipelines) in [(1, 1), (7, 2), (64, 3), (4096, 64)] {
            let shares = Shares::of(memory, partitions, pipelines);
            let (fetched, sent) = (shares.prefetch_bytes * partitions, shares.buffer_bytes * pipelines);
            assert!(fetched <= memory / 2 && fetched > memory / 2 - partitions, "{partitions}: {shares:?}");
            assert!(sent <= memory / 4 && sent > memory / 4 - pipelines, "{pipelines}: {shares:?}");
        }
    }

    #[test]
    fn no_partition_and_no_pipeline_gets_less_memory_than_a_client_needs() {
        assert_eq!(Shares::of(16 << 20, 100_000, 1000), Shares::LEAST);
        assert_eq!(Shares::of(16 << 20, 0, 0), Shares::of(16 << 20, 1, 1), "topics without partitions");
    }

    #[test]
    fn the_configuration_refuses_every_property_that_the_clients_own() {
        for (name, reason) in wasmill_kafka::owned_properties() {
            assert!(config::owned_reason(name).is_some(), "{name} is owned ({reason}) and a file may set it");
        }
    }
}
