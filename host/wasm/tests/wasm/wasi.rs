//! The part of WASI that is accepted: bounded, and empty-handed.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use wasmill_core::{ErrorClass, Grant, Grants};
use wasmill_wasm::{Instance, Limits, LogLevel, Plugin, StartError};

use crate::guest::*;

const WIT: &str = include_str!("wasi.wit");

static LINKED: LazyLock<Plugin> =
    LazyLock::new(|| ENGINE.load(&of_wit(WIT, "linked", include_str!("wasi.wat"))).unwrap());

fn linked(limits: Limits) -> (Instance, Arc<Lines>) {
    let (mut spec, lines) = spec(limits);
    spec.grants = Grants::ALL;
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
fn a_clock_and_chance_are_given_to_those_alone_whose_pipeline_grants_them() {
    assert_eq!(LINKED.needs(), Grants::ALL);
    let clock = Grants::NONE.with(Grant::Clock);
    for (granted, import) in [(Grants::NONE, "wasi:clocks/monotonic-clock@0.2.3"), (clock, "wasi:random/random@0.2.3")]
    {
        let refused = LINKED.check(granted).unwrap_err();
        assert_eq!((refused.import.as_str(), refused.needed), (import, Grants::ALL));
        // Whoever does not check first comes no further.
        let mut spec = spec(limits()).0;
        spec.grants = granted;
        let Err(StartError::NotGranted(again)) = LINKED.instantiate(&spec) else { panic!("{granted:?} was enough") };
        assert_eq!(again, refused);
        let line = r#"hint: add `grant = ["clock", "random"]` to the pipeline's table"#;
        assert!(again.to_string().contains(import) && again.to_string().ends_with(line), "{again}");
    }
    LINKED.check(Grants::ALL).unwrap();
}

#[test]
fn what_is_imported_for_its_types_alone_needs_no_grant() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "init") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 16))
        (func (export "at") (param i64 i32))
        (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local.get 7)))"#;
    let bytes = of_wit(WIT, "typed", wat);
    let (plugin, told) = (ENGINE.load(&bytes).unwrap(), wasmill_wasm::inspect(&bytes));
    assert_eq!(plugin.imports(), ["wasi:clocks/wall-clock@0.2.3"]);
    assert_eq!((plugin.needs(), told.needs(), told.imports.items.len()), (Grants::NONE, Grants::NONE, 1), "{told:?}");
    plugin.instantiate(&spec(limits()).0).unwrap();
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
