//! The one place where the parts meet: configuration in, plugins loaded, pipelines run, and everything drained at the
//! end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Runtime;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use wasmill_config as config;
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::handler::room;
use wasmill_pipeline::End;

use crate::admin::{self, Admin};
use crate::failure::{Exit, Failure};
use crate::pipelines::launch::{Launch, Observe, client_settings};
use crate::pipelines::table::{File, Order, Pipelines};

/// Signals that come so soon after the first one belong to it: a supervisor sends SIGTERM and SIGINT together, or to a
/// group of processes of which one passes it on. Nobody has had time to see that a drain takes long.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// What `run` and `dev` start with.
pub struct Options {
    pub config: config::Config,
    /// The file it comes from, if it is to be read again.
    pub file: Option<File>,
    /// Where compiled plugins are kept.
    pub cache: Option<PathBuf>,
    /// Makes who looks on at a pipeline, for `dev`.
    pub observer: Option<Observe>,
    /// The cluster is the embedded one, which has no rules for its topics and does not answer who asks for them.
    pub embedded: bool,
}

pub struct App {
    pub pipelines: Arc<Pipelines>,
    orders: mpsc::UnboundedReceiver<Order>,
    pub admin: Option<Admin>,
}

impl App {
    /// Loads every plugin, rehearses its `init`, asks the cluster for the topics and opens the producers. Nothing is
    /// consumed yet.
    pub fn start(options: Options, metrics: PrometheusHandle) -> Result<Self, Failure> {
        let Options { config, file, cache, observer, embedded } = options;
        look_around(&config);
        let loader = Loader::open(cache).map_err(Failure::start)?;
        let client = client_settings(&config.kafka);
        let state = (!embedded).then(|| config.state.join("history"));
        let launch = Launch { loader, client, memory_bytes: config.memory_bytes, state, observer, embedded };
        let (pipelines, orders) = Pipelines::start(launch, &config, file).map_err(Failure::start)?;
        let admin = start_admin(&config, &pipelines, metrics).map_err(Failure::start)?;
        Ok(Self { pipelines, orders, admin })
    }

    /// Runs until a signal or until a pipeline can go on no longer. One that fails ends the others in good order: an
    /// orchestrator then starts the process again.
    pub async fn run(self, mut signals: Signals) -> Result<Exit, Failure> {
        let Self { pipelines, mut orders, admin: _ } = self;
        let mut tasks = JoinSet::new();
        let mut asked = Asked::No;
        let mut exit = Exit::Done;
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => {
                        let pipelines = pipelines.clone();
                        drop(spawn_blocking(move || pipelines.reload_on_signal()));
                    }
                    Signal::End => match asked {
                        Asked::No => {
                            asked = Asked::Now(tokio::time::Instant::now() + SAME_SIGNAL);
                            tracing::info!("draining; a second signal ends at once");
                            pipelines.shut_down();
                        }
                        Asked::Now(_) => tracing::info!("the second signal came with the first one; still draining"),
                        Asked::Before => {
                            tracing::warn!("asked twice: ending at once; what was not committed is handled again");
                            return Ok(Exit::Killed);
                        }
                    },
                },
                () = asked.passes() => {
                    asked = Asked::Before;
                    tracing::info!("still draining; a signal from now on ends at once");
                }
                Some(order) = orders.recv() => if let Order::Run(number, task) = order {
                    let name = task.running().name().to_owned();
                    let running = tokio::spawn(task.run());
                    tasks.spawn(async move {
                        let panicked = |panic| End::Failed(format!("its control loop panicked: {panic}"));
                        (number, name, running.await.unwrap_or_else(panicked))
                    });
                },
                Some(Ok((number, name, end))) = tasks.join_next() => {
                    let alone = pipelines.ended(number, &end);
                    match end {
                        End::Drained => tracing::info!(pipeline = %name, "drained"),
                        End::Overdue => {
                            tracing::warn!(pipeline = %name, "not everything was settled in time; it is handled again by the next owner");
                            if exit == Exit::Done && !alone {
                                exit = Exit::Overdue;
                            }
                        }
                        End::Fenced(reason) => {
                            tracing::error!(pipeline = %name, reason, "another process has this instance_id; this one leaves it the work");
                            if !alone {
                                exit = Exit::Fenced;
                                pipelines.shut_down();
                            }
                        }
                        End::Failed(reason) => {
                            tracing::error!(pipeline = %name, reason, "pipeline failed");
                            // One that was about to go anyway takes nothing along.
                            if !alone {
                                exit = Exit::Failed;
                                pipelines.shut_down();
                            }
                        }
                    }
                }
            }
            // Threads that did not end cannot be waited for.
            if tasks.is_empty() && pipelines.is_over() {
                return Ok(exit);
            }
        }
    }
}

