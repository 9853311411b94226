//! The benchmark: release builds of wasmill and of the native loop, and the program of `wasmill-tests` that sets them beside
//! each other.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::{cargo, run, step, target};
use crate::setup;
use crate::test::environment;

/// Builds what is measured and measures it. `arguments` are for the program.
///
/// # Errors
/// Something does not build or run, or a count was wrong. How fast anything is does not matter here.
pub fn bench(arguments: &[String]) -> Result<()> {
    setup::run()?;
    // In one command: alone, the native loop would have librdkafka compiled again with other features around it.
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasmill", "--package", "wasmill-bench"]);
    step("build wasmill and the native loop for release", &mut build)?;
    step("build the benchmark", cargo().args(["build", "--package", "wasmill-tests", "--bin", "bench"]))?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--package", "wasmill-tests", "--bin", "bench", "--"]).args(arguments);
    environment(&mut bench, target().join("release/wasmill"));
    run(bench.env("WASMILL_NATIVE", native()))
}

/// The native loop that the build makes.
pub fn native() -> PathBuf {
    target().join("release/native")
}
