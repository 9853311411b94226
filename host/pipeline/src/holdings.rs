//! The partitions that a member holds now.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use wasmill_kafka::TopicPartition;

use crate::dirty::Dirty;
use crate::partition::Partition;

/// The partitions of one member, and the mark that something of them may have to be committed.
#[derive(Default)]
pub struct Holdings {
    live: Mutex<BTreeMap<TopicPartition, Arc<Partition>>>,
    /// Marked when a watermark moved or a note changed.
    pub dirty: Arc<Dirty>,
}

impl Holdings {
    /// The partitions held now.
    pub fn live(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<Partition>>> {
        self.live.lock()
    }

    /// The partitions held now, to look at without the lock.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.live().values().cloned().collect()
    }
}
