//! What the topics say, and what must hold of it.
//!
//! Everything is judged from three things that wasmill cannot embellish: how many messages were confirmed to the
//! producer, the output topic with the broker's own time of each message, and every commit in
//! `__consumer_offsets` with the broker's time.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::again::{Again, KillCost, cause};
use super::{Disturbance, Kind};
use crate::eye::Commit;
use crate::message::Message;

/// Findings of one sort that are spelt out; the rest is only counted.
const SPELT_OUT: usize = 5;

/// A message of the input, as its copies name it: `partition number key-number`, some after a `!`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Name {
    partition: usize,
    number: usize,
    key_number: i64,
}

/// The latest copy of a message.
#[derive(Copy, Clone, Debug, Default)]
struct Latest {
    time: i64,
    by: Option<usize>,
}

/// The output topic and the commits, added up.
#[derive(Debug, Default)]
pub struct Book {
    /// Messages given to each partition of the input.
    given: Vec<i64>,
    /// Time of the first copy, and the latest copy; by partition and number.
    first: Vec<Vec<Option<i64>>>,
    latest: Vec<Vec<Latest>>,
    /// Time and process of every copy, by partition, in order.
    copies_of: Vec<Vec<Latest>>,
    again: Vec<Again>,
    /// By partition, for each offset: when the last of the messages below it had come out.
    complete: Vec<Vec<i64>>,
    next_of_key: HashMap<Vec<u8>, i64>,
    findings: BTreeMap<&'static str, Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
    copies: u64,
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
            latest: given.iter().map(|count| vec![Latest::default(); sized(count)]).collect(),
            copies_of: vec![Vec::new(); given.len()],
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
        let latest = Latest { time, by: message.header_text("by").and_then(|by| by.parse().ok()) };
        self.copies_of[partition].push(latest);
        let before = std::mem::replace(&mut self.latest[partition][number], latest);
        if self.first[partition][number].is_some() {
            self.again.push(Again { partition, number, before: before.time, by: before.by, time, by_now: latest.by });
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
        self.complete = self.first.iter().map(|times| latest_below(times)).collect();
        let lost = self.check_lost();
        self.check_commits(commits);
        self.check_end(at_end);
        let duplicates = self.again.len() as u64;
        let (kills, duplicates_by_cause) = self.check_duplicates(commits, disturbances, span);
        Verdict {
            given: self.given.iter().sum(),
            copies: self.copies,
            lost,
            duplicates,
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
            let Some(below) = self.complete_below(partition, commit.offset) else {
                self.find("only what exists is committed", || format!("partition {partition}: {}", commit.offset));
                continue;
            };
            if below > commit.time {
                let early = below.saturating_sub(commit.time);
                let text = || match below {
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

    /// When the last message below this offset had come out; `None` if there is no such offset.
    fn complete_below(&self, partition: usize, offset: i64) -> Option<i64> {
        self.complete[partition].get(usize::try_from(offset).ok()?).copied()
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

    /// Looks for what made each copy come again, and what each kill cost.
    fn check_duplicates(
        &mut self,
        commits: &[Commit],
        disturbances: &[Disturbance],
        span: u64,
    ) -> (Vec<KillCost>, BTreeMap<String, u64>) {
        let mut by_cause: BTreeMap<String, u64> = BTreeMap::new();
        let mut by_kill: BTreeMap<usize, BTreeMap<usize, Vec<Again>>> = BTreeMap::new();
        for again in std::mem::take(&mut self.again) {
            let Some(index) = cause(&again, disturbances) else {
                let text = || {
                    let after = again.time - again.before;
                    format!("message {} of partition {} after {after} ms", again.number, again.partition)
                };
                self.find("nothing is handled again without a cause", text);
                continue;
            };
            *by_cause.entry(format!("{:?}", disturbances[index].kind)).or_default() += 1;
            if disturbances[index].kind == Kind::Kill {
                by_kill.entry(index).or_default().entry(again.partition).or_default().push(again);
            }
        }
        let mut kills = Vec::new();
        for (index, kill) in disturbances.iter().enumerate().filter(|(_, one)| one.kind == Kind::Kill) {
            let mut cost = KillCost { time: kill.from, ..KillCost::default() };
            for (partition, repeats) in by_kill.remove(&index).unwrap_or_default() {
                self.check_kill(&mut cost, kill, (partition, &repeats), commits, span);
            }
            kills.push(cost);
        }
        (kills, by_cause)
    }

    /// What a kill made come again in a partition, beside what it may: nothing of which the commit had been written, and
    /// no more than the span and what came out since.
    fn check_kill(
        &mut self,
        cost: &mut KillCost,
        kill: &Disturbance,
        (partition, repeats): (usize, &[Again]),
        commits: &[Commit],
        span: u64,
    ) {
        let before = |commit: &&Commit| usize::try_from(commit.partition) == Ok(partition) && commit.time < kill.from;
        let last = commits.iter().filter(before).max_by_key(|commit| (commit.offset, commit.time));
        let (offset, time) = last.map_or((0, 0), |commit| (commit.offset, commit.time));
        let below = |again: &&Again| i64::try_from(again.number).is_ok_and(|number| number < offset);
        for again in repeats.iter().filter(below) {
            let text =
                || format!("{again:?}, though {offset} was committed at {time} before the kill at {}", kill.from);
            self.find("nothing below a committed offset is handled again after a kill", text);
        }
        let copies = &self.copies_of[partition];
        // A commit tells of the time when it was sent: just after the last message below it had come out. How long the
        // coordinator took to write it, during a rebalance or after an outage, is not on its own account.
        let sent = self.complete_below(partition, offset).map_or(time, |below| time.min(below));
        let since = copies.partition_point(|copy| copy.time < sent);
        let came_out =
            copies[since..].iter().filter(|copy| copy.by.is_none() || copy.by == kill.process).count() as u64;
        let (again, bound) = (repeats.len() as u64, span + came_out);
        cost.again += again;
        cost.bound += bound;
        cost.since_commit_ms = cost.since_commit_ms.max(kill.from - time);
        if again > bound {
            let text = || format!("partition {partition}: {again} messages after a kill, {bound} allowed");
            self.find("a kill repeats no more than the span and what came out since the last commit", text);
        }
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

#[cfg(test)]
mod tests;
