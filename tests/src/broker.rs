//! A real Apache Kafka: one node on ports and in a folder of its own. It is broker and controller, or a node of a
//! [`Cluster`](crate::cluster::Cluster).
//!
//! The JVM ends with the test process: `tests/kafka/Broker.java` watches its standard input. `crate::company` has the
//! broker with ACLs, passwords, tokens and TLS.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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
    /// Listeners beside the plain one: name in capital letters, and protocol (`SSL`, `SASL_PLAINTEXT`, ...).
    pub listeners: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { properties: Vec::new(), heap_megabytes: 512, full_speed: false, listeners: Vec::new() }
    }
}

impl Options {
    /// With one more line of server.properties.
    #[must_use]
    pub fn property(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.push((name.into(), value.to_string()));
        self
    }

    /// With one more listener. [`Broker::address`] has its address.
    #[must_use]
    pub fn listener(mut self, name: &str, protocol: &str) -> Self {
        self.listeners.push((name.into(), protocol.into()));
        self
    }
}

/// A node's place in its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// `node.id`, from 1.
    pub(crate) id: u32,
    /// How many nodes the cluster has: so many replicas has a topic.
    pub(crate) nodes: usize,
    /// The port on which it is a controller; absent: it is a broker only.
    pub(crate) controller: Option<u16>,
    /// `ID@HOST:PORT` of every controller.
    pub(crate) voters: String,
    /// The id of the cluster; absent: a new one.
    pub(crate) cluster: Option<String>,
}

/// A broker. It is killed and its folder deleted when this is dropped.
#[derive(Debug)]
pub struct Broker {
    node: Mutex<Option<Child>>,
    port: u16,
    /// The ports of [`Options::listeners`].
    ports: Vec<u16>,
    options: Options,
    cluster: Option<String>,
    folder: Scratch,
}

impl Broker {
    /// Formats and starts a broker and waits until it serves clients.
    ///
    /// # Errors
    /// Kafka cannot be installed or does not start; the end of its log is part of the message.
    pub fn start(options: &Options) -> Result<Self> {
        let controller = ports::free()?;
        let voters = format!("1@127.0.0.1:{controller}");
        let broker =
            Self::format(options, &Seat { id: 1, nodes: 1, controller: Some(controller), voters, cluster: None })?;
        broker.start_again()?;
        Ok(broker)
    }

    /// A node that was not started yet.
    pub(crate) fn format(options: &Options, seat: &Seat) -> Result<Self> {
        let folder = Scratch::new("broker")?;
        let port = ports::free()?;
        let ports = options.listeners.iter().map(|_| ports::free()).collect::<Result<Vec<_>>>()?;
        write_properties(folder.path(), port, &ports, seat, options)?;
        let (options, cluster) = (options.clone(), seat.cluster.clone());
        Ok(Self { node: Mutex::new(None), port, ports, options, cluster, folder })
    }

    /// `127.0.0.1:port`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address of a listener of [`Options::listeners`], by the name `localhost`, which a certificate can have.
    ///
    /// # Errors
    /// There is no such listener.
    pub fn address(&self, listener: &str) -> Result<String> {
        let index = self.options.listeners.iter().position(|(name, _)| name == listener);
        Ok(format!("localhost:{}", self.ports[index.with_context(|| format!("no listener {listener}"))?]))
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
        let ready = self.launch()?;
        self.await_ready(&ready)
    }

    /// Starts it and does not wait: a node of several is ready when most of them are.
    pub(crate) fn launch(&self) -> Result<Receiver<String>> {
        let mut node = self.node();
        if node.is_some() {
            bail!("the broker is running");
        }
        let kafka = wasmill_setup::kafka::install()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let Options { heap_megabytes, full_speed, .. } = self.options;
        let mut java = if full_speed { kafka.java_at_full_speed(heap_megabytes) } else { kafka.java(heap_megabytes) };
        java.arg("Broker").arg(self.folder.path().join("server.properties")).args(&self.cluster);
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
        *node = Some(child);
        Ok(is_ready)
    }

    /// Waits until it serves clients. It is killed if it does not.
    pub(crate) fn await_ready(&self, ready: &Receiver<String>) -> Result<()> {
        let Err(error) = ready.recv_timeout(START) else { return Ok(()) };
        if let Some(mut child) = self.node().take() {
            child.kill().ok();
            child.wait().ok();
        }
        let why = if error == RecvTimeoutError::Timeout { "was not ready in time" } else { "ended" };
        bail!("the broker {why}\n{}", tail(&self.log(), 40));
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

fn write_properties(folder: &Path, port: u16, ports: &[u16], seat: &Seat, options: &Options) -> Result<()> {
    use std::io::Write;
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{port}");
    let mut advertised = listeners.clone();
    let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned();
    for ((name, protocol), port) in options.listeners.iter().zip(ports) {
        listeners += &format!(",{name}://127.0.0.1:{port}");
        advertised += &format!(",{name}://localhost:{port}");
        protocols += &format!(",{name}:{protocol}");
    }
    if let Some(controller) = seat.controller {
        listeners += &format!(",CONTROLLER://127.0.0.1:{controller}");
    }
    let (data, replicas) = (folder.join("data"), seat.nodes.to_string());
    let roles = if seat.controller.is_some() { "broker,controller" } else { "broker" };
    let mut properties: Vec<(&str, String)> = vec![
        ("process.roles", roles.into()),
        ("node.id", seat.id.to_string()),
        ("controller.quorum.voters", seat.voters.clone()),
        ("listeners", listeners),
        ("advertised.listeners", advertised),
        ("controller.listener.names", "CONTROLLER".into()),
        ("listener.security.protocol.map", protocols),
        ("log.dirs", data.display().to_string()),
        ("offsets.topic.replication.factor", replicas.clone()),
        ("offsets.topic.num.partitions", "4".into()),
        ("transaction.state.log.replication.factor", replicas.clone()),
        ("transaction.state.log.num.partitions", "4".into()),
        ("transaction.state.log.min.isr", "1".into()),
        ("share.coordinator.state.topic.replication.factor", replicas.clone()),
        ("share.coordinator.state.topic.min.isr", "1".into()),
        ("default.replication.factor", replicas),
        // A test waits for what it asked for, not for members that may come.
        ("group.initial.rebalance.delay.ms", "0".into()),
        ("group.min.session.timeout.ms", "1000".into()),
        // Kafka's default. Nothing that wasmill asks or sends may make a topic of it.
        ("auto.create.topics.enable", "true".into()),
        ("num.partitions", "1".into()),
        ("log.cleaner.dedupe.buffer.size", "4194304".into()),
        ("log.cleaner.backoff.ms", "500".into()),
    ];
    if seat.nodes > 1 {
        // The defaults leave a dead node the leader for nine seconds, and a slow one in sync for thirty.
        properties.push(("broker.session.timeout.ms", "3000".into()));
        properties.push(("broker.heartbeat.interval.ms", "500".into()));
        properties.push(("replica.lag.time.max.ms", "5000".into()));
    }
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
