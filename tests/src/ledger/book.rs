//! What the topics say, and what must hold of it.
//!
//! Everything is judged from three things that wasmill cannot embellish: how many messages were confirmed to the
//! producer, the output topic with the broker's own time of each message, and every commit in
//! `__consumer_offsets` with the broker's time.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{Disturbance, Kind};
use crate::eye::Commit;
use crate::message::Message;

/// How long a commit may take from the completion it tells of, in milliseconds, in quiet times. What was completed in
/// that time before a kill may be handled again on top of the span.
const COMMIT_DELAY: i64 = 1_500;
/// The same while the broker was away a moment ago: the coordinator loads its partitions first.
const COMMIT_DELAY_AFTER_OUTAGE: i64 = 20_000;
/// A message counts as delivered before a kill up to this much later: it was in the broker's socket.
const STILL_ARRIVING: i64 = 2_000;
/// How long the group may need until an outage or a change of its members is behind it: a commit at a revoke may
/// fail, and what waited for the broker is delivered when it is back, by a process that may have lost its partitions.
const STILL_SETTLING: i64 = 10_000;
/// Findings of one sort that are spelt out; the rest is only counted.
const SPELT_OUT: usize = 5;

/// A message of the input, as its copies name it: `partition number key-number`, some after a `!`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Name {
    partition: usize,
    number: usize,
    key_number: i64,
}

/// A copy that was not the first.
#[derive(Copy, Clone, Debug)]
struct Again {
    partition: usize,
    number: usize,
    before: i64,
    time: i64,
}

/// The output topic and the commits, added up.
#[derive(Debug, Default)]
pub struct Book {
    /// Messages given to each partition of the input.
    given: Vec<i64>,
    /// Time of the first copy, and of the latest; by partition and number.
    first: Vec<Vec<Option<i64>>>,
    latest: Vec<Vec<i64>>,
    /// Time of every copy, by partition, in order.
    times: Vec<Vec<i64>>,
    again: Vec<Again>,
    next_of_key: HashMap<Vec<u8>, i64>,
    findings: BTreeMap<&'static str, Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
    copies: u64,
}

/// What a kill cost.
#[derive(Clone, Debug, Serialize)]
pub struct KillCost {
    /// When, in milliseconds since the epoch.
    pub time: i64,
    /// Messages handled again.
    pub again: u64,
    /// Most that the promise allows for the partitions concerned.
    pub bound: u64,
}

/// The outcome.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Messages confirmed to the producer.
    pub given: i64,
    /// Messages in the output.
    pub copies: u64,
    /// Messages of the input without a copy.
    pub lost: u64,
    /// Copies that were not the first.
    pub duplicates: u64,
    /// Commits that were checked.
    pub commits: usize,
    /// One for each kill, in order.
    pub kills: Vec<KillCost>,
    /// Kills that caught messages in flight.
    pub kills_in_flight: usize,
    /// Duplicates by what caused them.
    pub duplicates_by_cause: BTreeMap<String, u64>,
    /// Broken promises, by promise: the first few in words.
    pub findings: BTreeMap<&'static str, Vec<String>>,
    /// How many of each.
    pub finding_counts: BTreeMap<&'static str, u64>,
}

impl Verdict {
    /// True if no promise was broken.
    pub fn holds(&self) -> bool {
        self.finding_counts.is_empty()
    }
}

impl Book {
    /// A book for an input with so many messages in each partition.
    pub fn new(given: &[i64]) -> Self {
        let sized = |count: &i64| usize::try_from(*count).unwrap_or(0);
        Self {
            given: given.to_vec(),
            first: given.iter().map(|count| vec![None; sized(count)]).collect(),
            latest: given.iter().map(|count| vec![0; sized(count)]).collect(),
            times: vec![Vec::new(); given.len()],
            ..Self::default()
        }
    }

