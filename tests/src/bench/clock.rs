//! The broker's clock: when a group was given its partitions, and when it had committed the last of them.

use anyhow::{Context, Result, ensure};

use crate::eye::{Eye, Offsets};

/// From the assignment to the last commit that was needed, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// The broker wrote down that a member was given something.
    pub start: f64,
    /// The broker wrote down the commit with which every partition stood at its end.
    pub end: f64,
}

impl Clock {
    /// Reads it from `__consumer_offsets`.
    ///
    /// # Errors
    /// The group does not stand at `ends`, or a commit went past one of them.
    pub fn read(eye: &Eye, group: &str, topic: &str, ends: &Offsets) -> Result<Self> {
        let committed = eye.committed_offsets(group, topic)?;
        ensure!(committed == *ends, "committed is {committed:?}, the topic ends at {ends:?}");
        let commits = eye.commits(group, topic)?;
        let start = eye.assigned(group)?.context("the broker has no assignment of the group")?;
        let mut last = start;
        for (partition, end) in ends {
            let mut own = commits.iter().filter(|commit| commit.partition == *partition);
            ensure!(own.clone().all(|commit| commit.offset <= *end), "a commit went past the end of {partition}");
            let reached = own.find(|commit| commit.offset == *end).context("no commit reached the end")?;
            last = last.max(reached.time);
        }
        Ok(Self { start: start as f64, end: last as f64 })
    }

    /// How long it ran.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start) / 1000.0
    }
}
