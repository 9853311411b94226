//! What a handler emits, written straight into the layout of the contract (`outcome.emit` in `wit/handler.wit`).
//!
//! A slice that lies within the batch's own bytes is sent as a reference: Rust's borrow of the message proves that
//! those bytes are still what the host handed over, so nothing is copied, neither here nor in the host.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

use crate::host;
use crate::message::{ABSENT, Batch, HEADER_ROW, Message};

/// Words of an output's row.
pub(crate) const ROW: usize = 12;
const TIMESTAMP_GIVEN: u32 = 1;
const PARTITION_GIVEN: u32 = 2;

/// Past either of these the outputs so far go to the host: a handler that emits without end then meets the pipeline's
/// output limit, which says so, and not that of its memory.
const FLUSH_BYTES: usize = 1 << 20;
const FLUSH_WORDS: usize = ROW * (16 << 10);

/// Of the data handed to the host, whose copy is as aligned: on some processors copying a few KiB takes many times longer
/// when source and destination lie less than 16 bytes off each other within a page.
const ALIGNMENT: usize = 16;

/// An output topic, as the host numbers it. Cheap to copy and valid as long as the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Topic(u32);

impl Topic {
    /// The pipeline's default output.
    pub const DEFAULT: Self = Self(0);

    /// An output topic by name. Ask in [`Handler::init`](crate::Handler::init), so that a topic that is not granted
    /// keeps the pipeline from starting. The host is asked once for each name.
    ///
    /// # Errors
    /// If the pipeline's `output` does not grant it: the host's text, which says what it does grant.
    pub fn named(name: &str) -> Result<Self, String> {
        host::topic_number(name).map(Self)
    }
}

/// Start and length of bytes: below the length of the batch's data in the batch, else behind the lead of `Outputs::data`.
#[derive(Clone, Copy)]
struct Span(u32, u32);

const NOTHING: Span = Span(0, ABSENT);

/// What the handler emits for the message at hand. It is published, in order, if and when the message is acknowledged.
#[derive(Default)]
pub struct Outputs {
    /// `lead` bytes of nothing, then what is emitted.
    data: Vec<u8>,
    /// So many that what is emitted begins at a multiple of `ALIGNMENT`, as long as the buffer does not move.
    lead: usize,
    rows: Vec<u32>,
    headers: Vec<u32>,
    /// The message at hand.
    message: u32,
    /// Where the batch's bytes are, and how many.
    input_at: usize,
    input_len: usize,
    input_headers: usize,
}

impl Outputs {
    /// Sends key and value to the pipeline's default output, with the message's timestamp and no headers.
    #[inline]
    pub fn send(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let key = self.put(key);
        let value = self.put(value);
        self.plain_row(key, value, (0, 0));
    }

    /// As [`send`](Outputs::send), with a value that `write` appends to the output buffer itself, which saves a copy.
    #[inline]
    pub fn send_with(&mut self, key: Option<&[u8]>, write: impl FnOnce(&mut Buffer<'_>)) {
        let key = self.put(key);
        let value = self.put_with(write);
        self.plain_row(key, value, (0, 0));
    }

    /// Sends the message on as it is, headers included, to the pipeline's default output.
    #[inline]
    pub fn forward(&mut self, message: &Message<'_>) {
        let key = self.put(message.key());
        let value = self.put(message.value());
        self.plain_row(key, value, message.header_span());
    }

    /// Begins an output to a topic; nothing is emitted before [`Draft::send`].
    #[inline]
    pub fn to(&mut self, topic: Topic) -> Draft<'_> {
        let row = [self.message, topic.0, NOTHING.0, NOTHING.1, NOTHING.0, NOTHING.1, 0, 0, 0, 0, 0, 0];
        Draft { out: self, row, inherited: &[] }
    }

    /// Prepares for a batch.
    pub(crate) fn begin(&mut self, batch: &Batch<'_>) {
        self.clear();
        self.input_at = batch.data().as_ptr().addr();
        self.input_len = batch.data().len();
        self.input_headers = batch.header_rows().len();
    }

    #[inline]
    pub(crate) fn at_message(&mut self, index: u32) {
        self.message = index;
    }

    /// Hands the outputs so far to the host.
    pub(crate) fn flush(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let count = number(self.rows.len() / ROW);
        self.rows.extend_from_slice(&self.headers);
        host::emit(&self.data[self.lead..], &self.rows, number(ROW), count);
        self.clear();
    }

