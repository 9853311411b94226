//! What a handler that keeps to the contract gets.

use std::time::Duration;

use wasmill_core::{ABSENT, Batch, FailureKind, Span};
use wasmill_wasm::{Limits, LogLevel, StartError, World};

use crate::guest::*;

#[test]
fn the_script_is_a_plugin_of_the_fast_world() {
    assert_eq!(SCRIPT.world(), World::Batches);
    assert_eq!(SCRIPT.digest().len(), 64);
    assert!(SCRIPT.size() > 500);
    assert!(SCRIPT.imports().iter().any(|import| import == "wasmill:handler/outcome@0.1.0"), "{:?}", SCRIPT.imports());
}

#[test]
fn every_message_is_reached_and_nothing_is_emitted_by_default() {
    let (mut instance, _) = script(limits());
    assert_eq!(instance.handle(0, 0, &batch(&[vec![], vec![], vec![]])).unwrap(), 3);
    assert!(instance.emitted().rows.is_empty() && instance.failures().is_empty());
    assert!(instance.memory_bytes() >= 32 * 65536);
    assert_eq!(instance.handle(0, 0, &batch(&[])).unwrap(), 0);
}

#[test]
fn outputs_refer_to_the_input_or_to_data_of_their_own_also_over_several_calls() {
    let (mut instance, _) = script(limits());
    let mut batch = Batch::new();
    batch.push(Some(b"key!"), Some(b""), 7, None, 1).unwrap();
    batch.push_header(b"name", Some(b"v")).unwrap();
    batch.push_header(b"none", None).unwrap();
    // 4 + 4 + 1 + 4 bytes and these three: the scripts' words are aligned.
    batch.push(Some(b"pad"), None, 8, Some(5), 1).unwrap();
    let one = |own: u32| {
        // Two header rows of the input, then one of its own.
        let mut table = vec![0, 1, 0, 4, own, 5, 0, 3, 0, 1, 6, 3];
        table.extend([own, 2, own, ABSENT]);
        emit(12, 1, &table, b"hello...")
    };
    let length = one(0).len() as u32;
    let two = |own: u32| {
        let table = [1, 0, 0, ABSENT, own + 1, 3, 0, 0, 0, 0, 0, 0, 99];
        emit(13, 1, &table, b"12345678")
    };
    let total = 16 + length + two(0).len() as u32;
    batch.push(None, Some(&one(total)), 9, None, 1).unwrap();
    batch.push(None, Some(&two(total)), 10, None, 1).unwrap();
    batch.seal();
    assert_eq!(batch.data().len() as u32, total);
    assert_eq!(instance.handle(0, 3, &batch).unwrap(), 4);

    let emitted = instance.emitted();
    let bytes = |span: Span| emitted.bytes(batch.data(), span);
    let [first, second] = &emitted.rows[..] else { panic!("two rows: {emitted:?}") };
    assert_eq!((first.message, first.topic), (0, 1));
    assert_eq!((bytes(first.key), bytes(first.value)), (Some(&b"key!"[..]), Some(&b"hello"[..])));
    assert_eq!((first.timestamp, first.partition), (Some(1 << 32), Some(6)));
    let headers: Vec<_> = emitted.headers_of(first).iter().map(|[name, value]| (bytes(*name), bytes(*value))).collect();
    let text = |text: &'static str| Some(text.as_bytes());
    assert_eq!(headers, [(text("name"), text("v")), (text("none"), None), (text("he"), None)]);
    assert_eq!((second.message, second.topic, second.headers), (1, 0, 0));
    assert_eq!((bytes(second.key), bytes(second.value)), (None, text("234")));
    assert_eq!((second.timestamp, second.partition), (None, None));
}

#[test]
fn a_batch_can_be_filled_again_in_place_after_a_call() {
    let (mut instance, _) = script(limits());
    let mut batch = Batch::new();
    batch.push(None, Some(b"x"), 0, None, 1).unwrap();
    batch.push_header(b"name", None).unwrap();
    batch.seal();
    instance.handle(0, 0, &batch).unwrap();
    assert_eq!(std::sync::Arc::strong_count(batch.table()), 1);
    assert_eq!(std::sync::Arc::strong_count(batch.data()), 1);
}

