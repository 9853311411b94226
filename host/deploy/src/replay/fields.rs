//! What two versions made of one message, field by field.
//!
//! Everything here borrows: where both made the same, which is nearly always, nothing is allocated but the rows.

use serde::Serialize;
use wasmill_kafka::plain::PlainMessage;

use super::json;

/// Differences of one message that are kept.
const KEPT: usize = 50;
/// Characters of a value that are kept.
const CHARACTERS: usize = 160;
/// Of those, so many stand in front of the place where two long values part.
const IN_FRONT: usize = 40;

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

/// A field in which two versions do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `verdict`, `outputs`, `output 0 topic`, `output 0 value.customer.name`.
    pub field: String,
    /// What the old version made of it, cut, as a person may read it; `None`: it is not there.
    pub old: Option<String>,
    /// Likewise the new version.
    pub new: Option<String>,
}

/// The differences of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// The first ones.
    pub fields: Vec<Difference>,
    /// So many more were found and are not kept.
    pub more: usize,
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

    /// True if both versions made the same.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Notes a difference, or counts it. `field` is made only if it is kept.
    pub(super) fn add(&mut self, field: impl FnOnce() -> String, old: Option<String>, new: Option<String>) {
        if self.fields.len() < KEPT {
            self.fields.push(Difference { field: cut(&field(), 0), old, new });
        } else {
            self.more += 1;
        }
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

/// Items of two lists that belong together, with their place: in the old list, if it has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pair<'a, T> {
    Both(usize, &'a T, &'a T),
    Old(usize, &'a T),
    New(usize, &'a T),
}

/// What both lists begin with and what both end in belongs together, and what is between by its place: so one item that was
/// put in or taken out is one difference.
pub(super) fn align<'a, T: PartialEq>(old: &'a [T], new: &'a [T]) -> impl Iterator<Item = Pair<'a, T>> {
    let shorter = old.len().min(new.len());
    let same = old.len() == new.len();
    let start = if same { 0 } else { old.iter().zip(new).take_while(|(old, new)| old == new).count() };
    let rest = shorter - start;
    let end = if same {
        0
    } else {
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count()
    };
    let (old_middle, new_middle) = (old.len() - end, new.len() - end);
    let paired = shorter - end;
    let front = (0..paired).map(|at| Pair::Both(at, &old[at], &new[at]));
    let gone = (paired..old_middle).map(|at| Pair::Old(at, &old[at]));
    let come = (paired..new_middle).map(|at| Pair::New(at, &new[at]));
    let back = (0..end).map(move |at| Pair::Both(old_middle + at, &old[old_middle + at], &new[new_middle + at]));
    front.chain(gone).chain(come).chain(back)
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

/// The byte at which two values part.
fn parting(old: Option<&[u8]>, new: Option<&[u8]>) -> usize {
    let (Some(old), Some(new)) = (old, new) else { return 0 };
    old.iter().zip(new).take_while(|(old, new)| old == new).count()
}

/// Bytes as a person may read them: text in quotes, without characters that a terminal would obey; else hexadecimal. Of a long
/// one the part around `parting`.
pub(super) fn shown(bytes: &[u8], parting: usize) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return format!("\"{}\"", cut(text, parting));
    }
    let from = if bytes.len() <= CHARACTERS / 2 { 0 } else { parting.min(bytes.len()).saturating_sub(IN_FRONT / 2) };
    let part = &bytes[from..bytes.len().min(from + CHARACTERS / 2)];
    let hexadecimal: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let (front, back) = dots(from > 0, from + part.len() < bytes.len());
    format!("0x{front}{hexadecimal}{back}")
}

/// A text of bounded length: of a long one the part around the byte `parting`, without control characters.
pub(super) fn cut(text: &str, parting: usize) -> String {
    let long = text.char_indices().nth(CHARACTERS).is_some();
    let from = if long {
        text[..text.floor_char_boundary(parting)].char_indices().rev().nth(IN_FRONT).map_or(0, |(at, _)| at)
    } else {
        0
    };
    let rest = &text[from..];
    let to = rest.char_indices().nth(CHARACTERS).map_or(rest.len(), |(at, _)| at);
    let (front, back) = dots(from > 0, to < rest.len());
    let mut kept = front.to_owned();
    for letter in rest[..to].chars() {
        if letter.is_control() || is_mark(letter) {
            kept.extend(letter.escape_default());
        } else {
            kept.push(letter);
        }
    }
    kept + back
}

/// Marks that nobody sees, and that turn the direction of what stands beside them.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn dots(front: bool, back: bool) -> (&'static str, &'static str) {
    (if front { "..." } else { "" }, if back { "..." } else { "" })
}

#[cfg(test)]
mod tests;
