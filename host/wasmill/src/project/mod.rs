//! A handler's project: a folder with its sources. Which language it is written in, and how `build/handler.wasm` comes of it.

mod language;
mod step;
pub mod template;
mod toolchain;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use wasmill_config as config;
use wasmill_core::{Grant, Grants};
use wasmill_wasm::{Inspection, asks, componentize, digest, inspect, note_language};

pub use language::Language;
pub use step::{Kept, Reporter, Terminal};
pub use toolchain::Missing;

/// What a build leaves, below the project's folder.
pub const OUTPUT: &str = "build/handler.wasm";
/// A note of what a build was made of, beside it.
const INPUTS: &str = ".inputs";
/// What toolchains leave on the way.
const LEFTOVERS: [&str; 3] = ["build/core.wasm", "build/python.wasm", "zig-out/bin/handler.wasm"];
/// Files beside the sources that a build does not read.
const NOT_BUILT: [&str; 2] = ["wasmill.toml", "samples.jsonl"];
/// Folders that hold no sources of a handler: what was made of them, and what others wrote.
const NO_SOURCES: [&str; 6] = ["build", "target", "node_modules", "zig-out", "__pycache__", "cases"];

/// A handler's project.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its folder.
    pub directory: PathBuf,
    /// What it is written in.
    pub language: Language,
}

impl Project {
    /// The project in a folder.
    ///
    /// # Errors
    /// Nothing in the folder, or more than one thing, says what the handler is written in.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        Ok(Self { directory: directory.to_owned(), language: Language::of(directory)? })
    }

    /// Where the SDK is, seen from the project: in it, or, in this repository, beside it.
    pub fn sdk(&self) -> &'static Path {
        let places = [Path::new("sdk"), Path::new("../sdk")];
        places.into_iter().find(|place| self.directory.join(place).is_dir()).unwrap_or(places[0])
    }

    /// Whether a pipeline's handler is what this project's build leaves.
    pub fn makes(&self, pipeline: &config::Pipeline) -> bool {
        let same = |path: &Path| std::path::absolute(path).ok();
        pipeline.handler.file().is_some_and(|path| same(path) == same(&self.output()))
    }

    /// Where the component is.
    pub fn output(&self) -> PathBuf {
        self.directory.join(OUTPUT)
    }

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

    /// Whether a change of this file is one of the handler's sources.
    pub fn is_source(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.directory) else { return false };
        if NOT_BUILT.iter().any(|name| inside == Path::new(name)) {
            return false;
        }
        inside.components().all(|part| {
            let name = part.as_os_str().to_string_lossy();
            !name.starts_with('.') && !NO_SOURCES.contains(&name.as_ref()) && !name.ends_with('~')
        })
    }
}

/// What the adapter of a handler's module asks the host for: all that one of its pipelines grants.
pub fn ask_of<'a>(pipelines: impl IntoIterator<Item = &'a config::Pipeline>) -> Grants {
    let grant = |one: &config::Grant| match one {
        config::Grant::Clock => Grant::Clock,
        config::Grant::Random => Grant::Random,
    };
    pipelines.into_iter().flat_map(|pipeline| &pipeline.grant).map(grant).collect()
}

/// What a build left.
#[derive(Debug)]
pub struct Built {
    /// The component.
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
    let Some(name) = output.file_name() else { bail!("{} names no file", output.display()) };
    // A pipeline that watches the file must never see half of it.
    let new = folder.join(format!(".{}.new", name.to_string_lossy()));
    std::fs::write(&new, &component).with_context(|| format!("cannot write {}", new.display()))?;
    std::fs::rename(&new, output).with_context(|| format!("cannot write {}", output.display()))?;
    let feigned = asks(bytes).without(ask);
    Ok(Built { path: output.to_owned(), inspection: inspect(&component), feigned })
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_was_made_of_the_sources_is_none_of_them() {
        let project = Project { directory: "/p".into(), language: Language::C };
        for yes in ["/p/handler.c", "/p/src/deep/lib.c", "/p/sdk/wasmill.h"] {
            assert!(project.is_source(Path::new(yes)), "{yes}");
        }
        for no in [
            "/p/build/handler.wasm",
            "/p/.git/index",
            "/p/.handler.c.swp",
            "/p/a.c~",
            "/q/handler.c",
            "/p/wasmill.toml",
        ] {
            assert!(!project.is_source(Path::new(no)), "{no}");
        }
    }
}
