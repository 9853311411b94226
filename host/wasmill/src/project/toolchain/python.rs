//! Python: componentize-py, which brings CPython along.

use std::path::PathBuf;

use super::tools::{Missing, absolute, on_path, own, tool};
use crate::project::folder::Project;
use crate::project::step::{self, Reporter};

/// The project's own, or the machine's.
pub fn program(project: &Project) -> Option<PathBuf> {
    own(project, "componentize-py").or_else(|| on_path("componentize-py"))
}

pub fn compile(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    let Some(program) = program(project) else {
        let install = "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1, in the project's folder";
        return Err(Missing { language: project.language, tool: "componentize-py", install }.into());
    };
    let mut componentize = tool(absolute(&program)?, project);
    let sdk = project.sdk();
    // A mistake in the handler is shown with Python's traceback; the tool's own says nothing more.
    componentize.env("RUST_BACKTRACE", "0").arg("-q");
    componentize.arg("-d").arg(sdk.join("wit")).args(["-w", "batches", "componentize", "--stub-wasi"]);
    componentize.args(["-p", ".", "-p"]).arg(sdk).args(["wasmill_app", "-o", "build/python.wasm"]);
    step::run(&mut componentize, false, reporter)?;
    Ok(project.directory.join("build/python.wasm"))
}
