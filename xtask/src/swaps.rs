//! Swaps in a row under load, and the gap that a swap makes: a program of `wasmill-tests`, started with the right binary.

use std::path::PathBuf;

use anyhow::Result;
use wasmill_setup::built;
use wasmill_setup::process::{cargo, run, step, target};

/// Builds and runs it. `arguments` are for the program; with `--gap` the release build is measured. `WASMILL_BIN` names
/// another one.
///
/// # Errors
/// It does not build or run, or found a broken promise.
pub fn swaps(arguments: &[String]) -> Result<()> {
    wasmill_setup::install()?;
    let release = arguments.iter().any(|one| one == "--gap");
    let binary = match std::env::var_os("WASMILL_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let mut build = cargo();
            build.args(["build", "--package", "wasmill"]).args(release.then_some("--release"));
            step("build wasmill", &mut build)?;
            if release { target().join("release/wasmill") } else { built::wasmill() }
        }
    };
    let mut swaps = cargo();
    swaps.args(["run", "--quiet", "--package", "wasmill-tests", "--bin", "swaps", "--"]).args(arguments);
    built::environment(&mut swaps, binary);
    run(&mut swaps)
}
