//! The tests of the languages that handlers are written in.

use anyhow::Result;
use wasmill_setup::languages::install;
use wasmill_setup::process::{cargo, step};
use wasmill_setup::{built, install as set_up};

/// Sets up and runs the tests of these languages, none of which may be skipped.
///
/// # Errors
/// A tool cannot be installed, or a test fails.
pub fn run(languages: &[String]) -> Result<()> {
    set_up()?;
    install(languages)?;
    step("build wasmill", cargo().args(["build", "--package", "wasmill"]))?;
    let mut tests = cargo();
    tests.args(["test", "--package", "wasmill-tests", "--test", "languages", "--no-fail-fast", "--"]);
    tests.args(languages.iter().map(|name| format!("{name}::"))).env("WASMILL_LANGUAGES", languages.join(","));
    built::environment(&mut tests, built::wasmill());
    step("the languages' tests", &mut tests)
}
