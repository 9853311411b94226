//! A version on trial: what it may do at most, compared with the version it is to replace, and which messages it gets.

use std::fmt;

/// Parts of a million: a share without the surprises of a fraction.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Share(u32);

impl Share {
    /// No message.
    pub const NONE: Self = Self(0);
    /// Every message.
    pub const ALL: Self = Self(1_000_000);

    /// So many parts of a million; more than all is all.
    pub const fn millionths(parts: u32) -> Self {
        if parts > Self::ALL.0 { Self::ALL } else { Self(parts) }
    }

    /// Of 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let rest = format!("{rest:04}");
        write!(f, "{whole}.{}%", rest.trim_end_matches('0'))
    }
}

/// Where a message or a partition stands in the order in which a growing share takes them in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Place(u32);

impl Place {
    /// By key: all messages of a key are in or out together, and a key that is in stays in when the share grows. A
    /// message without a key stands by itself.
    pub fn of_message(key: Option<&[u8]>, offset: i64) -> Self {
        let own = offset.to_le_bytes();
        // FNV-1a, then mixed: FNV alone leaves the high bits of short keys alike.
        let mut hash = key
            .unwrap_or(&own)
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(((hash ^ (hash >> 31)) % u64::from(Share::ALL.0)) as u32)
    }

    /// By partition: partition 0 first, however small the share, then those that halve the gaps: 1, 2, 3 stand at a half,
    /// a quarter and three quarters. The same in every process, whatever it is assigned.
    pub fn of_partition(partition: i32) -> Self {
        let reversed = partition.unsigned_abs().reverse_bits();
        Self(((u64::from(reversed) * u64::from(Share::ALL.0)) >> 32) as u32)
    }

    /// Whether such a share takes it in.
    pub fn is_in(self, share: Share) -> bool {
        self.0 < share.0
    }
}

/// What a version has done so far.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Messages that are done with.
    pub messages: u64,
    /// Those of them that were given up.
    pub given_up: u64,
    /// Calls that ended without an answer: traps, deadlines, limits, lies.
    pub crashes: u64,
    /// Nanoseconds in the handler.
    pub nanoseconds: u64,
}

impl Tally {
    /// What came after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(earlier.messages),
            given_up: self.given_up.saturating_sub(earlier.given_up),
            crashes: self.crashes.saturating_sub(earlier.crashes),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }

    /// Nanoseconds for a message; `None` before the first.
    pub fn per_message(self) -> Option<f64> {
        (self.messages > 0).then(|| self.nanoseconds as f64 / self.messages as f64)
    }

    fn rate(self, count: u64) -> f64 {
        if self.messages == 0 { 0.0 } else { (count as f64 / self.messages as f64).min(1.0) }
    }
}

/// What a version on trial may do beyond what the old one does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    /// So much larger may the share of messages be that are given up.
    pub given_up: Share,
    /// So many more calls may crash.
    pub crashes: u32,
    /// So much longer may a message take; `None`: not looked at.
    pub slower: Option<Share>,
    /// The detection window: budgets are those of so many messages until more are seen. So a version that is beyond
    /// its budget within the first `window` messages has been found out by then, and one rejected message in the first
    /// ten is not taken for a tenth of all.
    pub window: u64,
}

/// How fast the calls of a version on trial were.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Pace {
    /// All calls that were timed.
    pub calls: u64,
    /// Those beyond the budget: [`Budget::is_slow`].
    pub slow: u64,
}

/// How a version went beyond its budget.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Excess {
    /// Too many messages were given up.
    GivenUp {
        /// Messages that were given up.
        given_up: u64,
        /// Messages that were settled.
        messages: u64,
        /// So many would have been borne.
        borne: u64,
    },
    /// Too many calls crashed.
    Crashes {
        /// Those that did.
        crashes: u64,
        /// So many would have been borne.
        borne: u64,
    },
    /// Messages take too long.
    Slow {
        /// Calls in which they did.
        slow: u64,
        /// Calls that were timed.
        calls: u64,
        /// Nanoseconds of a message, in the mean.
        new: u64,
        /// The same of the old version.
        old: u64,
    },
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GivenUp { given_up, messages, borne } => {
                write!(f, "{given_up} of {messages} messages were given up, and {borne} would have been borne")
            }
            Self::Crashes { crashes, borne } => write!(f, "{crashes} calls crashed, and {borne} would have been borne"),
            Self::Slow { slow, calls, new, old } => {
                let micros = |nanos: &u64| *nanos as f64 / 1000.0;
                write!(
                    f,
                    "{slow} of {calls} calls were too slow: a message takes {:.1} us, with the old version {:.1} us",
                    micros(new),
                    micros(old)
                )
            }
        }
    }
}

