//! Messages as a handler sees them: borrowed from the batch that the host handed over.

use std::cell::OnceCell;
use std::fmt::{self, Display};
use std::rc::Rc;

use crate::host;

/// Words of a message's row in the table (`wit/handler.wit`, world `batches`). A later host may append columns.
pub(crate) const ROW: usize = 12;
/// Words of a header's row.
pub(crate) const HEADER_ROW: usize = 4;
/// The length that says "absent".
pub(crate) const ABSENT: u32 = u32::MAX;

/// One call's messages, in the contract's layout.
pub(crate) struct Batch<'a> {
    source: u32,
    partition: i32,
    data: &'a [u8],
    rows: &'a [u32],
    stride: usize,
    headers: &'a [[u32; HEADER_ROW]],
    topic: OnceCell<Rc<str>>,
}

impl<'a> Batch<'a> {
    /// # Panics
    /// If the table is shorter than it claims or its rows are narrower than this SDK knows: the host speaks another
    /// contract, and going on would misread messages.
    pub(crate) fn new(
        source: u32,
        partition: i32,
        data: &'a [u8],
        table: &'a [u32],
        stride: usize,
        count: usize,
    ) -> Self {
        assert!(stride >= ROW, "the host's rows have {stride} words, this SDK needs {ROW}");
        let (rows, headers) = table.split_at(stride * count);
        let (headers, rest) = headers.as_chunks();
        assert!(rest.is_empty(), "the host's header rows are not {HEADER_ROW} words wide");
        Self { source, partition, data, rows, stride, headers, topic: OnceCell::new() }
    }

    pub(crate) fn data(&self) -> &'a [u8] {
        self.data
    }

    pub(crate) fn header_rows(&self) -> &'a [[u32; HEADER_ROW]] {
        self.headers
    }

    #[inline]
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.rows.chunks_exact(self.stride).map(|row| {
            let row = row.first_chunk().expect("`new` checked that a row has the words of `ROW`");
            Message { batch: self, row }
        })
    }

    #[inline]
    fn bytes(&self, start: u32, length: u32) -> Option<&'a [u8]> {
        if length == ABSENT {
            return None;
        }
        Some(&self.data[start as usize..][..length as usize])
    }
}

/// One Kafka message. Everything in it is borrowed and stays as it is while the handler looks at it.
///
/// An absent value (a tombstone) is not an empty one, and an absent key is not an empty key.
pub struct Message<'a> {
    batch: &'a Batch<'a>,
    row: &'a [u32; ROW],
}

impl<'a> Message<'a> {
    /// The key.
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.batch.bytes(self.row[0], self.row[1])
    }

    /// The value; absent in a tombstone.
    #[inline]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.batch.bytes(self.row[2], self.row[3])
    }

    /// The value as UTF-8 text.
    ///
    /// # Errors
    /// If it is absent or not UTF-8; `?` in a handler makes that a rejection.
    pub fn text(&self) -> Result<&'a str, NotText> {
        let value = self.value().ok_or(NotText::Absent)?;
        std::str::from_utf8(value).map_err(|error| NotText::Invalid { valid_up_to: error.valid_up_to() })
    }

    /// The headers, in order. A name may occur more than once.
    #[inline]
    pub fn headers(&self) -> Headers<'a> {
        Headers { batch: self.batch, rows: self.header_rows().iter() }
    }

    /// The value of the last header of that name, as Kafka's own clients look it up; `None` if there is no such header
    /// or it has no value.
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        let name = name.as_ref();
        self.headers().rev().find(|header| header.name == name)?.value
    }

    /// The offset in its partition. Offsets ascend, with gaps.
    #[inline]
    pub fn offset(&self) -> i64 {
        long(self.row[6], self.row[7])
    }

    /// Milliseconds since 1970, if the message has a timestamp.
    #[inline]
    pub fn timestamp(&self) -> Option<i64> {
        Some(long(self.row[8], self.row[9])).filter(|ms| *ms != -1)
    }

    /// 1 the first time, one more after each retry.
    #[inline]
    pub fn attempt(&self) -> u32 {
        self.row[10]
    }

    /// The topic it was read from.
    pub fn topic(&self) -> &'a str {
        self.batch.topic.get_or_init(|| host::source_name(self.batch.source))
    }

    /// The partition it was read from.
    #[inline]
    pub fn partition(&self) -> i32 {
        self.batch.partition
    }

    /// First header row and how many.
    #[inline]
    pub(crate) fn header_span(&self) -> (u32, u32) {
        (self.row[4], self.row[5])
    }

    /// The header rows themselves.
    #[inline]
    pub(crate) fn header_rows(&self) -> &'a [[u32; HEADER_ROW]] {
        let (first, count) = self.header_span();
        &self.batch.headers[first as usize..][..count as usize]
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("attempt", &self.attempt())
            .field("key", &self.key().map(<[u8]>::escape_ascii).map(|key| key.to_string()))
            .field("value", &self.value().map(<[u8]>::escape_ascii).map(|value| value.to_string()))
            .finish_non_exhaustive()
    }
}

#[inline]
fn long(low: u32, high: u32) -> i64 {
    (u64::from(low) | u64::from(high) << 32).cast_signed()
}

/// One header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name; text by convention, but Kafka lets producers write any bytes.
    pub name: &'a [u8],
    /// The value, if there is one.
    pub value: Option<&'a [u8]>,
}

/// The headers of a message, in order.
#[derive(Clone)]
pub struct Headers<'a> {
    batch: &'a Batch<'a>,
    rows: std::slice::Iter<'a, [u32; HEADER_ROW]>,
}

impl<'a> Headers<'a> {
    fn header(&self, row: &[u32; HEADER_ROW]) -> Header<'a> {
        let name = self.batch.bytes(row[0], row[1]).unwrap_or_default();
        Header { name, value: self.batch.bytes(row[2], row[3]) }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let row = self.rows.next()?;
        Some(self.header(row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
}

impl DoubleEndedIterator for Headers<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let row = self.rows.next_back()?;
        Some(self.header(row))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// A value that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotText {
    /// There is no value.
    Absent,
    /// The value is not UTF-8.
    Invalid {
        /// How many bytes are, from the first.
        valid_up_to: usize,
    },
}

impl Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the value is absent"),
            Self::Invalid { valid_up_to } => write!(f, "the value is not UTF-8 from byte {valid_up_to}"),
        }
    }
}

impl std::error::Error for NotText {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_later_host_are_longer_and_say_the_same() {
        let mut table = Vec::new();
        for row in [[0, 1, 1, 2, 0, 1, 7, 0, 5, 0, 1, 0], [3, 1, 0, ABSENT, 1, 0, 8, 0, u32::MAX, u32::MAX, 2, 0]] {
            table.extend(row);
            // Columns that this SDK does not know.
            table.extend([9; 4]);
        }
        table.extend([4, 1, 5, 1]);
        let batch = Batch::new(0, 3, b"avvbhx", &table, ROW + 4, 2);
        let [first, second] = &batch.messages().collect::<Vec<_>>()[..] else { panic!("two messages") };
        assert_eq!((first.key(), first.value(), first.offset()), (Some(&b"a"[..]), Some(&b"vv"[..]), 7));
        assert_eq!(first.header("h"), Some(&b"x"[..]));
        assert_eq!((second.key(), second.value(), second.attempt()), (Some(&b"b"[..]), None, 2));
    }
}
