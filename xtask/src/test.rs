//! Every test of the workspace, with what it needs.

use anyhow::Result;
use wasmill_setup::process::{cargo, step};
use wasmill_setup::{built, languages};

/// Sets up, builds the binary and runs the tests whose names contain one of `filter` (all, if it is empty). Languages whose
/// tools are not here are skipped, but for those in `WASMILL_LANGUAGES`, whose tools are installed.
///
/// # Errors
/// A step or a test fails.
pub fn run(filter: &[String]) -> Result<()> {
    wasmill_setup::install()?;
    languages::install(&languages::required())?;
    step("build wasmill", cargo().args(["build", "--package", "wasmill"]))?;
    let mut test = cargo();
    test.args(["test", "--workspace", "--no-fail-fast"]);
    built::environment(&mut test, built::wasmill());
    if !filter.is_empty() {
        test.arg("--").args(filter);
    }
    step("test", &mut test)
}