/// How much longer a message may take before it counts at all: a version on trial gets smaller batches, and the cost of a
/// call is spread over fewer messages.
const CALL_NANOSECONDS: f64 = 50_000.0;

/// So many calls are looked at before a version counts as slow. A lane that loses its processor in the middle of a call makes
/// that call slow, a thousand times where messages are cheap, whatever the handler does: no mean bears that, the middle one
/// of ten does.
const SLOW_CALLS: u64 = 10;

/// How many standard deviations beyond the old version's own rate are chance.
const CHANCE: f64 = 3.0;

impl Budget {
    /// How the new version went beyond its budget, if it did. `old` is what it is compared with; one that has seen nothing
    /// is taken to give nothing up and to crash never, and its time is not compared.
    pub fn excess(&self, new: Tally, old: Tally) -> Option<Excess> {
        let seen = new.messages.max(self.window) as f64;
        let by_chance = |rate: f64| seen * rate + CHANCE * (seen * rate * (1.0 - rate)).sqrt();
        let borne = (by_chance(old.rate(old.given_up)) + seen * self.given_up.fraction()) as u64;
        if new.given_up > borne {
            return Some(Excess::GivenUp { given_up: new.given_up, messages: new.messages, borne });
        }
        let borne = by_chance(old.rate(old.crashes)) as u64 + u64::from(self.crashes);
        if new.crashes > borne {
            return Some(Excess::Crashes { crashes: new.crashes, borne });
        }
        None
    }

    /// Whether a call in which a message took so many nanoseconds is beyond the budget, compared with the old version.
    pub fn is_slow(&self, nanoseconds: f64, old: Tally) -> bool {
        let Some(slower) = self.slower.filter(|_| old.messages >= self.window) else { return false };
        let borne = |old: f64| old * (1.0 + slower.fraction()) + CALL_NANOSECONDS;
        old.per_message().is_some_and(|old| nanoseconds > borne(old))
    }

