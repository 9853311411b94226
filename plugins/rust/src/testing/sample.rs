//! The messages a test hands over.

use crate::message::{ABSENT, HEADER_ROW, ROW};

/// A message to hand over. Without a key it has no key, without a value it is a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    attempt: Option<u32>,
}

impl Sample {
    /// A message with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the key.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// Sets the value.
    pub fn value(mut self, value: impl AsRef<[u8]>) -> Self {
        self.value = Some(value.as_ref().to_vec());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), Some(value.as_ref().to_vec())));
        self
    }

    /// Adds a header without a value.
    pub fn header_without_value(mut self, name: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), None));
        self
    }

    /// Sets the offset; else it is one more than that of the message before, from 0.
    pub fn offset(mut self, offset: i64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Sets the timestamp, in milliseconds since 1970; else there is none.
    pub fn timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }

    /// Sets the attempt; else it is 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }
}

/// A message with that value and nothing else.
impl From<&str> for Sample {
    fn from(value: &str) -> Self {
        Self::new().value(value)
    }
}

/// Samples in the contract's layout.
#[derive(Default)]
pub(super) struct Table {
    pub(super) data: Vec<u8>,
    pub(super) words: Vec<u32>,
    pub(super) headers: Vec<[u32; HEADER_ROW]>,
    pub(super) count: usize,
    pub(super) timestamps: Vec<Option<i64>>,
}

impl Table {
    /// Lays out samples; `next` is the offset of the first one that does not say, and afterwards of the next.
    pub(super) fn of(samples: &[Sample], next: &mut i64) -> Self {
        let mut table = Self { count: samples.len(), ..Self::default() };
        for sample in samples {
            let offset = sample.offset.unwrap_or(*next);
            *next = offset + 1;
            table.row(sample, offset);
        }
        table.words.extend_from_slice(table.headers.as_flattened());
        table
    }

    fn row(&mut self, sample: &Sample, offset: i64) {
        let key = self.put(sample.key.as_deref());
        let value = self.put(sample.value.as_deref());
        let first = number(self.headers.len());
        for (name, value) in &sample.headers {
            let name = self.put(Some(name));
            let value = self.put(value.as_deref());
            self.headers.push([name[0], name[1], value[0], value[1]]);
        }
        let offset = words(offset);
        let timestamp = words(sample.timestamp.unwrap_or(-1));
        let row: [u32; ROW] = [
            key[0],
            key[1],
            value[0],
            value[1],
            first,
            number(sample.headers.len()),
            offset[0],
            offset[1],
            timestamp[0],
            timestamp[1],
            sample.attempt.unwrap_or(1),
            0,
        ];
        self.words.extend_from_slice(&row);
        self.timestamps.push(sample.timestamp);
    }

    fn put(&mut self, bytes: Option<&[u8]>) -> [u32; 2] {
        let Some(bytes) = bytes else { return [0, ABSENT] };
        let start = number(self.data.len());
        self.data.extend_from_slice(bytes);
        [start, number(bytes.len())]
    }
}

fn words(long: i64) -> [u32; 2] {
    let long = long.cast_unsigned();
    [long as u32, (long >> 32) as u32]
}

fn number(value: usize) -> u32 {
    u32::try_from(value).expect("a test hands over less than 4 GiB")
}
