//! What cargo builds for the tests and benchmarks, and how a test is told which binary to try.

use std::path::PathBuf;
use std::process::Command;

use crate::process::target;

/// Exit code of a program of `wasmill-tests` (ledger, swaps) that found a broken promise, as opposed to one that could not run
/// or that asked too little (too few kills) to prove anything.
pub const FOUND: u8 = 10;

/// The binary that `cargo build --package wasmill` makes.
pub fn wasmill() -> PathBuf {
    target().join("debug/wasmill")
}

/// The loop on librdkafka that the benchmark sets beside wasmill.
pub fn native() -> PathBuf {
    target().join("release/native")
}

/// The program that measures handlers without Kafka.
pub fn languages() -> PathBuf {
    target().join("release/examples/languages")
}

/// Tells the tests which binary to try.
pub fn environment(command: &mut Command, binary: PathBuf) {
    command.env("WASMILL_BIN", binary);
}
