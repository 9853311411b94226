//! The command line: one file for each command.

mod alone;
mod build;
mod capture;
mod check;
mod cluster;
mod conformance;
mod diff;
mod differences;
mod group;
mod inspect;
mod invoke;
mod invoked;
pub mod jsonl;
mod messages;
mod new;
mod operate;
mod registry;
mod run;
mod swap;
mod test;
mod topic;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand};
use wasmill_config as config;

use crate::app::{Exit, Failure};
use crate::telemetry::LogFormat;

/// Sandboxed WebAssembly handlers over Kafka topics.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value = "text", env = "WASMILL_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or by module as in `info,wasmill=debug`. By
    /// default info; for `dev` warn, and info of handlers
    #[arg(long, global = true, env = "WASMILL_LOG")]
    pub log_level: Option<String>,
}

const EXIT_CODES: &str = "Exit codes: 0 done, everything settled and committed; 1 failed while running; 2 wrong command \
line or configuration; 3 could not start (handler, cluster, admin port); 4 ended, but not everything was settled \
and committed in time; 130 ended at once by a second signal.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pipelines of a configuration
    Run(run::Run),
    /// Check a configuration and its handlers without starting anything
    Check(check::Check),
    /// Make a handler's project: handler, test, cases, sample messages, configuration, SDK
    New(new::New),
    /// Compile a handler, and make a component of it
    Build(build::Build),
    /// Run a handler's cases: messages in files, and what is expected of each
    Test(test::Test),
    /// Tell whether a component does what the contract says; for those who write SDKs
    Conformance(conformance::Conformance),
    /// Make a case of messages of a topic, for `wasmill test`
    Capture(capture::Capture),
    /// Tell what a handler's file is: contract, imports, exports, toolchain, and whether it is accepted
    Inspect(inspect::Inspect),
    /// Send a handler to a registry
    Push(registry::Push),
    /// Fetch a handler from a registry into the cache, and into a file
    Pull(registry::Pull),
    /// Hand messages to a handler, without a cluster, and show what it does with them
    Invoke(Box<invoke::Invoke>),
    /// Run two versions of a handler over messages of a topic, and show where they differ
    Diff(Box<diff::Diff>),
    /// Run pipelines on an embedded broker, with sample messages; rebuild and swap the handler on save
    Dev(crate::dev::Dev),
    /// Make, list, describe and delete topics
    Topic(topic::Topic),
    /// Send messages: lines of JSON, or one message from options
    Produce(messages::Produce),
    /// Print messages as lines of JSON, without a group
    Consume(messages::Consume),
    /// Look at a consumer group, or move it
    Group(group::Group),
    /// Show what a running process does: positions, watermarks, lag, what is stopped and why
    Status(operate::Status),
    /// Go on after a stop, a pause or an open breaker
    Resume(operate::Resume),
    /// Keep messages from being handed over, without leaving the group
    Pause(operate::Pause),
    /// Pass over the message at which a partition stands
    Skip(operate::Skip),
    /// Replace the handler of a running pipeline while messages flow
    Swap(swap::Swap),
    /// Go back to the handler before, or end a canary or a shadow
    Rollback(swap::Rollback),
    /// Show which handlers a pipeline had: when, who asked, from which offsets on, and what came of it
    History(swap::History),
    /// Print the JSON schema of wasmill.toml, for editors
    Schema,
    /// Print every key of wasmill.toml with its type, default and meaning, as Markdown
    Reference,
    #[command(hide = true)]
    CompileHandler(crate::compile::CompileHandler),
    /// Print a completion script for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Run(run) => run.run(&self.global),
            Command::Check(check) => check.run(&self.global),
            Command::New(new) => new.run(),
            Command::Build(build) => build.run(),
            Command::Test(test) => test.run(),
            Command::Capture(capture) => capture.run(),
            Command::Conformance(conformance) => conformance.run(),
            Command::Inspect(inspect) => inspect.run(),
            Command::Push(push) => push.run(),
            Command::Pull(pull) => pull.run(),
            Command::Invoke(invoke) => invoke.run(),
            Command::Diff(diff) => diff.run(),
            Command::Dev(dev) => dev.run(&self.global),
            Command::Topic(topic) => topic.run(),
            Command::Produce(produce) => produce.run(),
            Command::Consume(consume) => consume.run(),
            Command::Group(group) => group.run(),
            Command::Status(status) => status.run(),
            Command::Resume(resume) => resume.run(),
            Command::Pause(pause) => pause.run(),
            Command::Skip(skip) => skip.run(),
            Command::Swap(swap) => swap.run(),
            Command::Rollback(rollback) => rollback.run(),
            Command::History(history) => history.run(),
            Command::CompileHandler(compile) => compile.run(),
            Command::Schema => print(&format!("{:#}\n", config::schema())),
            Command::Reference => print(&config::reference()),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "wasmill", &mut script);
                print(&String::from_utf8_lossy(&script))
            }
        }
    }
}

/// Prints what was asked for; a reader that went away is no failure.
fn print(text: &str) -> Result<Exit, Failure> {
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(Exit::Done)
}

/// Loads a configuration; all its mistakes are one failure.
pub fn load(path: &Path) -> Result<config::Loaded, Failure> {
    config::load(&file(path)).map_err(unreadable)
}

/// A folder stands for the `wasmill.toml` in it.
pub fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("wasmill.toml") } else { path.to_owned() }
}

/// A configuration that is not there is the first thing that somebody new meets.
pub fn unreadable(error: config::LoadError) -> Failure {
    let missing = |source: &std::io::Error| source.kind() == std::io::ErrorKind::NotFound;
    let is_missing = matches!(&error, config::LoadError::Read { source, .. } if missing(source));
    let error = anyhow::Error::from(error);
    if !is_missing {
        return Failure::usage(error);
    }
    let hint = "name the file or its folder; `wasmill reference` has every key, and examples/ has whole files";
    Failure::usage(anyhow::anyhow!("{}; hint: {hint}", crate::app::told(&error)))
}

/// Where compiled plugins are kept: `WASMILL_CACHE`, else the user's cache folder.
pub fn cache_folder() -> Option<PathBuf> {
    let chosen = std::env::var_os("WASMILL_CACHE").map(PathBuf::from);
    let user = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(chosen.or_else(|| user().or_else(home).map(|folder| folder.join("wasmill")))?.join("compiled"))
}

/// Tells a failure on standard error, in the form of a compiler's.
pub fn print_failure(failure: &Failure) {
    let red = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    // A closed standard error is no reason to panic.
    let _ = writeln!(anstream::stderr(), "{red}error{red:#}: {failure}");
}
