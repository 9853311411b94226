use std::time::Duration;

use wasmill_core::Position;

use super::*;
use crate::mock::MockBroker;
use crate::producer::{Fields, Headers, produce};
use crate::settings::ClientSettings;

const TIMEOUT: Duration = Duration::from_secs(30);

fn started(partitions: u32) -> (MockBroker, ClientSettings) {
    let broker = MockBroker::start(1).unwrap();
    broker.create_topic("t", partitions).unwrap();
    let settings = ClientSettings {
        bootstrap: broker.bootstrap().to_owned(),
        client_id: "test".into(),
        ..ClientSettings::default()
    };
    (broker, settings)
}

fn message(partition: i32, value: &str, timestamp: i64) -> PlainMessage {
    PlainMessage {
        topic: "t".into(),
        partition,
        value: Some(value.into()),
        timestamp: Some(timestamp),
        ..PlainMessage::default()
    }
}

fn read(settings: &ClientSettings, partitions: &[i32], from: Position) -> Vec<String> {
    let mut consumer = PlainConsumer::open(settings, "t", partitions, from, TIMEOUT).unwrap();
    let messages = consumer.read_to_end(usize::MAX, TIMEOUT).unwrap();
    messages.into_iter().map(|message| String::from_utf8(message.value.unwrap()).unwrap()).collect()
}

#[test]
fn answers_where_each_message_went_in_the_order_of_the_messages() {
    let (_broker, settings) = started(2);
    let mut producer = PlainProducer::open(&settings, TIMEOUT).unwrap();
    let messages = [message(0, "a", 1), message(1, "b", 2), message(7, "nowhere", 3), message(0, "c", 4)];
    let answers = producer.send(&messages);
    assert_eq!(answers[0], Ok(Placed { partition: 0, offset: 0 }));
    assert_eq!(answers[1], Ok(Placed { partition: 1, offset: 0 }));
    assert_eq!(answers[2].as_ref().unwrap_err().code(), Some("_UNKNOWN_PARTITION"));
    assert_eq!(answers[3], Ok(Placed { partition: 0, offset: 1 }));
}

#[test]
fn reads_from_each_kind_of_beginning_to_the_end() {
    let (_broker, settings) = started(2);
    let mut producer = PlainProducer::open(&settings, TIMEOUT).unwrap();
    // One message a batch: the mock broker finds times by batch.
    for (index, value) in ["a", "b", "c"].into_iter().enumerate() {
        producer.send(&[message(0, value, 1000 * (index as i64 + 1))]).pop().unwrap().unwrap();
    }
    assert_eq!(read(&settings, &[0], Position::Earliest), ["a", "b", "c"]);
    assert_eq!(read(&settings, &[0], Position::Offset(1)), ["b", "c"]);
    assert_eq!(read(&settings, &[0], Position::Last(1)), ["c"]);
    assert_eq!(read(&settings, &[0], Position::Last(0)), Vec::<String>::new());
    assert_eq!(read(&settings, &[0], Position::Last(u64::MAX)), ["a", "b", "c"]);
    assert_eq!(read(&settings, &[0, 1], Position::Latest), Vec::<String>::new());
    assert_eq!(read(&settings, &[], Position::Earliest), ["a", "b", "c"]);
}

#[test]
fn follows_after_the_end_was_told_once() {
    let (_broker, settings) = started(1);
    let mut consumer = PlainConsumer::open(&settings, "t", &[], Position::Earliest, TIMEOUT).unwrap();
    assert_eq!(consumer.next(TIMEOUT).unwrap(), Next::End);
    let mut producer = PlainProducer::open(&settings, TIMEOUT).unwrap();
    producer.send(&[message(0, "late", 1)]).pop().unwrap().unwrap();
    let Next::Message(found) = consumer.next(TIMEOUT).unwrap() else { panic!("no message") };
    assert_eq!(found.value.as_deref(), Some(&b"late"[..]));
}

#[test]
fn an_offset_that_does_not_exist_is_an_error_not_a_jump() {
    let (_broker, settings) = started(1);
    let mut consumer = PlainConsumer::open(&settings, "t", &[0], Position::Offset(500), TIMEOUT).unwrap();
    let error = consumer.next(TIMEOUT).unwrap_err();
    assert_eq!(error.code(), Some("_AUTO_OFFSET_RESET"), "{error:?}");
}

#[test]
fn a_partition_that_does_not_exist_is_named() {
    let (_broker, settings) = started(1);
    let error = PlainConsumer::open(&settings, "t", &[3], Position::Earliest, TIMEOUT).unwrap_err();
    assert!(error.to_string().contains("t/3"), "{error}");
}

#[test]
fn a_header_name_that_is_not_utf8_is_read_all_the_same() {
    let (_broker, settings) = started(1);
    let producer = PlainProducer::open(&settings, TIMEOUT).unwrap();
    let topic = producer.client.topic("t").unwrap();
    let headers = Headers::of(&[(b"\xff\xfe", Some(b"v"))]).unwrap();
    let mut fields = Fields::new();
    fields.topic(&topic);
    fields.headers(&headers);
    // SAFETY: topic and headers live.
    unsafe { produce(&producer.client, &fields).unwrap() };
    // Accepted: the list is librdkafka's now.
    std::mem::forget(headers);
    assert_eq!(producer.collect(&mut [None], TIMEOUT), 1);
    let mut consumer = PlainConsumer::open(&settings, "t", &[], Position::Earliest, TIMEOUT).unwrap();
    let found = consumer.read_to_end(10, TIMEOUT).unwrap();
    assert_eq!(found[0].headers, [("\u{fffd}\u{fffd}".to_owned(), Some(b"v".to_vec()))]);
}
