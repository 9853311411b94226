//! Two processes with three members of one group, swapped at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::PARTITIONS;
use crate::eye::Eye;
use crate::mill::{Mill, Options};
use crate::scratch::Scratch;
use crate::versions::Version;

/// Members of each process.
const MEMBERS: [usize; 2] = [2, 1];
/// How long until the group has found together.
const TOGETHER: Duration = Duration::from_secs(60);

/// What a process answers to a swap, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    outcome: String,
    /// The version that served before.
    pub from: Named,
    partitions: Vec<Boundary>,
    lanes: Vec<Pause>,
    waiting: Vec<usize>,
    /// Milliseconds at the gate.
    pub gate_ms: u64,
    /// Milliseconds until every lane had passed on.
    pub handover_ms: u64,
}

/// A version, as an answer has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    /// Of its component.
    pub digest: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Boundary {
    partition: String,
    first_offset: i64,
}

#[derive(Clone, Debug, Deserialize)]
struct Pause {
    pause_us: u64,
}

impl Answer {
    /// The first offset of each partition.
    ///
    /// # Errors
    /// A partition has no number.
    pub fn firsts(&self) -> Result<BTreeMap<i32, i64>> {
        let number = |name: &str| name.rsplit_once('/').and_then(|(_, number)| number.parse().ok());
        let all = self.partitions.iter();
        all.map(|one| Ok((number(&one.partition).context("topic/number")?, one.first_offset))).collect()
    }

    /// How long each lane stood still, in microseconds.
    pub fn pauses(&self) -> impl Iterator<Item = f64> {
        self.lanes.iter().map(|lane| lane.pause_us as f64)
    }
}

/// The processes.
#[derive(Debug)]
pub struct Fleet {
    pipeline: String,
    mills: Vec<Mill>,
    // Their cache of compiled handlers: nothing is compiled in it when they start.
    _cache: Scratch,
}

impl Fleet {
    /// Starts the processes and waits until each member has its part of the input. Pipeline and group have the name.
    ///
    /// # Errors
    /// One does not start, or the group does not find together.
    pub fn start(
        bootstrap: &str,
        eye: &Eye,
        name: &str,
        (input, output): (&str, &str),
        first: &Version,
    ) -> Result<Self> {
        let cache = Scratch::new("cache")?;
        let mut mills = Vec::new();
        for members in MEMBERS {
            // A session that outlasts whatever else the machine does: a rebalance would be a disturbance of its own.
            // Versions are watched as by default: none of them may be taken for a worse one, however busy the machine is.
            let pipeline = format!(
                r#"
[pipelines.{name}]
topics = ["{input}"]
group = "{name}"
handler = "{handler}"
members = {members}
output.topic = "{output}"
on_exhausted = "stop"
session_timeout = "45s"
"#,
                handler = first.name(),
            );
            let options = Options::new(bootstrap, pipeline).env("WASMILL_CACHE", &cache.path().display().to_string());
            mills.push(Mill::spawn(&options)?);
        }
        for mill in &mut mills {
            mill.wait_ready(TOGETHER)?;
        }
        let fleet = Self { pipeline: name.to_owned(), mills, _cache: cache };
        eye.wait_members(name, MEMBERS.iter().sum(), TOGETHER)?;
        fleet.wait_held()?;
        Ok(fleet)
    }

    /// Waits until the processes hold all partitions.
    fn wait_held(&self) -> Result<()> {
        let end = std::time::Instant::now() + TOGETHER;
        loop {
            let held = self
                .mills
                .iter()
                .map(|mill| Ok(mill.status()?["pipelines"][0]["partitions"].as_array().map_or(0, Vec::len)));
            let held = held.sum::<Result<usize>>()?;
            if held == PARTITIONS as usize {
                return Ok(());
            }
            ensure!(std::time::Instant::now() < end, "{held} of {PARTITIONS} partitions are held");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Swaps all processes at the same time, and waits for all answers. One that did not swap is an error.
    ///
    /// # Errors
    /// A process refused, or left a lane behind.
    pub fn swap(&self, version: &Version) -> Result<Vec<Answer>> {
        let bytes = std::fs::read(&version.path)?;
        let path = format!("/api/v1/pipelines/{}/swap?source={}", self.pipeline, version.stamp());
        let answers: Vec<Result<Answer>> = std::thread::scope(|scope| {
            let asks = self.mills.iter().map(|mill| scope.spawn(|| ask(mill, &path, &bytes)));
            let asks: Vec<_> = asks.collect();
            asks.into_iter().map(|ask| ask.join().unwrap_or_else(|_| bail!("the thread that asks panicked"))).collect()
        });
        answers.into_iter().collect()
    }

    /// Why versions were taken back by themselves, if any were.
    ///
    /// # Errors
    /// A process does not answer.
    pub fn taken_back(&self) -> Result<Vec<String>> {
        let mut reasons = Vec::new();
        for (process, mill) in self.mills.iter().enumerate() {
            let (_, text) = mill.get(&format!("/api/v1/pipelines/{}/history", self.pipeline))?;
            let history: serde_json::Value = serde_json::from_str(&text)?;
            let backs = history["history"].as_array().into_iter().flatten().filter(|one| one["what"] == "rollback");
            reasons.extend(backs.map(|one| format!("process {process} at {}: {}", one["at"], one["reason"])));
        }
        Ok(reasons)
    }

    /// Megabytes of memory that each process holds.
    pub fn resident_mb(&self) -> Vec<f64> {
        self.mills.iter().map(|mill| resident_mb(mill.pid())).collect()
    }

    /// Stops all processes in order.
    ///
    /// # Errors
    /// One did not end well.
    pub fn stop(mut self) -> Result<()> {
        for mill in &mut self.mills {
            let status = mill.stop()?;
            ensure!(status.success(), "a process ended with {status}:\n{}", mill.log());
        }
        Ok(())
    }
}

fn ask(mill: &Mill, path: &str, bytes: &[u8]) -> Result<Answer> {
    let (code, answer) = mill.post(path, bytes)?;
    ensure!(code == 200, "a swap was answered with {code}: {answer}");
    let answer: Answer = serde_json::from_value(answer)?;
    ensure!(answer.outcome == "swapped" && answer.waiting.is_empty(), "not a whole swap: {answer:?}");
    Ok(answer)
}

/// Megabytes of memory that a process holds; 0 if it is gone.
pub fn resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
