//! `wasmill invoke`: messages into a handler, and what comes of them, without a cluster. What an answer means is judged by
//! the rules of a pipeline.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use wasmill_config as config;
use wasmill_deploy::explain;
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::handler_tests::lane::{Answer, Lane, Verdict};
use wasmill_kafka::plain::PlainMessage;
use wasmill_pipeline::handler_spec;
use wasmill_wasm::LogLevel;

use super::arguments;
use super::output::print;
use super::{alone, invoked};
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};
use crate::printed::put;
use wasmill_deploy::messages::jsonl;

const HELP: &str = "Each message is one call, all of one instance, so that what a handler remembers is there. After a \
call that trapped, or went past a limit, or where memory only grows, the next message meets a new instance; a message \
that traps on an instance that was used before is handed over once more to a new one, as in a pipeline. A retry is \
shown, not waited for: --attempt shows what the handler does then. Limits and retry policy are the defaults of \
wasmill.toml. \
Exit codes: 0 every message was acknowledged; 1 one was not; 2 wrong command line; 3 the handler does not start.";

/// What `limits.time_cap` may be.
const SHORTEST_CAP: Duration = Duration::from_secs(10);
const LONGEST_CAP: Duration = Duration::from_secs(3600);

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
    #[arg(long, value_name = "NAME=TEXT", value_parser = arguments::header_argument, conflicts_with = "message")]
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
    #[arg(long, value_name = "NAME=VALUE", value_parser = arguments::setting_argument)]
    config: Vec<(String, String)>,
    /// An output topic that is granted; may be given several times. The first is the default output
    #[arg(long, value_name = "TOPIC", default_value = "output", value_parser = arguments::topic_argument)]
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
                "error": error.as_ref().map(explain),
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
        plugin.check(handler_spec::grants(pipeline)).map_err(alone::not_granted)?;
        let mut lane = Lane::new(Arc::new(plugin), pipeline);
        let started = lane.start().map(drop);
        told.start(lane.take_log());
        started?;
        messages.iter().try_for_each(|message| {
            told.answer(message, &lane.call(message, self.attempt)?);
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
        // One message is one call, and the wall clock must leave it the time that it may use.
        let time_cap = self.time.as_deref().map(time_cap).unwrap_or_default();
        if let Some(time) = &self.time {
            limits.extend([("time", time.as_str()), ("time_cap", time_cap.as_str())]);
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
        pipeline.grant = alone::grants(&self.grant);
        pipeline.config = self.config.iter().cloned().collect();
        Ok(pipeline)
    }
}

/// `limits.time_cap` for a message that may take `time`. What is no time is refused as it was typed.
fn time_cap(time: &str) -> String {
    match humantime::parse_duration(time) {
        Ok(time) => humantime::format_duration(time.saturating_mul(2).clamp(SHORTEST_CAP, LONGEST_CAP)).to_string(),
        Err(_) => time.to_owned(),
    }
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
    put(text);
}
