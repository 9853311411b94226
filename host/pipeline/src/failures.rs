//! Messages that failed: how many, which was the last, and one line in the log now and then. Dead letters that nobody looks
//! at are as good as lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use wasmill_core::GivenUp;
use wasmill_kafka::{TopicPartition, now_ms};

/// Between two lines in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A message that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The class of the failure, as in the dead letter's `error` header.
    pub class: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// The failed messages of a pipeline, since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStatus {
    /// How many.
    pub messages: u64,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastFailure>,
}

/// Counts them.
#[derive(Default)]
pub struct Failures {
    messages: AtomicU64,
    last: Mutex<Option<LastFailure>>,
    /// When the log was told, and how many there had been by then.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Failures {
    /// A message failed; it goes to `to`, or is skipped.
    pub fn add(
        &self,
        pipeline: &str,
        id: &TopicPartition,
        offset: i64,
        lost: &GivenUp,
        to: Option<&str>,
        now: Instant,
    ) {
        let messages = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let class = lost.class.as_str();
        *self.last.lock() = Some(LastFailure {
            topic: id.topic.to_string(),
            partition: id.partition,
            offset,
            class: class.to_owned(),
            reason: lost.reason.clone(),
            at_ms: now_ms(),
        });
        let mut logged = self.logged.lock();
        if logged.is_some_and(|(when, _)| now.saturating_duration_since(when) < LOG_INTERVAL) {
            return;
        }
        let before = logged.replace((now, messages)).map_or(0, |(_, before)| before);
        drop(logged);
        let (failed, last) = (messages - before, format!("{id} at {offset}"));
        let dead_letters = to.unwrap_or("none; they are skipped");
        tracing::warn!(
            pipeline, failed, total = messages, class, last, reason = %lost.reason, dead_letters,
            "messages failed; told at most every ten seconds"
        );
    }

    /// For status.
    pub fn status(&self) -> FailedStatus {
        FailedStatus { messages: self.messages.load(Ordering::Relaxed), last: self.last.lock().clone() }
    }
}

#[cfg(test)]
mod tests {
    use wasmill_core::ErrorClass;

    use super::*;

    #[test]
    fn all_are_counted_the_last_is_known_and_the_log_hears_of_them_now_and_then() {
        let (failures, now) = (Failures::default(), Instant::now());
        assert_eq!(failures.status(), FailedStatus::default());
        let lost = GivenUp { message: 0, attempts: 1, class: ErrorClass::Rejected, reason: "no".to_owned() };
        let id = TopicPartition::new("in", 3);
        for offset in 0..7 {
            failures.add("p", &id, offset, &lost, Some("dead"), now + Duration::from_secs(offset.unsigned_abs()));
        }
        let FailedStatus { messages, last } = failures.status();
        let last = last.expect("seven failed");
        assert_eq!((messages, last.offset, &*last.class, &*last.reason), (7, 6, "rejected", "no"));
        assert_eq!(*failures.logged.lock(), Some((now, 1)), "one line for the first, none within ten seconds");
        failures.add("p", &id, 7, &lost, None, now + LOG_INTERVAL);
        assert_eq!(*failures.logged.lock(), Some((now + LOG_INTERVAL, 8)));
    }
}
