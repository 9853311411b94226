//! What a member tells whoever polls it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wasmill_core::RateLimit;

use crate::TopicPartition;

/// What `poll` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// An error that librdkafka gets over by itself, such as a broker that is away. The same code comes at most once in
    /// five seconds.
    Transient {
        /// librdkafka's name of the error.
        code: String,
        /// librdkafka's text of the error.
        text: String,
    },
    /// The member is of no more use. Close it and make a new one, after a while.
    Fatal {
        /// librdkafka's name of the error.
        code: String,
        /// librdkafka's text of the error.
        text: String,
    },
    /// Another process uses the same `instance_id`: stop for good, do not fight.
    Fenced {
        /// librdkafka's text.
        text: String,
    },
    /// A message came past its partition's queue: a bug here or in librdkafka, and a message that nobody handles.
    Leaked {
        /// The partition that it is of.
        id: TopicPartition,
        /// The offset of the message.
        offset: i64,
    },
    /// A topic that the member reads is not there: it was deleted, if it ever was.
    TopicGone {
        /// The name of the topic.
        topic: String,
    },
    /// A topic that was gone is there again. librdkafka may take minutes to notice; a new member sees it at once.
    TopicThere {
        /// The name of the topic.
        topic: String,
    },
    /// A topic of partitions that are held was deleted and made again: they are those of the old one, and their offsets
    /// mean nothing in the new one. A new member begins at the first messages of that.
    TopicMadeAgain {
        /// The name of the topic.
        topic: String,
    },
}

/// Lets the same transient error through once in a while.
#[derive(Default)]
pub(super) struct Quiet(HashMap<String, RateLimit>);

impl Quiet {
    const INTERVAL: Duration = Duration::from_secs(5);

    pub(super) fn admit(&mut self, code: &str, now: Instant) -> bool {
        self.0.entry(code.to_owned()).or_insert(RateLimit::new(1, Self::INTERVAL)).admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_told_of_now_and_then() {
        let mut quiet = Quiet::default();
        let start = Instant::now();
        assert!(quiet.admit("_TRANSPORT", start) && quiet.admit("_ALL_BROKERS_DOWN", start));
        assert!(!quiet.admit("_TRANSPORT", start + Duration::from_secs(4)));
        assert!(quiet.admit("_TRANSPORT", start + Duration::from_secs(5)));
    }
}
