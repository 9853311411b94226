//! `wasmill produce`: messages from lines of JSON, or from options.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use wasmill_deploy::messages::jsonl;
use wasmill_kafka::admin::Admin;
use wasmill_kafka::plain::{PlainMessage, PlainProducer};

use super::arguments;
use super::cluster::{ANSWER, Cluster, failed};
use crate::failure::{Exit, Failure};

/// Messages sent before their answers are waited for.
const AT_ONCE: usize = 1000;

/// Send messages: lines of JSON from a file or standard input, or one message from options
#[derive(Debug, clap::Args)]
pub struct Produce {
    /// The topic of messages that name none
    topic: String,
    /// Lines of JSON with key, value, headers, partition; without it, standard input
    #[arg(long, conflicts_with_all = ["key", "value", "header"])]
    file: Option<PathBuf>,
    /// One message with this key
    #[arg(long)]
    key: Option<String>,
    /// One message with this value
    #[arg(long)]
    value: Option<String>,
    /// A header of the one message, as in `name=value`; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = arguments::header_argument)]
    header: Vec<(String, Option<Vec<u8>>)>,
    /// The partition of messages that name none; by default the key decides
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    #[command(flatten)]
    cluster: Cluster,
}

impl Produce {
    /// Sends, and tells where each message ended up.
    pub fn run(self) -> Result<Exit, Failure> {
        let producer = PlainProducer::open(&self.cluster.client()?, ANSWER).map_err(failed)?;
        let mut sender = Sender { producer, admin: self.cluster.admin()?, known: BTreeSet::new() };
        if self.key.is_some() || self.value.is_some() || !self.header.is_empty() {
            let message = PlainMessage {
                topic: self.topic.clone(),
                partition: self.partition.unwrap_or(-1),
                key: self.key.clone().map(String::into_bytes),
                value: self.value.clone().map(String::into_bytes),
                headers: self.header.clone(),
                ..PlainMessage::default()
            };
            return sender.send(&[message]);
        }
        let (name, input): (String, Box<dyn std::io::BufRead>) = match &self.file {
            Some(file) => {
                let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()));
                let opened = opened.map_err(Failure::usage)?;
                (file.display().to_string(), Box::new(std::io::BufReader::new(opened)))
            }
            None => ("standard input".to_owned(), Box::new(std::io::stdin().lock())),
        };
        let mut waiting = Vec::new();
        for (index, line) in input.lines().enumerate() {
            let line = line.with_context(|| format!("cannot read {name}"))?;
            if line.trim().is_empty() {
                continue;
            }
            let mut message = jsonl::parse(&line, &self.topic).with_context(|| format!("{name}:{}", index + 1))?;
            if let (Some(partition), true) = (self.partition, message.partition < 0) {
                message.partition = partition;
            }
            waiting.push(message);
            if waiting.len() == AT_ONCE {
                sender.send(&waiting)?;
                waiting.clear();
            }
        }
        sender.send(&waiting)
    }
}

struct Sender {
    producer: PlainProducer,
    admin: Admin,
    /// Topics that are there.
    known: BTreeSet<String>,
}

impl Sender {
    fn send(&mut self, messages: &[PlainMessage]) -> Result<Exit, Failure> {
        for message in messages {
            // The producer would wait for a topic to appear, and in the end say only that time is up.
            if !self.known.contains(&message.topic) {
                match self.admin.describe_topic(&message.topic, ANSWER) {
                    // It is there and has no leader at the moment, which is what the producer waits for.
                    Err(error) if error.is_transient() && !error.code().is_some_and(|code| code.starts_with('_')) => {}
                    told => drop(told.map_err(failed)?),
                }
                self.known.insert(message.topic.clone());
            }
        }
        let mut out = std::io::stdout().lock();
        for (message, answer) in messages.iter().zip(self.producer.send(messages)) {
            let placed = answer.map_err(failed)?;
            // A reader that went away does not keep the rest from being sent.
            let _ = writeln!(out, "{}/{} @{}", message.topic, placed.partition, placed.offset);
        }
        Ok(Exit::Done)
    }
}
