//! The processes under test, and what is done to them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::{Disturbance, Kind, Options};
use crate::broker::Broker;
use crate::eye::Eye;
use crate::mill::{self, Mill};
use crate::signal::Signal;

/// The topic that the numbered messages go into.
pub const INPUT: &str = "ledger-in";
/// The topic that is read afterwards.
pub const OUTPUT: &str = "ledger-out";
/// The group of all processes.
pub const GROUP: &str = "ledger";
/// How long to wait for messages to flow before a kill or a freeze: it should catch some in flight.
const FLOW: Duration = Duration::from_secs(12);

/// Exit code of a process that could not start: its answer, after 15 seconds, to a cluster that is away.
const COULD_NOT_START: i32 = 3;

/// One process, by its place in the fleet.
#[derive(Debug)]
struct Process {
    mill: Mill,
    /// Names its pipeline and so, to the coordinator, its client.
    name: String,
    /// When it was started.
    from: i64,
    /// Frozen until then; the index is that of its disturbance.
    frozen: Option<(Instant, usize)>,
}

/// The broker and all processes.
#[derive(Debug)]
pub struct Fleet<'a> {
    options: &'a Options,
    broker: &'a Broker,
    eye: &'a Eye,
    random: StdRng,
    running: Vec<Process>,
    /// Processes that are over: their logs are wanted if something is found.
    over: Vec<Mill>,
    /// New processes to start, and when.
    expected: Vec<Instant>,
    started: usize,
    /// What was done so far.
    pub disturbances: Vec<Disturbance>,
    /// Processes that ended, or answered an orderly stop, in a way they should not.
    pub complaints: Vec<String>,
}

