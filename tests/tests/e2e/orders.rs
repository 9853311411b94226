//! `examples/orders`: its README, walked through, and what becomes of its sample beside `expected.jsonl`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::reader::Reader;
use wasmill_tests::shared::{Shared, shared};
use wasmill_tests::walk::blocks;

const SOON: Duration = Duration::from_secs(60);
const INPUT: &str = "orders";
const DEAD: &str = "orders-dead";
const TOPICS: [&str; 3] = ["orders-dead", "orders-eu", "orders-us"];

fn file(name: &str) -> Result<String> {
    let path = wasmill_setup::process::root().join("examples/orders").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A line of the example's files as a message has it: text is itself, null is absent, other JSON is its text.
fn field(line: &Value, name: &str) -> Value {
    match &line[name] {
        Value::Null | Value::String(_) => line[name].clone(),
        other => other.to_string().into(),
    }
}

/// Topic, key, value and headers: all that a file says of a message.
fn said(line: &Value) -> [Value; 4] {
    let headers = line.get("headers").cloned().unwrap_or_else(|| json!({}));
    [line["topic"].clone(), field(line, "key"), field(line, "value"), headers]
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into())
}

/// The same of a message in a topic. What wasmill adds to a dead letter is looked at by itself.
fn there(topic: &str, message: &Message) -> [Value; 4] {
    let own = message.headers.iter().filter(|(name, _)| !name.starts_with("wasmill."));
    let headers: Map<_, _> = own.map(|(name, value)| (name.clone(), text(value.as_deref()))).collect();
    [topic.into(), text(message.key.as_deref()), text(message.value.as_deref()), headers.into()]
}

/// Several partitions keep the order of each key, not that of all.
fn by_key(mut messages: Vec<[Value; 4]>) -> Vec<[Value; 4]> {
    messages.sort_by_key(|[topic, key, ..]| (topic.to_string(), key.to_string()));
    messages
}

#[test]
fn the_orders_of_the_sample_become_what_is_expected_and_the_dead_letters_say_why() -> Result<()> {
    let shared = &shared()?;
    let mut reader = Reader::new("orders", &shared.broker.bootstrap())?;
    blocks(&file("README.md")?).iter().try_for_each(|block| reader.follow(block))?;
    let expected: Vec<Value> = file("expected.jsonl")?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut seen = Vec::new();
    for topic in TOPICS {
        let messages = shared.eye.read(topic, &Offsets::new())?;
        seen.extend(messages.iter().map(|message| there(topic, message)));
    }
    assert_eq!(by_key(seen), by_key(expected.iter().map(said).collect()));
    check_dead_letters(shared)?;
    check_what_to_try(shared, &mut reader)?;
    reader.close()
}

/// Where each came from and why it is there.
fn check_dead_letters(shared: &Shared) -> Result<()> {
    let reasons =
        [("o-1005", "EOF while parsing"), ("o-1007", "no topic for country `BR`"), ("o-1008", "invalid type: integer")];
    let input = shared.eye.read(INPUT, &Offsets::new())?;
    let letters = shared.eye.read(DEAD, &Offsets::new())?;
    ensure!(letters.len() == reasons.len(), "{letters:?}");
    for (key, why) in reasons {
        let is = |message: &&Message| message.key.as_deref() == Some(key.as_bytes());
        let letter = letters.iter().find(is).with_context(|| format!("no dead letter {key}"))?;
        let from = input.iter().find(is).with_context(|| format!("no order {key}"))?;
        let header = |name: &str| letter.header_text(&format!("wasmill.{name}")).unwrap_or_default();
        ensure!(header("error") == "rejected" && header("reason").contains(why), "{key}: {:?}", letter.headers);
        let place = (header("topic"), header("partition"), header("offset"));
        let partition = from.partition.unwrap_or_default();
        ensure!(place == (INPUT.into(), partition.to_string(), from.offset.to_string()), "{key}: {place:?}");
        ensure!(header("pipeline") == "orders" && header("group") == "orders", "{key}: {:?}", letter.headers);
    }
    Ok(())
}

/// The example's configuration with the line of a key replaced, as the README's table says.
fn tried(lines: &[&str]) -> Result<String> {
    let text = file("wasmill.toml")?;
    lines.iter().try_fold(text, |text, line| {
        let (new, key) =
            line.split_once(" for ").map_or((*line, line.split(" = ").next()), |(new, key)| (new, Some(key)));
        let key = key.unwrap_or_default();
        let old =
            text.lines().find(|old| old.starts_with(&format!("{key} = "))).with_context(|| format!("no {key}"))?;
        Ok(text.replace(old, new))
    })
}

/// The README's table of what to try: a topic less, a misspelt word, no dead letters.
fn check_what_to_try(shared: &Shared, reader: &mut Reader) -> Result<()> {
    let checks = [
        ("output = { topics = [\"orders-eu\"] }", "orders-us"),
        ("config = { maks = \"true\" }", "config `maks` is unknown; hint: this handler knows `mask`"),
    ];
    for (change, answer) in checks {
        std::fs::write(reader.path().join("tried.toml"), tried(&[change])?)?;
        let (code, printed) = reader.run("wasmill check tried.toml")?;
        ensure!(code == 3 && printed.iter().any(|line| line.contains(answer)), "{change}: {code} {printed:?}");
    }
    let handler = wasmill_setup::process::root().join("examples/orders");
    let text = tried(&["on_exhausted = \"stop\" for dead_letter", "group = \"orders-stop\""])?;
    let (_, pipeline) = text.split_once("[pipelines.orders]").context("no pipeline")?;
    let pipeline = pipeline.replace("handler = \"", &format!("handler = \"{}/", handler.display()));
    // It is never ready for long: that is what a partition that stands means.
    let mut mill = Mill::spawn(&Options::new(&shared.broker.bootstrap(), format!("[pipelines.orders]{pipeline}")))?;
    // Each partition goes on to the first order that was rejected above.
    let mut expected = shared.eye.end_offsets(INPUT)?;
    for letter in shared.eye.read(DEAD, &Offsets::new())? {
        let number = |name: &str| letter.header_text(name).and_then(|text| text.parse::<i64>().ok());
        let (partition, offset) = number("wasmill.partition").zip(number("wasmill.offset")).context("no place")?;
        let stands = expected.entry(partition.try_into()?).or_insert(offset);
        *stands = (*stands).min(offset);
    }
    shared.eye.wait_committed("orders-stop", INPUT, &expected, SOON)?;
    mill.wait_status("two partitions that stand", SOON, |status| {
        let partitions = status["pipelines"][0]["partitions"].as_array().into_iter().flatten();
        partitions.filter(|one| one["state"] == "stopped").count() == 2
    })?;
    ensure!(mill.stop()?.success(), "SIGTERM is an order, not a failure");
    shared.eye.wait_committed("orders-stop", INPUT, &expected, SOON)
}
