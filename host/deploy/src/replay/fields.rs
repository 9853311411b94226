//! What two versions made of one message, field by field.
//!
//! Everything here borrows: where both made the same, which is nearly always, nothing is allocated but the rows.

use wasmill_kafka::plain::PlainMessage;

use super::align::{Pair, align};
use super::difference::Differences;
use super::json;
use super::text::{cut, parting, shown};

/// What a version made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made<'a> {
    /// `ack`, or the class under which the message is given up: `rejected`, `trap`.
    pub verdict: &'a str,
    /// Why it is given up.
    pub reason: Option<&'a str>,
    /// How often it was handed over until then.
    pub attempts: u32,
    /// What is published for it, in the order of emission.
    pub outputs: Vec<Output<'a>>,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// `None`: the key decides.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None`: when it is sent.
    pub timestamp: Option<i64>,
    /// Absent is not empty.
    pub key: Option<&'a [u8]>,
    /// Absent is not empty.
    pub value: Option<&'a [u8]>,
    /// In order; a name may come more than once.
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a> Output<'a> {
    /// An output as [`crate::handler_tests::lane::Answer`] has it.
    pub fn of(message: &'a PlainMessage) -> Self {
        Self {
            topic: &message.topic,
            partition: (message.partition >= 0).then_some(message.partition),
            timestamp: message.timestamp,
            key: message.key.as_deref(),
            value: message.value.as_deref(),
            headers: message.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect(),
        }
    }
}

impl Differences {
    /// Where two versions do not agree.
    pub fn between(old: &Made<'_>, new: &Made<'_>) -> Self {
        let mut found = Self::default();
        if old == new {
            return found;
        }
        let mut own = |field: &str, old: Option<String>, new: Option<String>| {
            if old != new {
                found.add(|| field.to_owned(), old, new);
            }
        };
        own("verdict", Some(old.verdict.to_owned()), Some(new.verdict.to_owned()));
        if old.reason != new.reason {
            let parting = parting(old.reason.map(str::as_bytes), new.reason.map(str::as_bytes));
            let text = |reason: Option<&str>| reason.map(|reason| cut(reason, parting));
            own("reason", text(old.reason), text(new.reason));
        }
        own("attempts", Some(old.attempts.to_string()), Some(new.attempts.to_string()));
        own("outputs", Some(old.outputs.len().to_string()), Some(new.outputs.len().to_string()));
        for pair in align(&old.outputs, &new.outputs) {
            match pair {
                Pair::Both(at, old, new) => found.outputs(at, old, new),
                Pair::Old(at, old) => found.add(|| format!("output {at}"), Some(whole(old)), None),
                Pair::New(at, new) => found.add(|| format!("output {at}"), None, Some(whole(new))),
            }
        }
        found
    }

    fn outputs(&mut self, at: usize, old: &Output<'_>, new: &Output<'_>) {
        if old == new {
            return;
        }
        let mut own = |field: &str, old: Option<String>, new: Option<String>| {
            if old != new {
                self.add(|| format!("output {at} {field}"), old, new);
            }
        };
        own("topic", Some(old.topic.to_owned()), Some(new.topic.to_owned()));
        let by_key = |partition: Option<i32>| partition.map_or_else(|| "by key".to_owned(), |it| it.to_string());
        own("partition", Some(by_key(old.partition)), Some(by_key(new.partition)));
        let time = |timestamp: Option<i64>| timestamp.map_or_else(|| "when sent".to_owned(), |it| it.to_string());
        own("timestamp", Some(time(old.timestamp)), Some(time(new.timestamp)));
        self.bytes(&format!("output {at} key"), old.key, new.key);
        self.bytes(&format!("output {at} value"), old.value, new.value);
        for pair in align(&old.headers, &new.headers) {
            match pair {
                Pair::Both(_, old, new) if old == new => {}
                // Of one name, so that the value is what differs; a name that differs is another header.
                Pair::Both(at_header, (name, old), (other, new)) if name == other => {
                    self.bytes(
                        &format!("output {at} header {at_header} {}", cut(&String::from_utf8_lossy(name), 0)),
                        *old,
                        *new,
                    );
                }
                Pair::Both(at_header, old, new) => {
                    self.add(|| format!("output {at} header {at_header}"), Some(header(old)), Some(header(new)));
                }
                Pair::Old(at_header, old) => {
                    self.add(|| format!("output {at} header {at_header}"), Some(header(old)), None);
                }
                Pair::New(at_header, new) => {
                    self.add(|| format!("output {at} header {at_header}"), None, Some(header(new)));
                }
            }
        }
    }

    /// A key, a value, a header's value: by path where both are JSON.
    fn bytes(&mut self, field: &str, old: Option<&[u8]>, new: Option<&[u8]>) {
        if old == new {
            return;
        }
        if let (Some(old), Some(new)) = (old, new)
            && let Some((old, new)) = json::both(old, new)
        {
            if old == new {
                // Spaces, the order of names, how a number is written: somebody may read the bytes.
                self.text(&format!("{field} (the same JSON in other bytes)"), old.bytes, new.bytes);
            } else {
                json::compare(field, &old.value, &new.value, self);
            }
            return;
        }
        let parting = parting(old, new);
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| shown(bytes, parting));
        self.add(|| field.to_owned(), text(old), text(new));
    }

    fn text(&mut self, field: &str, old: &[u8], new: &[u8]) {
        let parting = parting(Some(old), Some(new));
        self.add(|| field.to_owned(), Some(shown(old, parting)), Some(shown(new, parting)));
    }
}

/// An output in a line.
fn whole(output: &Output<'_>) -> String {
    let part = |bytes: Option<&[u8]>| bytes.map_or_else(|| "absent".to_owned(), |bytes| shown(bytes, 0));
    cut(&format!("to {}: key {}, value {}", output.topic, part(output.key), part(output.value)), 0)
}

fn header((name, value): &(&[u8], Option<&[u8]>)) -> String {
    let value = value.map_or_else(|| "absent".to_owned(), |value| shown(value, 0));
    format!("{}: {value}", cut(&String::from_utf8_lossy(name), 0))
}

#[cfg(test)]
mod tests;
