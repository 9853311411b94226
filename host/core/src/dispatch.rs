//! Dispatch: which lane of a pipeline serves which partition.
//!
//! A partition keeps its lane until it is released: messages in flight there and new ones elsewhere would overtake each
//! other.

use std::collections::BTreeMap;

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
    /// How many partitions each lane serves.
    loads: Vec<usize>,
    serving: BTreeMap<K, LaneIndex>,
    epoch: u64,
}

impl<K: Clone + Ord> Dispatch<K> {
    /// No lanes yet: they are made as partitions come, up to `limit`, and there is always room for one.
    pub fn new(order: Order, limit: usize) -> Self {
        Self { order, limit: limit.max(1), loads: Vec::new(), serving: BTreeMap::new(), epoch: 0 }
    }

    /// Places a partition: on a lane that serves none, on a new one while there may be more, else on the one that serves
    /// the fewest. One that is placed already stays where it is.
    pub fn assign(&mut self, partition: K) -> Placed {
        if let Some(&lane) = self.serving.get(&partition) {
            return Placed { lane, is_new: false };
        }
        let fewest = (0..self.loads.len()).min_by_key(|lane| self.loads[*lane]);
        let lane = match fewest {
            Some(lane) if self.loads[lane] == 0 || self.loads.len() >= self.limit => lane,
            _ => self.loads.len(),
        };
        let is_new = lane == self.loads.len();
        if is_new {
            self.loads.push(0);
            self.epoch += 1;
        }
        self.loads[lane] += 1;
        self.serving.insert(partition, lane);
        Placed { lane, is_new }
    }

    /// Takes a partition from its lane, which is returned. The lane stays for those that come.
    pub fn release(&mut self, partition: &K) -> Option<LaneIndex> {
        let lane = self.serving.remove(partition)?;
        self.loads[lane] -= 1;
        Some(lane)
    }

    /// The lane that gets the next message of a partition.
    pub fn lane_of(&self, partition: &K) -> Option<LaneIndex> {
        match self.order {
            // An order by key would ask for the message's key here, and for the number of lanes.
            Order::Partition => self.serving.get(partition).copied(),
        }
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.loads.len()
    }

    /// How many partitions a lane serves.
    pub fn load(&self, lane: LaneIndex) -> usize {
        self.loads.get(lane).copied().unwrap_or(0)
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
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u8..12).prop_map(Step::Assign),
            2 => (0_u8..12).prop_map(Step::Release),
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
        }
    }

    proptest! {
        #[test]
        fn every_partition_has_one_lane_and_loads_are_even_while_lanes_may_be_added(
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
                for (lane, load) in loads.iter().enumerate() {
                    prop_assert_eq!(*load, serving.values().filter(|other| **other == lane).count());
                }
                prop_assert!(loads.len() <= limit);
                if loads.len() < limit {
                    prop_assert!(loads.iter().all(|load| *load <= 1), "{:?}", loads);
                }
            }
        }
    }

    #[test]
    fn without_a_limit_above_zero_there_is_one_lane() {
        let mut dispatch = Dispatch::new(Order::Partition, 0);
        assert_eq!(dispatch.assign('a'), Placed { lane: 0, is_new: true });
        assert_eq!(dispatch.assign('b'), Placed { lane: 0, is_new: false });
        assert_eq!((dispatch.lanes(), dispatch.epoch()), (1, 1));
    }
}
