//! World `messages`: nested values in, nested values out, the same checks.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use wasmill_core::{Batch, ErrorClass, FailureKind};
use wasmill_wasm::{CallError, Instance, Limits, Plugin, World};

use crate::guest::*;

static PLAIN: LazyLock<Plugin> = LazyLock::new(|| ENGINE.load(&module("messages", include_str!("plain.wat"))).unwrap());

fn plain(limits: Limits) -> Instance {
    PLAIN.instantiate(&spec(limits).0).unwrap()
}

fn values(values: &[&str]) -> Batch {
    batch(&values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>())
}

fn fails(limits: Limits, batch: &Batch) -> CallError {
    let mut instance = plain(limits);
    let error = instance.handle(0, 0, batch).unwrap_err();
    assert!(instance.emitted().rows.is_empty());
    error
}

#[test]
fn a_message_comes_through_as_it_is() {
    assert_eq!(PLAIN.world(), World::Messages);
    let mut batch = Batch::new();
    batch.push(Some(b""), Some(b"echo"), 1, None, 1).unwrap();
    batch.push_header(b"first", Some(b"1")).unwrap();
    batch.push_header(b"second", None).unwrap();
    batch.push(None, Some(b"echo too"), 2, Some(5), 1).unwrap();
    batch.push(Some(b"k"), None, 3, None, 1).unwrap();
    batch.seal();
    let mut instance = plain(limits());
    assert_eq!(instance.handle(0, 0, &batch).unwrap(), 3);
    let emitted = instance.emitted();
    let bytes = |span| emitted.bytes(batch.data(), span);
    let [first, second] = &emitted.rows[..] else { panic!("{emitted:?}") };
    assert_eq!((first.message, first.topic, bytes(first.key)), (0, 0, Some(&b""[..])));
    assert_eq!(bytes(first.value), Some(&b"echo"[..]));
    let headers: Vec<_> = emitted.headers_of(first).iter().map(|[name, value]| (bytes(*name), bytes(*value))).collect();
    assert_eq!(headers, [(Some(&b"first"[..]), Some(&b"1"[..])), (Some(&b"second"[..]), None)]);
    assert_eq!((second.message, bytes(second.key), bytes(second.value)), (1, None, Some(&b"echo too"[..])));
    assert_eq!((second.headers, second.timestamp, second.partition), (0, None, None));
}

#[test]
fn an_output_says_topic_partition_and_timestamp() {
    let mut batch = Batch::new();
    batch.push(None, Some(b"m"), 1 << 40, None, 4).unwrap();
    batch.seal();
    let mut instance = plain(limits());
    instance.handle(1, 3, &batch).unwrap();
    let emitted = instance.emitted();
    let row = &emitted.rows[0];
    assert_eq!((row.topic, row.partition, row.timestamp), (1, Some(7), Some((1 << 40) + 1)));
    assert_eq!(emitted.bytes(batch.data(), row.key), Some(&b"other"[..]));
    assert_eq!(emitted.bytes(batch.data(), row.value), Some(&b"4"[..]));
}

#[test]
fn a_reject_goes_on_and_a_retry_stops() {
    let mut instance = plain(limits());
    assert_eq!(instance.handle(0, 0, &values(&["e", "j\n", "e", "r", "trap"])).unwrap(), 4);
    assert_eq!(instance.emitted().rows.iter().map(|row| row.message).collect::<Vec<_>>(), [0, 2]);
    let [reject, retry] = instance.failures() else { panic!("{:?}", instance.failures()) };
    assert_eq!((reject.message, reject.kind, &*reject.reason), (1, FailureKind::Reject, "j\\n"));
    assert_eq!((retry.message, retry.kind, &*retry.reason), (3, FailureKind::Retry, "later"));
    assert_eq!(retry.retry_after, Some(Duration::from_millis(250)));
}

#[test]
fn lies_and_floods_end_the_call() {
    let error = fails(limits(), &values(&["e", "u"]));
    assert_eq!(error.class, ErrorClass::Protocol);
    assert!(error.message.contains("no output topic `nowhere`; granted: out, eu"), "{error}");
    let error = fails(limits(), &values(&["p"]));
    assert!(error.class == ErrorClass::Protocol && error.message.contains("partition -1"), "{error}");
    assert_eq!(fails(limits(), &values(&["f"])).class, ErrorClass::OutputLimit);
    let big = format!("e{}", "x".repeat(6000));
    assert_eq!(fails(limits(), &values(&[&big, &big])).class, ErrorClass::OutputLimit);
    assert_eq!(fails(limits(), &values(&["e", "t"])).class, ErrorClass::Trap);
}

#[test]
fn a_message_has_its_own_deadline_within_the_batchs() {
    let limits = Limits { time_per_message: Duration::from_millis(30), ..limits() };
    let began = Instant::now();
    let mut batch = vec!["e"; 500];
    batch[0] = "s";
    let error = fails(limits, &values(&batch));
    assert_eq!(error.class, ErrorClass::Deadline);
    // 500 messages have 15 seconds.
    assert!(began.elapsed() < Duration::from_secs(10));
}
