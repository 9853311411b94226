//! What kills cost, read from the topics alone: numbered messages, the output topic with the broker's own time of each
//! copy, and every commit in `__consumer_offsets` with the broker's time.
//!
//! - A **session** is the life of one process of the pipeline, counted from 0; each but the last ends with a kill. A copy says
//!   in a header [`BY`] whose it is. One that does not is of the session that its time lies in, which is not sure: what a
//!   killed process had sent may be written when that is gone.
//! - A message is **lost** if it never came out. The kill that lost it is the first one before which a higher offset was
//!   committed.
//! - It is handled **again** if it came out in two sessions. The kill at the end of the first of them is why.
//! - **Long complete** is a message handled again that had come out before the last commit but one was written. The last
//!   commit was put together after that one was answered, so it should know of this message, unless its completion was
//!   still held up. So these are what the span costs; the others completed since the last commit was answered.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::case::Case;
use crate::eye::{Commit, Eye, Message, Offsets};
use crate::mill::Mill;

/// What an output topic must have, so that a copy's time is when the broker wrote it.
pub const BROKER_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

/// The header of an output that tells the number of the session (`by` of the handler `retry`).
pub const BY: &str = "by";

/// When each killed process was gone, in milliseconds since the epoch.
#[derive(Clone, Debug, Default)]
pub struct Kills(Vec<i64>);

impl Kills {
    /// SIGKILL, and its end.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self, mill: &mut Mill) -> Result<()> {
        mill.kill()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?;
        self.0.push(now.as_millis() as i64);
        Ok(())
    }
}

/// What one kill cost one partition, in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Never came out.
    pub lost: usize,
    /// Came out before the kill and after it.
    pub again: usize,
    /// Of these: had come out before the last commit but one was written.
    pub long_complete: usize,
}

/// A message that came out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    session: usize,
    time: i64,
}

/// What came out, and what it cost.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// By partition and kill, counted from 0; those that cost nothing are in it, too.
    pub costs: BTreeMap<(i32, usize), Cost>,
    /// What no kill explains: lost though never committed past, or twice in one session.
    pub unexplained: Vec<String>,
}

impl Account {
    /// Reads the topics. `given`: how many messages each partition of the input had, their values beginning with
    /// partition and number.
    ///
    /// # Errors
    /// Kafka cannot be read, or an output is none of the messages.
    pub fn read(eye: &Eye, case: &Case, given: &[i64], kills: &Kills) -> Result<Self> {
        let outputs = eye.read(&case.output, &Offsets::new())?;
        Self::of(&outputs, &eye.commits(&case.name, &case.input)?, given, kills)
    }

    fn of(outputs: &[Message], commits: &[Commit], given: &[i64], kills: &Kills) -> Result<Self> {
        let mut copies: Vec<Vec<Vec<Copy>>> = given.iter().map(|count| vec![Vec::new(); *count as usize]).collect();
        for output in outputs {
            let (partition, number) = name(&output.text()).with_context(|| format!("not numbered: {output:?}"))?;
            let times = copies.get_mut(partition).and_then(|numbers| numbers.get_mut(number));
            let time = output.timestamp.unwrap_or_default();
            let by = output.header_text(BY).and_then(|by| by.parse().ok());
            let session = by.unwrap_or_else(|| kills.0.partition_point(|end| *end < time));
            times.with_context(|| format!("never produced: {output:?}"))?.push(Copy { session, time });
        }
        let mut account = Self::default();
        for (partition, numbers) in (0..).zip(&mut copies) {
            let commits: Vec<_> = commits.iter().filter(|commit| commit.partition == partition).collect();
            account.enter(partition, numbers, &commits, &kills.0);
        }
        Ok(account)
    }

    fn enter(&mut self, partition: i32, numbers: &mut [Vec<Copy>], commits: &[&Commit], ends: &[i64]) {
        // At each kill: the committed offset, and when the last commit but one was written.
        let mut known = Vec::new();
        for (kill, end) in ends.iter().enumerate() {
            let before = &commits[..commits.partition_point(|commit| commit.time <= *end)];
            let last_but_one = before.len().checked_sub(2).map_or(i64::MIN, |index| before[index].time);
            known.push((before.last().map_or(0, |commit| commit.offset), last_but_one));
            self.costs.insert((partition, kill), Cost::default());
        }
        for (number, times) in (0..).zip(numbers) {
            times.sort_unstable();
            if times.is_empty() {
                match known.iter().position(|(committed, _)| *committed > number) {
                    Some(kill) => self.cost(partition, kill).lost += 1,
                    None => self.unexplained.push(format!("message {number} of partition {partition} never came out")),
                }
            }
            for copies in times.windows(2) {
                let earlier = copies[0].session;
                if earlier == copies[1].session || earlier >= ends.len() {
                    self.unexplained.push(format!("message {number} of partition {partition} twice in one session"));
                    continue;
                }
                let long_complete = usize::from(copies[0].time < known[earlier].1);
                let cost = self.cost(partition, earlier);
                cost.again += 1;
                cost.long_complete += long_complete;
            }
        }
    }

