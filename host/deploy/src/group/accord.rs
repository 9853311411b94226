//! What the processes of a group have agreed on: a function of the control topic alone.
//!
//! Kafka's log is the order in which things happened, the same for everybody. An ask's offset is its epoch. The first ask
//! that knows of the last decision is open, asks beside it are passed over, and the first decision of an open ask counts.
//! So processes that read the same come to the same, however late they read and whoever died in between.
//!
//! A reader who comes late may find fewer records, for the topic is compacted. It comes to the same all the same:
//! - Asks and decisions have keys of their own, so none replaces an earlier one. An ask is deleted once its epoch or a later
//!   one is decided, a decision once a later epoch is decided.
//! - Each record says all that earlier ones led to.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Asked, Decided, Key, Named, Refused, Said, Standing};

/// Decisions that are remembered for whoever asked.
const MAX_DECISIONS: usize = 32;

/// An ask that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The epoch that it would begin.
    pub epoch: u64,
    /// The process that asked.
    pub process: String,
    /// What it asked.
    pub asked: Asked,
}

/// What became of an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has not been read back yet.
    Unread,
    /// Processes are getting ready.
    Open,
    /// Everybody swaps.
    Switched,
    /// Nobody does.
    Refused(String),
    /// Another ask was earlier.
    PassedOver,
}

/// Whether a swap may be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Every member's process is ready.
    Ready,
    /// A process refuses.
    Refused(String, Refused),
    /// Processes that have not answered yet, and members of which no process has told.
    Waits {
        /// Processes.
        processes: BTreeSet<String>,
        /// Ids of members.
        strangers: Vec<String>,
    },
}

/// What is agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accord {
    /// One past the last record that was read.
    read_to: u64,
    /// The epoch decided last.
    decided: u64,
    standing: Option<Standing>,
    open: Option<Attempt>,
    decisions: BTreeMap<u64, Option<String>>,
    said: BTreeMap<String, Said>,
    /// By epoch, then by partition. What is said of a version may be read before the version is known to be agreed on.
    firsts: BTreeMap<u64, BTreeMap<(String, i32), i64>>,
    /// Keys of asks and decisions that may still stand in the topic, by epoch.
    keys: BTreeMap<Key, u64>,
}

impl Accord {
    /// Takes note of a record's place.
    pub fn read(&mut self, offset: u64) {
        self.read_to = self.read_to.max(offset + 1);
    }

    /// A process asks for a version.
    pub fn asked(&mut self, epoch: u64, (process, number): (&str, u64), asked: Asked) {
        self.keys.insert(Key::Ask(process.to_owned(), number), epoch);
        if epoch <= self.decided || asked.after < self.decided {
            return;
        }
        // One that knows of a later decision than was read: that is compacted away, so another one follows, and settles it.
        if self.open.is_none() {
            self.open = Some(Attempt { epoch, process: process.to_owned(), asked });
        }
    }

    /// An ask is settled.
    pub fn decided(&mut self, process: &str, decided: Decided) {
        self.keys.insert(Key::Decision(decided.epoch, process.to_owned()), decided.epoch);
        // Epochs grow, so one that is not above the last was settled before: the first decision counts.
        if decided.epoch <= self.decided {
            return;
        }
        self.decisions
            .insert(decided.epoch, if decided.switched { None } else { Some(decided.reason.unwrap_or_default()) });
        while self.decisions.len() > MAX_DECISIONS {
            self.decisions.pop_first();
        }
        self.settle(decided.epoch, decided.standing);
    }

    fn settle(&mut self, epoch: u64, standing: Standing) {
        self.decided = epoch;
        self.open = None;
        self.firsts = self.firsts.split_off(&standing.current.epoch);
        self.standing = Some(standing);
    }

    /// A process says something of itself. In whatever order and however often it is read, the last that it said counts.
    pub fn said(&mut self, process: &str, said: Said) {
        if self.said.get(process).is_some_and(|known| known.seq >= said.seq) {
            return;
        }
        if said.runs >= self.current().map_or(0, |current| current.epoch) {
            let firsts = self.firsts.entry(said.runs).or_default();
            for (topic, partition, offset) in &said.firsts {
                let known = firsts.entry((topic.clone(), *partition)).or_insert(*offset);
                *known = (*known).min(*offset);
            }
        }
        self.said.insert(process.to_owned(), said);
    }

    /// A record was deleted.
    pub fn deleted(&mut self, key: &Key) {
        self.keys.remove(key);
        if let Key::Said(process) = key {
            self.said.remove(process);
        }
    }

    /// One past the last record that was read.
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// What everybody runs, if anything was ever agreed on.
    pub fn current(&self) -> Option<&Named> {
        self.standing.as_ref().map(|standing| &standing.current).filter(|current| current.epoch > 0)
    }

    /// What is agreed on, if anything was ever decided.
    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// The epoch decided last.
    pub fn last_decided(&self) -> u64 {
        self.decided
    }

    /// The ask that is open.
    pub fn open(&self) -> Option<&Attempt> {
        self.open.as_ref()
    }

    /// What a process said last.
    pub fn of(&self, process: &str) -> Option<&Said> {
        self.said.get(process)
    }

    /// What all processes said last.
    pub fn all_said(&self) -> &BTreeMap<String, Said> {
        &self.said
    }

    /// The first offsets of a version, as far as they were told.
    pub fn firsts(&self, epoch: u64) -> Option<&BTreeMap<(String, i32), i64>> {
        self.firsts.get(&epoch)
    }

    /// What became of an ask.
    pub fn fate(&self, epoch: u64) -> Fate {
        if self.read_to <= epoch {
            return Fate::Unread;
        }
        if self.open.as_ref().is_some_and(|open| open.epoch == epoch) {
            return Fate::Open;
        }
        match self.decisions.get(&epoch) {
            Some(None) => Fate::Switched,
            Some(Some(reason)) => Fate::Refused(reason.clone()),
            None => Fate::PassedOver,
        }
    }

    /// Whether everybody in the group is ready for what is asked.
    pub fn readiness<'a>(&self, epoch: u64, members: impl Iterator<Item = &'a str>) -> Readiness {
        let answer = |said: &Said| said.answer.clone().filter(|answer| answer.epoch == epoch);
        for (process, said) in &self.said {
            if let Some(refused) = answer(said).and_then(|answer| answer.refused) {
                return Readiness::Refused(process.clone(), refused);
            }
        }
        let (mut processes, mut strangers) = (BTreeSet::new(), Vec::new());
        for member in members {
            let of_it = self.said.iter().filter(|(_, said)| said.members.iter().any(|known| known == member));
            match of_it.max_by_key(|(_, said)| answer(said).is_some()) {
                Some((_, said)) if answer(said).is_some() => {}
                Some((process, _)) => drop(processes.insert(process.clone())),
                None => strangers.push(member.to_owned()),
            }
        }
        if processes.is_empty() && strangers.is_empty() {
            return Readiness::Ready;
        }
        Readiness::Waits { processes, strangers }
    }

    /// Keys of asks and decisions that say nothing any more: everything earlier than the last decision.
    pub fn outlived(&self) -> Vec<Key> {
        let old = |(key, epoch): &(&Key, &u64)| match key {
            Key::Decision(..) => **epoch < self.decided,
            _ => **epoch <= self.decided,
        };
        self.keys.iter().filter(old).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
