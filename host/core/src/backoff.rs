//! Backoff: how long to wait before a client that failed is made again.

use std::time::Duration;

use crate::verdict::exponential;

/// Waits that double up to a cap, half of each left to chance, so that members that failed together do not return
/// together.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait is at most `base`, every one at most `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts a failure and returns the wait before the next try. `jitter`, from 0 to 1, comes from the caller's source
    /// of chance: 0 is half of the wait, 1 all of it.
    pub fn next_delay(&mut self, jitter: f64) -> Duration {
        let whole = exponential(self.base, self.failures, self.cap);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        // In 1,024ths: a product with a fraction would panic on what is not a number. A cast takes that as 0.
        let share = (jitter.clamp(0.0, 1.0) * 1024.0) as u32;
        half + half / 1024 * share
    }

    /// Failures since the start or the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// It worked: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(1024);
    const CAP: Duration = Duration::from_millis(1024 * 5);

    #[test]
    fn doubles_up_to_the_cap_and_starts_anew_after_a_success() {
        let mut backoff = Backoff::new(BASE, CAP);
        let waits: Vec<_> = (0..5).map(|_| backoff.next_delay(1.0)).collect();
        assert_eq!(waits, [BASE, BASE * 2, BASE * 4, CAP, CAP]);
        assert_eq!(backoff.failures(), 5);
        backoff.reset();
        assert_eq!(backoff.next_delay(1.0), BASE);
    }

    #[test]
    fn half_of_a_wait_is_left_to_chance() {
        let wait = |jitter| Backoff::new(BASE, CAP).next_delay(jitter);
        assert_eq!(wait(0.0), BASE / 2);
        assert_eq!(wait(0.5), BASE * 3 / 4);
        for odd in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(wait(odd), BASE / 2);
        }
        assert_eq!(wait(f64::INFINITY), BASE);
    }

    #[test]
    fn never_waits_longer_than_the_cap_however_often_it_failed() {
        let mut backoff = Backoff::new(BASE, Duration::MAX);
        for _ in 0..100 {
            assert!(backoff.next_delay(1.0) >= BASE);
        }
        let mut backoff = Backoff::new(BASE, CAP);
        assert!((0..100).all(|_| backoff.next_delay(1.0) <= CAP));
    }
}
