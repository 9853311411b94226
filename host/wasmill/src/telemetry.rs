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
    wasmill_pipeline::counters::describe();
    wasmill_deploy::counters::describe();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use wasmill_kafka::TopicPartition;
    use wasmill_pipeline::counters::{CommitCounters, InstanceCounters, PartitionCounters};

    use super::*;

    #[test]
    fn whatever_is_counted_is_described() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let counters = PartitionCounters::register("a", &TopicPartition::new("t", 0));
            counters.call_seconds.record(0.1);
            CommitCounters::register("a").seconds.record(0.1);
            InstanceCounters::register("a");
            wasmill_deploy::counters::count_swap("a", "swapped");
            wasmill_deploy::counters::record_pause("a", Duration::from_millis(1));
        });
        let text = recorder.handle().render();
        let names = |start: &str| -> BTreeSet<String> {
            let rest = text.lines().filter_map(|line| line.strip_prefix(start));
            rest.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
        };
        assert_eq!(names("# TYPE ").len(), 19, "{text}");
        assert_eq!(names("# TYPE "), names("# HELP "), "{text}");
    }
}
