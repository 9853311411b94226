//! Producing and consuming without rules: owned messages, one caller, no group. For commands such as `wasmill produce` and
//! `wasmill consume`, and for `dev`.

use crate::delivery::reason;
use crate::error::{ClientError, Code};
use crate::native::{Client, Event, Topic, each_header, text_of};
use crate::producer::{Fields, Headers, SendError, produce};
use crate::settings::ClientSettings;
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
use wasmill_core::Position;

/// A message, owned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainMessage {
    /// Its topic.
    pub topic: String,
    /// Its partition. To produce: negative lets the key decide, as Java clients do.
    pub partition: i32,
    /// Its offset. Ignored when produced.
    pub offset: i64,
    /// Milliseconds since the epoch. To produce: absent is now.
    pub timestamp: Option<i64>,
    /// The key. Absent is not empty.
    pub key: Option<Vec<u8>>,
    /// The value. Absent is not empty.
    pub value: Option<Vec<u8>>,
    /// Names and values in order. A name that is not UTF-8 is read with replacement characters.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Where a produced message ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Sends messages and waits until they are there.
pub struct PlainProducer {
    // Before the client, which must be the last to go.
    topics: HashMap<String, Topic>,
    queue: crate::native::Queue,
    client: Client,
    patience: Duration,
}

impl PlainProducer {
    /// Makes a client. `patience`: how long one message may take, all retries included.
    ///
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn open(settings: &ClientSettings, patience: Duration) -> Result<Self, ClientError> {
        let config = producing(settings, patience);
        let client = Client::open(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, &config, sys::RD_KAFKA_EVENT_DR)?;
        Ok(Self { topics: HashMap::new(), queue: client.main_queue(), client, patience })
    }

    /// Sends all messages and waits for all answers, which are in the order of the messages.
    pub fn send(&mut self, messages: &[PlainMessage]) -> Vec<Result<Placed, ClientError>> {
        let mut answers: Vec<Option<Result<Placed, ClientError>>> = vec![None; messages.len()];
        let mut waiting = 0usize;
        for (index, message) in messages.iter().enumerate() {
            loop {
                match self.enqueue(index as u64, message) {
                    Ok(()) => {
                        waiting += 1;
                        break;
                    }
                    Err(SendError::QueueFull) => waiting -= self.collect(&mut answers, Duration::from_millis(100)),
                    Err(SendError::Refused { code, text }) => {
                        answers[index] = Some(Err(refused(message, code, text)));
                        break;
                    }
                    Err(SendError::Fatal { text }) => {
                        answers[index] = Some(Err(refused(message, "_FATAL".into(), text)));
                        break;
                    }
                }
            }
        }
        // librdkafka answers by itself once `patience` is over; the rest is for its timers.
        let deadline = Instant::now() + self.patience + Duration::from_secs(5);
        while waiting > 0 && Instant::now() < deadline {
            waiting -= self.collect(&mut answers, Duration::from_millis(100));
        }
        let missing = || Code(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT as i32);
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(ClientError::request("produce", missing()))))
            .collect()
    }

    fn enqueue(&mut self, token: u64, message: &PlainMessage) -> Result<(), SendError> {
        if !self.topics.contains_key(&message.topic) {
            let topic = self.client.topic(&message.topic).map_err(|error| SendError::Refused {
                code: error.code().unwrap_or("_INVALID_ARG").into(),
                text: error.to_string(),
            })?;
            self.topics.insert(message.topic.clone(), topic);
        }
        let headers: Vec<_> = message.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
        let headers = Headers::of(&headers);
        let mut fields = Fields::new();
        fields.topic(&self.topics[&message.topic]);
        if message.partition >= 0 {
            fields.partition(message.partition);
        }
        fields.value(message.value.as_deref());
        fields.key(message.key.as_deref());
        fields.token(token);
        if let Some(timestamp) = message.timestamp {
            fields.timestamp(timestamp.max(1));
        }
        if let Some(headers) = &headers {
            fields.headers(headers);
        }
        // SAFETY: the message is borrowed for longer than this call; topic and headers live.
        unsafe { produce(&self.client, &fields)? };
        // Accepted: the list is librdkafka's now.
        std::mem::forget(headers);
        Ok(())
    }

    /// Takes one event; how many answers it brought.
    fn collect(&self, answers: &mut [Option<Result<Placed, ClientError>>], timeout: Duration) -> usize {
        let Some(event) = self.queue.poll(timeout) else { return 0 };
        let mut count = 0;
        while let Some((token, answer)) = next_answer(&event) {
            // Answers to an earlier call that gave up waiting have no place here any more.
            if let Some(slot @ None) = usize::try_from(token).ok().and_then(|token| answers.get_mut(token)) {
                *slot = Some(answer);
                count += 1;
            }
        }
        count
    }
}

