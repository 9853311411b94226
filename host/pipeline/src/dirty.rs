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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    /// Longer than any of these tests may take.
    const LONG: Duration = Duration::from_secs(60);

    /// What somebody took who had nothing to take when he began to wait, or who was just about to.
    fn taken(dirty: &Arc<Dirty>, patient: bool, happens: impl FnOnce(&Dirty)) -> Option<bool> {
        let (tells, told) = mpsc::channel();
        let takes = dirty.clone();
        let taker = thread::spawn(move || tells.send(takes.take(LONG, patient)));
        happens(dirty);
        let taken = told.recv_timeout(LONG / 2).expect("the wait ends before its time");
        taker.join().expect("it ends").expect("it is heard");
        taken
    }

    #[test]
    fn a_mark_is_taken_once() {
        let dirty = Dirty::default();
        assert_eq!(dirty.take(Duration::ZERO, false), None);
        dirty.mark();
        dirty.mark();
        assert_eq!(dirty.take(LONG, false), Some(false));
        assert_eq!(dirty.take(Duration::ZERO, false), None);
        dirty.mark_urgent();
        assert_eq!(dirty.take(LONG, true), Some(true));
        assert_eq!(dirty.take(Duration::ZERO, false), None);
    }

    #[test]
    fn whoever_is_patient_waits_on_over_a_mark_and_leaves_it() {
        let dirty = Dirty::default();
        dirty.mark();
        let (began, time) = (Instant::now(), Duration::from_millis(20));
        assert_eq!(dirty.take(time, true), None);
        assert!(began.elapsed() >= time, "it was not woken");
        assert_eq!(dirty.take(LONG, false), Some(false), "it is still there");
    }

    #[test]
    fn a_mark_ends_the_wait_of_whoever_is_not_patient_and_something_urgent_everybodys() {
        let dirty = Arc::default();
        assert_eq!(taken(&dirty, false, Dirty::mark), Some(false));
        assert_eq!(taken(&dirty, false, Dirty::mark_urgent), Some(true));
        assert_eq!(taken(&dirty, true, Dirty::mark_urgent), Some(true));
    }

    #[test]
    fn a_wake_ends_one_wait_and_marks_nothing() {
        let dirty = Arc::default();
        for patient in [false, true] {
            assert_eq!(taken(&dirty, patient, Dirty::wake), None);
        }
        dirty.mark();
        assert_eq!(taken(&dirty, true, Dirty::wake), None);
        let (began, time) = (Instant::now(), Duration::from_millis(20));
        assert_eq!(dirty.take(time, true), None);
        assert!(began.elapsed() >= time, "for one wait only");
        assert_eq!(dirty.take(LONG, false), Some(false));
    }

    #[test]
    fn the_end_of_the_committer_ends_its_wait() {
        for patient in [false, true] {
            let dirty = Arc::default();
            assert_eq!(taken(&dirty, patient, |dirty| dirty.set_stopped(true)), Some(true));
            assert!(dirty.is_stopped());
        }
    }
}
