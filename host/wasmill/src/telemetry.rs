//! Logs and metrics. Log lines go through a bounded writer that drops and counts rather than waits: a lane must not
//! stand still because somebody does not read standard error.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Log lines that may wait to be written.
const LINES_WAITING: usize = 16_384;

/// How often samples of histograms are folded.
const UPKEEP: std::time::Duration = std::time::Duration::from_secs(5);

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging to standard error. The guard writes what is left when it is dropped.
pub fn start_logging(format: LogFormat, level: &str) -> anyhow::Result<WorkerGuard> {
    let (writer, guard): (NonBlocking, WorkerGuard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING)
        .thread_name("log")
        .finish(std::io::stderr());
    let filter = EnvFilter::try_new(level).map_err(|error| {
        anyhow::anyhow!("log level `{level}`: {error}; hint: write `info`, or `info,wasmill=debug`")
    })?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Json => logs.json().flatten_event(true).init(),
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
    Ok(guard)
}

/// Collects metrics for `/metrics`.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    const SECONDS: [f64; 12] = [0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    describe();
    // Samples of histograms pile up until they are folded, and nobody may ever ask for /metrics.
    let upkeep = handle.clone();
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            upkeep.run_upkeep();
        }
    })?;
    Ok(handle)
}

fn describe() {
    use metrics::{describe_counter as counter, describe_histogram as histogram};
    counter!("wasmill_handed_over_messages_total", "Messages handed over to the handler, repeats included");
    counter!("wasmill_handed_over_bytes_total", "Bytes of keys, values and headers handed over");
    counter!("wasmill_handler_calls_total", "Calls of the handler, a batch each");
    counter!("wasmill_acknowledged_messages_total", "Messages the handler acknowledged");
    counter!("wasmill_emitted_messages_total", "Outputs and dead letters handed to the producer");
    counter!("wasmill_retries_total", "Retries, asked for or after a crash of a single message");
    counter!("wasmill_given_up_messages_total", "Messages given up");
    counter!("wasmill_skipped_messages_total", "Messages skipped: by configuration or by an operator");
    counter!("wasmill_handler_crashes_total", "Calls ended by a trap, a deadline, a limit or a broken contract");
    counter!(
        "wasmill_instances_recycled_total",
        "Instances replaced between two batches because their memory only grew"
    );
    counter!("wasmill_rewinds_total", "Returns of a partition to its watermark");
    counter!("wasmill_stale_completions_total", "Completions dropped because their generation or epoch was over");
    counter!("wasmill_commits_total", "Commits sent to the coordinator");
    counter!("wasmill_commit_failures_total", "Commits that failed; the newest watermarks go with the next one");
    histogram!("wasmill_handler_call_seconds", "Duration of a handler call");
    histogram!("wasmill_commit_seconds", "Duration of a commit");
}
