//! librdkafka's client, queue, topic and event as values that are given back once: what the producer, the admin calls, the
//! plain clients and the mock broker are made of.

use crate::error::{ClientError, Code};
use crate::log::Limit;
use rdkafka::bindings as sys;
use rdkafka::config::{ClientConfig, NativeClientConfig, RDKafkaLogLevel};
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{NonNull, null, null_mut};
use std::time::Duration;

/// Room for one of librdkafka's explanations; longer ones are cut by it.
const TEXT_BYTES: usize = 512;

/// A client of librdkafka. Dropping it ends its threads, which can take as long as a name lookup that is under way.
pub(crate) struct Client(NonNull<sys::rd_kafka_t>);

// SAFETY: librdkafka's client calls may be made from any thread and from several at once (rdkafka.h, "thread-safe"). Nothing
// of a client is tied to the thread that made it.
unsafe impl Send for Client {}
// SAFETY: as for `Send`.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a client. `events`: kinds of events (`RD_KAFKA_EVENT_*`) that are to come through queues, not callbacks.
    pub(crate) fn open(kind: sys::rd_kafka_type_t, config: &ClientConfig, events: c_int) -> Result<Self, ClientError> {
        let conf = native_config(config)?;
        let mut text = [0 as c_char; TEXT_BYTES];
        // SAFETY: `conf` is a valid configuration for the whole block. `rd_kafka_new` takes over the copy only if it
        // succeeds, so the copy is destroyed here otherwise and never twice. `text` is as long as is said.
        let client = unsafe {
            sys::rd_kafka_conf_set_events(conf.ptr(), events);
            sys::rd_kafka_conf_set_log_cb(conf.ptr(), Some(log));
            let copy = sys::rd_kafka_conf_dup(conf.ptr());
            let client = sys::rd_kafka_new(kind, copy, text.as_mut_ptr(), text.len());
            if client.is_null() {
                sys::rd_kafka_conf_destroy(copy);
            }
            client
        };
        NonNull::new(client).map(Self).ok_or_else(|| ClientError::Open(text_in(&text)))
    }

    pub(crate) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.0.as_ptr()
    }

    /// The queue on which this client's events arrive.
    pub(crate) fn main_queue(&self) -> Queue {
        // SAFETY: the client is alive; the call adds a reference, which `Queue` gives back.
        let queue = unsafe { sys::rd_kafka_queue_get_main(self.ptr()) };
        Queue(NonNull::new(queue).expect("a client has a main queue"))
    }

    /// A queue of its own, for the answers of requests.
    pub(crate) fn new_queue(&self) -> Queue {
        // SAFETY: the client is alive; the new queue's one reference is `Queue`'s.
        let queue = unsafe { sys::rd_kafka_queue_new(self.ptr()) };
        Queue(NonNull::new(queue).expect("librdkafka aborts when memory is short, it does not answer NULL"))
    }

    /// A handle of a topic. It must not outlive the client: whoever keeps it keeps the client too.
    pub(crate) fn topic(&self, name: &str) -> Result<Topic, ClientError> {
        let name = c_string(name, "topic name")?;
        // SAFETY: client and name are valid during the call; a NULL configuration means the client's default.
        let topic = unsafe { sys::rd_kafka_topic_new(self.ptr(), name.as_ptr(), null_mut()) };
        NonNull::new(topic).map(Topic).ok_or_else(|| {
            // SAFETY: reads the error of the call just made on this thread.
            let code = unsafe { sys::rd_kafka_last_error() };
            ClientError::request(format!("topic {name:?}"), Code(code as i32))
        })
    }

    /// The fatal error this client has met, as text. Such a client does nothing any more.
    pub(crate) fn fatal(&self) -> Option<String> {
        let mut text = [0 as c_char; TEXT_BYTES];
        // SAFETY: the client is alive and `text` as long as is said.
        let code = unsafe { sys::rd_kafka_fatal_error(self.ptr(), text.as_mut_ptr(), text.len()) };
        let code = Code(code as i32);
        code.is_error().then(|| format!("{} ({})", text_in(&text), code.name()))
    }

    /// Messages and events that are not done with.
    pub(crate) fn outstanding(&self) -> usize {
        // SAFETY: the client is alive.
        usize::try_from(unsafe { sys::rd_kafka_outq_len(self.ptr()) }).unwrap_or(0)
    }

    /// Waits until everything produced was reported and its report taken; linger is over meanwhile.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        // SAFETY: the client is alive. With events the call only waits, it takes nothing from the queue.
        let code = unsafe { sys::rd_kafka_flush(self.ptr(), millis(timeout)) };
        code as i32 == 0
    }

    /// Fails everything that was produced and is not confirmed. The reports still come.
    pub(crate) fn purge(&self) {
        // SAFETY: the client is alive; the call cannot fail with these flags on a producer.
        unsafe { sys::rd_kafka_purge(self.ptr(), sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT) };
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: the only place that destroys it; queues and topics were given back by their owners, which outlive no
        // client (a queue or topic left over would make this call wait, not misbehave).
        unsafe { sys::rd_kafka_destroy(self.ptr()) }
    }
}

