//! What the brokers say of topics: whether they exist, their ids, how many partitions they have. Asked without waiting.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as sys;

use crate::error::{Code, text_of};
use crate::native::{AdminOptions, ClientRef, Queue};

/// How long an answer is waited for by librdkafka.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A partition of which not every replica is in sync. A topic with `min.insync.replicas` above `in_sync` takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderReplicated {
    /// Its number.
    pub partition: i32,
    /// Replicas in sync.
    pub in_sync: usize,
    /// All of them.
    pub replicas: usize,
}

/// One topic as described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) topic: Arc<str>,
    /// None if the broker has no ids.
    pub(super) id: Option<String>,
    pub(super) partitions: i32,
    /// The broker that leads each partition; those without a leader are not in it.
    pub(super) leaders: BTreeMap<i32, i32>,
    /// Those with fewer in-sync replicas than replicas.
    pub(super) under_replicated: Vec<UnderReplicated>,
    pub(super) err: Code,
}

impl Described {
    /// Partitions that nobody leads: nothing of them can be read or written.
    pub(super) fn leaderless(&self) -> impl Iterator<Item = i32> {
        (0..self.partitions).filter(|partition| !self.leaders.contains_key(partition))
    }
}

/// A question under way.
pub(super) struct Question {
    queue: Queue,
}

impl Question {
    /// Asks about `topics`; None if there is nothing to ask or it cannot be asked.
    pub(super) fn ask(client: ClientRef<'_>, topics: &[Arc<str>]) -> Option<Self> {
        let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(&**topic).ok()).collect();
        if names.is_empty() {
            return None;
        }
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let queue = client.new_queue();
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = AdminOptions::new(client, op, REQUEST_TIMEOUT).ok()?;
        // SAFETY: all pointers live through the calls; librdkafka copies the names and the options, and the collection is
        // destroyed once.
        unsafe {
            let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(client.ptr(), collection, options.ptr(), queue.ptr());
            sys::rd_kafka_TopicCollection_destroy(collection);
        }
        Some(Self { queue })
    }

    /// The answer, if it comes within `timeout`: Err if the question failed as a whole.
    pub(super) fn answer(&self, timeout: Duration) -> Option<Result<Vec<Described>, Code>> {
        let answer = self.queue.wait(sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT, timeout)?;
        let code = answer.error().0;
        if code.is_error() {
            return Some(Err(code));
        }
        // SAFETY: the event is of this kind, and alive as long as `answer`.
        Some(Ok(unsafe { described(answer.ptr()) }))
    }
}

/// # Safety
/// `event` is a live event of kind DescribeTopics.
unsafe fn described(event: *mut sys::rd_kafka_event_t) -> Vec<Described> {
    let mut count = 0;
    // SAFETY: alive and of this kind, says the caller; what comes out belongs to the event.
    let topics = unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() { null_mut() } else { sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count) }
    };
    if topics.is_null() {
        return Vec::new();
    }
    (0..count)
        // SAFETY: `topics` has `count` pointers to descriptions that live as long as the event.
        .map(|index| unsafe { description(*topics.add(index)) })
        .collect()
}

/// # Safety
/// `topic` is a live description.
unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
    let mut partitions = 0;
    // SAFETY: alive, says the caller; all that comes out belongs to it. The name is NUL-terminated, error and id may be NULL,
    // and there are `partitions` pointers to live partition descriptions.
    unsafe {
        let name = text_of(sys::rd_kafka_TopicDescription_name(topic));
        let err = Code::of(sys::rd_kafka_TopicDescription_error(topic));
        let infos = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let (mut leaders, mut under_replicated) = (BTreeMap::new(), Vec::new());
        for index in 0..if infos.is_null() { 0 } else { partitions } {
            let info = *infos.add(index);
            let number = sys::rd_kafka_TopicPartitionInfo_partition(info);
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(info);
            if !leader.is_null() {
                leaders.insert(number, sys::rd_kafka_Node_id(leader));
            }
            let (mut in_sync, mut replicas) = (0, 0);
            sys::rd_kafka_TopicPartitionInfo_isr(info, &raw mut in_sync);
            sys::rd_kafka_TopicPartitionInfo_replicas(info, &raw mut replicas);
            if in_sync < replicas {
                under_replicated.push(UnderReplicated { partition: number, in_sync, replicas });
            }
        }
        let uuid = sys::rd_kafka_TopicDescription_topic_id(topic);
        let id = (!uuid.is_null())
            .then(|| {
                let (high, low) =
                    (sys::rd_kafka_Uuid_most_significant_bits(uuid), sys::rd_kafka_Uuid_least_significant_bits(uuid));
                topic_id(high.cast_unsigned(), low.cast_unsigned())
            })
            .flatten();
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        Described { topic: Arc::from(name), id, partitions, leaders, under_replicated, err }
    }
}

/// Kafka's notation of a topic id: 16 bytes in base 64 for addresses, without padding. None for the id that means none.
fn topic_id(high: u64, low: u64) -> Option<String> {
    if high == 0 && low == 0 {
        return None;
    }
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = (u128::from(high) << 64) | u128::from(low);
    let digit = |six: u128| char::from(DIGITS[(six & 63) as usize]);
    // 128 bits are 21 digits and 2 bits; the last digit has them at its top.
    let mut text: String = (0..21).map(|index| digit(bits >> (122 - 6 * index))).collect();
    text.push(digit((bits & 3) << 4));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_topic_ids_as_kafka_does() {
        // Kafka's own `Uuid.METADATA_TOPIC_ID` and two that its tools printed.
        assert_eq!(topic_id(0, 1).as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAQ"));
        assert_eq!(topic_id(u64::MAX, u64::MAX).as_deref(), Some("_____________________w"));
        assert_eq!(topic_id(0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef).as_deref(), Some("ASNFZ4mrze8BI0VniavN7w"));
        assert_eq!(topic_id(0, 0), None);
    }
}
