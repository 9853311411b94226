//! A batch: the messages of one partition, gathered for one call of a handler in the layout of `wit/handler.wit`.
//!
//! One buffer of bytes and one table of words, both reused from call to call: a message costs copies, no allocation.
//! A batch is *open* while messages are pushed and *sealed* once its header rows stand behind its rows; only a sealed
//! batch is handed over.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// Words of a row, as far as they mean something.
pub const STRIDE: usize = 12;
/// Words of a header row.
pub const HEADER_STRIDE: usize = 4;
/// The length that stands for "no key", "no value".
pub const ABSENT: u32 = u32::MAX;

/// Bytes of data, and bytes of table, that a batch may hold. Starts of outputs count on from the end of the input's
/// data in 32 bits, so a quarter of the numbers is left to them.
const LIMIT_BYTES: usize = 3 << 30;
const WORD_BYTES: usize = mem::size_of::<u32>();

// Columns of a row.
const KEY: usize = 0;
const VALUE: usize = 2;
const FIRST_HEADER: usize = 4;
const HEADERS: usize = 5;
const OFFSET: usize = 6;
const TIMESTAMP: usize = 8;
const ATTEMPT: usize = 10;

/// The batch cannot take this message; hand over what it has first.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the batch is full")]
pub struct BatchFull;

/// Messages of one partition, gathered for one call.
///
/// Within `data` a message's key, value and headers lie one behind the other, and messages lie in the order of their
/// rows, so that a range of messages is a range of bytes.
#[derive(Debug)]
pub struct Batch {
    // Filled only while sealed. What is pushed to goes through no `Arc`: asking one whether it is shared costs two
    // atomic operations, per message and header.
    data: Arc<Vec<u8>>,
    table: Arc<Vec<u32>>,
    // Filled only while open.
    open_data: Vec<u8>,
    open_table: Vec<u32>,
    headers: Vec<u32>,
    rows: usize,
    /// Words from one row to the next.
    stride: usize,
    sealed: bool,
    limit_bytes: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty, open batch.
    pub fn new() -> Self {
        Self::with_stride(STRIDE)
    }

    /// One whose rows have `stride` words; those beyond `STRIDE` are 0. For tests of what a handler does with a later
    /// host's batch, whose rows have columns that it does not know.
    ///
    /// # Panics
    /// If `stride` is below `STRIDE`.
    pub fn with_stride(stride: usize) -> Self {
        assert!(stride >= STRIDE, "a row has at least {STRIDE} words");
        Self {
            stride,
            data: Arc::default(),
            table: Arc::default(),
            open_data: Vec::new(),
            open_table: Vec::new(),
            headers: Vec::new(),
            rows: 0,
            sealed: false,
            limit_bytes: LIMIT_BYTES,
        }
    }

    /// Empties and opens the batch. Keeps its memory; if somebody still holds `data()` or `table()`, they keep theirs
    /// and new memory of the same size is taken.
    pub fn clear(&mut self) {
        if self.sealed {
            self.open_data = take_back(&mut self.data);
            self.open_table = take_back(&mut self.table);
            self.sealed = false;
        }
        self.open_data.clear();
        self.open_table.clear();
        self.headers.clear();
        self.rows = 0;
    }

    /// Appends a message. `timestamp` is in milliseconds since 1970.
    ///
    /// # Errors
    /// `BatchFull` if its data would outgrow 32-bit starts; the batch is as it was.
    pub fn push(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        offset: i64,
        timestamp: Option<i64>,
        attempt: u32,
    ) -> Result<(), BatchFull> {
        self.open();
        self.check_room(len(key) + len(value), self.stride)?;
        let first_header = (self.headers.len() / HEADER_STRIDE) as u32;
        let [key_start, key_len] = self.put(key);
        let [value_start, value_len] = self.put(value);
        let [offset_low, offset_high] = words(offset);
        let [time_low, time_high] = words(timestamp.unwrap_or(-1));
        self.open_table.extend_from_slice(&[
            key_start,
            key_len,
            value_start,
            value_len,
            first_header,
            0,
            offset_low,
            offset_high,
            time_low,
            time_high,
            attempt,
            0,
        ]);
        if self.stride > STRIDE {
            self.open_table.resize(self.open_table.len() + self.stride - STRIDE, 0);
        }
        self.rows += 1;
        Ok(())
    }

