//! Dispatch: which lane of a pipeline serves which partition, and whose turn it is on a lane.
//!
//! A partition keeps its lane until it is released: messages in flight there and new ones elsewhere would overtake each
//! other.

use std::collections::{BTreeMap, VecDeque};

use crate::order::Order;

/// Number of a lane, from 0.
pub type LaneIndex = usize;

/// Where a partition was placed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The lane that serves it.
    pub lane: LaneIndex,
    /// The lane did not exist before: it has to be started.
    pub is_new: bool,
}

/// The lanes of a pipeline and what they serve. `K` names a partition.
#[derive(Clone, Debug)]
pub struct Dispatch<K> {
    order: Order,
    limit: usize,
    /// The partitions of each lane, in the order of their turns.
    lanes: Vec<VecDeque<K>>,
    serving: BTreeMap<K, LaneIndex>,
    epoch: u64,
}

impl<K: Clone + Ord> Dispatch<K> {
    /// No lanes yet: they are made as partitions come, up to `limit`, and there is always room for one.
    pub fn new(order: Order, limit: usize) -> Self {
        Self { order, limit: limit.max(1), lanes: Vec::new(), serving: BTreeMap::new(), epoch: 0 }
    }

    /// Places a partition: on a lane that serves none, on a new one while there may be more, else on the one that serves
    /// the fewest. One that is placed already stays where it is.
    pub fn assign(&mut self, partition: K) -> Placed {
        if let Some(&lane) = self.serving.get(&partition) {
            return Placed { lane, is_new: false };
        }
        let fewest = (0..self.lanes.len()).min_by_key(|lane| self.lanes[*lane].len());
        let lane = match fewest {
            Some(lane) if self.lanes[lane].is_empty() || self.lanes.len() >= self.limit => lane,
            _ => self.lanes.len(),
        };
        let is_new = lane == self.lanes.len();
        if is_new {
            self.lanes.push(VecDeque::new());
            self.epoch += 1;
        }
        self.lanes[lane].push_back(partition.clone());
        self.serving.insert(partition, lane);
        Placed { lane, is_new }
    }

    /// Takes a partition from its lane, which is returned. The lane stays for those that come.
    pub fn release(&mut self, partition: &K) -> Option<LaneIndex> {
        let lane = self.serving.remove(partition)?;
        self.lanes[lane].retain(|other| other != partition);
        Some(lane)
    }

    /// The lane that gets the next message of a partition.
    pub fn lane_of(&self, partition: &K) -> Option<LaneIndex> {
        match self.order {
            // An order by key would ask for the message's key here, and for the number of lanes.
            Order::Partition => self.serving.get(partition).copied(),
        }
    }

    /// Whose turn it is on a lane: one batch, then the others come first, so that a busy partition starves nobody. `None`
    /// if the lane serves no partition.
    pub fn next_turn(&mut self, lane: LaneIndex) -> Option<&K> {
        let partitions = self.lanes.get_mut(lane)?;
        if !partitions.is_empty() {
            partitions.rotate_left(1);
        }
        partitions.back()
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// How many partitions a lane serves.
    pub fn load(&self, lane: LaneIndex) -> usize {
        self.lanes.get(lane).map_or(0, VecDeque::len)
    }

    /// Rises whenever the number of lanes changes: a place that depends on that number holds for one epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Assign(u8),
        Release(u8),
        Turn(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u8..12).prop_map(Step::Assign),
            2 => (0_u8..12).prop_map(Step::Release),
            2 => (0_usize..5).prop_map(Step::Turn),
        ]
    }

    fn loads(dispatch: &Dispatch<u8>) -> Vec<usize> {
        (0..dispatch.lanes()).map(|lane| dispatch.load(lane)).collect()
    }

    fn take(dispatch: &mut Dispatch<u8>, serving: &mut BTreeMap<u8, LaneIndex>, limit: usize, step: Step) {
        let (before, epoch) = (loads(dispatch), dispatch.epoch());
        match step {
            Step::Assign(key) => {
                let Placed { lane, is_new } = dispatch.assign(key);
                assert_eq!(is_new, dispatch.lanes() > before.len());
                assert_eq!(is_new, dispatch.epoch() > epoch);
                if let Some(earlier) = serving.insert(key, lane) {
                    assert_eq!((lane, before), (earlier, loads(dispatch)), "it stays where it is");
                } else if is_new {
                    assert!(!before.contains(&0) && before.len() < limit, "a new lane beside an idle one");
                } else {
                    assert_eq!(Some(&before[lane]), before.iter().min());
                }
            }
            Step::Release(key) => {
                assert_eq!(dispatch.release(&key), serving.remove(&key));
                assert_eq!((before.len(), epoch), (dispatch.lanes(), dispatch.epoch()));
            }
            Step::Turn(lane) => {
                let turns: Vec<u8> =
                    (0..dispatch.load(lane)).filter_map(|_| dispatch.next_turn(lane).copied()).collect();
                let mut sorted = turns.clone();
                sorted.sort_unstable();
                let served = serving.iter().filter(|(_, other)| **other == lane).map(|(key, _)| *key);
                assert_eq!(sorted, served.collect::<Vec<_>>(), "each had one turn: {turns:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_partition_has_one_lane_and_its_turn_and_loads_are_even_while_lanes_may_be_added(
            limit in 0_usize..6,
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let limit = limit.max(1);
            let mut dispatch = Dispatch::new(Order::Partition, limit);
            let mut serving = BTreeMap::new();
            for step in steps {
                take(&mut dispatch, &mut serving, limit, step);
                for key in 0..12 {
                    prop_assert_eq!(dispatch.lane_of(&key), serving.get(&key).copied());
                }
                let loads = loads(&dispatch);
                prop_assert_eq!(loads.iter().sum::<usize>(), serving.len());
                prop_assert!(loads.len() <= limit);
                if loads.len() < limit {
                    prop_assert!(loads.iter().all(|load| *load <= 1), "{:?}", loads);
                }
            }
        }
    }

    #[test]
    fn one_that_comes_in_between_waits_for_the_others_and_one_that_goes_takes_no_turn_along() {
        let mut dispatch = Dispatch::new(Order::Partition, 1);
        for key in ['a', 'b', 'c'] {
            assert_eq!(dispatch.assign(key).lane, 0);
        }
        assert_eq!(dispatch.next_turn(0), Some(&'a'));
        dispatch.assign('d');
        assert_eq!(dispatch.next_turn(0), Some(&'b'));
        dispatch.release(&'b');
        let turns: Vec<char> = (0..5).filter_map(|_| dispatch.next_turn(0).copied()).collect();
        assert_eq!(turns, ['c', 'a', 'd', 'c', 'a']);
        assert_eq!(dispatch.next_turn(1), None);
    }

    #[test]
    fn without_a_limit_above_zero_there_is_one_lane() {
        let mut dispatch = Dispatch::new(Order::Partition, 0);
        assert_eq!(dispatch.assign('a'), Placed { lane: 0, is_new: true });
        assert_eq!(dispatch.assign('b'), Placed { lane: 0, is_new: false });
        assert_eq!((dispatch.lanes(), dispatch.epoch()), (1, 1));
    }
}
