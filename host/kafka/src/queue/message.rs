//! One message as librdkafka holds it, read in place and given back at once.

use std::collections::VecDeque;
use std::ptr::{NonNull, null_mut};

use rdkafka::bindings as sys;
use wasmill_core::{Batch, BatchFull};

use crate::error::{Code, text_of};
use crate::native::{bytes, try_each_header};

/// An entry taken from the library and not yet handed out: a message, or an error in a message's clothes.
pub(crate) enum Held {
    /// In librdkafka's memory.
    Native(Native),
    /// Made by a test.
    #[cfg(test)]
    Made(super::tests::Made),
}

impl Held {
    pub(crate) fn offset(&self) -> i64 {
        match self {
            Self::Native(message) => message.offset(),
            #[cfg(test)]
            Self::Made(message) => message.offset,
        }
    }

    /// The code if this is an error and not a message.
    pub(crate) fn error(&self) -> Option<Code> {
        let code = match self {
            Self::Native(message) => message.code(),
            #[cfg(test)]
            Self::Made(message) => message.code,
        };
        code.is_error().then_some(code)
    }

    pub(crate) fn error_text(&self) -> String {
        match self {
            Self::Native(message) => message.error_text(),
            #[cfg(test)]
            Self::Made(_) => String::new(),
        }
    }

    /// Bytes of key and value.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Native(message) => message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len),
            #[cfg(test)]
            Self::Made(message) => message.bytes(),
        }
    }

    /// Appends the message to `batch`. On an error the batch is as it was.
    pub(crate) fn gather(&self, batch: &mut Batch) -> Result<(), BatchFull> {
        match self {
            Self::Native(message) => message.gather(batch),
            #[cfg(test)]
            Self::Made(message) => message.gather(batch),
        }
    }
}

/// A message in librdkafka's memory; dropping it gives the memory back.
pub(crate) struct Native(NonNull<sys::rd_kafka_message_t>);

// SAFETY: librdkafka lets any thread read and destroy a message, and a `Native` has one owner.
unsafe impl Send for Native {}

impl Native {
    /// # Safety
    /// `message` was handed over by librdkafka and belongs to nobody else; its client outlives the value.
    pub(crate) unsafe fn new(message: NonNull<sys::rd_kafka_message_t>) -> Self {
        Self(message)
    }

    fn code(&self) -> Code {
        // SAFETY: the message is alive as long as `self`.
        unsafe { Code::read(&raw const (*self.0.as_ptr()).err) }
    }

    fn offset(&self) -> i64 {
        // SAFETY: the message is alive as long as `self`.
        unsafe { (*self.0.as_ptr()).offset }
    }

    fn error_text(&self) -> String {
        // SAFETY: the message is alive; the text is NULL or NUL-terminated and belongs to the message.
        unsafe { text_of(sys::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    fn key(&self) -> Option<&[u8]> {
        // SAFETY: the message is alive as long as `self`, and so are its bytes, which nobody changes.
        unsafe { bytes((*self.0.as_ptr()).key, (*self.0.as_ptr()).key_len) }
    }

    fn value(&self) -> Option<&[u8]> {
        // SAFETY: as in `key`. In an error entry this is the error's text.
        unsafe { bytes((*self.0.as_ptr()).payload, (*self.0.as_ptr()).len) }
    }

    fn timestamp(&self) -> Option<i64> {
        // SAFETY: the message is alive; the kind of timestamp need not be asked for.
        let millis = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), null_mut()) };
        (millis >= 0).then_some(millis)
    }

    fn gather(&self, batch: &mut Batch) -> Result<(), BatchFull> {
        batch.push(self.key(), self.value(), self.offset(), self.timestamp(), 1)?;
        // SAFETY: the message is alive and ours alone.
        let gathered = unsafe { try_each_header(self.0.as_ptr(), |name, value| batch.push_header(name, value)) };
        if gathered.is_err() {
            batch.pop();
        }
        gathered
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: ours alone, destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// Room for pointers, kept between calls.
pub(crate) type Scratch = Vec<*mut sys::rd_kafka_message_t>;

/// Moves the first `taken` pointers of `scratch` to `into` as owners.
///
/// # Safety
/// librdkafka wrote `taken` messages to the front of `scratch` and gave them away.
pub(crate) unsafe fn adopt(scratch: &[*mut sys::rd_kafka_message_t], taken: usize, into: &mut VecDeque<Held>) {
    for message in scratch.iter().take(taken) {
        if let Some(message) = NonNull::new(*message) {
            // SAFETY: given away by librdkafka, says the caller; each pointer is taken once.
            into.push_back(Held::Native(unsafe { Native::new(message) }));
        }
    }
}
