//! `wasmill dev`: a pipeline on an embedded broker, its handler built, rebuilt and swapped on save, everything shown as
//! it flows.

mod build;
pub mod show;

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use comfy_table::{Table, presets};
use wasmill_config as config;
use wasmill_kafka::mock::MockBroker;
use wasmill_kafka::plain::{PlainMessage, PlainProducer};

use crate::api::status::PipelineStatus;
use crate::app::{App, Options, Signals, control_plane};
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};
use crate::pipelines::launch::client_settings;
use crate::pipelines::running::Running;
use crate::project::Missing;
use crate::telemetry;
pub use build::command as build_command;
use show::{Onlooker, Screen};
use wasmill_deploy::messages::jsonl;
use wasmill_pipeline::shared::Observer;
use wasmill_pipeline::status::PartitionState;

/// How long the members may take to get their partitions.
const JOIN: Duration = Duration::from_secs(20);
/// How long a message may take to reach the broker.
const SEND: Duration = Duration::from_secs(10);
/// How long `--once` waits for everything to be settled and committed.
const ONCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// The offset that each partition has to commit: one past the last message sent.
type Wanted = BTreeMap<(String, i32), i64>;

/// What `wasmill dev` was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// End when all messages are settled and committed.
    pub once: bool,
    /// Send messages from standard input instead of the samples.
    pub stdin: bool,
}

impl Session {
    /// Runs until a signal, or until everything is done with `once`.
    pub fn run(self, config: config::Config) -> Result<Exit, Failure> {
        let (screen, printer) = Screen::open().map_err(Failure::start)?;
        let exit = self.run_on(config, &screen);
        screen.close();
        let _ = printer.join();
        exit
    }

    fn run_on(&self, mut config: config::Config, screen: &Screen) -> Result<Exit, Failure> {
        let samples = if self.stdin { Vec::new() } else { samples(&config).map_err(Failure::usage)? };
        if self.once && !self.stdin && samples.is_empty() {
            let hint = "nothing to send; hint: set dev.sample in the pipeline, or use --stdin";
            return Err(Failure::usage(anyhow::anyhow!(hint)));
        }
        for pipeline in &config.pipelines {
            while let Err(error) = build::build(pipeline, &config.directory, screen) {
                // What a save cannot mend ends it, and so does what nobody watches.
                if self.once
                    || error.is::<Missing>()
                    || !build::wait_for_change(pipeline, &config.directory, &error, screen)?
                {
                    return Err(Failure::start(error));
                }
            }
        }
        if self.once {
            // It is over before anybody could look, and a `wasmill run` with the same file may have the port.
            config.admin = None;
        }
        let broker = embed(&mut config).map_err(Failure::start)?;
        let client = client_settings(&config.kafka);
        let (directory, first) = (config.directory.clone(), first_topic(&config).to_owned());
        let metrics = telemetry::start_metrics().map_err(Failure::start)?;
        let onlooker = screen.clone();
        let observe = Box::new(move |pipeline: &config::Pipeline| -> Arc<dyn Observer> {
            Arc::new(Onlooker::new(pipeline, onlooker.clone()))
        });
        let app = App::start(
            Options { config, file: None, cache: cache_folder(), observer: Some(observe), embedded: true },
            metrics,
        )?;
        screen.note(&format!("embedded broker at {}", broker.bootstrap()));
        if !self.once {
            let address = broker.bootstrap();
            screen.note(&format!("for produce, consume and capture beside it: export WASMILL_BOOTSTRAP={address}"));
        }
        if let Some(admin) = &app.admin {
            screen.note(&format!("admin port at {}", admin.address));
        }
        let mut watches = Vec::new();
        if !self.once {
            for running in app.pipelines.handles() {
                let watch = build::watch(running, directory.clone(), screen.clone());
                watches.extend(watch.map_err(Failure::start)?);
            }
        }
        let failed = Arc::new(AtomicBool::new(false));
        let feed = Feed {
            handles: app.pipelines.handles(),
            producer: PlainProducer::open(&client, SEND).map_err(Failure::start)?,
            screen: screen.clone(),
            once: self.once,
        };
        let (stdin, told) = (self.stdin, failed.clone());
        let feeder = std::thread::Builder::new().name("dev-feed".to_owned());
        feeder
            .spawn(move || {
                let handles = feed.handles.clone();
                let (once, screen) = (feed.once, feed.screen.clone());
                let fed = if stdin { feed.lines(&first) } else { feed.samples(&samples) };
                if let Err(error) = fed {
                    screen.trouble(&format!("{error:#}"));
                    told.store(true, Ordering::Release);
                    if !once {
                        return;
                    }
                }
                if once {
                    handles.iter().for_each(Running::shut_down);
                }
            })
            .context("cannot start a thread")
            .map_err(Failure::start)?;
        let runtime = control_plane()?;
        let exit = runtime.block_on(async { app.run(Signals::new()?).await });
        drop(watches);
        runtime.shutdown_background();
        drop(broker);
        match exit? {
            Exit::Done if self.once && failed.load(Ordering::Acquire) => Ok(Exit::Failed),
            // Threads that wait for standard input or for changes must not keep the process.
            other => Ok(other),
        }
    }
}

