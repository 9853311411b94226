//! What becomes of messages that cannot be handled: dead letters, stops, retries, and handlers that misbehave.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

/// A handler that misbehaves at messages whose value begins with `!`.
fn options(case: &Case, shared: &Shared, handler: &str, lines: &str) -> Result<Options> {
    let config = "config.when = \"value-prefix\"\nconfig.prefix = \"!\"\nconfig.until_attempt = \"3\"";
    let lines = format!("{config}\n{lines}");
    case.options(&shared.broker.bootstrap(), handler, &lines)
}

fn header(message: &Message, name: &str) -> Option<String> {
    let found = message.headers.iter().find(|(known, _)| known == name);
    found.and_then(|(_, value)| value.clone()).map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn on(partition: i32, value: &str) -> Message {
    Message::new("k", value).on(partition)
}

/// Waits until the partition stands at this message.
fn wait_stopped(mill: &Mill, partition: i32, offset: i64) -> Result<()> {
    wait_stands(mill, "stopped", partition, offset)
}

fn wait_stands(mill: &Mill, state: &str, partition: i32, offset: i64) -> Result<()> {
    let stands = |one: &Value| one["partition"] == partition && one["state"] == state && one["offset"] == offset;
    mill.wait_status(&format!("partition {partition} {state} at {offset}"), SOON, |status| {
        status["pipelines"][0]["partitions"].as_array().is_some_and(|all| all.iter().any(stands))
    })?;
    Ok(())
}

/// Produces all of them in one batch of the broker's, which a lane then finds together.
fn produce_together(shared: &Shared, case: &Case, messages: &[Message]) -> Result<()> {
    let at_the_flush = json!({ "linger.ms": "60000", "batch.size": "1000000" });
    shared.eye.produce_with(&case.input, messages, &at_the_flush, false).map(drop)
}

#[test]
fn a_rejected_message_becomes_a_dead_letter_that_tells_where_it_came_from() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "reject", 1)?;
    shared.eye.produce(&case.input, &[on(0, "a"), on(0, "!b"), on(0, "c")])?;
    let mut mill = Mill::start(&options(&case, shared, "reject", "")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3)]), SOON)?;
    mill.stop()?;
    assert_eq!(case.outputs(&shared.eye)?, ["a", "c"]);
    let dead = case.dead_letters(&shared.eye)?;
    let [letter] = &dead[..] else { anyhow::bail!("one dead letter, not {dead:?}") };
    assert_eq!(letter.text(), "!b");
    assert_eq!(letter.key.as_deref(), Some(&b"k"[..]));
    let told = |name: &str| header(letter, name).with_context(|| format!("no header {name} in {:?}", letter.headers));
    assert_eq!(told("wasmill.topic")?, case.input);
    assert_eq!(told("wasmill.offset")?, "1");
    assert_eq!(told("wasmill.error")?, "rejected");
    assert_eq!(told("wasmill.attempts")?, "1");
    Ok(())
}

/// One of twenty messages is bad: it becomes a dead letter of this class, after both attempts, and the others come out
/// once and in order. Returns the log of the process and the reason.
fn given_up_alone(shared: &Shared, handler: &str, class: &str, lines: &str) -> Result<(String, String)> {
    let case = Case::new(&shared.eye, handler, 1)?;
    let messages: Vec<_> = (0..20).map(|n| on(0, &if n == 7 { "!bad".to_owned() } else { n.to_string() })).collect();
    shared.eye.produce(&case.input, &messages)?;
    let limits = "retry.attempts = 2\nretry.backoff = \"10ms\"\nlimits.time = \"100ms\"\nlimits.time_cap = \"2s\"";
    let mut mill = Mill::start(&options(&case, shared, handler, &format!("{limits}\n{lines}"))?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 20)]), SOON).context(handler.to_owned())?;
    let dropped = mill.metric("wasmill_handler_log_lines_dropped_total", &case.name)?;
    ensure!((dropped > 0.0) == (handler == "chatter"), "{handler}: {dropped} log lines were dropped");
    ensure!(mill.stop()?.success(), "{handler}: it ends in good order");
    let expected: Vec<_> = (0..20).filter(|n| *n != 7).map(|n| n.to_string()).collect();
    ensure!(case.outputs(&shared.eye)? == expected, "{handler}: {:?}", case.outputs(&shared.eye)?);
    let dead = case.dead_letters(&shared.eye)?;
    let [letter] = &dead[..] else { anyhow::bail!("{handler}: one dead letter, not {dead:?}") };
    let told = |name: &str| header(letter, name).with_context(|| format!("no header {name} in {:?}", letter.headers));
    ensure!((letter.text().as_str(), told("wasmill.offset")?.as_str()) == ("!bad", "7"), "{handler}: {letter:?}");
    ensure!(told("wasmill.error")? == class, "{handler}: {:?}", letter.headers);
    ensure!(told("wasmill.attempts")? == "2", "{handler}: {:?}", letter.headers);
    Ok((mill.log(), told("wasmill.reason")?))
}