    /// Enters a message of the output. A partition's messages come in their order there.
    pub fn enter(&mut self, message: &Message) {
        self.copies += 1;
        let time = message.timestamp.unwrap_or_default();
        let Some(name) = parse(&message.text()).filter(|name| self.exists(name)) else {
            return self.find("messages come out as they went in", || format!("{message:?}"));
        };
        let (partition, number) = (name.partition, name.number);
        if message.partition != i32::try_from(partition).ok() {
            self.find("a key stays on its partition number", || {
                format!("{name:?} came out on {:?}", message.partition)
            });
        }
        self.times[partition].push(time);
        let before = std::mem::replace(&mut self.latest[partition][number], time);
        if self.first[partition][number].is_some() {
            self.again.push(Again { partition, number, before, time });
            return;
        }
        self.first[partition][number] = Some(time);
        let key = message.key.clone().unwrap_or_default();
        let next = self.next_of_key.insert(key, name.key_number + 1).unwrap_or(0);
        if name.key_number < next {
            let late = || format!("{name:?} came for the first time after number {} of its key", next - 1);
            self.find("a key's messages come in order", late);
            // A late one is one finding, not one for each that follows.
            self.next_of_key.insert(message.key.clone().unwrap_or_default(), next);
        }
    }

    /// Closes the book.
    pub fn close(
        mut self,
        commits: &[Commit],
        at_end: &BTreeMap<i32, i64>,
        disturbances: &[Disturbance],
        span: u64,
    ) -> Verdict {
        let lost = self.check_lost();
        self.check_commits(commits);
        self.check_end(at_end);
        let (kills, duplicates_by_cause) = self.check_duplicates(disturbances, span);
        Verdict {
            given: self.given.iter().sum(),
            copies: self.copies,
            lost,
            duplicates: self.again.len() as u64,
            commits: commits.len(),
            kills_in_flight: kills.iter().filter(|kill| kill.again > 0).count(),
            kills,
            duplicates_by_cause,
            findings: self.findings,
            finding_counts: self.counts,
        }
    }

    fn check_lost(&mut self) -> u64 {
        let missing = self.first.iter().enumerate().flat_map(|(partition, numbers)| {
            numbers.iter().enumerate().filter(|(_, time)| time.is_none()).map(move |(number, _)| (partition, number))
        });
        let missing: Vec<_> = missing.collect();
        for (partition, number) in &missing {
            self.find("no message is lost", || format!("message {number} of partition {partition} never came out"));
        }
        missing.len() as u64
    }

    /// Rule 1, for every commit and not only for those that a kill put to the test: whatever is below a committed
    /// offset was in the output topic before the commit was written.
    fn check_commits(&mut self, commits: &[Commit]) {
        let complete: Vec<Vec<i64>> = self.first.iter().map(|times| latest_below(times)).collect();
        let mut highest = vec![0; self.given.len()];
        for commit in commits {
            let Some(partition) = usize::try_from(commit.partition).ok().filter(|one| *one < highest.len()) else {
                continue;
            };
            if commit.offset < highest[partition] {
                let back = || format!("partition {partition}: {} after {}", commit.offset, highest[partition]);
                self.find("a committed offset does not go back", back);
            }
            highest[partition] = highest[partition].max(commit.offset);
            let Some(below) = usize::try_from(commit.offset).ok().and_then(|next| complete[partition].get(next)) else {
                self.find("only what exists is committed", || format!("partition {partition}: {}", commit.offset));
                continue;
            };
            if *below > commit.time {
                let early = below.saturating_sub(commit.time);
                let text = || match *below {
                    i64::MAX => {
                        format!("partition {partition}: {} though a message below it never came out", commit.offset)
                    }
                    _ => format!(
                        "partition {partition}: {} was committed {early} ms before all below it was delivered",
                        commit.offset
                    ),
                };
                self.find("only what is complete is committed", text);
            }
        }
    }

    fn check_end(&mut self, at_end: &BTreeMap<i32, i64>) {
        for (partition, given) in (0..).zip(self.given.clone()) {
            let committed = at_end.get(&partition).copied().unwrap_or(0);
            if committed != given {
                let text = || format!("partition {partition}: {committed} is committed, the end is {given}");
                self.find("in the end everything is committed", text);
            }
        }
    }