    fn cost(&mut self, partition: i32, kill: usize) -> &mut Cost {
        self.costs.entry((partition, kill)).or_default()
    }

    /// Messages handled again, of all kills.
    pub fn again(&self) -> usize {
        self.costs.values().map(|cost| cost.again).sum()
    }

    /// Checks every kill's cost against the row of its mode.
    ///
    /// # Errors
    /// A kill cost more, or something happened that no kill explains.
    pub fn check(&self, row: &str, allowed: impl Fn(&Cost) -> bool) -> Result<()> {
        eprintln!("{row}: {:?}", self.costs);
        ensure!(self.unexplained.is_empty(), "no kill explains this: {:?}", self.unexplained);
        for ((partition, kill), cost) in &self.costs {
            ensure!(allowed(cost), "{row}: kill {kill} cost partition {partition} {cost:?}; all: {:?}", self.costs);
        }
        Ok(())
    }
}

/// Partition and number at the beginning of a value.
fn name(value: &str) -> Option<(usize, usize)> {
    let mut words = value.trim_start_matches('!').split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(offset: i64, time: i64) -> Commit {
        Commit { partition: 0, offset, time, metadata: String::new() }
    }

    /// Five messages; a kill at 100, another at 200.
    fn account(copies: &[(i64, i64)], commits: &[Commit]) -> Account {
        let output = |(number, time): &(i64, i64)| Message {
            timestamp: Some(*time),
            ..Message::new("k", format!("0 {number} 0"))
        };
        let outputs: Vec<_> = copies.iter().map(output).collect();
        Account::of(&outputs, commits, &[5], &Kills(vec![100, 200])).unwrap()
    }

    #[test]
    fn a_repeat_is_charged_to_the_kill_after_its_first_copy() {
        let copies = [(0, 10), (1, 20), (2, 50), (1, 110), (2, 120), (3, 130), (4, 140), (3, 210), (4, 220)];
        let account = account(&copies, &[commit(0, 5), commit(0, 30), commit(1, 60), commit(2, 150), commit(3, 160)]);
        assert_eq!(account.costs[&(0, 0)], Cost { lost: 0, again: 2, long_complete: 1 });
        assert_eq!(account.costs[&(0, 1)], Cost { lost: 0, again: 2, long_complete: 2 });
        assert!(account.unexplained.is_empty());
    }

    #[test]
    fn a_loss_is_charged_to_the_kill_before_which_it_was_committed_past() {
        let account = account(&[(0, 10), (3, 110), (4, 210)], &[commit(0, 5), commit(2, 60), commit(3, 150)]);
        assert_eq!([account.costs[&(0, 0)].lost, account.costs[&(0, 1)].lost], [1, 1]);
        assert!(account.unexplained.is_empty());
    }

    #[test]
    fn what_a_killed_process_had_sent_is_its_own_however_late_it_is_written() {
        let copy = |number: i64, time: i64, by: &str| Message {
            timestamp: Some(time),
            ..Message::new("k", format!("0 {number} 0")).header(BY, by)
        };
        let outputs = [
            copy(0, 10, "0"),
            copy(1, 101, "0"),
            copy(1, 150, "1"),
            copy(2, 160, "1"),
            copy(3, 210, "2"),
            copy(4, 220, "2"),
        ];
        let account = Account::of(&outputs, &[commit(0, 5), commit(1, 60)], &[5], &Kills(vec![100, 200])).unwrap();
        assert_eq!(account.costs[&(0, 0)], Cost { lost: 0, again: 1, long_complete: 0 });
        assert!(account.unexplained.is_empty(), "{account:?}");
    }

    #[test]
    fn what_no_kill_explains_is_told() {
        let account = account(&[(0, 10), (0, 20), (1, 30), (2, 40), (4, 50)], &[commit(3, 60)]);
        assert_eq!(account.unexplained.len(), 2, "{account:?}");
        assert!(account.check("", |_| true).is_err());
    }
}
