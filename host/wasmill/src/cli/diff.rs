//! `wasmill diff`: two versions of a handler over real messages, and where they do not agree.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wasmill_config as config;
use wasmill_core::{Form, Position};
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::replay::backtest;
use wasmill_deploy::replay::history::{self, Missing, Plan, Wanted, Which};
use wasmill_deploy::replay::side_by_side::{Bounds, Report, replay};
use wasmill_deploy::swap::gate;
use wasmill_kafka::ClientSettings;
use wasmill_pipeline::handler_spec;
use wasmill_pipeline::version::Version;
use wasmill_wasm::Plugin;

use super::arguments;
use super::cluster::{ANSWER, Cluster, failed};
use super::output::print;
use super::{alone, differences};
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};
use crate::printed::put;

/// Messages of a sample if nothing else is said.
const SAMPLE: u64 = 1000;

const HELP: &str = "The messages are read without a group; nothing is published and nothing committed. Each version has a lane \
of its own and gets each partition's messages in order, in the same batches. Config, grants, limits and outputs are those of the \
pipeline that reads the topic, or of --pipeline; where no wasmill.toml has one, defaults, with --output, --grant and --set. What \
a handler makes of the clock or of chance differs by itself, and so may what it remembers of messages that are not in a sample. \
Exit codes: 0 done, whether or not they differ; 1 they differ, with --fail, or --gate refuses; 2 wrong command line or \
configuration; 3 a handler does not start, or the cluster does not give the messages.";

/// Run two versions of a handler over messages of a topic, and show where they differ
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Diff {
    /// The old version
    #[arg(value_name = "OLD.wasm")]
    old: PathBuf,
    /// The new version
    #[arg(value_name = "NEW.wasm")]
    new: PathBuf,
    /// The topic; may be given several times. By default those of --pipeline
    #[arg(long, value_name = "TOPIC", value_parser = arguments::topic_argument, required_unless_present_any = ["pipeline", "gate"])]
    topic: Vec<String>,
    /// Only this partition; may be given several times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// So many messages, at even distances over all that is there; by default 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["since", "limit"])]
    sample: Option<u64>,
    #[arg(
        long, value_name = "TIME", value_parser = history::since,
        help = format!("All messages from there on: {}; short `24h`", Form::list(&history::SINCE))
    )]
    since: Option<Position>,
    /// The first N messages: of all, or of those of --since
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End after so long; what was compared by then counts
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    within: Option<Duration>,
    /// The pipeline whose settings are used
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// An output topic, where there is no pipeline; may be given several times. The first is the default output
    #[arg(long, value_name = "TOPIC", value_parser = arguments::topic_argument, conflicts_with = "pipeline")]
    output: Vec<String>,
    /// What the handlers may ask for beyond computing, where there is no pipeline; several with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = config::Grant::ALL.map(config::Grant::as_str), conflicts_with = "pipeline")]
    grant: Vec<String>,
    /// A setting for the handlers' init, where there is no pipeline; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = arguments::setting_argument, conflicts_with = "pipeline")]
    set: Vec<(String, String)>,
    /// So many differing messages are shown, field by field
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// End with 1 if a message differs
    #[arg(long)]
    fail: bool,
    /// Read and judge as the pipeline's `swap.backtest` says; end with 1 if it refuses the new version
    #[arg(long, conflicts_with_all = ["topic", "partition", "sample", "since", "limit", "within", "fail"])]
    gate: bool,
    /// What came of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: Cluster,
}

impl Diff {
    /// Compares. Exit 1: they differ, and that was to be a failure.
    pub fn run(self) -> Result<Exit, Failure> {
        let loaded = self.cluster.loaded()?;
        let pipeline = self.settings(loaded.as_ref().map(|loaded| &loaded.config))?;
        let client = self.cluster.client()?;
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        let pipeline = Arc::new(pipeline);
        let (old, new) = (version(&loader, &self.old, &pipeline)?, version(&loader, &self.new, &pipeline)?);
        let (report, refused) = if self.gate {
            let settings = backtest_of(&pipeline)?;
            let report = backtest::run(&old, &new, &client, settings).map_err(Failure::start)?;
            let refused = backtest::refusal(&report, settings);
            (report, refused)
        } else {
            (self.compare([&old, &new], &client)?, None)
        };
        self.tell(&report, refused.as_deref(), &pipeline)?;
        let differs = self.fail && report.summary.differing > 0;
        Ok(if differs || refused.is_some() { Exit::Failed } else { Exit::Done })
    }

    fn compare(&self, versions: [&Version; 2], client: &ClientSettings) -> Result<Report, Failure> {
        let which = match (self.sample, self.since, self.limit) {
            (None, None, None) => Which::Sample(SAMPLE),
            (Some(count), ..) => Which::Sample(count),
            (None, Some(Position::Time(time)), limit) => Which::Since { time: Some(time), limit },
            (None, _, limit) => Which::Since { time: None, limit },
        };
        let topics = if self.topic.is_empty() { versions[0].settings.topics.clone() } else { self.topic.clone() };
        let wanted = Wanted { topics, partitions: self.partition.clone(), which };
        let plan = Plan::make(&self.cluster.admin()?, &wanted, ANSWER).map_err(missing)?;
        let template = "  {wide_bar} {pos}/{len} messages, {eta}";
        let style = ProgressStyle::with_template(template).expect("a template of ours");
        let bar = ProgressBar::new(plan.most()).with_style(style);
        let deadline = self.within.map(|within| Instant::now() + within);
        let bounds = Bounds { deadline, kept: self.show };
        let report = replay(client, plan, versions, &bounds, &mut |count| bar.set_position(count));
        bar.finish_and_clear();
        report.map_err(Failure::start)
    }

