//! librdkafka's client, queue, topic, event and options as values that are given back once: what everything else in this
//! crate is made of.

use std::any::Any;
use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::config::{ClientConfig, NativeClientConfig, RDKafkaLogLevel};

use crate::TopicPartition;
use crate::error::{ClientError, Code, text_of};
use crate::log::Limit;

/// Room for one of librdkafka's explanations; longer ones are cut by it.
const TEXT_BYTES: usize = 512;

/// A client of librdkafka that somebody else ends, not before `'a` is over.
///
/// Queues that it makes are to be given back before it ends: whoever keeps one sees to that.
#[derive(Clone, Copy)]
pub(crate) struct ClientRef<'a>(NonNull<sys::rd_kafka_t>, PhantomData<&'a ()>);

// SAFETY: librdkafka's client calls may be made from any thread and from several at once (rdkafka.h, "thread-safe"). Nothing
// of a client is tied to the thread that made it.
unsafe impl Send for ClientRef<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for ClientRef<'_> {}

impl ClientRef<'_> {
    /// None for NULL.
    ///
    /// # Safety
    /// The client lives until `'a` is over.
    pub(crate) unsafe fn new(client: *mut sys::rd_kafka_t) -> Option<Self> {
        NonNull::new(client).map(|client| Self(client, PhantomData))
    }

    pub(crate) fn ptr(self) -> *mut sys::rd_kafka_t {
        self.0.as_ptr()
    }

    /// A queue of its own, for the answers of requests.
    pub(crate) fn new_queue(self) -> Queue {
        // SAFETY: the client is alive; the new queue's one reference is `Queue`'s.
        let queue = unsafe { sys::rd_kafka_queue_new(self.ptr()) };
        Queue(NonNull::new(queue).expect("librdkafka aborts when memory is short, it does not answer NULL"))
    }

    /// The queue of a partition that the consumer was assigned; None if it has none.
    pub(crate) fn partition_queue(self, id: &TopicPartition) -> Option<Queue> {
        let topic = CString::new(&*id.topic).ok()?;
        // SAFETY: the client is alive; the name is copied. The answer is NULL or a reference, which is `Queue`'s.
        let queue = unsafe { sys::rd_kafka_queue_get_partition(self.ptr(), topic.as_ptr(), id.partition) };
        NonNull::new(queue).map(Queue)
    }

    /// The fatal error this client has met. Such a client does nothing any more.
    pub(crate) fn fatal(self) -> Option<(Code, String)> {
        let mut text = [0 as c_char; TEXT_BYTES];
        // SAFETY: the client is alive and `text` as long as is said.
        let code = unsafe { sys::rd_kafka_fatal_error(self.ptr(), text.as_mut_ptr(), text.len()) };
        let code = Code(code as i32);
        code.is_error().then(|| (code, text_in(&text)))
    }

    /// Whether the consumer's partitions are lost to it.
    pub(crate) fn assignment_lost(self) -> bool {
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_assignment_lost(self.ptr()) != 0 }
    }
}

/// A client of librdkafka. Dropping it ends its threads, which can take as long as a name lookup that is under way.
pub(crate) struct Client {
    rk: NonNull<sys::rd_kafka_t>,
    /// What its callbacks find behind its opaque; dropped after the client.
    _behind: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: as for `ClientRef`.
unsafe impl Send for Client {}
// SAFETY: as for `ClientRef`.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a client. `events`: kinds of events (`RD_KAFKA_EVENT_*`) that are to come through queues, not callbacks.
    pub(crate) fn open(kind: sys::rd_kafka_type_t, config: &ClientConfig, events: c_int) -> Result<Self, ClientError> {
        Self::open_with(kind, config, events, None::<Arc<()>>, |_| {})
    }

