//! What an operator sees and does: metrics, the breaker, resume, skip.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

fn on(partition: i32, value: &str) -> Message {
    Message::new("k", value).on(partition)
}

#[test]
fn the_breaker_is_not_closed_by_resuming_one_partition() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "breaker", 2)?;
    let lines = "config = { when = \"value-prefix\", prefix = \"!\" }\n\
        breaker = { given_up = 2, of = 10, first_given_up = 2, first_of = 10 }";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "reject", lines)?)?;
    shared.eye.produce(&case.input, &[on(0, "!a"), on(0, "!b"), on(0, "!c")])?;
    let held = |status: &Value| status["pipelines"][0]["held"].is_string();
    mill.wait_status("a pipeline that holds", SOON, held)?;
    let refused = mill.command(&["resume", &case.name, "--partition", "0"]);
    let text = format!("{:#}", refused.err().context("one partition cannot be resumed")?);
    assert!(text.contains("the whole pipeline holds") && text.contains("leave out --partition"), "{text}");
    assert!(held(&mill.status()?), "the breaker was closed all the same");
    shared.eye.produce(&case.input, &[on(0, "d"), on(1, "e")])?;
    mill.command(&["resume", &case.name])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 4), (1, 1)]), SOON)?;
    mill.wait_ready(SOON)?;
    assert!(mill.stop()?.success());
    Ok(())
}

/// As many dead letters as a pipeline with nothing but messages to give up can have made when it holds: the breaker bears
/// `borne`. It opens when the next call is counted, which is one batch; and each other lane was in the middle of one
/// batch at most, since it asks whether the pipeline holds before each.
fn most_dead(borne: i64, lanes: i64, batch: i64) -> std::ops::RangeInclusive<i64> {
    borne + 1..=borne + lanes * batch
}

/// Waits until the pipeline holds and nothing of it is under way. Returns why it holds.
fn wait_held(mill: &Mill) -> Result<String> {
    let status = mill.wait_status("a pipeline that holds, at rest", SOON, |status| {
        let pipeline = &status["pipelines"][0];
        let at_rest = |one: &Value| one["span_messages"] == 0 && one["committed"] == one["position"];
        pipeline["held"].is_string() && pipeline["partitions"].as_array().is_some_and(|all| all.iter().all(at_rest))
    })?;
    Ok(status["pipelines"][0]["held"].as_str().unwrap_or_default().to_owned())
}

fn dead(shared: &Shared, case: &Case) -> Result<i64> {
    Ok(shared.eye.end_offsets(&case.dead)?[&0])
}

/// The sum of all committed offsets.
fn committed(shared: &Shared, case: &Case) -> Result<i64> {
    Ok(shared.eye.committed_offsets(&case.name, &case.input)?.into_values().sum())
}

#[test]
fn a_pipeline_that_gives_everything_up_holds_stays_in_the_group_and_goes_on_when_it_is_resumed() -> Result<()> {
    const EACH: i64 = 1500;
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "hold", 2)?;
    let bad: Vec<_> = (0..2 * EACH).map(|number| on((number % 2) as i32, &format!("!{number}"))).collect();
    shared.eye.produce(&case.input, &bad)?;
    let lines = "config.when = \"value-prefix\"\nbatch.messages = 100\nbreaker = { }";
    let mut mill = Mill::spawn(&case.options(&shared.broker.bootstrap(), "reject", lines)?)?;
    let reason = wait_held(&mill)?;
    ensure!(reason.contains("more than 10 of the last 20 messages were given up"), "{reason}");
    let members = shared.eye.wait_members(&case.name, 1, SOON)?.members;
    let first = dead(shared, &case)?;
    eprintln!("{first} dead letters until the breaker was open");
    ensure!(most_dead(10, 2, 100).contains(&first), "{first} dead letters");
    ensure!(committed(shared, &case)? == first, "what became a dead letter is committed, and nothing else");

    // Messages that would be handled, and that are there to be handed over.
    shared.eye.produce(&case.input, &[on(0, "a"), on(1, "b")])?;
    mill.wait_status("the new end of both partitions", SOON, |status| {
        let partitions = status["pipelines"][0]["partitions"].as_array();
        partitions.is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["end"] == EACH + 1))
    })?;
    let (code, text) = mill.get("/healthz")?;
    ensure!(code == 200, "/healthz says {code}: {text}");
    let (code, text) = mill.get("/readyz")?;
    ensure!(code == 503 && text.contains(&reason), "/readyz says {code}: {text}");
    ensure!(mill.command(&["status"]).is_err(), "`wasmill status` says by its exit code that it is not ready");
    ensure!(mill.metric("wasmill_handed_over_messages_total", &case.name)? == first as f64);
    ensure!(dead(shared, &case)? == first && case.outputs(&shared.eye)?.is_empty(), "it handed more over");

    // With the same messages it comes to the same end, where the smaller window applies again.
    mill.command(&["resume", &case.name])?;
    let more = |status: &Value| {
        let of = |one: &Value| one["committed"].as_i64().unwrap_or_default();
        let sum: i64 = status["pipelines"][0]["partitions"].as_array().into_iter().flatten().map(of).sum();
        sum > first
    };
    mill.wait_status("messages handed over after the resume", SOON, more)?;
    let again = wait_held(&mill)?;
    ensure!(again == reason, "{again}");
    let second = dead(shared, &case)? - first;
    ensure!(most_dead(10, 2, 100).contains(&second), "{second} dead letters after the resume");
    ensure!(shared.eye.wait_members(&case.name, 1, SOON)?.members == members, "it left the group in between");
    ensure!(mill.stop()?.success());
    ensure!(committed(shared, &case)? == first + second);
    Ok(())
}

