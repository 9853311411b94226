//! The partitions of a member as its slice sees them: held, leaving, with permits out, marked.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Action, Listed, PermitId};
use crate::fence::Generation;

/// A partition in one holding.
pub type Held<K> = (K, Generation);

#[derive(Debug)]
struct Holding {
    generation: Generation,
    leaving: bool,
}

/// The partitions of one revoke.
#[derive(Debug)]
struct Leave<K> {
    /// As they were named.
    partitions: Vec<K>,
    deadline: Instant,
    /// Their last commit is on its way (at least once only).
    asked: bool,
}

/// A permit that is out.
#[derive(Debug)]
pub struct Permit<K> {
    pub held: Held<K>,
    /// The slice it belongs to is over.
    pub late: bool,
}

/// That something is to be persisted, and from when on.
#[derive(Clone, Copy, Default, Debug)]
pub struct Marks {
    pub any: Option<Instant>,
    pub urgent: Option<Instant>,
}

impl Marks {
    /// Both, each from the earlier time.
    pub fn join(self, other: Self) -> Self {
        let earlier = |one: Option<Instant>, two: Option<Instant>| one.into_iter().chain(two).min();
        Self { any: earlier(self.any, other.any), urgent: earlier(self.urgent, other.urgent) }
    }

    /// The same, not before `time`.
    pub fn not_before(self, time: Instant) -> Self {
        Self { any: self.any.map(|at| at.max(time)), urgent: self.urgent.map(|at| at.max(time)) }
    }
}

#[derive(Debug)]
pub struct Holdings<K> {
    held: BTreeMap<K, Holding>,
    leaves: Vec<Leave<K>>,
    pub permits: BTreeMap<PermitId, Permit<K>>,
    next_permit: u64,
    pub marks: Marks,
    /// The member has a generation in the group.
    pub valid: bool,
    /// Nothing comes after what leaves.
    pub stopping: bool,
    /// The time of the last event.
    pub now: Instant,
}

impl<K: Clone + Ord> Holdings<K> {
    pub fn new(now: Instant) -> Self {
        Self {
            held: BTreeMap::new(),
            leaves: Vec::new(),
            permits: BTreeMap::new(),
            next_permit: 0,
            marks: Marks::default(),
            valid: false,
            stopping: false,
            now,
        }
    }

    pub fn assign(&mut self, partitions: Vec<K>, generation: Generation) {
        if self.stopping {
            // Between the shutdown and the group's noticing: whoever asks for a permit for one is told that it is gone.
            return;
        }
        self.valid = true;
        self.held.extend(partitions.into_iter().map(|key| (key, Holding { generation, leaving: false })));
    }

    pub fn revoke<M>(&mut self, partitions: Vec<K>, deadline: Instant, actions: &mut Vec<Action<K, M>>) {
        for partition in &partitions {
            if let Some(holding) = self.held.get_mut(partition) {
                holding.leaving = true;
            }
        }
        self.leaves.push(Leave { partitions, deadline, asked: false });
        self.let_go_empty(actions);
    }

    pub fn shut_down(&mut self, deadline: Instant) {
        self.stopping = true;
        let staying: Vec<K> =
            self.held.iter().filter(|(_, holding)| !holding.leaving).map(|(key, _)| key.clone()).collect();
        self.held.values_mut().for_each(|holding| holding.leaving = true);
        if !staying.is_empty() {
            self.leaves.push(Leave { partitions: staying, deadline, asked: false });
        }
    }

    pub fn lose<M>(&mut self, partitions: &[K], actions: &mut Vec<Action<K, M>>) {
        for partition in partitions {
            self.held.remove(partition);
        }
        self.let_go_empty(actions);
        self.forget_marks_of_nobody();
    }

    /// All of them, and that at once.
    pub fn lose_all(&mut self) -> Vec<Held<K>> {
        self.marks = Marks::default();
        std::mem::take(&mut self.held).into_iter().map(|(key, holding)| (key, holding.generation)).collect()
    }

    /// Whether it is held and does not leave, and in which holding.
    pub fn staying(&self, partition: &K) -> Option<Generation> {
        self.held.get(partition).filter(|holding| !holding.leaving).map(|holding| holding.generation)
    }

