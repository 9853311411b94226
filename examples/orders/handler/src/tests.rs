//! The handler off-wasm, first by hand, then over the example's own files.

use super::*;
use serde_json::Value;
use wasmill_handler::testing::{Harness, Outcome, Run, Sample};

fn orders() -> Harness {
    Harness::new::<Orders>().grant("orders-eu").grant("orders-us")
}

fn topics(run: &Run) -> Vec<&str> {
    run.outputs.iter().map(|output| output.topic.as_deref().unwrap()).collect()
}

#[test]
fn masks_the_card_and_leaves_every_other_byte_alone() {
    let run = orders().message(r#"{ "amount": 1.50, "card":"4111 1111 1111 1234", "country": "DE" }"#).run();
    assert_eq!(run.values(), [r#"{ "amount": 1.50, "card":"**** **** **** 1234", "country": "DE" }"#]);
    assert_eq!(topics(&run), ["orders-eu"]);
}

#[test]
fn hides_a_short_number_whole() {
    let run = orders().message(r#"{"card":"1234","country":"US"}"#).run();
    assert_eq!(run.values(), [r#"{"card":"****","country":"US"}"#]);
}

#[test]
fn masks_nothing_when_told_so() {
    let order = r#"{"card":"4111111111111234","country":"US"}"#;
    assert_eq!(orders().config("mask", "false").message(order).run().values(), [order]);
}

#[test]
fn rejects_a_card_number_that_the_mask_would_miss() {
    for card in [r#""4111111111111\u0032\u0033\u0034""#, "4111111111111234"] {
        let run = orders().message(format!(r#"{{"card":{card},"country":"US"}}"#).as_str()).run();
        assert!(matches!(run.outcomes[0], Outcome::Reject { .. }), "{card}: {:?}", run.outcomes);
    }
}

#[test]
fn withdraws_an_order_from_both_topics() {
    let run = orders().message(Sample::new().key("o-1")).run();
    assert_eq!(topics(&run), ["orders-eu", "orders-us"]);
    assert!(run.outputs.iter().all(|output| output.value.is_none() && output.key.as_deref() == Some(b"o-1")));
}

#[test]
fn keeps_headers() {
    let run = orders().message(Sample::from(r#"{"country":"FR"}"#).header("trace", "7")).run();
    assert_eq!(run.outputs[0].header("trace"), Some(&b"7"[..]));
}

#[test]
fn does_not_start_without_its_topics() {
    let refused = Harness::new::<Orders>().grant("orders-eu").start().err().unwrap();
    assert!(refused.contains("orders-us"), "{refused}");
    let refused = orders().config("maks", "true").start().err().unwrap();
    assert_eq!(refused, "config `maks` is unknown; hint: this handler knows `mask`");
}

/// A line of messages.jsonl or expected.jsonl: an object stands for its compact text, null for a tombstone.
fn field(line: &Value, name: &str) -> Option<String> {
    match line.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn makes_of_the_sample_what_is_expected() {
    let sample = |line: &Value| {
        let mut sample = Sample::new();
        if let Some(key) = field(line, "key") {
            sample = sample.key(key);
        }
        if let Some(value) = field(line, "value") {
            sample = sample.value(value);
        }
        for (name, value) in line.get("headers").and_then(Value::as_object).into_iter().flatten() {
            sample = sample.header(name, value.as_str().unwrap());
        }
        sample
    };
    let input = lines(include_str!("../../messages.jsonl"));
    let run = orders().messages(input.iter().map(sample)).run();

    type Headers = Vec<(String, String)>;
    type Line = (String, Option<String>, Option<String>, Headers);
    let headers = |line: &Value| -> Headers {
        let headers = line.get("headers").and_then(Value::as_object).into_iter().flatten();
        headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut got: Vec<Line> = run
        .outputs
        .iter()
        .map(|o| {
            let headers = o.headers.iter().map(|(name, value)| (text(name), text(value.as_deref().unwrap()))).collect();
            (o.topic.clone().unwrap(), o.key.as_deref().map(text), o.value.as_deref().map(text), headers)
        })
        .collect();
    // What is rejected becomes a dead letter, as it was.
    for (line, outcome) in input.iter().zip(&run.outcomes) {
        if let Outcome::Reject { .. } = outcome {
            got.push(("orders-dead".into(), field(line, "key"), field(line, "value"), headers(line)));
        }
    }
    got.sort_by(|a, b| a.0.cmp(&b.0)); // stable: the order within a topic counts
    let expected: Vec<Line> = lines(include_str!("../../expected.jsonl"))
        .iter()
        .map(|line| (field(line, "topic").unwrap(), field(line, "key"), field(line, "value"), headers(line)))
        .collect();
    assert_eq!(got, expected);
}