/// What a producer is made with that sends at once and waits.
pub(crate) fn producing(settings: &ClientSettings, patience: Duration) -> ClientConfig {
    let mut config = settings.base();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "2")
        .set("message.timeout.ms", patience.as_millis().clamp(10, i32::MAX as u128).to_string());
    config
}

impl std::fmt::Debug for PlainProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlainProducer").finish_non_exhaustive()
    }
}

fn refused(message: &PlainMessage, code: String, text: String) -> ClientError {
    ClientError::Refused { what: format!("message to {}", message.topic), code, text }
}

/// The next delivery report in an event.
fn next_answer(event: &Event) -> Option<(u64, Result<Placed, ClientError>)> {
    // SAFETY: the event is ours and lives during the call; so does the message it hands out, and the topic's name. The
    // error is read as a number, as a new broker may send one that the enum does not have.
    unsafe {
        let message = sys::rd_kafka_event_message_next(event.ptr());
        if message.is_null() {
            return None;
        }
        let token = (*message)._private as usize as u64;
        let code = Code((&raw const (*message).err).cast::<i32>().read());
        if !code.is_error() {
            return Some((token, Ok(Placed { partition: (*message).partition, offset: (*message).offset })));
        }
        let what = format!("message to {}", text_of(sys::rd_kafka_topic_name((*message).rkt)));
        let error = match ClientError::request(what, code) {
            ClientError::Refused { what, code: name, .. } => {
                ClientError::Refused { what, code: name, text: reason(code) }
            }
            other => other,
        };
        Some((token, Err(error)))
    }
}

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
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client reported a problem");
    }
}

impl ConsumerContext for Quiet {}

/// Reads partitions of one topic without a group: nothing is committed, nobody else is disturbed.
pub struct PlainConsumer {
    consumer: BaseConsumer<Quiet>,
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
        let failed = |error: KafkaError| ClientError::from_rdkafka(what(), &error);
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(failed)?;
        let metadata = consumer.fetch_metadata(Some(topic), timeout).map_err(failed)?;
        let known: BTreeSet<i32> =
            metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
        if known.is_empty() {
            let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
            return Err(ClientError::request(what(), Code(code as i32)));
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
        Ok(Self { consumer, unread, end_told: false })
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
                Some(Ok(message)) => return Ok(Next::Message(Box::new(owned(&message)))),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.unread.remove(&partition);
                }
                Some(Err(error)) if passes(&error) => {}
                Some(Err(error)) => return Err(ClientError::from_rdkafka("consume", &error)),
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
    config.set("auto.offset.reset", "error");
    settings.set_default(&mut config, "fetch.wait.max.ms", "100");
    config
}

/// What a consumer is made with that belongs to no group.
pub(crate) fn without_group(settings: &ClientSettings) -> ClientConfig {
    let mut config = settings.base();
    // librdkafka reads assigned partitions only with a group id. Nothing is ever asked of that group.
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
    )
}

