//! Each language from nothing to a running handler, as its README says: `wasmill new`, the project's unit tests, `build`,
//! `test`, `dev` with the sample; then the SDK's own tests and the conformance suite.
//!
//! A language whose tools are not on this machine is skipped and named; of those in `WASMILL_LANGUAGES` (names with
//! commas, `tier-1` or `all`) nothing may be skipped. `cargo xtask languages` installs the tools of all.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wasmill_setup::languages::{self, Language, SdkTests};
use wasmill_setup::process;
use wasmill_tests::mill;
use wasmill_tests::scratch::Scratch;

/// Messages of the flood: enough to see memory grow without bound, few enough for a suite.
const FLOOD: &str = "100000";

/// The language, if its tools are here.
fn language(name: &str) -> Result<Option<&'static Language>> {
    let language = languages::named(name).context("plugins/languages.toml has it")?;
    let missing = languages::missing(name);
    if missing.is_empty() {
        return Ok(Some(language));
    }
    let missing = missing.join(", ");
    if languages::required().iter().any(|required| required == name) {
        bail!(
            "{name} may not be skipped, and these are missing: {missing}; hint: `cargo xtask languages` installs them"
        );
    }
    // Not through the macro: the line of a test that passes would be swallowed.
    writeln!(std::io::stderr(), "skipped: {name} (missing: {missing})")?;
    Ok(None)
}

/// What a command is run with: the tools where `cargo xtask languages` puts them, and no settings of the caller's build.
fn environment(command: &mut Command) -> Result<&mut Command> {
    Ok(command.env("PATH", languages::path()?).env_remove("CARGO_TARGET_DIR").env_remove("CARGO_MANIFEST_DIR"))
}

fn wasmill(folder: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(mill::binary()?);
    // Compiling CPython takes a minute: once for all of these tests.
    let cache = process::target().join("languages");
    environment(&mut command)?.current_dir(folder).args(arguments).env("WASMILL_CACHE", cache);
    Ok(command.output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeeds(what: &str, output: Output) -> Result<String> {
    ensure!(output.status.success(), "{what} ended with {}\n{}", output.status, said(&output));
    Ok(said(&output))
}

fn shell(folder: &Path, line: &str) -> Result<()> {
    // `zig` as pip installs it is a module of python's.
    let line = match line.strip_prefix("zig ") {
        Some(rest) if !languages::on_path("zig") => format!("python3 -m ziglang {rest}"),
        _ => line.to_owned(),
    };
    let mut command = Command::new("sh");
    let output = environment(&mut command)?.current_dir(folder).args(["-c", &line]).output()?;
    succeeds(&format!("`{line}` in {}", folder.display()), output).map(drop)
}

/// From an empty folder to messages that flow.
fn from_new_to_dev(name: &str) -> Result<()> {
    let Some(language) = language(name)? else { return Ok(()) };
    let scratch = Scratch::new(name)?;
    succeeds("new", wasmill(scratch.path(), &["new", name, "mask-orders"])?)?;
    let project = scratch.path().join("mask-orders");
    succeeds("build", wasmill(&project, &["build"])?)?;
    let inspected = wasmill(&project, &["inspect", "build/handler.wasm", "--json"])?;
    let told: Value = serde_json::from_slice(&inspected.stdout).with_context(|| said(&inspected))?;
    let makers = told["producers"].as_array().context("producers")?;
    ensure!(makers.iter().any(|one| one["field"] == "language"), "what it is written in is noted: {told:#}");
    ensure!(told["accepted"] == true && told["grant"].as_array().is_some_and(Vec::is_empty), "{told:#}");
    shell(&project, &language.unit_tests)?;
    let tested = wasmill(&project, &["test", "--json"])?;
    let report: Value = serde_json::from_slice(&tested.stdout).with_context(|| said(&tested))?;
    ensure!(tested.status.success() && report["passed"] == 4 && report["failed"] == 0, "{report:#}");
    // The cases can fail: with another expectation one does.
    let cases = project.join("cases/handler.toml");
    let text = std::fs::read_to_string(&cases)?;
    std::fs::write(&cases, text.replace("HELLO!", "HELLO?"))?;
    let tested = wasmill(&project, &["test", "--no-build"])?;
    ensure!(tested.status.code() == Some(1) && said(&tested).contains("HELLO?"), "{}", said(&tested));
    let ran = succeeds("dev", wasmill(&project, &["dev", "--once"])?)?;
    for wanted in ["HELLO!", "the value is not UTF-8 from byte 0", "the value is absent", "mask-orders-in/0"] {
        ensure!(ran.contains(wanted), "dev says nothing of `{wanted}`:\n{ran}");
    }
    Ok(())
}

fn sdk_tests_pass(name: &str) -> Result<()> {
    let Some(language) = language(name)? else { return Ok(()) };
    let SdkTests { folder, run } = &language.sdk_tests;
    shell(&plugins().join(folder), run)
}

fn conforms(name: &str) -> Result<()> {
    if language(name)?.is_none() {
        return Ok(());
    }
    let project = plugins().join(name).join("conformance");
    succeeds("build", wasmill(&project, &["build"])?)?;
    let suite = wasmill(&project, &["conformance", "build/handler.wasm", "--flood", FLOOD])?;
    succeeds("the conformance suite", suite).map(drop)
}

fn plugins() -> PathBuf {
    process::root().join("plugins")
}

macro_rules! tests {
    ($($language:ident)*) => {$(
        mod $language {
            use anyhow::Result;

            #[test]
            fn goes_from_new_to_dev() -> Result<()> {
                super::from_new_to_dev(stringify!($language))
            }

            #[test]
            fn sdk_tests_pass() -> Result<()> {
                super::sdk_tests_pass(stringify!($language))
            }

            #[test]
            fn conforms() -> Result<()> {
                super::conforms(stringify!($language))
            }
        }
    )*};
}

// `tests! { rust go ... }`, by build.rs.
include!(concat!(env!("OUT_DIR"), "/languages.rs"));
