//! Guests that break the contract or hurt. Each costs its own call and its own instance, and nothing else.

use std::time::{Duration, Instant};

use wasmill_core::{ABSENT, Batch, ErrorClass};
use wasmill_wasm::{CallError, Limits, StartError};

use crate::guest::*;

fn fails(limits: Limits, batch: &Batch) -> CallError {
    let (mut instance, _) = script(limits);
    let error = instance.handle(0, 0, batch).expect_err("the call fails");
    assert!(instance.emitted().rows.is_empty() && instance.failures().is_empty(), "nothing it said counts");
    let again = instance.handle(0, 0, &super::guest::batch(&[vec![]])).expect_err("the instance is over");
    assert_eq!(again.class, error.class);
    assert!(again.message.contains("must be replaced"), "{again}");
    error
}

fn lie(script: Vec<u8>) -> String {
    let error = fails(limits(), &batch(&[script]));
    assert_eq!(error.class, ErrorClass::Protocol, "{error}");
    error.message
}

/// Bytes of the input when the script has a table of so many words and so many bytes of data.
fn input(words: usize, data: usize) -> u32 {
    (20 + 4 * words + data) as u32
}

/// A sound row of a script without data, but for one word.
fn row_with(index: usize, word: u32) -> Vec<u8> {
    let mut row = [0, 0, 0, 4, 0, 4, 0, 0, 0, 0, 0, 0];
    row[index] = word;
    emit(12, 1, &row, b"")
}

#[test]
fn a_sound_row_is_no_lie() {
    let (mut instance, _) = script(limits());
    instance.handle(0, 0, &batch(&[row_with(0, 0)])).unwrap();
    assert_eq!(instance.emitted().rows.len(), 1);
}

#[test]
fn each_number_of_a_row_is_checked() {
    let length = input(12, 0);
    for (index, word, said) in [
        (0, 1, "message 1 of a batch of 1"),
        (0, u32::MAX, "of a batch of 1"),
        (1, 2, "topic 2; the pipeline grants numbers below 2"),
        (1, u32::MAX, "topic 4294967295"),
        (2, length - 3, "the key has 4 bytes"),
        (2, length, "the key has 4 bytes"),
        (2, u32::MAX, "the key has 4 bytes from 4294967295"),
        (3, length + 1, "the key has"),
        (3, u32::MAX - 1, "the key has 4294967294 bytes"),
        (4, length - 3, "the value has 4 bytes"),
        (4, u32::MAX, "the value has 4 bytes"),
        (5, length + 1, "the value has"),
        (5, u32::MAX - 1, "the value has 4294967294 bytes"),
        (7, 1, "header rows 0..1 of 0"),
        (7, u32::MAX, "header rows 0..4294967295 of 0"),
        (11, 4, "flags 0x4"),
    ] {
        let message = lie(row_with(index, word));
        assert!(message.contains("emit: row 0") && message.contains(said), "{index} {word}: {message}");
    }
}

#[test]
fn partitions_and_timestamps_are_not_negative() {
    let row = |timestamp: i64, partition: i32, flags: u32| {
        let row = [0, 0, 0, 4, 0, 4, 0, 0, timestamp as u32, (timestamp >> 32) as u32, partition as u32, flags];
        emit(12, 1, &row, b"")
    };
    assert!(lie(row(0, -1, 2)).contains("partition -1"));
    assert!(lie(row(-1, 0, 1)).contains("timestamp before 1970"));
    // What no flag asks for means nothing.
    let (mut instance, _) = script(limits());
    instance.handle(0, 0, &batch(&[row(-1, -1, 0)])).unwrap();
}

#[test]
fn counts_and_strides_that_overflow_are_seen() {
    let row = [0, 0, 0, 4, 0, 4, 0, 0, 0, 0, 0, 0];
    for (stride, count, said) in [
        (11, 1, "a stride of 11 words"),
        (0, u32::MAX, "a stride of 0 words"),
        (12, 2, "2 rows of 12 words in a table of 12 words"),
        (u32::MAX, u32::MAX, "rows of 4294967295 words"),
        // 2^32 words and 2^33 bytes: nothing is left of either in 32 bits.
        (1 << 16, 1 << 16, "65536 rows of 65536 words"),
        (1 << 30, 4, "4 rows of 1073741824 words"),
    ] {
        let message = lie(emit(stride, count, &row, b""));
        assert!(message.contains(said), "{message}");
    }
    assert!(lie(emit(12, 0, &[1, 2, 3], b"")).contains("3 words after the rows"));
}

