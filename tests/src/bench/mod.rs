//! wasmill beside a native loop on librdkafka's batch calls, or beside another build of itself: `cargo xtask bench`.
//!
//! **What is compared.** Two *arms*: *consume* looks at every message and acknowledges it (handler `ack`), *map* sends each
//! value on in upper case (handler `upper`). Messages have 100 bytes and a key of eight, in four partitions of one Apache
//! Kafka on the same machine, which runs with the JVM flags of Kafka's own scripts. The native loop is `tests/bench`, one
//! process, one group member, with wasmill's client settings. wasmill is the release build with a configuration that has
//! nothing but the required keys, and so the default commit mode: manual, as the watermark moves. The native loop promises
//! the same and commits once a second.
//!
//! **The reference** is the native loop, or with `--beside` another binary of wasmill: the tree before a change. What follows
//! says native; it holds for that other binary too, which runs with the same configuration.
//!
//! **How.** A *round* is native, wasmill, native, each with a group and an output topic of its own; the topics are
//! deleted after the run. wasmill is set beside the mean of the two native runs of its round, so that a machine that
//! becomes slower or faster meanwhile weighs on both alike. The two native runs set beside each other are the *control*: what
//! the ratio shows when nothing differs. A bar is met if the median of the rounds' ratios meets it. Before the rounds each
//! program runs once without being counted: that warms the broker and wasmill's cache of compiled handlers.
//!
//! **The clock is the broker's.** It starts when the broker writes down that the member was given its partitions, and
//! stops when it writes down the commit with which every partition stands at its end. Both are read from
//! `__consumer_offsets` when the program has ended, in the same way for both: nothing has to be asked of a program, and
//! nothing is polled closely while it runs. So start, compilation and joining do not count, and neither does leaving; what lies
//! between the assignment and the first message does. wasmill does more there, and waits for its commit's minimum
//! interval at the end: some hundredths of a second that count against it.
//!
//! **CPU** is user and system time of the whole process, all threads, between those two moments: `/proc/PID/stat` is read
//! every 5 ms from outside. **Peak** is the process's highest resident set, its start included.
//!
//! **Counts.** After every run Kafka's own client says whether the group stands at the end of every partition and no commit
//! went past it, and whether the output topic has exactly as many messages as the input; the first thousand are looked at.
//! A wrong count ends the benchmark with an error. A ratio never does: machines differ, and a loaded one decides nothing.
//!
//! [`isolation`] measures something else in the same way: what a handler that misbehaves costs the other partitions.
//! [`languages`] measures what a message costs in each language's handler, without Kafka.

pub mod clock;
pub mod isolation;
pub mod languages;
pub mod program;
pub mod summary;
pub mod table;
pub mod usage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::broker::{self, Broker};
use crate::eye::{Eye, Offsets};
use crate::shared::unique;
use clock::Clock;
use program::{Program, Work};
use summary::{ArmReport, Bars, Report, Round, Run};
use usage::Usage;

/// Bytes of a value.
pub const BYTES: usize = 100;
/// Of every topic.
pub const PARTITIONS: u32 = 4;
/// A run that takes longer than this stands still.
const STUCK: Duration = Duration::from_secs(300);
/// How often Kafka is asked whether all is committed. Only the end of the run depends on it, not what is measured.
const ASK: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds that count.
    pub rounds: usize,
    /// Messages of a run of *consume*. *map* has half as many: each takes it about twice as long.
    pub messages: u64,
    /// Another build of wasmill, to be the reference in place of the native loop.
    pub beside: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 5, messages: 8_000_000, beside: None }
    }
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Looked at and acknowledged.
    Consume,
    /// Sent on in upper case.
    Map,
}

impl Arm {
    /// Its name, and that of the native job.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Map => "map",
        }
    }

    /// The handler of `tests/guests` that does it.
    pub fn handler(self) -> &'static str {
        match self {
            Self::Consume => "ack",
            Self::Map => "upper",
        }
    }

    fn messages(self, options: &Options) -> u64 {
        match self {
            Self::Consume => options.messages,
            Self::Map => options.messages / 2,
        }
    }
}

/// Who does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The loop of `tests/bench`.
    Native,
    /// The release build of wasmill.
    Wasmill,
    /// Another build of wasmill.
    Other(PathBuf),
}

impl Peer {
    fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wasmill => "wasmill",
            Self::Other(_) => "other",
        }
    }
}

/// Runs both arms. `say` hears about the progress.
///
/// # Errors
/// Something could not be run, or a count was wrong.
pub fn run(options: &Options, say: &dyn Fn(&str)) -> Result<Report> {
    ensure!(options.rounds > 0, "0 rounds measure nothing; hint: 5 or more");
    ensure!(options.messages >= 10_000, "{} messages are over before they are measured", options.messages);
    if let Some(binary) = &options.beside {
        ensure!(binary.is_file(), "{} is not a file; hint: build the other tree with --release", binary.display());
    }
    let broker = Broker::start(&broker::Options { heap_megabytes: 1024, full_speed: true, ..Default::default() })?;
    let arms = [Arm::Consume, Arm::Map].map(|arm| Bench::new(arm, options, &broker)?.rounds(options.rounds, say));
    let arms = arms.into_iter().collect::<Result<_>>()?;
    let reference = reference(options).name();
    Ok(Report { value_bytes: BYTES, partitions: PARTITIONS, rounds: options.rounds, reference, arms })
}

