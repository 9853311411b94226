//! `wasmill conformance`: whether a component does what the contract says, told by a reference handler made with its SDK.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use wasmill_config as config;
use wasmill_deploy::explain;
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::handler_tests::lane::Lane;
use wasmill_deploy::handler_tests::{self, Told, file};
use wasmill_kafka::plain::PlainMessage;
use wasmill_pipeline::handler_spec;
use wasmill_wasm::Plugin;

use super::alone;
use super::output::print;
use super::test::difference;
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};
use crate::printed::put;

const SUITE: &str = include_str!("../../../../plugins/conformance.toml");
/// The topic that is granted beside the default output.
const ELSEWHERE: &str = "elsewhere";
/// Messages of a batch of the flood, and how long their values are.
const BATCH: usize = 128;
const VALUE_BYTES: usize = 100;

const HELP: &str = "FILE.wasm is a reference handler, which does what a message tells it to: plugins/CONFORMANCE.md says how. \
Exit codes: 0 it conforms; 1 it does not; 2 the file cannot be read; 3 it is refused or does not start.";

/// Tell whether a component does what the contract says; for those who write SDKs
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Conformance {
    /// A reference handler
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Only cases whose name contains this; without the flood
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// What the handler may ask for beyond computing, as the pipeline's `grant`; several with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = config::Grant::ALL.map(config::Grant::as_str))]
    grant: Vec<String>,
    /// Messages of the flood, after which memory must still be within limits.memory; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    flood: usize,
    /// What came of it as JSON
    #[arg(long)]
    json: bool,
}

/// What came of a case.
struct Line {
    name: String,
    /// It is not for the world that the handler lives in.
    other_world: bool,
    /// `None`: it conforms.
    trouble: Option<String>,
    time: Duration,
}

impl Conformance {
    /// Runs the suite. Exit 1: a case failed.
    pub fn run(self) -> Result<Exit, Failure> {
        let bytes = alone::read(&self.file)?;
        let mut pipeline = alone::pipeline(&[])?;
        pipeline.output.default = Some("output".to_owned());
        pipeline.output.granted = vec![ELSEWHERE.to_owned()];
        pipeline.grant = alone::grants(&self.grant);
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        let loaded = loader.compile(&bytes, &pipeline.limits);
        let refused = |error: anyhow::Error| Failure::start(error.context(self.file.display().to_string()));
        let plugin = loaded.map_err(|error| refused(error.into()))?;
        plugin.check(handler_spec::grants(&pipeline)).map_err(|missing| refused(alone::not_granted(missing)))?;
        let mut lines = Vec::new();
        let suite = file::parse(SUITE)?;
        let wanted = |name: &str| self.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
        for case in suite.cases.iter().filter(|case| wanted(&case.name)) {
            let began = Instant::now();
            let told = handler_tests::run(case, &plugin, &pipeline);
            let (other_world, trouble) = (matches!(told, Ok(Told::OtherWorld)), trouble(&told));
            self.tell(&mut lines, Line { name: case.name.clone(), other_world, trouble, time: began.elapsed() });
        }
        if self.only.is_none() && self.flood > 0 {
            self.tell(&mut lines, self.flood(&plugin, &pipeline)?);
        }
        let failed = lines.iter().filter(|line| line.trouble.is_some()).count();
        let passed_over = lines.iter().filter(|line| line.other_world).count();
        if self.json {
            let told: Vec<Value> = lines
                .iter()
                .map(|one| {
                    let seconds = one.time.as_secs_f64();
                    json!({
                        "case": one.name, "ok": one.trouble.is_none(), "other_world": one.other_world,
                        "trouble": one.trouble, "seconds": seconds,
                    })
                })
                .collect();
            print(&format!("{:#}\n", json!({ "ok": failed == 0, "cases": told })))?;
        } else {
            let other = if passed_over > 0 { format!(", {passed_over} for the other world") } else { String::new() };
            print(&format!("\n{} conform, {failed} do not{other}\n", lines.len() - failed - passed_over))?;
        }
        Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
    }

