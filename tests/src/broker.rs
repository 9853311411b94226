//! A real Apache Kafka: one node, broker and controller, on ports and in a folder of its own.
//!
//! The JVM ends with the test process: `tests/kafka/Broker.java` watches its standard input.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::{Mutex, MutexGuard};

use crate::eye::Eye;
use crate::ports;
use crate::scratch::{Scratch, tail};
use crate::signal::{Signal, send, wait};

/// How long a start may take on a machine that is busy with something else. Usually it is 4 s.
const START: Duration = Duration::from_secs(90);
/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(60);

/// What differs from one test's broker to another's.
#[derive(Clone, Debug)]
pub struct Options {
    /// Added to server.properties, replacing what stands there.
    pub properties: Vec<(String, String)>,
    /// The JVM's heap.
    pub heap_megabytes: u32,
    /// Compiled and collected as in production, for benchmarks: it takes longer to start.
    pub full_speed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { properties: Vec::new(), heap_megabytes: 512, full_speed: false }
    }
}

impl Options {
    /// With one more line of server.properties.
    #[must_use]
    pub fn property(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.push((name.into(), value.to_string()));
        self
    }
}

/// A broker. It is killed and its folder deleted when this is dropped.
#[derive(Debug)]
pub struct Broker {
    node: Mutex<Option<Child>>,
    port: u16,
    options: Options,
    folder: Scratch,
}

impl Broker {
    /// Formats and starts a broker and waits until it serves clients.
    ///
    /// # Errors
    /// Kafka cannot be installed or does not start; the end of its log is part of the message.
    pub fn start(options: &Options) -> Result<Self> {
        let folder = Scratch::new("broker")?;
        let (port, controller) = (ports::free()?, ports::free()?);
        write_properties(folder.path(), port, controller, options)?;
        let broker = Self { node: Mutex::new(None), port, options: options.clone(), folder };
        broker.start_again()?;
        Ok(broker)
    }

    /// `127.0.0.1:port`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The second opinion on this broker.
    ///
    /// # Errors
    /// See [`Eye::new`].
    pub fn eye(&self) -> Result<Eye> {
        Eye::new(&self.bootstrap())
    }

    /// Starts it on the same ports with the same data, and waits until it serves clients.
    ///
    /// # Errors
    /// It runs already, or does not start.
    pub fn start_again(&self) -> Result<()> {
        let mut node = self.node();
        if node.is_some() {
            bail!("the broker is running");
        }
        let kafka = wasmill_setup::kafka::install()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let Options { heap_megabytes, full_speed, .. } = self.options;
        let mut java = if full_speed { kafka.java_at_full_speed(heap_megabytes) } else { kafka.java(heap_megabytes) };
        java.arg("Broker").arg(self.folder.path().join("server.properties"));
        java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = java.spawn().context("cannot start java")?;
        let lines = BufReader::new(child.stdout.take().context("java has no standard output")?).lines();
        let (ready, is_ready) = channel();
        std::thread::spawn(move || {
            // Read on after `ready`: a closed pipe would fail whatever the broker prints later.
            for line in lines.map_while(Result::ok).filter(|line| line == "ready") {
                ready.send(line).ok();
            }
        });
        let answer = is_ready.recv_timeout(START);
        if let Err(error) = answer {
            child.kill().ok();
            child.wait().ok();
            let why = if error == RecvTimeoutError::Timeout { "was not ready in time" } else { "ended" };
            bail!("the broker {why}\n{}", tail(&self.log(), 40));
        }
        *node = Some(child);
        Ok(())
    }

    /// Stops it in order, as an administrator would.
    ///
    /// # Errors
    /// It is not running, or does not end in time.
    pub fn stop(&self) -> Result<ExitStatus> {
        self.end(Signal::Term)
    }

    /// Kills it.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.end(Signal::Kill)
    }

    /// Freezes it or lets it go on: a broker that is there and does not answer.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.node().as_mut().context("the broker is not running")?, signal)
    }

    /// What it logged, warnings and errors.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("broker.log")
    }

    fn end(&self, signal: Signal) -> Result<ExitStatus> {
        let mut node = self.node();
        let child = node.as_mut().context("the broker is not running")?;
        send(child, signal)?;
        let status = wait(child, STOP)?;
        *node = None;
        Ok(status)
    }

    fn node(&self) -> MutexGuard<'_, Option<Child>> {
        self.node.lock()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = self.node().as_mut() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("the end of the broker's log:\n{}", tail(&self.log(), 15));
        }
    }
}

fn write_properties(folder: &Path, port: u16, controller: u16, options: &Options) -> Result<()> {
    use std::io::Write;
    let listeners = format!("PLAINTEXT://127.0.0.1:{port}");
    let data = folder.join("data");
    let mut properties: Vec<(&str, String)> = vec![
        ("process.roles", "broker,controller".into()),
        ("node.id", "1".into()),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
        ("listeners", format!("{listeners},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", listeners),
        ("controller.listener.names", "CONTROLLER".into()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".into()),
        ("log.dirs", data.display().to_string()),
        ("offsets.topic.replication.factor", "1".into()),
        ("offsets.topic.num.partitions", "4".into()),
        ("transaction.state.log.replication.factor", "1".into()),
        ("transaction.state.log.num.partitions", "4".into()),
        ("transaction.state.log.min.isr", "1".into()),
        ("share.coordinator.state.topic.replication.factor", "1".into()),
        ("share.coordinator.state.topic.min.isr", "1".into()),
        // A test waits for what it asked for, not for members that may come.
        ("group.initial.rebalance.delay.ms", "0".into()),
        ("group.min.session.timeout.ms", "1000".into()),
        // wasmill does not rely on it, so it must not be there to rely on.
        ("auto.create.topics.enable", "false".into()),
        ("num.partitions", "1".into()),
        ("log.cleaner.dedupe.buffer.size", "4194304".into()),
        ("log.cleaner.backoff.ms", "500".into()),
    ];
    for (name, value) in &options.properties {
        properties.retain(|(other, _)| other != name);
        properties.push((name, value.clone()));
    }
    let mut file = File::create(folder.join("server.properties"))?;
    for (name, value) in properties {
        writeln!(file, "{name}={value}")?;
    }
    Ok(())
}
