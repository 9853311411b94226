//! `cargo xtask bench` runs this. The exit code says whether it could be run and every count was right, not how fast
//! anything was.

#![deny(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use wasmill_tests::bench::{Options, isolation, languages, run, table};

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// Consume and map, beside a native loop
    Throughput,
    /// The pace of partitions beside one that misbehaves
    Isolation,
    /// A message in a handler of each language, without Kafka
    Languages,
}

#[derive(Parser)]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value = "throughput")]
    what: What,
    /// Rounds that count, after one that does not
    #[arg(long, default_value_t = Options::default().rounds)]
    rounds: usize,
    /// Messages of a run; one that maps, or that stands beside misbehaviour, has half as many
    #[arg(long, default_value_t = Options::default().messages)]
    messages: u64,
    /// Of `languages`: only these
    #[arg(long, value_name = "LANG,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Of `throughput`: another build of wasmill to be the reference, in place of the native loop
    #[arg(long, value_name = "BINARY")]
    beside: Option<PathBuf>,
    /// Print JSON, with every run
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<()> {
    let &Arguments { what, rounds, messages, json, .. } = arguments;
    let progress = std::io::stderr().is_terminal();
    let say = |line: &str| {
        if progress {
            eprintln!("{line}");
        }
    };
    let text = match what {
        What::Throughput => {
            let report = run(&Options { rounds, messages, beside: arguments.beside.clone() }, &say)?;
            if json { serde_json::to_string_pretty(&report)? + "\n" } else { table::text(&report) }
        }
        What::Isolation => {
            let report = isolation::run(&isolation::Options { rounds, messages: messages / 2 }, &say)?;
            if json { serde_json::to_string_pretty(&report)? + "\n" } else { isolation::text(&report) }
        }
        What::Languages => {
            let only = arguments.only.clone();
            let report = languages::run(&languages::Options { rounds, only }, &say)?;
            if json { serde_json::to_string_pretty(&report)? + "\n" } else { languages::table::text(&report) }
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
