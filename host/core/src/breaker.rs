//! The breaker: opens when too many of the last messages were given up, so that a bad deploy does not drain a topic into
//! its dead letters.

use std::collections::VecDeque;

/// Opens when more than `given_up` of the last `of` settled messages were given up. A window of 0 messages is none.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BreakerPolicy {
    /// As many are borne.
    pub given_up: u32,
    /// Messages in the window.
    pub of: u32,
    /// As many are borne in the smaller window.
    pub first_given_up: u32,
    /// Messages in the smaller window, which applies as well until `of` messages are settled after a start or a swap.
    pub first_of: u32,
}

/// Counts what is settled and given up; one for each pipeline.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    window: Window,
    first_window: Window,
    /// Messages settled since the start or swap, up to `of`.
    settled: u32,
    open: bool,
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    pub fn new(policy: BreakerPolicy) -> Self {
        let (window, first_window) = (Window::new(policy.of), Window::new(policy.first_of));
        Self { policy, window, first_window, settled: 0, open: false }
    }

    /// Notes `settled` messages, `given_up` of them given up. True if this opened the breaker.
    ///
    /// Which of the messages were given up is not told: what sticks out of a window counts in proportion.
    pub fn record(&mut self, settled: u32, given_up: u32) -> bool {
        let given_up = given_up.min(settled);
        let mut too_many = self.window.record(settled, given_up) > u64::from(self.policy.given_up);
        if self.settled < self.policy.of {
            too_many |= self.first_window.record(settled, given_up) > u64::from(self.policy.first_given_up);
            self.settled = self.settled.saturating_add(settled);
        }
        let opened = too_many && !self.open;
        self.open |= too_many;
        opened
    }

    /// True if nothing may be handed over.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Closes it and forgets everything: after a swap, or when somebody resumed the pipeline.
    pub fn reset(&mut self) {
        *self = Self::new(self.policy);
    }
}

/// The last `size` messages, as records of (settled, given up).
#[derive(Clone, Debug)]
struct Window {
    size: u64,
    records: VecDeque<(u64, u64)>,
    settled: u64,
    given_up: u64,
}

impl Window {
    fn new(size: u32) -> Self {
        Self { size: u64::from(size), records: VecDeque::new(), settled: 0, given_up: 0 }
    }

    /// Returns how many messages of the window were given up.
    fn record(&mut self, settled: u32, given_up: u32) -> u64 {
        let (settled, given_up) = (u64::from(settled), u64::from(given_up));
        if settled == 0 {
            return self.given_up;
        }
        self.settled += settled;
        self.given_up += given_up;
        match self.records.back_mut() {
            // A pipeline that gives nothing up keeps one record, not one for each batch.
            Some(last) if last.1 == 0 && given_up == 0 => last.0 += settled,
            _ => self.records.push_back((settled, given_up)),
        }
        self.trim();
        self.given_up
    }

    fn trim(&mut self) {
        while self.settled > self.size {
            let Some(oldest) = self.records.front_mut() else { return };
            let excess = self.settled - self.size;
            let (settled, given_up) = if excess >= oldest.0 {
                *oldest
            } else {
                // Rounded down: in doubt a given-up message is still in the window.
                (excess, oldest.1 * excess / oldest.0)
            };
            oldest.0 -= settled;
            oldest.1 -= given_up;
            if oldest.0 == 0 {
                self.records.pop_front();
            }
            self.settled -= settled;
            self.given_up -= given_up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy { given_up: 50, of: 100, first_given_up: 5, first_of: 10 };

    /// A breaker behind its first window.
    fn settled_in() -> Breaker {
        let mut breaker = Breaker::new(POLICY);
        assert!(!breaker.record(100, 0));
        breaker
    }

    #[test]
    fn opens_at_one_more_than_the_policy_bears_and_says_so_once() {
        let mut breaker = settled_in();
        for _ in 0..50 {
            assert!(!breaker.record(1, 1));
        }
        assert!(!breaker.is_open());
        assert!(breaker.record(1, 1));
        assert!(breaker.is_open());
        assert!(!breaker.record(1, 1));
    }

    #[test]
    fn what_left_the_window_no_longer_counts() {
        let mut breaker = settled_in();
        for _ in 0..50 {
            breaker.record(1, 1);
        }
        breaker.record(100, 0);
        for _ in 0..50 {
            assert!(!breaker.record(1, 1));
        }
        assert!(breaker.record(1, 1));
    }

    #[test]
    fn every_second_message_given_up_for_ever_does_not_open_it() {
        let mut breaker = settled_in();
        for _ in 0..1000 {
            assert!(!breaker.record(2, 1), "50 of 100 are borne");
        }
    }

    #[test]
    fn a_batch_larger_than_the_window_counts_in_proportion() {
        let mut breaker = settled_in();
        assert!(!breaker.record(1000, 100));
        assert!(breaker.record(1000, 1000));
    }

    #[test]
    fn a_smaller_window_applies_after_start_and_reset() {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..2 {
            assert!(!breaker.record(5, 5));
            assert!(breaker.record(1, 1));
            breaker.reset();
            assert!(!breaker.is_open());
        }
        breaker.record(100, 0);
        assert!(!breaker.record(6, 6), "the smaller window is behind us");
    }

    #[test]
    fn a_message_cannot_be_given_up_without_being_settled() {
        let mut breaker = settled_in();
        assert!(!breaker.record(0, 1000));
        assert!(!breaker.record(50, 1000));
    }

    #[test]
    fn a_healthy_pipeline_costs_one_record() {
        let mut breaker = Breaker::new(BreakerPolicy { of: u32::MAX, ..POLICY });
        for _ in 0..10_000 {
            breaker.record(500, 0);
        }
        assert_eq!(breaker.window.records.len(), 1);
    }
}
