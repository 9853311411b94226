//! What a handler that misbehaves in one partition costs the others: `cargo xtask bench isolation`.
//!
//! **What is compared.** One pipeline reads three *calm* partitions and one more of another topic, and sends everything
//! on. In a *hostile* run every second message of that one has the handler trap, spin, sleep, hoard, flood or lie; messages
//! that are given up become dead letters. In a *beside* run the one partition is empty, and a native program burns CPU
//! on one thread of its own: as much of it as the hostile partition's lane had in the last hostile run. What is compared is
//! how fast the calm partitions get to their end. So what counts is what wasmill does to them beyond having less CPU
//! left, such as locks, waits, and memory that is mapped and given back.
//!
//! **How.** A round is beside, hostile, beside, as in the throughput benchmark, with the same clock. Of the hostile lane
//! nothing but the CPU time of its thread is given to the burner: dead letters, which the broker and the producer's
//! threads have to deal with, count against wasmill.
//!
//! **Recovery.** Dead letters of the hostile partition carry the broker's time. Between two of them the lane handled at
//! least one message that did no harm. So the time between two is how long the lane was held up by one message at most, and
//! the limit for it is the time that the two calls concerned have: one batch, and then the message alone.
//!
//! **Counts.** The calm partitions are at their end by Kafka's word, and the hostile one is not: it was hostile throughout.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::clock::Clock;
use super::program::{Native, fill};
use super::summary::Spread;
use super::table::cell;
use super::usage::Usage;
use super::{BYTES, STUCK};
use crate::broker::{self, Broker};
use crate::case::Case;
use crate::cost::BROKER_TIME;
use crate::eye::{Eye, Offsets};
use crate::mill::{Mill, guest};

/// The pace must be at least this much of that beside the burner.
pub const PACE_BAR: f64 = 0.9;
/// Handlers of `tests/guests`, and what more they are told.
const BEHAVIOURS: [(&str, &str); 6] =
    [("trap", ""), ("spin", ""), ("sleep", ""), ("hoard", ""), ("flood", ""), ("lie", ", lie = \"value-overflow\"")];
const CALM_PARTITIONS: u32 = 3;
/// More than a lane can get through, at a call for each, while the calm partitions are read.
const HOSTILE_MESSAGES: u64 = 2_000_000;
/// `limits.time` and `limits.time_cap`.
const LIMITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// Short, since the name of a lane's thread begins with it and Linux keeps 15 bytes.
const PIPELINE: &str = "p";

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds that count.
    pub rounds: usize,
    /// Messages in the calm partitions together.
    pub messages: u64,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Messages of the calm partitions.
    pub messages: u64,
    /// Rounds of each behaviour.
    pub rounds: usize,
    /// The longest that a message may hold up its lane, in milliseconds.
    pub deadline_ms: u64,
    /// One after the other.
    pub behaviours: Vec<Behaviour>,
}

/// One way to misbehave.
#[derive(Clone, Debug, Serialize)]
pub struct Behaviour {
    /// The handler's name.
    pub name: &'static str,
    /// Messages a second of the calm partitions, beside the handler.
    pub hostile_rate: Spread,
    /// The same beside the burner, two runs a round.
    pub beside_rate: Spread,
    /// The first by the mean of the second, round by round.
    pub pace: Spread,
    /// The second run beside the burner by the first.
    pub control: Spread,
    /// Of one CPU: what the hostile lane's thread had.
    pub lane_share: Spread,
    /// Of one CPU: what the burner had.
    pub burner_share: Spread,
    /// Messages given up in a run.
    pub given_up: Spread,
    /// Milliseconds from one dead letter to the next, the longest of each run.
    pub held_up_ms: Spread,
    /// Whether the median of `pace` is within [`PACE_BAR`].
    pub pace_met: bool,
    /// Whether the lane was never held up for longer than the deadline.
    pub recovery_met: bool,
}

