//! Tests and files that ARCHITECTURE.md cites are there.

use std::collections::BTreeSet;

use super::{Tree, in_name};

pub const DOCUMENT: &str = "ARCHITECTURE.md";

/// A name with so many underscores is a test's: a claim.
const WORDS_OF_A_TEST: usize = 3;

/// What librdkafka's functions begin with: they are no tests of ours.
const FOREIGN: &str = "rd_kafka_";

/// The first word behind *Guarded by*: until the paragraph ends, shorter names are tests, too.
const GUARDED: &str = "Guarded by";

/// Every test that the document names exists, so that whoever renames one renames it there.
pub fn tests_exist(tree: &Tree, findings: &mut Vec<String>) {
    let Some(document) = tree.get(DOCUMENT) else { return };
    let functions = functions(tree);
    for cited in cited(&document.text) {
        let Cited { line, text, guarded, with_crate } = cited;
        if text.starts_with('…') || text.ends_with('…') {
            findings.push(format!("{DOCUMENT}:{line}: `{text}` is shortened; write the name whole"));
            continue;
        }
        let underscores = text.matches('_').count();
        let is_name = text.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
        let is_test = underscores >= WORDS_OF_A_TEST || underscores >= 2 && (guarded || with_crate);
        if is_name && is_test && !text.starts_with(FOREIGN) && !functions.contains(text) {
            findings.push(format!("{DOCUMENT}:{line}: `{text}` is no function of ours; was it renamed?"));
        }
    }
}

/// Every file that the document names exists, by the end of its path; `src` may be left out: `core/tracker.rs`.
pub fn files_exist(tree: &Tree, findings: &mut Vec<String>) {
    let Some(document) = tree.get(DOCUMENT) else { return };
    let short: Vec<String> = tree.sources.iter().map(|source| source.path.replace("/src/", "/")).collect();
    let paths = || tree.sources.iter().map(|source| source.path.as_str()).chain(short.iter().map(String::as_str));
    for Cited { line, text, .. } in cited(&document.text) {
        let is_file = text.ends_with(".rs") && text.chars().all(|c| in_name(c) || "./-".contains(c));
        let end = format!("/{text}");
        if is_file && !paths().any(|path| path == text || path.ends_with(&end)) {
            findings.push(format!("{DOCUMENT}:{line}: there is no file `{text}`; was it moved?"));
        }
    }
}

/// The names of all functions, tests and others.
fn functions(tree: &Tree) -> BTreeSet<&str> {
    let sources = tree.sources.iter().filter(|source| source.path.ends_with(".rs"));
    let after = sources.flat_map(|source| source.text.lines()).flat_map(|line| line.split("fn ").skip(1));
    after.map(|text| text.split(|c| !in_name(c)).next().unwrap_or_default()).collect()
}

/// What stands in backticks.
struct Cited<'a> {
    line: usize,
    text: &'a str,
    /// In what follows *Guarded by*.
    guarded: bool,
    /// `(core)` or the like stands behind it.
    with_crate: bool,
}

fn cited(text: &str) -> Vec<Cited<'_>> {
    let mut cited = Vec::new();
    let (mut guarded, mut fenced) = (false, false);
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.starts_with("```");
        guarded &= !line.trim().is_empty();
        if fenced || line.starts_with("```") {
            continue;
        }
        let parts: Vec<&str> = line.split('`').collect();
        for (at, part) in parts.iter().enumerate() {
            if at % 2 == 0 {
                guarded |= part.contains(GUARDED);
                continue;
            }
            let behind = parts.get(at + 1).and_then(|rest| rest.strip_prefix(" ("));
            let with_crate = behind.is_some_and(|rest| {
                let name = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
                ["core", "config", "kafka", "wasm", "pipeline", "deploy", "e2e"].contains(&name)
            });
            cited.push(Cited { line: index + 1, text: part, guarded, with_crate });
        }
    }
    cited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(document: &str) -> Tree {
        Tree::of([
            (DOCUMENT, document),
            ("host/core/src/a/b.rs", "#[test]\nfn the_first_is_served_first() {}\nfn waits_for_it() {}\n"),
        ])
    }

    #[test]
    fn a_test_that_is_not_there_is_found() {
        assert_eq!(tree("*Guarded by* `the_first_is_served_first` (core).\n").found(tests_exist), [""; 0]);
        assert_eq!(
            tree("\n`the_first_is_served_last` holds it.\n").found(tests_exist),
            ["ARCHITECTURE.md:2: `the_first_is_served_last` is no function of ours; was it renamed?"]
        );
    }

    #[test]
    fn short_names_are_tests_where_tests_are_named() {
        assert_eq!(tree("*Guarded by* `waits_for_it` and\n`waits_for_that`.\n").found(tests_exist).len(), 1);
        assert_eq!(tree("*Guarded by* all.\n\n`waits_for_that` is a field.\n").found(tests_exist).len(), 0);
        assert_eq!(tree("Look at `waits_for_that` (core, by property).\n").found(tests_exist).len(), 1);
        assert_eq!(
            tree("*Guarded by* `conflicts`, `max_delay`, `Worker::may_hand_over`.\n").found(tests_exist).len(),
            0
        );
    }

    #[test]
    fn what_is_no_test_of_ours_may_have_many_words() {
        assert_eq!(tree("`rd_kafka_queue_cb_event_enable`\n").found(tests_exist).len(), 0);
        assert_eq!(tree("```\n`not_in_a_block_of_code`\n```\n").found(tests_exist).len(), 0);
        assert_eq!(tree("`on_a_b = \"c\"`, `WASMILL_A_B_C`\n").found(tests_exist).len(), 0);
    }

    #[test]
    fn a_name_is_written_whole() {
        let said = tree("`the_first_is_served_first` and `…_last`\n").found(tests_exist);
        assert_eq!(said, ["ARCHITECTURE.md:1: `…_last` is shortened; write the name whole"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_found() {
        assert_eq!(
            tree("`a/b.rs`, `b.rs`, `core/a/b.rs`, `host/core/src/a/b.rs`, `x.rs → y.rs`\n").found(files_exist),
            [""; 0]
        );
        assert_eq!(
            tree("`c/b.rs`\n").found(files_exist),
            ["ARCHITECTURE.md:1: there is no file `c/b.rs`; was it moved?"]
        );
    }
}
