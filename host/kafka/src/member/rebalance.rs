//! Partitions come and go: the order of steps that keeps messages where they belong.
//!
//! Coming: cut each queue off, find the first position, tell the handler, then let the assignment take effect at explicit
//! offsets. Going: ask whether the assignment is lost, tell the handler (it stops, drains and commits), let the change
//! take effect, then retire the queues. What librdkafka is waiting for is said in every case, whatever failed before it, or
//! the group would wait for this member.

use std::collections::HashMap;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use rdkafka::topic_partition_list::TopicPartitionList;
use wasmill_core::NextOffset;

use super::event::MemberEvent;
use super::handle::MemberHandle;
use super::handler::{AssignedPartition, RebalanceHandler};
use super::resolve::{Resolved, patience, resolve};
use super::shared::{Live, Shared, Waiting};
use super::start::First;
use crate::TopicPartition;
use crate::error::{ClientError, Code};
use crate::list::{self, list_of};
use crate::native::ClientRef;
use crate::offsets::LATEST;
use crate::queue::{PartitionQueue, QueueProblem, Slot, SplitQueue, Take};

/// Hands partitions to the handler and takes them back.
pub(super) struct Rebalancer {
    shared: Arc<Shared>,
    /// None once the member is leaving for good: a callback that comes later finds nobody to tell, and a late assignment is
    /// not handed out.
    handler: Mutex<Option<Arc<dyn RebalanceHandler>>>,
    /// When partitions that wait are asked about next, and how often it was in vain.
    next_try: Mutex<(Instant, u32)>,
}

/// Between two questions about partitions that wait: at first, and at most.
const WAITING_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How long one of them may take: a rebalance waits for it.
const WAITING_PATIENCE: Duration = Duration::from_secs(2);

impl Rebalancer {
    pub(super) fn new(shared: Arc<Shared>, handler: Arc<dyn RebalanceHandler>) -> Self {
        Self { shared, handler: Mutex::new(Some(handler)), next_try: Mutex::new((Instant::now(), 0)) }
    }

    /// Called outside of the lock: it waits for lanes, and they may ask for it.
    fn handler(&self) -> Option<Arc<dyn RebalanceHandler>> {
        self.handler.lock().clone()
    }

    /// `lost` was read before anything else.
    pub(super) fn rebalance(
        &self,
        client: ClientRef<'_>,
        err: sys::rd_kafka_resp_err_t,
        partitions: &TopicPartitionList,
        lost: bool,
    ) {
        let change = Change { client, list: partitions };
        let ids: Vec<_> = list::rows_of(partitions).into_iter().map(|row| row.id).collect();
        match err {
            E::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(&change, &ids),
            E::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(&change, &ids, lost),
            _ => {
                self.revoke(&change, &ids, true);
                self.transient(Code(err as i32), "rebalance");
            }
        }
    }

