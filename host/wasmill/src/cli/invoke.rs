//! `wasmill invoke`: messages into a handler, and what comes of them, without a cluster. What an answer means is judged by
//! the rules of a pipeline.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use wasmill_config as config;
use wasmill_core::{AfterCrash, Batch, ErrorClass, FailureKind, GivenUp, Rest, after_crash, judge};
use wasmill_kafka::plain::PlainMessage;
use wasmill_wasm::{CallError, Capability, Instance, InstanceSpec, LogLevel, LogSink, NotGranted, OutputNames, Plugin};

use super::{alone, cache_folder, invoked, jsonl, print};
use crate::app::{self, Exit, Failure};
use crate::compile::Loader;
use crate::pipeline::instances;

const HELP: &str = "Each message is one call, all of one instance, so that what a handler remembers is there. After a \
call that trapped, or went past a limit, or where memory only grows, the next message meets a new instance; a message \
that traps on an instance that was used before is handed over once more to a new one, as in a pipeline. A retry is \
shown, not waited for: --attempt shows what the handler does then. Limits and retry policy are the defaults of \
wasmill.toml. \
Exit codes: 0 every message was acknowledged; 1 one was not; 2 wrong command line; 3 the handler does not start.";

/// Hand messages to a handler, without a cluster, and show what it does with them
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Invoke {
    /// The handler
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The value of the one message; without it there is none (a tombstone)
    #[arg(long, value_name = "TEXT", conflicts_with = "message")]
    value: Option<String>,
    /// The key of the one message
    #[arg(long, value_name = "TEXT", conflicts_with = "message")]
    key: Option<String>,
    /// A header of the one message; may be given several times
    #[arg(long, value_name = "NAME=TEXT", value_parser = jsonl::header_argument, conflicts_with = "message")]
    header: Vec<(String, Option<Vec<u8>>)>,
    /// A message as JSON, as `consume` prints it: key, value, headers, topic, partition, offset, timestamp; may be given
    /// several times. `-`: from standard input, one a line
    #[arg(long, value_name = "JSON")]
    message: Vec<String>,
    /// The topic of messages that name none
    #[arg(long, value_name = "TOPIC", default_value = alone::INPUT)]
    topic: String,
    /// The partition of messages that name none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// The offset of the first message that names none; the others count on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
    /// Which attempt the handler is told it is
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
    /// A setting of the pipeline's `config`, for the handler's init; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = jsonl::setting_argument)]
    config: Vec<(String, String)>,
    /// An output topic that is granted; may be given several times. The first is the default output
    #[arg(long, value_name = "TOPIC", default_value = "output")]
    output: Vec<String>,
    /// What the handler may ask for beyond computing, as the pipeline's `grant`; several with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = config::Grant::ALL.map(config::Grant::as_str))]
    grant: Vec<String>,
    /// The time that a message may take, as `limits.time`
    #[arg(long, value_name = "DURATION")]
    time: Option<String>,
    /// The memory of the instance, as `limits.memory`
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// What came of it as JSON; values are whole there
    #[arg(long)]
    json: bool,
}

impl Invoke {
    /// Hands over. Exit 1: a message was not acknowledged; 3: the handler does not start.
    pub fn run(self) -> Result<Exit, Failure> {
        let messages = self.messages().map_err(Failure::usage)?;
        let pipeline = self.pipeline(&messages)?;
        let bytes = alone::read(&self.file)?;
        let mut told = Told { json: self.json, ok: true, start_log: Vec::new(), answers: Vec::new() };
        let ended = self.hand_over(&bytes, &pipeline, &messages, &mut told);
        let error = ended.err().map(|error| error.context(format!("handler {}", self.file.display())));
        if self.json {
            let report = json!({
                "ok": told.ok && error.is_none(),
                "error": error.as_ref().map(app::told),
                "start": { "log": invoked::log_json(&told.start_log) },
                "messages": told.answers,
            });
            print(&format!("{report:#}\n"))?;
        }
        match error {
            Some(_) if self.json => Ok(Exit::Start),
            Some(error) => Err(Failure::start(error)),
            None if told.ok => Ok(Exit::Done),
            None => Ok(Exit::Failed),
        }
    }

