//! Lag as everybody's tools read it, where offsets are no messages: transaction markers, aborted messages, gaps that
//! compaction left.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::{Shared, shared, unique};

const SOON: Duration = Duration::from_secs(60);

/// Three messages of one transaction.
fn transaction(shared: &Shared, case: &Case, partition: i32, name: &str, abort: bool) -> Result<()> {
    let messages: Vec<_> = (0..3).map(|n| Message::new("k", format!("{name}-{n}")).on(partition)).collect();
    let properties = json!({ "transactional.id": unique("lag-tx") });
    shared.eye.produce_with(&case.input, &messages, &properties, abort).map(drop)
}

/// Waits until the group has committed the very end of every partition, and asks for Kafka's own lag.
fn wait_no_lag(shared: &Shared, case: &Case, ends: &Offsets) -> Result<()> {
    ensure!(shared.eye.end_offsets(&case.input)? == *ends, "the topic does not look as this test takes it to");
    shared.eye.wait_committed(&case.name, &case.input, ends, SOON)?;
    let lag = shared.eye.lag(&case.name, &case.input)?;
    ensure!(lag.values().all(|lag| *lag == 0), "{lag:?}");
    Ok(())
}

#[test]
fn lag_is_zero_behind_transactions_that_were_committed_or_aborted() -> Result<()> {
    let shared = &shared()?;
    let case = &Case::new(&shared.eye, "lag-tx", 4)?;
    // What is there before the group: a marker at the end, an aborted transaction at the end, nothing but one, nothing.
    transaction(shared, case, 0, "a", false)?;
    transaction(shared, case, 1, "b", false)?;
    transaction(shared, case, 1, "b-aborted", true)?;
    transaction(shared, case, 2, "c-aborted", true)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    wait_no_lag(shared, case, &Offsets::from([(0, 4), (1, 8), (2, 4), (3, 0)]))?;
    // What comes while it reads.
    transaction(shared, case, 0, "d-aborted", true)?;
    transaction(shared, case, 1, "e", false)?;
    transaction(shared, case, 2, "f-aborted", true)?;
    transaction(shared, case, 3, "g-aborted", true)?;
    wait_no_lag(shared, case, &Offsets::from([(0, 8), (1, 12), (2, 8), (3, 4)]))?;
    ensure!(mill.stop()?.success());
    // A marker is no message, and a restart finds nothing to do.
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    transaction(shared, case, 3, "h", false)?;
    wait_no_lag(shared, case, &Offsets::from([(0, 8), (1, 12), (2, 8), (3, 8)]))?;
    ensure!(mill.stop()?.success());
    let mut outputs = case.outputs(&shared.eye)?;
    outputs.sort();
    let expected: Vec<_> =
        ["a", "b", "e", "h"].iter().flat_map(|name| (0..3).map(move |n| format!("{name}-{n}"))).collect();
    ensure!(outputs == expected, "{outputs:?}");
    Ok(())
}

/// A compacted topic of one partition, compacted: `first` and `last` stay, and of `often` one. Returns its end.
pub fn compacted(shared: &Shared, topic: &str) -> Result<i64> {
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.0"),
        ("delete.retention.ms", "0"),
    ];
    shared.eye.create_topic(topic, 1, &compacted)?;
    // A key that stays at each end, and one in between whose earlier messages go.
    let message = |key: &str, value: usize| Message::new(key, format!("{key}-{value}")).on(0);
    let mut messages = vec![message("first", 0)];
    messages.extend((0..20).map(|n| message("often", n)));
    for one in &messages {
        shared.eye.produce(topic, std::slice::from_ref(one))?;
    }
    let end = std::time::Instant::now() + SOON;
    loop {
        // A segment is closed by the first message that comes when it is old enough; only closed ones are compacted.
        messages.push(message("last", messages.len()));
        shared.eye.produce(topic, &messages[messages.len() - 1..])?;
        let left = shared.eye.read(topic, &Offsets::new())?;
        if left.iter().filter(|one| one.key.as_deref() == Some(b"often")).count() == 1 {
            break;
        }
        ensure!(std::time::Instant::now() < end, "the topic was not compacted: {left:?}");
    }
    Ok(messages.len() as i64)
}

#[test]
fn lag_is_zero_behind_gaps_that_compaction_left() -> Result<()> {
    let shared = &shared()?;
    let mut case = Case::new(&shared.eye, "lag-gaps", 1)?;
    case.input = unique("lag-compacted");
    let ends = Offsets::from([(0, compacted(shared, &case.input)?)]);
    // One message a call, so that gaps lie between what is complete and what is not.
    let options = case.options(&shared.broker.bootstrap(), "echo", "batch.messages = 1")?;
    let mut mill = Mill::start(&options)?;
    wait_no_lag(shared, &case, &ends)?;
    ensure!(mill.stop()?.success());
    let outputs = case.outputs(&shared.eye)?;
    ensure!(outputs.contains(&"first-0".to_owned()) && outputs.contains(&"often-19".to_owned()), "{outputs:?}");
    ensure!(!outputs.contains(&"often-0".to_owned()), "there was no gap: {outputs:?}");
    Ok(())
}
