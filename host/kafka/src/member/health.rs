//! What the brokers last said of the topics that a member reads, and of those that somebody wants watched: for status.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::describe::{Described, UnderReplicated};

/// A topic as the brokers last described it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicHealth {
    /// How many partitions it has.
    pub partitions: i32,
    /// Partitions without a leader: nothing of them can be read or written.
    pub leaderless: Vec<i32>,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: Vec<UnderReplicated>,
    /// The broker's name of the error, if it described nothing: `UNKNOWN_TOPIC_OR_PART`, `TOPIC_AUTHORIZATION_FAILED`.
    pub error: Option<String>,
}

/// The answers of the brokers so far.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// When an answer came last.
    answered: Option<Instant>,
    topics: BTreeMap<String, TopicHealth>,
}

impl Health {
    /// An answer has come.
    pub(super) fn hear(&mut self, answer: &[Described], now: Instant) {
        self.answered = Some(now);
        for found in answer {
            let health = TopicHealth {
                partitions: found.partitions,
                leaderless: found.leaderless().collect(),
                under_replicated: found.under_replicated.clone(),
                error: found.err.is_error().then(|| found.err.name()),
            };
            self.topics.insert(found.topic.to_string(), health);
        }
    }

    pub(super) fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.answered.map(|answered| now.saturating_duration_since(answered))
    }

    pub(super) fn topics(&self) -> BTreeMap<String, TopicHealth> {
        self.topics.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_answer_and_before_the_first_nothing_is_said() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.silent_for(now), None);
        health.hear(&[], now);
        assert_eq!(health.silent_for(now + Duration::from_secs(7)), Some(Duration::from_secs(7)));
        health.hear(&[], now + Duration::from_secs(8));
        assert_eq!(health.silent_for(now + Duration::from_secs(9)), Some(Duration::from_secs(1)));
    }
}
