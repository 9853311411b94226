//! `wasmill reload | restart | seek`: calls that change or move what a running process does.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use wasmill_core::{BadPosition, Form, Position};
use wasmill_kafka::now_ms;

use super::operate::{Target, rows, show};
use crate::failure::{Exit, Failure};

/// How long a call may take that compiles handlers and waits for pipelines to drain.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Read the configuration again: start, remove and change pipelines without touching the others; SIGHUP does the same
///
/// Everything is asked beforehand: if the file has a mistake, or a topic or handler does not pass, nothing changes.
/// `handler`, `grant`, `config`, `limits`, `retry` and `swap` change while a pipeline runs. A pipeline of which anything
/// else changed is left as it is, in everything, and named. Exit code 1 if not all that the file says is in force.
#[derive(Debug, clap::Args)]
pub struct Reload {
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Have one pipeline drain, leave its group and start again with what the configuration says now
///
/// The others go on. If the file has a mistake, or the pipeline does not pass, the running one goes on too. Exit code 4 if
/// something that was handed over was not settled in time; it is handled again.
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// The pipeline's name
    pipeline: String,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Go on at another message, while the pipeline runs
///
/// What is in flight is let finish; then everything from the new position on is handed over, also what was complete, and
/// attempts are counted anew. The answer comes once the new position is committed: a crash does not undo it. A partition
/// that has stopped goes on; one that is paused stays so. Partitions of other processes are named and not moved. Outputs
/// that come of messages handled before are published again.
#[derive(Debug, clap::Args)]
pub struct Seek {
    /// The pipeline's name
    pipeline: String,
    #[arg(long, help = Form::list(&Form::CERTAIN), allow_negative_numbers = true, value_parser = to)]
    to: Position,
    /// One partition; without it, all that this process holds
    #[arg(long)]
    partition: Option<i32>,
    /// The partitions of this topic, where the pipeline has several
    #[arg(long)]
    topic: Option<String>,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn to(text: &str) -> Result<Position, BadPosition> {
    Position::parse_as(text, now_ms(), &Form::CERTAIN)
}

/// Sends what may take long to be answered.
fn ask(target: &Target, path: &str, body: &Value) -> Result<Value, Failure> {
    target.send(path, &[], PATIENCE, "application/json", body.to_string().as_bytes())
}

fn print(json: bool, answer: &Value, told: impl FnOnce() -> String) {
    let text = if json { format!("{answer:#}") } else { told() };
    // A reader that went away is no failure.
    let _ = writeln!(std::io::stdout(), "{text}");
}

impl Reload {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let answer = ask(&self.target, "/api/v1/reload", &json!({}))?;
        print(self.json, &answer, || reloaded(&answer));
        Ok(if answer["applied"] == true { Exit::Done } else { Exit::Failed })
    }
}

impl Restart {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let answer = ask(&self.target, &format!("/api/v1/pipelines/{}/restart", self.pipeline), &json!({}))?;
        print(self.json, &answer, || restarted(&answer));
        Ok(if answer["settled"] == true { Exit::Done } else { Exit::Overdue })
    }
}

impl Seek {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let mut body = json!({ "to": self.to.to_string() });
        if let Some(partition) = self.partition {
            body["partition"] = partition.into();
        }
        if let Some(topic) = &self.topic {
            body["topic"] = topic.clone().into();
        }
        let answer = ask(&self.target, &format!("/api/v1/pipelines/{}/seek", self.pipeline), &body)?;
        print(self.json, &answer, || sought(&answer));
        let refused = rows(&answer, "sought").any(|one| one["error"].is_string());
        Ok(if refused { Exit::Failed } else { Exit::Done })
    }
}

/// `members, topics`
fn list(value: &Value) -> String {
    value.as_array().into_iter().flatten().map(show).collect::<Vec<_>>().join(", ")
}

fn reloaded(answer: &Value) -> String {
    let mut lines: Vec<String> = rows(answer, "pipelines")
        .map(|row| {
            let keys = list(&row["keys"]);
            let keys = if keys.is_empty() { keys } else { format!(" ({keys})") };
            let reason = row["reason"].as_str().map_or(String::new(), |reason| format!(": {reason}"));
            // One that takes over for some messages only says so.
            let done = row["swap"]["outcome"].as_str().or(row["done"].as_str()).unwrap_or("-").replace('-', " ");
            format!("{}: {done}{keys}{reason}", show(&row["pipeline"]))
        })
        .collect();
    lines.extend(outside(answer));
    lines.join("\n")
}

fn outside(answer: &Value) -> Option<String> {
    let process = list(&answer["process"]);
    (!process.is_empty()).then(|| format!("not applied: {process}; hint: restart the process"))
}

fn restarted(answer: &Value) -> String {
    let keys = list(&answer["keys"]);
    let keys = if keys.is_empty() { keys } else { format!(" ({keys})") };
    let mut lines = vec![format!("{}: restarted{keys}", show(&answer["pipeline"]))];
    let left = rows(answer, "left");
    lines.extend(left.map(|one| format!("{} left at {}", show(&one["partition"]), show(&one["committed"]))));
    lines.extend(answer["reason"].as_str().map(str::to_owned));
    lines.extend(outside(answer));
    lines.join("\n")
}

fn sought(answer: &Value) -> String {
    let mut lines: Vec<String> = rows(answer, "sought")
        .map(|one| match one["error"].as_str() {
            Some(error) => format!("{}: {error}", show(&one["partition"])),
            None => {
                format!("{} goes on at {}, was at {}", show(&one["partition"]), show(&one["to"]), show(&one["from"]))
            }
        })
        .collect();
    let elsewhere = list(&answer["not_here"]);
    if !elsewhere.is_empty() {
        lines.push(format!("not moved, since this process does not hold them: {elsewhere}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_each_pipeline_is_told_and_what_was_not_applied_with_what_to_do() {
        let answer = json!({ "applied": false, "process": ["kafka.bootstrap"], "pipelines": [
            { "pipeline": "a", "done": "unchanged" },
            { "pipeline": "b", "done": "swapped", "keys": ["handler", "retry.attempts"] },
            { "pipeline": "c", "done": "not-applied", "keys": ["members"], "reason": "no; hint: wasmill restart c" },
        ]});
        assert_eq!(
            reloaded(&answer),
            "a: unchanged\nb: swapped (handler, retry.attempts)\nc: not applied (members): no; hint: wasmill restart c\n\
             not applied: kafka.bootstrap; hint: restart the process"
        );
    }

    #[test]
    fn what_was_moved_or_left_is_told_partition_by_partition() {
        let answer = json!({ "sought": [{ "partition": "in/0", "from": 9, "to": 4 }, { "partition": "in/1", "error": "no" }],
            "not_here": ["in/2"] });
        assert_eq!(
            sought(&answer),
            "in/0 goes on at 4, was at 9\nin/1: no\nnot moved, since this process does not hold them: in/2"
        );
        let answer = json!({ "pipeline": "a", "settled": true, "keys": [], "process": [],
            "left": [{ "partition": "in/0", "committed": 7 }, { "partition": "in/1", "committed": null }] });
        assert_eq!(restarted(&answer), "a: restarted\nin/0 left at 7\nin/1 left at -");
    }
}
