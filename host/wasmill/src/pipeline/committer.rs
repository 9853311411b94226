//! The committer of a member: one commit in flight, carrying every partition that moved; the next one takes the newest
//! watermarks. Synchronous, on a thread of its own: the callback of an asynchronous commit never fires in
//! rust-rdkafka, and a commit during a cooperative rebalance blocks for up to a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram, counter, histogram};
use wasmill_core::CommitMode;
use wasmill_kafka::{CommitEntry, CommitError, MemberHandle, TopicPartition};

use super::partition::{DueCommit, Partition};
use super::shared::PipelineShared;
use crate::mutant::{self, Mutant};

/// Says that something may have to be committed. Marking costs one atomic swap while it is already marked.
#[derive(Default)]
pub struct Dirty {
    marked: AtomicBool,
    urgent: AtomicBool,
    mutex: Mutex<()>,
    changed: Condvar,
}

impl Dirty {
    /// Marks, and wakes the committer if it was clean.
    pub fn mark(&self) {
        if !self.marked.swap(true, Ordering::AcqRel) {
            // The lock makes sure that the committer is either waiting already or has yet to look at the flag.
            drop(self.mutex.lock());
            self.changed.notify_all();
        }
    }

    /// Marks for a commit that must not wait out the interval: a first position, or the end.
    pub fn mark_urgent(&self) {
        self.urgent.store(true, Ordering::Release);
        self.marked.store(true, Ordering::Release);
        drop(self.mutex.lock());
        self.changed.notify_all();
    }

    /// Waits until marked, or until `timeout`; clears the mark.
    fn take(&self, timeout: Duration) -> bool {
        let guard = self.mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !self.marked.load(Ordering::Acquire) {
            let _ = self.changed.wait_timeout(guard, timeout);
        }
        self.urgent.store(false, Ordering::Release);
        self.marked.swap(false, Ordering::AcqRel)
    }
}

