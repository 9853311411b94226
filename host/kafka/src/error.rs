//! What a Kafka client can answer besides success, sorted by what the caller has to do about it.
//!
//! A *code* is librdkafka's short name of an error (`ILLEGAL_GENERATION`, `_TRANSPORT`; a leading underscore marks those
//! that librdkafka itself raised). It is what people search for, so it is kept beside every text.

use std::ffi::{CStr, c_char};

use rdkafka::bindings as sys;

/// A failed call on a client: making it, configuring it, or one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A property was refused. Somebody has to change the configuration.
    #[error("kafka property `{key}` refused: {text}")]
    Property {
        /// The property as it was given to librdkafka.
        key: String,
        /// librdkafka's reason.
        text: String,
    },
    /// The client could not be made.
    #[error("cannot make a kafka client: {0}")]
    Open(String),
    /// A name or a value holds a NUL byte and cannot reach librdkafka.
    #[error("{what} holds a NUL byte")]
    Nul {
        /// What held it, such as `topic name`.
        what: &'static str,
    },
    /// A request failed in a way that may pass: broker away, coordinator moving, timeout. Try again.
    #[error("{what}: {text} ({code})")]
    Transient {
        /// What was asked for.
        what: String,
        /// librdkafka's name of the error.
        code: String,
        /// librdkafka's text of the error.
        text: String,
    },
    /// A request was refused and will be again.
    #[error("{what}: {text} ({code})")]
    Refused {
        /// What was asked for.
        what: String,
        /// librdkafka's name of the error.
        code: String,
        /// librdkafka's text of the error.
        text: String,
    },
    /// An ACL is missing, or one denies it.
    #[error("{what}: {operation} on {resource} is not allowed ({code}); hint: {hint}")]
    Denied {
        /// What was asked for.
        what: String,
        /// librdkafka's name of the error.
        code: String,
        /// What of: `topic orders`, `group orders`, `the cluster`.
        resource: String,
        /// The operation that has to be allowed, in Kafka's words: `Read`.
        operation: &'static str,
        /// The command that allows it.
        hint: String,
    },
    /// No broker can be used, and why.
    #[error("cannot use the cluster: {server}: {text}; hint: {hint}")]
    Unreachable {
        /// Which one was tried, `host:port`.
        server: String,
        /// The cause as the client knows it.
        text: String,
        /// What to look at.
        hint: &'static str,
        /// It may pass by itself: nobody listens, a name is not known. Else somebody has to change something.
        passing: bool,
    },
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// The error of a request: `what` says what was asked for.
    pub(crate) fn request(what: impl Into<String>, err: Code) -> Self {
        let (what, code, text) = (what.into(), err.name(), err.text());
        if err.is_transient() { Self::Transient { what, code, text } } else { Self::Refused { what, code, text } }
    }

    /// The same from rust-rdkafka's error.
    pub(crate) fn from_rdkafka(what: impl Into<String>, error: &rdkafka::error::KafkaError) -> Self {
        if let rdkafka::error::KafkaError::ClientConfig(_, text, key, _) = error {
            return Self::Property { key: key.clone(), text: text.clone() };
        }
        match error.rdkafka_error_code() {
            Some(code) => Self::request(what, Code(code as i32)),
            None => Self::Open(error.to_string()),
        }
    }

    /// The same with what has to be allowed, if it is an authorization that failed: `kind` is `topic` or `group`, and errors of
    /// the other kind stay as they are.
    pub(crate) fn needing(self, operation: &'static str, kind: &'static str, name: &str) -> Self {
        let (Self::Refused { what, code, .. } | Self::Transient { what, code, .. }) = &self else { return self };
        let (resource, operation, option) = match code.as_str() {
            "CLUSTER_AUTHORIZATION_FAILED" if operation == "Write" => {
                ("the cluster".to_owned(), "IdempotentWrite", "--cluster".to_owned())
            }
            "CLUSTER_AUTHORIZATION_FAILED" => ("the cluster".to_owned(), operation, "--cluster".to_owned()),
            code if code.ends_with("_AUTHORIZATION_FAILED") && code.to_ascii_lowercase().starts_with(kind) => {
                (format!("{kind} {name}"), operation, format!("--{kind} {name}"))
            }
            _ => return self,
        };
        let hint = format!("kafka-acls.sh --add --allow-principal User:NAME --operation {operation} {option}");
        Self::Denied { what: what.clone(), code: code.clone(), resource, operation, hint }
    }

    /// True if the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. } | Self::Unreachable { passing: true, .. })
    }

    /// librdkafka's name of the error, where there is one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Transient { code, .. } | Self::Refused { code, .. } | Self::Denied { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// An error number of librdkafka. A plain integer, because a newer broker may send a number that the generated enum does
/// not have, and an enum with an unknown value is undefined behaviour.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i32);

impl Code {
    pub(crate) const NONE: Self = Self(0);

    /// Reads an error of librdkafka's by its number.
    ///
    /// # Safety
    /// `err` points to an error that lives during the call. Its value may be one that the enum does not have.
    pub(crate) unsafe fn read(err: *const sys::rd_kafka_resp_err_t) -> Self {
        // SAFETY: promised by the caller; the enum is a C int.
        Self(unsafe { err.cast::<i32>().read() })
    }

