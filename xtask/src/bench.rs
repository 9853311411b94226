//! The benchmarks: release builds of wasmill and of what it is measured with, and the program of `wasmill-tests` that sets
//! them beside each other.

use anyhow::Result;
use wasmill_setup::process::{cargo, run, step, target};
use wasmill_setup::{built, guests};

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
        wasmill_setup::install()?;
        step("build wasmill and the native loop for release", build.args(["--package", "wasmill-bench"]))?;
    }
    step("build the benchmark", cargo().args(["build", "--package", "wasmill-tests", "--bin", "bench"]))?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--package", "wasmill-tests", "--bin", "bench", "--"]).args(arguments);
    built::environment(&mut bench, target().join("release/wasmill"));
    run(bench.env("WASMILL_NATIVE", built::native()).env("WASMILL_LANGUAGES", built::languages()))
}
