//! An instance whose memory only grows is replaced between two batches, before it ends in the middle of one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::shared;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_handler_that_leaks_handles_far_more_than_its_memory_could_bear() -> Result<()> {
    const MESSAGES: i64 = 2000;
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "leak", 1)?;
    let messages: Vec<_> = (0..MESSAGES).map(|number| Message::new("k", number.to_string()).on(0)).collect();
    shared.eye.produce(&case.input, &messages)?;
    // 125 MiB are lost on the way, at most half a MiB in a batch.
    let lines = "config = { kib = 64 }\nlimits.memory = \"8MiB\"\nbatch.messages = 8";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "leak", lines)?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, MESSAGES)]), SOON)?;
    let status = mill.status()?;
    let recycled = status["pipelines"][0]["lanes"][0]["recycled"].as_u64().context("no lane that counts")?;
    // Between about 1 MiB at the beginning and 6 MiB there is room for fewer than 160 messages.
    ensure!(recycled > 10, "{recycled} instances were replaced");
    ensure!(mill.metric("wasmill_instances_recycled_total", &case.name)? == recycled as f64);
    ensure!(mill.metric("wasmill_handler_crashes_total", &case.name)? == 0.0, "a call trapped");
    ensure!(mill.stop()?.success());
    let expected: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    ensure!(case.outputs(&shared.eye)? == expected, "not each once and in order");
    ensure!(case.dead_letters(&shared.eye)?.is_empty());
    Ok(())
}