#[test]
fn header_rows_are_checked() {
    let script = |first: u32, count: u32, header: [u32; 4]| {
        let mut table = vec![0, 0, 0, 4, 0, 4, first, count, 0, 0, 0, 0];
        table.extend(header);
        emit(12, 1, &table, b"")
    };
    let sound = [0, 4, 4, 4];
    let (mut instance, _) = script_instance();
    instance.handle(0, 0, &batch(&[script(0, 1, sound)])).unwrap();
    assert_eq!(instance.emitted().headers.len(), 1);
    for (first, count) in [(1, 1), (0, 2), (u32::MAX, 1), (u32::MAX, u32::MAX), (0, u32::MAX)] {
        assert!(lie(script(first, count, sound)).contains("header rows"), "{first} {count}");
    }
    assert!(lie(script(0, 1, [0, ABSENT, 4, 4])).contains("a header without a name"));
    assert!(lie(script(0, 1, [0, 999, 4, 4])).contains("the name of a header has 999 bytes"));
    assert!(lie(script(0, 1, [0, 4, u32::MAX, 4])).contains("the value of a header has 4 bytes"));
}

fn script_instance() -> (wasmill_wasm::Instance, std::sync::Arc<Lines>) {
    script(limits())
}

#[test]
fn a_span_cannot_begin_in_the_input_and_end_in_the_calls_own_data() {
    let length = input(12, 8);
    let value = |start: u32, len: u32| emit(12, 1, &[0, 0, 0, ABSENT, start, len, 0, 0, 0, 0, 0, 0], b"12345678");
    for (start, len) in [(length - 1, 2), (length, 9), (length + 8, 1), (length + 9, 0)] {
        assert!(lie(value(start, len)).contains("the value has"), "{start} {len}");
    }
    let (mut instance, _) = script(limits());
    for (start, len) in [(length - 1, 1), (length, 8), (length + 8, 0)] {
        instance.handle(0, 0, &batch(&[value(start, len)])).unwrap();
    }
}

#[test]
fn lists_outside_of_memory_are_lies() {
    for operands in [[12, 0, u32::MAX, 0], [12, 0, 0, u32::MAX], [12, 0, 1 << 30, 0], [12, 0, 1 << 29, 0]] {
        let words = [&[0][..], &operands].concat();
        assert!(!lie(op(&words, b"")).is_empty());
    }
}

#[test]
fn text_that_is_no_text_is_a_lie() {
    assert!(lie(op(&[3, 2, 1], b"\xff\xfe\xfd\xfc")).contains("utf-8"));
    assert!(lie(op(&[3, 9, 1], b"text")).contains("broke the contract"), "a level that does not exist");
}

#[test]
fn a_failure_of_no_message_is_a_lie() {
    assert!(lie(op(&[1, 1, 0, 0], b"")).contains("fail names message 1 of a batch of 1"));
    assert!(lie(op(&[1, u32::MAX, 0, 0], b"")).contains("fail names message 4294967295"));
}

#[test]
fn more_reached_than_handed_over_is_a_lie() {
    assert!(lie(op(&[2, 2], b"")).contains("reached 2 of 1"));
    assert!(lie(op(&[2, u32::MAX], b"")).contains("reached 4294967295 of 1"));
}

#[test]
fn a_source_that_does_not_exist_is_a_lie() {
    assert!(lie(op(&[10, 2], b"")).contains("source 2 of 2"));
}

#[test]
fn the_default_output_must_exist() {
    let (mut spec, _) = spec(limits());
    spec.outputs = Default::default();
    let mut instance = SCRIPT.instantiate(&spec).unwrap();
    let error = instance.handle(0, 0, &batch(&[row_with(0, 0)])).unwrap_err();
    assert_eq!(error.class, ErrorClass::Protocol);
    assert!(error.message.contains("no default output"), "{error}");
}

#[test]
fn a_trap_names_the_functions_it_came_through() {
    let error = fails(limits(), &batch(&[op(&[4], b"")]));
    assert_eq!(error.class, ErrorClass::Trap);
    assert!(error.message.contains("unreachable"), "{error}");
    let backtrace = error.backtrace.unwrap();
    assert!(backtrace.contains("run") && backtrace.contains("handle"), "{backtrace}");
}