    fn assign(&self, change: &Change<'_>, ids: &[TopicPartition]) {
        let Some(handler) = self.handler() else {
            self.fatal_if(change.assign(change.list));
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| handler.joined())).is_err() {
            self.fatal("PANIC", "a panic while partitions were assigned".into());
        }
        // Both protocols report changes that bring nothing.
        if ids.is_empty() {
            self.fatal_if(change.assign(change.list));
            return;
        }
        let sources = match sources(change.client, ids) {
            Ok(sources) => sources,
            Err(text) => {
                self.fatal_if(change.assign_idle(ids));
                self.fatal("_UNKNOWN_PARTITION", text);
                return;
            }
        };
        let settings = &self.shared.settings;
        let patience = patience(settings.max_poll_interval);
        let Resolved { firsts, waiting } = match resolve(change.client, settings, ids, &*handler, patience) {
            Ok(resolved) => resolved,
            Err(error) => {
                self.fatal_if(change.assign_idle(ids));
                // A lost assignment ends by itself: the revoke is on its way.
                if !matches!(error, ClientError::Closed) {
                    self.fatal(error.code().unwrap_or("_FAIL"), error.to_string());
                }
                return;
            }
        };
        let mut offsets: Vec<_> =
            firsts.iter().map(|first| (first.id.clone(), first.stand_in.unwrap_or(first.offset))).collect();
        // The end stands in for where those that wait begin: it exists whatever the partition holds. Nobody reads their
        // queues before the seek that takes them up.
        offsets.extend(waiting.iter().map(|(id, _)| (id.clone(), LATEST)));
        let mut sources: HashMap<_, _> = ids.iter().cloned().zip(sources).collect();
        self.set_aside(waiting, &mut sources);
        let came = self.take_over(firsts, &mut sources);
        let handle = MemberHandle::new(self.shared.clone());
        let told = catch_unwind(AssertUnwindSafe(|| {
            if !came.is_empty() {
                handler.assigned(&handle, came);
            }
        }));
        match list_of(offsets.iter().map(|(id, offset)| (id, *offset))) {
            Ok(list) => self.fatal_if(change.assign(&list)),
            Err(error) => self.fatal("_INVALID_ARG", error.to_string()),
        }
        if told.is_err() {
            self.shared.retire(ids);
            self.fatal("PANIC", "a panic while partitions were assigned".into());
        }
    }

    /// Keeps partitions that have to wait: they are held, and nobody reads them.
    fn set_aside(
        &self,
        waiting: Vec<(TopicPartition, ClientError)>,
        sources: &mut HashMap<TopicPartition, Box<dyn Take>>,
    ) {
        if waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        *self.next_try.lock() = (now + WAITING_RETRY.0, 0);
        let (mut live, mut kept) = (self.shared.live.lock(), self.shared.waiting.lock());
        for (id, error) in waiting {
            let Some(source) = sources.remove(&id) else { continue };
            let slot = Arc::new(Slot::new(id.clone(), 0, source, 0, Some(QueueProblem::NoOffset)));
            live.insert(id.clone(), Live { slot, topic_id: None });
            kept.insert(id, Waiting { since: now, reason: error.to_string() });
        }
    }

    /// Asks again about partitions that wait, if it is time, and takes up those that can be read now. On the member's thread,
    /// between two polls: neither an assignment nor a revoke is under way.
    pub(super) fn take_up_waiting(&self, client: ClientRef<'_>, now: Instant) {
        let ids: Vec<_> = self.shared.waiting.lock().keys().cloned().collect();
        if ids.is_empty() || now < self.next_try.lock().0 {
            return;
        }
        let Some(handler) = self.handler() else { return };
        let handle = MemberHandle::new(self.shared.clone());
        let resolved = resolve(client, &self.shared.settings, &ids, &*handler, WAITING_PATIENCE);
        let mut came = Vec::new();
        match resolved {
            Ok(Resolved { firsts, waiting }) => {
                let mut kept = self.shared.waiting.lock();
                for (id, error) in waiting {
                    kept.entry(id).and_modify(|waiting| waiting.reason = error.to_string());
                }
                drop(kept);
                for first in firsts {
                    // One with a problem of its own stays at the stand-in, as it would have from the start.
                    let moved = match first.problem {
                        Some(_) => Ok(()),
                        None => handle.seek(&first.id, NextOffset::at(first.offset)),
                    };
                    match moved {
                        Ok(()) => came.push(first),
                        Err(error) => tracing::debug!(partition = %first.id, %error, "cannot be taken up yet"),
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "partitions that wait go on waiting"),
        }
        let failures = if came.is_empty() { self.next_try.lock().1 + 1 } else { 0 };
        let delay = WAITING_RETRY.0.saturating_mul(1 << failures.min(8)).min(WAITING_RETRY.1);
        *self.next_try.lock() = (Instant::now() + delay, failures);
        if came.is_empty() {
            return;
        }
        let mut sources = HashMap::new();
        for first in &came {
            self.shared.waiting.lock().remove(&first.id);
            let before = self.shared.live.lock().remove(&first.id);
            if let Some(source) = before.and_then(|before| before.slot.retire()) {
                sources.insert(first.id.clone(), source);
            }
        }
        let ids: Vec<_> = came.iter().map(|first| first.id.clone()).collect();
        let came = self.take_over(came, &mut sources);
        if catch_unwind(AssertUnwindSafe(|| handler.assigned(&handle, came))).is_err() {
            self.shared.retire(&ids);
            self.fatal("PANIC", "a panic while partitions were assigned".into());
        }
    }

    /// Makes the slots and what the handler gets of them.
    fn take_over(
        &self,
        firsts: Vec<First>,
        sources: &mut HashMap<TopicPartition, Box<dyn Take>>,
    ) -> Vec<AssignedPartition> {
        let mut live = self.shared.live.lock();
        let mut came = Vec::with_capacity(firsts.len());
        for first in firsts {
            let Some(source) = sources.remove(&first.id) else { continue };
            let slot = Arc::new(Slot::new(first.id.clone(), first.founding, source, first.offset, first.problem));
            let queue = PartitionQueue::new(slot.clone(), self.shared.clone());
            let before = live.insert(first.id.clone(), Live { slot, topic_id: first.topic_id.clone() });
            if let Some(before) = before {
                // Cannot be: a revoke comes first. Two readers of one queue must not be, either.
                drop(before.slot.retire());
            }
            came.push(AssignedPartition {
                id: first.id,
                queue,
                start: NextOffset::at(first.offset),
                committed: first.committed.map(NextOffset::at),
                note: first.note,
                needs_first_commit: first.needs_first_commit,
                reset: first.reset,
                topic_id: first.topic_id,
            });
        }
        came
    }

    fn revoke(&self, change: &Change<'_>, ids: &[TopicPartition], lost: bool) {
        let held: Vec<_> = {
            let live = self.shared.live.lock();
            ids.iter().filter(|id| live.contains_key(id)).cloned().collect()
        };
        self.shared.waiting.lock().retain(|id, _| !ids.contains(id));
        let told = self.tell_revoked(&held, lost);
        // A commit that found them held before they ended is on its way before the assignment changes.
        drop(self.shared.live.lock());
        self.fatal_if(change.unassign());
        self.shared.retire(&held);
        if !told {
            self.fatal("PANIC", "a panic while partitions were revoked".into());
        }
    }

    fn tell_revoked(&self, ids: &[TopicPartition], lost: bool) -> bool {
        let handle = MemberHandle::new(self.shared.clone());
        let tell = |handler: Arc<dyn RebalanceHandler>| {
            catch_unwind(AssertUnwindSafe(|| handler.revoked(&handle, ids, lost))).is_ok()
        };
        ids.is_empty() || self.handler().is_none_or(tell)
    }

    /// Ends what is left when the member closes: partitions that librdkafka did not ask back are lost, and all queues go
    /// before the client does. What librdkafka calls back with after this finds nothing to do.
    pub(super) fn give_up(&self) {
        self.shared.waiting.lock().clear();
        let left: Vec<_> = self.shared.live.lock().keys().cloned().collect();
        self.tell_revoked(&left, true);
        self.shared.retire(&left);
        self.shared.sweep_all();
        // Dropped outside the lock.
        let _handler = self.handler.lock().take();
    }

    fn fatal_if(&self, failed: Result<(), (Code, String)>) {
        if let Err((code, text)) = failed {
            self.fatal(&code.name(), text);
        }
    }

    fn fatal(&self, code: &str, text: String) {
        self.shared.tell(MemberEvent::Fatal { code: code.to_owned(), text });
    }

    fn transient(&self, code: Code, what: &str) {
        self.shared.tell(MemberEvent::Transient { code: code.name(), text: format!("{what}: {}", code.text()) });
    }
}

/// The queue of each partition, cut off.
fn sources(client: ClientRef<'_>, ids: &[TopicPartition]) -> Result<Vec<Box<dyn Take>>, String> {
    ids.iter()
        .map(|id| {
            // The client outlives it: slots are retired and the janitor is emptied before the client ends.
            let queue = SplitQueue::cut(client, id).ok_or_else(|| format!("librdkafka has no queue of {id}"))?;
            Ok(Box::new(queue) as Box<dyn Take>)
        })
        .collect()
}

/// A change librdkafka waits for.
struct Change<'a> {
    client: ClientRef<'a>,
    list: &'a TopicPartitionList,
}

