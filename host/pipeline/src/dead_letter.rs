//! A message given up on, with where it came from and why.
//!
//! Its timestamp is the present: with the original one, retention of the dead-letter topic could delete it on the day
//! it arrives. Headers of an earlier dead letter are kept apart under a longer prefix, so that a message that goes round
//! twice still tells its first story.

use wasmill_core::partition::DeadLetterStage;
use wasmill_core::{GivenUp, MessageRef};
use wasmill_kafka::{TopicPartition, now_ms};

/// What every header of a dead letter begins with.
pub const PREFIX: &str = "wasmill.";
/// What an earlier dead letter's headers are moved to.
const EARLIER: &str = "wasmill.earlier.";
/// A reason is cut here: brokers refuse messages with huge headers.
const REASON_BYTES: usize = 4096;

/// Where the message came from.
pub struct Provenance<'a> {
    /// Pipeline.
    pub pipeline: &'a str,
    /// Consumer group.
    pub group: &'a str,
    /// Digest of the plugin that gave up.
    pub digest: &'a str,
    /// Topic and partition.
    pub id: &'a TopicPartition,
    /// When it failed first, in milliseconds since 1970.
    pub first_failure_ms: Option<i64>,
}

/// The headers of a dead letter, owned: giving up is rare.
pub fn headers(
    from: &Provenance<'_>,
    message: &MessageRef<'_>,
    given_up: &GivenUp,
    stage: DeadLetterStage,
) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let now = now_ms();
    let mut headers: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    if stage == DeadLetterStage::Whole {
        for (name, value) in message.headers() {
            let name = match name.strip_prefix(PREFIX.as_bytes()) {
                Some(rest) => [EARLIER.as_bytes(), rest].concat(),
                None => name.to_vec(),
            };
            headers.push((name, value.map(<[u8]>::to_vec)));
        }
    }
    let mut add = |name: &str, value: String| {
        headers.push((format!("{PREFIX}{name}").into_bytes(), Some(value.into_bytes())));
    };
    // What tells it from a tombstone, which has no value either.
    if let (DeadLetterStage::HeadersOnly, Some(value)) = (stage, message.value()) {
        add("stripped", value.len().to_string());
    }
    add("topic", from.id.topic.to_string());
    add("partition", from.id.partition.to_string());
    add("offset", message.offset.to_string());
    if let Some(timestamp) = message.timestamp {
        add("timestamp", timestamp.to_string());
    }
    add("group", from.group.to_owned());
    add("pipeline", from.pipeline.to_owned());
    add("plugin", from.digest.to_owned());
    add("attempts", given_up.attempts.to_string());
    add("error", given_up.class.as_str().to_owned());
    add("reason", cut(&given_up.reason).to_owned());
    add("first-failure", from.first_failure_ms.unwrap_or(now).to_string());
    add("last-failure", now.to_string());
    headers
}

fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