struct Hostile {
    rate: f64,
    share: f64,
    given_up: usize,
    held_up_ms: f64,
}

struct Beside {
    rate: f64,
    share: f64,
}

/// Runs every behaviour. `say` hears about the progress.
///
/// # Errors
/// Something could not be run, or a count was wrong.
pub fn run(options: &Options, say: &dyn Fn(&str)) -> Result<Report> {
    ensure!(options.rounds > 0, "0 rounds measure nothing; hint: 5 or more");
    ensure!(options.messages >= 10_000, "{} messages are over before they are measured", options.messages);
    let broker = Broker::start(&broker::Options { heap_megabytes: 1024, full_speed: true, ..Default::default() })?;
    let bench = Bench::new(options, &broker)?;
    let behaviours = BEHAVIOURS.iter().map(|behaviour| bench.rounds(options.rounds, *behaviour, say));
    let behaviours = behaviours.collect::<Result<_>>()?;
    Ok(Report { messages: options.messages, rounds: options.rounds, deadline_ms: deadline_ms(), behaviours })
}

fn deadline_ms() -> u64 {
    LIMITS.iter().sum::<Duration>().as_millis() as u64
}

struct Bench {
    bootstrap: String,
    eye: Eye,
    messages: u64,
    ends: Offsets,
}

const CALM: &str = "calm";
const HOSTILE: &str = "hostile";
const EMPTY: &str = "empty";

impl Bench {
    fn new(options: &Options, broker: &Broker) -> Result<Self> {
        let (bootstrap, eye) = (broker.bootstrap(), broker.eye()?);
        for (topic, partitions) in [(CALM, CALM_PARTITIONS), (HOSTILE, 1), (EMPTY, 1)] {
            eye.create_topic(topic, partitions, &[])?;
        }
        fill(&bootstrap, CALM, options.messages, &[&format!("partitions={CALM_PARTITIONS}")])?;
        fill(&bootstrap, HOSTILE, HOSTILE_MESSAGES, &["partitions=1", "bad=2"])?;
        let ends = eye.end_offsets(CALM)?;
        let filled: i64 = ends.values().sum();
        ensure!(
            filled == options.messages as i64,
            "the input has {filled} messages, {} were written",
            options.messages
        );
        Ok(Self { bootstrap, eye, messages: options.messages, ends })
    }

