//! The harness itself: if the second opinion is wrong, every other test is.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wasmill_tests::broker::{Broker, Options};
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::shared::{Place, shared, unique};
use wasmill_tests::signal::Signal;
use wasmill_tests::tool;

const SHORT: Duration = Duration::from_secs(20);

#[test]
fn messages_come_back_as_they_were_produced() -> Result<()> {
    let shared = shared()?;
    let topic = unique("there-and-back");
    shared.eye.create_topic(&topic, 2, &[])?;
    let messages = [
        Message::new("key", "value").on(0).header("name", "first").header("name", "second"),
        Message { value: None, ..Message::new("tombstone", "").on(0) },
        Message { key: None, ..Message::new("", "").on(1) },
        Message { timestamp: Some(1_000_000), ..Message::new([0xff, 0], [0x80, 0xfe]).on(1) },
    ];
    let offsets = shared.eye.produce(&topic, &messages)?;
    assert_eq!(offsets, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    let mut read = shared.eye.read(&topic, &Offsets::new())?;
    read.sort_by_key(|message| (message.partition, message.offset));
    for (sent, got) in messages.iter().zip(&read) {
        assert_eq!((&sent.key, &sent.value, &sent.headers), (&got.key, &got.value, &got.headers));
    }
    assert_eq!(read[3].timestamp, Some(1_000_000));
    assert_eq!(shared.eye.read(&topic, &Offsets::from([(0, 2), (1, 1)]))?, [read[3].clone()]);
    assert_eq!(shared.eye.end_offsets(&topic)?, Offsets::from([(0, 2), (1, 2)]));
    Ok(())
}

#[test]
fn kafka_s_own_tool_prints_the_offsets_that_the_eye_reads() -> Result<()> {
    let shared = shared()?;
    let (topic, group) = (unique("tool"), unique("tool-group"));
    shared.eye.create_topic(&topic, 2, &[])?;
    let messages: Vec<_> = (0..10).map(|number| Message::new("k", number.to_string()).on(number % 2)).collect();
    shared.eye.produce(&topic, &messages)?;
    let committed = Offsets::from([(0, 3), (1, 5)]);
    shared.eye.commit(&group, &topic, &committed)?;
    assert_eq!(shared.eye.committed_offsets(&group, &topic)?, committed);
    assert_eq!(shared.eye.lag(&group, &topic)?, Offsets::from([(0, 2), (1, 0)]));
    let commits = shared.eye.commits(&group, &topic)?;
    let mut seen: Vec<_> = commits.iter().map(|commit| (commit.partition, commit.offset)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(0, 3), (1, 5)], "the list of commits");

    let printed = tool::describe(&shared.broker.bootstrap(), &[&group])?;
    assert_eq!(tool::current_offsets(&printed, &group, &topic)?, committed);
    for (partition, offset, end, lag) in [(0, 3, 5, 2), (1, 5, 5, 0)] {
        let row = format!("{group} {topic} {partition} {offset} {end} {lag}");
        let squeezed = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let found = squeezed.into_iter().any(|line| line.replace(" - ", " ").starts_with(&row));
        ensure!(found, "no row `{row}` in what ConsumerGroupCommand printed:\n{printed}");
    }
    Ok(())
}

