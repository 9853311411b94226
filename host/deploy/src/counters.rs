//! What is counted of swaps, with all its names.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};

const SWAPS: &str = "wasmill_swaps_total";
const SWAP_PAUSE_SECONDS: &str = "wasmill_swap_pause_seconds";

/// Says of each what it counts. To be called once, before anything is counted.
pub fn describe() {
    describe_counter!(SWAPS, "Swaps, canaries, shadows and rollbacks that took effect, and those that were refused");
    describe_histogram!(
        SWAP_PAUSE_SECONDS,
        "Time between a lane's last batch of the old version and its first of the new one"
    );
}

/// A swap of the pipeline's handler had this outcome.
pub fn count_swap(pipeline: &str, outcome: &'static str) {
    counter!(SWAPS, "pipeline" => pipeline.to_owned(), "outcome" => outcome).increment(1);
}

/// A lane of the pipeline stood still so long for a swap.
pub fn record_pause(pipeline: &str, pause: Duration) {
    histogram!(SWAP_PAUSE_SECONDS, "pipeline" => pipeline.to_owned()).record(pause.as_secs_f64());
}