    fn hand_over(
        &self,
        bytes: &[u8],
        pipeline: &config::Pipeline,
        messages: &[PlainMessage],
        told: &mut Told,
    ) -> anyhow::Result<()> {
        let plugin = Loader::open(cache_folder())?.compile(bytes, &pipeline.limits)?;
        plugin.check(instances::grants(pipeline)).map_err(not_granted)?;
        let mut caller = Caller::new(plugin, pipeline, self.attempt);
        let started = caller.start().map(drop);
        told.start(caller.log.take());
        started?;
        messages.iter().try_for_each(|message| {
            told.answer(message, &caller.call(message)?);
            Ok(())
        })
    }

    fn messages(&self) -> anyhow::Result<Vec<PlainMessage>> {
        let mut messages = Vec::new();
        for text in &self.message {
            if text == "-" {
                let mut lines = String::new();
                std::io::stdin().lock().read_to_string(&mut lines).context("cannot read standard input")?;
                messages.extend(jsonl::parse_all("standard input", &lines, &self.topic)?);
            } else {
                messages.push(jsonl::parse(text, &self.topic).with_context(|| format!("--message {text}"))?);
            }
        }
        if self.value.is_some() || self.key.is_some() || !self.header.is_empty() {
            messages.push(PlainMessage {
                topic: self.topic.clone(),
                partition: -1,
                offset: -1,
                key: self.key.clone().map(String::into_bytes),
                value: self.value.clone().map(String::into_bytes),
                headers: self.header.clone(),
                ..PlainMessage::default()
            });
        }
        ensure!(
            !messages.is_empty(),
            "no message; hint: --value TEXT, --message JSON, or --message - for lines of standard input"
        );
        let mut next = self.offset;
        for message in &mut messages {
            if message.partition < 0 {
                message.partition = self.partition;
            }
            if message.offset < 0 {
                message.offset = next;
                next = next.saturating_add(1);
            }
        }
        Ok(messages)
    }

    /// The pipeline that these options stand for.
    fn pipeline(&self, messages: &[PlainMessage]) -> Result<config::Pipeline, Failure> {
        let mut limits = Vec::new();
        if let Some(time) = &self.time {
            // One message is one call: what it may take is what the call may take.
            limits.extend(["time", "time_cap"].map(|key| (key, time.as_str())));
        }
        limits.extend(self.memory.iter().map(|memory| ("memory", memory.as_str())));
        let mut pipeline = alone::pipeline(&limits)?;
        pipeline.topics.clear();
        for message in messages {
            if !pipeline.topics.contains(&message.topic) {
                pipeline.topics.push(message.topic.clone());
            }
        }
        pipeline.output.default = self.output.first().cloned();
        pipeline.output.granted = self.output.iter().skip(1).cloned().collect();
        pipeline.grant = config::Grant::ALL.to_vec();
        pipeline.grant.retain(|one| self.grant.iter().any(|name| name == one.as_str()));
        pipeline.config = self.config.iter().cloned().collect();
        Ok(pipeline)
    }
}

/// Here an option grants, and no table.
fn not_granted(refused: NotGranted) -> anyhow::Error {
    let NotGranted { import, needed } = refused;
    let names: Vec<&str> = needed.iter().map(Capability::as_str).collect();
    anyhow::anyhow!("the plugin imports `{import}`, which is not granted; hint: --grant {}", names.join(","))
}

/// What is said, as it happens or at the end.
struct Told {
    json: bool,
    /// Every message was acknowledged.
    ok: bool,
    start_log: Vec<(LogLevel, String)>,
    answers: Vec<Value>,
}

