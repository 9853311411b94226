//! The rules that the compiler does not check.
//!
//! Each rule is a function from one file to its findings. They look at code, not at comments, and not at a file's
//! tests: those may read a clock, and may be long.

use std::path::Path;

use anyhow::{Result, bail};

use wasmill_setup::process::{files, root};

/// Lines of code a file may have, its tests apart.
const LONGEST: usize = 500;

/// What `host/core` does not touch: its rules are tested in milliseconds because nothing in it waits or differs
/// from run to run.
const OUTSIDE_WORLD: [&str; 10] = [
    "Instant::now",
    "SystemTime",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "rand::",
    "tokio",
    "println!",
];

/// A source file, with its path relative to the root.
struct Source<'a> {
    path: &'a str,
    text: &'a str,
}

impl Source<'_> {
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

type Rule = fn(&Source<'_>, &mut Vec<String>);

const RULES: [Rule; 6] = [boundaries, pure_core, length, module_docs, no_unsafe, no_machine_paths];

/// Checks every file of the clone.
///
/// # Errors
/// A rule is broken; the message has one line per finding.
pub fn run() -> Result<()> {
    let findings = findings(&root());
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} findings\n{}", findings.len(), findings.join("\n"))
}

fn findings(root: &Path) -> Vec<String> {
    let text_files = ["rs", "toml", "md", "java", "xml", "properties", "wit", "jsonl", "sh", "run"];
    let wanted = |path: &Path| {
        let end = path.extension().or(path.file_name()).unwrap_or_default();
        text_files.iter().any(|one| end == *one)
    };
    let mut findings = Vec::new();
    for path in files(root, &wanted) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let source = Source { path: &path, text: &text };
        RULES.iter().for_each(|rule| rule(&source, &mut findings));
    }
    findings
}

/// Only `host/kafka` names rdkafka and only `host/wasm` names wasmtime, so that each can be replaced and tested alone.
fn boundaries(source: &Source<'_>, findings: &mut Vec<String>) {
    let owners = [("rdkafka", "host/kafka/"), ("wasmtime", "host/wasm/")];
    let manifest = source.path.ends_with("/Cargo.toml");
    if !(source.path.ends_with(".rs") || manifest) || source.path.starts_with("tests/") {
        return;
    }
    for (library, owner) in owners.into_iter().filter(|(_, owner)| !source.path.starts_with(owner)) {
        for (number, line) in source.code() {
            let uses = if manifest { line.trim_start().starts_with(library) } else { is_named(line, library) };
            if uses {
                findings.push(format!("{}:{number}: names {library}; only {owner} does", source.path));
            }
        }
    }
}

/// True if `library` is used as a path: `library::`, `use library`, `extern crate library`.
fn is_named(line: &str, library: &str) -> bool {
    let at_boundary = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
    line.match_indices(library).any(|(at, _)| {
        let rest = &line[at + library.len()..];
        let path = rest.starts_with("::") || rest.starts_with("_sys::");
        at_boundary(at) && (path || line[..at].trim_end().ends_with("use") || line[..at].ends_with("crate "))
    })
}

/// `host/core` does no input or output and reads no clock or randomness.
fn pure_core(source: &Source<'_>, findings: &mut Vec<String>) {
    if !source.path.starts_with("host/core/src/") || source.is_test() {
        return;
    }
    for (number, line) in source.code() {
        for word in OUTSIDE_WORLD.into_iter().filter(|word| line.contains(word)) {
            findings
                .push(format!("{}:{number}: {word} in the pure core; pass what it yields as an argument", source.path));
        }
    }
}

fn length(source: &Source<'_>, findings: &mut Vec<String>) {
    let code = (source.path.ends_with(".rs") || source.path.ends_with(".java")) && !source.is_test();
    let harness = ["tests/src/", "tests/kafka/", "tests/bench/"].iter().any(|place| source.path.starts_with(place));
    let lines = source.lines().count();
    if (code || harness) && lines > LONGEST {
        findings.push(format!("{}: {lines} lines of code, {LONGEST} at most; split it by what it does", source.path));
    }
}

fn module_docs(source: &Source<'_>, findings: &mut Vec<String>) {
    // A `tests.rs` beside the module it tests is described by that module.
    let described = source.path.ends_with("/tests.rs");
    if source.path.ends_with(".rs") && !described && !source.text.trim_start().starts_with("//!") {
        findings.push(format!("{}: no module documentation (`//!`) at its top", source.path));
    }
}

