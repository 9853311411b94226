//! What goes out: topics that nobody made, limits of clients and topics, timestamps that a topic refuses.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, binary};
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

/// `wasmill produce TOPIC` with one line; whether it said that it worked.
fn produce_line(mill: &Mill, topic: &str) -> Result<bool> {
    let mut command = Command::new(binary()?);
    command.args(["produce", topic, "--config"]).arg(mill.folder().join("wasmill.toml"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    child.stdin.take().context("no stdin")?.write_all(b"{\"value\": \"x\"}\n")?;
    Ok(child.wait()?.success())
}

/// Who makes a topic that is there is refused.
fn was_not_made(shared: &Shared, topic: &str) -> Result<()> {
    shared.eye.create_topic(topic, 2, &[]).map(drop).with_context(|| format!("{topic} was made by somebody"))
}

#[test]
fn no_command_makes_a_topic_by_asking_for_it_or_sending_to_it() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "asking", 1)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    let name = |what: &str| format!("{}-{what}", case.name);
    for words in [&["topic", "describe"][..], &["consume"], &["topic", "delete"]] {
        let topic = name(&words.join("-"));
        let mut words = words.to_vec();
        words.push(&topic);
        ensure!(!mill.output(&words)?.status.success(), "{words:?} found a topic");
        was_not_made(shared, &topic)?;
    }
    let topic = name("produce");
    ensure!(!produce_line(&mill, &topic)?, "sent to a topic that does not exist");
    was_not_made(shared, &topic)?;
    ensure!(mill.stop()?.success());
    Ok(())
}

/// The broker would make it again with one partition and without its configuration, and outputs would go there.
#[test]
fn an_output_topic_that_is_deleted_under_load_is_not_made_again() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("deleted-out");
    shared.eye.create_topic(&case.input, 1, &[])?;
    shared.eye.create_topic(&case.output, 6, &[("cleanup.policy", "compact")])?;
    shared.eye.create_topic(&case.dead, 1, &[])?;
    let lines = "output.properties = { \"topic.metadata.refresh.interval.ms\" = \"200\", \
                 \"topic.metadata.propagation.max.ms\" = \"1000\" }";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", lines)?)?;
    let some = |round: usize| -> Vec<_> {
        (0..20).map(|n| Message::new(format!("k{n}"), format!("{round}-{n}")).on(0)).collect()
    };
    shared.eye.produce(&case.input, &some(0))?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 20)]), SOON)?;
    shared.eye.delete_topic(&case.output)?;
    shared.eye.produce(&case.input, &some(1))?;
    mill.wait_status("a partition that waits for its output topic", SOON, |status| {
        let state = &status["pipelines"][0]["partitions"][0]["state"];
        state == "waiting" || state == "stopped"
    })?;
    ensure!(mill.stop()?.success());
    was_not_made(shared, &case.output)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 20)]), SOON)
}

/// The names of a case's topics, each made with this configuration.
fn made_with(shared: &Shared, name: &str, config: &[(&str, &str)]) -> Result<Case> {
    let case = Case::named(name);
    for topic in [&case.input, &case.output, &case.dead] {
        shared.eye.create_topic(topic, 1, config)?;
    }
    Ok(case)
}

fn produce_large(shared: &Shared, case: &Case, sizes: &[usize]) -> Result<()> {
    let messages: Vec<_> = sizes.iter().map(|size| Message::new("k", "x".repeat(*size)).on(0)).collect();
    let properties = json!({ "max.request.size": "20000000" });
    shared.eye.produce_with(&case.input, &messages, &properties, false).map(drop)
}

fn sizes(messages: &[Message]) -> Vec<usize> {
    messages.iter().map(|message| message.value.as_ref().map_or(0, Vec::len)).collect()
}

const TEN_MIB: &[(&str, &str)] = &[("max.message.bytes", "10485760")];

#[test]
fn what_its_topic_takes_goes_out_though_it_is_larger_than_the_clients_default() -> Result<()> {
    let shared = &shared()?;
    for (config, size) in [(&[][..], 1_020_000), (TEN_MIB, 3_000_000)] {
        let case = made_with(shared, "larger", config)?;
        produce_large(shared, &case, &[size, size])?;
        let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2)]), SOON)?;
        ensure!(mill.stop()?.success());
        ensure!(sizes(&shared.eye.read(&case.output, &Offsets::new())?) == [size, size]);
        ensure!(case.dead_letters(&shared.eye)?.is_empty());
    }
    Ok(())
}

