//! `wasmill swap | rollback | history`: which handler a running pipeline has.

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::Value;
use wasmill_config::{self as config, Rollout};
use wasmill_deploy::handler::loader::{Fetched, Loader};
use wasmill_deploy::oci::Offline;
use wasmill_wasm::EngineOptions;

use super::cluster::table;
use super::operate::{Target, on_trial, rows, short, show};
use super::output::print;
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};

/// Compilation, cases and the longest call take their time.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often a trial is looked at.
const LOOK: Duration = Duration::from_millis(500);

const SWAP_HELP: &str = "The new handler is compiled and tried beside the old one; if anything is wrong with it, the old one goes on. \
Otherwise it takes over between two batches of each partition, and the answer names the first offset that it gets. \
It is watched for a while then, and taken back by itself if it is worse than the old one (swap.rollback, swap.budget). \
Exit codes: 0 it took over; 1 it was refused or taken back; 2 wrong command line.";

/// Replace the handler of a running pipeline while messages flow
#[derive(Debug, clap::Args)]
#[command(after_help = SWAP_HELP)]
pub struct Swap {
    /// The pipeline's name
    pipeline: String,
    /// The new handler: a file, or oci://host/name:tag, which is fetched here and now
    handler: config::Handler,
    /// For which messages first, instead of the configuration's swap.rollout
    #[arg(long, value_parser = rollouts())]
    rollout: Option<Rollout>,
    /// Do not wait for the end of a canary or a shadow
    #[arg(long)]
    no_wait: bool,
    /// Replace it in every process of the consumer group, or in none (swap.control_topic)
    #[arg(long, conflicts_with_all = ["rollout", "no_wait"])]
    group: bool,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// The rollouts, with what they are in a help text.
fn rollouts() -> impl TypedValueParser<Value = Rollout> {
    let help = |rollout| match rollout {
        Rollout::All => "For all at once",
        Rollout::Canary => "For a share that grows",
        Rollout::Shadow => "For none: beside the old one, unheard",
    };
    let values = Rollout::ALL.map(|rollout| PossibleValue::new(rollout.as_str()).help(help(rollout)));
    PossibleValuesParser::new(values).try_map(|text| text.parse::<Rollout>())
}

/// Go back to the handler before, or end a canary or a shadow
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The pipeline's name
    pipeline: String,
    /// Go back in every process of the consumer group, or in none (swap.control_topic)
    #[arg(long)]
    group: bool,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Show which handlers a pipeline had: when, who asked, from which offsets on, and what came of it
#[derive(Debug, clap::Args)]
pub struct History {
    /// The pipeline's name
    pipeline: String,
    /// Show so many of the latest events
    #[arg(long, default_value_t = 20)]
    last: usize,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Swap {
    /// Sends the handler and tells what came of it.
    pub fn run(self) -> Result<Exit, Failure> {
        let most = EngineOptions::default().plugin_bytes;
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        // What a tag meant when the registry last answered is not what is asked for now.
        let Fetched { bytes, source: name, .. } = match &self.handler {
            file @ config::Handler::File(_) => loader.fetch(file, most, Offline::Refused).map_err(Failure::usage)?,
            artifact => loader.fetch(artifact, most, Offline::Refused)?,
        };
        let by = user();
        let mut query = vec![("source", name.as_str()), ("by", by.as_str())];
        query.extend(self.rollout.map(|rollout| ("rollout", rollout.as_str())));
        query.extend(self.group.then_some(("group", "true")));
        let path = format!("/api/v1/pipelines/{}/swap", self.pipeline);
        let _waiting = self.group.then(|| Waiting::of(&self.pipeline));
        let answer = self.target.send(&path, &query, PATIENCE, "application/wasm", &bytes)?;
        let trial = matches!(answer["outcome"].as_str(), Some("canary" | "shadow"));
        if !trial || self.no_wait {
            return tell(&answer, self.json);
        }
        if !self.json {
            print(&told(&answer))?;
        }
        self.follow(&answer)
    }

    /// Waits until the trial is over, and tells what came of it.
    fn follow(&self, answer: &Value) -> Result<Exit, Failure> {
        let mut said = String::new();
        loop {
            std::thread::sleep(LOOK);
            let status = self.target.get("/api/v1/status")?;
            let pipeline = rows(&status, "pipelines").find(|one| one["name"] == self.pipeline.as_str());
            let Some(pipeline) = pipeline else { break };
            let trial = &pipeline["trial"];
            let beside = matches!(trial["rollout"].as_str(), Some("canary" | "shadow"));
            if !beside || trial["plugin"] != answer["to"]["digest"] {
                break;
            }
            let says = on_trial(trial);
            if !self.json && says != said {
                print(&format!("{says}\n"))?;
                said = says;
            }
        }
        let history = self.target.get(&format!("/api/v1/pipelines/{}/history", self.pipeline))?;
        let about = |one: &&Value| {
            let (digest, what) = (&answer["to"]["digest"], one["what"].as_str());
            (one["to"]["digest"] == *digest && what != Some("canary") && what != Some("shadow"))
                || (one["from"]["digest"] == *digest && what == Some("rollback"))
        };
        let Some(end) = rows(&history, "history").filter(about).last() else {
            return Err(anyhow::anyhow!("the trial ended and the history does not say how").into());
        };
        let taken_back = end["what"] == "rollback";
        print(&if self.json { format!("{end:#}\n") } else { format!("{}\n", event(end)) })?;
        Ok(if taken_back { Exit::Failed } else { Exit::Done })
    }
}

impl Rollback {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let path = format!("/api/v1/pipelines/{}/rollback", self.pipeline);
        let by = user();
        let mut query = vec![("by", by.as_str())];
        query.extend(self.group.then_some(("group", "true")));
        let _waiting = self.group.then(|| Waiting::of(&self.pipeline));
        let answer = self.target.send(&path, &query, PATIENCE, "application/json", b"{}")?;
        tell(&answer, self.json)
    }
}

impl History {
    /// Asks and prints.
    pub fn run(self) -> Result<Exit, Failure> {
        let answer = self.target.get(&format!("/api/v1/pipelines/{}/history", self.pipeline))?;
        if let Some(error) = answer["error"].as_str() {
            return Err(anyhow::anyhow!("{error}").into());
        }
        let all: Vec<&Value> = rows(&answer, "history").collect();
        let latest = &all[all.len().saturating_sub(self.last)..];
        if self.json {
            return print(&format!("{:#}\n", serde_json::json!({ "pipeline": self.pipeline, "history": latest })));
        }
        let line = |one: &&Value| {
            let first: Vec<String> = rows(one, "partitions").map(boundary).collect();
            let (reason, first) = (one["reason"].as_str().unwrap_or_default(), first.join(" "));
            [
                show(&one["at"]),
                show(&one["what"]),
                short(&one["to"]["digest"]),
                show(&one["to"]["source"]),
                show(&one["by"]),
                [reason, &first].join(" ").trim().to_owned(),
            ]
        };
        print(&table(["at", "what", "handler", "of", "by", ""], latest.iter().map(line)))
    }
}

/// Something that moves on a terminal while a whole group gets ready. Ends when it is dropped.
struct Waiting(indicatif::ProgressBar);

impl Waiting {
    fn of(pipeline: &str) -> Self {
        let spinner = indicatif::ProgressBar::new_spinner().with_message(format!("{pipeline}: the group gets ready"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(spinner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Who asks, as far as that can be known.
fn user() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    format!("{} (wasmill)", name.as_deref().unwrap_or("somebody"))
}

fn tell(answer: &Value, json: bool) -> Result<Exit, Failure> {
    print(&if json { format!("{answer:#}\n") } else { told(answer) })
}

fn boundary(one: &Value) -> String {
    format!("{}@{}", show(&one["partition"]), show(&one["first_offset"]))
}

/// One event of the history, in a line.
fn event(one: &Value) -> String {
    let reason = one["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
    let first: Vec<String> = rows(one, "partitions").map(boundary).collect();
    let first = if first.is_empty() { String::new() } else { format!(", from {} on", first.join(", ")) };
    format!(
        "{}: {} of {} serves{first}{reason}",
        show(&one["what"]),
        short(&one["to"]["digest"]),
        show(&one["to"]["source"])
    )
}

/// An outcome for people.
fn told(answer: &Value) -> String {
    if answer["processes"].is_array() {
        return told_of_group(answer);
    }
    let (name, to, from) =
        (show(&answer["pipeline"]), short(&answer["to"]["digest"]), short(&answer["from"]["digest"]));
    let mut text = match answer["outcome"].as_str() {
        Some("unchanged") => return format!("{name}: {to} serves already\n"),
        Some("canary") => format!("{name}: {to} gets {} of the messages, {from} the others\n", show(&answer["share"])),
        Some("shadow") => format!("{name}: {to} runs beside {from}, and nothing that it emits is sent\n"),
        Some("rolled-back") => format!("{name}: {to} serves again, {from} no longer\n"),
        _ => format!("{name}: {to} takes over from {from}\n"),
    };
    let lane = |one: &Value| one["attempt"].as_u64().map_or(String::new(), |attempt| format!("attempt {attempt}"));
    let lines = rows(answer, "partitions").map(|one| [show(&one["partition"]), show(&one["first_offset"]), lane(one)]);
    text += &table(["partition", "first offset", ""], lines);
    let longest = rows(answer, "lanes").filter_map(|lane| lane["pause_us"].as_u64()).max();
    if let Some(longest) = longest {
        let (gate, handover) = (show(&answer["gate_ms"]), show(&answer["handover_ms"]));
        text += &format!(
            "the longest pause of a lane was {longest} us; {gate} ms at the gate, {handover} ms to hand over\n"
        );
    }
    let waiting = answer["waiting"].as_array().map_or(0, Vec::len);
    if waiting > 0 {
        text += &format!("{waiting} lanes are still in a batch of {from} and pass on after it\n");
    }
    text
}

/// An outcome of a whole group.
fn told_of_group(answer: &Value) -> String {
    let (name, to, from) = (show(&answer["pipeline"]), short(&answer["to"]), short(&answer["from"]));
    let processes = rows(answer, "processes").count();
    let mut text = format!(
        "{name}: {to} takes over from {from} in {processes} processes of the group {}, epoch {}\n",
        show(&answer["group"]),
        show(&answer["epoch"])
    );
    let lines = rows(answer, "partitions").map(|one| {
        let id = format!("{}/{}", show(&one["topic"]), show(&one["partition"]));
        [id, show(&one["first_offset"]), show(&one["process"])]
    });
    text += &table(["partition", "first offset", "process"], lines);
    let untold: Vec<String> = rows(answer, "untold").map(show).collect();
    if !untold.is_empty() {
        text += &format!("nobody has told of {} yet: nobody holds it, or it does not go on\n", untold.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_outcome_names_each_boundary_the_longest_pause_and_who_is_still_busy() {
        let answer = json!({
            "pipeline": "orders", "outcome": "swapped", "gate_ms": 120, "handover_ms": 3, "waiting": [2],
            "from": { "digest": "a".repeat(64) }, "to": { "digest": "b".repeat(64) },
            "partitions": [{ "partition": "in/0", "first_offset": 7, "attempt": 3 }],
            "lanes": [{ "lane": 0, "pause_us": 80 }, { "lane": 1, "pause_us": 95 }],
        });
        let text = told(&answer);
        for words in [
            "orders: bbbbbbbbbbbb takes over from aaaaaaaaaaaa",
            "in/0",
            "7",
            "attempt 3",
            "longest pause of a lane was 95 us; 120 ms at the gate, 3 ms to hand over",
            "1 lanes are still in a batch",
        ] {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
    }
}
