//! A message that librdkafka is done with, as an event of reports holds it.

use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as E;

use super::record::{Fields, Headers};
use super::room::weight_of;
use crate::error::{Code, text_of};
use crate::native::{Event, bytes, each_header};
use crate::produce_error::{DeliveryError, ProduceErrorClass};

/// A message that librdkafka is done with, valid as long as the event it came with.
#[derive(Clone, Copy)]
pub(super) struct Settled<'a>(*const sys::rd_kafka_message_t, PhantomData<&'a Event>);

impl<'a> Settled<'a> {
    /// `message` was taken from `event`.
    pub(super) fn of(message: *const sys::rd_kafka_message_t, _: &'a Event) -> Self {
        Self(message, PhantomData)
    }
}

impl Settled<'_> {
    pub(super) fn code(self) -> Code {
        // SAFETY: the message lives as long as the event.
        unsafe { Code::read(&raw const (*self.0).err) }
    }

    pub(super) fn token(self) -> u64 {
        // SAFETY: the message lives as long as the event.
        (unsafe { (*self.0)._private }) as usize as u64
    }

    /// The timestamp the message was sent with. librdkafka answers -1 for a message with an error, and sent again with that it
    /// would have none: so the error is put away while asking.
    pub(super) fn timestamp(self) -> i64 {
        // SAFETY: the message lives as long as the event and no other thread looks at it. The field is written with a value
        // of its type and put back as it was, by number, since it may be one that the enum does not have.
        unsafe {
            let err = (&raw mut (*self.0.cast_mut()).err).cast::<i32>();
            let code = err.read();
            err.write(0);
            let timestamp = sys::rd_kafka_message_timestamp(self.0, null_mut());
            err.write(code);
            timestamp
        }
    }

    pub(super) fn error(self, class: ProduceErrorClass) -> Box<DeliveryError> {
        Box::new(DeliveryError::new(class, self.code()))
    }

    /// The same figure as `Outgoing::weight` gave when it was sent.
    pub(super) fn weight(self) -> u64 {
        weight_of(self.key_and_header_bytes())
    }

    /// Bytes of key and headers.
    pub(super) fn key_and_header_bytes(self) -> usize {
        // SAFETY: the message lives as long as the event and belongs to this thread.
        let mut bytes = unsafe { (*self.0).key_len };
        // SAFETY: as above.
        unsafe { each_header(self.0, |name, value| bytes += name.len() + value.map_or(0, <[u8]>::len)) };
        bytes
    }

    /// Takes the headers from the message. Once: it has none afterwards.
    pub(super) fn take_headers(self) -> Option<Headers> {
        let mut list = null_mut();
        // SAFETY: the message is ours until the event is dropped, and nobody else looks at it: taking its headers is a
        // change it allows. The list is nobody else's then.
        let code = unsafe { sys::rd_kafka_message_detach_headers(self.0.cast_mut(), &mut list) };
        (code == E::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| NonNull::new(list)).flatten().map(Headers::owned)
    }

    /// The name of its topic.
    pub(super) fn topic(self) -> String {
        // SAFETY: the message and its topic live as long as the event; the name is copied.
        unsafe { text_of(sys::rd_kafka_topic_name((*self.0).rkt)) }
    }

    /// The message as it was sent, with this timestamp (0: now) and the headers that were taken from it.
    pub(super) fn fields(self, timestamp: i64, headers: Option<&Headers>) -> Fields {
        let mut fields = Fields::new();
        // SAFETY: the message and its topic live as long as the event. Value and key are described by pointer and length of
        // the same message.
        unsafe {
            let message = &raw const *self.0;
            fields.topic_name(sys::rd_kafka_topic_name((*message).rkt));
            fields.partition((*message).partition);
            fields.value(bytes((*message).payload, (*message).len));
            fields.key(bytes((*message).key, (*message).key_len));
            fields.timestamp(timestamp);
        }
        fields.token(self.token());
        if let Some(headers) = headers {
            fields.headers(headers);
        }
        fields
    }
}