#[test]
fn a_dead_letter_keeps_its_value_where_its_topic_takes_it() -> Result<()> {
    let shared = &shared()?;
    let case = made_with(shared, "dead-large", TEN_MIB)?;
    produce_large(shared, &case, &[3_000_000])?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "reject", "")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1)]), SOON)?;
    ensure!(mill.stop()?.success());
    ensure!(sizes(&case.dead_letters(&shared.eye)?) == [3_000_000]);
    Ok(())
}

/// And once the topic takes it, it is published whole.
#[test]
fn a_dead_letter_that_its_topic_does_not_take_stops_its_partition_until_the_limit_is_raised() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("dead-small");
    shared.eye.create_topic(&case.input, 1, &[])?;
    shared.eye.create_topic(&case.output, 1, &[])?;
    shared.eye.create_topic(&case.dead, 1, &[("max.message.bytes", "8000")])?;
    produce_large(shared, &case, &[20_000])?;
    let mut mill = Mill::spawn(&case.options(&shared.broker.bootstrap(), "reject", "")?)?;
    let stopped = |status: &Value| status["pipelines"][0]["partitions"][0]["state"] == "stopped";
    let status = mill.wait_status("a partition that stopped", SOON, stopped)?;
    let text = status.to_string();
    ensure!(text.contains("max.message.bytes of ") && text.contains("dead_letter.oversized"), "{text}");
    ensure!(case.dead_letters(&shared.eye)?.is_empty());
    shared.eye.alter_topic(&case.dead, "max.message.bytes", "100000")?;
    let end = Instant::now() + SOON;
    while shared.eye.committed_offsets(&case.name, &case.input)? != Offsets::from([(0, 1)]) {
        ensure!(Instant::now() < end, "the limit is not seen: {}", mill.status()?);
        if stopped(&mill.status()?) {
            mill.command(&["resume", &case.name])?;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(mill.stop()?.success());
    ensure!(sizes(&case.dead_letters(&shared.eye)?) == [20_000]);
    Ok(())
}

#[test]
fn a_dead_letter_is_stripped_where_the_configuration_says_so_and_is_told_from_a_tombstone() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("stripped");
    shared.eye.create_topic(&case.input, 1, &[])?;
    shared.eye.create_topic(&case.output, 1, &[])?;
    shared.eye.create_topic(&case.dead, 1, &[("max.message.bytes", "8000")])?;
    let tombstone = Message { value: None, ..Message::new("t", "").on(0) };
    shared.eye.produce(&case.input, &[tombstone])?;
    produce_large(shared, &case, &[20_000])?;
    let lines = format!("dead_letter = {{ topic = \"{}\", oversized = \"strip\" }}", case.dead);
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "reject", &lines)?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2)]), SOON)?;
    ensure!(mill.stop()?.success());
    let dead = case.dead_letters(&shared.eye)?;
    ensure!(dead.iter().all(|letter| letter.value.is_none()), "{dead:?}");
    let stripped: Vec<_> = dead.iter().map(|letter| letter.header_text("wasmill.stripped")).collect();
    ensure!(stripped == [None, Some("20000".to_owned())], "{dead:?}");
    Ok(())
}

const NO_BOUND: &str = "9223372036854775807";

/// A hundred messages, sixty of them ahead of the clock, in an input topic that takes that.
fn produce_ahead(shared: &Shared, case: &Case) -> Result<i64> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let ahead = now + 7_200_000;
    let message = |n: usize| {
        let timestamp = Some(if n % 5 < 3 { ahead } else { now });
        Message { timestamp, ..Message::new("k", n.to_string()).on(0) }
    };
    shared.eye.produce(&case.input, &(0..100).map(message).collect::<Vec<_>>())?;
    Ok(ahead)
}

fn are_restamped(shared: &Shared, case: &Case, ahead: i64) -> Result<()> {
    let outputs = shared.eye.read(&case.output, &Offsets::new())?;
    let values: BTreeSet<_> = outputs.iter().map(Message::text).collect();
    ensure!((outputs.len(), values.len()) == (100, 100), "{} outputs, {} different", outputs.len(), values.len());
    for output in &outputs {
        let told = output.header_text("wasmill.timestamp");
        let was_ahead = output.text().parse::<usize>()? % 5 < 3;
        ensure!(told == was_ahead.then(|| ahead.to_string()), "{} has {told:?}", output.text());
        ensure!(output.timestamp < Some(ahead - 3_600_000), "{output:?}");
    }
    Ok(())
}

