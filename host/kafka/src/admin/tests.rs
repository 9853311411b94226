use super::*;
use crate::mock::{MockBroker, fault};
use crate::plain::{PlainMessage, PlainProducer};

const TIMEOUT: Duration = Duration::from_secs(30);

fn started() -> (MockBroker, ClientSettings) {
    let broker = MockBroker::start(2).unwrap();
    broker.create_topic("t", 3).unwrap();
    let settings = ClientSettings {
        bootstrap: broker.bootstrap().to_owned(),
        client_id: "test".into(),
        ..ClientSettings::default()
    };
    (broker, settings)
}

#[test]
fn describes_partitions_with_their_offsets() {
    let (_broker, settings) = started();
    let mut producer = PlainProducer::open(&settings, TIMEOUT).unwrap();
    let message = |partition| PlainMessage { topic: "t".into(), partition, ..PlainMessage::default() };
    for answer in producer.send(&[message(1), message(1), message(2)]) {
        answer.unwrap();
    }
    let topic = Admin::open(&settings).unwrap().describe_topic("t", TIMEOUT).unwrap();
    let offsets: Vec<_> =
        topic.partitions.iter().map(|partition| (partition.id, partition.low, partition.high)).collect();
    assert_eq!(offsets, [(0, Some(0), Some(0)), (1, Some(0), Some(2)), (2, Some(0), Some(1))]);
    assert!(topic.partitions.iter().all(|partition| partition.leader.is_some() && partition.replicas == 1));
}

#[test]
fn lists_topics_by_name() {
    let (broker, settings) = started();
    broker.create_topic("a", 1).unwrap();
    let topics = Admin::open(&settings).unwrap().topics(TIMEOUT).unwrap();
    let names: Vec<_> = topics.iter().map(|topic| (topic.name.as_str(), topic.partitions.len())).collect();
    assert_eq!(names, [("a", 1), ("t", 3)]);
}

#[test]
fn a_topic_that_may_not_be_seen_is_an_error() {
    let (broker, settings) = started();
    broker.topic_error("t", fault::TOPIC_AUTHORIZATION).unwrap();
    let error = Admin::open(&settings).unwrap().describe_topic("t", TIMEOUT).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_AUTHORIZATION_FAILED"));
}

#[test]
fn a_broker_that_is_away_is_a_transient_error_in_time() {
    let (broker, settings) = started();
    broker.down(None).unwrap();
    let admin = Admin::open(&settings).unwrap();
    let limit = Duration::from_millis(300);
    let start = Instant::now();
    assert!(admin.topics(limit).unwrap_err().is_transient());
    assert!(admin.group_describe("g", limit).unwrap_err().is_transient());
    let new = NewTopic { name: "n".into(), ..NewTopic::default() };
    assert!(admin.create_topic(&new, limit).unwrap_err().is_transient());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn what_no_topic_can_have_is_refused_without_a_broker() {
    let admin = Admin::open(&ClientSettings { bootstrap: "127.0.0.1:1".into(), ..ClientSettings::default() }).unwrap();
    let new = NewTopic { name: "a\0b".into(), ..NewTopic::default() };
    assert!(matches!(admin.create_topic(&new, TIMEOUT), Err(ClientError::Nul { .. })));
    let negative = NewTopic { name: "n".into(), partitions: Some(-5), ..NewTopic::default() };
    assert!(matches!(admin.create_topic(&negative, TIMEOUT), Err(ClientError::Refused { .. })));
}