#[test]
fn the_first_verdict_for_a_message_counts() {
    let (mut instance, _) = script(limits());
    let scripts = [op(&[1, 1, 1, 250], b"wait"), op(&[1, 1, 0, 0], b"no!!"), op(&[1, 0, 0, 0], b"bad\x1b")];
    assert_eq!(instance.handle(0, 0, &batch(&scripts)).unwrap(), 3);
    let [one, zero] = instance.failures() else { panic!("{:?}", instance.failures()) };
    assert_eq!((one.message, one.kind, one.retry_after), (1, FailureKind::Retry, Some(Duration::from_millis(250))));
    assert_eq!(one.reason, "wait");
    assert_eq!((zero.message, zero.kind, zero.retry_after), (0, FailureKind::Reject, None));
    assert_eq!(zero.reason, "bad\\u{1b}");
}

#[test]
fn what_one_call_said_is_gone_in_the_next() {
    let (mut instance, _) = script(limits());
    let row = [0, 0, 0, ABSENT, 0, ABSENT, 0, 0, 0, 0, 0, 0];
    instance.handle(0, 0, &batch(&[emit(12, 1, &row, b"1234"), op(&[1, 1, 0, 0], b"no!!")])).unwrap();
    assert_eq!((instance.emitted().rows.len(), instance.failures().len()), (1, 1));
    instance.handle(0, 0, &batch(&[vec![]])).unwrap();
    assert_eq!((instance.emitted().rows.len(), instance.failures().len()), (0, 0));
    assert!(instance.emitted().data.is_empty());
}

#[test]
fn a_call_that_reaches_less_says_so() {
    let (mut instance, _) = script(limits());
    assert_eq!(instance.handle(0, 0, &batch(&[op(&[2, 1], b""), vec![]])).unwrap(), 1);
    assert_eq!(instance.handle(0, 0, &batch(&[op(&[2, 0], b""), vec![]])).unwrap(), 0);
}

#[test]
fn topics_have_numbers_and_those_not_granted_are_listed() {
    // Lines long enough for the hint.
    let (mut instance, lines) = script(Limits { log_line_bytes: 1000, ..limits() });
    let asked = [op(&[9], b"out "), op(&[9], b"eu"), op(&[9], b"else")].map(|script| script.trim_ascii_end().to_vec());
    for script in asked {
        instance.handle(0, 0, &batch(&[script])).unwrap();
    }
    instance.handle(0, 0, &batch(&[op(&[10, 1], b"")])).unwrap();
    let refusal = "the pipeline grants no output topic `else`; granted: out, eu; hint: `output = { topic = \"...\", \
                   topics = [\"else\"] }` grants it beside the default output";
    assert_eq!(lines.texts(), ["0", "1", refusal, "other"]);
    assert_eq!(lines.0.lock().unwrap()[2].0, LogLevel::Error);
}

#[test]
fn a_line_is_cut_and_escaped() {
    let (mut instance, lines) = script(limits());
    instance.handle(0, 0, &batch(&[op(&[3, 3, 1], b"red \x1b[31m\nalert")])).unwrap();
    instance.handle(0, 0, &batch(&[op(&[3, 0, 1], &[b'x'; 3000])])).unwrap();
    let long = format!("{}... (2900 bytes cut)", "x".repeat(100));
    assert_eq!(
        *lines.0.lock().unwrap(),
        [(LogLevel::Warn, "red \\u{1b}[31m\\nalert".to_owned()), (LogLevel::Trace, long)]
    );
}

#[test]
fn a_handler_that_refuses_to_start_is_quoted() {
    let (mut spec, _) = spec(limits());
    spec.pipeline = "refuse".to_owned();
    spec.group = "no such\ntable".to_owned();
    match SCRIPT.instantiate(&spec).err() {
        Some(StartError::Refused(text)) => assert_eq!(text, "no such\\ntable"),
        other => panic!("{other:?}"),
    }
}
