//! Messages as JSON, one object a line: what `produce`, `consume` and the samples of `dev` speak.
//!
//! A key or value is text, `null` (absent), or any other JSON, which is sent as its text. Bytes that are not UTF-8 are
//! `key_base64`, `value_base64`. Headers are an object, or an array of `[name, value]` pairs where names repeat.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wasmill_kafka::plain::PlainMessage;

/// What a message may say.
pub const KNOWN: [&str; 9] =
    ["topic", "partition", "offset", "timestamp", "key", "key_base64", "value", "value_base64", "headers"];

/// Reads one line. `topic` is that of a message that names none; its partition and offset are then -1. Who produces reads
/// over the offset: what was consumed can be produced again.
pub fn parse(line: &str, topic: &str) -> anyhow::Result<PlainMessage> {
    let object: Map<String, Value> =
        serde_json::from_str(line).context("not a JSON object; hint: write {\"key\": \"k\", \"value\": \"v\"}")?;
    if let Some(unknown) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        let known = KNOWN.join(", ");
        if !object.keys().any(|key| KNOWN.contains(&key.as_str())) {
            bail!(
                "unknown key `{unknown}`; hint: a message has {known}; to send this as a value, write {{\"value\": {{...}}}}"
            );
        }
        bail!("unknown key `{unknown}`; hint: a message has {known}");
    }
    let topic = match object.get("topic") {
        None => topic.to_owned(),
        Some(Value::String(topic)) => topic.clone(),
        Some(other) => bail!("topic {other} is no text"),
    };
    let partition = match object.get("partition") {
        None | Some(Value::Null) => -1,
        Some(number) => {
            number.as_i64().and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 0).with_context(
                || format!("partition {number} is no partition; hint: leave it out to let the key decide"),
            )?
        }
    };
    let offset = match object.get("offset") {
        None | Some(Value::Null) => -1,
        Some(number) => number.as_i64().with_context(|| format!("offset {number} is no offset"))?,
    };
    let timestamp = match object.get("timestamp") {
        None | Some(Value::Null) => None,
        Some(number) => {
            Some(number.as_i64().with_context(|| format!("timestamp {number} is no number of milliseconds"))?)
        }
    };
    Ok(PlainMessage {
        topic,
        partition,
        offset,
        timestamp,
        key: bytes(&object, "key", "key_base64")?,
        value: bytes(&object, "value", "value_base64")?,
        headers: object.get("headers").map(headers).transpose()?.unwrap_or_default(),
    })
}

fn bytes(object: &Map<String, Value>, plain: &str, encoded: &str) -> anyhow::Result<Option<Vec<u8>>> {
    match (object.get(plain), object.get(encoded)) {
        (Some(_), Some(_)) => bail!("both `{plain}` and `{encoded}`; hint: write one of them"),
        (Some(value), None) => Ok(text(value)),
        (None, Some(Value::String(text))) => {
            Ok(Some(STANDARD.decode(text).with_context(|| format!("`{encoded}` is not base64"))?))
        }
        (None, Some(other)) => bail!("`{encoded}`: {other} is no text"),
        (None, None) => Ok(None),
    }
}

fn text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

type Headers = Vec<(String, Option<Vec<u8>>)>;

fn headers(value: &Value) -> anyhow::Result<Headers> {
    let one = |name: &str, value: &Value| -> anyhow::Result<(String, Option<Vec<u8>>)> {
        let bytes = match value.as_object().and_then(|object| object.get("base64")) {
            Some(Value::String(text)) => {
                Some(STANDARD.decode(text).with_context(|| format!("header `{name}` is not base64"))?)
            }
            _ => text(value),
        };
        Ok((name.to_owned(), bytes))
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(object) => object.iter().map(|(name, value)| one(name, value)).collect(),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([Value::String(name), value]) => one(name, value),
                _ => bail!("header {pair} is no pair; hint: write [\"name\", \"value\"]"),
            })
            .collect(),
        other => bail!("headers {other} are neither an object nor an array of pairs"),
    }
}

