//! Cases: messages in, and what a handler is expected to do with them. Run without a cluster, by the rules of a pipeline.

pub mod bless;
pub mod file;
pub mod lane;

use std::sync::Arc;

use serde_json::{Map, Value};
use wasmill_config as config;
use wasmill_kafka::plain::PlainMessage;
use wasmill_wasm::{LogLevel, Plugin};

use crate::messages::jsonl;
use file::{Case, Expect, Message};
use lane::{Answer, Lane};

/// What came of a message of a case.
#[derive(Debug)]
pub struct Outcome {
    /// Which message of the case, from 0 on.
    pub message: usize,
    /// What came of it, attempt by attempt.
    pub answers: Vec<Answer>,
    /// What was expected and what came instead, line by line; `None`: as expected.
    pub mismatch: Option<Mismatch>,
    /// Nobody said what is expected.
    pub open: bool,
}

/// Lines that were expected, and lines that came.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What the case says.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// What came of a case.
#[derive(Debug)]
pub enum Told {
    /// The case is for the other world, and nothing ran.
    OtherWorld,
    /// `init` refused, as it was to.
    Refused,
    /// The messages were handed over.
    Messages(Vec<Outcome>),
}

/// Runs a case on an instance of its own.
///
/// # Errors
/// The handler does not start, though the case does not expect that; or the case itself is wrong.
pub fn run(case: &Case, plugin: &Plugin, pipeline: &config::Pipeline) -> anyhow::Result<Told> {
    if case.world.is_some_and(|world| world != plugin.world()) {
        return Ok(Told::OtherWorld);
    }
    let topic = pipeline.topics.first().map_or(file::INPUT, String::as_str);
    let messages = case.messages(topic)?;
    let mut pipeline = pipeline.clone();
    if let Some(config) = case.config() {
        pipeline.config = config.into_iter().collect();
    }
    for message in &messages {
        if !pipeline.topics.contains(&message.message.topic) {
            pipeline.topics.push(message.message.topic.clone());
        }
    }
    let mut lane = Lane::new(Arc::new(plugin.clone()), &pipeline);
    match (lane.start(), &case.refuses) {
        (Err(error), Some(wanted)) => {
            let said = format!("{error:#}");
            anyhow::ensure!(said.contains(wanted.as_str()), "init was to refuse with `{wanted}`, and said: {said}");
            return Ok(Told::Refused);
        }
        (Ok(_), Some(wanted)) => anyhow::bail!("init was to refuse with `{wanted}`, and the handler started"),
        (started, None) => drop(started?),
    }
    // What it says at the start is no message's.
    lane.take_log();
    let all: Vec<PlainMessage> = messages.iter().flat_map(spread).collect();
    let answers = if case.together {
        lane.settle(&all)?
    } else {
        let attempts = messages.iter().flat_map(|one| std::iter::repeat_n(one.attempt, one.times));
        let each = all.iter().zip(attempts).map(|(message, attempt)| Ok(vec![lane.call(message, attempt)?]));
        each.collect::<anyhow::Result<_>>()?
    };
    let mut answers = all.iter().zip(answers);
    let mut outcomes = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        for (input, answers) in answers.by_ref().take(message.times) {
            let mismatch = match &message.expect {
                Some(expect) => compare(expect, input, &answers)?,
                None => None,
            };
            outcomes.push(Outcome { message: index, answers, mismatch, open: message.expect.is_none() });
        }
    }
    Ok(Told::Messages(outcomes))
}

/// The messages that one of a case stands for.
fn spread(message: &Message) -> impl Iterator<Item = PlainMessage> {
    (0..message.times).map(|at| {
        let offset = message.message.offset.saturating_add(at as i64);
        PlainMessage { offset, ..message.message.clone() }
    })
}