/// Sends messages, and waits for what becomes of them.
struct Feed {
    handles: Vec<Running>,
    producer: PlainProducer,
    screen: Screen,
    once: bool,
}

impl Feed {
    fn samples(mut self, samples: &[PlainMessage]) -> anyhow::Result<()> {
        self.wait_for_members()?;
        let mut wanted = Wanted::new();
        self.send(samples, &mut wanted)?;
        if self.once {
            return self.finish(&wanted);
        }
        let rest = if self.handles.iter().any(|running| !running.pipeline.shared.settings.dev.watch.is_empty()) {
            "; save the handler's source to swap it, Ctrl-C ends"
        } else {
            "; Ctrl-C ends"
        };
        self.screen.note(&format!("{} messages sent{rest}", samples.len()));
        Ok(())
    }

    fn lines(mut self, topic: &str) -> anyhow::Result<()> {
        self.wait_for_members()?;
        let mut wanted = Wanted::new();
        for (index, line) in std::io::stdin().lock().lines().enumerate() {
            let line = line.context("cannot read standard input")?;
            if line.trim().is_empty() {
                continue;
            }
            let name = || format!("standard input:{}", index + 1);
            let sent = jsonl::parse(&line, topic)
                .with_context(name)
                .and_then(|message| self.send(&[message], &mut wanted).with_context(name));
            match sent {
                Err(error) if self.once => return Err(error),
                Err(error) => self.screen.trouble(&format!("{error:#}")),
                Ok(()) => {}
            }
        }
        if self.once { self.finish(&wanted) } else { Ok(()) }
    }