#[test]
fn endless_recursion_is_a_trap_with_a_short_backtrace() {
    let error = fails(limits(), &batch(&[op(&[7], b"")]));
    assert_eq!(error.class, ErrorClass::Trap);
    assert!(error.message.contains("stack"), "{error}");
    let backtrace = error.backtrace.unwrap();
    assert!(backtrace.matches("deep").count() <= 20, "{backtrace}");
}

#[test]
fn an_endless_loop_ends_with_its_deadline() {
    let limits = Limits { time_per_message: Duration::from_millis(30), ..limits() };
    let began = Instant::now();
    let error = fails(limits, &batch(&[op(&[5], b"")]));
    assert_eq!(error.class, ErrorClass::Deadline);
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert!(error.message.contains("30ms"), "{error}");
    assert!(error.backtrace.unwrap().contains("spin"));
}

#[test]
fn the_deadline_grows_with_the_batch_up_to_its_cap() {
    let limits =
        Limits { time_per_message: Duration::from_millis(20), time_cap: Duration::from_millis(500), ..limits() };
    for (messages, allowed) in [(1, 20), (3, 60), (50, 500)] {
        let mut values = vec![vec![]; messages];
        values[0] = op(&[5], b"");
        let error = fails(limits.clone(), &batch(&values));
        // At the cap a machine that is busy may have kept some of the time for itself.
        let at_the_cap = messages == 50 && error.class == ErrorClass::TimeCap;
        assert!(error.class == ErrorClass::Deadline || at_the_cap, "{error}");
        assert!(error.message.contains(&format!("{allowed}ms")), "{error}");
    }
}

#[test]
fn a_call_is_cancelled_from_another_thread() {
    let (mut instance, lines) = script(limits());
    let canceller = instance.canceller();
    let other = std::thread::spawn(move || {
        // The line says that the guest is running.
        while lines.texts().is_empty() {
            std::thread::yield_now();
        }
        canceller.cancel();
    });
    let error = instance.handle(0, 0, &batch(&[op(&[3, 2, 1], b"here"), op(&[5], b"")])).unwrap_err();
    other.join().unwrap();
    assert_eq!(error.class, ErrorClass::Cancelled);
}

#[test]
fn a_cancelled_instance_begins_no_call_until_it_is_cleared() {
    let (mut instance, _) = script(limits());
    instance.canceller().cancel();
    assert_eq!(instance.handle(0, 0, &batch(&[vec![]])).unwrap_err().class, ErrorClass::Cancelled);
    instance.canceller().clear();
    assert_eq!(instance.handle(0, 0, &batch(&[vec![]])).unwrap(), 1);
}

#[test]
fn a_memory_bomb_goes_off_within_its_limit() {
    let (mut instance, _) = script(limits());
    let error = instance.handle(0, 0, &batch(&[op(&[6, 1], b"")])).unwrap_err();
    assert_eq!(error.class, ErrorClass::Memory);
    assert!(error.message.contains("its limit is 8388608"), "{error}");
    assert!(instance.memory_bytes() <= 8 << 20);
    assert_eq!(fails(limits(), &batch(&[op(&[8], b"")])).class, ErrorClass::Memory, "tables count too");
}

#[test]
fn a_handler_that_copes_with_a_refusal_goes_on() {
    let (mut instance, _) = script(limits());
    instance.handle(0, 0, &batch(&[op(&[6, 0], b"")])).unwrap();
    let error = instance.handle(0, 0, &batch(&[op(&[4], b"")])).unwrap_err();
    assert_eq!(error.class, ErrorClass::Trap, "an earlier call's refusal is not this trap's cause");
}

#[test]
fn an_instance_whose_memory_grew_to_three_quarters_of_its_limit_is_due_for_replacement() {
    let (mut instance, _) = script(limits());
    assert!(!instance.is_due_for_replacement());
    instance.handle(0, 0, &batch(&[vec![]])).unwrap();
    assert!(!instance.is_due_for_replacement() && instance.memory_bytes() < 4 << 20);
    instance.handle(0, 0, &batch(&[op(&[6, 0], b"")])).unwrap();
    assert!(instance.is_due_for_replacement() && instance.memory_bytes() > 6 << 20);
    assert_eq!(instance.handle(0, 0, &batch(&[vec![]])).unwrap(), 1, "it works all the same");
    // The same with its first batch: then that is what it needs.
    let (mut instance, _) = script(limits());
    instance.handle(0, 0, &batch(&[op(&[6, 0], b"")])).unwrap();
    instance.handle(0, 0, &batch(&[vec![]])).unwrap();
    assert!(!instance.is_due_for_replacement() && instance.memory_bytes() > 6 << 20);
}

