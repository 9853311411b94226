//! What can be wrong with a message that is produced: when it is sent, and when the brokers answer.

use crate::error::Code;
use rdkafka::bindings::rd_kafka_resp_err_t as E;

/// Why a message was not accepted. No report follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The buffer is full: [`wait_room`](crate::Producer::wait_room), then again.
    #[error("the producer's buffer is full")]
    QueueFull,
    /// This message can never be sent: too large, a timestamp or partition that cannot be, a topic that does not exist or
    /// refuses us.
    #[error("{text} ({code})")]
    Refused {
        /// librdkafka's name of the error.
        code: String,
        /// Its text.
        text: String,
    },
    /// The client can do nothing any more; the sink hears of it as well.
    #[error("the producer has failed: {text}")]
    Fatal {
        /// What happened.
        text: String,
    },
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    /// librdkafka's name of the error, such as `MSG_SIZE_TOO_LARGE`.
    pub code: String,
    /// What it means.
    pub text: String,
    /// True: nobody refused the message. It was dropped by [`Producer::purge`](crate::Producer::purge), a fatal error or the end of the producer,
    /// and may or may not have been written. Never a reason to give up on it.
    pub purged: bool,
    /// True: the topic refuses every message (not authorised, deleted), so that trying the next one is pointless.
    pub topic_wide: bool,
}

/// Why a message was not published, in words. The broker's own words cannot be had: in librdkafka 2.12.1
/// `rd_kafka_message_produce_errstr` points into an answer that was freed before the report is seen.
pub(crate) fn reason(code: Code) -> String {
    let hint = if code.is(E::RD_KAFKA_RESP_ERR_INVALID_RECORD) {
        "; a compacted topic takes no message without a key, and timestamps have bounds in some topics"
    } else if code.is(E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        "; the topic's max.message.bytes is the bound"
    } else {
        ""
    };
    code.text() + hint
}