#[test]
fn a_message_that_traps_is_given_up_alone_and_its_neighbours_come_out_once() -> Result<()> {
    let shared = &shared()?;
    for (handler, class) in [("trap", "trap"), ("spin", "deadline"), ("hoard", "memory"), ("panic", "trap")] {
        let (_, reason) = given_up_alone(shared, handler, class, "")?;
        let panicked = reason.lines().next().is_some_and(|line| line.ends_with(": cannot bear offset 7"));
        ensure!(panicked == (handler == "panic"), "a panic's text goes with the dead letter: {reason}");
    }
    Ok(())
}

#[test]
fn a_message_at_which_a_handler_sleeps_floods_or_lies_is_given_up_alone_and_its_neighbours_come_out_once() -> Result<()>
{
    let shared = &shared()?;
    given_up_alone(shared, "sleep", "deadline", "grant = [\"clock\"]")?;
    given_up_alone(shared, "flood", "output-limit", "limits.output_messages = 1000")?;
    for lie in ["message-max", "topic-unknown", "reached-max"] {
        given_up_alone(shared, "lie", "protocol", &format!("config.lie = \"{lie}\""))?;
    }
    Ok(())
}

#[test]
fn log_lines_without_end_are_dropped_and_counted_and_cost_their_message_alone() -> Result<()> {
    let shared = &shared()?;
    let (log, _) = given_up_alone(shared, "chatter", "deadline", "limits.log_lines = 50")?;
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    // Three calls came to the bad message: with its neighbours, and two alone. Each had an instance of its own.
    let (written, reports) = (lines("\\u{1b}[31mred"), lines("log lines dropped: more than 50 in a second"));
    ensure!((50..=50 * 3 * 3).contains(&written), "{written} lines were written");
    ensure!((1..=3 * 3).contains(&reports), "what was dropped was told {reports} times");
    ensure!(lines("\x1b[31mred") == 0, "characters that no terminal should see");
    Ok(())
}

#[test]
fn a_retry_holds_its_partition_in_order_and_no_other() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "retry", 2)?;
    shared.eye.produce(&case.input, &[on(0, "a"), on(0, "!b"), on(0, "c"), on(1, "x"), on(1, "y")])?;
    let lines = "lanes = 1\nretry.attempts = 3\nretry.backoff = \"50ms\"";
    let mut mill = Mill::start(&options(&case, shared, "retry", lines)?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3), (1, 2)]), SOON)?;
    mill.stop()?;
    let out = case.outputs(&shared.eye)?;
    let only = |of: &[&str]| out.iter().filter(|one| of.contains(&one.as_str())).cloned().collect::<Vec<_>>();
    assert_eq!(only(&["a", "!b", "c"]), ["a", "!b", "c"]);
    assert_eq!(only(&["x", "y"]), ["x", "y"]);
    assert_eq!(out.len(), 5, "nothing came out twice: {out:?}");
    assert!(case.dead_letters(&shared.eye)?.is_empty());
    Ok(())
}

#[test]
fn a_stopped_partition_commits_nothing_of_the_message_it_stands_at() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "stop", 2)?;
    // The very first message of a call is the one: nothing before it is settled.
    shared.eye.produce(&case.input, &[on(0, "!a"), on(0, "b"), on(1, "x")])?;
    let mut mill = Mill::spawn(&options(&case, shared, "reject", "on_exhausted = \"stop\"")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0), (1, 1)]), SOON)?;
    wait_stopped(&mill, 0, 0)?;
    assert!(mill.stop()?.success());
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0), (1, 1)]), SOON)?;
    assert_eq!(case.outputs(&shared.eye)?, ["x"]);
    Ok(())
}