/// `unsafe` stands only where C or the guest's ABI needs it. `tests/bench/src` is the native loop that wasmill is measured
/// against: it calls librdkafka without `host/kafka` in between, because that is what is measured.
fn no_unsafe(source: &Source<'_>, findings: &mut Vec<String>) {
    let allowed = ["host/kafka/", "plugins/rust/", "tests/guests/", "tests/bench/src/"];
    if !source.path.ends_with(".rs") || allowed.iter().any(|place| source.path.starts_with(place)) {
        return;
    }
    for (number, line) in source.code() {
        let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code)"];
        // This file spells the words it looks for.
        if words.iter().any(|word| line.contains(word)) && source.path != "xtask/src/tidy.rs" {
            findings.push(format!(
                "{}:{number}: unsafe; only host/kafka, the glue of plugins/rust and tests/bench have a reason",
                source.path
            ));
        }
    }
}

/// Nothing names a folder of the machine it was written on.
fn no_machine_paths(source: &Source<'_>, findings: &mut Vec<String>) {
    for (number, line) in source.text.lines().enumerate() {
        let homes = ["/home/", "/Users/"];
        let named = homes.iter().any(|home| {
            line.match_indices(home)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}*".contains(c)))
        });
        if named && source.path != "xtask/src/tidy.rs" {
            findings.push(format!("{}:{}: names a folder of somebody's machine", source.path, number + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        let source = Source { path, text };
        RULES.iter().for_each(|rule| rule(&source, &mut findings));
        findings
    }

    #[test]
    fn the_clone_is_tidy() {
        let findings = findings(&root());
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }

    #[test]
    fn a_library_is_named_only_by_its_owner() {
        let text = "//! Docs.\nuse rdkafka::ClientConfig;\n";
        assert_eq!(found("host/wasmill/src/a.rs", text).len(), 1);
        assert_eq!(found("host/kafka/src/a.rs", text).len(), 0);
        assert_eq!(found("tests/src/a.rs", text).len(), 0);
        assert_eq!(found("host/kafka/src/a.rs", "//! D.\nlet a = wasmtime::Engine::new();\n").len(), 1);
        assert_eq!(
            found("host/core/src/a.rs", "//! D.\nlet a = x::wasmtime_like();\nlet b = \"rdkafka::\";\n").len(),
            0
        );
        assert_eq!(found("host/core/src/a.rs", "//! D.\n// as rdkafka::Message does\n").len(), 0);
        assert_eq!(found("host/core/Cargo.toml", "rdkafka.workspace = true\n").len(), 1);
    }

    #[test]
    fn the_core_reads_no_clock_outside_its_tests() {
        assert_eq!(found("host/core/src/a.rs", "//! D.\nlet now = Instant::now();\n").len(), 1);
        assert_eq!(found("host/core/src/a.rs", "//! D.\n#[cfg(test)]\nmod tests { use std::fs; }\n").len(), 0);
        assert_eq!(found("host/config/src/a.rs", "//! D.\nlet a = std::fs::read(b);\n").len(), 0);
    }

    #[test]
    fn files_are_short_and_say_what_they_are() {
        let long = format!("//! D.\n{}", "let a = 1;\n".repeat(LONGEST));
        assert_eq!(found("host/core/src/a.rs", &long).len(), 1);
        assert_eq!(found("tests/tests/e2e/a.rs", &long).len(), 0);
        assert_eq!(found("host/core/src/a.rs", &format!("//! D.\n#[cfg(test)]\n{}", "a\n".repeat(LONGEST))).len(), 0);
        assert_eq!(found("host/core/src/a.rs", "fn main() {}\n").len(), 1);
    }

    #[test]
    fn unsafe_code_and_private_folders_are_found() {
        assert_eq!(found("host/wasm/src/a.rs", "//! D.\nunsafe { a() }\n").len(), 1);
        assert_eq!(found("host/kafka/src/a.rs", "//! D.\nunsafe { a() }\n").len(), 0);
        assert_eq!(found("tests/src/a.rs", "//! D.\nunsafe { a() }\n").len(), 1);
        assert_eq!(found("tests/bench/src/a.rs", "//! D.\nunsafe { a() }\n").len(), 0);
        assert_eq!(found("README.md", "cd /home/somebody/wasmill\n").len(), 1);
        assert_eq!(found("README.md", "cd ~/wasmill; ls src/home/a\n").len(), 0);
    }
}