    fn rounds(&self, rounds: usize, (name, config): (&'static str, &str), say: &dyn Fn(&str)) -> Result<Behaviour> {
        let hostile = |when: &str| -> Result<Hostile> {
            let run = self.hostile(name, config).with_context(|| format!("{name} ({when})"))?;
            let Hostile { rate, share, given_up, held_up_ms } = run;
            let rate = rate / 1000.0;
            say(&format!(
                "{when:>9}  {name:<6} hostile {rate:>6.0} k/s  {share:>5.2} CPU  {given_up:>6} given up, at most {held_up_ms:.0} ms each"
            ));
            Ok(run)
        };
        let beside = |when: &str, share: f64| -> Result<Beside> {
            let run = self.beside(name, config, share).with_context(|| format!("{name}, beside ({when})"))?;
            say(&format!("{when:>9}  {name:<6} beside  {:>6.0} k/s  {:>5.2} CPU", run.rate / 1000.0, run.share));
            Ok(run)
        };
        let mut share = hostile("warm-up")?.share;
        let mut runs = Vec::new();
        for number in 1..=rounds {
            let when = format!("round {number}");
            let before = beside(&when, share)?;
            let run = hostile(&when)?;
            share = run.share;
            runs.push((before, run, beside(&when, share)?));
        }
        Ok(Behaviour::new(name, &runs))
    }

    fn hostile(&self, name: &str, config: &str) -> Result<Hostile> {
        let run = Pipeline::start(self, name, config, HOSTILE)?;
        let usage = Usage::watch_thread(run.mill.pid(), &run.lane()?)?;
        run.wait(self)?;
        let seen = usage.end()?;
        let (clock, case) = run.end(self)?;
        let left = self.eye.committed_offsets(&case.name, HOSTILE)?;
        ensure!(left[&0] < HOSTILE_MESSAGES as i64, "the hostile partition was at its end; hint: fewer --messages");
        let dead = case.dead_letters(&self.eye)?;
        let times: Vec<i64> = dead.iter().filter_map(|letter| letter.timestamp).collect();
        let held_up = times.windows(2).map(|pair| pair[1] - pair[0]).max().context("nothing misbehaved twice")?;
        self.delete(&case)?;
        Ok(Hostile {
            rate: self.messages as f64 / clock.seconds(),
            share: seen.share_between(clock.start, clock.end)?,
            given_up: dead.len(),
            held_up_ms: held_up as f64,
        })
    }

    fn beside(&self, name: &str, config: &str, share: f64) -> Result<Beside> {
        let burner = Native::burn((share * 100.0).round() as u64)?;
        let usage = Usage::watch(burner.pid());
        let run = Pipeline::start(self, name, config, EMPTY)?;
        run.wait(self)?;
        let seen = usage.end()?;
        let (clock, case) = run.end(self)?;
        self.delete(&case)?;
        Ok(Beside { rate: self.messages as f64 / clock.seconds(), share: seen.share_between(clock.start, clock.end)? })
    }

    fn delete(&self, case: &Case) -> Result<()> {
        self.eye.delete_topic(&case.output)?;
        self.eye.delete_topic(&case.dead)
    }
}

/// A pipeline that runs.
struct Pipeline {
    mill: Mill,
    case: Case,
}

impl Pipeline {
    fn start(bench: &Bench, handler: &str, config: &str, beside: &str) -> Result<Self> {
        let Bench { eye, bootstrap, .. } = bench;
        let case = Case::named(handler);
        eye.create_topic(&case.output, CALM_PARTITIONS, &[])?;
        eye.create_topic(&case.dead, 1, &[BROKER_TIME])?;
        let (handler, [time, cap]) = (guest(handler)?, LIMITS.map(|limit| limit.as_millis()));
        let table = format!(
            "[pipelines.{PIPELINE}]\ntopics = [\"{CALM}\", \"{beside}\"]\ngroup = \"{}\"\nhandler = \"{handler}\"\n\
             output = \"{}\"\ndead_letter = \"{}\"\nbreaker = false\nretry.attempts = 1\n\
             limits.time = \"{time}ms\"\nlimits.time_cap = \"{cap}ms\"\ngrant = [\"clock\"]\nconfig = {{ {} }}\n",
            case.name,
            case.output,
            case.dead,
            config.strip_prefix(", ").unwrap_or("when = \"value-prefix\""),
        );
        Ok(Self { mill: Mill::spawn(&crate::mill::Options::new(bootstrap, table))?, case })
    }

    /// The name of the thread that serves the hostile partition.
    fn lane(&self) -> Result<String> {
        let served = |status: &serde_json::Value| {
            let partitions = status["pipelines"][0]["partitions"].as_array()?;
            partitions.iter().find(|one| one["topic"] == HOSTILE)?["lane"].as_u64()
        };
        let status = self.mill.wait_status("a lane", STUCK, |status| served(status).is_some())?;
        Ok(format!("{PIPELINE}-lane-{}", served(&status).context("no lane")?))
    }

    /// Waits until the calm partitions are at their end.
    fn wait(&self, bench: &Bench) -> Result<()> {
        let begun = Instant::now();
        bench
            .eye
            .wait_committed(&self.case.name, CALM, &bench.ends, STUCK)
            .with_context(|| format!("after {:?}; its log:\n{}", begun.elapsed(), self.mill.log()))
    }