    fn clear(&mut self) {
        self.data.clear();
        self.lead = to_alignment(self.data.as_ptr().addr());
        self.data.resize(self.lead, 0);
        self.rows.clear();
        self.headers.clear();
    }

    #[inline]
    fn put(&mut self, bytes: Option<&[u8]>) -> Span {
        let Some(bytes) = bytes else { return NOTHING };
        let at = bytes.as_ptr().addr().wrapping_sub(self.input_at);
        if at < self.input_len && bytes.len() <= self.input_len - at {
            return Span(number(at), number(bytes.len()));
        }
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        self.own(start)
    }

    #[inline]
    fn put_with(&mut self, write: impl FnOnce(&mut Buffer<'_>)) -> Span {
        let start = self.data.len();
        write(&mut Buffer { data: &mut self.data, start });
        self.own(start)
    }

    /// What was appended to `data` since it had `start` bytes.
    #[inline]
    fn own(&self, start: usize) -> Span {
        Span(number(self.input_len + start - self.lead), number(self.data.len() - start))
    }

    #[inline]
    fn plain_row(&mut self, key: Span, value: Span, headers: (u32, u32)) {
        self.row(&[self.message, 0, key.0, key.1, value.0, value.1, headers.0, headers.1, 0, 0, 0, 0]);
    }

    #[inline]
    fn row(&mut self, row: &[u32; ROW]) {
        self.rows.extend_from_slice(row);
        if self.data.len() >= FLUSH_BYTES || self.rows.len() >= FLUSH_WORDS {
            self.flush();
        }
    }
}

/// Lossless where it matters: a wasm32 address has 32 bits. Off-wasm a test would need 4 GiB of messages to fail here.
#[inline]
fn number(value: usize) -> u32 {
    u32::try_from(value).expect("a batch and its outputs have less than 4 GiB")
}

/// How many bytes from an address to the next that is a multiple of `ALIGNMENT`.
fn to_alignment(address: usize) -> usize {
    address.wrapping_neg() % ALIGNMENT
}

/// An output that is being put together. Without a key it has no key, without a value it is a tombstone.
#[must_use = "nothing is emitted before `send`"]
pub struct Draft<'o> {
    out: &'o mut Outputs,
    row: [u32; ROW],
    /// The input's header rows that `row` refers to as they are, as long as no other header joins them.
    inherited: &'o [[u32; HEADER_ROW]],
}

impl<'o> Draft<'o> {
    /// Sets the key.
    pub fn key(mut self, key: Option<&[u8]>) -> Self {
        let Span(start, length) = self.out.put(key);
        self.row[2..4].copy_from_slice(&[start, length]);
        self
    }

    /// Sets the value.
    pub fn value(mut self, value: Option<&[u8]>) -> Self {
        let Span(start, length) = self.out.put(value);
        self.row[4..6].copy_from_slice(&[start, length]);
        self
    }

    /// Sets the value to what `write` appends to the output buffer itself, which saves a copy.
    pub fn value_with(mut self, write: impl FnOnce(&mut Buffer<'_>)) -> Self {
        let Span(start, length) = self.out.put_with(write);
        self.row[4..6].copy_from_slice(&[start, length]);
        self
    }

    /// Adds a header behind those already there.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: Option<&[u8]>) -> Self {
        self.own_headers();
        let name = self.out.put(Some(name.as_ref()));
        let value = self.out.put(value);
        self.out.headers.extend_from_slice(&[name.0, name.1, value.0, value.1]);
        self.row[7] += 1;
        self
    }

    /// Adds all headers of a message behind those already there.
    pub fn headers_of(mut self, message: &Message<'o>) -> Self {
        let rows = message.header_rows();
        if self.row[7] == 0 {
            (self.row[6], self.row[7]) = message.header_span();
            self.inherited = rows;
        } else {
            self.own_headers();
            self.out.headers.extend_from_slice(rows.as_flattened());
            self.row[7] += number(rows.len());
        }
        self
    }

    /// Sets the timestamp, in milliseconds since 1970; else it is that of the message. One before 1970 breaks the
    /// contract, which ends the call as a trap would.
    pub fn timestamp(mut self, ms: i64) -> Self {
        let ms = ms.cast_unsigned();
        self.row[8..10].copy_from_slice(&[ms as u32, (ms >> 32) as u32]);
        self.row[11] |= TIMESTAMP_GIVEN;
        self
    }

