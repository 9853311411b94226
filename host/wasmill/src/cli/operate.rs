//! `wasmill status | resume | pause | skip`: calls to the admin port of a running process.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::admin;
use crate::config_file::load;
use crate::failure::{Exit, Failure};

/// How long the admin port may take; a resume waits for the lane.
const ANSWER: Duration = Duration::from_secs(40);

/// Which process is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The configuration the process runs with: tells the admin port and the token
    #[arg(long, default_value = "wasmill.toml")]
    config: PathBuf,
    /// The admin port, if it is not the configuration's, as in `127.0.0.1:9464`
    #[arg(long)]
    address: Option<String>,
}

/// Show what a running process does: positions, watermarks, lag, what is stopped and why
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    target: Target,
    /// The whole answer as JSON
    #[arg(long)]
    json: bool,
}

/// Go on after a stop, a pause or an open breaker
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Keep messages from being handed over, without leaving the group
///
/// What was handed over is finished. A pause lasts until `wasmill resume`, through swaps of the handler, and ends with the
/// assignment: a rebalance, a restart of the pipeline or of the process lets the partition go on.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Pass over the message at which a partition stands; it is counted as handled and logged
#[derive(Debug, clap::Args)]
pub struct Skip {
    #[command(flatten)]
    which: Which,
    /// The offset of the message: it must be the one `wasmill status` shows
    #[arg(long)]
    offset: i64,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The pipeline's name
    pipeline: String,
    /// One partition; without it, all of them
    #[arg(long)]
    partition: Option<i32>,
    /// The partition's topic, where the pipeline has several
    #[arg(long, requires = "partition")]
    topic: Option<String>,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Target {
    /// Base address, and the token or why there is none.
    fn find(&self) -> Result<(String, Result<String, Failure>), Failure> {
        if let Some(address) = &self.address {
            let token = load(&self.config).and_then(|loaded| token(&loaded.config));
            return Ok((format!("http://{address}"), token));
        }
        let config = load(&self.config)?.config;
        let Some(settings) = &config.admin else {
            let hint = format!(
                "{} has no [admin], so the process has no admin port; hint: add `[admin]` with `listen = \"127.0.0.1:9464\"`",
                self.config.display()
            );
            return Err(Failure::usage(anyhow::anyhow!(hint)));
        };
        Ok((format!("http://{}", settings.listen), token(&config)))
    }

    fn agent() -> ureq::Agent {
        ureq::Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false).build().into()
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        let (base, _) = self.find()?;
        let mut answer =
            Self::agent().get(format!("{base}{path}")).call().map_err(|error| unreachable(&base, &error))?;
        Ok(answer.body_mut().read_json().context("the admin port answered something else than JSON")?)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(path, &[], ANSWER, "application/json", body.to_string().as_bytes())
    }

    /// Sends a body of any kind; the query's values are what people typed.
    pub(super) fn send(
        &self,
        path: &str,
        query: &[(&str, &str)],
        patience: Duration,
        kind: &str,
        body: &[u8],
    ) -> Result<Value, Failure> {
        let (base, token) = self.find()?;
        let request = Self::agent()
            .post(format!("{base}{path}"))
            .query_pairs(query.iter().copied())
            .header("Authorization", format!("Bearer {}", token?))
            .header("Content-Type", kind)
            // What is refused by its size is answered before it is sent; without this the answer would be lost behind a
            // broken pipe.
            .header("Expect", "100-continue")
            .config()
            .timeout_global(Some(patience))
            .build();
        let mut answer = request.send(body).map_err(|error| unreachable(&base, &error))?;
        let ok = answer.status().is_success();
        let answer: Value =
            answer.body_mut().read_json().context("the admin port answered something else than JSON")?;
        if ok {
            return Ok(answer);
        }
        Err(anyhow::anyhow!("{}", answer["error"].as_str().unwrap_or("the call was refused")).into())
    }
}