/// One message as a line, without the newline. [`parse`] reads it back to the same bytes.
pub fn print(message: &PlainMessage) -> String {
    Value::Object(object(message)).to_string()
}

/// One message as an object.
pub fn object(message: &PlainMessage) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(message.topic));
    object.insert("partition".to_owned(), json!(message.partition));
    object.insert("offset".to_owned(), json!(message.offset));
    if let Some(timestamp) = message.timestamp {
        object.insert("timestamp".to_owned(), json!(timestamp));
    }
    for (name, bytes) in [("key", &message.key), ("value", &message.value)] {
        match bytes.as_deref().map(std::str::from_utf8) {
            None => object.insert(name.to_owned(), Value::Null),
            Some(Ok(text)) => object.insert(name.to_owned(), json!(text)),
            Some(Err(_)) => {
                object.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes.as_deref().unwrap_or_default())))
            }
        };
    }
    if !message.headers.is_empty() {
        object.insert("headers".to_owned(), print_headers(&message.headers));
    }
    object
}

fn print_headers(headers: &Headers) -> Value {
    let value = |bytes: &Option<Vec<u8>>| match bytes.as_deref().map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => json!(text),
        Some(Err(_)) => json!({ "base64": STANDARD.encode(bytes.as_deref().unwrap_or_default()) }),
    };
    // An object keeps neither order nor repeated names; the order of names is nobody's meaning, repetition may be.
    let repeats = headers.iter().enumerate().any(|(index, (name, _))| headers[..index].iter().any(|(n, _)| n == name));
    if repeats {
        return headers.iter().map(|(name, bytes)| json!([name, value(bytes)])).collect();
    }
    Value::Object(headers.iter().map(|(name, bytes)| (name.clone(), value(bytes))).collect())
}

/// All messages of a text; an error names the line. Empty lines are read over.
pub fn parse_all(name: &str, text: &str, topic: &str) -> anyhow::Result<Vec<PlainMessage>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| parse(line, topic).with_context(|| format!("{name}:{}", index + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_absence_and_other_json() {
        let message = parse(r#"{"key": "a", "value": {"n": 1}, "headers": {"h": "x", "none": null}}"#, "t").unwrap();
        assert_eq!((message.topic.as_str(), message.partition), ("t", -1));
        assert_eq!(message.key.as_deref(), Some(&b"a"[..]));
        assert_eq!(message.value.as_deref(), Some(&br#"{"n":1}"#[..]));
        assert_eq!(message.headers, [("h".to_owned(), Some(b"x".to_vec())), ("none".to_owned(), None)]);
        let absent = parse(r#"{"key": null, "partition": 3, "value": ""}"#, "t").unwrap();
        assert_eq!((absent.key, absent.value, absent.partition), (None, Some(Vec::new()), 3));
    }

    #[test]
    fn what_is_printed_is_read_back_to_the_same_bytes() {
        let message = PlainMessage {
            topic: "t".into(),
            partition: 2,
            offset: 7,
            timestamp: Some(5),
            key: Some(vec![0xff, 0]),
            value: None,
            headers: vec![("a".into(), Some(vec![0xfe])), ("a".into(), Some(b"x".to_vec())), ("b".into(), None)],
        };
        let line = print(&message);
        assert!(line.contains("key_base64"), "{line}");
        assert_eq!(parse(&line, "other").unwrap(), message);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (line, wanted) in [
            ("[1]", "not a JSON object"),
            (r#"{"kye": "a"}"#, "`kye`"),
            (r#"{"partition": -1}"#, "partition -1"),
            (r#"{"key": "a", "key_base64": "YQ=="}"#, "both `key` and `key_base64`"),
            (r#"{"value_base64": "%"}"#, "`value_base64` is not base64"),
            (r#"{"headers": [["a"]]}"#, "is no pair"),
        ] {
            let error = format!("{:#}", parse_all("x.jsonl", &format!("{{}}\n\n{line}\n"), "t").unwrap_err());
            assert!(error.starts_with("x.jsonl:3: ") && error.contains(wanted), "{error}");
        }
    }
}