    fn wait_for_members(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + JOIN;
        let joined = |running: &Running| {
            let status = running.status().work;
            !status.partitions.is_empty()
                && status.members.iter().all(|member| member.joined)
                && status.partitions.iter().all(|partition| partition.state != PartitionState::Starting)
        };
        while !self.handles.iter().all(joined) {
            anyhow::ensure!(Instant::now() < deadline, "the members got no partitions within {} s", JOIN.as_secs());
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn send(&mut self, messages: &[PlainMessage], wanted: &mut Wanted) -> anyhow::Result<()> {
        for (message, answer) in messages.iter().zip(self.producer.send(messages)) {
            let placed = answer?;
            let next = wanted.entry((message.topic.clone(), placed.partition)).or_default();
            *next = (*next).max(placed.offset + 1);
        }
        Ok(())
    }

    /// Waits until every pipeline has committed everything that was sent to its topics, and prints where it stands.
    fn finish(&self, wanted: &Wanted) -> anyhow::Result<()> {
        let deadline = Instant::now() + ONCE;
        loop {
            let statuses: Vec<_> = self.handles.iter().map(Running::status).collect();
            let missing = |status: &PipelineStatus| {
                wanted.iter().filter(|((topic, _), _)| status.serving.topics.contains(topic)).find_map(
                    |((topic, number), next)| {
                        let held = status
                            .work
                            .partitions
                            .iter()
                            .find(|held| held.topic == *topic && held.partition == *number);
                        let committed = held.and_then(|held| held.committed).unwrap_or(0);
                        (committed < *next).then(|| {
                            let why = held.and_then(|held| held.reason.as_deref());
                            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                            let state = held.map_or("not assigned".to_owned(), |held| held.state.to_string());
                            format!("{topic}/{number} committed {committed} of {next}, {state}{why}")
                        })
                    },
                )
            };
            let missing: Vec<String> = statuses.iter().filter_map(missing).collect();
            if missing.is_empty() {
                self.screen.say(&table(&statuses));
                return Ok(());
            }
            if Instant::now() >= deadline {
                self.screen.say(&table(&statuses));
                anyhow::bail!("not everything was settled within {} s: {}", ONCE.as_secs(), missing.join("; "));
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn table(statuses: &[PipelineStatus]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["group", "partition", "committed", "end", "lag", "state"]);
    for status in statuses {
        let mut partitions: Vec<_> = status.work.partitions.iter().collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        for held in partitions {
            let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
            table.add_row([
                status.serving.group.clone(),
                format!("{}/{}", held.topic, held.partition),
                number(held.committed),
                number(held.end),
                number(held.lag),
                held.state.to_string(),
            ]);
        }
    }
    table.trim_fmt()
}

fn first_topic(config: &config::Config) -> &str {
    config.pipelines.first().and_then(|pipeline| pipeline.topics.first()).map_or("", String::as_str)
}

fn samples(config: &config::Config) -> anyhow::Result<Vec<PlainMessage>> {
    let mut messages = Vec::new();
    for pipeline in &config.pipelines {
        let Some(path) = &pipeline.dev.sample else { continue };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("pipeline {}: cannot read dev.sample {}", pipeline.name, path.display()))?;
        let topic = pipeline.topics.first().map_or("", String::as_str);
        messages.extend(jsonl::parse_all(&path.display().to_string(), &text, topic)?);
    }
    Ok(messages)
}

/// Starts a broker with every topic of the configuration, and points the configuration at it.
fn embed(config: &mut config::Config) -> anyhow::Result<MockBroker> {
    let broker = MockBroker::start(1)?;
    let mut topics: BTreeMap<&str, u32> = BTreeMap::new();
    for pipeline in &config.pipelines {
        let dead_letters = match &pipeline.on_exhausted {
            config::OnExhausted::DeadLetter(topic) => Some(topic),
            config::OnExhausted::Stop | config::OnExhausted::Skip => None,
        };
        let outputs = pipeline.output.default.iter().chain(&pipeline.output.granted);
        for topic in pipeline.topics.iter().chain(outputs).chain(dead_letters) {
            let count = topics.entry(topic).or_default();
            *count = (*count).max(pipeline.dev.partitions);
        }
    }
    for (topic, partitions) in topics {
        broker.create_topic(topic, partitions)?;
    }
    broker.bootstrap().clone_into(&mut config.kafka.bootstrap);
    // What is needed to reach the real cluster would only be in the way of reaching this one.
    config.kafka.properties = without_security(&config.kafka.properties);
    for pipeline in &mut config.pipelines {
        // What is saved takes over, whatever it does: whoever saved it looks on.
        pipeline.swap.rollout = config::Rollout::All;
        pipeline.swap.rollback = None;
        pipeline.properties = without_security(&pipeline.properties);
        pipeline.output.properties = without_security(&pipeline.output.properties);
    }
    if let Some(admin) = &mut config.admin {
        admin.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    }
    Ok(broker)
}

fn without_security(properties: &config::Properties) -> config::Properties {
    let secure = |name: &str| ["security.", "sasl.", "ssl."].iter().any(|prefix| name.starts_with(prefix));
    let kept = properties.iter().filter(|(name, _)| !secure(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