    /// The code of a call's error; NULL is none. The error stays the owner's.
    ///
    /// # Safety
    /// `error` is NULL or lives during the call.
    pub(crate) unsafe fn of(error: *const sys::rd_kafka_error_t) -> Self {
        if error.is_null() {
            return Self::NONE;
        }
        // SAFETY: not NULL, and alive says the caller.
        Self(unsafe { sys::rd_kafka_error_code(error) } as i32)
    }

    /// The same of an error that is given back.
    ///
    /// # Safety
    /// `error` is NULL or belongs to the caller, who gives it away.
    pub(crate) unsafe fn take(error: *mut sys::rd_kafka_error_t) -> Self {
        // SAFETY: promised by the caller; librdkafka takes NULL.
        unsafe {
            let code = Self::of(error);
            sys::rd_kafka_error_destroy(error);
            code
        }
    }

    pub(crate) fn is_error(self) -> bool {
        self.0 != 0
    }

    pub(crate) fn is(self, err: sys::rd_kafka_resp_err_t) -> bool {
        self.0 == err as i32
    }

    /// `ILLEGAL_GENERATION`, `_TRANSPORT`; `ERR_1234` for a number this librdkafka does not know.
    pub(crate) fn name(self) -> String {
        match sys::rd_kafka_resp_err_t::try_from(self.0) {
            // SAFETY: the value is one of the enum's; the function answers with a pointer to a static string, or NULL
            // for a number that has no name, which `text_of` takes.
            Ok(err) => unsafe { text_of(sys::rd_kafka_err2name(err)) },
            Err(_) => format!("ERR_{}", self.0),
        }
    }

    /// librdkafka's one-line explanation.
    pub(crate) fn text(self) -> String {
        match sys::rd_kafka_resp_err_t::try_from(self.0) {
            // SAFETY: as in `name`.
            Ok(err) => unsafe { text_of(sys::rd_kafka_err2str(err)) },
            Err(_) => format!("error {} of the broker, unknown to this version", self.0),
        }
    }

    /// Errors of requests that may pass by themselves: the broker or the coordinator is away, moving, starting or slow.
    pub(crate) fn is_transient(self) -> bool {
        use rdkafka::bindings::rd_kafka_resp_err_t as E;
        [
            E::RD_KAFKA_RESP_ERR__TRANSPORT,
            E::RD_KAFKA_RESP_ERR__TIMED_OUT,
            E::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
            E::RD_KAFKA_RESP_ERR__WAIT_COORD,
            E::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
            E::RD_KAFKA_RESP_ERR__RESOLVE,
            E::RD_KAFKA_RESP_ERR__RETRY,
            E::RD_KAFKA_RESP_ERR__WAIT_CACHE,
            E::RD_KAFKA_RESP_ERR__IN_PROGRESS,
            E::RD_KAFKA_RESP_ERR__NODE_UPDATE,
            E::RD_KAFKA_RESP_ERR__DESTROY_BROKER,
            E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
            E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            E::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
            E::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
            E::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
            E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            E::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            E::RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
            E::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
            E::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
            E::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
            E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            E::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
        ]
        .into_iter()
        .any(|e| self.is(e))
    }
}

/// Copies a C string of librdkafka; NULL is the empty text.
///
/// # Safety
/// `text` is NULL or points to a NUL-terminated string that lives during the call.
pub(crate) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// What became of a commit request as a whole. What single partitions were told is in [`CommitRefusal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Try again with the newest watermarks as long as the partitions are held: a rebalance is under way, the member's
    /// epoch moved on, the coordinator moves or is away, or no answer came in time.
    #[error("the commit has to be tried again ({code})")]
    Again {
        /// librdkafka's name of the error.
        code: String,
    },
    /// The generation is over for the group. Nothing may be committed for it any more: close it.
    #[error("the generation is over for the group ({code})")]
    Closed {
        /// librdkafka's name of the error.
        code: String,
    },
    /// Anything else, such as a missing permission.
    #[error("{text} ({code})")]
    Other {
        /// librdkafka's name of the error.
        code: String,
        /// librdkafka's text of the error.
        text: String,
    },
}

/// One partition whose offset the group did not take although the request as a whole was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRefusal {
    /// The partition whose offset was refused.
    pub id: crate::TopicPartition,
    /// What to do about it.
    pub error: CommitError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_told_with_what_to_allow() {
        let err = |code: sys::rd_kafka_resp_err_t| ClientError::request("topic in", Code(code as i32));
        use sys::rd_kafka_resp_err_t as E;
        let denied = err(E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).needing("Describe", "topic", "in");
        assert_eq!(denied.code(), Some("TOPIC_AUTHORIZATION_FAILED"));
        assert_eq!(
            denied.to_string(),
            "topic in: Describe on topic in is not allowed (TOPIC_AUTHORIZATION_FAILED); hint: kafka-acls.sh --add \
             --allow-principal User:NAME --operation Describe --topic in"
        );
        let writes = err(E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED).needing("Write", "topic", "in");
        assert!(writes.to_string().contains("--operation IdempotentWrite --cluster"), "{writes}");
        let gone = err(E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        assert_eq!(gone.clone().needing("Describe", "topic", "in"), gone);
    }
}
