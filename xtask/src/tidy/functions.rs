//! How long a function may be.

use super::{Tree, cycles};

/// Lines a function of the host may have, from the line with `fn` to its closing brace.
const LONGEST: usize = 80;

/// A function of the host fits on a screen. Tests apart.
pub fn length(tree: &Tree, findings: &mut Vec<String>) {
    for source in cycles::code(tree) {
        let functions = source.syntax().map_or(&[][..], |syntax| &syntax.functions);
        for function in functions.iter().filter(|function| function.lines > LONGEST) {
            findings.push(format!(
                "{}:{}: function `{}` has {} lines, {LONGEST} at most; split it by what it does",
                source.path, function.line, function.name, function.lines
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, head: &str, lines: usize, foot: &str) -> Vec<String> {
        Tree::of([(path, &format!("//! D.\n{head}\n{}{foot}\n", "a();\n".repeat(lines)))]).found(length)
    }

    #[test]
    fn a_long_function_is_found_with_name_place_and_length() {
        assert!(found("host/core/src/a.rs", "fn long() {", LONGEST - 2, "}").is_empty());
        let said = found("host/core/src/a.rs", "fn long() {", LONGEST - 1, "}");
        assert_eq!(said, ["host/core/src/a.rs:2: function `long` has 81 lines, 80 at most; split it by what it does"]);
    }

    #[test]
    fn methods_count_and_tests_do_not() {
        assert_eq!(found("host/core/src/a.rs", "impl A { async fn long(&self) {", LONGEST, "} }").len(), 1);
        assert_eq!(found("host/core/src/a.rs", "trait A { fn long(&self) {", LONGEST, "} }").len(), 1);
        assert!(found("host/core/src/a.rs", "#[cfg(test)] mod tests { fn long() {", LONGEST, "} }").is_empty());
        assert!(found("host/core/src/a.rs", "#[test] fn long() {", LONGEST, "}").is_empty());
        assert!(found("host/core/tests/a.rs", "fn long() {", LONGEST, "}").is_empty());
        assert!(found("tests/src/a.rs", "fn long() {", LONGEST, "}").is_empty());
    }
}
