//! `wasmill test`: a handler's cases, without a broker.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use wasmill_config as config;
use wasmill_deploy::explain;
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::handler_tests::bless::{Blessing, bless};
use wasmill_deploy::handler_tests::file::{self, Case};
use wasmill_deploy::handler_tests::{self, Mismatch, Outcome, Told};
use wasmill_deploy::oci::Offline;
use wasmill_wasm::Plugin;

use super::build;
use super::output::print;
use crate::cache::cache_folder;
use crate::config_file;
use crate::dev;
use crate::failure::{Exit, Failure};
use crate::printed::put;
use crate::project::{Kept, Project, Reporter, Terminal};

const HELP: &str = "Cases are in cases/*.toml below the folder: messages, and what is expected of each; see the file that \
`wasmill new` writes. Each case has an instance of its own, started with the pipeline's settings, outputs and limits of \
wasmill.toml; no broker is needed. --bless writes what came into the files as what is expected, for you to read. \
`wasmill capture` makes a case of messages of a topic. \
Exit codes: 0 all as expected; 1 a case failed; 2 a file is wrong, or there is none; 3 the handler cannot be built or loaded.";

/// Run a handler's cases: messages in files, and what is expected of each
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Test {
    /// A folder with a wasmill.toml and a folder `cases`
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// Only cases whose name or file contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write what comes as what is expected
    #[arg(long)]
    bless: bool,
    /// Take the handler as it is
    #[arg(long)]
    no_build: bool,
    /// What came of it as JSON
    #[arg(long)]
    json: bool,
}

/// What came of all cases.
#[derive(Default)]
struct Sum {
    passed: usize,
    failed: usize,
    blessed: usize,
    skipped: usize,
    messages: u32,
    time: Duration,
    told: Vec<Value>,
}

impl Test {
    /// Tests. Exit 1: a case failed.
    pub fn run(self) -> Result<Exit, Failure> {
        let files = files(&self.directory)?;
        let kept = Kept::default();
        let terminal = Terminal::new();
        let reporter: &dyn Reporter = if self.json { &kept } else { &terminal };
        let loaded = config_file::load(&self.directory)?;
        let pipelines = &loaded.config.pipelines;
        // What else may lie beside a wasmill.toml is nobody's handler here.
        let project =
            Project::open(&self.directory).ok().filter(|project| pipelines.iter().any(|one| project.makes(one)));
        if let Some(project) = project.filter(|_| !self.no_build) {
            if let Err(error) = project.build(build::ask(&project), reporter) {
                // Not 1, which says that a case failed.
                let failure = Failure::start(error.context(format!("build of {}", self.directory.display())));
                return if self.json { build::told(failure, &kept) } else { Err(failure) };
            }
        } else if !self.no_build {
            for pipeline in pipelines {
                dev::build_command(pipeline, &self.directory, reporter).map_err(Failure::start)?;
            }
        }
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        let mut sum = Sum::default();
        for path in &files {
            self.file(path, &loaded.config, &loader, &mut sum)?;
        }
        self.end(&sum)
    }

