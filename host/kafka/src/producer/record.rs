//! A message as librdkafka's call to produce takes it.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_vtype_t as V;

use crate::error::{Code, text_of};
use crate::native::{Client, Topic};
use crate::produce_error::SendError;

/// The most fields a message has: topic, partition, flags, value, key, token, timestamp, headers.
const MAX_FIELDS: usize = 8;

/// The arguments of one `rd_kafka_produceva`, on the stack and not zeroed first: they are 72 bytes each.
pub(crate) struct Fields {
    items: [MaybeUninit<sys::rd_kafka_vu_t>; MAX_FIELDS],
    len: usize,
}

type Union = sys::rd_kafka_vu_s__bindgen_ty_1;

impl Fields {
    pub(crate) fn new() -> Self {
        let mut fields = Self { items: [const { MaybeUninit::uninit() }; MAX_FIELDS], len: 0 };
        // librdkafka copies value and key before the call returns.
        fields.push(V::RD_KAFKA_VTYPE_MSGFLAGS, Union { i: sys::RD_KAFKA_MSG_F_COPY });
        fields
    }

    pub(crate) fn topic(&mut self, topic: &Topic) {
        self.push(V::RD_KAFKA_VTYPE_RKT, Union { rkt: topic.ptr() });
    }

    pub(crate) fn topic_name(&mut self, name: *const c_char) {
        self.push(V::RD_KAFKA_VTYPE_TOPIC, Union { cstr: name });
    }

    pub(crate) fn partition(&mut self, partition: i32) {
        self.push(V::RD_KAFKA_VTYPE_PARTITION, Union { i32_: partition });
    }

    pub(crate) fn value(&mut self, value: Option<&[u8]>) {
        self.push_bytes(V::RD_KAFKA_VTYPE_VALUE, value);
    }

    pub(crate) fn key(&mut self, key: Option<&[u8]>) {
        self.push_bytes(V::RD_KAFKA_VTYPE_KEY, key);
    }

    /// The token travels as a pointer that nobody follows.
    pub(crate) fn token(&mut self, token: u64) {
        self.push(V::RD_KAFKA_VTYPE_OPAQUE, Union { ptr: token as usize as *mut c_void });
    }

    pub(crate) fn timestamp(&mut self, timestamp: i64) {
        self.push(V::RD_KAFKA_VTYPE_TIMESTAMP, Union { i64_: timestamp });
    }

    pub(crate) fn headers(&mut self, headers: &Headers) {
        self.push(V::RD_KAFKA_VTYPE_HEADERS, Union { headers: headers.0.as_ptr() });
    }

    fn push(&mut self, vtype: V, u: Union) {
        self.items[self.len].write(sys::rd_kafka_vu_t { vtype, u });
        self.len += 1;
    }

    fn push_bytes(&mut self, vtype: V, bytes: Option<&[u8]>) {
        if let Some(bytes) = bytes {
            // An empty slice has a pointer that is not NULL, which is what tells empty from absent.
            let ptr = bytes.as_ptr().cast::<c_void>().cast_mut();
            self.push(vtype, Union { mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size: bytes.len() } });
        }
    }
}

/// Hands the fields over. A list of headers among them becomes librdkafka's if, and only if, this says Ok.
///
/// # Safety
/// What the fields point to lives during the call.
pub(crate) unsafe fn produce(client: &Client, fields: &Fields) -> Result<(), SendError> {
    // SAFETY: the client is alive. The first `len` fields were written by `push`; the rest is promised by the caller.
    let error = unsafe { sys::rd_kafka_produceva(client.ptr(), fields.items.as_ptr().cast(), fields.len) };
    match NonNull::new(error) {
        None => Ok(()),
        Some(error) => Err(send_error(error)),
    }
}

/// Reads and gives back an error of `rd_kafka_produceva`.
fn send_error(error: NonNull<sys::rd_kafka_error_t>) -> SendError {
    let error = error.as_ptr();
    // SAFETY: the error is ours; its text is copied before it is given back.
    let (code, fatal, text) = unsafe {
        let read = (
            Code(sys::rd_kafka_error_code(error) as i32),
            sys::rd_kafka_error_is_fatal(error) != 0,
            text_of(sys::rd_kafka_error_string(error)),
        );
        sys::rd_kafka_error_destroy(error);
        read
    };
    SendError::of(code, fatal, text)
}

/// A list of headers that is not yet librdkafka's.
pub(crate) struct Headers(NonNull<sys::rd_kafka_headers_t>);

impl Headers {
    /// Takes over a list. It must be nobody else's.
    pub(crate) fn owned(list: NonNull<sys::rd_kafka_headers_t>) -> Self {
        Self(list)
    }

    /// None if there are none: most messages, and they must not pay for an empty list.
    pub(crate) fn of(headers: &[(&[u8], Option<&[u8]>)]) -> Option<Self> {
        if headers.is_empty() {
            return None;
        }
        // SAFETY: a new list, owned by the value made of it.
        let list = Self(NonNull::new(unsafe { sys::rd_kafka_headers_new(headers.len()) })?);
        for (name, value) in headers {
            list.add(name, *value);
        }
        Some(list)
    }

    /// Adds one at the end.
    pub(crate) fn add(&self, name: &[u8], value: Option<&[u8]>) {
        let (bytes, len) = value.map_or((null_mut(), 0), |value| (value.as_ptr().cast_mut(), value.len()));
        // SAFETY: the list is ours; name and value live during the call, which copies them by the given lengths (no
        // NUL is looked for unless a length is -1). A NULL value is an absent one.
        unsafe {
            sys::rd_kafka_header_add(
                self.0.as_ptr(),
                name.as_ptr().cast(),
                name.len().cast_signed(),
                bytes.cast_const().cast(),
                len.cast_signed(),
            );
        }
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: still ours: a list that librdkafka took over is forgotten, not dropped.
        unsafe { sys::rd_kafka_headers_destroy(self.0.as_ptr()) }
    }
}
