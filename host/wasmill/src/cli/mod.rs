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
pub use output::{print_failure, print_usage};

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
and committed in time; 5 another process has its instance_id; 130 ended at once by a second signal.";

/// What each does is said at its struct, from where help takes it.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    New(new::New),
    Build(build::Build),
    Test(test::Test),
    Conformance(conformance::Conformance),
    Capture(capture::Capture),
    Inspect(inspect::Inspect),
    Push(push::Push),
    Pull(pull::Pull),
    Invoke(Box<invoke::Invoke>),
    Diff(Box<diff::Diff>),
    Dev(dev::Dev),
    Topic(topic::Topic),
    Produce(produce::Produce),
    Consume(consume::Consume),
    Group(group::Group),
    Status(status::Status),
    Resume(resume::Resume),
    Pause(pause::Pause),
    Skip(skip::Skip),
    Reload(reload::Reload),
    Restart(restart::Restart),
    Seek(seek::Seek),
    Swap(swap::Swap),
    Rollback(rollback::Rollback),
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
