//! Rust: cargo, for a target without WASI.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::tools::{Missing, on_path, tool};
use crate::project::folder::Project;
use crate::project::step::{self, Reporter};

const TARGET: &str = "wasm32-unknown-unknown";

pub fn compile(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    if on_path("cargo").is_none() {
        let install = "install Rust: https://rustup.rs";
        return Err(Missing { language: project.language, tool: "cargo", install }.into());
    }
    add_target(project, reporter)?;
    let mut cargo = tool("cargo", project);
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    if reporter.colours() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let said = step::run(&mut cargo, true, reporter)?;
    said.lines().rev().find_map(artifact).with_context(
        || "the build made no .wasm file; hint: a handler's Cargo.toml has `[lib]` with `crate-type = [\"cdylib\"]`",
    )
}

/// The file of a message about a library for wasm.
fn artifact(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let files = message["filenames"].as_array()?;
    files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
}

/// Installs the wasm target, if rustup says that it is missing.
fn add_target(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<()> {
    let rustup = |arguments: &[&str]| -> Command {
        let mut command = tool("rustup", project);
        command.args(arguments);
        command
    };
    // Without rustup the toolchain came from elsewhere, and so must the target.
    let Ok(installed) = rustup(&["target", "list", "--installed"]).output() else { return Ok(()) };
    if !installed.status.success() || String::from_utf8_lossy(&installed.stdout).lines().any(|line| line == TARGET) {
        return Ok(());
    }
    if let Err(error) = step::run(&mut rustup(&["target", "add", TARGET]), false, reporter) {
        bail!("rust cannot compile to {TARGET} yet, and {error:#}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_among_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","filenames":["/t/x.rlib","/t/my_handler.wasm"]}"#;
        assert_eq!(artifact(line), Some("/t/my_handler.wasm".into()));
        assert_eq!(artifact(r#"{"reason":"compiler-artifact","filenames":["/t/x.rlib"]}"#), None);
        assert_eq!(artifact(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(artifact("no json"), None);
    }
}
