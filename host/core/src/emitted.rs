//! What a handler's call gave back: emitted rows with their spans, and failures.
//!
//! The numbers in here were written by a guest. `host/wasm` checks them (`Span::within`) before anything else sees them.

use std::time::Duration;

use crate::batch::ABSENT;

/// Bytes of an output: of the input batch if `start` lies below the input's length, of `Emitted::data` otherwise.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte; from the length of the input's data on it counts into the call's own data.
    pub start: u32,
    /// Number of bytes; `ABSENT`: there is no key or value at all.
    pub len: u32,
}

impl Span {
    /// No key, or no value (a tombstone).
    pub const NONE: Self = Self { start: 0, len: ABSENT };

    /// True if there is no key or value.
    pub fn is_absent(self) -> bool {
        self.len == ABSENT
    }

    /// True if the span names bytes that exist, given the lengths of the input's data and of the call's own. A span
    /// may not begin in one and end in the other.
    pub fn within(self, input: usize, own: usize) -> bool {
        let (start, len) = (self.start as usize, self.len as usize);
        if self.is_absent() {
            return true;
        }
        if start < input {
            len <= input - start
        } else {
            own.checked_sub(start - input).is_some_and(|rest| len <= rest)
        }
    }
}

/// One output of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmittedRow {
    /// Index of the input message it belongs to.
    pub message: u32,
    /// Number of the topic; 0 is the pipeline's default output.
    pub topic: u32,
    /// Where the key is in the call's bytes.
    pub key: Span,
    /// Where the value is in the call's bytes.
    pub value: Span,
    /// Index of its first row in `Emitted::headers`.
    pub first_header: u32,
    /// Number of its header rows.
    pub headers: u32,
    /// Milliseconds since 1970; `None`: that of the input message.
    pub timestamp: Option<i64>,
    /// `None`: by key.
    pub partition: Option<i32>,
}

/// Everything one call emitted, in the order of emission. Reused from call to call.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Emitted {
    /// The call's own bytes.
    pub data: Vec<u8>,
    /// The outputs.
    pub rows: Vec<EmittedRow>,
    /// Name and value of every header of every output.
    pub headers: Vec<[Span; 2]>,
}

impl Emitted {
    /// Nothing emitted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.rows.clear();
        self.headers.clear();
    }

    /// The bytes of `span`, with `input` the data of the batch that was handled; `None` if the span is absent.
    ///
    /// # Panics
    /// If the span was not checked with `Span::within`. An empty or absent value in its place would go out as a
    /// message that nobody wrote, or as a tombstone that deletes.
    pub fn bytes<'a>(&'a self, input: &'a [u8], span: Span) -> Option<&'a [u8]> {
        if span.is_absent() {
            return None;
        }
        let (start, len) = (span.start as usize, span.len as usize);
        let (from, start) = if start < input.len() { (input, start) } else { (&self.data[..], start - input.len()) };
        Some(&from[start..start + len])
    }

    /// The header rows of `row`.
    ///
    /// # Panics
    /// If the row's header numbers were not checked.
    pub fn headers_of(&self, row: &EmittedRow) -> &[[Span; 2]] {
        let first = row.first_header as usize;
        &self.headers[first..first + row.headers as usize]
    }
}

/// What kind of failure a handler named.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// Hand the message over again later.
    Retry,
    /// Give it up at once.
    Reject,
}

/// A message that the handler did not acknowledge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Index of the message in the batch.
    pub message: u32,
    /// How long the handler asks to wait at least; without meaning for a reject.
    pub retry_after: Option<Duration>,
    /// Retry or reject.
    pub kind: FailureKind,
    /// The handler's words, already cut and escaped.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, len: u32) -> Span {
        Span { start, len }
    }

    #[test]
    fn a_span_names_input_bytes_below_the_input_length_and_own_bytes_from_it_on() {
        let emitted = Emitted { data: b"own".to_vec(), ..Emitted::default() };
        assert_eq!(emitted.bytes(b"input", span(1, 3)), Some(&b"npu"[..]));
        assert_eq!(emitted.bytes(b"input", span(5, 3)), Some(&b"own"[..]));
        assert_eq!(emitted.bytes(b"input", span(5, 0)), Some(&b""[..]));
    }

    #[test]
    fn an_absent_value_is_not_an_empty_one() {
        let emitted = Emitted::new();
        assert_eq!(emitted.bytes(b"input", Span::NONE), None);
        assert_eq!(emitted.bytes(b"input", span(0, 0)), Some(&b""[..]));
    }

    #[test]
    fn refuses_spans_beyond_either_end_and_across_the_border() {
        assert!(span(0, 5).within(5, 3) && span(5, 3).within(5, 3) && span(8, 0).within(5, 3));
        assert!(Span::NONE.within(0, 0));
        for bad in [span(0, 6), span(4, 2), span(5, 4), span(8, 1), span(9, 0), span(u32::MAX, 1)] {
            assert!(!bad.within(5, 3), "{bad:?}");
        }
    }
}
