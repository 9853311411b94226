//! What a message is made of comes through: compressed batches, timestamps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::shared;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn every_codec_of_kafka_is_read_and_written() -> Result<()> {
    let shared = shared()?;
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        // A topic that says `producer` keeps batches as they were sent, so that what is read was compressed by the other.
        let case = Case::with_output(&shared.eye, codec, 1, &[("compression.type", "producer")])?;
        let value = "the same again ".repeat(50);
        let messages: Vec<_> = (0..100).map(|number| Message::new("k", format!("{number} {value}")).on(0)).collect();
        let compressed = json!({ "compression.type": codec, "linger.ms": 50 });
        shared.eye.produce_with(&case.input, &messages, &compressed, false)?;
        let lines = format!("output.compression = \"{codec}\"");
        let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", &lines)?)?;
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 100)]), SOON).context(codec)?;
        ensure!(mill.stop()?.success(), "{codec}: it ends in good order");
        let sent: Vec<_> = messages.iter().map(Message::text).collect();
        ensure!(case.outputs(&shared.eye)? == sent, "{codec}: other messages came out");
    }
    Ok(())
}

#[test]
fn outputs_keep_the_time_of_their_input_and_dead_letters_have_the_present_one() -> Result<()> {
    const LONG_AGO: i64 = 1_000_000_000_000;
    let shared = shared()?;
    // Kafka refuses times that are too far off unless a topic says that it takes them.
    let case =
        Case::with_output(&shared.eye, "times", 1, &[("message.timestamp.before.max.ms", "9223372036854775807")])?;
    let at = |value: &str| Message { timestamp: Some(LONG_AGO), ..Message::new("k", value).on(0) };
    shared.eye.produce(&case.input, &[at("good"), at("!bad")])?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let lines = "config = { when = \"value-prefix\", prefix = \"!\" }";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "reject", lines)?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2)]), SOON)?;
    ensure!(mill.stop()?.success(), "it ends in good order");
    let outputs = shared.eye.read(&case.output, &Offsets::new())?;
    assert_eq!(outputs.iter().map(|output| output.timestamp).collect::<Vec<_>>(), [Some(LONG_AGO)]);
    let dead = case.dead_letters(&shared.eye)?;
    let [letter] = &dead[..] else { anyhow::bail!("one dead letter, not {dead:?}") };
    // With the old time, retention could delete it on the day it is written.
    ensure!(letter.timestamp.is_some_and(|time| time >= began), "{letter:?}");
    let told = letter.headers.iter().find(|(name, _)| name == "wasmill.timestamp").and_then(|(_, value)| value.clone());
    assert_eq!(told.as_deref(), Some(LONG_AGO.to_string().as_bytes()));
    Ok(())
}