#[test]
fn a_timestamp_ahead_of_the_clock_fails_nothing_and_is_kept_in_a_header() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("ahead");
    shared.eye.create_topic(&case.input, 1, &[("message.timestamp.after.max.ms", NO_BOUND)])?;
    shared.eye.create_topic(&case.output, 1, &[])?;
    shared.eye.create_topic(&case.dead, 1, &[])?;
    let ahead = produce_ahead(shared, &case)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 100)]), SOON)?;
    ensure!(mill.metric("wasmill_restamped_messages_total", &case.name)? == 60.0);
    ensure!(mill.log().matches("does not take the timestamps").count() == 1, "{}", mill.log());
    ensure!(mill.stop()?.success());
    are_restamped(shared, &case, ahead)?;
    ensure!(case.dead_letters(&shared.eye)?.is_empty());
    Ok(())
}

#[test]
fn who_wants_it_fails_a_message_whose_timestamp_is_refused() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("ahead-fail");
    shared.eye.create_topic(&case.input, 1, &[("message.timestamp.after.max.ms", NO_BOUND)])?;
    shared.eye.create_topic(&case.output, 1, &[])?;
    shared.eye.create_topic(&case.dead, 1, &[])?;
    produce_ahead(shared, &case)?;
    let lines = "output.timestamp_refused = \"fail\"";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", lines)?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 100)]), SOON)?;
    ensure!(mill.stop()?.success());
    ensure!(case.dead_letters(&shared.eye)?.len() == 60);
    Ok(())
}

#[test]
fn outputs_have_the_present_time_where_the_configuration_says_so() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "present", 1)?;
    let before = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let old = Message { timestamp: Some(before - 864_000_000), ..Message::new("k", "x").on(0) };
    shared.eye.produce(&case.input, &[old])?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "output.timestamp = \"now\"")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1)]), SOON)?;
    ensure!(mill.stop()?.success());
    let outputs = shared.eye.read(&case.output, &Offsets::new())?;
    ensure!(outputs.len() == 1 && outputs[0].timestamp >= Some(before), "{outputs:?}");
    Ok(())
}

/// A stop at the missing topic is another matter: whoever made the topic again resumes.
#[test]
fn an_output_topic_that_is_made_again_with_fewer_partitions_fails_nothing() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("fewer");
    shared.eye.create_topic(&case.input, 2, &[])?;
    shared.eye.create_topic(&case.output, 6, &[])?;
    shared.eye.create_topic(&case.dead, 1, &[])?;
    let some = |round: usize| -> Vec<_> {
        let one = |n: usize| Message::new(format!("k{n}"), format!("{round}-{n}")).on((n % 2) as i32);
        (0..2_000).map(one).collect()
    };
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    shared.eye.produce(&case.input, &some(0))?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1_000), (1, 1_000)]), SOON)?;
    shared.eye.delete_topic(&case.output)?;
    shared.eye.produce(&case.input, &some(1))?;
    let end = Instant::now() + SOON;
    while let Err(error) = shared.eye.create_topic(&case.output, 2, &[]) {
        ensure!(Instant::now() < end, "the topic cannot be made again: {error:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
    shared.eye.produce(&case.input, &some(2))?;
    while shared.eye.committed_offsets(&case.name, &case.input)? != Offsets::from([(0, 3_000), (1, 3_000)]) {
        ensure!(Instant::now() < end, "it does not go on: {}", mill.status()?);
        mill.output(&["resume", &case.name])?;
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(mill.stop()?.success());
    ensure!(case.dead_letters(&shared.eye)?.is_empty());
    let values: BTreeSet<_> = case.outputs(&shared.eye)?.into_iter().collect();
    let missing = (0..2_000).find(|n| !values.contains(&format!("2-{n}")));
    ensure!(missing.is_none(), "2-{missing:?} did not come out");
    Ok(())
}

#[test]
fn partitions_that_are_added_are_read_from_their_first_message_and_written_to() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "grown", 1)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "route", "start = \"latest\"")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0)]), SOON)?;
    shared.eye.add_partitions(&case.output, 3)?;
    shared.eye.add_partitions(&case.input, 3)?;
    let one = |partition: i32| {
        Message::new("k", partition.to_string()).on(partition).header("to-partition", partition.to_string())
    };
    shared.eye.produce(&case.input, &[one(0), one(1), one(2)])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1), (1, 1), (2, 1)]), SOON)?;
    ensure!(mill.stop()?.success());
    ensure!(case.dead_letters(&shared.eye)?.is_empty(), "{:?}", case.dead_letters(&shared.eye)?);
    let mut outputs = shared.eye.read(&case.output, &Offsets::new())?;
    outputs.sort_by_key(|output| output.partition);
    ensure!(outputs.iter().all(|output| output.partition == output.text().parse().ok()), "{outputs:?}");
    ensure!(outputs.len() == 3);
    Ok(())
}
