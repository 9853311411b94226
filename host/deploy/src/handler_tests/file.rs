//! Case files: messages and what a handler is expected to do with them, as TOML.
//!
//! A message is written as in JSON lines (`key`, `value`, `headers` and so on, `key_base64` for bytes that are no text), with
//! `attempt` beside it and its expectations below `expect`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use wasmill_config as config;
use wasmill_kafka::plain::PlainMessage;
use wasmill_wasm::World;

use crate::messages::jsonl;

/// Bytes that a file of cases may have.
const MAX_BYTES: u64 = 64 << 20;

/// Topic of messages that name none, where no pipeline says which it reads.
pub const INPUT: &str = "input";

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The pipeline whose handler, settings, outputs and limits count; by default the first one.
    pub pipeline: Option<String>,
    /// The cases, in order.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
}

/// One case: an instance of its own, and messages for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The one world whose handlers this is for: `batches` or `messages`. Others pass over it.
    pub world: Option<World>,
    /// Instead of the pipeline's `config`.
    pub config: Option<BTreeMap<String, toml::Value>>,
    /// The text with which `init` refuses, or a part of it.
    pub refuses: Option<String>,
    /// All messages in one call, as a lane hands them over; and again, until each is settled. Otherwise each is a call
    /// of its own, and a retry is what is expected and not followed.
    #[serde(default)]
    pub together: bool,
    /// The messages.
    #[serde(default, rename = "message")]
    messages: Vec<toml::Table>,
}

/// A message of a case.
#[derive(Debug)]
pub struct Message {
    /// What is handed over.
    pub message: PlainMessage,
    /// The attempt that the handler is told.
    pub attempt: u32,
    /// So many of it, with offsets that count on.
    pub times: usize,
    /// What is expected; `None`: nobody said yet.
    pub expect: Option<Expect>,
}

/// What is expected of a message. What is not written is not compared, but for outputs: those that are not written must
/// not be there.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// `ack`, `retry`, `reject`, or the class of a failure; of several that are fine, one.
    #[serde(default)]
    pub verdict: Verdicts,
    /// The reason, as a whole.
    pub reason: Option<String>,
    /// A part of the reason.
    pub says: Option<String>,
    /// Exactly these outputs, in this order.
    output: Option<Vec<toml::Table>>,
    /// The message itself is the one output: key, value and headers.
    #[serde(default)]
    pub forwarded: bool,
    /// So many outputs, whatever they are.
    pub outputs: Option<usize>,
    /// Exactly these lines, as `level: text`.
    pub log: Option<Vec<String>>,
    /// How often it was handed over.
    pub attempts: Option<usize>,
}

/// One word, or several of which each is fine.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Verdicts {
    /// This one.
    One(String),
    /// One of these.
    Any(Vec<String>),
}

/// What a verdict can be.
const WORDS: [&str; 9] =
    ["ack", "retry", "reject", "no-progress", "trap", "deadline", "memory", "output-limit", "protocol"];

impl Default for Verdicts {
    fn default() -> Self {
        Self::One("ack".to_owned())
    }
}

impl Verdicts {
    /// All that are fine.
    fn all(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::Any(any) => any.iter().map(String::as_str).collect(),
        }
    }

    /// Whether a word is fine.
    pub fn admit(&self, word: &str) -> bool {
        match self {
            Self::One(one) => one == word,
            Self::Any(any) => any.iter().any(|one| one == word),
        }
    }
}

impl Expect {
    /// The outputs that are written, as objects in the form of JSON lines. A `value` that is an object or an array is to
    /// be compared as JSON.
    pub fn output(&self) -> anyhow::Result<Option<Vec<Map<String, Value>>>> {
        let Some(output) = &self.output else { return Ok(None) };
        let one = |table: &toml::Table| -> anyhow::Result<Map<String, Value>> {
            let mut object = object(table.clone());
            // A table or an array stands for any text that means the same JSON.
            let document = object.get("value").filter(|value| value.is_object() || value.is_array()).cloned();
            // Read and printed, so that what means the same looks the same.
            let has = |key: &str| object.contains_key(key);
            let kept = [("topic", has("topic")), ("partition", has("partition")), ("timestamp", has("timestamp"))];
            let message = jsonl::parse(&Value::Object(std::mem::take(&mut object)).to_string(), "")?;
            let mut object = jsonl::object(&message);
            object.remove("offset");
            for (key, written) in kept {
                if !written {
                    object.remove(key);
                }
            }
            if let Some(document) = document {
                object.insert("value".to_owned(), document);
            }
            Ok(object)
        };
        output.iter().map(one).collect::<anyhow::Result<_>>().map(Some)
    }
}

impl Case {
    /// The messages, with topics, partitions and offsets filled in.
    pub fn messages(&self, topic: &str) -> anyhow::Result<Vec<Message>> {
        let mut next = 0;
        let all = self.messages.iter().enumerate().map(|(index, table)| {
            let mut message =
                message(table.clone(), topic).with_context(|| format!("message {} of `{}`", index + 1, self.name))?;
            if message.message.partition < 0 {
                message.message.partition = 0;
            }
            if message.message.offset < 0 {
                message.message.offset = next;
            }
            next = message.message.offset.saturating_add(message.times as i64);
            Ok(message)
        });
        all.collect()
    }

