//! One message on its way into librdkafka's buffer, and the topic it goes to.

use std::sync::Arc;

use rdkafka::bindings::rd_kafka_resp_err_t as E;

use super::delivery::Running;
use super::record::{Fields, Headers, produce};
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
    checks: Option<Arc<Checks>>,
    compressed: bool,
    inner: Arc<Running>,
}

impl OutputTopic {
    pub(super) fn open(inner: &Arc<Running>, name: &str, compressed: bool) -> Result<Self, ClientError> {
        let topic = Arc::new(inner.delivery().client.topic(name)?);
        Ok(Self { topic, name: name.into(), checks: None, compressed, inner: Arc::clone(inner) })
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same topic with rules that are checked at each send.
    pub fn with_rules(self, rules: TopicRules) -> Self {
        Self { checks: Some(Arc::new(Checks::new(rules, self.compressed))), ..self }
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
        if let Some(checks) = &self.topic.checks {
            let bytes = self.value.map_or(0, <[u8]>::len) + self.key_and_header_bytes();
            checks.check(self.key.is_some(), bytes, self.timestamp)?;
        }
        let delivery = producer.delivery();
        delivery.room.admit(self.weight(), || enqueue(&delivery.client, &self.topic.topic, self))
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