fn compare(expect: &Expect, input: &PlainMessage, answers: &[Answer]) -> anyhow::Result<Option<Mismatch>> {
    let Some(last) = answers.last() else { anyhow::bail!("nothing came of a message") };
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    if expect.verdict.admit(last.word) {
        expected.push(format!("verdict {}", last.word));
    } else {
        expected.push(format!("verdict {}", words(expect)));
    }
    got.push(format!("verdict {}", last.word));
    let reason = last.reason().unwrap_or_default();
    if let Some(wanted) = &expect.reason {
        expected.push(format!("reason {}", shown(wanted)));
        got.push(format!("reason {}", shown(reason)));
    } else if !expect.verdict.admit(last.word) && !reason.is_empty() {
        // Nobody asked, and whoever reads the difference will.
        got.push(format!("reason {}", shown(reason)));
    }
    let log: Vec<String> = answers.iter().flat_map(|answer| &answer.log).map(line).collect();
    if let Some(wanted) = &expect.says {
        // Of the reason alone, which is what a dead letter has: a text that only the log knows is lost to who reads that.
        let said = reason.contains(wanted.as_str());
        expected.push(format!("says {}", shown(wanted)));
        got.push(if said { format!("says {}", shown(wanted)) } else { format!("says {}", shown(reason)) });
    }
    outputs(expect, input, last, &mut expected, &mut got)?;
    if let Some(wanted) = &expect.log {
        expected.extend(wanted.iter().map(|line| format!("log {}", shown(line))));
        got.extend(log.iter().map(|line| format!("log {}", shown(line))));
    }
    if let Some(wanted) = expect.attempts {
        expected.push(format!("attempts {wanted}"));
        got.push(format!("attempts {}", answers.len()));
    }
    let (expected, got) = (expected.join("\n") + "\n", got.join("\n") + "\n");
    Ok((expected != got).then_some(Mismatch { expected, got }))
}

fn words(expect: &Expect) -> String {
    match &expect.verdict {
        file::Verdicts::One(one) => one.clone(),
        file::Verdicts::Any(any) => any.join(" or "),
    }
}

fn outputs(
    expect: &Expect,
    input: &PlainMessage,
    answer: &Answer,
    expected: &mut Vec<String>,
    got: &mut Vec<String>,
) -> anyhow::Result<()> {
    if let Some(wanted) = expect.outputs {
        expected.push(format!("{wanted} outputs"));
        got.push(format!("{} outputs", answer.emitted.len()));
        return Ok(());
    }
    if expect.forwarded {
        let forwarded = matches!(answer.emitted.as_slice(),
            [one] if one.key == input.key && one.value == input.value && one.headers == input.headers);
        expected.push("output the message itself".to_owned());
        match answer.emitted.as_slice() {
            [_] if forwarded => got.push("output the message itself".to_owned()),
            other => got.extend(other.iter().map(|one| format!("output {}", shown(&jsonl::print(one))))),
        }
        return Ok(());
    }
    let wanted = expect.output()?.unwrap_or_default();
    for (index, emitted) in answer.emitted.iter().enumerate() {
        let mut object = jsonl::object(emitted);
        object.remove("offset");
        for key in ["topic", "partition", "timestamp"] {
            if !wanted.get(index).is_some_and(|wanted| wanted.contains_key(key)) {
                object.remove(key);
            }
        }
        let document = wanted.get(index).and_then(|wanted| wanted.get("value"));
        if document.is_some_and(|value| !value.is_string())
            && let Some(emitted) = object.get("value").and_then(Value::as_str)
            && let Ok(emitted) = serde_json::from_str::<Value>(emitted)
        {
            object.insert("value".to_owned(), emitted);
        }
        got.push(format!("output {}", text(object)));
    }
    expected.extend(wanted.into_iter().map(|one| format!("output {}", text(one))));
    Ok(())
}

fn text(object: Map<String, Value>) -> String {
    shown(&Value::Object(object).to_string())
}

/// Characters that are shown of a line of a difference.
const MAX_LINE_CHARACTERS: usize = 2000;

/// As much of a text as people read, on one line.
fn shown(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        // Nothing else: what is shown can be copied into the case.
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    match line.char_indices().nth(MAX_LINE_CHARACTERS) {
        Some((end, _)) => format!("{} ... ({} bytes)", &line[..end], text.len()),
        None => line,
    }
}

/// A log line as case files write it.
pub fn line((level, text): &(LogLevel, String)) -> String {
    format!("{}: {text}", word(*level))
}

/// A level in a word.
pub fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}
