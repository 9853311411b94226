//! A README that is walked through: its blocks are the test, so that it cannot say what is not so.
//!
//! - ```` ```console ````: the lines behind `$ ` are commands; below each stands all that it prints.
//! - ```` ```console NAME ````: in a terminal of that name, where a process runs in the background. The lines below are
//!   among what it prints, each once, in any order: partitions do not wait for each other.
//! - ```` ```toml FILE ````: what is changed in `FILE`, a copy of `wasmill.toml`.
//!
//! `...` stands for anything: at the end of a line or within one, and as a line of its own for any number of lines. Any
//! other block is a mistake: nobody would notice when it is not true any more.

use anyhow::{Context, Result};
use toml::{Table, Value};

/// One fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its line in the file, from 1.
    pub line: usize,
    /// The first word behind the fence.
    pub language: String,
    /// The second word: a terminal or a file.
    pub name: String,
    /// What is in it.
    pub lines: Vec<String>,
}

/// The blocks of a Markdown text, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(_), true) => open = false,
            (Some(info), false) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let (language, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                blocks.push(Block { line: index + 1, language, name, lines: Vec::new() });
                open = true;
            }
            (None, true) => blocks.last_mut().into_iter().for_each(|block| block.lines.push(line.to_owned())),
            (None, false) => {}
        }
    }
    blocks
}

/// The cells of the tables in a Markdown text whose first row has `column`: rows below the header, each as long as it.
pub fn table(text: &str, column: &str) -> Vec<Vec<String>> {
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect() };
    let lines = text.lines().skip_while(|line| !(line.starts_with('|') && cells(line).iter().any(|one| one == column)));
    lines.take_while(|line| line.starts_with('|')).filter(|line| !line.starts_with("|---")).map(cells).collect()
}

/// Whether a line is as the README has it.
pub fn matches(pattern: &str, line: &str) -> bool {
    let Some((first, pieces)) = pattern.split_once("...") else { return pattern == line };
    let (middle, last) = pieces.rsplit_once("...").unwrap_or(("", pieces));
    let Some(rest) = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    let skip = |rest: &'_ str, piece: &str| rest.find(piece).map(|at| at + piece.len());
    let mut at = 0;
    middle.split("...").all(|piece| skip(&rest[at..], piece).map(|more| at += more).is_some())
}

/// Whether lines are as the README has them, all of them and in this order.
pub fn all_match(patterns: &[String], lines: &[String]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "..." => (0..=lines.len()).any(|from| all_match(rest, &lines[from..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| matches(first, line) && all_match(rest, lines))
        }
    }
}

/// A line without what differs from run to run: the time in front, the width of columns and frames.
pub fn plain(line: &str) -> String {
    let mut words: Vec<_> = line.split_whitespace().collect();
    let is_time = |word: &&str| word.len() > 20 && word.starts_with("20") && word.ends_with('Z');
    if words.first().is_some_and(is_time) {
        words.remove(0);
    }
    let mut text = words.join(" ");
    for frame in ["─", "═"] {
        while text.contains(&frame.repeat(2)) {
            text = text.replace(&frame.repeat(2), frame);
        }
    }
    text
}

/// Whether lines are as the README has them, all of them, in any order.
pub fn all_match_in_any_order(patterns: &[String], lines: &[String]) -> bool {
    let mut left: Vec<_> = lines.iter().collect();
    let found = patterns.iter().all(|pattern| {
        let at = left.iter().position(|line| matches(pattern, line));
        at.map(|at| left.remove(at)).is_some()
    });
    found && left.is_empty()
}

/// Whether a table of words has these rows, in any order. Columns that the README leaves out do not count, nor does what
/// is printed above the header.
pub fn rows_match(patterns: &[String], lines: &[String]) -> bool {
    let words = |line: &String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let Some((header, patterns)) = patterns.split_first() else { return lines.is_empty() };
    let header = words(header);
    let is_header = |line: &String| header.iter().all(|word| words(line).contains(word));
    let Some(at) = lines.iter().position(is_header) else { return false };
    let all = words(&lines[at]);
    let columns: Vec<_> = header.iter().filter_map(|word| all.iter().position(|other| other == word)).collect();
    let row = |line: &String| {
        let words = words(line);
        columns.iter().map(|column| words.get(*column).cloned().unwrap_or_default()).collect::<Vec<_>>()
    };
    let mut seen: Vec<_> = lines[at + 1..].iter().map(row).collect();
    let mut wanted: Vec<_> = patterns.iter().map(words).collect();
    seen.sort();
    wanted.sort();
    seen == wanted
}

