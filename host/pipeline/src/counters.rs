//! The counters of a partition, registered once when it is assigned; the data plane only adds, once a batch.

use metrics::{Counter, Histogram, counter, histogram};
use wasmill_kafka::TopicPartition;

/// What is counted for one partition.
pub struct PartitionCounters {
    /// Messages handed over to the handler, repeats included.
    pub handed_over: Counter,
    /// Payload bytes handed over.
    pub bytes: Counter,
    /// Handler calls.
    pub calls: Counter,
    /// Messages acknowledged by the handler.
    pub acknowledged: Counter,
    /// Outputs handed to the producer.
    pub emitted: Counter,
    /// Retries asked for, crashes of a single message included.
    pub retried: Counter,
    /// Messages given up.
    pub given_up: Counter,
    /// Given-up messages that were skipped rather than dead-lettered.
    pub skipped: Counter,
    /// Calls that ended in a trap, a deadline, a limit or a lie.
    pub crashed: Counter,
    /// Rewinds: new epochs.
    pub rewinds: Counter,
    /// Completions that came too late for their generation or epoch.
    pub stale: Counter,
    /// Seconds of a handler call.
    pub call_seconds: Histogram,
}

/// Instances of a pipeline that were replaced because their memory only grew.
pub fn recycled(pipeline: &str) -> Counter {
    counter!("wasmill_instances_recycled_total", "pipeline" => pipeline.to_owned())
}

impl PartitionCounters {
    /// Registers the counters of `id` in `pipeline`.
    pub fn register(pipeline: &str, id: &TopicPartition) -> Self {
        let labels = [
            ("pipeline", pipeline.to_owned()),
            ("topic", id.topic.to_string()),
            ("partition", id.partition.to_string()),
        ];
        Self {
            handed_over: counter!("wasmill_handed_over_messages_total", &labels),
            bytes: counter!("wasmill_handed_over_bytes_total", &labels),
            calls: counter!("wasmill_handler_calls_total", &labels),
            acknowledged: counter!("wasmill_acknowledged_messages_total", &labels),
            emitted: counter!("wasmill_emitted_messages_total", &labels),
            retried: counter!("wasmill_retries_total", &labels),
            given_up: counter!("wasmill_given_up_messages_total", &labels),
            skipped: counter!("wasmill_skipped_messages_total", &labels),
            crashed: counter!("wasmill_handler_crashes_total", &labels),
            rewinds: counter!("wasmill_rewinds_total", &labels),
            stale: counter!("wasmill_stale_completions_total", &labels),
            call_seconds: histogram!("wasmill_handler_call_seconds", &[("pipeline", pipeline.to_owned())]),
        }
    }
}
