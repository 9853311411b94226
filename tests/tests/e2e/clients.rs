//! What becomes of a pipeline whose Kafka clients fail for good: members join again, a producer is replaced.
//!
//! The broker is librdkafka's mock, which fails the requests that a test names. It does not answer Kafka's own client, so
//! offsets and messages are read by clients of the test.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wasmill_kafka::ClientSettings;
use wasmill_kafka::mock::{Api, MockBroker, fault};
use wasmill_kafka::plain::{From, PlainConsumer, PlainMessage, PlainProducer};
use wasmill_tests::case::Case;
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::Place;

const SOON: Duration = Duration::from_secs(60);

/// A mock cluster with the topics of one test.
struct Mock {
    broker: MockBroker,
    client: ClientSettings,
    case: Case,
    _place: Place,
}

impl Mock {
    fn start(name: &str, partitions: u32) -> Result<Self> {
        let place = Place::take();
        let broker = MockBroker::start(1)?;
        let case = Case::named(name);
        broker.create_topic(&case.input, partitions)?;
        broker.create_topic(&case.output, 1)?;
        broker.create_topic(&case.dead, 1)?;
        let client = ClientSettings { bootstrap: broker.bootstrap().to_owned(), ..ClientSettings::default() };
        Ok(Self { broker, client, case, _place: place })
    }

    fn run(&self, lines: &str) -> Result<Mill> {
        Mill::start(&self.case.options(self.broker.bootstrap(), "echo", lines)?)
    }

    /// Numbered messages, the same count on both partitions.
    fn produce(&self, numbers: std::ops::Range<i32>) -> Result<()> {
        let messages: Vec<_> = numbers
            .map(|number| PlainMessage {
                topic: self.case.input.clone(),
                partition: number % 2,
                value: Some(format!("v{number}").into_bytes()),
                ..PlainMessage::default()
            })
            .collect();
        for sent in PlainProducer::open(&self.client, SOON)?.send(&messages) {
            sent?;
        }
        Ok(())
    }

    /// Waits until both partitions have this offset committed.
    fn wait_committed(&self, each: i64) -> Result<()> {
        let end = Instant::now() + SOON;
        loop {
            let committed = self.broker.committed(&self.case.name, &self.case.input, 2, SOON)?;
            if committed == [Some(each), Some(each)] {
                return Ok(());
            }
            ensure!(Instant::now() < end, "expected {each} committed on both partitions, not {committed:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn outputs(&self) -> Result<Vec<String>> {
        let mut reader = PlainConsumer::open(&self.client, &self.case.output, &[], From::Beginning, SOON)?;
        let messages = reader.read_to_end(usize::MAX, SOON)?;
        let text = |message: PlainMessage| String::from_utf8_lossy(&message.value.unwrap_or_default()).into_owned();
        Ok(messages.into_iter().map(text).collect())
    }

    /// Every number came out, the first time in the order of its partition.
    fn nothing_is_lost(&self, count: i32) -> Result<()> {
        let outputs = self.outputs()?;
        let first = |number: i32| outputs.iter().position(|value| *value == format!("v{number}"));
        for number in 0..count {
            let Some(at) = first(number) else { anyhow::bail!("v{number} is not in {outputs:?}") };
            ensure!(number < 2 || first(number - 2) < Some(at), "v{number} came out too early: {outputs:?}");
        }
        Ok(())
    }
}

/// What a counter says of each partition that it has.
fn counters(mill: &Mill, name: &str) -> Result<Vec<f64>> {
    let text = mill.metrics()?;
    let rows = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    rows.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)).collect()
}

#[test]
fn a_member_whose_client_fails_for_good_joins_again_and_goes_on_committing() -> Result<()> {
    let mock = Mock::start("member", 2)?;
    let mut mill = mock.run("")?;
    mock.produce(0..20)?;
    mock.wait_committed(10)?;
    // The group throws the member out, and when it is back nobody tells it where to begin: its client is of no use.
    mock.broker.fail_requests(Api::OffsetFetch, &[fault::GROUP_AUTHORIZATION]);
    mock.broker.fail_requests(Api::Heartbeat, &[fault::UNKNOWN_MEMBER]);
    mill.wait_log("member failed; it joins again with a new client", SOON)?;
    mock.produce(20..40)?;
    mock.wait_committed(20)?;
    mill.wait_ready(SOON)?;
    assert!(mill.stop()?.success());
    mock.nothing_is_lost(40)
}

#[test]
fn a_producer_that_fails_for_good_is_replaced_and_all_partitions_go_back_to_their_watermarks() -> Result<()> {
    let mock = Mock::start("producer", 2)?;
    let mut mill = mock.run("")?;
    mock.produce(0..20)?;
    mock.wait_committed(10)?;
    mill.command(&["pause", &mock.case.name])?;
    mock.produce(20..40)?;
    // Of the first request under way it is fatal: broker and producer count differently.
    mock.broker.fail_requests(Api::Produce, &[fault::OUT_OF_ORDER_SEQUENCE]);
    mill.command(&["resume", &mock.case.name])?;
    mock.wait_committed(20)?;
    mill.wait_log("producer failed; a new one takes over", SOON)?;
    assert_eq!(counters(&mill, "wasmill_rewinds_total")?, [1.0, 1.0]);
    mock.produce(40..60)?;
    mock.wait_committed(30)?;
    assert!(mill.stop()?.success());
    mock.nothing_is_lost(60)
}

#[test]
fn a_static_member_that_is_fenced_stays_out_and_the_process_ends() -> Result<()> {
    let mock = Mock::start("fenced", 2)?;
    let mut mill = mock.run("instance_id = \"one\"")?;
    mock.produce(0..20)?;
    mock.wait_committed(10)?;
    mock.broker.fail_requests(Api::Heartbeat, &[fault::FENCED_INSTANCE_ID]);
    let ended = mill.wait(SOON)?;
    assert_eq!(ended.code(), Some(1), "{}", mill.log());
    assert!(mill.log().contains("another process uses this instance_id"), "{}", mill.log());
    mock.nothing_is_lost(20)
}
