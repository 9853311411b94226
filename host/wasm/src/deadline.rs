//! How long a call may go on: its deadline, and the canceller by which another thread ends it.
//!
//! Wasm code is stopped by epochs: every tick the store's callback asks [`Watch::check`]. Host functions that wait are
//! not wasm code and no epoch ends them, so they wait in [`Watch::wait_until`] and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::Stop;

/// Ends the running call of one instance from another thread. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<Cancel>);

#[derive(Debug, Default)]
struct Cancel {
    asked: AtomicBool,
    /// Held while sleepers look at `asked`, so that no wake-up is missed.
    lock: Mutex<()>,
    wake: Condvar,
}

impl Canceller {
    /// Ends the running call at the next tick, and lets no further call begin until `clear`.
    pub fn cancel(&self) {
        let _held = self.0.lock.lock();
        self.0.asked.store(true, Ordering::Release);
        self.0.wake.notify_all();
    }

    /// Lets calls begin again.
    pub fn clear(&self) {
        self.0.asked.store(false, Ordering::Release);
    }

    /// True between `cancel` and `clear`.
    pub fn is_cancelled(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }
}

/// The running call's deadline.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Instant,
    allowed: Duration,
    canceller: Canceller,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { deadline: Instant::now(), allowed: Duration::ZERO, canceller: Canceller::default() }
    }

    /// A call begins that may take `allowed`.
    pub(crate) fn start(&mut self, allowed: Duration) {
        let now = Instant::now();
        self.allowed = allowed;
        self.deadline = now.checked_add(allowed).unwrap_or(now + Duration::from_secs(365 * 24 * 3600));
    }

    /// The end of the running call.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Begins a part of the call that may take `allowed`, but not longer than until `end`.
    pub(crate) fn start_within(&mut self, allowed: Duration, end: Instant) {
        self.start(allowed);
        self.deadline = self.deadline.min(end);
    }

    pub(crate) fn canceller(&self) -> &Canceller {
        &self.canceller
    }

    /// Whether the call may go on.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.canceller.is_cancelled() {
            Err(Stop::Cancelled)
        } else if Instant::now() >= self.deadline {
            Err(Stop::Deadline(self.allowed))
        } else {
            Ok(())
        }
    }

    /// Waits until `until` (`None`: for ever), but ends with the call's deadline and when the call is cancelled.
    pub(crate) fn wait_until(&self, until: Option<Instant>) -> Result<(), Stop> {
        let end = until.map_or(self.deadline, |until| until.min(self.deadline));
        let mut held = self.canceller.0.lock.lock();
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // `end` may be the deadline, reached since it was checked.
                return self.check();
            }
            self.canceller.0.wake.wait_for(&mut held, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_deadline() {
        let mut watch = Watch::new();
        watch.start(Duration::from_millis(20));
        assert!(matches!(watch.wait_until(None), Err(Stop::Deadline(_))));
    }

    #[test]
    fn a_wait_ends_when_its_time_has_come() {
        let mut watch = Watch::new();
        watch.start(Duration::from_secs(60));
        let until = Instant::now() + Duration::from_millis(10);
        watch.wait_until(Some(until)).unwrap();
        assert!(Instant::now() >= until);
    }

    #[test]
    fn a_wait_ends_when_the_call_is_cancelled() {
        let mut watch = Watch::new();
        watch.start(Duration::from_secs(60));
        let canceller = watch.canceller().clone();
        let other = std::thread::spawn(move || canceller.cancel());
        assert!(matches!(watch.wait_until(None), Err(Stop::Cancelled)));
        other.join().unwrap();
    }

    #[test]
    fn a_deadline_too_far_for_the_clock_is_far_away() {
        let mut watch = Watch::new();
        watch.start(Duration::MAX);
        watch.check().unwrap();
    }
}
