//! What one file may contain, and how long it may be.

use super::Tree;

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

/// The rules spell the words that they look for.
const OURS: &str = "xtask/src/tidy/";

/// `host/core` does no input or output and reads no clock or randomness.
pub fn pure_core(tree: &Tree, findings: &mut Vec<String>) {
    for source in tree.sources.iter().filter(|source| source.path.starts_with("host/core/src/") && !source.is_test()) {
        for (number, line) in source.code() {
            for word in OUTSIDE_WORLD.into_iter().filter(|word| line.contains(word)) {
                findings.push(format!(
                    "{}:{number}: {word} in the pure core; pass what it yields as an argument",
                    source.path
                ));
            }
        }
    }
}

pub fn length(tree: &Tree, findings: &mut Vec<String>) {
    for source in &tree.sources {
        let code = (source.path.ends_with(".rs") || source.path.ends_with(".java")) && !source.is_test();
        let harness = ["tests/src/", "tests/kafka/", "tests/bench/", "tests/setup/"];
        let harness = harness.iter().any(|place| source.path.starts_with(place));
        let lines = source.lines().count();
        if (code || harness) && lines > LONGEST {
            findings
                .push(format!("{}: {lines} lines of code, {LONGEST} at most; split it by what it does", source.path));
        }
    }
}

pub fn module_docs(tree: &Tree, findings: &mut Vec<String>) {
    for source in tree.sources.iter().filter(|source| source.path.ends_with(".rs")) {
        // A `tests.rs` beside the module it tests is described by that module.
        if !source.path.ends_with("/tests.rs") && !source.text.trim_start().starts_with("//!") {
            findings.push(format!("{}: no module documentation (`//!`) at its top", source.path));
        }
    }
}

/// `unsafe` stands only where C or the guest's ABI needs it. `tests/bench/src` is the native loop that wasmill is measured
/// against: it calls librdkafka without `host/kafka` in between, because that is what is measured.
pub fn no_unsafe(tree: &Tree, findings: &mut Vec<String>) {
    let allowed = ["host/kafka/", "plugins/rust/", "tests/guests/", "tests/bench/src/", OURS];
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code)"];
    for source in tree.sources.iter().filter(|source| source.path.ends_with(".rs")) {
        if allowed.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for (number, _) in source.code().filter(|(_, line)| words.iter().any(|word| line.contains(word))) {
            findings.push(format!(
                "{}:{number}: unsafe; only host/kafka, the glue of plugins/rust and tests/bench have a reason",
                source.path
            ));
        }
    }
}

/// Nothing names a folder of the machine it was written on.
pub fn no_machine_paths(tree: &Tree, findings: &mut Vec<String>) {
    let homes = ["/home/", "/Users/"];
    let begins = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "._-}*".contains(c));
    let names = |line: &str| homes.iter().any(|home| line.match_indices(home).any(|(at, _)| begins(&line[..at])));
    for source in tree.sources.iter().filter(|source| !source.path.starts_with(OURS)) {
        for (number, _) in source.text.lines().enumerate().filter(|(_, line)| names(line)) {
            findings.push(format!("{}:{}: names a folder of somebody's machine", source.path, number + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        let tree = Tree::of([(path, text)]);
        [pure_core, length, module_docs, no_unsafe, no_machine_paths].map(|rule| tree.found(rule).len()).iter().sum()
    }

    #[test]
    fn the_core_reads_no_clock_outside_its_tests() {
        assert_eq!(found("host/core/src/a.rs", "//! D.\nlet now = Instant::now();\n"), 1);
        assert_eq!(found("host/core/src/a.rs", "//! D.\n#[cfg(test)]\nmod tests { use std::fs; }\n"), 0);
        assert_eq!(found("host/config/src/a.rs", "//! D.\nlet a = std::fs::read(b);\n"), 0);
    }

    #[test]
    fn files_are_short_and_say_what_they_are() {
        let long = format!("//! D.\n{}", "let a = 1;\n".repeat(LONGEST));
        assert_eq!(found("host/core/src/a.rs", &long), 1);
        assert_eq!(found("tests/tests/e2e/a.rs", &long), 0);
        assert_eq!(found("tests/setup/src/a.rs", &long), 1);
        assert_eq!(found("host/core/src/a.rs", &format!("//! D.\n#[cfg(test)]\n{}", "a\n".repeat(LONGEST))), 0);
        assert_eq!(found("host/core/src/a.rs", "fn main() {}\n"), 1);
    }

    #[test]
    fn unsafe_code_and_private_folders_are_found() {
        assert_eq!(found("host/wasm/src/a.rs", "//! D.\nunsafe { a() }\n"), 1);
        assert_eq!(found("host/kafka/src/a.rs", "//! D.\nunsafe { a() }\n"), 0);
        assert_eq!(found("tests/src/a.rs", "//! D.\nunsafe { a() }\n"), 1);
        assert_eq!(found("tests/bench/src/a.rs", "//! D.\nunsafe { a() }\n"), 0);
        assert_eq!(found("README.md", "cd /home/somebody/wasmill\n"), 1);
        assert_eq!(found("README.md", "cd ~/wasmill; ls src/home/a\n"), 0);
    }
}
