//! wasmill: sandboxed WebAssembly handlers over Kafka topics.

mod admin;
mod app;
mod cli;
mod compile;
mod dev;
mod mutant;
mod pipeline;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            cli::print_failure(&failure);
            failure.exit.into()
        }
    }
}