impl<'a> Fleet<'a> {
    /// Starts the processes and waits until they are ready.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(options: &'a Options, broker: &'a Broker, eye: &'a Eye, random: StdRng) -> Result<Self> {
        let (running, over, expected) = (Vec::new(), Vec::new(), Vec::new());
        let (disturbances, complaints) = (Vec::new(), Vec::new());
        let mut fleet =
            Self { options, broker, eye, random, running, over, expected, started: 0, disturbances, complaints };
        for _ in 0..options.processes {
            fleet.spawn()?;
        }
        for process in &mut fleet.running {
            process.mill.wait_ready(Duration::from_secs(90))?;
        }
        Ok(fleet)
    }

    /// Does what is due: thaws the frozen, starts successors, notices processes that ended by themselves.
    ///
    /// # Errors
    /// A process cannot be started.
    pub fn tend(&mut self) -> Result<()> {
        let now = Instant::now();
        for process in &mut self.running {
            if let Some((_, index)) = process.frozen.filter(|(until, _)| *until <= now) {
                process.mill.signal(Signal::Cont)?;
                process.frozen = None;
                self.disturbances[index].to = milliseconds();
            }
        }
        let due = self.expected.iter().filter(|at| **at <= now).count();
        self.expected.retain(|at| *at > now);
        for _ in 0..due {
            self.spawn()?;
        }
        for index in (0..self.running.len()).rev() {
            if !self.running[index].mill.is_running() {
                let mut ended = self.running.remove(index);
                let status = ended.mill.wait(Duration::from_secs(1))?;
                if !(status.code() == Some(COULD_NOT_START) && self.broker_was_away_since(ended.from)) {
                    self.complaints.push(format!("process {} ended by itself with {status}", ended.name));
                }
                self.over.push(ended.mill);
                self.spawn()?;
            }
        }
        Ok(())
    }

    /// Disturbs something. `kill_wanted`: a kill, for there have been too few.
    ///
    /// # Errors
    /// The disturbance cannot be carried out, which says nothing about wasmill.
    pub fn disturb(&mut self, kill_wanted: bool) -> Result<()> {
        const CHOICES: [(Kind, u32); 7] = [
            (Kind::Kill, 40),
            (Kind::Freeze, 26),
            (Kind::Restart, 8),
            (Kind::Join, 5),
            (Kind::Leave, 5),
            (Kind::BrokerRestart, 4),
            (Kind::BrokerKill, 5),
        ];
        let choice = CHOICES.choose_weighted(&mut self.random, |(_, weight)| *weight)?.0;
        match if kill_wanted { Kind::Kill } else { choice } {
            Kind::Kill => self.kill(),
            Kind::Freeze => self.freeze(),
            Kind::Restart => self.stop(Kind::Restart),
            Kind::Join if self.running.len() > self.options.processes => self.stop(Kind::Leave),
            Kind::Join => self.spawn(),
            Kind::Leave if self.running.len() < self.options.processes => self.spawn(),
            Kind::Leave => self.stop(Kind::Leave),
            kind @ (Kind::BrokerRestart | Kind::BrokerKill) => self.outage(kind),
        }
    }

    fn kill(&mut self) -> Result<()> {
        let Some((index, partitions)) = self.pick_busy()? else { return Ok(()) };
        let mut process = self.running.remove(index);
        let from = milliseconds();
        process.mill.kill()?;
        self.note(Kind::Kill, &process.name, partitions, from);
        self.over.push(process.mill);
        self.expect_successor();
        Ok(())
    }

    fn freeze(&mut self) -> Result<()> {
        let Some((index, partitions)) = self.pick_busy()? else { return Ok(()) };
        // Mostly longer than the session timeout of 3 s: its partitions are somebody else's when it wakes with messages
        // of theirs in its hands.
        let length = Duration::from_millis(self.random.random_range(1500..7500));
        let name = self.running[index].name.clone();
        self.running[index].mill.signal(Signal::Stop)?;
        self.note(Kind::Freeze, &name, partitions, milliseconds());
        // Open until it is thawed.
        let noted = self.disturbances.len() - 1;
        self.disturbances[noted].to = i64::MAX;
        self.running[index].frozen = Some((Instant::now() + length, noted));
        Ok(())
    }

    /// A process of whose partitions messages come out just now, and what it holds.
    fn pick_busy(&mut self) -> Result<Option<(usize, Vec<i32>)>> {
        let end = Instant::now() + FLOW;
        loop {
            let holding = self.holding()?;
            let flowing = self.flowing()?;
            let flows = |name: &str| held(&holding, name).iter().any(|one| flowing.contains(one));
            // A group that stands still may be disturbed, too.
            let any = Instant::now() > end;
            if let Some(index) = self.pick(|process| any || flows(&process.name)) {
                return Ok(Some((index, held(&holding, &self.running[index].name))));
            }
            if any {
                return Ok(None);
            }
            self.tend()?;
        }
    }

    fn stop(&mut self, kind: Kind) -> Result<()> {
        // One that was started a moment ago does not listen to signals yet, and would be killed by this one.
        let Some(index) = self.pick(|process| !process.mill.log().is_empty()) else { return Ok(()) };
        let mut process = self.running.remove(index);
        let from = milliseconds();
        match process.mill.stop() {
            Ok(status) if status.success() => {}
            Ok(status) => self.complaints.push(format!("process {} ended with {status} after SIGTERM", process.name)),
            Err(error) => self.complaints.push(format!("process {} after SIGTERM: {error:#}", process.name)),
        }
        self.note(kind, &process.name, Vec::new(), from);
        self.over.push(process.mill);
        if kind == Kind::Restart {
            self.expect_successor();
        }
        Ok(())
    }

    /// The broker goes and comes back; now and then a process is killed meanwhile or just after.
    fn outage(&mut self, kind: Kind) -> Result<()> {
        let from = milliseconds();
        if kind == Kind::BrokerKill {
            self.broker.kill()?
        } else {
            self.broker.stop()?
        };
        // Longer than the session timeout, at times: the group must find together again.
        let length = self.random.random_range(0..6000);
        std::thread::sleep(Duration::from_millis(length));
        self.broker.start_again()?;
        self.disturbances.push(Disturbance { kind, process: None, partitions: Vec::new(), from, to: milliseconds() });
        if self.random.random_bool(0.5) {
            // Messages that waited for the broker are delivered now: the moment for completions that come late.
            std::thread::sleep(Duration::from_millis(self.random.random_range(0..2000)));
            self.kill()?;
        }
        Ok(())
    }

    /// Thaws everything, waits for the successors and for the group to commit all of it, or for time to be up.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn drain(&mut self, given: &[i64], timeout: Duration) -> Result<std::collections::BTreeMap<i32, i64>> {
        let end = Instant::now() + timeout;
        for process in &mut self.running {
            process.frozen = process.frozen.map(|(_, index)| (Instant::now(), index));
        }
        loop {
            self.tend()?;
            let committed = self.eye.committed_offsets(GROUP, INPUT)?;
            let done =
                (0..).zip(given).all(|(partition, given)| committed.get(&partition).copied().unwrap_or(0) >= *given);
            if done || Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        while !self.running.is_empty() {
            // One that does not listen to signals yet will in a moment.
            std::thread::sleep(Duration::from_millis(10));
            self.stop(Kind::Leave)?;
        }
        self.eye.committed_offsets(GROUP, INPUT)
    }

    /// Keeps the logs of all processes, and says where.
    pub fn keep(&mut self) -> Option<std::path::PathBuf> {
        self.over.iter_mut().for_each(Mill::keep);
        self.over.first().and_then(|mill| mill.folder().parent()).map(std::path::Path::to_path_buf)
    }

    /// True if the group has processes to kill.
    pub fn is_whole(&self) -> bool {
        self.running.len() >= 2 && self.expected.is_empty()
    }

    fn broker_was_away_since(&self, from: i64) -> bool {
        let away = |one: &Disturbance| matches!(one.kind, Kind::BrokerKill | Kind::BrokerRestart) && one.to >= from;
        self.disturbances.iter().any(away)
    }

    fn spawn(&mut self) -> Result<()> {
        self.started += 1;
        let from = milliseconds();
        let name = name(self.started);
        let mut options = mill::Options::new(&self.broker.bootstrap(), pipeline(&name, self.started, self.options)?);
        if let Some(mutant) = &self.options.mutant {
            options = options.env("WASMILL_MUTANT", mutant);
        }
        let mill = Mill::spawn(&options)?;
        self.note(Kind::Join, &name, Vec::new(), from);
        self.running.push(Process { mill, name, from, frozen: None });
        Ok(())
    }

    fn expect_successor(&mut self) {
        let pause = Duration::from_millis(self.random.random_range(0..1500));
        self.expected.push(Instant::now() + pause);
    }

    fn pick(&mut self, wanted: impl Fn(&Process) -> bool) -> Option<usize> {
        let able = |process: &Process| process.frozen.is_none() && wanted(process);
        let able: Vec<_> = (0..self.running.len()).filter(|index| able(&self.running[*index])).collect();
        able.choose(&mut self.random).copied()
    }

    /// The client names of the members, and what they hold.
    fn holding(&self) -> Result<Vec<(String, Vec<i32>)>> {
        let members = self.eye.group(GROUP)?.members.into_iter();
        Ok(members
            .map(|one| (one.client, one.partitions.into_iter().map(|(_, partition)| partition).collect()))
            .collect())
    }

    /// The partitions of which a message came out just now.
    fn flowing(&self) -> Result<Vec<i32>> {
        let before = self.eye.end_offsets(OUTPUT)?;
        std::thread::sleep(Duration::from_millis(20));
        let now = self.eye.end_offsets(OUTPUT)?;
        Ok(now.into_iter().filter(|(partition, end)| before.get(partition) != Some(end)).map(|(one, _)| one).collect())
    }

    fn note(&mut self, kind: Kind, name: &str, partitions: Vec<i32>, from: i64) {
        let process = name.trim_start_matches('p').split('-').next().and_then(|number| number.parse().ok());
        self.disturbances.push(Disturbance { kind, process, partitions, from, to: milliseconds() });
    }
}