    /// Sets the partition; else the key decides, as in Kafka's own clients. A negative one breaks the contract, which
    /// ends the call as a trap would; one that the topic does not have makes the host give the message up.
    pub fn partition(mut self, partition: i32) -> Self {
        self.row[10] = partition.cast_unsigned();
        self.row[11] |= PARTITION_GIVEN;
        self
    }

    /// Emits it.
    pub fn send(self) {
        self.out.row(&self.row);
    }

    /// Makes the headers so far rows of this call, so that others can follow them. Rows of the input are copied as they
    /// are: their starts lie below the length of the input, which means the same bytes in both tables.
    fn own_headers(&mut self) {
        let next = number(self.out.input_headers + self.out.headers.len() / HEADER_ROW);
        if self.row[7] == 0 {
            self.row[6] = next;
        } else if !self.inherited.is_empty() {
            self.row[6] = next;
            self.out.headers.extend_from_slice(self.inherited.as_flattened());
            self.inherited = &[];
        }
    }
}

/// The tail of the output buffer, where a value is being written. What other outputs put there is out of reach.
pub struct Buffer<'o> {
    data: &'o mut Vec<u8>,
    start: usize,
}

impl Buffer<'_> {
    /// Appends a byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.data.push(byte);
    }

    /// Appends bytes.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Makes room for `additional` more bytes.
    pub fn reserve(&mut self, additional: usize) {
        self.data.reserve(additional);
    }

    /// Drops all but the first `length` bytes of this value.
    pub fn truncate(&mut self, length: usize) {
        self.data.truncate(self.start.saturating_add(length));
    }
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.data[self.start..]
    }
}

impl DerefMut for Buffer<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..]
    }
}

impl Extend<u8> for Buffer<'_> {
    #[inline]
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.data.extend(bytes);
    }
}

impl io::Write for Buffer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Buffer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.data.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    /// A batch of one message: key `ab`, value `cdef`, one header `n`.
    const DATA: &[u8] = b"abcdefn";
    const TABLE: &[u32] = &[0, 2, 2, 4, 0, 1, 0, 0, 0, 0, 1, 0, 6, 1, 0, ABSENT];

    fn with(emit: impl FnOnce(&Message<'_>, &mut Outputs)) -> Outputs {
        let batch = Batch::new(0, 0, DATA, TABLE, message::ROW, 1);
        let mut out = Outputs::default();
        out.begin(&batch);
        emit(&batch.messages().next().unwrap(), &mut out);
        out
    }

    #[test]
    fn what_lies_in_the_input_is_sent_as_a_reference() {
        let out = with(|message, out| {
            out.forward(message);
            out.send(message.value().map(|value| &value[1..3]), message.key());
            out.to(Topic::DEFAULT).headers_of(message).send();
        });
        assert!(out.data.len() == out.lead && out.headers.is_empty());
        assert_eq!(out.rows[2..8], [0, 2, 2, 4, 0, 1]);
        assert_eq!(out.rows[ROW + 2..ROW + 8], [3, 2, 0, 2, 0, 0]);
        assert_eq!(out.rows[2 * ROW + 2..2 * ROW + 8], [0, ABSENT, 0, ABSENT, 0, 1]);
    }

    #[test]
    fn equal_bytes_elsewhere_are_sent_as_a_copy() {
        let copy = DATA[2..6].to_vec();
        let out = with(|_, out| out.send(None, Some(&copy)));
        assert_eq!(out.data[out.lead..], *b"cdef");
        assert_eq!(out.rows[2..6], [0, ABSENT, 7, 4]);
    }

    /// Allocators off-wasm align to 16 anyway, so the sum is tested, not a buffer.
    #[test]
    fn what_the_host_copies_is_aligned() {
        assert_eq!([0, 1, 8, 15, 16, 4104].map(to_alignment), [0, 15, 8, 1, 0, 8]);
    }

    #[test]
    fn an_empty_slice_is_present_wherever_it_points() {
        let out = with(|message, out| {
            let value = message.value().unwrap();
            out.send(Some(&[]), Some(&value[4..]));
            out.send(Some(&DATA[7..]), Some(&value[..0]));
        });
        assert_eq!(out.rows[2..6], [7, 0, 6, 0]);
        assert_eq!(out.rows[ROW + 2..ROW + 6], [7, 0, 2, 0]);
    }
}
