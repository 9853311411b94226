//! The note that travels in a commit's metadata: what the next holder of the partition should know.
//!
//! `w1;e=<epoch>,<first offset>;t=<topic id>;r=<offset>,<attempts>,<first failure>;d=<ranges>;<checksum>`, fields that are
//! absent left out.
//! Ranges are `<gap>+<more>`: offsets since the end of the range before (of the first range: the offset itself), and how
//! many offsets follow the range's first. A note tells the next holder to skip messages, so one that was cut, edited or
//! written by another program has to be recognised: the checksum covers everything in front of it.

use std::fmt::Write;

use crate::done::DoneSet;
use crate::offset::Offset;

const VERSION: &str = "w1";
/// Eight hexadecimal digits and the semicolon in front of them.
const CHECKSUM_BYTES: usize = 9;
const MAX_TOPIC_ID_BYTES: usize = 128;

/// What a commit says beside the offset.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CommitNote {
    /// The topic's id when this was committed. A topic that was deleted and made again has another one, and neither
    /// the offset nor the rest of the note means anything there. An id longer than 128 bytes, or with anything but
    /// printable ASCII without `;` in it, is not written, nor are done ranges then (Kafka's are 22 characters of base64).
    pub topic_id: Option<String>,
    /// The message that is being retried.
    pub retry: Option<RetryNote>,
    /// What is complete above the committed offset.
    pub done: DoneSet,
    /// The newest version that a swap of the group has brought to the partition.
    pub version: Option<VersionNote>,
}

/// The newest version that may have handled messages of a partition. Who holds the partition next runs that one or a later
/// one: without it a partition that moves to a process which has not swapped yet would go back to the version before.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct VersionNote {
    /// The version's epoch: its place in the control topic, never zero. Not the epoch of a [`Fence`](crate::Fence).
    pub epoch: u64,
    /// The first message that it got, or gets.
    pub first: i64,
}

/// The attempts of one message, so that they survive a restart: a message that keeps failing across restarts would
/// otherwise be at its first attempt for ever.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RetryNote {
    /// The offset of the message.
    pub offset: i64,
    /// Attempts made.
    pub attempts: u32,
    /// Milliseconds since 1970.
    pub first_failure_ms: i64,
}

impl CommitNote {
    /// What a broker takes by default (`offset.metadata.max.bytes`).
    pub const MAX_BYTES: usize = 4096;

    /// The note as text of at most `MAX_BYTES` bytes; empty if there is nothing to say.
    pub fn encode(&self) -> String {
        self.encode_within(Self::MAX_BYTES)
    }

    /// The note as text of at most `max_bytes` bytes, for brokers that take less. What does not fit is left out: done
    /// ranges first, from the high end; then the topic id; then the retry; then the version.
    pub fn encode_within(&self, max_bytes: usize) -> String {
        let max_bytes = max_bytes.saturating_sub(CHECKSUM_BYTES);
        let mut text = VERSION.to_owned();
        let retry =
            self.retry.map(|retry| format!(";r={},{},{}", retry.offset, retry.attempts, retry.first_failure_ms));
        let retry = retry.unwrap_or_default();
        let version = self.version.map(|version| format!(";e={},{}", version.epoch, version.first)).unwrap_or_default();
        if text.len() + version.len() <= max_bytes {
            text.push_str(&version);
        }
        let topic = match self.topic_id.as_deref() {
            Some(id) if is_topic_id(id) => Some(format!(";t={id}")),
            Some(_) => None,
            None => Some(String::new()),
        };
        if text.len() + retry.len() <= max_bytes {
            let topic = topic.filter(|topic| text.len() + topic.len() + retry.len() <= max_bytes);
            text.push_str(topic.as_deref().unwrap_or_default());
            text.push_str(&retry);
            // Not without the topic id: the ranges would be believed of a topic made anew under the same name.
            if topic.is_some() {
                self.encode_done(&mut text, max_bytes);
            }
        }
        if text == VERSION {
            return String::new();
        }
        let checksum = checksum(&text);
        // Writing to a string cannot fail.
        let _ = write!(text, ";{checksum:08x}");
        text
    }

    fn encode_done(&self, text: &mut String, max_bytes: usize) {
        let mut end = 0;
        let mut lead = ";d=";
        // Kafka has no negative offsets, and below zero the subtractions might overflow.
        for (first, last) in self.done.ranges().filter(|(first, _)| first.0 >= 0) {
            let range = format!("{lead}{}+{}", first.0 - end, last.0 - first.0);
            if text.len() + range.len() > max_bytes {
                return;
            }
            text.push_str(&range);
            end = last.0;
            lead = ",";
        }
    }

    /// Reads a note. Text that is not a whole note of a version known here is an empty note; so are single fields that
    /// are not known.
    pub fn decode(text: &str) -> Self {
        let mut note = Self::default();
        let Some((body, given)) = text.rsplit_once(';') else { return note };
        if given.len() + 1 != CHECKSUM_BYTES || u32::from_str_radix(given, 16) != Ok(checksum(body)) {
            return note;
        }
        let mut fields = body.split(';');
        if fields.next() != Some(VERSION) {
            return note;
        }
        for field in fields {
            match field.split_once('=') {
                Some(("t", id)) if is_topic_id(id) => note.topic_id = Some(id.to_owned()),
                Some(("r", retry)) => note.retry = decode_retry(retry),
                Some(("e", version)) => note.version = decode_version(version),
                Some(("d", done)) => note.done = decode_done(done).unwrap_or_default(),
                _ => {}
            }
        }
        note
    }
}

fn decode_retry(text: &str) -> Option<RetryNote> {
    let mut numbers = text.splitn(3, ',');
    Some(RetryNote {
        offset: numbers.next()?.parse().ok()?,
        attempts: numbers.next()?.parse().ok()?,
        first_failure_ms: numbers.next()?.parse().ok()?,
    })
}

fn decode_version(text: &str) -> Option<VersionNote> {
    let (epoch, first) = text.split_once(',')?;
    let epoch = epoch.parse().ok().filter(|epoch| *epoch > 0)?;
    Some(VersionNote { epoch, first: first.parse().ok()? })
}

fn decode_done(text: &str) -> Option<DoneSet> {
    let mut done = DoneSet::new();
    let mut end = 0_i64;
    for range in text.split(',') {
        let (gap, more) = range.split_once('+')?;
        let (gap, more) = (gap.parse::<u64>().ok()?, more.parse::<u64>().ok()?);
        let first = end.checked_add_unsigned(gap)?;
        end = first.checked_add_unsigned(more)?;
        done.insert(Offset(first), Offset(end));
    }
    Some(done)
}

fn is_topic_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b';';
    !text.is_empty() && text.len() <= MAX_TOPIC_ID_BYTES && text.bytes().all(plain)
}

/// FNV-1a, 32 bits: against accidents, not against somebody who may write to the group anyway.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
