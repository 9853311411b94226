//! The ledger test and its mutants.
//!
//! The ledger itself is a program of `wasmill-tests`; it is started from here with the right binary. A mutant is
//! the same binary with one rule of ARCHITECTURE.md broken: a ledger that passes for it proves nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasmill_setup::built::{self, FOUND};
use wasmill_setup::process::{cargo, step, target};

/// What can be broken on purpose, by the name that `WASMILL_MUTANT` takes in a build with the feature `mutants`.
pub const MUTANTS: [&str; 4] = ["commit-before-delivery", "watermark-plus-one", "no-fence", "drop-retries-on-revoke"];

/// How long a ledger runs and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of the part with disturbances; the drain comes on top.
    pub minutes: f64,
    /// Decides what is disturbed when.
    pub seed: u64,
    /// One of [`MUTANTS`]: the ledger is then expected to fail.
    pub mutant: Option<String>,
    /// More arguments for the ledger program.
    pub more: Vec<String>,
}

/// Runs one ledger.
///
/// # Errors
/// The ledger found something, or could not run.
pub fn ledger(options: &Options) -> Result<()> {
    wasmill_setup::install()?;
    let folder = build(options.mutant.is_some())?;
    one(options, &folder)
}

/// Runs a ledger for each mutant and expects every one to fail with findings.
///
/// # Errors
/// A mutant got through, or a ledger could not run.
pub fn mutants(options: &Options) -> Result<()> {
    wasmill_setup::install()?;
    let folder = build(true)?;
    let mut alive = Vec::new();
    for mutant in MUTANTS {
        let options = Options { mutant: Some(mutant.into()), ..options.clone() };
        eprintln!("==> mutant {mutant}");
        match one(&options, &folder) {
            Ok(()) => alive.push(mutant),
            Err(error) if error.downcast_ref::<Found>().is_some() => eprintln!("    mutant {mutant} was caught"),
            Err(error) => return Err(error),
        }
    }
    if !alive.is_empty() {
        bail!("the ledger does not notice these mutants: {}", alive.join(", "));
    }
    Ok(())
}

/// The ledger ran to its end and is not satisfied: for a mutant, what is wanted.
#[derive(Debug)]
struct Found;

impl std::fmt::Display for Found {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        text.write_str("the ledger found a broken promise")
    }
}

impl std::error::Error for Found {}

fn build(mutants: bool) -> Result<PathBuf> {
    let build = || {
        let mut build = cargo();
        build.args(["build", "--package", "wasmill"]);
        build
    };
    if !mutants {
        step("build wasmill", &mut build())?;
        return Ok(built::wasmill());
    }
    // The binary that breaks its promises is moved away and the right one put back at once: the wrong one must never be
    // found where the right one is expected. A target folder of its own would compile wasmtime again.
    let copy = target().join("mutants/wasmill");
    std::fs::create_dir_all(copy.with_file_name(""))?;
    step("build wasmill with mutants", build().args(["--features", "mutants"]))?;
    std::fs::copy(built::wasmill(), &copy).context("cannot copy the binary with mutants")?;
    step("build wasmill", &mut build())?;
    Ok(copy)
}

fn one(options: &Options, binary: &Path) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "wasmill-tests", "--bin", "ledger", "--"]);
    command.args(["--minutes", &options.minutes.to_string(), "--seed", &options.seed.to_string()]);
    if let Some(mutant) = &options.mutant {
        if !MUTANTS.contains(&mutant.as_str()) {
            bail!("no mutant is named {mutant}; hint: one of {}", MUTANTS.join(", "));
        }
        command.args(["--mutant", mutant]);
    }
    command.args(&options.more);
    built::environment(&mut command, binary.to_path_buf());
    let status = command.status()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(FOUND) => Err(Found.into()),
        _ => bail!("the ledger could not run: {status}"),
    }
}
