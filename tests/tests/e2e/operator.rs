//! What an operator sees and does: metrics, resume, skip.

use std::time::Duration;

use anyhow::{Context, Result};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::shared;

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
    let held = |status: &serde_json::Value| status["pipelines"][0]["held"].is_string();
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
    let one_left = |status: &serde_json::Value| {
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