/// The token that the process reads, too.
fn token(config: &wasmill_config::Config) -> Result<String, Failure> {
    let path = admin::token_path(config);
    let text = std::fs::read_to_string(&path).with_context(|| {
        let hint =
            "`wasmill run` makes it when it opens the admin port; name the process's configuration with --config";
        format!("cannot read the admin token {}; hint: {hint}", path.display())
    })?;
    Ok(text.trim().to_owned())
}

fn unreachable(base: &str, error: &ureq::Error) -> Failure {
    anyhow::anyhow!("nothing answers at {base}: {error}; hint: is `wasmill run` running with this configuration?")
        .into()
}

impl Status {
    /// Asks and prints.
    pub fn run(self) -> Result<Exit, Failure> {
        let status = self.target.get("/api/v1/status")?;
        let mut out = std::io::stdout().lock();
        let text = if self.json { format!("{status:#}") } else { table(&status) };
        // A reader that went away is no failure.
        let _ = writeln!(out, "{text}");
        Ok(if status["ready"] == true { Exit::Done } else { Exit::Failed })
    }
}

impl Which {
    fn ask(&self, call: &str, offset: Option<i64>) -> Result<Exit, Failure> {
        let mut body = json!({});
        if let Some(partition) = self.partition {
            body["partition"] = partition.into();
        }
        if let Some(topic) = &self.topic {
            body["topic"] = topic.clone().into();
        }
        if let Some(offset) = offset {
            body["offset"] = offset.into();
        }
        let answer = self.target.post(&format!("/api/v1/pipelines/{}/{call}", self.pipeline), &body)?;
        let text = if self.json { format!("{answer:#}") } else { told(&answer) };
        let _ = writeln!(std::io::stdout(), "{text}");
        let refused = rows(&answer, "resumed").any(|one| one["error"].is_string());
        Ok(if refused { Exit::Failed } else { Exit::Done })
    }
}

pub(super) fn rows<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer[name].as_array().into_iter().flatten()
}

/// What was done, for people.
fn told(answer: &Value) -> String {
    let resumed = rows(answer, "resumed").map(|one| match one["error"].as_str() {
        Some(error) => format!("{}: {error}", show(&one["partition"])),
        None => format!("{} goes on at {}", show(&one["partition"]), show(&one["offset"])),
    });
    let paused = rows(answer, "paused").map(|one| format!("{} is paused", show(one)));
    let mut lines: Vec<_> = resumed.chain(paused).collect();
    if !answer["skipped"].is_null() {
        lines.push(format!("{}: message {} is passed over", show(&answer["partition"]), show(&answer["skipped"])));
    }
    if !lines.is_empty() {
        return lines.join("\n");
    }
    // A pipeline that held, and partitions that were paused, go on without being listed.
    let nothing = if answer["resumed"].is_array() { "it goes on" } else { "this process holds no partition of it" };
    nothing.to_owned()
}

impl Resume {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        self.which.ask("resume", None)
    }
}

impl Pause {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        self.which.ask("pause", None)
    }
}

impl Skip {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        if self.which.partition.is_none() {
            return Err(Failure::usage(anyhow::anyhow!(
                "skip needs a partition; hint: add --partition N, the one that `wasmill status` shows as stopped"
            )));
        }
        self.which.ask("skip", Some(self.offset))
    }
}