    fn tell(&self, lines: &mut Vec<Line>, line: Line) {
        if !self.json {
            let (word, color) = match (&line.trouble, line.other_world) {
                (Some(_), _) => ("FAIL", AnsiColor::Red),
                (None, true) => ("skip", AnsiColor::Yellow),
                (None, false) => ("ok", AnsiColor::Green),
            };
            let paint = Style::new().fg_color(Some(color.into()));
            let mut text = format!("  {paint}{word:5}{paint:#} {}\n", line.name);
            text.extend(line.trouble.as_deref());
            put(&text);
        }
        lines.push(line);
    }

    /// Many messages through one lane: what is forwarded, made anew, dropped and rejected, over and over.
    fn flood(&self, plugin: &Plugin, pipeline: &config::Pipeline) -> anyhow::Result<Line> {
        let bar = ProgressBar::new(self.flood as u64).with_style(
            ProgressStyle::with_template("  flood {wide_bar} {pos}/{len} {eta}").expect("a template of ours"),
        );
        let mut lane = Lane::new(Arc::new(plugin.clone()), pipeline);
        let began = Instant::now();
        let batch: Vec<PlainMessage> = (0..BATCH).map(of_flood).collect();
        let (mut handed, mut peak) = (0, 0);
        let mut trouble = None;
        while handed < self.flood {
            let part = &batch[..BATCH.min(self.flood - handed)];
            let told = lane.settle(part)?;
            let crashed = told.iter().flatten().find_map(|answer| answer.crash.as_ref());
            let outputs: usize = told.iter().flatten().map(|answer| answer.emitted.len()).sum();
            let wanted = (0..part.len()).filter(|at| at % 4 < 2).count();
            if let Some(crash) = crashed {
                trouble = Some(format!("        after {handed} messages: {crash}\n"));
            } else if outputs != wanted {
                trouble = Some(format!("        after {handed} messages: {outputs} outputs of {wanted}\n"));
            }
            if trouble.is_some() {
                break;
            }
            handed += part.len();
            peak = peak.max(lane.memory_bytes());
            bar.set_position(handed as u64);
        }
        bar.finish_and_clear();
        let size = |bytes: u64| bytesize::ByteSize(bytes).display().iec().to_string();
        let name = format!(
            "{handed} messages within limits.memory of {}: {} at most, {} instances",
            size(pipeline.limits.memory_bytes),
            size(peak),
            lane.instances()
        );
        Ok(Line { name, other_world: false, trouble, time: began.elapsed() })
    }
}

/// What a case's messages differ in, if they do.
fn trouble(told: &anyhow::Result<Told>) -> Option<String> {
    match told {
        Err(error) => Some(format!("        {}\n", explain(error).replace('\n', "\n        "))),
        Ok(Told::Refused | Told::OtherWorld) => None,
        Ok(Told::Messages(outcomes)) => outcomes.iter().find_map(|outcome| {
            let mismatch = outcome.mismatch.as_ref()?;
            Some(format!("        message {}\n{}", outcome.message + 1, difference(mismatch)))
        }),
    }
}

/// Message `at` of the flood's batch.
fn of_flood(at: usize) -> PlainMessage {
    let command = ["forward", "upper", "drop", "reject"][at % 4];
    PlainMessage {
        topic: alone::INPUT.to_owned(),
        partition: 0,
        offset: at as i64,
        timestamp: Some(1_700_000_000_000),
        key: Some(format!("key-{at}").into_bytes()),
        value: Some(vec![b'a' + (at % 26) as u8; VALUE_BYTES]),
        headers: vec![("do".to_owned(), Some(command.as_bytes().to_vec()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_sound_and_says_what_it_expects_of_every_message() {
        let suite = file::parse(SUITE).unwrap();
        assert!(suite.cases.len() > 20);
        for case in &suite.cases {
            for message in case.messages(alone::INPUT).unwrap() {
                let expect = message.expect.unwrap_or_default();
                expect.output().unwrap();
            }
        }
    }
}
