//! Reading a topic without a group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use wasmill_core::Position;

use super::message::PlainMessage;
use crate::error::{ClientError, Code};
use crate::settings::ClientSettings;
use crate::token::{self, TokenSource};

/// What [`PlainConsumer::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A message.
    Message(Box<PlainMessage>),
    /// Every partition has been read to its end. Comes once; go on to follow what is produced from now on.
    End,
    /// Nothing within the time.
    Nothing,
}

/// Keeps rdkafka from logging for us: who reads tells what does not pass by itself, and the end of a partition,
/// which it would call an error, is none.
pub(crate) struct Quiet(pub(crate) Option<TokenSource>);

impl ClientContext for Quiet {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        token::for_consumer(self.0.as_ref())
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client reported a problem");
    }
}

impl ConsumerContext for Quiet {}

/// Reads partitions of one topic without a group: nothing is committed, nobody else is disturbed.
pub struct PlainConsumer {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    unread: BTreeSet<i32>,
    end_told: bool,
}

impl PlainConsumer {
    /// Reads `partitions` of a topic, all if empty.
    ///
    /// # Errors
    /// A property refused, no broker within `timeout`, no such topic or partition.
    pub fn open(
        settings: &ClientSettings,
        topic: &str,
        partitions: &[i32],
        from: Position,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let config = reading(settings);
        let what = || format!("topic {topic}");
        let failed = |error: KafkaError| ClientError::from_rdkafka(what(), &error).needing("Describe", "topic", topic);
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet(settings.tokens())).map_err(failed)?;
        token::first(&consumer, settings.tokens().as_ref());
        let metadata = consumer.fetch_metadata(Some(topic), timeout).map_err(failed)?;
        let known: BTreeSet<i32> =
            metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
        if known.is_empty() {
            // What is not there is told from what may not be seen.
            let unknown = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
            let code = metadata.topics().iter().find_map(|topic| topic.error()).unwrap_or(unknown);
            return Err(ClientError::request(what(), Code(code as i32)).needing("Describe", "topic", topic));
        }
        let unread: BTreeSet<i32> =
            if partitions.is_empty() { known.clone() } else { partitions.iter().copied().collect() };
        if let Some(missing) = unread.difference(&known).next() {
            let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
            return Err(ClientError::request(format!("partition {topic}/{missing}"), Code(code as i32)));
        }
        let mut list = TopicPartitionList::new();
        for &partition in &unread {
            let offset = match from {
                Position::Earliest => Offset::Beginning,
                Position::Latest => Offset::End,
                Position::Offset(offset) => Offset::Offset(offset),
                Position::Time(time) => Offset::Offset(time),
                Position::Last(count) => {
                    let (low, high) = consumer.fetch_watermarks(topic, partition, timeout).map_err(failed)?;
                    Offset::Offset(high.saturating_sub_unsigned(count).max(low))
                }
            };
            list.add_partition_offset(topic, partition, offset).map_err(failed)?;
        }
        if let Position::Time(_) = from {
            list = consumer.offsets_for_times(list, timeout).map_err(failed)?;
        }
        consumer.assign(&list).map_err(failed)?;
        Ok(Self { consumer, topic: topic.to_owned(), unread, end_told: false })
    }

    /// What comes next, waiting `timeout` at most.
    ///
    /// # Errors
    /// An offset that does not exist, a missing permission, and whatever else does not pass by itself.
    pub fn next(&mut self, timeout: Duration) -> Result<Next, ClientError> {
        let deadline = Instant::now() + timeout;
        loop {
            if self.unread.is_empty() && !self.end_told {
                self.end_told = true;
                return Ok(Next::End);
            }
            match self.consumer.poll(deadline.saturating_duration_since(Instant::now())) {
                None => return Ok(Next::Nothing),
                Some(Ok(message)) => return Ok(Next::Message(Box::new(PlainMessage::copy(&message)))),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.unread.remove(&partition);
                }
                Some(Err(error)) if passes(&error) => {}
                Some(Err(error)) => {
                    return Err(ClientError::from_rdkafka("consume", &error).needing("Read", "topic", &self.topic));
                }
            }
            if Instant::now() >= deadline && !self.unread.is_empty() {
                return Ok(Next::Nothing);
            }
        }
    }

    /// Everything up to the end as it is met, `limit` messages at most.
    ///
    /// # Errors
    /// As [`PlainConsumer::next`]; a timeout if the end is not reached in time.
    pub fn read_to_end(&mut self, limit: usize, timeout: Duration) -> Result<Vec<PlainMessage>, ClientError> {
        let deadline = Instant::now() + timeout;
        let mut messages = Vec::new();
        while messages.len() < limit {
            match self.next(deadline.saturating_duration_since(Instant::now()))? {
                Next::Message(message) => messages.push(*message),
                Next::End => break,
                Next::Nothing => {
                    let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT;
                    return Err(ClientError::request("read to the end", Code(code as i32)));
                }
            }
        }
        Ok(messages)
    }
}

impl std::fmt::Debug for PlainConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlainConsumer").field("unread", &self.unread).finish_non_exhaustive()
    }
}

/// What a [`PlainConsumer`] is made with.
pub(crate) fn reading(settings: &ClientSettings) -> ClientConfig {
    let mut config = without_group(settings);
    settings.verify_checksums(&mut config);
    config.set("auto.offset.reset", "error");
    settings.set_default(&mut config, "fetch.wait.max.ms", "100");
    config
}

/// What a consumer is made with that belongs to no group.
pub(crate) fn without_group(settings: &ClientSettings) -> ClientConfig {
    let mut config = settings.base();
    // librdkafka reads assigned partitions only with a group id. It looks for that group's coordinator, which may be refused
    // for want of Describe on a group that nobody has heard of: see `passes`.
    config
        .set("group.id", format!("{}-without-group", settings.client_id))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true");
    config
}

/// Errors that librdkafka works on by itself: reading goes on when they are over.
pub(crate) fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        error.rdkafka_error_code(),
        Some(C::BrokerTransportFailure | C::AllBrokersDown | C::Resolve | C::OperationTimedOut)
            // Of the group's coordinator, of which nothing is needed.
            | Some(C::GroupAuthorizationFailed | C::CoordinatorNotAvailable | C::CoordinatorLoadInProgress | C::NotCoordinator)
    )
}