    /// The settings of the pipeline that was named or that reads the topic; else defaults.
    fn settings(&self, config: Option<&config::Config>) -> Result<config::Pipeline, Failure> {
        let pipelines = config.map_or(&[][..], |config| &config.pipelines);
        let names = || pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(name) = &self.pipeline {
            let found = pipelines.iter().find(|pipeline| pipeline.name == *name);
            return found.cloned().ok_or_else(|| {
                let hint =
                    if config.is_some() { format!("wasmill.toml has {}", names()) } else { "--config FILE".to_owned() };
                Failure::usage(anyhow::anyhow!("there is no pipeline `{name}`; hint: {hint}"))
            });
        }
        let fits = |pipeline: &&config::Pipeline| match self.gate {
            true => pipeline.swap.backtest.is_some(),
            false => self.topic.iter().all(|topic| pipeline.topics.contains(topic)),
        };
        let mut found = pipelines.iter().filter(fits);
        let typed = !self.output.is_empty() || !self.grant.is_empty() || !self.set.is_empty();
        match (found.next(), found.next()) {
            (Some(one), None) if typed => Err(Failure::usage(anyhow::anyhow!(
                "--output, --grant and --set are for handlers without a pipeline, and `{}` reads the topic; hint: leave them out, \
                 or write them into its table",
                one.name
            ))),
            (Some(one), None) => Ok(one.clone()),
            (Some(_), Some(_)) => {
                let which = if self.gate { "with a swap.backtest" } else { "that reads the topic" };
                Err(Failure::usage(anyhow::anyhow!(
                    "there is more than one pipeline {which}; hint: --pipeline, one of {}",
                    names()
                )))
            }
            (None, _) if self.gate => Err(Failure::usage(anyhow::anyhow!(
                "there is no pipeline with a swap.backtest; hint: --config FILE, and `swap.backtest = {{ }}` in the pipeline's table"
            ))),
            (None, _) => self.defaults(),
        }
    }

    fn defaults(&self) -> Result<config::Pipeline, Failure> {
        let mut pipeline = alone::pipeline(&[])?;
        pipeline.topics.clone_from(&self.topic);
        pipeline.output.default = Some(self.output.first().map_or_else(|| "output".to_owned(), String::clone));
        pipeline.output.granted = self.output.iter().skip(1).cloned().collect();
        pipeline.grant = alone::grants(&self.grant);
        pipeline.config = self.set.iter().cloned().collect();
        Ok(pipeline)
    }

    fn tell(&self, report: &Report, refused: Option<&str>, pipeline: &config::Pipeline) -> Result<(), Failure> {
        let name = (pipeline.name != alone::NAME).then_some(pipeline.name.as_str());
        if self.json {
            let mut told = serde_json::to_value(report).context("the report as JSON")?;
            told["pipeline"] = json!(name);
            told["refused"] = json!(refused);
            for (side, path) in [("old", &self.old), ("new", &self.new)] {
                told[side]["file"] = json!(path.display().to_string());
            }
            print(&format!("{told:#}\n"))?;
            return Ok(());
        }
        put(&differences::text(report, refused, name));
        Ok(())
    }
}

fn version(loader: &Loader, path: &Path, pipeline: &Arc<config::Pipeline>) -> Result<Version, Failure> {
    let bytes = alone::read(path)?;
    let load = || -> anyhow::Result<Plugin> {
        gate::size(bytes.len() as u64, pipeline)?;
        let plugin = loader.compile(&bytes, &pipeline.limits)?;
        match plugin.check(handler_spec::grants(pipeline)) {
            Err(refused) if pipeline.name == alone::NAME => Err(alone::not_granted(refused)),
            Err(refused) => Err(refused.into()),
            Ok(()) => Ok(plugin),
        }
    };
    let plugin = load().with_context(|| format!("handler {}", path.display())).map_err(Failure::start)?;
    Ok(Version::new(Arc::new(plugin), pipeline.clone(), path.display().to_string()))
}

fn backtest_of(pipeline: &config::Pipeline) -> Result<&config::Backtest, Failure> {
    pipeline.swap.backtest.as_ref().ok_or_else(|| {
        let hint = "`swap.backtest = { }` in its table";
        Failure::usage(anyhow::anyhow!("pipeline `{}` has no swap.backtest; hint: {hint}", pipeline.name))
    })
}

fn missing(missing: Missing) -> Failure {
    match missing {
        Missing::Partition(topic, partition, count) => Failure::usage(anyhow::anyhow!(
            "--partition {partition}: topic {topic} has {count} partitions; hint: they count from 0"
        )),
        // 1 says that they differ.
        Missing::Cluster(error) => Failure { exit: Exit::Start, ..failed(error) },
    }
}