    /// Whether most calls of the new version were slow, once there are enough of them.
    pub fn too_slow(&self, pace: Pace, new: Tally, old: Tally) -> Option<Excess> {
        let Pace { calls, slow } = pace;
        let enough = calls >= SLOW_CALLS && new.messages >= self.window;
        let (new, old) = (new.per_message()?, old.per_message()?);
        (enough && slow * 2 > calls).then_some(Excess::Slow { slow, calls, new: new as u64, old: old as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUDGET: Budget = Budget { given_up: Share(10_000), crashes: 0, slower: Some(Share::ALL), window: 100 };

    fn tally(messages: u64, given_up: u64) -> Tally {
        Tally { messages, given_up, ..Tally::default() }
    }

    #[test]
    fn a_share_reads_as_people_write_it() {
        for (parts, text) in [(0, "0%"), (50_000, "5%"), (1_000_000, "100%"), (2_500, "0.25%"), (1, "0.0001%")] {
            assert_eq!(Share::millionths(parts).to_string(), text);
        }
        assert_eq!(Share::millionths(u32::MAX), Share::ALL);
    }

    #[test]
    fn partition_0_is_always_in_and_shares_of_partitions_are_even() {
        assert!(Place::of_partition(0).is_in(Share(1)));
        let count = |share| (0..64).filter(|partition| Place::of_partition(*partition).is_in(share)).count();
        assert_eq!([count(Share(250_000)), count(Share(500_000)), count(Share::ALL)], [16, 32, 64]);
        assert!(!Place::of_partition(1).is_in(Share(500_000)));
    }

    #[test]
    fn a_share_of_keys_is_about_that_share() {
        for share in [50_000, 250_000] {
            let inside = (0..20_000_u32)
                .filter(|key| Place::of_message(Some(format!("customer-{key}").as_bytes()), 0).is_in(Share(share)));
            let part = inside.count() as f64 / 20_000.0;
            assert!((part - Share(share).fraction()).abs() < 0.01, "{part} of {share}");
        }
        let without = (0..20_000).filter(|offset| Place::of_message(None, *offset).is_in(Share(50_000))).count();
        assert!((800..1200).contains(&without), "{without}");
    }

    #[test]
    fn one_that_gives_up_a_fifth_is_found_out_within_the_window() {
        // One in a hundred is borne.
        assert_eq!(BUDGET.excess(tally(5, 1), Tally::default()), None);
        let excess = BUDGET.excess(tally(10, 2), Tally::default());
        assert_eq!(excess, Some(Excess::GivenUp { given_up: 2, messages: 10, borne: 1 }));
        let text = excess.map(|excess| excess.to_string()).unwrap_or_default();
        assert_eq!(text, "2 of 10 messages were given up, and 1 would have been borne");
    }

    #[test]
    fn what_the_old_one_gives_up_too_is_borne() {
        let old = tally(10_000, 2_000);
        assert_eq!(BUDGET.excess(tally(1000, 200), old), None);
        assert_eq!(BUDGET.excess(tally(1000, 240), old), None, "chance");
        assert!(BUDGET.excess(tally(1000, 260), old).is_some());
    }

    #[test]
    fn a_crash_is_borne_only_where_the_old_one_crashes_as_well() {
        let crash = Tally { messages: 10, crashes: 1, ..Tally::default() };
        assert_eq!(BUDGET.excess(crash, tally(1000, 0)), Some(Excess::Crashes { crashes: 1, borne: 0 }));
        assert_eq!(BUDGET.excess(crash, Tally { messages: 1000, crashes: 100, ..Tally::default() }), None);
    }

    #[test]
    fn slowness_counts_beyond_the_cost_of_a_call_and_behind_the_window() {
        let took =
            |messages, micros: u64| Tally { messages, nanoseconds: messages * micros * 1000, ..Tally::default() };
        assert!(!BUDGET.is_slow(51_000.0, took(1000, 1)) && BUDGET.is_slow(53_000.0, took(1000, 1)));
        assert!(!BUDGET.is_slow(1e9, took(99, 1)), "there is nothing to compare with");
        let free = Budget { slower: None, ..BUDGET };
        assert!(!free.is_slow(1e9, took(1000, 100)));
        let pace = Pace { calls: 10, slow: 10 };
        assert_eq!(BUDGET.too_slow(pace, took(99, 1000), took(1000, 100)), None);
        let excess = BUDGET.too_slow(pace, took(1000, 1000), took(1000, 100));
        assert_eq!(excess, Some(Excess::Slow { slow: 10, calls: 10, new: 1_000_000, old: 100_000 }));
    }

    #[test]
    fn a_call_that_lost_its_processor_is_not_taken_for_a_slow_handler() {
        // Measured: 92 ms away in one call of 512 messages, which take 0.2 us each.
        let (new, old) =
            (Tally { nanoseconds: 92_000_000, ..tally(512, 0) }, Tally { nanoseconds: 200_000, ..tally(1000, 0) });
        assert!(BUDGET.is_slow(92e6 / 512.0, old));
        assert_eq!(BUDGET.excess(new, old), None);
        for (calls, slow) in [(1, 1), (9, 9), (10, 5)] {
            assert_eq!(BUDGET.too_slow(Pace { calls, slow }, new, old), None, "{slow} of {calls}");
        }
        assert!(BUDGET.too_slow(Pace { calls: 10, slow: 6 }, new, old).is_some());
    }

    proptest! {
        #[test]
        fn a_key_that_is_in_stays_in(key in proptest::collection::vec(any::<u8>(), 0..20), small: u32, more: u32) {
            let (small, large) = (Share::millionths(small % 1_000_000), Share::millionths(small % 1_000_000 + more % 1_000_000));
            let place = Place::of_message(Some(&key), 7);
            prop_assert!(!place.is_in(small) || place.is_in(large));
            prop_assert_eq!(place, Place::of_message(Some(&key), 8));
            prop_assert!(place.is_in(Share::ALL) && !place.is_in(Share::NONE));
        }

        /// The bound that the manual states.
        #[test]
        fn one_beyond_its_budget_in_the_window_is_found_out_at_the_latest_there(given_up in 2u64..100) {
            // In whatever order: by the end of the window they are all there.
            prop_assert!(BUDGET.excess(tally(100, given_up), Tally::default()).is_some());
        }
    }
}
