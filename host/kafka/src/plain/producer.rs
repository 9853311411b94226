//! Sending messages and waiting until they are there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;

use super::message::PlainMessage;
use crate::error::{ClientError, Code, text_of};
use crate::native::{Client, Event, Queue, Topic};
use crate::produce_error::{ProduceErrorClass, SendError, reason};
use crate::producer::{Fields, Headers, REQUEST_BYTES, produce};
use crate::settings::ClientSettings;
use crate::token;

/// Where a produced message ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The partition that took it.
    pub partition: i32,
    /// The offset that it got.
    pub offset: i64,
}

/// Sends messages and waits until they are there.
pub struct PlainProducer {
    // Before the client, which must be the last to go.
    topics: HashMap<String, Topic>,
    queue: Queue,
    pub(super) client: Client,
    patience: Duration,
}

impl PlainProducer {
    /// Makes a client. `patience`: how long one message may take, all retries included.
    ///
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn open(settings: &ClientSettings, patience: Duration) -> Result<Self, ClientError> {
        let config = producing(settings, patience);
        let client =
            token::open(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, &config, sys::RD_KAFKA_EVENT_DR, settings.tokens())?;
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
                    Err(SendError::Refused { code, text, .. }) => {
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
        self.tell_fatal(messages, &mut answers);
        let missing = || Code(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT as i32);
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(ClientError::request("produce", missing()))))
            .collect()
    }

    /// After a fatal error every message is told of that, and none of the cause: a producer that may write nothing at all gets no
    /// id, and its messages are purged.
    fn tell_fatal(&self, messages: &[PlainMessage], answers: &mut [Option<Result<Placed, ClientError>>]) {
        let Some((code, text)) = self.client.as_ref().fatal() else { return };
        for (message, answer) in messages.iter().zip(answers) {
            let follows =
                |error: &ClientError| matches!(error.code(), Some("_FATAL" | "_PURGE_QUEUE" | "_PURGE_INFLIGHT"));
            if answer.as_ref().is_none_or(|answer| answer.as_ref().err().is_some_and(follows)) {
                *answer = Some(Err(refused(message, code.name(), text.clone())));
            }
        }
    }

    fn enqueue(&mut self, token: u64, message: &PlainMessage) -> Result<(), SendError> {
        if !self.topics.contains_key(&message.topic) {
            let topic = self.client.topic(&message.topic).map_err(|error| SendError::Refused {
                class: ProduceErrorClass::Topic,
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
    pub(super) fn collect(&self, answers: &mut [Option<Result<Placed, ClientError>>], timeout: Duration) -> usize {
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
    settings.set_default(&mut config, "message.max.bytes", REQUEST_BYTES.to_string());
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
    ClientError::Refused { what: format!("message to {}", message.topic), code, text }.needing(
        "Write",
        "topic",
        &message.topic,
    )
}

/// The next delivery report in an event.
fn next_answer(event: &Event) -> Option<(u64, Result<Placed, ClientError>)> {
    // SAFETY: the event is ours and lives during the call; so does the message it hands out, and the topic's name.
    unsafe {
        let message = sys::rd_kafka_event_message_next(event.ptr());
        if message.is_null() {
            return None;
        }
        let token = (*message)._private as usize as u64;
        let code = Code::read(&raw const (*message).err);
        if !code.is_error() {
            return Some((token, Ok(Placed { partition: (*message).partition, offset: (*message).offset })));
        }
        let topic = text_of(sys::rd_kafka_topic_name((*message).rkt));
        let what = format!("message to {topic}");
        let error = match ClientError::request(what, code) {
            ClientError::Refused { what, code: name, .. } => {
                ClientError::Refused { what, code: name, text: reason(code) }
            }
            other => other,
        };
        Some((token, Err(error.needing("Write", "topic", &topic))))
    }
}