/// The partitions that a member holds, and the one place from which their offsets are committed.
pub struct Holdings {
    live: Mutex<BTreeMap<TopicPartition, Arc<Partition>>>,
    /// Held while a commit is on its way, so that a late periodic commit cannot follow that of a revoke with less.
    commit: Mutex<()>,
    /// Marked when a watermark moved.
    pub dirty: Arc<Dirty>,
    stop: AtomicBool,
    failures: Mutex<Option<String>>,
    failed_total: AtomicU64,
    commits: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl Holdings {
    /// No partitions yet.
    pub fn new(pipeline: &str) -> Self {
        let labels = [("pipeline", pipeline.to_owned())];
        Self {
            live: Mutex::default(),
            commit: Mutex::new(()),
            dirty: Arc::default(),
            stop: AtomicBool::new(false),
            failures: Mutex::new(None),
            failed_total: AtomicU64::new(0),
            commits: counter!("wasmill_commits_total", &labels),
            failed: counter!("wasmill_commit_failures_total", &labels),
            seconds: histogram!("wasmill_commit_seconds", &labels),
        }
    }

    /// The partitions held now.
    pub fn live(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<Partition>>> {
        self.live.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The last commit's failure, if it failed, and how many did.
    pub fn last_failure(&self) -> (Option<String>, u64) {
        let last = self.failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        (last, self.failed_total.load(Ordering::Relaxed))
    }

    /// Lets a committer run (again): a member that joins with a new client has a new one.
    pub fn start(&self) {
        self.stop.store(false, Ordering::Release);
    }

    /// Ends the committer's loop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.dirty.mark_urgent();
    }

    /// Whether the committer's loop is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Takes partitions out and commits their watermarks for the last time, in one step with respect to the periodic
    /// commits. `commit` is false after *lost*: then somebody else may own them already.
    pub fn give_back(
        &self,
        handle: &MemberHandle,
        shared: &PipelineShared,
        gone: &[Arc<Partition>],
        commit: bool,
    ) -> Result<(), CommitError> {
        let _in_flight = self.commit.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for partition in gone {
            if !mutant::is(Mutant::NoFence) {
                self.live().remove(&partition.id);
            }
        }
        if !commit {
            return Ok(());
        }
        let dues = collect(gone.iter(), &shared.settings.commit, true);
        self.send(handle, shared, dues)
    }

    /// One periodic commit of whatever is due.
    fn commit_due(&self, handle: &MemberHandle, shared: &PipelineShared) -> Result<(), CommitError> {
        let _in_flight = self.commit.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let live: Vec<Arc<Partition>> = self.live().values().cloned().collect();
        let dues = collect(live.iter(), &shared.settings.commit, false);
        self.send(handle, shared, dues)
    }

    fn send(&self, handle: &MemberHandle, shared: &PipelineShared, dues: Vec<Due>) -> Result<(), CommitError> {
        if dues.is_empty() {
            return Ok(());
        }
        let entries: Vec<CommitEntry> = dues
            .iter()
            .map(|Due { partition, due }| CommitEntry {
                id: partition.id.clone(),
                next: due.next,
                note: due.note.clone(),
            })
            .collect();
        let start = Instant::now();
        let answer = handle.commit(&entries);
        self.seconds.record(start.elapsed().as_secs_f64());
        self.commits.increment(1);
        match answer {
            Ok(refusals) => {
                for Due { partition, due } in &dues {
                    if let Some(refusal) = refusals.iter().find(|refusal| refusal.id == partition.id) {
                        self.failed_with(shared, &format!("{}: {}", refusal.id, refusal.error));
                        partition.lock().note_dirty = true;
                    } else {
                        partition.confirmed(due);
                        if let Some(observer) = &shared.observer {
                            observer.committed(&partition.id, due.next);
                        }
                    }
                }
                // One that was refused has to be sent again like a commit that failed as a whole: a first position
                // that nobody commits would keep its partition from starting for ever.
                if let Some(refusal) = refusals.into_iter().next() {
                    return Err(refusal.error);
                }
                *self.failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
                Ok(())
            }
            Err(error) => {
                // A note that goes with no moved offset would else be forgotten.
                dues.iter().for_each(|due| due.partition.lock().note_dirty = true);
                self.failed_with(shared, &error.to_string());
                Err(error)
            }
        }
    }

    fn failed_with(&self, shared: &PipelineShared, text: &str) {
        self.failed.increment(1);
        self.failed_total.fetch_add(1, Ordering::Relaxed);
        let mut last = self.failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if last.as_deref() != Some(text) {
            tracing::warn!(pipeline = %shared.name, error = text, "commit failed; the newest watermarks go with the next one");
            *last = Some(text.to_owned());
        }
    }
}

struct Due {
    partition: Arc<Partition>,
    due: DueCommit,
}

fn collect<'a>(partitions: impl Iterator<Item = &'a Arc<Partition>>, mode: &CommitMode, closing: bool) -> Vec<Due> {
    partitions
        .filter_map(|partition| Some(Due { partition: partition.clone(), due: partition.due(mode, closing)? }))
        .collect()
}

/// The committer's thread: runs until [`Holdings::stop`].
pub fn run(holdings: &Holdings, shared: &PipelineShared, handle: impl Fn() -> Option<MemberHandle>) {
    let pace = shared.settings.commit.spacing();
    let auto = matches!(shared.settings.commit, CommitMode::Auto(_));
    let ticks = auto || matches!(shared.settings.commit, CommitMode::Interval(_));
    while !holdings.is_stopped() {
        let started = Instant::now();
        // An interval is waited out first, whatever moves meanwhile; only first positions do not wait.
        if ticks {
            rest(holdings, pace);
        }
        let Some(handle) = handle() else {
            // Between two clients; a mark must not be taken while there is nobody to commit with.
            std::thread::park_timeout(Duration::from_millis(20));
            continue;
        };
        let marked = holdings.dirty.take(if ticks { Duration::ZERO } else { Duration::from_millis(500) });
        // In auto mode the position moves without a completion, so the interval alone starts a commit.
        if marked || auto {
            match holdings.commit_due(&handle, shared) {
                Ok(()) => {}
                // Still ours, only not now: again, with whatever the watermarks are by then.
                Err(CommitError::Again { .. } | CommitError::Other { .. }) => {
                    rest(holdings, Duration::from_millis(50));
                    let waits = holdings.live().values().any(|partition| partition.waits_for_commit());
                    if waits { holdings.dirty.mark_urgent() } else { holdings.dirty.mark() }
                }
                // The generation is over; the revoke or the loss is on its way and settles it.
                Err(CommitError::Closed { .. }) => rest(holdings, Duration::from_millis(200)),
            }
        }
        if !ticks && let Some(left) = pace.checked_sub(started.elapsed()) {
            rest(holdings, left);
        }
    }
}

/// Waits, whatever is marked meanwhile, unless it is urgent.
fn rest(holdings: &Holdings, time: Duration) {
    let end = Instant::now() + time;
    let mut guard = holdings.dirty.mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    while !holdings.stop.load(Ordering::Acquire) && !holdings.dirty.urgent.load(Ordering::Acquire) {
        let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { return };
        guard = match holdings.dirty.changed.wait_timeout(guard, left) {
            Ok((guard, _)) => guard,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
}
