//! For how long nothing comes out around a swap, seen from the outside: the output topic has the broker's own times.
//!
//! **One fleet, many segments.** The processes run on while *segments* take turns, some seconds each: nothing is swapped
//! (*none*), or once a second a handler that was compiled before (*warm*), or one that was not (*cold*). A round has one of
//! each, their order changes from round to round. So a machine that becomes slower weighs on all alike.
//!
//! **The gap.** A swap is given a *window*, from the call to the answer and `AFTER` longer: the gate's work, which may take
//! processors from the lanes, and the handover. What counts is the longest time between two appends to an output partition
//! that reaches into the window. It is set beside the same windows of the round's segment without swaps, as long and at
//! the same distance from the segment's beginning. The 99th percentile of all gaps, a hundred of them in a second, would hide
//! a swap that comes once in it: that one is reported as well, for comparison.
//!
//! **Two loads.** *steady*: as much as is produced, well below what the processes can do: here the gap is seen. *full*: from
//! a backlog, as fast as they can: here the rate is compared. Only what the broker wrote down is looked at.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::fleet::Fleet;
use super::{AS_FAST_AS_IT_TAKES, KEYS, PARTITIONS, Spread};
use crate::broker::Broker;
use crate::eye::Eye;
use crate::scratch::Scratch;
use crate::shared::unique;
use crate::versions::Version;

/// How much longer than its call a swap is watched.
const AFTER: i64 = 200;
/// From one swap to the next.
const EVERY: Duration = Duration::from_secs(1);
/// Between two segments.
const REST: Duration = Duration::from_secs(1);
/// Versions that take turns when they are warm.
const WARM: u32 = 5;

/// What to run.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// Rounds of three segments.
    pub rounds: usize,
    /// Seconds of a segment.
    pub seconds: u64,
    /// Messages a second of the steady load.
    pub per_second: u32,
    /// Seconds in which the backlog of the full load is produced.
    pub backlog_seconds: u64,
    /// Only this load: `steady` or `full`.
    pub only: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 5, seconds: 10, per_second: 20_000, backlog_seconds: 240, only: None }
    }
}

/// What happens in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing.
    None,
    /// Swaps to versions that were compiled before.
    Warm,
    /// Swaps to versions that were not.
    Cold,
}

/// One segment, in milliseconds since the epoch.
#[derive(Clone, Debug)]
struct Segment {
    round: usize,
    kind: Kind,
    from: i64,
    to: i64,
    /// Of each swap.
    windows: Vec<(i64, i64)>,
}

/// Swaps of one kind beside none.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Warm or cold.
    pub kind: Kind,
    /// Length of a swap's call in milliseconds.
    pub call_ms: Spread,
    /// The longest gap in the windows of swaps, in milliseconds; one for each swap and partition.
    pub gap_ms: Spread,
    /// The same in the same windows without swaps.
    pub gap_without_ms: Spread,
    /// By how much the 99th percentile is greater with swaps, in milliseconds.
    pub p99_more_ms: f64,
    /// The same, round by round.
    pub p99_more_by_round_ms: Spread,
    /// All gaps of the segments with swaps.
    pub all_gaps_ms: Spread,
    /// And of those without.
    pub all_gaps_without_ms: Spread,
    /// Rate with swaps, of that without, round by round.
    pub rate_ratio: Spread,
    /// Messages a second without swaps, round by round.
    pub rate_without: Spread,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// `steady` or `full`.
    pub load: &'static str,
    /// Warm and cold.
    pub compared: Vec<Compared>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// Steady and full.
    pub loads: Vec<Load>,
}

/// Measures both loads. `say` hears about the progress.
///
/// # Errors
/// Something could not be run, a swap was refused, or the backlog was too small.
pub fn run(options: &Options, broker: &Broker, say: &dyn Fn(&str)) -> Result<Report> {
    ensure!(options.rounds > 0 && options.seconds > 1, "no round and no segment measure nothing; hint: 5 and 10");
    let load = |load, full| measure(options, broker, full, say).map(|compared| Load { load, compared });
    let mut loads = Vec::new();
    for (name, full) in [("steady", false), ("full", true)] {
        if options.only.as_ref().is_none_or(|only| only == name) {
            let load = load(name, full)?;
            // What is measured is told at once: the other load may turn out not to be measurable.
            say(&told(&load));
            loads.push(load);
        }
    }
    ensure!(!loads.is_empty(), "no load is named so; hint: --load steady or --load full");
    Ok(Report { options: options.clone(), loads })
}