    fn file(&self, path: &Path, config: &config::Config, loader: &Loader, sum: &mut Sum) -> Result<(), Failure> {
        let (text, file) = file::read(path).map_err(Failure::usage)?;
        let name = path.strip_prefix(&self.directory).unwrap_or(path).display().to_string();
        let pipeline =
            pipeline(config, file.pipeline.as_deref()).with_context(|| name.clone()).map_err(Failure::usage)?;
        let wanted = |case: &&Case| {
            self.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()) || name.contains(only.as_str()))
        };
        if !file.cases.iter().any(|case| wanted(&case)) {
            return Ok(());
        }
        let fetched = loader.fetch(&pipeline.handler, pipeline.limits.component_bytes, Offline::Allowed);
        let fetched = fetched.with_context(|| format!("pipeline {}", pipeline.name));
        let fetched = fetched.map_err(Failure::start)?;
        if let Some(warning) = &fetched.warning {
            // A reader that went away is no failure.
            let _ = writeln!(std::io::stderr(), "warning: {warning}");
        }
        let plugin = loader.load_fetched(pipeline, &fetched).map_err(Failure::start)?;
        self.show(&format!("{name}\n"));
        let mut outcomes = Vec::new();
        for (index, case) in file.cases.iter().enumerate().filter(|(_, case)| wanted(case)) {
            if let Some(of_case) = self.case(&name, case, &plugin, pipeline, sum) {
                outcomes.push((index, of_case));
            }
        }
        if self.bless {
            write(path, &text, &outcomes)?;
        }
        Ok(())
    }

    /// Runs a case and tells what came of it; the outcomes are for blessing.
    fn case(
        &self,
        file: &str,
        case: &Case,
        plugin: &Plugin,
        pipeline: &config::Pipeline,
        sum: &mut Sum,
    ) -> Option<Vec<Outcome>> {
        let told = handler_tests::run(case, plugin, pipeline);
        if matches!(told, Ok(Told::OtherWorld)) {
            sum.skipped += 1;
            self.show(&format!("  skip  {}  for the other world\n", case.name));
            return None;
        }
        let outcomes = match &told {
            Ok(Told::Messages(outcomes)) => outcomes.as_slice(),
            _ => &[],
        };
        let calls = outcomes.iter().flat_map(|outcome| &outcome.answers);
        let time: Duration = calls.clone().map(|answer| answer.time).sum();
        sum.messages += calls.count() as u32;
        sum.time += time;
        let count = outcomes.len().max(1) as u32;
        let differs = outcomes.iter().find_map(|outcome| Some((outcome, outcome.mismatch.as_ref()?)));
        let open = outcomes.iter().any(|outcome| outcome.open);
        let blessed = self.bless && told.is_ok() && (differs.is_some() || open);
        let error = match &told {
            Err(error) => Some(explain(error)),
            Ok(_) if !self.bless && open && differs.is_none() => {
                Some("a message has no expectation; hint: `wasmill test --bless` writes what came".to_owned())
            }
            Ok(_) => None,
        };
        let ok = error.is_none() && (self.bless || differs.is_none());
        *(if blessed {
            &mut sum.blessed
        } else if ok {
            &mut sum.passed
        } else {
            &mut sum.failed
        }) += 1;
        let mut text = title(&case.name, ok, blessed, time / count);
        if let Some(error) = &error {
            let _ = writeln!(text, "        {}", error.replace('\n', "\n        "));
        }
        // Of one that is blessed, too: what is written over is seen once.
        if let Some((outcome, mismatch)) = differs {
            if case_len(outcomes) > 1 {
                let _ = writeln!(text, "        message {}", outcome.message + 1);
            }
            text += &difference(mismatch);
        }
        self.show(&text);
        let mismatch = differs.map(|(outcome, mismatch)| {
            json!({ "message": outcome.message, "expected": mismatch.expected, "got": mismatch.got })
        });
        sum.told.push(json!({
            "file": file, "case": case.name, "ok": ok, "blessed": blessed, "error": error, "mismatch": mismatch,
            "seconds_per_message": (time / count).as_secs_f64(),
        }));
        match told {
            Ok(Told::Messages(outcomes)) => Some(outcomes),
            _ => None,
        }
    }

    fn show(&self, text: &str) {
        if !self.json {
            put(text);
        }
    }

    fn end(&self, sum: &Sum) -> Result<Exit, Failure> {
        let ran = sum.passed + sum.failed + sum.blessed + sum.skipped;
        if ran == 0 {
            let only = self.only.as_deref().unwrap_or_default();
            return Err(Failure::usage(anyhow::anyhow!("no case has `{only}` in its name or its file's")));
        }
        if self.json {
            let report = json!({
                "ok": sum.failed == 0, "passed": sum.passed, "failed": sum.failed, "blessed": sum.blessed, "cases": sum.told,
            });
            print(&format!("{report:#}\n"))?;
        } else {
            let each = sum.time / sum.messages.max(1);
            let blessed = if sum.blessed > 0 { format!(", {} blessed", sum.blessed) } else { String::new() };
            let (passed, failed) = (sum.passed, sum.failed);
            self.show(&format!("\n{passed} passed, {failed} failed{blessed}; {} a message\n", micros(each)));
        }
        Ok(if sum.failed == 0 { Exit::Done } else { Exit::Failed })
    }
}

/// How many different messages a case has.
fn case_len(outcomes: &[Outcome]) -> usize {
    outcomes.last().map_or(0, |outcome| outcome.message + 1)
}

/// The case files of a folder, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = directory.join("cases");
    let none = || {
        let hint = "a project that `wasmill new` made has some, and `wasmill capture` makes one of a topic's messages";
        Failure::usage(anyhow::anyhow!("there are no cases in {}; hint: {hint}", folder.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|_| none())? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(none()) } else { Ok(files) }
}

/// The pipeline of that name, or the first one.
fn pipeline<'a>(config: &'a config::Config, name: Option<&str>) -> anyhow::Result<&'a config::Pipeline> {
    let Some(name) = name else { return config.pipelines.first().context("wasmill.toml has no pipeline") };
    let names: Vec<&str> = config.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    let found = config.pipelines.iter().find(|pipeline| pipeline.name == name);
    found.with_context(|| format!("there is no pipeline `{name}`; hint: wasmill.toml has {}", names.join(", ")))
}

/// Writes what came of the messages of a file into it.
fn write(path: &Path, text: &str, outcomes: &[(usize, Vec<Outcome>)]) -> Result<(), Failure> {
    let mut blessings = Vec::new();
    for (case, outcomes) in outcomes {
        for outcome in outcomes.iter().filter(|outcome| outcome.open || outcome.mismatch.is_some()) {
            if let Some(answer) = outcome.answers.last() {
                blessings.push(Blessing { case: *case, message: outcome.message, answer });
            }
        }
    }
    if blessings.is_empty() {
        return Ok(());
    }
    let new = bless(text, &blessings).with_context(|| path.display().to_string())?;
    std::fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn style(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(color.into()))
}

fn title(name: &str, ok: bool, blessed: bool, time: Duration) -> String {
    let (word, color) = match (ok, blessed) {
        (_, true) => ("bless", AnsiColor::Yellow),
        (true, _) => ("ok", AnsiColor::Green),
        (false, _) => ("FAIL", AnsiColor::Red),
    };
    let (paint, dim) = (style(color), Style::new().dimmed());
    format!("  {paint}{word:5}{paint:#} {name}  {dim}{}{dim:#}\n", micros(time))
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

/// What differs, line by line: what was expected with `-`, what came with `+`.
pub fn difference(mismatch: &Mismatch) -> String {
    let mut text = "        - expected, + came\n".to_owned();
    for change in TextDiff::from_lines(&mismatch.expected, &mismatch.got).iter_all_changes() {
        let (sign, paint) = match change.tag() {
            ChangeTag::Delete => ('-', style(AnsiColor::Red)),
            ChangeTag::Insert => ('+', style(AnsiColor::Green)),
            ChangeTag::Equal => (' ', Style::new()),
        };
        let _ = writeln!(text, "        {paint}{sign} {}{paint:#}", change.value().trim_end_matches('\n'));
    }
    text
}
