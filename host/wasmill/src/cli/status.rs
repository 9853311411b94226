//! `wasmill status`.

use comfy_table::{ContentArrangement, Table, presets};
use wasmill_deploy::handler::digest::short;
use wasmill_deploy::swap::drift::Cause;
use wasmill_pipeline::status::PartitionStatus;

use super::output::{Sent, answer, known};
use super::target::Target;
use super::versions::on_trial;
use crate::api::status::{self, PipelineStatus};
use crate::failure::{Exit, Failure};

/// Show what a running process does: positions, watermarks, lag, what is stopped and why
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    target: Target,
    /// The whole answer as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks and prints.
    pub fn run(self) -> Result<Exit, Failure> {
        let status: Sent<status::Status> = self.target.get(status::PATH)?;
        answer(self.json, &status, || told(&status.read) + "\n")?;
        Ok(if status.read.ready { Exit::Done } else { Exit::Failed })
    }
}

/// The status for people.
fn told(status: &status::Status) -> String {
    let text: String = status.pipelines.iter().map(pipeline).collect();
    text.trim_end().to_owned()
}

fn pipeline(PipelineStatus { serving, trial, drift, work, .. }: &PipelineStatus) -> String {
    let ready = match (work.ready, work.degraded) {
        (true, false) => "ready",
        (true, true) => "ready, DEGRADED",
        (false, _) => "NOT READY",
    };
    let mut text = format!("{} (group {}): {ready}\n", serving.name, serving.group);
    for condition in &work.conditions {
        text += &format!("  {}\n", condition.line());
    }
    if let Some(last) = &work.failed.last {
        let (messages, at) = (work.failed.messages, format!("{}/{} at {}", last.topic, last.partition, last.offset));
        text += &format!("  failed: {messages} messages, the last {at} ({}): {}\n", last.class, last.reason);
    }
    text += &format!("  handler {} of {}\n", short(&serving.plugin), serving.source);
    if let Some(trial) = trial {
        text += &format!("  {}\n", on_trial(trial));
    }
    if let Some(drift) = drift {
        let word = if drift.cause == Cause::File { "file changed" } else { "drift" };
        text += &format!("  {word}: {}\n", drift.reason);
    }
    let mut rows = Table::new();
    rows.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    rows.set_header([
        "partition",
        "member",
        "lane",
        "state",
        "position",
        "watermark",
        "committed",
        "lag",
        "failed",
        "span",
        "",
    ]);
    rows.add_rows(work.partitions.iter().map(row));
    text + &format!("{rows}\n")
}

fn row(one: &PartitionStatus) -> [String; 11] {
    let offset = one.offset.map_or(String::new(), |offset| format!("at {offset}: "));
    [
        format!("{}/{}", one.topic, one.partition),
        one.member.to_string(),
        known(one.lane),
        one.state.to_string(),
        one.position.to_string(),
        one.watermark.to_string(),
        known(one.committed),
        known(one.lag),
        one.failed_messages.to_string(),
        one.span_messages.to_string(),
        format!("{offset}{}", one.reason.as_deref().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_pipeline::failures::FailedStatus;

    use crate::api::status::tests::{STATUS, status};

    #[test]
    fn a_status_is_shown_with_all_that_keeps_a_pipeline_from_its_work() {
        let text = told(&status());
        let (head, table) = text.split_once('┌').expect("a table");
        assert_eq!(
            head,
            "orders (group g): NOT READY\n  breaker-open for 0s: why\n  partition-stopped for 0s: in/2: why; hint: x\n  \
             failed: 7 messages, the last in/2 at 4 (rejected): no\n  handler a of a.wasm\n  \
             b shadow: 10 messages, 1 given up, 2 crashes, 3 differ\n  drift: r\n"
        );
        // Borders are as wide as the terminal lets them be.
        let cells: Vec<Vec<_>> = table
            .lines()
            .filter_map(|line| line.strip_prefix('│')?.strip_suffix('│'))
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let header =
            ["partition", "member", "lane", "state", "position", "watermark", "committed", "lag", "failed", "span"];
        assert_eq!(
            cells,
            [&header[..], &["in/2", "0", "1", "stopped", "5", "4", "4", "-", "7", "1", "at 4: given up"][..]]
        );
    }

    #[test]
    fn a_pipeline_that_does_its_work_says_no_more_than_that() {
        let mut status = status();
        let pipeline = &mut status.pipelines[0];
        (pipeline.trial, pipeline.drift, pipeline.work.held, pipeline.work.producer) = (None, None, None, None);
        (pipeline.work.ready, pipeline.work.topics_gone) = (true, Vec::new());
        (pipeline.work.conditions, pipeline.work.failed) = (Vec::new(), FailedStatus::default());
        let text = told(&status);
        assert!(text.starts_with("orders (group g): ready\n  handler a of a.wasm\n┌"), "{text}");
    }

    #[test]
    fn a_status_is_printed_as_json_with_all_that_was_sent() {
        let later = STATUS.replacen("{\"", "{\"of a later version\":1,\"", 1);
        let sent: Sent<status::Status> = serde_json::from_str(&later).expect("a status");
        let whole: serde_json::Value = serde_json::from_str(&later).expect("JSON");
        assert_eq!(serde_json::to_value(&sent).expect("plain data"), whole);
        assert_eq!(told(&sent.read), told(&super::tests::status()));
    }
}
