//! A message that belongs to its holder.

use rdkafka::message::{BorrowedMessage, Message as _};

use crate::native::each_header;

/// A message, owned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainMessage {
    /// Its topic.
    pub topic: String,
    /// Its partition. To produce: negative lets the key decide, as Java clients do.
    pub partition: i32,
    /// Its offset. Ignored when produced.
    pub offset: i64,
    /// Milliseconds since the epoch. To produce: absent is now.
    pub timestamp: Option<i64>,
    /// The key. Absent is not empty.
    pub key: Option<Vec<u8>>,
    /// The value. Absent is not empty.
    pub value: Option<Vec<u8>>,
    /// Names and values in order. A name that is not UTF-8 is read with replacement characters.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl PlainMessage {
    /// A copy of what a consumer got.
    pub(crate) fn copy(message: &BorrowedMessage<'_>) -> Self {
        let mut headers = Vec::new();
        let add = |name: &[u8], value: Option<&[u8]>| {
            headers.push((String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec)));
        };
        // Not through rust-rdkafka's iterator, which panics at a name that is not UTF-8, and anybody can produce one.
        // SAFETY: the message is borrowed during the call and its consumer is used by one thread.
        unsafe { each_header(message.ptr(), add) };
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }
}