    /// Whether this very holding lasts; one that leaves does until it has left.
    pub fn holds(&self, (partition, generation): &Held<K>) -> bool {
        self.held.get(partition).is_some_and(|holding| holding.generation == *generation)
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn grant(&mut self, partition: K, generation: Generation) -> PermitId {
        let permit = PermitId(self.next_permit);
        self.next_permit += 1;
        self.permits.insert(permit, Permit { held: (partition, generation), late: false });
        permit
    }

    pub fn mark(&mut self, urgent: bool) {
        if self.held.is_empty() {
            // It comes from a partition that has left meanwhile.
            return;
        }
        self.marks = self.marks.join(Marks { any: Some(self.now), urgent: urgent.then_some(self.now) });
    }

    /// Those of which something may have to be persisted: those that leave, or those that stay, or both.
    pub fn list(&self, leaving: bool, staying: bool) -> Vec<Listed<K>> {
        let listed = |holding: &Holding| if holding.leaving { leaving } else { staying };
        let list = self.held.iter().filter(|(_, holding)| listed(holding));
        list.map(|(key, holding)| Listed {
            partition: key.clone(),
            generation: holding.generation,
            closing: holding.leaving,
        })
        .collect()
    }

    pub fn leaves(&self) -> bool {
        !self.leaves.is_empty()
    }

    pub fn first_deadline(&self) -> Option<Instant> {
        self.leaves.iter().map(|leave| leave.deadline).min()
    }

    /// The last commit of all that leaves now is on its way.
    pub fn ask_leaves(&mut self) {
        self.leaves.iter_mut().for_each(|leave| leave.asked = true);
    }

    /// Lets those go whose last commit was answered; `settled` says of which partitions nothing is left.
    pub fn let_go_asked<M>(&mut self, settled: impl Fn(&K) -> bool, actions: &mut Vec<Action<K, M>>) {
        self.let_go_which(|leave| leave.asked, settled, actions);
    }

    /// Lets all that leaves go.
    pub fn let_go_all<M>(&mut self, settled: impl Fn(&K) -> bool, actions: &mut Vec<Action<K, M>>) {
        self.let_go_which(|_| true, settled, actions);
    }

    /// Lets those go whose deadline is over.
    pub fn let_go_overdue<M>(&mut self, actions: &mut Vec<Action<K, M>>) {
        let now = self.now;
        self.let_go_which(|leave| leave.deadline <= now, |_| false, actions);
    }

    /// Lets those go of which nothing is held any more.
    fn let_go_empty<M>(&mut self, actions: &mut Vec<Action<K, M>>) {
        let held = |held: &BTreeMap<K, Holding>, leave: &Leave<K>| {
            leave.partitions.iter().any(|key| held.get(key).is_some_and(|holding| holding.leaving))
        };
        let (leaves, empty) = std::mem::take(&mut self.leaves).into_iter().partition(|leave| held(&self.held, leave));
        self.leaves = leaves;
        for Leave { partitions, .. } in empty {
            actions.push(Action::Left { partitions, settled: false });
        }
    }

    fn let_go_which<M>(
        &mut self,
        which: impl Fn(&Leave<K>) -> bool,
        settled: impl Fn(&K) -> bool,
        actions: &mut Vec<Action<K, M>>,
    ) {
        let (gone, leaves) = std::mem::take(&mut self.leaves).into_iter().partition::<Vec<_>, _>(which);
        self.leaves = leaves;
        for Leave { partitions, .. } in gone {
            let mut all = true;
            for partition in &partitions {
                // One that was assigned anew meanwhile stays; one that was lost meanwhile is not settled.
                let leaving = self.held.get(partition).is_some_and(|holding| holding.leaving);
                if leaving {
                    self.held.remove(partition);
                }
                all &= leaving && settled(partition);
            }
            actions.push(Action::Left { partitions, settled: all });
        }
        self.forget_marks_of_nobody();
    }

    fn forget_marks_of_nobody(&mut self) {
        if self.held.is_empty() {
            self.marks = Marks::default();
        }
    }
}
