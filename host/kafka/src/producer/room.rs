//! Room in the producer's buffer: who may put another message in, and who waits for it without asking again and again.
//!
//! librdkafka bounds the number of messages and the bytes of their *values*. Keys and headers, which a handler controls as
//! much, are not counted by it; what they hold beyond a little is counted here as *weight*.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::produce_error::SendError;

/// Bytes of key and headers of one message that are not counted: the bound on the number of messages covers them, and the
/// shared counter stays untouched by ordinary messages.
const UNCOUNTED_BYTES: usize = 1024;

/// The state of the buffer as far as librdkafka does not keep it.
pub(crate) struct Room {
    max_weight: u64,
    weight: AtomicU64,
    /// Set by a sender that was refused, cleared by the delivery thread whenever it gave back some of the buffer.
    full: AtomicBool,
    lock: Mutex<()>,
    freed: Condvar,
}

/// The weight of a message whose key and headers have this many bytes.
pub(crate) fn weight_of(bytes: usize) -> u64 {
    if bytes > UNCOUNTED_BYTES { bytes as u64 } else { 0 }
}

impl Room {
    pub(crate) fn new(max_weight: u64) -> Self {
        Self {
            max_weight,
            weight: AtomicU64::new(0),
            full: AtomicBool::new(false),
            lock: Mutex::new(()),
            freed: Condvar::new(),
        }
    }

    /// Runs `put`. If the buffer is full it says so to the delivery thread and tries once more: room made before the
    /// delivery thread could see that is found by the second try, room made after it wakes [`Room::wait`]. So no wake-up is
    /// lost, and a sender that finds room touches nothing shared.
    pub(crate) fn admit(&self, weight: u64, mut put: impl FnMut() -> Result<(), SendError>) -> Result<(), SendError> {
        let mut attempt = || {
            if !self.reserve(weight) {
                return Err(SendError::QueueFull);
            }
            let outcome = put();
            if outcome.is_err() {
                self.release(weight);
            }
            outcome
        };
        match attempt() {
            Err(SendError::QueueFull) => {
                self.full.store(true, Ordering::SeqCst);
                attempt()
            }
            other => other,
        }
    }

    /// True if any weight is held: only then is it worth weighing what was reported.
    pub(crate) fn weighs(&self) -> bool {
        self.weight.load(Ordering::Relaxed) > 0
    }

    /// Gives back weight. Does not wake anybody: [`Room::made`] follows.
    pub(crate) fn release(&self, weight: u64) {
        if weight > 0 {
            self.weight.fetch_sub(weight, Ordering::AcqRel);
        }
    }

    /// Some of the buffer was given back.
    pub(crate) fn made(&self) {
        // Orders the room made before this call against the load: see `admit`.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) {
            let _guard = self.lock.lock();
            self.full.store(false, Ordering::SeqCst);
            self.freed.notify_all();
        }
    }

    /// Waits until room was made since a sender was refused. True at once if nobody was.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut guard = self.lock.lock();
        while self.full.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.freed.wait_for(&mut guard, left);
        }
        true
    }

    fn reserve(&self, weight: u64) -> bool {
        if weight == 0 {
            return true;
        }
        let fits = |held: u64| {
            let sum = held.checked_add(weight)?;
            // One message that is heavier than the bound must still be able to pass when nothing else is there.
            (held == 0 || sum <= self.max_weight).then_some(sum)
        };
        self.weight.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_refused_sender_waits_until_something_was_given_back() {
        let room = Arc::new(Room::new(1));
        assert!(matches!(room.admit(0, || Err(SendError::QueueFull)), Err(SendError::QueueFull)));
        assert!(!room.wait(Duration::from_millis(10)));
        let waiting = std::thread::spawn({
            let room = Arc::clone(&room);
            move || room.wait(60 * SECOND)
        });
        room.made();
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn room_made_between_the_refusal_and_the_wait_is_not_missed() {
        let room = Room::new(1);
        let mut tries = 0;
        let outcome = room.admit(0, || {
            tries += 1;
            if tries == 1 {
                // The delivery thread gives back everything there was, before it can know that somebody waits.
                room.made();
                return Err(SendError::QueueFull);
            }
            Ok(())
        });
        assert!(outcome.is_ok());
        assert_eq!(tries, 2);
    }

    #[test]
    fn heavy_keys_and_headers_are_bounded_and_one_too_heavy_alone_passes() {
        let room = Room::new(10_000);
        assert!(room.admit(20_000, || Ok(())).is_ok());
        assert!(matches!(room.admit(2_000, || Ok(())), Err(SendError::QueueFull)));
        room.release(20_000);
        room.made();
        assert!(room.wait(Duration::ZERO));
        assert!(room.admit(2_000, || Ok(())).is_ok());
        assert!(room.weighs());
        assert_eq!(weight_of(100), 0);
    }

    #[test]
    fn a_message_that_was_not_accepted_holds_no_weight() {
        let room = Room::new(10_000);
        let refused = || Err(SendError::Fatal { text: String::new() });
        assert!(room.admit(2_000, refused).is_err());
        assert!(!room.weighs());
    }
}
