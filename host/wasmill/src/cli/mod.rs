//! The command line: one file for each command; what several of them share is in files that no command is named after.

mod alone;
mod arguments;
mod artifact;
mod build;
mod capture;
mod check;
mod cluster;
mod compile_handler;
mod conformance;
mod consume;
mod dev;
mod diff;
mod differences;
mod global;
mod group;
mod history;
mod inspect;
mod invoke;
mod invoked;
mod keys;
mod new;
mod output;
mod partitions;
mod pause;
mod produce;
mod pull;
mod push;
mod reload;
mod restart;
mod resume;
mod rollback;
mod run;
mod seek;
mod skip;
mod status;
mod swap;
mod target;
mod test;
mod topic;
mod versions;

use clap::{CommandFactory as _, Parser, Subcommand};
use wasmill_config as config;

use crate::failure::{Exit, Failure};
use global::Global;
use output::print;
pub use output::print_failure;

/// Sandboxed WebAssembly handlers over Kafka topics.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
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
    Push(push::Push),
    /// Fetch a handler from a registry into the cache, and into a file
    Pull(pull::Pull),
    /// Hand messages to a handler, without a cluster, and show what it does with them
    Invoke(Box<invoke::Invoke>),
    /// Run two versions of a handler over messages of a topic, and show where they differ
    Diff(Box<diff::Diff>),
    /// Run pipelines on an embedded broker, with sample messages; rebuild and swap the handler on save
    Dev(dev::Dev),
    /// Make, list, describe and delete topics
    Topic(topic::Topic),
    /// Send messages: lines of JSON, or one message from options
    Produce(produce::Produce),
    /// Print messages as lines of JSON, without a group
    Consume(consume::Consume),
    /// Look at a consumer group, or move it
    Group(group::Group),
    /// Show what a running process does: positions, watermarks, lag, what is stopped and why
    Status(status::Status),
    /// Go on after a stop, a pause or an open breaker
    Resume(resume::Resume),
    /// Keep messages from being handed over, without leaving the group
    Pause(pause::Pause),
    /// Pass over the message at which a partition stands
    Skip(skip::Skip),
    /// Read the configuration again: start, remove and change pipelines without touching the others; SIGHUP does the same
    Reload(reload::Reload),
    /// Have one pipeline drain, leave its group and start again with what the configuration says now
    Restart(restart::Restart),
    /// Go on at another message, while the pipeline runs
    Seek(seek::Seek),
    /// Replace the handler of a running pipeline while messages flow
    Swap(swap::Swap),
    /// Go back to the handler before, or end a canary or a shadow
    Rollback(rollback::Rollback),
    /// Show which handlers a pipeline had: when, who asked, from which offsets on, and what came of it
    History(history::History),
    /// Print the JSON schema of wasmill.toml, for editors
    Schema,
    /// Print every key of wasmill.toml with its type, default and meaning, as Markdown
    Reference,
    #[command(hide = true)]
    CompileHandler(compile_handler::CompileHandler),
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
            Command::Reload(reload) => reload.run(),
            Command::Restart(restart) => restart.run(),
            Command::Seek(seek) => seek.run(),
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
