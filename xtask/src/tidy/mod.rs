//! The rules that the compiler does not check, a file for each family of them.
//!
//! - **layers**: which crate may depend on which, and who may name a library.
//! - **cycles**: no import cycle between files of a host crate, and nobody imports the roof.
//! - **functions**: how long a function may be.
//! - **text**: what one file may contain, and how long it may be.
//! - **architecture**: tests and files that ARCHITECTURE.md cites are there.
//! - **threads**: its table of threads has each that the host starts.
//! - **dependencies**: nothing is depended on that nobody names.
//! - **contract**: copies of the contract are equal to it.
//!
//! Rules look at code, not at comments, and not at a file's tests: those may read a clock, and may be long.

mod architecture;
mod contract;
mod cycles;
mod dependencies;
mod functions;
mod layers;
mod syntax;
mod text;
mod threads;

use std::cell::OnceCell;
use std::path::Path;

use anyhow::{Result, bail};
use wasmill_setup::process::{files, root};

use syntax::Syntax;

/// What rules look at: the files of a clone.
struct Tree {
    sources: Vec<Source>,
}

/// A file, with its path relative to the root.
struct Source {
    path: String,
    text: String,
    syntax: OnceCell<Option<Syntax>>,
}

impl Tree {
    fn read(root: &Path) -> Self {
        let text_files = ["rs", "toml", "md", "java", "xml", "properties", "wit", "jsonl", "sh", "run"];
        let wanted = |path: &Path| {
            let end = path.extension().or(path.file_name()).unwrap_or_default();
            text_files.iter().any(|one| end == *one)
        };
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path).ok()?;
            let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
            Some(Source::new(path, text))
        };
        Self { sources: files(root, &wanted).iter().filter_map(|path| read(path)).collect() }
    }

    fn get(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// The Rust files of the host, its integration tests and examples apart.
    fn host(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.crate_of_host().is_some() && source.path.ends_with(".rs"))
    }
}

impl Source {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), syntax: OnceCell::new() }
    }

    /// The folder below `host` in whose `src` the file is, and its path in there.
    fn crate_of_host(&self) -> Option<(&str, &str)> {
        let (name, rest) = self.path.strip_prefix("host/")?.split_once('/')?;
        Some((name, rest.strip_prefix("src/")?))
    }

    /// What a Rust file consists of; none if it cannot be parsed, which the compiler will say.
    fn syntax(&self) -> Option<&Syntax> {
        self.syntax.get_or_init(|| Syntax::of(&self.text).ok()).as_ref()
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Numbered lines outside the file's own tests.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line: &&str| line.trim() != "#[cfg(test)]";
        self.text.lines().take_while(code).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Numbered lines of code: without what follows `//`.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }
}

type Rule = fn(&Tree, &mut Vec<String>);

const RULES: [Rule; 17] = [
    layers::crates,
    layers::libraries,
    cycles::files,
    cycles::roof,
    functions::length,
    text::pure_core,
    text::length,
    text::module_docs,
    text::no_unsafe,
    text::no_machine_paths,
    architecture::tests_exist,
    architecture::files_exist,
    threads::named,
    threads::listed,
    dependencies::of_the_workspace,
    dependencies::of_a_member,
    contract::copies,
];

/// Checks every file of the clone.
///
/// # Errors
/// A rule is broken; the message has one line per finding.
pub fn run() -> Result<()> {
    let findings = findings(&Tree::read(&root()));
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} findings\n{}", findings.len(), findings.join("\n"))
}

fn findings(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    RULES.iter().for_each(|rule| rule(tree, &mut findings));
    findings
}

/// Whether a character is part of a name.
fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Tree {
        /// Files by path and text.
        pub fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
            Self { sources: files.map(|(path, text)| Source::new(path, text)).into() }
        }

        /// What a rule finds.
        pub fn found(&self, rule: Rule) -> Vec<String> {
            let mut findings = Vec::new();
            rule(self, &mut findings);
            findings
        }
    }

    #[test]
    fn the_clone_is_tidy() {
        let findings = findings(&Tree::read(&root()));
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