/// One reference to a queue.
pub(crate) struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: queue operations lock inside librdkafka and are not tied to a thread.
unsafe impl Send for Queue {}
// SAFETY: as for `Send`; two threads that poll one queue get different events.
unsafe impl Sync for Queue {}

impl Queue {
    pub(crate) fn ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.0.as_ptr()
    }

    /// The next event, waiting `timeout` at most.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the queue is alive by our reference. The event belongs to the caller, who gives it back.
        NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.ptr(), millis(timeout)) }).map(Event)
    }

    /// Makes the poll under way, or the next one, return at once.
    pub(crate) fn interrupt(&self) {
        // SAFETY: the queue is alive by our reference.
        unsafe { sys::rd_kafka_queue_yield(self.ptr()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference this value stands for.
        unsafe { sys::rd_kafka_queue_destroy(self.ptr()) }
    }
}

/// An event taken from a queue; what it points to is valid as long as it lives.
pub(crate) struct Event(NonNull<sys::rd_kafka_event_t>);

impl Event {
    pub(crate) fn ptr(&self) -> *mut sys::rd_kafka_event_t {
        self.0.as_ptr()
    }

    pub(crate) fn kind(&self) -> c_int {
        // SAFETY: the event is ours until dropped.
        unsafe { sys::rd_kafka_event_type(self.ptr()) }
    }

    /// True if this event is the fatal error of the client. Its code is then the cause, not `_FATAL`.
    pub(crate) fn is_fatal(&self) -> bool {
        // SAFETY: the event is ours until dropped.
        unsafe { sys::rd_kafka_event_error_is_fatal(self.ptr()) != 0 }
    }

    /// The error this event is or carries.
    pub(crate) fn error(&self) -> (Code, String) {
        // SAFETY: the event is ours; its error text lives as long as it.
        unsafe {
            let code = sys::rd_kafka_event_error(self.ptr());
            (Code(code as i32), text_of(sys::rd_kafka_event_error_string(self.ptr())))
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: taken from a queue by `poll`, which hands over ownership; dropped once.
        unsafe { sys::rd_kafka_event_destroy(self.ptr()) }
    }
}

/// A handle of a topic.
pub(crate) struct Topic(NonNull<sys::rd_kafka_topic_t>);

// SAFETY: librdkafka counts references to topics atomically and locks what is inside.
unsafe impl Send for Topic {}
// SAFETY: as for `Send`.
unsafe impl Sync for Topic {}

impl Topic {
    pub(crate) fn ptr(&self) -> *mut sys::rd_kafka_topic_t {
        self.0.as_ptr()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: gives back the reference of `Client::topic`; owners keep the client alive until then.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr()) }
    }
}

/// Calls `each` with the name and the value of every header of a message, in order. Headers that cannot be read are none.
///
/// # Safety
/// `message` is a message of librdkafka that lives during the call and that no other thread uses meanwhile.
pub(crate) unsafe fn each_header(message: *const sys::rd_kafka_message_t, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
    let ok = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as i32;
    let mut list = null_mut();
    // SAFETY: the message lives, the list stays its own. An index behind the last header is answered with an error.
    unsafe {
        if sys::rd_kafka_message_headers(message, &mut list) as i32 != ok {
            return;
        }
        let (mut name, mut value, mut size) = (null(), null(), 0);
        let mut index = 0;
        while sys::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size) as i32 == ok {
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            each(CStr::from_ptr(name).to_bytes(), value);
            index += 1;
        }
    }
}

/// librdkafka's milliseconds of a timeout: rounded up so that a short wait does not become a busy loop, and never -1, which
/// would mean for ever.
pub(crate) fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// A C string; `what` names it if it holds a NUL byte.
pub(crate) fn c_string(text: &str, what: &'static str) -> Result<CString, ClientError> {
    CString::new(text).map_err(|_| ClientError::Nul { what })
}

/// Copies a C string of librdkafka; NULL is the empty text.
///
/// # Safety
/// `text` is NULL or points to a NUL-terminated string that lives during the call.
pub(crate) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The text librdkafka wrote into a buffer of ours.
pub(crate) fn text_in(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn native_config(config: &ClientConfig) -> Result<NativeClientConfig, ClientError> {
    config.create_native_config().map_err(|error| ClientError::from_rdkafka("configuration", &error))
}

/// librdkafka's log lines become ours. Without this they would go to standard error past every filter.
unsafe extern "C" fn log(_: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, text: *const c_char) {
    // A panic must not cross into C, and a subscriber whose output is closed may panic.
    let _ = std::panic::catch_unwind(|| {
        // SAFETY: librdkafka passes two NUL-terminated strings that live during this call.
        let (facility, text) = unsafe { (text_of(facility), text_of(text)) };
        let level = match level {
            0..=3 => RDKafkaLogLevel::Error,
            4 => RDKafkaLogLevel::Warning,
            5 | 6 => RDKafkaLogLevel::Info,
            _ => RDKafkaLogLevel::Debug,
        };
        // One for all of these clients: those of a start have the same broker away, and say so twenty times a second.
        static LIMIT: Limit = Limit::new();
        crate::log::forward(&LIMIT, "wasmill", level, &facility, &text);
    });
}