pub(crate) fn owned(message: &rdkafka::message::BorrowedMessage<'_>) -> PlainMessage {
    let mut headers = Vec::new();
    let add = |name: &[u8], value: Option<&[u8]>| {
        headers.push((String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec)));
    };
    // Not through rust-rdkafka's iterator, which panics at a name that is not UTF-8, and anybody can produce one.
    // SAFETY: the message is borrowed during the call and its consumer is used by one thread.
    unsafe { each_header(message.ptr(), add) };
    PlainMessage {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MockBroker;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn started(partitions: u32) -> (MockBroker, ClientSettings) {
        let broker = MockBroker::start(1).unwrap();
        broker.create_topic("t", partitions).unwrap();
        let settings = ClientSettings {
            bootstrap: broker.bootstrap().to_owned(),
            client_id: "test".into(),
            ..ClientSettings::default()
        };
        (broker, settings)
    }

    fn message(partition: i32, value: &str, timestamp: i64) -> PlainMessage {
        PlainMessage {
            topic: "t".into(),
            partition,
            value: Some(value.into()),
            timestamp: Some(timestamp),
            ..PlainMessage::default()
        }
    }

    fn read(settings: &ClientSettings, partitions: &[i32], from: Position) -> Vec<String> {
        let mut consumer = PlainConsumer::open(settings, "t", partitions, from, PATIENCE).unwrap();
        let messages = consumer.read_to_end(usize::MAX, PATIENCE).unwrap();
        messages.into_iter().map(|message| String::from_utf8(message.value.unwrap()).unwrap()).collect()
    }

    #[test]
    fn answers_where_each_message_went_in_the_order_of_the_messages() {
        let (_broker, settings) = started(2);
        let mut producer = PlainProducer::open(&settings, PATIENCE).unwrap();
        let messages = [message(0, "a", 1), message(1, "b", 2), message(7, "nowhere", 3), message(0, "c", 4)];
        let answers = producer.send(&messages);
        assert_eq!(answers[0], Ok(Placed { partition: 0, offset: 0 }));
        assert_eq!(answers[1], Ok(Placed { partition: 1, offset: 0 }));
        assert_eq!(answers[2].as_ref().unwrap_err().code(), Some("_UNKNOWN_PARTITION"));
        assert_eq!(answers[3], Ok(Placed { partition: 0, offset: 1 }));
    }

    #[test]
    fn reads_from_each_kind_of_beginning_to_the_end() {
        let (_broker, settings) = started(2);
        let mut producer = PlainProducer::open(&settings, PATIENCE).unwrap();
        // One message a batch: the mock broker finds times by batch.
        for (index, value) in ["a", "b", "c"].into_iter().enumerate() {
            producer.send(&[message(0, value, 1000 * (index as i64 + 1))]).pop().unwrap().unwrap();
        }
        assert_eq!(read(&settings, &[0], Position::Earliest), ["a", "b", "c"]);
        assert_eq!(read(&settings, &[0], Position::Offset(1)), ["b", "c"]);
        assert_eq!(read(&settings, &[0], Position::Last(1)), ["c"]);
        assert_eq!(read(&settings, &[0], Position::Last(0)), Vec::<String>::new());
        assert_eq!(read(&settings, &[0], Position::Last(u64::MAX)), ["a", "b", "c"]);
        assert_eq!(read(&settings, &[0, 1], Position::Latest), Vec::<String>::new());
        assert_eq!(read(&settings, &[], Position::Earliest), ["a", "b", "c"]);
    }

    #[test]
    fn follows_after_the_end_was_told_once() {
        let (_broker, settings) = started(1);
        let mut consumer = PlainConsumer::open(&settings, "t", &[], Position::Earliest, PATIENCE).unwrap();
        assert_eq!(consumer.next(PATIENCE).unwrap(), Next::End);
        let mut producer = PlainProducer::open(&settings, PATIENCE).unwrap();
        producer.send(&[message(0, "late", 1)]).pop().unwrap().unwrap();
        let Next::Message(found) = consumer.next(PATIENCE).unwrap() else { panic!("no message") };
        assert_eq!(found.value.as_deref(), Some(&b"late"[..]));
    }

    #[test]
    fn an_offset_that_does_not_exist_is_an_error_not_a_jump() {
        let (_broker, settings) = started(1);
        let mut consumer = PlainConsumer::open(&settings, "t", &[0], Position::Offset(500), PATIENCE).unwrap();
        let error = consumer.next(PATIENCE).unwrap_err();
        assert_eq!(error.code(), Some("_AUTO_OFFSET_RESET"), "{error:?}");
    }

    #[test]
    fn a_partition_that_does_not_exist_is_named() {
        let (_broker, settings) = started(1);
        let error = PlainConsumer::open(&settings, "t", &[3], Position::Earliest, PATIENCE).unwrap_err();
        assert!(error.to_string().contains("t/3"), "{error}");
    }

    #[test]
    fn a_header_name_that_is_not_utf8_is_read_all_the_same() {
        let (_broker, settings) = started(1);
        let producer = PlainProducer::open(&settings, PATIENCE).unwrap();
        let topic = producer.client.topic("t").unwrap();
        let headers = Headers::of(&[(b"\xff\xfe", Some(b"v"))]).unwrap();
        let mut fields = Fields::new();
        fields.topic(&topic);
        fields.headers(&headers);
        // SAFETY: topic and headers live.
        unsafe { produce(&producer.client, &fields).unwrap() };
        // Accepted: the list is librdkafka's now.
        std::mem::forget(headers);
        assert_eq!(producer.collect(&mut [None], PATIENCE), 1);
        let mut consumer = PlainConsumer::open(&settings, "t", &[], Position::Earliest, PATIENCE).unwrap();
        let found = consumer.read_to_end(10, PATIENCE).unwrap();
        assert_eq!(found[0].headers, [("\u{fffd}\u{fffd}".to_owned(), Some(b"v".to_vec()))]);
    }
}