impl Told {
    fn start(&mut self, log: Vec<(LogLevel, String)>) {
        if !self.json && !log.is_empty() {
            show(&format!("init\n{}", invoked::log_text(&log)));
        }
        self.start_log = log;
    }

    fn answer(&mut self, message: &PlainMessage, answer: &Answer) {
        self.ok &= matches!(answer.verdict, Verdict::Acknowledged);
        if self.json {
            self.answers.push(invoked::answer_json(message, answer));
        } else {
            show(&invoked::answer_text(message, answer));
        }
    }
}

fn show(text: &str) {
    // A reader that went away is no failure.
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Keeps a handler's lines. How many there can be is bounded by what an instance may say in a second.
#[derive(Default)]
struct Kept(Mutex<Vec<(LogLevel, String)>>);

impl LogSink for Kept {
    fn write(&self, level: LogLevel, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((level, text.to_owned()));
    }
}

impl Kept {
    fn take(&self) -> Vec<(LogLevel, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What becomes of a message.
pub enum Verdict {
    /// It is complete once its outputs are confirmed.
    Acknowledged,
    /// It is handed over again.
    Again {
        /// After so long.
        delay: Duration,
        /// As this attempt.
        next_attempt: u32,
        /// Why.
        reason: String,
    },
    /// It goes to the dead letters, or as `on_exhausted` says.
    GivenUp(GivenUp),
}

/// What came of one message.
pub struct Answer {
    /// What becomes of it.
    pub verdict: Verdict,
    /// What the handler did, in a word.
    pub word: &'static str,
    /// The call failed as a whole.
    pub crash: Option<CallError>,
    /// An earlier call with this message failed on an instance that had been used before.
    pub before: Option<CallError>,
    /// What is published: nothing, unless the message is acknowledged.
    pub emitted: Vec<PlainMessage>,
    /// How many outputs are not published.
    pub dropped: usize,
    /// What the handler logged.
    pub log: Vec<(LogLevel, String)>,
    /// How long the call took.
    pub time: Duration,
    /// The attempt that the handler was told.
    pub attempt: u32,
}

/// The lane of a pipeline, in small: one partition's messages, one at a time.
struct Caller {
    plugin: Plugin,
    spec: InstanceSpec,
    retry: config::RetryPolicy,
    attempt: u32,
    log: Arc<Kept>,
    instance: Option<Instance>,
    /// Calls of the instance.
    calls: u64,
}

impl Caller {
    fn new(plugin: Plugin, pipeline: &config::Pipeline, attempt: u32) -> Self {
        let log = Arc::new(Kept::default());
        let spec = InstanceSpec { log: log.clone(), ..instances::spec(pipeline, 0) };
        Self { plugin, spec, retry: pipeline.retry, attempt, log, instance: None, calls: 0 }
    }

    fn start(&mut self) -> anyhow::Result<&mut Instance> {
        if self.instance.as_ref().is_some_and(Instance::is_due_for_replacement) {
            self.instance = None;
        }
        if self.instance.is_none() {
            self.instance = Some(self.plugin.instantiate(&self.spec)?);
            self.calls = 0;
        }
        Ok(self.instance.as_mut().expect("started just above"))
    }

    fn call(&mut self, message: &PlainMessage) -> anyhow::Result<Answer> {
        let mut batch = batch(message, self.attempt)?;
        batch.seal();
        let source = self.spec.sources.iter().position(|topic| *topic == message.topic).unwrap_or_default() as u32;
        let mut before = None;
        loop {
            self.start()?;
            let fresh = self.calls == 0;
            self.calls += 1;
            let instance = self.start()?;
            let began = Instant::now();
            let answer = instance.handle(source, message.partition, &batch);
            let time = began.elapsed();
            let mut answer = match answer {
                Ok(reached) => self.judged(message, &batch, reached),
                Err(error) => {
                    self.instance = None;
                    match self.crashed(error, fresh) {
                        Ok(answer) => answer,
                        Err(error) => {
                            before = Some(error);
                            continue;
                        }
                    }
                }
            };
            answer.log = self.log.take();
            answer.time = time;
            answer.before = before;
            return Ok(answer);
        }
    }

    fn judged(&self, message: &PlainMessage, batch: &Batch, reached: u32) -> Answer {
        let instance = self.instance.as_ref().expect("it answered");
        let judgement = judge(1, reached, instance.failures(), self.attempt, &self.retry);
        let outputs = instance.emitted().rows.len();
        let published = judgement.publishes(0);
        let word = match instance.failures().first().map(|failure| failure.kind) {
            Some(FailureKind::Reject) => "reject",
            Some(FailureKind::Retry) => "retry",
            None if published => "ack",
            None => ErrorClass::NoProgress.as_str(),
        };
        let verdict = match (judgement.given_up.into_iter().next(), judgement.rest) {
            (Some(end), _) => Verdict::GivenUp(end),
            (None, Some(Rest::Retry { delay, next_attempt, reason })) => Verdict::Again { delay, next_attempt, reason },
            // Of one message nothing can be left over in another way.
            (None, Some(Rest::Unreached) | None) => Verdict::Acknowledged,
        };
        let emitted = if published { emitted(instance, batch, message, &self.spec.outputs) } else { Vec::new() };
        Answer { dropped: outputs - emitted.len(), emitted, ..self.answer(verdict, word) }
    }

    /// The answer of a call that failed as a whole; the error itself if the message is to be handed over once more.
    fn crashed(&self, error: CallError, fresh: bool) -> Result<Answer, CallError> {
        let verdict = match after_crash(1, fresh, self.attempt, &self.retry) {
            AfterCrash::ReplayAlone => return Err(error),
            AfterCrash::Again { delay, next_attempt } => {
                Verdict::Again { delay, next_attempt, reason: format!("{}: {}", error.class, error.full()) }
            }
            AfterCrash::GiveUp { attempts } => {
                Verdict::GivenUp(GivenUp { message: 0, attempts, class: error.class, reason: error.full() })
            }
        };
        let word = error.class.as_str();
        Ok(Answer { crash: Some(error), ..self.answer(verdict, word) })
    }

    fn answer(&self, verdict: Verdict, word: &'static str) -> Answer {
        Answer {
            verdict,
            word,
            crash: None,
            before: None,
            emitted: Vec::new(),
            dropped: 0,
            log: Vec::new(),
            time: Duration::ZERO,
            attempt: self.attempt,
        }
    }
}

fn batch(message: &PlainMessage, attempt: u32) -> anyhow::Result<Batch> {
    let mut batch = Batch::new();
    batch.push(message.key.as_deref(), message.value.as_deref(), message.offset, message.timestamp, attempt)?;
    for (name, value) in &message.headers {
        batch.push_header(name.as_bytes(), value.as_deref())?;
    }
    Ok(batch)
}

/// What was emitted, as messages. The partition of one that leaves it to the key is -1, as in [`jsonl`].
fn emitted(instance: &Instance, batch: &Batch, input: &PlainMessage, outputs: &OutputNames) -> Vec<PlainMessage> {
    let emitted = instance.emitted();
    let bytes = |span| emitted.bytes(batch.data(), span);
    let message = |row: &wasmill_core::EmittedRow| PlainMessage {
        topic: outputs.name(row.topic).unwrap_or("?").to_owned(),
        partition: row.partition.unwrap_or(-1),
        offset: -1,
        timestamp: row.timestamp.or(input.timestamp),
        key: bytes(row.key).map(<[u8]>::to_vec),
        value: bytes(row.value).map(<[u8]>::to_vec),
        headers: emitted
            .headers_of(row)
            .iter()
            .map(|[name, value]| {
                let name = String::from_utf8_lossy(bytes(*name).unwrap_or_default()).into_owned();
                (name, bytes(*value).map(<[u8]>::to_vec))
            })
            .collect(),
    };
    emitted.rows.iter().map(message).collect()
}
