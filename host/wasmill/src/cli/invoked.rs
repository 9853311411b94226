//! What `invoke` shows of an answer: lines for people, in the words of `dev`, and JSON for machines.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use wasmill_deploy::handler_tests::lane::{Answer, Verdict};
use wasmill_deploy::handler_tests::word;
use wasmill_kafka::plain::PlainMessage;
use wasmill_wasm::LogLevel;

use crate::dev::show;
use wasmill_deploy::messages::jsonl;

/// Headers of an output that are shown to people.
const HEADERS: usize = 20;

/// An answer for people.
pub fn answer_text(message: &PlainMessage, answer: &Answer) -> String {
    let place = format!("{}/{}", message.topic, message.partition);
    let input = show::input(&place, message.offset, message.key.as_deref(), message.value.as_deref());
    let verdict = match &answer.verdict {
        Verdict::Acknowledged => show::ack(),
        Verdict::Again { delay, next_attempt, reason } => show::retry(*delay, *next_attempt, &indented(reason)),
        Verdict::GivenUp(end) => show::end_of(&wasmill_core::GivenUp { reason: indented(&end.reason), ..end.clone() }),
    };
    let time = show::aside(&format!("{:.3} ms", answer.time.as_secs_f64() * 1e3));
    // Behind a backtrace it would be lost.
    let mut text = format!("{input}  {time}  {verdict}\n");
    if let Some(before) = &answer.before {
        let said = format!("that of a new instance; one that was used before failed: {}: {before}", before.class);
        let _ = writeln!(text, "    {}", show::aside(&said));
    }
    text += &log_text(&answer.log);
    for output in &answer.emitted {
        let _ = write!(text, "    {}", show::output(&output.topic, output.key.as_deref(), output.value.as_deref()));
        for (name, value) in output.headers.iter().take(HEADERS) {
            let name = show::shown(Some(name.as_bytes()));
            let _ = write!(text, "  {}", show::aside(&format!("{name}={}", show::shown(value.as_deref()))));
        }
        if output.headers.len() > HEADERS {
            let _ = write!(text, "  {}", show::aside(&format!("... {} headers more", output.headers.len() - HEADERS)));
        }
        text.push('\n');
    }
    if answer.dropped > 0 {
        let _ = writeln!(text, "    {}", show::aside(&format!("{} emitted, not published", answer.dropped)));
    }
    text
}

/// Log lines for people.
pub fn log_text(log: &[(LogLevel, String)]) -> String {
    log.iter().fold(String::new(), |text, (level, line)| text + &format!("    {}  {line}\n", show::aside(word(*level))))
}

/// Further lines stand below the first.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

/// An answer for machines.
pub fn answer_json(message: &PlainMessage, answer: &Answer) -> Value {
    let mut told = Map::from_iter([
        ("topic".to_owned(), json!(message.topic)),
        ("partition".to_owned(), json!(message.partition)),
        ("offset".to_owned(), json!(message.offset)),
        ("attempt".to_owned(), json!(answer.attempt)),
        ("verdict".to_owned(), json!(answer.word)),
        ("seconds".to_owned(), json!(answer.time.as_secs_f64())),
        ("emitted".to_owned(), answer.emitted.iter().map(output_json).collect()),
        ("dropped".to_owned(), json!(answer.dropped)),
        ("log".to_owned(), log_json(&answer.log)),
    ]);
    match &answer.verdict {
        Verdict::Acknowledged => {}
        Verdict::Again { delay, next_attempt, reason } => {
            told.insert("reason".to_owned(), json!(reason));
            told.insert("again".to_owned(), json!({ "after_ms": delay.as_millis() as u64, "attempt": next_attempt }));
        }
        Verdict::GivenUp(end) => {
            told.insert("reason".to_owned(), json!(end.reason));
            told.insert("given_up".to_owned(), json!({ "class": end.class.as_str(), "attempts": end.attempts }));
        }
    }
    if let Some(error) = &answer.crash {
        told.insert("reason".to_owned(), json!(error.message));
        told.insert("backtrace".to_owned(), json!(error.backtrace));
    }
    if let Some(error) = &answer.before {
        let before = json!({ "verdict": error.class.as_str(), "reason": error.message, "backtrace": error.backtrace });
        told.insert("before".to_owned(), before);
    }
    Value::Object(told)
}

fn output_json(output: &PlainMessage) -> Value {
    let mut object = jsonl::object(output);
    // It has none before it is sent; and where the key decides, no partition.
    object.remove("offset");
    if output.partition < 0 {
        object.remove("partition");
    }
    Value::Object(object)
}

/// Log lines for machines.
pub fn log_json(log: &[(LogLevel, String)]) -> Value {
    log.iter().map(|(level, text)| json!({ "level": word(*level), "text": text })).collect()
}
