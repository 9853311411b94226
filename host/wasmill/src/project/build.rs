//! A build: the toolchain compiles, and a component is made of what it leaves.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wasmill_config as config;
use wasmill_core::Grants;
use wasmill_wasm::{Inspection, asks, componentize, digest, inspect, note_language};

use super::folder::{OUTPUT, Project};
use super::language::Language;
use super::step::Reporter;
use super::toolchain;
use crate::output_file::write_whole;

/// A note of what a build was made of, beside what it leaves.
const INPUTS: &str = ".inputs";
/// What toolchains leave on the way.
const LEFTOVERS: [&str; 3] = ["build/core.wasm", "build/python.wasm", "zig-out/bin/handler.wasm"];

impl Project {
    /// Compiles the handler and makes the component. What stood there before stays until the new one is whole.
    ///
    /// # Errors
    /// A tool is missing (with the command that installs it), or says no, or leaves what is no handler.
    pub fn build(&self, ask: Grants, reporter: &dyn Reporter) -> anyhow::Result<Built> {
        let folder = self.directory.join("build");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Of what the build is made; `None`: its tool finds out by itself what has changed, and knows more than is here.
        let inputs = self.language.is_whole().then(|| self.inputs(ask)).transpose()?;
        let noted = folder.join(INPUTS);
        if inputs.is_some() && std::fs::read_to_string(&noted).ok() == inputs && self.output().is_file() {
            reporter.line(&format!("{OUTPUT} is up to date"));
            let component = std::fs::read(self.output()).context("cannot read the component")?;
            return Ok(Built { path: self.output(), inspection: inspect(&component), feigned: Grants::NONE });
        }
        let _ = std::fs::remove_file(&noted);
        for left in LEFTOVERS {
            // Of an earlier build: a tool that makes nothing must not seem to have made this.
            let _ = std::fs::remove_file(self.directory.join(left));
        }
        let made = toolchain::compile(self, reporter)?;
        let bytes = std::fs::read(&made).with_context(|| format!("the build left no {}", made.display()))?;
        let built = write(&bytes, ask, Some(self.language), &self.output())?;
        for left in LEFTOVERS {
            let _ = std::fs::remove_file(self.directory.join(left));
        }
        if let Some(inputs) = inputs {
            std::fs::write(&noted, inputs).with_context(|| format!("cannot write {}", noted.display()))?;
        }
        Ok(built)
    }

    /// A digest of everything in the project that a build reads, and of what reads it.
    fn inputs(&self, ask: Grants) -> anyhow::Result<String> {
        let mut all = format!("{} {} {ask:?}\n", env!("CARGO_PKG_VERSION"), self.language);
        let mut open = vec![self.directory.clone(), self.directory.join(self.sdk())];
        let mut files = Vec::new();
        while let Some(folder) = open.pop() {
            let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                let is_sdk = !path.starts_with(&self.directory) || path.starts_with(self.directory.join("../sdk"));
                if !is_sdk && !self.is_source(&path) || path.ends_with("__pycache__") {
                    continue;
                }
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files.dedup();
        for path in files {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            all += &format!("{} {}\n", path.display(), digest(&bytes));
        }
        for tool in toolchain::programs(self) {
            let changed = tool.metadata().and_then(|tool| tool.modified()).ok();
            all += &format!("{} {changed:?}\n", tool.display());
        }
        Ok(digest(all.as_bytes()))
    }
}

/// What the adapter of a handler's module asks the host for: all that one of its pipelines grants.
pub fn ask_of<'a>(pipelines: impl IntoIterator<Item = &'a config::Pipeline>) -> Grants {
    pipelines.into_iter().flat_map(|pipeline| pipeline.grant.iter().copied()).collect()
}

/// What a build left.
#[derive(Debug)]
pub struct Built {
    pub path: PathBuf,
    /// What it says of itself.
    pub inspection: Inspection,
    /// What its code asks for and nobody grants: the adapter answers, with a clock that begins in 1970 and random numbers
    /// that are the same each time.
    pub feigned: Grants,
}

/// Makes a component of what a compiler left, and puts it where it belongs in one step.
pub fn write(bytes: &[u8], ask: Grants, language: Option<Language>, output: &Path) -> anyhow::Result<Built> {
    let mut component = componentize(bytes, ask)?;
    if let Some(language) = language {
        component = note_language(component, &language.to_string(), ("wasmill", env!("CARGO_PKG_VERSION")));
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write_whole(output, &component)?;
    let feigned = asks(bytes).without(ask);
    Ok(Built { path: output.to_owned(), inspection: inspect(&component), feigned })
}

#[cfg(test)]
mod tests {
    use wasmill_core::Grant;

    use super::*;

    #[test]
    fn inputs_differ_with_every_source_and_with_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project { directory: folder.path().to_owned(), language: Language::Python };
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("handler.py", "a");
        write("sdk/wasmill/__init__.py", "a");
        let inputs = || project.inputs(Grants::NONE).unwrap();
        let before = inputs();
        for name in
            ["build/handler.wasm", "samples.jsonl", "cases/a.toml", "__pycache__/x.pyc", "sdk/__pycache__/x.pyc"]
        {
            write(name, "b");
            assert_eq!(inputs(), before, "{name}");
        }
        for name in ["handler.py", "sdk/wasmill/__init__.py", "more/deep.py"] {
            let before = inputs();
            write(name, "b");
            assert_ne!(inputs(), before, "{name}");
        }
        assert_ne!(project.inputs(Grants::NONE.with(Grant::Clock)).unwrap(), inputs());
    }
}
