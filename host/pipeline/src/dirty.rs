//! The mark that something may have to be committed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Says that something may have to be committed. Marking costs one atomic swap while it is already marked.
#[derive(Default)]
pub struct Dirty {
    marked: AtomicBool,
    urgent: AtomicBool,
    stopped: AtomicBool,
    /// Somebody wants the committer to look, though nothing changed.
    woken: AtomicBool,
    mutex: Mutex<()>,
    changed: Condvar,
}

impl Dirty {
    /// Marks, and wakes the committer if it was clean.
    pub fn mark(&self) {
        if !self.marked.swap(true, Ordering::AcqRel) {
            self.notify();
        }
    }

    /// Marks for a commit that must not wait out the interval: a first position, a version's note, the end.
    pub fn mark_urgent(&self) {
        self.urgent.store(true, Ordering::Release);
        self.marked.store(true, Ordering::Release);
        self.notify();
    }

    /// Has the committer look at what is due, without marking anything.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.notify();
    }

    /// Lets a committer run, or ends its loop.
    pub fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Release);
        if stopped {
            self.mark_urgent();
        }
    }

    /// Whether the committer's loop is to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn notify(&self) {
        // The lock makes sure that the committer is either waiting already or has yet to look at the flag.
        drop(self.mutex.lock());
        self.changed.notify_all();
    }

    /// Waits until marked, or until `timeout`; clears the mark. `None`: nothing was marked. `Some(true)`: urgent.
    ///
    /// `patient`: there is something to commit already, and its time is known, so that only what is urgent, a wake or the
    /// end is waited for. A mark stays then: whoever marks again pays one atomic swap and wakes nobody.
    pub fn take(&self, timeout: Duration, patient: bool) -> Option<bool> {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        let calls = || is(&self.urgent) || is(&self.woken) || is(&self.stopped) || (!patient && is(&self.marked));
        let end = Instant::now() + timeout;
        let mut guard = self.mutex.lock();
        while !calls() {
            if self.changed.wait_until(&mut guard, end).timed_out() {
                break;
            }
        }
        self.woken.store(false, Ordering::Release);
        if patient && !is(&self.urgent) {
            return None;
        }
        // The mark first: what is marked urgent in between is marked again.
        let marked = self.marked.swap(false, Ordering::AcqRel);
        let urgent = self.urgent.swap(false, Ordering::AcqRel);
        (marked || urgent).then_some(urgent)
    }
}
