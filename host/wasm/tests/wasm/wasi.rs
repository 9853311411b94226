//! The part of WASI that is accepted: bounded, and empty-handed.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use wasmill_core::ErrorClass;
use wasmill_wasm::{Instance, Limits, LogLevel, Plugin};

use crate::guest::*;

const WIT: &str = include_str!("wasi.wit");

static LINKED: LazyLock<Plugin> =
    LazyLock::new(|| ENGINE.load(&of_wit(WIT, "linked", include_str!("wasi.wat"))).unwrap());

fn linked(limits: Limits) -> (Instance, Arc<Lines>) {
    let (spec, lines) = spec(limits);
    (LINKED.instantiate(&spec).unwrap(), lines)
}

#[test]
fn a_sleeping_handler_ends_with_its_deadline() {
    let (mut instance, _) = linked(Limits { time_per_message: Duration::from_millis(30), ..limits() });
    let began = Instant::now();
    let error = instance.handle(0, 0, &batch(&[b"s".to_vec()])).unwrap_err();
    assert_eq!(error.class, ErrorClass::Deadline);
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_sleeping_handler_is_cancelled() {
    let (mut instance, _) = linked(limits());
    let canceller = instance.canceller();
    // Whether the guest sleeps already makes no difference to what it is told, only to where it is told.
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        canceller.cancel();
    });
    let began = Instant::now();
    assert_eq!(instance.handle(0, 0, &batch(&[b"s".to_vec()])).unwrap_err().class, ErrorClass::Cancelled);
    assert!(began.elapsed() < limits().time_per_message);
    other.join().unwrap();
}

#[test]
fn a_poll_ends_with_its_first_timer() {
    let (mut instance, _) = linked(limits());
    let began = Instant::now();
    instance.handle(0, 0, &batch(&[b"n".to_vec()])).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(5));
}

#[test]
fn polls_timers_and_chance_have_bounds() {
    for (what, said) in [("p", "nothing to wait for"), ("t", "timers at a time"), ("r", "random bytes")] {
        let (mut instance, _) = linked(limits());
        let error = instance.handle(0, 0, &batch(&[what.as_bytes().to_vec()])).unwrap_err();
        assert!(error.class == ErrorClass::Protocol && error.message.contains(said), "{error}");
    }
}

#[test]
fn there_is_chance_but_no_environment_and_no_directory() {
    let (mut instance, _) = linked(limits());
    instance.handle(0, 0, &batch(&[b"c".to_vec()])).unwrap();
    instance.handle(0, 0, &batch(&[b"v".to_vec()])).unwrap();
}

#[test]
fn an_exit_is_a_trap() {
    let (mut instance, _) = linked(limits());
    let error = instance.handle(0, 0, &batch(&[b"x".to_vec()])).unwrap_err();
    assert!(error.class == ErrorClass::Trap && error.message.contains("exit(1)"), "{error}");
}

#[test]
fn what_is_printed_is_logged_line_by_line() {
    let (mut instance, lines) = linked(limits());
    instance.handle(0, 0, &batch(&[b"warm\nand \x1b[1mbold\n\nrest".to_vec()])).unwrap();
    instance.handle(0, 0, &batch(&[b"error".to_vec()])).unwrap();
    let out = |text: &str| (LogLevel::Info, text.to_owned());
    let expected = [out("warm"), out("and \\u{1b}[1mbold"), out("rest"), (LogLevel::Warn, "error".to_owned())];
    assert_eq!(*lines.0.lock().unwrap(), expected);
}

#[test]
fn a_flood_of_printed_lines_is_dropped_and_counted() {
    let (mut instance, lines) = linked(limits());
    let flood = format!("w{}", "\nline".repeat(1000)).into_bytes();
    instance.handle(0, 0, &batch(&[flood])).unwrap();
    assert!(lines.texts().len() < 100 && instance.dropped_log_lines() > 900);
}

#[test]
fn the_network_is_refused_by_name() {
    let wat = r#"(module (import "wasi:sockets/instance-network@0.2.3" "connect" (func)) (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#;
    let said = ENGINE.load(&of_wit(WIT, "networked", wat)).unwrap_err().to_string();
    assert!(said.contains("imports `wasi:sockets/instance-network@0.2.3`, which no handler gets"), "{said}");
}