#[test]
fn an_output_that_its_topic_refuses_is_given_up_and_its_neighbours_come_out_once() -> Result<()> {
    let shared = &shared()?;
    let case = Case::with_output(&shared.eye, "large", 1, &[("max.message.bytes", "2000")])?;
    let large = "x".repeat(5000);
    shared.eye.produce(&case.input, &[on(0, &large), on(0, "b"), on(0, "c")])?;
    let mut mill = Mill::start(&options(&case, shared, "echo", "")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3)]), SOON)?;
    mill.stop()?;
    assert_eq!(case.outputs(&shared.eye)?, ["b", "c"]);
    let dead = case.dead_letters(&shared.eye)?;
    assert_eq!(dead.iter().map(Message::text).collect::<Vec<_>>(), [large]);
    assert_eq!(header(&dead[0], "wasmill.error").as_deref(), Some("refused"));
    Ok(())
}

#[test]
fn a_stop_at_a_refused_output_commits_nothing_behind_it() -> Result<()> {
    let shared = &shared()?;
    let case = Case::with_output(&shared.eye, "refuse", 1, &[("max.message.bytes", "2000")])?;
    shared.eye.produce(&case.input, &[on(0, &"x".repeat(5000)), on(0, "b"), on(0, "c")])?;
    let mut mill = Mill::spawn(&options(&case, shared, "echo", "on_exhausted = \"stop\"")?)?;
    wait_stopped(&mill, 0, 0)?;
    // The end of the process commits whatever it takes for complete.
    assert!(mill.stop()?.success());
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0)]), SOON)?;
    Ok(())
}

#[test]
fn attempts_are_counted_on_by_the_next_process_after_a_kill() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "attempts", 1)?;
    shared.eye.produce(&case.input, &[on(0, "a"), on(0, "!b"), on(0, "c")])?;
    let options = |backoff: &str| {
        let lines = format!(
            "config = {{ when = \"value-prefix\" }}\nretry.attempts = 5\nretry.backoff = \"{backoff}\"\n\
             retry.max_delay = \"1h\"\ninstance_id = \"only\""
        );
        case.options(&shared.broker.bootstrap(), "retry", &lines)
    };
    // Each of the first two processes has time for one attempt, and is killed once that is noted beside the offset.
    for attempt in [1, 2] {
        let mut mill = Mill::start(&options("1h")?)?;
        let noted = format!(";r=1,{attempt},");
        let end = Instant::now() + SOON;
        loop {
            let committed = shared.eye.committed(&case.name, &case.input)?;
            if committed.get(&0).is_some_and(|now| now.offset == 1 && now.metadata.contains(&noted)) {
                break;
            }
            ensure!(Instant::now() < end, "attempt {attempt} was never noted: {committed:?}\n{}", mill.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = mill.status()?;
        let waits = &status["pipelines"][0]["partitions"][0];
        ensure!(waits["state"] == "waiting" && waits["attempt"] == attempt + 1, "{waits}");
        mill.kill()?;
    }
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut mill = Mill::start(&options("10ms")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3)]), SOON)?;
    let retries = mill.metric("wasmill_retries_total", &case.name)?;
    ensure!(mill.stop()?.success());
    assert_eq!(case.outputs(&shared.eye)?, ["a", "c"]);
    let dead = case.dead_letters(&shared.eye)?;
    let [letter] = &dead[..] else { anyhow::bail!("one dead letter, not {dead:?}") };
    assert_eq!(header(letter, "wasmill.attempts").as_deref(), Some("5"));
    assert_eq!(header(letter, "wasmill.error").as_deref(), Some("retries-exhausted"));
    // Attempts 3 and 4 asked for another; from 1 on it would have been four.
    ensure!(retries == 2.0, "the third process went on with attempt {}", 5.0 - retries);
    let first: u128 = header(letter, "wasmill.first-failure").context("no first failure")?.parse()?;
    ensure!(first < started, "it failed first in the first process, before {started}, not at {first}");
    Ok(())
}