/// Whether the process was asked to end.
#[derive(Clone, Copy)]
enum Asked {
    No,
    /// A moment ago: whatever else asks until then is the same.
    Now(tokio::time::Instant),
    Before,
}

impl Asked {
    /// Waits until the moment is over.
    async fn passes(self) {
        match self {
            Self::Now(until) => tokio::time::sleep_until(until).await,
            Self::No | Self::Before => std::future::pending().await,
        }
    }
}

/// The runtime of the control plane: one worker for all pipelines.
pub fn control_plane() -> Result<Runtime, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build();
    runtime.context("cannot start the control plane").map_err(Failure::start)
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// To end in good order.
    End,
    /// To read the configuration again.
    Reload,
}

/// The signals that ask something of the process. From when this is made, none ends it by itself.
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// `None`: it ends the process, as it does whoever is left without a terminal.
    hang_up: Option<unix::Signal>,
    /// A reload was asked for before it could be done: the file may have been read before it was edited.
    reload: bool,
}

impl Signals {
    /// Listens to what ends the process. To be called within a runtime.
    pub fn new() -> Result<Self, Failure> {
        Self::listen(false).context("cannot listen to signals").map_err(Failure::start)
    }

    /// Listens to SIGHUP as well.
    pub fn with_reload() -> Result<Self, Failure> {
        Self::listen(true).context("cannot listen to signals").map_err(Failure::start)
    }

    fn listen(reload: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: if reload { Some(signal(SignalKind::hangup())?) } else { None },
            reload: false,
        })
    }

    /// Waits for one that ends the process. One that asks for a reload is kept for [`Signals::next`].
    pub async fn ended(&mut self) {
        while self.wait().await != Signal::End {
            self.reload = true;
        }
    }

    pub async fn next(&mut self) -> Signal {
        if std::mem::take(&mut self.reload) { Signal::Reload } else { self.wait().await }
    }

    async fn wait(&mut self) -> Signal {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
            _ = hang_up => Signal::Reload,
        }
    }
}

/// Files that a process has open without any pipeline.
const OPEN_FILES: u64 = 64;
/// Files that a client of Kafka has open with one broker. Each further broker takes three more.
const OPEN_FILES_OF_A_CLIENT: u64 = 7;

/// Says what the limits around this process are, and which are too low for what it is to run.
fn look_around(config: &config::Config) {
    let open_files = room::raise_open_files();
    // A client for each member, and one producer.
    let clients: u64 = config.pipelines.iter().map(|pipeline| pipeline.members as u64 + 1).sum();
    let needed = OPEN_FILES + clients * OPEN_FILES_OF_A_CLIENT;
    if let Some(limit) = open_files.filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            clients,
            "too few open files are allowed: clients will not reach their brokers; hint: raise the hard limit (`ulimit -Hn`)"
        );
    }
    if let Some(room) = room::of_the_container() {
        let memory = config.memory_bytes;
        tracing::info!(limit = room.limit, left = room.bytes, memory, "the container's memory is limited");
        if memory > room.bytes {
            tracing::warn!("`memory` is {}, and {room}; hint: lower `memory`", bytesize::ByteSize(memory));
        }
    }
}

fn start_admin(
    config: &config::Config,
    pipelines: &Arc<Pipelines>,
    metrics: PrometheusHandle,
) -> anyhow::Result<Option<Admin>> {
    let Some(settings) = &config.admin else { return Ok(None) };
    let token = admin::load_token(&admin::token_path(Some(settings), &config.state))?;
    let state = admin::State {
        pipelines: pipelines.clone(),
        metrics,
        token,
        allow_remote: settings.allow_remote,
        uploads: Semaphore::new(1),
        started: Instant::now(),
    };
    let admin = Admin::start(settings, state)?;
    tracing::info!(address = %admin.address, "admin port open");
    Ok(Some(admin))
}
