//! The gauges of `/metrics`, written from a status when somebody asks.
//!
//! Not through the recorder of the counters: that keeps a gauge with its last value for ever, so that a partition which
//! went to another process would be shown here as well, with the lag of that day. What is not held has no row, which
//! is how Prometheus is told that a series ends.
//!
//! Nor by an encoder: `prometheus-client` writes OpenMetrics, which ends the page with a line behind which the counters could
//! not follow, and what `metrics-exporter-prometheus` has for it takes two backslashes for one that is escaped already.

use std::fmt::Write as _;

use wasmill_core::partition::State;
use wasmill_deploy::swap::drift::Cause;
use wasmill_pipeline::conditions::Code;
use wasmill_pipeline::status::PartitionStatus;

use crate::api::status::{PipelineStatus, Trial};

/// Name, help and value of a partition's gauge; no value, no row.
type Gauge = (&'static str, &'static str, fn(&PartitionStatus) -> Option<i64>);

const OF_PARTITIONS: [Gauge; 5] = [
    ("wasmill_lag_messages", "End of the partition minus the committed offset", |one| one.lag),
    ("wasmill_watermark_offset", "Every message below it is complete", |one| Some(one.watermark)),
    ("wasmill_committed_offset", "The offset the coordinator last confirmed", |one| one.committed),
    ("wasmill_span_messages", "Messages handed over and not yet below the watermark", |one| {
        Some(one.span_messages.cast_signed())
    }),
    ("wasmill_partition_stopped", "1 while the partition waits for an operator", |one| {
        Some(i64::from(one.state == State::Stopped))
    }),
];

/// All gauges in the text format of Prometheus.
pub fn render(pipelines: &[PipelineStatus]) -> String {
    let mut text = String::new();
    head(&mut text, "wasmill_pipeline_ready", "1 while the pipeline does its work");
    for pipeline in pipelines {
        let (name, ready) = (escaped(&pipeline.serving.name), u8::from(pipeline.work.ready));
        let _ = writeln!(text, "wasmill_pipeline_ready{{pipeline=\"{name}\"}} {ready}");
    }
    head(&mut text, "wasmill_pipeline_degraded", "1 while the pipeline does not do all of its work");
    for pipeline in pipelines {
        let (name, degraded) = (escaped(&pipeline.serving.name), u8::from(pipeline.work.degraded));
        let _ = writeln!(text, "wasmill_pipeline_degraded{{pipeline=\"{name}\"}} {degraded}");
    }
    head(&mut text, "wasmill_condition", "How many of a kind keep the pipeline from its work or endanger it");
    for pipeline in pipelines {
        for code in Code::ALL {
            let name = escaped(&pipeline.serving.name);
            let count = pipeline.work.conditions.iter().filter(|one| one.code == code.as_str()).count();
            let _ = writeln!(text, "wasmill_condition{{pipeline=\"{name}\",condition=\"{}\"}} {count}", code.as_str());
        }
    }
    head(&mut text, "wasmill_plugin_info", "1 for the version that serves, and for one that is on trial beside it");
    for pipeline in pipelines {
        let mut row = |digest: &str, source: &str, role: &str| {
            let (name, source) = (escaped(&pipeline.serving.name), escaped(source));
            let labels = format!("pipeline=\"{name}\",digest=\"{digest}\",source=\"{source}\",role=\"{role}\"");
            let _ = writeln!(text, "wasmill_plugin_info{{{labels}}} 1");
        };
        row(&pipeline.serving.plugin, &pipeline.serving.source, "serving");
        if let Some(trial) = pipeline.trial.as_ref().filter(|trial| trial.rollout != Trial::Watch) {
            row(&trial.plugin, &trial.source, trial.rollout.as_str());
        }
    }
    head(
        &mut text,
        "wasmill_drift",
        "1 while a restart would bring another handler than the one that serves: by a swap, or since its file changed",
    );
    for pipeline in pipelines {
        let name = escaped(&pipeline.serving.name);
        for (cause, word) in [(Cause::Swap, "swap"), (Cause::File, "file")] {
            let on = u8::from(pipeline.drift.as_ref().is_some_and(|drift| drift.cause == cause));
            let _ = writeln!(text, "wasmill_drift{{pipeline=\"{name}\",cause=\"{word}\"}} {on}");
        }
    }
    for (gauge, help, value) in OF_PARTITIONS {
        head(&mut text, gauge, help);
        for pipeline in pipelines {
            let name = escaped(&pipeline.serving.name);
            for one in &pipeline.work.partitions {
                let Some(value) = value(one) else { continue };
                let (topic, partition) = (escaped(&one.topic), one.partition);
                let labels = format!("pipeline=\"{name}\",topic=\"{topic}\",partition=\"{partition}\"");
                let _ = writeln!(text, "{gauge}{{{labels}}} {value}");
            }
        }
    }
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A label's value: names are the user's.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_keeps_backslashes_quotes_and_line_feeds() {
        assert_eq!(escaped("C:\\a\\\\b"), "C:\\\\a\\\\\\\\b");
        assert_eq!(escaped("\\\"\n"), "\\\\\\\"\\n");
    }
}
