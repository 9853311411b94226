//! The project's chores: `cargo xtask <chore>`; `cargo xtask help` lists them.
//!
//! - **setup**: what a new machine lacks: wasm targets, a real Apache Kafka, compiled handlers. Idempotent.
//! - **test**: set-up, the binary, every test of the workspace.
//! - **languages**: the tools of the languages that handlers are written in, and their tests.
//! - **tidy**: the rules of ARCHITECTURE.md that a compiler does not check.
//! - **ledger**, **mutants**: the proof that nothing is lost, and that the proof can fail.
//! - **swaps**: the proof that a swap loses nothing, and how long nothing comes out around one.
//! - **bench**: wasmill beside a native loop on librdkafka.
//!
//! What a machine needs, and where it is, is `wasmill-setup` (`tests/setup`), which the tests use, too.

#![deny(unsafe_code)]

mod bench;
mod languages;
mod ledger;
mod swaps;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "the project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what a new machine lacks: wasm targets, Apache Kafka for the tests, compiled handlers
    Setup,
    /// Set up, build and run every test, or those whose names contain FILTER
    Test { filter: Vec<String> },
    /// Install the tools of the languages that handlers are written in, and run their tests, from `wasmill new` on
    Languages {
        /// Which; all, if none is named
        languages: Vec<String>,
    },
    /// Check the rules that the compiler does not: the crates' layers, import cycles, lengths, and that ARCHITECTURE.md is true
    Tidy,
    /// Measure wasmill beside a native loop on librdkafka, or languages beside each other, on a machine that does nothing else
    Bench {
        /// `throughput` (consume and map), `isolation` (partitions beside one that misbehaves) or `languages` (what a message
        /// costs in a handler of each)
        #[arg(default_value = "throughput")]
        what: String,
        /// Rounds that count
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Messages of a run; one that maps, or that stands beside misbehaviour, has half as many
        #[arg(long)]
        messages: Option<u64>,
        /// Of `languages`: only these
        #[arg(long, value_name = "LANG,...")]
        only: Option<String>,
        /// Of `throughput`: another build of wasmill to be the reference, in place of the native loop
        #[arg(long, value_name = "BINARY")]
        beside: Option<PathBuf>,
        /// Print JSON, with every run
        #[arg(long)]
        json: bool,
    },
    /// Count messages through kills, freezes, joins and broker restarts: none may be lost
    Ledger {
        #[command(flatten)]
        run: Run,
        /// Run a build that breaks this promise on purpose; the ledger is expected to fail
        #[arg(long)]
        mutant: Option<String>,
    },
    /// Swap handlers in a row under load: nothing may be lost, come twice or out of order, and every boundary must be the one
    /// that was reported
    Swaps {
        /// Swaps in a row
        #[arg(long, default_value_t = 1000)]
        swaps: usize,
        /// Measure instead for how long nothing comes out around a swap, with the release build
        #[arg(long)]
        gap: bool,
        /// Where the report goes; by default into the target folder
        #[arg(long)]
        report: Option<PathBuf>,
        /// More for the program, after `--`
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Run the ledger for every way of breaking a promise on purpose and expect it to fail
    Mutants {
        #[command(flatten)]
        run: Run,
    },
}

#[derive(clap::Args)]
struct Run {
    /// Length of the part with disturbances
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Decides what is disturbed when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// More for the ledger program, after `--`
    #[arg(last = true)]
    more: Vec<String>,
}

impl Run {
    fn options(self, mutant: Option<String>) -> ledger::Options {
        ledger::Options { minutes: self.minutes, seed: self.seed, mutant, more: self.more }
    }
}

/// Of a path that was typed, the argument for a program that cargo runs elsewhere.
fn absolute(name: &'static str) -> impl Fn(PathBuf) -> String {
    move |path| format!("--{name}={}", std::path::absolute(&path).unwrap_or(path).display())
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Setup => wasmill_setup::install().map(drop),
        Chore::Test { filter } => test::run(&filter),
        Chore::Languages { languages } if languages.is_empty() => languages::run(&wasmill_setup::languages::names()),
        Chore::Languages { languages } => languages::run(&languages),
        Chore::Tidy => tidy::run(),
        Chore::Bench { what, rounds, messages, only, beside, json } => {
            let mut arguments = vec![what, format!("--rounds={rounds}")];
            arguments.extend(only.map(|only| format!("--only={only}")));
            arguments.extend(messages.map(|messages| format!("--messages={messages}")));
            arguments.extend(beside.map(absolute("beside")));
            arguments.extend(json.then(|| "--json".to_owned()));
            bench::bench(&arguments)
        }
        Chore::Ledger { run, mutant } => ledger::ledger(&run.options(mutant)),
        Chore::Swaps { swaps, gap, report, more } => {
            let mut arguments = vec![format!("--swaps={swaps}")];
            arguments.extend(gap.then(|| "--gap".to_owned()));
            arguments.extend(report.map(absolute("report")));
            arguments.extend(more);
            swaps::swaps(&arguments)
        }
        Chore::Mutants { run } => ledger::mutants(&run.options(None)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