fn reference(options: &Options) -> Peer {
    options.beside.clone().map_or(Peer::Native, Peer::Other)
}

/// An arm with its input topic.
struct Bench {
    arm: Arm,
    reference: Peer,
    messages: u64,
    bootstrap: String,
    eye: Eye,
    input: String,
    ends: Offsets,
}

impl Bench {
    fn new(arm: Arm, options: &Options, broker: &Broker) -> Result<Self> {
        let (bootstrap, eye) = (broker.bootstrap(), broker.eye()?);
        let (input, messages) = (format!("{}-in", arm.name()), arm.messages(options));
        eye.create_topic(&input, PARTITIONS, &[])?;
        program::fill(&bootstrap, &input, messages, &[&format!("partitions={PARTITIONS}")])?;
        let ends = eye.end_offsets(&input)?;
        let filled: i64 = ends.values().sum();
        ensure!(filled == messages as i64, "the input has {filled} messages, {messages} were written");
        Ok(Self { arm, reference: reference(options), messages, bootstrap, eye, input, ends })
    }

    fn rounds(&self, rounds: usize, say: &dyn Fn(&str)) -> Result<ArmReport> {
        let run = |peer: &Peer, when: &str| -> Result<Run> {
            let run = self.run(peer).with_context(|| format!("{} by {} ({when})", self.arm.name(), peer.name()))?;
            let (rate, cpu) = (run.rate() / 1000.0, run.cpu_micros());
            let (arm, peer) = (self.arm.name(), peer.name());
            say(&format!("{when:>9}  {arm:<8} {peer:<8} {rate:>7.0} k/s  {cpu:>6.3} µs CPU  {:>5.0} MB", run.peak_mb));
            Ok(run)
        };
        for peer in [&self.reference, &Peer::Wasmill] {
            run(peer, "warm-up")?;
        }
        let round = |number: usize| -> Result<Round> {
            let when = format!("round {number}");
            Ok(Round {
                before: run(&self.reference, &when)?,
                wasmill: run(&Peer::Wasmill, &when)?,
                after: run(&self.reference, &when)?,
            })
        };
        let rounds = (1..=rounds).map(round).collect::<Result<Vec<_>>>()?;
        self.eye.delete_topic(&self.input)?;
        Ok(ArmReport::new(self.arm.name(), self.messages, Bars::beside(&self.reference), rounds))
    }

    /// One run of one program, from its start to its counts.
    fn run(&self, peer: &Peer) -> Result<Run> {
        let group = unique(&format!("{}-{}", self.arm.name(), peer.name()));
        let output = (self.arm == Arm::Map).then(|| format!("{group}-out"));
        if let Some(output) = &output {
            self.eye.create_topic(output, PARTITIONS, &[])?;
        }
        let work = Work {
            arm: self.arm,
            bootstrap: &self.bootstrap,
            input: &self.input,
            group: &group,
            output: output.as_deref(),
            messages: self.messages,
        };
        let mut program = Program::start(peer, &work)?;
        let usage = Usage::watch(program.pid());
        self.wait(&group, &mut program)?;
        let usage = usage.end()?;
        program.end(&work)?;

        let clock = Clock::read(&self.eye, &group, &self.input, &self.ends)?;
        if let Some(output) = &output {
            self.check_output(output)?;
            self.eye.delete_topic(output)?;
        }
        let cpu_seconds = usage.cpu_between(clock.start, clock.end)?;
        Ok(Run { messages: self.messages, seconds: clock.seconds(), cpu_seconds, peak_mb: usage.peak_mb })
    }

    fn wait(&self, group: &str, program: &mut Program) -> Result<()> {
        let deadline = Instant::now() + STUCK;
        while self.eye.committed_offsets(group, &self.input)? != self.ends {
            program.check_running()?;
            if Instant::now() > deadline {
                let seen = self.eye.committed_offsets(group, &self.input)?;
                bail!("not all was committed within {STUCK:?}: {seen:?} of {:?}", self.ends);
            }
            std::thread::sleep(ASK);
        }
        Ok(())
    }

    fn check_output(&self, output: &str) -> Result<()> {
        let count: i64 = self.eye.end_offsets(output)?.values().sum();
        ensure!(count == self.messages as i64, "the output has {count} messages, {} were read", self.messages);
        for message in self.eye.read_count(output, 1000, Duration::from_secs(30))? {
            let text = message.text();
            let right = text.len() == BYTES && text.starts_with("MESSAGE ") && text == text.to_ascii_uppercase();
            ensure!(right, "the output has {text:?}, which is no value of the input in upper case");
        }
        Ok(())
    }
}
