//! Delivery at least once: outputs go through the pipeline's producer, offsets are committed by the consumer.
//!
//! One commit is in flight for each member, carrying every partition that moved; the next one takes the newest watermarks.
//! Synchronous, on a thread of its own: the callback of an asynchronous commit never fires in rust-rdkafka, and a commit
//! during a cooperative rebalance blocks for up to a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::Mutex;
use wasmill_core::CommitMode;
use wasmill_core::partition::Event;
use wasmill_kafka::{CommitEntry, CommitError};

use crate::delivery::{Delivery, Outcome, Permit};
use crate::holdings::Holdings;
use crate::io::Offsets;
use crate::mutant::{self, Mutant};
use crate::partition::{Due, Partition};
use crate::publisher::Publisher;
use crate::shared::PipelineShared;

/// One piece of the flush of a drain.
const FLUSH: Duration = Duration::from_millis(20);
/// How long the committer waits for something to commit before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long it rests after a commit that may succeed later, and after one of a generation that is over.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
const CLOSED_REST: Duration = Duration::from_millis(200);

/// The delivery of a member that promises at least once.
pub struct AtLeastOnce {
    shared: Arc<PipelineShared>,
    /// What it commits for.
    pub holdings: Holdings,
    /// The client, while there is one.
    offsets: Mutex<Option<Arc<dyn Offsets>>>,
    /// Held while a commit is on its way, so that a late periodic commit cannot follow that of a revoke with less.
    in_flight: Mutex<()>,
    last_failure: Mutex<Option<String>>,
    failed_total: AtomicU64,
    commits: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl AtLeastOnce {
    /// Nothing is held yet, and there is no client.
    pub fn new(shared: Arc<PipelineShared>) -> Self {
        let labels = [("pipeline", shared.name.clone())];
        Self {
            shared,
            holdings: Holdings::default(),
            offsets: Mutex::default(),
            in_flight: Mutex::new(()),
            last_failure: Mutex::default(),
            failed_total: AtomicU64::new(0),
            commits: counter!("wasmill_commits_total", &labels),
            failed: counter!("wasmill_commit_failures_total", &labels),
            seconds: histogram!("wasmill_commit_seconds", &labels),
        }
    }

    /// With whom to commit from now on; `None` between two clients.
    pub fn commit_with(&self, offsets: Option<Arc<dyn Offsets>>) {
        *self.offsets.lock() = offsets;
    }

    /// The last commit's failure, if it failed, and how many did.
    pub fn last_failure(&self) -> (Option<String>, u64) {
        (self.last_failure.lock().clone(), self.failed_total.load(Ordering::Relaxed))
    }

    /// Lets a committer run, again too: a member that joins with a new client has a new one.
    pub fn start(&self) {
        self.holdings.dirty.set_stopped(false);
    }

    /// Ends the committer's loop.
    pub fn stop(&self) {
        self.holdings.dirty.set_stopped(true);
    }

    /// The committer's thread: runs until [`AtLeastOnce::stop`].
    pub fn run(&self) {
        let dirty = &self.holdings.dirty;
        let mode = self.shared.settings.commit;
        let pace = mode.spacing();
        let auto = matches!(mode, CommitMode::Auto(_));
        let ticks = auto || matches!(mode, CommitMode::Interval(_));
        while !dirty.is_stopped() {
            let started = Instant::now();
            // An interval is waited out first, whatever moves meanwhile; only first positions do not wait.
            if ticks {
                dirty.rest(pace);
            }
            if self.offsets.lock().is_none() {
                // Between two clients; a mark must not be taken while there is nobody to commit with.
                std::thread::park_timeout(FLUSH);
                continue;
            }
            let marked = dirty.take(if ticks { Duration::ZERO } else { LOOK_AGAIN });
            // In auto mode the position moves without a completion, so the interval alone starts a commit.
            if marked || auto {
                match self.commit_due() {
                    Ok(()) => {}
                    // Still ours, only not now: again, with whatever the watermarks are by then.
                    Err(CommitError::Again { .. } | CommitError::Other { .. }) => {
                        dirty.rest(AGAIN_AFTER);
                        let waits = self.holdings.all().iter().any(|partition| partition.lock().waits_for_commit());
                        if waits { dirty.mark_urgent() } else { dirty.mark() }
                    }
                    // The generation is over; the revoke or the loss is on its way and settles it.
                    Err(CommitError::Closed { .. }) => dirty.rest(CLOSED_REST),
                }
            }
            if !ticks && let Some(left) = pace.checked_sub(started.elapsed()) {
                dirty.rest(left);
            }
        }
    }

    /// One periodic commit of whatever is due.
    ///
    /// # Errors
    /// Something of it is not committed.
    pub fn commit_due(&self) -> Result<(), CommitError> {
        let _in_flight = self.in_flight.lock();
        let live = self.holdings.all();
        self.send(&live, false)
    }

    fn send(&self, partitions: &[Arc<Partition>], closing: bool) -> Result<(), CommitError> {
        let dues: Vec<(&Arc<Partition>, Due)> =
            partitions.iter().filter_map(|partition| Some((partition, partition.due(closing)?))).collect();
        if dues.is_empty() {
            return Ok(());
        }
        let Some(offsets) = self.offsets.lock().clone() else {
            dues.iter().for_each(|(partition, _)| partition.apply(Event::PersistRefused));
            return Err(CommitError::Other { code: "_STATE".to_owned(), text: "there is no client".to_owned() });
        };
        let entries: Vec<CommitEntry> = dues
            .iter()
            .map(|(partition, due)| CommitEntry { id: partition.id.clone(), next: due.next, note: due.note.clone() })
            .collect();
        let started = Instant::now();
        let answer = offsets.persist(&entries);
        self.seconds.record(started.elapsed().as_secs_f64());
        self.commits.increment(1);
        let refusals = match answer {
            Ok(refusals) => refusals,
            Err(error) => {
                // A note that goes with no moved offset would else be forgotten.
                dues.iter().for_each(|(partition, _)| partition.apply(Event::PersistRefused));
                self.failed_with(&error.to_string());
                return Err(error);
            }
        };
        for (partition, due) in &dues {
            if let Some(refusal) = refusals.iter().find(|refusal| refusal.id == partition.id) {
                self.failed_with(&format!("{}: {}", refusal.id, refusal.error));
                partition.apply(Event::PersistRefused);
            } else {
                partition.apply(Event::Persisted(&due.mark));
                if let Some(observer) = &self.shared.observer {
                    observer.committed(&partition.id, due.next);
                }
            }
        }
        // One that was refused has to be sent again like a commit that failed as a whole: a first position that nobody
        // commits would keep its partition from starting for ever.
        if let Some(refusal) = refusals.into_iter().next() {
            return Err(refusal.error);
        }
        *self.last_failure.lock() = None;
        Ok(())
    }

    fn failed_with(&self, text: &str) {
        self.failed.increment(1);
        self.failed_total.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_failure.lock();
        if last.as_deref() != Some(text) {
            tracing::warn!(pipeline = %self.shared.name, error = text, "commit failed; the newest watermarks go with the next one");
            *last = Some(text.to_owned());
        }
    }
}

impl Delivery for AtLeastOnce {
    fn publisher(&self) -> Arc<Publisher> {
        self.shared.publisher()
    }

    /// Completions are persisted whenever a commit comes by: nothing is torn apart by it, so nobody waits.
    fn permit(&self) -> Permit<'_> {
        Permit::free()
    }

    fn drain(&self, partitions: &[Arc<Partition>], deadline: Instant) -> bool {
        let publisher = self.publisher();
        while !partitions.iter().all(|partition| partition.lock().is_settled()) {
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            // A flush ends the linger, so that the drain does not last as long as that. In short pieces: it waits for
            // everything the producer holds, and other partitions go on sending.
            publisher.flush(deadline.min(now + FLUSH));
        }
        true
    }

    /// In one step with respect to the periodic commits: from here on they know nothing of these partitions.
    fn end(&self, partitions: &[Arc<Partition>], lost: bool) -> Outcome {
        let _in_flight = self.in_flight.lock();
        for partition in partitions {
            if !mutant::is(Mutant::NoFence) {
                self.holdings.live().remove(&partition.id);
            }
        }
        // After *lost* somebody else may own them already.
        if lost {
            return Outcome::Restored("lost".to_owned());
        }
        match self.send(partitions, true) {
            Ok(()) => Outcome::Persisted,
            Err(error) => Outcome::Restored(error.to_string()),
        }
    }
}
