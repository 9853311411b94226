//! `wasmill produce`: messages from lines of JSON, or from options.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use wasmill_deploy::messages::jsonl;
use wasmill_kafka::admin::Admin;
use wasmill_kafka::plain::{PlainMessage, PlainProducer};

use super::arguments;
use super::cluster::{ANSWER, Cluster, failed};
use crate::failure::{Exit, Failure};
use crate::printed::wrote;

/// Messages sent before their answers are waited for.
const AT_ONCE: usize = 1000;

/// Send messages: lines of JSON from a file or standard input, or one message from options
#[derive(Debug, clap::Args)]
pub struct Produce {
    /// Where all messages go, whatever topic a line names. Without it, each line says where, as `consume` prints it
    topic: Option<String>,
    /// Lines of JSON with key, value, headers, timestamp, topic, partition; without it, standard input. A line's partition
    /// counts in the topic that it names, and where it names none
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
    /// Where all messages go, whatever partition a line names; by default the key decides
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
            let Some(topic) = self.topic.clone() else {
                return Err(Failure::usage(anyhow::anyhow!(
                    "a message from options needs a topic; hint: wasmill produce TOPIC --value ..."
                )));
            };
            let message = PlainMessage {
                topic,
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
            waiting.push(self.message(&line).with_context(|| format!("{name}:{}", index + 1))?);
            if waiting.len() == AT_ONCE {
                sender.send(&waiting)?;
                waiting.clear();
            }
        }
        sender.send(&waiting)
    }

    /// What is to be sent of a line. What was typed wins over what the line says: dead letters that are piped into another
    /// topic would go back to where they came from otherwise.
    fn message(&self, line: &str) -> anyhow::Result<PlainMessage> {
        let mut message = jsonl::parse(line, "")?;
        match &self.topic {
            Some(topic) if *topic != message.topic => {
                if !message.topic.is_empty() {
                    // It was a partition of that topic; here the key decides.
                    message.partition = -1;
                }
                message.topic.clone_from(topic);
            }
            Some(_) => {}
            None if message.topic.is_empty() => bail!("it names no topic; hint: wasmill produce TOPIC"),
            None => {}
        }
        if let Some(partition) = self.partition {
            message.partition = partition;
        }
        Ok(message)
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
            // Nobody who reads it, or a full disk, keeps the rest from being sent.
            wrote(writeln!(out, "{}/{} @{}", message.topic, placed.partition, placed.offset));
        }
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        produce: Produce,
    }

    /// Topic and partition of what is sent of a line.
    fn sent(words: &str, line: &str) -> (String, i32) {
        let typed: Typed = clap::Parser::parse_from(["produce"].into_iter().chain(words.split_whitespace()));
        let message = typed.produce.message(line).expect("a message");
        (message.topic, message.partition)
    }

    #[test]
    fn what_was_typed_wins_over_what_a_line_says() {
        let letter = r#"{"topic":"dead","partition":7,"value":"v"}"#;
        assert_eq!(sent("other", letter), ("other".to_owned(), -1));
        assert_eq!(sent("other --partition 2", letter), ("other".to_owned(), 2));
        assert_eq!(sent("dead", letter), ("dead".to_owned(), 7));
        assert_eq!(sent("", letter), ("dead".to_owned(), 7));
        assert_eq!(sent("other", r#"{"partition":7}"#), ("other".to_owned(), 7));
    }

    #[test]
    fn a_line_without_a_topic_needs_one_on_the_command_line() {
        let typed: Typed = clap::Parser::parse_from(["produce"]);
        let error = typed.produce.message(r#"{"value":"v"}"#).expect_err("no topic");
        assert!(error.to_string().contains("wasmill produce TOPIC"), "{error}");
    }
}
