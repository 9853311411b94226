//! Every test of the workspace, with what it needs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, step, target};
use crate::{languages, setup};

/// Sets up, builds the binary and runs the tests whose names contain one of `filter` (all, if it is empty). Languages whose
/// tools are not here are skipped, but for those in `WASMILL_LANGUAGES`, whose tools are installed.
///
/// # Errors
/// A step or a test fails.
pub fn run(filter: &[String]) -> Result<()> {
    setup::run()?;
    languages::install(&languages::required())?;
    step("build wasmill", cargo().args(["build", "--package", "wasmill"]))?;
    let mut test = cargo();
    test.args(["test", "--workspace", "--no-fail-fast"]);
    environment(&mut test, binary());
    if !filter.is_empty() {
        test.arg("--").args(filter);
    }
    step("test", &mut test)
}

/// The binary that `cargo build --package wasmill` makes.
pub fn binary() -> PathBuf {
    target().join("debug/wasmill")
}

/// Tells the tests which binary to try.
pub fn environment(command: &mut Command, binary: PathBuf) {
    command.env("WASMILL_BIN", binary);
}