#[test]
fn waiting_for_a_commit_that_does_not_come_says_what_was_committed() -> Result<()> {
    let shared = shared()?;
    let (topic, group) = (unique("wait"), unique("wait-group"));
    shared.eye.create_topic(&topic, 1, &[])?;
    shared.eye.produce(&topic, &[Message::new("k", "v"), Message::new("k", "v")])?;
    shared.eye.commit(&group, &topic, &Offsets::from([(0, 1)]))?;
    let expected = Offsets::from([(0, 2)]);
    let missed = shared.eye.wait_committed(&group, &topic, &expected, Duration::from_millis(100));
    let text = format!("{:#}", missed.err().context("offset 2 was never committed")?);
    assert!(text.contains(r#"expected committed offsets {"0":2}, Kafka has {"0":1}"#), "{text}");
    shared.eye.commit(&group, &topic, &expected)?;
    shared.eye.wait_committed(&group, &topic, &expected, SHORT)
}

#[test]
fn messages_of_an_aborted_transaction_are_not_read() -> Result<()> {
    let shared = shared()?;
    let topic = unique("aborted");
    shared.eye.create_topic(&topic, 1, &[])?;
    let transaction = serde_json::json!({ "transactional.id": topic });
    shared.eye.produce_with(&topic, &[Message::new("k", "aborted")], &transaction, true)?;
    shared.eye.produce_with(&topic, &[Message::new("k", "committed")], &transaction, false)?;
    let seen: Vec<_> = shared.eye.read(&topic, &Offsets::new())?.iter().map(Message::text).collect();
    assert_eq!(seen, ["committed"]);
    let uncommitted = serde_json::json!({ "topic": topic, "isolation": "read_uncommitted" });
    assert_eq!(shared.eye.read_with(uncommitted)?.len(), 2);
    Ok(())
}

#[test]
fn a_broker_that_is_killed_comes_back_with_its_data() -> Result<()> {
    let _place = Place::take();
    let broker = Broker::start(&Options::default().property("num.partitions", 3))?;
    let eye = broker.eye()?;
    eye.create_topic("kept", 1, &[])?;
    eye.produce("kept", &[Message::new("k", "before")])?;
    assert!(!broker.kill()?.success());
    broker.start_again()?;
    eye.produce("kept", &[Message::new("k", "between")])?;
    broker.stop()?;
    broker.start_again()?;
    broker.signal(Signal::Stop)?;
    broker.signal(Signal::Cont)?;
    let seen: Vec<_> = eye.read_count("kept", 2, SHORT)?.iter().map(Message::text).collect();
    assert_eq!(seen, ["before", "between"]);
    assert!(broker.start_again().is_err(), "it runs already");
    Ok(())
}

#[test]
fn a_stream_numbers_the_messages_of_each_partition_by_their_offset() -> Result<()> {
    let shared = shared()?;
    let topic = unique("stream");
    shared.eye.create_topic(&topic, 3, &[])?;
    shared.eye.start_stream(&topic, 3, 10, 2000)?;
    shared.eye.read_count(&topic, 500, SHORT)?;
    let counts = shared.eye.stop_stream(&topic)?;
    let ends: Vec<_> = shared.eye.end_offsets(&topic)?.into_values().collect();
    assert_eq!(counts, ends);
    for message in shared.eye.read(&topic, &Offsets::new())? {
        let (partition, offset) = (message.partition.context("no partition")?, message.offset);
        let text = message.text();
        assert!(text.trim_start_matches('!').starts_with(&format!("{partition} {offset} ")), "{message:?}");
    }
    Ok(())
}

/// A child of this test that does nothing but hold a broker, until it is killed.
#[test]
fn a_broker_ends_with_the_process_that_started_it() -> Result<()> {
    const CHILD: &str = "WASMILL_TESTS_HOLD_A_BROKER";
    let _place = Place::take();
    if std::env::var_os(CHILD).is_some() {
        let broker = Broker::start(&Options::default())?;
        eprintln!("broker at {}", broker.bootstrap());
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--exact", "harness::a_broker_ends_with_the_process_that_started_it", "--nocapture"]);
    let mut child =
        child.env(CHILD, "1").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn()?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().context("no stderr")?));
    let line = lines.find_map(|line| line.ok().filter(|line| line.starts_with("broker at "))).context("no broker")?;
    let address = line.trim_start_matches("broker at ").to_owned();
    ensure!(std::net::TcpStream::connect(&address).is_ok(), "the broker answers while its owner lives");
    child.kill()?;
    child.wait()?;
    let end = std::time::Instant::now() + SHORT;
    while std::net::TcpStream::connect(&address).is_ok() {
        ensure!(std::time::Instant::now() < end, "the broker outlived its owner");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
