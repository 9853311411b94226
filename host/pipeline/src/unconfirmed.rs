//! Since when outputs wait for their confirmation: looked at now and then, so that the data plane does nothing for it.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use parking_lot::Mutex;
use wasmill_core::Generation;
use wasmill_kafka::TopicPartition;

use crate::partition::Partition;

/// Since when each partition has had outputs in flight without any progress.
#[derive(Default)]
pub(crate) struct Unconfirmed(Mutex<HashMap<TopicPartition, Standing>>);

struct Standing {
    generation: Generation,
    watermark: i64,
    since: Instant,
}

impl Unconfirmed {
    /// Looks at a partition. `Some`: since when its outputs wait.
    pub(crate) fn look(&self, partition: &Partition, now: Instant) -> Option<Instant> {
        let machine = partition.lock();
        let (in_flight, watermark) = (machine.tickets() > 0, machine.tracker().watermark().get());
        drop(machine);
        let mut standings = self.0.lock();
        if !in_flight {
            standings.remove(&partition.id);
            return None;
        }
        let new = || Standing { generation: partition.generation, watermark, since: now };
        let standing = standings.entry(partition.id.clone()).or_insert_with(new);
        if (standing.generation, standing.watermark) != (partition.generation, watermark) {
            *standing = new();
        }
        Some(standing.since)
    }

    /// Forgets partitions that are not held any more.
    pub(crate) fn keep(&self, held: &BTreeSet<TopicPartition>) {
        self.0.lock().retain(|id, _| held.contains(id));
    }
}
