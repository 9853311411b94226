//! How long a call may go on: what it is charged with, its wall clock, and the canceller by which another thread ends it.
//!
//! Wasm code is stopped by epochs: every tick the store's callback asks [`Watch::check`]. Host functions that wait are
//! not wasm code and no epoch ends them, so they wait in [`Watch::wait_until`] and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
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

/// What a running call is charged with, and its bounds.
///
/// Charged is the processor time of its thread and the time in host functions that wait: what a busy machine or a quota
/// takes away is nobody's fault. The wall clock bounds the call as a whole. No clock is read when a call begins: the
/// first epoch that ends in it is where its time begins, so most calls read none.
#[derive(Debug)]
pub(crate) struct Watch {
    /// How much may be charged to this part of the call.
    allowed: Duration,
    /// How long the call may last by the wall clock.
    cap: Duration,
    /// When the call's time began by the wall clock.
    began: Option<Instant>,
    /// The thread's processor time when this part's time began.
    cpu: Option<Duration>,
    /// What this part spent in waits.
    waited: Duration,
    canceller: Canceller,
}

/// What is left of a call.
struct Left {
    charge: Duration,
    wall: Duration,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let (allowed, cap, waited) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Self { allowed, cap, began: None, cpu: None, waited, canceller: Canceller::default() }
    }

    /// A call begins that may be charged with `allowed`, and may last until `cap` by the wall clock.
    pub(crate) fn start(&mut self, allowed: Duration, cap: Duration) {
        self.cap = cap;
        self.began = None;
        self.start_part(allowed);
    }

    /// Begins a part of the call that may be charged with `allowed`. The call's wall clock goes on.
    pub(crate) fn start_part(&mut self, allowed: Duration) {
        self.allowed = allowed.min(self.cap);
        self.cpu = None;
        self.waited = Duration::ZERO;
    }

    pub(crate) fn canceller(&self) -> &Canceller {
        &self.canceller
    }

    /// Whether the call may go on; asked when an epoch ends.
    pub(crate) fn check(&mut self) -> Result<(), Stop> {
        self.left().map(drop)
    }

    /// What is left, or why the call ends.
    fn left(&mut self) -> Result<Left, Stop> {
        if self.canceller.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let (now, cpu) = (Instant::now(), ThreadTime::now().as_duration());
        let wall = now.saturating_duration_since(*self.began.get_or_insert(now));
        let charged = cpu.saturating_sub(*self.cpu.get_or_insert(cpu)).saturating_add(self.waited);
        let charge = self.allowed.saturating_sub(charged);
        if charge.is_zero() {
            return Err(Stop::Deadline(self.allowed));
        }
        let left = self.cap.saturating_sub(wall);
        if !left.is_zero() {
            return Ok(Left { charge, wall: left });
        }
        // A call that may last as long as it may be charged reaches both bounds together, but for what the machine does
        // beside it.
        let used_up = charged.saturating_mul(10) >= self.allowed.saturating_mul(9);
        Err(if used_up { Stop::Deadline(self.allowed) } else { Stop::TimeCap { cap: self.cap, charged } })
    }

    /// Waits until `until` (`None`: for ever), but ends with the call's bounds and when the call is cancelled. The wait
    /// is charged: no more of it than was asked for, as the machine may give the processor back late.
    pub(crate) fn wait_until(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        let canceller = self.canceller.clone();
        let mut held = canceller.0.lock.lock();
        loop {
            let Left { charge, wall } = self.left()?;
            let now = Instant::now();
            let asked = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
            if asked.is_zero() {
                return Ok(());
            }
            let most = asked.min(charge).min(wall);
            canceller.0.wake.wait_for(&mut held, most);
            self.waited += now.elapsed().min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn watch(allowed: Duration, cap: Duration) -> Watch {
        let mut watch = Watch::new();
        watch.start(allowed, cap);
        watch
    }

    #[test]
    fn a_wait_is_charged() {
        let mut watch = watch(Duration::from_millis(20), LONG);
        assert!(matches!(watch.wait_until(None), Err(Stop::Deadline(_))));
    }

    #[test]
    fn waits_add_up_within_a_part_and_not_across_parts() {
        let mut watch = watch(Duration::from_millis(500), LONG);
        let wait = |watch: &mut Watch| watch.wait_until(Some(Instant::now() + Duration::from_millis(300)));
        wait(&mut watch).unwrap();
        watch.start_part(Duration::from_millis(500));
        wait(&mut watch).unwrap();
        assert!(matches!(wait(&mut watch), Err(Stop::Deadline(_))));
    }

    #[test]
    fn time_off_the_processor_is_not_charged_and_ends_at_the_cap() {
        let mut watch = watch(Duration::from_millis(20), Duration::from_millis(200));
        watch.check().unwrap();
        // Not a wait of the call: its thread is merely not run.
        std::thread::sleep(Duration::from_millis(60));
        watch.check().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(matches!(watch.check(), Err(Stop::TimeCap { charged, .. }) if charged < Duration::from_millis(20)));
    }

    #[test]
    fn processor_time_is_charged() {
        let mut watch = watch(Duration::from_millis(20), LONG);
        let began = ThreadTime::now();
        while watch.check().is_ok() {}
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert!(matches!(watch.check(), Err(Stop::Deadline(_))));
    }

    #[test]
    fn a_call_that_may_last_as_long_as_it_may_be_charged_ends_by_its_own_doing() {
        let mut watch = watch(Duration::from_millis(50), Duration::from_millis(50));
        assert!(matches!(watch.wait_until(None), Err(Stop::Deadline(_))));
    }

    #[test]
    fn a_wait_ends_when_its_time_has_come() {
        let mut watch = watch(LONG, LONG);
        let until = Instant::now() + Duration::from_millis(10);
        watch.wait_until(Some(until)).unwrap();
        assert!(Instant::now() >= until);
    }

    #[test]
    fn a_wait_ends_when_the_call_is_cancelled() {
        let mut watch = watch(LONG, LONG);
        let canceller = watch.canceller().clone();
        let other = std::thread::spawn(move || canceller.cancel());
        assert!(matches!(watch.wait_until(None), Err(Stop::Cancelled)));
        other.join().unwrap();
    }

    #[test]
    fn bounds_too_far_for_the_clock_are_far_away() {
        let mut watch = watch(Duration::MAX, Duration::MAX);
        watch.check().unwrap();
        watch.wait_until(Some(Instant::now() + Duration::from_millis(1))).unwrap();
    }
}
