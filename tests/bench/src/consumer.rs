//! Messages by the batch, from one queue for all partitions, and commits.

use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use anyhow::{Context, Result};
use rdkafka::bindings as sys;

use crate::client::{Client, c_string, check};
use crate::settings;

/// A member of a group that reads one topic.
pub struct Consumer {
    // Before `client`: it has to be given back first.
    queue: Queue,
    client: Client,
    topic: CString,
}

/// The queue that all partitions are forwarded to.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once and before the client.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Messages that were taken, in memory of librdkafka. Dropping gives them back, and that is before their client goes.
pub struct Batch<'c> {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    taken: usize,
    consumer: PhantomData<&'c Consumer>,
}

/// A message of a batch.
pub struct Message<'a>(&'a sys::rd_kafka_message_t);

impl Consumer {
    /// Joins the group.
    pub fn join(bootstrap: &str, group: &str, topic: &str) -> Result<Self> {
        let properties = settings::consumer(bootstrap, group);
        let client = Client::open(sys::rd_kafka_type_t::RD_KAFKA_CONSUMER, &properties, None)?;
        let topic = c_string(topic)?;
        // SAFETY: client, list and name are valid during the calls, which copy what they keep. The list is ours and
        // given back.
        let (answer, queue) = unsafe {
            check("poll", sys::rd_kafka_poll_set_consumer(client.ptr()))?;
            let list = sys::rd_kafka_topic_partition_list_new(1);
            sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), -1);
            let answer = sys::rd_kafka_subscribe(client.ptr(), list);
            sys::rd_kafka_topic_partition_list_destroy(list);
            (answer, sys::rd_kafka_queue_get_consumer(client.ptr()))
        };
        let queue = Queue(NonNull::new(queue).context("a consumer has a queue")?);
        check("subscribe", answer)?;
        Ok(Self { queue, client, topic })
    }

    /// Takes up to `most` messages. A call waits 50 ms for as many as it was asked for: ask for no more than there are.
    pub fn take<'c>(&'c self, batch: &mut Batch<'c>, most: usize) -> Result<()> {
        batch.clear();
        let room = most.min(batch.messages.len());
        // SAFETY: the queue is alive and `messages` has room for as many pointers as are asked for; the first `taken` of
        // them are ours to give back.
        let taken =
            unsafe { sys::rd_kafka_consume_batch_queue(self.queue.0.as_ptr(), 50, batch.messages.as_mut_ptr(), room) };
        batch.taken = usize::try_from(taken).context("taking messages failed")?;
        Ok(())
    }

    /// Commits the next offset of each partition; those that have none are left out. `wait`: for the answer.
    pub fn commit(&self, next: &[Option<i64>], wait: bool) -> Result<()> {
        // SAFETY: list, client and name are valid during the calls; each entry is written before the next is added, which
        // may move them. The list is ours and given back.
        let answer = unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(next.len() as i32);
            for (partition, offset) in next.iter().enumerate() {
                if let Some(offset) = offset {
                    let entry = sys::rd_kafka_topic_partition_list_add(list, self.topic.as_ptr(), partition as i32);
                    (*entry).offset = *offset;
                }
            }
            let answer = sys::rd_kafka_commit(self.client.ptr(), list, i32::from(!wait));
            sys::rd_kafka_topic_partition_list_destroy(list);
            answer
        };
        check("commit", answer)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: the client is alive. It leaves the group; an error has nobody to tell.
        unsafe { sys::rd_kafka_consumer_close(self.client.ptr()) };
    }
}

impl Batch<'_> {
    /// Room for so many messages.
    pub fn new(room: usize) -> Self {
        Self { messages: vec![null_mut(); room], taken: 0, consumer: PhantomData }
    }

    /// The messages, in the order of each partition's offsets.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: the first `taken` pointers are messages that librdkafka leaves alone until they are given back, which
        // needs the batch to itself.
        self.messages[..self.taken].iter().map(|message| Message(unsafe { &**message }))
    }

    /// Gives the messages back.
    pub fn clear(&mut self) {
        for message in &self.messages[..self.taken] {
            // SAFETY: ours, and given back once: none counts as taken after this.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
        self.taken = 0;
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<'a> Message<'a> {
    /// Fails if it is an error in a message's place.
    pub fn check(&self) -> Result<()> {
        check("consume", self.0.err)
    }

    /// The partition.
    pub fn partition(&self) -> usize {
        self.0.partition as usize
    }

    /// The offset.
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// The key; absent counts as empty.
    pub fn key(&self) -> &'a [u8] {
        bytes(self.0.key, self.0.key_len)
    }

    /// The value; absent counts as empty.
    pub fn value(&self) -> &'a [u8] {
        bytes(self.0.payload, self.0.len)
    }
}

fn bytes<'a>(start: *const std::ffi::c_void, len: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: key and value of a message lie where it says, for as long as the message.
    unsafe { std::slice::from_raw_parts(start.cast(), len) }
}