    /// Appends a header to the message pushed last.
    ///
    /// # Errors
    /// `BatchFull`, as in `push`. The message is then incomplete: take it out again with `pop`.
    ///
    /// # Panics
    /// If the batch is empty.
    pub fn push_header(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), BatchFull> {
        assert!(self.rows > 0, "a header belongs to a message, and the batch has none");
        self.open();
        self.check_room(name.len() + len(value), HEADER_STRIDE)?;
        let [name_start, name_len] = self.put(Some(name));
        let [value_start, value_len] = self.put(value);
        self.headers.extend_from_slice(&[name_start, name_len, value_start, value_len]);
        self.open_table[(self.rows - 1) * self.stride + HEADERS] += 1;
        Ok(())
    }

    /// Takes the message pushed last out again, with its headers. Nothing happens if there is none.
    pub fn pop(&mut self) {
        let Some(last) = self.rows.checked_sub(1) else { return };
        self.open();
        self.open_data.truncate(self.data_start(last));
        self.headers.truncate(self.header_start(last) * HEADER_STRIDE);
        self.open_table.truncate(last * self.stride);
        self.rows = last;
    }

    /// Appends the header rows behind the rows; `data()` and `table()` may be asked for from now on. Does nothing if
    /// the batch is sealed.
    pub fn seal(&mut self) {
        if self.sealed {
            return;
        }
        self.open_table.extend_from_slice(&self.headers);
        give(&mut self.data, mem::take(&mut self.open_data));
        give(&mut self.table, mem::take(&mut self.open_table));
        self.sealed = true;
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True if there is no message.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of all keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.bytes_now().len()
    }

    /// The bytes to which the table's starts refer.
    ///
    /// # Panics
    /// If the batch is not sealed: the guest would be shown the messages of an earlier call.
    pub fn data(&self) -> &Arc<Vec<u8>> {
        assert!(self.sealed, "seal the batch before it is handed over");
        &self.data
    }

    /// Rows of `stride()` words, then header rows of `HEADER_STRIDE` words.
    ///
    /// # Panics
    /// If the batch is not sealed.
    pub fn table(&self) -> &Arc<Vec<u32>> {
        assert!(self.sealed, "seal the batch before it is handed over");
        &self.table
    }

    /// Words from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Number of header rows of all messages.
    pub fn header_rows(&self) -> usize {
        self.headers.len() / HEADER_STRIDE
    }

    /// The message at `index`, of an open batch as of a sealed one.
    ///
    /// # Panics
    /// If there is no such message.
    pub fn message(&self, index: usize) -> MessageRef<'_> {
        let row = &self.rows_now()[index * self.stride..(index + 1) * self.stride];
        let (first, end) = (self.header_start(index), self.header_start(index + 1));
        MessageRef {
            offset: long(row[OFFSET], row[OFFSET + 1]),
            timestamp: Some(long(row[TIMESTAMP], row[TIMESTAMP + 1])).filter(|&time| time != -1),
            attempt: row[ATTEMPT],
            row,
            headers: &self.headers[first * HEADER_STRIDE..end * HEADER_STRIDE],
            data: self.bytes_now(),
            bytes: self.data_start(index + 1) - self.data_start(index),
        }
    }

    /// All messages in order.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = MessageRef<'_>> {
        (0..self.rows).map(|index| self.message(index))
    }

    /// Sets the attempt that the handler is told for the message at `index`.
    ///
    /// # Panics
    /// If there is no such message.
    pub fn set_attempt(&mut self, index: usize, attempt: u32) {
        assert!(index < self.rows, "no message {index} in a batch of {}", self.rows);
        let table = if self.sealed { Arc::make_mut(&mut self.table) } else { &mut self.open_table };
        table[index * self.stride + ATTEMPT] = attempt;
    }

    /// Replaces the content by the messages `range` of `from`, attempts included; the result is sealed.
    ///
    /// # Panics
    /// If `range` is not within `from`, or the rows of `from` have another length.
    pub fn copy_from(&mut self, from: &Batch, range: Range<usize>) {
        assert_eq!(self.stride, from.stride, "rows of one batch have one length");
        self.clear();
        let data = from.data_start(range.start)..from.data_start(range.end);
        let headers = from.header_start(range.start)..from.header_start(range.end);
        // What is taken from each start of `from` to make it a start of ours, modulo 2^32.
        let (shift, header_shift) = (data.start as u32, headers.start as u32);

        self.open_data.extend_from_slice(&from.bytes_now()[data]);
        self.open_table.extend_from_slice(&from.rows_now()[range.start * self.stride..range.end * self.stride]);
        for row in self.open_table.chunks_exact_mut(self.stride) {
            row[KEY] = row[KEY].wrapping_sub(shift);
            row[VALUE] = row[VALUE].wrapping_sub(shift);
            row[FIRST_HEADER] = row[FIRST_HEADER].wrapping_sub(header_shift);
        }
        self.headers.extend_from_slice(&from.headers[headers.start * HEADER_STRIDE..headers.end * HEADER_STRIDE]);
        for row in self.headers.chunks_exact_mut(HEADER_STRIDE) {
            row[KEY] = row[KEY].wrapping_sub(shift);
            row[VALUE] = row[VALUE].wrapping_sub(shift);
        }
        self.rows = range.len();
        self.seal();
    }

    /// Makes a sealed batch open again with its messages.
    fn open(&mut self) {
        if !self.sealed {
            return;
        }
        self.open_data = Arc::get_mut(&mut self.data).map(mem::take).unwrap_or_else(|| self.data.to_vec());
        self.open_table = Arc::get_mut(&mut self.table).map(mem::take).unwrap_or_else(|| self.table.to_vec());
        self.open_table.truncate(self.rows * self.stride);
        self.sealed = false;
    }

    fn check_room(&self, bytes: usize, words: usize) -> Result<(), BatchFull> {
        let words = self.open_table.len() + self.headers.len() + words;
        let fits = bytes <= self.limit_bytes - self.open_data.len() && words * WORD_BYTES <= self.limit_bytes;
        if fits { Ok(()) } else { Err(BatchFull) }
    }

    /// Copies bytes behind the data; returns their start and length. An absent key or value has a start, too: that of
    /// the row's key is where the message begins.
    fn put(&mut self, bytes: Option<&[u8]>) -> [u32; 2] {
        let start = self.open_data.len() as u32;
        match bytes {
            Some(bytes) => {
                self.open_data.extend_from_slice(bytes);
                [start, bytes.len() as u32]
            }
            None => [start, ABSENT],
        }
    }

    fn bytes_now(&self) -> &[u8] {
        if self.sealed { &self.data } else { &self.open_data }
    }

    fn rows_now(&self) -> &[u32] {
        let table: &[u32] = if self.sealed { &self.table } else { &self.open_table };
        &table[..self.rows * self.stride]
    }

    /// Where the bytes of the message at `index` begin; of the message after the last one: where all bytes end.
    fn data_start(&self, index: usize) -> usize {
        self.rows_now().get(index * self.stride + KEY).map_or(self.bytes_now().len(), |&start| start as usize)
    }

    fn header_start(&self, index: usize) -> usize {
        self.rows_now().get(index * self.stride + FIRST_HEADER).map_or(self.header_rows(), |&first| first as usize)
    }
}

