//! What `wasmill dev` sends to its pipelines: sample messages, or lines from standard input.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use comfy_table::{Table, presets};
use wasmill_config as config;
use wasmill_core::partition::State;
use wasmill_deploy::messages::jsonl;
use wasmill_kafka::plain::{PlainMessage, PlainProducer};

use super::show::Screen;
use crate::api::status::PipelineStatus;
use crate::pipelines::running::Running;

/// How long the members may take to get their partitions.
const JOIN: Duration = Duration::from_secs(20);
/// How long `--once` waits for everything to be settled and committed.
const ONCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// Bytes that a file of sample messages may have.
const SAMPLE_BYTES: u64 = 64 << 20;

/// The offset that each partition has to commit: one past the last message sent.
type Wanted = BTreeMap<(String, i32), i64>;

/// Sends messages, and waits for what becomes of them.
pub(super) struct Feed {
    pub(super) handles: Vec<Running>,
    pub(super) producer: PlainProducer,
    pub(super) screen: Screen,
    pub(super) once: bool,
}

/// Where its messages come from.
pub(super) enum Source {
    Samples(Vec<PlainMessage>),
    /// Standard input; lines without a topic go to this one.
    Lines(String),
}

impl Feed {
    /// Sends everything from a thread of its own, and with `once` ends the pipelines when all of it is settled. What is
    /// returned tells whether that failed.
    pub(super) fn start(self, source: Source) -> anyhow::Result<Arc<AtomicBool>> {
        let failed = Arc::new(AtomicBool::new(false));
        let told = failed.clone();
        let thread = std::thread::Builder::new().name("dev-feed".to_owned());
        let run = move || {
            let handles = self.handles.clone();
            let (once, screen) = (self.once, self.screen.clone());
            let fed = match source {
                Source::Lines(topic) => self.lines(&topic),
                Source::Samples(samples) => self.samples(&samples),
            };
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
        };
        thread.spawn(run).context("cannot start a thread")?;
        Ok(failed)
    }

    fn samples(mut self, samples: &[PlainMessage]) -> anyhow::Result<()> {
        self.wait_for_members()?;
        let mut wanted = Wanted::new();
        self.send(samples, &mut wanted)?;
        if self.once {
            return self.finish(&wanted);
        }
        let rest = if self.handles.iter().any(|running| !running.pipeline.shared.started_with.dev.watch.is_empty()) {
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
                && status.partitions.iter().all(|partition| partition.state != State::Starting)
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

/// The sample messages of all pipelines.
pub(super) fn samples(config: &config::Config) -> anyhow::Result<Vec<PlainMessage>> {
    let mut messages = Vec::new();
    for pipeline in &config.pipelines {
        let Some(path) = &pipeline.dev.sample else { continue };
        let text = config::file::read_text(path, SAMPLE_BYTES)
            .with_context(|| format!("pipeline {}: cannot read dev.sample {}", pipeline.name, path.display()))?;
        let topic = pipeline.topics.first().map_or("", String::as_str);
        messages.extend(jsonl::parse_all(&path.display().to_string(), &text, topic)?);
    }
    Ok(messages)
}
