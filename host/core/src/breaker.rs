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

/// What opened the breaker: the window in which more than `given_up` of `of` messages were given up.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// As many would have been borne.
    pub given_up: u32,
    /// Messages in the window.
    pub of: u32,
}

/// Counts what is settled and given up; one for each pipeline.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    /// Messages settled since the start or swap.
    settled: u64,
    /// The newest of those given up, by their place among all that were settled: as many as decide.
    given_up: VecDeque<u64>,
    open: bool,
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, settled: 0, given_up: VecDeque::new(), open: false }
    }

    /// Notes `settled` messages, in the order in which they were handed over; those at the places `given_up` of them,
    /// counted from 0 and ascending, were given up. Says what opened the breaker if this did.
    ///
    /// Each window ends at a message that was given up, wherever that stands among the others: a burst is seen even if
    /// what is noted at once is larger than the window. Messages that were not given up cost nothing.
    pub fn record(&mut self, settled: u32, given_up: impl IntoIterator<Item = u32>) -> Option<Opened> {
        let mut opened = None;
        for place in given_up.into_iter().take_while(|place| *place < settled) {
            let found = self.give_up(self.settled + u64::from(place));
            opened = opened.or(found);
        }
        self.settled += u64::from(settled);
        if self.open {
            return None;
        }
        self.open = opened.is_some();
        opened
    }

    #[cfg(test)]
    fn is_open(&self) -> bool {
        self.open
    }

    /// Closes it and forgets everything: after a swap, or when somebody resumed the pipeline.
    pub fn reset(&mut self) {
        *self = Self::new(self.policy);
    }

    fn give_up(&mut self, place: u64) -> Option<Opened> {
        let BreakerPolicy { given_up, of, first_given_up, first_of } = self.policy;
        self.given_up.push_back(place);
        if self.given_up.len() as u64 > u64::from(given_up.max(first_given_up)) + 1 {
            self.given_up.pop_front();
        }
        let window = Opened { given_up, of };
        let first = Opened { given_up: first_given_up, of: first_of };
        let is_first = place < u64::from(of);
        let opens = |window: &Opened| self.too_many_in(place, window);
        Some(first).filter(|first| is_first && opens(first)).or(Some(window).filter(opens))
    }

    /// Whether the oldest of one more than are borne is within the window that ends at `last`.
    fn too_many_in(&self, last: u64, window: &Opened) -> bool {
        let oldest = self.given_up.len().checked_sub(window.given_up as usize + 1);
        oldest.is_some_and(|oldest| last - self.given_up[oldest] < u64::from(window.of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: BreakerPolicy = BreakerPolicy { given_up: 50, of: 100, first_given_up: 5, first_of: 10 };

    /// A breaker behind its first window.
    fn settled_in() -> Breaker {
        let mut breaker = Breaker::new(POLICY);
        assert_eq!(breaker.record(100, []), None);
        breaker
    }

    fn opens(breaker: &mut Breaker, settled: u32, given_up: impl IntoIterator<Item = u32>) -> bool {
        breaker.record(settled, given_up).is_some()
    }

    #[test]
    fn opens_at_one_more_than_the_policy_bears_and_says_so_once() {
        let mut breaker = settled_in();
        for _ in 0..50 {
            assert!(!opens(&mut breaker, 1, [0]));
        }
        assert!(!breaker.is_open());
        assert_eq!(breaker.record(1, [0]), Some(Opened { given_up: 50, of: 100 }));
        assert!(breaker.is_open());
        assert_eq!(breaker.record(1, [0]), None);
    }

    #[test]
    fn what_left_the_window_no_longer_counts() {
        let mut breaker = settled_in();
        assert!(!opens(&mut breaker, 50, 0..50));
        breaker.record(100, []);
        assert!(!opens(&mut breaker, 50, 0..50));
        assert!(opens(&mut breaker, 1, [0]));
    }

    #[test]
    fn every_second_message_given_up_for_ever_does_not_open_it() {
        let mut breaker = settled_in();
        for _ in 0..1000 {
            assert!(!opens(&mut breaker, 2, [1]), "50 of 100 are borne");
        }
    }

    #[test]
    fn sees_a_burst_in_the_middle_of_a_batch_that_is_larger_than_its_window() {
        assert!(!opens(&mut settled_in(), 10_000, 700..750));
        assert!(opens(&mut settled_in(), 10_000, 700..751));
        let every_second = |place: &u32| place.is_multiple_of(2);
        assert!(!opens(&mut settled_in(), 10_000, (0..10_000).filter(every_second)), "50 of each 100");
        assert!(opens(&mut settled_in(), 10_000, (0..10_000).filter(|place| every_second(place) || *place == 799)));
    }

    #[test]
    fn sees_a_burst_that_begins_in_one_batch_and_ends_in_another() {
        for (between, seen) in [(49, true), (50, false)] {
            let mut breaker = settled_in();
            assert!(!opens(&mut breaker, 1000, 970..1000));
            assert!(!opens(&mut breaker, between, []));
            assert_eq!(opens(&mut breaker, 1000, 0..21), seen, "51 of {}", 30 + between + 21);
        }
    }

    #[test]
    fn a_smaller_window_applies_after_start_and_reset() {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..2 {
            assert!(!opens(&mut breaker, 5, 0..5));
            assert_eq!(breaker.record(1, [0]), Some(Opened { given_up: 5, of: 10 }));
            breaker.reset();
            assert!(!breaker.is_open());
        }
        breaker.record(100, []);
        assert!(!opens(&mut breaker, 6, 0..6), "the smaller window is behind us");
    }

    #[test]
    fn a_message_cannot_be_given_up_without_being_settled() {
        let mut breaker = settled_in();
        assert!(!opens(&mut breaker, 0, 0..1000));
        assert!(!opens(&mut breaker, 50, 0..1000));
    }

    #[test]
    fn keeps_no_more_than_decide_however_much_is_given_up() {
        let mut breaker = settled_in();
        for _ in 0..1000 {
            breaker.record(500, 0..500);
        }
        assert_eq!(breaker.given_up.len(), 51);
        let mut healthy = settled_in();
        healthy.record(u32::MAX, []);
        assert_eq!(healthy.given_up.capacity(), 0, "nothing was allocated");
    }

    /// True if it is open after these messages, by looking at each window.
    fn is_open_after(policy: &BreakerPolicy, given_up: &[bool]) -> bool {
        let window = |end: usize, of: u32| &given_up[end.saturating_sub(of as usize)..end];
        let too_many = |end: usize, borne: u32, of: u32| {
            window(end, of).iter().filter(|given_up| **given_up).count() > borne as usize
        };
        (1..=given_up.len()).any(|end| {
            too_many(end, policy.given_up, policy.of)
                || end <= policy.of as usize && too_many(end, policy.first_given_up, policy.first_of)
        })
    }

    proptest! {
        #[test]
        fn opens_exactly_when_some_window_has_too_many(
            batches in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.3), 0..40), 0..12),
            (of, first_of) in (1_u32..30).prop_flat_map(|of| (Just(of), 1..=of)),
            (given_up, first_given_up) in (0_u32..15, 0_u32..10),
        ) {
            let policy = BreakerPolicy { given_up, of, first_given_up, first_of };
            let mut breaker = Breaker::new(policy);
            let mut all = Vec::new();
            for batch in batches {
                let places = (0_u32..).zip(&batch).filter(|(_, given_up)| **given_up).map(|(place, _)| place);
                let was_open = breaker.is_open();
                let opened = breaker.record(batch.len() as u32, places);
                all.extend(&batch);
                prop_assert_eq!(breaker.is_open(), is_open_after(&policy, &all));
                prop_assert_eq!(opened.is_some(), breaker.is_open() && !was_open);
            }
        }
    }
}
