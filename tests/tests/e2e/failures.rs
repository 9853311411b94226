//! What becomes of messages that cannot be handled: dead letters, stops, retries, and handlers that misbehave.

use std::time::Duration;

use anyhow::{Context, Result};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

/// A handler that misbehaves at messages whose value begins with `!`.
fn options(case: &Case, shared: &Shared, handler: &str, lines: &str) -> Result<Options> {
    let lines = format!("config = {{ when = \"value-prefix\", prefix = \"!\", until_attempt = \"3\" }}\n{lines}");
    case.options(&shared.broker.bootstrap(), handler, &lines)
}

fn header(message: &Message, name: &str) -> Option<String> {
    let found = message.headers.iter().find(|(known, _)| known == name);
    found.and_then(|(_, value)| value.clone()).map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn on(partition: i32, value: &str) -> Message {
    Message::new("k", value).on(partition)
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

#[test]
fn a_message_that_traps_is_given_up_alone_and_its_neighbours_come_out_once() -> Result<()> {
    for (handler, class) in [("trap", "trap"), ("spin", "deadline"), ("hoard", "memory"), ("panic", "trap")] {
        let shared = &shared()?;
        let case = Case::new(&shared.eye, handler, 1)?;
        let messages: Vec<_> =
            (0..20).map(|n| on(0, &if n == 7 { "!bad".to_owned() } else { n.to_string() })).collect();
        shared.eye.produce(&case.input, &messages)?;
        let lines = "retry.attempts = 2\nretry.backoff = \"10ms\"\nlimits.time = \"100ms\"\nlimits.time_cap = \"2s\"";
        let mut mill = Mill::start(&options(&case, shared, handler, lines)?)?;
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 20)]), SOON).context(handler)?;
        mill.stop()?;
        let expected: Vec<_> = (0..20).filter(|n| *n != 7).map(|n| n.to_string()).collect();
        assert_eq!(case.outputs(&shared.eye)?, expected, "{handler}");
        let dead = case.dead_letters(&shared.eye)?;
        let [letter] = &dead[..] else { anyhow::bail!("{handler}: one dead letter, not {dead:?}") };
        assert_eq!(header(letter, "wasmill.error").as_deref(), Some(class), "{handler}: {:?}", letter.headers);
        assert_eq!(header(letter, "wasmill.attempts").as_deref(), Some("2"), "{handler}");
    }
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
    mill.wait_status("a stopped partition", SOON, |status| {
        let partitions = status["pipelines"][0]["partitions"].as_array().cloned().unwrap_or_default();
        partitions.iter().any(|one| one["state"] == "stopped" && one["offset"] == 0 && one["partition"] == 0)
    })?;
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
    mill.wait_status("a stopped partition", SOON, |status| {
        status["pipelines"][0]["partitions"][0]["state"] == "stopped"
    })?;
    // The end of the process commits whatever it takes for complete.
    assert!(mill.stop()?.success());
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0)]), SOON)?;
    Ok(())
}