    /// The settings for `init`, as text.
    pub fn config(&self) -> Option<BTreeMap<String, String>> {
        let text = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.config.as_ref().map(|config| config.iter().map(|(key, value)| (key.clone(), text(value))).collect())
    }
}

fn message(mut table: toml::Table, topic: &str) -> anyhow::Result<Message> {
    let number = |table: &mut toml::Table, key: &str, otherwise: i64| -> anyhow::Result<i64> {
        let Some(value) = table.remove(key) else { return Ok(otherwise) };
        value.as_integer().filter(|number| *number > 0).with_context(|| format!("{key} {value} is no number from 1 on"))
    };
    let attempt = u32::try_from(number(&mut table, "attempt", 1)?).context("attempt is too large")?;
    let times = usize::try_from(number(&mut table, "times", 1)?)?;
    let longer = usize::try_from(number(&mut table, "value_times", 1)?)?;
    let expect: Option<Expect> =
        table.remove("expect").map(|expect| expect.try_into().context("expect")).transpose()?;
    if let Some(unknown) = expect.iter().flat_map(|expect| expect.verdict.all()).find(|word| !WORDS.contains(word)) {
        anyhow::bail!("expect.verdict: there is no `{unknown}`; hint: one of {}", WORDS.join(", "));
    }
    if let Some(unknown) = table.keys().find(|key| !jsonl::KNOWN.contains(&key.as_str())) {
        let known = jsonl::KNOWN.join(", ");
        anyhow::bail!(
            "unknown key `{unknown}`; hint: a case's message has {known}, attempt, times, value_times, expect"
        );
    }
    let mut message = jsonl::parse(&Value::Object(object(table)).to_string(), topic)?;
    if longer > 1 {
        ensure!(message.value.is_some(), "value_times without a value");
        message.value = message.value.map(|value| value.repeat(longer));
    }
    Ok(Message { message, attempt, times, expect })
}

/// TOML as JSON. A header or key that is absent is `{ absent = true }`, since TOML has no null.
fn object(table: toml::Table) -> Map<String, Value> {
    table.into_iter().map(|(key, value)| (key, json(value))).collect()
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::Table(table) if table.get("absent") == Some(&toml::Value::Boolean(true)) => Value::Null,
        toml::Value::Table(table) => Value::Object(object(table)),
        toml::Value::Array(all) => all.into_iter().map(json).collect(),
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
    }
}

/// Reads a file of cases.
pub fn read(path: &Path) -> anyhow::Result<(String, File)> {
    let text = config::file::read_text(path, MAX_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
    let file = parse(&text).with_context(|| format!("{}", path.display()))?;
    Ok((text, file))
}

/// Reads the text of a file of cases.
pub fn parse(text: &str) -> anyhow::Result<File> {
    let file: File = toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_end()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[case]]
        name = "a"
        config = { limit = 5, name = "x" }
        [[case.message]]
        key = "k"
        value = "v"
        attempt = 2
        headers = { n = "1", gone = { absent = true } }
        expect.verdict = "ack"
        expect.output = [{ key = "k", value = { n = 1 } }]
        [[case.message]]
        value_base64 = "/w=="
        times = 3
        [[case.message]]
        value = "x"
        value_times = 4
    "#;

    #[test]
    fn a_case_is_read_with_offsets_that_count_on() {
        let file = parse(TEXT).unwrap();
        let case = &file.cases[0];
        assert_eq!(case.config().unwrap()["limit"], "5");
        let messages = case.messages("t").unwrap();
        let offsets: Vec<i64> = messages.iter().map(|one| one.message.offset).collect();
        assert_eq!(offsets, [0, 1, 4]);
        assert_eq!((messages[0].attempt, messages[0].message.topic.as_str()), (2, "t"));
        assert_eq!(messages[0].message.headers[0], ("gone".to_owned(), None));
        assert_eq!(messages[1].message.value.as_deref(), Some(&b"\xff"[..]));
        assert_eq!(messages[2].message.value.as_deref(), Some(&b"xxxx"[..]));
        assert!(messages[1].expect.is_none());
        let output = messages[0].expect.as_ref().unwrap().output().unwrap().unwrap();
        assert_eq!(Value::Object(output[0].clone()).to_string(), r#"{"key":"k","value":{"n":1}}"#);
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, wanted) in [
            ("[[case]]\nnam = \"a\"", "nam"),
            ("[[case]]\nname = \"a\"\n[[case.message]]\nvalu = 1", "unknown key `valu`"),
            ("[[case]]\nname = \"a\"\n[[case.message]]\nexpect.verdct = 1", "verdct"),
            ("[[case]]\nname = \"a\"\n[[case.message]]\nattempt = 0", "attempt 0"),
            (
                "[[case]]\nname = \"a\"\n[[case.message]]\nexpect.verdict = \"drop\"",
                "there is no `drop`; hint: one of ack",
            ),
            ("[[case]]\nname = \"a\"\nworld = \"mesages\"", "mesages"),
        ] {
            let told = parse(text).and_then(|file| file.cases[0].messages("t").map(drop)).unwrap_err();
            assert!(format!("{told:#}").contains(wanted), "{told:#}");
        }
    }
}
