//! A handler's last words: what it said of its own trouble goes with the trap.

use std::sync::LazyLock;

use wasmill_core::{ErrorClass, Grants};
use wasmill_wasm::{CallError, Limits, Plugin};

use crate::guest::*;

static LINKED: LazyLock<Plugin> =
    LazyLock::new(|| ENGINE.load(&of_wit(include_str!("wasi.wit"), "linked", include_str!("wasi.wat"))).unwrap());

/// What the script guest logs: level, times, text.
fn log(level: u32, times: u32, text: &[u8]) -> Vec<u8> {
    op(&[3, level, times], text)
}

const WARN: u32 = 3;
const ERROR: u32 = 4;

/// A call with these messages and a trap behind them.
fn traps(mut scripts: Vec<Vec<u8>>) -> CallError {
    scripts.push(op(&[4], b""));
    script(limits()).0.handle(0, 0, &batch(&scripts)).unwrap_err()
}

/// One that writes to standard error and then ends in this way.
fn linked(value: &str) -> CallError {
    let (mut spec, _) = spec(limits());
    spec.grants = Grants::ALL;
    LINKED.instantiate(&spec).unwrap().handle(0, 0, &batch(&[value.as_bytes().to_vec()])).unwrap_err()
}

#[test]
fn the_last_line_at_warn_or_error_goes_with_a_trap() {
    let error = traps(vec![log(ERROR, 1, b"panicked\x1b[1m"), log(2, 1, b"only info...")]);
    assert_eq!(error.class, ErrorClass::Trap);
    let said = r"the handler trapped: wasm `unreachable` instruction executed: panicked\u{1b}[1m";
    assert_eq!(error.message, said);
    assert!(error.full().starts_with(&format!("{said}\n")), "the frames come behind: {}", error.full());
    let error = traps(vec![log(ERROR, 1, b"not that one"), log(WARN, 1, b"but that one")]);
    assert!(error.message.ends_with("executed: but that one"), "{error}");
    let error = traps(vec![log(2, 1, b"only info...")]);
    assert!(error.message.ends_with("instruction executed"), "{error}");
}

#[test]
fn last_words_that_the_log_dropped_are_heard_all_the_same() {
    let error = traps(vec![log(2, 1000, b"flooding"), log(ERROR, 1, b"out of luck!")]);
    assert!(error.message.ends_with("executed: out of luck!"), "{error}");
}

#[test]
fn last_words_are_those_of_the_call_and_bounded() {
    let (mut instance, _) = script(limits());
    instance.handle(0, 0, &batch(&[log(ERROR, 1, b"an earlier call's")])).unwrap();
    let error = instance.handle(0, 0, &batch(&[op(&[4], b"")])).unwrap_err();
    assert!(error.message.ends_with("instruction executed"), "{error}");
    let error = traps(vec![log(ERROR, 1, format!("why {}", "x".repeat(1 << 20)).as_bytes())]);
    assert!(error.message.contains("executed: why xxx") && error.message.len() < 1200, "{}", error.message.len());
}

#[test]
fn a_call_that_the_host_ended_has_its_reason_already() {
    let limits = Limits { time_per_message: std::time::Duration::from_millis(20), ..limits() };
    let scripts = [log(ERROR, 1, b"look out"), op(&[5], b"")];
    let error = script(limits).0.handle(0, 0, &batch(&scripts)).unwrap_err();
    assert!(error.class == ErrorClass::Deadline && !error.message.contains("look out"), "{error}");
}

#[test]
fn in_the_plain_world_last_words_are_those_of_the_message() {
    let plain = ENGINE.load(&module("messages", include_str!("plain.wat"))).unwrap();
    let fails = |values: &[&str]| {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        plain.instantiate(&spec(limits()).0).unwrap().handle(0, 0, &batch(&values)).unwrap_err()
    };
    let error = fails(&["watch out", "trap"]);
    assert!(error.class == ErrorClass::Trap && error.message.ends_with("instruction executed"), "{error}");
}

#[test]
fn the_last_lines_of_standard_error_go_with_a_trap_and_an_exit() {
    let traceback = "Traceback (most recent call last):\n  File \"app.py\", line 3, in handle\nValueError: no\x1b[2J\n";
    let shown = r#"Traceback (most recent call last): | File "app.py", line 3, in handle | ValueError: no\u{1b}[2J"#;
    let error = linked(traceback);
    assert_eq!(error.class, ErrorClass::Trap);
    assert!(error.message.ends_with(&format!("executed: {shown}")), "{error}");
    let error = linked("X marks the spot");
    assert_eq!(error.message, "the handler left with exit(1): X marks the spot");
    // Far more lines than the log takes in a second.
    let error = linked(&format!("T{}\nthe end", "\nline".repeat(5000)));
    assert!(error.message.ends_with("line | line | the end") && error.message.len() < 1200, "{error}");
}