impl Change<'_> {
    fn cooperative(&self) -> bool {
        // SAFETY: the client is alive during its callback; the answer is NULL or a static string.
        unsafe {
            let protocol = sys::rd_kafka_rebalance_protocol(self.client.ptr());
            !protocol.is_null() && CStr::from_ptr(protocol).to_bytes() == b"COOPERATIVE"
        }
    }

    fn assign(&self, list: &TopicPartitionList) -> Result<(), (Code, String)> {
        // SAFETY: client and list are alive; librdkafka copies the list.
        let code = unsafe {
            if self.cooperative() {
                Code::take(sys::rd_kafka_incremental_assign(self.client.ptr(), list.ptr()))
            } else {
                Code(sys::rd_kafka_assign(self.client.ptr(), list.ptr()) as i32)
            }
        };
        said(code, "assign")
    }

    /// Takes the partitions without reading them, for a member that cannot go on: their first position is not known, and
    /// librdkafka must not choose one.
    fn assign_idle(&self, ids: &[TopicPartition]) -> Result<(), (Code, String)> {
        match list_of(ids.iter().map(|id| (id, LATEST))) {
            Ok(list) => self.assign(&list),
            Err(error) => Err((Code(E::RD_KAFKA_RESP_ERR__INVALID_ARG as i32), error.to_string())),
        }
    }

    fn unassign(&self) -> Result<(), (Code, String)> {
        // SAFETY: as in `assign`; NULL gives everything back.
        let code = unsafe {
            if self.cooperative() {
                Code::take(sys::rd_kafka_incremental_unassign(self.client.ptr(), self.list.ptr()))
            } else {
                Code(sys::rd_kafka_assign(self.client.ptr(), null()) as i32)
            }
        };
        said(code, "unassign")
    }
}

fn said(code: Code, what: &str) -> Result<(), (Code, String)> {
    if code.is_error() { Err((code, format!("{what}: {}", code.text()))) } else { Ok(()) }
}
