//! A project's folder: what is in it, and what is made of it.

use std::path::{Path, PathBuf};

use wasmill_config as config;

use super::language::Language;

/// What a build leaves, below the project's folder.
pub const OUTPUT: &str = "build/handler.wasm";
/// Files beside the sources that a build does not read.
const NOT_BUILT: [&str; 2] = ["wasmill.toml", "samples.jsonl"];
/// Folders that hold no sources of a handler: what was made of them, and what others wrote.
const NO_SOURCES: [&str; 6] = ["build", "target", "node_modules", "zig-out", "__pycache__", "cases"];

/// A handler's project.
#[derive(Clone, Debug)]
pub struct Project {
    pub directory: PathBuf,
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

#[cfg(test)]
mod tests {
    use super::*;

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
