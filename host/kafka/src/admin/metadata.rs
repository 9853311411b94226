//! What a metadata request answers: topics, partitions, who leads them.

use std::ffi::c_int;
use std::ptr::{NonNull, null, null_mut};
use std::time::Duration;

use rdkafka::bindings as sys;

use super::slice;
use crate::error::{ClientError, Code, text_of};
use crate::native::{Client, Topic, millis};

/// A topic as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its partitions, ascending.
    pub partitions: Vec<PartitionDescription>,
}

impl TopicDescription {
    /// So many offsets before the end of a partition, or its oldest; `None` where its ends are not known.
    pub(super) fn before_end(&self, partition: i32, count: u64) -> Option<i64> {
        let partition = self.partitions.iter().find(|known| known.id == partition)?;
        Some(partition.high?.saturating_sub_unsigned(count).max(partition.low?))
    }
}

/// A partition as the cluster knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub id: i32,
    /// The broker that leads it, if any does.
    pub leader: Option<i32>,
    /// Brokers that hold it.
    pub replicas: usize,
    /// Those of them that are in sync.
    pub in_sync: usize,
    /// The oldest offset, where it was asked for and answered.
    pub low: Option<i64>,
    /// The offset the next message will get, likewise.
    pub high: Option<i64>,
}

/// An answer to a metadata request.
pub(super) struct Metadata(NonNull<sys::rd_kafka_metadata>);

impl Metadata {
    pub(super) fn ask(client: &Client, topic: Option<&Topic>, timeout: Duration) -> Result<Self, ClientError> {
        let mut metadata = null();
        let only = topic.map_or(null_mut(), Topic::ptr);
        let all = c_int::from(topic.is_none());
        // SAFETY: client and topic live during the call; the answer is ours and given back by `drop`.
        let code = unsafe { sys::rd_kafka_metadata(client.ptr(), all, only, &mut metadata, millis(timeout)) };
        let failed = || ClientError::request("metadata", Code(code as i32));
        NonNull::new(metadata.cast_mut()).map(Self).ok_or_else(failed)
    }

    /// The topics, each with its own error.
    pub(super) fn topics(&self) -> impl Iterator<Item = (TopicDescription, Code)> {
        // SAFETY: the answer is ours; pointers and counts in it describe arrays that live as long as it.
        unsafe {
            let metadata = self.0.as_ref();
            slice(metadata.topics, metadata.topic_cnt as usize).iter().map(|topic| {
                let partitions = slice(topic.partitions, topic.partition_cnt as usize).iter();
                let mut partitions: Vec<_> = partitions.map(partition_description).collect();
                partitions.sort_by_key(|partition| partition.id);
                let code = Code::read(&raw const topic.err);
                (TopicDescription { name: text_of(topic.topic), partitions }, code)
            })
        }
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: ours since `ask`, given back once.
        unsafe { sys::rd_kafka_metadata_destroy(self.0.as_ptr()) }
    }
}

fn partition_description(partition: &sys::rd_kafka_metadata_partition) -> PartitionDescription {
    PartitionDescription {
        id: partition.id,
        leader: (partition.leader >= 0).then_some(partition.leader),
        replicas: usize::try_from(partition.replica_cnt).unwrap_or(0),
        in_sync: usize::try_from(partition.isr_cnt).unwrap_or(0),
        low: None,
        high: None,
    }
}