    /// The same with callbacks that `prepare` sets on the configuration. They find `behind` as their opaque, which lives as
    /// long as the client.
    pub(crate) fn open_with<T: Any + Send + Sync>(
        kind: sys::rd_kafka_type_t,
        config: &ClientConfig,
        events: c_int,
        behind: Option<Arc<T>>,
        prepare: impl FnOnce(*mut sys::rd_kafka_conf_t),
    ) -> Result<Self, ClientError> {
        let conf = native_config(config)?;
        let mut text = [0 as c_char; TEXT_BYTES];
        // SAFETY: `conf` is a valid configuration for the whole block. `rd_kafka_new` takes over the copy only if it
        // succeeds, so the copy is destroyed here otherwise and never twice. `text` is as long as is said.
        let client = unsafe {
            sys::rd_kafka_conf_set_events(conf.ptr(), events);
            sys::rd_kafka_conf_set_log_cb(conf.ptr(), Some(log));
            if let Some(behind) = &behind {
                sys::rd_kafka_conf_set_opaque(conf.ptr(), Arc::as_ptr(behind).cast_mut().cast());
            }
            prepare(conf.ptr());
            let copy = sys::rd_kafka_conf_dup(conf.ptr());
            let client = sys::rd_kafka_new(kind, copy, text.as_mut_ptr(), text.len());
            if client.is_null() {
                sys::rd_kafka_conf_destroy(copy);
            }
            client
        };
        let rk = NonNull::new(client).ok_or_else(|| ClientError::Open(text_in(&text)))?;
        Ok(Self { rk, _behind: behind.map(|behind| behind as Arc<dyn Any + Send + Sync>) })
    }

    pub(crate) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.rk.as_ptr()
    }

    pub(crate) fn as_ref(&self) -> ClientRef<'_> {
        ClientRef(self.rk, PhantomData)
    }

    /// The queue on which this client's events arrive.
    pub(crate) fn main_queue(&self) -> Queue {
        // SAFETY: the client is alive; the call adds a reference, which `Queue` gives back.
        let queue = unsafe { sys::rd_kafka_queue_get_main(self.ptr()) };
        Queue(NonNull::new(queue).expect("a client has a main queue"))
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

    /// The next event of this kind, waiting `timeout` at most. Others on the way to it are given back.
    pub(crate) fn wait(&self, kind: c_int, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.poll(left) {
                Some(event) if event.kind() == kind => return Some(event),
                None if left.is_zero() => return None,
                _ => {}
            }
        }
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

/// Options of one admin request.
pub(crate) struct AdminOptions(NonNull<sys::rd_kafka_AdminOptions_t>);

impl AdminOptions {
    pub(crate) fn new(
        client: ClientRef<'_>,
        op: sys::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        // SAFETY: the client lives; the new value is given back by `drop`.
        let options = unsafe { sys::rd_kafka_AdminOptions_new(client.ptr(), op) };
        let options = NonNull::new(options).map(Self).ok_or_else(|| ClientError::Open("no admin options".into()))?;
        let mut text = [0 as c_char; TEXT_BYTES];
        let limit = millis(timeout.min(Duration::from_secs(3600))).max(1);
        // SAFETY: the options are ours and `text` as long as is said.
        let code = unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(options.ptr(), limit, text.as_mut_ptr(), text.len())
        };
        if code as i32 == 0 { Ok(options) } else { Err(ClientError::Open(text_in(&text))) }
    }

    pub(crate) fn ptr(&self) -> *mut sys::rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }
}

impl Drop for AdminOptions {
    fn drop(&mut self) {
        // SAFETY: ours since `new`; requests copy what they need of it.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.ptr()) }
    }
}

/// Calls `each` with the name and the value of every header of a message, in order, until it answers with an error. Headers
/// that cannot be read are none.
///
/// # Safety
/// `message` is a message of librdkafka that lives during the call and that no other thread uses meanwhile.
pub(crate) unsafe fn try_each_header<E>(
    message: *const sys::rd_kafka_message_t,
    mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let ok = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as i32;
    let mut list = null_mut();
    // SAFETY: the message lives. librdkafka parses the headers on the first call (it allocates its list then, and only for a
    // message that has some) and keeps them with the message. An index behind the last header is answered with an error.
    unsafe {
        if sys::rd_kafka_message_headers(message, &mut list) as i32 != ok || list.is_null() {
            return Ok(());
        }
        let (mut name, mut value, mut size) = (null(), null(), 0);
        let mut index = 0;
        while sys::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size) as i32 == ok {
            each(CStr::from_ptr(name).to_bytes(), bytes(value, size))?;
            index += 1;
        }
    }
    Ok(())
}

/// The same for all headers.
///
/// # Safety
/// As for [`try_each_header`].
pub(crate) unsafe fn each_header(message: *const sys::rd_kafka_message_t, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
    let each = |name: &[u8], value: Option<&[u8]>| {
        each(name, value);
        Ok::<(), Infallible>(())
    };
    // SAFETY: promised by the caller.
    let Ok(()) = unsafe { try_each_header(message, each) };
}

/// A key, a value or a header's value: NULL is absent, which is not the same as empty.
///
/// # Safety
/// `start` is NULL or points to `len` bytes that live and stay as they are for `'a`.
pub(crate) unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: not NULL, and as long as the caller says.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
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
