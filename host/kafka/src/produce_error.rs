//! What can be wrong with a message that is produced, at the send and in the report, and what that is about: the message,
//! its topic, or nobody. Both sides ask the one table in here.

use rdkafka::bindings::rd_kafka_resp_err_t as E;

use crate::error::Code;

/// What an error of producing is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProduceErrorClass {
    /// The message can never be taken as it is: too large, no key for a compacted topic, a timestamp out of bounds.
    Message,
    /// The topic takes nothing, for now or at all (not authorised, deleted, too few replicas): the next message would fare
    /// no better.
    Topic,
    /// Nobody refused the message. It was dropped by [`Producer::purge`](crate::Producer::purge) or the end of the
    /// producer, and may or may not have been written. Never a reason to give up on it.
    Purged,
    /// Nobody refused the message: the partition that it waited for went away, with its topic or because the topic was made
    /// again with fewer. To be sent again, to what is there then.
    Moved,
    /// Passes by itself: the buffer is full.
    Transient,
    /// The client can do nothing any more. As with `Purged`, no message is to blame.
    Fatal,
}

/// Every code that has a class of its own. What is not in here is the message's fault.
const CLASSES: &[(E, ProduceErrorClass)] = &[
    (E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ProduceErrorClass::Message),
    (E::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, ProduceErrorClass::Message),
    (E::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, ProduceErrorClass::Message),
    (E::RD_KAFKA_RESP_ERR_INVALID_RECORD, ProduceErrorClass::Message),
    (E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, ProduceErrorClass::Message),
    (E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ProduceErrorClass::Message),
    (BYSTANDER, ProduceErrorClass::Message),
    (E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ProduceErrorClass::Topic),
    (E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ProduceErrorClass::Topic),
    (E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ProduceErrorClass::Topic),
    (E::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ProduceErrorClass::Topic),
    (E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ProduceErrorClass::Topic),
    // Tried again by librdkafka without end; here in case they are told all the same.
    (E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, ProduceErrorClass::Topic),
    (E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ProduceErrorClass::Topic),
    (E::RD_KAFKA_RESP_ERR__PURGE_QUEUE, ProduceErrorClass::Purged),
    (E::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, ProduceErrorClass::Purged),
    (E::RD_KAFKA_RESP_ERR__DESTROY, ProduceErrorClass::Purged),
    (E::RD_KAFKA_RESP_ERR__QUEUE_FULL, ProduceErrorClass::Transient),
    (E::RD_KAFKA_RESP_ERR__FATAL, ProduceErrorClass::Fatal),
];

/// The error of a message that is only in the same batch as a bad one.
const BYSTANDER: E = E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD;

impl ProduceErrorClass {
    pub(crate) fn of(code: Code) -> Self {
        CLASSES.iter().find(|(err, _)| code.is(*err)).map_or(Self::Message, |(_, class)| *class)
    }

    /// Whether somebody refused the message, or whatever is sent to its topic. If not, it is to be sent again.
    pub fn is_refusal(self) -> bool {
        match self {
            Self::Message | Self::Topic => true,
            Self::Purged | Self::Moved | Self::Transient | Self::Fatal => false,
        }
    }
}

/// Whether the message is only in the same batch as a bad one.
pub(crate) fn is_bystander(code: Code) -> bool {
    code.is(BYSTANDER)
}

/// Whether a report says that the partition of a message is no more. Librdkafka destroys it with what waits in its queue, or
/// fails what it has put aside for it. Of a producer that is not ending.
pub(crate) fn is_partition_gone(code: Code) -> bool {
    code.is(E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) || code.is(E::RD_KAFKA_RESP_ERR__DESTROY)
}

/// Whether a topic does not take the message's timestamp.
pub(crate) fn is_bad_timestamp(code: Code) -> bool {
    code.is(E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP)
}

/// Why a message was not accepted. No report follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The buffer is full: [`wait_room`](crate::Producer::wait_room), then again.
    #[error("the producer's buffer is full")]
    QueueFull,
    /// It was not taken; the class says what that is about.
    #[error("{text} ({code})")]
    Refused {
        /// What the refusal is about.
        class: ProduceErrorClass,
        /// librdkafka's name of the error.
        code: String,
        /// librdkafka's text of the error.
        text: String,
    },
    /// The client can do nothing any more; the sink hears of it as well.
    #[error("the producer has failed: {text}")]
    Fatal {
        /// librdkafka's text of the error.
        text: String,
    },
}

