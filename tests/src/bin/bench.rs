//! `cargo xtask bench` runs this. The exit code says whether it could be run and every count was right, not how fast
//! anything was.

#![deny(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use wasmill_tests::bench::{Options, run, table};

#[derive(Parser)]
struct Arguments {
    /// Rounds that count, after one that does not
    #[arg(long, default_value_t = Options::default().rounds)]
    rounds: usize,
    /// Messages of a run that consumes; one that maps has half as many
    #[arg(long, default_value_t = Options::default().messages)]
    messages: u64,
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
    let &Arguments { rounds, messages, json } = arguments;
    let progress = std::io::stderr().is_terminal();
    let report = run(&Options { rounds, messages }, &|line| {
        if progress {
            eprintln!("{line}");
        }
    })?;
    let text = if json { serde_json::to_string_pretty(&report)? + "\n" } else { table::text(&report) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