#[test]
fn a_batch_that_does_not_fit_into_the_guest_is_a_matter_of_memory() {
    let error = fails(limits(), &batch(&[vec![0xff; 9 << 20]]));
    assert_eq!(error.class, ErrorClass::Memory);
}

#[test]
fn a_handler_that_needs_more_memory_than_it_may_have_does_not_start() {
    let (spec, _) = spec(Limits { memory_bytes: 1 << 20, ..limits() });
    assert!(matches!(SCRIPT.instantiate(&spec), Err(StartError::Memory)));
}

#[test]
fn init_has_a_deadline_and_its_traps_are_told() {
    let (mut spec, _) = spec(Limits { init_time: Duration::from_millis(20), ..limits() });
    spec.pipeline = "spin".to_owned();
    assert!(matches!(SCRIPT.instantiate(&spec), Err(StartError::Deadline)));
    spec.limits.init_time = Duration::from_secs(20);
    spec.pipeline = "trap".to_owned();
    assert!(matches!(SCRIPT.instantiate(&spec), Err(StartError::Trap(text)) if text.contains("unreachable")));
    spec.pipeline = "emit".to_owned();
    assert!(matches!(SCRIPT.instantiate(&spec), Err(StartError::Trap(text)) if text.contains("outside of handle")));
}

#[test]
fn a_flood_of_messages_is_cut_off() {
    let row = [0, 0, 0, ABSENT, 0, ABSENT, 0, 0, 0, 0, 0, 0];
    let call = |rows: usize| emit(12, rows as u32, &row.repeat(rows), b"");
    let (mut instance, _) = script(limits());
    instance.handle(0, 0, &batch(&[call(100)])).unwrap();
    assert_eq!(fails(limits(), &batch(&[call(101)])).class, ErrorClass::OutputLimit);
    assert_eq!(fails(limits(), &batch(&[call(60), call(60)])).class, ErrorClass::OutputLimit);
}

#[test]
fn a_flood_of_bytes_is_cut_off_also_by_reference() {
    let own = vec![b'x'; 10_001];
    assert_eq!(fails(limits(), &batch(&[emit(12, 0, &[], &own)])).class, ErrorClass::OutputLimit);
    // Twenty rows of 600 bytes each, and nothing but references.
    let row = [0, 0, 0, ABSENT, 0, 600, 0, 0, 0, 0, 0, 0];
    assert_eq!(fails(limits(), &batch(&[emit(12, 20, &row.repeat(20), b"")])).class, ErrorClass::OutputLimit);
    // Rows that share the same empty headers.
    let mut table = [0, 0, 0, ABSENT, 0, ABSENT, 0, 50, 0, 0, 0, 0].repeat(50);
    table.extend([0, 0, 0, 0].repeat(50));
    assert_eq!(fails(limits(), &batch(&[emit(12, 50, &table, b"")])).class, ErrorClass::OutputLimit);
}

#[test]
fn a_flood_of_lines_is_dropped_and_counted() {
    let (mut instance, lines) = script(limits());
    instance.handle(0, 0, &batch(&[op(&[3, 2, 1000], b"line")])).unwrap();
    let written = lines.texts().len() as u64;
    // A slow machine may see a second pass meanwhile.
    assert!(written < 1000 && instance.dropped_log_lines() > 0);
    drop(instance);
    let texts = lines.texts();
    assert!(texts.last().unwrap().contains("log lines dropped: more than 10 in a second"), "{texts:?}");
}

#[test]
fn one_instances_end_is_not_anothers() {
    let (mut bad, _) = script(limits());
    let (mut good, _) = script(limits());
    bad.handle(0, 0, &batch(&[op(&[4], b"")])).unwrap_err();
    assert_eq!(good.handle(0, 0, &batch(&[vec![]])).unwrap(), 1);
}