fn measure(options: &Options, broker: &Broker, full: bool, say: &dyn Fn(&str)) -> Result<Vec<Compared>> {
    let (eye, name) = (broker.eye()?, unique("gap"));
    let (input, output) = (format!("{name}-in"), format!("{name}-out"));
    eye.create_topic(&input, PARTITIONS, &[])?;
    eye.create_topic(&output, PARTITIONS, &[("message.timestamp.type", "LogAppendTime")])?;
    let folder = Scratch::new("versions")?;
    let mut versions = Versions { folder, next: 0, warm: Vec::new() };
    let first = versions.cold()?;
    if full {
        say(&format!("{} s of backlog", options.backlog_seconds));
        eye.start_stream(&input, PARTITIONS, KEYS, AS_FAST_AS_IT_TAKES)?;
        std::thread::sleep(Duration::from_secs(options.backlog_seconds));
        eye.stop_stream(&input)?;
    }
    let fleet = Fleet::start(&broker.bootstrap(), &eye, &name, (&input, &output), &first)?;
    for _ in 0..WARM {
        let version = versions.cold()?;
        fleet.swap(&version)?;
        versions.warm.push(version);
    }
    if !full {
        eye.start_stream(&input, PARTITIONS, KEYS, options.per_second)?;
    }
    eye.read_count(&output, 1000, Duration::from_secs(60))?;
    let mut segments = Vec::new();
    for round in 0..options.rounds {
        let mut kinds = [Kind::None, Kind::Warm, Kind::Cold];
        kinds.rotate_left(round % 3);
        for kind in kinds {
            std::thread::sleep(REST);
            segments.push(segment(options, &fleet, &mut versions, round, kind)?);
            say(&format!("{} round {round} {kind:?}", if full { "full" } else { "steady" }));
        }
    }
    if full {
        enough(&eye, &input, &output)?;
    } else {
        eye.stop_stream(&input)?;
    }
    let appends = eye.appends(&output)?.into_values().collect::<Vec<_>>();
    fleet.stop()?;
    eye.delete_topic(&input)?;
    eye.delete_topic(&output)?;
    Ok([Kind::Warm, Kind::Cold].map(|kind| compare(kind, &segments, &appends)).into())
}

/// The processes had something to do until the end.
fn enough(eye: &Eye, input: &str, output: &str) -> Result<()> {
    let (given, done) = (eye.end_offsets(input)?, eye.end_offsets(output)?);
    let over = given.iter().any(|(partition, given)| done.get(partition) >= Some(given));
    ensure!(!over, "the backlog was over before the rounds were; hint: a longer --backlog-seconds");
    Ok(())
}

struct Versions {
    folder: Scratch,
    next: u32,
    warm: Vec<Version>,
}

impl Versions {
    fn cold(&mut self) -> Result<Version> {
        self.next += 1;
        Version::write(self.folder.path(), "stamp", self.next)
    }

    fn of(&mut self, kind: Kind) -> Result<Option<Version>> {
        Ok(match kind {
            Kind::None => None,
            Kind::Cold => Some(self.cold()?),
            Kind::Warm => {
                self.warm.rotate_left(1);
                Some(self.warm[0].clone())
            }
        })
    }
}

fn segment(options: &Options, fleet: &Fleet, versions: &mut Versions, round: usize, kind: Kind) -> Result<Segment> {
    let (from, began) = (milliseconds(), Instant::now());
    let mut windows = Vec::new();
    for swap in 0..options.seconds as u32 {
        // In the middle of each second.
        let due = EVERY * swap + EVERY / 2;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        if let Some(version) = versions.of(kind)? {
            let asked = milliseconds();
            fleet.swap(&version)?;
            windows.push((asked, milliseconds() + AFTER));
        }
    }
    std::thread::sleep(Duration::from_secs(options.seconds).saturating_sub(began.elapsed()));
    Ok(Segment { round, kind, from, to: milliseconds(), windows })
}

/// The time as the broker has it: it runs on this machine.
fn milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

/// When one partition was appended to, ascending, and with how many messages.
type Appends = Vec<(i64, u64)>;

