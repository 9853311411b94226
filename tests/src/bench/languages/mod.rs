//! What a message costs in a handler of each language: `cargo xtask bench languages`.
//!
//! **What is compared.** The reference handlers of `plugins/*/conformance`, which do the same in every language, built with the
//! release build's `wasmill build`. A language whose toolchain is missing is left out and named. Three commands: *ack* looks
//! at nothing and acknowledges (`drop`), *upper* sends key and value on, the value in upper case, *json* sends a field of a
//! document of about 200 B. The command is a setting, so that no handler looks for a header. *native* is the same in Rust
//! functions without a sandbox.
//!
//! **The unit** is what serde_json takes, natively and in the same run, to parse a document of about 200 B. Bars are multiples of
//! it. A message's time is set beside the unit's of the same moment, round by round, and a bar is met if the median of
//! the rounds meets it.
//!
//! **Without Kafka.** One release program (`host/wasm/examples/languages`) hands batches of 128 messages to instances and looks at
//! what they emit; it says how it measures. What a message costs before and after that is `bench throughput`'s.

pub mod report;
pub mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::mill;
use report::{Measured, Report};

/// What `wasmill build` ends with if a tool is missing.
const MISSING: i32 = 3;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds that count.
    pub rounds: usize,
    /// Names of languages; all if there is none.
    pub only: Vec<String>,
}

/// Builds the handlers and measures them. `say` hears about the progress.
///
/// # Errors
/// A handler does not build though its tools are there, or does not do what it must. How fast anything is does not matter.
pub fn run(options: &Options, say: &dyn Fn(&str)) -> Result<Report> {
    ensure!(options.rounds > 0, "0 rounds measure nothing; hint: 5 or more");
    let (mut handlers, mut left_out) = (Vec::new(), Vec::new());
    for language in languages(&options.only)? {
        say(&format!("build {language}"));
        match build(language)? {
            Ok(file) => handlers.push((language, file)),
            Err(reason) => {
                // Whoever reads the table alone must not take it for the whole.
                eprintln!("left out: {language}: {reason}");
                left_out.push(language.to_owned());
            }
        }
    }
    ensure!(!handlers.is_empty(), "no toolchain is there, so there is nothing to measure");
    Ok(Report::new(&measure(options.rounds, &handlers)?, left_out))
}

/// The languages to measure, those with the lowest bars first.
fn languages(only: &[String]) -> Result<Vec<&'static str>> {
    let mut all: Vec<_> = wasmill_setup::languages::all().iter().collect();
    all.sort_by(|a, b| a.bars.ack.total_cmp(&b.bars.ack));
    let mut names: Vec<&str> = all.iter().map(|language| language.name.as_str()).collect();
    if let Some(unknown) = only.iter().find(|one| !names.contains(&one.as_str())) {
        bail!("no reference handler in `{unknown}`; hint: {}", names.join(", "));
    }
    names.retain(|name| only.is_empty() || only.iter().any(|one| one == name));
    Ok(names)
}

/// The component of a language, or why it cannot be built here.
fn build(language: &str) -> Result<Result<PathBuf, String>> {
    let folder = wasmill_setup::process::root().join("plugins").join(language).join("conformance");
    let output = Command::new(mill::binary()?).arg("build").arg(&folder).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(Ok(folder.join("build/handler.wasm")));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(MISSING) {
        let last = said.lines().last().unwrap_or_default();
        return Ok(Err(last.to_owned()));
    }
    bail!("the reference handler in {language} does not build: {}\n{said}", output.status)
}

fn measure(rounds: usize, handlers: &[(&str, PathBuf)]) -> Result<Measured> {
    let mut program = Command::new(program()?);
    program.arg(rounds.to_string()).stdin(Stdio::null()).stderr(Stdio::inherit());
    for (language, file) in handlers {
        program.arg(format!("{language}={}", file.display()));
    }
    let output = program.output()?;
    ensure!(output.status.success(), "the measurement ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("the measurement said what is no report")
}

/// The program that measures.
fn program() -> Result<PathBuf> {
    let set = std::env::var_os("WASMILL_LANGUAGES").map(PathBuf::from);
    let path = set.unwrap_or_else(wasmill_setup::built::languages);
    ensure!(Path::new(&path).is_file(), "{} is not there; hint: run `cargo xtask bench languages`", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_languages_that_are_there_can_be_asked_for() {
        assert_eq!(languages(&[]).unwrap().len(), wasmill_setup::languages::all().len());
        assert_eq!(languages(&["zig".to_owned(), "rust".to_owned()]).unwrap(), ["rust", "zig"]);
        let error = languages(&["zig".to_owned(), "cobol".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("`cobol`; hint: rust, c,"), "{error}");
    }
}
