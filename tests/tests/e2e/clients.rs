//! What becomes of a pipeline whose Kafka clients fail for good, and of outputs that the broker refuses: members join
//! again, a producer is replaced, partitions stop and are moved on by an operator.
//!
//! The broker is librdkafka's mock, which fails the requests that a test names. It does not answer Kafka's own client, so
//! offsets and messages are read by clients of the test.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_kafka::mock::{Api, MockBroker, fault};
use wasmill_kafka::plain::{PlainConsumer, PlainMessage, PlainProducer};
use wasmill_kafka::{ClientSettings, Position};
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
        self.run_handler("echo", lines)
    }

    fn run_handler(&self, handler: &str, lines: &str) -> Result<Mill> {
        Mill::start(&self.case.options(self.broker.bootstrap(), handler, lines)?)
    }

    /// Numbered messages, the same count on both partitions.
    fn produce(&self, numbers: std::ops::Range<i32>) -> Result<()> {
        let messages: Vec<_> = numbers.map(|number| (number % 2, format!("v{number}"))).collect();
        self.produce_values(&messages)
    }

    fn produce_values(&self, values: &[(i32, String)]) -> Result<()> {
        let message = |(partition, value): &(i32, String)| PlainMessage {
            topic: self.case.input.clone(),
            partition: *partition,
            value: Some(value.clone().into_bytes()),
            ..PlainMessage::default()
        };
        let messages: Vec<_> = values.iter().map(message).collect();
        for sent in PlainProducer::open(&self.client, SOON)?.send(&messages) {
            sent?;
        }
        Ok(())
    }

    /// Waits until both partitions have this offset committed.
    fn wait_committed(&self, each: i64) -> Result<()> {
        self.wait_offsets([each, each])
    }

    fn wait_offsets(&self, expected: [i64; 2]) -> Result<()> {
        let end = Instant::now() + SOON;
        loop {
            let committed = self.broker.committed(&self.case.name, &self.case.input, 2, SOON)?;
            if committed == expected.map(Some) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "expected {expected:?} committed, not {committed:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn outputs(&self) -> Result<Vec<String>> {
        self.values(&self.case.output)
    }

    fn values(&self, topic: &str) -> Result<Vec<String>> {
        let mut reader = PlainConsumer::open(&self.client, topic, &[], Position::Earliest, SOON)?;
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

/// What a counter says of a partition.
fn counter(mill: &Mill, name: &str, partition: i32) -> Result<f64> {
    let (text, label) = (mill.metrics()?, format!("partition=\"{partition}\""));
    let row = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(&label));
    Ok(row.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("no {name} of {partition}"))?.parse()?)
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
    for partition in 0..2 {
        assert_eq!(counter(&mill, "wasmill_rewinds_total", partition)?, 1.0, "partition {partition}");
    }
    mock.produce(40..60)?;
    mock.wait_committed(30)?;
    assert!(mill.stop()?.success());
    mock.nothing_is_lost(60)
}

/// Each new producer breaks as well, four times: the rests between them grow, and nothing is handed over meanwhile.
#[test]
fn a_producer_that_fails_again_and_again_is_replaced_after_longer_and_longer_rests() -> Result<()> {
    let mock = Mock::start("producers", 2)?;
    let mut mill = mock.run("")?;
    mock.produce(0..20)?;
    mock.wait_committed(10)?;
    mill.command(&["pause", &mock.case.name])?;
    mock.produce(20..40)?;
    const FAILURES: u64 = 4;
    mock.broker.fail_requests(Api::Produce, &[fault::OUT_OF_ORDER_SEQUENCE; FAILURES as usize]);
    mill.command(&["resume", &mock.case.name])?;
    let resting = |failures: u64| move |status: &Value| status["pipelines"][0]["producer"]["failures"] == failures;
    mill.wait_status("the rest after the last failure", SOON, resting(FAILURES))?;
    let (code, page) = mill.get("/readyz")?;
    ensure!(code == 503 && page.contains("producer failed (4 in a row)"), "/readyz says {code}: {page}");
    // Half a second, doubled each time, half of it left to chance: so long is the least, and the log has what it was.
    for (failure, delay) in (0..).zip(rests(&mill)) {
        ensure!((250 << failure..=500 << failure).contains(&delay), "rest {failure} was to last {delay} ms");
    }
    ensure!(rests(&mill).len() as u64 == FAILURES, "{:?}", rests(&mill));
    let calls = counter(&mill, "wasmill_handler_calls_total", 0)?;
    mock.produce(40..60)?;
    loop {
        let now = counter(&mill, "wasmill_handler_calls_total", 0)?;
        if !resting(FAILURES)(&mill.status()?) {
            break;
        }
        ensure!(now == calls, "messages were handed over while there was no producer");
    }
    mock.wait_committed(30)?;
    mill.wait_ready(SOON)?;
    ensure!(counter(&mill, "wasmill_rewinds_total", 0)? == FAILURES as f64);
    assert!(mill.stop()?.success());
    mock.nothing_is_lost(60)
}

/// How long each rest was said to be, in milliseconds.
fn rests(mill: &Mill) -> Vec<u64> {
    let log = mill.log();
    let lines = log.lines().filter(|line| line.contains("producer failed; a new one takes over"));
    lines.filter_map(|line| line.split_once("delay_ms=")?.1.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn a_static_member_that_is_fenced_tries_once_more_and_then_the_process_ends() -> Result<()> {
    let mock = Mock::start("fenced", 2)?;
    let mut mill = mock.run("instance_id = \"one\"")?;
    mock.produce(0..20)?;
    mock.wait_committed(10)?;
    mock.broker.fail_requests(Api::Heartbeat, &[fault::FENCED_INSTANCE_ID]);
    mill.wait_log("it rests for a session and then tries once", SOON)?;
    mock.produce(20..40)?;
    mock.wait_committed(20)?;
    mock.broker.fail_requests(Api::Heartbeat, &[fault::FENCED_INSTANCE_ID]);
    let ended = mill.wait(SOON)?;
    assert_eq!(ended.code(), Some(5), "{}", mill.log());
    assert!(mill.log().contains("stays out until the next start"), "{}", mill.log());
    mock.nothing_is_lost(40)
}

/// The partition of a status, if it is stopped and the reason has these words.
fn stopped<'a>(status: &'a Value, partition: i32, words: &str) -> Option<&'a Value> {
    standing(status, "stopped", partition, words)
}

