//! The shortest way through: a topic, a handler, a topic, and committed offsets as Kafka has them.

use std::time::Duration;

use anyhow::{Result, ensure};
use wasmill_tests::broker::{Broker, Options as BrokerOptions};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options, guest};
use wasmill_tests::shared::{Place, shared, unique};

const SOON: Duration = Duration::from_secs(30);

/// A pipeline without frills.
fn pipeline(name: &str, input: &str, output: &str) -> Result<String> {
    let handler = guest("echo")?;
    Ok(format!(
        "[pipelines.{name}]\ntopics = [\"{input}\"]\ngroup = \"{name}\"\nhandler = \"{handler}\"\nstart = \"earliest\"\n\
         session_timeout = \"6s\"\noutput = \"{output}\"\non_exhausted = \"stop\"\n"
    ))
}

fn numbered(count: i32, partitions: i32) -> Vec<Message> {
    (0..count).map(|number| Message::new(format!("k{number}"), format!("v{number}")).on(number % partitions)).collect()
}

#[test]
fn what_goes_in_comes_out_and_is_committed() -> Result<()> {
    let shared = shared()?;
    let (name, input, output) = (unique("spine"), unique("spine-in"), unique("spine-out"));
    shared.eye.create_topic(&input, 2, &[])?;
    shared.eye.create_topic(&output, 2, &[])?;
    shared.eye.produce(&input, &numbered(100, 2))?;
    let mut mill = Mill::start(&Options::new(&shared.broker.bootstrap(), pipeline(&name, &input, &output)?))?;
    let mut values: Vec<_> = shared.eye.read_count(&output, 100, SOON)?.iter().map(Message::text).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 100);
    shared.eye.wait_committed(&name, &input, &Offsets::from([(0, 50), (1, 50)]), SOON)?;
    ensure!(mill.status()?.is_object(), "a status is an object");
    ensure!(mill.metrics()?.contains("wasmill"), "metrics name their program");
    ensure!(mill.stop()?.success(), "SIGTERM is an order, not a failure");
    assert_eq!(shared.eye.end_offsets(&output)?.values().sum::<i64>(), 100, "nothing came out twice");
    Ok(())
}

#[test]
fn a_thousand_messages_more_add_no_line_to_the_log() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "quiet", 1)?;
    // Every second message becomes a dead letter: those that are given up are counted, not logged.
    let lines = "config = { when = \"value-prefix\", prefix = \"!\" }";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "reject", lines)?)?;
    let round = |count: i64, end: i64| -> Result<usize> {
        let values = (0..count).map(|number| if number % 2 == 0 { "!bad" } else { "good" });
        shared.eye.produce(&case.input, &values.map(|value| Message::new("k", value).on(0)).collect::<Vec<_>>())?;
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, end)]), SOON)?;
        Ok(mill.log().lines().count())
    };
    let (few, many) = (round(2, 2)?, round(1000, 1002)?);
    assert_eq!(many, few, "{}", mill.log());
    ensure!(mill.stop()?.success(), "it ends in good order");
    assert_eq!(case.dead_letters(&shared.eye)?.len(), 501);
    Ok(())
}

#[test]
fn a_restart_goes_on_where_the_commits_stand() -> Result<()> {
    let shared = shared()?;
    let (name, input, output) = (unique("again"), unique("again-in"), unique("again-out"));
    shared.eye.create_topic(&input, 1, &[])?;
    shared.eye.create_topic(&output, 1, &[])?;
    let options = Options::new(&shared.broker.bootstrap(), pipeline(&name, &input, &output)?);
    for round in 1..=2 {
        shared.eye.produce(&input, &numbered(10, 1))?;
        let mut mill = Mill::start(&options)?;
        shared.eye.wait_committed(&name, &input, &Offsets::from([(0, 10 * round)]), SOON)?;
        mill.stop()?;
    }
    assert_eq!(shared.eye.read(&output, &Offsets::new())?.len(), 20);
    Ok(())
}

#[test]
fn a_broker_outage_is_waited_out() -> Result<()> {
    let _place = Place::take();
    let broker = Broker::start(&BrokerOptions::default())?;
    let eye = broker.eye()?;
    eye.create_topic("in", 1, &[])?;
    eye.create_topic("out", 1, &[])?;
    let mut mill = Mill::start(&Options::new(&broker.bootstrap(), pipeline("outage", "in", "out")?))?;
    eye.produce("in", &numbered(10, 1))?;
    eye.wait_committed("outage", "in", &Offsets::from([(0, 10)]), SOON)?;
    broker.kill()?;
    broker.start_again()?;
    eye.produce("in", &numbered(10, 1))?;
    eye.wait_committed("outage", "in", &Offsets::from([(0, 20)]), 2 * SOON)?;
    assert!(mill.is_running());
    assert!(mill.stop()?.success());
    Ok(())
}