    fn check_duplicates(&mut self, disturbances: &[Disturbance], span: u64) -> (Vec<KillCost>, BTreeMap<String, u64>) {
        let mut by_cause: BTreeMap<String, u64> = BTreeMap::new();
        let mut by_kill: HashMap<usize, HashMap<usize, u64>> = HashMap::new();
        for again in std::mem::take(&mut self.again) {
            match cause(&again, disturbances) {
                None => {
                    let text = || {
                        format!(
                            "message {} of partition {} after {} ms",
                            again.number,
                            again.partition,
                            again.time - again.before
                        )
                    };
                    self.find("nothing is handled again without a cause", text);
                }
                Some(index) => {
                    *by_cause.entry(format!("{:?}", disturbances[index].kind)).or_default() += 1;
                    if disturbances[index].kind == Kind::Kill {
                        *by_kill.entry(index).or_default().entry(again.partition).or_default() += 1;
                    }
                }
            }
            self.again.push(again);
        }
        let mut kills = Vec::new();
        for (index, kill) in disturbances.iter().enumerate().filter(|(_, one)| one.kind == Kind::Kill) {
            let mut cost = KillCost { time: kill.from, again: 0, bound: 0 };
            for (partition, again) in by_kill.remove(&index).unwrap_or_default() {
                let bound = span + self.delivered_shortly_before(partition, kill.from, disturbances);
                cost.again += again;
                cost.bound += bound;
                if again > bound {
                    let text = || format!("partition {partition}: {again} messages after a kill, {bound} allowed");
                    self.find("a kill repeats no more than the span and what was not committed yet", text);
                }
            }
            kills.push(cost);
        }
        (kills, by_cause)
    }

    /// Messages of a partition that came out so shortly before a kill that their commit may not have been written.
    fn delivered_shortly_before(&self, partition: usize, kill: i64, disturbances: &[Disturbance]) -> u64 {
        let outage = |one: &Disturbance| matches!(one.kind, Kind::BrokerKill | Kind::BrokerRestart);
        let recent = |one: &Disturbance| one.from <= kill && kill - one.to < COMMIT_DELAY_AFTER_OUTAGE;
        let after_outage = disturbances.iter().any(|one| outage(one) && recent(one));
        let delay = if after_outage { COMMIT_DELAY_AFTER_OUTAGE } else { COMMIT_DELAY };
        // Copies, not messages: what one kill made come again may not be committed yet at the next.
        let times = &self.times[partition];
        let from = times.partition_point(|time| *time < kill - delay);
        let to = times.partition_point(|time| *time <= kill + STILL_ARRIVING);
        (to - from) as u64
    }

    fn exists(&self, name: &Name) -> bool {
        self.first.get(name.partition).is_some_and(|numbers| name.number < numbers.len())
    }

    fn find(&mut self, promise: &'static str, text: impl FnOnce() -> String) {
        *self.counts.entry(promise).or_default() += 1;
        let spelt_out = self.findings.entry(promise).or_default();
        if spelt_out.len() < SPELT_OUT {
            spelt_out.push(text());
        }
    }
}

fn parse(value: &str) -> Option<Name> {
    let mut words = value.trim_start_matches('!').split(' ');
    let name = Name {
        partition: words.next()?.parse().ok()?,
        number: words.next()?.parse().ok()?,
        key_number: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(name)
}

/// For each offset from 0 to the end: when the last of the messages below it came out; `i64::MAX` if one never did.
fn latest_below(times: &[Option<i64>]) -> Vec<i64> {
    let mut latest = 0;
    let mut all = vec![0];
    for time in times {
        latest = latest.max(time.unwrap_or(i64::MAX));
        all.push(latest);
    }
    all
}

/// The disturbance that made a message come out again: the first kill after its first copy of a process that held its
/// partition; else the latest disturbance between the copies.
fn cause(again: &Again, disturbances: &[Disturbance]) -> Option<usize> {
    let slack = |kind| match kind {
        Kind::Kill | Kind::Freeze => STILL_ARRIVING,
        _ => STILL_SETTLING,
    };
    let between = |one: &Disturbance| one.to >= again.before - slack(one.kind) && one.from <= again.time;
    let found = disturbances.iter().enumerate().filter(|(_, one)| between(one));
    let held =
        |one: &Disturbance| i32::try_from(again.partition).is_ok_and(|partition| one.partitions.contains(&partition));
    let kill = found.clone().find(|(_, one)| one.kind == Kind::Kill && held(one));
    kill.or_else(|| found.max_by_key(|(_, one)| (one.kind != Kind::Kill, one.from))).map(|(index, _)| index)
}

#[cfg(test)]
mod tests;