/// The status for people.
fn table(status: &Value) -> String {
    let mut text = String::new();
    for pipeline in status["pipelines"].as_array().into_iter().flatten() {
        let ready = if pipeline["ready"] == true { "ready" } else { "NOT READY" };
        text += &format!("{} (group {}): {ready}\n", show(&pipeline["name"]), show(&pipeline["group"]));
        if let Some(held) = pipeline["held"].as_str() {
            text += &format!("  holds: {held}\n");
        }
        let producer = &pipeline["producer"];
        if let Some(reason) = producer["reason"].as_str() {
            let (failures, next) = (show(&producer["failures"]), show(&producer["next_in_ms"]));
            text += &format!("  producer failed ({failures} in a row), the next one in {next} ms: {reason}\n");
        }
        text += &format!("  handler {} of {}\n", short(&pipeline["plugin"]), show(&pipeline["source"]));
        let trial = &pipeline["trial"];
        if !trial.is_null() {
            text += &format!("  {}\n", on_trial(trial));
        }
        if let Some(reason) = pipeline["drift"]["reason"].as_str() {
            text += &format!("  drift: {reason}\n");
        }
        for topic in pipeline["topics_gone"].as_array().into_iter().flatten() {
            text += &format!("  topic {} was deleted\n", show(topic));
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
            "span",
            "",
        ]);
        for partition in pipeline["partitions"].as_array().into_iter().flatten() {
            let offset = partition["offset"].as_i64().map_or(String::new(), |offset| format!("at {offset}: "));
            rows.add_row([
                format!("{}/{}", show(&partition["topic"]), show(&partition["partition"])),
                show(&partition["member"]),
                show(&partition["lane"]),
                show(&partition["state"]),
                show(&partition["position"]),
                show(&partition["watermark"]),
                show(&partition["committed"]),
                show(&partition["lag"]),
                show(&partition["span_messages"]),
                format!("{offset}{}", partition["reason"].as_str().unwrap_or_default()),
            ]);
        }
        text += &format!("{rows}\n");
    }
    text.trim_end().to_owned()
}

/// A version on trial, in a line.
pub(super) fn on_trial(trial: &Value) -> String {
    let what = match trial["rollout"].as_str() {
        Some("canary") => format!("canary of {}", show(&trial["share"])),
        Some("watch") => "watched since it took over".to_owned(),
        _ => "shadow".to_owned(),
    };
    let differing = trial["differing"].as_u64().map_or(String::new(), |count| format!(", {count} differ"));
    format!(
        "{} {what}: {} messages, {} given up, {} crashes{differing}",
        short(&trial["plugin"]),
        show(&trial["messages"]),
        show(&trial["given_up"]),
        show(&trial["crashes"])
    )
}

/// As much of a digest as tells it from others.
pub(super) fn short(digest: &Value) -> String {
    wasmill_deploy::handler::digest::short(digest.as_str().unwrap_or("-")).to_owned()
}

pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_that_rests_and_a_topic_that_is_gone_are_shown() {
        let status = json!({ "ready": false, "pipelines": [{
            "name": "orders", "group": "g", "ready": false, "held": null, "partitions": [], "topics_gone": ["in"],
            "producer": { "reason": "out of sequence", "failures": 3, "next_in_ms": 1200 },
        }]});
        let text = table(&status);
        for words in ["producer failed (3 in a row), the next one in 1200 ms: out of sequence", "topic in was deleted"]
        {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
    }

    #[test]
    fn what_was_resumed_paused_or_skipped_is_told_partition_by_partition() {
        let stands = json!({ "partition": "orders/1", "error": "it was revoked meanwhile" });
        let resumed = json!({ "resumed": [{ "partition": "orders/0", "offset": 7 }, stands] });
        assert_eq!(told(&resumed), "orders/0 goes on at 7\norders/1: it was revoked meanwhile");
        assert_eq!(told(&json!({ "paused": ["orders/0"] })), "orders/0 is paused");
        assert_eq!(told(&json!({ "partition": "orders/0", "skipped": 7 })), "orders/0: message 7 is passed over");
        assert_eq!(told(&json!({ "resumed": [] })), "it goes on");
        assert_eq!(told(&json!({ "paused": [] })), "this process holds no partition of it");
    }

    #[test]
    fn a_stopped_partition_is_shown_with_its_offset_and_reason() {
        let status = json!({ "ready": false, "pipelines": [{
            "name": "orders", "group": "g", "ready": false, "held": null,
            "partitions": [{ "topic": "in", "partition": 2, "member": 0, "lane": 1, "state": "stopped", "position": 5,
                "watermark": 4, "committed": 4, "lag": 6, "span_messages": 1, "offset": 4, "reason": "given up" }],
        }]});
        let text = table(&status);
        for word in ["orders", "NOT READY", "in/2", "stopped", "at 4: given up"] {
            assert!(text.contains(word), "{word} is missing in\n{text}");
        }
    }
}
