//! The two programs that are measured: started in the same way, ended in their own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Arm, BYTES, PARTITIONS, Peer};
use crate::eye::{guard, unguard};
use crate::mill::{self, Mill, guest};
use crate::signal::wait;

/// What a program is to do.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// With each message.
    pub arm: Arm,
    /// The broker.
    pub bootstrap: &'a str,
    /// The topic to read.
    pub input: &'a str,
    /// The group, which is new.
    pub group: &'a str,
    /// The topic to write, which is empty.
    pub output: Option<&'a str>,
    /// In the input.
    pub messages: u64,
}

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub enum Program {
    /// `native consume|map`.
    Native(Native),
    /// `wasmill run`.
    Wasmill(Mill),
}

/// The native loop's process.
#[derive(Debug)]
pub struct Native(Child);

impl Program {
    /// Starts it and does not wait.
    ///
    /// # Errors
    /// It was not built.
    pub fn start(peer: &Peer, work: &Work<'_>) -> Result<Self> {
        match peer {
            Peer::Native => Native::start(work).map(Self::Native),
            Peer::Wasmill => Mill::spawn(&mill(work)?).map(Self::Wasmill),
            Peer::Other(binary) => {
                let options = mill::Options { binary: Some(binary.clone()), ..mill(work)? };
                Mill::spawn(&options).map(Self::Wasmill)
            }
        }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Native(native) => native.pid(),
            Self::Wasmill(mill) => mill.pid(),
        }
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// It has; for wasmill the message has the end of its log.
    pub fn check_running(&mut self) -> Result<()> {
        match self {
            Self::Native(native) => match native.0.try_wait()? {
                Some(status) => bail!("it ended with {status}"),
                None => Ok(()),
            },
            Self::Wasmill(mill) => {
                ensure!(mill.is_running(), "it ended\n{}", mill.log());
                Ok(())
            }
        }
    }

    /// Ends it in order. What the native loop counted must be what there was.
    ///
    /// # Errors
    /// It does not end, ends with an error, or counted something else.
    pub fn end(self, work: &Work<'_>) -> Result<()> {
        match self {
            Self::Native(native) => native.end(work),
            Self::Wasmill(mut mill) => {
                let status = mill.stop()?;
                ensure!(status.success(), "it ended with {status}\n{}", mill.log());
                Ok(())
            }
        }
    }
}

impl Native {
    fn start(work: &Work<'_>) -> Result<Self> {
        let mut command = native_job(work.arm.name(), work.bootstrap, work.input, work.messages)?;
        command.arg(format!("group={}", work.group)).arg(format!("partitions={PARTITIONS}"));
        if let Some(output) = work.output {
            command.arg(format!("output={output}"));
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let native = Self(child);
        guard(native.0.id())?;
        Ok(native)
    }

    fn end(mut self, work: &Work<'_>) -> Result<()> {
        let mut line = String::new();
        let output = self.0.stdout.take().context("it has no standard output")?;
        BufReader::new(output).read_line(&mut line)?;
        let counts: Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
        let produced = if work.output.is_some() { work.messages } else { 0 };
        let right = counts["consumed"] == work.messages && counts["produced"] == produced;
        ensure!(right, "of {} messages it counted {line}", work.messages);
        // The end of its input is its sign to leave.
        drop(self.0.stdin.take());
        let status = wait(&mut self.0, Duration::from_secs(60))?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Native {
    /// `native burn`: takes that many percent of one CPU until it is dropped.
    ///
    /// # Errors
    /// It was not built.
    pub fn burn(percent: u64) -> Result<Self> {
        let mut command = native("burn")?;
        // Its standard input is this process's end of a pipe, so it also ends with this process.
        let child = command.arg(format!("percent={percent}")).stdin(Stdio::piped()).spawn()?;
        Ok(Self(child))
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
        unguard(self.0.id());
    }
}

/// Writes the input. `more` are more of the native program's arguments.
///
/// # Errors
/// The native program was not built, or the broker does not take it.
pub fn fill(bootstrap: &str, topic: &str, messages: u64, more: &[&str]) -> Result<()> {
    let mut command = native_job("fill", bootstrap, topic, messages)?;
    let status = command.arg(format!("bytes={BYTES}")).args(more).status()?;
    ensure!(status.success(), "filling {topic} ended with {status}");
    Ok(())
}

fn native_job(job: &str, bootstrap: &str, topic: &str, messages: u64) -> Result<Command> {
    let mut command = native(job)?;
    command.arg(format!("bootstrap={bootstrap}")).arg(format!("topic={topic}")).arg(format!("messages={messages}"));
    Ok(command)
}

fn native(job: &str) -> Result<Command> {
    let path = match std::env::var_os("WASMILL_NATIVE") {
        Some(path) => PathBuf::from(path),
        None => wasmill_setup::built::native(),
    };
    ensure!(path.is_file(), "{} is not there; hint: run `cargo xtask bench`, which builds it", path.display());
    let mut command = Command::new(path);
    command.arg(job).stdin(Stdio::null());
    Ok(command)
}

/// A pipeline with the required keys and nothing else.
fn mill(work: &Work<'_>) -> Result<mill::Options> {
    let Work { group, input, .. } = work;
    let handler = guest(work.arm.handler())?;
    let mut table = format!(
        "[pipelines.{group}]\ntopics = [\"{input}\"]\ngroup = \"{group}\"\nhandler = \"{handler}\"\non_exhausted = \"stop\"\n"
    );
    if let Some(output) = work.output {
        table.push_str(&format!("output = \"{output}\"\n"));
    }
    Ok(mill::Options::new(work.bootstrap, table))
}
