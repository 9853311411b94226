//! JavaScript, TypeScript and AssemblyScript: tools from npm, which a project names and pins in its package.json.

use std::path::PathBuf;
use std::process::Command;

use wasmill_wasm::Ask;

use super::{Missing, on_path, tool};
use crate::project::{Language, Project, Reporter, step};

pub fn compile(project: &Project, ask: Ask, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    install(project, "componentize-qjs", reporter)?;
    bundle(project, "handler.js", reporter)?;
    componentize(project, ask, reporter)
}

pub fn compile_typescript(project: &Project, ask: Ask, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    install(project, "componentize-qjs", reporter)?;
    let mut check = script(project, "tsc");
    check.arg("--noEmit");
    step::run(&mut check, false, reporter)?;
    bundle(project, "handler.ts", reporter)?;
    componentize(project, ask, reporter)
}

pub fn compile_assemblyscript(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    install(project, "asc", reporter)?;
    step::run(script(project, "asc").args(["--target", "release"]), false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
}

/// The handler, the SDK and what they import, in one file.
fn bundle(project: &Project, handler: &str, reporter: &dyn Reporter) -> anyhow::Result<()> {
    let mut esbuild = script(project, "esbuild");
    esbuild.args(["sdk/entry.js", "--bundle", "--format=esm", "--target=es2022", "--log-level=warning"]);
    esbuild.args(["--external:wasmill:*", "--outfile=build/bundle.js"]);
    esbuild.arg(format!("--alias:wasmill-user-handler=./{handler}"));
    step::run(&mut esbuild, false, reporter).map(drop)
}

fn componentize(project: &Project, _ask: Ask, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    let mut componentize = script(project, "componentize-qjs");
    componentize.args(["--wit", "sdk/wit", "-n", "batches", "--js", "build/bundle.js", "--sync", "--stub-wasi"]);
    componentize.args(["-o", "build/javascript.wasm"]);
    step::run(&mut componentize, false, reporter)?;
    Ok(project.directory.join("build/javascript.wasm"))
}

/// Installs what package.json names, unless it was done. Like cargo and go: the project says what it needs.
fn install(project: &Project, needed: &str, reporter: &dyn Reporter) -> anyhow::Result<()> {
    if on_path("npm").is_none() {
        let install = "install Node.js 20 or later: https://nodejs.org";
        return Err(Missing { language: project.language, tool: "npm", install }.into());
    }
    if project.directory.join("node_modules/.bin").join(needed).exists() {
        return Ok(());
    }
    let how = if project.directory.join("package-lock.json").exists() { "ci" } else { "install" };
    step::run(tool("npm", project).args([how, "--no-audit", "--no-fund"]), false, reporter).map(drop)
}

/// A program that a package of the project brings.
fn script(project: &Project, program: &str) -> Command {
    debug_assert!(matches!(project.language, Language::Javascript | Language::Typescript | Language::Assemblyscript));
    // Relative to the folder that it runs in.
    tool(format!("./node_modules/.bin/{program}"), project)
}
