//! wasmill: sandboxed WebAssembly handlers over Kafka topics.

// A binary has no public API. A name that says it all needs no comment.
#![allow(missing_docs)]

mod admin;
mod api;
mod app;
mod cache;
mod cli;
mod config_file;
mod dev;
mod failure;
mod output_file;
mod pipelines;
mod printed;
mod project;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

/// Messages are allocated by librdkafka's broker thread and given back by a lane, which the C library's allocator makes
/// dear: of a run that only consumes it took a fifth of the CPU time, part of it waiting for its own locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let asked = match cli::Cli::try_parse() {
        Ok(asked) => asked,
        Err(told) => return cli::print_usage(&told),
    };
    match asked.run().and_then(|exit| printed::all_written().map(|()| exit)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            cli::print_failure(&failure);
            failure.exit.into()
        }
    }
}
