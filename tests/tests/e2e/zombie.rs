//! A process that was frozen for longer than its session and wakes up when its partitions are somebody else's.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::shared;
use wasmill_tests::signal::Signal;

const SOON: Duration = Duration::from_secs(60);

/// Numbers of one round for both partitions.
fn numbered(from: i64, to: i64) -> Vec<Message> {
    let on =
        |partition: i32| (from..to).map(move |number| Message::new("k", format!("{partition} {number}")).on(partition));
    on(0).chain(on(1)).collect()
}

/// Whether both partitions of a status have these numbers.
fn both(status: &Value, wanted: &[(&str, i64)]) -> bool {
    let rows = status["pipelines"][0]["partitions"].as_array();
    rows.is_some_and(|rows| {
        rows.len() == 2 && rows.iter().all(|row| wanted.iter().all(|(name, number)| row[name] == *number))
    })
}

/// The zombie has complete messages that it has not committed (its handler drops them, and its interval is long), and an
/// output on its way (its producer waits for more to send). Both would be committed over the head of the next owner: what
/// is complete with the first commit once it is back in the group, the rest when the output is confirmed.
#[test]
fn a_process_that_wakes_up_after_its_session_commits_nothing_of_what_it_held() -> Result<()> {
    let shared = &shared()?;
    let case = &Case::new(&shared.eye, "zombie", 2)?;
    let bootstrap = shared.broker.bootstrap();
    let each = |offset: i64| Offsets::from([(0, offset), (1, offset)]);
    // The handler forwards offsets 0 and 50 and drops the others. Offset 0 is not for this test.
    shared.eye.produce(&case.input, &numbered(0, 50))?;
    shared.eye.commit(&case.name, &case.input, &each(1))?;
    let lines = "config = { keep = \"50\" }\ncommit.interval = \"15s\"\noutput.linger = \"15s\"";
    let mut zombie = Mill::start(&case.options(&bootstrap, "filter", lines)?)?;
    zombie.wait_status("all complete", SOON, |status| both(status, &[("watermark", 50), ("committed", 1)]))?;
    shared.eye.produce(&case.input, &numbered(50, 60))?;
    zombie.wait_status("all handed over", SOON, |status| both(status, &[("position", 60), ("watermark", 50)]))?;
    zombie.signal(Signal::Stop)?;
    ensure!(shared.eye.committed_offsets(&case.name, &case.input)? == each(1), "it had committed already");
    ensure!(shared.eye.end_offsets(&case.output)?[&0] == 0, "its outputs were on their way already");

    let mut other = Mill::start(&case.options(&bootstrap, "echo", "")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &each(60), SOON)?;
    let before = shared.eye.commits(&case.name, &case.input)?.len();

    zombie.signal(Signal::Cont)?;
    zombie.wait_log("lost=true", SOON)?;
    shared.eye.wait_members(&case.name, 2, SOON)?;
    // Each has one of them now. A commit of its own would carry all else that the zombie takes for its own.
    shared.eye.produce(&case.input, &numbered(60, 61))?;
    let end = Instant::now() + SOON;
    let commits = loop {
        let commits = shared.eye.commits(&case.name, &case.input)?;
        let last = |partition| commits.iter().any(|one| (one.partition, one.offset) == (partition, 61));
        if last(0) && last(1) {
            break commits;
        }
        ensure!(Instant::now() < end, "not both partitions are committed to their ends: {commits:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for partition in 0..2 {
        let offsets: Vec<_> = commits.iter().filter(|one| one.partition == partition).map(|one| one.offset).collect();
        ensure!(offsets.is_sorted(), "the offset of partition {partition} went back: {offsets:?}");
    }
    let mut after: Vec<_> = commits[before..].iter().map(|one| (one.partition, one.offset)).collect();
    after.sort_unstable();
    ensure!(after == [(0, 61), (1, 61)], "committed after the zombie woke up: {after:?}");
    let stale = zombie.metrics()?.lines().any(|row| row.starts_with("wasmill_stale_") && !row.ends_with(" 0"));
    ensure!(stale, "none of its outputs was confirmed too late");
    ensure!(zombie.stop()?.success(), "the zombie ends in good order");
    ensure!(other.stop()?.success(), "and so does the other one");
    let outputs = case.outputs(&shared.eye)?;
    for message in numbered(1, 60) {
        let times = outputs.iter().filter(|output| **output == message.text()).count();
        // What the zombie had sent already comes out late, beside what the other made of it.
        ensure!(times == if message.text().ends_with(" 50") { 2 } else { 1 }, "{} in {outputs:?}", message.text());
    }
    Ok(())
}
