//! The producer: messages in, one report for each out.
//!
//! A *producer* wraps one idempotent client of librdkafka. An *output topic* is a cheap handle to send to. A *report* says of
//! one message, known by its *token*, that every in-sync replica has it or that it never will be there. The *sink* is who
//! gets the reports, a whole batch at a time, on the producer's delivery thread (`producer/delivery.rs`).
//!
//! Whatever may pass by itself (broker away, leader moving, too few replicas, timeouts) is never reported: the message stays
//! in the buffer and is tried again without end, and back-pressure ([`SendError::QueueFull`]) is all that is seen of it.
//! Exactly one report comes for each message that [`Producer::send`] accepted, also when the producer is dropped; the one
//! exception is a drop that takes longer than [`CLOSE_TIMEOUT`].

mod delivery;
mod record;
mod report;
mod room;
mod rules;
mod send;
mod settled;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::rd_kafka_resp_err_t as E;
use rdkafka::config::ClientConfig;

use crate::admin::ConfigQuestion;
use crate::error::ClientError;
use crate::native::Client;
use crate::produce_error::SendError;
use crate::settings::{ClientSettings, METADATA_INTERVAL, METADATA_INTERVAL_MS};
pub use delivery::CLOSE_TIMEOUT;
use delivery::Running;
pub(crate) use record::{Fields, Headers, produce};
pub use report::{DeliverySink, Report, TIMESTAMP_HEADER};
pub use rules::TopicRules;
pub use send::{Outgoing, OutputTopic};

/// Of a message for a partition that the topic does not have.
const NO_PARTITION: E = E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
/// How long [`Producer::partitions`] waits for an answer.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes librdkafka puts in one batch by default. A topic whose `max.message.bytes` is lower refuses full batches, which
/// then go out again one message at a time: set the property `batch.size` for such topics.
const BATCH_BYTES: u32 = 262_144;
/// The client's own bound on a message: what brokers take as a request (`socket.request.max.bytes`, 100 MiB by default), less
/// what a request holds beside it. The bounds that count are those of the topics, which the client does not know.
pub(crate) const REQUEST_BYTES: u64 = (100 << 20) - (64 << 10);
/// The buffer holds two of these whatever is set: the default of `message.max.bytes` in Kafka's own producer.
const MESSAGE_BYTES: u64 = 1 << 20;