/// A configuration with the keys of `changes` in place of its own.
///
/// # Errors
/// One of the two is not TOML.
pub fn merged(text: &str, changes: &str) -> Result<String> {
    let mut merged: Table = text.parse().context("the configuration")?;
    merge(&mut merged, changes.parse().with_context(|| format!("not TOML: {changes}"))?);
    Ok(toml::to_string(&merged)?)
}

fn merge(table: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            (_, change) => drop(table.insert(key, change)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(plain).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn a_block_has_its_line_and_what_stands_behind_the_fence() {
        let text = "a\n```console first\n$ b\nc\n```\nd\n```toml\n```\n";
        let block = |line, language: &str, name: &str, lines: &[&str]| Block {
            line,
            language: language.to_owned(),
            name: name.to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        assert_eq!(blocks(text), [block(2, "console", "first", &["$ b", "c"]), block(7, "toml", "", &[])]);
    }

    #[test]
    fn a_table_is_found_by_a_column() {
        let text = "| a |\n|---|\n| 1 |\n\n| b | c |\n|---|---|\n| 2 | 3, 4 |\n\n| d |\n";
        assert_eq!(table(text, "c"), [["b", "c"], ["2", "3, 4"]]);
        assert!(table(text, "e").is_empty());
    }

    #[test]
    fn dots_stand_for_anything_and_nothing_else_does() {
        assert!(matches("a=... c", "a=1 b c") && matches("a...", "a") && matches("a", "a") && matches("...b", "ab"));
        assert!(matches("a...}", "a}b}") && matches("a...b...c", "axbxc") && !matches("a...b...c", "axcxb"));
        assert!(!matches("ab...ba", "aba"));
        assert!(!matches("a", "ab") && !matches("a=... c", "a=1 b") && !matches("...b", "abc"));
        let is = |patterns: &str, text: &str| all_match(&lines(patterns), &lines(text));
        assert!(is("a\n...\nd", "a\nb\nc\nd") && is("...", "") && is("a", "  a "));
        assert!(!is("a\nb", "b\na") && !is("a", "a\nb") && !is("a\nb", "a"));
        let is = |patterns: &str, text: &str| all_match_in_any_order(&lines(patterns), &lines(text));
        assert!(is("a\nb", "b\na"));
        assert!(!is("a\na", "b\na") && !is("a", "a\nb"));
    }

    #[test]
    fn the_time_and_the_width_of_columns_do_not_count() {
        assert_eq!(plain("2026-01-02T03:04:05.678901Z  INFO a"), "INFO a");
        assert_eq!(plain("│ a   b │"), "│ a b │");
        assert_eq!(plain("╭──────╮"), plain("╭───╮"));
    }

    #[test]
    fn rows_are_compared_by_the_columns_that_are_shown() {
        let printed = lines("noise\nGROUP TOPIC PARTITION LAG\ng t 1 0\ng t 0 7\n");
        assert!(rows_match(&lines("PARTITION LAG\n0 7\n1 0"), &printed));
        assert!(!rows_match(&lines("PARTITION LAG\n0 6\n1 0"), &printed));
        assert!(!rows_match(&lines("PARTITION LAG\n0 7"), &printed));
        assert!(!rows_match(&lines("PARTITION HOST\n0 7\n1 0"), &printed));
    }

    #[test]
    fn changes_replace_keys_and_leave_the_rest() {
        let text = merged("[a]\nb = 1\nc = 2\n[a.d]\ne = 3\n", "[a]\nc = 4\n[a.d]\nf = 5\n").unwrap();
        assert_eq!(text.parse::<Table>().unwrap(), "a = { b = 1, c = 4, d = { e = 3, f = 5 } }".parse().unwrap());
    }
}