fn standing<'a>(status: &'a Value, state: &str, partition: i32, words: &str) -> Option<&'a Value> {
    let rows = status["pipelines"][0]["partitions"].as_array()?;
    let row = rows.iter().find(|row| row["partition"] == partition)?;
    (row["state"] == state && row["reason"].as_str()?.contains(words)).then_some(row)
}

#[test]
fn a_message_whose_topic_takes_nothing_is_waited_for_and_can_be_skipped_or_tried_again() -> Result<()> {
    let mock = Mock::start("topic-wide", 2)?;
    let mut mill = mock.run("")?;
    mock.produce(0..20)?;
    mock.wait_committed(10)?;
    mill.command(&["pause", &mock.case.name])?;
    mock.produce(20..40)?;
    // However the outputs are divided into requests, the first of each partition is refused.
    mock.broker.fail_requests(Api::Produce, &[fault::TOPIC_AUTHORIZATION; 400]);
    mill.command(&["resume", &mock.case.name])?;
    // In the middle of a pause, so that the next try does not come in between.
    mill.wait_status("both partitions waiting", SOON, |status| {
        let stands = |partition| {
            let row = standing(status, "waiting", partition, "the output topic takes nothing");
            row.is_some_and(|row| row["offset"] == 10 && row["next_attempt_in_ms"].as_u64() > Some(2000))
        };
        stands(0) && stands(1)
    })?;
    mock.broker.clear_failures(Api::Produce);
    let wrong = mill.command(&["skip", &mock.case.name, "--partition", "0", "--offset", "11"]);
    assert!(format!("{wrong:?}").contains("does not stand at offset 11"), "{wrong:?}");
    mill.command(&["skip", &mock.case.name, "--partition", "0", "--offset", "10"])?;
    mill.wait_status("the message is passed over", SOON, |status| {
        let rows = status["pipelines"][0]["partitions"].as_array().cloned().unwrap_or_default();
        rows.iter().any(|row| row["partition"] == 0 && row["watermark"].as_i64() >= Some(11))
    })?;
    // Until librdkafka asks for the topic again it refuses by itself whatever is sent there, and partitions stop anew.
    let end = Instant::now() + SOON;
    while mock.broker.committed(&mock.case.name, &mock.case.input, 2, SOON)? != [Some(20), Some(20)] {
        ensure!(Instant::now() < end, "not everything is committed: {:?}", mill.status()?);
        mill.command(&["resume", &mock.case.name])?;
    }
    mill.wait_ready(SOON)?;
    assert!(mill.stop()?.success());
    let outputs = mock.outputs()?;
    for number in 20..40 {
        let times = outputs.iter().filter(|value| **value == format!("v{number}")).count();
        assert_eq!(times, usize::from(number != 20), "v{number} in {outputs:?}");
    }
    Ok(())
}

#[test]
fn a_dead_letter_that_is_refused_stops_its_partition_until_it_is_resumed() -> Result<()> {
    let mock = Mock::start("letter", 2)?;
    let mut mill = mock.run_handler("reject", "config = { when = \"value-prefix\", prefix = \"!\" }")?;
    let text = |partition: i32, value: &str| (partition, value.to_owned());
    // The value is not dropped: nothing is published. A second attempt would be taken, so the partition must make none.
    mock.produce_values(&[text(0, "a"), text(1, "a")])?;
    mock.wait_committed(1)?;
    mill.command(&["pause", &mock.case.name])?;
    mock.produce_values(&[text(0, "!b")])?;
    mock.broker.fail_requests(Api::Produce, &[fault::MSG_SIZE_TOO_LARGE]);
    mill.command(&["resume", &mock.case.name, "--partition", "0"])?;
    mill.wait_status("a stopped partition", SOON, |status| {
        stopped(status, 0, "dead letter refused").is_some_and(|row| row["offset"] == 1)
    })?;
    let (code, page) = mill.get("/readyz")?;
    assert!(code == 200 && page.contains("dead letter refused"), "/readyz says {code}: {page}");
    let (code, page) = mill.get("/readyz?strict=1")?;
    assert!(code == 503 && page.contains("partition-stopped"), "/readyz?strict=1 says {code}: {page}");
    let calls = counter(&mill, "wasmill_handler_calls_total", 0)?;
    // The lanes look for work several times while the other partition is served.
    mill.command(&["resume", &mock.case.name, "--partition", "1"])?;
    for number in 0..5 {
        mock.produce_values(&[text(1, &format!("d{number}"))])?;
        mock.wait_offsets([1, 2 + number])?;
    }
    assert_eq!(counter(&mill, "wasmill_handler_calls_total", 0)?, calls, "the stopped partition was tried again");
    assert!(mock.values(&mock.case.dead)?.is_empty());
    mock.produce_values(&[text(0, "c")])?;
    mill.command(&["resume", &mock.case.name, "--partition", "0"])?;
    mock.wait_offsets([3, 6])?;
    assert!(mill.stop()?.success());
    assert_eq!(mock.values(&mock.case.dead)?, ["!b"]);
    assert!(mock.outputs()?.contains(&"c".to_owned()));
    Ok(())
}