fn compare(kind: Kind, segments: &[Segment], appends: &[Appends]) -> Compared {
    let of = |kind| segments.iter().filter(move |one| one.kind == kind);
    let pairs: Vec<_> =
        of(kind).filter_map(|with| Some((with, of(Kind::None).find(|without| without.round == with.round)?))).collect();
    let (mut with_gaps, mut without_gaps, mut by_round) = (Vec::new(), Vec::new(), Vec::new());
    for (with, without) in &pairs {
        let there: Vec<f64> = gaps_in(&with.windows, appends);
        let shifted: Vec<_> = with
            .windows
            .iter()
            .map(|(from, to)| (from - with.from + without.from, to - with.from + without.from))
            .collect();
        let not_there = gaps_in(&shifted, appends);
        by_round.push(Spread::of(there.iter().copied()).p99 - Spread::of(not_there.iter().copied()).p99);
        with_gaps.extend(there);
        without_gaps.extend(not_there);
    }
    let (gap_ms, gap_without_ms) = (Spread::of(with_gaps), Spread::of(without_gaps));
    let rate = |segment: &Segment| count(segment, appends) as f64 * 1000.0 / (segment.to - segment.from) as f64;
    let all = |kind| Spread::of(of(kind).flat_map(|one| gaps_between(one.from, one.to, appends)));
    Compared {
        kind,
        call_ms: Spread::of(of(kind).flat_map(|one| &one.windows).map(|(from, to)| (to - from - AFTER) as f64)),
        p99_more_ms: gap_ms.p99 - gap_without_ms.p99,
        gap_ms,
        gap_without_ms,
        p99_more_by_round_ms: Spread::of(by_round),
        all_gaps_ms: all(kind),
        all_gaps_without_ms: all(Kind::None),
        rate_ratio: Spread::of(pairs.iter().map(|(with, without)| rate(with) / rate(without))),
        rate_without: Spread::of(of(Kind::None).map(rate)),
    }
}

/// The longest gap that reaches into each window, of each partition.
fn gaps_in(windows: &[(i64, i64)], appends: &[Appends]) -> Vec<f64> {
    let each = windows.iter().flat_map(|window| appends.iter().map(move |one| longest(one, *window)));
    each.map(|gap| gap as f64).collect()
}

fn longest(appends: &Appends, (from, to): (i64, i64)) -> i64 {
    let before = appends.partition_point(|(time, _)| *time <= from).saturating_sub(1);
    let reaching = appends[before..].windows(2).take_while(|pair| pair[0].0 < to);
    reaching.map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(0)
}

fn gaps_between(from: i64, to: i64, appends: &[Appends]) -> impl Iterator<Item = f64> {
    appends.iter().flat_map(move |one| {
        let within = one.iter().filter(move |(time, _)| (from..to).contains(time)).map(|(time, _)| *time);
        within.clone().zip(within.skip(1)).map(|(before, after)| (after - before) as f64)
    })
}

fn count(segment: &Segment, appends: &[Appends]) -> u64 {
    let within = |one: &&(i64, u64)| (segment.from..segment.to).contains(&one.0);
    appends.iter().flatten().filter(within).map(|(_, count)| count).sum()
}

/// A load for people.
fn told(load: &Load) -> String {
    let mut text = String::new();
    for one in &load.compared {
        text += &format!(
            "{} load, {:?} swaps\n  call, ms: {}\n  longest gap in a window, ms: {}\n  without swaps: {}\n  p99 {:+.0} ms; by round {}\n  all gaps, ms: {}\n  without swaps: {}\n  rate, of that without swaps: {}\n  messages a second without swaps: {}\n",
            load.load,
            one.kind,
            one.call_ms,
            one.gap_ms,
            one.gap_without_ms,
            one.p99_more_ms,
            one.p99_more_by_round_ms,
            one.all_gaps_ms,
            one.all_gaps_without_ms,
            one.rate_ratio,
            one.rate_without,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appends(times: &[i64]) -> Appends {
        times.iter().map(|time| (*time, 1)).collect()
    }

    #[test]
    fn a_gap_counts_in_each_window_that_it_reaches_into() {
        let one = appends(&[0, 10, 50, 55, 60]);
        for (window, gap) in [((0, 5), 10), ((12, 14), 40), ((5, 12), 40), ((45, 49), 40), ((50, 60), 5), ((70, 80), 0)]
        {
            assert_eq!(longest(&one, window), gap, "{window:?}");
        }
    }

    #[test]
    fn swaps_are_set_beside_the_same_windows_of_the_round_without() {
        let segment = |kind, from, windows: &[(i64, i64)]| Segment {
            round: 0,
            kind,
            from,
            to: from + 100,
            windows: windows.to_vec(),
        };
        let segments = [segment(Kind::None, 0, &[]), segment(Kind::Warm, 200, &[(220, 230)])];
        // Without: 4 ms at the window's place, 60 ms behind it. With: 9 ms.
        let one = appends(&[0, 4, 18, 22, 26, 30, 34, 40, 100, 200, 210, 219, 228, 231, 235]);
        let compared = compare(Kind::Warm, &segments, &[one]);
        assert_eq!((compared.gap_ms.max, compared.gap_without_ms.max, compared.p99_more_ms), (9.0, 4.0, 5.0));
        assert_eq!(compared.rate_ratio.median, 6.0 / 8.0);
    }
}
