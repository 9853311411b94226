//! The benchmarks: release builds of wasmill and of what it is measured with, and the program of `wasmill-tests` that sets
//! them beside each other.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::{cargo, run, step, target};
use crate::test::environment;
use crate::{guests, setup};

/// Builds what is measured and measures it. `arguments` are for the program.
///
/// # Errors
/// Something does not build or run, or a count was wrong. How fast anything is does not matter here.
pub fn bench(arguments: &[String]) -> Result<()> {
    // In one command: alone, the second one would have wasmtime or librdkafka compiled again with other features around it.
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasmill"]);
    if arguments.first().is_some_and(|what| what == "languages") {
        guests::targets()?;
        build.args(["--bin", "wasmill", "--package", "wasmill-wasm", "--example", "languages"]);
        step("build wasmill and the measurement for release", &mut build)?;
    } else {
        setup::run()?;
        step("build wasmill and the native loop for release", build.args(["--package", "wasmill-bench"]))?;
    }
    step("build the benchmark", cargo().args(["build", "--package", "wasmill-tests", "--bin", "bench"]))?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--package", "wasmill-tests", "--bin", "bench", "--"]).args(arguments);
    environment(&mut bench, target().join("release/wasmill"));
    run(bench.env("WASMILL_NATIVE", native()).env("WASMILL_LANGUAGES", languages()))
}

/// The native loop that the build makes.
pub fn native() -> PathBuf {
    target().join("release/native")
}

/// The program that measures handlers without Kafka.
pub fn languages() -> PathBuf {
    target().join("release/examples/languages")
}