    fn end(mut self, bench: &Bench) -> Result<(Clock, Case)> {
        let status = self.mill.stop()?;
        ensure!(status.success(), "it ended with {status}\n{}", self.mill.log());
        Ok((Clock::read(&bench.eye, &self.case.name, CALM, &bench.ends)?, self.case))
    }
}

impl Behaviour {
    fn new(name: &'static str, runs: &[(Beside, Hostile, Beside)]) -> Self {
        let spread = |of: &dyn Fn(&(Beside, Hostile, Beside)) -> f64| Spread::of(runs.iter().map(of));
        let both =
            |of: fn(&Beside) -> f64| Spread::of(runs.iter().flat_map(|(before, _, after)| [of(before), of(after)]));
        let pace = spread(&|(before, run, after)| 2.0 * run.rate / (before.rate + after.rate));
        let held_up_ms = spread(&|(_, run, _)| run.held_up_ms);
        Self {
            name,
            hostile_rate: spread(&|(_, run, _)| run.rate),
            beside_rate: both(|run| run.rate),
            pace,
            control: spread(&|(before, _, after)| after.rate / before.rate),
            lane_share: spread(&|(_, run, _)| run.share),
            burner_share: both(|run| run.share),
            given_up: spread(&|(_, run, _)| run.given_up as f64),
            held_up_ms,
            pace_met: pace.median >= PACE_BAR,
            recovery_met: held_up_ms.max <= deadline_ms() as f64,
        }
    }
}

/// The report for people.
pub fn text(report: &Report) -> String {
    let Report { messages, rounds, deadline_ms, behaviours } = report;
    let mut text = format!(
        "{messages} messages of {BYTES} B in {CALM_PARTITIONS} partitions beside one that misbehaves, {rounds} rounds \
         (min median max)\n{:7}{:>22}{:>18}{:>18}{:>18}{:>18}{:>20}{:>20}  bars\n",
        "", "thousand messages/s", "pace : burner", "control", "lane's CPU", "burner's CPU", "given up", "held up ms",
    );
    for one in behaviours {
        let thousands = one.hostile_rate.map(|rate| rate / 1e3);
        let bars = match (one.pace_met, one.recovery_met) {
            (true, true) => "met",
            (false, true) => "pace MISSED",
            (true, false) => "recovery MISSED",
            (false, false) => "both MISSED",
        };
        // A String takes everything.
        let _ = writeln!(
            text,
            "{:7}{:>22}{:>18}{:>18}{:>18}{:>18}{:>20}{:>20}  {bars}",
            one.name,
            cell(&thousands, 0),
            cell(&one.pace, 2),
            cell(&one.control, 2),
            cell(&one.lane_share, 2),
            cell(&one.burner_share, 2),
            cell(&one.given_up, 0),
            cell(&one.held_up_ms, 0),
        );
    }
    let _ = writeln!(
        text,
        "bars: a pace of at least {PACE_BAR:.2} by the median; never held up for longer than {deadline_ms} ms"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_set_beside_the_mean_of_the_runs_around_it_and_the_longest_delay_counts() {
        let beside = |rate| Beside { rate, share: 0.5 };
        let hostile = |rate, held_up_ms| Hostile { rate, share: 0.5, given_up: 3, held_up_ms };
        let late = deadline_ms() as f64 + 1.0;
        let runs = [
            (beside(100.0), hostile(90.0, 5.0), beside(100.0)),
            (beside(100.0), hostile(99.0, late), beside(98.0)),
            (beside(100.0), hostile(50.0, 5.0), beside(100.0)),
        ];
        let behaviour = Behaviour::new("spin", &runs);
        assert!((behaviour.pace.median - 0.9).abs() < 1e-9 && behaviour.pace_met, "{behaviour:?}");
        assert!((behaviour.pace.min - 0.5).abs() < 1e-9 && (behaviour.control.min - 0.98).abs() < 1e-9);
        assert!(!behaviour.recovery_met, "one message in one run held its lane up for too long");
        let Spread { min, median, max } = behaviour.hostile_rate;
        assert_eq!((min, median, max), (50.0, 90.0, 99.0));
    }
}
