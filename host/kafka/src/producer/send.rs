//! One message on its way into librdkafka's buffer, and the topic it goes to.

use std::sync::Arc;

use rdkafka::bindings::rd_kafka_resp_err_t as E;

use super::delivery::Running;
use super::record::{Fields, Headers, produce};
use super::report::TIMESTAMP_HEADER;
use super::room::weight_of;
use super::rules::{Checks, TopicRules};
use crate::error::ClientError;
use crate::native::{Client, Topic};
use crate::produce_error::SendError;

/// A topic to send to. It keeps the producer alive.
#[derive(Clone)]
pub struct OutputTopic {
    // Before `inner`: the handle has to be given back before the client goes.
    topic: Arc<Topic>,
    name: Arc<str>,
    checks: Arc<Checks>,
    inner: Arc<Running>,
}

impl OutputTopic {
    pub(super) fn open(inner: &Arc<Running>, name: &str, compressed: bool) -> Result<Self, ClientError> {
        let topic = Arc::new(inner.delivery().client.topic(name)?);
        let checks = Arc::new(Checks::new(TopicRules::default(), compressed, inner.delivery().restamps()));
        Ok(Self { topic, name: name.into(), checks, inner: Arc::clone(inner) })
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From now on these rules are checked at each send, through this handle and its clones.
    pub fn set_rules(&self, rules: TopicRules) {
        self.checks.replace(rules);
    }
}

impl std::fmt::Debug for OutputTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OutputTopic").field(&self.name).finish()
    }
}

/// A message to publish. Everything is borrowed: [`Producer::send`](super::Producer::send) copies it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The topic to publish to.
    pub topic: &'a OutputTopic,
    /// The partition; absent: by the key as Java clients do, or any for a message without a key.
    pub partition: Option<i32>,
    /// The key. Absent is not empty.
    pub key: Option<&'a [u8]>,
    /// The value. Absent (a tombstone) is not empty.
    pub value: Option<&'a [u8]>,
    /// Names and values, in this order, repeated names included.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
    /// Milliseconds since the epoch; absent: now. 0 is sent as 1: librdkafka takes 0 for "now".
    pub timestamp: Option<i64>,
    /// Comes back in the report.
    pub token: u64,
}

impl Outgoing<'_> {
    /// Checks the message and puts it into the buffer of `producer`.
    pub(super) fn send(&self, producer: &Arc<Running>) -> Result<(), SendError> {
        debug_assert!(Arc::ptr_eq(producer, &self.topic.inner), "a topic of another producer");
        let bytes = self.value.map_or(0, <[u8]>::len) + self.key_and_header_bytes();
        match (self.topic.checks.check(self.key.is_some(), bytes, self.timestamp), self.timestamp) {
            (Err(error), Some(refused))
                if producer.delivery().restamps() && error.is_refusal_with(E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP) =>
            {
                self.restamped(refused, |message| message.put(producer))?;
                producer.delivery().tell_restamped(&self.topic.name, refused);
                Ok(())
            }
            (checked, _) => checked.and_then(|()| self.put(producer)),
        }
    }

    fn put(&self, producer: &Arc<Running>) -> Result<(), SendError> {
        let delivery = producer.delivery();
        if let Some(value) = self.value.filter(|value| value.len() > delivery.largest_value()) {
            // The buffer would be "full" for it for ever.
            let (bytes, most) = (value.len(), delivery.largest_value());
            let text = format!("{bytes} bytes, and the buffer for outputs holds {most}; hint: raise `memory`");
            return Err(SendError::refused_because(E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, text));
        }
        delivery.room.admit(self.weight(), || enqueue(&delivery.client, &self.topic.topic, self))
    }

    /// The same message with the present time, and the time that was refused in a header.
    fn restamped<T>(&self, refused: i64, then: impl FnOnce(&Outgoing<'_>) -> T) -> T {
        let text = refused.to_string();
        let mut headers: Vec<_> =
            self.headers.iter().copied().filter(|(name, _)| *name != TIMESTAMP_HEADER.as_bytes()).collect();
        headers.push((TIMESTAMP_HEADER.as_bytes(), Some(text.as_bytes())));
        then(&Outgoing { headers: &headers, timestamp: None, ..*self })
    }

    /// A number below 0 names none and is refused.
    pub(super) fn names_a_partition(&self) -> bool {
        self.partition.is_some_and(|partition| partition >= 0)
    }

    /// What the message weighs in the buffer beside its value.
    fn weight(&self) -> u64 {
        weight_of(self.key_and_header_bytes())
    }

    fn key_and_header_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
        self.key.map_or(0, <[u8]>::len) + headers
    }
}

/// Copies a message into the buffer of `client`, to which `topic` belongs.
fn enqueue(client: &Client, topic: &Topic, message: &Outgoing<'_>) -> Result<(), SendError> {
    let mut fields = Fields::new();
    fields.topic(topic);
    if let Some(partition) = message.partition {
        if partition < 0 {
            // librdkafka would take -1 for "any".
            return Err(SendError::refused(E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
        }
        fields.partition(partition);
    }
    fields.value(message.value);
    fields.key(message.key);
    fields.token(message.token);
    if let Some(timestamp) = message.timestamp {
        if timestamp < 0 {
            // The broker would refuse the whole batch, other lanes' messages included.
            return Err(SendError::refused(E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP));
        }
        fields.timestamp(timestamp.max(1));
    }
    let headers = Headers::of(message.headers);
    if let Some(headers) = &headers {
        fields.headers(headers);
    }
    // SAFETY: the message is borrowed for longer than this call, topic and headers live.
    unsafe { produce(client, &fields)? };
    // Accepted: the list is librdkafka's now.
    std::mem::forget(headers);
    Ok(())
}
