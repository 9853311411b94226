//! Outputs by the batch, and what of them is confirmed.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use anyhow::{Context, Result, bail};
use rdkafka::bindings as sys;

use crate::client::{Client, c_string, check};
use crate::settings;

/// `RD_KAFKA_PARTITION_UA`: any partition, by the key.
pub const BY_KEY: i32 = -1;

/// Messages sent and not yet confirmed, of the even and of the odd epochs. Only the thread that polls changes them: the
/// atomics are there because the callback has no other way to them.
static UNCONFIRMED: [AtomicI64; 2] = [AtomicI64::new(0), AtomicI64::new(0)];
static FAILED: AtomicBool = AtomicBool::new(false);

/// Counts a report. An error is not thrown from here: it would cross C.
unsafe extern "C" fn on_delivery(_: *mut sys::rd_kafka_t, message: *const sys::rd_kafka_message_t, _: *mut c_void) {
    // SAFETY: librdkafka's message, valid during the call. Its opaque word is the epoch that it was sent with.
    let (err, epoch) = unsafe { ((*message).err, (*message)._private as usize) };
    if err as i32 != 0 {
        FAILED.store(true, Relaxed);
    }
    UNCONFIRMED[epoch & 1].fetch_sub(1, Relaxed);
}

/// Sends to one topic. There is one in a process: the counts are.
pub struct Producer {
    // Before `client`: it has to be given back first.
    topic: Topic,
    client: Client,
}

struct Topic(NonNull<sys::rd_kafka_topic_t>);

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once and before the client.
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

/// Messages to send. What they borrow lives as long as this does.
pub struct Outputs<'a> {
    messages: Vec<sys::rd_kafka_message_t>,
    borrowed: PhantomData<&'a [u8]>,
}

impl<'a> Outputs<'a> {
    /// None, in memory that an earlier batch used.
    pub fn reuse(memory: &mut Vec<sys::rd_kafka_message_t>) -> Self {
        memory.clear();
        Self { messages: std::mem::take(memory), borrowed: PhantomData }
    }

    /// One more.
    pub fn push(&mut self, key: &'a [u8], value: &'a [u8], epoch: usize) {
        // SAFETY: a structure of C of which zero is a valid value: numbers, pointers and an error code of which 0 is one.
        let mut message: sys::rd_kafka_message_t = unsafe { std::mem::zeroed() };
        // librdkafka reads them only, and copies them.
        message.key = key.as_ptr().cast_mut().cast();
        message.key_len = key.len();
        message.payload = value.as_ptr().cast_mut().cast();
        message.len = value.len();
        message._private = std::ptr::without_provenance_mut(epoch);
        self.messages.push(message);
    }
}

impl Producer {
    /// Makes a client and a handle of the topic.
    pub fn open(bootstrap: &str, topic: &str) -> Result<Self> {
        let properties = settings::producer(bootstrap);
        let client = Client::open(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, &properties, Some(on_delivery))?;
        let name = c_string(topic)?;
        // SAFETY: client and name are valid during the call; no configuration means the client's.
        let topic = unsafe { sys::rd_kafka_topic_new(client.ptr(), name.as_ptr(), null_mut()) };
        let topic = Topic(NonNull::new(topic).with_context(|| format!("{name:?} is no topic"))?);
        Ok(Self { topic, client })
    }

    /// Sends all of them to `partition` and keeps their memory in `memory`. A full buffer is waited out.
    pub fn send(
        &self,
        outputs: Outputs<'_>,
        partition: i32,
        epoch: usize,
        memory: &mut Vec<sys::rd_kafka_message_t>,
    ) -> Result<()> {
        let mut messages = outputs.messages;
        UNCONFIRMED[epoch & 1].fetch_add(messages.len() as i64, Relaxed);
        let mut rest = messages.as_mut_slice();
        while !rest.is_empty() {
            // SAFETY: the topic is alive, `rest` is as long as is said, and what its messages borrow lives: it is copied
            // before the call returns.
            let taken = unsafe {
                let flags = sys::RD_KAFKA_MSG_F_COPY;
                sys::rd_kafka_produce_batch(
                    self.topic.0.as_ptr(),
                    partition,
                    flags,
                    rest.as_mut_ptr(),
                    rest.len() as i32,
                )
            };
            if taken as usize == rest.len() {
                break;
            }
            // The refused may lie between the taken: they come to the front, in their order, and go again.
            let mut left = 0;
            for at in 0..rest.len() {
                match rest[at].err {
                    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL => {
                        rest.swap(left, at);
                        left += 1;
                    }
                    other => check("produce", other)?,
                }
            }
            rest = &mut rest[..left];
            self.poll(5)?;
        }
        *memory = messages;
        Ok(())
    }

    /// Counts the reports that have come, waiting so many milliseconds for one.
    pub fn poll(&self, wait_ms: i32) -> Result<()> {
        // SAFETY: the client is alive. The callback runs inside of this call, on this thread.
        unsafe { sys::rd_kafka_poll(self.client.ptr(), wait_ms) };
        if FAILED.load(Relaxed) {
            bail!("the broker refused an output");
        }
        Ok(())
    }

    /// Waits until everything is confirmed.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the client is alive; callbacks as in `poll`.
        check("flush", unsafe { sys::rd_kafka_flush(self.client.ptr(), 120_000) })?;
        self.poll(0)?;
        let left = unconfirmed(0) + unconfirmed(1);
        if left != 0 {
            bail!("{left} outputs have no report");
        }
        Ok(())
    }
}

/// Messages sent in this epoch, or in another that is as even or odd, and not yet confirmed.
pub fn unconfirmed(epoch: usize) -> i64 {
    UNCONFIRMED[epoch & 1].load(Relaxed)
}
