//! What is counted of a pipeline, with all its names. Counters are registered once, those of a partition when it is
//! assigned; the data plane only adds, once a batch.

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
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

const HANDED_OVER: &str = "wasmill_handed_over_messages_total";
const BYTES: &str = "wasmill_handed_over_bytes_total";
const CALLS: &str = "wasmill_handler_calls_total";
const CALL_SECONDS: &str = "wasmill_handler_call_seconds";
const ACKNOWLEDGED: &str = "wasmill_acknowledged_messages_total";
const EMITTED: &str = "wasmill_emitted_messages_total";
const RETRIED: &str = "wasmill_retries_total";
const GIVEN_UP: &str = "wasmill_given_up_messages_total";
const SKIPPED: &str = "wasmill_skipped_messages_total";
const CRASHED: &str = "wasmill_handler_crashes_total";
const RECYCLED: &str = "wasmill_instances_recycled_total";
const DROPPED_LOG_LINES: &str = "wasmill_handler_log_lines_dropped_total";
const RESTAMPED: &str = "wasmill_restamped_messages_total";
const REWINDS: &str = "wasmill_rewinds_total";
const STALE: &str = "wasmill_stale_completions_total";
const COMMITS: &str = "wasmill_commits_total";
const FAILED_COMMITS: &str = "wasmill_commit_failures_total";
const COMMIT_SECONDS: &str = "wasmill_commit_seconds";

/// Says of each what it counts. To be called once, before anything is counted.
pub fn describe() {
    describe_counter!(HANDED_OVER, "Messages handed over to the handler, repeats included");
    describe_counter!(BYTES, "Bytes of keys, values and headers handed over");
    describe_counter!(CALLS, "Calls of the handler, a batch each");
    describe_histogram!(CALL_SECONDS, "Duration of a handler call");
    describe_counter!(ACKNOWLEDGED, "Messages the handler acknowledged");
    describe_counter!(EMITTED, "Outputs and dead letters handed to the producer");
    describe_counter!(RETRIED, "Retries, asked for or after a crash of a single message");
    describe_counter!(GIVEN_UP, "Messages given up");
    describe_counter!(SKIPPED, "Messages skipped: by configuration or by an operator");
    describe_counter!(CRASHED, "Calls ended by a trap, a deadline, a limit or a broken contract");
    describe_counter!(RECYCLED, "Instances replaced between two batches because their memory only grew");
    describe_counter!(DROPPED_LOG_LINES, "Log lines of the handler dropped because it wrote too many in a second");
    describe_counter!(RESTAMPED, "Outputs published with the present time, since their topic refused their own");
    describe_counter!(REWINDS, "Returns of a partition to its watermark");
    describe_counter!(STALE, "Completions dropped because their generation or epoch was over");
    describe_counter!(COMMITS, "Commits sent to the coordinator");
    describe_counter!(FAILED_COMMITS, "Commits that failed; the newest watermarks go with the next one");
    describe_histogram!(COMMIT_SECONDS, "Duration of a commit");
}

/// What is counted of a pipeline's instances.
#[derive(Clone)]
pub struct InstanceCounters {
    /// Instances that were replaced because their memory only grew.
    pub recycled: Counter,
    /// Log lines that were dropped because an instance wrote too many.
    pub dropped_log_lines: Counter,
}

impl InstanceCounters {
    /// Registers the counters of a pipeline's instances.
    pub fn register(pipeline: &str) -> Self {
        let labels = [("pipeline", pipeline.to_owned())];
        Self { recycled: counter!(RECYCLED, &labels), dropped_log_lines: counter!(DROPPED_LOG_LINES, &labels) }
    }
}

/// What is counted of a pipeline's commits.
pub struct CommitCounters {
    /// Commits sent.
    pub sent: Counter,
    /// Partitions of them that were refused, and commits that failed as a whole.
    pub failed: Counter,
    /// Seconds of a commit.
    pub seconds: Histogram,
}

/// Counts an output that went out with another timestamp. Registered at the first: few pipelines ever have one.
pub fn restamped(pipeline: &str, topic: &str) {
    counter!(RESTAMPED, "pipeline" => pipeline.to_owned(), "topic" => topic.to_owned()).increment(1);
}

impl CommitCounters {
    /// Registers the counters of a pipeline's commits.
    pub fn register(pipeline: &str) -> Self {
        let labels = [("pipeline", pipeline.to_owned())];
        Self {
            sent: counter!(COMMITS, &labels),
            failed: counter!(FAILED_COMMITS, &labels),
            seconds: histogram!(COMMIT_SECONDS, &labels),
        }
    }
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
            handed_over: counter!(HANDED_OVER, &labels),
            bytes: counter!(BYTES, &labels),
            calls: counter!(CALLS, &labels),
            acknowledged: counter!(ACKNOWLEDGED, &labels),
            emitted: counter!(EMITTED, &labels),
            retried: counter!(RETRIED, &labels),
            given_up: counter!(GIVEN_UP, &labels),
            skipped: counter!(SKIPPED, &labels),
            crashed: counter!(CRASHED, &labels),
            rewinds: counter!(REWINDS, &labels),
            stale: counter!(STALE, &labels),
            call_seconds: histogram!(CALL_SECONDS, &[("pipeline", pipeline.to_owned())]),
        }
    }
}