/// What the process of that name holds.
fn held(holding: &[(String, Vec<i32>)], name: &str) -> Vec<i32> {
    holding.iter().filter(|(client, _)| client.contains(name)).flat_map(|(_, partitions)| partitions.clone()).collect()
}

/// The pipeline of the process, which names its client: no such name is part of another.
fn name(number: usize) -> String {
    format!("p{number}-ledger")
}

/// The time as the broker has it: both run on this machine.
fn milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

fn pipeline(name: &str, number: usize, options: &Options) -> Result<String> {
    if options.seed > i64::MAX as u64 {
        bail!("the seed is too large");
    }
    // Says in each copy which process made it: what made a message come again is then no guess.
    // Hands back what is marked with `!` once, and forwards everything: what waits for a retry may not be forgotten.
    let handler = mill::guest("retry").context("the ledger's handler")?;
    // Both assignors are to be trusted: the seed decides.
    let assignor = if options.seed.is_multiple_of(2) { "range" } else { "cooperative-sticky" };
    // The linger keeps messages on their way for long: what is committed too early is then seen to be.
    Ok(format!(
        r#"
[pipelines.{name}]
topics = ["{INPUT}"]
group = "{GROUP}"
handler = "{handler}"
start = "earliest"
assignor = "{assignor}"
session_timeout = "3s"
heartbeat_interval = "500ms"
drain_timeout = "3s"
output = {{ topic = "{OUTPUT}", linger = "120ms" }}
on_exhausted = "stop"
config = {{ when = "value-prefix", prefix = "!", until_attempt = "2", by = "{number}" }}
[pipelines.{name}.commit]
min_interval = "150ms"
[pipelines.{name}.span]
messages = {span}
[pipelines.{name}.retry]
attempts = 100
backoff = "100ms"
"#,
        span = options.span_messages,
    ))
}
