//! Every thread of the host has a name, and the table of threads in ARCHITECTURE.md has a row for it.

use std::collections::BTreeMap;

use super::architecture::DOCUMENT;
use super::syntax::Name;
use super::{Tree, cycles};

const HEADING: &str = "## Threads";

/// A thread is found in a debugger by its name.
pub fn named(tree: &Tree, findings: &mut Vec<String>) {
    for source in cycles::code(tree) {
        for thread in source.syntax().map_or(&[][..], |syntax| &syntax.threads) {
            let trouble = match thread.name {
                Name::Known(_) => continue,
                Name::Missing => {
                    "a thread without a name; hint: `std::thread::Builder::new().name(..)`, `thread_name(..)`"
                }
                Name::Unclear => {
                    "a thread whose name cannot be read here; hint: write it as text or `format!` in this file"
                }
            };
            findings.push(format!("{}:{}: {trouble}", source.path, thread.line));
        }
    }
}

/// The table says of every thread what it may wait for, and has no thread that is gone.
pub fn listed(tree: &Tree, findings: &mut Vec<String>) {
    let Some(document) = tree.get(DOCUMENT) else { return };
    let rows = rows(&document.text);
    if rows.is_empty() {
        findings.push(format!("{DOCUMENT}: there is no table below `{HEADING}`"));
    }
    let mut started = BTreeMap::new();
    for source in cycles::code(tree) {
        for thread in source.syntax().map_or(&[][..], |syntax| &syntax.threads) {
            if let Name::Known(name) = &thread.name {
                started.entry(name.as_str()).or_insert_with(|| format!("{}:{}", source.path, thread.line));
            }
        }
    }
    for (name, place) in started.iter().filter(|(name, _)| !rows.iter().any(|(_, row)| row == *name)) {
        findings.push(format!("{place}: thread `{name}` has no row in the table of threads of {DOCUMENT}"));
    }
    for (line, name) in rows.iter().filter(|(_, name)| !started.contains_key(name)) {
        findings.push(format!("{DOCUMENT}:{line}: no thread of the host is named `{name}`"));
    }
}

/// The names in backticks in the table's first column, with their lines.
fn rows(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate().skip_while(|(_, line)| *line != HEADING).skip(1);
    let lines = lines.take_while(|(_, line)| !line.starts_with("## ")).filter(|(_, line)| line.starts_with('|'));
    let first = lines.map(|(index, line)| (index + 1, line.split('|').nth(1).unwrap_or_default()));
    first.flat_map(|(line, cell)| cell.split('`').skip(1).step_by(2).map(move |name| (line, name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = "## Threads\n\n| thread | waits |\n|---|---|\n| `log` | `x` |\n| `NAME-a`, `NAME-b-N` | |\n\n## Locks\n| `no` | |\n";
    const CODE: &str = "fn a() { let b = thread::Builder::new().name(\"log\".into()).spawn(c);
        thread::Builder::new().name(format!(\"{}-a\", d)).spawn(e); thread::Builder::new().name(format!(\"{d}-b-{f}\")).spawn(g); }";

    #[test]
    fn a_thread_and_its_row_are_both_there() {
        let place = "host/core/src/a.rs";
        assert_eq!(Tree::of([(DOCUMENT, DOC), (place, CODE)]).found(listed), [""; 0]);
        let renamed = CODE.replace("-a\"", "-z\"");
        assert_eq!(
            Tree::of([(DOCUMENT, DOC), (place, &renamed)]).found(listed),
            [
                "host/core/src/a.rs:2: thread `NAME-z` has no row in the table of threads of ARCHITECTURE.md",
                "ARCHITECTURE.md:6: no thread of the host is named `NAME-a`"
            ]
        );
        let tests = format!("#[cfg(test)] mod tests {{ {} }}", CODE.replace("log", "other"));
        assert_eq!(Tree::of([(DOCUMENT, DOC), (place, CODE), ("host/core/src/b.rs", &tests)]).found(listed), [""; 0]);
        assert_eq!(Tree::of([(DOCUMENT, "")]).found(listed).len(), 1);
    }

    #[test]
    fn a_thread_has_a_name_that_can_be_read() {
        let spawned = [("host/core/src/a.rs", "fn a() { std::thread::spawn(|| ()); }")];
        let said = Tree::of(spawned).found(named);
        assert!(said[0].starts_with("host/core/src/a.rs:1: a thread without a name"), "{said:?}");
        let passed = [("host/core/src/a.rs", "fn a(n: String) { thread::Builder::new().name(n); }")];
        assert!(Tree::of(passed).found(named)[0].contains("cannot be read here"));
        assert_eq!(Tree::of([("tests/src/a.rs", "fn a() { std::thread::spawn(|| ()); }")]).found(named), [""; 0]);
    }
}
