//! Done sets: the offsets above the watermark that are complete already.
//!
//! They let a rewind, or a process that takes over after a kill, skip what was finished. A set is bounded, and what it
//! forgets is only handled once more.

use std::collections::VecDeque;

use crate::offset::{NextOffset, Offset};

/// Sorted, disjoint ranges of offsets that do not touch, at most `DoneSet::MAX_RANGES` of them: the highest are dropped.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DoneSet {
    ranges: VecDeque<(i64, i64)>,
}

impl DoneSet {
    /// More ranges than this are not remembered.
    pub const MAX_RANGES: usize = 1024;

    /// Nothing is done.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `first` to `last`, both included. An empty range (`first` above `last`) adds nothing.
    pub fn insert(&mut self, first: Offset, last: Offset) {
        let (mut first, mut last) = (first.0, last.0);
        if first > last {
            return;
        }
        // Ranges [start, end) of the deque overlap or touch the new one, and become one with it.
        let start = self.ranges.partition_point(|range| range.1 < first.saturating_sub(1));
        let end = self.ranges.partition_point(|range| range.0 <= last.saturating_add(1));
        if start < end {
            first = first.min(self.ranges[start].0);
            last = last.max(self.ranges[end - 1].1);
            self.ranges[start] = (first, last);
            self.ranges.drain(start + 1..end);
            return;
        }
        self.ranges.insert(start, (first, last));
        self.ranges.truncate(Self::MAX_RANGES);
    }

    /// True if the message at `offset` is complete.
    pub fn contains(&self, offset: Offset) -> bool {
        let after = self.ranges.partition_point(|range| range.0 <= offset.0);
        after > 0 && offset.0 <= self.ranges[after - 1].1
    }

    /// True if nothing is done.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The ranges, ascending; first and last offset of each are included.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (Offset, Offset)> + DoubleEndedIterator + '_ {
        self.ranges.iter().map(|&(first, last)| (Offset(first), Offset(last)))
    }

    /// Forgets what lies below `next`. If the lowest range then begins at `next`, takes it out too and returns the
    /// place behind it: everything up to there is complete without a gap.
    pub(crate) fn absorb(&mut self, next: NextOffset) -> NextOffset {
        let mut next = next;
        while let Some(&(first, last)) = self.ranges.front() {
            if first > next.get() {
                break;
            }
            next = next.max(NextOffset::after(Offset(last)));
            self.ranges.pop_front();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(ranges: &[(i64, i64)]) -> DoneSet {
        let mut set = DoneSet::new();
        for &(first, last) in ranges {
            set.insert(Offset(first), Offset(last));
        }
        set
    }

    fn listed(set: &DoneSet) -> Vec<(i64, i64)> {
        set.ranges().map(|(first, last)| (first.0, last.0)).collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(listed(&set(&[(5, 6), (9, 9), (7, 8)])), [(5, 9)]);
        assert_eq!(listed(&set(&[(5, 6), (8, 9)])), [(5, 6), (8, 9)]);
    }

    #[test]
    fn keeps_the_lowest_ranges_when_there_are_too_many() {
        let mut set = DoneSet::new();
        for index in (0..2 * DoneSet::MAX_RANGES as i64).rev() {
            set.insert(Offset(index * 2), Offset(index * 2));
        }
        assert_eq!(set.len(), DoneSet::MAX_RANGES);
        assert!(set.contains(Offset(0)));
        assert!(!set.contains(Offset(2 * DoneSet::MAX_RANGES as i64)));
    }

    #[test]
    fn the_ends_of_the_number_line_are_ordinary_offsets() {
        let set = set(&[(i64::MAX, i64::MAX), (i64::MIN, i64::MIN)]);
        assert!(set.contains(Offset(i64::MAX)) && set.contains(Offset(i64::MIN)) && !set.contains(Offset(0)));
    }

    proptest! {
        #[test]
        fn holds_what_a_plain_set_of_offsets_holds(
            inserts in prop::collection::vec((0_i64..60, 0_i64..6), 0..30), next in 0_i64..70
        ) {
            let mut set = DoneSet::new();
            let mut model = BTreeSet::new();
            for (first, len) in inserts {
                set.insert(Offset(first), Offset(first + len - 1));
                model.extend(first..first + len);
            }
            for offset in -1..70 {
                prop_assert_eq!(set.contains(Offset(offset)), model.contains(&offset));
            }
            let ranges = listed(&set);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            prop_assert!(ranges.iter().all(|range| range.0 <= range.1));

            let mut expected = next;
            while model.contains(&expected) {
                expected += 1;
            }
            prop_assert_eq!(set.absorb(NextOffset::at(next)), NextOffset::at(expected));
            for offset in -1..70 {
                prop_assert_eq!(set.contains(Offset(offset)), offset >= expected && model.contains(&offset));
            }
        }
    }
}