impl SendError {
    /// The error of a send. `fatal`: librdkafka says that it has ended the client; `text` is its own explanation.
    pub(crate) fn of(code: Code, fatal: bool, text: String) -> Self {
        match ProduceErrorClass::of(code) {
            ProduceErrorClass::Transient => Self::QueueFull,
            _ if fatal => Self::Fatal { text },
            ProduceErrorClass::Fatal => Self::Fatal { text },
            // librdkafka has the broker's words for it, which was never asked.
            class if code.is(E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) => {
                let text = "larger than the client's message.max.bytes".to_owned();
                Self::Refused { class, code: code.name(), text }
            }
            class => Self::Refused { class, code: code.name(), text: code.text() },
        }
    }

    /// Whether it was refused with this code.
    pub(crate) fn is_refusal_with(&self, err: E) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == Code(err as i32).name())
    }

    /// A refusal of ours, with librdkafka's explanation.
    pub(crate) fn refused(err: E) -> Self {
        let code = Code(err as i32);
        Self::refused_because(err, code.text())
    }

    /// A refusal of ours, with one of our own.
    pub(crate) fn refused_because(err: E, text: String) -> Self {
        let code = Code(err as i32);
        Self::Refused { class: ProduceErrorClass::of(code), code: code.name(), text }
    }
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    /// What the error is about.
    pub class: ProduceErrorClass,
    /// librdkafka's name of the error, such as `MSG_SIZE_TOO_LARGE`.
    pub code: String,
    /// librdkafka's text of the error.
    pub text: String,
}

impl DeliveryError {
    pub(crate) fn new(class: ProduceErrorClass, code: Code) -> Self {
        Self { class, code: code.name(), text: reason(code) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_named_has_its_class() {
        use ProduceErrorClass::{Fatal, Message, Purged, Topic, Transient};
        let expected = [
            ("MSG_SIZE_TOO_LARGE", Message),
            ("RECORD_LIST_TOO_LARGE", Message),
            ("INVALID_MSG_SIZE", Message),
            ("INVALID_RECORD", Message),
            ("INVALID_TIMESTAMP", Message),
            ("_UNKNOWN_PARTITION", Message),
            ("_INVALID_DIFFERENT_RECORD", Message),
            ("TOPIC_AUTHORIZATION_FAILED", Topic),
            ("CLUSTER_AUTHORIZATION_FAILED", Topic),
            ("UNKNOWN_TOPIC_OR_PART", Topic),
            ("TOPIC_EXCEPTION", Topic),
            ("_UNKNOWN_TOPIC", Topic),
            ("NOT_ENOUGH_REPLICAS", Topic),
            ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", Topic),
            ("_PURGE_QUEUE", Purged),
            ("_PURGE_INFLIGHT", Purged),
            ("_DESTROY", Purged),
            ("_QUEUE_FULL", Transient),
            ("_FATAL", Fatal),
        ];
        let named: Vec<_> = CLASSES
            .iter()
            .map(|(err, _)| Code(*err as i32))
            .map(|code| (code.name(), ProduceErrorClass::of(code)))
            .collect();
        let named: Vec<_> = named.iter().map(|(name, class)| (name.as_str(), *class)).collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn a_code_that_is_not_named_is_the_fault_of_the_message() {
        for code in [Code(9999), Code(E::RD_KAFKA_RESP_ERR_UNKNOWN as i32)] {
            assert_eq!(ProduceErrorClass::of(code), ProduceErrorClass::Message, "{code:?}");
        }
    }

    #[test]
    fn a_send_and_a_report_class_the_same_code_alike() {
        for (err, class) in CLASSES.iter().copied().filter(|(_, class)| class.is_refusal()) {
            let code = Code(err as i32);
            let sent = SendError::of(code, false, String::new());
            assert!(matches!(sent, SendError::Refused { class: of, .. } if of == class), "{sent:?}");
        }
    }
}