#[test]
fn the_breaker_bears_less_right_after_a_start() -> Result<()> {
    let shared = &shared()?;
    let bad: Vec<_> = (0..500).map(|number| on(0, &format!("!{number}"))).collect();
    let good: Vec<_> = (0..100).map(|number| on(0, &number.to_string())).collect();
    for (name, before, borne, of) in [("new", 0, 10, 20), ("proven", good.len(), 50, 100)] {
        let case = Case::new(&shared.eye, name, 1)?;
        shared.eye.produce(&case.input, &good[..before])?;
        let lines = "config.when = \"value-prefix\"\nbatch.messages = 10\nbreaker = { }";
        let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "reject", lines)?)?;
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, before as i64)]), SOON)?;
        shared.eye.produce(&case.input, &bad)?;
        let reason = wait_held(&mill)?;
        ensure!(reason.contains(&format!("more than {borne} of the last {of} messages")), "{name}: {reason}");
        let dead = dead(shared, &case)?;
        ensure!(most_dead(borne, 1, 10).contains(&dead), "{name}: {dead} dead letters");
        ensure!(mill.stop()?.success());
    }
    Ok(())
}

#[test]
fn the_breaker_sees_a_burst_in_the_middle_of_one_batch() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "burst", 1)?;
    let bad = |number: &i64| (300..321).contains(number);
    let value = |number: i64| if bad(&number) { format!("!{number}") } else { number.to_string() };
    let messages: Vec<_> = (0..2000).map(|number| on(0, &value(number))).collect();
    shared.eye.produce(&case.input, &messages)?;
    // Of no hundred messages in a row are more than 21 bad, but of twenty-five.
    let lines = "config.when = \"value-prefix\"\nbatch.messages = 1000\n\
        breaker = { given_up = 20, of = 25, first_given_up = 20, first_of = 25 }";
    let mut mill = Mill::spawn(&case.options(&shared.broker.bootstrap(), "reject", lines)?)?;
    let reason = wait_held(&mill)?;
    ensure!(reason.contains("more than 20 of the last 25 messages"), "{reason}");
    ensure!(dead(shared, &case)? == 21);
    mill.command(&["resume", &case.name])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2000)]), SOON)?;
    ensure!(mill.stop()?.success());
    let expected: Vec<_> = (0..2000).filter(|number| !bad(number)).map(|number| number.to_string()).collect();
    ensure!(case.outputs(&shared.eye)? == expected, "all others come out once and in order");
    Ok(())
}

