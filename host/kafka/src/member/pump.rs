//! The fallback's right to move: whoever has it is alone with the way from the library to the partitions.
//!
//! The member's thread has it while it polls, since a message is on that way between the library and its partition; a seek
//! takes it, or such a message would come out after the seek. Two things that a plain lock gets wrong, each of which made
//! partitions stand still:
//! * The member's thread takes it again right after giving it back, and a seek that waits would be passed over for ever: so
//!   it lets those that wait go first.
//! * Callbacks run inside the poll, and the handler in them waits for readers, while a reader in the middle of a seek waits for
//!   the poll. No message is on its way then, so a callback has let go of it.

use crate::queue::lock;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

#[derive(Default)]
pub(super) struct Pump {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    taken: bool,
    /// The member's thread while it has it.
    pumping: Option<ThreadId>,
    /// Seeks that wait for it.
    waiting: usize,
}

/// Has it until dropped.
pub(super) struct Moving<'a>(&'a Pump);

/// A callback, which has let go of what its thread had; that is taken again when this is dropped.
pub(super) struct Released<'a>(&'a Pump);

impl Pump {
    fn wait_while(&self, mut condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(lock(&self.state), |state| condition(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// For the member's thread, about to poll.
    pub(super) fn begin(&self) -> Moving<'_> {
        let mut state = self.wait_while(|state| state.taken || state.waiting > 0);
        state.taken = true;
        state.pumping = Some(thread::current().id());
        Moving(self)
    }

    /// For a seek.
    pub(super) fn stand(&self) -> Moving<'_> {
        lock(&self.state).waiting += 1;
        let mut state = self.wait_while(|state| state.taken);
        state.waiting -= 1;
        state.taken = true;
        Moving(self)
    }

    /// Without waiting.
    pub(super) fn try_stand(&self) -> Option<Moving<'_>> {
        let mut state = lock(&self.state);
        (!std::mem::replace(&mut state.taken, true)).then_some(Moving(self))
    }

    /// For a callback; None if its thread does not have it.
    pub(super) fn release(&self) -> Option<Released<'_>> {
        let mut state = lock(&self.state);
        if state.pumping != Some(thread::current().id()) {
            return None;
        }
        state.taken = false;
        state.pumping = None;
        self.changed.notify_all();
        Some(Released(self))
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.taken = false;
        state.pumping = None;
        self.0.changed.notify_all();
    }
}

impl Drop for Released<'_> {
    fn drop(&mut self) {
        let mut state = self.0.wait_while(|state| state.taken);
        state.taken = true;
        state.pumping = Some(thread::current().id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(20);

    /// Runs `seek` beside a thread that gives the right back only to take it again.
    fn beside_a_busy_pump(seek: impl FnOnce(&Pump) + Send) {
        let (pump, stop) = (Pump::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _moving = pump.begin();
                    thread::sleep(Duration::from_micros(100));
                }
            });
            seek(&pump);
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_seek_is_not_passed_over_by_a_busy_pump() {
        beside_a_busy_pump(|pump| {
            for _ in 0..100 {
                let _moving = pump.stand();
                assert!(pump.try_stand().is_none());
            }
        });
    }

    #[test]
    fn a_callback_may_wait_for_a_seek_that_waits_for_the_pump() {
        let pump = Pump::default();
        let (done, sought) = mpsc::channel();
        thread::scope(|scope| {
            let moving = pump.begin();
            scope.spawn(|| {
                drop(pump.stand());
                done.send(()).unwrap();
            });
            let callback = pump.release().unwrap();
            assert!(pump.release().is_none(), "let go of once");
            sought.recv_timeout(SOON).expect("the seek is done while the callback runs");
            drop(callback);
            assert!(pump.try_stand().is_none(), "the poll goes on with what it had");
            drop(moving);
            assert!(pump.try_stand().is_some());
        });
    }
}