/// What a producer is made from.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// The client. Of its properties `batch.size` and `message.max.bytes` matter most here.
    pub client: ClientSettings,
    /// How long a message waits for company.
    pub linger: Duration,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`; absent: librdkafka's default, none.
    pub compression: Option<String>,
    /// Bytes of messages accepted and not yet reported. At least two messages of the largest size fit whatever is set.
    pub buffer_bytes: u64,
    /// The same in messages.
    pub buffer_messages: u32,
    /// A timestamp that a topic does not take is replaced by the present time, and goes along in a header; else the
    /// message is refused.
    pub restamps: bool,
}

/// Sends messages; clones share one client. Dropping the last clone, and the last [`OutputTopic`], purges what is left.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Running>,
    compressed: bool,
}

impl Producer {
    /// Makes the client and starts its delivery thread. No broker is asked yet.
    ///
    /// # Errors
    /// A property that librdkafka refuses, or no memory or threads for a client.
    pub fn open(settings: &ProducerSettings, sink: Arc<dyn DeliverySink>) -> Result<Self, ClientError> {
        let tokens = settings.client.tokens();
        let running = Running::open(settings.config(), tokens, settings.buffer_bytes, settings.restamps, sink)?;
        let compressed = settings.compression.as_deref().is_some_and(|codec| codec != "none");
        Ok(Self { inner: Arc::new(running), compressed })
    }

    /// A handle of a topic. No broker is asked: a topic that does not exist shows when something is sent to it.
    ///
    /// # Errors
    /// A name that no topic can have.
    pub fn topic(&self, name: &str) -> Result<OutputTopic, ClientError> {
        OutputTopic::open(&self.inner, name, self.compressed)
    }

    /// Copies the message into the buffer. A report with its token comes later if, and only if, this says Ok. Messages sent
    /// by one thread to one partition are written in that order.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, message: &Outgoing<'_>) -> Result<(), SendError> {
        match message.send(&self.inner) {
            Err(error) if message.names_a_partition() && error.is_refusal_with(NO_PARTITION) => {
                // The client knows the topic as it was seconds ago, and partitions are added.
                match self.partitions(message.topic.name()) {
                    Ok(count) if message.partition < Some(count) => message.send(&self.inner),
                    Err(error) if error.is_transient() => Err(SendError::QueueFull),
                    Ok(_) | Err(_) => Err(error),
                }
            }
            other => other,
        }
    }

    /// Waits until every message is reported, `timeout` at most; linger is over meanwhile. True if all are. Others may go
    /// on sending: then it can stay false although everything sent before was reported. Never from the sink.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.inner.delivery().flush(timeout)
    }

    /// After [`SendError::QueueFull`]: waits until some message was reported, `timeout` at most. False: the time is over.
    pub fn wait_room(&self, timeout: Duration) -> bool {
        self.inner.delivery().room.wait(timeout)
    }

    /// How many partitions a topic has, asked of the brokers.
    ///
    /// # Errors
    /// The topic does not exist, or no broker answered within ten seconds.
    pub fn partitions(&self, topic: &str) -> Result<i32, ClientError> {
        crate::admin::partition_count(self.client(), topic, METADATA_TIMEOUT)
    }

    /// Asks for the rules of topics. Does not wait for the answer.
    ///
    /// # Errors
    /// A name that no topic can have; no memory for the question.
    pub fn ask_rules(&self, topics: &[String]) -> Result<RulesQuestion, ClientError> {
        let question = ConfigQuestion::ask(self.client(), topics, METADATA_TIMEOUT)?;
        Ok(RulesQuestion { question, _client: Arc::clone(&self.inner) })
    }

    /// Messages accepted and not yet reported, counting some events too: 0 means none.
    pub fn in_flight(&self) -> usize {
        self.inner.delivery().in_flight()
    }

    /// Drops every message that is not confirmed; each is reported as purged. Those already on their way may get written.
    pub fn purge(&self) {
        self.inner.delivery().purge();
    }

    /// Waits for all reports, `timeout` at most, then purges the rest and waits for their reports. True if nothing had to be
    /// purged. The producer stays usable; dropping it afterwards is quick.
    pub fn close(&self, timeout: Duration) -> bool {
        let all = self.flush(timeout);
        if !all {
            self.purge();
            self.flush(CLOSE_TIMEOUT);
        }
        all
    }

    fn client(&self) -> &Client {
        &self.inner.delivery().client
    }
}

/// A question for the rules of topics, under way.
pub struct RulesQuestion {
    // Before the client: its queue has to be given back first.
    question: ConfigQuestion,
    _client: Arc<Running>,
}

impl RulesQuestion {
    /// The rules of each topic whose configuration may be seen, by name; `None` while there is no answer. Once.
    pub fn answer(&self) -> Option<Vec<(String, TopicRules)>> {
        let topics = self.question.answer()?;
        Some(topics.into_iter().map(|(name, config)| (name, TopicRules::of(&config))).collect())
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("in_flight", &self.in_flight()).finish()
    }
}

impl ProducerSettings {
    /// librdkafka's configuration of this producer.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = self.client.base();
        self.client.set_default(&mut config, "batch.size", BATCH_BYTES.to_string());
        // The default is ten seconds: that much longer lanes would stand still after an outage.
        self.client.set_default(&mut config, "reconnect.backoff.max.ms", "2000");
        self.client.set_default(&mut config, "message.max.bytes", REQUEST_BYTES.to_string());
        self.client.set_default(&mut config, METADATA_INTERVAL, METADATA_INTERVAL_MS);
        let of_user = self.client.properties.get("message.max.bytes");
        let largest = of_user.and_then(|bytes| bytes.parse().ok()).unwrap_or(MESSAGE_BYTES);
        // A buffer smaller than a message would answer "full" to it for ever.
        let buffer_kib = self.buffer_bytes.max(2 * largest).div_ceil(1024).clamp(1, i32::MAX as u64);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // 0 is without end: time must never turn a broker's absence into a lost message.
            .set("message.timeout.ms", "0")
            .set("message.send.max.retries", i32::MAX.to_string())
            .set("partitioner", "murmur2_random")
            .set("linger.ms", (self.linger.as_secs_f64() * 1000.0).min(900_000.0).to_string())
            .set("queue.buffering.max.kbytes", buffer_kib.to_string())
            .set("queue.buffering.max.messages", self.buffer_messages.clamp(1, 10_000_000).to_string());
        if let Some(compression) = &self.compression {
            config.set("compression.codec", compression);
        }
        config
    }
}

#[cfg(test)]
mod tests;
