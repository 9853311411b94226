//! JavaScript, TypeScript and AssemblyScript: tools from npm, which a project names and pins in its package.json.

use std::path::PathBuf;
use std::process::Command;

use super::tools::{Missing, on_path, tool};
use crate::project::folder::Project;
use crate::project::language::Language;
use crate::project::step::{self, Reporter};

pub fn compile(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    install(project, "esbuild", reporter)?;
    componentize(project, reporter)
}

pub fn compile_typescript(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    install(project, "tsc", reporter)?;
    step::run(script(project, "tsc").arg("--noEmit"), false, reporter)?;
    componentize(project, reporter)
}

/// The SDK knows how: it bundles the handler and what it imports, and puts QuickJS around that.
fn componentize(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    step::run(tool("node", project).arg(project.sdk().join("build.js")), false, reporter)?;
    Ok(project.output())
}

pub fn compile_assemblyscript(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    install(project, "asc", reporter)?;
    step::run(script(project, "asc").args(["--target", "release"]), false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
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
    step::run(tool("npm", project).args([how, "--no-audit", "--no-fund", "--loglevel=error"]), false, reporter)
        .map(drop)
}

/// A program that a package of the project brings.
fn script(project: &Project, program: &str) -> Command {
    debug_assert!(matches!(project.language, Language::Javascript | Language::Typescript | Language::Assemblyscript));
    // Relative to the folder that it runs in.
    tool(format!("./node_modules/.bin/{program}"), project)
}