#[test]
fn a_stop_at_a_refused_output_sends_all_of_earlier_messages_in_whatever_order_they_were_emitted() -> Result<()> {
    let shared = &shared()?;
    let case = Case::with_output(&shared.eye, "backwards", 1, &[("max.message.bytes", "2000")])?;
    let large = "x".repeat(5000);
    produce_together(shared, &case, &["a", "b", &large, "d", "e"].map(|value| on(0, value)))?;
    let options = case.options(&shared.broker.bootstrap(), "backwards", "on_exhausted = \"stop\"")?;
    let mut mill = Mill::spawn(&options)?;
    wait_stopped(&mill, 0, 2)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2)]), SOON)?;
    // The two behind it were emitted before anybody knew, and come again.
    ensure!(case.outputs(&shared.eye)? == ["e", "d", "b", "a"], "{:?}", case.outputs(&shared.eye)?);
    mill.command(&["skip", &case.name, "--partition", "0", "--offset", "2"])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 5)]), SOON)?;
    ensure!(mill.stop()?.success());
    ensure!(case.outputs(&shared.eye)? == ["e", "d", "b", "a", "e", "d"], "{:?}", case.outputs(&shared.eye)?);
    Ok(())
}

/// Keys of an output whose client believes sooner than it would that a topic is gone.
const GONE_SOON: &str = "output.properties = { \"topic.metadata.refresh.interval.ms\" = \"200\", \
    \"topic.metadata.propagation.max.ms\" = \"200\" }";

/// Deletes an output topic and waits until the producer knows, which then refuses by itself, before anything is sent.
fn delete_output(shared: &Shared, mill: &Mill, topic: &str) -> Result<()> {
    shared.eye.delete_topic(topic)?;
    mill.wait_log(&format!("{topic} partition count changed from 1 to 0"), SOON)
}

#[test]
fn behind_a_message_whose_output_topic_is_gone_nothing_is_given_up() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "gone", 1)?;
    let gone = format!("{}-gone", case.name);
    shared.eye.create_topic(&gone, 1, &[])?;
    let lines = format!("output.topics = [\"{gone}\"]\n{GONE_SOON}");
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "plain", &lines)?)?;
    delete_output(shared, &mill, &gone)?;
    produce_together(shared, &case, &[on(0, "a"), on(0, &format!("@{gone}")), on(0, "!c")])?;
    wait_stands(&mill, "waiting", 0, 1)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1)]), SOON)?;
    ensure!(mill.stop()?.success());
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1)]), SOON)?;
    ensure!(case.outputs(&shared.eye)? == ["A"]);
    let dead = case.dead_letters(&shared.eye)?;
    ensure!(dead.is_empty(), "given up, and handed over again all the same: {dead:?}");
    Ok(())
}

#[test]
fn where_the_output_topic_is_gone_a_partition_waits_at_the_first_message_in_whatever_order_they_emit() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "all-gone", 1)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "backwards", GONE_SOON)?)?;
    delete_output(shared, &mill, &case.output)?;
    produce_together(shared, &case, &["a", "b", "c"].map(|value| on(0, value)))?;
    wait_stands(&mill, "waiting", 0, 0)?;
    ensure!(mill.stop()?.success());
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0)]), SOON)
}

#[test]
fn a_dead_letter_that_is_refused_stops_behind_all_earlier_ones_and_before_all_later_ones() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("earlier");
    shared.eye.create_topic(&case.input, 1, &[])?;
    shared.eye.create_topic(&case.output, 1, &[("max.message.bytes", "2000")])?;
    shared.eye.create_topic(&case.dead, 1, &[("max.message.bytes", "8000")])?;
    // The first is given up by its output topic, after the handler gave up the second, of which not even the key is taken.
    let (large, larger) = ("x".repeat(5000), "x".repeat(20_000));
    let refused = Message::new(&larger[..], "!b").on(0);
    produce_together(shared, &case, &[on(0, &large), refused, on(0, "!c"), on(0, "d")])?;
    let mut mill = Mill::spawn(&options(&case, shared, "reject", "")?)?;
    wait_stopped(&mill, 0, 1)?;
    assert!(mill.stop()?.success());
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1)]), SOON)?;
    let dead = case.dead_letters(&shared.eye)?;
    assert_eq!(dead.iter().map(Message::text).collect::<Vec<_>>(), [large]);
    Ok(())
}