/// One message of a batch, borrowed.
#[derive(Copy, Clone, Debug)]
pub struct MessageRef<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// 1 the first time.
    pub attempt: u32,
    row: &'a [u32],
    headers: &'a [u32],
    data: &'a [u8],
    bytes: usize,
}

impl<'a> MessageRef<'a> {
    /// The key; an empty key is a key.
    pub fn key(&self) -> Option<&'a [u8]> {
        slice(self.data, self.row[KEY], self.row[KEY + 1])
    }

    /// The value; `None` is a tombstone, not an empty value.
    pub fn value(&self) -> Option<&'a [u8]> {
        slice(self.data, self.row[VALUE], self.row[VALUE + 1])
    }

    /// The headers in order, with repeated names.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rows: self.headers, data: self.data }
    }

    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Iterates over the headers of a message: name and value.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rows: &'a [u32],
    data: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (row, rest) = self.rows.split_first_chunk::<HEADER_STRIDE>()?;
        self.rows = rest;
        Some((slice(self.data, row[0], row[1]).unwrap_or_default(), slice(self.data, row[2], row[3])))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.rows.len() / HEADER_STRIDE;
        (len, Some(len))
    }
}

impl ExactSizeIterator for Headers<'_> {}

fn slice(data: &[u8], start: u32, len: u32) -> Option<&[u8]> {
    (len != ABSENT).then(|| &data[start as usize..start as usize + len as usize])
}

fn len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

fn words(number: i64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

fn long(low: u32, high: u32) -> i64 {
    (i64::from(high as i32) << 32) | i64::from(low)
}

/// Puts `content` into `shared`, without a new allocation unless somebody still holds the old one.
fn give<T>(shared: &mut Arc<Vec<T>>, content: Vec<T>) {
    match Arc::get_mut(shared) {
        Some(slot) => *slot = content,
        None => *shared = Arc::new(content),
    }
}

/// Takes the memory out of `shared`, or as much new memory if somebody still holds it.
fn take_back<T>(shared: &mut Arc<Vec<T>>) -> Vec<T> {
    match Arc::get_mut(shared) {
        Some(slot) => mem::take(slot),
        None => {
            let capacity = shared.capacity();
            *shared = Arc::default();
            Vec::with_capacity(capacity)
        }
    }
}

#[cfg(test)]
mod tests;
