//! A message as tests write and read it, and its form on the way to and from the JVM.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// One message, to be produced or as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// To produce: `None` lets Kafka's own partitioner choose.
    pub partition: Option<i32>,
    /// As read; ignored when producing.
    pub offset: i64,
    /// Milliseconds since the epoch; to produce: `None` is now.
    pub timestamp: Option<i64>,
    /// Absent is not empty.
    pub key: Option<Vec<u8>>,
    /// Absent is not empty.
    pub value: Option<Vec<u8>>,
    /// In order; a name may come more than once.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Message {
    /// A message with a key and a value.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// On this partition.
    #[must_use]
    pub fn on(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// The value as text; `-` if it is absent.
    pub fn text(&self) -> String {
        self.value.as_ref().map_or_else(|| "-".into(), |value| String::from_utf8_lossy(value).into_owned())
    }

    /// The first header of that name, as text.
    pub fn header_text(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
    }

    pub(crate) fn to_json(&self) -> Value {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| json!([name, bytes_to_json(value.as_deref())])).collect();
        let (key, value) = (bytes_to_json(self.key.as_deref()), bytes_to_json(self.value.as_deref()));
        json!([self.partition, self.offset, self.timestamp, key, value, headers])
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let headers = value.get(5)?.as_array()?.iter();
        Some(Self {
            partition: Some(value.get(0)?.as_i64()?.try_into().ok()?),
            offset: value.get(1)?.as_i64()?,
            timestamp: value.get(2)?.as_i64(),
            key: bytes_from_json(value.get(3)?)?,
            value: bytes_from_json(value.get(4)?)?,
            headers: headers
                .map(|one| Some((one.get(0)?.as_str()?.to_owned(), bytes_from_json(one.get(1)?)?)))
                .collect::<Option<_>>()?,
        })
    }
}

fn bytes_to_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => json!(text),
        Some((bytes, Err(_))) => json!({ "b64": BASE64_STANDARD.encode(bytes) }),
    }
}

fn bytes_from_json(value: &Value) -> Option<Option<Vec<u8>>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone().into_bytes())),
        other => Some(Some(BASE64_STANDARD.decode(other.get("b64")?.as_str()?).ok()?)),
    }
}