#[test]
fn a_skip_passes_over_the_stopped_message_alone_and_is_recorded() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "skip", 2)?;
    let values = ["a", "!b", "c", "!d", "e"];
    shared.eye.produce(&case.input, &values.map(|value| on(0, value)))?;
    let lines = "config.when = \"value-prefix\"\non_exhausted = \"stop\"";
    let options = case.options(&shared.broker.bootstrap(), "reject", lines)?.env("WASMILL_LOG_FORMAT", "json");
    let mut mill = Mill::spawn(&options)?;
    let stands_at = |mill: &Mill, offset: i64| {
        mill.wait_status(&format!("a partition stopped at {offset}"), SOON, |status| {
            let partitions = status["pipelines"][0]["partitions"].as_array().cloned().unwrap_or_default();
            partitions.iter().any(|one| one["partition"] == 0 && one["state"] == "stopped" && one["offset"] == offset)
        })
    };
    let committed =
        |offset: i64| shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, offset), (1, 0)]), SOON);
    let skip = |partition: &str, offset: &str| {
        mill.command(&["skip", &case.name, "--partition", partition, "--offset", offset])
            .map_err(|no| format!("{no:#}"))
    };
    stands_at(&mill, 1)?;
    committed(1)?;
    for offset in ["0", "2", "3", "9"] {
        let text = skip("0", offset).err().context("skipped a message at which it does not stand")?;
        ensure!(text.contains(&format!("does not stand at offset {offset} but at 1; hint: ")), "{text}");
    }
    let text = skip("1", "0").err().context("skipped in a partition that is not stopped")?;
    ensure!(text.contains("/1 is not stopped, so message 0 cannot be skipped; hint: "), "{text}");
    stands_at(&mill, 1)?;
    ensure!(mill.metric("wasmill_skipped_messages_total", &case.name)? == 0.0);
    skip("0", "1").map_err(anyhow::Error::msg)?;
    stands_at(&mill, 3)?;
    committed(3)?;
    ensure!(case.outputs(&shared.eye)? == ["a", "c"]);
    skip("0", "3").map_err(anyhow::Error::msg)?;
    committed(5)?;
    ensure!(mill.metric("wasmill_skipped_messages_total", &case.name)? == 2.0);
    ensure!(mill.get("/readyz")?.0 == 200);
    ensure!(case.outputs(&shared.eye)? == ["a", "c", "e"], "{:?}", case.outputs(&shared.eye)?);
    let recorded: Vec<_> =
        mill.log_lines().iter().filter(|line| line["message"] == "message skipped by an operator").cloned().collect();
    let offsets: Vec<_> = recorded.iter().map(|line| line["offset"].as_i64()).collect();
    ensure!(offsets == [Some(1), Some(3)], "{recorded:?}");
    let place = format!("{}/0", case.input);
    ensure!(recorded.iter().all(|line| line["level"] == "WARN" && line["partition"] == place), "{recorded:?}");
    ensure!(mill.stop()?.success());
    committed(5)
}

#[test]
fn a_message_that_waits_for_its_next_attempt_cannot_be_skipped() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "waits", 1)?;
    shared.eye.produce(&case.input, &[on(0, "a"), on(0, "!b")])?;
    let lines = "config.when = \"value-prefix\"\nretry.backoff = \"1h\"\nretry.max_delay = \"1h\"";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "retry", lines)?)?;
    let waits = |status: &Value| {
        let partition = &status["pipelines"][0]["partitions"][0];
        partition["state"] == "waiting" && partition["offset"] == 1
    };
    mill.wait_status("a message that waits", SOON, waits)?;
    let refused = mill.command(&["skip", &case.name, "--partition", "0", "--offset", "1"]);
    let text = format!("{:#}", refused.err().context("skipped a message that is still tried")?);
    ensure!(text.contains("/0 is not stopped, so message 1 cannot be skipped; hint: "), "{text}");
    ensure!(waits(&mill.status()?), "it waits no longer");
    ensure!(mill.metric("wasmill_skipped_messages_total", &case.name)? == 0.0);
    ensure!(mill.stop()?.success());
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1)]), SOON)
}

#[test]
fn metrics_have_no_gauges_of_a_partition_that_went_to_another_process() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "gauges", 2)?;
    let options = case.options(&shared.broker.bootstrap(), "echo", "")?;
    let mut first = Mill::start(&options)?;
    shared.eye.produce(&case.input, &[on(0, "a"), on(1, "b")])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1), (1, 1)]), SOON)?;
    assert_eq!(lag_rows(&first)?.len(), 2);
    let mut second = Mill::start(&options)?;
    let one_left = |status: &Value| {
        let partitions = status["pipelines"][0]["partitions"].as_array();
        partitions.is_some_and(|held| held.len() == 1 && held[0]["lag"].is_number())
    };
    let status = first.wait_status("one partition left", SOON, one_left)?;
    let left = status["pipelines"][0]["partitions"][0]["partition"].to_string();
    let rows = lag_rows(&first)?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].contains(&format!("partition=\"{left}\"")), "{rows:?}");
    assert!(second.stop()?.success());
    assert!(first.stop()?.success());
    Ok(())
}

fn lag_rows(mill: &Mill) -> Result<Vec<String>> {
    let text = mill.metrics()?;
    Ok(text.lines().filter(|line| line.starts_with("wasmill_lag_messages{")).map(str::to_owned).collect())
}
