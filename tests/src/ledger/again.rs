//! Why a message came out again.
//!
//! Each copy says which process made it. What happened to that process afterwards, before the next copy came out of
//! another one, is the cause.

use serde::Serialize;

use super::{Disturbance, Kind};

/// A copy counts as made before a disturbance up to so many milliseconds later: it was in the broker's socket.
const STILL_ARRIVING: i64 = 2_000;
/// How long the group may need until an outage is behind it: what waited for the broker is delivered when it is back, by
/// a process that may have lost its partitions, and the coordinator loads its own first.
const STILL_SETTLING: i64 = 10_000;

/// A copy that was not the first.
#[derive(Copy, Clone, Debug)]
pub struct Again {
    /// Of the input.
    pub partition: usize,
    /// The message: its offset in the input.
    pub number: usize,
    /// When the copy before it came out.
    pub before: i64,
    /// The process that had made that one.
    pub by: Option<usize>,
    /// When this one came out.
    pub time: i64,
    /// The process that had made this one.
    pub by_now: Option<usize>,
}

/// What a kill cost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KillCost {
    /// When, in milliseconds since the epoch.
    pub time: i64,
    /// Messages handled again.
    pub again: u64,
    /// Most that the promise allows for the partitions concerned.
    pub bound: u64,
    /// Age of the last commit of a partition concerned, the oldest of them.
    pub since_commit_ms: i64,
}

/// The disturbance that made a message come out again: what befell the process that had made the copy before; else an
/// outage of the broker; else a change of the group's members.
pub fn cause(again: &Again, disturbances: &[Disturbance]) -> Option<usize> {
    let slack = |kind| if matches!(kind, Kind::Kill | Kind::Freeze) { STILL_ARRIVING } else { STILL_SETTLING };
    let between = |one: &Disturbance| one.to >= again.before - slack(one.kind) && one.from <= again.time;
    // What a frozen process had on its way comes out when it wakes, however often others have handled it since.
    let woke = |one: &Disturbance| again.time >= one.from && again.time <= one.to.saturating_add(STILL_ARRIVING);
    // So does what waited for the broker, when that is back: by a process that was there before the outage and may have
    // lost its partition to the one that had made the copy before. A later kill of that one has nothing to do with it.
    let joined = |one: &Disturbance| one.kind == Kind::Join && again.by_now.is_some() && one.process == again.by_now;
    let since = disturbances.iter().find(|one| joined(one)).map(|one| one.from);
    let waited = |one: &Disturbance| {
        let delivered = again.time >= one.from && again.time <= one.to.saturating_add(STILL_SETTLING);
        delivered && again.by_now != again.by && since.is_some_and(|since| since <= one.from)
    };
    let rank = |one: &Disturbance| match one.kind {
        Kind::BrokerKill | Kind::BrokerRestart if waited(one) => Some(0),
        Kind::Freeze if again.by_now.is_some() && one.process == again.by_now && woke(one) => Some(0),
        Kind::Kill | Kind::Freeze => (one.process == again.by || again.by.is_none()).then_some(1),
        Kind::BrokerKill | Kind::BrokerRestart => Some(2),
        // The one that left is a better guess than one that came.
        Kind::Leave | Kind::Restart if one.process == again.by => Some(3),
        Kind::Leave | Kind::Restart | Kind::Join => Some(4),
    };
    let found = disturbances.iter().enumerate().filter(|(_, one)| between(one));
    let ranked = found.filter_map(|(index, one)| Some((rank(one)?, one.from, index)));
    // The first thing that befell it is what took its partitions away.
    ranked.min().map(|(_, _, index)| index)
}
